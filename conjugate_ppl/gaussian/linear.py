"""Matrices of the rest as arrays: scales by their diagonals, factors and inverses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from conjugate_ppl.gaussian import small
from conjugate_ppl.gaussian.batches import of_array
from conjugate_ppl.gaussian.products import by_rows, matmul, times, transposed

__all__ = ["Scale", "inverse_logdet", "lower_factor", "solve_lower", "whitened", "whitened_inverse"]

_LARGE = 256  # rows from which on two triangular solves are faster than a triangle and its square


@jax.tree_util.register_dataclass
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
        return self.before(self.after(h))

    def after(self, h: Any) -> Any:
        """H T"""
        if self.dense is not None:
            return matmul(h, self.dense)
        return sum(_rolled(h * t[..., None, :], -k, -1) for k, t in enumerate(self.bands))

    def before(self, h: Any) -> Any:
        """T' H"""
        if self.dense is not None:
            return matmul(transposed(self.dense), h)
        return sum(_rolled(h * t[..., :, None], -k, -2) for k, t in enumerate(self.bands))

    def around(self, m: Any) -> Any:
        """T M T'"""
        if self.dense is not None:
            return matmul(matmul(self.dense, m), transposed(self.dense))
        left: Any = sum(_rolled(m, k, -2) * t[..., :, None] for k, t in enumerate(self.bands))
        return sum(_rolled(left, k, -1) * t[..., None, :] for k, t in enumerate(self.bands))

    def inner(self, a: Any, m: Any) -> Any:
        """tr(A M T'), of symmetric M"""
        if self.dense is not None:
            return jnp.sum(by_rows(matmul(a, m), self.dense), -1)
        rows = (by_rows(a, _rolled(m, k, -2)) for k in range(len(self.bands)))
        return sum(jnp.sum(t * r, -1) for t, r in zip(self.bands, rows, strict=True))

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
    places = jnp.arange(m.shape[-1])
    half = _solve_columns(low, jnp.zeros_like(m).at[..., places, places].set(1.0))  # a sixth of the time of `eye`
    return transposed(_solve_columns(low, half, True)), logdet


def _solve_columns(low: Any, b: Any, transpose: bool = False) -> Any:
    """Solve L X = B, or L' X = B."""
    return jax.lax.linalg.triangular_solve(low, b, left_side=True, lower=True, transpose_a=transpose)


@_inverse_logdet_large.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    inverse, logdet = _inverse_logdet_large(*primals)
    (dm,) = tangents
    return (inverse, logdet), (-matmul(matmul(inverse, dm), inverse), jnp.sum(by_rows(inverse, dm), -1))


def whitened(h: Any, scale: Scale, proper: Any) -> Any:
    """diag(proper) + T'HT"""
    places = jnp.arange(h.shape[-1])
    return scale.sandwich(h).at[..., places, places].add(proper)


@jax.custom_jvp
def whitened_inverse(h: Any, scale: Scale, proper: Any) -> tuple[Any, Any]:
    """(inverse, log-determinant) of `whitened` for symmetric H, shape (blocks, n, n), as `inverse_logdet`.

    Where T has few bands, d logdet = tr(T inverse T' dH) + 2 tr(inverse T'H dT) is a sum of products by rows for each; an
    automatic derivative makes arrays of all products, and sums those.
    """
    return inverse_logdet(whitened(h, scale, proper))


@whitened_inverse.defjvp
def _(primals: tuple[Any, Scale, Any], tangents: tuple[Any, Scale, Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    (h, t, _), (dh, dt, _) = primals, tangents
    inverse, logdet = whitened_inverse(*primals)
    right = t.after(h)
    change = dt.before(right)
    d_logdet = jnp.sum(by_rows(t.around(inverse), dh), -1) + 2 * dt.inner(right, inverse)
    dm = t.sandwich(dh) + change + transposed(change)
    return (inverse, logdet), (-matmul(matmul(inverse, dm), inverse), d_logdet)


def _rolled(x: Any, shift: int, axis: int) -> Any:
    return jnp.roll(x, shift, axis) if shift else x
