"""Exponential families: one file each."""

from conjugate_ppl.families import (
    beta,
    dirichlet,
    gamma,
    inverse_gamma,
    lognormal,
    normal,
    truncated,
    von_mises,
    walk,
    wishart,
)
from conjugate_ppl.families.registry import (
    FAMILIES,
    Family,
    family_from_outside,
    prior_of,
    priors_of,
    register_family,
)

__all__ = ["FAMILIES", "Family", "beta", "dirichlet", "family_from_outside", "gamma", "inverse_gamma",
           "lognormal", "normal", "prior_of", "priors_of", "register_family", "truncated", "von_mises",
           "walk", "wishart"]
