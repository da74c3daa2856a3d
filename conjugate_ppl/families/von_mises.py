"""The von Mises family: directions.

    log p(z) = a cos z + b sin z - log(2 pi I0(r)),  r = sqrt(a**2 + b**2)

The log-partition at 0 is log(2 pi), not 0; I0 is taken as e**r I0e(r), which does not overflow.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import i0e

from conjugate_ppl.families.registry import Family, register_family

__all__ = ["VON_MISES"]


def _length(n: Any) -> Any:
    """sqrt(a**2 + b**2), with derivative 0 at 0."""
    square = n[0] ** 2 + n[1] ** 2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _log_partition(n: Any) -> Any:
    r = _length(n)
    return math.log(2 * math.pi) + r + jnp.log(i0e(r))


VON_MISES = register_family(dist.VonMises)(Family(
    name="VonMises",
    parameters=lambda d: {"loc": d.loc, "concentration": d.concentration},
    statistics=("cos z", "sin z"),
    natural=lambda p: (p["concentration"] * jnp.cos(p["loc"]), p["concentration"] * jnp.sin(p["loc"])),
    log_partition=_log_partition,
    distribution=lambda n: dist.VonMises(jnp.arctan2(n[1], n[0]), _length(n)),
))
