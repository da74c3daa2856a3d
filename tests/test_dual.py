"""Wide components in their dual form: when it is taken, against the form by scales, and where digits could be lost."""

from __future__ import annotations

from collections.abc import Callable
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


def potential(model: Any, args: Any) -> tuple[Callable[[Any], Any], Any]:
    """The collapsed model's potential energy, and a point."""
    info = initialize_model(jax.random.key(1), cj.collapse(model), model_args=args)
    return info.potential_fn, info.param_info.z


@pytest.mark.parametrize("name", DUAL)
def test_derivatives_are_those_of_the_form_by_scales(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))
    assert isinstance(parts_of(model, *args), Dual)

    def found() -> Any:
        f, z = potential(model, args)
        direction = jax.tree.map(jnp.cos, z)
        both = jax.jit(lambda z: jax.jvp(jax.value_and_grad(f), (z,), (direction,)))  # second derivatives too
        return both(z)

    dual = found()
    monkeypatch.setattr(blocks, "dual_form", lambda *_: None)
    assert not isinstance(parts_of(model, *args), Dual)
    for a, b in zip(*map(jax.tree.leaves, (dual, found())), strict=True):
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
        with jax.enable_x64(x64):
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


def _of_several_scales(y: Any, x: Any) -> None:
    """Fewer rows than coefficients, whose scales may be far apart."""
    own = sample("own", dist.HalfCauchy(1.0).expand([12]))
    b = sample("b", dist.Normal(0.0, own))
    sample("y", dist.Normal(jnp.cos(jnp.arange(12) * x[:, None]) @ b, sample("s", dist.HalfNormal(1.0))), obs=y)


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


@pytest.mark.parametrize("model", [_two_noises, _of_several_scales, _scaled_by_a_latent, _tilted])
def test_is_not_taken(model: Any) -> None:
    args = tuple(map(jnp.asarray, (FIELD, POINTS)))
    assert cj.check(cj.collapse(model), jax.random.key(0), *args, num_points=1).points
    assert not isinstance(parts_of(model, *args), Dual)


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
    np.array([[1.0, 1.0 - 1e-13], [1.0 - 1e-13, 1.0]])], ids=["negative", "indefinite", "no diagonal", "of unknown rank"])
def test_no_root(h: np.ndarray) -> None:
    assert root(h, [np.arange(2)]) is None
    assert root(h, [np.array([0]), np.array([1])]) is None


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
