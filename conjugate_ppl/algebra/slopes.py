"""Functions of each element of a vector whose elements are not all read.

Of a root of correlations the logarithm of the diagonal is read, and the zeros beside it are not; of location and log
scale in one vector, the exponential of the second. What is not read has a cotangent of 0, and 0 times a derivative that is
infinite or no number is no number: so such derivatives count as 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["each"]


def each(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of one number, of each element, with its own value everywhere and its derivative where that is finite."""
    return function(x) if isinstance(x, np.ndarray) or np.size(x) == 1 else _each(function, x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _each(function: Callable[[Any], Any], x: Any) -> Any:
    return function(x)


@_each.defjvp
def _(function: Callable[[Any], Any], primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents

    def slope(x: Any) -> Any:
        out = jax.jvp(function, (x,), (jnp.ones_like(x),))[1]
        return jnp.where(jnp.isfinite(out), out, 0.0)

    return _each(function, x), _each(slope, x) * t  # derivatives of these are such again
