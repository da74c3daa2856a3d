"""The filter of a Gaussian chain (Kalman 1960), and the derivatives of what it finds.

One chain of steps of `width` elements:

    x[t] = F[t] x[t-1] + m[t] + T[t] u[t],   u[t] ~ N(0, I),    x[-1] = 0,
    log likelihood = sum_t  h[t]'x[t] - 1/2 x[t]'D[t]x[t].

Covariances are only ever added to: predicted ones as F P F' + T T', filtered ones in the form of Bucy and
Joseph. Neither a scale of 0 nor a vague prior is inverted. The loops hold only what has to wait for the step
before, the rest is done for all steps at once. A compiler makes one function of a loop over a few numbers
(of steps of up to four elements, entry by entry: `gaussian/small.py`), and of a larger one a call for each
operation of each step, a hundred times slower. Hence also several chains, one behind the other, are one.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.gaussian.small import Entries, Small, Stacked

__all__ = ["Filtered", "Steps", "filtered", "log_integral", "quadratic", "sooner"]


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """The matrices of all steps, for `many` steps: (steps,), or (steps, chains) side by side.

    `m` and `h` may have several columns, of as many problems that differ in nothing else.
    """

    many: tuple[int, ...]
    f: Small
    t: Small
    m: Small
    d: Small
    h: Small

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """For JAX."""
        return (self.f, self.t, self.m, self.d, self.h), self.many

    @classmethod
    def tree_unflatten(cls, many: tuple[int, ...], leaves: tuple[Any, ...]) -> Steps:
        """For JAX."""
        return cls(many, *leaves)


class Filtered(NamedTuple):
    """Of each step given all up to it: mean and covariance; and what the smoother needs besides."""

    mean: Small
    covariance: Small
    guess: Small  # the mean before what is seen at the step
    left: Small  # (I + P D)^-1, what of a change before the step is left after it
    precision: Small  # (D^-1 + P)^-1
    logdet: Any  # of I + P D


def _over(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, many: tuple[int, ...], at: Any,
          reverse: bool = False) -> Any:
    """`scan` over steps; what is the same at all steps stays where it is."""
    leaves, structure = jax.tree.flatten(at)
    moving = [k for k, x in enumerate(leaves) if jnp.ndim(x)]

    def step(carry: Any, now: list[Any]) -> tuple[Any, Any]:
        here = list(leaves)
        for k, x in zip(moving, now, strict=True):
            here[k] = x
        return body(carry, jax.tree.unflatten(structure, here))

    return lax.scan(step, carry, [leaves[k] for k in moving], length=many[0], reverse=reverse)[1]


def _zeros(like: Small, many: tuple[int, ...], columns: int, dtype: Any) -> Small:
    if isinstance(like, Stacked):
        return Stacked(jnp.zeros((*many, like.width, columns), dtype))
    return Entries(tuple(tuple(jnp.zeros(many, dtype) for _ in range(columns)) for _ in range(like.width)))


def _columns(x: Small) -> int:
    return len(x.rows[0]) if isinstance(x, Entries) else int(x.array.shape[-1])  # type: ignore[attr-defined]


def _dtype(x: Any) -> Any:
    return jnp.result_type(*jax.tree.leaves(x))


def _joseph(p: Small, r: Small, inverse: Small) -> tuple[Small, Small]:
    """The covariance after a step, and what of a change before it is left."""
    gain = p @ r @ inverse
    left = (gain @ r.T).scaled(-1).plus_one()
    return left.around(p) + gain.gram(), left


def filtered(x: Steps) -> Filtered:
    """The recursion forwards."""
    return _filtered(x.f, x.t.gram(), x.m, x.d, x.h, x.many)


def _filtered(f: Small, noise: Small, m: Small, d: Small, h: Small, many: tuple[int, ...]) -> Filtered:
    r, dtype = d.root(), _dtype((f, noise, m, d, h))
    kind = type(f)

    def step(before: tuple[Any, Any], at: tuple[Any, ...]) -> tuple[Any, Any]:
        mean, covariance = before[0], kind.of_half(before[1])
        f, noise, m, r, h = at
        p = f.around(covariance) + noise
        covariance, left = _joseph(p, r, (r.T.around(p)).plus_one().swept()[0])
        mean = left @ (f @ mean + m) + covariance @ h
        after = mean, covariance.lower_half()
        return after, after

    lanes, columns = many[1:], _columns(m)
    start = _zeros(f, lanes, columns, dtype), _zeros(f, lanes, f.width, dtype).lower_half()
    mean, half = _over(step, start, many, (f, noise, m, r, h))
    covariance = kind.of_half(half)
    p = f.around(_later(covariance)) + noise
    inverse, logdet = r.T.around(p).plus_one().swept()
    left = _joseph(p, r, inverse)[1]
    return Filtered(mean, covariance, f @ _later(mean) + m, left, r.around(inverse), logdet)


def _later(a: Any) -> Any:
    """What belongs to the step before, 0 for the first."""
    return jax.tree.map(lambda x: jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]) if jnp.ndim(x) else x, a)


def sooner(a: Any) -> Any:
    """What belongs to the next step, 0 for the last."""
    return jax.tree.map(lambda x: jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]) if jnp.ndim(x) else x, a)


def _total(x: Small, many: tuple[int, ...]) -> Any:
    """Sums over all steps, as an array."""
    if isinstance(x, Stacked):
        return jnp.sum(x.array, tuple(range(len(many))))
    return jnp.stack([jnp.stack([_sum(e, many) for e in r]) for r in x.rows])  # type: ignore[attr-defined]


def _sum(x: Any, many: tuple[int, ...]) -> Any:
    return jnp.sum(x) if jnp.ndim(x) else x * math.prod(many)


def log_integral(x: Steps) -> Any:
    """Log of the integral over all steps."""
    squares, volume = quadratic(x)
    return 0.5 * squares[0, 0] + volume


def quadratic(x: Steps) -> tuple[Any, Any]:
    """(q, v): the log of the integral for the sum of all columns, each times w[k], is 1/2 w'qw + v."""
    return _quadratic(x.f, x.t.gram(), x.m, x.d, x.h, x.many)


