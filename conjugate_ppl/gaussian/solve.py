"""Eliminating a Gaussian block: the log integral, and everything else a draw or a density needs.

Two stages. Components go first, all at once; each leaves its share of a quadratic in its block of the
rest (`grouped`, or in general `schur`). The blocks are then solved densely in coordinates whitened by
the prior scale, e = m + T u, where the precision is I + T'HT: harmless for a scale of 0 and for a vague
one. The quadratic is evaluated as the penalised residual at the solution, a sum of squares.
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
from conjugate_ppl.gaussian.between import Between
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.crossed import Crossed
from conjugate_ppl.gaussian.grouped import grouped_shares
from conjugate_ppl.gaussian.linear import Scale, inverse_logdet
from conjugate_ppl.gaussian.linked import crossed_shares
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.schur import schur_shares
from conjugate_ppl.gaussian.shares import Components

__all__ = ["Solution", "log_integral", "solve"]


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A block solved at given values of the kept sites.

    Attributes:
        components: makes the components, where they are asked for.
        rest_scale: T of the rest.
        precision, inverse: of u in each block of the rest, and `mean` its posterior mean.
        centre: posterior mean of the rest's elements, m + T mean.
        quadratic, logdet: the two parts of the log integral.
    """

    components: Callable[[], Components]
    rest_scale: Scale
    precision: Any
    inverse: Any
    mean: Any
    centre: Any
    quadratic: Any
    logdet: Any


def solve(block: GaussianBlock, values: Values) -> Solution:
    """Eliminate the components, then the rest."""
    omega = block.reduced.weights.evaluate(values)
    t = block.scale_numbers(values)
    moving = block.moving_mean(values)
    if isinstance(block.parts, Between):
        shares = grouped_shares(block, block.parts, values, omega, t, moving)
    elif isinstance(block.parts, Crossed):
        shares = crossed_shares(block, block.parts, values, omega, t, moving)
    else:
        shares = schur_shares(block, block.parts, values, omega, t, moving)
    scale = block.rest_scale(values, t)
    m = block.mean_at(values, moving, block.structure.blocks)
    if not m.size:
        none = jnp.zeros((*m.shape, m.shape[1]), values.dtype)
        return Solution(shares.components, scale, none, none, m, m, shares.quadratic(m),
                        shares.logdet)
    proper = jnp.asarray(np.where(block.flat, 0.0, 1.0), values.dtype)
    eye = jnp.eye(m.shape[1], dtype=values.dtype)
    precision = proper[:, :, None] * eye + scale.sandwich(shares.rest)
    inverse, logdet = inverse_logdet(precision)
    target = scale.transpose_apply(shares.linear - times(shares.rest, m))
    # A Newton step from the solution: it refines it, and carries its derivative. The quadratic is
    # stationary there, so neither its gradient nor its Hessian needs the inverse's derivative.
    fixed = jax.lax.stop_gradient(inverse)
    mean = jax.lax.stop_gradient(times(inverse, target))
    mean = mean + times(fixed, target - times(precision, mean))
    solution = m + scale.apply(mean)
    # A second one in the elements themselves, which are small where prior means are far away: there m + T u
    # has lost digits. The quadratic is the same to first order, so that this step needs no derivative.
    pull = scale.transpose_apply(shares.linear - times(shares.rest, solution)) - proper * mean
    step = times(fixed, pull)
    centre = solution + scale.apply(step)
    step = jax.lax.stop_gradient(step)
    quadratic = jnp.sum(proper * (mean + step) ** 2) + shares.quadratic(solution + scale.apply(step))
    return Solution(shares.components, scale, precision, inverse, mean, centre, quadratic,
                    jnp.sum(logdet) + shares.logdet)


def log_integral(block: GaussianBlock, solution: Solution) -> Any:
    """log of the integral over the block of exp(-1/2 e'He + h'e) times its priors."""
    scales = block.flat_scale[block.flat]  # flat elements: normalising constant and column scales
    volume = 0.5 * math.log(2 * math.pi) * len(scales) + float(np.sum(np.log(scales)))
    out = volume - 0.5 * (solution.quadratic + solution.logdet)
    return jnp.where(jnp.isnan(out), -jnp.inf, out)
