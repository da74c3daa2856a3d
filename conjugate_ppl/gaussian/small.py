"""Many small square matrices at once: entry by entry, or, where they are wider, stacked.

An entry of all matrices is one vector, so that a compiler sees a few long loops where arrays of shape
(many, n, n) would give it many short ones (a hundred times slower on some). What is the same whole number
in every matrix is a Python integer, of which 0 and 1 cost nothing; what else is the same in every matrix is
a scalar. Vectors are lists of their elements, each for the whole batch, or matrices of one column.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.gaussian.products import matmul, product, times, transposed

__all__ = ["Entries", "Small", "Stacked", "inverse_logdet", "of_array", "read", "small",
           "take"]

_WIDEST = 4  # rows of matrices kept entry by entry: programs grow with the cube


def read(numbers: Any, index: np.ndarray, last_is_zero: bool = False) -> Any:
    """Numbers at a vector of positions: a scalar where all are one, 0 for the last if so said."""
    if not (len(index) and (index == index[0]).all()):
        return numbers[index]
    return 0 if last_is_zero and index[0] == len(numbers) - 1 else numbers[int(index[0])]


def small(width: int, entry: Callable[[int, int], Any], stacked: Callable[[], Any],
          columns: int | None = None) -> Small:
    """Matrices from their entries, or, where they are wide, from an array of shape (many, n, n), or
    (many, n, columns)."""
    if width > _WIDEST:
        return Stacked(stacked())
    return Entries(tuple(tuple(entry(i, j) for j in range(width if columns is None else columns))
                         for i in range(width)))


def of_array(matrices: Any) -> Small:
    """Matrices from an array of shape (..., n, n)."""
    return small(matrices.shape[-1], lambda i, j: matrices[..., i, j], lambda: matrices)


def take(batch: Any, index: np.ndarray) -> Any:
    """Matrices and vectors of batches, by number; vectors of all entries in one step."""
    leaves, structure = jax.tree.flatten(batch)
    vectors = [k for k, x in enumerate(leaves) if jnp.ndim(x) == 1]
    if vectors:
        taken = jnp.stack([leaves[k] for k in vectors], -1)[index]
        for place, k in enumerate(vectors):
            leaves[k] = taken[:, place]
    leaves = [x[index] if jnp.ndim(x) > 1 and len(x) > 1 else x for x in leaves]
    return jax.tree.unflatten(structure, leaves)


def _dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Sum of products, without those that are 0."""
    total: Any = 0
    for x, y in zip(a, b, strict=True):
        if _zero(x) or _zero(y):
            continue
        term = y if _one(x) else x if _one(y) else x * y
        total = term if _zero(total) else total + term
    return total


def _zero(x: Any) -> bool:
    return isinstance(x, int) and x == 0


def _one(x: Any) -> bool:
    return isinstance(x, int) and x == 1


def _minus(x: Any) -> Any:
    return -x


