"""Which distributions are known to have a mass of one, whatever their parameters: what nothing depends on goes without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import constraints, transforms

__all__ = ["of_mass_one"]

# what is censored is a density beside a probability; of the last two a series is cut off
_NOT_NORMALISED = (dist.ImproperUniform, dist.Unit, dist.Delta, dist.MaskedDistribution, dist.SineBivariateVonMises,
                   dist.TruncatedPolyaGamma)
_CENSORED = "LeftCensoredDistribution", "RightCensoredDistribution", "IntervalCensoredDistribution"
_ONE_TO_ONE = (transforms.AffineTransform, transforms.ExpTransform, transforms.IdentityTransform, transforms.SigmoidTransform,
               transforms.SoftplusTransform)  # of all reals


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
