"""Draws, densities and moments of a Gaussian chain, from a recursion backwards.

With what is seen from step t on written as a function of x[t],

    log likelihood = q[t]'x[t] - 1/2 x[t]'N[t]x[t] + constant,

each step given the one before is normal in the noise u[t] of

    x[t] = F[t] x[t-1] + m[t] + T[t] u[t]:

precision I + T'NT, linear part T'(q - N (F x[t-1] + m)). The recursion of (q, N) is that of the filter with T in
the place of the root of D (Mayne 1966), and in the same way nothing is subtracted or inverted that may be 0: a
scale of 0 leaves u[t] as it was, which is how what is computed without noise from other steps has a place in a
chain. Long chains are put together in parallel where the filter is (`parallel.py`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.statespace.filter import Steps, bare, broadcast, dressed, over, sooner
from conjugate_ppl.statespace.parallel import covariances, in_parallel, moved, suffixes

__all__ = ["Forward", "draw", "forward", "log_probs", "smoothed"]


def _product(a: Any, b: Any) -> Any:
    return sum(a[..., :, k, None] * b[..., None, k, :] for k in range(a.shape[-1]))


def _apply(a: Any, x: Any) -> Any:
    return sum(a[..., :, k] * x[..., None, k] for k in range(a.shape[-1]))


def _transposed(a: Any) -> Any:
    return jnp.swapaxes(a, -1, -2)


class Forward(NamedTuple):
    """Each step given the one before: x[t] = g[t] + b[t] x[t-1] + t[t] e[t], e[t] of precision low[t] low[t]'."""

    g: Any
    b: Any
    t: Any
    low: Any
    inverse: Any  # of low

    @property
    def spread(self) -> Any:
        """A factor of each step's covariance."""
        return _product(self.t, _transposed(self.inverse))


def forward(steps: Steps) -> Forward:
    """The chain read from its beginning. All arrays have a first axis of chains side by side."""
    f, t, m, d, h = steps.f, steps.t, steps.m, steps.d, steps.h
    dtype = jnp.result_type(*jax.tree.leaves((f, t, m, d, h)))
    kind = type(f)
    half = d.filled(steps.many, dtype).lower_half()
    start: Any = jax.tree.map(lambda x: jnp.zeros_like(x[0]), (bare(h.filled(steps.many, dtype)), half))

    def step(after: tuple[Any, Any], now: tuple[Any, ...]) -> tuple[Any, Any]:
        onward, t, m, d, h = now
        q, n = dressed(kind, after[0]), kind.of_half(after[1])
        here, n = q + h, n + d
        inside, left = n.joseph(t, t.T.around(n).plus_one().swept()[0])
        before = onward.T @ (left @ (here + (n @ m).scaled(-1))), onward.T.around(inside)
        kept = bare(here), n.lower_half()
        return broadcast(start, (bare(before[0]), before[1].lower_half())), broadcast(start, kept)

    if in_parallel(steps.many[0]):
        lanes = steps.many[1:]
        after = suffixes(f, t.gram(), m, d.root(), h, steps.many, lanes, lanes, dtype)
        q, n = (sooner(x) + own for x, own in zip(after, (h, d), strict=True))
    else:
        q, n = over(step, start, steps.many, (f, t, m, d, h), reverse=True)
        q, n = dressed(kind, q), kind.of_half(n)
    low = t.T.around(n).plus_one().lower()
    inverse = low.inverse_lower()
    gain = (t @ inverse.T).gram()  # of x[t] to what is seen
    stay = (gain @ n).scaled(-1).plus_one()
    g, *rest = (_by_chain(x.stacked(steps.many, dtype)) for x in (stay @ m + gain @ q, stay @ f, t, low, inverse))
    return Forward(g[..., 0], *rest)


def _by_chain(x: Any) -> Any:
    """Of shape (chains, steps, n, n), from (steps, n, n) or (steps, chains, n, n)."""
    return x[None] if x.ndim == 3 else jnp.moveaxis(x, 1, 0)


def draw(ahead: Forward, noise: Any) -> Any:
    """All steps, from the first to the last."""
    moves = ahead.g + _apply(ahead.spread, noise)
    if in_parallel(len(moves)):
        return moved(moves, ahead.b)

    def step(before: Any, x: tuple[Any, Any]) -> tuple[Any, Any]:
        move, b = x
        now = move + _apply(b, before)
        return now, now

    return lax.scan(step, jnp.zeros_like(moves[0]), (moves, ahead.b))[1]


def log_probs(ahead: Forward, x: Any, noisy: Any) -> Any:
    """Log density of each step's elements given the step before: of those that have noise of their own; standard
    normal at 0 for others."""
    gap = x - ahead.g - _apply(ahead.b, jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]))
    own = jnp.where(noisy, jnp.diagonal(ahead.t, axis1=-2, axis2=-1), 1.0)
    noise: list[Any] = []
    for i in range(x.shape[-1]):
        left = gap[..., i] - sum((ahead.t[..., i, k] * e for k, e in enumerate(noise)), 0.0)
        noise.append(jnp.where(noisy[..., i], left, 0.0) / own[..., i])
    w = _apply(_transposed(ahead.low), jnp.stack(noise, -1))
    logdet = jnp.sum(jnp.log(jnp.diagonal(ahead.low, axis1=-2, axis2=-1)), -1) - jnp.sum(jnp.log(own), -1)
    return logdet - 0.5 * jnp.sum(w**2, -1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)


def smoothed(ahead: Forward) -> tuple[Any, Any]:
    """Mean and variance of every element given everything."""
    if in_parallel(len(ahead.g)):
        covariance = covariances(_product(ahead.spread, _transposed(ahead.spread)), ahead.b)
        return moved(ahead.g, ahead.b), jnp.diagonal(covariance, axis1=-2, axis2=-1)

    def step(before: tuple[Any, Any], x: tuple[Any, Any, Any]) -> tuple[Any, Any]:
        g, b, spread = x
        mean, covariance = before
        mean = g + _apply(b, mean)
        covariance = _product(_product(b, covariance), _transposed(b)) + _product(spread, _transposed(spread))
        return (mean, covariance), (mean, jnp.diagonal(covariance))

    start = (jnp.zeros_like(ahead.g[0]), jnp.zeros_like(ahead.b[0]))
    out: tuple[Any, Any] = lax.scan(step, start, (ahead.g, ahead.b, ahead.spread))[1]
    return out
