"""Differences of log-gamma functions, to full precision in float32 and float64.

lgamma(x + d) - lgamma(x) by subtraction loses all digits when x is large: the two values grow like
x log x, their difference like d log x. Stirling's formula, lgamma(x) = (x - 1/2) log x - x +
log(2 pi)/2 + r(x) (DLMF 5.11.1), gives the difference in terms that do not cancel.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["difference", "log_beta_ratio", "log_dirichlet_ratio", "remainder"]

# B_{2k} / (2k (2k - 1)), the coefficients of x^{1-2k} in r(x): DLMF 5.11.1
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
# how far small arguments are moved up, so that the series is exact to rounding
_SHIFT = {"float32": 3, "float64": 8}
_FEW = 8  # cells whose sums over the others are written out


@jax.jit  # hundreds of operations: traced once for a shape, in derivatives too
def remainder(x: Any) -> Any:
    """r(x) = lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2 for x > 0.

    Small arguments are moved up by r(x) = r(x + 1) + (x + 1/2) log(1 + 1/x) - 1.
    """
    x = jnp.asarray(x)
    up = _SHIFT.get(str(x.dtype), _SHIFT["float64"])
    small = x < up
    low = jnp.where(small, x, 1.0)
    high = jnp.where(small, low + up, x)
    total = jnp.polyval(jnp.asarray(_SERIES[::-1], x.dtype), 1 / high**2, unroll=8) / high
    steps = [low + k for k in range(up)]
    shift = sum((s + 0.5) * jnp.log1p(1 / s) - 1.0 for s in steps)
    return total + jnp.where(small, shift, 0.0)


def _log_ratio(x: Any, d: Any, y: Any) -> Any:
    """log(y / x) for y = x + d: exact for d near 0, and for d near -x."""
    down = d < 0
    return jnp.where(down, -1.0, 1.0) * jnp.log1p(jnp.where(down, -d / y, d / x))


@jax.jit
def difference(x: Any, d: Any) -> Any:
    """lgamma(x + d) - lgamma(x) for x > 0 and x + d > 0."""
    y = x + d
    return (x - 0.5) * _log_ratio(x, d, y) + d * jnp.log(y) - d + remainder(y) - remainder(x)


def _others(x: Any) -> Any:
    """For each cell of the last axis the sum of all other cells, without subtraction."""
    cells = x.shape[-1]
    if cells <= _FEW:
        return jnp.sum(x[..., None, :] * (1.0 - jnp.eye(cells, dtype=x.dtype)), -1)
    none = jnp.zeros_like(x[..., :1])
    before = jnp.concatenate([none, jnp.cumsum(x, -1)[..., :-1]], -1)
    after = jnp.concatenate([jnp.cumsum(x[..., ::-1], -1)[..., -2::-1], none], -1)
    return before + after


def _main(a: Any, d: Any, rest: Any, d_rest: Any) -> Any:
    """A cell's part of a Dirichlet ratio without remainders; `rest` are all other cells together."""
    total, after = a + rest, a + d
    drift = a / total * d_rest - rest / total * d
    grown = (total + d + d_rest) * (a / total)
    return d * jnp.log1p((rest + d_rest) / after) + a * _log_ratio(after, drift, grown)


def _small(a: Any, d: Any) -> Any:
    """r(a + d) - r(a) - log((a + d) / a) / 2"""
    return remainder(a + d) - remainder(a) - 0.5 * _log_ratio(a, d, a + d)


def log_dirichlet_ratio(a: Any, d: Any) -> Any:
    """log B(a + d) - log B(a), B(a) = prod_k Gamma(a_k) / Gamma(sum_k a_k) over the last axis.

    With A = a + d, S = sum A, s = sum a, Stirling's formula leaves

        -sum_k [d_k log(S / A_k) + a_k log(S a_k / (s A_k)) + log(A_k / a_k) / 2] + log(S / s) / 2,

    and S - A_k, S a_k - s A_k are sums over the other cells: no term outgrows the result.
    """
    cells = _small(a, d) - _main(a, d, _others(a), _others(d))
    return jnp.sum(cells, -1) - _small(jnp.sum(a, -1), jnp.sum(d, -1))


def log_beta_ratio(a: Any, b: Any, da: Any, db: Any) -> Any:
    """log Beta(a + da, b + db) - log Beta(a, b), the ratio for two cells."""
    return (_small(a, da) + _small(b, db) - _main(a, da, b, db) - _main(b, db, a, da)
            - _small(a + b, da + db))
