"""Triangular matrices, shape (..., n, n), in plain arithmetic."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["diagonal", "inverse_triangular", "log_det_lower", "unless_failed"]


def diagonal(matrix: Any) -> Any:
    """By a look-up: `jnp.diagonal` of one square matrix is a `cond`."""
    places = jnp.arange(jnp.shape(matrix)[-1])
    return matrix[..., places, places]


def inverse_triangular(matrix: Any, lower: bool = True, unit_diagonal: bool = False) -> Any:
    """The inverse, taken once for all rows that share a matrix."""
    matrix = jnp.asarray(matrix)
    eye = jnp.broadcast_to(jnp.eye(jnp.shape(matrix)[-1], dtype=matrix.dtype), jnp.shape(matrix))
    return jax.lax.linalg.triangular_solve(matrix, eye, left_side=True, lower=lower, unit_diagonal=unit_diagonal)


def log_det_lower(lower: Any) -> Any:
    """log det of a lower triangular matrix with a positive diagonal."""
    return jnp.sum(jnp.log(diagonal(jnp.asarray(lower))), -1)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def unless_failed(x: Any, otherwise: float) -> Any:
    """x, or another number where a factorisation failed, which leaves NaN.

    The derivative is that of x all the same, mostly NaN: to be 0 there it would have to wait for x, of which it has no
    other use.
    """
    return jnp.where(jnp.isnan(x), otherwise, x)


@unless_failed.defjvp
def _(otherwise: float, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return unless_failed(primals[0], otherwise), tangents[0]
