"""Extremes: what is collapsed stays exact, or an error says what is wrong. Never NaN in silence."""

from __future__ import annotations

import resource
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC
from numpyro.infer.util import log_density
from scipy import special, stats

import conjugate_ppl as cj
from conjugate_ppl.algebra import value


def marginal(model: Any, *args: Any, **kept: Any) -> float:
    return float(log_density(cj.collapse(model), args, {}, kept)[0])


def normal_means(y: Any, group: Any, groups: int, tau: float, sigma: float) -> None:
    mu = numpyro.sample("mu", dist.Normal(0, 10.0))
    with numpyro.plate("groups", groups):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    with numpyro.plate("rows", len(group)):
        numpyro.sample("y", dist.Normal(theta[group], sigma), obs=y)



@pytest.mark.parametrize("tau", [1e-8, 1e-4, 1.0, 1e4, 1e8])
@pytest.mark.parametrize("sigma", [1e-4, 1.0, 1e4])
def test_scales(tau: float, sigma: float, x64: bool) -> None:
    group, y = np.array([0, 0, 1, 1, 1, 3]), np.array([0.3, -1.0, 2.0, 2.5, 0.1, -0.7])
    if tau > 1e3 * sigma and not x64:
        y = y.astype(np.float32).astype(float)  # then one rounding of the data is many sigmas
    found = float(cj.collapse(normal_means).log_evidence(y, group, 4, tau, sigma))
    # by matrices of float64: orthogonal contrasts within groups, then the group means
    counts = np.bincount(group, minlength=4)
    means = np.array([y[group == k].mean() if n else 0.0 for k, n in enumerate(counts)])
    within = sum(((y[group == k] - means[k]) ** 2).sum() for k in range(4))
    seen = counts > 0
    variance = tau**2 + sigma**2 / counts[seen]
    precision, total = 0.01 + (1 / variance).sum(), (means[seen] / variance).sum()
    expected = (-within / (2 * sigma**2) - (len(y) - seen.sum()) * np.log(sigma)
                - 0.5 * np.log(counts[seen]).sum() - len(y) / 2 * np.log(2 * np.pi)
                - 0.5 * np.log(variance).sum() - 0.5 * np.log(100 * precision)
                - 0.5 * ((means[seen] ** 2 / variance).sum() - total**2 / precision))
    assert found == pytest.approx(expected, rel=1e-9 if x64 else 3e-6, abs=1e-6 if x64 else 3e-4)


def test_a_million_groups_in_little_memory() -> None:
    rng = np.random.default_rng(0)
    groups = 10**6
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, 10**6)])
    y = (rng.normal(size=groups)[group] + rng.normal(size=len(group))).astype(np.float32)

    def model(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0, 10.0))
        tau = numpyro.sample("tau", dist.HalfNormal(1.0))
        with numpyro.plate("groups", groups):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
        with numpyro.plate("rows", len(group)):
            numpyro.sample("y", dist.Normal(theta[group], 1.0), obs=y)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    collapsed = cj.collapse(model)
    value, slope = jax.value_and_grad(
        lambda tau: log_density(collapsed, (y,), {}, {"tau": tau})[0])(jnp.asarray(1.0))
    draw = collapsed.recover(jax.random.key(0), {"tau": jnp.asarray(1.0)}, y,
                             batch_ndims=0)["theta"]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert np.isfinite(value) and np.isfinite(slope) and draw.shape == (groups,)
    assert np.std(draw) == pytest.approx(1.0, abs=0.01)  # E Var + Var E of a prior that is true
    assert grown < 3.0, f"{grown:.1f} GiB"


@pytest.mark.parametrize("count", [0, 1, 10**9])
def test_counts(count: int, x64: bool) -> None:
    def model(y: Any, n: Any) -> None:
        p = numpyro.sample("p", dist.Beta(2.0, 3.0))
        numpyro.sample("y", dist.Binomial(n, probs=p), obs=y)

    n = max(count, 10**9)
    expected = stats.betabinom(n, 2.0, 3.0).logpmf(count) if count < 2 else (
        special.betaln(2.0 + n, 3.0) - special.betaln(2.0, 3.0))
    y, n = (np.asarray(v, float if x64 else np.float32) for v in (count, n))
    assert float(cj.collapse(model).log_evidence(y, n)) == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize("counts", [[0, 0, 0], [7, 0, 0], [10**9, 1, 0]])
