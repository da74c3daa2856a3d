import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def constants(rng):
    x1 = rng.normal(size=(2, 2))
    c1 = np.eye(2) + 0.4
    return dict(x1=x1, c1=c1)


def model(x1, c1, y1=None, y2=None):
    log_s1 = numpyro.sample("log_s1", dist.Normal(0.0, 0.5))
    rho1 = numpyro.sample("rho1", dist.Uniform(-1.0, 1.0))
    state1 = numpyro.sample("state1", dist.Normal(rho1 * 0.0, jnp.exp(log_s1)))
    state2 = numpyro.sample("state2", dist.Normal(rho1 * state1, jnp.exp(log_s1)))
    state3 = numpyro.sample("state3", dist.Normal(rho1 * state2, jnp.exp(log_s1)))
    eta1 = jnp.stack([state1, state2, state3])
    numpyro.sample("y1", dist.Normal(jnp.broadcast_to(eta1, (3,)).reshape(-1, 1).T.squeeze(0), 1.0), obs=y1)
    log_s2 = numpyro.sample("log_s2", dist.Normal(0.0, 0.5))
    matrix1 = numpyro.sample("matrix1", dist.Normal(0.0, jnp.exp(log_s2)).expand([2, 2]).to_event(2))
    soft1 = numpyro.sample("soft1", dist.Normal(0.0, 1.0))
    numpyro.sample("y2", dist.MultivariateNormal(jnp.tensordot(x1, matrix1, 1), covariance_matrix=jax.nn.softplus(soft1) * c1), obs=y2)



MUST = ('state1', 'state2', 'state3', 'matrix1')
NEVER = ()
OBSERVED = {'y1': 'y1', 'y2': 'y2'}
RANKED = True
FEATURES = ('effect chain', 'hyperparameter exp', 'likelihood normal', 'scale constant', 'rows plain', 'matrix expand', 'hyperparameter softplus')
