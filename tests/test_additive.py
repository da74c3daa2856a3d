"""Posteriors as sums of contributions, against fits from scratch and against scipy.

The oracle of everything is Chib's identity with NumPyro's own densities: log likelihood (to the powers that the
weights say) + log prior - log posterior = log evidence, at a value of the latents.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy import stats
from test_draws import kept_values

import conjugate_ppl as cj

N = 9
RNG = np.random.default_rng(5)
X = np.stack([np.ones(N), RNG.normal(size=N)], 1)
Y = 300 + X @ [1.0, 2.0] + RNG.normal(size=N)
GROUP = np.array([0, 1, 1, 2, 0, 2, 2, 1, 0])
SEEN = np.arange(N) % 4 != 1
KEY = jax.random.key(0)


def regression(x, y):
    s2 = numpyro.sample("s2", dist.InverseGamma(3.0, 2.0))
    level = numpyro.sample("level", dist.Normal(290.0, 30 * jnp.sqrt(s2)))
    b = numpyro.sample("b", dist.Normal(jnp.array([0.0, 1.0]), jnp.sqrt(s2)).to_event(1))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(level + x @ b, jnp.sqrt(s2 / 2)), obs=y)


def student(x):
    """The law of all observations of `regression` together."""
    spread = 0.5 * np.eye(len(x)) + 900.0 + x @ x.T
    return stats.multivariate_t(290.0 + x[:, 1], 2 / 3 * spread, df=6)


def without(law, y, rows):
    """log p(y[rows] | the others), by scipy."""
    left = np.setdiff1d(np.arange(len(y)), rows)
    part = stats.multivariate_t(law.loc[left], law.shape[np.ix_(left, left)], df=law.df)
    return law.logpdf(y) - part.logpdf(y[left])


def test_regression_with_unknown_variance(x64):
    tol = {"rtol": 1e-8} if x64 else {"rtol": 2e-5}
    x, y = jnp.asarray(X), jnp.asarray(Y)
    x32, y32 = np.asarray(x, float), np.asarray(y, float)
    law = student(x32)
    collapsed = cj.collapse(regression)
    whole = collapsed.posterior(x, y)
    np.testing.assert_allclose(whole.log_evidence(), law.logpdf(y32), **tol)
    expected = [without(law, y32, [i]) for i in range(N)]
    loo = whole.loo("y")
    assert loo.dtype == jnp.result_type(float)
    np.testing.assert_allclose(loo, expected, **tol)

    first, second = (collapsed.posterior(x[s], y[s]) for s in (slice(0, 4), slice(4, N)))
    merged, updated = first.merge(second), first.update(x[4:], y[4:])
    np.testing.assert_allclose(merged.log_evidence(), law.logpdf(y32), **tol)
    np.testing.assert_allclose(merged.loo("y"), expected, **tol)
    np.testing.assert_allclose(updated.loo("y"), expected, **tol)

    # what is taken away is predicted by what is left, and counts for nothing else
    left = updated.without("y", np.array([2, 6]))
    np.testing.assert_allclose(left.log_evidence(), student(np.delete(x32, [2, 6], 0)).logpdf(
        np.delete(y32, [2, 6])), **tol)
    rows = np.setdiff1d(np.arange(N), [6])
    np.testing.assert_allclose(left.loo("y")[2], without(student(x32[rows]), y32[rows], [2]), **tol)
    refit = collapsed.posterior(np.delete(x, [2, 6], 0), np.delete(y, [2, 6]))
    np.testing.assert_allclose(left.distributions["s2"].rate, refit.distributions["s2"].rate, **tol)


def chib(posterior, prior, powers):
    """Evidence by the identity, at a draw; `powers` has (site's distribution, data, power) by the draw."""
    value = {n: v[0] for n, v in posterior.sample(KEY, 1).items()}
    likelihood = sum(jnp.sum(w * d.log_prob(y)) for d, y, w in powers(value))
    np.testing.assert_allclose(posterior.log_likelihood(value), likelihood, rtol=1e-9)
    return log_density(prior, (), {}, value)[0] + likelihood - posterior.log_prob(value)


def many_kinds(count, group, outcome, pair, binary, seen):
    rate = numpyro.sample("rate", dist.Gamma(1e-3, 1e-3).expand([3]).to_event(1))
    p = numpyro.sample("p", dist.Beta(2.0, 1.0))
    phi = numpyro.sample("phi", dist.Dirichlet(jnp.array([[1.0, 2.0, 0.5], [1.0, 1.0, 1.0]])).to_event(1))
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    numpyro.sample("count", dist.Poisson(rate[group]), obs=count)
    with numpyro.handlers.scale(scale=2.0):
        numpyro.sample("outcome", dist.Categorical(phi[group % 2]), obs=outcome)
    numpyro.sample("pair", dist.MultivariateNormal(mean, jnp.array([[1.0, 0.3], [0.3, 2.0]])), obs=pair)
    numpyro.sample("binary", dist.Bernoulli(1 - p).mask(seen), obs=binary)


COUNT = np.array([3, 0, 5, 2, 1, 4, 2, 7, 1])
OUTCOME = np.array([0, 2, 1, 1, 0, 2, 2, 2, 1])
BINARY = np.array([1, 0, 1, 1, 0, 0, 1, 1, 1])
PAIR = np.random.default_rng(1).normal(size=(3, 2))
ARGS = (COUNT, GROUP, OUTCOME, PAIR, BINARY, SEEN)


def test_many_kinds():
    collapsed = cj.collapse(many_kinds)
    whole = collapsed.posterior(*ARGS)
    tempered = whole.temper(0.5).without("outcome", 3)

    def prior():
        with numpyro.handlers.block(hide=["count", "outcome", "pair", "binary"]):
            many_kinds(*ARGS)

    def powers(z):
        used = np.ones(N)
        used[3] = 0
        return [(dist.Poisson(z["rate"][GROUP]), COUNT, 0.5),
                (dist.Categorical(z["phi"][GROUP % 2]), OUTCOME, 2 * 0.5 * used),
                (dist.MultivariateNormal(z["mean"], jnp.array([[1.0, 0.3], [0.3, 2.0]])), PAIR, 0.5),
                (dist.Bernoulli(1 - z["p"]), BINARY, 0.5 * SEEN)]

    np.testing.assert_allclose(tempered.log_evidence(), chib(tempered, prior, powers), rtol=1e-9)
    # closed forms of each, without the cell
    events, rows = np.bincount(GROUP, COUNT), np.bincount(GROUP)
    a, b = (1e-3 + t[GROUP] - own for t, own in ((events, COUNT), (rows, 1)))
    np.testing.assert_allclose(whole.loo("count"), stats.nbinom.logpmf(COUNT, a, b / (b + 1)), rtol=1e-9)
    seen = np.bincount(BINARY[SEEN], minlength=2)
    p0, p1 = 2.0 + seen[0], 1.0 + seen[1]
    expected = np.log(np.where(BINARY == 1, p1 - 1, p0 - 1) / (p0 + p1 - 1))
    np.testing.assert_allclose(whole.loo("binary")[SEEN], expected[SEEN], rtol=1e-9)
    noise = np.array([[1.0, 0.3], [0.3, 2.0]])
    for i in range(3):
        rest = np.delete(PAIR, i, 0)
        spread = np.linalg.inv(np.eye(2) / 9 + 2 * np.linalg.inv(noise))
        law = stats.multivariate_normal(spread @ np.linalg.inv(noise) @ rest.sum(0), spread + noise)
        np.testing.assert_allclose(whole.loo("pair")[i], law.logpdf(PAIR[i]), rtol=1e-9)
    # a weighted cell as it counts, that is, twice; one taken away as what is left sees it
    np.testing.assert_allclose(whole.without("outcome", 3).loo("outcome")[3], whole.loo("outcome")[3], rtol=1e-9)
    assert whole.loo("binary")[1] == 0  # masked: no observation
    # a weight is a count: twice the same data
    twice = whole.update(*ARGS)
    assert twice.observations["pair"] == (6,)
    np.testing.assert_allclose(twice.log_evidence(), whole.temper(2).log_evidence(), rtol=1e-9)
    assert "rate" in str(whole) and "`pair` (3,)" in str(whole)


def schools(y, sigma):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


SCHOOLS = (np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
           np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]))


