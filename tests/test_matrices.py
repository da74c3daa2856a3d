"""Means, coefficients and a covariance matrix together, against the textbook's evidence and laws."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from models.table import MATRIX, POSITIVE, N, P, X, Y
from numpyro import plate, sample
from scipy.special import multigammaln
from scipy.stats import multivariate_t

import conjugate_ppl as cj
from conjugate_ppl.marginals import MatrixStudentT

POINTS = np.stack([Y, POSITIVE, Y[::-1]], 1)
CENTRE, PRIOR, NU, KAPPA = np.array([0.2, -0.1, 0.5]), MATRIX, 5.0, 0.7


def normal_inverse_wishart(y):
    with plate("one", 1):
        s = sample("s", dist.InverseWishart(NU, scale_matrix=jnp.asarray(PRIOR)[None]))
        mu = sample("mu", dist.MultivariateNormal(jnp.asarray(CENTRE), covariance_matrix=s / KAPPA))
    with plate("rows", len(y)):
        sample("y", dist.MultivariateNormal(mu, covariance_matrix=s), obs=y)


def test_evidence_of_the_textbook(x64):
    """Gelman et al., Bayesian Data Analysis, 3rd edition, section 3.6; Murphy, Machine Learning, 4.6.3."""
    collapsed, y = cj.collapse(normal_inverse_wishart), POINTS
    kappa, nu, mean = KAPPA + N, NU + N, y.mean(0)
    scatter = PRIOR + (y - mean).T @ (y - mean) + KAPPA * N / kappa * np.outer(mean - CENTRE, mean - CENTRE)
    expected = (-1.5 * N * np.log(np.pi) + multigammaln(nu / 2, 3) - multigammaln(NU / 2, 3)
                + NU / 2 * np.linalg.slogdet(PRIOR)[1] - nu / 2 * np.linalg.slogdet(scatter)[1]
                + 1.5 * np.log(KAPPA / kappa))
    rtol = 1e-10 if x64 else 1e-5
    np.testing.assert_allclose(collapsed.log_evidence(jnp.asarray(y)), expected, rtol=rtol)
    found = collapsed.conditionals({}, jnp.asarray(y))["s"]
    np.testing.assert_allclose(found.scale_matrix[0], scatter, rtol=10 * rtol)
    # the mean's own law is a multivariate t, and so is that of another row
    law = multivariate_t((KAPPA * CENTRE + N * mean) / kappa, scatter / (kappa * (nu - 2)), df=nu - 2)
    posterior = collapsed.posterior(jnp.asarray(y))
    np.testing.assert_allclose(posterior.distributions["mu"].log_prob(y[0]), law.logpdf(y[:1]), rtol=10 * rtol)
    new = multivariate_t(law.loc, law.shape * (1 + kappa), df=nu - 2)
    np.testing.assert_allclose(posterior.predictive("y").log_prob(y[0]), new.logpdf(y[0]), rtol=10 * rtol)
    draws = collapsed.recover(jax.random.key(0), {}, jnp.asarray(y), num_samples=4000)["mu"][:, 0]
    white = np.linalg.solve(np.linalg.cholesky(law.shape * law.df / (law.df - 2)), (draws - law.loc).T)
    assert np.abs(white.mean(1)).max() < 5 / np.sqrt(4000)
    assert np.abs(np.cov(white) - np.eye(3)).max() < 0.15


def test_evidence_of_a_regression_is_a_matrix_t(x64):
    def model(y, x):
        with plate("one", 1):
            s = sample("s", dist.InverseWishart(NU, scale_matrix=jnp.asarray(PRIOR)[None]))
            b = sample("b", dist.MatrixNormal(jnp.zeros((P, 3)), 2.0 * jnp.eye(P), jnp.linalg.cholesky(s)))
        sample("y", dist.MultivariateNormal(x @ b[0], covariance_matrix=s), obs=y)

    rows = np.linalg.cholesky(np.eye(N) + 4.0 * X @ X.T)
    expected = MatrixStudentT(NU - 2, np.zeros((N, 3)), rows, np.linalg.cholesky(PRIOR)).log_prob(POINTS)
    collapsed, args = cj.collapse(model), (jnp.asarray(POINTS), jnp.asarray(X))
    np.testing.assert_allclose(collapsed.log_evidence(*args), expected, rtol=1e-10 if x64 else 1e-5)
    # the coefficients' own law, and what one row more would be given all
    precision = np.eye(P) / 4 + X.T @ X
    mean = np.linalg.solve(precision, X.T @ POINTS)
    scatter = PRIOR + POINTS.T @ POINTS - mean.T @ precision @ mean
    law = MatrixStudentT(NU - 2 + N, mean, np.linalg.cholesky(np.linalg.inv(precision)), np.linalg.cholesky(scatter))
    posterior, other = collapsed.posterior(*args), mean + 0.1
    rtol = 1e-9 if x64 else 1e-4
    np.testing.assert_allclose(posterior.distributions["b"].log_prob(other[None]), law.log_prob(other)[None], rtol=rtol)
    wide = 1 + np.einsum("np,pq,nq->n", X, np.linalg.inv(precision), X)
    expected = [multivariate_t(X[i] @ mean, wide[i] * scatter / (NU - 2 + N), df=NU - 2 + N).logpdf(POINTS[0])
                for i in range(N)]
    np.testing.assert_allclose(posterior.predictive("y").log_prob(POINTS[0]), expected, rtol=rtol)


def test_many_rows_far_from_zero_keep_their_digits_in_float32():
    """The scatter is that about a point near the data, so that a level of 1e4 costs nothing."""
    rng = np.random.default_rng(0)
    y = (1e4 + rng.normal(size=(2000, 3)) @ np.linalg.cholesky(MATRIX).T).astype(np.float32)

    def model(y):
        with plate("one", 1):
            s = sample("s", dist.InverseWishart(NU, scale_matrix=jnp.asarray(PRIOR)[None]))
            mu = sample("mu", dist.MultivariateNormal(jnp.full(3, 1e4), covariance_matrix=s / KAPPA))
        with plate("rows", len(y)):
            sample("y", dist.MultivariateNormal(mu, covariance_matrix=s), obs=y)

    found = cj.collapse(model).conditionals({}, jnp.asarray(y))["s"]
    exact = y.astype(float)
    gap = exact.mean(0) - 1e4
    scatter = PRIOR + (len(y) - 1) * np.cov(exact.T) + KAPPA * len(y) / (KAPPA + len(y)) * np.outer(gap, gap)
    np.testing.assert_allclose(found.scale_matrix[0], scatter, rtol=1e-4, atol=1e-2)


def test_posterior_is_a_sum():
    collapsed, y = cj.collapse(normal_inverse_wishart), jnp.asarray(POINTS)
    whole, parts = collapsed.posterior(y), collapsed.posterior(y[:4]).update(y[4:])
    np.testing.assert_allclose(whole.log_evidence(), collapsed.log_evidence(y), rtol=1e-10)
    np.testing.assert_allclose(parts.log_evidence(), whole.log_evidence(), rtol=1e-10)
    np.testing.assert_allclose(parts.distributions["s"].scale_matrix, whole.distributions["s"].scale_matrix, rtol=1e-8)
    refit = collapsed.posterior(jnp.delete(y, 3, axis=0)).log_evidence()
    np.testing.assert_allclose(whole.without("y", 3).log_evidence(), refit, rtol=1e-10)
