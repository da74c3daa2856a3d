"""Log densities of the distributions of vectors, and of matrices of real numbers."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from conjugate_ppl.densities.registry import log_density, register_density
from conjugate_ppl.triangular import inverse_triangular, log_det_lower


@register_density(dist.MultivariateNormal, dist.LowRankMultivariateNormal)
def multivariate_normal(d: Any, x: Any) -> Any:
    n = jnp.shape(d.scale_tril)[-1]
    white = jnp.sum(inverse_triangular(d.scale_tril) * (x - d.loc)[..., None, :], -1)
    return -0.5 * jnp.sum(white**2, -1) - log_det_lower(d.scale_tril) - 0.5 * n * math.log(2 * math.pi)


@register_density(dist.MatrixNormal)
def matrix_normal(d: Any, x: Any) -> Any:
    n, p = d.event_shape
    rows = jnp.matmul(inverse_triangular(d.scale_tril_row), x - d.loc)
    white = jnp.matmul(rows, jnp.swapaxes(inverse_triangular(d.scale_tril_column), -1, -2))
    log_det = p * log_det_lower(d.scale_tril_row) + n * log_det_lower(d.scale_tril_column)
    return -0.5 * jnp.sum(white**2, (-1, -2)) - log_det - 0.5 * n * p * math.log(2 * math.pi)


@register_density(dist.ZeroSumNormal)
def zero_sum_normal(d: Any, x: Any) -> Any:
    """Normal in the coordinates that the transform has within the plane of sums zero, which it turns and no more."""
    return log_density(d.base_dist, d.transforms[0].inv(x))


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


@register_density(dist.CAR)
def conditional_autoregression(d: Any, x: Any) -> Any:
    """A field whose precision is tau (D - rho A), A the table of neighbours and D their numbers."""
    if d.is_sparse:
        return d.log_prob(x)
    a = jnp.asarray(d.adj_matrix, jnp.result_type(float))
    counts, y = jnp.sum(a, -1), x - d.loc
    root = counts**-0.5
    roots = jnp.linalg.eigvalsh(a * root[..., None, :] * root[..., None])
    log_det = jnp.sum(jnp.log1p(-jnp.asarray(d.correlation)[..., None] * roots), -1) + jnp.sum(jnp.log(counts), -1)
    neighbours = jnp.sum(a * y[..., None, :], -1)
    squares = jnp.sum(counts * y**2, -1) - d.correlation * jnp.sum(y * neighbours, -1)
    n = jnp.shape(a)[-1]
    return 0.5 * (n * jnp.log(d.conditional_precision) + log_det - n * math.log(2 * math.pi)
                  - d.conditional_precision * squares)


@register_density(dist.LKJCholesky)
def lkj_cholesky(d: Any, x: Any) -> Any:
    return d.log_prob(x)
