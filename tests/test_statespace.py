"""State space by a filter against dense normals in SciPy: values, derivatives, digits, growth."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import evaluated
from models import CASES, statespace
from numpyro import sample
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from conjugate_ppl.carries import carried
from conjugate_ppl.graph import Graph
from conjugate_ppl.statespace import parallel


def by_scan(y, x):
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))

    def step(carry, row):
        level, slope = carry
        seen, gain = row
        level = sample("level", dist.Normal(level + slope, scales[0]))
        slope = sample("slope", dist.Normal(0.9 * slope, scales[1]))
        sample("y", dist.Normal(gain * level, scales[2]), obs=seen)
        return (level, slope), None

    scan(step, (2.0, 0.1), (y, x))


def dense(scales, y, x):
    """The same log density by SciPy: all levels and slopes are a matrix times their noise."""
    n = len(y)
    reads, mean = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    mean[:2] = 2.0 + 0.1, 0.9 * 0.1
    for t in range(1, n):
        reads[2 * t, 2 * t - 2], reads[2 * t, 2 * t - 1], reads[2 * t + 1, 2 * t - 1] = 1.0, 1.0, 0.9
    effect = np.linalg.inv(np.eye(2 * n) - reads)
    seen = np.zeros((n, 2 * n))
    seen[np.arange(n), 2 * np.arange(n)] = x
    noise = np.tile(np.square(scales[:2]), n)
    covariance = seen @ (effect * noise) @ effect.T @ seen.T + scales[2] ** 2 * np.eye(n)
    prior = stats.halfnorm.logpdf(scales).sum()
    return stats.multivariate_normal(seen @ effect @ mean, covariance).logpdf(y) + prior


@pytest.mark.parametrize("scales", [[0.7, 0.2, 1.0], [1e-6, 0.3, 0.5], [0.5, 1e-8, 1e-3], [50.0, 9.0, 0.1]])
def test_against_a_dense_normal(scales, x64):
    rng = np.random.default_rng(3)
    y, x = (rng.normal(3.0, 1.0, 8).astype(np.float32), rng.uniform(0.5, 2.0, 8).astype(np.float32))
    collapsed, scales = cj.collapse(by_scan), np.array(scales)
    found, slope = jax.value_and_grad(lambda k: log_density(
        collapsed, (jnp.asarray(y), jnp.asarray(x)), {}, {"scales": k})[0])(jnp.asarray(scales))
    assert float(found) == pytest.approx(dense(scales, y.astype(float), x), rel=1e-9 if x64 else 1e-5)
    for k, unit in enumerate(np.eye(3)):
        step = unit * 1e-5 * max(scales[k], 1e-3)
        up, down = (dense(scales + h, y.astype(float), x) for h in (step, -step))
        # a difference of numbers as large as rows / scale
        rounding = 0.0 if x64 else 2e-6 * len(y) / max(scales[k], 1e-3)
        assert float(slope[k]) == pytest.approx((up - down) / (2 * step[k]), rel=5e-3,
                                                abs=5e-3 + rounding)


def walk_by_scan(y):
    start = sample("start", dist.Normal(0.0, 1e3))

    def step(x, seen):
        x = sample("x", dist.Normal(x, 0.8))
        sample("y", dist.Normal(x, 1.1), obs=seen)
        return x, None

    scan(step, start, y)


def walk_by_shocks(y):
    start = sample("start", dist.Normal(0.0, 1e3))

    def step(x, seen):
        x = x + 0.8 * sample("shock", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(x, 1.1), obs=seen)
        return x, None

    scan(step, start, y)


def walk_by_sum(y):
    start = sample("start", dist.Normal(0.0, 1e3))
    shocks = sample("shocks", dist.Normal(0.0, 1.0).expand(y.shape))
    sample("y", dist.Normal(start + 0.8 * jnp.cumsum(shocks), 1.1), obs=y)


def walk_by_python_loop(y):
    x = sample("start", dist.Normal(0.0, 1e3))
    walk = [x := sample(f"x{t}", dist.Normal(x, 0.8)) for t in range(len(y))]
    sample("y", dist.Normal(jnp.stack(walk), 1.1), obs=y)


@pytest.mark.parametrize("model", [walk_by_scan, walk_by_shocks, walk_by_sum, walk_by_python_loop])
def test_far_from_zero(model, x64):
    """A random walk at a level of ten thousand, the first state vague: float32 keeps its digits."""
    rng = np.random.default_rng(3)
    for level in (0.0, 1e4):
        y = jnp.asarray(level + np.cumsum(rng.normal(size=60)) + rng.normal(size=60), jnp.float32)
        steps = np.arange(1, 61)
        covariance = 1e6 + 0.64 * np.minimum.outer(steps, steps) + 1.21 * np.eye(60)
        expected = stats.multivariate_normal(np.zeros(60), covariance).logpdf(np.asarray(y, float))
        collapsed = cj.collapse(model)
        assert len(collapsed.execution((y,), {}).chosen.eliminations) == 1
        assert float(collapsed.log_evidence(y)) == pytest.approx(expected, abs=1e-6 if x64 else 2e-3)


def test_small_noise_under_a_vague_start(x64):
    """The derivative keeps its digits where what is seen is a trillion times as sure as what was known before."""
    y = jnp.asarray(np.cumsum(np.random.default_rng(3).normal(size=9)), jnp.float32)

    def model(y):
        noise = sample("noise", dist.LogNormal(0.0, 1.0))
        start = sample("start", dist.Normal(0.0, 1e3))

        def step(x, seen):
            x = sample("x", dist.Normal(x, 0.8))
            sample("y", dist.Normal(x, noise), obs=seen)
            return x, None

        scan(step, start, y)

    def expected(u):
        steps = np.arange(1, 10)
        covariance = 1e6 + 0.64 * np.minimum.outer(steps, steps) + np.exp(2 * u) * np.eye(9)
        return stats.multivariate_normal(np.zeros(9), covariance).logpdf(np.asarray(y, float)) \
            + stats.lognorm(1.0).logpdf(np.exp(u))

    for noise in (1e-2, 1e-4, 1e-6):
        slope = jax.grad(lambda u: log_density(cj.collapse(model), (y,), {}, {"noise": jnp.exp(u)})[0])
        u = np.log(noise)
        difference = (expected(u + 1e-3) - expected(u - 1e-3)) / 2e-3
        assert float(slope(jnp.asarray(u))) == pytest.approx(difference, abs=1e-4 if x64 else 1e-3)


# statsmodels 0.14's KalmanSmoother, loglikelihood_burn=0, initialize_known: log likelihood, then means and variances
# of smoothed states at three steps. Nile: design, transition and selection 1, state_cov 1469.1, obs_cov 15099,
# initial state N(1000, 1e6). Carbon dioxide: state (level, slope, season, season before, the one before that),
# transition [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, -1, -1, -1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], selection
# [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], design [1, 0, 1, 0, 0], scales 0.3, 0.05, 0.1, 0.2; the
# initial state is a step of this after N((315, 0, 0, 0, 0), diag(100, 1, 25, 25, 25)).
STATSMODELS = {
    "nile": (-640.3805408207318, {"level": (
        [919.4898142196229, 798.3702926083579], [2326.756895052546, 4032.157941808779])}),
    "nile_missing": (-388.4219399199177, {"level": (
        [903.4200048296318, 798.3151146175693], [9715.005804760143, 4032.1867974482548])}),
    "co2": (-48.72389159488051, {
        "level": ([315.8983007984221, 319.1859152221475, 331.4428532112717],
                  [0.04882797122538863, 0.0842000158037875, 0.048891817513342185]),
        "slope": ([0.11522379951012399, 0.1633523410577593, 0.24426338651308702],
                  [0.01716624702217671, 0.007546730288345809, 0.01497149673233771]),
        "season": ([-0.8657873227229043, 0.5363391400694778, -1.935367779958471],
                   [0.031407603397057796, 0.022271400457026486, 0.03139812303749309])}),
}


@pytest.mark.parametrize("name", STATSMODELS)
def test_against_statsmodels(name):
    spec = importlib.util.spec_from_file_location(
        "time_series", Path(__file__).parents[1] / "examples" / "time_series.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    if name == "co2":
        model, kept = example.co2, {"scales": jnp.array([0.3, 0.05, 0.1, 0.2])}
        prior, at = dist.HalfNormal(jnp.array([0.5, 0.1, 0.3, 0.5])), [0, 22, 69]
    else:
        model, kept = example.nile, {"noise": jnp.sqrt(15099.0), "drift": jnp.sqrt(1469.1)}
        prior, at = dist.HalfNormal(200.0), [28, 98]  # the first year is a site of its own
    collapsed, data = cj.collapse(model), example.data(name)
    log_likelihood, states = STATSMODELS[name]
    found = log_density(collapsed, (), data, kept)[0] - sum(
        jnp.sum(prior.log_prob(v)) for v in kept.values())
    assert float(found) == pytest.approx(log_likelihood, rel=1e-10)
    laws = collapsed.conditionals(kept, **data)
    for site, (mean, variance) in states.items():
        np.testing.assert_allclose(np.asarray(laws[site].mean)[at], mean, rtol=1e-8)
        np.testing.assert_allclose(np.asarray(laws[site].variance)[at], variance, rtol=1e-8)


def test_maximum_likelihood_of_the_nile():
    """The variances that Durbin and Koopman (2012, section 2.10) report are where the likelihood from a flat start, which
    is that of the differences, is largest; that the level's own place is unknown costs nothing."""
    y = np.genfromtxt(Path(__file__).parents[1] / "examples" / "data" / "nile.csv", delimiter=",", skip_header=1)[:, -1]

    def model(y):
        scales = sample("scales", dist.ImproperUniform(dist.constraints.positive, (2,), ()))
        first = sample("first", dist.ImproperUniform(dist.constraints.real, (), ()))
        sample("y_first", dist.Normal(first, scales[0]), obs=y[0])

        def step(level, flow):
            level = sample("level", dist.Normal(level, scales[1]))
            sample("y", dist.Normal(level, scales[0]), obs=flow)
            return level, None

        scan(step, first, y[1:])

    collapsed, kept = cj.collapse(model), {"scales": jnp.sqrt(jnp.array([15099.0, 1469.1]))}
    assert set(collapsed.plan(y).collapsed) == {"first", "level"}
    found, slope = jax.value_and_grad(lambda k: log_density(collapsed, (y,), {}, k)[0])(kept)
    n = len(y) - 1
    covariance = 1469.1 * np.eye(n) + 15099.0 * (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))
    expected = stats.multivariate_normal(np.zeros(n), covariance).logpdf(np.diff(y))
    assert float(found) == pytest.approx(expected, rel=1e-10) and float(found) == pytest.approx(-632.5456, abs=1e-4)
    # in the logarithms of the variances; five and four digits are reported
    assert np.abs(np.asarray(slope["scales"] * kept["scales"] / 2)).max() < 2e-3


