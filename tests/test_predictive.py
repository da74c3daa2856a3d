"""Closed-form predictions, against the log-partition: the density of a cell of weight 0 that `loo` gives.

The two share no code beyond the posterior's natural parameters: `loo` never knows what a distribution is called.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models.table import BINARY, COUNT, GROUP, OUTCOME, POSITIVE, ROOT, N, P, X, Y
from numpyro import plate, sample
from numpyro.handlers import seed, trace
from scipy import stats

import conjugate_ppl as cj
from conjugate_ppl.marginals import (
    BurrXII,
    CompoundGamma,
    CompoundOnInterval,
    CompoundVonMises,
    DoubleLomax,
    GeneralizedBetaPrime,
    Lomax,
)
from conjugate_ppl.predictive import rules

RATES = np.linspace(0.5, 2.0, N)  # exposures
PAIRS = np.stack([Y, Y[::-1]], 1)


def of_a_gamma(z, sign):
    """Everything that is affine in log z and z (or 1 / z)."""
    z = z[GROUP] if sign > 0 else 1 / z[GROUP]
    sample("poisson", dist.Poisson(RATES * z), obs=COUNT)
    sample("exponential", dist.Exponential(RATES * z), obs=POSITIVE)
    sample("gamma", dist.Gamma(1.5, RATES * z), obs=POSITIVE)
    sample("inverse_gamma", dist.InverseGamma(1.5, RATES * z), obs=POSITIVE)
    sample("weibull", dist.Weibull(RATES / jnp.sqrt(z), 2.0), obs=POSITIVE)
    sample("laplace", dist.Laplace(0.3, RATES / z), obs=Y)
    sample("pareto", dist.Pareto(0.9 * POSITIVE.min(), RATES * z), obs=POSITIVE)
    sample("normal", dist.Normal(0.3, RATES / jnp.sqrt(z)), obs=Y)
    sample("lognormal", dist.LogNormal(0.3, z**-0.5), obs=POSITIVE)
    sample("half_normal", dist.HalfNormal(z**-0.5), obs=POSITIVE)


def gamma():
    of_a_gamma(sample("z", dist.Gamma(2.0, 1.5).expand([3]).to_event(1)), 1)


def inverse_gamma():
    of_a_gamma(sample("z", dist.InverseGamma(2.0, 1.5).expand([3]).to_event(1)), -1)


GAMMA = {"poisson": dist.GammaPoisson, "exponential": Lomax, "gamma": CompoundGamma,
         "inverse_gamma": GeneralizedBetaPrime, "weibull": BurrXII, "laplace": DoubleLomax, "normal": dist.StudentT,
         "pareto": dist.TransformedDistribution, "lognormal": dist.TransformedDistribution,
         "half_normal": dist.FoldedDistribution}


def truncated_gamma():
    of_a_gamma(sample("z", dist.Uniform(0.1, 3.0).expand([3]).to_event(1)), 1)


def truncated_inverse_gamma():
    of_a_gamma(sample("z", dist.Uniform(0.1, 3.0).expand([3]).to_event(1)), -1)


def truncated_mean():
    z = sample("z", dist.Uniform(-1.0, 2.0).expand([3]).to_event(1))[GROUP]
    sample("normal", dist.Normal(1.0 - 0.5 * z, RATES), obs=Y)
    sample("lognormal", dist.LogNormal(z, 0.5), obs=POSITIVE)


TRUNCATED = dict.fromkeys(GAMMA, CompoundOnInterval)
MEANS = dict.fromkeys(("normal", "lognormal"), CompoundOnInterval)


def matrices():
    p = sample("p", dist.Wishart(4.5, scale_tril=jnp.asarray(np.stack([ROOT] * 3))).to_event(1))[GROUP]
    s = sample("s", dist.InverseWishartCholesky(4.5, scale_tril=jnp.asarray(np.stack([ROOT] * 3))).to_event(1))[GROUP]
    points = np.stack([Y, POSITIVE, Y[::-1]], 1)
    sample("precision", dist.MultivariateNormal(0.3, precision_matrix=RATES[:, None, None] * p), obs=points)
    sample("root", dist.MultivariateNormal(0.3, scale_tril=2.0 * s), obs=points)


MATRICES = dict.fromkeys(("precision", "root"), dist.MultivariateStudentT)


def beta():
    p = sample("p", dist.Beta(2.0, 1.5).expand([3]).to_event(1))[GROUP]
    logits = jnp.log(p) - jnp.log1p(-p)
    sample("bernoulli", dist.Bernoulli(p), obs=BINARY)
    sample("turned", dist.Bernoulli(1 - p), obs=BINARY)
    sample("bernoulli_logits", dist.Bernoulli(logits=-logits), obs=BINARY)
    sample("binomial", dist.Binomial(np.arange(7, 7 + N), p), obs=COUNT)
    sample("binomial_logits", dist.Binomial(10, logits=logits), obs=COUNT)
    sample("negative_binomial", dist.NegativeBinomialProbs(3.5, p), obs=COUNT)
    sample("negative_binomial_logits", dist.NegativeBinomialLogits(3.5, logits), obs=COUNT)
    sample("geometric", dist.Geometric(p), obs=COUNT)
    sample("geometric_logits", dist.Geometric(logits=logits), obs=COUNT)


BETA = {"bernoulli": dist.BernoulliProbs, "turned": dist.BernoulliProbs, "bernoulli_logits": dist.BernoulliProbs,
        "binomial": dist.BetaBinomial, "binomial_logits": dist.BetaBinomial,
        "negative_binomial": dist.BetaNegativeBinomial, "negative_binomial_logits": dist.BetaNegativeBinomial,
        "geometric": dist.BetaNegativeBinomial, "geometric_logits": dist.BetaNegativeBinomial}


def dirichlet():
    phi = sample("phi", dist.Dirichlet(jnp.array([[1.0, 2.0, 0.5], [2.0, 1.0, 1.0], [1.0, 1.0, 1.0]])).to_event(1))
    sample("categorical", dist.Categorical(phi[GROUP]), obs=OUTCOME)
    sample("logits", dist.Categorical(logits=jnp.log(phi)[GROUP]), obs=OUTCOME)
    sample("logits_of_many", dist.Multinomial(7, logits=jnp.log(phi)[:2]), obs=np.array([[1, 4, 2], [0, 3, 4]]))
    sample("multinomial", dist.Multinomial(7, phi[:2]), obs=np.array([[1, 4, 2], [0, 3, 4]]))


DIRICHLET = {"categorical": dist.CategoricalProbs, "logits": dist.CategoricalProbs,
             "logits_of_many": dist.DirichletMultinomial, "multinomial": dist.DirichletMultinomial}


def direction():
    z = sample("z", dist.VonMises(jnp.array([0.5, 2.0, -3.0]), 1.5).to_event(1))[GROUP]
    sample("turned", dist.VonMises(z + 0.3, RATES), obs=np.clip(Y, -3, 3))
    sample("mirrored", dist.VonMises(0.5 - z, 2.0), obs=np.clip(Y, -3, 3))


DIRECTION = {"turned": CompoundVonMises, "mirrored": CompoundVonMises}


def gaussian():
    b = sample("b", dist.Normal(jnp.ones(P), 2.0).to_event(1))
    a = sample("a", dist.MultivariateNormal(b[0], scale_tril=jnp.asarray(ROOT)))
    sample("normal", dist.Normal(X @ b + a[GROUP], RATES), obs=Y)
    sample("vector", dist.Normal(X @ b, RATES).to_event(1), obs=Y)
    sample("lognormal", dist.LogNormal(a[GROUP], 0.5), obs=POSITIVE)
    with plate("rows", N):
        sample("pair", dist.MultivariateNormal(b, jnp.array([[1.0, 0.3], [0.3, 2.0]])), obs=PAIRS)


GAUSSIAN = {"normal": dist.Normal, "vector": dist.MultivariateNormal, "lognormal": dist.TransformedDistribution,
            "pair": dist.MultivariateNormal}


def student():
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    b = sample("b", dist.Normal(jnp.ones(P), 2 / jnp.sqrt(tau)).to_event(1))
    sample("normal", dist.Normal(X @ b, RATES / jnp.sqrt(tau)), obs=Y)
    sample("vector", dist.Normal(X @ b, RATES / jnp.sqrt(tau)).to_event(1), obs=Y)
    sample("lognormal", dist.LogNormal(b[0] + np.zeros(N), 0.5 / jnp.sqrt(tau)), obs=POSITIVE)


STUDENT = {"normal": dist.StudentT, "vector": dist.MultivariateStudentT, "lognormal": dist.TransformedDistribution}


def by_part():
    """Means below precision matrices, and below variances of each group."""
    root = jnp.asarray(np.stack([ROOT] * 3))
    p = sample("p", dist.WishartCholesky(4.5, scale_tril=root).to_event(1))
    precision = p @ jnp.swapaxes(p, -1, -2)
    m = sample("m", dist.MultivariateNormal(0.5, precision_matrix=2.0 * precision).to_event(1))
    v = sample("v", dist.InverseGamma(3.0, 2.0).expand([3]).to_event(1))
    b = sample("b", dist.Normal(0.0, jnp.sqrt(v)[:, None]).expand([3, P]).to_event(2))
    points = np.stack([Y, POSITIVE, Y[::-1]], 1)
    sample("point", dist.MultivariateNormal(1 - m[GROUP], precision_matrix=RATES[:, None, None] * precision[GROUP]),
           obs=points)
    loc, scale = jnp.sum(X * b[GROUP], -1), RATES * jnp.sqrt(v)[GROUP]
    sample("normal", dist.Normal(loc, scale), obs=Y)
    sample("lognormal", dist.LogNormal(loc, scale), obs=POSITIVE)
    with plate("groups", 3):
        sample("vector", dist.Normal(b, jnp.sqrt(v)[:, None]).to_event(1), obs=X[:3])
        sample("dense", dist.MultivariateNormal(b, v[:, None, None] * jnp.array([[1.0, 0.3], [0.3, 2.0]])), obs=X[:3])


BY_PART = {"point": dist.MultivariateStudentT, "normal": dist.StudentT, "lognormal": dist.TransformedDistribution,
           "vector": dist.MultivariateStudentT, "dense": dist.MultivariateStudentT}


@pytest.mark.parametrize(("model", "kinds"), [
    (gamma, GAMMA), (inverse_gamma, GAMMA), (truncated_gamma, TRUNCATED),
    (truncated_inverse_gamma, TRUNCATED), (truncated_mean, MEANS), (matrices, MATRICES), (beta, BETA), (dirichlet, DIRICHLET), (direction, DIRECTION), (gaussian, GAUSSIAN),
    (student, STUDENT), (by_part, BY_PART)], ids=lambda x: getattr(x, "__name__", ""))
def test_predictions(model, kinds):
    whole = cj.collapse(model).posterior()
    both = whole.merge(whole.temper(0))  # the same cells again, of weight 0
    with seed(rng_seed=0), trace() as run:
        model()
    for site, kind in kinds.items():
        found, shape = whole.predictive(site), whole.observations[site]
        assert type(found) is kind and found.batch_shape == shape
        loo = np.atleast_1d(both.loo(site))
        np.testing.assert_allclose(found.log_prob(run[site]["value"]), loo[len(loo) // 2:].reshape(shape),
                                   rtol=2e-6 if kind in BETA.values() else 1e-8, err_msg=site)  # NumPyro's betaln
        assert found.support is not None
        assert found.sample(jax.random.key(0), (3,)).shape == (3, *shape, *found.event_shape)


def regression(x, y=None):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    b = sample("b", dist.Normal(0.0, jnp.sqrt(s2)).expand([2]).to_event(1))
    level = sample("level", dist.Normal(0.0, jnp.sqrt(s2)))
    sample("y", dist.Normal(level + x @ b, jnp.sqrt(s2)), obs=y)


def test_new_rows_and_prior():
    whole = cj.collapse(regression).posterior(X, Y)
    design = np.concatenate([X, np.ones((N, 1))], 1)
    precision = np.eye(3) + design.T @ design
    mean = np.linalg.solve(precision, design.T @ Y)
    a, b = 3.0 + N / 2, 2.0 + 0.5 * (Y @ Y - mean @ precision @ mean)
    new = np.array([[0.3, -1.0], [2.0, 0.5]])
    rows = np.concatenate([new, np.ones((2, 1))], 1)
    spread = np.sqrt(b / a * (1 + np.einsum("ni,ij,nj->n", rows, np.linalg.inv(precision), rows)))
    found = whole.predictive("y", new)
    np.testing.assert_allclose(found.log_prob(1.5), stats.t(2 * a, rows @ mean, spread).logpdf(1.5), rtol=1e-9)
    prior = whole.temper(0).predictive("y", new)
    wide = np.sqrt(2 / 3 * (1 + (rows**2).sum(1)))
    np.testing.assert_allclose(prior.log_prob(1.5), stats.t(6, 0, wide).logpdf(1.5), rtol=1e-9)
    # the latents' own laws: Student's t too
    laws = whole.distributions
    covariance = b / a * np.linalg.inv(precision)
    assert [type(d) for d in laws.values()] == [dist.InverseGamma, dist.MultivariateStudentT, dist.StudentT]
    np.testing.assert_allclose(laws["b"].log_prob(jnp.ones(2)), stats.multivariate_t(
        mean[:2], covariance[:2, :2], df=2 * a).logpdf(np.ones(2)), rtol=1e-9)
    np.testing.assert_allclose(laws["level"].mean, mean[2], rtol=1e-9)


def test_every_rule_is_used():
    for model, table in ((gamma, rules.GAMMA), (inverse_gamma, rules.GAMMA), (beta, rules.BETA),
                         (dirichlet, rules.DIRICHLET)):
        with seed(rng_seed=0), trace() as run:
            model()
        assert {type(s["fn"]) for s in run.values() if s["is_observed"]} == table.keys()


def test_counts_without_values():
    """Where none is given an observed count is a discrete latent of the other program, and the prior is still the same."""
    def model(exposure, y):
        z = sample("z", dist.Gamma(2.0, 1.0))
        sample("y", dist.Poisson(z * exposure), obs=y)

    exposure = np.array([1.0, 2.0, 0.5])
    posterior = cj.collapse(model).posterior(exposure, np.array([1, 3, 0]))
    law = posterior.predictive("y", exposure[:2], None)
    expected = stats.nbinom(6.0, 4.5 / (4.5 + exposure[:2]))
    np.testing.assert_allclose(law.log_prob(np.array([2, 0])), expected.logpmf([2, 0]), rtol=1e-9)
