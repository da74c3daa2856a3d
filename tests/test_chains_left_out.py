"""Leave-one-out and predictions of Gaussian chains, against dense normals and refitting."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro.contrib.control_flow import scan
from scipy import stats
from test_draws import kept_values

import conjugate_ppl as cj

N = 9
Y = 300 + np.random.default_rng(5).normal(size=N).cumsum()


def vague_level(y):
    def step(before, seen):
        level = numpyro.sample("level", dist.Normal(before, 1.3))
        numpyro.sample("y", dist.Normal(level, 0.5), obs=seen)
        return level, None

    start = numpyro.sample("start", dist.Normal(0.0, 1000.0))
    scan(step, start, y)


def law_of_rows(rows):
    covariance = 1e6 + 1.3**2 * np.minimum.outer(np.arange(1, N + 1), np.arange(1, N + 1)) + 0.25 * np.eye(N)
    return stats.multivariate_normal(np.zeros(len(rows)), covariance[np.ix_(rows, rows)])


def test_a_vague_level(x64):
    """Against dense normals; the first observations alone know the start."""
    y = jnp.asarray(Y)
    y64, every = np.asarray(y, float), np.arange(N)
    whole = cj.collapse(vague_level).posterior(y)
    expected = [law_of_rows(every).logpdf(y64) - law_of_rows(np.delete(every, i)).logpdf(np.delete(y64, i)) for i in every]
    np.testing.assert_allclose(whole.loo("y"), expected, rtol=1e-7 if x64 else 1e-4)
    few = cj.collapse(vague_level).posterior(y[:1])
    np.testing.assert_allclose(few.loo("y"), law_of_rows([0]).logpdf(y64[:1]), rtol=1e-7 if x64 else 1e-4)
    again = whole.predictive("y").log_prob(y + 1)
    added = [float(whole.update(jnp.where(jnp.arange(N) == i, y + 1, y)).without(
        "y", [N + k for k in range(N) if k != i]).log_evidence() - whole.log_evidence()) for i in (0, N - 1)]
    np.testing.assert_allclose(np.asarray(again)[[0, -1]], added, rtol=1e-7 if x64 else 1e-3)


@pytest.mark.parametrize("name", ["local_trend", "autoregression", "several_series", "vector_states", "shocks_as_sites",
                                  "coefficients_that_all_steps_share", "autoregression_about_an_unknown_mean",
                                  "one_variance_for_all_of_a_chain", "chains_in_all_forms", "local_trend_with_flat_starts",
                                  "several_chains_with_missing_values"])
def test_models_of_the_table(name):
    case = CASES[name]
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in case.args]
    collapsed = cj.collapse(case.model)
    whole = collapsed.posterior(*args, kept=kept_values(collapsed, args))
    flat = any(d.family == "Flat" for d in whole.execution.plan.decisions.values())
    for site, shape in whole.observations.items():
        loo = np.atleast_1d(whole.loo(site))
        place = (0,) * len(shape) or 0
        left = whole.without(site, place)
        evidence = [p._log_density if flat else p.log_evidence() for p in (whole, left)]
        np.testing.assert_allclose(loo[place], evidence[0] - evidence[1], rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(np.atleast_1d(left.loo(site))[place], loo[place], rtol=1e-7, atol=1e-7)


def test_double_precision_ends(x64):
    before = jnp.zeros(()).dtype
    cj.collapse(vague_level).posterior(jnp.asarray(Y)).loo("y")
    assert jnp.zeros(()).dtype == before == (jnp.float64 if jax.config.jax_enable_x64 else jnp.float32)
