import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

from numpyro.contrib.control_flow import scan

def constants(rng):
    g1 = rng.integers(0, 2, 6)
    x1 = rng.normal(size=6)
    region1 = rng.integers(0, 2, 6)
    sd1 = rng.uniform(0.5, 2.0, 6)
    weight1 = rng.uniform(0.5, 2.0, 6)
    return dict(g1=g1, x1=x1, region1=region1, sd1=sd1, weight1=weight1)


def model(g1, x1, region1, sd1, weight1, y1=None, y2=None):
    s1 = numpyro.sample("s1", dist.Exponential(1.0))
    s2 = numpyro.sample("s2", dist.HalfNormal(1.0))
    def step_of_level1(carry, row):
        before, slope = carry
        level1 = numpyro.sample("level1", dist.Normal(0.7 * before + slope, s2))
        numpyro.sample("y1", dist.Normal(level1, s1), obs=row)
        return (level1, slope), level1
    level1 = scan(step_of_level1, (0.5, 0.1), y1, length=3)[1]
    mean1 = numpyro.sample("mean1", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    with numpyro.plate("plate1", 2):
        u1 = numpyro.sample("u1", dist.MultivariateNormal(mean1, scale_tril=jax.nn.softplus(soft1) * jnp.array([[1.0, 0.0], [0.5, 0.7]])))
    r1 = numpyro.sample("r1", dist.Normal(1.5, 1.0).expand([2]).to_event(1))
    precision1 = numpyro.sample("precision1", dist.Gamma(3.0, 2.0))
    step1 = numpyro.sample("step1", dist.Normal(r1[region1], precision1**-0.5).to_event(1))
    s3 = numpyro.sample("s3", dist.HalfNormal(1.0))
    state1 = numpyro.sample("state1", dist.Normal(-0.5 * 0.0, s3))
    state2 = numpyro.sample("state2", dist.Normal(-0.5 * state1, s3))
    state3 = numpyro.sample("state3", dist.Normal(-0.5 * state2, s3))
    state4 = numpyro.sample("state4", dist.Normal(-0.5 * state3, s3))
    state5 = numpyro.sample("state5", dist.Normal(-0.5 * state4, s3))
    state6 = numpyro.sample("state6", dist.Normal(-0.5 * state5, s3))
    eta1 = u1[g1][..., 0] + x1 * u1[g1][..., 1] + jnp.cumsum(step1) + jnp.stack([state1, state2, state3, state4, state5, state6])
    with handlers.scale(scale=weight1):
        numpyro.sample("y2", dist.LogNormal(jnp.broadcast_to(eta1, (6,)).reshape(-1, 1).T.squeeze(0), sd1), obs=y2)
    numpyro.sample("twist1", dist.Normal(jnp.sum(jnp.round(state1 * 3.0)) / 3.0, 1.0), obs=jnp.array(0.3))



MUST = ('level1', 'mean1', 'u1', 'r1', 'step1', 'state2', 'state3', 'state4', 'state5', 'state6')
NEVER = ('state1',)
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = False
FEATURES = ('hyperparameter exponential', 'hyperparameter half normal', 'level', 'effect slopes', 'slopes scaled', 'hyperparameter softplus', 'effect walk', 'location regions', 'location constant', 'scale constant', 'batch by to_event', 'scale precision', 'effect chain', 'likelihood log normal', 'scale data', 'rows weighted', 'twist rounding')
