"""The generalised beta prime distribution, scale * (G1 / G0)**(1 / power) for standard gammas G1, G0.

    p(x) = |power| / x  t**a / (1 + t)**(a + b) / B(a, b),   t = (x / scale)**power,  x > 0

with a = concentration1 of G1 and b = concentration0 of G0 (Johnson, Kotz & Balakrishnan, Continuous Univariate
Distributions 2, ch. 27; McDonald, Econometrica 52, 1984, as "GB2").
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import betainc, gammaln
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes, validate_sample

from conjugate_ppl.families.loggamma import difference

__all__ = ["GeneralizedBetaPrime"]


class GeneralizedBetaPrime(dist.Distribution):
    """The marginal of a power of a gamma whose rate is a gamma.

    Args:
        concentration1: of the gamma above.
        concentration0: of the gamma below, whose powers decide which moments are finite.
        power: positive.
        scale: positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from conjugate_ppl.marginals import GeneralizedBetaPrime
        >>> d = GeneralizedBetaPrime(2.0, 3.0, 1.0, scale=jnp.array([1.0, 10.0]))
        >>> print(d.batch_shape, d.mean.round(3))
        (2,) [ 1. 10.]
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration1": constraints.positive, "concentration0": constraints.positive,
        "power": constraints.positive, "scale": constraints.positive}
    support = constraints.positive

    def __init__(self, concentration1: Any, concentration0: Any, power: Any = 1.0, scale: Any = 1.0, *,
                 validate_args: bool | None = None) -> None:
        numbers = [jnp.asarray(x, jnp.result_type(float)) for x in (concentration1, concentration0, power, scale)]
        shape = jnp.broadcast_shapes(*(x.shape for x in numbers))
        self.concentration1, self.concentration0, self.power, self.scale = promote_shapes(*numbers, shape=shape)
        super().__init__(shape, (), validate_args=validate_args)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        above, below = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        # in logarithms: gammas of small concentrations are smaller than any float
        log_t = (jax.random.loggamma(above, self.concentration1, shape)
                 - jax.random.loggamma(below, self.concentration0, shape))
        return self.scale * jnp.exp(log_t / self.power)

    @validate_sample
    def log_prob(self, value: Any) -> Any:
        a, b = self.concentration1, self.concentration0
        log_t = self.power * jnp.log(value / self.scale)
        low, high = jnp.minimum(a, b), jnp.maximum(a, b)
        return (jnp.log(self.power) - jnp.log(value) + a * log_t - (a + b) * jax.nn.softplus(log_t)
                + difference(high, low) - gammaln(low))

    def cdf(self, value: Any) -> Any:
        """P(x <= value)"""
        log_t = self.power * jnp.log(value / self.scale)
        return betainc(self.concentration1, self.concentration0, jax.nn.sigmoid(log_t))

    def _log_moment(self, order: int) -> Any:
        """log E[(x / scale)**order], where it is finite."""
        step = order / self.power
        below = jnp.where(self.concentration0 > step, self.concentration0, step + 1)
        return difference(self.concentration1, step) + difference(below, -step)

    @property
    def mean(self) -> Any:
        finite = self.concentration0 * self.power > 1
        return jnp.where(finite, self.scale * jnp.exp(self._log_moment(1)), jnp.inf)

    @property
    def variance(self) -> Any:
        a, b = self.concentration1, jnp.maximum(self.concentration0, 2 / self.power + 1e-3)
        # E[x^2] / E[x]^2 - 1; for power 1 it is a ratio of sums without subtraction
        excess = jnp.where(self.power == 1, (a + b - 1) / (a * jnp.where(b > 2, b - 2, 1.0)),
                           jnp.expm1(self._log_moment(2) - 2 * self._log_moment(1)))
        finite = self.concentration0 * self.power > 2
        return jnp.where(finite, self.mean**2 * excess, jnp.inf)
