"""What cannot be proved for all values."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import sample
from numpyro.distributions import constraints

from declined.table import COUNT, GROUP, Y, declines


@declines("b", "rank 1 of 2", Y)
def flat_prior_that_a_linear_factor_does_not_determine(y):
    b = sample("b", dist.ImproperUniform(constraints.real, (2,), ()))  # here
    sample("y", dist.Normal(b[0], 1.0), obs=y)
    numpyro.factor("tilt", -0.3 * jnp.sum(b))


@declines("rate", "to the power 2", COUNT)
def product_with_almost_zero(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    sample("extra", dist.Normal(1e-30 * rate, 1.0), obs=0.5)  # here


@declines("b", "the data do not determine it", Y)
def flat_prior_without_rank(y):
    b = sample("b", dist.ImproperUniform(constraints.real, (2,), ()))  # here
    sample("y", dist.Normal(jnp.stack([y, 2 * y], 1) @ b, 1.0), obs=y)


@declines("a", "rank 3 of 6", Y, collapsed="b")
def flat_prior_between_sites(y):
    a = sample("a", dist.ImproperUniform(constraints.real, (3,), ()))  # here
    b = sample("b", dist.ImproperUniform(constraints.real, (3,), ()))
    sample("y", dist.Normal(a[jnp.asarray(GROUP)] + b[jnp.asarray(GROUP)], 1.0), obs=y)


@declines("u", "design depends on kept sites", Y)
def flat_prior_under_a_loading(y):
    """At a loading of 0 the data say nothing of one of them."""
    u = sample("u", dist.ImproperUniform(constraints.real, (2,), ()))  # here
    loading = sample("loading", dist.Cauchy(0.0, 1.0))
    sample("y", dist.Normal(loading * u[0], 1.0), obs=y)
    sample("other", dist.Normal(u[1], 1.0), obs=y)


@declines("u", "design depends on kept sites", Y, collapsed="b")
def flat_prior_times_what_would_have_stayed(y):
    """A factor of the elements stays so that they need not; since they do it goes after all."""
    b = sample("b", dist.Normal(0.0, 1.0))
    u = sample("u", dist.ImproperUniform(constraints.real, (2,), ()))  # here
    sample("y", dist.Normal(b * u[0] + y, 1.0), obs=y)
    sample("other", dist.Normal(b * u[1], 1.0), obs=y)


@declines("a", "noise", Y)
def hidden_noise(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    noise = jax.random.normal(numpyro.prng_key())
    sample("y", dist.Normal(a + noise, 1.0), obs=y)  # here


@declines("new", "noise", Y, collapsed="a")
def hidden_noise_in_a_prediction(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    noise = jax.random.normal(numpyro.prng_key())
    sample("new", dist.Normal(noise, 1.0))  # here


@declines("b", "`scan`, for which there is no rule", Y)
def loop_that_mixes_rows_at_every_step(y):
    """Written out it would be a sum of sums for each number, a factor more at each step."""
    b = sample("b", dist.Normal(0.0, 1.0).expand([4]))
    x = jnp.tile(y, 20)[:20]
    last, each = jax.lax.scan(lambda c, bb: (0.1 * jnp.cumsum(c) + bb * x, c), jnp.arange(20.0), b)  # here
    sample("y", dist.Normal(last + each[1], 1.0), obs=x)


@declines("a", "a factor of a matrix whose elements are latent", Y[:3], collapsed="b")
def solve_with_what_is_to_go(y):
    """The matrix stays, and the right side goes."""
    a = sample("a", dist.Normal(0.0, 0.1))
    b = sample("b", dist.Normal(jnp.zeros(3), 1.0))
    sample("y", dist.Normal(jnp.linalg.solve(jnp.eye(3) + a * jnp.eye(3, k=1), b), 1.0), obs=y)  # here


@declines("a", "its prior is masked", Y, collapsed="b")
def masked_prior_of_a_scale(y):
    """Where all reals are allowed, a prior that is masked altogether is a flat one; this one knows a sign."""
    a = sample("a", dist.HalfNormal(1.0).mask(False))  # here
    b = sample("b", dist.Normal(a, 1.0))
    sample("y", dist.Normal(b, 1.0), obs=y)


@declines("b", "a choice between cases that depends on a latent", Y, jnp.arange(6.0), collapsed="a")
def step_that_comes_with_its_size(y, t):
    """Where the step does not depend on its own size, that is integrated out."""
    a, k = sample("a", dist.Normal(0.0, 1.0)), sample("k", dist.Normal(0.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a + jnp.where(t > k + b, b, 0.0), 1.0), obs=y)  # here


@declines("rate", "a logarithm of a sum", COUNT)
def rate_of_either_sign(y):
    """NumPyro's density of a count of 0 is a number where the rate is negative."""
    k, rate = sample("k", dist.Normal(0.0, 1.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * (2 + jnp.sin(k * jnp.arange(6.0)))), obs=y)  # here


@declines("p", "is not proved to lie between 0 and 1", np.ones(6))
def probability_that_may_be_more_than_one(y):
    """Of successes alone nothing is left of one less it, but NumPyro takes 1 for what is more."""
    k, p = sample("k", dist.Normal(0.0, 1.0)), sample("p", dist.Beta(2.0, 1.0))
    sample("y", dist.Bernoulli(p * jnp.exp(k)), obs=y)  # here


@declines("r", "a logarithm of a sum", COUNT)
def rate_of_two_latents_and_a_function(y):
    """What is in front of each is no factor of both."""
    k, r = sample("k", dist.LogNormal(0.0, 1.0)), sample("r", dist.Gamma(2.0, 1.0).expand([2]))
    sample("y", dist.Poisson(r[0] + r[1] * k * jnp.arange(1.0, 7.0)), obs=y)  # here


@declines("b", "its prior is flat", Y)
def flat_prior_and_a_weight_that_may_be_zero(y):
    """What is proved for a logarithm, not to be negative, is too little for a weight."""
    k = sample("k", dist.Normal(0.0, 1.0))
    b = sample("b", dist.ImproperUniform(constraints.real, (), ()))  # here
    sample("y", dist.Normal(jnp.maximum(k, 0.0) * b, 1.0), obs=y)


@declines("rate", "not proved positive", COUNT)
def rate_times_an_error_function_of_either_sign(y):
    k, rate = sample("k", dist.HalfNormal(1.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * jax.lax.erf(2.0**k - 0.5)), obs=y)  # here


@declines("rate", "not proved positive", COUNT)
def rate_times_a_wave_of_one_number(y):
    k, rate = sample("k", dist.HalfNormal(1.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * jnp.cos(k / 100)), obs=y)  # here


@declines("rate", "not proved positive", COUNT)
def rate_times_more_than_a_share_seen(y):
    k, rate = sample("k", dist.HalfNormal(1.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * (1.5 - jnp.exp(-k))), obs=y)  # here


@declines("rate", "not proved positive", COUNT)
def rate_times_a_quotient_of_either_sign(y):
    k, rate = sample("k", dist.HalfNormal(1.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * ((2.0**k - 0.5) / (2.0**k + 1.0))), obs=y)  # here


@declines("z", "together they have", Y)
def square_of_a_sum_of_states(y):
    """It is no sum over the states, as what is squared is."""
    z = sample("z", dist.Bernoulli(0.4).expand([60]))
    numpyro.factor("square", -0.01 * jnp.square(z.sum() - 20.0))  # here
    sample("y", dist.Normal(0.0, 1.0), obs=y)
