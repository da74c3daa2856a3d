"""Inverse and log-determinant of symmetric positive definite matrices, with a cheap derivative.

Differentiating through a Cholesky factorisation costs several of them. The derivatives of the two
functions that a Gaussian log-partition needs are products with the inverse itself:

    d inverse(M) = -inverse(M) dM inverse(M),    d logdet(M) = tr(inverse(M) dM).

Both hold at every order, because the rule calls the function again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["Scale", "inverse_logdet", "inverse_lower", "lower_factor", "matmul", "product", "solve_lower",
           "times", "transposed"]

_UNROLLED = 4  # rows of matrices that are factored entry by entry
_FUSED = 16  # rows of matrices whose products are sums that a compiler fuses with what is around


def product(*operands: Any) -> Any:
    """einsum in full precision (some devices round products to fewer digits by default)."""
    return jnp.einsum(*operands, precision="highest")


def transposed(m: Any) -> Any:
    """The matrices of a batch, transposed."""
    return jnp.swapaxes(m, -1, -2)


def matmul(a: Any, b: Any) -> Any:
    """Products of batches of matrices; small ones as sums that a compiler fuses with what stands
    around them."""
    if a.shape[-1] > _FUSED:
        return product("...ij,...jk->...ik", a, b)
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], -2)


def times(matrix: Any, vector: Any) -> Any:
    """Matrices of a batch times vectors; small ones as a sum that a compiler fuses."""
    if min(matrix.shape[-2:]) <= _FUSED:
        return jnp.sum(matrix * vector[..., None, :], -1)
    return product("...ij,...j->...i", matrix, vector)


@dataclasses.dataclass(frozen=True, eq=False)
class Scale:
    """Lower triangular matrices by their diagonals, `bands[k][..., i] = T[..., i, i - k]`, or dense.

    Scales of Normal sites have one diagonal, those of small multivariate sites a few: then products
    with them are elementwise.
    """

    bands: tuple[Any, ...]
    dense: Any = None

    def apply(self, x: Any) -> Any:
        """T x"""
        if self.dense is not None:
            return times(self.dense, x)
        return sum(t * jnp.roll(x, k, -1) for k, t in enumerate(self.bands))

    def transpose_apply(self, x: Any) -> Any:
        """T' x"""
        if self.dense is not None:
            return times(transposed(self.dense), x)
        return sum(jnp.roll(t * x, -k, -1) for k, t in enumerate(self.bands))

    def sandwich(self, h: Any) -> Any:
        """T' H T"""
        if self.dense is not None:
            return matmul(matmul(transposed(self.dense), h), self.dense)
        right: Any = sum(jnp.roll(h * t[..., None, :], -k, -1) for k, t in enumerate(self.bands))
        return sum(jnp.roll(right * t[..., :, None], -k, -2) for k, t in enumerate(self.bands))

    def matrix(self) -> Any:
        """T itself."""
        if self.dense is not None:
            return self.dense
        n = self.bands[0].shape[-1]
        return sum(t[..., :, None] * jnp.eye(n, k=-k, dtype=t.dtype) for k, t in enumerate(self.bands))


def lower_factor(m: Any) -> Any:
    """Cholesky factor of (a batch of) symmetric positive definite matrices; NaN where they are not.

    Small matrices are factored entry by entry, so that a batch of many runs as array operations.
    """
    n = m.shape[-1]
    if n > _UNROLLED:
        return jnp.linalg.cholesky(m)
    zero = jnp.zeros(m.shape[:-2], m.dtype)
    low: list[list[Any]] = [[zero] * n for _ in range(n)]
    for j in range(n):
        pivot = m[..., j, j] - sum((low[j][k] ** 2 for k in range(j)), zero)
        low[j][j] = jnp.sqrt(pivot)
        for i in range(j + 1, n):
            dot = sum((low[i][k] * low[j][k] for k in range(j)), zero)
            low[i][j] = (m[..., i, j] - dot) / low[j][j]
    return jnp.stack([jnp.stack(row, -1) for row in low], -2)


def solve_lower(low: Any, b: Any, transpose: bool = False) -> Any:
    """Solve L x = b, or L' x = b, for vectors b over the last axis."""
    n = low.shape[-1]
    if n > _UNROLLED:
        low = jnp.broadcast_to(low, b.shape[:-1] + low.shape[-2:])
        return jax.lax.linalg.triangular_solve(low, b[..., None], left_side=True, lower=True,
                                               transpose_a=transpose)[..., 0]
    x: list[Any] = [None] * n
    for i in (range(n - 1, -1, -1) if transpose else range(n)):
        others = range(i + 1, n) if transpose else range(i)
        dot: Any = 0.0
        for k in others:
            dot = dot + (low[..., k, i] if transpose else low[..., i, k]) * x[k]
        x[i] = (b[..., i] - dot) / low[..., i, i]
    return jnp.stack(x, -1)


def inverse_lower(low: Any) -> Any:
    """The inverses of lower triangular matrices."""
    n = low.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=low.dtype), low.shape)
    if n > _UNROLLED:
        return jax.lax.linalg.triangular_solve(low, eye, left_side=True, lower=True)
    columns = [solve_lower(low, eye[..., :, k]) for k in range(n)]
    return jnp.stack(columns, -1)


@jax.custom_jvp
def inverse_logdet(m: Any) -> tuple[Any, Any]:
    """(inverse, log-determinant) of symmetric positive definite matrices, shape (..., n, n).

    Both are NaN where a matrix is not positive definite.
    """
    if m.shape[-1] == 1:
        safe = jnp.where(m > 0, m, jnp.nan)
        return 1 / safe, jnp.log(safe)[..., 0, 0]
    low = lower_factor(m)
    inverse_low = inverse_lower(low)
    inverse = matmul(transposed(inverse_low), inverse_low)
    diagonal = jnp.diagonal(low, axis1=-2, axis2=-1)
    return inverse, 2 * jnp.sum(jnp.log(diagonal), -1)


@inverse_logdet.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    inverse, logdet = inverse_logdet(primals[0])
    (dm,) = tangents
    d_inverse = -matmul(matmul(inverse, dm), inverse)
    return (inverse, logdet), (d_inverse, jnp.sum(inverse * dm, (-2, -1)))
