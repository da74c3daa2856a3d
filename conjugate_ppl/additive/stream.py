"""`stream`: the posterior of data that come in batches, none of which is kept.

The log density of the observed sites, all rows of a batch together, is a polynomial in the latents'
statistics, and polynomials add up (`posterior` is built on the same sum, cell by cell). What is left after
the last batch has the size of the latents. Prior times sum is a model without arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from conjugate_ppl.additive.polynomial import NoStatistic, Polynomial
from conjugate_ppl.additive.prior import Prior
from conjugate_ppl.elimination.joint import least_squares
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.errors import DataError, ModelError, PlanError
from conjugate_ppl.planning.screen import Dependencies
from conjugate_ppl.planning.statistics import as_written
from conjugate_ppl.planning.validate import check_finite, check_observed
from conjugate_ppl.program import Program, trace_program

__all__ = ["streamed"]


def streamed(model: Callable[..., Any], batches: Iterable[Any]) -> Callable[[], None]:
    """Prior times the likelihood of all batches, as a model without arguments."""
    prior: Prior | None = None
    total: Polynomial | None = None
    for batch in batches:
        args, kwargs = _arguments(batch)
        if prior is None or total is None:
            program = trace_program(model, args, kwargs)
            prior = Prior(model, args, kwargs, {}, _observed(program),
                          {n: program.sites[n].shape for n in program.latents}, program.turns)
            _likelihood(program, prior.observed, {})  # what cannot be added up is found here
            total = _likelihood(program, prior.observed, _origins(program, prior.observed))
        else:
            program = prior.check_same(args, kwargs)
            found = _observed(program)
            if found != prior.observed:
                before = prior.observed
                raise ModelError(f"With this batch the observed sites are {found}, and with the first {before}. "
                                 "Give every batch the same arguments.")
            total = total + _likelihood(program, prior.observed, total.origins)
    if prior is None or total is None:
        raise DataError("The stream has no batch, so that there is no model either. Likely the iterator was "
                        "used before: make a new one.")
    return prior.with_likelihood(total)


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
    real = {n: program.sites[n].size for n in program.latents if program.sites[n].support == "real"}
    found = least_squares(terms, real)
    return {n: x for n, x in found.items() if x.any()}
