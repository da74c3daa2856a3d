"""Discrete latents, and what is below them."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan

from declined.table import COUNT, N, Y, declines


@declines("mu", "`z`, which is summed out, chooses between its elements", Y, collapsed="z")
def discrete_parent(y):
    mu = sample("mu", dist.Normal(jnp.zeros(2), 1.0))
    with plate("rows", N):
        z = sample("z", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
        sample("y", dist.Normal(mu[z], 1.0), obs=y)  # here


@declines("b", "meets several elements of the discrete latent `k`", Y, collapsed="k u")
def discrete_classes_beside_what_all_share(y):
    b = sample("b", dist.Normal(0.0, 1.0))  # here
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(2.0 * k, 1.0))
        sample("y", dist.Normal(b + u, 1.0 + k), obs=y)


@declines("mu", "it joins elements of `u` that meet different elements of the discrete latent `k`", Y,
          collapsed="k u")
def discrete_classes_of_exchangeable_effects(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))  # here
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(mu, 1.0))
        sample("y", dist.Normal(u + 2.0 * k, 1.0), obs=y)


@declines("u", "elements of it that are not independent meet different elements of the discrete latent `k`", Y,
          collapsed="k")
def discrete_classes_of_a_process(y):
    near = jnp.exp(-0.5 * (jnp.arange(N)[:, None] - jnp.arange(N)) ** 2) + 0.1 * jnp.eye(N)
    u = sample("u", dist.MultivariateNormal(jnp.zeros(N), near))  # here
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        sample("y", dist.Normal(u, 1.0 + k), obs=y)


@declines("u", "for all states of `j` and `k` it would take 2.2e+08 numbers", Y, collapsed="j k")
def discrete_classes_with_many_states(y):
    with plate("rows", N):
        j = sample("j", dist.DiscreteUniform(0, 5999))
        k = sample("k", dist.DiscreteUniform(0, 5999))
        u = sample("u", dist.Normal(0.001 * j, 1.0))  # here
        sample("y", dist.Normal(u - 0.001 * k, 1.0), obs=y)


@declines("p", "the support of `y` depends on a discrete latent", np.minimum(COUNT, 3), collapsed="k")
def discrete_totals(y):
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        p = sample("p", dist.Beta(1.0, 2.0))
        sample("y", dist.Binomial(3 + k, p), obs=y)  # here


@declines("u", "`u` goes through `tanh` in `y`", Y, collapsed="k")
def discrete_classes_of_what_is_not_linear(y):
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(2.0 * k, 1.0))
        sample("y", dist.Normal(jnp.tanh(u), 1.0), obs=y)  # here


@declines("s", "a choice between cases", Y, collapsed="k")
def discrete_choice_beside_what_may_be_infinite(y):
    w = sample("w", dist.StudentT(3.0, 0.0, 1.0))
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        s = sample("s", dist.InverseGamma(2.0, 1.0))
        sample("y", dist.Normal(0.0, jnp.where(k == 1, jnp.sqrt(s), jnp.exp(w))), obs=y)  # here


@declines("a", "a choice between cases that depends on a latent", Y)
def choice_whose_other_case_is_not_finite(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.StudentT(3.0, 0.0, 1.0))
    sample("y", dist.Normal(jnp.where(s > 0, a * jnp.log(s), a), 1.0), obs=y)  # here


@declines("mu", "MixtureSameFamily", Y)
def mixture(y):
    mu = sample("mu", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    parts = dist.Normal(mu, 1.0)
    sample("y", dist.MixtureSameFamily(dist.Categorical(jnp.ones(2) / 2), parts), obs=y)  # here


@declines("k", "values of a Poisson are not finitely many", COUNT)
def discrete_without_a_largest_value(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with plate("rows", N):
        k = sample("k", dist.Poisson(rate))  # here
        sample("y", dist.Poisson(k + 0.5), obs=y)


@declines("rate", "a discrete latent is summed out already", COUNT)
def mixture_that_numpyro_sums_out(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.ZeroInflatedPoisson(0.3, rate), obs=y)  # here


@declines("k", "the support of `y` depends on it", np.minimum(COUNT, 2))
def discrete_that_moves_a_support(y):
    with plate("rows", N):
        k = sample("k", dist.Categorical(jnp.ones(4) / 4))
        # NumPyro's density of it is not 0 outside
        sample("y", dist.DiscreteUniform(0, k + 2), obs=y)  # here


@declines("z", "several of its elements go through `dot_general` in `y`, and together they have 2**25 states", Y,
          Y[:, None] ** np.arange(25.0))
def discrete_inclusion(y, x):
    b = sample("b", dist.Normal(jnp.zeros(25), 1.0))
    z = sample("z", dist.Bernoulli(0.5).expand([25]))
    sample("y", dist.Normal(x @ (z * b), 1.0), obs=y)  # here


@declines("z", "summing out `z` would take a table of 4.2e+09 numbers", Y, relation="discrete-chain")
def discrete_chain_of_order_two_with_many_states(y):
    def step(carry, seen):
        one, two = carry
        z = sample("z", dist.Categorical(logits=jnp.arange(180.0) * 0.01 * (one - two)))
        sample("y", dist.Normal(z, 1.0), obs=seen)
        return (z, one), None

    scan(step, (0, 0), y)  # here


@declines("a", "summing out `a` and `b` would take a table of 1.5e+09 numbers", Y)
def discrete_chains_that_meet_with_many_states(y):
    def step(carry, seen):
        a = sample("a", dist.Categorical(logits=jnp.arange(120.0) * 0.01 * carry[0]))
        b = sample("b", dist.Categorical(logits=jnp.arange(120.0) * 0.01 * carry[1]))
        sample("y", dist.Normal(a + 2.0 * b, 1.0), obs=seen)
        return (a, b), None

    scan(step, (0, 0), y)  # here


@declines("z", "would take a table of", np.ones((20, 20)))
def discrete_grid(y):
    z = sample("z", dist.Bernoulli(0.4).expand([20, 20]))  # here
    numpyro.factor("down", jnp.where(z[1:] == z[:-1], 0.5, 0.0))
    numpyro.factor("across", jnp.where(z[:, 1:] == z[:, :-1], 0.5, 0.0))
    sample("y", dist.Normal(z, 1.0), obs=y)


@declines("z", "discrete latent `n`, which stays", COUNT)
def discrete_beside_one_that_stays(y):
    n = sample("n", dist.Poisson(2.0))
    z = sample("z", dist.Bernoulli(0.4))
    sample("y", dist.Poisson(1.0 + n + z), obs=y)  # here


@declines("k", "subsampled plate", Y)
def discrete_in_a_subsampled_plate(y):
    k = sample("k", dist.Bernoulli(0.4))
    with plate("rows", N, subsample_size=3) as rows:
        sample("y", dist.Normal(k, 1.0), obs=y[rows])  # here


@declines("k", "weighted by `scale`", Y)
def discrete_with_a_weight(y):
    with handlers.scale(scale=2.0):
        k = sample("k", dist.Bernoulli(0.4))  # here
    sample("y", dist.Normal(k, 1.0), obs=y)
