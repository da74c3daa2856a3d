import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    x1 = rng.normal(size=(3, 1))
    offset1 = rng.normal(size=1)
    g1 = rng.integers(0, 2, 3)
    x2 = rng.normal(size=3)
    sd1 = rng.uniform(0.5, 2.0, 3)
    x3 = rng.normal(size=3)
    region1 = rng.integers(0, 2, 2)
    sd2 = rng.uniform(0.5, 2.0, 2)
    g2 = rng.integers(0, 2, 3)
    h1 = rng.integers(0, 2, 3)
    seen1 = rng.uniform(size=3) < 0.7
    return dict(x1=x1, offset1=offset1, g1=g1, x2=x2, sd1=sd1, x3=x3, region1=region1, sd2=sd2, g2=g2, h1=h1, seen1=seen1)


def model(x1, offset1, g1, x2, sd1, x3, region1, sd2, g2, h1, seen1, y1=None, y2=None):
    variance1 = numpyro.sample("variance1", dist.InverseGamma(3.0, 2.0))
    beta1 = numpyro.sample("beta1", dist.Normal(offset1, variance1**0.5).to_event(1))
    with numpyro.plate("plate1", 2):
        u1 = numpyro.sample("u1", dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.array([[1.0, 0.0], [0.5, 0.7]])))
    m1 = numpyro.sample("m1", dist.Normal(-1.0, 10.0))
    precision1 = numpyro.sample("precision1", dist.Gamma(3.0, 2.0))
    with numpyro.plate("plate2", 3):
        step1 = numpyro.sample("step1", dist.Normal((m1 + 0.5) / 3.0, jnp.exp(-0.5 * jnp.log(precision1))))
    eta1 = (x1 * beta1).sum(-1) + u1[g1, 0] + u1[g1, 1] * x2 + jnp.tril(jnp.ones((3, 3))) @ step1
    numpyro.sample("y1", dist.TransformedDistribution(dist.Normal(jnp.broadcast_to(eta1, (3,))[::-1], 1.0), dist.transforms.AffineTransform(1.0, 2.0)), obs=y1)
    m2 = numpyro.sample("m2", dist.Normal(0.0, 10.0))
    step2 = numpyro.sample("step2", dist.Normal(m2, sd1))
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    b1 = numpyro.sample("b1", dist.Normal(0.0, jax.nn.softplus(soft1)))
    r1 = numpyro.sample("r1", dist.Normal(1.5, sd2))
    s1 = numpyro.sample("s1", dist.Exponential(1.0))
    with numpyro.plate("plate3", 2):
        a1 = numpyro.sample("a1", dist.Normal(r1[region1], s1))
    eta2 = jnp.cumsum(step2) + jnp.multiply(x3, b1) + jnp.take(a1, g2)
    with numpyro.plate("plate4", 2):
        tau1 = numpyro.sample("tau1", dist.HalfNormal(1.0))
    with handlers.mask(mask=seen1):
        numpyro.sample("y2", dist.TransformedDistribution(dist.Normal(jnp.broadcast_to(eta2, (3,)), tau1[h1]), dist.transforms.AffineTransform(1.0, 2.0)), obs=y2)
    numpyro.factor("extra1", -0.3 * jnp.sum(beta1))
    numpyro.sample("twist1", dist.Normal(jnp.sum(step1**2) + jnp.sum(step1), 1.0), obs=jnp.array(0.3))


MUST = ('beta1', 'u1', 'm1', 'm2', 'step2', 'b1', 'r1', 'a1')
NEVER = ('step1',)
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = False
FEATURES = ('effect coefficients', 'location data', 'scale variance', 'batch by to_event', 'effect slopes', 'slopes fixed', 'effect walk', 'location affine', 'scale precision', 'batch by plate', 'likelihood affine', 'scale constant', 'rows plain', 'location latent', 'scale data', 'batch by plain', 'effect scalar', 'location constant', 'hyperparameter softplus', 'effect groups', 'location regions', 'scale one', 'hyperparameter exponential', 'scale by group', 'rows mask handler', 'harmless linear factor', 'twist square')
