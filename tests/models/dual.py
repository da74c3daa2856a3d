"""Gaussian latents whose covariance the model computes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import RNG, case, flat

POINTS = np.sort(RNG.uniform(0.0, 3.0, 9))
GRID = np.linspace(0.0, 3.0, 12)
FIELD = np.sin(POINTS) + 0.2 * RNG.normal(size=9)


def kernel(x, size, length):
    """Covariance of a smooth function at some points."""
    return size**2 * jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + 1e-3 * jnp.eye(len(x))


def sampled_kernel(x):
    """The same with two latents."""
    return kernel(x, sample("size", dist.HalfNormal(1.0)), sample("length", dist.LogNormal(0.0, 0.5)))


@case("f", FIELD, POINTS)
def dual_field(y, x):
    s = sample("s", dist.HalfNormal(1.0))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
    sample("y", dist.Normal(f, s), obs=y)


@case("f mean slope", np.append(FIELD, FIELD[:5] + 0.1), POINTS, np.append(np.arange(9), np.arange(5)))
def dual_field_with_a_trend(y, x, rows):
    """Some points are seen twice, with the same covariate."""
    s = sample("s", dist.HalfNormal(1.0))
    mean, slope = sample("mean", dist.Normal(1.0, 10.0)), sample("slope", dist.Normal(0.0, s))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
    sample("y", dist.Normal(mean + slope * x[rows] + f[rows], s), obs=y)


@case("f b level", np.append(FIELD, FIELD[:5] + 0.1), POINTS, np.append(np.arange(9), np.arange(5)), RNG.normal(size=(14, 2)))
def dual_field_seen_twice_with_covariates(y, x, rows, z):
    s = sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.MultivariateNormal(jnp.zeros(2), scale_tril=s * jnp.asarray([[1.0, 0.0], [0.3, 2.0]])))
    level = sample("level", dist.Normal(0.0, 1.0))
    f = sample("f", dist.MultivariateNormal(level + jnp.cos(x), sampled_kernel(x)))
    sample("y", dist.Normal(z @ b + f[rows], s), obs=y)


@case("f", FIELD[:5], GRID)
def dual_field_seen_at_some_points(y, x):
    s = sample("s", dist.HalfNormal(1.0))
    tril = jax.scipy.linalg.cholesky(sampled_kernel(x), lower=True)
    f = sample("f", dist.MultivariateNormal(jnp.zeros(12), scale_tril=tril))
    sample("y", dist.Normal(f[jnp.array([7, 1, 2, 10, 4])], s), obs=y)


@case("f g own", FIELD, POINTS)
def dual_fields_added(y, x):
    s = sample("s", dist.HalfNormal(1.0))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
    g = sample("g", dist.MultivariateNormal(jnp.ones(9), kernel(x, s, 3.0)))
    own = sample("own", dist.Normal(0.0, s).expand([9]).to_event(1))
    numpyro.deterministic("function", f + g)
    sample("y", dist.Normal(f + 0.5 * g + own, jnp.where(x > 1.0, s, 2 * s)), obs=y)


@case("f", np.stack([FIELD, FIELD + 1.0, -FIELD]), POINTS)
def dual_fields_of_groups(y, x):
    """Blocks, each with a noise of its own."""
    s = sample("s", dist.HalfNormal(1.0).expand([3]))
    k = sampled_kernel(x)
    with plate("groups", 3):
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), k))
        sample("y", dist.Normal(f, s[:, None]).to_event(1), obs=y)


@case("f mean", np.stack([FIELD, FIELD + 1.0, -FIELD]), POINTS)
def dual_fields_of_one_covariance(y, x):
    """They share a matrix."""
    s, mean, k = sample("s", dist.HalfNormal(1.0)), sample("mean", dist.Normal(0.0, 2.0)), sampled_kernel(x)
    f = sample("f", dist.MultivariateNormal(jnp.full((3, 9), mean), k))
    sample("y", dist.Normal(f, s), obs=y)


@case("f mean", FIELD, POINTS, np.array([1, 1, 3, 3, 3, 3, 1, 3, 3]), np.array([0, 4, 0, 1, 2, 7, 8, 8, 8]))
def dual_fields_seen_unevenly(y, x, g, at):
    """Of one nothing is seen."""
    s, mean, k = sample("s", dist.HalfNormal(1.0)), sample("mean", dist.Normal(0.0, 2.0)), sampled_kernel(x)
    f = sample("f", dist.MultivariateNormal(jnp.zeros((4, 9)), jnp.stack([k, 2 * k, 0.5 * k, k])))
    sample("y", dist.Normal(mean + f[g, at], s), obs=y)


@case("f mean", np.stack([FIELD, FIELD + 1.0]), POINTS, np.array([0.5, 1.5]))
def dual_fields_with_a_common_mean(y, x, lengths):
    size, s = sample("size", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    mean = sample("mean", dist.Normal(0.0, 2.0))
    with plate("groups", 2):
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), jax.vmap(lambda t: kernel(x, size, t))(lengths)))
        sample("y", dist.Normal(mean + f, s).to_event(1), obs=y)


@case("f b", FIELD[:4], GRID, RNG.uniform(0.5, 1.5, size=(4, 12)) * (np.arange(12) // 3 == np.arange(4)[:, None]), POINTS[:4])
def dual_field_seen_by_means(y, x, means, z):
    """Of intervals, with a flat trend."""
    s = sample("s", dist.HalfNormal(1.0))
    b = sample("b", flat((2,)))
    f = sample("f", dist.MultivariateNormal(b[0], sampled_kernel(x)))
    sample("y", dist.Normal(means @ f + b[1] * z, s), obs=y)
