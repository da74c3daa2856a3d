"""Several eliminations in one model, and latents that nothing observed depends on."""

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import BINARY, COUNT, GROUP, G, P, X, Y, case, flat

# -- composition -----------------------------------------------------------------------------------


@case("b s2", Y, X, relation="conjugate-regression")
def compose_inverse_gamma(y, x):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    b = sample("b", dist.Normal(0.0, jnp.sqrt(s2 * 4.0)).expand([P]).to_event(1))
    sample("y", dist.Normal(x @ b, jnp.sqrt(s2)), obs=y)


@case("b s2", Y, X)
def compose_inverse_gamma_kept_ratio(y, x):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    v = sample("v", dist.LogNormal(0.0, 0.5))
    b = sample("b", dist.Normal(jnp.zeros(P), jnp.sqrt(s2 * v)))
    sample("y", dist.Normal(x @ b, jnp.sqrt(s2)), obs=y)


@case("b tau", Y, X, relation="normal-gamma")
def compose_gamma(y, x):
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    b = sample("b", dist.Normal(jnp.ones(P), 1 / jnp.sqrt(tau * 0.5)))
    sample("y", dist.Normal(x @ b, tau**-0.5), obs=y)


@case("b tau", Y, X)
def compose_flat(y, x):
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    b = sample("b", flat((P,)))
    sample("y", dist.Normal(x @ b, 1 / jnp.sqrt(tau)), obs=y)


@case("mu a s2", Y, GROUP, relation="normal-gamma")
def compose_groups(y, g):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    ratio = sample("ratio", dist.HalfNormal(1.0))
    mu = sample("mu", dist.Normal(0.0, 10 * jnp.sqrt(s2)))
    with plate("g", G):
        a = sample("a", dist.Normal(mu, ratio * jnp.sqrt(s2)))
    sample("y", dist.Normal(a[g], jnp.sqrt(s2)), obs=y)


@case("tau start steps", Y, relation="gamma-gaussian-chain")
def compose_chain(y):
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    start = sample("start", dist.Normal(0.0, 3 / jnp.sqrt(tau)))
    steps = sample("steps", dist.Normal(0.0, 0.5 / jnp.sqrt(tau)).expand([len(y)]).to_event(1))
    sample("y", dist.Normal(start + jnp.cumsum(steps), 1 / jnp.sqrt(tau)), obs=y)


@case("rate a p", COUNT, Y, BINARY)
def compose_nothing_shared(count, y, binary):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    a = sample("a", dist.Normal(0.0, 1.0))
    p = sample("p", dist.Beta(1.0, 1.0))
    sample("count", dist.Poisson(rate), obs=count)
    sample("y", dist.Normal(a, 1.0), obs=y)
    sample("binary", dist.Bernoulli(p), obs=binary)


# -- nothing observed depends on it ----------------------------------------------------------------


@case("b new", Y, X)
def childless_prediction(y, x):
    b = sample("b", dist.Normal(jnp.zeros(P), 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(x @ b, s), obs=y)
    sample("new", dist.Normal(x[:3] @ b, s))


@case("rate new later", COUNT)
def childless_counts(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    new = sample("new", dist.Poisson(rate))
    sample("later", dist.Normal(new, 1.0))


@case("a tau z", Y)
def childless_anything(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    tau = sample("tau", dist.HalfCauchy(1.0))
    sample("z", dist.StudentT(4.0, 0.0, tau))


@case("a b")
def childless_no_data():
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("b", dist.Normal(a, 1.0).expand([3]))
