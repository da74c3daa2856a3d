"""Filter and smoother with a depth of log(steps): for devices that do many things at once.

What some steps in a row make of the state before them is again of the form of one step,

    x' | x ~ N(A x + b, C),    likelihood of x  =  exp(e'x - 1/2 x'Jx),

so that steps may be put together in any order that keeps the sequence (Sarkka and Garcia-Fernandez, IEEE
Transactions on Automatic Control 66, 2021). As in the filter itself covariances are only added to: with J = R R' of the
later steps, (I + C J)^-1 C has the form of Bucy and Joseph. From the end the same gives the recursion backwards. It costs some ten times the operations of
the loop, which a processor of few cores had better run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.gaussian.small import Small

__all__ = ["LEAST", "affine", "covariances", "in_parallel", "moved", "prefixes", "suffixes"]

LEAST: dict[str, int] = {"gpu": 512, "cuda": 512, "rocm": 512, "tpu": 512}
"""Steps from which on it is taken, by the kind of device; never for others."""


def in_parallel(steps: int) -> bool:
    """Whether a chain of so many steps is put together in parallel here."""
    return steps >= LEAST.get(jax.default_backend(), steps + 1)


class _Steps(NamedTuple):
    """Some steps in a row."""

    a: Small
    b: Small
    c: Small
    e: Small
    j: Small


def prefixes(f: Small, noise: Small, m: Small, r: Small, h: Small, many: tuple[int, ...], lanes: tuple[int, ...],
             vectors: tuple[int, ...], dtype: Any) -> tuple[Small, Small]:
    """(mean, covariance) after every step, from 0 before the first; r is a root of D.

    `lanes` and `vectors` are the shapes of matrices and vectors of one step.
    """
    found: _Steps = lax.associative_scan(_together, _each(f, noise, m, r, h, many, lanes, vectors, dtype))
    return found.b, found.c


def suffixes(f: Small, noise: Small, m: Small, r: Small, h: Small, many: tuple[int, ...], lanes: tuple[int, ...],
             vectors: tuple[int, ...], dtype: Any) -> tuple[Small, Small]:
    """(q, N) of what is seen from every step on, as a function q'x - 1/2 x'Nx of the state before that step."""
    found: _Steps = lax.associative_scan(lambda then, first: _together(first, then),
                                         _each(f, noise, m, r, h, many, lanes, vectors, dtype), reverse=True)
    return found.e, found.j


def _each(f: Small, noise: Small, m: Small, r: Small, h: Small, many: tuple[int, ...], lanes: tuple[int, ...],
          vectors: tuple[int, ...], dtype: Any) -> _Steps:
    """Every step alone."""
    f, noise, r = (x.filled((many[0], *lanes), dtype) for x in (f, noise, r))
    m, h = (x.filled((many[0], *vectors), dtype) for x in (m, h))
    inverse = r.T.around(noise).plus_one().swept()[0]
    c, left = noise.joseph(r, inverse)
    seen = r.around(inverse)
    return _Steps(left @ f, left @ m + c @ h, c, f.T @ (left.T @ h + (seen @ m).scaled(-1)), f.T.around(seen))


def _together(first: _Steps, then: _Steps) -> _Steps:
    r = then.j.root()
    inverse = r.T.around(first.c).plus_one().swept()[0]
    covariance, left = first.c.joseph(r, inverse)
    seen = r.around(inverse)
    return _Steps(then.a @ left @ first.a,
                  then.a @ (left @ first.b + covariance @ then.e) + then.b,
                  then.a.around(covariance) + then.c,
                  first.a.T @ (left.T @ then.e + (seen @ first.b).scaled(-1)) + first.e,
                  first.a.T.around(seen) + first.j)


def affine(m: Small, g: Small, n: Small, many: tuple[int, ...], lanes: tuple[int, ...], vectors: tuple[int, ...],
           dtype: Any) -> tuple[Small, Small]:
    """x[t] = m[t] x[t+1] + g[t] and y[t] = m[t] y[t+1] m[t]' + n[t], from 0 after the last step."""
    m, n = (x.filled((many[0], *lanes), dtype) for x in (m, n))
    g = g.filled((many[0], *vectors), dtype)

    def together(after: tuple[Small, Small, Small], before: tuple[Small, Small, Small]) -> tuple[Small, Small, Small]:
        return before[0] @ after[0], before[0] @ after[1] + before[1], before[0].around(after[2]) + before[2]

    found: tuple[Small, Small, Small] = lax.associative_scan(together, (m, g, n), reverse=True)
    return found[1], found[2]


def moved(g: Any, b: Any) -> Any:
    """x[t] = g[t] + b[t] x[t-1], from 0 before the first step; shapes (steps, n) and (steps, n, n)."""
    def together(first: tuple[Any, Any], then: tuple[Any, Any]) -> tuple[Any, Any]:
        return then[0] + _times(then[1], first[0][..., None])[..., 0], _times(then[1], first[1])

    return lax.associative_scan(together, (g, b))[0]


def covariances(c: Any, b: Any) -> Any:
    """C[t] = c[t] + b[t] C[t-1] b[t]', from 0 before the first step; shapes (steps, n, n)."""
    def together(first: tuple[Any, Any], then: tuple[Any, Any]) -> tuple[Any, Any]:
        return (then[0] + _times(_times(then[1], first[0]), jnp.swapaxes(then[1], -1, -2)),
                _times(then[1], first[1]))

    return lax.associative_scan(together, (c, b))[0]


def _times(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision="highest")
