"""The Gaussian family: Normal and multivariate normal priors, and flat priors on the reals.

Gaussian latents are taken jointly, whatever their number and shapes; `conjugate_ppl.gaussian` has the
algorithms. A prior here is a location that may be affine in other Gaussian latents, and a scale.
"""

from __future__ import annotations

import numpyro.distributions as dist

from conjugate_ppl.densities import fills_the_reals
from conjugate_ppl.families.registry import GAUSSIAN, Family, register_family

__all__ = ["FLAT", "GAUSSIAN", "MULTIVARIATE", "NORMAL"]

NORMAL = register_family(dist.Normal)(
    Family("Normal", lambda d: {"loc": d.loc, "scale": d.scale})
)
MULTIVARIATE = register_family(dist.MultivariateNormal)(
    Family("MultivariateNormal", lambda d: {"loc": d.loc, "scale_tril": d.scale_tril}, event_dim=1)
)


FLAT = register_family(dist.ImproperUniform, when=fills_the_reals)(Family("Flat", lambda d: {}))
