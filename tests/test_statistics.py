"""Likelihoods of kept latents whose rows are added up ahead: the same density, at the price of the latents."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro import handlers, plate, sample
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl.planning import statistics

RNG = np.random.default_rng(0)
N, G = 60, 4
GROUP, LEVEL = RNG.integers(0, G, N), RNG.integers(0, 3, N)
X, Y, POSITIVE = RNG.normal(size=(N, 2)), RNG.normal(3.0, 1.0, N), RNG.gamma(2.0, 1.0, N)
COUNT, BINARY = RNG.poisson(3.0, N), RNG.integers(0, 2, N)
SEEN = RNG.uniform(size=N) < 0.8

MODELS: dict[str, Callable[[], None]] = {}
DIRECT: dict[str, Callable[[], None]] = {}


def _enter(table):
    return lambda model: table.setdefault(model.__name__, model)


def _effects():
    """m + a[g] + b[level], which takes twelve values."""
    m, a = sample("m", dist.Normal(0.0, 1.0)), sample("a", dist.StudentT(4.0, jnp.zeros(G), 1.0))
    return m + a[GROUP] + sample("b", dist.Laplace(jnp.zeros(3), 1.0))[LEVEL]


@_enter(MODELS)
def normal_one_scale():
    mu, s = sample("mu", dist.StudentT(3.0, 0.0, 1.0)), sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(mu, s), obs=jnp.asarray(Y))


@_enter(MODELS)
def normal_regression_scales_of_groups():
    a, b = sample("a", dist.StudentT(3.0, jnp.zeros(G), 1.0)), sample("b", dist.Laplace(jnp.zeros(2), 1.0))
    log_scale = sample("log_scale", dist.Cauchy(jnp.zeros(G), 1.0))
    with plate("rows", N), handlers.mask(mask=SEEN), handlers.scale(scale=0.5):
        sample("y", dist.Normal(a[GROUP] + jnp.asarray(X) @ b, jnp.exp(log_scale[GROUP])), obs=jnp.asarray(Y))


@_enter(MODELS)
def poisson():
    sample("y", dist.Poisson(jnp.exp(_effects())), obs=COUNT)


@_enter(MODELS)
def bernoulli():
    sample("y", dist.Bernoulli(logits=_effects()), obs=BINARY)


@_enter(MODELS)
def binomial():
    sample("y", dist.Binomial(12, logits=_effects()), obs=COUNT)


@_enter(MODELS)
def gamma():
    sample("y", dist.Gamma(sample("shape", dist.HalfNormal(1.0)), jnp.exp(_effects())), obs=jnp.asarray(POSITIVE))


@_enter(MODELS)
def exponential():
    sample("y", dist.Exponential(jnp.exp(_effects())), obs=jnp.asarray(POSITIVE))


@_enter(MODELS)
def negative_binomial():
    sample("y", dist.NegativeBinomial2(jnp.exp(_effects()), sample("k", dist.HalfNormal(1.0))), obs=COUNT)


@_enter(MODELS)
def bernoulli_of_a_probability():
    sample("y", dist.Bernoulli(probs=sample("p", dist.Beta(2.0, 2.0).expand([G]))[GROUP]), obs=BINARY)


@_enter(MODELS)
def covariate_in_a_rate():
    sample("y", dist.Poisson(jnp.exp(sample("b", dist.Normal(0.0, 1.0)) * jnp.asarray(X[:, 0]))), obs=COUNT)


@_enter(DIRECT)
def probability_that_may_be_none():
    """NumPyro clamps it, and so goes on where the logarithm has no value."""
    p = sample("p", dist.Normal(0.5, 0.2).expand([G]))
    sample("y", dist.Bernoulli(probs=p[GROUP]), obs=BINARY)


@_enter(DIRECT)
def support_that_depends_on_a_latent():
    sample("y", dist.Uniform(0.0, 20.0 + sample("high", dist.HalfNormal(1.0))), obs=jnp.asarray(POSITIVE))


@_enter(DIRECT)
def weight_that_depends_on_a_latent():
    with handlers.scale(scale=sample("w", dist.HalfNormal(1.0))):
        sample("y", dist.Normal(sample("m", dist.Normal(0.0, 1.0)), 1.0), obs=jnp.asarray(Y))


@_enter(DIRECT)
def noise_outside_sample_sites():
    noise = jax.random.normal(numpyro.prng_key())
    sample("y", dist.Normal(sample("m", dist.Normal(0.0, 1.0)) + noise, 1.0), obs=jnp.asarray(Y))


@pytest.fixture(autouse=True)
def _however_little(monkeypatch):
    monkeypatch.setattr(statistics, "_LEAST", 0)
    monkeypatch.setattr(statistics, "_GAIN", 1)


def _kept(model):
    """The model with nothing collapsed, and a value for each latent."""
    trace = handlers.trace(handlers.seed(model, 1)).get_trace()
    values = {n: s["value"] for n, s in trace.items() if s["type"] == "sample" and not s["is_observed"]}
    return cj.collapse(model, keep=tuple(values)), values


@pytest.mark.parametrize("name", MODELS)
def test_same_density(name, x64):
    collapsed, values = _kept(MODELS[name])
    assert set(collapsed.plan().statistics) == {"y"}
    (a, da), (b, db) = (jax.jit(jax.value_and_grad(lambda v, m=m: log_density(m, (), {}, v)[0]))(values)
                        for m in (MODELS[name], collapsed))
    tolerance = 1e-11 if x64 else 1e-4
    np.testing.assert_allclose(b, a, rtol=tolerance)
    for n in values:
        np.testing.assert_allclose(db[n], da[n], rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("name", DIRECT)
def test_stays_as_the_model_writes_it(name):
    collapsed, _ = _kept(DIRECT[name])
    assert not collapsed.plan().statistics


def test_digits_of_float32():
    """Data with mean 1e4 and sd 1: a difference of two log densities, to what the data in float32 give."""
    with jax.enable_x64(False):
        y = RNG.normal(1e4, 1.0, 5000).astype(np.float32)

        def model(y):
            m, s = sample("m", dist.StudentT(3.0, 1e4, 10.0)), sample("s", dist.HalfCauchy(1.0))
            sample("y", dist.Normal(m, s), obs=y)

        collapsed = cj.collapse(model, keep=["m", "s"])
        assert collapsed.plan(y).statistics == {"y": 14}
        a, b = (float(collapsed.execution((y,), {}).log_marginal({"m": m, "s": s}))
                for m, s in ((10000.0, 1.0), (10000.0625, 1.03125)))
    exact = [np.sum(-0.5 * ((y.astype(float) - m) / s) ** 2 - np.log(s))
             for m, s in ((10000.0, 1.0), (10000.0625, 1.03125))]
    assert abs((a - b) - (exact[0] - exact[1])) < 2e-3


def test_gradient_does_not_grow_with_rows():
    def model(y, g):
        a, s = sample("a", dist.Cauchy(jnp.zeros(G), 1.0)), sample("s", dist.HalfNormal(1.0))
        sample("y", dist.Normal(a[g], s), obs=y)

    sizes = [cj.explain(model, np.tile(Y, k), np.tile(GROUP, k)).statistics["y"] for k in (1, 50)]
    assert sizes[0] == sizes[1]
    assert f"computes {sizes[0]} numbers" in str(cj.explain(model, Y, GROUP))


def test_as_a_model():
    """Other latents, names and draws are as ever; what stands around the likelihood is refused."""
    def model(y):
        m, s = sample("m", dist.Cauchy(0.0, 1.0)), sample("s", dist.HalfNormal(1.0))
        numpyro.deterministic("twice", 2 * m)
        sample("y", dist.Normal(m, s), obs=y)

    mcmc = numpyro.infer.MCMC(cj.Collapsed(model), num_warmup=200, num_samples=300, progress_bar=False)
    mcmc.run(jax.random.key(0), Y)
    draws = mcmc.get_samples()
    assert set(draws) == {"m", "s", "twice"}
    assert abs(float(draws["m"].mean()) - Y.mean()) < 0.2
    with pytest.raises(cj.PlanError, match="`scale` around the collapsed model"):
        handlers.seed(handlers.scale(cj.collapse(model), 2.0), 0)(Y)
    # which some of NumPyro's algorithms put around every model
    handlers.seed(handlers.scale(cj.collapse(model), 1.0), 0)(Y)
    traced = jax.jit(lambda y: log_density(cj.collapse(model), (y,), {}, {"m": 0.1, "s": 1.0})[0])(Y)
    np.testing.assert_allclose(traced, log_density(model, (Y,), {}, {"m": 0.1, "s": 1.0})[0], rtol=1e-10)


def test_of_wordy_residuals_the_model_is_followed():
    """Squares of a regression's residuals, each with a latent of its own, are not multiplied out."""
    case = CASES["gamma_of_each_residual"]
    execution = cj.collapse(case.model).execution(case.args, {})
    kept = {"s": jnp.array(0.7), "nu": jnp.array(4.0), "b": jnp.ones(16)}
    text = jax.jit(execution.log_marginal).lower(kept).as_text()
    sizes = [math.prod(map(int, shape.split("x"))) for shape in re.findall(r"tensor<([\dx]+)xf64>", text)]
    assert 30 * 16 <= max(sizes) < 3 * 30 * 16  # the design, and not one for each pair of its columns


def test_rows_of_one_precision_add_up():
    x = RNG.normal(size=(400, 6))

    def model(y, x):
        precision = sample("precision", dist.Gamma(2.0, 1.0))
        b = sample("b", dist.Laplace(0.0, 1.0).expand([6]).to_event(1))
        sample("y", dist.Normal(x @ b, 1 / jnp.sqrt(precision)), obs=y)

    execution = cj.collapse(model).execution((x.sum(1), x), {})
    text = jax.jit(execution.log_marginal).lower({"b": jnp.ones(6)}).as_text()
    assert execution.plan.collapsed == ("precision",) and "400" not in re.findall(r"tensor<([\dx]+)xf64>", text)