@pytest.mark.parametrize("large", [False, True], ids=["", "by components"])
def test_given_what_is_kept(large, x64, monkeypatch):
    if large:
        for place in ("additive.leverage", "elimination.conditionals"):
            monkeypatch.setattr(f"conjugate_ppl.{place}._DENSE", 2)
    y, sigma = map(jnp.asarray, SCHOOLS)
    found = cj.collapse(schools).posterior(y, sigma, kept={"tau": jnp.asarray(4.0)})
    loo = []
    for i in range(8):
        rest = np.arange(8) != i
        weight = 1 / (SCHOOLS[1][rest] ** 2 + 16)
        mean = np.sum(weight * SCHOOLS[0][rest]) / weight.sum()
        loo.append(stats.norm.logpdf(SCHOOLS[0][i], mean, np.sqrt(1 / weight.sum() + 16 + SCHOOLS[1][i] ** 2)))
    np.testing.assert_allclose(found.loo("y"), loo, rtol=1e-8 if x64 else 1e-4)
    laws = found.distributions
    assert set(laws) == {"mu", "theta"}
    weight = 1 / (SCHOOLS[1] ** 2 + 16)
    np.testing.assert_allclose(laws["mu"].mean, np.sum(weight * SCHOOLS[0]) / weight.sum(), rtol=1e-4)
    np.testing.assert_allclose(laws["mu"].variance, 1 / weight.sum(), rtol=1e-4)
    with pytest.raises(cj.PlanError, match="improper"):
        found.log_evidence()
    with pytest.raises(cj.PlanError, match="needs more of them"):
        found.without("y", slice(None)).log_evidence()
    one = cj.collapse(schools).posterior(y[:1], sigma[:1], kept={"tau": jnp.asarray(4.0)})
    assert np.isnan(one.loo("y")).all()  # nothing is left to predict it by


