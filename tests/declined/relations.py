"""Next to a relation that has a closed form."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import sample
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints
from numpyro.distributions.transforms import AffineTransform

from declined.table import COUNT, OUTCOME, POSITIVE, X2, N, Y, declines


@declines("z", "`z` enters to the power -1 in `inverse gamma`", POSITIVE, np.stack([Y, Y], 1))
def gammas_in_the_wrong_place(y, points):
    z, laplace, pareto, log_normal, field = (sample(n, dist.Gamma(2.0, 1.0)) for n in (
        "z", "of laplace", "of pareto", "of log normal", "of a field"))
    sample("inverse gamma", dist.InverseGamma(2.0, 1 / z), obs=y)  # here
    sample("laplace", dist.Laplace(0.0, laplace), obs=y)
    sample("pareto", dist.Pareto(0.001, 1 / pareto), obs=y)
    sample("log normal", dist.LogNormal(0.0, log_normal), obs=y)
    sample("field", dist.MultivariateNormal(0.0, field * jnp.eye(2)), obs=points)


@declines("z", "density is not registered", POSITIVE)
def times_censored_where_survival_is_no_power(y):
    """A gamma has an incomplete gamma function beyond a value, and what is known to be below one is a difference."""
    z, left = sample("z", dist.Gamma(2.0, 1.0)), sample("left", dist.Gamma(2.0, 1.0))
    sample("y", dist.RightCensoredDistribution(dist.Gamma(2.0, z), np.arange(len(y)) > 1), obs=y)  # here
    sample("below", dist.LeftCensoredDistribution(dist.Exponential(left), np.arange(len(y)) > 1), obs=y)


@declines("z", "`z` enters to the power 1 in `exponential`", POSITIVE)
def inverse_gammas_in_the_wrong_place(y):
    z, gamma, inverse, weibull, laplace, log_normal = (sample(n, dist.InverseGamma(3.0, 1.0)) for n in (
        "z", "of gamma", "of inverse gamma", "of weibull", "of laplace", "of log normal"))
    sample("exponential", dist.Exponential(z), obs=y)  # here
    sample("gamma", dist.Gamma(2.0, gamma), obs=y)
    sample("inverse gamma", dist.InverseGamma(2.0, inverse), obs=y)
    sample("weibull", dist.Weibull(weibull, 2.0), obs=y)
    sample("laplace", dist.Laplace(0.0, 1 / laplace), obs=y)
    sample("log normal", dist.LogNormal(0.0, log_normal), obs=y)


@declines("z", "may enter only as", COUNT, OUTCOME, np.array([[1, 0, 3], [2, 2, 0]]), relation="dirichlet-transitions")
def parts_of_probabilities(count, outcome, counts):
    z, negative, geometric = (sample(n, dist.Beta(2.0, 3.0)) for n in ("z", "of negative binomial", "of geometric"))
    phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
    rows = sample("rows", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
    sample("binomial", dist.Binomial(6, 0.5 * z), obs=count)  # here
    sample("negative binomial", dist.NegativeBinomialProbs(6.0, 0.5 * negative), obs=count)
    sample("geometric", dist.Geometric(0.5 * geometric), obs=count)
    sample("counts", dist.Multinomial(4, 0.5 * phi + 1 / 6), obs=counts)
    sample("next", dist.Categorical(0.5 * rows[outcome[:-1]] + 1 / 6), obs=outcome[1:])


@declines("b", "it enters `y` to a power above two", Y, POSITIVE, np.stack([Y, Y], 1), X2,
          relation="regression gaussian-field autoregression")
def squares_of_means(y, positive, points, x):
    b = sample("b", dist.Normal(0.0, 1.0))
    m, phi = (sample(n, dist.Normal(0.0, 1.0)) for n in ("m", "phi"))
    u = sample("u", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    c = sample("c", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(N), jnp.eye(N) + 0.5))
    sample("y", dist.Normal(x[:, 1] * b**2, 1.0), obs=y)  # here
    sample("positive", dist.LogNormal(m**2, 1.0), obs=positive)
    sample("next", dist.Normal(phi**2 * y[:-1], 1.0), obs=y[1:])
    sample("points", dist.MultivariateNormal(u**2, jnp.eye(2)), obs=points)
    sample("w", dist.Normal((x @ c) ** 2, 1.0), obs=y)
    sample("field", dist.Normal(jnp.exp(f), 1.0), obs=y)


@declines("v", "the integral over `b` depends on it", Y, X2, collapsed="b", relation="conjugate-regression")
def coefficients_scaled_by_the_variance_itself(y, x):
    v = sample("v", dist.InverseGamma(2.0, 1.0))  # here
    b = sample("b", dist.Normal(jnp.zeros(2), v))
    sample("y", dist.Normal(x @ b, jnp.sqrt(v)), obs=y)


@declines("tau", "in no closed form", Y, collapsed="x", relation="gamma-gaussian-chain")
def chain_whose_steps_have_another_scale(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))  # here

    def step(x, now):
        x = sample("x", dist.Normal(x, 0.5))
        sample("y", dist.Normal(x, 1 / jnp.sqrt(tau)), obs=now)
        return x, None

    scan(step, 0.0, y)


@declines("z", "a logarithm of a sum", COUNT, POSITIVE)
def two_indicators_in_a_row(count, y):
    z = sample("z", dist.Gamma(2.0, 1.0).expand([3]).to_event(1))
    shifted = sample("shifted", dist.TransformedDistribution(
        dist.Gamma(2.0, 1.0), AffineTransform(1.0, 2.0, domain=constraints.positive)))
    rows = np.eye(3)[np.arange(N) % 3]
    rows[2, 0] = 1.0
    sample("count", dist.Poisson(rows @ z), obs=count)  # here
    sample("y", dist.Exponential(shifted), obs=y)
