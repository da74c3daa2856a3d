"""Conjugate relations beyond the common ones, each in a plate, through a look-up and with a mask."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logit
from numpyro import handlers, plate, sample
from numpyro.distributions import constraints
from numpyro.distributions.transforms import AffineTransform

from models.table import (
    BINARY,
    COUNT,
    EXPOSURE,
    GROUP,
    MATRIX,
    OUTCOME,
    POSITIVE,
    SEEN,
    G,
    N,
    P,
    X,
    Y,
    case,
)

# -- probabilities of two outcomes -----------------------------------------------------------------------


@case("p", BINARY, COUNT, GROUP, relation="dirichlet-bernoulli")
def cells_of_two_outcomes(y, n, g):
    with plate("g", G):
        p = sample("p", dist.Dirichlet(jnp.array([1.5, 0.7])))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.Bernoulli(p[g, 1]), obs=y)
        sample("l", dist.Bernoulli(logits=jnp.log(p[g, 1]) - jnp.log1p(-p[g, 1])), obs=y)
        sample("n", dist.Binomial(9, p[g, 0]), obs=n)
        sample("m", dist.NegativeBinomialProbs(3.0, 1 - p[g, 0]), obs=n)
        sample("c", dist.Categorical(p[g]), obs=y)


ANGLE = np.clip(Y, -3.0, 3.0)
POINTS = np.stack([Y, POSITIVE, Y[::-1]], 1)


# -- what a gamma stands for ---------------------------------------------------------------------------


@case("t", POSITIVE, Y, POINTS, GROUP)
def gamma_in_all_spellings(y, real, points, g):
    k = sample("k", dist.LogNormal(0.0, 0.2))
    with plate("g", G):
        t = sample("t", dist.Gamma(2.0, 1.5))
    t = t[g]
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("weibull", dist.Weibull(t ** (-1 / 1.7), 1.7), obs=y)
        sample("gompertz", dist.Gompertz(t, k), obs=y)
        sample("kumaraswamy", dist.Kumaraswamy(k, t), obs=y / 20)
        sample("power", dist.Beta(t, 1.0), obs=y / 20)
        sample("gumbel", dist.Gumbel(jnp.log(t), 1.0), obs=real)
        sample("levy", dist.Levy(-1.0, t), obs=y)
        precision = t[:, None, None] * jnp.asarray(MATRIX)
        sample("vectors", dist.MultivariateNormal(k, precision_matrix=precision), obs=points)


@case("t v w", POSITIVE, X, GROUP)
def weibull_of_unknown_shape(y, x, g):
    k = sample("k", dist.LogNormal(0.0, 0.2))
    each = sample("each", dist.LogNormal(0.0, 0.2).expand([G]))
    b = sample("b", dist.Normal(jnp.zeros(P), 0.5))
    with plate("g", G):
        t = sample("t", dist.Gamma(2.0, 1.5))
        v = sample("v", dist.InverseGamma(2.0, 1.5))
    w = sample("w", dist.Gamma(2.0, 1.0))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("weibull", dist.Weibull((t[g] * jnp.exp(x @ b)) ** (-1 / k), k), obs=y)
        sample("of its inverse", dist.Weibull(jnp.power(2 * v[g], 1 / each[g]), each[g]), obs=y)
        shape = jnp.linspace(0.8, 1.6, N)
        sample("of known shapes", dist.Weibull(w ** (-1 / shape), shape), obs=y)


@case("v w", POINTS, POSITIVE)
def gammas_on_a_diagonal(y, x):
    v = sample("v", dist.InverseGamma(jnp.full(3, 2.0), 1.0))
    w = sample("w", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.MultivariateNormal(0.3, covariance_matrix=jnp.diag(v)), obs=y)
    s = jnp.stack([w, 2 * w, w])
    sample("z", dist.MultivariateNormal(0.3, covariance_matrix=s[:, None] ** 0.5 * jnp.asarray(MATRIX) * s**0.5),
           obs=y)
    sample("x", dist.Weibull(w ** (1 / 1.3), 1.3), obs=x)


@case("lam", COUNT, X, GROUP, EXPOSURE)
def gamma_in_a_log_linear_rate(y, x, g, e):
    b = sample("b", dist.Normal(jnp.zeros(P), 0.5))
    with plate("g", G):
        lam = sample("lam", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(jnp.exp(jnp.log(lam)[g] + x @ b + jnp.log(e))), obs=y)


@case("p", COUNT, POSITIVE, GROUP)
def gamma_in_some_rows(y, x, g):
    p = sample("p", dist.Gamma(2.0, 1.0).expand([2]))
    rate = jnp.full(G, 1.5).at[jnp.array([3, 0])].set(p)[g]
    on = jnp.arange(N) > 3
    sample("y", dist.Poisson(rate), obs=y)
    sample("x", dist.Exponential(jnp.where(on, rate, 2.0)), obs=x)
    sample("z", dist.Exponential(p[1] * on + 0.7 * (1 - on)), obs=x)


# -- probabilities -----------------------------------------------------------------------------------


@case("v", OUTCOME, GROUP, relation="stick-breaking")
def beta_sticks(y, g):
    a = sample("a", dist.Gamma(2.0, 1.0))
    with plate("g", G):
        v = sample("v", dist.Beta(1.0, a).expand([2]).to_event(1))
    left = jnp.cumprod(1 - v, -1)
    p = jnp.pad(v, ((0, 0), (0, 1)), constant_values=1) * jnp.pad(left, ((0, 0), (1, 0)), constant_values=1)
    sample("y", dist.Categorical(p[g]), obs=y)


@case("v", OUTCOME, relation="stick-breaking")
def beta_sticks_by_logarithms(y):
    v = sample("v", dist.Beta(1.0, 1.7).expand([3]))
    left = jnp.exp(jnp.cumsum(jnp.log1p(-v)))
    p = jnp.concatenate([v * jnp.concatenate([jnp.ones(1), left[:-1]]), left[-1:]])
    sample("y", dist.Categorical(p), obs=y)


@case("v", OUTCOME, BINARY)
def beta_products(y, two):
    v = sample("v", dist.Beta(2.0, 1.0).expand([3]))
    sample("all", dist.Geometric(1 - v[0]), obs=y)
    sample("two", dist.Categorical(jnp.stack([v[1], 1 - v[1]])), obs=two)
    p = jnp.stack([v[0] * v[2], (1 - v[0]) * v[2], 1 - v[2]])
    sample("y", dist.Categorical(p), obs=y)
    sample("seen", dist.Bernoulli(jnp.prod(v)), obs=jnp.ones(N, int))


@case("phi", OUTCOME, np.tile([1, 2, 2], (N, 1)), GROUP)
def dirichlet_logits(y, counts, g):
    with plate("g", G):
        phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.Categorical(logits=jnp.log(phi)[g]), obs=y)
        sample("counts", dist.Multinomial(5, logits=jnp.log(phi[g])), obs=counts)


@case("p", COUNT, GROUP)
def beta_of_all_counts(y, g):
    with plate("g", G):
        p = sample("p", dist.Beta(2.0, 3.0))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("binomial", dist.Binomial(10, logits=logit(p[g])), obs=y)
        sample("negative", dist.NegativeBinomialProbs(3.5, p[g]), obs=y)
        sample("geometric", dist.Geometric(p[g]), obs=y)


# -- sums of normals ---------------------------------------------------------------------------------


@case("a b", Y, GROUP)
def normal_sums_by_groups(y, g):
    s = sample("s", dist.HalfNormal(1.0))
    a = sample("a", dist.Normal(2.0, s).expand([N]))
    b = sample("b", dist.Normal(0.0, 1.0).expand([2]))
    level = jnp.zeros(G).at[jnp.array([3, 0])].set(b).at[1].add(b[0])
    sample("y", dist.Normal(jax.ops.segment_sum(a, g, num_segments=G) + level, 1.0), obs=y[:G])


@case("z", POSITIVE, GROUP)
def lognormal_mean(y, g):
    with plate("g", G):
        z = sample("z", dist.LogNormal(0.3, 0.8))
    sample("y", dist.LogNormal(0.5 + jnp.log(z)[g], 0.7), obs=y)
    sample("w", dist.Normal(jnp.log(2 * z**1.5)[g], 0.7), obs=y)


@case("z", ANGLE, GROUP)
def von_mises_direction(y, g):
    k = sample("k", dist.LogNormal(1.0, 0.5))
    m = sample("m", dist.Uniform(-3.0, 3.0))
    with plate("g", G):
        z = sample("z", dist.VonMises(m, jnp.array([1.0, 0.1, 20.0, 300.0])))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("y", dist.VonMises(z[g] + 0.4, k), obs=y)
        sample("w", dist.VonMises(m - z[g], 2.0), obs=y)


# -- truncated priors --------------------------------------------------------------------------------

@case("a b c d e", Y, GROUP, relation="exponential-normal")
def truncated_means(y, g):
    u = sample("u", dist.LogNormal(0.5, 0.2))
    with plate("g", G):
        a = sample("a", dist.HalfNormal(2.0))
        b = sample("b", dist.Exponential(u))
        c = sample("c", dist.Uniform(-1.0, u))
        d = sample("d", dist.TruncatedNormal(1.0, u, low=0.0))
        e = sample("e", dist.TruncatedNormal(1.0, 2.0, low=-u, high=3.0))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        for name, z in zip("ABCDE", (a, b, c, d, e), strict=True):
            sample(name, dist.Normal(2 * z[g] - 1, u), obs=y)


@case("z", Y)
def truncated_mean_of_moving_bounds(y):
    u = sample("u", dist.LogNormal(0.5, 0.2))
    z = sample("z", dist.Uniform(-u, 2.0))
    sample("y", dist.Normal(z, 1.0), obs=y)


@case("a b c", COUNT, POSITIVE, GROUP, relation="uniform-scale")
def truncated_rates(count, y, g):
    with plate("g", G):
        a = sample("a", dist.Uniform(0.0, 2.0))
        b = sample("b", dist.TwoSidedTruncatedGamma(dist.Gamma(2.0, 1.0), 0.3, 4.0))
        c = sample("c", dist.Pareto(0.5, 2.0))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("A", dist.Poisson(a[g]), obs=count)
        sample("B", dist.Exponential(b[g]), obs=y)
        sample("C", dist.Poisson(3 * c[g]), obs=count)


@case("a b c d e", Y, POSITIVE, GROUP, relation="uniform-scale")
def truncated_scales(y, x, g):
    with plate("g", G):
        a = sample("a", dist.Uniform(0.0, 5.0))
        b = sample("b", dist.LogUniform(0.1, 5.0))
        c = sample("c", dist.Uniform(0.1, 9.0))
        d = sample("d", dist.Uniform(0.1, 9.0))
        e = sample("e", dist.HalfNormal(2.0))
    with plate("rows", N), handlers.mask(mask=jnp.asarray(SEEN)):
        sample("A", dist.Normal(0.3, a[g]), obs=y)
        sample("B", dist.LogNormal(0.3, b[g]), obs=x)
        sample("C", dist.Normal(0.3, jnp.sqrt(c[g])), obs=y)
        sample("D", dist.Laplace(0.3, d[g]), obs=y)
        sample("E", dist.Normal(0.3, 1 / e[g]), obs=y)


# -- other spellings ---------------------------------------------------------------------------------


@case("z p v a c", COUNT, BINARY, OUTCOME, GROUP, Y, POSITIVE, relation="stick-breaking")
def spelt_otherwise(count, binary, outcome, g, y, x):
    """Look-ups as products with indicators, logits of a broken stick, priors by transforms, fields of plain numbers."""
    row = jnp.eye(G)[g]
    z = sample("z", dist.TransformedDistribution(
        dist.Gamma(2.0, 1.0).expand([G]).to_event(1), AffineTransform(0.0, 0.5, domain=constraints.positive)))
    p = sample("p", dist.Beta(2.0, 1.5).expand([G]).to_event(1))
    sample("count", dist.Poisson(jnp.asarray(EXPOSURE)[:, None] * row @ z), obs=count)
    sample("binary", dist.Bernoulli(jnp.einsum("ng,g->n", row, p)), obs=binary)
    v = sample("v", dist.Beta(1.0, 1.7).expand([2]).to_event(1))
    sample("outcome", dist.Categorical(logits=jnp.pad(jnp.log(v), (0, 1)) + jnp.pad(jnp.cumsum(jnp.log1p(-v)), (1, 0))),
           obs=outcome)
    a = sample("a", dist.TransformedDistribution(dist.Normal(jnp.zeros(G), 1.0), AffineTransform(1.0, -2.0)))
    c = sample("c", dist.CAR(0.0, 0.5, 2.0, jnp.ones((G, G)) - jnp.eye(G)))
    sample("y", dist.Normal(row @ (a + c), 0.5), obs=y)


# -- together ----------------------------------------------------------------------------------------


@case("b v", Y, X)
def compose_vector_prior(y, x):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    k = jnp.asarray(MATRIX[:P, :P])
    b = sample("b", dist.MultivariateNormal(jnp.zeros(P), covariance_matrix=v * k))
    sample("y", dist.Normal(x @ b, jnp.sqrt(v)), obs=y)


@case("b t", Y, X)
def compose_vector_prior_by_precision(y, x):
    t = sample("t", dist.Gamma(2.0, 1.0))
    k = jnp.asarray(MATRIX[:P, :P])
    b = sample("b", dist.MultivariateNormal(jnp.zeros(P), precision_matrix=t * k))
    sample("y", dist.LogNormal(x @ b, t**-0.5), obs=jnp.exp(y))


@case("f", POINTS)
def factor_analysis(y):
    w = sample("w", dist.Normal(0.0, 1.0).expand([3, 2]))
    s = sample("s", dist.HalfNormal(1.0).expand([3]))
    with plate("rows", N):
        f = sample("f", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        sample("y", dist.Normal(f @ w.T, s).to_event(1), obs=y)


@case("f", POINTS, X)
def canonical_correlation(one, two):
    a, b = (sample(n, dist.Normal(0.0, 1.0).expand([2, k])) for n, k in (("a", 3), ("b", P)))
    s = sample("s", dist.HalfNormal(1.0).expand([2]))
    with plate("rows", N):
        f = sample("f", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        sample("one", dist.Normal(f @ a, s[0]).to_event(1), obs=one)
        sample("two", dist.Normal(f @ b, s[1]).to_event(1), obs=two)


@case("b s2", Y, X)
def horseshoe_with_common_scale(y, x):
    local = sample("local", dist.HalfCauchy(jnp.ones(P)))
    s2 = sample("s2", dist.InverseGamma(2.0, 1.0))
    b = sample("b", dist.Normal(0.0, local * jnp.sqrt(s2)))
    sample("y", dist.Normal(x @ b, jnp.sqrt(s2)), obs=y)


@case("phi tau", Y, relation="autoregression normal-gamma")
def autoregression_with_a_common_scale(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    phi = sample("phi", dist.Normal(jnp.zeros(2), tau**-0.5))
    lags = jnp.stack([y[1:-1], y[:-2]], 1)
    sample("y", dist.Normal(lags @ phi, 1 / jnp.sqrt(tau)), obs=y[2:])


# -- fields, and scales of each group -----------------------------------------------------------------


@case("tau", COUNT, relation="gamma-icar")
def precision_of_a_field(y):
    around = jnp.asarray(np.diag(np.ones(N - 1), 1) + np.diag(np.ones(N - 1), -1))
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    rho = sample("rho", dist.Uniform(0.0, 0.9))
    x = sample("x", dist.CAR(0.3, rho, 2 * tau, around))
    sample("y", dist.Poisson(jnp.exp(x)), obs=y)


@case("x mu", Y, relation="gaussian-field")
def autoregression_in_space(y):
    around = jnp.asarray(np.diag(np.ones(N - 1), 1) + np.diag(np.ones(N - 1), -1))
    tau = sample("tau", dist.LogNormal(0.0, 0.5))
    rho = sample("rho", dist.Uniform(0.0, 0.9))
    mu = sample("mu", dist.Normal(0.0, 2.0))
    x = sample("x", dist.CAR(mu * jnp.ones(N), rho, tau, around))
    sample("y", dist.Normal(x, 0.7), obs=y)


@case("mu tau", Y, GROUP, relation="normal-gamma")
def normal_gamma_of_each_group(y, g):
    k = sample("k", dist.LogNormal(0.0, 0.5))
    with plate("g", G):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        mu = sample("mu", dist.Normal(0.5, 1 / jnp.sqrt(k * tau)))
    sample("y", dist.Normal(mu[g], 1 / jnp.sqrt(tau)[g]), obs=y)


@case("b d v", Y, X, GROUP, relation="conjugate-regression")
def normal_inverse_gamma_of_each_group(y, x, g):
    k = sample("k", dist.LogNormal(0.0, 0.5))
    with plate("g", G):
        v = sample("v", dist.InverseGamma(2.0, 1.0))
        d = sample("d", dist.Normal(0.0, jnp.sqrt(v)))
        covariance = v[:, None, None] * jnp.asarray(MATRIX[:P, :P])
        b = sample("b", dist.MultivariateNormal(k * d[:, None] * jnp.ones(P), covariance_matrix=covariance))
    sample("y", dist.Normal(jnp.sum(x * b[g], -1) + d[g], jnp.sqrt(v)[g]), obs=y)
