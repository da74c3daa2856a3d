"""Filter, smoother and draws of a Gaussian chain (Kalman 1960; Rauch, Tung and Striebel 1965).

One chain of `steps` steps of `width` elements:

    x[t] = F[t] x[t-1] + m[t] + T[t] u[t],   u[t] ~ N(0, I),    x[-1] = 0,
    log likelihood = sum_t  h[t]'x[t] - 1/2 x[t]'D[t]x[t].

Covariances are only ever added to: predicted ones as F P F' + T T', filtered ones in the form of Bucy and
Joseph. Neither a scale of 0 nor a vague prior is inverted. The loops hold only what has to wait for the step
before, the rest is done for all steps at once: a loop of few operations becomes one function of the compiler,
a longer one a call for each operation of each step, ten times slower.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.gaussian.small import of_array

__all__ = ["Backward", "Filtered", "Steps", "backward", "divided", "draw", "filtered", "log_integral", "log_prob",
           "root", "smoothed"]


class Steps(NamedTuple):
    """The matrices of all steps."""

    f: Any
    t: Any
    m: Any
    d: Any
    h: Any


class Filtered(NamedTuple):
    """Of each step given all up to it: mean and covariance; and what the smoother needs besides."""

    mean: Any
    covariance: Any
    guess: Any  # the mean before what is seen at the step
    left: Any  # (I + P D)^-1, what of a change before the step is left after it
    precision: Any  # (D^-1 + P)^-1
    log_integral: Any


def _product(a: Any, b: Any) -> Any:
    if a.ndim == b.ndim == 2:  # within a loop: fewer operations
        return jnp.sum(a[:, :, None] * b[None], 1)
    # for all steps at once: sums along so short an axis would be slow
    return sum(a[..., :, k, None] * b[..., None, k, :] for k in range(a.shape[-1]))


def _apply(a: Any, x: Any) -> Any:
    return sum(a[..., :, k] * x[..., None, k] for k in range(a.shape[-1]))


def _transposed(a: Any) -> Any:
    return jnp.swapaxes(a, -1, -2)


def _inverse(s: Any) -> tuple[Any, Any]:
    """Inverse and log-determinant of a symmetric matrix that is no less than I, by sweeps of its rows."""
    n = s.shape[-1]
    logdet: Any = 0.0
    for j in range(n):
        column, pivot = s[..., :, j], s[..., j, j]
        one = jnp.arange(n) == j
        share = column / pivot[..., None]
        s = jnp.where(one[:, None] | one, share[..., :, None] * one + one[:, None] * share[..., None, :],
                      s - column[..., :, None] * share[..., None, :])
        s = jnp.where(one[:, None] & one, -1 / pivot[..., None, None], s)
        logdet = logdet + jnp.log(pivot)
    return -s, logdet


def root(d: Any, floor: bool = False) -> Any:
    """A lower triangular r with r r' = d, for positive semidefinite d.

    What is left of a pivot that is not more than rounding counts as nothing, or is kept as that much
    (`floor`).
    """
    n = d.shape[-1]
    columns: list[Any] = []
    for j in range(n):
        left = d[..., :, j] - sum((c * c[..., j, None] for c in columns), jnp.zeros_like(d[..., j]))
        rounding = 4 * n * jnp.finfo(d.dtype).eps * d[..., j, j, None]
        pivot = left[..., j, None]
        full = pivot > rounding
        if floor:
            pivot = jnp.where(full, pivot, rounding)
            left = jnp.where(jnp.arange(n) == j, pivot, left)
        else:
            left, pivot = jnp.where(full, left, 0.0), jnp.where(full, pivot, 1.0)
        columns.append(jnp.where(jnp.arange(n) >= j, left / jnp.sqrt(pivot), 0.0))
    return jnp.stack(columns, -1)


def filtered(steps: Steps) -> Filtered:
    """The recursion forwards."""
    x = steps
    eye, r = jnp.eye(x.m.shape[-1], dtype=x.m.dtype), root(x.d)

    def before(covariance: Any, f: Any, noise: Any) -> Any:
        return _product(_product(f, covariance), _transposed(f)) + noise

    def update(p: Any, r: Any) -> Any:
        return _inverse(eye + _product(_transposed(r), _product(p, r)))

    def widen(covariance: Any, at: tuple[Any, Any, Any]) -> tuple[Any, Any]:
        f, noise, r = at
        p = before(covariance, f, noise)
        covariance = _joseph(p, r, update(p, r)[0])[0]
        return covariance, covariance

    noise = _product(x.t, _transposed(x.t))
    _, covariance = lax.scan(widen, jnp.zeros_like(x.d[0]), (x.f, noise, r))
    p = before(_later(covariance), x.f, noise)
    inverse, logdet = update(p, r)
    left = _joseph(p, r, inverse)[1]

    def move(mean: Any, at: tuple[Any, Any]) -> tuple[Any, Any]:
        a, b = at
        mean = _apply(a, mean) + b
        return mean, mean

    _, mean = lax.scan(move, jnp.zeros_like(x.m[0]), (
        _product(left, x.f), _apply(left, x.m) + _apply(covariance, x.h)))
    guess = _apply(x.f, _later(mean)) + x.m
    precision = _product(_product(r, inverse), _transposed(r))
    # 1/2 h'Ch + h'Jg - 1/2 g'Kg: what is large in h'g - 1/2 g'Dg + 1/2 (h - Dg)'C(h - Dg) is gone
    total = jnp.sum(x.h * (0.5 * _apply(covariance, x.h) + _apply(left, guess))) - 0.5 * (
        jnp.sum(guess * _apply(precision, guess)) + jnp.sum(logdet))
    return Filtered(mean, covariance, guess, left, precision, total)


def _joseph(p: Any, r: Any, inverse: Any) -> tuple[Any, Any]:
    """The covariance after a step, and what of a change before it is left."""
    gain = _product(_product(p, r), inverse)
    left = jnp.eye(p.shape[-1], dtype=p.dtype) - _product(gain, _transposed(r))
    return (_product(_product(left, p), _transposed(left)) + _product(gain, _transposed(gain)), left)


def _later(a: Any) -> Any:
    """What belongs to the step before, 0 for the first."""
    return jnp.concatenate([jnp.zeros_like(a[:1]), a[:-1]])


def _sooner(a: Any) -> Any:
    """What belongs to the next step, 0 for the last."""
    return jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])


@jax.custom_jvp
def log_integral(steps: Steps) -> Any:
    """Log of the integral over all steps."""
    return filtered(steps).log_integral


@log_integral.defjvp
def _(primals: tuple[Steps], tangents: tuple[Steps]) -> tuple[Any, Any]:
    """By the recursion backwards (de Jong, Biometrika 76, 1989): g is the derivative with respect to a
    predicted mean, and (gg' - n) / 2 that with respect to its covariance."""
    (x,), (dx,) = primals, tangents
    at = filtered(x)
    onward = _sooner(x.f)

    def pull(g: Any, at: tuple[Any, Any]) -> tuple[Any, Any]:
        g = _apply(_transposed(at[0]), g) + at[1]
        return g, g

    def stiffen(n: Any, at: tuple[Any, Any]) -> tuple[Any, Any]:
        n = _product(_product(_transposed(at[0]), n), at[0]) + at[1]
        return n, n

    through = _product(onward, at.left)
    _, g = lax.scan(pull, jnp.zeros_like(x.m[0]), (
        through, _apply(_transposed(at.left), x.h) - _apply(at.precision, at.guess)), reverse=True)
    _, n = lax.scan(stiffen, jnp.zeros_like(x.d[0]), (through, at.precision), reverse=True)
    a = _apply(_transposed(onward), _sooner(g))
    b = _product(_product(_transposed(onward), _sooner(n)), onward)
    mean = at.mean + _apply(at.covariance, a)
    square = _outer(mean, mean) + at.covariance - _product(_product(at.covariance, b), at.covariance)
    spread = _outer(g, g) - n
    slope = Steps(
        _outer(g, _later(at.mean)) + _product(_product(spread, x.f), _later(at.covariance)),
        _product(spread, x.t), g, -0.5 * square, mean)
    return at.log_integral, sum(jnp.sum(d * t) for d, t in zip(slope, dx, strict=True))


def _outer(a: Any, b: Any) -> Any:
    return a[..., :, None] * b[..., None, :]


class Backward(NamedTuple):
    """Each step given the next: x[t] = g[t] + b[t] x[t+1] + c[t] w, where w has precision low[t] low[t]'."""

    g: Any
    b: Any
    c: Any
    low: Any

    @property
    def spread(self) -> Any:
        """A factor of each covariance: c low'^-1."""
        return _transposed(divided(self.low, _transposed(self.c)))


def backward(steps: Steps, found: Filtered) -> Backward:
    """The chain read from its end: of x[t] = mean[t] + c w, what x[t+1] says about w is

        F c w + T u = x[t+1] - F mean[t] - m,   with precision I + (T^-1 F c)'(T^-1 F c)."""
    eye = jnp.eye(steps.m.shape[-1], dtype=steps.m.dtype)
    c = root(found.covariance, floor=True)
    f, m, t = _sooner(steps.f), _sooner(steps.m), jnp.concatenate([steps.t[1:], eye[None]])
    scaled = divided(t, _product(f, c))
    low = of_array(eye + _product(_transposed(scaled), scaled)).lower().stacked(t.shape[:1], t.dtype)
    pull = divided(low, _transposed(scaled))
    b = _product(_product(c, _transposed(divided(low, eye))),
                 _product(pull, divided(t, eye)))
    return Backward(found.mean - _apply(b, _apply(f, found.mean) + m), b, c, low)


def divided(low: Any, x: Any) -> Any:
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


def log_prob(back: Backward, x: Any) -> Any:
    """Log density of all steps, each given the next."""
    gap = x - back.g - _apply(back.b, _sooner(x))
    w = divided(back.c, gap[..., None])[..., 0]

    def log_diagonal(a: Any) -> Any:
        return jnp.sum(jnp.log(jnp.diagonal(a, axis1=-2, axis2=-1)))

    return (-0.5 * jnp.sum(_apply(_transposed(back.low), w) ** 2) + log_diagonal(back.low)
            - log_diagonal(back.c) - 0.5 * x.size * math.log(2 * math.pi))


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
