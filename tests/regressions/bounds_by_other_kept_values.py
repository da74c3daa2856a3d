import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    g1 = rng.integers(0, 2, 2)
    seen1 = rng.uniform(size=2) < 0.7
    return dict(g1=g1, seen1=seen1)


def model(g1, seen1, y1=None):
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    v1 = numpyro.sample("v1", dist.TruncatedNormal(0.5, 2.0, low=-jnp.exp(log_s1), high=3.0).expand([2]))
    numpyro.sample("y1", dist.Normal(v1[g1], 2.5).mask(seen1), obs=y1)



MUST = ('v1',)
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = True
FEATURES = ('family truncated mean', 'hyperparameter exp', 'batch by expand', 'hyperparameter constant', 'rows masked')
