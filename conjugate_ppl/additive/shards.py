"""Data that are spread over the devices of a mesh, in one process or several: each part is read where it lies.

That the log density of the rows is the sum over the parts is proved first (`rows.py`). Then the parts are batches
like those of a stream: what each says is a polynomial in the latents' statistics, and polynomials add up. Only
these go from one process to another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from conjugate_ppl.additive.exchange import exchanged, is_spread, spans_processes
from conjugate_ppl.additive.polynomial import Polynomial
from conjugate_ppl.additive.prior import Prior
from conjugate_ppl.additive.row_rules import Unrelated
from conjugate_ppl.additive.rows import EQUAL, SUM, Related
from conjugate_ppl.additive.stream import batch_added
from conjugate_ppl.additive.template import Template, template
from conjugate_ppl.errors import ConjugatePPLError, PlanError

__all__ = ["of_shards", "refuse_other_processes"]

Model = Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """How arguments are cut.

    Attributes:
        axes: which leaves are spread, and along which of their axes.
        count: in how many parts.
        mine: the parts of this process, arrays by leaf.
        devices: of all parts.
    """

    axes: Mapping[int, int]
    count: int
    mine: Sequence[Mapping[int, np.ndarray]]
    devices: Sequence[Any]


def of_shards(model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[..., None]:
    """Prior times the likelihood of all rows, as a model whose arguments do not matter.

    Raises:
        PlanError: if it is not proved that the rows add up part by part.
        DataError: if a value is none, in any process.
    """
    leaves, tree = jax.tree.flatten((args, dict(kwargs)))
    parts = _parts(leaves)
    elsewhere = any(map(spans_processes, leaves))
    fixed = [np.asarray(x) if isinstance(x, jax.Array) and not is_spread(x) and len(x.sharding.device_set) > 1 else x
             for x in leaves]
    whole, part = _written(model, tree, fixed, leaves, parts)
    related = Related(whole.program.graph, part.program.graph,
                      {n: parts.axes[k] for n, k in part.places.items()}, parts.count)
    observed = _summed_sites(part, related)
    mine: Any = None
    try:
        for block in parts.mine:
            mine = batch_added(mine, part.filled(block), observed)
    except ConjugatePPLError as problem:
        mine = problem  # to be raised in all processes
    total: Polynomial | None = None
    for found in exchanged(mine, parts.devices):
        if isinstance(found, ConjugatePPLError):
            raise found
        total = found if total is None else total if found is None else total.joined(found)
    assert total is not None
    if elsewhere:
        # what does not depend on the rows is the same for any of them
        given = dict(enumerate(fixed)) | dict(parts.mine[0] if parts.mine else {})
        _refuse_deterministics(part, related)
        args, kwargs = jax.tree.unflatten(tree, [given[k] for k in range(len(leaves))])
    shapes = {n: part.program.sites[n].shape for n in part.program.latents}
    inner = Prior(model, args, kwargs, {}, observed, shapes, part.program.turns).with_likelihood(total)

    def summed(*_: Any, **__: Any) -> None:
        inner()

    return summed


def refuse_other_processes(what: str, args: Any, kwargs: Any) -> None:
    """Raise `PlanError` where rows lie with other processes and `what` needs them all."""
    if any(map(spans_processes, jax.tree.leaves((args, kwargs)))):
        raise PlanError(f"`{what}` reads the data row by row, and some of them lie with other processes. Give it the "
                        "rows of one process (`addressable_shards`); posteriors of several are merged by `merge`.")


def _parts(leaves: Sequence[Any]) -> _Parts:
    """How leaves are cut: each along one axis, all in the same order."""
    maps = {k: x.sharding.devices_indices_map(x.shape) for k, x in enumerate(leaves) if is_spread(x)}
    axes: dict[int, int] = {}
    starts: dict[Any, list[int]] = {}
    sizes: dict[int, Any] = {}  # rows in all -> the first leaf that has so many
    for k, where in maps.items():
        shape = leaves[k].shape
        cut = {d for index in where.values() for d, s in enumerate(index) if (s.start or 0, s.stop or shape[d])
               != (0, shape[d])}
        if len(cut) != 1:
            raise PlanError(f"An array of shape {shape} is spread over the devices along {len(cut)} of its axes. Spread "
                            "data along the axis of the rows alone.")
        (axes[k],) = cut
        own = {d: index[axes[k]].start or 0 for d, index in where.items()}
        for device, start in own.items():
            starts.setdefault(device, []).append(start)
        sizes.setdefault(shape[axes[k]], own)
        if sizes[shape[axes[k]]] != own:
            starts = {}
            break
    distinct = {tuple(s) for s in starts.values()}
    if not distinct or any(len({s[j] for s in distinct}) != len(distinct) or len(s) != len(maps)
                           for j in range(len(maps)) for s in distinct):
        shapes = [leaves[k].shape for k in maps]
        raise PlanError(f"Arrays of shapes {shapes} are spread over the devices each in its own way, so that the rows of "
                        "one place do not belong together. Give all of them the same sharding.")
    owner: dict[tuple[int, ...], Any] = {}
    for device in sorted(starts, key=lambda d: d.id):
        owner.setdefault(tuple(starts[device]), device)
    here = {k: {s.device: s.data for s in leaves[k].addressable_shards} for k in maps}
    mine = [{k: np.asarray(here[k][d]) for k in maps} for d in owner.values() if d in here[next(iter(maps))]]
    return _Parts(axes, len(distinct), mine, list(starts))


def _written(model: Model, tree: Any, fixed: Sequence[Any], leaves: Sequence[Any], parts: _Parts
             ) -> tuple[Template, Template]:
    """The model of all rows and that of one part, their data left open."""
    found = []
    for times in (1, parts.count):
        shapes = {k: jax.ShapeDtypeStruct([n // times if d == axis else n for d, n in enumerate(leaves[k].shape)],
                                          leaves[k].dtype) for k, axis in parts.axes.items()}
        try:
            found.append(template(model, tree, fixed, shapes))
        except ConjugatePPLError:
            raise
        except Exception as error:  # whatever a model may raise
            problem = str(error).split("\n")[0].rstrip(".")
            rows = "the rows as unknown numbers" if times == 1 else "a part of the rows"
            raise PlanError(f"The model cannot be run on {rows}: {problem}. Likely the number of rows is an argument "
                            "of its own (take it from the data, `len(y)`), an array with a row for each is not spread "
                            "as the others are, rows are selected by number, or numbers are looked at while the model "
                            "runs.") from error
    return found[0], found[1]


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
