import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    x1 = rng.normal(size=3)
    seen1 = rng.uniform(size=3) < 0.7
    g1 = rng.integers(0, 2, 1)
    return dict(x1=x1, seen1=seen1, g1=g1)


def model(x1, seen1, g1, y1=None, y2=None):
    s1 = numpyro.sample("s1", dist.Exponential(1.0))
    b1 = numpyro.sample("b1", dist.Normal(0.0, s1))
    m1 = numpyro.sample("m1", dist.Normal(0.0, 2.0))
    s2 = numpyro.sample("s2", dist.HalfNormal(1.0))
    step1 = numpyro.sample("step1", dist.Normal(jnp.negative(m1) * 0.1, s2), sample_shape=(3,))
    eta1 = x1 * b1 / 2.0 + jnp.cumsum(step1)
    with handlers.mask(mask=seen1):
        numpyro.sample("y1", dist.LogNormal(jnp.broadcast_to(eta1, (3,)).reshape(-1, 1).T.squeeze(0), 1.0), obs=y1)
    s3 = numpyro.sample("s3", dist.LogNormal(0.0, 0.5))
    rate1 = numpyro.sample("rate1", dist.Gamma(2.0, s3).expand([2]))
    numpyro.sample("y2", dist.HalfNormal(jnp.sqrt(1 / rate1[g1])).to_event(1), obs=y2)
    numpyro.factor("extra1", -0.3 * jnp.sum(b1))


MUST = ('b1', 'm1', 'step1', 'rate1')
NEVER = ()
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = False
FEATURES = ('effect scalar', 'hyperparameter exponential', 'effect walk', 'location affine', 'scale one', 'hyperparameter half normal', 'batch by sample_shape', 'likelihood log normal', 'scale constant', 'rows mask handler', 'family gamma', 'hyperparameter log normal', 'batch by expand', 'likelihood half_normal_of_precision', 'rows to_event', 'harmless linear factor')
