"""Draws of gamma variables, of all elements at once.

By rejection, as Marsaglia and Tsang do it (ACM Trans. Math. Softw. 26, 2000): of a few, an element that is refused is
proposed anew together with all others, until none is left; of many, together with the others that were refused. JAX
draws element by element on a processor, in a loop that the compiler makes no vectors of, and takes ten to twenty
times as long.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat

__all__ = ["gamma_draw", "shares_draw"]

_LONG = 1 << 16  # bytes
_MANY = 1 << 13  # elements from which on those that are refused are gathered
_LARGE = 1e30  # so that sums stay within float32
_BITS = 32  # of a word


def gamma_draw(key: Any, a: Any, axes: tuple[int, ...] = ()) -> Any:
    """Exact draws of Gamma(a, 1) for each element of `a`, as many as `axes` in front say.

    Where one would be 0 it is the smallest number of the type.
    """
    own, boost = jax.random.split(key)
    x = _from_one(own, a, axes)
    x = jax.lax.cond(jnp.any(a < 1), lambda x: x * jnp.exp(_log_boost(boost, a, axes)), lambda x: x, x)
    return jnp.maximum(x, jnp.finfo(x.dtype).tiny)


def shares_draw(key: Any, a: Any, axes: tuple[int, ...], axis: int) -> Any:
    """Such draws over their sum along `axis`, counted from the end: draws of a Dirichlet distribution, within (0, 1).

    By their logs where they themselves may be too small or too large for the type.
    """
    own, boost = jax.random.split(key)
    x = _from_one(own, a, axes)
    x = jax.lax.cond(jnp.all((a >= 1) & (a < _LARGE)), lambda x: x / jnp.sum(x, axis, keepdims=True),
                     lambda x: jax.nn.softmax(jnp.log(x) + _log_boost(boost, a, axes), axis), x)
    return jnp.clip(x, jnp.finfo(x.dtype).tiny, 1 - jnp.finfo(x.dtype).eps)


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
    d = jnp.broadcast_to(jnp.where(a < 1, a + 1, a) - 1 / 3, (*axes, *a.shape))
    return d * (_cubes(key, d) if d.size < _MANY else jnp.reshape(_many_cubes(key, jnp.ravel(d)), d.shape))


def _cubes(key: Any, d: Any) -> Any:
    """v, so that d v is a draw of Gamma(d + 1/3, 1)."""

    def again(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        key, v, refused = state
        key, own = jax.random.split(key)
        other, bad = _proposal(own, d)
        return key, jnp.where(refused, other, v), refused & bad

    key, own = jax.random.split(key)
    return jax.lax.while_loop(lambda s: jnp.any(s[2]), again, (key, *_proposal(own, d)))[1]


def _many_cubes(key: Any, d: Any) -> Any:
    """The same for a long vector: what is refused, at most one in twenty, is gathered and drawn by itself."""
    places = d.size // 12  # more are left for a turn after

    def again(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        key, v, refused = state
        key, own = jax.random.split(key)
        found = _first(refused, places)
        v = v.at[found].set(_cubes(own, d.at[found].get(mode="fill", fill_value=1.0)), mode="drop")
        return key, v, refused.at[found].set(False, mode="drop")

    key, own = jax.random.split(key)
    return jax.lax.while_loop(lambda s: jnp.any(s[2]), again, (key, *_proposal(own, d)))[1]


def _proposal(key: Any, d: Any) -> tuple[Any, Any]:
    """Proposed values, and which of them are refused."""
    x, u = _normal_and_uniform(key, d.shape, d.dtype)
    y = x / jnp.sqrt(9 * d)
    refused = (y <= -1) | (jnp.log(u) >= d * _log_accepted(jnp.maximum(y, -1.0)))  # nothing if `d` is no number
    return (1 + y) ** 3, refused


def _first(wanted: Any, number: int) -> Any:
    """The places of the first so many true elements of a vector; where there are fewer, places beyond its end.

    What `jnp.nonzero` finds, in a third of its time: bits are counted by word, and a place is looked for in its word.
    """
    words = -(-wanted.size // _BITS)
    bits = jnp.pad(wanted, (0, words * _BITS - wanted.size)).reshape(words, _BITS).astype(jnp.uint32)
    word = jnp.sum(bits << jnp.arange(_BITS, dtype=jnp.uint32), 1, dtype=jnp.uint32)
    up_to = jnp.cumsum(jax.lax.population_count(word).astype(jnp.int32))
    rank = jnp.arange(number, dtype=jnp.int32)
    own = jnp.searchsorted(up_to, rank, side="right")
    there = own < words
    before = jnp.where(there, rank - jnp.where(own > 0, up_to[own - 1], 0), 0)

    def next_bit(state: tuple[Any, Any]) -> tuple[Any, Any]:
        word, before = state
        return jnp.where(before > 0, word & (word - 1), word), jnp.maximum(before - 1, 0)

    left, _ = jax.lax.while_loop(lambda s: jnp.any(s[1] > 0), next_bit, (word.at[own].get(mode="clip"), before))
    bit = jax.lax.population_count((left & (~left + 1)) - 1).astype(own.dtype)
    return jnp.where(there, _BITS * own + bit, wanted.size)
