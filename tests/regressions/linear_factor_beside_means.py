import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    g1 = rng.integers(0, 2, 6)
    x1 = rng.normal(size=(6, 1))
    region1 = rng.integers(0, 2, 1)
    offset1 = rng.normal(size=2)
    seen1 = rng.uniform(size=6) < 0.7
    c1 = np.eye(6) + 0.5
    return dict(g1=g1, x1=x1, region1=region1, offset1=offset1, seen1=seen1, c1=c1)


def model(g1, x1, region1, offset1, seen1, c1, y1=None, y2=None):
    b1 = numpyro.sample("b1", dist.Normal(0.0, 3.0))
    with numpyro.plate("plate1", 2):
        z1 = numpyro.sample("z1", dist.Normal(0.0, 1.0))
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    precision1 = numpyro.sample("precision1", dist.Gamma(3.0, 2.0))
    r1 = numpyro.sample("r1", dist.Normal(offset1, precision1**-0.5).to_event(1))
    s1 = numpyro.sample("s1", dist.Exponential(1.0))
    beta1 = numpyro.sample("beta1", dist.Normal(r1[region1], s1))
    eta1 = b1 + jnp.exp(log_s1) * z1[g1] + jnp.einsum('ij,j->i', x1, beta1)
    s2 = numpyro.sample("s2", dist.HalfNormal(1.0))
    numpyro.sample("y1", dist.Normal(jnp.broadcast_to(eta1, (6,)).reshape(-1, 1).T.squeeze(0), s2), obs=y1, obs_mask=seen1)
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    numpyro.sample("y2", dist.MultivariateNormal(jnp.broadcast_to(eta1, (6,))[::-1], covariance_matrix=jax.nn.softplus(soft1) * c1), obs=y2)
    numpyro.factor("extra1", -0.3 * jnp.sum(z1))
    numpyro.sample("twist1", dist.Normal(jnp.max(r1) + jnp.sum(jnp.maximum(r1, 0.4)), 1.0), obs=jnp.array(0.3))



MUST = ('b1', 'z1', 'beta1')
NEVER = ('r1',)
OBSERVED = {'y1': 'y1_observed', 'y2': 'y2'}
RANKED = False
FEATURES = ('effect scalar', 'effect noncentred', 'batch by plate', 'hyperparameter exp', 'effect coefficients', 'location regions', 'location data', 'scale precision', 'batch by to_event', 'scale one', 'hyperparameter exponential', 'batch by plain', 'likelihood normal', 'hyperparameter half normal', 'rows obs_mask', 'likelihood multivariate', 'hyperparameter softplus', 'harmless linear factor', 'twist maximum')
