"""What is known of NumPyro's own densities as they are computed: which have a mass of one whatever their parameters, so that what
nothing depends on goes without them, and which are no number where a parameter is out of range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import constraints, transforms

__all__ = ["nan_out_of_range", "of_mass_one"]

# what is censored is a density beside a probability; of the last two a series is cut off
_NOT_NORMALISED = (dist.ImproperUniform, dist.Unit, dist.Delta, dist.MaskedDistribution, dist.SineBivariateVonMises,
                   dist.TruncatedPolyaGamma)
_CENSORED = "LeftCensoredDistribution", "RightCensoredDistribution", "IntervalCensoredDistribution"
_ONE_TO_ONE = (transforms.AffineTransform, transforms.ExpTransform, transforms.IdentityTransform, transforms.SigmoidTransform,
               transforms.SoftplusTransform)  # of all reals

# those of counts leave a logarithm out where its factor is 0, and move a probability into its range
_PLAIN = (dist.Normal, dist.LogNormal, dist.HalfNormal, dist.Cauchy, dist.HalfCauchy, dist.StudentT, dist.Laplace, dist.Gamma,
          dist.InverseGamma, dist.Exponential, dist.Weibull, dist.Gumbel)


def nan_out_of_range(fn: Any) -> bool:
    """Whether the log density, as NumPyro computes it, is NaN where what it takes a logarithm or a root of is negative."""
    while type(fn) in (dist.Independent, dist.ExpandedDistribution):
        fn = fn.base_dist
    return type(fn) in _PLAIN


def of_mass_one(fn: Any, known: bool) -> bool:
    """Whether a distribution is known to have all its mass on its support: of a `known` density, or one of NumPyro's own, made
    of such ones.

    Of transforms that a user puts on one, only those that are one to one on all reals are known to keep it.
    """
    parts = list(_parts(fn))
    if any(type(p) in _NOT_NORMALISED or type(p).__name__ in _CENSORED for p in parts):
        return False
    return known or all(type(p).__module__.startswith("numpyro.distributions.") and (
        type(p) is not dist.TransformedDistribution or all(map(_one_to_one, p.transforms))) for p in parts)


def _one_to_one(transform: Any) -> bool:
    """Whether a transform is one to one on all reals."""
    return type(transform) in _ONE_TO_ONE and transform.domain is constraints.real


def _parts(part: Any) -> Iterator[Any]:
    """A distribution and those that it is made of."""
    if isinstance(part, list | tuple):
        for p in part:
            yield from _parts(p)
    elif isinstance(part, dist.Distribution):
        yield part
        yield from _parts(list(vars(part).values()))
