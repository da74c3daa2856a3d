import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    g1 = rng.integers(0, 2, 6)
    x1 = rng.normal(size=6)
    g2 = rng.integers(0, 3, 6)
    x2 = rng.normal(size=6)
    seen1 = rng.uniform(size=6) < 0.7
    sd1 = rng.uniform(0.5, 2.0, 1)
    g3 = rng.integers(0, 1, 3)
    offset1 = rng.normal(size=3)
    sd2 = rng.uniform(0.5, 2.0, 3)
    return dict(g1=g1, x1=x1, g2=g2, x2=x2, seen1=seen1, sd1=sd1, g3=g3, offset1=offset1, sd2=sd2)


def model(g1, x1, g2, x2, seen1, sd1, g3, offset1, sd2, y1=None, y2=None):
    mean1 = numpyro.sample("mean1", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    u1 = numpyro.sample("u1", dist.MultivariateNormal(mean1, scale_tril=jnp.array([[1.0, 0.0], [0.5, 0.7]])), sample_shape=(2,))
    mean2 = numpyro.sample("mean2", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    with numpyro.plate("plate1", 3):
        u2 = numpyro.sample("u2", dist.MultivariateNormal(mean2, scale_tril=jnp.array([[1.0, 0.0], [0.5, 0.7]])))
    eta1 = (u1[g1] * jnp.stack([jnp.ones(6), x1], -1)).sum(-1) + (u2[g2] * jnp.stack([jnp.ones(6), x2], -1)).sum(-1)
    with handlers.mask(mask=seen1):
        numpyro.sample("y1", dist.Normal(1.0 - 2.0 * (eta1 + jnp.zeros(6)), 2.5), obs=y1)
    a1 = numpyro.sample("a1", dist.Normal(1.5, sd1))
    variance1 = numpyro.sample("variance1", dist.InverseGamma(3.0, 2.0))
    step1 = numpyro.sample("step1", dist.Normal(offset1, jnp.sqrt(variance1)))
    eta2 = a1[g3] + jnp.cumsum(step1)
    numpyro.sample("y2", dist.TransformedDistribution(dist.Normal(jnp.broadcast_to(eta2, (3,)), sd2), dist.transforms.AffineTransform(1.0, 2.0)).mask(False), obs=y2)
    numpyro.factor("extra1", -0.3 * jnp.sum(u1))


MUST = ('mean1', 'u1', 'mean2', 'u2', 'a1', 'step1')
NEVER = ()
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = False
FEATURES = ('effect slopes', 'slopes fixed', 'likelihood normal', 'scale one', 'hyperparameter constant', 'rows mask handler', 'effect groups', 'location constant', 'scale data', 'batch by plain', 'effect walk', 'location data', 'scale variance', 'likelihood affine', 'rows empty mask', 'harmless linear factor')
