"""What a model subtracts from its data row by row, as one variable instead of its expansion.

A density holds products of sums, such as the square of `y - m - z`, with `z` to be integrated out. Where `m`, made of kept
sites, differs from row to row otherwise than in coefficients of one of them, nothing of `y**2 - 2 y m + m**2` adds up ahead,
and with y and m far from 0 it has no digits left in single precision. The rows are as many either way, so `y - m` is computed
as the model computes it.

What `z` is multiplied by may be a sum as well (`exp(-a t) - exp(-b t)`, `x[1:] - rho * x[:-1]`), small beside its terms: it is a `Column`,
computed before it is squared.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.classes import equal_elements, equal_rows
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known, merge_atoms
from conjugate_ppl.algebra.value import always_positive, move, never_negative
from conjugate_ppl.algebra.variables import Latent, Variable

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values
    from conjugate_ppl.algebra.walk import Walk

__all__ = ["Residual", "in_one", "in_residuals", "multiplied", "times"]

_SINGLE = 4  # bytes of a float of single precision
_FEWER = 4  # times that rows must be more than different ones among them, to be added up


@dataclasses.dataclass(frozen=True, eq=False)
class Residual(Variable):
    """The elements of a sum of kept sites and known numbers."""

    whole: Value

    def elements(self, values: Values) -> Any:
        return values.value(self.whole).reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Column(Residual):
    """What candidates are multiplied by: `whole`, or some elements of a number of the graph that it is too, as the model computes it."""

    number: int | None
    places: np.ndarray

    def elements(self, values: Values) -> Any:
        return super().elements(values) if self.number is None else values.elements(self.number, self.places)


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
    changed = False
    for factors, terms in sorted(groups, key=lambda group: not group[0]):
        apart = _without_candidates(walk, x.shape, terms)
        if factors:  # what is multiplied by these
            column = _in_sums(walk, number, apart)
            changed = changed or column is not apart
            out += terms if column is apart else [times(factors, t) for t in column.terms]
        elif _by_row(walk, apart):
            own = _noted(walk, number, Residual(
                f"residual#{number}", math.prod(x.shape), always_positive(apart), apart.roots, apart))
            changed = changed or not walk.expanding
            out += terms if walk.expanding else Value.of(own, x.shape).terms
        else:
            out += terms
    return Value(x.shape, tuple(out)) if changed else x


def _noted(walk: Walk, number: int, made: Residual) -> Residual:
    """The variable of a sum in a number of the graph, one made earlier if the sum is the same: of a choice that is taken apart, or
    by other operands than its own, a number has several."""
    own = walk.residuals.setdefault(number, [])
    found = next((r for r in own if type(r) is type(made) and r.whole.same(made.whole)), made)
    if found is made:
        own.append(made)
    return found


def _without_candidates(walk: Walk, shape: tuple[int, ...], terms: Sequence[Term]) -> Value:
    return Value(shape, tuple(dataclasses.replace(t, atoms=tuple(
        a for a in t.atoms if not a.variable.roots & walk.candidates)) for t in terms))


def times(factors: Sequence[Atom], term: Term) -> Term:
    """A term times atoms over own axes."""
    spread = (a.map(lambda s: s.reshape((*s.shape, *(1,) * len(term.hidden)))) for a in factors)
    return dataclasses.replace(term, atoms=merge_atoms((*spread, *term.atoms)))


def _adds_up(walk: Walk, x: Value) -> bool:
    """Whether a sum of latents is to be written out in any case."""
    return walk.adding and all(isinstance(a.variable, Latent) for t in x.terms for a in t.atoms)


def _by_row(walk: Walk, x: Value) -> bool:
    """Whether what is subtracted from data, or these, are no sums that add up ahead."""
    if _adds_up(walk, x):
        return False
    if any(map(_traced, x.terms)):  # data alone are about to be less a point
        return len(x.terms) > 1 or walk.expanding
    in_columns = frozenset().union(*(r.roots for own in walk.residuals.values() for r in own if isinstance(r, Column)))
    return len(x.terms) > 1 and (not in_columns.isdisjoint(x.roots) or any(_row_by_row(t, x.shape) for t in x.terms))


def multiplied(walk: Walk, inputs: Sequence[int], x: Any, y: Any) -> tuple[Any, Any]:
    """The factors of a product that a candidate enters, numbers of the graph, each written in residuals if the other depends on
    something; and where one is of kept sites alone, the sums in it."""
    if not (isinstance(x, Value) and isinstance(y, Value) and x.roots and y.roots and (x.roots | y.roots) & walk.candidates):
        return x, y
    a, b = (in_residuals(walk, n, v) if v.roots & walk.candidates else _in_sums(walk, n, v, whole=True)
            for n, v in zip(inputs, (x, y), strict=True))
    return a, b


def _in_sums(walk: Walk, number: int, x: Value, whole: bool = False) -> Value:
    """What candidates are multiplied by, with one variable where it is a sum: the difference of two curves may be small beside both.
    With `whole` it is all of a number of the graph.

    Where a single term is not zero, as in what is known of a matrix, nothing is lost, and more may add up.
    """
    there = [_not_zero(t, x.shape) for t in x.terms]
    several = np.sum(there, 0) > 1
    single = np.any(there, 0) & ~several
    if not several.any() or _adds_up(walk, x):
        return x
    if _FEWER * single.sum() <= several.sum():  # as at time 0
        several |= single
    _, first, place = np.unique(np.where(several, equal_elements(x), -1), return_index=True, return_inverse=True)
    few = len(first) == 1 or _FEWER * len(first) <= several.sum()
    if not (_cancels(walk, number, x, few) or any(
            _row_by_row(t, x.shape, m & several) for t, m in zip(x.terms, there, strict=True))):
        return x
    if not few:
        first = place = numbered(x.shape)
    as_written = whole and walk.reached(number) and walk.value(number).same(x) and walk.computable(number)
    column = _noted(walk, number, Column(
        f"sum#{number}", first.size, always_positive(x), x.roots, move(x, first), number if as_written else None, first.reshape(-1)))
    out = [t.scaled(~several * 1.0) for t, m in zip(x.terms, there, strict=True) if (m & ~several).any()]
    atom = Atom(column, Fraction(1), place.reshape(x.shape))
    return Value(x.shape, (*out, Term(len(x.shape), (), (several * 1.0,), (atom,))))


def _not_zero(term: Term, shape: tuple[int, ...]) -> np.ndarray:
    """Where a term may be anything else."""
    c = term.coefficient()
    if not is_known(c):
        return np.ones(shape, bool)
    return np.broadcast_to((c != 0).any(tuple(range(term.rank, c.ndim))), shape)


def _cancels(walk: Walk, number: int, x: Value, few: bool) -> bool:
    """Whether terms may be so large beside their sum that digits are lost: of curves always, of products of latents and known numbers
    (`x[1:] - rho * x[:-1]`), which add up ahead, in single precision. If `few` of the elements differ, sums over rows are of few
    numbers as long as these are terms: then it is enough that they are small, measured from a known point."""
    shared = [a for a in x.terms[0].atoms if all(any(a.same(b) for b in t.atoms) for t in x.terms)]
    own = [a.variable for t in x.terms for a in t.atoms if not any(map(a.same, shared))]
    if all(isinstance(v, Latent) for v in own):
        measured = few and all(v.origin is not None for v in own if isinstance(v, Latent))
        if measured or walk.graph.dtypes[number].itemsize > _SINGLE:
            return False
    return not never_negative(x)


def in_one(walk: Walk, x: Value) -> Term | None:
    """A sum as one monomial, if all of its terms hold the same candidates: these, times the sum of what else they have."""
    factors = [_of_candidates(walk, t) for t in x.terms]
    own, equation = factors[0] if factors else None, walk.equation
    if not own or equation is None or not all(f is not None and _same(own, f) for f in factors):
        return None
    rest = _without_candidates(walk, x.shape, x.terms)
    number = equation.outputs[0]
    own_sum = _noted(walk, number, Residual(f"sum#{number}", math.prod(x.shape), always_positive(rest), rest.roots, rest))
    return times(own, Value.of(own_sum, x.shape).terms[0])


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


def _row_by_row(term: Term, shape: tuple[int, ...], where: np.ndarray | None = None) -> bool:
    """Whether a term is no coefficient times a kept site, and different in so many rows (those `where` it is asked for) that
    little adds up."""
    if len(term.atoms) == 1 and term.atoms[0].power == 1:
        v = term.atoms[0].variable
        if isinstance(v, Latent) and v.support == "real":
            return False
    rows = math.prod(shape) if where is None else int(where.sum())
    if not rows or not all(is_known(a.selection) for a in term.atoms):
        return False
    if any(isinstance(a.variable, Residual) for a in term.atoms):
        return True
    if _FEWER * math.prod(a.variable.size for a in term.atoms) <= rows:
        return False
    columns: list[np.ndarray] = []
    for a in term.atoms:
        first = a.selection.reshape(*a.selection.shape[:term.rank], -1)[..., :1].reshape(a.selection.shape[:term.rank])
        every = np.broadcast_to(first, shape)
        columns.append(every.reshape(-1) if where is None else every[where])
    in_order = any((c[1:] > c[:-1]).all() for c in columns)  # which need not be sorted to be seen
    return in_order or (bool(columns) and _FEWER * len(equal_rows(columns, rows)[1]) > rows)
