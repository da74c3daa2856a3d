import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    sd1 = rng.uniform(0.5, 2.0, 6)
    sd2 = rng.uniform(0.5, 2.0, 6)
    c1 = np.eye(6) + 0.5
    return dict(sd1=sd1, sd2=sd2, c1=c1)


def model(sd1, sd2, c1, y1=None):
    m1 = numpyro.sample("m1", dist.Normal(0.0, 10.0))
    with numpyro.plate("plate1", 6):
        step1 = numpyro.sample("step1", dist.Normal(-m1, sd1))
    m2 = numpyro.sample("m2", dist.Normal(-1.0, 10.0))
    with numpyro.plate("plate2", 6):
        step2 = numpyro.sample("step2", dist.Normal(-m2, sd2))
    eta1 = jnp.tril(jnp.ones((6, 6))) @ step1 + step2[::-1].cumsum()
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    numpyro.sample("y1", dist.MultivariateNormal(jnp.where(jnp.arange(6) % 2 == 0, eta1, -(eta1) + 1.0), covariance_matrix=jax.nn.softplus(soft1) * c1), obs=y1)
    numpyro.sample("twist1", dist.Normal(jnp.sum(jnp.clip(step2, 0.2, 0.6)), 1.0), obs=jnp.array(0.3))



MUST = ('m1', 'step1', 'm2')
NEVER = ('step2',)
OBSERVED = {'y1': 'y1'}
RANKED = False
FEATURES = ('effect walk', 'location affine', 'scale data', 'batch by plate', 'likelihood multivariate', 'hyperparameter softplus', 'twist clip')
