"""Observation noise that goes to zero: the density has a limit, and a sampler may get there. Were it too high, it would stay."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import sample
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from conjugate_ppl.elimination.statespace import StateSpaceElimination

STEPS = 12
Y = np.random.default_rng(3).normal(size=STEPS).cumsum().astype(np.float32)
YEAR = 1990.0 + np.arange(STEPS)
DISTANCE = np.abs(np.subtract.outer(np.arange(STEPS), np.arange(STEPS)))
WALK = np.minimum.outer(1.0 + np.arange(STEPS), 1.0 + np.arange(STEPS))


def local_level(y, noise):
    def step(x, seen):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, noise), obs=seen)
        return x, None

    scan(step, sample("start", dist.Normal(0.0, 3.0)), y)


def level_in_python(y, noise):
    x = sample("start", dist.Normal(0.0, 3.0))
    for t in range(STEPS):
        x = sample(f"x{t}", dist.Normal(x, 1.0))
        sample(f"y{t}", dist.Normal(x, noise), obs=y[t])


def trend(y, noise):
    def step(carry, seen):
        x, slope = carry
        x = sample("x", dist.Normal(x + slope, 1.0))
        slope = sample("slope", dist.Normal(slope, 0.5))
        sample("y", dist.Normal(x, noise), obs=seen)
        return (x, slope), None

    scan(step, (0.0, 0.0), y)


def _errors(y, noise, above):
    def step(x, now):
        x = sample("x", dist.Normal(0.7 * x, 1.0))
        sample("y", dist.Normal(now[1] + x, noise), obs=now[0])
        return x, None

    scan(step, 0.0, (y, jnp.broadcast_to(above, y.shape)))


def mean_beside_errors(y, noise):
    _errors(y, noise, sample("mean", dist.Normal(0.0, 3.0)))


def line_beside_errors(y, noise):
    _errors(y, noise, sample("mean", dist.Normal(0.0, 3.0)) + sample("slope", dist.Normal(0.0, 0.5)) * (YEAR - 1995.0))


def line_beside_a_walk(y, noise):
    walk = sample("x", dist.GaussianRandomWalk(1.0, STEPS))
    sample("y", dist.Normal(sample("mean", dist.Normal(0.0, 3.0)) + sample("slope", dist.Normal(0.0, 0.5)) * YEAR + walk, noise), obs=y)


def mean_beside_a_walk(y, noise):
    sample("y", dist.Normal(sample("mean", dist.Normal(0.0, 3.0)) + sample("x", dist.GaussianRandomWalk(1.0, STEPS)), noise), obs=y)


def mean_beside_a_field(y, noise):
    field = sample("x", dist.MultivariateNormal(jnp.zeros(STEPS), jnp.asarray(WALK)))
    sample("y", dist.Normal(sample("mean", dist.Normal(0.0, 3.0)) + field, noise), obs=y)


def _autoregressive():
    spread = np.zeros((STEPS, STEPS))
    for i in range(STEPS):
        for j in range(STEPS):
            spread[i, j] = 0.7**DISTANCE[i, j] * (1 - 0.49 ** (1 + min(i, j))) / (1 - 0.49)
    return spread


def _trend():
    slope = np.tril(np.ones((STEPS, STEPS)), -1)  # sums of slopes before each step
    return WALK + 0.25 * slope @ WALK @ slope.T


LINE = 0.25 * np.outer(YEAR - 1995.0, YEAR - 1995.0)
CASES = {local_level: 9 + WALK, level_in_python: 9 + WALK, trend: _trend(), mean_beside_errors: 9 + _autoregressive(),
         line_beside_errors: 9 + LINE + _autoregressive(), line_beside_a_walk: 9 + 0.25 * np.outer(YEAR, YEAR) + WALK,
         mean_beside_a_walk: 9 + WALK, mean_beside_a_field: 9 + WALK}


@pytest.mark.parametrize("model", CASES, ids=lambda m: m.__name__)
def test_limit(model, x64):
    """Against the normal density of the data, whose covariance the noise hardly adds to."""
    def noisy(y):
        model(y, sample("noise", dist.HalfNormal(1.0)))

    collapsed = cj.collapse(noisy)
    assert collapsed.plan(Y).kept == ("noise",)
    value = jax.jit(jax.value_and_grad(lambda r: log_density(collapsed, (Y,), {}, {"noise": r})[0]))
    for r in (0.3, 1e-2, 1e-3, 1e-5, 1e-8, 1e-12):
        covariance = CASES[model] + r**2 * np.eye(STEPS)
        root = np.linalg.cholesky(covariance)
        z = np.linalg.solve(root, Y.astype(float))
        expected = -z @ z / 2 - np.log(np.diagonal(root)).sum() - STEPS / 2 * math.log(2 * math.pi)
        expected += 0.5 * math.log(2 / math.pi) - r**2 / 2
        found, slope = value(jnp.asarray(r))
        assert abs(found - expected) < (1e-5 if x64 else 3e-3), r
        if r > 5e-3:
            a = np.linalg.solve(covariance, Y.astype(float))
            by_noise = r * (a @ a - np.trace(np.linalg.inv(covariance))) - r
            assert abs(slope - by_noise) < (1e-6 if x64 else 0.02 + 2e-3 * abs(by_noise)), r


def test_beyond_the_range():
    """Where a precision is infinite there is no density, least of all one without the data."""
    def model(y):
        local_level(y, sample("noise", dist.HalfNormal(1.0)))

    with double_precision(False):
        y = jnp.asarray(Y)
        assert log_density(cj.collapse(model), (y,), {}, {"noise": jnp.float32(1e-20)})[0] == -jnp.inf


def test_draws_of_what_stands_beside_a_chain(x64):
    """The steps are carried with the mean; drawn, they are without it."""
    def model(y):
        mean_beside_errors(y, 0.01)

    drawn = cj.collapse(model).recover(jax.random.key(0), {}, Y, num_samples=4000)
    np.testing.assert_allclose((drawn["mean"][:, None] + drawn["x"] - Y).std(), 0.01, rtol=0.03)
    precision = np.linalg.inv(_autoregressive() + 1e-4 * np.eye(STEPS))
    ones = np.ones(STEPS)
    variance = 1 / (1 / 9 + ones @ precision @ ones)
    np.testing.assert_allclose(drawn["mean"].std(), variance**0.5, rtol=0.05)
    np.testing.assert_allclose(drawn["mean"].mean(), variance * (ones @ precision @ Y.astype(float)), atol=0.05)


@pytest.mark.parametrize("also", [True, False])
def test_what_one_sensor_alone_sees_is_not_carried(also, x64):
    """Two sensors: a mean that both see is carried with the steps, the bias of one is not, nor a mean that one alone has."""
    def model(y):
        noise, mean, bias = (sample(n, d) for n, d in (
            ("noise", dist.HalfNormal(1.0)), ("mean", dist.Normal(0.0, 3.0)), ("bias", dist.Normal(0.0, 1.0))))

        def step(x, seen):
            x = sample("x", dist.Normal(0.7 * x, 1.0))
            sample("y", dist.Normal(mean + x, noise), obs=seen)
            sample("z", dist.Normal(also * mean + bias + x, 0.5 + noise), obs=seen + 1.0)
            return x, None

        scan(step, 0.0, y)

    y = jnp.asarray(Y)
    chain = next(e for e in cj.collapse(model).execution((y,), {}).chosen.eliminations if isinstance(e, StateSpaceElimination))
    assert {s.part.site for c in chain.moved.values() for s in c.shifts} == ({"mean"} if also else set())
    cj.check(model, jax.random.key(0), y)
