"""Small matrices entry by entry: one vector for an entry of all of them."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.gaussian.small import Small

__all__ = ["FEW", "Entries", "diagonal", "dot"]

FEW = 4
"""Rows of matrices that are kept entry by entry, and elements of vectors with them: programs grow with the cube."""


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Entries(Small):
    """Matrices by their entries."""

    rows: tuple[tuple[Any, ...], ...]

    @property
    def width(self) -> int:
        return len(self.rows)

    @property
    def T(self) -> Entries:
        return Entries(tuple(zip(*self.rows, strict=True)))

    def __matmul__(self, other: Any) -> Entries:
        columns = other.T.rows
        return Entries(tuple(tuple(dot(r, c) for c in columns) for r in self.rows))

    def columns_scaled(self, d: list[Any] | None) -> Entries:
        return self if d is None else self._map(lambda i, j, x: dot((x,), (d[j],)))

    def gram(self, d: list[Any] | None = None) -> Entries:
        left = self.columns_scaled(d).rows
        return self._symmetric(lambda i, j: dot(left[i], self.rows[j]))

    def around(self, other: Any, plus: Any = None) -> Entries:
        start = [[0] * self.width] * self.width if plus is None else plus.rows
        read = [[k for k, x in enumerate(r) if not _zero(x)] for r in self.rows]
        if all(len(k) <= 1 for k in read):
            def scaled(i: int, j: int) -> Any:
                a, b = read[i], read[j]
                both = dot(self.rows[i][a[0]:a[0] + 1], self.rows[j][b[0]:b[0] + 1]) if a and b else 0
                return dot((start[i][j], other.rows[a[0]][b[0]] if a and b else 0), (1, both))

            return self._symmetric(scaled)
        left = (self @ other).rows
        # what is known before the other matrix comes first
        return self._symmetric(lambda i, j: dot((start[i][j], *left[i]), (1, *self.rows[j])))

    def swept(self) -> tuple[Entries, Any]:
        m: list[list[Any]] = [list(r) for r in self.rows]
        logdet: Any = 0
        for j in range(self.width):
            others = [i for i in range(self.width) if i != j]
            column, pivot = [r[j] for r in m], m[j][j]
            if _one(pivot) and all(_zero(column[i]) for i in others):
                m[j][j] = -1
                continue
            share = [0 if _zero(c) else c / pivot for c in column]
            for i in others:
                for k in others:
                    m[i][k] = m[k][i] if k < i else dot((m[i][k], column[i]), (1, -share[k]))
                m[i][j] = m[j][i] = share[i]
            m[j][j] = -1 / pivot
            logdet = logdet + jnp.log(pivot)
        return self._symmetric(lambda i, j: -m[i][j]), logdet

    def inverted(self) -> tuple[Entries, Any]:
        half, inverse, logdet = self.inverse_factor()
        return half.T.gram(inverse), logdet

    def joseph(self, r: Any, inverse: Any) -> tuple[Any, Any]:
        if not all(_zero(x) for i, row in enumerate(r.rows) for j, x in enumerate(row) if i != j):
            return super().joseph(r, inverse)
        # on the diagonal 1 - P R (I + R'PR)^-1 R' is the inverse itself, which keeps its digits where P is vague
        seen = [k for k in range(self.width) if not _zero(r.rows[k][k])]
        if len(seen) == 1:
            return self._seen_once(seen[0], r.rows[seen[0]][seen[0]], inverse.rows[seen[0]][seen[0]])
        gain = self @ r @ inverse
        left = (gain @ r.T)._map(lambda i, j, x: inverse.rows[i][i] if i == j else dot((x,), (-1,)))
        return (left @ self if self.width == 1 else left.around(self) + gain.gram()), left

    def _seen_once(self, k: int, r: Any, inverse: Any) -> tuple[Entries, Entries]:
        """`joseph` for a root with one number, r at (k, k): the same with as few operations one after the other as
        there can be, since a loop's step takes as long as those."""
        p, n = self.rows, range(self.width)
        square = r * r
        gain = [dot((row[k],), (inverse,)) for row in p]
        left = [inverse if i == k else dot((dot((p[i][k],), (square,)),), (-inverse,)) for i in n]
        rest = [dot((p[i][k], left[i]), (1, p[k][k])) for i in n]

        def entry(i: int, j: int) -> Any:
            if k in (i, j):
                return gain[i if j == k else j]
            start = dot((p[i][j], left[i]), (1, p[j][k]))
            return dot((start, rest[i], dot((gain[i],), (square,))), (1, left[j], gain[j]))

        return self._symmetric(entry), Entries(tuple(
            tuple(left[i] if j == k else int(i == j) for j in n) for i in n))

    def root(self) -> Entries:
        n = self.width
        low: list[list[Any]] = [[0] * n for _ in range(n)]
        for j in range(n):
            if _zero(self.rows[j][j]):
                continue
            left = [dot((self.rows[i][j], *low[i][:j]), (1, *map(operator.neg, low[j][:j]))) for i in range(n)]
            whole = jnp.asarray(self.rows[j][j], jnp.result_type(self.rows[j][j], jnp.float32))
            full = left[j] > 4 * n * jnp.finfo(whole.dtype).eps * whole
            diagonal = jnp.sqrt(jnp.where(full, left[j], 1.0))
            low[j][j] = jnp.where(full, diagonal, 0.0)
            for i in range(j + 1, n):
                low[i][j] = 0 if _zero(left[i]) else jnp.where(full, left[i] / diagonal, 0.0)
        return Entries(tuple(map(tuple, low)))

    def series(self, other: Any) -> Entries:
        out: list[tuple[Any, ...]] = []
        for i, r in enumerate(other.rows):
            out.append(tuple(dot((x, *self.rows[i][:i]), (1, *(o[j] for o in out)))
                             for j, x in enumerate(r)))
        return Entries(tuple(out))

    def plus_transposed(self) -> Entries:
        return self._symmetric(lambda i, j: dot((self.rows[i][j], self.rows[j][i]), (1, 1)))

    def plus_one(self) -> Entries:
        return Entries(tuple(tuple(x + 1 if i == j else x for j, x in enumerate(r))
                             for i, r in enumerate(self.rows)))

    def __add__(self, other: Any) -> Entries:
        return self._map(lambda i, j, x: dot((x, other.rows[i][j]), (1, 1)))

    def scaled(self, factor: Any) -> Entries:
        return self._map(lambda i, j, x: dot((x,), (factor,)))

    def inner(self, other: Any) -> Any:
        return dot(sum(self.rows, ()), sum(other.rows, ()))

    def lower(self) -> Entries:
        n, m = self.width, self.rows
        low: list[list[Any]] = [[0] * n for _ in range(n)]
        for j in range(n):
            pivot = m[j][j] - dot(low[j][:j], low[j][:j])
            low[j][j] = jnp.sqrt(jnp.where(pivot > 0, pivot, jnp.nan))
            for i in range(j + 1, n):
                rest = dot((m[i][j], *low[i][:j]), (1, *(-x for x in low[j][:j])))
                low[i][j] = rest if _zero(rest) else rest * (1 / low[j][j])  # shared with the inverse
        return Entries(tuple(map(tuple, low)))

    def lower_of_gram(self) -> Entries:
        n = range(self.width)
        low: list[list[Any]] = [[int(i == j) for j in n] for i in n]
        for column in self.T.rows:
            left = list(column)
            for k in n:
                if _zero(left[k]):
                    continue
                size = jnp.sqrt(dot((low[k][k], left[k]), (low[k][k], left[k])))
                cos, sin = low[k][k] / size, left[k] / size
                low[k][k] = size
                for i in n[k + 1:]:
                    low[i][k], left[i] = dot((low[i][k], left[i]), (cos, sin)), dot((left[i], low[i][k]), (cos, -sin))
        return Entries(tuple(map(tuple, low)))

    def inverse_factor(self) -> tuple[Entries, list[Any] | None, Any]:
        n, m = self.width, self.rows
        low: list[list[Any]] = [[int(i == j) for j in range(n)] for i in range(n)]
        pivots: list[Any] = []
        for j in range(n):
            shares = [dot((x,), (p,)) for x, p in zip(low[j], pivots, strict=False)]
            pivot = m[j][j] - dot(low[j][:j], shares)
            pivots.append(jnp.where(pivot > 0, pivot, jnp.nan))
            for i in range(j + 1, n):
                rest = dot((m[i][j], *low[i][:j]), (1, *(-x for x in shares)))
                low[i][j] = rest if _zero(rest) else rest / pivots[j]
        return Entries(tuple(map(tuple, low))).inverse_lower(), [1 / p for p in pivots], sum(jnp.log(p) for p in pivots)

    def inverse_lower(self) -> Entries:
        n, low = self.width, self.rows
        out: list[list[Any]] = [[0] * n for _ in range(n)]
        for j in range(n):
            out[j][j] = 1 if _one(low[j][j]) else 1 / low[j][j]
        for j in range(n):
            for i in range(j + 1, n):
                rest = dot(low[i][j:i], [out[k][j] for k in range(j, i)])
                out[i][j] = -dot((rest,), (out[i][i],))
        return Entries(tuple(map(tuple, out)))

    def times(self, vector: Sequence[Any]) -> list[Any]:
        return [dot(r, vector) for r in self.rows]

    def solve_lower(self, vector: Sequence[Any], transpose: bool = False) -> list[Any]:
        n = self.width
        x: list[Any] = [0] * n
        for i in (range(n - 1, -1, -1) if transpose else range(n)):
            others = range(i + 1, n) if transpose else range(i)
            known = dot([self.rows[k][i] if transpose else self.rows[i][k] for k in others],
                         [x[k] for k in others])
            x[i] = (vector[i] - known) / self.rows[i][i]
        return x

    def solve_array(self, b: Any, transpose: bool = False) -> Any:
        return jnp.stack(self.solve_lower(list(jnp.moveaxis(b, -1, 0)), transpose), -1)

    def filled(self, many: tuple[int, ...], dtype: Any) -> Entries:
        return self._map(lambda i, j, x: jnp.broadcast_to(jnp.asarray(x, dtype), many))

    def spread(self, many: tuple[int, ...]) -> Entries:
        return self._map(lambda i, j, x: x if isinstance(x, int) else jnp.broadcast_to(x, many))

    def entries(self) -> Entries:
        return self

    def as_change(self) -> Entries:
        return self._map(lambda i, j, x: 0 if isinstance(x, int) else x)

    def like(self, value: Any) -> Entries:
        out: Entries = value._map(lambda i, j, x: x if isinstance(x, int) else jnp.broadcast_to(
            jnp.asarray(self.rows[i][j], x.dtype), x.shape))
        return out

    def lower_half(self) -> Any:
        return [[self.rows[i][j] for j in range(i + 1)] for i in range(self.width)]

    @classmethod
    def of_half(cls, half: Any) -> Entries:
        n = range(len(half))
        return cls(tuple(tuple(half[max(i, j)][min(i, j)] for j in n) for i in n))

    def stacked(self, many: tuple[int, ...], dtype: Any) -> Any:
        return jnp.stack([jnp.stack(r, -1) for r in self.filled(many, dtype).rows], -2)

    def _map(self, f: Callable[[int, int, Any], Any]) -> Entries:
        return Entries(tuple(tuple(f(i, j, x) for j, x in enumerate(r))
                             for i, r in enumerate(self.rows)))

    def _symmetric(self, f: Callable[[int, int], Any]) -> Entries:
        half = [[f(i, j) for j in range(i + 1)] for i in range(self.width)]
        return Entries(tuple(tuple(half[max(i, j)][min(i, j)] for j in range(self.width))
                             for i in range(self.width)))

    def tree_flatten(self) -> tuple[list[Any], tuple[tuple[int | None, ...], ...]]:
        """For JAX: entries that are Python integers are structure."""
        whole = tuple(tuple(x if isinstance(x, int) else None for x in r) for r in self.rows)
        return [x for r in self.rows for x in r if not isinstance(x, int)], whole

    @classmethod
    def tree_unflatten(cls, whole: tuple[tuple[int | None, ...], ...], leaves: Sequence[Any]) -> Entries:
        """For JAX."""
        rest = iter(leaves)
        return cls(tuple(tuple(next(rest) if x is None else x for x in r) for r in whole))


def diagonal(numbers: Sequence[Any]) -> Entries:
    """Diagonal matrices."""
    return Entries(tuple(tuple(x if i == j else 0 for j in range(len(numbers))) for i, x in enumerate(numbers)))


def dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Sum of products, without those that are known to be 0."""
    total: Any = 0
    for x, y in zip(a, b, strict=True):
        if _zero(x) or _zero(y):
            continue
        term = y if _one(x) else x if _one(y) else _paired(lax.mul, operator.mul, x, y)
        total = term if _zero(total) else _paired(lax.add, operator.add, total, term)
    return total


def _paired(alike: Callable[[Any, Any], Any], any_two: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """An operation of two numbers; of arrays that need no broadcasting without asking for it: to trace that takes
    a fifth of the time, and these are most of the operations of small matrices."""
    both = isinstance(x, jax.Array) and isinstance(y, jax.Array)
    return alike(x, y) if both and x.shape == y.shape and x.dtype == y.dtype else any_two(x, y)


def _zero(x: Any) -> bool:
    return isinstance(x, int) and x == 0


def _one(x: Any) -> bool:
    return isinstance(x, int) and x == 1
