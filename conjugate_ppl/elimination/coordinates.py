"""In what coordinates the elements of a recursion are kept.

Where the likelihood reads `start + sigma * s[t]`, that is what had better be carried, and not s[t]: `sigma` is then
no part of what is seen, and `start` of the first step alone, not of all. With

    e = w (s + c b),    w, c > 0 monomials in what is kept, b an element of a site for each chain,

the recursion `s[t] = s[t-1] + x[t]` is `e[t] = e[t-1] + w x[t]`, and begins at `w (x[0] + c b)`. Any w and c would do:
which to take is read off the likelihood's squares, products and linear terms.

The steps of a site are carried with what stands beside them in the same way, w = 1: where `mu + x[t]` is seen, that. The
location of each then has `mu`, which the data do not see apart from x[t], and no precise datum is divided among the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from conjugate_ppl.algebra.reduce import Entries, Reduced, reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.value import add, move, multiply, reshape
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.algebra.walk import Walk

if TYPE_CHECKING:
    from conjugate_ppl.elimination.written import Part, Written

__all__ = ["Coordinates", "better_coordinates", "without_rounding"]

_ROUNDING = 1e-12  # share of what there was before
_FEWEST = 3  # elements of a recursion that one of a site must meet
_WEIGHTS = 16  # of what is seen, with which what rounding leaves of what is beside is no sum of as many numbers

Monomial = dict[tuple[Variable, int], Fraction]


@dataclasses.dataclass(frozen=True)
class Shift:
    """c b: a number and an element of a site for each element of a recursion, times a monomial.

    `largest` are the largest coefficients of the site in the likelihood before, in linear terms and in others.
    """

    part: Part
    element: np.ndarray
    number: np.ndarray
    monomial: Monomial
    largest: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """e = weight (s + shifts)"""

    weight: Monomial = dataclasses.field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()

    @property
    def roots(self) -> frozenset[str]:
        """The sites that they are made of."""
        monomials = (self.weight, *(x.monomial for x in self.shifts))
        return frozenset().union(*(v.roots for m in monomials for v, _ in m), *({x.part.site} for x in self.shifts))

    def forwards(self, walk: Walk, s: Value) -> Value:
        """e, given s."""
        return multiply(add(s, self._shift(walk, s.shape)), _value(self.weight, s.shape))

    def back(self, walk: Walk, e: Value) -> Value:
        """s, given e."""
        inverse = {k: -p for k, p in self.weight.items()}
        return add(multiply(e, _value(inverse, e.shape)), self._shift(walk, e.shape), -1)

    def _shift(self, walk: Walk, shape: tuple[int, ...]) -> Value:
        total = Value(shape, ())
        for x in self.shifts:
            (site,) = walk.run([x.part.number])
            b = reshape(move(site, x.element), shape)
            total = add(total, multiply(multiply(b, Value.known(x.number.reshape(shape))), _value(x.monomial, shape)))
        return total

    def numbers(self, values: Values, s: Any) -> Any:
        """e, given s, at the values of the sites."""
        return (s + self._shifted(values, s)) * _number(self.weight, values)

    def numbers_back(self, values: Values, e: Any) -> Any:
        """s, given e, likewise."""
        return e / _number(self.weight, values) - self._shifted(values, e)

    def point_back(self, e: np.ndarray, sites: Mapping[str, np.ndarray]) -> np.ndarray:
        """s where e and the sites are given ahead; what is kept counts as 1."""
        return e - sum((sites[x.part.site][x.element] * x.number for x in self.shifts if x.part.site in sites), np.zeros(()))

    def _shifted(self, values: Values, like: Any) -> Any:
        total = jnp.zeros(like.size, like.dtype)
        for x in self.shifts:
            total = total + values.site(x.part.site).reshape(-1)[x.element] * values.number(x.number) * _number(x.monomial, values)
        return total.reshape(like.shape)


def _value(monomial: Monomial, shape: tuple[int, ...]) -> Value:
    one = (1,) * len(shape)
    return Value(shape, (Term(len(shape), (), (np.ones(one),), tuple(
        Atom(v, p, np.full(one, k)) for (v, k), p in sorted(monomial.items(), key=lambda x: x[0][0].name))),))


def _number(monomial: Monomial, values: Values) -> Any:
    total: Any = values.number(1.0)
    for (v, k), p in monomial.items():
        total = total * values.power(v, p)[k]
    return total


def better_coordinates(written: Written, beside: Sequence[Part]) -> dict[int, Coordinates]:
    """Coordinates for the parts of a chain, by number; those without are kept as they are. What is `beside` it is numbered
    behind all elements and locations."""
    numbers: dict[Variable, int] = {written.elements: 0}
    numbers.update(zip(written.beside, (p.first for p in beside), strict=True))
    likelihood = reduce_terms(written.bound, numbers.get)
    found: dict[int, Coordinates] = {}
    if 2 not in likelihood.entries or likelihood.late:
        return found
    for part in written.parts:
        coordinates = Coordinates()
        if part.exact:  # a site's own density is of its elements, as they are scaled
            chains = _chains(part, written, written.elements.size)
            coordinates = _of_part(part, [p for p in written.parts if not p.exact], likelihood, chains)
        shared = () if coordinates.weight else _by_what_is_shared(part, beside, likelihood)
        coordinates = dataclasses.replace(coordinates, shifts=(*coordinates.shifts, *shared))
        if coordinates.weight or coordinates.shifts:
            found[part.number] = coordinates
    return found


def without_rounding(likelihood: Reduced, written: Written) -> Reduced:
    """The likelihood without what is left of b for rounding alone."""
    entries = dict(likelihood.entries)
    for shift in (x for c in written.moved.values() for x in c.shifts):
        for degree, largest in zip((1, 2), shift.largest, strict=True):
            if degree in entries:
                x = entries[degree]
                there = np.logical_or.reduce([_in(p, shift.part) for p in x.positions])
                left = ~there | (np.abs(x.coefficients) > _ROUNDING * largest)
                entries[degree] = Entries(tuple(p[left] for p in x.positions), x.weights[left], x.coefficients[left])
    return dataclasses.replace(likelihood, entries=entries)


def _largest(likelihood: Reduced, part: Part) -> tuple[float, float]:
    found = []
    for degree in (1, 2):
        x = likelihood.entries.get(degree)
        there = np.zeros(0) if x is None else x.coefficients[
            np.logical_or.reduce([_in(p, part) for p in x.positions])]
        found.append(float(np.abs(there).max(initial=0.0)))
    return max(found), found[1]


def _in(x: np.ndarray, part: Part) -> np.ndarray:
    return np.asarray((x >= part.first) & (x < part.own.stop))


def _chains(part: Part, written: Written, size: int) -> np.ndarray:
    """For each element of a recursion, a number of those that it is computed from and for."""
    locations = reduce_terms(written.locations, lambda v: {written.elements: 0, written.tokens: size}.get(v))
    parent, child = locations.entries[2].positions if 2 in locations.entries else (np.zeros(0, int),) * 2
    a, b = parent - part.first, child - size - part.first
    own = (a >= 0) & (a < part.size) & (b >= 0) & (b < part.size)
    graph = coo_array((np.ones(own.sum()), (a[own], b[own])), shape=(part.size, part.size))
    found: np.ndarray = connected_components(graph, directed=False)[1]
    return found


def _of_part(part: Part, sites: Sequence[Part], likelihood: Reduced, chains: np.ndarray) -> Coordinates:
    two, one = likelihood.entries[2], likelihood.entries.get(1)
    i, j = two.positions
    square = (i == j) & _in(i, part)
    weights = np.unique(two.weights[square])
    if len(weights) != 1:
        return Coordinates()
    own = _monomial(likelihood, int(weights[0]))
    numbers = np.zeros(part.size)
    numbers[i[square] - part.first] = two.coefficients[square]
    shifts = []
    for site in sites:
        pairs = [(a - part.first, b - site.first) for a, b in ((i, j), (j, i))]
        there = [_in(a, part) & _in(b, site) for a, b in ((i, j), (j, i))]
        if any(t.any() for t in there):
            at, to, weight, number = (np.concatenate(x) for x in zip(*(
                (a[t], b[t], two.weights[t], two.coefficients[t]) for (a, b), t in zip(pairs, there, strict=True)),
                strict=True))
            shift = _shift(site, at, to, weight, number, numbers, chains, own, likelihood)
            if shift is not None:
                shifts.append(shift)
    scale: Monomial = {}
    if one is not None:
        linear = np.unique(one.weights[_in(one.positions[0], part)])
        if len(linear):
            fewest = min((_monomial(likelihood, w) for w in _one_of_each_kind(likelihood, linear)), key=len)
            scale = _positive(_over(own, fewest)) or {}
    return Coordinates(scale, tuple(shifts))


def _shift(site: Part, at: np.ndarray, to: np.ndarray, weight: np.ndarray, number: np.ndarray, squares: np.ndarray,
           chains: np.ndarray, own: Monomial, likelihood: Reduced) -> Shift | None:
    """The shift by elements `to` of a site, which meet elements `at` of the recursion; None if they differ within
    a chain."""
    if len(np.unique(weight)) != 1 or len(np.unique(at)) != len(at) or (squares[at] == 0).any():
        return None
    if np.bincount(to).max() < _FEWEST or (squares != 0).sum() != len(at):
        return None
    count = int(chains.max()) + 1
    element, ratio = np.full(count, -1), np.zeros(count)
    element[chains[at]], ratio[chains[at]] = to, number / (2 * squares[at])
    same = (element[chains[at]] == to) & (ratio[chains[at]] == number / (2 * squares[at]))
    monomial = _positive(_over(_monomial(likelihood, int(weight[0])), own))
    if not same.all() or (element < 0).any() or monomial is None:
        return None
    return Shift(site, element[chains], ratio[chains], monomial, _largest(likelihood, site))


def _by_what_is_shared(part: Part, beside: Sequence[Part], likelihood: Reduced) -> Iterator[Shift]:
    """The shifts by what is beside a chain, element by element, each times a number of its own for each step; 0 where that is not
    seen, or not with the same number by all that see it."""
    two = likelihood.entries[2]
    i, j = two.positions  # in order
    own = (i == j) & _in(i, part)
    if not own.any() or ((i != j) & _in(i, part) & _in(j, part)).any():
        return
    many = int(two.weights.max()) + 1
    order = np.argsort(i[own] * many + two.weights[own])
    place, squares = i[own][order] - part.first, two.coefficients[own][order]
    keys = (i[own] * many + two.weights[own])[order]
    one = np.unique(two.weights[own])
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    for site in beside:
        for k in range(site.size):
            met = _in(i, part) & (j == site.first + k)
            if np.count_nonzero(met) < _FEWEST:
                continue
            monomial: Monomial | None = {}
            at = np.searchsorted(keys, wanted := i[met] * many + two.weights[met])
            if not np.array_equal(keys[np.minimum(at, len(keys) - 1)], wanted):  # seen with a factor
                kinds = np.unique(two.weights[met])
                at = np.searchsorted(place, i[met] - part.first)
                if len(one) > 1 or len(kinds) > 1 or not np.array_equal(place[np.minimum(at, len(place) - 1)], i[met] - part.first):
                    continue
                monomial = _positive(_over(_monomial(likelihood, int(kinds[0])), _monomial(likelihood, int(one[0]))))
            ratio = np.zeros(len(keys))
            with np.errstate(divide="ignore", invalid="ignore"):
                np.add.at(ratio, at, two.coefficients[met] / (2 * squares[at]))
            low, high = np.minimum.reduceat(ratio, starts), np.maximum.reduceat(ratio, starts)
            number = np.zeros(part.size)
            number[place[starts]] = np.where(high - low <= _ROUNDING * np.abs(high), high, 0.0)
            whole = np.rint(number)  # of a level, which then cancels to the last digit
            number = np.where(np.abs(number - whole) <= _ROUNDING * np.abs(number), whole, number)
            if monomial is not None and number.any() and (len(one) <= _WEIGHTS or (number == whole).all()):
                yield Shift(site, np.full(part.size, k), number, monomial, _largest(likelihood, site))


def _kinds(reduced: Reduced) -> np.ndarray:
    """For each weight which combination of variables it is of."""
    return np.repeat(np.arange(len(reduced.weights.groups)), [len(rows) for _, rows in reduced.weights.groups])


def _monomial(reduced: Reduced, number: int) -> Monomial:
    """A weight by its number."""
    kinds = _kinds(reduced)
    signature, rows = reduced.weights.groups[kinds[number]]
    out: Monomial = {}
    for (v, power), k in zip(signature, rows[number - np.searchsorted(kinds, kinds[number])].tolist(), strict=True):
        out[v, k] = out.get((v, k), Fraction(0)) + power
    return out


def _one_of_each_kind(reduced: Reduced, numbers: np.ndarray) -> list[int]:
    """Of some weights one for each combination of variables."""
    found: list[int] = numbers[np.unique(_kinds(reduced)[numbers], return_index=True)[1]].tolist()
    return found


def _over(a: Monomial, b: Monomial) -> Monomial:
    total = {k: a.get(k, Fraction(0)) - b.get(k, Fraction(0)) for k in (*a, *b)}
    return {k: p for k, p in total.items() if p}


def _positive(monomial: Monomial) -> Monomial | None:
    return monomial if all(v.positive for v, _ in monomial) else None
