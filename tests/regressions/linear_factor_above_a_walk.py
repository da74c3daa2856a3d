import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    region1 = rng.integers(0, 2, 2)
    g1 = rng.integers(0, 3, 2)
    x1 = rng.normal(size=2)
    h1 = rng.integers(0, 2, 2)
    c1 = np.eye(2) + 0.5
    return dict(region1=region1, g1=g1, x1=x1, h1=h1, c1=c1)


def model(region1, g1, x1, h1, c1, y1=None, y2=None):
    m1 = numpyro.sample("m1", dist.Normal(0.0, 10.0))
    variance1 = numpyro.sample("variance1", dist.InverseGamma(3.0, 2.0))
    r1 = numpyro.sample("r1", dist.Normal(m1, jnp.sqrt(variance1)).expand([2]))
    variance2 = numpyro.sample("variance2", dist.InverseGamma(3.0, 2.0))
    with numpyro.plate("plate1", 2):
        step1 = numpyro.sample("step1", dist.Normal(r1[region1], variance2**0.5))
    mean1 = numpyro.sample("mean1", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    tau1 = numpyro.sample("tau1", dist.HalfNormal(jnp.ones(2)))
    u1 = numpyro.sample("u1", dist.MultivariateNormal(mean1, scale_tril=tau1[:, None] * jnp.array([[1.0, 0.0], [-0.5, 0.7]])), sample_shape=(3,))
    eta1 = step1[::-1].cumsum() + (u1[g1] * jnp.stack([jnp.ones(2), x1], -1)).sum(-1)
    tau2 = numpyro.sample("tau2", dist.HalfNormal(1.0).expand([2]))
    with numpyro.plate("rows1", 2):
        numpyro.sample("y1", dist.TransformedDistribution(dist.Normal(jnp.broadcast_to(eta1, (2,))[::-1], tau2[h1]), dist.transforms.AffineTransform(1.0, 2.0)), obs=y1)
    s1 = numpyro.sample("s1", dist.Exponential(1.0))
    numpyro.sample("y2", dist.MultivariateNormal(jnp.zeros(2) + eta1, covariance_matrix=s1 * c1), obs=y2)
    numpyro.factor("extra1", -0.3 * jnp.sum(mean1))
    numpyro.sample("twist1", dist.Normal(jnp.sum(jax.nn.softplus(r1)), 1.0), obs=jnp.array(0.3))



MUST = ('m1', 'step1', 'mean1', 'u1')
NEVER = ('r1',)
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = False
FEATURES = ('effect walk', 'location regions', 'location latent', 'scale variance', 'batch by expand', 'batch by plate', 'effect slopes', 'slopes diagonal', 'likelihood affine', 'scale by group', 'rows plate', 'likelihood multivariate', 'hyperparameter exponential', 'harmless linear factor', 'twist softplus')
