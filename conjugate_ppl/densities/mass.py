"""Which distributions are known to have a mass of one, whatever their parameters: what nothing depends on goes without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import transforms

__all__ = ["of_mass_one"]

# of the last two a series that is cut off
_NOT_NORMALISED = (dist.ImproperUniform, dist.Unit, dist.Delta, dist.MaskedDistribution, dist.SineBivariateVonMises,
                   dist.TruncatedPolyaGamma)
_ONE_TO_ONE = (transforms.AffineTransform, transforms.ExpTransform, transforms.IdentityTransform, transforms.SigmoidTransform,
               transforms.SoftplusTransform)  # of all reals


def of_mass_one(fn: Any, known: bool) -> bool:
    """Whether a distribution is known to have all its mass on its support: of a `known` density, or one of NumPyro's own, made
    of such ones.

    Of transforms that a user puts on one, only those that are one to one on all reals are known to keep it.
    """
    parts = list(_parts(fn))
    return not any(type(p) in _NOT_NORMALISED for p in parts) and (known or all(
        type(p).__module__.startswith("numpyro.distributions.")
        and (type(p) is not dist.TransformedDistribution or all(type(t) in _ONE_TO_ONE for t in p.transforms)) for p in parts))


def _parts(part: Any) -> Iterator[Any]:
    """A distribution and those that it is made of."""
    if isinstance(part, list | tuple):
        for p in part:
            yield from _parts(p)
    elif isinstance(part, dist.Distribution):
        yield part
        yield from _parts(list(vars(part).values()))
