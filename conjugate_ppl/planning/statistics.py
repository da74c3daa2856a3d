"""Likelihoods of kept latents from statistics: where nothing is collapsed, the rows may go all the same.

The log density of an observed site, reduced to monomials in the latents, is the same function of them
with the rows added up once. It takes the place of the model's own where its gradient is so much cheaper
that the change of place cannot matter. What is quadratic in real latents is written about a least-squares
point, so that float32 keeps its digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from conjugate_ppl.algebra.distinct import Distinct
from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.simplex import sums_to_one
from conjugate_ppl.algebra.term import Term, Value
from conjugate_ppl.algebra.variables import (
    LOGARITHMS,
    Complement,
    Elementwise,
    Latent,
    Log,
    Opaque,
    Variable,
)
from conjugate_ppl.algebra.walk import HIDDEN_NOISE
from conjugate_ppl.elimination.points import point_of_rows
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.planning.screen import Dependencies, confined
from conjugate_ppl.planning.validate import check_finite
from conjugate_ppl.program import Program, Site

__all__ = ["Statistics", "as_written", "statistics"]

_GAIN = 4  # times that the rows must cost more
_LEAST = 2000  # numbers that a likelihood computes from latents; fewer cost nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """An observed site whose rows are added up: its name, how many numbers are left, and its terms."""

    site: str
    numbers: int
    terms: tuple[Term, ...]


def statistics(program: Program, deps: Dependencies, kept: Collection[str]) -> tuple[Statistics, ...]:
    """The observed sites that depend on `kept` latents alone, and gain."""
    found = []
    for site in program.sites.values():
        roots = deps.factor[site.name]
        if not roots or not roots <= frozenset(kept) or not as_written(program, deps, site):
            continue
        rows = _cost(program, [site.factor])
        if rows < _LEAST:
            continue
        reduced = _reduced(program, site, roots)
        if reduced is not None and _GAIN * reduced.numbers <= rows:
            found.append(reduced)
    return tuple(found)


def as_written(program: Program, deps: Dependencies, site: Site) -> bool:
    """Whether the algebra's log density of an observed site is NumPyro's at every value of the latents."""
    return not (site.latent or site.auxiliary or site.subsampled or site.branched or program.mutable
                or program.params or program.graph.effects or not site.known_density
                or deps.scale[site.name] or deps.mask[site.name] or deps.support[site.name]
                or program.roots(confined(site)) or not _on_simplexes(program, site)
                or any(program.sites[n].discrete for n in deps.factor[site.name]))


def _on_simplexes(program: Program, site: Site) -> bool:
    """Whether what must sum to one does so at every value of the latents, by proof."""
    roots = program.roots(*site.simplex_numbers)
    walk = start_walk(program, roots)
    return not roots or all(sums_to_one(walk, x) for x in walk.run(list(site.simplex_numbers)))


def _reduced(program: Program, site: Site, roots: frozenset[str]) -> Statistics | None:
    value = _walk(program, site, roots, {})
    check_finite(program, {site.name: value})
    if HIDDEN_NOISE in value.roots or not _counts(program, _sum(value)):
        return None
    if site.distribution.endswith("Probs") and any(map(_unproved_log, _variables(_sum(value)))):
        return None  # NumPyro moves a probability that is none into the unit interval
    origin = point_of_rows(program, value.terms, roots)
    if origin:
        value = _walk(program, site, roots, {
            n: x.reshape(program.sites[n].shape) for n, x in origin.items()})
    numbers = _counts(program, _sum(value))
    return Statistics(site.name, numbers, value.terms) if numbers else None


def _walk(program: Program, site: Site, roots: frozenset[str], origin: dict[str, np.ndarray]) -> Value:
    (value,) = start_walk(program, roots, origin).run([site.factor])
    return value


def _sum(value: Value) -> Reduced:
    return reduce_terms(value.terms, lambda v: None)


def _counts(program: Program, reduced: Reduced) -> int:
    """How many numbers a gradient computes; 0 where some are left to be added up each time."""
    if any(reduced.late.values()):
        return 0
    products = sum(len(rows) * (1 + len(signature)) for signature, rows in reduced.weights.groups)
    opaque: list[int] = []
    for v in _variables(reduced):
        products += v.size
        if isinstance(v, Distinct):
            products += v.size * sum(len(p.terms) for p in v.parts if isinstance(p, Value))
        elif isinstance(v, Opaque):
            opaque.append(v.number)
        elif not isinstance(v, (Latent, Elementwise, Log, Complement)):
            return 0
    return products + _cost(program, opaque)


def _variables(reduced: Reduced) -> set[Variable]:
    """The variables of a sum, and those that they are computed from."""
    seen: set[Variable] = set()
    stack = [v for signature, _ in reduced.weights.groups for v, _ in signature]
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        if isinstance(v, Distinct):
            stack += [a.variable for p in v.parts if isinstance(p, Value) for t in p.terms for a in t.atoms]
        elif isinstance(v, (Elementwise, Log, Complement)):
            stack.append(v.base)
    return seen


def _unproved_log(v: Variable) -> bool:
    """Whether a variable is a logarithm of what is not proved positive."""
    return isinstance(v, (Elementwise, Opaque)) and v.equation.primitive in LOGARITHMS


def _cost(program: Program, numbers: Collection[int]) -> int:
    """How many numbers are computed from latents on the way to some."""
    graph = program.graph
    needed = graph.needed_for(numbers)
    return sum(int(np.prod(graph.shapes[n])) for n in needed if graph.dependencies.get(n))
