"""Log densities of definite matrices and of their Cholesky factors."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import multigammaln

from conjugate_ppl.densities.registry import register_density
from conjugate_ppl.triangular import diagonal, inverse_triangular, log_det_lower


def _wishart(d: Any, lower: Any) -> tuple[Any, Any, Any]:
    """(concentration, diagonal of the factor, what does not depend on the diagonal), for X = L L'."""
    p, nu = d.event_shape[-1], d.concentration
    white = jnp.matmul(inverse_triangular(d.scale_tril), lower)
    return nu, diagonal(lower), (-0.5 * jnp.sum(white**2, (-1, -2)) - nu * log_det_lower(d.scale_tril)
                                 - 0.5 * p * math.log(2.0) * nu - multigammaln(0.5 * nu, p))


def _inverse_wishart(d: Any, lower: Any) -> tuple[Any, Any, Any]:
    p, nu = d.event_shape[-1], d.concentration
    white = jnp.matmul(inverse_triangular(lower), d.scale_tril)
    return nu, diagonal(lower), (-0.5 * jnp.sum(white**2, (-1, -2)) + nu * log_det_lower(d.scale_tril)
                                 - 0.5 * p * math.log(2.0) * nu - multigammaln(0.5 * nu, p))


@register_density(dist.Wishart)
def wishart(d: Any, x: Any) -> Any:
    """(nu - p - 1)/2 log det X - tr(inv(V) X)/2 - nu/2 log det V - nu p/2 log 2 - log Gamma_p(nu/2)"""
    d = d.base_dist
    nu, own, rest = _wishart(d, jnp.linalg.cholesky(x))
    return (nu - d.event_shape[-1] - 1) * jnp.sum(jnp.log(own), -1) + rest


@register_density(dist.WishartCholesky)
def wishart_cholesky(d: Any, x: Any) -> Any:
    """With the derivative of L L', 2**p prod_a L[a, a]**(p - a) with a from 0."""
    nu, own, rest = _wishart(d, x)
    p = d.event_shape[-1]
    powers = jnp.expand_dims(nu, -1) - 1.0 - jnp.arange(p)
    return jnp.sum(powers * jnp.log(own), -1) + rest + p * math.log(2.0)


@register_density(dist.InverseWishart)
def inverse_wishart(d: Any, x: Any) -> Any:
    """-(nu + p + 1)/2 log det X - tr(V inv(X))/2 + nu/2 log det V - nu p/2 log 2 - log Gamma_p(nu/2)"""
    d = d.base_dist
    nu, own, rest = _inverse_wishart(d, jnp.linalg.cholesky(x))
    return -(nu + d.event_shape[-1] + 1) * jnp.sum(jnp.log(own), -1) + rest


@register_density(dist.InverseWishartCholesky)
def inverse_wishart_cholesky(d: Any, x: Any) -> Any:
    nu, own, rest = _inverse_wishart(d, x)
    p = d.event_shape[-1]
    powers = -jnp.expand_dims(nu, -1) - 1.0 - jnp.arange(p)
    return jnp.sum(powers * jnp.log(own), -1) + rest + p * math.log(2.0)
