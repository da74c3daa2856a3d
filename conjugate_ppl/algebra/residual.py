"""What a model subtracts from its data row by row, as one variable instead of its expansion.

A density holds products of sums, such as the square of `y - m - z`, with `z` to be integrated out. Where `m`, made of kept
sites, differs from row to row otherwise than in coefficients of one of them, nothing of `y**2 - 2 y m + m**2` adds up ahead,
and with y and m far from 0 it has no digits left in single precision. The rows are as many either way, so `y - m` is computed
as the model computes it.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known, merge_atoms
from conjugate_ppl.algebra.value import always_positive
from conjugate_ppl.algebra.variables import Latent, Variable

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values
    from conjugate_ppl.algebra.walk import Walk

__all__ = ["Residual", "in_one", "in_residuals"]

_FEWER = 4  # times that rows must be more than different ones among them, to be added up


@dataclasses.dataclass(frozen=True, eq=False)
class Residual(Variable):
    """The elements of a sum of kept sites and known numbers."""

    whole: Value

    def elements(self, values: Values) -> Any:
        return values.value(self.whole).reshape(-1)


def in_residuals(walk: Walk, number: int, x: Any) -> Any:
    """The operand `x` of a product, a number of the graph: what its terms have besides the same candidates as one term."""
    if not isinstance(x, Value) or len(x.terms) < 2:
        return x
    groups: list[tuple[tuple[Atom, ...], list[Term]]] = []
    out: list[Term] = []
    for term in x.terms:
        factors = _of_candidates(walk, term)
        if factors is None:
            out.append(term)
            continue
        terms = next((ts for own, ts in groups if _same(own, factors)), None)
        if terms is None:
            groups.append((factors, [term]))
        else:
            terms.append(term)
    for k, (factors, terms) in enumerate(groups):
        apart = tuple(dataclasses.replace(t, atoms=tuple(a for a in t.atoms if not a.variable.roots & walk.candidates))
                      for t in terms)
        # data that are traced, alone, are about to be less a point
        few = len(apart) < 2 and not (walk.expanding and not factors and _traced(apart[0]))
        if few or not any(_traced(t) or _row_by_row(t, x.shape) for t in apart):
            out += terms
            continue
        if (number, k) not in walk.residuals:
            whole = Value(x.shape, apart)
            walk.residuals[number, k] = Residual(f"residual#{number}", math.prod(x.shape), always_positive(whole), whole.roots, whole)
        own = Atom(walk.residuals[number, k], Fraction(1), numbered(x.shape))
        if walk.expanding:
            return x
        out.append(Term(len(x.shape), (), (np.ones((1,) * len(x.shape)),), merge_atoms((*factors, own))))
    return Value(x.shape, tuple(out)) if len(out) < len(x.terms) else x


def in_one(walk: Walk, x: Value) -> Term | None:
    """A sum as one monomial, if all of its terms hold the same candidates: these, times the sum of what else they have."""
    factors = [_of_candidates(walk, t) for t in x.terms]
    own, equation = factors[0] if factors else None, walk.equation
    if not own or equation is None or not all(f is not None and _same(own, f) for f in factors):
        return None
    rest = Value(x.shape, tuple(dataclasses.replace(t, atoms=tuple(
        a for a in t.atoms if not a.variable.roots & walk.candidates)) for t in x.terms))
    key = (equation.outputs[0], -1)
    if key not in walk.residuals:
        walk.residuals[key] = Residual(f"sum#{key[0]}", math.prod(x.shape), always_positive(rest), rest.roots, rest)
    atom = Atom(walk.residuals[key], Fraction(1), numbered(x.shape))
    return Term(len(x.shape), (), (np.ones((1,) * len(x.shape)),), merge_atoms((*own, atom)))


def _of_candidates(walk: Walk, term: Term) -> tuple[Atom, ...] | None:
    """What the term holds of candidates, by own axes; None where that changes along axes that are summed."""
    out = []
    for a in term.atoms:
        if a.variable.roots & walk.candidates:
            shape = np.shape(a.selection)
            if not is_known(a.selection) or any(n != 1 for n in shape[term.rank:]):
                return None
            out.append(a.map(lambda s, shape=shape, rank=term.rank: s.reshape(shape[:rank])))
    return tuple(out)


def _same(a: tuple[Atom, ...], b: tuple[Atom, ...]) -> bool:
    return len(a) == len(b) and all(x.same(y) for x, y in zip(a, b, strict=True))


def _traced(term: Term) -> bool:
    """Whether a term holds numbers that are not known ahead, so that no point is either."""
    return not all(is_known(c) for c in term.coefficients)


def _row_by_row(term: Term, shape: tuple[int, ...]) -> bool:
    """Whether a term is no coefficient times a kept site, and different in so many rows that little adds up."""
    if len(term.atoms) == 1 and term.atoms[0].power == 1:
        v = term.atoms[0].variable
        if isinstance(v, Latent) and v.support == "real":
            return False
    rows = math.prod(shape)
    if not rows or not all(is_known(a.selection) for a in term.atoms):
        return False
    if _FEWER * math.prod(a.variable.size for a in term.atoms) <= rows:
        return False
    columns: list[np.ndarray] = []
    for a in term.atoms:
        first = a.selection.reshape(*a.selection.shape[:term.rank], -1)[..., :1].reshape(a.selection.shape[:term.rank])
        columns.append(np.broadcast_to(first, shape).reshape(-1))
    in_order = any((c[1:] > c[:-1]).all() for c in columns)  # which need not be sorted to be seen
    return in_order or (bool(columns) and _FEWER * len(equal_rows(columns, rows)[1]) > rows)
