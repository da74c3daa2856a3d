import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    seen1 = rng.uniform(size=6) < 0.7
    return dict(seen1=seen1)


def model(seen1, y1=None):
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    v1 = numpyro.sample("v1", dist.Uniform(-1.0, 1.0 + jnp.exp(log_s1)))
    s1 = numpyro.sample("s1", dist.HalfNormal(1.0))
    numpyro.sample("y1", dist.Normal(v1, s1).expand([6]).mask(seen1), obs=None if y1 is None else jnp.where(seen1, y1, jnp.nan))



MUST = ('v1',)
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = True
FEATURES = ('family truncated mean', 'hyperparameter exp', 'hyperparameter half normal', 'rows nan')
