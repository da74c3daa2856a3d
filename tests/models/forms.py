"""Relations of one kind at once, each batched, in a plate, through a look-up and with a mask."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan

from models.table import (
    BINARY,
    COUNT,
    GROUP,
    MATRIX,
    OUTCOME,
    POSITIVE,
    SEEN,
    G,
    N,
    P,
    X,
    Y,
    case,
    flat,
)

POINTS = np.stack([Y, POSITIVE, Y[::-1]], 1)
seen = handlers.mask(mask=jnp.asarray(SEEN))


@case("t", POSITIVE, Y, COUNT, GROUP)
def gammas_in_all_forms(y, real, count, g):
    with plate("g", G):
        t = sample("t", dist.Gamma(2.0, 1.5))
    t = t[g]
    with plate("rows", N), seen:
        sample("poisson", dist.Poisson(0.5 * t), obs=count)
        sample("exponential", dist.Exponential(t), obs=y)
        sample("gamma", dist.Gamma(1.5, 2.0 * t), obs=y)
        sample("inverse gamma", dist.InverseGamma(2.5, t), obs=y)
        sample("laplace", dist.Laplace(0.3, 1 / t), obs=real)
        sample("pareto", dist.Pareto(0.01, t), obs=y)
        sample("log normal", dist.LogNormal(0.1, t**-0.5), obs=y)


@case("v", POSITIVE, Y, GROUP)
def inverse_gammas_in_all_forms(y, real, g):
    with plate("g", G):
        v = sample("v", dist.InverseGamma(3.0, 1.5))
    v = v[g]
    with plate("rows", N), seen:
        sample("exponential", dist.Exponential(1 / v), obs=y)
        sample("gamma", dist.Gamma(1.5, 2.0 / v), obs=y)
        sample("inverse gamma", dist.InverseGamma(2.5, 1 / v), obs=y)
        sample("laplace", dist.Laplace(0.3, 2.0 * v), obs=real)
        sample("weibull", dist.Weibull(v**0.5, 2.0), obs=y)
        sample("log normal", dist.LogNormal(0.1, jnp.sqrt(v)), obs=y)


@case("p v phi", BINARY, OUTCOME, GROUP, relation="stick-breaking dirichlet-transitions")
def probabilities_in_all_forms(y, outcome, g):
    with plate("g", G):
        p = sample("p", dist.Beta(2.0, 1.5))
    with plate("pieces", 2):
        v = sample("v", dist.Beta(1.0, 1.5))
    with plate("rows of the table", 3):
        phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    left = jnp.concatenate([jnp.ones(1), jnp.cumprod(1 - v)])
    with plate("rows", N), seen:
        sample("y", dist.Bernoulli(1 - p[g]), obs=y)
        sample("piece", dist.Categorical(jnp.append(v, 1.0) * left), obs=outcome)
    with plate("steps", N - 1), handlers.mask(mask=jnp.asarray(SEEN[1:])):
        sample("next", dist.Categorical(phi[outcome[:-1]]), obs=outcome[1:])


@case("m a u b f", Y, POSITIVE, POINTS, X, GROUP, relation="regression gaussian-field")
def means_in_all_forms(y, positive, points, x, g):
    s = sample("s", dist.HalfNormal(1.0))
    inputs = jnp.arange(1.0 * G)
    kernel = jnp.exp(-0.5 * (inputs[:, None] - inputs) ** 2) + 0.1 * jnp.eye(G)
    m = sample("m", flat((G,)))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(G), kernel))
    with plate("g", G):
        a = sample("a", dist.Normal(0.0, 1.0))
        u = sample("u", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
        b = sample("b", dist.MultivariateNormal(jnp.zeros(P), jnp.asarray(MATRIX[:P, :P])))
    sample("z", dist.Normal(m, 5.0), obs=y[:G])  # the last group has no rows, and a flat prior
    with plate("rows", N), seen:
        sample("w", dist.Normal(m[g], s), obs=y)
        sample("y", dist.Normal(a[g] + f[g] + jnp.sum(x * b[g], 1), s), obs=y)
        sample("positive", dist.LogNormal(a[g], s), obs=positive)
        sample("points", dist.MultivariateNormal(u[g], s * jnp.asarray(MATRIX)), obs=points)


@case("tau mu phi", Y, GROUP, relation="normal-gamma conjugate-regression autoregression")
def means_and_precisions_in_all_forms(y, g):
    with plate("g", G):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        mu = sample("mu", dist.Normal(0.5, 1 / jnp.sqrt(2.0 * tau)))
        phi = sample("phi", dist.Normal(0.0, 0.5 / jnp.sqrt(tau)))
    with plate("steps", N - 1), handlers.mask(mask=jnp.asarray(SEEN[1:])):
        sample("y", dist.Normal(mu[g[1:]] + phi[g[1:]] * y[:-1], tau[g[1:]] ** -0.5), obs=y[1:])


@case("s b", POINTS, X, GROUP, relation="matrix-normal-wishart")
def matrix_normals_in_all_forms(y, x, g):
    with plate("one", 1):
        s = sample("s", dist.InverseWishart(5.0, scale_matrix=jnp.asarray(MATRIX)[None]))
    with plate("g", G):
        b = sample("b", dist.MatrixNormal(jnp.zeros((P, 3)), jnp.eye(P), jnp.linalg.cholesky(s)))
    with plate("rows", N), seen:
        sample("y", dist.MultivariateNormal(jnp.sum(x[:, :, None] * b[g], 1), covariance_matrix=s), obs=y)


@case("tau start steps", Y, GROUP, relation="gamma-gaussian-chain")
def chains_in_all_forms(y, g):
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    with plate("g", G):
        start = sample("start", dist.Normal(0.0, 3 / jnp.sqrt(tau)))
        steps = sample("steps", dist.Normal(0.0, 0.5 / jnp.sqrt(tau)).expand([3]).to_event(1))
    level = start[:, None] + jnp.cumsum(steps, 1)
    with plate("rows", N), seen:
        sample("y", dist.Normal(level[g, np.arange(N) % 3], 1 / jnp.sqrt(tau)), obs=y)


@case("x", np.stack([Y[:5], Y[4:]], 1), np.stack([SEEN[:5], SEEN[4:]], 1), relation="gaussian-chain")
def several_chains_with_missing_values(y, there):
    s = sample("s", dist.HalfNormal(1.0))

    def step(x, now):
        with plate("series", 2):
            x = sample("x", dist.Normal(0.8 * x, s))
            with handlers.mask(mask=now[1]):
                sample("y", dist.Normal(x, 0.5), obs=now[0])
        return x, None

    scan(step, jnp.zeros(2), (y, there))
