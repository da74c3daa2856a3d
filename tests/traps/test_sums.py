"""Sums, masks and choices that were taken for others."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers, sample
from numpyro.infer.util import log_density
from scipy.special import gammaln

import conjugate_ppl as cj
from traps.oracles import dense, marginal

Y = np.array([0.3, -1.2, 2.0, 0.7])


def test_events_of_proportions_that_cancel():
    """Whole events sum to one, here to one less one: what else is added up stays what it is."""
    def model(y):
        p = sample("p", dist.Dirichlet(jnp.ones(3)).expand([2]))
        b = sample("b", dist.Normal(0.0, 1.0).expand([2]))
        total = jnp.sum(jnp.array([1.0, -1.0])[:, None] * p + b[:, None] * jnp.arange(1.0, 4.0))
        sample("y", dist.Normal(total, 1.0), obs=y)

    kept = {n: jnp.full((2, 3), 1 / 3) for n in cj.explain(model, Y).kept}
    expected = dense(Y, np.full((4, 4), 72.0) + np.eye(4)) + 2 * np.log(2.0) * len(kept)
    assert marginal(model, kept, Y) == pytest.approx(expected, rel=1e-9)


def test_cases_of_a_choice_with_a_sum_each():
    """Both are one candidate times a sum of kept sites, and not the same sum."""
    def model(y):
        k, (s, t, u) = sample("k", dist.Cauchy()), (sample(n, dist.HalfCauchy(1.0)) for n in "stu")
        tau = sample("tau", dist.HalfNormal(1.0))
        square = jnp.where(k > 0, tau**2 * s + tau**2 * t, tau**2 * s + tau**2 * u)
        sample("y", dist.Normal(jnp.sqrt(square), 1.0), obs=y)

    collapsed = cj.collapse(model, require=["tau"])
    for k in (-1.0, 1.0):
        kept = {"k": jnp.array(k), "s": jnp.array(0.5), "t": jnp.array(2.0), "u": jnp.array(7.0)}
        z = {"tau": jnp.array(0.8)}
        whole = log_density(model, (Y,), {}, {**kept, **z})[0] - collapsed.conditional_log_prob(z, kept, Y)
        assert float(log_density(collapsed, (Y,), {}, kept)[0]) == pytest.approx(float(whole), rel=1e-9)


def test_several_masks_of_a_site():
    """A cell counts if all of them let it: one that is missing is no number, one is outside the support."""
    seen, counted = np.array([True, False, True, True]), np.array([True, True, False, True])

    def normal(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with handlers.mask(mask=jnp.array(counted)):
            sample("y", dist.Normal(mu, 1.0).mask(seen), obs=y)

    y = np.where(seen, Y, np.nan)
    assert marginal(normal, {}, y) == pytest.approx(dense(Y[[0, 3]], np.ones((2, 2)) + np.eye(2)), rel=1e-9)

    def pareto(y):
        u, a = sample("u", dist.Normal(0.0, 1.0)), sample("a", dist.Gamma(2.0, 1.0))
        with handlers.mask(mask=jnp.array(counted)):
            sample("y", dist.Pareto(jnp.exp(u), a).mask(seen), obs=y)

    u, a = {"u": jnp.array(0.0)}, {"a": jnp.array(1.0)}
    y = np.array([2.0, 0.5, 0.5, 3.0])  # where the support begins at 1
    collapsed = cj.collapse(pareto)
    whole = log_density(pareto, (y,), {}, {**u, **a})[0] - collapsed.conditional_log_prob(a, u, y)
    assert np.isfinite(whole)
    assert float(log_density(collapsed, (y,), {}, u)[0]) == pytest.approx(float(whole), rel=1e-9)


def test_indices_that_are_traced_below_functions_of_kept_sites():
    def model(y, j):
        b, a = sample("b", dist.Normal(0.0, 1.0)), sample("a", dist.Normal(0.0, 1.0).expand([3]))
        sample("y", dist.Normal(b, jnp.exp(a[j])), obs=y)

    def density(y, j, a):
        return log_density(cj.collapse(model), (y, j), {}, {"a": a})[0]

    data = jnp.asarray(Y), jnp.array([0, 1, 2, 1]), jnp.array([0.3, -0.5, 0.1])
    assert float(jax.jit(density)(*data)) == pytest.approx(float(density(*data)), rel=1e-9)


def test_rate_of_a_line_that_starts_at_time_zero(x64):
    """At time 0 a single term is left of `c + a * t`, which is no reason to take that row apart."""
    t, y = np.linspace(0.0, 5.0, 24), np.abs(np.random.default_rng(0).normal(size=24)) + 0.1

    def model(y):
        rate, a, c = sample("l", dist.Gamma(2.0, 1.0)), sample("a", dist.HalfCauchy(1.0)), sample("c", dist.HalfCauchy(1.0))
        sample("y", dist.Exponential(rate * (c + a * jnp.asarray(t, float))), obs=y)

    assert cj.explain(model, y).collapsed == ("l",)
    line = 0.7 + 0.4 * t
    law = np.log(line).sum() + gammaln(26.0) - gammaln(2.0) - 26.0 * np.log1p((line * y).sum())
    prior = sum(float(dist.HalfCauchy(1.0).log_prob(v)) for v in (0.4, 0.7))
    assert marginal(model, {"a": jnp.array(0.4), "c": jnp.array(0.7)}, y) == pytest.approx(law + prior, rel=1e-9 if x64 else 1e-5)
