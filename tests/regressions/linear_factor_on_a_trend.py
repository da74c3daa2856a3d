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
    s1 = numpyro.sample("s1", dist.HalfNormal(1.0))
    s2 = numpyro.sample("s2", dist.LogNormal(0.0, 0.5))
    rho1 = numpyro.sample("rho1", dist.Uniform(-1.0, 1.0))
    def step_of_level1(carry, row):
        before, slope = carry
        slope = trend1 = numpyro.sample("trend1", dist.Normal(slope, 0.5))
        level1 = numpyro.sample("level1", dist.Normal(rho1 * before + slope, s2))
        numpyro.sample("y1", dist.Normal(level1, s1), obs=row)
        return (level1, slope), (level1, trend1)
    level1, trend1 = scan(step_of_level1, (0.5, 0.1), y1, length=3)[1]
    numpyro.factor("extra1", -0.3 * jnp.sum(trend1))


model = handlers.trace(model)

MUST = ('level1', 'trend1')
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = False
FEATURES = ('hyperparameter half normal', 'hyperparameter log normal', 'level with trend', 'harmless linear factor', 'handler trace')
