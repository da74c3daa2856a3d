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


@register_density(dist.Dirichlet)
def dirichlet(d: Any, x: Any) -> Any:
    a = d.concentration
    constant = gammaln(jnp.sum(a, -1)) - jnp.sum(gammaln(a), -1)
    return jnp.sum((a - 1) * jnp.log(x), -1) + constant


@register_density(dist.LKJCholesky)
def lkj_cholesky(d: Any, x: Any) -> Any:
    return d.log_prob(x)
