import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

from numpyro.contrib.control_flow import scan

def constants(rng):
    offset1 = rng.normal(size=1)
    h1 = rng.integers(0, 2, 1)
    sd1 = rng.uniform(0.5, 2.0, 1)
    seen1 = rng.uniform(size=1) < 0.7
    g1 = rng.integers(0, 2, 3)
    weight1 = rng.uniform(0.5, 2.0, 3)
    return dict(offset1=offset1, h1=h1, sd1=sd1, seen1=seen1, g1=g1, weight1=weight1)


def model(offset1, h1, sd1, seen1, g1, weight1, y1=None, y2=None, y3=None):
    precision1 = numpyro.sample("precision1", dist.Gamma(3.0, 2.0))
    step1 = numpyro.sample("step1", dist.Normal(offset1, jnp.sqrt(1 / precision1)).to_event(1))
    s1 = numpyro.sample("s1", dist.HalfNormal(1.0))
    def step_of_walk1(state, _):
        state = numpyro.sample("walk1", dist.Normal(state, s1))
        return state, state
    path1 = scan(step_of_walk1, 0.0, None, length=1)[1]
    s2 = numpyro.sample("s2", dist.HalfNormal(1.0))
    def step_of_walk2(state, _):
        state = numpyro.sample("walk2", dist.Normal(state, s2))
        return state, state
    path2 = scan(step_of_walk2, 0.0, None, length=1)[1]
    eta1 = jnp.cumsum(step1) + path1 + path2
    tau1 = numpyro.sample("tau1", dist.HalfNormal(1.0), sample_shape=(2,))
    numpyro.sample("y1", dist.LogNormal(jnp.broadcast_to(eta1, (1,)), tau1[h1]).mask(False), obs=y1)
    numpyro.sample("y2", dist.LogNormal(jnp.broadcast_to(eta1, (1,)).reshape(-1, 1).T.squeeze(0), sd1), obs=y2, obs_mask=seen1)
    class1 = numpyro.sample("class1", dist.Categorical(probs=jnp.array([0.2, 0.3, 0.5])).expand([2]))
    with handlers.scale(scale=weight1):
        numpyro.sample("y3", dist.Normal(jnp.arange(3.0)[class1[g1]], (0.5 + class1[g1])), obs=y3)



MUST = ('class1',)
NEVER = ()
OBSERVED = {'y1': 'y1', 'y2': 'y2_observed', 'y3': 'y3'}
RANKED = False
FEATURES = ('effect walk', 'location data', 'scale precision', 'batch by to_event', 'effect scan', 'hyperparameter half normal', 'likelihood log normal', 'scale by group', 'batch by sample_shape', 'rows empty mask', 'scale data', 'rows obs_mask', 'weights known', 'classes of groups', 'batch by expand', 'emission scaled', 'rows weighted')
