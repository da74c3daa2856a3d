"""Products of (batches of) matrices and vectors, in full precision."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

__all__ = ["by_rows", "matmul", "product", "times", "transposed"]

_FUSED = 16  # rows of matrices whose products with a vector are sums that a compiler fuses
_SUMMED = 2048  # multiplications up to which a product of matrices is such a sum, too
_LANES = 8  # rows and columns that a processor has fast programs for; of four to seven a product takes fifteen times as long


def product(*operands: Any) -> Any:
    """einsum in full precision (some devices round products to fewer digits by default)."""
    return jnp.einsum(*operands, precision="highest")


def transposed(m: Any) -> Any:
    """The matrices of a batch, transposed."""
    return jnp.swapaxes(m, -1, -2)


def matmul(a: Any, b: Any) -> Any:
    """Products of batches of matrices; few small ones as sums that a compiler fuses with what stands
    around them (for many it does badly: it cuts the sums into parallel tasks)."""
    if max(math.prod(a.shape) * b.shape[-1], math.prod(b.shape) * a.shape[-2]) > _SUMMED:
        return _filled(a, b) if _LANES // 2 <= max(*a.shape[-2:], b.shape[-1]) < _LANES else product("...ij,...jk->...ik", a, b)
    if b.shape[-1] == 1:  # summed over the last axis (twenty times faster of many at once)
        return times(a, b[..., 0])[..., None]
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], -2)


def _filled(a: Any, b: Any) -> Any:
    """Products of matrices that are filled up with zeros."""
    def wide(m: Any) -> Any:
        return jnp.pad(m, [(0, 0)] * (m.ndim - 2) + [(0, _LANES - n) for n in m.shape[-2:]])

    return product("...ij,...jk->...ik", wide(a), wide(b))[..., :a.shape[-2], :b.shape[-1]]


def times(matrix: Any, vector: Any) -> Any:
    """Matrices of a batch times vectors; small ones as a sum that a compiler fuses."""
    if min(matrix.shape[-2:]) <= _FUSED:
        return jnp.sum(matrix * vector[..., None, :], -1)
    return product("...ij,...j->...i", matrix, vector)


def by_rows(a: Any, b: Any) -> Any:
    """Sums of products along each row of two matrices; of wide ones as products of vectors, for which a compiler has ten
    times as fast programs as for sums of products (of float32, on a processor)."""
    if a.shape[-1] <= _FUSED:
        return jnp.sum(a * b, -1)
    return product("...ij,...ij->...i", a, b)
