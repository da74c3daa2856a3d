"""Eliminating a block in two tiers: components, then those of the rest, then its blocks (`tiers`, `arrow`).

In whitened coordinates the rest's precision I + T'HT is an arrow: matrices of the second tier's components, and of the blocks
what these leave, a Schur complement. Its inverse is never made; vectors go through it tier by tier.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values, look_up
from conjugate_ppl.gaussian.arrow import (
    Arrow,
    Split,
    Tied,
    arrow,
    columns,
    joined,
    parted,
    products,
    tied,
    vector,
)
from conjugate_ppl.gaussian.batches import take
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.grouped import added, estimated, of_patterns
from conjugate_ppl.gaussian.law import Pieces, Whitened
from conjugate_ppl.gaussian.linear import Scale, whitened, whitened_inverse
from conjugate_ppl.gaussian.pieced import general_shares
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Components, Coupling, Shares
from conjugate_ppl.gaussian.small import Small, inverse_logdet
from conjugate_ppl.gaussian.solution import Solution, refined
from conjugate_ppl.gaussian.stationary import at_stationary
from conjugate_ppl.gaussian.structure import Structure
from conjugate_ppl.gaussian.tiers import Tiers

__all__ = ["TieredLaw", "solve_tiers"]


def solve_tiers(block: GaussianBlock, values: Values, omega: Any, t: Any, moving: Any) -> Solution:
    """Eliminate all tiers and the blocks."""
    s = block.structure
    if isinstance(block.parts, Tiers):
        shares = _tier_shares(block, block.parts, values, omega, t, moving)
    else:
        shares = general_shares(block, block.parts, values, omega, t, moving)
    shares = shares.less(2 * block.constant_left(values, omega))
    above = s.tiers[1:]
    proper = block.proper(values, s.core.blocks)
    solver = _solver(shares.rest, [block.scale_above(t, k) for k in range(len(above))], block.rest_scale(values, t), proper)
    m: Any = block.mean_at(values, moving, s.core.blocks)
    every: Any = proper
    for tier in reversed(above):
        m = Split([block.mean_at(values, moving, x) for x in tier.components.T], m)
        every = Split([1.0] * tier.width, every)
    mean, step, centre = refined(2, m, shares.linear, every, solver.push, solver.back, shares.rest.times, solver.solve)

    def quadratic(mean: Split, step: Split) -> Any:
        u = mean + step
        return (every * u * u).sum() + shares.quadratic(m + solver.push(mean) + solver.push(step))

    return Solution(shares.components, TieredLaw(s, solver.law()), joined(s, centre), joined(s, mean + step),
                    at_stationary(quadratic, mean, step), solver.logdet + shares.logdet)


@dataclasses.dataclass(frozen=True, eq=False)
class _Blocks:
    """I + T'HT of the blocks, its inverse and log-determinant."""

    scale: Scale
    precision: Any
    inverse: Any
    logdet: Any

    def push(self, u: Any) -> Any:
        """T u"""
        return self.scale.apply(u) if u.size else u

    def back(self, x: Any) -> Any:
        """T' x"""
        return self.scale.transpose_apply(x) if x.size else x

    def solve(self, x: Any) -> Any:
        """The inverse times x."""
        return times(self.inverse, x) if x.size else x

    def law(self) -> Whitened:
        """Of T u with that precision."""
        return Whitened(self.scale, self.precision)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tier:
    """The same of an arrow: T of its components, the inverse of theirs, and what they leave for what follows.

    Attributes:
        cross: the cross terms; `spread` the same after T (I + T'HT)^-1 T'.
        logdet: of all.
    """

    scale: Small
    precision: Small
    inverse: Small
    cross: Coupling | Tied
    spread: Coupling | Tied
    after: _Blocks | _Tier
    logdet: Any

    def push(self, u: Split) -> Split:
        """T u"""
        return Split(self.scale.times(u.components), self.after.push(u.rest))

    def back(self, x: Split) -> Split:
        """T' x"""
        return Split(self.scale.T.times(x.components), self.after.back(x.rest))

    def solve(self, x: Split) -> Split:
        """The inverse times x."""
        own = self.inverse.times(x.components)
        rest = self.after.solve(x.rest - self.after.back(self.cross.back(self.scale.times(own))))
        across = self.scale.T.times(self.cross.apply(self.after.push(rest)))
        return Split([a - b for a, b in zip(own, self.inverse.times(across), strict=True)], rest)

    def law(self) -> _TierLaw:
        """Of T u with that precision."""
        return _TierLaw(Pieces(self.scale, self.precision.lower(), len(self.cross.owner)), self.spread, self.after.law())


