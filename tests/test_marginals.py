"""Marginals that NumPyro lacks, against scipy where it has them, and against quadrature over the latent."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

from conjugate_ppl.marginals import (
    BurrXII,
    CompoundGamma,
    CompoundVonMises,
    DoubleLomax,
    GeneralizedBetaPrime,
    Lomax,
    MatrixStudentT,
)

X = np.array([0.02, 0.7, 3.0, 40.0])
DRAWS = 20000


def mixed(likelihood, prior):
    """log of the integral of likelihood(x | z) prior(z) over z, for each of X."""
    def density(x):
        def f(t):  # z = exp(t)
            return np.exp(likelihood(x, np.exp(t)) + prior.logpdf(np.exp(t)) + t)
        return np.log(integrate.quad(f, -40, 20, limit=400, epsabs=0, epsrel=1e-11)[0])

    return np.array([density(x) for x in X])


PRIOR = stats.gamma(5.5, scale=1 / 1.7)
CASES = {
    "Lomax": (lambda: Lomax(5.5, 1.7), stats.lomax(5.5, scale=1.7),
              lambda x, z: stats.expon.logpdf(x, scale=1 / z)),
    "CompoundGamma": (lambda: CompoundGamma(0.8, 5.5, 1.7), stats.betaprime(0.8, 5.5, scale=1.7),
                      lambda x, z: stats.gamma.logpdf(x, 0.8, scale=1 / z)),
    "BurrXII": (lambda: BurrXII(5.5, 1.4, 1.7 ** (1 / 1.4)), stats.burr12(1.4, 5.5, scale=1.7 ** (1 / 1.4)),
                lambda x, z: stats.weibull_min.logpdf(x, 1.4, scale=z ** (-1 / 1.4))),
    # 1 / x is a gamma with a gamma rate
    "GeneralizedBetaPrime": (lambda: GeneralizedBetaPrime(5.5, 2.3, 1.0, 1 / 1.7), stats.betaprime(5.5, 2.3, scale=1 / 1.7),
                             lambda x, z: stats.invgamma.logpdf(x, 2.3, scale=z)),
    "DoubleLomax": (lambda: DoubleLomax(5.5, 0.4, 1.7), None, lambda x, z: stats.laplace.logpdf(x, 0.4, 1 / z)),
}


@pytest.mark.parametrize("name", CASES)
def test_marginal(name, x64):
    make, scipy, likelihood = CASES[name]
    ours = make()
    tol = {"rtol": 1e-9, "atol": 1e-9} if x64 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(ours.log_prob(X), mixed(likelihood, PRIOR), **tol)
    mean, variance = (0.4, 2 * 1.7**2 / (4.5 * 3.5)) if scipy is None else (scipy.mean(), scipy.var())
    np.testing.assert_allclose(ours.mean, mean, **tol)
    np.testing.assert_allclose(ours.variance, variance, **tol)
    if scipy is not None:
        np.testing.assert_allclose(ours.log_prob(X), scipy.logpdf(X), **tol)
    draws = ours.sample(jax.random.key(0), (DRAWS,))
    assert draws.shape == (DRAWS,) and ours.support(draws).all()
    assert stats.kstest(np.asarray(draws, float), lambda t: np.asarray(ours.cdf(t))).pvalue > 1e-3


def test_shapes_and_edges():
    d = GeneralizedBetaPrime(jnp.array([0.5, 2.0, 3.0]), 1.5, jnp.array([[1.0], [3.0]]), 2.0)
    assert d.batch_shape == (2, 3) and d.sample(jax.random.key(0), (4,)).shape == (4, 2, 3)
    np.testing.assert_array_equal(np.isinf(d.variance), [[True] * 3, [False] * 3])  # 1.5 * power > 2
    law = stats.betaprime(2.0, 1.5)
    m1, m2 = (law.expect(lambda t, k=k: t ** (k / 3)) for k in (1, 2))
    np.testing.assert_allclose(d.mean[1, 1], 2 * m1, rtol=1e-6)
    np.testing.assert_allclose(d.variance[1, 1], 4 * (m2 - m1**2), rtol=1e-5)
    assert np.isinf(Lomax(1.0).mean) and np.isinf(Lomax(2.0).variance) and np.isnan(DoubleLomax(0.9).mean)
    # prior of a vague rate: draws are no zeros and no infinities
    assert np.isfinite(CompoundGamma(0.01, 5.0).sample(jax.random.key(0), (1000,))).all()
    leaves, tree = jax.tree.flatten(BurrXII(2.0, 3.0, 1.0).expand([2]).to_event(1))
    assert jax.tree.unflatten(tree, leaves).event_shape == (2,)


def test_matrix_student():
    """n rows, whose covariance is inverse Wishart: by their law given it, at one value of it (Chib's identity)."""
    n, p, df = 2, 3, 4.5
    rng = np.random.default_rng(0)
    loc, x = rng.normal(size=(n, p)), rng.normal(size=(n, p))
    row = np.array([[1.0, 0.3], [0.3, 0.5]])
    column = np.array([[1.0, 0.2, 0.1], [0.2, 2.0, -0.3], [0.1, -0.3, 0.7]])
    d = MatrixStudentT(df, loc, np.linalg.cholesky(row), np.linalg.cholesky(column))
    gap = x - loc
    s = np.diag([1.0, 0.5, 2.0])
    expected = (stats.matrix_normal.logpdf(x, loc, row, s) + stats.invwishart.logpdf(s, df + p - 1, column)
                - stats.invwishart.logpdf(s, df + p - 1 + n, column + gap.T @ np.linalg.solve(row, gap)))
    np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-10)
    one = MatrixStudentT(df, loc[:1], jnp.eye(1), np.linalg.cholesky(column))
    np.testing.assert_allclose(one.log_prob(x[:1]), dist.MultivariateStudentT(
        df, loc[0], np.linalg.cholesky(column / df)).log_prob(x[0]), rtol=1e-10)
    draws = np.asarray(d.sample(jax.random.key(0), (DRAWS,)))
    np.testing.assert_allclose(draws.mean(0), d.mean, atol=6 * float(np.sqrt(d.variance.max() / DRAWS)))
    # a row and a column of a matrix t are t again
    scaled = (draws[:, 0, 1] - loc[0, 1]) / np.sqrt(row[0, 0] * column[1, 1] / df)
    assert stats.kstest(scaled, stats.t(df).cdf).pvalue > 1e-3
    np.testing.assert_allclose(d.variance[0, 1], row[0, 0] * column[1, 1] / (df - 2))
    assert np.isinf(MatrixStudentT(2.0, loc, jnp.eye(n), jnp.eye(p)).variance).all()


def test_compound_von_mises(x64):
    d = CompoundVonMises(3.0, jnp.array([0.3, 4.0, 200.0]), 2.0)
    x = np.array([-3.0, -0.5, 2.0])
    expected = [np.log(integrate.quad(lambda z, a=a, k=k: stats.vonmises.pdf(a, k, z) * stats.vonmises.pdf(z, 2, 3.0),
                                      3.0 - np.pi, 3.0 + np.pi, epsabs=0, limit=400, points=[3.0, a, a + 2 * np.pi])[0])
                for a, k in zip(x, (0.3, 4.0, 200.0), strict=True)]
    np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-8 if x64 else 2e-5)
    draws = d.sample(jax.random.key(0), (DRAWS,))
    assert draws.shape == (DRAWS, 3) and d.support(draws).all()
    np.testing.assert_allclose(1 - np.cos(draws - 3.0).mean(0), d.variance, atol=0.02)
    np.testing.assert_allclose(d.mean, 3.0)
