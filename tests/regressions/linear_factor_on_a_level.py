import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

from numpyro.contrib.control_flow import scan

def constants(rng):
    return dict()


def model(y1=None):
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    s1 = numpyro.sample("s1", dist.LogNormal(0.0, 0.5))
    rho1 = numpyro.sample("rho1", dist.Uniform(-1.0, 1.0))
    def step_of_level1(carry, row):
        before, slope = carry
        level1 = numpyro.sample("level1", dist.Normal(rho1 * before + slope, s1))
        numpyro.sample("y1", dist.LogNormal(0.5 * level1 - 1.0, jax.nn.softplus(soft1)), obs=row)
        return (level1, slope), level1
    level1 = scan(step_of_level1, (0.5, 0.1), y1, length=1)[1]
    numpyro.factor("extra1", -0.3 * jnp.sum(level1))



MUST = ('level1',)
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = False
FEATURES = ('hyperparameter softplus', 'hyperparameter log normal', 'level', 'harmless linear factor')
