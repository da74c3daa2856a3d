"""The law of some elements of a block about their mean: what draws, densities and moments need of it.

Deviations are T u, where u has precision I + T'HT; or they are written by what is seen of the elements (`dual_solve`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.gaussian.linear import Scale, lower_factor, solve_lower
from conjugate_ppl.gaussian.products import matmul, times, transposed
from conjugate_ppl.gaussian.small import Small

__all__ = ["Law", "Pieces", "Whitened", "inverse_root"]


class Law(Protocol):
    """Independent normal vectors about their means, in arrays of shape (count, width)."""

    @property
    def noise(self) -> int:
        """How many standard normal numbers a draw takes."""

    def draw(self, noise: Any) -> Any:
        """Deviations from the means, given `noise`, of length `noise`."""

    def log_density(self, gap: Any, real: np.ndarray) -> Any:
        """Log density of each vector at a deviation from its mean; elements not `real` are padding."""

    def root(self) -> Any:
        """F with F F' the covariance, shape (count, width, width)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Whitened:
    """T u of the rest, by T and the precision of u, of each block."""

    scale: Scale
    precision: Any

    @property
    def noise(self) -> int:
        return int(np.prod(self.precision.shape[:2]))

    def draw(self, noise: Any) -> Any:
        noise = noise.reshape(self.precision.shape[:2])
        return self.scale.apply(solve_lower(lower_factor(self.precision), noise, True))

    def log_density(self, gap: Any, real: np.ndarray) -> Any:
        return _densities(gap, self.scale.matrix(), lower_factor(self.precision), real)

    def root(self) -> Any:
        return matmul(self.scale.matrix(), inverse_root(self.precision))


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
    """T u of small components, by T and the Cholesky factor of the precision of u, and how many there are."""

    scale: Small
    low: Small
    count: int

    @property
    def noise(self) -> int:
        return self.count * self.low.width

    def draw(self, noise: Any) -> Any:
        u = self.low.solve_lower(list(noise.reshape(self.low.width, -1)), True)
        return jnp.stack(self.scale.times(u), -1)

    def log_density(self, gap: Any, real: np.ndarray) -> Any:
        scale, low = (x.stacked((self.count,), gap.dtype) for x in (self.scale, self.low))
        return _densities(gap, scale, low, real)

    def root(self) -> Any:
        half = self.scale @ self.low.inverse_lower().T
        return half.stacked((self.count,), jnp.result_type(float))


def _densities(gap: Any, scale: Any, low: Any, real: np.ndarray) -> Any:
    """Log density of T u at each `gap`, u of precision L L'; padding counts for nothing."""
    padding = jnp.where(real, 0.0, 1.0)[..., None] * jnp.eye(real.shape[-1], dtype=gap.dtype)
    scale = scale + padding
    u = solve_lower(scale, jnp.where(real, gap, 0.0))
    return (-0.5 * jnp.sum(times(transposed(low), u) ** 2, -1)
            + jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)), -1)
            - jnp.sum(jnp.log(jnp.diagonal(scale, axis1=-2, axis2=-1)), -1)
            - 0.5 * math.log(2 * math.pi) * real.sum(-1))


def inverse_root(precision: Any) -> Any:
    """F with F F' the inverse, by the Cholesky factor: of directions of very different precision each keeps its digits."""
    n = precision.shape[-1]
    if not precision.size:
        return precision
    eye = jnp.broadcast_to(jnp.eye(n, dtype=precision.dtype), precision.shape)
    return jax.lax.linalg.triangular_solve(lower_factor(precision), eye, left_side=True, lower=True, transpose_a=True)
