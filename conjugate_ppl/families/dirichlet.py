"""The Dirichlet family: probabilities of several outcomes.

    log p(z) = sum_k (a_k - 1) log z_k - [sum_k lgamma(a_k) - lgamma(sum_k a_k)],  z on the simplex
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.families.loggamma import difference
from conjugate_ppl.families.registry import Family, Natural, register_family

__all__ = ["DIRICHLET"]


def _log_ratio(n: Natural, c: Natural) -> Any:
    a, d = n[0] + 1, c[0]
    return jnp.sum(difference(a, d), -1) - difference(jnp.sum(a, -1), jnp.sum(d, -1))


DIRICHLET = register_family(dist.Dirichlet)(Family(
    name="Dirichlet",
    parameters=lambda d: {"concentration": d.concentration},
    statistics=("log z",),
    natural=lambda p: (p["concentration"] - 1,),
    log_partition=lambda n: jnp.sum(gammaln(n[0] + 1), -1) - gammaln(jnp.sum(n[0] + 1, -1)),
    distribution=lambda n: dist.Dirichlet(n[0] + 1),
    log_ratio=_log_ratio,
    event_dim=1,
))
