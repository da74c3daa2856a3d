"""Where elements are measured from: what multiplies and weighs them counts as what priors and data find likely.

Oracles: the density of the data as one dense multivariate normal; the collapsed density in float64 of the same data.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import sample
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision

FORMS = {  # of a covariate and a kept number, with that number's prior
    "quotient": (lambda x, k: x / k, dist.LogNormal(9.9, 0.5)),
    "quotient_of_squares": (lambda x, k: (x / k) ** 2, dist.Uniform(1e3, 1e5)),
    "root_of_quotient": (lambda x, k: jnp.sqrt(x / k), dist.HalfNormal(3e4)),
    "beyond_one": (lambda x, k: x / (1 + k), dist.Exponential(5e-5)),
    "exponential": (lambda x, k: x * jnp.exp(-k), dist.Normal(9.9, 0.5)),
    "power": (lambda x, k: x / 10**k, dist.Normal(4.3, 0.2)),
    "softplus": (lambda x, k: x * jax.nn.softplus(-k), dist.Normal(9.9, 0.5)),
}


@pytest.mark.parametrize("walk", [False, True], ids=["intercept", "walk"])
@pytest.mark.parametrize("form", FORMS)
def test_covariate_over_a_kept_number(form, walk, x64):
    """Likely values of the number decide where the intercept is measured from: 1 would put it at the level of the covariate."""
    rng = np.random.default_rng(0)
    x = rng.gamma(3.0, 6000.0, 30).astype(np.float32)
    y = (1 - x / 20000 + rng.normal(0, 0.4, 30)).astype(np.float32)
    function, prior = FORMS[form]

    def model(x, y):
        k, s = sample("k", prior), sample("s", dist.HalfNormal(0.5))
        level = sample("level", dist.GaussianRandomWalk(0.3, 30) if walk else dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(level - function(x, k), s), obs=y)

    def by_hand(k, s):
        covariance = s**2 * jnp.eye(30) + (0.09 * jnp.minimum(*np.mgrid[1:31, 1:31]) if walk else 1.0)
        return (jax.scipy.stats.multivariate_normal.logpdf(y.astype(float), -function(x.astype(float), k), covariance)
                + prior.log_prob(k) + dist.HalfNormal(0.5).log_prob(s))

    k = {"exponential": 9.9, "softplus": 9.9, "power": 4.3}.get(form, 20000.0)
    collapsed = cj.collapse(model)
    assert cj.explain(collapsed, x, y).collapsed == ("level",)
    with double_precision(True):
        expected = jax.value_and_grad(by_hand, (0, 1))(k, 0.5)
    found = jax.value_and_grad(lambda k, s: log_density(collapsed, (x, y), {}, {"k": k, "s": s})[0], (0, 1))(
        jnp.asarray(k), jnp.asarray(0.5))
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-9 if x64 else 3e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-7 if x64 else 1e-3, atol=1e-12)


def both(model, args, kept):
    """Value and gradient of the collapsed density in single and in double precision, of the same data in single precision."""
    found = []
    for double in (False, True):
        with double_precision(double):
            data = [jnp.asarray(a, float) if a.dtype == np.float32 else a for a in args]
            found.append(jax.value_and_grad(lambda k, data=data: log_density(cj.collapse(model), data, {}, k)[0])(
                {n: jnp.asarray(v, float) for n, v in kept.items()}))
    return found


def agree(model, args, kept, value, slope):
    single, double = both(model, args, kept)
    assert float(single[0]) == pytest.approx(float(double[0]), abs=value)
    for n, x in kept.items():
        np.testing.assert_allclose(single[1][n] * np.asarray(x), double[1][n] * np.asarray(x), rtol=slope, atol=slope)


@pytest.mark.parametrize("share", [-1.2, 0.1, 0.6])
def test_moving_average(share):
    """Of the noise before the first row nothing is said but through the share, near 0 where it is looked for."""
    def model(y):
        b, mean = sample("b", dist.Normal(0.0, 0.5)), sample("mean", dist.Normal(0.0, 1.0))
        e = sample("e", dist.Normal(0.0, 1.0).expand([10]).to_event(1))
        sample("y", dist.Normal(mean + e[1:] + b * e[:-1], 0.5), obs=y)

    y = np.random.default_rng(0).normal(1.0, 2.0, 9).astype(np.float32)
    agree(model, (y,), {"b": share}, 1e-4, 1e-4)


@pytest.mark.parametrize("correlation", [0.5, -0.2])
def test_two_equations_in_units_of_their_own(correlation):
    """Dollars and years with correlated errors, and a covariate in one of the equations: what an error of the one says of the
    other is in the ratio of their units."""
    rng = np.random.default_rng(13)
    z = rng.integers(0, 2, 200).astype(np.int32)
    e = rng.normal(size=(200, 2)) @ np.array([[8000, 1.0], [0, 1.5]])
    rows = np.stack([50000 + e[:, 0], 12 + z + e[:, 1]], -1).astype(np.float32)

    def model(z, rows):
        a, c, d = sample("a", dist.Normal(5e4, 3e4)), sample("c", dist.Normal(12.0, 5.0)), sample("d", dist.Normal(0.0, 1.0))
        sd = sample("sd", dist.HalfNormal(jnp.array([2e4, 3.0])).to_event(1))
        root = sample("L", dist.LKJCholesky(2, 2.0))
        mean = jnp.stack([jnp.broadcast_to(a, z.shape), c + d * z], -1)
        sample("rows", dist.MultivariateNormal(mean, scale_tril=sd[:, None] * root), obs=rows)

    kept = {"sd": np.array([8000.0, 1.8]), "L": np.array([[1.0, 0.0], [correlation, np.sqrt(1 - correlation**2)]])}
    agree(model, (z, rows), kept, 0.003, 1e-3)


@pytest.mark.parametrize("lines", [False, True])
def test_scales_far_above_their_priors(lines):
    """Effects that are not centred, in dollars, with a prior of their scale for numbers of some units: the data say how large it is."""
    rng, g = np.random.default_rng(8), np.repeat(np.arange(6), 10).astype(np.int32)
    x = rng.normal(size=60).astype(np.float32)
    y = (5e4 + 1e4 * rng.normal(size=6)[g] + 2e3 * rng.normal(size=60)).astype(np.float32)

    def model(x, y):
        mu = sample("mu", dist.Normal(5e4, 5e4))
        tau, s = sample("tau", dist.HalfCauchy(5.0).expand([2]).to_event(1)), sample("s", dist.HalfCauchy(5.0))
        z = sample("z", dist.Normal(0.0, 1.0).expand([6, 2]).to_event(2))
        effect = z @ (tau[:, None] * jnp.array([[1.0, 0.0], [0.3, 0.9]])).T if lines else z * tau[0]
        sample("y", dist.Normal(mu + effect[g, 0] + (effect[g, 1] * x if lines else 0.0), s), obs=y)

    agree(model, (x, y), {"tau": np.array([1e4, 20.0]), "s": 2e3}, 0.01, 2e-3)
