"""Means of kept latents keep their digits in single precision, whatever their level, and cost a pass over the rows.

Oracles: the density of the data as one dense multivariate normal, and what float64 gives for the same numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import CASES, residuals
from numpyro import plate, sample
from numpyro.infer.util import log_density
from scipy.stats import multivariate_normal

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from conjugate_ppl.elimination.joint import GaussianElimination

N, G = 60, 6
RNG = np.random.default_rng(3)
GROUP = RNG.integers(0, G, N).astype(np.int32)
X = np.sort(RNG.uniform(0.0, 3.0, N)).astype(np.float32)
NOISE = RNG.normal(size=N) + 0.5 * RNG.normal(size=G)[GROUP]
AT = {"size": 1.0003, "rate": 1.3004, "s": 1.1, "t": 0.6, "q": 0.5}


def curve(level):
    size, rate = sample("size", dist.LogNormal(0.0, 0.1)), sample("rate", dist.LogNormal(0.0, 0.5))
    return level * size * (1 - jnp.exp(-rate * X))


def effects(y, level):
    mean, s, t = curve(level), sample("s", dist.HalfNormal(2.0)), sample("t", dist.HalfNormal(1.0))
    with plate("groups", G):
        effect = sample("effect", dist.Normal(0.0, t))
    sample("y", dist.Normal(mean + effect[GROUP], s), obs=y)


def vague_level(y, level):
    """What carries the level is not said by the priors."""
    mean, s = curve(level), sample("s", dist.HalfNormal(2.0))
    intercept = sample("intercept", dist.Normal(0.0, 1000.0))
    sample("y", dist.Normal(mean + intercept, s), obs=y)


def lines(y, level):
    """What is integrated out comes by a product of matrices."""
    mean, s = curve(level), sample("s", dist.HalfNormal(2.0))
    b = sample("b", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    sample("y", dist.Normal(mean + np.stack([np.ones_like(X), X], 1) @ b, s), obs=y)


def variances(y, level):
    mean = curve(level)
    with plate("groups", G):
        v = sample("v", dist.InverseGamma(2.0, 2.0))
    sample("y", dist.Normal(mean, jnp.sqrt(v[GROUP])), obs=y)


def walk(y, level):
    mean, s, q = curve(level), sample("s", dist.HalfNormal(2.0)), sample("q", dist.HalfNormal(1.0))
    z = sample("z", dist.GaussianRandomWalk(q, num_steps=N))
    sample("y", dist.Normal(mean + sample("start", dist.Normal(0.0, 1.0)) + z, s), obs=y)


def data(level):
    return (level * (1 - np.exp(-1.3 * X)) + NOISE).astype(np.float32)


def found_in(x64, model, y, *args):
    """The log density, its slopes, and how much these change within a posterior standard deviation."""
    with double_precision(x64):
        y = jnp.asarray(y, float)
        collapsed = cj.collapse(model)
        at = {n: jnp.asarray(np.float32(AT[n]), float) for n in cj.explain(collapsed, y, *args).kept}

        def density(kept):
            return log_density(collapsed, (y, *args), {}, kept)[0]

        value, slopes = jax.value_and_grad(density)(at)
        changes = jax.hessian(density)(at) if x64 else {}
        return float(value), {n: float(x) for n, x in slopes.items()}, {
            n: float(jnp.sqrt(jnp.abs(changes[n][n]))) for n in changes}


@pytest.mark.parametrize("level", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("model", [effects, vague_level, lines, variances, walk])
def test_single_precision(model, level):
    (exact, slopes, changes), (found, single, _) = (found_in(x64, model, data(level), level) for x64 in (True, False))
    assert found == pytest.approx(exact, abs=3e-3)
    for n in slopes:
        assert single[n] == pytest.approx(slopes[n], abs=0.02 * changes[n])


@pytest.mark.parametrize("level", [1.0, 3000.0])
def test_dense_normal(level, x64):
    y = data(level)
    mean = level * np.float32(AT["size"]) * (1 - np.exp(-np.float32(AT["rate"]) * X.astype(float)))
    covariance = AT["s"] ** 2 * np.eye(N) + AT["t"] ** 2 * (GROUP[:, None] == GROUP)
    expected = multivariate_normal(mean, covariance).logpdf(y)
    collapsed = cj.collapse(effects)
    kept = {n: AT[n] for n in ("size", "rate", "s", "t")}
    prior = sum(d.log_prob(kept[n]) for n, d in {
        "size": dist.LogNormal(0.0, 0.1), "rate": dist.LogNormal(0.0, 0.5), "s": dist.HalfNormal(2.0),
        "t": dist.HalfNormal(1.0)}.items())
    found = log_density(collapsed, (jnp.asarray(y), level), {}, kept)[0] - prior
    assert float(found) == pytest.approx(expected, abs=1e-4 * level if x64 else 0.02 + 1e-4 * level)


@pytest.mark.parametrize("scale", [1e-6, 1e-9])
def test_effects_without_scale(scale, x64):
    """As those of a scale near 0, which are what their prior mean is."""
    def model(y, with_effects):
        mean, mu = curve(100.0), sample("mu", dist.Normal(0.0, 2.0))
        z = sample("z", dist.Normal(mu, scale).expand([G]).to_event(1))[GROUP] if with_effects else mu
        sample("y", dist.Normal(mean + z, 1.0), obs=y)

    found, slopes, _ = found_in(x64, model, data(100.0), True)
    without, expected, changes = found_in(True, model, data(100.0), False)
    assert found == pytest.approx(without, abs=1e-6 if x64 else 5e-3)
    for n in slopes:
        assert slopes[n] == pytest.approx(expected[n], abs=(1e-6 if x64 else 0.01) * changes[n])


@pytest.mark.parametrize("name", ["residual_effects", "residual_level_and_variance", "residual_outcomes", "residual_walk"])
def test_second_derivative(name):
    entry = CASES[name]
    args = [jnp.asarray(a) for a in entry.args]
    collapsed = cj.collapse(entry.model)
    names = [n for n in cj.explain(collapsed, *args).kept if n != "root"]
    fixed = {"root": jnp.array([[1.0, 0.0], [0.6, 0.8]])} if name == "residual_outcomes" else {}
    start = {"size": 29.0, "rate": 1.2, "s": 1.1, "t": 0.8, "q": 0.6}
    shapes = {"s": (2,)} if name == "residual_outcomes" else {}
    kept = {n: jnp.full(shapes.get(n, ()), start[n]) for n in names}
    flat, unravel = jax.flatten_util.ravel_pytree(kept)

    def density(x):
        return log_density(collapsed, args, {}, {**fixed, **unravel(x)})[0]

    found, slope = np.asarray(jax.hessian(density)(flat)), jax.jit(jax.grad(density))
    step = 1e-5
    expected = np.stack([(slope(flat + step * e) - slope(flat - step * e)) / (2 * step) for e in np.eye(len(flat))])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_rows_are_not_written_out():
    """A residual is one number a row, and its square: neither products of what it is made of, nor the data apart."""
    y, age = map(jnp.asarray, CASES["residual_effects"].args)
    chosen = cj.collapse(residuals.residual_effects).execution((y, age), {}).chosen
    (elimination,) = [e for e in chosen.eliminations if isinstance(e, GaussianElimination)]
    assert elimination.place is not None
    assert elimination.place.free.weights.count == 1 + len(y)
    assert not any(t.roots & {"size", "rate"} for n, ts in chosen.pool.factors.items() for t in ts
                   if not any(a.variable.name.startswith("the integral") for a in t.atoms))


def test_some_effects_have_no_scale(x64):
    """Nothing is divided by a scale that is 0, in slopes either."""
    y = data(10.0)

    def model(y):
        mean, t = curve(10.0), sample("t", dist.HalfNormal(1.0))
        effect = sample("effect", dist.Normal(0.0, jnp.where(np.arange(G) < 2, 0.0, t)).to_event(1))
        sample("y", dist.Normal(mean + effect[GROUP], 1.0), obs=y)

    kept = {n: AT[n] for n in ("size", "rate", "t")}
    collapsed = cj.collapse(model)
    found, slopes = jax.jit(jax.value_and_grad(lambda k: log_density(collapsed, (jnp.asarray(y),), {}, k)[0]))(kept)
    covariance = np.eye(N) + AT["t"] ** 2 * (GROUP[:, None] == GROUP) * (GROUP[:, None] >= 2)

    def exact(size, rate):
        mean = 10.0 * size * (1 - np.exp(-rate * X.astype(float)))
        return multivariate_normal(mean, covariance).logpdf(y) + float(sum(d.log_prob(x) for d, x in (
            (dist.LogNormal(0.0, 0.1), size), (dist.LogNormal(0.0, 0.5), rate), (dist.HalfNormal(1.0), AT["t"]))))

    at, step = (AT["size"], AT["rate"]), 1e-4
    assert float(found) == pytest.approx(exact(*at), abs=1e-5 if x64 else 2e-3)
    expected = (exact(at[0] + step, at[1]) - exact(at[0] - step, at[1])) / (2 * step)
    assert float(slopes["size"]) == pytest.approx(expected, rel=0.01)
    assert np.isfinite(float(slopes["t"]))


@pytest.mark.parametrize("curve_of", [
    lambda a: a * X,  # a coefficient of a kept site: its rows add up
    lambda a: jnp.exp(-a * np.arange(4.0))[np.arange(N) % 4],  # few doses: theirs do
])
def test_what_adds_up_is_no_residual(curve_of, x64):
    def model(y):
        a, s = sample("a", dist.Normal(0.0, 1.0)), sample("s", dist.HalfNormal(2.0))
        level = sample("level", dist.Normal(0.0, 10.0))
        sample("y", dist.Normal(curve_of(a) + level, s), obs=y)

    collapsed, y = cj.collapse(model, keep=["a"]), jnp.asarray(data(1.0))
    chosen = collapsed.execution((y,), {}).chosen
    (elimination,) = chosen.eliminations
    assert elimination.place is None
    assert elimination.block.reduced.weights.count < 16
    assert cj.check(collapsed, jax.random.key(0), y).points
