"""The beta family: probabilities.

    log p(z) = a log z + b log(1 - z) - log B(a, b) - log z - log(1 - z),  0 < z < 1

Priors: Beta(a, b), BetaProportion, and Uniform(0, 1) = Beta(1, 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl._compat import is_concrete
from conjugate_ppl.families.gamma_draws import shares_draw
from conjugate_ppl.families.loggamma import log_beta_ratio
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["BETA"]


def _parameters(d: Any) -> Mapping[str, Any]:
    if type(d) is dist.Uniform:
        one = jnp.ones(d.batch_shape)
        return {"concentration1": one, "concentration0": one}
    return {"concentration1": d.concentration1, "concentration0": d.concentration0}


def _is_standard(d: Any) -> bool:
    if type(d) is not dist.Uniform:
        return True
    if not (is_concrete(d.low) and is_concrete(d.high)):
        return False
    return bool(np.all(np.asarray(d.low) == 0)) and bool(np.all(np.asarray(d.high) == 1))


BETA = register_family(dist.Beta, dist.BetaProportion, dist.Uniform, when=_is_standard)(Family(
    name="Beta",
    parameters=_parameters,
    statistics=("log z", "log(1-z)"),
    natural=lambda p: (p["concentration1"], p["concentration0"]),
    log_partition=lambda n: gammaln(n[0]) + gammaln(n[1]) - gammaln(n[0] + n[1]),
    distribution=lambda n: dist.Beta(*n),
    log_ratio=lambda n, c: log_beta_ratio(*n, *c),
    sample=lambda key, n, axes: jnp.take(shares_draw(key, jnp.stack(n), axes, -1 - n[0].ndim), 0, len(axes)),
))
