import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    g1 = rng.integers(0, 2, 6)
    sd1 = rng.uniform(0.5, 2.0, 6)
    c1 = np.eye(6) + 0.5
    return dict(g1=g1, sd1=sd1, c1=c1)


def model(g1, sd1, c1, y1=None):
    z1 = numpyro.sample("z1", dist.Normal(0.0, 1.0).expand([2]))
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    m1 = numpyro.sample("m1", dist.Normal(-1.0, 10.0))
    with numpyro.plate("plate1", 6):
        step1 = numpyro.sample("step1", dist.Normal(m1, sd1))
    eta1 = jax.nn.softplus(soft1) * jax.nn.one_hot(g1, 2) @ z1 + step1[::-1].cumsum()
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    numpyro.sample("y1", dist.MultivariateNormal(1.0 - 2.0 * (eta1 + jnp.zeros(6)), covariance_matrix=jnp.exp(log_s1) * c1), obs=y1)



MUST = ('z1', 'm1', 'step1')
NEVER = ()
OBSERVED = {'y1': 'y1'}
RANKED = True
FEATURES = ('effect noncentred', 'batch by expand', 'hyperparameter softplus', 'effect walk', 'location latent', 'scale data', 'batch by plate', 'likelihood multivariate', 'hyperparameter exp')
