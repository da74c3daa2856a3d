"""A solved Gaussian block as a distribution: draws, log density, moments, over all its elements."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.linear import lower_factor, solve_lower
from conjugate_ppl.gaussian.products import matmul, product, times, transposed
from conjugate_ppl.gaussian.solve import Solution
from conjugate_ppl.noise import normal

__all__ = ["Moments", "centre", "draw", "inner_columns", "log_probs", "moments"]


def draw(block: GaussianBlock, solution: Solution, key: Any, stretch: Any = None) -> Any:
    """One exact draw of all elements; with `stretch`, a number or one for each of them, their deviations from the mean
    are that many times as large."""
    s = block.structure
    apart, together = (stretch, stretch) if stretch is None or jnp.ndim(stretch) == 0 else block.split(stretch)
    number = s.blocks.size
    noise = normal(key, (number + s.components.size,), solution.centre.dtype)
    rest = solution.centre
    if number:
        u = solve_lower(lower_factor(solution.precision), noise[:number].reshape(rest.shape), True)
        own = solution.rest_scale.apply(u)
        rest = rest + (own if together is None else own * together)
    parts = solution.components()
    inner = noise[number:].reshape(s.components.shape)
    if inner.size:
        u = parts.low.solve_lower(list(noise[number:].reshape(s.width, -1)), True)
        noise_of = jnp.stack(parts.scale.times(u), -1)
        inner = jnp.stack(parts.centre(rest), -1) + (noise_of if apart is None else noise_of * apart)
    return block.join(inner, rest)


def log_probs(block: GaussianBlock, solution: Solution, elements: Any) -> Any:
    """Log density of the block at the given elements: of each component given the rest, then of each block
    of the rest."""
    inner, rest = block.split(elements)
    s = block.structure
    out = []
    if inner.size:
        parts = solution.components()
        scale, low = (x.stacked(inner.shape[:1], inner.dtype) for x in (parts.scale, parts.low))
        out.append(_densities(inner - jnp.stack(parts.centre(rest), -1), scale, low, s.components < s.size))
    if rest.size:
        out.append(_densities(rest - solution.centre, solution.rest_scale.matrix(),
                              lower_factor(solution.precision), s.blocks < s.size))
    return jnp.concatenate(out) if out else jnp.zeros(0, solution.mean.dtype)


def centre(block: GaussianBlock, solution: Solution) -> Any:
    """The mean of all elements."""
    s, rest = block.structure, solution.centre
    inner = jnp.zeros(s.components.shape, rest.dtype)
    if inner.size:
        inner = jnp.stack(solution.components().centre(rest), -1)
    return block.join(inner, rest)


def _densities(gap: Any, scale: Any, low: Any, real: np.ndarray) -> Any:
    """Log density of T u at each `gap`, u of precision L L'; padding counts for nothing."""
    padding = jnp.where(real, 0.0, 1.0)[..., None] * jnp.eye(real.shape[-1], dtype=gap.dtype)
    scale = scale + padding
    u = solve_lower(scale, jnp.where(real, gap, 0.0))
    return (-0.5 * jnp.sum(times(transposed(low), u) ** 2, -1)
            + jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)), -1)
            - jnp.sum(jnp.log(jnp.diagonal(scale, axis1=-2, axis2=-1)), -1)
            - 0.5 * math.log(2 * math.pi) * real.sum(-1))


class Moments(NamedTuple):
    """The joint law of the elements by its mean and a factor F of its covariance, F F'.

    Fields:
        mean: of all elements.
        rest: columns of F that come through the rest.
        inner: covariance of the components given the rest, shape (count, width, width).
    """

    mean: Any
    rest: Any
    inner: Any


def moments(block: GaussianBlock, solution: Solution) -> Moments:
    """Mean and covariance of all elements."""
    s = block.structure
    number, widest = s.blocks.shape
    eye = jnp.eye(number, dtype=solution.centre.dtype)
    scale = solution.rest_scale.matrix()
    root = matmul(scale, transposed(_inverse_factor(solution.inverse)))  # (blocks, widest, widest)
    columns = (eye[:, None, :, None] * root[:, :, None, :]).reshape(number, widest, number * widest)
    parts = solution.components()
    half = parts.scale @ parts.low.inverse_lower().T
    through_rest = product("cir,crk->cik", parts.slope(), columns[s.owner])
    covariance = half.gram().stacked(s.components.shape[:1], columns.dtype)
    inner = jnp.stack(parts.centre(solution.centre), -1)
    return Moments(block.join(inner, solution.centre), block.join(through_rest, columns), covariance)


def _inverse_factor(inverse: Any) -> Any:
    """R with R' R equal to a positive semidefinite matrix, which may be zero in some directions."""
    if not inverse.size:
        return inverse
    values, vectors = jnp.linalg.eigh(inverse)
    return transposed(vectors) * jnp.sqrt(jnp.maximum(values, 0))[..., :, None]


def inner_columns(block: GaussianBlock, inner: Any) -> Any:
    """The columns of F that are the components' own."""
    count, width = block.structure.components.shape
    number, widest = block.structure.blocks.shape
    root = transposed(_inverse_factor(inner))
    eye = jnp.eye(count, dtype=inner.dtype)
    columns = (eye[:, None, :, None] * root[:, :, None, :]).reshape(count, width, count * width)
    return block.join(columns, jnp.zeros((number, widest, columns.shape[-1]), inner.dtype))
