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
import numpyro.distributions as dist
from numpyro.distributions import transforms

from conjugate_ppl.errors import InternalError

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
        """Its elements' variances: of T C T', C the covariance of an event of coordinates.

        Raises:
            InternalError: if no covariance is known of a law of this kind.
        """
        shape = self.base_dist.event_shape

        def on_the_left(m: Any) -> Any:  # T m, over the columns of m
            return jax.vmap(lambda c: self._turned(c.reshape(shape)).reshape(-1), in_axes=1, out_axes=1)(m)

        def of_event(c: Any) -> Any:
            return jnp.diagonal(on_the_left(on_the_left(c).T))

        covariance = _covariance(self.base_dist)
        size = covariance.shape[-1]
        return jax.vmap(of_event)(covariance.reshape(-1, size, size)).reshape(self.shape())


def _covariance(d: Any) -> Any:
    """The covariance of an event of a law, flat: shape (*batch_shape, size, size)."""
    if d.event_dim == 0:
        return jnp.broadcast_to(d.variance, d.batch_shape)[..., None, None]
    kind = type(d)
    if kind is dist.MixtureGeneral:
        weights = d.mixing_distribution.probs
        means = jnp.stack([c.mean.reshape(*c.batch_shape, -1) for c in d.component_distributions], -2)
        within = jnp.stack([_covariance(c) for c in d.component_distributions], -3)
        apart = means - jnp.einsum("...k,...ki->...i", weights, means)[..., None, :]
        return jnp.einsum("...k,...kij->...ij", weights, within + apart[..., :, None] * apart[..., None, :])
    if kind is dist.ExpandedDistribution:
        inner = _covariance(d.base_dist)
        return jnp.broadcast_to(inner, (*d.batch_shape, *inner.shape[-2:]))
    if kind is dist.Independent:
        inner = _covariance(d.base_dist)
        inner = inner.reshape(*d.batch_shape, -1, *inner.shape[-2:])
        alone, size = inner.shape[-3:-1]
        apart = jnp.einsum("...aij,ab->...aibj", inner, jnp.eye(alone))
        return apart.reshape(*d.batch_shape, alone * size, alone * size)
    if isinstance(d, dist.TransformedDistribution) and all(type(t) is transforms.ReshapeTransform for t in d.transforms):
        return _covariance(d.base_dist)
    if kind is dist.MultivariateNormal:
        return d.covariance_matrix
    if kind is dist.MultivariateStudentT:  # what NumPyro calls its covariance matrix is L L'
        larger = jnp.where(d.df > 2, d.df / (d.df - 2), jnp.where(d.df > 1, jnp.inf, jnp.nan))
        scale = jnp.matmul(d.scale_tril, jnp.swapaxes(d.scale_tril, -1, -2), precision="highest")
        return jnp.broadcast_to(larger[..., None, None] * scale, (*d.batch_shape, *scale.shape[-2:]))
    raise InternalError(f"The covariance of {kind.__name__} is not known.")
