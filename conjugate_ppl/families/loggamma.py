"""Differences of log-gamma functions, to full precision in float32 and float64.

lgamma(x + d) - lgamma(x) by subtraction loses all digits when x is large: the two values grow like
x log x, their difference like d log x. Stirling's formula, lgamma(x) = (x - 1/2) log x - x +
log(2 pi)/2 + r(x) (DLMF 5.11.1), gives the difference in terms that do not cancel.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

__all__ = ["difference", "log_beta_ratio", "remainder"]

# B_{2k} / (2k (2k - 1)), the coefficients of x^{1-2k} in r(x): DLMF 5.11.1
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_SHIFT = 8


def remainder(x: Any) -> Any:
    """r(x) = lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2 for x > 0.

    Small arguments are shifted by 8 with r(x) = r(x + 1) + (x + 1/2) log(1 + 1/x) - 1.
    """
    x = jnp.asarray(x)
    small = x < _SHIFT
    low = jnp.where(small, x, 1.0)
    high = jnp.where(small, low + _SHIFT, x)
    total = jnp.polyval(jnp.asarray(_SERIES[::-1], x.dtype), 1 / high**2, unroll=8) / high
    steps = low[..., None] + jnp.arange(_SHIFT, dtype=x.dtype)
    shift = jnp.sum((steps + 0.5) * jnp.log1p(1 / steps), -1) - _SHIFT
    return total + jnp.where(small, shift, 0.0)


def difference(x: Any, d: Any) -> Any:
    """lgamma(x + d) - lgamma(x) for x > 0 and x + d > 0."""
    y = x + d
    after, before = remainder(jnp.stack(jnp.broadcast_arrays(y, x)))
    return (x - 0.5) * jnp.log1p(d / x) + d * jnp.log(y) - d + after - before


def log_beta_ratio(a: Any, b: Any, da: Any, db: Any) -> Any:
    """log Beta(a + da, b + db) - log Beta(a, b), with the large terms combined before they cancel."""
    prior = jnp.stack(jnp.broadcast_arrays(a, b, a + b))
    added = jnp.stack(jnp.broadcast_arrays(da, db, da + db))
    posterior = prior + added
    sign = jnp.asarray([1.0, 1.0, -1.0], prior.dtype).reshape(3, *(1,) * (prior.ndim - 1))
    main = jnp.sum(added[:2] * jnp.log(posterior[:2] / posterior[2]), 0)
    bend = (prior - 0.5) * jnp.log1p(added / prior)
    after, before = remainder(jnp.stack([posterior, prior]))
    return main + jnp.sum(sign * (bend + after - before), 0)
