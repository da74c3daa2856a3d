"""The filter of a Gaussian chain (Kalman 1960), and the derivatives of what it finds.

One chain of steps of `width` elements:

    x[t] = F[t] x[t-1] + m[t] + T[t] u[t],   u[t] ~ N(0, I),    x[-1] = 0,
    log likelihood = sum_t  h[t]'x[t] - 1/2 x[t]'D[t]x[t].

Covariances are only ever added to: predicted ones as F P F' + T T', filtered ones in the form of Bucy and
Joseph. Neither a scale of 0 nor a vague prior is inverted. The loops hold only what has to wait for the step
before, the rest is done for all steps at once. A compiler makes one function of a loop over a few numbers
(of steps of up to four elements, entry by entry: `gaussian/entries.py`), and of a larger one a call for each
operation of each step, a hundred times slower. Hence also several chains, one behind the other, are one. On devices that do
many things at once long chains are put together in another way (`parallel.py`).
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

from conjugate_ppl.gaussian.entries import Entries
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.gaussian.stacked import Stacked
from conjugate_ppl.statespace.parallel import affine, in_parallel, prefixes

__all__ = ["Filtered", "Steps", "bare", "broadcast", "dressed", "filtered", "log_integral", "over",
           "quadratic", "sooner"]


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """The matrices of all steps, for `many` steps: (steps,), or (steps, chains) side by side.

    With `columns`, the vectors `m` and `h` have a last axis, of as many problems that differ in nothing
    else; then there are no chains side by side.
    """

    many: tuple[int, ...]
    f: Small
    t: Small
    m: Small
    d: Small
    h: Small
    columns: int = 0

    def at(self, weights: Any) -> Steps:
        """The sum of all columns, each times a weight."""
        if not self.columns:
            return self
        m, h = (_combined(x, weights) for x in (self.m, self.h))
        return Steps(self.many, self.f, self.t, m, self.d, h)


def _combined(x: Small, weights: Any) -> Small:
    if isinstance(x, Stacked):
        return Stacked(jnp.einsum("tkij,k->tij", x.array, weights, precision="highest"))
    return jax.tree.map(lambda a: jnp.matmul(a, weights, precision="highest"), x)  # type: ignore[no-any-return]


class Filtered(NamedTuple):
    """Of each step given all up to it: mean and covariance; and what the smoother needs besides."""

    mean: Small
    covariance: Small
    guess: Small  # the mean before what is seen at the step
    left: Small  # (I + P D)^-1, what of a change before the step is left after it
    precision: Small  # (D^-1 + P)^-1
    logdet: Any  # of I + P D


def over(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, many: tuple[int, ...], at: Any,
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


def _zeros(like: Small, lanes: tuple[int, ...], columns: int, dtype: Any) -> Small:
    if isinstance(like, Stacked):
        return Stacked(jnp.zeros((*lanes, like.width, columns), dtype))
    return Entries(tuple(tuple(jnp.zeros(lanes, dtype) for _ in range(columns)) for _ in range(like.width)))


def bare(x: Small) -> Any:
    """As lists, or an array, for a loop to carry."""
    return x.array if isinstance(x, Stacked) else [list(r) for r in x.entries().rows]


def dressed(kind: type[Small], x: Any) -> Any:
    """The inverse of `bare`."""
    return Stacked(x) if kind is Stacked else Entries(tuple(map(tuple, x)))


def broadcast(like: Any, x: Any) -> Any:
    """The arrays of `x`, of the types and shapes of those of `like`."""
    return jax.tree.map(lambda a, b: jnp.broadcast_to(jnp.asarray(b, a.dtype), a.shape), like, x)


def filtered(x: Steps) -> Filtered:
    """The recursion forwards, where there are no columns."""
    return _filtered(x.f, x.t.gram(), x.m, x.d, x.h, x.many, 0)


def _filtered(f: Small, noise: Small, m: Small, d: Small, h: Small, many: tuple[int, ...], columns: int
              ) -> Filtered:
    r = d.root()
    dtype = jnp.result_type(*jax.tree.leaves((f, noise, m, d, h)))
    lanes = (1,) if columns else many[1:]
    if in_parallel(many[0]):
        mean, covariance = prefixes(f, noise, m, r, h, many, lanes, (columns,) if columns else lanes, dtype)
    else:
        mean, covariance = _one_by_one(f, noise, m, r, h, many, columns, lanes, dtype)
    p = f.around(_later(covariance), noise)
    inverse, logdet = r.T.around(p).plus_one().swept()
    left = p.joseph(r, inverse)[1]
    return Filtered(mean, covariance, f @ _later(mean) + m, left, r.around(inverse), logdet)


def _one_by_one(f: Small, noise: Small, m: Small, r: Small, h: Small, many: tuple[int, ...], columns: int,
                lanes: tuple[int, ...], dtype: Any) -> tuple[Small, Small]:
    kind = type(f)
    start = (bare(_zeros(f, (columns,) if columns else lanes, 1, dtype)),
             _zeros(f, lanes, f.width, dtype).lower_half())

    def step(before: tuple[Any, Any], at: tuple[Any, ...]) -> tuple[Any, Any]:
        mean, covariance = dressed(kind, before[0]), kind.of_half(before[1])
        f, noise, m, r, h = at
        p = f.around(covariance, noise)
        covariance, left = p.joseph(r, r.T.around(p).plus_one().swept()[0])
        mean = left @ (f @ mean + m) + covariance @ h
        after = broadcast(start, (bare(mean), covariance.lower_half()))
        return after, after

    mean, half = over(step, start, many, (f, noise, m, r, h))
    return dressed(kind, mean), kind.of_half(half)


def _later(a: Any) -> Any:
    """What belongs to the step before, 0 for the first."""
    return jax.tree.map(lambda x: jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]) if jnp.ndim(x) else x, a)


def sooner(a: Any) -> Any:
    """What belongs to the next step, 0 for the last."""
    return jax.tree.map(lambda x: jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]) if jnp.ndim(x) else x, a)


def _sum(x: Any, many: tuple[int, ...]) -> Any:
    return jnp.sum(x) if jnp.ndim(x) else x * math.prod(many)


def _gram(a: Small, b: Small, many: tuple[int, ...], columns: int) -> Any:
    """Sums over all steps of the products of two vectors, shape (columns, columns), at least one."""
    if isinstance(a, Stacked) and isinstance(b, Stacked):
        if columns:
            return jnp.einsum("tpij,tqij->pq", a.array, b.array, precision="highest")
        return jnp.sum(a.array * b.array).reshape(1, 1)
    total: Any = 0.0
    for x, y in zip(a.entries().rows, b.entries().rows, strict=True):
        if columns and not isinstance(x[0], int) and not isinstance(y[0], int):
            total = total + jnp.einsum("tp,tq->pq", *(
                jnp.broadcast_to(e, (*many, columns)) for e in (x[0], y[0])), precision="highest")
        elif not columns:
            total = total + _sum(x[0] * y[0], many)
    return jnp.broadcast_to(total, (max(columns, 1),) * 2)


def log_integral(x: Steps) -> Any:
    """Log of the integral over all steps, where there are no columns."""
    squares, volume = quadratic(x)
    return 0.5 * squares[0, 0] + volume


def quadratic(x: Steps) -> tuple[Any, Any]:
    """(q, v): the log of the integral for the sum of all columns, each times w[k], is 1/2 w'qw + v."""
    f, noise, d = x.f, x.t.gram(), x.d
    if x.columns:
        f, noise, d = jax.tree.map(lambda a: jnp.expand_dims(a, 1) if jnp.ndim(a) else a, (f, noise, d))
    return _quadratic(f, noise, x.m, d, x.h, x.many, x.columns)


