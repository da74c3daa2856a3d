"""Known points that residuals are measured from, so that single precision keeps the digits of their squares."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from conjugate_ppl.algebra.term import Term, is_known
from conjugate_ppl.algebra.variables import Computed, Latent
from conjugate_ppl.elimination.typical import unweighted
from conjugate_ppl.gaussian.reference import reference
from conjugate_ppl.program import Program

__all__ = ["entering_like_real", "is_quadratic", "least_squares", "point_of_rows", "single"]


def point_of_rows(program: Program, terms: Sequence[Term], among: Collection[str]) -> dict[str, np.ndarray]:
    """Where some sites are measured from in densities whose rows are added up, flat; those that are measured from 0 are left
    out. All of them are visible in the terms."""
    measured = {v.site for v in entering_like_real(terms)}
    sizes = {n: program.sites[n].size for n in program.latents
             if n in among and (program.sites[n].support == "real" or n in measured)}
    return {n: x for n, x in least_squares(program, terms, sizes).items() if x.any()}


def entering_like_real(terms: Iterable[Term], others: Iterable[str] = (), elements: Latent | None = None) -> frozenset[Latent]:
    """Sites that are not real (a slope that is positive), but for some `others`, and enter as the real ones of residuals do: in
    nothing but squares, and products with `elements`. A scale does not, nor what multiplies elements."""
    found: set[Latent] = set()
    out = set(others)
    for t in terms:
        sites = {v: a.power for a in t.atoms if isinstance(v := a.variable, Latent) and v is not elements}
        degree = sum((p for v, p in sites.items() if v.support == "real"), sum(
            (a.power for a in t.atoms if a.variable is elements), Fraction(0)))
        for v, p in sites.items():
            if v.support != "real":
                found.add(v)
                if p.denominator != 1 or p < 1 or degree + p > 2:
                    out.add(v.site)
        out.update(*(a.variable.roots for a in t.atoms if not isinstance(a.variable, Latent)))
    return frozenset(v for v in found if v.site not in out)


def least_squares(program: Program, terms: Sequence[Term], sites: Mapping[str, int]) -> dict[str, np.ndarray]:
    """A point where what is quadratic in real `sites` (name to size) is small, rounded to single
    precision; zero where nothing is quadratic."""
    numbers, size = {}, 0
    for name, many in sites.items():
        numbers[name] = size
        size += many
    good = [t for t in terms if is_quadratic(t, frozenset(numbers))
            and not any(isinstance(a.variable, Computed) for a in t.atoms)]
    q = unweighted(program, good, lambda v: numbers.get(v.name) if isinstance(v, Latent) else None)
    point = single(reference(q, np.zeros(size), np.full(size, np.inf)))
    return {n: point[k : k + sites[n]] for n, k in numbers.items()}


def single(point: np.ndarray) -> np.ndarray:
    """Rounded to single precision; 0 where that is not finite."""
    with np.errstate(over="ignore"):
        rounded = point.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(rounded), rounded, 0.0)


def is_quadratic(term: Term, real: frozenset[str]) -> bool:
    """Whether a term is of degree one or two in some sites, times what is known or counts as a weight."""
    degree = 0
    for atom in term.atoms:
        v = atom.variable
        if isinstance(v, Latent) and v.site in real:
            if atom.power.denominator != 1 or atom.power < 1:
                return False
            degree += int(atom.power)
        elif not isinstance(v, Computed) and v.roots & real and not v.positive:
            return False
    return 1 <= degree <= 2 and all(is_known(a) for a in term.arrays)