def test_second_derivative():
    """Forward over reverse, for Laplace approximations."""
    case = CASES["local_level"]
    assert case.model is statespace.local_level
    y = jnp.asarray(case.args[0])

    def density(s):
        return log_density(cj.collapse(case.model), (y,), {}, {"walk": s[0], "noise": s[1]})[0]

    at, step = jnp.array([0.7, 1.2]), 1e-4
    found = np.asarray(jax.hessian(density)(at))
    slope = jax.jit(jax.grad(density))
    expected = [(slope(at + step * e) - slope(at - step * e)) / (2 * step) for e in np.eye(2)]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6)


def test_time_and_memory_by_steps():
    """What is compiled does not grow with the steps, and nothing of their square is held."""
    sizes = []
    for model, kept in ((statespace.local_trend, {"scales": jnp.ones(3)}),
                        (statespace.walk_as_a_running_sum, {"sigma": jnp.ones(())})):
        for n in (50, 400):
            y = jnp.asarray(np.random.default_rng(3).normal(size=n))
            collapsed = cj.collapse(model)
            collapsed.plan(y)
            text = str(jax.make_jaxpr(jax.grad(lambda k, c=collapsed, y=y: log_density(c, (y,), {}, k)[0]))(kept))
            sizes.append(text.count(" = "))
            many = {k: jnp.broadcast_to(v, (1000, *v.shape)) for k, v in kept.items()}
            draws = jax.make_jaxpr(lambda c=collapsed, y=y, m=many: c.recover(jax.random.key(0), m, y))()
            assert not re.search(rf"\b{n},{n}\b", text + str(draws))
    assert sizes[::2] == sizes[1::2]


