"""Priors on a subspace: Gaussian in fewer coordinates, which a turn takes into the space of the value.

    z = T x,  T'T = 1,  x ~ Normal(0, scale)        (ZeroSumNormal)

NumPyro's density of such a z is that of x, with respect to the volume of the subspace. So the program has x as its
input in place of z, and nothing that comes after knows of z; it appears again where values go in and come out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms

__all__ = ["SUBSPACES", "Embedded", "coordinates"]

SUBSPACES: dict[type, Callable[[Any], tuple[Any, Any]]] = {
    dist.ZeroSumNormal: lambda d: (d.base_dist, d.transforms[0]),
}
"""Distribution type -> the distribution of its coordinates, and the turn."""


def coordinates(fn: Any) -> tuple[Any, Any] | None:
    """The distribution of a prior's coordinates and the turn from them to its value; None if it fills its space."""
    kind = type(fn)
    if kind in SUBSPACES:
        return SUBSPACES[kind](fn)
    if kind not in (dist.ExpandedDistribution, dist.Independent):
        return None
    found = coordinates(fn.base_dist)
    if found is None:
        return None
    inner, turn = found
    if kind is dist.Independent:
        return inner.to_event(fn.reinterpreted_batch_ndims), turn
    return inner.expand(fn.batch_shape), turn


class Embedded(dist.TransformedDistribution):
    """A law of coordinates as that of the value; keeps its mean and variance.

    Args:
        base: the law, over arrays of the coordinates' shape.
        turn: from coordinates to values.
    """

    def __init__(self, base: Any, turn: Any) -> None:
        super().__init__(base.to_event(max(0, turn.domain.event_dim - base.event_dim)), turn)

    def _turned(self, x: Any) -> Any:
        for t in self.transforms:  # NumPyro joins those of the base with the turn
            x = t(x)
        return x

    @property
    def mean(self) -> Any:
        return self._turned(self.base_dist.mean)

    @property
    def variance(self) -> Any:
        shape = self.base_dist.shape()
        size = int(np.prod(shape))
        rows = jax.vmap(self._turned)(_covariance(self.base_dist, size).reshape(size, *shape)).reshape(size, -1)  # C T'
        both = jax.vmap(lambda c: self._turned(c.reshape(shape)).reshape(-1), in_axes=1, out_axes=1)(rows)
        return jnp.diagonal(both).reshape(self.shape())


def _covariance(d: Any, size: int) -> Any:
    """The covariance of all elements of a law, flat."""
    if type(d) is dist.MixtureGeneral:
        weights = d.mixing_distribution.probs
        means = jnp.stack([c.mean.reshape(-1) for c in d.component_distributions])
        within = jnp.stack([_covariance(c, size) for c in d.component_distributions])
        apart = means - weights @ means
        return jnp.einsum("k,kij->ij", weights, within) + jnp.einsum("k,ki,kj->ij", weights, apart, apart)
    flat = d
    while type(flat) in (dist.Independent, dist.ExpandedDistribution) or _reshaped(flat):
        flat = flat.base_dist
    if flat.event_dim == 0:
        return jnp.diag(jnp.broadcast_to(d.variance, d.shape()).reshape(-1))
    if flat.batch_shape != () or flat.event_shape != (size,):
        raise NotImplementedError(f"the covariance of {type(d).__name__} of shape {d.shape()}")
    if type(flat) is dist.MultivariateNormal:
        return flat.covariance_matrix
    if type(flat) is dist.MultivariateStudentT:  # what NumPyro calls its covariance matrix is L L'
        larger = jnp.where(flat.df > 2, flat.df / (flat.df - 2), jnp.where(flat.df > 1, jnp.inf, jnp.nan))
        return larger * jnp.matmul(flat.scale_tril, flat.scale_tril.T, precision="highest")
    raise NotImplementedError(f"the covariance of {type(flat).__name__}")


def _reshaped(d: Any) -> bool:
    return type(d) is dist.TransformedDistribution and all(type(t) is transforms.ReshapeTransform for t in d.transforms)
