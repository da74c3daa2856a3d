"""What NumPyro's wrappers around a distribution are, and what it says of itself: masks, bounds, a likely value."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

__all__ = ["apart", "bounds_of", "innermost", "likely_of", "mask_of"]

_MEDIANS = (dist.Cauchy, dist.Exponential, dist.HalfCauchy, dist.HalfNormal, dist.LogNormal, dist.LogUniform, dist.Uniform)
_MEANS = (dist.Beta, dist.Dirichlet, dist.Gamma, dist.Laplace, dist.Logistic, dist.MultivariateNormal, dist.Normal,
          dist.StudentT, dist.Weibull)


def innermost(fn: Any) -> Any:
    """The distribution inside all of NumPyro's wrappers, masks too."""
    while type(fn) in (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution):
        fn = fn.base_dist
    return fn


def apart(fn: Any) -> tuple[Any, int]:
    """A distribution with the numbers of an event taken apart, where its density is but their product; and how many
    axes that adds behind those of the batch."""
    if type(fn) is dist.Independent:
        inner, extra = apart(fn.base_dist)
        return inner, extra + fn.reinterpreted_batch_ndims
    if type(fn) is dist.MaskedDistribution and type(fn.base_dist) is dist.Independent and not isinstance(
            fn._mask, bool):
        inside, n = fn.base_dist.base_dist, fn.base_dist.reinterpreted_batch_ndims
        inner, extra = apart(inside.mask(jnp.reshape(fn._mask, jnp.shape(fn._mask) + (1,) * n)))
        return inner, extra + n
    return fn, 0


def mask_of(fn: Any) -> tuple[Any, int]:
    """All masks of a distribution as one (None if there is none), and how many of its rightmost axes lie within an event."""
    found: list[tuple[Any, int]] = []
    within = 0
    while type(fn) in (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution):
        if type(fn) is dist.MaskedDistribution and fn._mask is not True:
            found.append((fn._mask, within))
        within += fn.reinterpreted_batch_ndims if type(fn) is dist.Independent else 0
        fn = fn.base_dist
    if not found or any(mask is False for mask, _ in found):
        return (False if found else None), 0
    inside = found[-1][1]
    masks = [jnp.reshape(mask, (*jnp.shape(mask), *(1,) * (inside - n))) for mask, n in found]
    return functools.reduce(jnp.logical_and, masks), inside


def bounds_of(fn: Any) -> tuple[Any, Any] | None:
    """The smallest and the largest value of a discrete distribution on whole numbers, if it has both."""
    c = fn.support
    while isinstance(c, constraints.independent):
        c = c.base_constraint
    if c is constraints.boolean:
        return 0, 1
    low, high = getattr(c, "lower_bound", None), getattr(c, "upper_bound", None)
    if low is None or high is None or c.event_dim or not c.is_discrete:
        return None
    return low, high


def likely_of(fn: Any) -> Any:
    """The median of a distribution, or its mean, where NumPyro has a form for it (of correlations none); else None.

    Of an inverse gamma, which may have no mean, one over that of what it is the inverse of.
    """
    if type(fn) in (dist.LKJ, dist.LKJCholesky):
        return jnp.eye(fn.dimension)
    if type(fn) is dist.InverseGamma:
        return fn.rate / fn.concentration
    return fn.icdf(0.5) if type(fn) in _MEDIANS else fn.mean if type(fn) in _MEANS else None
