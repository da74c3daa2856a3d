"""A von Mises direction whose location is one: the sum of two von Mises directions.

    p(x) = I0(|k e^{i (x - m)} + c|) / (2 pi I0(k) I0(c))

(Mardia & Jupp, Directional Statistics, section 3.5.4). Bessel functions are taken as e**r I0e(r), and the
difference of their exponents as a ratio.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import i0e, i1e
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes, validate_sample

__all__ = ["CompoundVonMises"]


class CompoundVonMises(dist.Distribution):
    """The marginal of x ~ VonMises(z, concentration), z ~ VonMises(loc, concentration0).

    Args:
        loc: m.
        concentration: k, positive.
        concentration0: c, positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from conjugate_ppl.marginals import CompoundVonMises
        >>> print(f"{CompoundVonMises(0.5, 4.0, 2.0).variance:.2f}")  # circular: 1 - E cos(x - m)
        0.40
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "concentration": constraints.positive,
                                                 "concentration0": constraints.positive}
    support = constraints.circular

    def __init__(self, loc: Any, concentration: Any, concentration0: Any, *,
                 validate_args: bool | None = None) -> None:
        numbers = [jnp.asarray(x, jnp.result_type(float)) for x in (loc, concentration, concentration0)]
        shape = jnp.broadcast_shapes(*(x.shape for x in numbers))
        self.loc, self.concentration, self.concentration0 = promote_shapes(*numbers, shape=shape)
        super().__init__(shape, (), validate_args=validate_args)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        above, below = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        total = (self.loc + dist.VonMises(0.0, self.concentration0).expand(self.batch_shape).sample(above, sample_shape)
                 + dist.VonMises(0.0, self.concentration).expand(self.batch_shape).sample(below, sample_shape))
        return jnp.broadcast_to((total + math.pi) % (2 * math.pi) - math.pi, shape)

    @validate_sample
    def log_prob(self, value: Any) -> Any:
        k, c = self.concentration, self.concentration0
        half = jnp.sin(0.5 * (value - self.loc)) ** 2
        length = jnp.sqrt((k - c) ** 2 + 4 * k * c * (1 - half))
        return (-4 * k * c * half / (length + k + c) + jnp.log(i0e(length)) - jnp.log(i0e(k)) - jnp.log(i0e(c))
                - math.log(2 * math.pi))

    @property
    def mean(self) -> Any:
        """The mean direction."""
        return jnp.broadcast_to((self.loc + math.pi) % (2 * math.pi) - math.pi, self.batch_shape)

    @property
    def variance(self) -> Any:
        """The circular variance, 1 - E cos(x - loc), as that of NumPyro's VonMises."""
        k, c = self.concentration, self.concentration0
        return jnp.broadcast_to(1 - i1e(k) / i0e(k) * i1e(c) / i0e(c), self.batch_shape)