def test_rates(counts: list[int], x64: bool) -> None:
    def model(y: Any) -> None:
        rate = numpyro.sample("rate", dist.Gamma(1e-3, 1e-3))
        numpyro.sample("y", dist.Poisson(rate), obs=y)

    y = np.asarray(counts, float)
    total, a = y.sum(), 1e-3
    expected = (special.gammaln(a + total) - special.gammaln(a) + a * np.log(a)
                - (a + total) * np.log(a + 3) - special.gammaln(y + 1).sum())
    found = float(cj.collapse(model).log_evidence(y.astype(float if x64 else np.float32)))
    assert found == pytest.approx(expected, rel=1e-9 if x64 else 3e-6, abs=0 if x64 else 3e-7 * total)


@pytest.mark.parametrize("groups", [1, 3])
def test_all_data_missing(groups: int) -> None:
    """Masked cells may be NaN; what is left is the prior."""
    def model(y: Any, seen: Any) -> None:
        tau = numpyro.sample("tau", dist.HalfNormal(1.0))
        with numpyro.plate("groups", groups):
            theta = numpyro.sample("theta", dist.Normal(1.0, tau))
            numpyro.sample("y", dist.Normal(theta, 1.0).mask(seen), obs=y)

    y, seen = np.full(groups, np.nan), np.zeros(groups, bool)
    assert marginal(model, y, seen, tau=1.3) == pytest.approx(
        float(dist.HalfNormal(1.0).log_prob(1.3)), rel=1e-6)
    mcmc = MCMC(cj.Collapsed(model), num_warmup=200, num_samples=2000, progress_bar=False)
    mcmc.run(jax.random.key(0), y, seen)
    theta = np.asarray(mcmc.get_samples()["theta"])
    assert np.isfinite(theta).all() and abs(theta.mean() - 1.0) < 0.15


def test_probabilities_at_the_edge(x64: bool) -> None:
    def model(y: Any) -> None:
        p = numpyro.sample("p", dist.Beta(1e-3, 1e-3))
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", dist.Bernoulli(p), obs=y)

    assert cj.check(model, jax.random.key(0), np.ones(50, int))
    draws = cj.collapse(model).recover(jax.random.key(1), {}, np.ones(50, int), num_samples=500)["p"]
    assert np.isfinite(np.asarray(draws)).all() and np.asarray(draws).mean() > 0.99


def test_columns_that_are_nearly_equal() -> None:
    """A design whose columns differ by a thousandth, with priors that decide."""
    x = np.linspace(-1, 1, 20)
    design = np.stack([x, x + 1e-3 * x**2], 1)
    y = 2 * x + 0.1 * np.cos(9 * x)

    def model(y: Any) -> None:
        b = numpyro.sample("b", dist.Normal(0, 1.0).expand([2]).to_event(1))
        numpyro.sample("y", dist.Normal(design @ b, 0.1), obs=y)

    expected = stats.multivariate_normal(np.zeros(20), design @ design.T + 0.01 * np.eye(20)).logpdf(y)
    assert float(cj.collapse(model).log_evidence(y)) == pytest.approx(expected, rel=1e-9)


def test_analysis_grows_with_the_pairs_of_sites(monkeypatch: Any) -> None:
    """Sites that all meet in one sum: the products looked at are as many as pairs, not more.

    `benchmarks/analysis.py` times it.
    """
    rng = np.random.default_rng(0)

    def products(count: int) -> int:
        x, y, seen = rng.normal(size=(count, 20)), rng.normal(size=20), []
        product = value._product
        monkeypatch.setattr(value, "_product", lambda a, b: (seen.append(1), product(a, b))[1])

        def model(y: Any) -> None:
            mean = sum(numpyro.sample(f"b{j}", dist.Normal(0.0, 1.0)) * x[j] for j in range(count))
            v = numpyro.sample("v", dist.InverseGamma(2.0, 1.0))
            numpyro.sample("y", dist.Normal(mean, jnp.sqrt(v)), obs=y)

        assert len(cj.explain(model, y).collapsed) == count
        monkeypatch.undo()
        return len(seen)

    few, many = products(8), products(32)
    assert many < 17 * few