class Small(abc.ABC):
    """A batch of matrices. Both operands of an operation are kept in the same way."""

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """Rows of a matrix."""

    @property
    @abc.abstractmethod
    def T(self) -> Small:
        """Transposed."""

    @abc.abstractmethod
    def __matmul__(self, other: Any) -> Small:
        """Products."""

    @abc.abstractmethod
    def __add__(self, other: Any) -> Small:
        """Sums."""

    @abc.abstractmethod
    def gram(self) -> Small:
        """A A'"""

    @abc.abstractmethod
    def around(self, other: Any) -> Small:
        """A B A' for symmetric B"""

    @abc.abstractmethod
    def swept(self) -> tuple[Small, Any]:
        """(inverse, log-determinant) of symmetric matrices no less than I."""

    def joseph(self, r: Any, inverse: Any) -> tuple[Any, Any]:
        """((P^-1 + R R')^-1, (I + P R R')^-1) for symmetric P, given (I + R' P R)^-1, in the form of Bucy and
        Joseph: neither P nor R needs an inverse, and nothing is subtracted."""
        gain: Any = self @ r @ inverse
        left = (gain @ r.T).scaled(-1).plus_one()
        return left.around(self) + gain.gram(), left

    @abc.abstractmethod
    def root(self) -> Small:
        """A lower triangular R with R R' = A, for positive semidefinite A.

        A pivot that is not more than rounding counts as 0, and so does its column.
        """

    @abc.abstractmethod
    def series(self, other: Any) -> Small:
        """(I - A)^-1 B, for A that is 0 on and above the diagonal."""

    @abc.abstractmethod
    def plus_transposed(self) -> Small:
        """A + A'"""

    @abc.abstractmethod
    def plus_one(self) -> Small:
        """I + A"""

    @abc.abstractmethod
    def scaled(self, factor: Any) -> Small:
        """Each matrix times a number."""

    @abc.abstractmethod
    def inner(self, other: Any) -> Any:
        """The sums of products of all entries."""

    @abc.abstractmethod
    def lower(self) -> Small:
        """Cholesky factors; NaN where a matrix is not positive definite."""

    @abc.abstractmethod
    def inverse_lower(self) -> Small:
        """The inverses of lower triangular matrices."""

    @abc.abstractmethod
    def log_diagonal(self) -> Any:
        """The sums of the logarithms of the diagonals."""

    @abc.abstractmethod
    def times(self, vector: Sequence[Any]) -> list[Any]:
        """A x; the elements of vectors may have an axis before that of the batch."""

    @abc.abstractmethod
    def solve_lower(self, vector: Sequence[Any], transpose: bool = False) -> list[Any]:
        """The solution of L x = b, or of L' x = b, for lower triangular matrices."""

    @abc.abstractmethod
    def solve_array(self, b: Any, transpose: bool = False) -> Any:
        """The same for vectors over the last axis of an array."""

    @abc.abstractmethod
    def filled(self, many: tuple[int, ...], dtype: Any) -> Small:
        """The same, every entry of every matrix written out."""

    @abc.abstractmethod
    def entries(self) -> Entries:
        """These matrices, entry by entry."""

    @abc.abstractmethod
    def as_change(self) -> Small:
        """A tangent, 0 in place of whole numbers, which are no variables."""

    @abc.abstractmethod
    def lower_half(self) -> Any:
        """Symmetric matrices without what is above the diagonal."""

    @classmethod
    @abc.abstractmethod
    def of_half(cls, half: Any) -> Small:
        """The inverse of `lower_half`."""

    @abc.abstractmethod
    def stacked(self, many: tuple[int, ...], dtype: Any) -> Any:
        """As an array, shape (*many, n, n)."""


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
        return Entries(tuple(tuple(_dot(r, c) for c in columns) for r in self.rows))

    def gram(self) -> Entries:
        return self._symmetric(lambda i, j: _dot(self.rows[i], self.rows[j]))

    def around(self, other: Any) -> Entries:
        left = (self @ other).rows
        return self._symmetric(lambda i, j: _dot(left[i], self.rows[j]))

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
                    m[i][k] = m[k][i] if k < i else _dot((m[i][k], column[i]), (1, _minus(share[k])))
                m[i][j] = m[j][i] = share[i]
            m[j][j] = -1 / pivot
            logdet = logdet + jnp.log(pivot)
        return self._symmetric(lambda i, j: _minus(m[i][j])), logdet

    def joseph(self, r: Any, inverse: Any) -> tuple[Any, Any]:
        if not all(_zero(x) for i, row in enumerate(r.rows) for j, x in enumerate(row) if i != j):
            return super().joseph(r, inverse)
        # on the diagonal 1 - P R (I + R'PR)^-1 R' is the inverse itself, which keeps its digits where P is vague
        gain = self @ r @ inverse
        left = (gain @ r.T)._map(lambda i, j, x: inverse.rows[i][i] if i == j else _dot((x,), (-1,)))
        return (left @ self if self.width == 1 else left.around(self) + gain.gram()), left

    def root(self) -> Entries:
        n = self.width
        low: list[list[Any]] = [[0] * n for _ in range(n)]
        for j in range(n):
            if _zero(self.rows[j][j]):
                continue
            left = [_dot((self.rows[i][j], *low[i][:j]), (1, *map(_minus, low[j][:j]))) for i in range(n)]
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
            out.append(tuple(_dot((x, *self.rows[i][:i]), (1, *(o[j] for o in out)))
                             for j, x in enumerate(r)))
        return Entries(tuple(out))

    def plus_transposed(self) -> Entries:
        return self._symmetric(lambda i, j: _dot((self.rows[i][j], self.rows[j][i]), (1, 1)))

    def plus_one(self) -> Entries:
        return Entries(tuple(tuple(x + 1 if i == j else x for j, x in enumerate(r))
                             for i, r in enumerate(self.rows)))

    def __add__(self, other: Any) -> Entries:
        return self._map(lambda i, j, x: _dot((x, other.rows[i][j]), (1, 1)))

    def scaled(self, factor: Any) -> Entries:
        return self._map(lambda i, j, x: _dot((x,), (factor,)))

    def inner(self, other: Any) -> Any:
        return _dot(sum(self.rows, ()), sum(other.rows, ()))

    def lower(self) -> Entries:
        n, m = self.width, self.rows
        low: list[list[Any]] = [[0] * n for _ in range(n)]
        for j in range(n):
            pivot = m[j][j] - _dot(low[j][:j], low[j][:j])
            low[j][j] = jnp.sqrt(jnp.where(pivot > 0, pivot, jnp.nan))
            for i in range(j + 1, n):
                rest = _dot((m[i][j], *low[i][:j]), (1, *(-x for x in low[j][:j])))
                low[i][j] = rest if _zero(rest) else rest / low[j][j]
        return Entries(tuple(map(tuple, low)))

    def inverse_lower(self) -> Entries:
        n, low = self.width, self.rows
        out: list[list[Any]] = [[0] * n for _ in range(n)]
        for j in range(n):
            out[j][j] = 1 / low[j][j]
            for i in range(j + 1, n):
                rest = _dot(low[i][j:i], [out[k][j] for k in range(j, i)])
                out[i][j] = rest if _zero(rest) else -rest / low[i][i]
        return Entries(tuple(map(tuple, out)))

    def log_diagonal(self) -> Any:
        return sum(jnp.log(r[i]) for i, r in enumerate(self.rows))

    def times(self, vector: Sequence[Any]) -> list[Any]:
        return [_dot(r, vector) for r in self.rows]

    def solve_lower(self, vector: Sequence[Any], transpose: bool = False) -> list[Any]:
        n = self.width
        x: list[Any] = [0] * n
        for i in (range(n - 1, -1, -1) if transpose else range(n)):
            others = range(i + 1, n) if transpose else range(i)
            known = _dot([self.rows[k][i] if transpose else self.rows[i][k] for k in others],
                         [x[k] for k in others])
            x[i] = (vector[i] - known) / self.rows[i][i]
        return x

    def solve_array(self, b: Any, transpose: bool = False) -> Any:
        return jnp.stack(self.solve_lower(list(jnp.moveaxis(b, -1, 0)), transpose), -1)

    def filled(self, many: tuple[int, ...], dtype: Any) -> Entries:
        return self._map(lambda i, j, x: jnp.broadcast_to(jnp.asarray(x, dtype), many))

    def entries(self) -> Entries:
        return self

    def as_change(self) -> Entries:
        return self._map(lambda i, j, x: 0 if isinstance(x, int) else x)

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


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Stacked(Small):
    """Matrices as an array, shape (..., n, n), or (1, n, n) where all of a batch are one."""

    array: Any

    @property
    def width(self) -> int:
        return int(self.array.shape[-1])

    @property
    def T(self) -> Stacked:
        return Stacked(transposed(self.array))

    def __matmul__(self, other: Any) -> Stacked:
        return Stacked(matmul(self.array, other.array))

    def gram(self) -> Stacked:
        return self @ self.T

    def around(self, other: Any) -> Stacked:
        return Stacked(matmul(matmul(self.array, other.array), transposed(self.array)))

    def swept(self) -> tuple[Stacked, Any]:
        low = self.lower()
        return low.inverse_lower().T.gram(), 2 * low.log_diagonal()

    def root(self) -> Stacked:
        d, n = self.array, self.width

        def column(j: Any, low: Any) -> Any:
            # all at once a program of many columns takes long to compile
            left = d[..., j] - times(low, low[..., j, :])
            pivot = left[..., j, None]
            full = pivot > 4 * n * jnp.finfo(d.dtype).eps * d[..., j, j, None]
            left = jnp.where(full & (jnp.arange(n) >= j), left, 0.0)
            return low.at[..., j].set(left / jnp.sqrt(jnp.where(full, pivot, 1.0)))

        return Stacked(jax.lax.fori_loop(0, n, column, jnp.zeros_like(d)))

    def series(self, other: Any) -> Stacked:
        a = self.array

        def row(i: Any, out: Any) -> Any:
            return out.at[..., i, :].add(matmul(a[..., i, None, :], out)[..., 0, :])

        return Stacked(jax.lax.fori_loop(1, self.width, row, jnp.broadcast_to(
            other.array, jnp.broadcast_shapes(a.shape[:-2], other.array.shape[:-2]) + other.array.shape[-2:])))

    def plus_transposed(self) -> Stacked:
        return self + self.T

    def plus_one(self) -> Stacked:
        return Stacked(self.array + jnp.eye(self.width, dtype=self.array.dtype))

    def __add__(self, other: Any) -> Stacked:
        return Stacked(self.array + other.array)

    def scaled(self, factor: Any) -> Stacked:
        return Stacked(self.array * jnp.asarray(factor)[..., None, None])

    def inner(self, other: Any) -> Any:
        return jnp.sum(self.array * other.array, (-2, -1))

    def lower(self) -> Stacked:
        return Stacked(jnp.linalg.cholesky(self.array))

    def inverse_lower(self) -> Stacked:
        eye = jnp.broadcast_to(jnp.eye(self.width, dtype=self.array.dtype), self.array.shape)
        return Stacked(jax.lax.linalg.triangular_solve(self.array, eye, left_side=True, lower=True))

    def log_diagonal(self) -> Any:
        return jnp.sum(jnp.log(jnp.diagonal(self.array, axis1=-2, axis2=-1)), -1)

    def times(self, vector: Sequence[Any]) -> list[Any]:
        v = _vectors(vector)
        if v.ndim < self.array.ndim:
            return list(jnp.moveaxis(times(self.array, v), -1, 0))
        matrices = jnp.broadcast_to(self.array, (v.shape[-2], *self.array.shape[-2:]))
        return list(product("cij,rcj->irc", matrices, v))

    def solve_lower(self, vector: Sequence[Any], transpose: bool = False) -> list[Any]:
        return list(jnp.moveaxis(self.solve_array(_vectors(vector), transpose), -1, 0))

    def solve_array(self, b: Any, transpose: bool = False) -> Any:
        low = jnp.broadcast_to(self.array, b.shape + b.shape[-1:])
        return jax.lax.linalg.triangular_solve(low, b[..., None], left_side=True, lower=True,
                                               transpose_a=transpose)[..., 0]

    def filled(self, many: tuple[int, ...], dtype: Any) -> Stacked:
        return Stacked(self.stacked(many, dtype))

    def entries(self) -> Entries:
        n = self.width
        flat = jnp.moveaxis(self.array.reshape(-1, n * n), 0, 1)
        parts = [x[0] for x in jax.lax.split(flat, [1] * (n * n))]  # its derivative is one array again
        return Entries(tuple(tuple(parts[i * n:(i + 1) * n]) for i in range(n)))

    def as_change(self) -> Stacked:
        return self

    def lower_half(self) -> Any:
        return self.array

    @classmethod
    def of_half(cls, half: Any) -> Stacked:
        return cls(half)

    def stacked(self, many: tuple[int, ...], dtype: Any) -> Any:
        return jnp.broadcast_to(self.array, (*many, *self.array.shape[-2:])).astype(dtype)

    def tree_flatten(self) -> tuple[list[Any], None]:
        """For JAX."""
        return [self.array], None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: Sequence[Any]) -> Stacked:
        """For JAX."""
        return cls(*leaves)


@jax.custom_jvp
def inverse_logdet(m: Small) -> tuple[Small, Any]:
    """(inverse, log-determinant) of symmetric positive definite matrices.

    Both are NaN where a matrix is not positive definite. Differentiating through a Cholesky
    factorisation costs several of them; here the derivatives are products with the inverse,

        d inverse(M) = -inverse(M) dM inverse(M),    d logdet(M) = tr(inverse(M) dM).
    """
    low = m.lower()
    return low.inverse_lower().T.gram(), 2 * low.log_diagonal()


@inverse_logdet.defjvp
def _(primals: tuple[Small], tangents: tuple[Small]) -> tuple[tuple[Small, Any], tuple[Small, Any]]:
    inverse, logdet = inverse_logdet(primals[0])
    dm = tangents[0].as_change()
    return (inverse, logdet), ((inverse @ dm @ inverse).scaled(-1), inverse.inner(dm))


def _vectors(vector: Sequence[Any]) -> Any:
    """A list of elements as an array, shape (many, n)."""
    return jnp.stack(jnp.broadcast_arrays(*vector), -1)
