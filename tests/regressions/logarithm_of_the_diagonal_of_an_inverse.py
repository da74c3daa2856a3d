import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist


def constants(rng):
    return dict(neighbours=3 * np.eye(4) - np.eye(4, k=1) - np.eye(4, k=-1))


def model(neighbours, y1=None):
    log_t1 = numpyro.sample("log_t1", dist.Normal(0.0, 0.5))
    v1 = numpyro.sample("v1", dist.Normal(0.0, 1.0).expand([4]))
    numpyro.sample("y1", dist.MultivariateNormal(v1, precision_matrix=jnp.exp(log_t1) * neighbours), obs=y1)


MUST = ('v1',)
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = True
FEATURES = ('prior normal', 'likelihood multivariate normal by its precision', 'hyperparameter exp')
