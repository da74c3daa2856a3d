"""A mean and a scale for each group: evidence, gradient and draws against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample
from scipy import stats

import conjugate_ppl as cj

GROUP = np.array([0, 1, 1, 2, 0, 2, 2, 1, 0])
Y = np.random.default_rng(3).normal(size=9)


def model(y, g, ratio=None):
    k = sample("k", dist.LogNormal(0.0, 0.5)) if ratio is None else ratio
    with plate("groups", 4):  # the last of them without data
        v = sample("v", dist.InverseGamma(2.0, 1.5))
        mu = sample("mu", dist.Normal(0.3, jnp.sqrt(v / k)))
    sample("y", dist.Normal(mu[g], jnp.sqrt(v)[g]), obs=y)


def evidence(k):
    """Of each group a multivariate t: 2a degrees of freedom, shape b/a (I + 1/k)."""
    total = 0.0
    for j in range(3):
        y = Y[j == GROUP]
        shape = 1.5 / 2.0 * (np.eye(len(y)) + 1 / k)
        total += stats.multivariate_t(np.full(len(y), 0.3), shape, df=4.0).logpdf(y)
    return total


def test_evidence_and_gradient():
    found = cj.collapse(model).log_evidence(Y, GROUP, ratio=0.7)
    np.testing.assert_allclose(found, evidence(0.7), rtol=1e-10)
    execution = cj.collapse(model).execution((Y, GROUP), {})
    assert execution.plan.kept == ("k",)
    slope = jax.grad(lambda k: execution.log_marginal({"k": k}))(jnp.asarray(0.7))
    np.testing.assert_allclose(slope, (evidence(0.7001) - evidence(0.6999)) / 2e-4, rtol=1e-5)


def test_draws():
    draws = cj.collapse(model).recover(jax.random.key(0), {}, Y, GROUP, ratio=0.7, num_samples=4000)
    for j in range(4):
        y = Y[j == GROUP]
        n, k = len(y), 0.7
        mean = (k * 0.3 + y.sum()) / (k + n)
        rate = 1.5 + 0.5 * (np.sum((y - mean) ** 2) + k * (0.3 - mean) ** 2)
        law = stats.invgamma(2.0 + n / 2, scale=rate)
        assert stats.kstest(np.asarray(draws["v"][:, j]), law.cdf).pvalue > 1e-4
        white = (np.asarray(draws["mu"][:, j]) - mean) / np.sqrt(np.asarray(draws["v"][:, j]) / (k + n))
        assert stats.kstest(white, "norm").pvalue > 1e-4


def test_a_mean_of_two_scales_stays_apart():
    def shared(y, g):
        v = sample("v", dist.InverseGamma(jnp.full(4, 2.0), 1.5))
        mu = sample("mu", dist.Normal(jnp.zeros(2), jnp.sqrt(v[:2])))
        sample("y", dist.Normal(mu[g // 2], jnp.sqrt(v)[g]), obs=y)

    assert cj.explain(shared, Y, GROUP).collapsed == ("v",)
    plan = cj.explain(cj.collapse(shared, require=["mu"], keep=["v"]), Y, GROUP)
    assert plan.collapsed == ("mu",)
    cj.check(shared, jax.random.key(0), Y, GROUP, num_points=1)


def test_posterior_is_a_sum():
    """Of all rows, or of two parts; without a row it is the posterior of the others."""
    collapsed = cj.collapse(lambda y, g: model(y, g, 0.7))
    whole = collapsed.posterior(Y, GROUP)
    np.testing.assert_allclose(whole.log_evidence(), evidence(0.7), rtol=1e-10)
    merged = collapsed.posterior(Y[:4], GROUP[:4]).update(Y[4:], GROUP[4:])
    np.testing.assert_allclose(merged.log_evidence(), evidence(0.7), rtol=1e-10)
    left, refit = whole.without("y", 2), collapsed.posterior(np.delete(Y, 2), np.delete(GROUP, 2))
    np.testing.assert_allclose(left.log_evidence(), refit.log_evidence(), rtol=1e-10)
    laws = whole.distributions  # normal-inverse-gamma: the means' own laws are Student's t
    y = [Y[k == GROUP] for k in range(4)]
    n, k = np.array([len(x) for x in y]), 0.7
    mean = (k * 0.3 + np.array([x.sum() for x in y])) / (k + n)
    b = 1.5 + 0.5 * (np.array([x @ x for x in y]) + k * 0.09 - (k + n) * mean**2)
    a = 2.0 + n / 2
    own = stats.t(2 * a, mean, np.sqrt(b / a / (k + n)))
    np.testing.assert_allclose(laws["mu"].log_prob(jnp.asarray(Y[:4])), own.logpdf(Y[:4]), rtol=1e-9)
    new = stats.t(2 * a[GROUP], mean[GROUP], np.sqrt(b / a * (1 + 1 / (k + n)))[GROUP])
    np.testing.assert_allclose(whole.predictive("y").log_prob(0.5), new.logpdf(0.5), rtol=1e-9)
    total, j = whole.log_evidence(), np.array([0, 2, 5])
    expected = [total - whole.without("y", int(i)).log_evidence() for i in j]
    np.testing.assert_allclose(whole.loo("y")[j], expected, rtol=1e-9)