@functools.partial(jax.custom_jvp, nondiff_argnums=(5,))
def _quadratic(f: Small, noise: Small, m: Small, d: Small, h: Small, many: tuple[int, ...]
               ) -> tuple[Any, Any]:
    return _results(_filtered(f, noise, m, d, h, many), h, many)


def _results(at: Filtered, h: Small, many: tuple[int, ...]) -> tuple[Any, Any]:
    # h'Ch + 2 h'Jg - g'Kg: what is large in 2 h'g - g'Dg + (h - Dg)'C(h - Dg) is gone
    cross = h.T @ (at.left @ at.guess)
    square = h.T @ (at.covariance @ h) + cross + cross.T + (
        at.guess.T @ (at.precision @ at.guess)).scaled(-1)
    return _total(square, many), -0.5 * _sum(at.logdet, many)


@_quadratic.defjvp
def _(many: tuple[int, ...], primals: tuple[Small, ...], tangents: tuple[Small, ...]
      ) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """By the recursion backwards (de Jong, Biometrika 76, 1989): g is half the derivative of the square
    with respect to a predicted mean, gg' and -n / 2 are those with respect to its covariance."""
    f, noise, m, d, h = primals
    at = _filtered(f, noise, m, d, h, many)
    kind, onward = type(f), sooner(f).T
    push = at.left.T @ h + (at.precision @ at.guess).scaled(-1)

    def step(after: tuple[Any, Any], now: tuple[Any, ...]) -> tuple[Any, Any]:
        g, n = after[0], kind.of_half(after[1])
        onward, back, push, precision = now
        g = back @ (onward @ g) + push
        n = back.around(onward.around(n)) + precision
        before = g, n.lower_half()
        return before, before

    start = jax.tree.map(jnp.zeros_like, jax.tree.map(
        lambda x: x[-1], (at.mean, at.covariance.lower_half())))
    g, half = _over(step, start, many, (onward, at.left.T, push, at.precision), reverse=True)
    n = kind.of_half(half)
    mean = at.mean + at.covariance @ (onward @ sooner(g))
    before = _later(at.covariance) @ f.T
    df, dnoise, dm, dd, dh = (x.as_change() for x in tangents)
    change = g.T @ (df @ (_later(at.mean) + before @ g)) + (g.T @ (dnoise @ g)).scaled(0.5) + g.T @ dm \
        + mean.T @ dh + (mean.T @ (dd @ mean)).scaled(-0.5)
    change = _total(change, many)
    spread = at.covariance + at.covariance.around(onward.around(sooner(n))).scaled(-1)
    volume = -_sum((n @ before.T).inner(df), many) - 0.5 * (
        _sum(n.inner(dnoise), many) + _sum(spread.inner(dd), many))
    return _results(at, h, many), (change + change.T, volume)
