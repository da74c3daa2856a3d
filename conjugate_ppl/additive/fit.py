"""Reading data into a posterior: what must hold of a model so that they add up, and its cells."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.additive.cells import Cells, read_cells
from conjugate_ppl.additive.polynomial import NoStatistic, Polynomial
from conjugate_ppl.additive.prior import Prior
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.elimination.statespace import StateSpaceElimination
from conjugate_ppl.errors import ModelError, PlanError
from conjugate_ppl.marginal import MarginalModel
from conjugate_ppl.program import Program

if TYPE_CHECKING:
    from conjugate_ppl.planning.execute import Execution

__all__ = ["Part", "check_sites", "first_part", "next_part"]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """What one run of the model with data says: the cells of each observed site."""

    cells: Mapping[str, Cells]

    @functools.cached_property
    def total(self) -> Polynomial:
        """The sum over all cells."""
        first, *others = (c.total() for c in self.cells.values())
        return functools.reduce(lambda a, b: a + b, others, first)


def first_part(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
               given: Mapping[str, Any]) -> tuple[Prior, Part]:
    """Prior and data of a model all of whose latents but those `given` are integrated out."""
    prior = Prior(model, args, dict(kwargs), dict(given), (), {}, {})
    execution = _fit(prior.fixed, args, kwargs)
    program = execution.program
    origins: dict[str, np.ndarray] = {}
    for elimination in reversed(execution.chosen.eliminations):  # what stands beside a chain comes after it
        if isinstance(elimination, GaussianElimination):
            origins.update({s.name: s.reference.reshape(-1) for s in elimination.block.sites})
        elif isinstance(elimination, StateSpaceElimination):
            origins.update(elimination.points(origins))
    observed = _observed(program, given)
    prior = dataclasses.replace(prior, observed=observed, source=program.sites[observed[0]].source,
                                latents={n: program.sites[n].shape for n in program.latents}, turns=program.turns,
                                discrete={n: s.states for n in program.latents
                                          if (s := program.sites[n]).discrete and s.states is not None})
    return prior, _read(prior, args, kwargs, program, origins)


def next_part(prior: Prior, args: tuple[Any, ...], kwargs: Mapping[str, Any],
              origins: Mapping[str, np.ndarray]) -> Part:
    """More data, of the same sites and with the same prior."""
    prior.check_same(args, kwargs)
    program = _fit(prior.proper, args, kwargs).program
    check_sites(prior, _observed(program, prior.given))
    return _read(prior, args, kwargs, program, origins)


def _fit(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Execution:
    """The analysis of a model with data, all of whose latents must be integrated out by additive rules."""
    execution = MarginalModel(model).execution(args, kwargs, by_row=True)
    plan = execution.plan
    if plan.kept:
        reasons = ", ".join(f"`{n}` ({plan[n].reason})" for n in plan.kept)
        raise PlanError(f"With these arguments there is no posterior in closed form of {reasons}. Change the model "
                        "or the arguments there.")
    return execution


def _observed(program: Program, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The sites that are data."""
    observed = [s for s in program.sites.values() if not s.latent and s.name not in given]
    for statement in observed:
        if statement.auxiliary and program.roots(statement.factor):
            name, source = statement.name, statement.source
            raise PlanError(f"`{name}` is a `factor` statement ({source}), which does not say whether it "
                            "is data, to be added up, or prior, to count once. Write an observed site.")
    names = tuple(s.name for s in observed if not s.auxiliary)
    if not names:
        raise ModelError("The model has no observed site with these arguments, so that there is nothing to add "
                         "up. Give it data.")
    return names


def check_sites(prior: Prior, found: tuple[str, ...]) -> None:
    if set(found) != set(prior.observed):
        before = prior.observed
        raise ModelError(f"The observed sites of these data are {found}, and those of the posterior {before}. Give "
                         "the model the same arguments, with other values.")


def _read(prior: Prior, args: Any, kwargs: Any, program: Program, origins: Mapping[str, np.ndarray]) -> Part:
    try:
        cells = read_cells(prior.fixed, args, kwargs, program, origins, prior.observed)
        part = Part(cells or {})
        assert cells is None or part.total
    except NoStatistic as problem:
        raise PlanError(f"The data reach a latent through {problem}, which no posterior of a fixed number of "
                        "parameters keeps.") from problem
    if cells is None:
        raise PlanError("Data that are added up have to be known, and these are traced (jit, vmap). Call this "
                        "outside.")
    return part
