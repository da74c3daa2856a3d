"""Eliminating a Gaussian block: the log integral, and everything else a draw or a density needs.

Two stages. Components go first, all at once; each leaves its share of a quadratic in its block of the
rest (`grouped`, `linked`, `dual_solve`, or in general `schur`). The blocks are then solved densely in coordinates whitened by
the prior scale, e = m + T u, where the precision is I + T'HT: harmless for a scale of 0 and for a vague
one. The quadratic is evaluated as the penalised residual at the solution, a sum of squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian import small
from conjugate_ppl.gaussian.alike import Alike
from conjugate_ppl.gaussian.alike_solve import alike_shares
from conjugate_ppl.gaussian.between import Between
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.crossed import Crossed
from conjugate_ppl.gaussian.dual import Dual
from conjugate_ppl.gaussian.dual_solve import dual_shares
from conjugate_ppl.gaussian.entries import diagonal, dot
from conjugate_ppl.gaussian.grouped import grouped_shares
from conjugate_ppl.gaussian.law import Whitened
from conjugate_ppl.gaussian.linear import whitened, whitened_inverse
from conjugate_ppl.gaussian.linked import crossed_shares
from conjugate_ppl.gaussian.narrow import known_numbers, stacked
from conjugate_ppl.gaussian.pieced import general_shares
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Shares
from conjugate_ppl.gaussian.solution import Solution, refined
from conjugate_ppl.gaussian.stationary import at_stationary
from conjugate_ppl.gaussian.tiered import solve_tiers
from conjugate_ppl.triangular import unless_failed

__all__ = ["at_the_mean", "log_integral", "solve"]

def solve(block: GaussianBlock, values: Values) -> Solution:
    """Eliminate the components, then the rest."""
    omega = block.reduced.weights.evaluate(values)
    t = block.scale_numbers(values)
    moving = block.moving_mean(values)
    if block.structure.upper is not None:
        return solve_tiers(block, values, omega, t, moving)
    if isinstance(block.parts, Dual):
        shares = dual_shares(block, block.parts, values, omega, t, moving)
    elif isinstance(block.parts, Between):
        shares = grouped_shares(block, block.parts, values, omega, t, moving)
    elif isinstance(block.parts, Crossed):
        shares = crossed_shares(block, block.parts, values, omega, t, moving)
    elif isinstance(block.parts, Alike):
        shares = alike_shares(block, block.parts, values, omega, t, moving)
    else:
        shares = general_shares(block, block.parts, values, omega, t, moving)
    shares = shares.less(2 * block.constant_left(values, omega))
    scale = block.rest_scale(values, t)
    m = block.mean_at(values, moving, block.structure.blocks)
    if not m.size:
        none = jnp.zeros((*m.shape, m.shape[1]), values.dtype)
        return Solution(shares.components, Whitened(scale, none), m, m, shares.quadratic(m), shares.logdet)
    if block.narrow:
        return _solve_narrow(block, values, t, moving, shares)
    proper = jnp.asarray(np.where(block.flat, 0.0, 1.0), values.dtype)
    precision = whitened(shares.rest, scale, proper)
    inverse, logdet = whitened_inverse(shares.rest, scale, proper)
    mean, step, centre = refined(m.shape[1], m, shares.linear, proper, scale.apply, scale.transpose_apply,
                                  partial(times, shares.rest), partial(times, inverse))

    def quadratic(mean: Any, step: Any) -> Any:
        return jnp.sum(proper * (mean + step) ** 2) + shares.quadratic(m + scale.apply(mean) + scale.apply(step))

    return Solution(shares.components, Whitened(scale, precision), centre, mean + step,
                    at_stationary(quadratic, mean, step), jnp.sum(logdet) + shares.logdet)


def _solve_narrow(block: GaussianBlock, values: Values, t: Any, moving: Any, shares: Shares) -> Solution:
    """The same number by number, which a compiler makes one loop of."""
    blocks, dtype = len(block.structure.blocks), values.dtype
    scale = block.rest_entries(values, t)
    m = [block.mean_at(values, moving, x) for x in block.structure.blocks.T]
    proper = [known_numbers(values, x) for x in np.where(block.flat, 0.0, 1.0).T]
    precision = scale.T.around(shares.rest) + diagonal(proper)
    inverse, logdet = small.inverse_logdet(precision)
    mean, step, centre = refined(len(m), m, shares.linear, proper, scale.times, scale.T.times, shares.rest.times,
                                  inverse.times)

    def quadratic(mean: Any, step: Any) -> Any:
        squares = dot(proper, [(a + b) ** 2 for a, b in zip(mean, step, strict=True)])
        at = [a + b + c for a, b, c in zip(m, scale.times(mean), scale.times(step), strict=True)]
        return jnp.sum(squares) + shares.quadratic(at)

    smallest = at_stationary(quadratic, mean, step)
    precision = precision.stacked((blocks,), dtype)
    return Solution(shares.components, Whitened(block.rest_scale(values, t), precision), stacked(centre, blocks, dtype),
                    stacked([a + b for a, b in zip(mean, step, strict=True)], blocks, dtype), smallest, jnp.sum(logdet) + shares.logdet)


def at_the_mean(block: GaussianBlock, values: Values, solution: Solution, f: Callable[[Any, Any], Any]) -> Any:
    """f(components, rest) - u'u / 2 at the posterior mean m + T u, where it is largest: u' u is of elements with a prior.

    With u held the mean moves with m and T, so that nothing is divided by T.
    """
    s, t, moving = block.structure, block.scale_numbers(values), block.moving_mean(values)
    parts = solution.components() if s.components.size else None
    proper = block.proper(values, s.blocks)

    def moved(x: Any, change: Any) -> Any:
        """x, which is as precise as it can be, with the derivatives of the change."""
        return jax.lax.stop_gradient(x) + (change - jax.lax.stop_gradient(change))

    def squares(inner: Any, rest: Any) -> Any:
        at, total = jnp.zeros(s.components.shape, values.dtype), jnp.sum(proper * rest**2)
        if parts is not None:
            pushed = jnp.stack(block.inner_scale(t).times(list(inner.T)), -1)
            at = moved(parts.centre(solution.centre), block.mean_at(values, moving, s.components) + pushed)
            total = total + jnp.sum(inner**2)
        around = moved(solution.centre, block.mean_at(values, moving, s.blocks) + block.pushed(values, t, rest))
        return f(at, around) - 0.5 * total

    inner = parts.whitened(solution.centre) if parts is not None else jnp.zeros(s.components.shape, values.dtype)
    return at_stationary(squares, inner, solution.whitened)


def log_integral(block: GaussianBlock, solution: Solution) -> Any:
    """log of the integral over the block of exp(-1/2 e'He + h'e) times its priors."""
    scales = block.flat_scale[block.flat]  # flat elements: normalising constant and column scales
    volume = 0.5 * math.log(2 * math.pi) * len(scales) + float(np.sum(np.log(scales)))
    volume += block.constant
    return unless_failed(volume - 0.5 * (solution.quadratic + solution.logdet), -jnp.inf)