@pytest.mark.parametrize("x64, name, times", [
    (True, "local_trend", 40), (False, "local_trend", 8), (True, "coefficients_that_all_steps_share", 1),
    (True, "seasons_as_a_vector", 1), (False, "seasons_as_a_vector", 1), (True, "exponential_smoothing", 1)], indirect=["x64"])
def test_parallel_in_time(name, times, x64, monkeypatch):
    """Steps put together in parallel, as where there are many processors: the same value and derivative. No
    loop is left but the model's own. Of the trend XLA compiles everything for half a minute: here NumPy evaluates it."""
    case, run = CASES[name], evaluated if x64 or times > 1 else jax.jit
    args = [jnp.tile(jnp.asarray(a), (times, *[1] * (np.ndim(a) - 1))) for a in case.args]
    found, loops, draws = [], [], []
    for least in ({}, {jax.default_backend(): 2}):
        monkeypatch.setattr(parallel, "LEAST", least)
        collapsed = cj.collapse(case.model)
        program, plan = collapsed.execution(tuple(args), {}).program, collapsed.plan(*args)
        kept = {n: 0.3 + 0.1 * jnp.arange(float(program.sites[n].size)).reshape(program.sites[n].shape)
                for n in plan.kept}
        both = jax.value_and_grad(lambda k, c=collapsed: log_density(c, tuple(args), {}, k)[0])
        value, slope = run(both)(kept)
        found.append(np.concatenate([np.ravel(value), *map(np.ravel, slope.values())]))

        def everything(kept, c=collapsed):
            drawn = c.recover(jax.random.key(1), {n: v[None] for n, v in kept.items()}, *args,
                              num_samples=None if kept else 1)
            laws = c.conditionals(kept, *args)
            return {**drawn, **{n + " law": jnp.stack([d.mean, d.variance]) for n, d in laws.items()},
                    "density": c.conditional_log_prob({n: v[0] for n, v in drawn.items()}, kept, *args)}

        draws.append({n: np.asarray(v) for n, v in run(everything)(kept).items()})
        steps = collapsed.execution(tuple(args), {}).chosen.eliminations[0].model.many[0]
        loops.append(str(jax.make_jaxpr(both)(kept)).count(f"length={steps}\n"))
    assert loops[0] > loops[1]
    np.testing.assert_allclose(*found, rtol=1e-9 if x64 else 2e-4)
    for name, one in draws[0].items():  # of one noise
        np.testing.assert_allclose(draws[1][name], one, rtol=1e-7 if x64 else 2e-3, atol=1e-8 if x64 else 2e-3)


