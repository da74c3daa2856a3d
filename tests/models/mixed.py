"""Latents that are integrated out given discrete ones, which are summed out then."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan

from models.finite import FEW, PAIR, SHORT, STEPS, S
from models.table import ROOT, X, Y, case

ROWS = np.stack([Y[:5], Y[4:9], Y[2:7]], 1)
LOADING = np.array([[1.0, 0.2], [0.5, -0.7], [0.0, 1.1]])


# -- an element of a discrete latent above each part --------------------------------------------------


@case("k z", ROWS)
def mixture_of_factor_analysers(x):
    mu = sample("mu", dist.Normal(0.0, 2.0).expand([S, 3]).to_event(2))
    w = sample("w", dist.Normal(0.0, 1.0).expand([S, 3, 2]).to_event(3))
    s = sample("s", dist.HalfNormal(1.0).expand([S]).to_event(1))
    with plate("n", len(x)):
        k = sample("k", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        z = sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        centre = mu[k] + jnp.einsum("nij,nj->ni", w[k], z)
        sample("x", dist.Normal(centre, s[k][:, None]).to_event(1), obs=x)


@case("k z", ROWS)
def hierarchical_mixture_of_gaussians(x):
    weights = sample("weights", dist.Dirichlet(jnp.ones(S)))
    m = sample("m", dist.Normal(0.0, 2.0).expand([S, 2]).to_event(2))
    root = sample("root", dist.LKJCholesky(2))
    with plate("n", len(x)):
        k = sample("k", dist.Categorical(weights))
        z = sample("z", dist.MultivariateNormal(m[k], scale_tril=(1.0 + k)[:, None, None] * root))
        sample("x", dist.MultivariateNormal(z @ LOADING.T, scale_tril=jnp.asarray(ROOT)), obs=x)


@case("k t", SHORT, X[:5, 0])
def errors_of_measurement(y, x):
    """The true value of a covariate is of one of several kinds; level, slope and errors are known to no one."""
    m = sample("m", dist.Normal(0.0, 3.0).expand([S]))
    s = sample("s", dist.LogNormal(0.0, 0.5).expand([S]))
    b = sample("b", dist.LogNormal(0.0, 1.0))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        t = sample("t", dist.Normal(m[k], s[k]))
        sample("x", dist.Normal(t, 0.5), obs=x)
        sample("y", dist.Normal(jnp.where(k == 0, b * t, 1.0 - t), 1.0), obs=y)


@case("k rate", FEW)
def mixture_of_rates(y):
    a = sample("a", dist.HalfNormal(2.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        rate = sample("rate", dist.Gamma(a[k] + 0.1, jnp.array([0.5, 1.0, 2.0])[k]))
        sample("y", dist.Poisson(rate), obs=y)


@case("k j p", FEW)
def mixture_of_probabilities(y):
    """Two discrete latents above one."""
    a = sample("a", dist.HalfNormal(2.0))
    with plate("n", len(y)):
        k = sample("k", dist.Bernoulli(0.3))
        j = sample("j", dist.Categorical(jnp.ones(S) / S))
        p = sample("p", dist.Beta(1.0 + a * k, 2.0 + j))
        sample("y", dist.Binomial(7, p), obs=y)


@case("k v b", SHORT)
def mixture_of_locations_and_variances(y):
    """Two latents, one after the other, below one."""
    m = sample("m", dist.StudentT(3.0, 0.0, 1.0).expand([2]))
    with plate("n", len(y)):
        k = sample("k", dist.Bernoulli(0.3))
        v = sample("v", dist.InverseGamma(1.5 + k, 0.7))
        b = sample("b", dist.Normal(m[k], jnp.sqrt(v)))
        sample("y", dist.Normal(b, 2.0 * jnp.sqrt(v)), obs=y)


@case("k u", Y, np.array([0, 0, 1, 1, 1, 2, 2, 3, 3]))
def effects_that_are_there_or_not(y, g):
    """Effects of groups, of which some are a hundred times smaller."""
    tau = sample("tau", dist.HalfNormal(1.0))
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("groups", 4):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(0.0, jnp.where(k == 1, tau, 0.01 * tau)))
    sample("y", dist.Normal(mu + u[g], 0.5), obs=y)


@case("z t", SHORT)
def hidden_markov_above_normals(y):
    """Below a chain of states."""
    mu = sample("mu", dist.Normal(0.0, 3.0).expand([S]))

    def step(before, seen):
        z = sample("z", dist.Categorical(jnp.asarray(STEPS)[before]))
        t = sample("t", dist.Normal(mu[z], 1.0 + z))
        sample("y", dist.Normal(t, 0.5), obs=seen)
        return z, None

    scan(step, 0, y)


@case("kind level", PAIR)
def kinds_of_walks(y):
    """A chain of steps each, in several series."""
    step = sample("step", dist.LogNormal(0.0, 1.0).expand([2]))
    with plate("series", len(y)):
        kind = sample("kind", dist.Bernoulli(0.4))

    def walk(before, seen):
        with plate("series", len(y)):
            level = sample("level", dist.Normal(before, step[kind]))
            sample("y", dist.Normal(level, 1.0), obs=seen)
        return level, None

    scan(walk, jnp.zeros(len(y)), y.T)


# -- one discrete latent above everything ---------------------------------------------------------------


@case("model b v", Y, X)
def choice_of_a_regression(y, x):
    """All is collapsed: the evidence of each model."""
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    model = sample("model", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    b = sample("b", dist.Normal(jnp.zeros(2), jnp.sqrt(v)).to_event(1))
    use = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[model]
    sample("y", dist.Normal((x * use) @ b, jnp.sqrt(v)), obs=y)


@case("spike u", Y[:5])
def one_switch_for_all(y):
    s = sample("s", dist.HalfNormal(1.0))
    spike = sample("spike", dist.Bernoulli(0.5))
    with plate("n", len(y)):
        u = sample("u", dist.Normal(0.0, jnp.where(spike == 1, 0.1, 2.0)))
        with handlers.mask(mask=np.array([True, True, False, True, True])):
            sample("y", dist.Normal(u, s), obs=y)


@case("k u v", SHORT)
def switch_between_effects(y):
    """An indicator says which of two effects an element has."""
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("n", len(y)):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(-1.0, tau))
        v = sample("v", dist.Normal(2.0, 1.0))
        sample("y", dist.Normal(jnp.where(k == 1, u, v) * 0.5, 0.5), obs=y)


@case("k r s", SHORT)
def switch_between_scales(y):
    """Of each element, one of two variances, or none of them."""
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        r = sample("r", dist.InverseGamma(2.0, 1.0))
        s = sample("s", dist.InverseGamma(3.0, 0.5))
        variance = jnp.where(k == 0, r, jnp.where(k == 1, 4.0 * s, 1.5))
        sample("y", dist.Normal(0.5, jnp.sqrt(variance)), obs=y)


@case("k z", FEW)
def exposures_of_classes(y):
    """A positive number that a discrete latent looks up or chooses multiplies a rate."""
    e = sample("e", dist.HalfNormal(2.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        z = sample("z", dist.Gamma(2.0, 1.0))
        sample("y", dist.Poisson(z * (e + 0.1)[k] * jnp.where(k == 0, e[1], 0.5)), obs=y)
