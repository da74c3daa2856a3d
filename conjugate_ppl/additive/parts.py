"""Rows that are added up part by part: the proof that they may be, and the sum.

That the log density of the rows is the sum over the parts is proved first (`rows.py`). Then the parts are batches
like those of a stream: what each says is a polynomial in the latents' statistics, and polynomials add up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from conjugate_ppl.additive.exchange import exchanged
from conjugate_ppl.additive.polynomial import Polynomial
from conjugate_ppl.additive.prior import Prior
from conjugate_ppl.additive.row_rules import Unrelated
from conjugate_ppl.additive.rows import EQUAL, SUM, Related
from conjugate_ppl.additive.stream import batch_added
from conjugate_ppl.additive.template import Template, computes_in_numpy, template
from conjugate_ppl.errors import ConjugatePPLError, PlanError

__all__ = ["NoGain", "Parts", "added_up"]

Model = Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """How arguments are cut.

    Attributes:
        axes: which leaves are cut, and along which of their axes.
        shares: which shares of the rows the parts are: each once, however many are of that size.
        mine: the parts of this process, arrays by leaf.
        typical: rows from everywhere, as many as in a part, where such are at hand: they say what quadratics are
            written about, which is the first part's affair otherwise.
        most: the numbers that they may add up to.
        states: whether there may be discrete latents, whose statements are others where rows are added up.
        devices: where the parts lie.
        elsewhere: whether some lie with other processes.
    """

    axes: Mapping[int, int]
    shares: Sequence[Fraction]
    mine: Iterable[Mapping[int, np.ndarray]]
    typical: Mapping[int, np.ndarray] | None = None
    most: float = np.inf
    states: bool = True
    devices: Sequence[Any] = ()
    elsewhere: bool = False


class NoGain(Exception):
    """Rows that had better be read at once (`Parts.most`, `Parts.states`)."""


def added_up(model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any], parts: Parts) -> Callable[..., None]:
    """Prior times the likelihood of all rows, as a model whose arguments do not matter.

    Raises:
        PlanError: if it is not proved that the rows add up part by part.
        NoGain: where `parts` excludes it.
        DataError: if a value is none, in any process.
    """
    leaves, tree = jax.tree.flatten((args, dict(kwargs)))
    patterns, observed = _patterns(model, tree, leaves, parts)
    if not observed:
        return model
    program = next(iter(patterns.values())).program
    total = _total(patterns, observed, parts)
    if parts.elsewhere:
        # what does not depend on the rows is the same for any of them
        given = dict(enumerate(leaves)) | dict(next(iter(parts.mine), {}))
        args, kwargs = jax.tree.unflatten(tree, [given[k] for k in range(len(leaves))])
    shapes = {n: program.sites[n].shape for n in program.latents}
    prior = Prior(model, args, kwargs, {}, observed, shapes, program.turns, source=program.sites[observed[0]].source)
    inner = prior.with_likelihood(total)

    def summed(*_: Any, **__: Any) -> None:
        inner()

    return summed


def _patterns(model: Model, tree: Any, leaves: Sequence[Any], parts: Parts) -> tuple[dict[int, Template], tuple[str, ...]]:
    """The model of a part, by the rows that it has, and the observed sites that are proved to add up."""
    whole = _written(model, tree, leaves, parts.axes, Fraction(1))
    latents = [whole.program.sites[n] for n in whole.program.latents]
    if sum(s.size for s in latents) > parts.most or (not parts.states and any(s.discrete for s in latents)):
        raise NoGain
    patterns, found = {}, set()
    for share in parts.shares:
        part = _written(model, tree, leaves, parts.axes, share)
        related = Related(whole.program.graph, part.program.graph,
                          {n: parts.axes[k] for n, k in part.places.items()}, 1 / share)
        found.add(_summed_sites(part, related))
        if parts.elsewhere:
            _refuse_deterministics(part, related)
        patterns[int(share * _rows(leaves, parts))] = part
    if len(found) > 1:
        raise NoGain
    if parts.typical is not None:
        like = {k: x if isinstance(leaves[k], np.ndarray) else jax.numpy.asarray(x) for k, x in parts.typical.items()}
        pattern = patterns[_rows(parts.typical, parts)]
        if computes_in_numpy(pattern, model, tree, [like.get(k, x) for k, x in enumerate(leaves)]):
            raise NoGain
    return patterns, found.pop()


def _rows(leaves: Any, parts: Parts) -> int:
    """How many rows leaves have."""
    leaf, axis = min(parts.axes.items())
    return int(leaves[leaf].shape[axis])


def _total(patterns: Mapping[int, Template], observed: tuple[str, ...], parts: Parts) -> Polynomial:
    """What all parts say, those of other processes too."""
    def plus(total: Polynomial | None, block: Mapping[int, np.ndarray]) -> Polynomial:
        return batch_added(total, patterns[_rows(block, parts)].filled(block), observed)

    mine: Any = None
    try:
        if parts.typical is not None:
            mine = plus(None, parts.typical).scaled(0.0)
        for block in parts.mine:
            mine = plus(mine, block)
            if mine.size > parts.most:
                raise NoGain
    except ConjugatePPLError as problem:
        mine = problem  # to be raised in all processes
    total: Polynomial | None = None
    for found in exchanged(mine, parts.devices):
        if isinstance(found, ConjugatePPLError):
            raise found
        total = found if total is None else total if found is None else total.joined(found)
    assert total is not None
    return total


def _written(model: Model, tree: Any, leaves: Sequence[Any], axes: Mapping[int, int], share: Fraction) -> Template:
    """The model of a share of the rows, its data left open."""
    shapes = {k: jax.ShapeDtypeStruct([int(n * share) if d == axis else n for d, n in enumerate(leaves[k].shape)],
                                      jax.numpy.result_type(leaves[k])) for k, axis in axes.items()}
    try:
        return template(model, tree, leaves, shapes)
    except ConjugatePPLError:
        raise
    except Exception as error:  # whatever a model may raise
        problem = str(error).split("\n")[0].rstrip(".")
        rows = "the rows as unknown numbers" if share == 1 else "a part of the rows"
        raise PlanError(f"The model cannot be run on {rows}: {problem}. Likely the number of rows is an argument "
                        "of its own (take it from the data, `len(y)`), an array with a row for each is not spread "
                        "as the others are, rows are selected by number, or numbers are looked at while the model "
                        "runs.") from error


def _summed_sites(part: Template, related: Related) -> tuple[str, ...]:
    """The observed sites whose log density is the sum over the parts; all else is the same in each of them."""
    observed = []
    for site in part.program.sites.values():
        try:
            kind = related.kind(site.factor)
            if kind == SUM and not site.latent:
                observed.append(site.name)
                continue
            beside = [*site.parameters.values(), *site.support_numbers, *site.simplex_numbers, site.mask, site.scale]
            if kind != EQUAL or not related.equal(beside):
                raise Unrelated("its prior, which depends on the rows")
        except Unrelated as problem:
            name, source = site.name, site.source
            raise PlanError(f"The data are spread over devices, and the log density of `{name}` ({source}) is not "
                            f"proved to be a sum over rows. In the way is {problem}. Compute what joins rows before, and "
                            "give it to the model as an argument.") from problem
    return tuple(observed)


def _refuse_deterministics(part: Template, related: Related) -> None:
    for name, number in part.program.deterministics.items():
        if not related.equal([number]):
            raise PlanError(f"The deterministic site `{name}` is computed from rows that lie with other processes, and so "
                            "would be all draws of it. Hide it, `numpyro.handlers.block(model, hide="
                            f"[{name!r}])`.")
