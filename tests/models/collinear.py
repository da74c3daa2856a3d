"""Coefficients whose columns nearly depend on each other: covariates far from zero, polynomials, columns that add up."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpy.random import default_rng
from numpyro import plate, sample

from models.table import case, flat

RNG = default_rng(11)
ROWS = 24
YEAR = RNG.integers(290, 311, ROWS).astype(float)
RESPONSE = 0.2 * (YEAR - 300) + RNG.normal(size=ROWS)
GROUP = RNG.integers(0, 5, ROWS)
FAR = 80.0 * np.array([1.0, 0.5, 0.1, 0.0]) + RNG.normal(size=(ROWS, 4)) * 4.0
SEASON = np.eye(4)[np.arange(ROWS) % 4]
FEATURES = default_rng(12).normal(size=(ROWS, 10)) + 0.5 * default_rng(13).normal(size=(ROWS, 1))


@case("a b", RESPONSE, YEAR)
def collinear_line(y, x):
    """Of different scales, which are known."""
    s = sample("s", dist.HalfNormal(2.0))
    a, b = sample("a", dist.Normal(1.0, 100.0)), sample("b", dist.Normal(0.0, 3.0))
    sample("y", dist.Normal(a + b * x, s), obs=y)


@case("a b", RESPONSE, YEAR)
def collinear_flat(y, x):
    s = sample("s", dist.HalfNormal(2.0))
    a, b = sample("a", flat(())), sample("b", flat(()))
    sample("y", dist.Normal(a + b * x, s), obs=y)


@case("a b u", RESPONSE, YEAR, GROUP)
def collinear_flat_and_known(y, x, group):
    """A flat intercept, known slopes of a polynomial, groups of an unknown scale."""
    s, t = sample("s", dist.HalfNormal(2.0)), sample("t", dist.HalfNormal(1.0))
    a = sample("a", flat(()))
    b = sample("b", dist.Normal(jnp.array([0.1, 0.0]), jnp.array([1.0, 0.01])).to_event(1))
    u = sample("u", dist.Normal(0.0, t).expand([5]).to_event(1))
    sample("y", dist.Normal(a + b[0] * x + b[1] * x**2 + u[group], s), obs=y)


@case("a b", RESPONSE, FAR)
def collinear_shrunk(y, x):
    """An intercept that follows coefficients of scales that are sampled."""
    s = sample("s", dist.HalfNormal(2.0))
    t = sample("t", dist.HalfNormal(1.0).expand([4]).to_event(1))
    a = sample("a", dist.Normal(2.0, 50.0))
    b = sample("b", dist.Normal(0.0, t).to_event(1))
    sample("y", dist.Normal(a + x @ b, s), obs=y)


@case("a b", RESPONSE, FAR, GROUP)
def collinear_ridge_with_noises(y, x, group):
    """One scale of the coefficients, a flat intercept, several of the noise."""
    s, t = sample("s", dist.HalfNormal(2.0).expand([5]).to_event(1)), sample("t", dist.HalfNormal(1.0))
    a, b = sample("a", flat(())), sample("b", dist.Normal(0.0, t).expand([4]).to_event(1))
    sample("y", dist.Normal(a + x @ b, s[group]), obs=y)


@case("a b c", RESPONSE, FAR)
def collinear_correlated_prior(y, x):
    """A known covariance, another scale that is sampled, an intercept without a prior of its own to mention."""
    s, t = sample("s", dist.HalfNormal(2.0)), sample("t", dist.HalfNormal(1.0))
    a = sample("a", dist.Normal(0.0, 100.0))
    b = sample("b", dist.MultivariateNormal(jnp.array([0.5, -0.5]), jnp.array([[1.0, 0.5], [0.5, 2.0]])))
    c = sample("c", dist.Normal(0.0, t))
    sample("y", dist.Normal(a + x[:, :2] @ b + c * x[:, 2] + 0.01 * c * x[:, 0], s), obs=y)


@case("b v", RESPONSE, YEAR)
def collinear_conjugate(y, x):
    """Scaled by the variance of the noise."""
    v = sample("v", dist.InverseGamma(3.0, 2.0))
    b = sample("b", dist.Normal(0.0, jnp.sqrt(v) * jnp.array([50.0, 1.0])).to_event(1))
    sample("y", dist.Normal(b[0] + b[1] * x, jnp.sqrt(v)), obs=y)


@case("a b", RESPONSE, SEASON)
def collinear_seasons(y, x):
    """Columns that add up to the intercept's."""
    s = sample("s", dist.HalfNormal(2.0))
    a = sample("a", dist.Normal(0.0, 20.0))
    b = sample("b", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
    sample("y", dist.Normal(a + x @ b, s), obs=y)


@case("m u", RESPONSE, YEAR, GROUP)
def collinear_slopes(y, x, group):
    """A line for each group, with a mean of them."""
    s, t = sample("s", dist.HalfNormal(2.0)), sample("t", dist.HalfNormal(1.0).expand([2]).to_event(1))
    m = sample("m", dist.Normal(0.0, jnp.array([50.0, 1.0])).to_event(1))
    with plate("groups", 5):
        u = sample("u", dist.MultivariateNormal(m, scale_tril=t[:, None] * jnp.array([[1.0, 0.0], [0.4, 0.9]])))
    sample("y", dist.Normal(u[group, 0] + u[group, 1] * x, s), obs=y)


@case("a b c", RESPONSE, YEAR, FEATURES)
def collinear_beside_a_ridge(y, x, z):
    """Of what does not depend on each other so nearly, the principal components are rotated after."""
    s, t = sample("s", dist.HalfNormal(2.0)), sample("t", dist.HalfNormal(1.0))
    a, b = sample("a", dist.Normal(1.0, 100.0)), sample("b", dist.Normal(0.0, 3.0))
    c = sample("c", dist.Normal(0.0, t).expand([10]).to_event(1))
    sample("y", dist.Normal(a + b * x + z @ c, s), obs=y)


@case("a b f", RESPONSE[:12], YEAR[:12] + 0.1 * np.arange(12))
def collinear_field(y, x):
    """A smooth function and a trend."""
    s, length = sample("s", dist.HalfNormal(2.0)), sample("length", dist.LogNormal(1.0, 0.5))
    a, b = sample("a", dist.Normal(0.0, 100.0)), sample("b", dist.Normal(0.0, 3.0))
    k = jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + 1e-4 * jnp.eye(12)
    f = sample("f", dist.MultivariateNormal(jnp.zeros(12), covariance_matrix=k))
    sample("y", dist.Normal(a + b * x + f, s), obs=y)
