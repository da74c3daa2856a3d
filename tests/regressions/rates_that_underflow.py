import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    exposure1 = rng.uniform(0.5, 2.0, 6)
    return dict(exposure1=exposure1)


def model(exposure1, y1=None):
    s1 = numpyro.sample("s1", dist.HalfNormal(1.0))
    rate1 = numpyro.sample("rate1", dist.Gamma(s1, 1.5))
    with numpyro.plate("rows1", 6):
        numpyro.sample("y1", dist.InverseGamma(2.5, exposure1 * rate1).expand([6]), obs=y1)
    numpyro.factor("extra1", -0.3 * jnp.sum(rate1))



MUST = ()
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = False
FEATURES = ('family gamma', 'hyperparameter half normal', 'likelihood inverse_gamma_of_rate', 'rows plate', 'harmless linear factor')
