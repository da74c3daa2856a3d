"""Log densities of the distributions of vectors and matrices."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.densities.registry import register_density


def _diagonal(matrix: Any) -> Any:
    """By a look-up: `jnp.diagonal` of one square matrix is a `cond`."""
    places = jnp.arange(jnp.shape(matrix)[-1])
    return matrix[..., places, places]


@register_density(dist.MultivariateNormal)
def multivariate_normal(d: Any, x: Any) -> Any:
    lower = jnp.asarray(d.scale_tril)
    n = jnp.shape(lower)[-1]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=lower.dtype), jnp.shape(lower))
    # the inverse is taken once for all rows that share the matrix
    inverse = jax.lax.linalg.triangular_solve(lower, eye, left_side=True, lower=True)
    white = jnp.sum(inverse * (x - d.loc)[..., None, :], -1)
    log_det = jnp.sum(jnp.log(_diagonal(lower)), -1)
    return -0.5 * jnp.sum(white**2, -1) - log_det - 0.5 * n * math.log(2 * math.pi)


@register_density(dist.GaussianRandomWalk)
def gaussian_random_walk(d: Any, x: Any) -> Any:
    scale = jnp.expand_dims(d.scale, -1)
    step = jnp.concatenate([x[..., :1], x[..., 1:] - x[..., :-1]], -1)
    each = -0.5 * (step / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)
    return jnp.sum(each, -1)


@register_density(dist.GaussianStateSpace)
def gaussian_state_space(d: Any, x: Any) -> Any:
    first = jnp.broadcast_to(jnp.expand_dims(d.initial_value, -2), jnp.shape(x[..., :1, :]))
    before = jnp.concatenate([first.astype(x.dtype), x[..., :-1, :]], -2)
    mean = before @ jnp.swapaxes(d.transition_matrix, -1, -2)
    return jnp.sum(multivariate_normal(dist.MultivariateNormal(
        mean, scale_tril=jnp.expand_dims(d.scale_tril, -3)), x), -1)


@register_density(dist.Dirichlet)
def dirichlet(d: Any, x: Any) -> Any:
    a = d.concentration
    constant = gammaln(jnp.sum(a, -1)) - jnp.sum(gammaln(a), -1)
    return jnp.sum((a - 1) * jnp.log(x), -1) + constant


@register_density(dist.Wishart, dist.WishartCholesky, dist.InverseWishart, dist.InverseWishartCholesky)
def wishart(d: Any, x: Any) -> Any:
    return d.log_prob(x)


@register_density(dist.LKJCholesky)
def lkj_cholesky(d: Any, x: Any) -> Any:
    return d.log_prob(x)
