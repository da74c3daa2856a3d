"""What is known to be above a value only: of distributions whose survival function is as simple as their density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

from conjugate_ppl.densities.registry import UnknownDensity, base_of, log_density, register_density

_LOG_SURVIVAL: dict[type, Callable[[Any, Any], Any]] = {
    dist.Exponential: lambda d, x: -d.rate * x,
    dist.Weibull: lambda d, x: -((x / d.scale) ** d.concentration),
}


@register_density(dist.RightCensoredDistribution)
def right_censored(d: Any, x: Any) -> Any:
    base = base_of(d.base_dist)
    if type(base) not in _LOG_SURVIVAL or d.base_dist.event_shape:
        raise UnknownDensity(f"RightCensoredDistribution of {type(base).__name__}")
    return jnp.where(d.censored, _LOG_SURVIVAL[type(base)](base, x), log_density(d.base_dist, x))
