"""Sums over states in log space, and what stands in their place where the largest term is wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["LARGEST", "SUM", "Over", "log_sum", "moved", "weights"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def log_sum(a: Any, axis: int) -> Any:
    """log sum exp along an axis; terms of -inf have no derivative, and neither has a sum of nothing else."""
    return _with_shares(a, axis)[0]


@log_sum.defjvp
def _(axis: int, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    out, shares = _with_shares(*primals, axis)
    return out, jnp.sum(moved(shares, *tangents), axis)


def _with_shares(a: Any, axis: int) -> tuple[Any, Any]:
    """The sum, and what share each term has in it, by one exponential a term."""
    top = jnp.max(a, axis, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    terms = jnp.exp(a - top)
    whole = jnp.sum(terms, axis, keepdims=True)
    return jnp.squeeze(jnp.log(whole) + top, axis), terms / jnp.where(whole > 0, whole, 1.0)


def weights(a: Any, total: Any) -> Any:
    """exp(a - total), 0 where a is -inf, whatever the total is."""
    return jnp.where(a == -jnp.inf, 0.0, jnp.exp(a - jnp.where(jnp.isfinite(total), total, 0.0)))


def moved(weight: Any, tangent: Any) -> Any:
    """weight * tangent, 0 where the weight is: an impossible state may have an infinite slope."""
    return jnp.where(weight == 0, 0.0, weight * tangent)


class Over(NamedTuple):
    """How states are taken together (`reduce(a, axis)`), and whether a draw is random or the best one."""

    reduce: Callable[[Any, int], Any]
    random: bool

    def noise(self, key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """What is added to logits (states on the last axis) before the largest is taken."""
        return jax.random.gumbel(key, shape, dtype) if self.random else jnp.zeros(shape, dtype)


SUM = Over(log_sum, random=True)
LARGEST = Over(lambda a, axis: jnp.max(a, axis), random=False)
