"""A distribution on whole numbers from `low` on, for what is not counted from 0."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.util import is_prng_key

__all__ = ["Range"]


class Range(dist.Distribution):
    """`low + k` with probability `probs[..., k]`."""

    arg_constraints: ClassVar[dict[str, Any]] = {"probs": constraints.simplex}
    has_enumerate_support = True
    pytree_aux_fields = ("low",)

    def __init__(self, low: int, probs: Any, *, validate_args: bool | None = None) -> None:
        self.low, self.probs = low, probs
        super().__init__(jnp.shape(probs)[:-1], (), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """From `low` to the largest number."""
        return constraints.integer_interval(self.low, self.low + jnp.shape(self.probs)[-1] - 1)

    @property
    def _values(self) -> Any:
        return self.low + jnp.arange(jnp.shape(self.probs)[-1])

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Draws, shape `sample_shape + batch_shape`."""
        assert is_prng_key(key)
        return self.low + jax.random.categorical(key, jnp.log(self.probs),
                                                 shape=sample_shape + self.batch_shape)

    def log_prob(self, value: Any) -> Any:
        """Log probability of whole numbers."""
        return dist.CategoricalProbs(self.probs).log_prob(jnp.asarray(value) - self.low)

    @property
    def mean(self) -> Any:
        """Mean, shape `batch_shape`."""
        return jnp.sum(self.probs * self._values, -1)

    @property
    def variance(self) -> Any:
        """Variance, shape `batch_shape`."""
        return jnp.sum(self.probs * (self._values - self.mean[..., None]) ** 2, -1)

    def enumerate_support(self, expand: bool = True) -> Any:
        """All values, on a new first axis."""
        values = self._values.reshape((-1,) + (1,) * len(self.batch_shape))
        return jnp.broadcast_to(values, values.shape[:1] + self.batch_shape) if expand else values