@pytest.mark.parametrize("slope", [0.7, 20.0])
def test_a_factor_that_is_linear_in_an_unobserved_state(slope, x64):
    """Nothing is quadratic in it but the prior, from which its path so is not far."""
    y = jnp.asarray(np.random.default_rng(0).normal(size=20).cumsum())

    def model(y):
        s = sample("s", dist.HalfNormal(1.0))

        def step(before, _):
            x = sample("x", dist.Normal(before, s))
            return x, x

        _, x = scan(step, 0.0, None, length=40)
        sample("y", dist.Normal(x[::2], 0.5), obs=y)
        numpyro.factor("f", slope * x[5])

    assert cj.collapse(model).plan(y).collapsed == ("x",)
    assert cj.check(model, jax.random.key(0), y, num_points=2).relative < (1e-10 if x64 else 2e-5)


CARRIES = {
    "concatenate": lambda c: jnp.concatenate([c[1:2] * c[0], c[:-1]]),
    "roll and set": lambda c: jnp.roll(c, 2).at[jnp.array([1, 3])].set(jnp.sin(c[:2])),
    "add at": lambda c: c.at[0].add(c[4]),
    "look-ups": lambda c: c[jnp.array([3, 3, 0, 1, 2])],
    "choices": lambda c: jnp.where(jnp.arange(5) > 2, jnp.flip(c), 2.0 * c),
    "a choice by a value": lambda c: jnp.where(c[0] > 0, c, jnp.flip(c)),
    "pad": lambda c: jnp.pad(c[:3].reshape(3, 1), ((1, 1), (0, 0))).reshape(-1),
    "stack": lambda c: jnp.stack([c[:2], c[3:]], 1).T.reshape(-1)[jnp.array([0, 1, 2, 3, 0])],
    "products": lambda c: jnp.tri(5) @ c,
    "a function with a derivative of its own": lambda c: jax.nn.relu(c[::-1]) + jnp.cumsum(c),
}


@pytest.mark.parametrize(("function", "circles"), [
    (lambda c, x: 0.5 * c + x * jnp.where(jnp.arange(5) > 2, c, x), [5]),
    (lambda c, x: jnp.stack([c[0] * x, jnp.exp(c[1]), c[2] + x, x, c[3]]), [1, 1, 1]),
    (lambda c, x: c + c[::-1] * x, [1, 2, 2]),
])
def test_elements_of_a_carry_that_go_round_together(function, circles):
    """All that are computed alike, element for element, as one loop."""
    graph = Graph(jax.make_jaxpr(function)(jnp.ones(5), 0.3))
    found = carried(graph, graph.inputs[:1], graph.outputs)
    assert sorted(map(len, found.circles)) == circles


