"""Precision and covariance matrices, alone and together with means and coefficients; matrices of real numbers."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from numpyro.distributions.transforms import LowerCholeskyAffine

from models.table import GROUP, MATRIX, POSITIVE, ROOT, SEEN, G, N, P, X, Y, case, flat

POINTS = np.stack([Y, POSITIVE, Y[::-1]], 1)
CENTRE = np.array([0.2, -0.1, 0.5])
# one for each group: of a single matrix JAX takes a diagonal in a way that it keeps for one precision
MATRICES, ROOTS = np.stack([MATRIX] * G), np.stack([ROOT] * G)


@case("p l", POINTS, GROUP)
def wishart_precisions(y, g):
    k = sample("k", dist.LogNormal(1.5, 0.2))
    m = sample("m", dist.Gamma(2.0, 1.0))
    with plate("g", G):
        p = sample("p", dist.Wishart(3.0 + k, scale_tril=jnp.asarray(ROOTS)))
        rows = sample("l", dist.WishartCholesky(4.5, scale_tril=jnp.asarray(ROOTS)))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.MultivariateNormal(jnp.asarray(CENTRE), precision_matrix=p[g]), obs=y)
        sample("z", dist.MultivariateNormal(k, precision_matrix=p[g] * jnp.arange(1.0, N + 1)[:, None, None]), obs=y)
        sample("w", dist.MultivariateNormal(m, precision_matrix=m * rows[g] @ rows[g].swapaxes(-1, -2)), obs=y)
    sample("u", dist.MultivariateNormal(m, precision_matrix=p[2:3] * m), obs=y)


@case("s l", POINTS, GROUP)
def wishart_covariances(y, g):
    m = sample("m", dist.Gamma(2.0, 1.0))
    with plate("g", G):
        s = sample("s", dist.InverseWishart(4.5, scale_matrix=m * jnp.asarray(MATRICES)))
        rows = sample("l", dist.InverseWishartCholesky(4.5, scale_tril=jnp.asarray(ROOTS)))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.MultivariateNormal(jnp.asarray(CENTRE), covariance_matrix=s[g]), obs=y)
        sample("w", dist.MultivariateNormal(m, scale_tril=rows[g]), obs=y)
        sample("v", dist.MultivariateNormal(0.0, scale_tril=jnp.sqrt(m) * rows[g]), obs=y)
    sample("u", dist.MultivariateNormal(m, covariance_matrix=s[2:3] * m), obs=y)


@case("p s l", POINTS, GROUP)
def precisions_by_the_inverse_of_covariances(y, g):
    m = sample("m", dist.Gamma(2.0, 1.0))
    with plate("g", G):
        p = sample("p", dist.Wishart(4.0, scale_tril=jnp.asarray(ROOTS)))
        s = sample("s", dist.InverseWishart(4.5, scale_matrix=jnp.asarray(MATRICES)))
        rows = sample("l", dist.WishartCholesky(4.5, scale_tril=jnp.asarray(ROOTS)))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.MultivariateNormal(jnp.asarray(CENTRE), covariance_matrix=m * jnp.linalg.inv(p)[g]), obs=y)
        sample("z", dist.MultivariateNormal(m, precision_matrix=jnp.linalg.inv(s[g])), obs=y)
        sample("w", dist.MultivariateNormal(m, jnp.linalg.inv(rows @ rows.swapaxes(-1, -2))[g]), obs=y)


SCATTER = np.stack([MATRIX * (1 + k) + 0.2 * np.eye(3) for k in range(N)])


@case("p l", SCATTER, np.linalg.cholesky(SCATTER), GROUP, relation="wishart-wishart")
def wishart_of_wishart(y, root, g):
    with plate("g", G):
        p = sample("p", dist.Wishart(5.0, rate_matrix=jnp.asarray(MATRICES)))
        rows = sample("l", dist.InverseWishartCholesky(5.0, scale_matrix=jnp.asarray(MATRICES)))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.Wishart(4.5, rate_matrix=2.0 * p[g]), obs=y)
        sample("z", dist.InverseWishart(4.0, scale_matrix=p[g]), obs=y)
        sample("u", dist.WishartCholesky(4.5, rate_matrix=p[g]), obs=root)
        sample("v", dist.Wishart(4.5, scale_tril=rows[g]), obs=y)
        sample("w", dist.InverseWishartCholesky(4.5, rate_matrix=rows[g] @ rows[g].swapaxes(-1, -2)), obs=root)


# -- with means and coefficients -------------------------------------------------------------------------


@case("l mu", POINTS, GROUP, relation="normal-wishart")
def normal_wishart_of_each_group(y, g):
    k = sample("k", dist.LogNormal(0.0, 0.3))
    with plate("g", G):
        rows = sample("l", dist.WishartCholesky(5.0, rate_matrix=jnp.asarray(MATRICES)))
        p = rows @ rows.swapaxes(-1, -2)
        mu = sample("mu", dist.MultivariateNormal(jnp.asarray(CENTRE), precision_matrix=k * p))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.MultivariateNormal(mu[g], precision_matrix=p[g]), obs=y)
    sample("z", dist.MultivariateNormal(mu[1:2], precision_matrix=p[1:2]), obs=y[:1])


@case("p m mu", POINTS, GROUP, relation="normal-wishart")
def normal_wishart_with_a_common_precision(y, g):
    with plate("one", 1):
        p = sample("p", dist.Wishart(5.0, rate_matrix=jnp.asarray(MATRICES[:1])))
        m = sample("m", dist.MultivariateNormal(0.0, precision_matrix=0.1 * p))
    with plate("g", G):
        mu = sample("mu", dist.MultivariateNormal(m, precision_matrix=2.0 * p))
    with plate("rows", N):
        sample("y", dist.MultivariateNormal(mu[g] - m, precision_matrix=p), obs=y)


@case("s m mu", POINTS, GROUP, relation="normal-wishart")
def normal_inverse_wishart(y, g):
    k = sample("k", dist.LogNormal(0.0, 0.3))
    with plate("one", 1):
        s = sample("s", dist.InverseWishart(5.0, scale_matrix=k * jnp.asarray(MATRICES[:1])))
        m = sample("m", flat((3,)))
    with plate("g", G):
        mu = sample("mu", dist.MultivariateNormal(m, covariance_matrix=s * k))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.MultivariateNormal(mu[g] + k, covariance_matrix=s), obs=y)


@case("s b c", POINTS, X, relation="matrix-normal-wishart")
def matrix_normal_regression(y, x):
    k = sample("k", dist.LogNormal(0.0, 0.3))
    with plate("one", 1):
        s = sample("s", dist.InverseWishart(5.0, scale_matrix=jnp.asarray(MATRICES[:1])))
        b = sample("b", dist.MatrixNormal(jnp.ones((P, 3)), k * jnp.asarray(ROOT[:P, :P]), jnp.linalg.cholesky(s)))
    c = sample("c", flat((3,)))
    with plate("rows", N):
        sample("y", dist.MultivariateNormal(x @ b[0] + c, covariance_matrix=s), obs=y)


@case("l b", POINTS[None], X, relation="matrix-normal-wishart")
def matrix_normal_rows(y, x):
    with plate("one", 1):
        rows = sample("l", dist.InverseWishartCholesky(5.0, scale_matrix=jnp.asarray(MATRICES[:1])))
    with plate("coefficients", P):
        b = sample("b", dist.MultivariateNormal(jnp.asarray(CENTRE), scale_tril=2.0 * rows))
    sample("y", dist.MatrixNormal((x @ b)[None], 0.5 * jnp.eye(N), rows), obs=y)


# -- matrices of real numbers, and covariances of low rank -------------------------------------------------


@case("v b w", POINTS, X, GROUP, relation="conjugate-regression")
def covariances_of_low_rank(y, x, g):
    v = sample("v", dist.InverseGamma(3.0, 2.0))
    with plate("g", G):
        b = sample("b", dist.MatrixNormal(jnp.zeros((P, 3)), jnp.asarray(ROOT[:P, :P]), jnp.sqrt(v) * jnp.asarray(ROOT)))
        w = sample("w", dist.LowRankMultivariateNormal(jnp.zeros(3), jnp.sqrt(v) * jnp.ones((3, 1)), v * jnp.ones(3)))
    with plate("rows", N):
        loc = jnp.einsum("np,npk->nk", x, b[g]) + w[g]
        sample("y", dist.LowRankMultivariateNormal(loc, jnp.sqrt(v) * jnp.ones((3, 1)), v * jnp.arange(1.0, 4.0)),
               obs=y)


@case("t", POINTS - POINTS.mean(1, keepdims=True), GROUP)
def sums_of_zero(y, g):
    with plate("g", G):
        t = sample("t", dist.Gamma(2.0, 1.0))
    with plate("rows", N):
        sample("y", dist.Normal(y[:, 0], 1 / jnp.sqrt(t[g])), obs=y[:, 1])
    sample("z", dist.ZeroSumNormal(1 / jnp.sqrt(t[1]), (3,)), obs=y[0])


@case("z w v", POINTS, GROUP, relation="zero-sum")
def effects_that_sum_to_zero(y, g):
    t = sample("t", dist.HalfNormal(1.0))
    z = sample("z", dist.ZeroSumNormal(t, (G,)))
    with plate("two", 2):
        w = sample("w", dist.ZeroSumNormal(t, (G, 3)))
    v = sample("v", dist.ZeroSumNormal(1.0, (3,)).expand([P]).to_event(1))
    level = sample("level", dist.Normal(t, 1.0))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.Normal(level**2 + z[g] + w[0, g, 1] + X @ v[:, 0], t), obs=y[:, 0])
    sample("r", dist.Normal(v[1] - w[1, 2], 1.0), obs=y[0])


@case("z k", Y, GROUP)
def effects_that_sum_to_zero_below_discrete(y, g):
    z = sample("z", dist.ZeroSumNormal(1.0, (G,)))
    k = sample("k", dist.Bernoulli(0.3))
    sample("y", dist.Normal(jnp.where(k == 1, z[g], 0.2), 1.0), obs=y)


@case("b w", Y, X)
def normals_through_a_factor(y, x):
    s = sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        through = LowerCholeskyAffine(jnp.arange(P) * s, jnp.asarray(ROOT[:P, :P]))
        b = sample("b", dist.TransformedDistribution(dist.Normal(0.5, s).expand([P]).to_event(1), through))
    w = sample("w", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal((x * b[GROUP]).sum(-1), 1.0), obs=y)
    own = LowerCholeskyAffine(CENTRE, s * jnp.asarray(ROOT))
    sample("z", dist.TransformedDistribution(dist.Normal(w, 2.0).expand([3]).to_event(1), own), obs=y[:3])


@case("a level", Y, X)
def linear_maps(y, x):
    a = sample("a", dist.Normal(0.0, 1.0).expand([N]).to_event(1))
    level = sample("level", dist.Normal(0.0, 2.0))
    s = sample("s", dist.HalfNormal(1.0))
    smooth = jnp.fft.irfft(jnp.fft.rfft(a) * jnp.exp(-jnp.arange(N // 2 + 1.0)), N)
    sample("y", dist.Normal(level + jnp.convolve(a, np.array([0.25, 0.5, 0.25]), mode="same"), s), obs=y)
    sample("z", dist.Normal(jnp.linalg.solve(jnp.eye(N) + 0.1, a) + smooth, 1.0), obs=y)