@functools.partial(jax.custom_jvp, nondiff_argnums=(5, 6))
def _quadratic(f: Small, noise: Small, m: Small, d: Small, h: Small, many: tuple[int, ...], columns: int
               ) -> tuple[Any, Any]:
    return _results(_filtered(f, noise, m, d, h, many, columns), d, h, many, columns)


def _results(at: Filtered, d: Small, h: Small, many: tuple[int, ...], columns: int) -> tuple[Any, Any]:
    # h'Ch + 2 h'Jg - g'Kg: what is large in 2 h'g - g'Dg + (h - Dg)'C(h - Dg) is gone
    cross = _gram(h, at.left @ at.guess, many, columns)
    square = _gram(h, at.covariance @ h, many, columns) + cross + cross.T \
        - _gram(at.guess, at.precision @ at.guess, many, columns)
    volume = -0.5 * _sum(at.logdet, many)
    for a in jax.tree.leaves(d):  # a root of what is beyond the range is 0, as if nothing were seen
        volume = jnp.where(jnp.all(jnp.isfinite(a)), volume, jnp.nan)
    # numbers where nothing is observed
    return jnp.asarray(square), jnp.asarray(volume)


@_quadratic.defjvp
def _(many: tuple[int, ...], columns: int, primals: tuple[Small, ...], tangents: tuple[Small, ...]
      ) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """By the recursion backwards (de Jong, Biometrika 76, 1989): g is half the derivative of the square
    with respect to a predicted mean, gg' and -n / 2 are those with respect to its covariance."""
    f, noise, m, d, h = primals
    at = _filtered(f, noise, m, d, h, many, columns)
    onward = sooner(f).T
    push = at.left.T @ h + (at.precision @ at.guess).scaled(-1)
    lanes = (1,) if columns else many[1:]
    if in_parallel(many[0]):
        dtype = jnp.result_type(*jax.tree.leaves(at.mean))
        g, n = affine(at.left.T @ onward, push, at.precision, many, lanes, (columns,) if columns else lanes, dtype)
    else:
        g, n = _from_the_end(at, onward, push, many)
    mean = at.mean + at.covariance @ (onward @ sooner(g))
    before = _later(at.covariance) @ f.T
    df, dnoise, dm, dd, dh = (x.as_change() for x in tangents)

    def gram(a: Small, b: Small) -> Any:
        return _gram(a, b, many, columns)

    change = gram(g, df @ (_later(at.mean) + before @ g)) + 0.5 * gram(g, dnoise @ g) + gram(g, dm) \
        + gram(mean, dh) - 0.5 * gram(mean, dd @ mean)
    # not `around`, which begins with a square of the covariance: data of 1e10 have one beyond the range of single precision
    spread = at.covariance + (at.covariance @ onward.around(sooner(n)) @ at.covariance).scaled(-1)
    volume = -_sum((n @ before.T).inner(df), many) - 0.5 * (
        _sum(n.inner(dnoise), many) + _sum(spread.inner(dd), many))
    square = change + change.T
    results = _results(at, d, h, many, columns)
    return results, broadcast(results, (square, volume))


def _from_the_end(at: Filtered, onward: Small, push: Small, many: tuple[int, ...]) -> tuple[Small, Small]:
    kind = type(at.left)
    start = jax.tree.map(lambda x: jnp.zeros_like(x[-1]), (bare(at.mean), at.covariance.lower_half()))

    def step(after: tuple[Any, Any], now: tuple[Any, ...]) -> tuple[Any, Any]:
        g, n = dressed(kind, after[0]), kind.of_half(after[1])
        onward, back, push, precision = now
        g = back @ (onward @ g) + push
        n = back.around(onward.around(n), precision)
        before = broadcast(start, (bare(g), n.lower_half()))
        return before, before

    g, half = over(step, start, many, (onward, at.left.T, push, at.precision), reverse=True)
    return dressed(kind, g), kind.of_half(half)
