"""Matrices of the rest as arrays: scales by their diagonals, factors and inverses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from conjugate_ppl.gaussian import small
from conjugate_ppl.gaussian.products import matmul, times, transposed

__all__ = ["Scale", "inverse_logdet", "lower_factor", "solve_lower"]


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
    """Cholesky factor of (a batch of) symmetric positive definite matrices; NaN where they are not."""
    return small.of_array(m).lower().stacked(m.shape[:-2], m.dtype)


def solve_lower(low: Any, b: Any, transpose: bool = False) -> Any:
    """Solve L x = b, or L' x = b, for vectors b over the last axis."""
    return small.of_array(low).solve_array(b, transpose)


def inverse_logdet(m: Any) -> tuple[Any, Any]:
    """(inverse, log-determinant) of symmetric positive definite matrices, shape (..., n, n).

    Both are NaN where a matrix is not positive definite.
    """
    inverse, logdet = small.inverse_logdet(small.of_array(m))
    return inverse.stacked(m.shape[:-2], m.dtype), logdet
