"""Which pieces components have, and what multiplies their elements there.

A residual `y - l x - K e`, squared with a weight w, holds an element x to the second power with weight w l^2, and to the first,
beside data or the rest, with w l. What l is follows from both: a weight of the first power, squared, is that of the second times w,
which is a weight of the data's squares or of the rest. Non-centred effects, factor scores and covariates with error so have pieces
as what is measured directly does, with l = 1.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from conjugate_ppl.gaussian.links import Numbering
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Loaded", "as_seen", "by_loads"]

_MANY = 1 << 16  # entries that are looked at one by one

Factors = dict[Any, Fraction]


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """Pieces, and the weight numbers of what multiplies each place in them, shape (pieces, width)."""

    pieces: Numbering
    factor: np.ndarray


def as_seen(q: Quadratic, s: Structure) -> Loaded | None:
    """A piece for each weight of a component, nothing multiplied; None if a weight is not proved positive."""
    if not q.fixed:
        return None
    span = q.reduced.weights.count
    entry, linear = (np.where(s.component[e] >= 0, s.component[e] * span + w, -1) for e, w in (
        (q.rows, q.weights), (q.places, q.linear_weights)))
    keys = np.unique(np.concatenate([entry, linear]))
    keys = keys[keys >= 0]
    if not q.reduced.weights.positive(keys % span):
        return None
    entry, linear = (np.where(k >= 0, np.searchsorted(keys, k), -1) for k in (entry, linear))
    return Loaded(Numbering(keys // span, keys % span, entry, linear), np.zeros((len(keys), s.width), np.int64))


def by_loads(q: Quadratic, s: Structure) -> Loaded | None:
    """The pieces; None where weights are not so, or one of a piece is not proved positive."""
    if not q.fixed or max(int(np.count_nonzero(s.component[q.rows] >= 0)), q.reduced.weights.count) > _MANY:
        return None
    inside, other = s.component[q.rows] >= 0, s.component[q.columns] >= 0
    linear = s.component[q.places] >= 0
    own = inside & (q.rows == q.columns)
    span = q.reduced.weights.count
    squares = np.unique(q.rows[own] * span + q.weights[own])
    once = np.unique(np.concatenate([q.rows[inside & ~other] * span + q.weights[inside & ~other],
                                     q.places[linear] * span + q.linear_weights[linear]]))
    found = _Weights(q, ~inside & ~other, ~linear)
    firsts = _by_element(once, span)
    beside_data = set((q.places[linear] * span + q.linear_weights[linear]).tolist())
    at: dict[tuple[int, int], int] = {}  # the piece of an element with a weight
    again: dict[tuple[int, int], int] = {}  # likewise, beside an element of the rest that is multiplied like it
    numbers: dict[tuple[int, int, int], int] = {}  # of a component, a base weight and, if that has one element, what multiplies this
    factors: dict[tuple[int, int], int] = {}  # of a piece and a place
    for element, seconds in _by_element(squares, span).items():
        component, place = int(s.component[element]), int(s.place[element])
        loads = found.loads(tuple(seconds), tuple(firsts.pop(element, ())))
        if loads is None:
            return None
        own, left = loads
        if left and (s.width > 1 or any(element * span + w in beside_data for w in left)):
            return None
        for base, load, first, second in own:
            piece = numbers.setdefault((component, base, load if s.width == 1 else 0), len(numbers))
            if factors.setdefault((piece, place), load) != load:
                return None
            at[element, first] = piece
            if second in left:
                again[element, second] = piece
    if firsts:
        return None  # what is not squared
    count = len(numbers)
    components, bases, _ = np.array(list(numbers), np.int64).reshape(count, 3).T
    factor = np.zeros((count, s.width), np.int64)
    for (piece, place), load in factors.items():
        factor[piece, place] = load
    if not found.weights.positive(bases):
        return None
    entry, twice = np.full(len(q.rows), -1), np.zeros(len(q.rows), bool)
    of_component: dict[int, list[tuple[int, int]]] = {}
    for (c, b, _), piece in numbers.items():
        of_component.setdefault(c, []).append((b, piece))
    for k in np.flatnonzero(inside):
        i, j, w = int(q.rows[k]), int(q.columns[k]), int(q.weights[k])
        if not other[k]:
            twice[k] = (i, w) in again
            entry[k] = again[i, w] if twice[k] else at.get((i, w), -1)
        else:
            places = int(s.place[i]), int(s.place[j])
            entry[k] = next((p for b, p in of_component[int(s.component[i])] if found.number(
                (b, 1), (int(factor[p, places[0]]), 1), (int(factor[p, places[1]]), 1)) == w), -1)
        if entry[k] < 0:
            return None
    of_linear = np.array([at.get((int(e), int(w)), -1) if there else -1
                          for e, w, there in zip(q.places, q.linear_weights, linear, strict=True)], np.int64).reshape(-1)
    order = np.lexsort((bases, components))
    rank = np.append(np.argsort(order), -1)
    powers = np.array([[found.number((int(b), 1), *[(int(f[0]), 1)] * p) for p in range(3)] if s.width == 1 else [b] * 3
                       for b, f in zip(bases, factor, strict=True)], np.int64).reshape(count, 3)
    return Loaded(Numbering(components[order], bases[order], rank[entry], rank[of_linear], twice, powers[order]), factor[order])


def _by_element(keys: np.ndarray, span: int) -> dict[int, list[int]]:
    out: dict[int, list[int]] = {}
    for key in keys.tolist():
        out.setdefault(key // span, []).append(key % span)
    return out


class _Weights:
    """The weights of a quadratic, and new ones that are made of them."""

    def __init__(self, q: Quadratic, of_rest: np.ndarray, linear_of_rest: np.ndarray) -> None:
        self.weights = q.reduced.weights
        self._factors = self.weights.factors()
        self._numbers = {frozenset(f.items()): k for k, f in enumerate(self._factors)}
        constant = q.reduced.entries.get(0)
        self._bases = {*q.weights[of_rest].tolist(), *q.linear_weights[linear_of_rest].tolist(),
                       *([] if constant is None else constant.weights.tolist())}
        self._found: dict[Any, Any] = {}
        self._products: dict[tuple[tuple[int, int], ...], int] = {}

    def number(self, *parts: tuple[int, int]) -> int:
        """The number of a product of weights to powers."""
        if parts not in self._products:
            self._products[parts] = self._named(self._total(parts))
        return self._products[parts]

    def _total(self, parts: tuple[tuple[int, int], ...]) -> Factors:
        total: Factors = {}
        for weight, power in parts:
            for name, p in self._factors[weight].items():
                total[name] = total.get(name, Fraction(0)) + power * p
        return {n: p for n, p in total.items() if p}

    def _named(self, total: Factors) -> int:
        key = frozenset(total.items())
        if key not in self._numbers:
            self._numbers[key] = self.weights.of_factors(total)
            self._factors.append(total)
        return self._numbers[key]

    def loads(self, seconds: tuple[int, ...], firsts: tuple[int, ...]) -> tuple[list[tuple[int, int, int, int]], list[int]] | None:
        """(base weight, what multiplies the element, weights of the first and the second power) for all weights of an element; and
        those of second powers that it has beside others, too."""
        if (seconds, firsts) not in self._found:
            self._found[seconds, firsts] = self._loads(seconds, firsts)
        out: tuple[list[tuple[int, int, int, int]], list[int]] | None = self._found[seconds, firsts]
        return out

    def _loads(self, seconds: tuple[int, ...], firsts: tuple[int, ...]) -> tuple[list[tuple[int, int, int, int]], list[int]] | None:
        out, left = [], list(firsts)
        for second in seconds:
            # only of what is a weight already; the others are none of this element's pieces
            able = [(self._numbers.get(frozenset(self._total(((first, 2), (second, -1))).items()), -1), first) for first in left]
            able = [x for x in able if x[0] in self._bases and x[0] != second] or [
                x for x in able if x[0] == second and self.weights.positive(np.array([second]))]
            if len(able) > 1:
                return None
            if able:
                base, first = able[0]
                left.remove(first)
                out.append((base, self.number((second, 1), (first, -1)), first, second))
            else:
                out.append((*self._square(second), second, second))
        return (out, left) if set(left) <= set(seconds) else None

    def _square(self, second: int) -> tuple[int, int]:
        """A base, and what multiplies an element whose squares have this weight, but nothing of the first power does."""
        if not self.weights.positive(np.array([second])):
            ratios = [(base, self._total(((second, 1), (base, -1)))) for base in sorted(self._bases)]
            able = [(b, r) for b, r in ratios if r and all(p % 2 == 0 for p in r.values())]
            if able:
                base, ratio = min(able, key=lambda x: len(x[1]))  # the others are other rows'
                return base, self._named({n: p / 2 for n, p in ratio.items()})
        return second, self.number()