def _solver(h: Any, scales: list[Small], scale: Scale, proper: Any) -> Any:
    if not isinstance(h, Arrow):
        if not h.size:
            return _Blocks(scale, h, h, jnp.zeros((), h.dtype))
        inverse, logdet = whitened_inverse(h, scale, proper)
        return _Blocks(scale, whitened(h, scale, proper), inverse, jnp.sum(logdet))
    t, *others = scales
    precision = (t.T @ h.inner @ t).plus_one()
    inner, logdet = inverse_logdet(precision)
    spread = h.cross.after((t @ inner @ t.T).times)
    after = _solver(h.corner - products(h.cross, spread), others, scale, proper)
    total = jnp.sum(jnp.broadcast_to(logdet, (len(h.cross.owner),)))
    return _Tier(t, precision, inner, h.cross, spread, after, total + after.logdet)


def _tier_shares(block: GaussianBlock, parts: Tiers, values: Values, omega: Any, t: Any, moving: Any) -> Shares:
    """The shares of components with one weight each."""
    s = block.structure
    many, weight, root, scale, precision, logdet = of_patterns(block, parts, values, omega, t)
    own = _each(precision, parts.pattern).entries()  # V of each component
    loading = tied([values.number(parts.loading[:, i, :].T) for i in range(s.width)], s)
    shift = [values.number(x) for x in parts.shift.T]
    if moving is not None:
        shift = [a - moving[x] for a, x in zip(shift, s.components.T, strict=True)]
    found = parts.within.evaluate(values, omega)
    within, within_linear = arrow(found, s.tiers[1]), vector(found, s.tiers[1])
    pulled = loading.after(own.times)
    adjustment = jnp.dot(values.number(parts.adjustment), look_up(omega, parts.adjustment_weight), precision="highest")

    def moved(e: Any) -> list[Any]:
        return loading.apply(parted(s, e))

    def quadratic(e: Split) -> Any:
        gap = [a - b for a, b in zip(shift, loading.apply(e), strict=True)]
        squares = sum(jnp.sum(a * b) for a, b in zip(gap, own.times(gap), strict=True))
        return squares + (e * (within.times(e) - within_linear - within_linear)).sum() - adjustment

    def components() -> Components:
        return estimated(block, values, root.scaled(jnp.sqrt(weight)), scale, parts.pattern, parts.estimate, moving, moved,
                         lambda: (columns(s, loading.rows), None))

    return Shares(within + products(loading, pulled), within_linear + pulled.back(shift), added(many, logdet), quadratic, components)


def _each(precision: Any, pattern: np.ndarray) -> Any:
    """Of patterns, those of each component."""
    return precision if np.array_equal(pattern, np.arange(len(pattern))) else take(precision, pattern)


@dataclasses.dataclass(frozen=True, eq=False)
class _TierLaw:
    """The law of a tier's components given what follows, and of that."""

    pieces: Pieces
    spread: Coupling | Tied
    after: Whitened | _TierLaw

    @property
    def noise(self) -> int:
        return self.pieces.noise + self.after.noise

    def draw(self, noise: Any) -> Split:
        """A deviation from the mean."""
        number = self.after.noise
        if isinstance(self.spread, Coupling) and not number:
            rest: Any = jnp.zeros((self.spread.blocks, 0), noise.dtype)
        else:
            rest = self.after.draw(noise[:number])
        own = self.pieces.draw(noise[number:]).T
        return Split([a - b for a, b in zip(own, self.spread.apply(rest), strict=True)], rest)

    def log_density(self, gap: Split, tiers: list[Structure]) -> Any:
        """Log density of a deviation."""
        own = jnp.stack([a + b for a, b in zip(gap.components, self.spread.apply(gap.rest), strict=True)], -1)
        first, *others = tiers
        total = jnp.sum(self.pieces.log_density(own, first.components < first.size))
        if isinstance(self.after, _TierLaw):
            return total + self.after.log_density(gap.rest, others)
        if not gap.rest.size:
            return total
        return total + jnp.sum(self.after.log_density(gap.rest, first.blocks < first.size))


@dataclasses.dataclass(frozen=True, eq=False)
class TieredLaw:
    """The law of a rest in tiers."""

    structure: Structure
    parts: _TierLaw

    @property
    def noise(self) -> int:
        return self.parts.noise

    def draw(self, noise: Any) -> Any:
        return joined(self.structure, self.parts.draw(noise))

    def log_density(self, gap: Any, real: np.ndarray) -> Any:
        return self.parts.log_density(parted(self.structure, gap), self.structure.tiers[1:])[None]

    def root(self) -> Any:
        return jax.vmap(self.draw, out_axes=-1)(jnp.eye(self.noise, dtype=self.parts.spread.rows[0].dtype))
