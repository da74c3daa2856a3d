"""Differences of log-gamma functions, to full precision in float32 and float64.

lgamma(x + d) - lgamma(x) by subtraction loses all digits when x is large: the two values grow like
x log x, their difference like d log x. Stirling's formula, lgamma(x) = (x - 1/2) log x - x +
log(2 pi)/2 + r(x) (DLMF 5.11.1), gives the difference in terms that do not cancel.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

__all__ = ["difference", "log_beta_ratio", "log_dirichlet_ratio", "remainder"]

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


def _log_ratio(x: Any, d: Any, y: Any) -> Any:
    """log(y / x) for y = x + d: exact for d near 0, and for d near -x."""
    down = d < 0
    return jnp.where(down, -1.0, 1.0) * jnp.log1p(jnp.where(down, -d / y, d / x))


def difference(x: Any, d: Any) -> Any:
    """lgamma(x + d) - lgamma(x) for x > 0 and x + d > 0."""
    y = x + d
    after, before = remainder(jnp.stack(jnp.broadcast_arrays(y, x)))
    return (x - 0.5) * _log_ratio(x, d, y) + d * jnp.log(y) - d + after - before


def _others(x: Any) -> Any:
    """For each cell of the last axis the sum of all other cells, without subtraction."""
    none = jnp.zeros_like(x[..., :1])
    before = jnp.concatenate([none, jnp.cumsum(x, -1)[..., :-1]], -1)
    after = jnp.concatenate([jnp.cumsum(x[..., ::-1], -1)[..., -2::-1], none], -1)
    return before + after


def log_dirichlet_ratio(a: Any, d: Any) -> Any:
    """log B(a + d) - log B(a), B(a) = prod_k Gamma(a_k) / Gamma(sum_k a_k) over the last axis.

    With A = a + d, S = sum A, s = sum a, Stirling's formula leaves

        -sum_k [d_k log(S / A_k) + a_k log(S a_k / (s A_k)) + log(A_k / a_k) / 2] + log(S / s) / 2,

    and S - A_k, S a_k - s A_k are sums over the other cells: no term outgrows the result.
    """
    after = a + d
    total, grown = jnp.sum(a, -1, keepdims=True), jnp.sum(after, -1, keepdims=True)
    drift = a / total * _others(d) - _others(a) / total * d
    main = d * jnp.log1p(_others(after) / after) + a * _log_ratio(after, drift, grown * (a / total))
    prior = jnp.concatenate([a, total], -1)
    posterior = jnp.concatenate([after, grown], -1)
    small = remainder(posterior) - remainder(prior) - 0.5 * _log_ratio(
        prior, jnp.concatenate([d, jnp.sum(d, -1, keepdims=True)], -1), posterior)
    return jnp.sum(small[..., :-1] - main, -1) - small[..., -1]


def log_beta_ratio(a: Any, b: Any, da: Any, db: Any) -> Any:
    """log Beta(a + da, b + db) - log Beta(a, b)"""
    a, b, da, db = jnp.broadcast_arrays(a, b, da, db)
    return log_dirichlet_ratio(jnp.stack([a, b], -1), jnp.stack([da, db], -1))
