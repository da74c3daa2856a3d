"""Latents below discrete ones, against formulas that share no code: dense normals, closed forms of SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import evaluated
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal
from models import mixed
from models.table import X, Y
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision

LOG_WEIGHTS = np.log([0.2, 0.5, 0.3])


@pytest.mark.parametrize("level", [0.0, 1e3, 1e4])
def test_mixture_of_factor_analysers(level, x64):
    """Value, gradient, probabilities and moments; far from zero in float32 too."""
    rng = np.random.default_rng(0)
    x = (mixed.ROWS + level).astype(np.float32)
    kept = {"mu": (rng.normal(size=(3, 3)) + level).astype(np.float32),
            "w": rng.normal(size=(3, 3, 2)).astype(np.float32), "s": np.array([0.5, 1.0, 2.0], np.float32)}
    model = mixed.mixture_of_factor_analysers
    collapsed = cj.collapse(model)

    def prepared():
        return jax.tree.map(lambda v: jnp.asarray(v, float), (x, kept))

    def dense(x, kept):
        """Log densities of each row in each state, shape (n, 3)."""
        covariance = kept["w"] @ jnp.swapaxes(kept["w"], 1, 2) + kept["s"][:, None, None] ** 2 * jnp.eye(3)
        return jax.vmap(lambda m, c: multivariate_normal.logpdf(x, m, c), out_axes=1)(
            kept["mu"], covariance) + LOG_WEIGHTS

    def marginal(x, kept):
        prior = log_density(model, (x,), {}, {**kept, "k": jnp.zeros(5, int), "z": jnp.zeros((5, 2))})[0]
        plain = (LOG_WEIGHTS[0] * 5 - 5 * np.log(2 * np.pi) + jnp.sum(
            -0.5 * ((x - kept["mu"][0]) / kept["s"][0]) ** 2 - jnp.log(kept["s"][0]) - 0.5 * np.log(2 * np.pi)))
        return jnp.sum(logsumexp(dense(x, kept), 1)) + prior - plain

    def moments(x, kept):
        probs = jax.nn.softmax(dense(x, kept), 1)
        w, s = kept["w"], kept["s"][:, None, None]
        inner = jnp.linalg.inv(jnp.eye(2) + jnp.swapaxes(w, 1, 2) @ w / s**2)
        means = jnp.einsum("kij,kjl,knl->nki", inner, jnp.swapaxes(w, 1, 2) / s**2, x - kept["mu"][:, None])
        return probs, jnp.sum(probs[..., None] * means, 1)

    with jax.enable_x64(True):  # what is compared with has all digits
        wanted = evaluated(lambda *v: (jax.value_and_grad(marginal, 1)(*v), moments(*v)))(*prepared())
    rows, values = prepared()

    @jax.jit
    def found(kept):
        laws = collapsed.conditionals(kept, rows)
        return (jax.value_and_grad(lambda k: log_density(collapsed, (rows,), {}, k)[0])(kept),
                (laws["k"].probs, laws["z"].mean))

    # the model itself rounds its locations to half a step between floats, which slopes see 1 / min(s)**3 times, twice
    rounding = float(np.spacing(np.float32(level))) / 0.5**3
    close = {"rtol": 1e-9, "atol": 1e-9} if x64 else {"rtol": 2e-3, "atol": 2e-3 + rounding}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close),
                 found(values), wanted)


def test_mixture_of_rates(x64):
    a, y = np.array([0.5, 1.5, 4.0]), np.asarray(mixed.FEW)
    shape, rate = a + 0.1, np.array([0.5, 1.0, 2.0])
    pmf = stats.nbinom.pmf(y[:, None], shape, rate / (1 + rate)) / 3
    collapsed, kept = cj.collapse(mixed.mixture_of_rates), {"a": jnp.asarray(a)}
    prior = stats.halfnorm.logpdf(a, scale=2.0).sum()
    assert float(log_density(collapsed, (y,), {}, kept)[0]) == pytest.approx(
        np.log(pmf.sum(1)).sum() + prior, rel=1e-10 if x64 else 1e-5)
    found = collapsed.conditionals(kept, y)
    probs = pmf / pmf.sum(1, keepdims=True)
    np.testing.assert_allclose(found["k"].probs, probs, rtol=1e-9 if x64 else 1e-4)
    at = 1.7
    density = (probs * stats.gamma.pdf(at, shape + y[:, None], scale=1 / (rate + 1))).sum(1)
    np.testing.assert_allclose(np.exp(found["rate"].log_prob(at)), density, rtol=1e-9 if x64 else 1e-4)


def test_evidence_of_a_choice(x64):
    """Nothing is kept: the evidence is that of three regressions, multivariate t."""
    use = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    each = [stats.multivariate_t.logpdf(Y, np.zeros(len(Y)), 0.5 * (np.eye(len(Y)) + (X * u) @ (X * u).T), df=4.0)
            for u in use]
    total = logsumexp(jnp.asarray(each) + LOG_WEIGHTS)
    collapsed = cj.collapse(mixed.choice_of_a_regression)
    assert float(collapsed.log_evidence(jnp.asarray(Y), jnp.asarray(X))) == pytest.approx(
        float(total), rel=1e-10 if x64 else 1e-5)
    found = collapsed.conditionals({}, jnp.asarray(Y), jnp.asarray(X))
    np.testing.assert_allclose(found["model"].probs, np.exp(each + LOG_WEIGHTS - float(total)),
                               rtol=1e-8 if x64 else 1e-4)


def test_traced_data(x64):
    """Under `jit` over the data too."""
    collapsed, kept, y = cj.collapse(mixed.mixture_of_rates), {"a": jnp.ones(3)}, jnp.asarray(mixed.FEW)
    out = jax.jit(lambda y: log_density(collapsed, (y,), {}, kept)[0])(y)
    assert float(out) == pytest.approx(float(log_density(collapsed, (y,), {}, kept)[0]), rel=1e-6)


def test_coefficients_below_states_that_an_element_cannot_have(x64):
    """Given states that are impossible the model is undefined, and so would be what is integrated out there."""
    many, g = np.array([2, 0, 3, 1]), np.arange(16) % 4
    y = np.random.default_rng(0).normal(size=16)

    def model(y):
        k = numpyro.sample("k", dist.Binomial(many, 0.4))
        q = numpyro.sample("q", dist.HalfCauchy(1.0))
        m = numpyro.sample("m", dist.Normal(1.0, q).expand([4]))
        numpyro.sample("y", dist.Normal(m[g] * jnp.sqrt(many - k)[g], 1.0 + 0.5 * q), obs=y)

    def by_hand(q):
        total = dist.HalfCauchy(1.0).log_prob(q)
        for j, most in enumerate(many):
            a, own = np.sqrt(most - np.arange(most + 1)), y[g == j]
            each = [stats.binom.logpmf(k, most, 0.4) + dist.MultivariateNormal(
                a[k] * jnp.ones(4), a[k] ** 2 * q**2 + (1 + 0.5 * q) ** 2 * jnp.eye(4)).log_prob(own) for k in range(most + 1)]
            total += logsumexp(jnp.stack(each))
        return total

    assert set(cj.explain(model, y).collapsed) == {"k", "m"}
    found = jax.value_and_grad(lambda q: log_density(cj.collapse(model), (y,), {}, {"q": q})[0])(jnp.array(0.7))
    with double_precision(True):
        expected = jax.value_and_grad(by_hand)(0.7)
    np.testing.assert_allclose(found, expected, rtol=1e-10 if x64 else 1e-5)
    draws = cj.collapse(model).recover(jax.random.key(0), {"q": jnp.full(20, 0.7)}, y)
    assert np.isfinite(draws["m"]).all()
    assert (draws["k"] <= many).all()
