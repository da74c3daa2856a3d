"""Wide components in their dual form: when it is taken, against the form by scales, and where digits could be lost."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from models import CASES
from models.dual import FIELD, POINTS, kernel, sampled_kernel
from numpyro import sample
from numpyro.infer.util import initialize_model, log_density
from scipy.stats import multivariate_normal

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from conjugate_ppl.elimination.factored import factored
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.gaussian import block as blocks
from conjugate_ppl.gaussian.dual import Dual
from conjugate_ppl.gaussian.pivoted import root
from conjugate_ppl.program import trace_program

DUAL = [n for n in CASES if n.startswith("dual_")]


def parts_of(model: Any, *args: Any) -> Any:
    """How the components of the model's Gaussian block are kept."""
    found = [e for e in cj.collapse(model).execution(args, {}).chosen.eliminations if isinstance(e, GaussianElimination)]
    return found[0].block.parts


def derivatives(model: Any, args: Any) -> list[Any]:
    """The collapsed model's potential energy at a point, its gradient, and how both change in a direction."""
    info = initialize_model(jax.random.key(1), cj.collapse(model), model_args=args)
    z, f = info.param_info.z, jax.value_and_grad(info.potential_fn)
    return jax.tree.leaves(jax.jit(lambda z: jax.jvp(f, (z,), (jax.tree.map(jnp.cos, z),)))(z))


@pytest.mark.parametrize("name", DUAL)
def test_derivatives_are_those_of_the_form_by_scales(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))
    assert isinstance(parts_of(model, *args), Dual)

    dual = derivatives(model, args)
    monkeypatch.setattr(blocks, "dual_form", lambda *_: None)
    assert not isinstance(parts_of(model, *args), Dual)
    for a, b in zip(dual, derivatives(model, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_against_a_dense_normal(x64: bool) -> None:
    """Some points of a process with a trend, its variance and noise as given."""
    model, args = CASES["dual_field_with_a_trend"].model, CASES["dual_field_with_a_trend"].args
    y, x, rows = args
    given = {"s": 0.3, "size": 0.7, "length": 0.9}
    design = np.stack([np.ones(14), x[rows]], 1)
    k = 0.49 * np.exp(-0.5 * ((x[:, None] - x) / 0.9) ** 2) + 1e-3 * np.eye(9)
    covariance = design @ np.diag([100.0, 0.09]) @ design.T + k[np.ix_(rows, rows)] + 0.09 * np.eye(14)
    expected = multivariate_normal.logpdf(y, design @ [1.0, 0.0], covariance)
    for n, prior in (("s", dist.HalfNormal(1.0)), ("size", dist.HalfNormal(1.0)), ("length", dist.LogNormal(0.0, 0.5))):
        expected += float(prior.log_prob(given[n]))
    found = log_density(cj.collapse(model), tuple(map(jnp.asarray, args)), {}, {n: jnp.asarray(v) for n, v in given.items()})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10 if x64 else 1e-5)


def test_vague_means_and_small_noise_cost_no_digits() -> None:
    def model(y: Any, x: Any) -> None:
        s, size = (sample(n, dist.LogNormal(0.0, 5.0)) for n in ("s", "size"))
        mean = sample("mean", dist.Normal(0.0, 1e4))
        f = sample("f", dist.MultivariateNormal(jnp.full(9, mean), kernel(x, size, 0.5)))
        sample("y", dist.Normal(f, s), obs=y)

    found = {}
    for x64 in (False, True):
        with double_precision(x64):
            args = tuple(jnp.asarray(a.astype(np.float32).astype(float)) for a in (FIELD + 1e4, POINTS))
            assert isinstance(parts_of(model, *args), Dual)
            f = jax.jit(jax.value_and_grad(lambda s, size, args=args: log_density(
                cj.collapse(model), args, {}, {"s": s, "size": size})[0], (0, 1)))
            found[x64] = [jax.tree.leaves(f(jnp.asarray(s), jnp.asarray(size))) for s, size in (
                (1.0, 1.0), (1e-2, 0.1), (1e-3, 1e-3), (10.0, 1e-3))]
    for single, double in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(single, double, rtol=3e-3)
        np.testing.assert_allclose(single[0], double[0], rtol=3e-5)


def test_no_density_without_a_factor(x64: bool) -> None:
    """The covariance with noise has a factor where that of the process alone has none: draws of it could not be had."""
    def model(y: Any) -> None:
        size = sample("size", dist.HalfNormal(1.0))
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), size * jnp.ones((9, 9)) - 1e-3 * jnp.eye(9)))
        sample("y", dist.Normal(f, 1.0), obs=y)

    y = jnp.asarray(FIELD)
    assert isinstance(parts_of(model, y), Dual)
    collapsed, whole = (jax.jit(lambda sites, m=m: log_density(m, (y,), {}, sites)[0]) for m in (cj.collapse(model), model))
    assert collapsed({"size": 1.0}) == -jnp.inf
    assert jnp.isnan(whole({"size": 1.0, "f": y}))


