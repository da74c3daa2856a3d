"""Transformed priors that are plain ones under another name.

    loc + scale z of a normal z is normal, loc + L z multivariate normal, exp z is log-normal, a positive multiple of a gamma is a gamma
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms

from conjugate_ppl import _compat
from conjugate_ppl.densities import base_of

__all__ = ["TRANSFORMED", "plain"]


def _correlated(z: Any, t: Any) -> Any:
    n = jnp.shape(t.scale_tril)[-1]
    loc, scale = (jnp.broadcast_to(x, (*jnp.shape(x)[:-1], n)) for x in (z.loc, z.scale))
    return dist.MultivariateNormal(t.loc + jnp.matmul(t.scale_tril, loc[..., None])[..., 0],
                                   scale_tril=t.scale_tril * scale[..., None, :])


def _reciprocal(z: Any, t: Any) -> Any:
    known = _compat.is_concrete(t.exponent) and (np.asarray(t.exponent) == -1).all()
    return dist.InverseGamma(z.concentration, z.rate) if known else None


def _times(t: Any) -> Any:
    """The factor of an affine transform that is known to be a positive multiple; else None."""
    if not (_compat.is_concrete(t.loc) and _compat.is_concrete(t.scale)):
        return None
    return t.scale if (np.asarray(t.loc) == 0).all() and (np.asarray(t.scale) > 0).all() else None


def _multiple(make: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def scaled(z: Any, t: Any) -> Any:
        c = _times(t)
        return None if c is None else make(z, c)

    return scaled


TRANSFORMED: dict[tuple[type, type], Callable[[Any, Any], Any]] = {
    (dist.Normal, transforms.AffineTransform): lambda z, t: dist.Normal(
        t.loc + t.scale * z.loc, jnp.abs(t.scale) * z.scale),
    (dist.Normal, transforms.LowerCholeskyAffine): _correlated,
    (dist.Normal, transforms.ExpTransform): lambda z, t: dist.LogNormal(z.loc, z.scale),
    (dist.Gamma, transforms.AffineTransform): _multiple(lambda z, c: dist.Gamma(z.concentration, z.rate / c)),
    (dist.Gamma, transforms.PowerTransform): _reciprocal,
    (dist.Exponential, transforms.AffineTransform): _multiple(lambda z, c: dist.Exponential(z.rate / c)),
    (dist.InverseGamma, transforms.AffineTransform): _multiple(
        lambda z, c: dist.InverseGamma(z.concentration, c * z.rate)),
}
"""(type, transform's type) -> the distribution that it makes, or None."""


def plain(d: Any) -> Any:
    """`d` without its transforms, elements apart, if it is a distribution of the table; else `d` itself."""
    if type(d) is not dist.TransformedDistribution:
        return d
    inner = base_of(d.base_dist)
    for t in d.transforms:
        rule = TRANSFORMED.get((type(inner), type(t)))
        inner = None if rule is None else rule(inner, t)
        if inner is None:
            return d
    return inner
