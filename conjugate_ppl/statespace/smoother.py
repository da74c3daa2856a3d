"""Smoother, draws and densities of a Gaussian chain (Rauch, Tung and Striebel 1965), given its filter."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.gaussian.small import of_array
from conjugate_ppl.statespace.filter import Steps, filtered, sooner

__all__ = ["Backward", "backward", "draw", "log_probs", "smoothed"]


def _product(a: Any, b: Any) -> Any:
    return sum(a[..., :, k, None] * b[..., None, k, :] for k in range(a.shape[-1]))


def _apply(a: Any, x: Any) -> Any:
    return sum(a[..., :, k] * x[..., None, k] for k in range(a.shape[-1]))


def _transposed(a: Any) -> Any:
    return jnp.swapaxes(a, -1, -2)


class Backward(NamedTuple):
    """Each step given the next: x[t] = g[t] + b[t] x[t+1] + c[t] w, where w has precision low[t] low[t]'."""

    g: Any
    b: Any
    c: Any
    low: Any

    @property
    def spread(self) -> Any:
        """A factor of each covariance: c low'^-1."""
        return _transposed(_divided(self.low, _transposed(self.c)))


def backward(steps: Steps) -> Backward:
    """The chain read from its end: of x[t] = mean[t] + c w, what x[t+1] says about w is

        F c w + T u = x[t+1] - F mean[t] - m,   with precision I + (T^-1 F c)'(T^-1 F c).

    All arrays have a first axis of chains side by side.
    """
    found = filtered(steps)
    dtype = jnp.result_type(*jax.tree.leaves(found))
    return jax.vmap(_backward)(*(_by_chain(x.stacked(steps.many, dtype)) for x in (
        steps.f, steps.t, steps.m, found.mean, found.covariance)))


def _by_chain(x: Any) -> Any:
    """Of shape (chains, steps, n, n), from (steps, n, n) or (steps, chains, n, n)."""
    return x[None] if x.ndim == 3 else jnp.moveaxis(x, 1, 0)


def _backward(f: Any, t: Any, m: Any, mean: Any, covariance: Any) -> Backward:
    m, mean = m[..., 0], mean[..., 0]
    eye = jnp.eye(m.shape[-1], dtype=m.dtype)
    c = _root(covariance)
    f, m, t = sooner(f), sooner(m), jnp.concatenate([t[1:], eye[None]])
    scaled = _divided(t, _product(f, c))
    low = of_array(eye + _product(_transposed(scaled), scaled)).lower().stacked(t.shape[:1], t.dtype)
    pull = _divided(low, _transposed(scaled))
    b = _product(_product(c, _transposed(_divided(low, eye))),
                 _product(pull, _divided(t, eye)))
    return Backward(mean - _apply(b, _apply(f, mean) + m), b, c, low)


def _root(d: Any) -> Any:
    """A lower triangular r with r r' = d; what is left of a pivot is no less than rounding."""
    n = d.shape[-1]
    columns: list[Any] = []
    for j in range(n):
        left = d[..., :, j] - sum((c * c[..., j, None] for c in columns), jnp.zeros_like(d[..., j]))
        pivot = jnp.maximum(left[..., j, None], 4 * n * jnp.finfo(d.dtype).eps * d[..., j, j, None])
        left = jnp.where(jnp.arange(n) == j, pivot, left)
        columns.append(jnp.where(jnp.arange(n) >= j, left / jnp.sqrt(pivot), 0.0))
    return jnp.stack(columns, -1)


def _divided(low: Any, x: Any) -> Any:
    """low^-1 x for lower triangular matrices, row by row."""
    x = jnp.broadcast_to(x, low.shape[:-1] + x.shape[-1:])
    rows: list[Any] = []
    for i in range(low.shape[-1]):
        known = sum((low[..., i, k, None] * r for k, r in enumerate(rows)), jnp.zeros_like(x[..., i, :]))
        rows.append((x[..., i, :] - known) / low[..., i, i, None])
    return jnp.stack(rows, -2)


def draw(back: Backward, noise: Any) -> Any:
    """All steps, from the last to the first."""
    moves = back.g + _apply(back.spread, noise)

    def step(after: Any, x: tuple[Any, Any]) -> tuple[Any, Any]:
        move, b = x
        now = move + _apply(b, after)
        return now, now

    return lax.scan(step, jnp.zeros_like(moves[0]), (moves, back.b), reverse=True)[1]


def log_probs(back: Backward, x: Any) -> Any:
    """Log density of each step given the next."""
    gap = x - back.g - _apply(back.b, sooner(x))
    w = _divided(back.c, gap[..., None])[..., 0]

    def log_diagonal(a: Any) -> Any:
        return jnp.sum(jnp.log(jnp.diagonal(a, axis1=-2, axis2=-1)), -1)

    return (-0.5 * jnp.sum(_apply(_transposed(back.low), w) ** 2, -1) + log_diagonal(back.low)
            - log_diagonal(back.c) - 0.5 * x.shape[-1] * math.log(2 * math.pi))


def smoothed(back: Backward) -> tuple[Any, Any]:
    """Mean and variance of every element given everything."""
    def step(after: tuple[Any, Any], x: tuple[Any, Any, Any]) -> tuple[Any, Any]:
        g, b, spread = x
        mean, covariance = after
        mean = g + _apply(b, mean)
        covariance = _product(_product(b, covariance), _transposed(b)) \
            + _product(spread, _transposed(spread))
        return (mean, covariance), (mean, jnp.diagonal(covariance))

    start = (jnp.zeros_like(back.g[0]), jnp.zeros_like(back.b[0]))
    out: tuple[Any, Any] = lax.scan(step, start, (back.g, back.b, back.spread), reverse=True)[1]
    return out
