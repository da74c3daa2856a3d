"""Known sparse arrays times vectors that are computed at run time, as small products side by side.

`sum_w numbers[g, f, w] omega[w]`, over the few weights `w` that have to do with a group `g`: a scattered sum takes a step
for each number that is not zero, forwards and backwards. Rows, the pairs of a group and a weight, are cut into strips of equal
length here, all rows of a strip of one group. A weight is read once for all features `f` of its row, strips are products of
matrices, and what is left to scatter is one sum a strip.

Features may read weights of their own by the same numbers, as in `sum_j a[g, j] v[j, k] v[j, l]` for all k and l: then the
weights are a table with a column a feature, and the array is a product of two matrices.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.classes import distinct
from conjugate_ppl.algebra.runtime import Values, look_up, segment_sums

__all__ = ["SparseSums"]

_LENGTHS = (1, 2, 4, 8, 16, 32, 64)
_ONE_BY_ONE = _LENGTHS[:5]  # of a single feature sums are written out
# about nanoseconds, forwards and backwards: of a number that is scattered, of one in a strip; of reading a weight, of adding up
# a number of a strip; and of what there is to do for strips of one kind whatever their number
_SCATTERED, _MULTIPLIED, _READ, _ADDED, _KIND = 14.0, 0.5, 4.0, 7.0, 5000.0
_COMMON = 4  # a weight of one number in so many has an array of its own
_DENSE = 0.3  # nanoseconds of a number of a product of matrices
_KINDS = 32  # sets of features that are looked at, the most frequent first; a feature of fewer rows than one in so many is
# looked at by itself


@dataclasses.dataclass(frozen=True, eq=False)
class _Strips:
    """Rows that have the same features: `weights` are their weights, -1 where a strip has no more, shape (strips, length).
    Without features a row is a number of one place."""

    features: np.ndarray | None  # (f,)
    weights: np.ndarray
    numbers: np.ndarray  # (strips, f, length)
    group: np.ndarray  # (strips,), ascending

    @staticmethod
    def of(group: np.ndarray, weights: np.ndarray, numbers: np.ndarray, features: np.ndarray | None) -> _Strips:
        """Of rows, `numbers` of shape (rows, f)."""
        width = numbers.shape[1]
        order = np.argsort(group, kind="stable")
        group, weights, numbers = group[order], weights[order], numbers[order]
        groups, first, many = np.unique(group, return_index=True, return_counts=True)
        length = min(_LENGTHS if width > 1 else _ONE_BY_ONE, key=lambda n: _cost(int((-(-many // n)).sum()), n, width))
        strips = -(-many // length)
        start = (np.cumsum(strips) - strips) * length
        place = np.repeat(start - first, many) + np.arange(len(group))
        read = np.full(strips.sum() * length, -1)
        read[place] = weights
        table = np.zeros((len(read), width))
        table[place] = numbers
        return _Strips(features, read.reshape(-1, length), table.reshape(-1, length, width).swapaxes(1, 2).copy(),
                       np.repeat(groups, strips))

    def sums(self, values: Values, omega: Any) -> Any:
        """Of each strip, shape (strips, f)."""
        numbers = values.number(self.numbers)
        if numbers.shape[1] == 1:
            read = look_up(omega, self.weights).T
            return sum(n * r for n, r in zip(numbers[:, 0].T, read, strict=True))[:, None]
        return jnp.einsum("sfl,sl->sf", numbers, look_up(omega, self.weights), precision="highest")

    def in_groups(self, sums: Any, count: int) -> Any:
        """The sums of strips added up in all groups, shape (count, f)."""
        strips, rest = divmod(len(sums), count)
        if not rest and np.array_equal(self.group, np.repeat(np.arange(count), strips)):
            return sums.reshape(count, strips, -1).sum(1) if strips > 1 else sums
        return segment_sums(sums, self.group, count)


@dataclasses.dataclass(frozen=True, eq=False)
class _Table:
    """Features that read weights of their own by the same `numbers`, shape (groups, rows); `weights`, shape (rows, all features),
    -1 for other features."""

    numbers: np.ndarray
    weights: np.ndarray

    def evaluate(self, values: Values, omega: Any) -> Any:
        """What they add to the array."""
        return jnp.matmul(values.number(self.numbers), look_up(omega, self.weights), precision="highest")


def _tables(shape: tuple[int, int], group: np.ndarray, feature: np.ndarray, weights: np.ndarray,
            numbers: np.ndarray) -> tuple[list[_Table], np.ndarray]:
    """Tables, where those cost less than scattered numbers, and which of the numbers are left."""
    left = np.ones(len(numbers), bool)
    if len(numbers) < _COMMON * shape[1]:  # so few of a feature, where these may be a matrix' elements, are not looked at one by one
        return [], left
    order = np.lexsort((weights, feature))
    f, w = feature[order], weights[order]
    new = np.diff(f, prepend=-1) != 0
    row = np.cumsum(np.diff(w, prepend=-1).astype(bool) | new) - 1
    rank = np.empty(len(row), np.int64)  # of a weight among those of the feature
    rank[order] = row - np.maximum.accumulate(np.where(new, row, 0))
    order = np.lexsort((rank, group, feature))
    alike: dict[tuple[bytes, ...], list[np.ndarray]] = {}
    for own in np.split(order, np.flatnonzero(np.diff(feature[order])) + 1):
        alike.setdefault(tuple(x[own].tobytes() for x in (group, rank, numbers)), []).append(own)
    out = []
    for features in alike.values():
        rows, many = int(rank[features[0]].max(initial=-1)) + 1, len(features) * len(features[0])
        if len(features) > 1 and _KIND + _DENSE * shape[0] * rows * shape[1] + _READ * rows * len(features) < _SCATTERED * many:
            table, read = np.zeros((shape[0], rows)), np.full((rows, shape[1]), -1)
            np.add.at(table, (group[features[0]], rank[features[0]]), numbers[features[0]])
            for own in features:
                read[rank[own], feature[own]] = weights[own]
                left[own] = False
            out.append(_Table(table, read))
    return out, left


def _cost(strips: int, length: int, features: int) -> float:
    return strips * (length * (_READ + _MULTIPLIED * features) + _ADDED * (features + 1))


class SparseSums:
    """An array of `shape`, (groups, features), given by coordinates, each number times a weight."""

    def __init__(self, shape: tuple[int, int], group: np.ndarray, feature: np.ndarray, weights: np.ndarray,
                 numbers: np.ndarray) -> None:
        self._shape = shape
        often = _COMMON * np.bincount(weights) > shape[0] * shape[1]
        self._common = np.flatnonzero(often)
        self._tables = np.zeros((len(self._common), *shape))
        of_common = often[weights]
        self._tables[(np.cumsum(often) - 1)[weights[of_common]], group[of_common], feature[of_common]] = numbers[of_common]
        group, feature, weights, numbers = (x[~of_common] for x in (group, feature, weights, numbers))
        self._of_features, rest = _tables(shape, group, feature, weights, numbers)
        group, feature, weights, numbers = (x[rest] for x in (group, feature, weights, numbers))
        self._strips: list[_Strips] = []
        left = np.ones(len(numbers), bool)
        span = int(weights.max(initial=0)) + 1
        rows, row = distinct(group * span + weights)
        often = _KINDS * np.bincount(feature, minlength=shape[1]) >= len(rows)
        some = np.flatnonzero(often[feature])
        for kind, features in _kinds(row[some], feature[some], len(rows)):
            own = some[kind[row[some]]]
            place, column = np.cumsum(kind) - 1, np.full(shape[1], -1)
            column[features] = np.arange(len(features))
            table = np.zeros((int(kind.sum()), len(features)))
            table[place[row[own]], column[feature[own]]] = numbers[own]
            left[own] = not self._add(rows[kind] // span, rows[kind] % span, table, features, len(own))
        place = group * shape[1] + feature
        rare = np.flatnonzero(left)  # number by number, of which each place is a group
        left[rare] = not self._add(place[rare], weights[rare], numbers[rare, None], None, len(rare))
        self._place, self._weights, self._numbers = place[left], weights[left], numbers[left]

    def _add(self, group: np.ndarray, weights: np.ndarray, table: np.ndarray, features: np.ndarray | None, many: int) -> bool:
        """Take rows for strips, if that costs less than scattering so many numbers."""
        if _SCATTERED * many < _KIND:
            return False
        strips = _Strips.of(group, weights, table, features)
        if _SCATTERED * many < _KIND + _cost(len(strips.weights), strips.weights.shape[1], table.shape[1]):
            return False
        self._strips.append(strips)
        return True

    def evaluate(self, values: Values, omega: Any) -> Any:
        """The array, given all weights."""
        count, width = self._shape
        total = jnp.zeros(self._shape, values.dtype)
        if len(self._common):
            total = jnp.tensordot(omega[self._common], values.number(self._tables), 1, precision="highest")
        for table in self._of_features:
            total = total + table.evaluate(values, omega)
        numbers, places = [], []  # of what is scattered, all at once
        for strips in self._strips:
            sums = strips.sums(values, omega)
            if strips.features is not None and len(strips.features) == width:
                total = total + strips.in_groups(sums, count)
                continue
            numbers.append(sums.reshape(-1))
            places.append(strips.group if strips.features is None else
                          (strips.group[:, None] * width + strips.features).reshape(-1))
        if len(self._numbers):
            numbers.append(values.number(self._numbers) * look_up(omega, self._weights))
            places.append(self._place)
        if numbers:
            total = total + segment_sums(jnp.concatenate(numbers), np.concatenate(places), count * width).reshape(count, width)
        return total


def _kinds(row: np.ndarray, feature: np.ndarray, rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows that are best put together, and the features of each such kind, at first those of the same features."""
    # a random number a feature: their sum says which there are
    keys = np.random.default_rng(0).integers(0, 1 << 62, int(feature.max(initial=0)) + 1, dtype=np.uint64)
    sums = np.zeros(rows, np.uint64)
    np.add.at(sums, row, keys[feature])
    _, first, kind, many = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
    kind = kind.reshape(-1)
    often = np.argsort(-many, kind="stable")[:_KINDS]
    order = np.argsort(row, kind="stable")
    ends = np.searchsorted(row[order], np.arange(rows + 1))
    own: dict[tuple[int, ...], np.ndarray] = {
        (int(k),): np.sort(feature[order[ends[first[k]]:ends[first[k] + 1]]]) for k in often if sums[first[k]]}

    def cost(kinds: tuple[int, ...], features: np.ndarray) -> float:
        return _KIND + float(many[list(kinds)].sum()) * (_READ + _MULTIPLIED * len(features))

    while len(own) > 1:
        best, found = 0.0, None
        names = list(own)
        for i, a in enumerate(names):
            for b in names[:i]:
                both = np.union1d(own[a], own[b])
                gain = cost(a, own[a]) + cost(b, own[b]) - cost(a + b, both)
                if gain > best:
                    best, found = gain, (a, b, both)
        if found is None:
            break
        a, b, both = found
        del own[a], own[b]
        own[a + b] = both
    return [(np.isin(kind, k), features) for k, features in own.items()]
