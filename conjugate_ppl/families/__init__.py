"""Exponential families: one file each."""

from conjugate_ppl.families import beta, dirichlet, gamma, inverse_gamma, normal
from conjugate_ppl.families.registry import FAMILIES, Family, prior_of, register_family

__all__ = ["FAMILIES", "Family", "beta", "dirichlet", "gamma", "inverse_gamma", "normal", "prior_of",
           "register_family"]
