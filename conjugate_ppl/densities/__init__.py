"""Log densities without guards, one entry a distribution type.

`registry` holds the table, the unwrapping of NumPyro's wrappers and `register_density`; `continuous`, `censored`,
`counts`, `vectors` and `matrices` fill it. `mass` says which distributions have a mass of one.
"""

from conjugate_ppl.densities import censored, continuous, counts, matrices, vectors
from conjugate_ppl.densities.mass import nan_out_of_range, of_mass_one
from conjugate_ppl.densities.registry import (
    DENSITIES,
    Density,
    UnknownDensity,
    base_of,
    fills_the_reals,
    log_density,
    probabilities,
    register_density,
    registered_outside,
    support_parameters,
    vanishes_outside,
)

__all__ = [
    "DENSITIES",
    "Density",
    "UnknownDensity",
    "base_of",
    "censored",
    "continuous",
    "counts",
    "fills_the_reals",
    "log_density",
    "matrices",
    "nan_out_of_range",
    "of_mass_one",
    "probabilities",
    "register_density",
    "registered_outside",
    "support_parameters",
    "vanishes_outside",
    "vectors",
]