def _two_noises(y: Any, x: Any) -> None:
    """What is seen twice with noises of their own: where both are small, a covariance of what is seen forgets them."""
    s = sample("s", dist.HalfNormal(1.0).expand([2]))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
    sample("y", dist.Normal(f, s[:, None]), obs=jnp.stack([y, y + 0.1]))


def _scaled_by_a_latent(y: Any, x: Any) -> None:
    """Weights that may be of either sign."""
    c = sample("c", dist.Normal(0.0, 1.0))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
    sample("y", dist.Normal(c * f, 0.5), obs=y)


def _tilted(y: Any, x: Any) -> None:
    """Something is said of an element that is not seen."""
    s = sample("s", dist.HalfNormal(1.0))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
    sample("y", dist.Normal(f[:8], s), obs=y[:8])
    numpyro.factor("tilt", 0.5 * f[8] / s)


@pytest.mark.parametrize("model", [_two_noises, _scaled_by_a_latent, _tilted])
def test_is_not_taken(model: Any) -> None:
    args = tuple(map(jnp.asarray, (FIELD, POINTS)))
    assert cj.check(cj.collapse(model), jax.random.key(0), *args, num_points=1).points
    assert not isinstance(parts_of(model, *args), Dual)


def test_nothing_seen_is_no_dual_form() -> None:
    def model(y: Any, x: Any) -> None:
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
        sample("y", dist.Normal(0.0 * f, sample("s", dist.HalfNormal(1.0))), obs=y)

    args = jnp.asarray(FIELD), jnp.asarray(POINTS)
    assert cj.check(cj.collapse(model), jax.random.key(0), *args, num_points=1).points


def test_events_of_one_element_are_no_processes() -> None:
    """Their covariances are numbers."""
    def model(y: Any, x: Any) -> None:
        s = sample("s", dist.HalfNormal(1.0))
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
        own = sample("own", dist.MultivariateNormal(jnp.zeros((3, 1)), s**2 * (1.0 + x[:3])[:, None, None]))
        sample("y", dist.Normal(f + own[jnp.arange(9) % 3, 0], jnp.where(x > 1.0, s, 2 * s)), obs=y)

    args = jnp.asarray(FIELD), jnp.asarray(POINTS)
    assert isinstance(parts_of(model, *args), Dual)
    assert cj.check(cj.collapse(model), jax.random.key(0), *args, num_points=2).points


