"""Sums over states in log space, and what stands in their place where the largest term is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["LARGEST", "SUM", "Over", "log_sum", "moved", "of_settled", "settled"]


def log_sum(a: Any, axis: int) -> Any:
    """log sum exp along an axis; terms of -inf have no derivative, and neither has a sum of nothing else."""
    return of_settled(settled(a), axis)


@jax.custom_jvp
def settled(a: Any) -> Any:
    """Logarithms as they are; those of zero, whose slopes may be infinite, have none."""
    return a


@settled.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return primals[0], jnp.where(primals[0] == -jnp.inf, 0.0, tangents[0])


def of_settled(a: Any, axis: int) -> Any:
    """`log_sum` of what is settled, and of sums of such; one exponential a term, backwards too."""
    top = jax.lax.stop_gradient(jnp.max(a, axis, keepdims=True))
    whole = jnp.sum(jnp.exp(a - jnp.where(jnp.isfinite(top), top, 0.0)), axis)
    return jnp.log(jnp.where(whole > 0, whole, 1.0)) + jnp.squeeze(top, axis)


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
