import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    offset1 = rng.normal(size=1)
    g1 = rng.integers(0, 1, 2)
    return dict(offset1=offset1, g1=g1)


def model(offset1, g1, y1=None):
    variance1 = numpyro.sample("variance1", dist.InverseGamma(3.0, 2.0))
    with numpyro.plate("plate1", 1):
        a1 = numpyro.sample("a1", dist.Normal(offset1, jnp.sqrt(variance1)))
    m1 = numpyro.sample("m1", dist.Normal(-1.0, 2.0))
    step1 = numpyro.sample("step1", dist.Normal(m1, 2.0).expand([2]).to_event(1))
    eta1 = jnp.take(a1, g1) + jnp.tril(jnp.ones((2, 2))) @ step1
    variance2 = numpyro.sample("variance2", dist.InverseGamma(3.0, 2.0))
    numpyro.sample("y1", dist.LogNormal(jnp.broadcast_to(eta1, (2,))[::-1], variance2**0.5).to_event(1), obs=y1)
    numpyro.sample("extra1", dist.Normal(0.0 * jnp.sum(step1), 1.0), obs=jnp.array(0.3))
    numpyro.sample("twist1", dist.Normal(jnp.sum(jnp.where(step1 > 0.4, 1.0, 0.0)), 1.0), obs=jnp.array(0.3))



MUST = ('a1', 'm1')
NEVER = ('step1',)
OBSERVED = {'y1': 'y1'}
RANKED = False
FEATURES = ('effect groups', 'location data', 'scale variance', 'batch by plate', 'effect walk', 'location latent', 'scale constant', 'batch by to_event', 'likelihood log normal', 'rows to_event', 'harmless multiplied by zero', 'twist comparison')
