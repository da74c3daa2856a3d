"""Precision and covariance matrices, and linear maps."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample

from declined.table import BINARY, GROUP, X2, Y, declines


@declines("p", "it may enter only by its log-determinant", Y)
def one_element_of_a_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.Normal(0.0, 1 / jnp.sqrt(p[0, 0])), obs=y)  # here


@declines("p", "factor", np.stack([Y, Y], 1))
def precision_with_a_ridge(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.MultivariateNormal(0.0, precision_matrix=p + jnp.eye(2)), obs=y)  # here


@declines("p", "", np.stack([Y, Y], 1))
def precision_taken_for_a_covariance(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.MultivariateNormal(0.0, covariance_matrix=p), obs=y)  # here


@declines("low", "", np.stack([Y, Y], 1))
def root_of_a_precision_taken_for_that_of_a_covariance(y):
    low = sample("low", dist.WishartCholesky(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.MultivariateNormal(0.0, scale_tril=low), obs=y)  # here


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), collapsed="p", relation="normal-wishart")
def mean_whose_prior_does_not_scale_with_the_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))  # here
    sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)


@declines("p", "the integral over `mu` depends on it", np.stack([Y, Y], 1), collapsed="mu")
def mean_scaled_by_the_inverse_of_its_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))  # here
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), covariance_matrix=p))
    sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), collapsed="p")
def mean_moved_across_the_columns_of_its_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))  # here
    sample("y", dist.MultivariateNormal(mu[::-1], precision_matrix=p), obs=y)


@declines("s", "the integral over `b` depends on it", np.stack([Y, Y], 1), collapsed="b", relation="matrix-normal-wishart")
def coefficients_that_differ_between_columns(y):
    s = sample("s", dist.InverseWishart(4.0, scale_matrix=jnp.eye(2)))  # here
    with plate("coefficients", 2):
        b = sample("b", dist.MultivariateNormal(jnp.zeros(2), covariance_matrix=s))
    weights = jnp.asarray(np.stack([X2, X2 * np.array([1.0, 2.0])], -1))
    sample("y", dist.MultivariateNormal(jnp.sum(weights * b, 1), covariance_matrix=s), obs=y)


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), GROUP, collapsed="p")
def means_and_precisions_by_different_groups(y, g):
    with plate("g", 3):
        p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
        mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))  # here
    sample("y", dist.MultivariateNormal(mu[g], precision_matrix=p[g[::-1]]), obs=y)


@declines("v", "the integral over `mu` depends on it", Y[:3], collapsed="mu")
def correlated_means_with_variances_of_their_own(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0).expand([3]))  # here
    root = jnp.sqrt(v)[:, None] * jnp.asarray(np.tril(np.full((3, 3), 0.5)) + np.eye(3))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(3), scale_tril=root))
    sample("y", dist.Normal(mu, jnp.sqrt(v)), obs=y)


@declines("p", "it may enter only by its log-determinant", np.stack([np.eye(2)] * 2))
def wishart_whose_scale_is_a_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.Wishart(4.0, scale_matrix=p), obs=y)  # here


@declines("z", "goes through `log1p`", BINARY, relation="zero-sum")
def odds_that_sum_to_zero(y):
    z = sample("z", dist.ZeroSumNormal(1.0, (3,)))
    sample("y", dist.Bernoulli(logits=z[GROUP]), obs=y)  # here


@declines("p", "it may enter only by its log-determinant", np.stack([np.eye(2)] * 2))
def location_by_the_inverse_of_a_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.MultivariateNormal(jnp.linalg.solve(p, jnp.ones(2)), precision_matrix=p), obs=y)  # here


@declines("a", "`abs` of complex numbers", Y)
def power_of_a_spectrum(y):
    a = sample("a", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    sample("y", dist.Normal(jnp.abs(jnp.fft.fft(a)), 1.0), obs=y)  # here


@declines("b", "a convolution of latents with each other", Y)
def convolution_of_latents(y):
    a = sample("a", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    b = sample("b", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    sample("y", dist.Normal(jnp.convolve(a, b, mode="same"), 1.0), obs=y)  # here


@declines("tau", "the factor statement `f` depends on it", Y, collapsed="b")
def factor_that_scales_with_the_precision(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1 / jnp.sqrt(tau)))
    sample("y", dist.Normal(b, 1 / jnp.sqrt(tau)), obs=y)
    numpyro.factor("f", (b + 50.0) * tau)  # here


@declines("p", "the factor statement `f` depends on it", np.stack([Y, Y], 1), collapsed="mu")
def factor_with_an_element_of_the_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))
    sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)
    numpyro.factor("f", mu[0] * p[0, 1])  # here


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), Y, collapsed="p")
def mean_of_one_coordinate_alone(y, x):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))  # here
    sample("y", dist.MultivariateNormal(mu * jnp.array([1.0, 0.0]), precision_matrix=p), obs=y)


@declines("v", "", np.stack([Y, Y, Y], 1))
def variance_beside_a_known_one(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.MultivariateNormal(0.0, covariance_matrix=v * jnp.eye(3) + 0.5), obs=y)  # here
