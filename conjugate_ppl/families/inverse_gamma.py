"""The inverse-gamma family: variances, scales.

    log p(z) = -a log z - b / z - [lgamma(a) - a log b] - log z,  z > 0
"""

from __future__ import annotations

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.families.gamma import gamma_log_ratio
from conjugate_ppl.families.gamma_draws import gamma_draw
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["INVERSE_GAMMA"]

INVERSE_GAMMA = register_family(dist.InverseGamma)(Family(
    name="InverseGamma",
    parameters=lambda d: {"concentration": d.concentration, "rate": d.rate},
    statistics=("log z", "1/z"),
    natural=lambda p: (-p["concentration"], -p["rate"]),
    log_partition=lambda n: gammaln(-n[0]) + n[0] * jnp.log(-n[1]),
    distribution=lambda n: dist.InverseGamma(-n[0], -n[1]),
    log_ratio=lambda n, c: gamma_log_ratio(-n[0], -n[1], -c[0], -c[1]),
    sample=lambda key, n, axes: -n[1] / gamma_draw(key, -n[0], axes),
    centre=lambda d: d.rate / d.concentration,  # 1 / the mean of 1/z: z itself may have none
))
