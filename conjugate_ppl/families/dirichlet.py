"""The Dirichlet family: probabilities of several outcomes.

    log p(z) = sum_k a_k log z_k - [sum_k lgamma(a_k) - lgamma(sum_k a_k)] - sum_k log z_k,

z on the simplex.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.families.gamma_draws import shares_draw
from conjugate_ppl.families.loggamma import log_dirichlet_ratio
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["DIRICHLET"]


DIRICHLET = register_family(dist.Dirichlet)(Family(
    name="Dirichlet",
    parameters=lambda d: {"concentration": d.concentration},
    statistics=("log z",),
    natural=lambda p: (p["concentration"],),
    log_partition=lambda n: jnp.sum(gammaln(n[0]), -1) - gammaln(jnp.sum(n[0], -1)),
    distribution=lambda n: dist.Dirichlet(n[0]),
    log_ratio=lambda n, c: log_dirichlet_ratio(n[0], c[0]),
    event_dim=1,
    sample=lambda key, n, axes: shares_draw(key, n[0], axes, -1),
))
