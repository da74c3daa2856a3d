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
    square = 1 / high**2
    total = jnp.zeros_like(high)
    for c in reversed(_SERIES):
        total = total * square + c
    total = total / high
    shift = jnp.zeros_like(low)
    for k in range(_SHIFT):
        shift = shift + (low + k + 0.5) * jnp.log1p(1 / (low + k)) - 1
    return total + jnp.where(small, shift, 0.0)


def difference(x: Any, d: Any) -> Any:
    """lgamma(x + d) - lgamma(x) for x > 0 and x + d > 0."""
    y = x + d
    return ((x - 0.5) * jnp.log1p(d / x) + d * jnp.log(y) - d + remainder(y) - remainder(x))


def log_beta_ratio(a: Any, b: Any, da: Any, db: Any) -> Any:
    """log Beta(a + da, b + db) - log Beta(a, b), with the large terms combined before they cancel."""
    s, ds = a + b, da + db
    t = s + ds
    main = da * jnp.log((a + da) / t) + db * jnp.log((b + db) / t)
    bend = ((a - 0.5) * jnp.log1p(da / a) + (b - 0.5) * jnp.log1p(db / b)
            - (s - 0.5) * jnp.log1p(ds / s))
    tail = (remainder(a + da) - remainder(a) + remainder(b + db) - remainder(b)
            - remainder(t) + remainder(s))
    return main + bend + tail


