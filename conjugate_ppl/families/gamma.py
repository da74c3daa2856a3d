"""The gamma family: rates, precisions.

    log p(z) = a log z - b z - [lgamma(a) - a log b] - log z,  z > 0

Priors: Gamma(a, b), Exponential(b) = Gamma(1, b), Chi2(k) = Gamma(k/2, 1/2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.families.gamma_draws import gamma_draw
from conjugate_ppl.families.loggamma import difference
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["GAMMA", "gamma_log_ratio"]


def _parameters(d: Any) -> Mapping[str, Any]:
    if type(d) is dist.Exponential:
        return {"concentration": jnp.ones_like(d.rate), "rate": d.rate}
    return {"concentration": d.concentration, "rate": d.rate}


def gamma_log_ratio(a: Any, b: Any, da: Any, db: Any) -> Any:
    """log of the ratio of lgamma(a) - a log b at (a + da, b + db) and at (a, b)."""
    return difference(a, da) - a * jnp.log1p(db / b) - da * jnp.log(b + db)


GAMMA = register_family(dist.Gamma, dist.Exponential, dist.Chi2)(Family(
    name="Gamma",
    parameters=_parameters,
    statistics=("log z", "z"),
    natural=lambda p: (p["concentration"], -p["rate"]),
    log_partition=lambda n: gammaln(n[0]) - n[0] * jnp.log(-n[1]),
    distribution=lambda n: dist.Gamma(n[0], -n[1]),
    log_ratio=lambda n, c: gamma_log_ratio(n[0], -n[1], c[0], -c[1]),
    sample=lambda key, n, axes: gamma_draw(key, n[0], axes) / -n[1],
))

