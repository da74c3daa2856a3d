"""Data whose level is far larger than their noise cost float32 no digits.

Oracle: the density of the data as one dense multivariate normal, in float64 NumPy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import plate, sample
from numpyro.infer.util import log_density

import conjugate_ppl as cj

G, H = 6, 4
GROUP = np.repeat(np.arange(G), [3, 5, 4, 6, 5, 7]).astype(np.int32)
OTHER = np.arange(30, dtype=np.int32) % H
ABOVE = np.array([0, 0, 1, 1, 2, 2], np.int32)
RNG = np.random.default_rng(5)
NOISE = RNG.normal(size=30) + RNG.normal(size=G)[GROUP]
X = RNG.normal(size=30).astype(np.float32)  # closed over in both precisions
KEPT = {"t": 0.4, "s": 0.6}


def hierarchy(y):
    mu, t = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t")
    with plate("groups", G):
        theta = sample("theta", dist.Normal(mu, t))
    sample("y", dist.Normal(theta[GROUP], sample_scale("s")), obs=y)


def not_centred(y):
    mu, t = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t")
    z = sample("z", dist.Normal(0.0, 1.0).expand([G]).to_event(1))
    sample("y", dist.Normal(mu + t * z[GROUP], sample_scale("s")), obs=y)


def crossed(y):
    mu, t = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t")
    a = sample("a", dist.Normal(0.0, t).expand([G]).to_event(1))
    b = sample("b", dist.Normal(0.0, 2 * t).expand([H]).to_event(1))
    sample("y", dist.Normal(mu + a[GROUP] + b[OTHER], sample_scale("s")), obs=y)


def three_levels(y):
    top, t = sample("top", dist.Normal(0.0, 3e4)), sample_scale("t")
    middle = sample("middle", dist.Normal(top, 1.5).expand([3]).to_event(1))
    low = sample("low", dist.Normal(middle[ABOVE], t))
    sample("y", dist.Normal(low[GROUP], sample_scale("s")), obs=y)


def slopes(y):
    line, t = sample("line", dist.Normal(0.0, 3e4).expand([2]).to_event(1)), sample_scale("t")
    root = jnp.array([[1.0, 0.0], [0.5, 0.8]])
    with plate("groups", G):
        b = sample("b", dist.MultivariateNormal(line, scale_tril=t * root))
    sample("y", dist.Normal(b[GROUP, 0] + b[GROUP, 1] * X, sample_scale("s")), obs=y)


def correlated(y):
    """The precision of the rows is the inverse of a matrix that is computed from what is kept."""
    mu, t, s = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t"), sample_scale("s")
    theta = sample("theta", dist.Normal(mu, t).expand([G]).to_event(1))
    sample("y", dist.MultivariateNormal(theta[GROUP], covariance_matrix=s**2 * jnp.eye(30) + 0.5 * s), obs=y)


def sample_scale(name):
    return sample(name, dist.Uniform(0.0, 10.0))


def covariance(model):
    """Of the data, but for the noise's own part."""
    t = KEPT["t"]
    same = (GROUP[:, None] == GROUP).astype(float)
    if model is crossed:
        return 9e8 + t**2 * same + 4 * t**2 * (OTHER[:, None] == OTHER)
    if model is three_levels:
        above = ABOVE[GROUP]
        return 9e8 + 1.5**2 * (above[:, None] == above) + t**2 * same
    if model is slopes:
        root = t * np.array([[1.0, 0.0], [0.5, 0.8]])
        design = np.stack([np.ones(30), X], 1)
        return 9e8 * design @ design.T + (design @ root @ root.T @ design.T) * same
    return 9e8 + t**2 * same + (0.5 * KEPT["s"] if model is correlated else 0.0)


@pytest.mark.parametrize("level", [0.0, 1e3, 1e5])
@pytest.mark.parametrize("model", [hierarchy, not_centred, crossed, three_levels, slopes, correlated])
def test_marginal_of_data_at_a_level(model, level, x64):
    y = (level + NOISE).astype(np.float32)
    collapsed = cj.collapse(model)
    marginal = log_density(collapsed, (jnp.asarray(y),), {}, KEPT)[0] - 2 * np.log(0.1)
    dense = covariance(model) + KEPT["s"] ** 2 * np.eye(30)
    square = y.astype(float) @ np.linalg.solve(dense, y.astype(float))
    expected = -0.5 * (square + np.linalg.slogdet(2 * np.pi * dense)[1])
    assert float(marginal) == pytest.approx(expected, abs=1e-4 if x64 else 0.01)


@pytest.mark.parametrize("model", [hierarchy, crossed, slopes])
def test_check_of_data_at_a_level(model, x64):
    y = jnp.asarray((3e3 + NOISE).astype(np.float32))
    assert cj.check(model, jax.random.key(0), y).points
