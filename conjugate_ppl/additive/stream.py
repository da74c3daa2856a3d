"""`stream`: the posterior of data that come in batches, none of which is kept.

The log density of the observed sites, all rows of a batch together, is a polynomial in the latents'
statistics, and polynomials add up (`posterior` is built on the same sum, cell by cell). What is left after
the last batch has the size of the latents. Prior times sum is a model without arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.additive.polynomial import NoStatistic, Polynomial
from conjugate_ppl.additive.prior import Prior
from conjugate_ppl.additive.template import Template, computes_in_numpy, template
from conjugate_ppl.elimination.points import point_of_rows
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.errors import DataError, ModelError, PlanError
from conjugate_ppl.outside import outside_of
from conjugate_ppl.planning.screen import Dependencies
from conjugate_ppl.planning.statistics import as_written
from conjugate_ppl.planning.validate import check_finite, check_observed
from conjugate_ppl.program import Program, trace_program

__all__ = ["batch_added", "streamed"]


def streamed(model: Callable[..., Any], batches: Iterable[Any]) -> Callable[[], None]:
    """Prior times the likelihood of all batches, as a model without arguments."""
    prior: Prior | None = None
    total: Polynomial | None = None
    written = _Written(model)
    for batch in batches:
        args, kwargs = _arguments(batch)
        program, pattern = written.program(args, kwargs)
        observed = _observed(program)
        if prior is None:
            prior = Prior(model, args, kwargs, {}, observed, {n: program.sites[n].shape for n in program.latents},
                          program.turns, _of_rows(pattern), source=program.sites[observed[0]].source)
        elif observed != prior.observed:
            before = prior.observed
            raise ModelError(f"With this batch the observed sites are {observed}, and with the first {before}. "
                             "Give every batch the same arguments.")
        if pattern is None or pattern is not written.agreed:
            prior.check_same(args, kwargs)
            written.agreed = pattern if pattern is not None and not _moving(pattern) else None
        total = batch_added(total, program, observed)
    if prior is None or total is None:
        raise DataError("The stream has no batch, so that there is no model either. Likely the iterator was "
                        "used before: make a new one.")
    return prior.with_likelihood(total)


def batch_added(total: Polynomial | None, program: Program, observed: tuple[str, ...]) -> Polynomial:
    """What was added up so far and one batch more."""
    before = {} if total is None else {n: x for n, x in total.origins.items() if x.any()}
    found = _likelihood(program, observed, before)  # what cannot be added up is found here
    if total is None or any((found.touched(n, program.sites[n].size) & ~total.touched(n, program.sites[n].size)).any()
                            for n in program.latents if program.sites[n].support == "real" or n in total.origins):
        # elements that no batch before was about are measured from where this one says they are
        own = _origins(program, observed)
        if total is None:
            return _likelihood(program, observed, own) if own else found
        for name, point in own.items():
            seen = total.touched(name, len(point))
            own[name] = np.where(seen, total.origins.get(name, 0.0), point)
        found = _likelihood(program, observed, {**before, **{n: x for n, x in own.items() if x.any()}})
    return total.joined(found)


class _Written:
    """A model's equations for batches of the same shapes, written once where the model allows it: where what it
    reads besides them is known to be the same.

    `agreed` is a pattern whose prior does not depend on the batch and has been compared with the first one's.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model
        self._known: dict[Any, Template | None] = {}
        self.agreed: Template | None = None

    def program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, Template | None]:
        """The program of a batch, and the pattern that it is filled into."""
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays = {k: x for k, x in enumerate(leaves) if isinstance(x, (np.ndarray, jax.Array)) and np.ndim(x)}
        rest = [x for k, x in enumerate(leaves) if k not in arrays]
        outside = outside_of(self._model)
        if outside is None or any(isinstance(x, jax.core.Tracer) for x in leaves) or not all(
                isinstance(x, (bool, int, float, str, bytes)) for x in rest):
            return trace_program(self._model, args, kwargs), None
        key = (tree, outside, tuple(map(repr, rest)), tuple(
            (k, type(x), x.shape, str(x.dtype)) for k, x in arrays.items()))
        if key not in self._known:
            shapes = {k: jax.ShapeDtypeStruct(x.shape, jnp.result_type(x)) for k, x in arrays.items()}
            try:
                found = template(self._model, tree, leaves, shapes)
                self._known[key] = None if computes_in_numpy(found, self._model, tree, leaves) else found
            except Exception:  # it looks at the numbers; errors of its own come again below
                self._known[key] = None
        pattern = self._known[key]
        return (trace_program(self._model, args, kwargs) if pattern is None else pattern.filled(arrays)), pattern


def _moving(pattern: Template) -> bool:
    """Whether something of the prior is computed from the batch."""
    return any(pattern.depends([s.factor, *s.parameters.values(), *s.support_numbers])
               for s in pattern.program.sites.values() if s.latent)


def _of_rows(pattern: Template | None) -> tuple[str, ...]:
    """The deterministic sites that are computed from the batch, so that there is none of all rows."""
    return () if pattern is None else tuple(
        n for n, number in pattern.program.deterministics.items() if pattern.depends([number]))


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The model's arguments: a tuple, a dictionary of keyword arguments, or a single one."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (batch if isinstance(batch, tuple) else (batch,)), {}


def _observed(program: Program) -> tuple[str, ...]:
    names = tuple(s.name for s in program.sites.values() if not s.latent and not s.auxiliary)
    factors = [s for s in program.sites.values()
               if not s.latent and s.auxiliary and program.roots(s.factor)]
    if factors:
        name, source = factors[0].name, factors[0].source
        raise PlanError(f"`{name}` is a `factor` statement ({source}), which does not say whether each batch has "
                        "one of its own or all together. Write an observed site.")
    if not names:
        raise ModelError("The model has no observed site with this batch, so that there is nothing to add up. "
                         "Give it data.")
    return names


def _likelihood(program: Program, observed: tuple[str, ...], origins: Mapping[str, np.ndarray]) -> Polynomial:
    """What a batch says."""
    if not program.concrete:
        raise PlanError("Batches that are added up have to be known, and this one is traced (jit, vmap). Call "
                        "`stream` outside.")
    check_observed(program)
    deps = Dependencies(program)
    for name in observed:
        site = program.sites[name]
        if deps.factor[name] and not as_written(program, deps, site):
            source = site.source
            raise PlanError(f"The rows of `{name}` do not add up to a few numbers ({source}). Likely its plate is "
                            "subsampled, its weight or support depends on a latent, or its density is not "
                            "registered: then the data have to be in memory.")
    shaped = {n: x.reshape(program.sites[n].shape) for n, x in origins.items()}
    values = start_walk(program, program.latents, shaped).run([program.sites[n].factor for n in observed])
    check_finite(program, dict(zip(observed, values, strict=True)))
    try:
        return Polynomial.of_terms([t for v in values for t in v.terms], origins)
    except NoStatistic as problem:
        raise PlanError(f"The rows reach a latent through {problem}, so that they do not add up to a few "
                        "numbers. The data have to be in memory.") from problem


def _origins(program: Program, observed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The point that quadratics are written about, from the first batch."""
    walk = start_walk(program, program.latents)
    terms = [t for v in walk.run([program.sites[n].factor for n in observed]) for t in v.terms]
    return point_of_rows(program, terms, program.latents)