def test_left_out_of_a_large_block_without_components(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 9)), rng.normal(size=15)

    def model(x, y):
        b = numpyro.sample("b", dist.Normal(0.0, jnp.arange(1.0, 10.0)))
        numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)

    expected = cj.collapse(model).posterior(x, y).loo("y")
    monkeypatch.setattr("conjugate_ppl.additive.leverage._DENSE", 2)
    np.testing.assert_allclose(cj.collapse(model).posterior(x, y).loo("y"), expected, rtol=1e-8)


def test_left_out_of_a_large_block_with_a_wide_rest(monkeypatch):
    rng = np.random.default_rng(0)
    g, h, y = rng.integers(0, 10, 40), rng.integers(0, 20, 40), rng.normal(size=40)
    low = np.linalg.cholesky(np.cov(rng.normal(size=(10, 30))))

    def model(y):
        b = numpyro.sample("b", dist.MultivariateNormal(jnp.zeros(10), scale_tril=jnp.arange(1.0, 11.0)[:, None] * low))
        c = numpyro.sample("c", dist.Normal(0.0, jnp.arange(1.0, 21.0)))
        numpyro.sample("y", dist.Normal(b[g] + c[h], 3.0), obs=y)

    expected = cj.collapse(model).posterior(y).loo("y")
    monkeypatch.setattr("conjugate_ppl.additive.leverage._DENSE", 2)
    np.testing.assert_allclose(cj.collapse(model).posterior(y).loo("y"), expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["compose_groups", "gaussian_random_slopes", "beta_sticks", "truncated_rates", "wishart_covariances",
                                  "normal_inverse_gamma_of_each_group", "means_and_precisions_in_all_forms",
                                  "normal_wishart_of_each_group", "matrix_normals_in_all_forms", "masked_altogether"])
def test_models_of_the_table(name):
    """Evidence with values of what is kept, and one cell left out, for all kinds of relations."""
    case = CASES[name]
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in case.args]
    collapsed = cj.collapse(case.model)
    kept = kept_values(collapsed, args)
    whole = collapsed.posterior(*args, kept=kept)
    evidence = whole.log_evidence()
    np.testing.assert_allclose(evidence, log_density(collapsed, args, {}, kept)[0], rtol=1e-9)
    if not kept:
        np.testing.assert_allclose(whole.temper(0).log_evidence(), 0.0, atol=1e-9)  # the prior
    site, shape = next(iter(whole.observations.items()))
    first = (0,) * len(shape) or 0
    left = whole.without(site, first).log_evidence()
    np.testing.assert_allclose(np.atleast_1d(whole.loo(site))[first], evidence - left, rtol=1e-8, atol=1e-8)


def level_in_steps(y):
    def step(before, seen):
        level = numpyro.sample("level", dist.Normal(before, 1.3))
        numpyro.sample("y", dist.Normal(level, 0.5), obs=seen)
        return level, None

    scan(step, 290.0, y)


def walk_about_a_level(y):
    walk = numpyro.sample("walk", dist.GaussianRandomWalk(1.3, N))
    level = numpyro.sample("level", dist.Normal(290.0, 5.0))
    numpyro.sample("y", dist.Normal(level + walk, 0.5), obs=y)


@pytest.mark.parametrize("model", [level_in_steps, walk_about_a_level])
def test_chains(model, x64):
    """Added data, weights and what is taken away, against dense normals."""
    tol = {"rtol": 1e-8, "atol": 1e-8} if x64 else {"rtol": 1e-4, "atol": 1e-3}
    y, more = jnp.asarray(Y), jnp.asarray(Y + np.sin(Y))
    prior = (25.0 if model is walk_about_a_level else 0.0) + 1.3**2 * np.minimum.outer(np.arange(1, N + 1), np.arange(1, N + 1))

    def evidence(rows, y):
        law = stats.multivariate_normal(np.full(len(rows), 290.0), prior[np.ix_(rows, rows)] + 0.25 * np.eye(len(rows)))
        return law.logpdf(y)

    one = cj.collapse(model).posterior(y)
    two = one.update(more)
    each = np.arange(N)
    np.testing.assert_allclose(one.log_evidence(), evidence(each, Y), **tol)
    both = np.concatenate([each, each])
    seen = np.concatenate([y, more]).astype(float)
    np.testing.assert_allclose(two.log_evidence(), evidence(both, seen), **tol)
    np.testing.assert_allclose(two.without("y", [3, N + 1]).log_evidence(),
                               evidence(np.delete(both, [3, N + 1]), np.delete(seen, [3, N + 1])), **tol)
    np.testing.assert_allclose(one.merge(one).log_evidence(), one.temper(2.0).log_evidence(), **tol)
    value = {n: v[0] for n, v in two.sample(KEY, 1).items()}
    prior_density = log_density(numpyro.handlers.block(model, hide=["y"]), (y,), {}, value)[0]
    np.testing.assert_allclose(prior_density + two.log_likelihood(value) - two.log_prob(value), two.log_evidence(), **tol)
