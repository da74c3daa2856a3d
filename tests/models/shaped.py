"""Gaussian latents whose covariance is known but for a factor."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import RNG, case, flat

MARKERS = RNG.normal(size=(12, 30))
KINSHIP = MARKERS @ MARKERS.T / 30 + 0.05 * np.eye(12)
TRAIT = RNG.normal(1.0, 2.0, 12)
COVARIATE = np.stack([np.ones(12), RNG.normal(size=12)], 1)
AGAIN = np.append(np.arange(12), [3, 3, 5])
SPLINE = np.exp(-0.5 * ((np.linspace(0.0, 1.0, 14)[:, None] - np.linspace(0.0, 1.0, 10)) / 0.12) ** 2)
PENALTY = np.diff(np.eye(10), 2, axis=0).T @ np.diff(np.eye(10), 2, axis=0) + 0.01 * np.eye(10)


@case("u b", TRAIT, COVARIATE, KINSHIP)
def shaped_relatives(y, x, k):
    tau, s = sample("tau", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    u = sample("u", dist.MultivariateNormal(jnp.zeros(12), covariance_matrix=tau**2 * k))
    sample("y", dist.Normal(x @ b + u, s), obs=y)


@case("u mean", TRAIT[AGAIN % 12], COVARIATE[AGAIN], KINSHIP, AGAIN)
def shaped_relatives_seen_again(y, x, k, rows):
    """A kept slope, a flat mean, a prior mean with the mean in it."""
    tau, s = sample("tau", dist.HalfCauchy(1.0)), sample("s", dist.HalfNormal(1.0))
    slope = sample("slope", dist.Laplace(0.0, 1.0))
    mean = sample("mean", flat(()))
    tril = tau * jnp.linalg.cholesky(k)
    u = sample("u", dist.MultivariateNormal(0.5 * mean, scale_tril=tril))
    sample("y", dist.Normal(mean + slope * x[:, 1] + u[rows], s), obs=y)


@case("b v", RNG.normal(size=14), SPLINE, np.linalg.inv(PENALTY))
def shaped_spline_with_conjugate_variance(y, x, k):
    v, s = sample("v", dist.InverseGamma(2.0, 1.0)), sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.MultivariateNormal(jnp.linspace(-1.0, 1.0, 10), covariance_matrix=v * (k + k.T) / 2))
    sample("y", dist.Normal(x @ b, s * jnp.sqrt(v)), obs=y)


@case("b", RNG.normal(size=14), SPLINE, PENALTY)
def shaped_spline_by_precision(y, x, penalty):
    s = sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.MultivariateNormal(jnp.zeros(10), precision_matrix=penalty))
    sample("y", dist.Normal(x @ b, s), obs=y)


@case("u", np.stack([TRAIT, 2 * TRAIT, TRAIT[::-1]]), KINSHIP)
def shaped_traits_of_their_own_scales(y, k):
    s = sample("s", dist.HalfNormal(1.0))
    with plate("traits", 3):
        tau = sample("tau", dist.HalfNormal(1.0))
        u = sample("u", dist.MultivariateNormal(jnp.zeros(12), scale_tril=tau[:, None, None] * jnp.linalg.cholesky(k)))
        sample("y", dist.Normal(u, s).to_event(1), obs=y)


@case("u mean", np.stack([TRAIT, 2 * TRAIT]), np.stack([KINSHIP, np.diag(np.diag(KINSHIP)) + 0.5]))
def shaped_traits_of_known_covariances(y, k):
    """One factor for both, and a mean in common."""
    s, tau = sample("s", dist.HalfNormal(1.0)), sample("tau", dist.HalfNormal(1.0))
    mean = sample("mean", dist.Normal(0.0, 3.0))
    u = sample("u", dist.MultivariateNormal(jnp.full((2, 12), mean), covariance_matrix=tau * k))
    sample("y", dist.Normal(u, s), obs=y)


@case("f", TRAIT, np.linspace(0.0, 3.0, 12))
def shaped_field_of_known_length(y, x):
    size, s = sample("size", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    k = jnp.exp(-0.5 * (x[:, None] - x) ** 2) + 1e-3 * jnp.eye(12)
    f = sample("f", dist.MultivariateNormal(jnp.zeros(12), scale_tril=size * jax.scipy.linalg.cholesky(k, lower=True)))
    sample("y", dist.Normal(f, s), obs=y)