@pytest.mark.parametrize("name", CARRIES)
def test_what_elements_of_a_carry_read(name):
    """Against values and derivatives at a random point: nothing that is read is left out, what is moved is equal."""
    function, at = CARRIES[name], jnp.array([0.3, 1.7, 0.9, 2.1, 0.4])
    graph = Graph(jax.make_jaxpr(function)(at))
    found = carried(graph, graph.inputs, graph.outputs)
    slopes = np.asarray(jax.jacobian(function)(at))
    for k, reads in enumerate(found.reads):
        assert set(np.flatnonzero(slopes[k])) <= reads
        if found.origin[k] >= 0:
            assert function(at)[k] == at[found.origin[k]] and reads == {found.origin[k]}
    moved = {"concatenate": 4, "roll and set": 3, "look-ups": 5, "choices": 2, "pad": 3, "stack": 5}
    assert (found.origin >= 0).sum() == moved.get(name, 0)


def test_a_recursion_without_noise_keeps_the_digits_of_its_coefficients():
    """An ARMA model: its error is what the row is less its own location, and the coefficients are those of both."""
    y = np.round(np.random.default_rng(4).normal(size=12), 3)

    def model(y):
        mu, theta = numpyro.sample("mu", dist.Normal(0.0, 1.0)), numpyro.sample("theta", dist.Uniform(-1, 1))
        phi, s = numpyro.sample("phi", dist.Normal(0.0, 0.5)), numpyro.sample("s", dist.HalfNormal(1.0))

        def step(carry, now):
            before, error = carry
            location = mu + phi * before + theta * error
            return (now, now - location), location

        _, location = jax.lax.scan(step, (jnp.zeros(()), jnp.zeros(())), y)
        numpyro.sample("y", dist.Normal(location, s), obs=y)

    found = []
    for x64 in (True, False):
        with double_precision(x64):
            collapsed, data = cj.collapse(model), jnp.asarray(y.astype(np.float32), jnp.result_type(float))
            assert set(collapsed.plan(data).collapsed) == {"mu", "phi"}
            found.append([float(log_density(collapsed, (data,), {}, {
                "theta": jnp.asarray(theta, jnp.result_type(float)), "s": jnp.asarray(s, jnp.result_type(float))})[0])
                for theta in (-0.9, 0.3, 0.8) for s in (0.5, 2.0)])
    np.testing.assert_allclose(*found, rtol=2e-6)


@pytest.mark.parametrize("ratio", [0.5, 1.2, 1.3, 1.5])
def test_loop_that_carries_errors_off(ratio, x64):
    """A moving average that is not invertible: residuals grow without bound, and a coefficient makes them small again. What is
    left of their squares is no difference of large numbers, which may look like a large density."""
    rng = np.random.default_rng(0)
    y = jnp.asarray((rng.normal(3, 1, 100).cumsum() * 0.05 + rng.normal(0, 1, 100)).astype(np.float32), float)

    def model(y):
        phi, theta = sample("phi", dist.Normal(0.0, 0.5)), sample("theta", dist.Normal(0.0, 0.5))

        def step(error, pair):
            mean = 1.0 + phi * pair[0] + theta * error
            return pair[1] - mean, mean

        _, means = jax.lax.scan(step, y[0] - 1.0, (y[:-1], y[1:]))
        sample("y", dist.Normal(means, sample("s", dist.HalfCauchy(2.5))), obs=y[1:])

    collapsed = cj.collapse(model)
    assert cj.explain(collapsed, y).collapsed == ("phi",)
    kept = {"theta": jnp.asarray(ratio), "s": jnp.asarray(1.0)}
    z = collapsed.recover(jax.random.key(0), kept, y, batch_ndims=0)
    expected = log_density(model, (y,), {}, {**kept, **z})[0] - collapsed.conditional_log_prob(z, kept, y)
    found = log_density(collapsed, (y,), {}, kept)[0]
    assert float(found) < -280
    if ratio < (1.25 if x64 else 1.0):  # beyond, the model itself has no digits
        assert float(found) == pytest.approx(float(expected), rel=1e-8 if x64 else 1e-6)
