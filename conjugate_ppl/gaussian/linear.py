"""Matrices of the rest as arrays: scales by their diagonals, factors and inverses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from conjugate_ppl.gaussian import small
from conjugate_ppl.gaussian.batches import of_array
from conjugate_ppl.gaussian.products import matmul, times, transposed

__all__ = ["Scale", "inverse_logdet", "lower_factor", "solve_lower"]

_LARGE = 256  # rows from which on two triangular solves are faster than a triangle and its square


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
        return sum(t * _rolled(x, k, -1) for k, t in enumerate(self.bands))

    def transpose_apply(self, x: Any) -> Any:
        """T' x"""
        if self.dense is not None:
            return times(transposed(self.dense), x)
        return sum(_rolled(t * x, -k, -1) for k, t in enumerate(self.bands))

    def sandwich(self, h: Any) -> Any:
        """T' H T"""
        if self.dense is not None:
            return matmul(matmul(transposed(self.dense), h), self.dense)
        right: Any = sum(_rolled(h * t[..., None, :], -k, -1) for k, t in enumerate(self.bands))
        return sum(_rolled(right * t[..., :, None], -k, -2) for k, t in enumerate(self.bands))

    def matrix(self) -> Any:
        """T itself."""
        if self.dense is not None:
            return self.dense
        n = self.bands[0].shape[-1]
        return sum(t[..., :, None] * jnp.eye(n, k=-k, dtype=t.dtype) for k, t in enumerate(self.bands))


def lower_factor(m: Any) -> Any:
    """Cholesky factor of (a batch of) symmetric positive definite matrices; NaN where they are not."""
    return of_array(m).lower().stacked(m.shape[:-2], m.dtype)


def solve_lower(low: Any, b: Any, transpose: bool = False) -> Any:
    """Solve L x = b, or L' x = b, for vectors b over the last axis."""
    return of_array(low).solve_array(b, transpose)


def inverse_logdet(m: Any) -> tuple[Any, Any]:
    """(inverse, log-determinant) of symmetric positive definite matrices, shape (..., n, n).

    Both are NaN where a matrix is not positive definite.
    """
    if m.shape[-1] >= _LARGE:
        large: tuple[Any, Any] = _inverse_logdet_large(m)
        return large
    inverse, logdet = small.inverse_logdet(of_array(m))
    return inverse.stacked(m.shape[:-2], m.dtype), logdet


@jax.custom_jvp
def _inverse_logdet_large(m: Any) -> tuple[Any, Any]:
    """The same for large matrices; the derivatives are written out, as in `small`.

    A triangle and its square would take as many operations, but through copies of other layouts: a
    factorisation and its solves work in columns, so that they are given and give the (equal) transposed.
    """
    low = jax.lax.linalg.cholesky(transposed(m), symmetrize_input=False)
    logdet = 2 * jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)), -1)
    half = _solve_columns(low, jnp.broadcast_to(jnp.eye(m.shape[-1], dtype=m.dtype), m.shape))
    return transposed(_solve_columns(low, half, True)), logdet


def _solve_columns(low: Any, b: Any, transpose: bool = False) -> Any:
    """Solve L X = B, or L' X = B."""
    return jax.lax.linalg.triangular_solve(low, b, left_side=True, lower=True, transpose_a=transpose)


@_inverse_logdet_large.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    inverse, logdet = _inverse_logdet_large(*primals)
    (dm,) = tangents
    return (inverse, logdet), (-matmul(matmul(inverse, dm), inverse), jnp.sum(inverse * dm, (-2, -1)))


def _rolled(x: Any, shift: int, axis: int) -> Any:
    return jnp.roll(x, shift, axis) if shift else x
