"""Eliminating components in their dual form (`dual`): density, means and law by what is seen of them.

With b = W^1/2 (c - R'm - G e_rest) and v = B^-1 b the mean is m + K R W^1/2 v, and the quadratic b'v is the largest value of
2 v'b - v'B v: nothing of the solution is differentiated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.dual import Dual, DualPart
from conjugate_ppl.gaussian.dual_parts import Covariances
from conjugate_ppl.gaussian.law import inverse_root
from conjugate_ppl.gaussian.linear import inverse_logdet
from conjugate_ppl.gaussian.products import matmul, times, transposed
from conjugate_ppl.gaussian.shares import Components, Shares, in_blocks
from conjugate_ppl.gaussian.stationary import at_stationary

__all__ = ["DualLaw", "dual_shares"]


@dataclasses.dataclass(frozen=True, eq=False)
class DualLaw:
    """The law of components about their means: T u, where u has precision I + A A' for A = T'R W^1/2.

    Attributes:
        dual: what is known ahead, and `priors` the parts' at run time.
        half: W^1/2.
        inverse, logdet: of B = I + A'A.
    """

    dual: Dual
    values: Values
    priors: tuple[Covariances, ...]
    half: Any
    inverse: Any
    logdet: Any

    @property
    def noise(self) -> int:
        """One number for each element, and one for each that is seen."""
        count, seen = self.dual.seen.shape
        return int(count * (self._width + seen))

    @property
    def _width(self) -> int:
        return sum(p.places.stop - p.places.start for p in self.dual.parts)

    def draw(self, noise: Any) -> Any:
        """The prior's deviation, changed by that of what is seen from it (Matheron's rule), in whitened elements.

        Where much is seen of a vague prior the two nearly cancel: a Newton step mends it.
        """
        count = len(self.dual.seen)
        own, seen = (x.reshape(count, -1) for x in jnp.split(noise, [count * self._width]))
        u = own - self.push(times(self.inverse, self._pull(own) + seen))
        left = (own - u) - self.push(seen + self._pull(u))
        return self._scaled(u + left - self.push(times(self.inverse, self._pull(left))))

    def log_density(self, gap: Any, real: np.ndarray) -> Any:
        """By T^-1 e and A'u; there is no padding."""
        solved = [prior.solve(gap[:, p.places]) for p, prior in self._each]
        squares = sum(jnp.sum(u**2, -1) for u, _ in solved) + jnp.sum(self.seen(gap) ** 2, -1)
        return (0.5 * (self.logdet - squares) - sum(logs for _, logs in solved)
                - 0.5 * math.log(2 * math.pi) * real.sum(-1))

    def root(self) -> Any:
        """T times a root of the inverse of I + A A'."""
        count, seen = self.dual.seen.shape
        a = self.by_columns(self.push, jnp.broadcast_to(jnp.eye(seen, dtype=self.inverse.dtype), (count, seen, seen)))
        return self.by_columns(self._scaled, inverse_root(jnp.eye(self._width, dtype=a.dtype) + matmul(a, transposed(a))))

    def seen(self, e: Any) -> Any:
        """W^1/2 R'e"""
        return self.half * sum(p.view.seen(self.values, e[:, p.places]) for p, _ in self._each)

    def covariance(self, v: Any) -> Any:
        """K R W^1/2 v"""
        return self._from_seen(v, lambda prior, x: prior.times(x))

    @staticmethod
    def by_columns(f: Callable[[Any], Any], matrix: Any) -> Any:
        """A map of vectors, of each column."""
        return jax.vmap(f, -1, -1)(matrix)

    @property
    def _each(self) -> list[tuple[DualPart, Covariances]]:
        return list(zip(self.dual.parts, self.priors, strict=True))

    def push(self, v: Any) -> Any:
        """A v"""
        return self._from_seen(v, lambda prior, x: prior.back(x))

    def _pull(self, u: Any) -> Any:
        """A'u"""
        return self.seen(self._scaled(u))

    def _scaled(self, u: Any) -> Any:
        """T u"""
        return jnp.concatenate([prior.push(u[:, p.places]) for p, prior in self._each], -1)

    def _from_seen(self, v: Any, f: Callable[[Covariances, Any], Any]) -> Any:
        x = self.half * v
        return jnp.concatenate([f(prior, p.view.back(self.values, x)) for p, prior in self._each], -1)


