import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    seen1 = rng.uniform(size=6) < 0.7
    g1 = rng.integers(0, 2, 2)
    x1 = rng.normal(size=2)
    g2 = rng.integers(0, 1, 2)
    c1 = np.eye(2) + 0.5
    return dict(seen1=seen1, g1=g1, x1=x1, g2=g2, c1=c1)


def model(seen1, g1, x1, g2, c1, y1=None, y2=None):
    s1 = numpyro.sample("s1", dist.HalfNormal(1.0))
    prob1 = numpyro.sample("prob1", dist.Beta(s1, 1.5), sample_shape=(6,))
    with handlers.mask(mask=seen1):
        numpyro.sample("y1", dist.Geometric(prob1), obs=y1)
    mean1 = numpyro.sample("mean1", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    u1 = numpyro.sample("u1", dist.MultivariateNormal(mean1, scale_tril=jnp.exp(log_s1) * jnp.array([[1.0, 0.0], [0.5, 0.7]])), sample_shape=(2,))
    z1 = numpyro.sample("z1", dist.Normal(0.0, 1.0), sample_shape=(1,))
    s2 = numpyro.sample("s2", dist.HalfNormal(1.0))
    eta1 = u1[g1][..., 0] + x1 * u1[g1][..., 1] + s2 * jax.nn.one_hot(g2, 1) @ z1
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    numpyro.sample("y2", dist.MultivariateNormal(jnp.broadcast_to(eta1, (2,)).reshape(-1, 1).T.squeeze(0), covariance_matrix=jax.nn.softplus(soft1) * c1), obs=y2)
    numpyro.deterministic("extra1", u1 + 1.0)
    numpyro.sample("twist1", dist.Normal(jnp.arange(5.0)[jnp.astype(jnp.clip(jnp.sum(z1) * 2.0, 0, 4), jnp.int32)], 1.0), obs=jnp.array(0.3))


MUST = ('prob1', 'mean1', 'u1')
NEVER = ('z1',)
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = False
FEATURES = ('family beta', 'hyperparameter half normal', 'batch by sample_shape', 'likelihood geometric', 'rows mask handler', 'effect slopes', 'slopes scaled', 'hyperparameter exp', 'effect noncentred', 'likelihood multivariate', 'hyperparameter softplus', 'harmless deterministic', 'twist index')
