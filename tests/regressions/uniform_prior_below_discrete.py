import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    x1 = rng.normal(size=1)
    sd1 = rng.uniform(0.5, 2.0, 1)
    return dict(x1=x1, sd1=sd1)


def model(x1, sd1, y1=None):
    z1 = numpyro.sample("z1", dist.Categorical(jnp.array([0.2, 0.3, 0.5])).expand([1]).to_event(1))
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    rho1 = numpyro.sample("rho1", dist.Uniform(-1.0, 1.0))
    state1 = numpyro.sample("state1", dist.Normal(rho1 * 0.0, jnp.exp(log_s1)))
    b1 = numpyro.sample("b1", dist.Normal(0.0, 2.5))
    eta1 = jnp.array([0.0, 1.0, -2.0])[z1] + jnp.stack([state1]) + b1 * x1
    with numpyro.plate("rows1", 1):
        numpyro.sample("y1", dist.LogNormal(jnp.zeros(1) + eta1, sd1), obs=y1)



MUST = ()
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = True
FEATURES = ('effect discrete', 'batch by to_event', 'effect chain', 'hyperparameter exp', 'effect scalar', 'hyperparameter constant', 'likelihood log normal', 'scale data', 'rows plate')

