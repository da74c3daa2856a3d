"""A Gaussian chain as the matrices of its steps, made from monomials."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Reduced
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.gaussian.batches import small
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.statespace.filter import Steps
from conjugate_ppl.statespace.layers import Layers

__all__ = ["ChainModel", "Noise"]

_SIDE_BY_SIDE = 32  # chains that are worth a loop of vectors instead of one of numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """The scales of all elements that have noise of their own: their numbers in the graph and the shapes they are
    brought to, and the pairs of elements that their entries belong to; entries of one class are equal. Those that
    must not be negative and are not proved so are `signed`."""

    scales: tuple[tuple[int, tuple[int, ...]], ...]
    rows: np.ndarray
    columns: np.ndarray
    entries: np.ndarray  # positions in the flat scales, one after the other
    classes: np.ndarray
    signed: np.ndarray | None

    def scale(self, values: Values) -> Any:
        """All numbers, flat; NaN for a negative one, of which only the square would be seen."""
        flat = [jnp.broadcast_to(jnp.asarray(values.evaluate(n), values.dtype), s).reshape(-1) for n, s in self.scales]
        out = flat[0] if len(flat) == 1 else jnp.concatenate([*flat, values.number(np.zeros(0))])
        return out if self.signed is None else jnp.where(self.signed & (out < 0), jnp.nan, out)


class _Part:
    """Numbers of steps (`at`), in some place of their matrices, by coordinates: coefficient * weight."""

    def __init__(self, at: np.ndarray, row: np.ndarray, column: np.ndarray, weights: np.ndarray,
                 numbers: np.ndarray) -> None:
        self.at, self.row, self.column, self.weights, self.numbers = at, row, column, weights, numbers

    def of(self, i: int, j: int) -> _Part:
        """What belongs to one place."""
        own = (self.row == i) & (self.column == j)
        return _Part(*(x[own] for x in (self.at, self.row, self.column, self.weights, self.numbers)))


class _Place:
    """One place of all steps' matrices: an integer, a scalar or a vector.

    Positions below `free` may hold anything.
    """

    def __init__(self, part: _Part, count: int, free: int) -> None:
        self._alike: tuple[int, float] | None = None
        self._array: WeightedArray | None = None
        if not len(part.at):
            self._alike = 0, 0.0
            return
        inside = part.at >= free
        weights, numbers = part.weights[inside], part.numbers[inside]
        once = np.array_equal(np.sort(part.at[inside]), np.arange(free, count))
        if once and (weights == weights[:1]).all() and (numbers == numbers[:1]).all() and len(weights):
            self._alike = int(weights[0]), float(numbers[0])
        else:
            self._array = WeightedArray((count,), (part.at,), part.weights, part.numbers)

    def evaluate(self, values: Values, omega: Any) -> Any:
        """The numbers, given all weights."""
        if self._array is not None:
            return self._array.evaluate(values, omega)
        assert self._alike is not None
        weight, number = self._alike
        if weight == 0:
            return int(number) if number.is_integer() else values.number(np.asarray(number))
        return values.number(np.asarray(number)) * omega[weight]


class _Table:
    """Matrices of all steps: entry by entry where they are narrow, else one array."""

    def __init__(self, part: _Part, many: tuple[int, ...], shape: tuple[int, int], free: int = 0) -> None:
        self._many, self._shape, self._count = many, shape, int(np.prod(many))
        self._table: Any = small(shape[0], lambda i, j: _Place(part.of(i, j), self._count, free), lambda: WeightedArray(
            (self._count, *shape), (part.at, part.row, part.column), part.weights, part.numbers), shape[1])

    def evaluate(self, values: Values, omega: Any, late: Iterable[tuple[Any, Any, Any, Any]] = ()) -> Small:
        """The matrices, given all weights; `late` has (at, rows, columns, numbers) to be added."""
        late = list(late)

        def entry(i: int, j: int) -> Any:
            out = self._table.rows[i][j].evaluate(values, omega)
            for at, row, column, numbers in late:
                own = np.flatnonzero((row == i) & (column == j))
                if len(own):
                    out = jnp.broadcast_to(jnp.asarray(out, values.dtype), (self._count,))
                    out = out.at[at[own]].add(numbers[own])
            return out if jnp.ndim(out) == 0 else out.reshape(self._many)

        def stacked() -> Any:
            out = self._table.array.evaluate(values, omega)
            for at, row, column, numbers in late:
                out = out.at[at, row, column].add(numbers)
            return out.reshape(*self._many, *self._shape)

        return small(self._shape[0], entry, stacked, self._shape[1])


class _Columns:
    """Vectors of all steps, with a column for what is in them and one for each number beside the chain."""

    def __init__(self, part: _Part, steps: int, width: int, columns: int) -> None:
        self._part, self._shape = part, (steps, width, columns)
        self._whole = WeightedArray(self._shape, (part.at, part.row, part.column), part.weights, part.numbers)

    def evaluate(self, values: Values, omega: Any, late: Iterable[tuple[Any, Any, Any, Any]] = ()) -> Small:
        """The vectors, given all weights; `late` as in `_Table`."""
        out = self._whole.evaluate(values, omega)
        filled = set(self._part.row.tolist())
        for at, row, column, numbers in late:
            out = out.at[at, row, column].add(numbers)
            filled |= set(row.tolist())
        return small(self._shape[1], lambda i, j: out[:, i] if i in filled else 0,
                     lambda: jnp.swapaxes(out, 1, 2)[..., None], 1)


class ChainModel:
    """The chain: `likelihood` in its elements, and `locations`, in them and in one token for each element
    whose location it is (numbered from `size` on). Both may hold `beside` more numbers (from `2 size` on),
    to which the log density given the chain is linear: each has a column of its own."""

    def __init__(self, layers: Layers, size: int, likelihood: Reduced, locations: Reduced,
                 noise: Noise, beside: int = 0) -> None:
        self.layers, self.size, self.beside = layers, size, beside
        self._likelihood, self._locations, self._noise = likelihood, locations, noise
        n = layers
        self._one = n.chains <= _SIDE_BY_SIDE or beside > 0  # one behind the other
        self.many = (n.chains * n.steps,) if self._one else (n.steps, n.chains)
        self._at = n.chain * n.steps + n.step if self._one else n.step * n.chains + n.chain
        square = n.width, n.width
        none = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        two, one = likelihood.entries.get(2), likelihood.entries.get(1)
        i, j, w, c = none if two is None else (*two.positions, two.weights, two.coefficients)
        own, linear = j < size, (j >= size, i, j, w, c)
        i, j, w, c = i[own], j[own], w[own], c[own]
        # c x_i x_j = -1/2 x'Dx
        self._d = _Table(self._pairs(*_added_up(np.append(i, j), np.append(j, i), np.append(w, w),
                                                np.append(-c, -c))), self.many, square)
        i, w, c = none[1:] if one is None else (*one.positions, one.weights, one.coefficients)
        self._h = self._vectors(i, w, c, linear)
        two, one = locations.entries.get(2), locations.entries.get(1)
        parent, child, w, c = none if two is None else (*two.positions, two.weights, two.coefficients)
        own, linear = child < 2 * size, (child >= 2 * size, parent - size, child, w, c)
        parent, child, w, c = parent[own], child[own] - size, w[own], c[own]
        same = n.step[parent] == n.step[child]
        self._within = _Table(self._pairs(child[same], parent[same], w[same], c[same]), self.many, square)
        # the first step reads nothing
        self._between = _Table(self._pairs(child[~same], parent[~same], w[~same], c[~same]), self.many, square,
                               free=0 if self._one and n.chains > 1 else n.chains)
        i, w, c = none[1:] if one is None else (*one.positions, one.weights, one.coefficients)
        self._m = self._vectors(i - size, w, c, linear)

    def _vectors(self, i: np.ndarray, w: np.ndarray, c: np.ndarray, linear: tuple[np.ndarray, ...]) -> Any:
        """Vectors of all steps: numbers of places, and those with which the numbers beside come in."""
        if not self.beside:
            return _Table(self._single(i, w, c, 0 * i), self.many, (self.layers.width, 1))
        chosen, j, k, v, d = linear
        column = np.append(0 * i, k[chosen] - 2 * self.size + 1)
        i, w, c = (np.append(x, y[chosen]) for x, y in ((i, j), (w, v), (c, d)))
        part = self._single(i, w, c, column)
        return _Columns(part, self.many[0], self.layers.width, 1 + self.beside)

    def _pairs(self, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, numbers: np.ndarray) -> _Part:
        place = self.layers.place
        return _Part(self._at[rows], place[rows], place[columns], weights, numbers)

    def _single(self, places: np.ndarray, weights: np.ndarray, numbers: np.ndarray, columns: np.ndarray
                ) -> _Part:
        return _Part(self._at[places], self.layers.place[places], columns, weights, numbers)

    def steps(self, values: Values) -> Steps:
        """The matrices of all steps."""
        n, late = self.layers, []
        omega, weight = self._likelihood.weights.evaluate(values), self._locations.weights.evaluate(values)
        for x in self._likelihood.late.get(2, ()):
            (i, j), c = x.evaluate(values)
            if (np.maximum(i, j) >= self.size).any():
                continue
            late += [(self._at[i], n.place[i], n.place[j], -c), (self._at[j], n.place[j], n.place[i], -c)]
        d = self._d.evaluate(values, omega, late)
        h = self._h.evaluate(values, omega, self._late_vectors(self._likelihood, values, 0))
        within: list[Any] = []
        between: list[Any] = []
        for x in self._locations.late.get(2, ()):
            pair, c = x.evaluate(values)
            parent, child = np.minimum(*pair), np.maximum(*pair) - self.size
            if (child >= self.size).any():
                continue
            same = n.step[parent] == n.step[child]
            for chosen, to in ((same, within), (~same, between)):
                k = np.flatnonzero(chosen)
                to.append((self._at[child[k]], n.place[child[k]], n.place[parent[k]], c[k]))
        f = self._between.evaluate(values, weight, between)
        m = self._m.evaluate(values, weight, self._late_vectors(self._locations, values, self.size))
        low, t = self._within.evaluate(values, weight, within), self._t(values)
        f, t = low.series(f), low.series(t)
        if self.beside:
            low = jax.tree.map(lambda x: jnp.expand_dims(x, 1) if jnp.ndim(x) else x, low)
        return Steps(self.many, f, t, low.series(m), d, h, 1 + self.beside if self.beside else 0)

    def _late_vectors(self, reduced: Reduced, values: Values, first: int) -> list[Any]:
        out = []
        for x in (*reduced.late.get(1, ()), *reduced.late.get(2, ())):
            position, c = x.evaluate(values)
            i, k = np.min(position, 0), np.max(position, 0)
            if len(position) == 1:
                column = np.zeros_like(i)
            elif (k >= 2 * self.size).all():
                column = k - 2 * self.size + 1
            else:
                continue
            out.append((self._at[i - first], self.layers.place[i - first], column, c))
        return out

    def _t(self, values: Values) -> Small:
        """The scales of the steps' own noise."""
        n, p, count = self.layers, self._noise, int(np.prod(self.many))
        scale = p.scale(values)
        # a place without an element is one of its own, of which nothing is known
        there = n.there if self._one else n.there.swapaxes(0, 1)
        missing = ~there.reshape(count, n.width)

        def entry(i: int, j: int) -> Any:
            own = np.flatnonzero((n.place[p.rows] == i) & (n.place[p.columns] == j))
            loose = missing[:, i] & (i == j)
            if not len(own) and not loose.any():
                return 0
            if len(own) == count and (p.classes[own] == p.classes[own[0]]).all():
                return scale[int(p.entries[own[0]])]
            out = values.number(np.where(loose, 1.0, 0.0))
            return out.at[self._at[p.rows[own]]].set(scale[p.entries[own]]).reshape(self.many)

        def stacked() -> Any:
            out = values.number(missing[..., None] * np.eye(n.width))
            out = out.at[self._at[p.rows], n.place[p.rows], n.place[p.columns]].set(scale[p.entries])
            return out.reshape(*self.many, n.width, n.width)

        return small(n.width, entry, stacked)

    def pack(self, x: Any) -> Any:
        """A vector of all elements as an array of shape (chains side by side, steps, width)."""
        n = self.layers
        out = jnp.zeros(n.chains * n.steps * n.width, x.dtype).at[n.vector].set(x)
        return out.reshape(*self.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(chains side by side, steps, width)"""
        return (1 if self._one else self.layers.chains, self.many[0], self.layers.width)

    @property
    def noisy(self) -> np.ndarray:
        """Which places hold an element with noise of its own, shape as `shape`."""
        out = np.zeros(int(np.prod(self.shape)), bool)
        out[self.layers.vector[self._noise.rows]] = True
        return out.reshape(self.shape)

    def unpack(self, x: Any) -> Any:
        """The inverse of `pack`."""
        return x.reshape(-1)[self.layers.vector]


def _added_up(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, numbers: np.ndarray
              ) -> tuple[np.ndarray, ...]:
    """Numbers with the same coordinates added."""
    keys, back = np.unique(np.stack([rows, columns, weights]), axis=1, return_inverse=True)
    return (*keys, np.bincount(back.reshape(-1), numbers, minlength=keys.shape[1]))
