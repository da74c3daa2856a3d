"""A solved Gaussian block as a distribution: draws, log density, moments, over all its elements."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.products import product
from conjugate_ppl.gaussian.solution import Solution
from conjugate_ppl.noise import normal

__all__ = ["Moments", "centre", "draw", "inner_columns", "log_probs", "moments"]


def draw(block: GaussianBlock, solution: Solution, key: Any, stretch: Any = None) -> Any:
    """One exact draw of all elements; with `stretch`, a number or one for each of them, their deviations from the mean
    are that many times as large."""
    apart, together = (stretch, stretch) if stretch is None or jnp.ndim(stretch) == 0 else block.split(stretch)
    rest, inner = solution.centre, jnp.zeros(block.structure.components.shape, solution.centre.dtype)
    parts = solution.components() if inner.size else None
    number = solution.rest.noise
    noise = normal(key, (number + (parts.law.noise if parts else 0),), rest.dtype)
    if rest.size:
        own = solution.rest.draw(noise[:number])
        rest = rest + (own if together is None else own * together)
    if parts:
        own = parts.law.draw(noise[number:])
        inner = parts.centre(rest) + (own if apart is None else own * apart)
    return block.join(inner, rest)


def log_probs(block: GaussianBlock, solution: Solution, elements: Any) -> Any:
    """Log density of the block at the given elements: of each component given the rest, then of each block
    of the rest."""
    inner, rest = block.split(elements)
    s = block.structure
    out = []
    if inner.size:
        parts = solution.components()
        out.append(parts.law.log_density(inner - parts.centre(rest), s.components < s.size))
    if rest.size:
        out.append(solution.rest.log_density(rest - solution.centre, s.blocks < s.size))
    total = jnp.concatenate(out) if out else jnp.zeros(0, solution.centre.dtype)
    # of the elements themselves: how much a rotation stretches them belongs to none of them
    return total if block.rotation is None or not out else total.at[0].add(-block.rotation.log_volume)


def centre(block: GaussianBlock, solution: Solution) -> Any:
    """The mean of all elements."""
    s, rest = block.structure, solution.centre
    inner = solution.components().centre(rest) if s.components.size else jnp.zeros(s.components.shape, rest.dtype)
    return block.join(inner, rest)


class Moments(NamedTuple):
    """The joint law of the elements by its mean and a factor F of its covariance, F F'.

    Fields:
        mean: of all elements.
        rest: columns of F that come through the rest.
        inner: factors of the covariances of the components given the rest, shape (count, width, width).
    """

    mean: Any
    rest: Any
    inner: Any


def moments(block: GaussianBlock, solution: Solution) -> Moments:
    """Mean and covariance of all elements."""
    s = block.structure
    number, widest = s.blocks.shape
    eye = jnp.eye(number, dtype=solution.centre.dtype)
    root = solution.rest.root()  # (blocks, widest, widest)
    columns = (eye[:, None, :, None] * root[:, :, None, :]).reshape(number, widest, number * widest)
    if not s.components.size:
        none = jnp.zeros((*s.components.shape, columns.shape[-1]), columns.dtype)
        return Moments(block.join(none[..., 0], solution.centre), block.join(none, columns), none[..., :s.width])
    parts = solution.components()
    through_rest = product("cir,crk->cik", parts.slope(), columns[s.owner])
    return Moments(block.join(parts.centre(solution.centre), solution.centre), block.join(through_rest, columns),
                   parts.law.root())


def inner_columns(block: GaussianBlock, inner: Any, which: np.ndarray | None = None) -> Any:
    """The columns of F that are the components' own, of all of them or of some."""
    count, width = block.structure.components.shape
    number, widest = block.structure.blocks.shape
    chosen = np.arange(count) if which is None else which
    columns = jnp.zeros((count, width, len(chosen), width), inner.dtype)
    columns = columns.at[chosen, :, np.arange(len(chosen))].set(inner[chosen])
    columns = columns.reshape(count, width, len(chosen) * width)
    return block.join(columns, jnp.zeros((number, widest, columns.shape[-1]), inner.dtype))
