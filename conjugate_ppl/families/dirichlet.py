"""The Dirichlet family: probabilities of several outcomes.

    log p(z) = sum_k a_k log z_k - [sum_k lgamma(a_k) - lgamma(sum_k a_k)] - sum_k log z_k,

z on the simplex.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.families.gamma_draws import log_gamma_draw
from conjugate_ppl.families.loggamma import log_dirichlet_ratio
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["DIRICHLET"]


def _sample(key: Any, n: tuple[Any, ...], axes: tuple[int, ...]) -> Any:
    z = jax.nn.softmax(log_gamma_draw(key, n[0], axes), -1)
    return jnp.clip(z, jnp.finfo(z.dtype).tiny, 1 - jnp.finfo(z.dtype).eps)


DIRICHLET = register_family(dist.Dirichlet)(Family(
    name="Dirichlet",
    parameters=lambda d: {"concentration": d.concentration},
    statistics=("log z",),
    natural=lambda p: (p["concentration"],),
    log_partition=lambda n: jnp.sum(gammaln(n[0]), -1) - gammaln(jnp.sum(n[0], -1)),
    distribution=lambda n: dist.Dirichlet(n[0]),
    log_ratio=lambda n, c: log_dirichlet_ratio(n[0], c[0]),
    event_dim=1,
    sample=_sample,
))
