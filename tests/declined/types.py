"""Types of distributions that no table has, or that have another family."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import sample
from numpyro.distributions import constraints

from declined.table import COUNT, OUTCOME, POSITIVE, X2, N, Y, declines


class Shifted(dist.Normal):
    """A subclass that changes the density."""

    def log_prob(self, value):
        return super().log_prob(value - 1.0)


class Hidden(dist.Distribution):
    """A distribution that no table knows."""

    arg_constraints = {"loc": constraints.real}  # noqa: RUF012
    support = constraints.real

    def __init__(self, loc):
        self.loc = loc
        super().__init__(jnp.shape(loc), (), validate_args=False)

    def sample(self, key, sample_shape=()):
        return dist.Normal(self.loc, 1.0).sample(key, sample_shape)

    def log_prob(self, value):
        return dist.Normal(self.loc, 1.0).log_prob(value)


@declines("a", "its prior, Shifted", Y)
def subclass_as_a_prior(y):
    a = sample("a", Shifted(0.0, 1.0))  # here
    sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "`y` is Shifted, whose density is not registered", Y)
def subclass_as_a_likelihood(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", Shifted(a, 1.0), obs=y)  # here


@declines("a", "`y` is Hidden, whose density is not registered", Y)
def unknown_distribution(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", Hidden(a), obs=y)  # here


@declines("a", "has no conjugate family", Y)
def truncated_prior_of_another_shape(y):
    a = sample("a", dist.TruncatedCauchy(0.0, 1.0, low=0.0))  # here
    sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "products of its elements enter `y`", Y, X2, relation="exponential-normal")
def truncated_slopes(y, x):
    a = sample("a", dist.TruncatedNormal(jnp.zeros(2), 1.0, low=0.0))
    sample("y", dist.Normal(x @ a, 1.0), obs=y)  # here


@declines("s", "`s` enters to the power -2 in `y`; a HalfNormal latent may enter only as `log s` or `s^2`", Y)
def half_normal_deviation(y):
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(0.0, s), obs=y)  # here


@declines("s", "a power of a sum in `mu`; a Uniform latent", Y, collapsed="mu", relation="uniform-scale")
def uniform_deviation_of_a_mean(y):
    s = sample("s", dist.Uniform(0.0, 5.0))
    mu = sample("mu", dist.Normal(0.0, 1.0 + s))  # here
    sample("y", dist.Normal(mu, s), obs=y)


@declines("s", "the integral over `mu` depends on it in no closed form", Y, collapsed="mu")
def uniform_deviation_of_the_data_alone(y):
    s = sample("s", dist.Uniform(0.0, 5.0))  # here
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, s), obs=y)


@declines("z", "the support of `y` depends on it", POSITIVE)
def pareto_edge(y):
    z = sample("z", dist.Pareto(9.0, 2.0))
    sample("y", dist.Uniform(0.0, z), obs=y)  # here


@declines("z", "goes through `cos`", np.clip(Y, -3, 3))
def twice_a_direction(y):
    z = sample("z", dist.VonMises(0.0, 1.0))
    sample("y", dist.VonMises(2 * z, 3.0), obs=y)  # here


@declines("k", "", np.clip(Y, -3, 3))
def concentration_of_directions(y):
    k = sample("k", dist.Gamma(2.0, 1.0))
    sample("y", dist.VonMises(0.0, k), obs=y)  # here


@declines("t", "to the power", POSITIVE)
def weibull_of_another_power(y):
    t = sample("t", dist.Gamma(2.0, 1.0))
    sample("y", dist.Weibull(t ** (-1 / 1.7), 1.8), obs=y)  # here


@declines("lam", "", COUNT)
def log_linear_rate_that_is_not_linear(y):
    lam = sample("lam", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(jnp.exp(jnp.log(lam) * jnp.arange(1.0, 7.0))), obs=y)  # here


@declines("p", "a logarithm of a sum", COUNT)
def rate_with_a_background(y):
    p = sample("p", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(p * (jnp.arange(N) > 2) + 0.5), obs=y)  # here


@declines("v", "not proved to sum to one", OUTCOME, relation="stick-breaking")
def sticks_with_a_piece_missing(y):
    v = sample("v", dist.Beta(1.0, 1.5).expand([2]))
    left = jnp.cumprod(1 - v)
    p = jnp.stack([v[0], v[1] * left[0], left[0]])
    sample("y", dist.Categorical(p), obs=y)  # here


@declines("phi", "", OUTCOME)
def half_the_logits(y):
    phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
    sample("y", dist.Categorical(logits=0.5 * jnp.log(phi)), obs=y)  # here


@declines("mu", "`new` is TransformedDistribution, whose density is not registered", Y)
def prediction_by_half_of_a_square(y):
    """Of NumPyro's own parts, but what is negative has no mass."""
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("new", dist.TransformedDistribution(dist.Normal(mu, 1.0), dist.transforms.PowerTransform(2.0)))  # here


@declines("mu", "`new` is Shifted", Y)
def prediction_by_a_subclass(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("new", Shifted(mu, 1.0))  # here


@declines("mu", "`new` is MixtureGeneral", Y)
def prediction_by_a_mixture_with_a_subclass(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    parts = [dist.Normal(mu, 1.0), Shifted(mu, 1.0)]
    sample("new", dist.MixtureGeneral(dist.Categorical(jnp.ones(2) / 2), parts))  # here


@declines("new", "has no conjugate family here", Y, collapsed="mu")
def prediction_by_what_is_masked_inside(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("new", dist.TransformedDistribution(dist.Normal(mu, 1.0).mask(False), dist.transforms.SigmoidTransform()))  # here


@declines("mu", "the mask of `new` depends on it", Y)
def prediction_with_a_mask_that_moves(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("new", dist.Beta(jnp.exp(mu), 2.0).mask(mu > 0))  # here


@declines("mu", "the support of `new` depends on it", Y)
def prediction_that_is_masked_on_a_support_that_moves(y):
    """Its mass is the length of that."""
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("new", dist.Uniform(0.0, jnp.exp(mu)).mask(jnp.arange(1) > 0))  # here


@declines("new", "has no conjugate family here", Y, collapsed="mu")
def prediction_that_is_censored(y):
    """A density beside a probability: not of mass one."""
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("new", dist.RightCensoredDistribution(dist.Exponential(2.0), jnp.array(1)))  # here
