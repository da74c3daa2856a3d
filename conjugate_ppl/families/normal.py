"""The Gaussian family: Normal and multivariate normal priors, and flat priors on the reals.

Gaussian latents are taken jointly, whatever their number and shapes; `conjugate_ppl.gaussian` has the
algorithms. A prior here is a location that may be affine in other Gaussian latents, and a scale.
"""

from __future__ import annotations

from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import constraints

from conjugate_ppl.families.registry import GAUSSIAN, Family, register_family

__all__ = ["FLAT", "GAUSSIAN", "MULTIVARIATE", "NORMAL"]

NORMAL = register_family(dist.Normal)(
    Family("Normal", lambda d: {"loc": d.loc, "scale": d.scale})
)
MULTIVARIATE = register_family(dist.MultivariateNormal)(
    Family("MultivariateNormal", lambda d: {"loc": d.loc, "scale_tril": d.scale_tril}, event_dim=1)
)


def _on_the_reals(d: Any) -> bool:
    support = d.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real


FLAT = register_family(dist.ImproperUniform, when=_on_the_reals)(Family("Flat", lambda d: {}))
