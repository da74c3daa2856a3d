"""Draws of gamma variables, of all elements at once.

By rejection, as Marsaglia and Tsang do it (ACM Trans. Math. Softw. 26, 2000): an element that is refused is proposed
anew together with all others, until none is left. JAX draws element by element on a processor, in a loop that the
compiler makes no vectors of, and takes five to ten times as long.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat

__all__ = ["gamma_draw", "log_gamma_draw"]

_LONG = 1 << 16  # bytes


def gamma_draw(key: Any, a: Any, axes: tuple[int, ...] = ()) -> Any:
    """Exact draws of Gamma(a, 1) for each element of `a`, as many as `axes` in front say.

    Where one would be 0 it is the smallest number of the type.
    """
    own, boost = jax.random.split(key)
    x = _from_one(own, a, axes)
    x = jax.lax.cond(jnp.any(a < 1), lambda x: x * jnp.exp(_log_boost(boost, a, axes)), lambda x: x, x)
    return jnp.maximum(x, jnp.finfo(x.dtype).tiny)


def log_gamma_draw(key: Any, a: Any, axes: tuple[int, ...] = ()) -> Any:
    """The logs of such draws, also where they themselves are too small for the type."""
    own, boost = jax.random.split(key)
    x = jnp.log(_from_one(own, a, axes))
    return jax.lax.cond(jnp.any(a < 1), lambda x: x + _log_boost(boost, a, axes), lambda x: x, x)


def _log_boost(key: Any, a: Any, axes: tuple[int, ...]) -> Any:
    """log of u**(1/a) where a < 1: that many times as large a draw of a + 1 is one of a."""
    return jnp.where(a < 1, -jax.random.exponential(key, (*axes, *a.shape), a.dtype) / a, 0.0)


def _log_accepted(y: Any) -> Any:
    """(9/2) y**2 + 1 - v + log v at v = (1 + y)**3, by a series where that is a difference of almost equal numbers."""
    series = y**4 * (-3 / 4 + y * (3 / 5 + y * (-1 / 2 + y * (3 / 7 - y * 3 / 8))))
    return jnp.where(jnp.abs(y) < 0.05, series, 3 * (jnp.log1p(y) - y + 0.5 * y**2) - y**3)


def _normal_and_uniform(key: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Arrays of standard normal and of uniform numbers, independent of each other.

    Where arrays are neither `_compat.SMALL` nor long, the operations of making random bits take longer than the bits: they
    are made once there, and each array has a half of them.
    """
    if not _compat.SMALL < math.prod(shape) * dtype.itemsize < _LONG:
        one, two = jax.random.split(key)
        return jax.random.normal(one, shape, dtype), jax.random.uniform(two, shape, dtype)
    u = jax.random.uniform(key, (2, *shape), dtype, minval=jnp.nextafter(jnp.asarray(-1, dtype), jnp.asarray(0, dtype)))
    return np.sqrt(2).astype(dtype) * jax.lax.erf_inv(u[0]), 0.5 + 0.5 * u[1]


def _from_one(key: Any, a: Any, axes: tuple[int, ...]) -> Any:
    """A draw of Gamma(a, 1), of Gamma(a + 1, 1) where a < 1."""
    d = jnp.where(a < 1, a + 1, a) - 1 / 3
    c, shape = 1 / jnp.sqrt(9 * d), (*axes, *a.shape)

    def proposal(key: Any) -> tuple[Any, Any]:
        x, u = _normal_and_uniform(key, shape, a.dtype)
        y = c * x
        refused = (y <= -1) | (jnp.log(u) >= d * _log_accepted(jnp.maximum(y, -1.0)))  # nothing if `a` is no number
        return (1 + y) ** 3, ~refused

    def again(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        key, v, taken = state
        key, own = jax.random.split(key)
        other, good = proposal(own)
        return key, jnp.where(taken, v, other), taken | good

    key, own = jax.random.split(key)
    return d * jax.lax.while_loop(lambda s: ~jnp.all(s[2]), again, (key, *proposal(own)))[1]