def dual_shares(block: GaussianBlock, dual: Dual, values: Values, omega: Any, t: Any, moving: Any) -> Shares:
    """The shares of components in their dual form."""
    s = block.structure
    priors = tuple(_prior(p, values, t) for p in dual.parts)
    one = (dual.weights == dual.weights[:1, :1]).all()
    weight = omega[int(dual.weights[0, 0])] if one else omega[dual.weights]
    half = jnp.sqrt(weight)
    p = sum(part.view.around(values, prior.k) for part, prior in zip(dual.parts, priors, strict=True))
    p = weight * p if one else half[:, :, None] * p * half[:, None, :]
    places = jnp.arange(p.shape[-1])
    precision = p.at[..., places, places].add(1.0)
    inverse, logdet = inverse_logdet(precision)
    logdet = jnp.broadcast_to(logdet, (len(dual.seen),))  # components may share one matrix
    law = DualLaw(dual, values, priors, half, inverse, logdet)
    m = block.mean_at(values, moving, s.components)
    seen, across = half * values.number(dual.seen), jnp.expand_dims(half, -1) * values.number(dual.across)
    b = seen - law.seen(m)
    within, within_linear = dual.within.evaluate(values, omega), dual.within_linear.evaluate(values, omega)
    rest = within + in_blocks(_around_inverse(precision, inverse, across), s.owner, len(s.blocks))
    linear = within_linear + in_blocks(times(transposed(across), times(inverse, b)), s.owner, len(s.blocks))
    # where there is no T the model has no density
    failed = sum(jnp.sum(0 * jax.lax.stop_gradient(t[part.scale[..., -1, -1]])) for part in dual.parts)

    def moved(e: Any) -> Any:
        return times(across, e[s.owner]) if s.blocks.size else 0.0

    def solved(b: Any) -> Any:
        v = times(inverse, b)
        return v + times(inverse, b - times(precision, v))

    def quadratic(e: Any) -> Any:
        gap = b - moved(e)
        total = at_stationary(lambda v: jnp.sum(v * (2 * gap - times(precision, v))), solved(gap))
        return total + jnp.sum(e * (times(within, e) - 2 * within_linear)) - jnp.sum(seen**2) + failed

    def found(e: Any) -> tuple[Any, Any]:
        v = solved(b - moved(e))
        x = m + law.covariance(v)
        step = times(inverse, seen - law.seen(x) - moved(e) - v)
        return x + law.covariance(step), law.push(v + step)

    def slope() -> Any:
        return -law.by_columns(law.covariance, matmul(inverse, across))

    return Shares(rest, linear, jnp.sum(logdet), quadratic, lambda: Components(
        lambda e: found(e)[0], slope, law, lambda e: found(e)[1]))


@jax.custom_jvp
def _around_inverse(matrix: Any, inverse: Any, x: Any) -> Any:
    """X' M^-1 X, given M and its inverse: of these M alone has a derivative, -(M^-1 X)' dM (M^-1 X), without products of
    whole matrices."""
    return matmul(transposed(x), matmul(inverse, x))


@_around_inverse.defjvp
def _(primals: tuple[Any, Any, Any], tangents: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    (_, inverse, x), (dm, _, dx) = primals, tangents
    solved = matmul(inverse, x)
    moved = matmul(transposed(dx), solved)
    return _around_inverse(*primals), moved + transposed(moved) - matmul(transposed(solved), matmul(dm, solved))


def _prior(part: DualPart, values: Values, t: Any) -> Covariances:
    width = part.scale.shape[-1]
    k = values.evaluate(part.covariance.number).reshape(-1, width, width)
    if not part.covariance.symmetric:
        k = jnp.tril(k) + transposed(jnp.tril(k, -1))
    which = part.which
    if (which == which[0, 0]).all():
        k = k[int(which[0, 0])][None, None]
    elif np.array_equal(which.reshape(-1), np.arange(len(k))):
        k = k.reshape(*which.shape, width, width)
    else:
        k = k[which]
    return Covariances(k.astype(values.dtype), t[part.scale])
