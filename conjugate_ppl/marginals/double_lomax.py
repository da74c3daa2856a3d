"""The double Lomax distribution: a Laplace whose rate is a gamma.

    p(x) = a / (2 s) (1 + |x - m| / s)**-(a + 1)
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes, validate_sample

__all__ = ["DoubleLomax"]


class DoubleLomax(dist.Distribution):
    """The marginal of x ~ Laplace(loc, 1 / z), z ~ Gamma(concentration, rate=scale).

    Args:
        concentration: a, positive.
        loc: m.
        scale: s, positive.

    Example:
        >>> from conjugate_ppl.marginals import DoubleLomax
        >>> print(f"{DoubleLomax(3.0, 1.0).variance:.3f}")
        1.000
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive,
                                                 "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, concentration: Any, loc: Any = 0.0, scale: Any = 1.0, *,
                 validate_args: bool | None = None) -> None:
        numbers = [jnp.asarray(x, jnp.result_type(float)) for x in (concentration, loc, scale)]
        shape = jnp.broadcast_shapes(*(x.shape for x in numbers))
        self.concentration, self.loc, self.scale = promote_shapes(*numbers, shape=shape)
        super().__init__(shape, (), validate_args=validate_args)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        side, far = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        distance = jnp.expm1(jax.random.exponential(far, shape) / self.concentration)
        return self.loc + self.scale * distance * jax.random.rademacher(side, shape, self.scale.dtype)

    @validate_sample
    def log_prob(self, value: Any) -> Any:
        distance = jnp.abs(value - self.loc) / self.scale
        return (jnp.log(0.5 * self.concentration) - jnp.log(self.scale)
                - (self.concentration + 1) * jnp.log1p(distance))

    def cdf(self, value: Any) -> Any:
        """P(x <= value)"""
        distance = (value - self.loc) / self.scale
        tail = 0.5 * jnp.exp(-self.concentration * jnp.log1p(jnp.abs(distance)))
        return jnp.where(distance > 0, 1 - tail, tail)

    @property
    def mean(self) -> Any:
        return jnp.broadcast_to(jnp.where(self.concentration > 1, self.loc, jnp.nan), self.batch_shape)

    @property
    def variance(self) -> Any:
        a = jnp.where(self.concentration > 2, self.concentration, 3.0)
        finite = 2 * self.scale**2 / ((a - 1) * (a - 2))
        return jnp.broadcast_to(jnp.where(self.concentration > 2, finite, jnp.inf), self.batch_shape)
