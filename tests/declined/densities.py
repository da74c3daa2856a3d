"""What the density does with the latent."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample

from declined.table import BINARY, COUNT, POSITIVE, N, Y, declines


@declines("p", "may enter only as `log p` or `log(1-p)`", BINARY)
def scaled_probability(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(0.9 * p), obs=y)  # here


@declines("phi", "", COUNT)
def one_cell_of_a_simplex(y):
    phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
    sample("y", dist.Binomial(6, phi[0]), obs=y)  # here


@declines("th", "the support of `y` depends on it", POSITIVE)
def support_edge(y):
    th = sample("th", dist.Gamma(9.0, 1.0))
    sample("y", dist.Uniform(0.0, 20 + th), obs=y)  # here


@declines("a", "exp", COUNT)
def exponential_link(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Poisson(jnp.exp(a)), obs=y)  # here


@declines("a", "", BINARY)
def logistic_regression(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Bernoulli(logits=a * jnp.arange(N)), obs=y)  # here


@declines("a", "abs", Y)
def absolute_value(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.abs(a), 1.0), obs=y)  # here


@declines("a", "", Y)
def clipped(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.clip(a, -9.0, 9.0), 1.0), obs=y)  # here


@declines("rate", "", COUNT)
def clipped_rate(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(jnp.maximum(rate, 1e-9)), obs=y)  # here


@declines("b", "multiplies `a`", Y, collapsed="a")
def product_of_two(y):
    a = sample("a", dist.Normal(0.0, 1.0).expand([N]))
    b = sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a * b, 1.0), obs=y)  # here


@declines("a", "", Y)
def product_with_itself(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a * a, 1.0), obs=y)  # here


@declines("a", "", Y)
def root_of_a_square(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.sqrt(a**2), 1.0), obs=y)  # here


@declines("tau", "", Y)
def precision_plus_a_constant(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(0.0, 1 / jnp.sqrt(tau + 0.5)), obs=y)  # here


@declines("v", "", Y)
def variance_taken_for_a_scale(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Normal(0.0, v), obs=y)  # here


@declines("rate", "", COUNT)
def sum_of_rates(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0).expand([2]))
    sample("y", dist.Poisson(rate.sum()), obs=y)  # here


@declines("shape", "", POSITIVE)
def shape_of_a_gamma(y):
    shape = sample("shape", dist.Gamma(2.0, 1.0))
    sample("y", dist.Gamma(shape, 1.0), obs=y)  # here


@declines("mu", "", Y)
def heavy_tails(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.StudentT(4.0, mu, 1.0), obs=y)  # here


@declines("a", "the scale of", Y, collapsed="b")
def latent_in_a_scale(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1.0 + a**2))  # here
    sample("y", dist.Normal(b, 1.0), obs=y)


@declines("mu", "what is left of `tau` is in no closed form in it", Y, collapsed="tau")
def semi_conjugate_precision(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))  # here
    with plate("rows", N):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        sample("y", dist.Normal(mu, 1 / jnp.sqrt(tau)), obs=y)


@declines("tau", "in no closed form", Y, collapsed="mu", relation="normal-gamma")
def semi_conjugate(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    tau = sample("tau", dist.Gamma(2.0, 1.0))  # here
    sample("y", dist.Normal(mu, 1 / jnp.sqrt(tau)), obs=y)


@declines("beta", "", COUNT, collapsed="rate")
def rate_of_rates(y):
    beta = sample("beta", dist.Gamma(2.0, 1.0))  # here
    with plate("rows", N):
        rate = sample("rate", dist.Gamma(2.0, beta))
        sample("y", dist.Poisson(rate), obs=y)


@declines("p", "`p` goes through `log1p` in `y`; a Uniform latent may enter only as", BINARY)
def half_a_probability(y):
    p = sample("p", dist.Uniform(0.0, 2.0))
    sample("y", dist.Bernoulli(p / 2), obs=y)  # here


@declines("a", "its square enters the factor statement", Y)
def quadratic_factor(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    numpyro.factor("tilt", 0.1 * a**2)  # here


@declines("rate", "the factor statement `tilt`", COUNT)
def factor_on_a_rate(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    numpyro.factor("tilt", -0.1 * rate)  # here


@declines("a", "the support of `y` depends on a latent", np.array([[1.5, 3.0], [2.0, 0.5]]))
def edge_that_moves_behind_a_mask_within_an_event(y):
    edge, a = sample("edge", dist.HalfNormal(1.0)), sample("a", dist.Gamma(2.0, 1.0))
    rows = dist.Pareto(edge, jnp.broadcast_to(a, (2,))).mask(np.array([True, False])).to_event(1)
    sample("y", rows, obs=y)  # here


@declines("b", "abs", Y)
def indicators_in_front_of_a_size(y):
    """A sum of indicators times coefficients is a look-up."""
    b = sample("b", dist.Normal(0.0, 1.0).expand([2, 3]))
    sample("y", dist.Normal(jnp.abs(jnp.einsum("nij,ij->n", np.eye(6).reshape(6, 2, 3), b)), 1.0), obs=y)  # here
