"""The log-normal family: what enters through its logarithm, as a normal mean does.

    log p(z) = a log z + b (log z)**2 - [-a**2 / (4 b) + log(pi / -b) / 2] - log z,  z > 0, b < 0
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

from conjugate_ppl.families.registry import Family, register_family

__all__ = ["LOG_NORMAL"]


def _log_ratio(n: Any, c: Any) -> Any:
    """The log-partition at n + c less that at n, in terms of the mean m = -a / 2b of n:
    log-partition(n + c) - log-partition(n) = c_0 m + c_1 m**2 + (c_0 + 2 c_1 m)**2 / 4(-n_1 - c_1) - ..."""
    mean, after = -0.5 * n[0] / n[1], -(n[1] + c[1])
    slope = c[0] + 2 * c[1] * mean
    return c[0] * mean + c[1] * mean**2 + slope**2 / (4 * after) - 0.5 * jnp.log1p(c[1] / n[1])


LOG_NORMAL = register_family(dist.LogNormal)(Family(
    name="LogNormal",
    parameters=lambda d: {"loc": d.loc, "scale": d.scale},
    statistics=("log z", "(log z)^2"),
    natural=lambda p: (p["loc"] / p["scale"] ** 2, -0.5 / p["scale"] ** 2),
    log_partition=lambda n: -0.25 * n[0] ** 2 / n[1] + 0.5 * jnp.log(math.pi / -n[1]),
    distribution=lambda n: dist.LogNormal(-0.5 * n[0] / n[1], jnp.sqrt(-0.5 / n[1])),
    log_ratio=_log_ratio,
    if_fits=True,
))