def test_covariates_far_from_zero() -> None:
    """What a process leaves for a trend is small beside the trend's own squares, and all there is to learn of it."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(9), 3)
    x = 1e5 + rng.uniform(-0.5, 0.5, 27)
    y = rng.normal(size=27)
    k = np.asarray(kernel(POINTS, 1.0, 1.0))

    def model(y: Any, x: Any) -> None:
        b = sample("b", dist.Normal(0.0, 1.0))
        m = sample("m", dist.Normal(0.0, 1e7))
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(POINTS)))
        sample("y", dist.Normal(m + b * x + f[g], 0.5), obs=y)

    assert isinstance(parts_of(model, jnp.asarray(y), jnp.asarray(x)), Dual)
    found = log_density(cj.collapse(model), (jnp.asarray(y), jnp.asarray(x)), {}, {"size": jnp.asarray(1.0), "length": jnp.asarray(1.0)})[0]
    gap = x - 1e5  # the same model of the gap: m' = m + 1e5 b
    prior = np.array([[1e14 + 1e10, 1e5], [1e5, 1.0]])
    design = np.stack([np.ones(27), gap], 1)
    low = np.linalg.cholesky(k[np.ix_(g, g)] + 0.25 * np.eye(27))
    white, seen = np.linalg.solve(low, design), np.linalg.solve(low, y)
    precision = np.linalg.inv(prior) + white.T @ white
    quadratic = seen @ seen - seen @ white @ np.linalg.solve(precision, white.T @ seen)
    expected = -0.5 * (quadratic + np.linalg.slogdet(precision)[1] + np.linalg.slogdet(prior)[1]
                       + 27 * np.log(2 * np.pi)) - np.log(np.diagonal(low)).sum()
    expected += float(dist.HalfNormal(1.0).log_prob(1.0) + dist.LogNormal(0.0, 0.5).log_prob(1.0))
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_conditionals_of_what_is_vague_a_priori() -> None:
    """Standard deviations in float32, of elements whose prior is far wider than what is known of them."""
    def model(y: Any, x: Any) -> None:
        s = sample("s", dist.HalfNormal(1.0))
        f = sample("f", dist.MultivariateNormal(jnp.zeros(9), sampled_kernel(x)))
        own = sample("own", dist.Normal(0.0, 1e4).expand([9]).to_event(1))
        b = sample("b", dist.Normal(0.0, jnp.array([1e4, 1.0])).to_event(1))
        sample("y", dist.Normal(f + own + b[0] + b[1] * x, s), obs=y)

    kept, found = {"s": 0.3, "size": 1.0, "length": 1.0}, []
    for x64 in (False, True):
        with double_precision(x64):
            args = jnp.asarray(FIELD), jnp.asarray(POINTS)
            laws = cj.collapse(model).conditionals({n: jnp.asarray(v) for n, v in kept.items()}, *args)
            found.append([np.sqrt(np.asarray(laws[n].variance, float)) for n in ("f", "own")])
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-2)


def test_small_covariances_stay_as_they_are() -> None:
    """Their components are eliminated by patterns, or entry by entry."""
    def model(y: Any, x: Any) -> None:
        f = sample("f", dist.MultivariateNormal(jnp.zeros(4), sampled_kernel(x)))
        sample("y", dist.Normal(f, sample("s", dist.HalfNormal(1.0))), obs=y)

    assert not isinstance(parts_of(model, jnp.asarray(FIELD[:4]), jnp.asarray(POINTS[:4])), Dual)


def test_roots() -> None:
    rng = np.random.default_rng(0)
    for rank in (0, 1, 5, 8):
        a = rng.normal(size=(8, rank)) * rng.uniform(1e-3, 1e3, size=(8, 1))
        h = a @ a.T
        for groups in ([np.arange(8)], [np.array([5, 1, 2]), np.array([0, 3, 4, 6, 7])]):
            found = root(h, groups)
            assert found is not None
            unit = np.sqrt(np.diagonal(h))
            assert (np.abs(found.columns @ found.columns.T - h) <= 1e-12 * np.outer(unit, unit)).all()
            assert found.columns.shape == (8, rank)
            right = h @ rng.normal(size=8)
            assert (np.abs(found.columns @ found.solve(right) - right) <= 1e-9 * unit * unit.max()).all()
    diagonal = root(np.diag([4.0, 0.0, 9.0]), [np.arange(3)])
    assert diagonal is not None
    np.testing.assert_array_equal(diagonal.columns, [[2.0, 0.0], [0.0, 0.0], [0.0, 3.0]])


@pytest.mark.parametrize("h", [
    np.diag([1.0, -1.0]), np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]),
    np.array([[1.0, 1.0 - 1e-13, 1.0], [1.0 - 1e-13, 1.0, 1.0 - 1e-13], [1.0, 1.0 - 1e-13, 1.0]])], ids=["negative", "indefinite", "no diagonal", "of unknown rank"])
def test_no_root(h: np.ndarray) -> None:
    assert root(h, [np.arange(len(h))]) is None
    assert root(h, [np.array([k]) for k in range(len(h))]) is None


def test_a_root_of_columns_that_differ_in_the_last_digits() -> None:
    """A small pivot is one where there are no smaller ones."""
    h = np.array([[1.0, 1.0 - 1e-13], [1.0 - 1e-13, 1.0]])
    for groups in ([np.arange(2)], [np.array([0]), np.array([1])]):
        found = root(h, groups)
        assert found is not None and found.columns.shape == (2, 2)


def test_what_is_factored_is_seen() -> None:
    def model(x: Any) -> None:
        k = sampled_kernel(x)
        n = len(x)
        sample("one", dist.MultivariateNormal(jnp.zeros(n), k))
        sample("batch", dist.MultivariateNormal(jnp.zeros((3, n)), jnp.stack([k, 2 * k, 3 * k])))
        sample("spread", dist.MultivariateNormal(jnp.zeros((3, n)), k))
        sample("factor", dist.MultivariateNormal(jnp.zeros(n), scale_tril=jnp.linalg.cholesky(k)).expand([2]))
        sample("lower", dist.MultivariateNormal(jnp.zeros(n), scale_tril=jax.scipy.linalg.cholesky(k, lower=True)))
        sample("precision", dist.MultivariateNormal(jnp.zeros(n), precision_matrix=k))
        sample("scaled", dist.MultivariateNormal(jnp.zeros(n), scale_tril=2 * jnp.linalg.cholesky(k)))
        sample("masked", dist.MultivariateNormal(jnp.zeros(n), scale_tril=jnp.tril(jnp.linalg.cholesky(k), -1) + jnp.eye(n)))

    program = trace_program(model, (jnp.asarray(POINTS),))
    found = {n: factored(program.graph, s.parameters["scale_tril"]) for n, s in program.sites.items() if "scale_tril" in s.parameters}
    seen = {n: (x.batch_shape, x.symmetric) for n, x in found.items() if x is not None}
    assert seen == {"one": ((), True), "batch": ((3,), True), "spread": ((1,), True), "factor": ((), True), "lower": ((), False)}
