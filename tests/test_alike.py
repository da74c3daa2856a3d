"""Components that share every matrix, weights of rows in strips, and products of computed matrices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro import plate, sample
from numpyro.infer.util import log_density
from scipy.stats import multivariate_normal
from test_dual import derivatives, parts_of
from test_shaped import block_of

import conjugate_ppl as cj
from conjugate_ppl.algebra import reduce, strips
from conjugate_ppl.algebra.runtime import Joined, Values, look_up
from conjugate_ppl.algebra.strips import SparseSums
from conjugate_ppl.gaussian import block as blocks
from conjugate_ppl.gaussian.alike import Alike
from conjugate_ppl.gaussian.pieces import Pieced
from conjugate_ppl.graph import Graph

RNG = np.random.default_rng(3)
NONE = Values(Graph(jax.make_jaxpr(lambda: 0.0)()), {}, {})


def agree(one: list[Any], other: list[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name, rows", [
    ("alike_factor_scores", 7), ("alike_scores_in_classes", 16), ("alike_measured_once_or_twice", 11)])
def test_few_rows_stand_for_all_components(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))
    parts = parts_of(model, *args)
    assert isinstance(parts, Alike) and len(parts.pattern) <= rows

    alike = derivatives(model, args)
    monkeypatch.setattr(blocks, "alike_components", lambda *_: None)
    assert not isinstance(parts_of(model, *args), Alike)
    agree(alike, derivatives(model, args))


def factors(y: Any) -> None:
    loading = sample("loading", dist.LogNormal(0.0, 0.5).expand([3]).to_event(1))
    noise = sample("noise", dist.HalfNormal(1.0).expand([3]).to_event(1))
    with plate("people", len(y)):
        theta = sample("theta", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(theta[:, None] * loading, noise).to_event(1), obs=y)


def test_factors_against_a_dense_normal(x64: bool) -> None:
    """Noise from much more to much less than what is common; many people."""
    y = np.asarray(RNG.normal(size=(5000, 1)) + 0.5 * RNG.normal(size=(5000, 3)) + 1.0, np.float64 if x64 else np.float32)
    collapsed = cj.collapse(factors)
    for noise in ([0.5, 1.0, 2.0], [0.1, 3.0, 1.0], [30.0, 0.1, 30.0]):
        kept = {"loading": np.array([1.0, 1.1, 0.9]), "noise": np.array(noise)}
        found = log_density(collapsed, (jnp.asarray(y),), {}, {n: jnp.asarray(v) for n, v in kept.items()})[0]
        kept = {n: np.asarray(jnp.asarray(v), float) for n, v in kept.items()}
        covariance = np.outer(kept["loading"], kept["loading"]) + np.diag(kept["noise"] ** 2)
        true = multivariate_normal(np.zeros(3), covariance).logpdf(y.astype(float)).sum() + np.sum(
            dist.LogNormal(0.0, 0.5).log_prob(kept["loading"])) + np.sum(dist.HalfNormal(1.0).log_prob(kept["noise"]))
        np.testing.assert_allclose(found, true, rtol=1e-11 if x64 else 1e-5)


def test_a_gradient_does_not_grow_with_components() -> None:
    def numbers(people: int) -> int:
        args = (jnp.asarray(np.random.default_rng(0).normal(size=(people, 3))),)
        info_of = cj.collapse(factors)
        kept = {"loading": jnp.ones(3), "noise": jnp.ones(3)}
        jaxpr = jax.make_jaxpr(jax.grad(lambda z: log_density(info_of, args, {}, z)[0]))(kept)
        lowered = jax.jit(jax.grad(lambda z: log_density(info_of, args, {}, z)[0])).lower(kept).compile()
        assert jaxpr.eqns
        return int(lowered.cost_analysis()["flops"])

    assert numbers(2000) == numbers(200)


def added_up(model: Any, args: Any) -> Any:
    """How numbers of components are."""
    parts = parts_of(model, *args)
    return (parts.whole if isinstance(parts, Pieced) else parts).components


@pytest.mark.parametrize("name", ["strips_of_growth", "strips_of_crossed_groups"])
def test_strips_are_scattered_sums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))
    assert added_up(model, args)._sparse._strips

    found = derivatives(model, args)
    monkeypatch.setattr(strips, "_KIND", np.inf)
    assert not added_up(model, args)._sparse._strips
    agree(found, derivatives(model, args))


def sparse(kind: str) -> tuple[tuple[int, int], np.ndarray]:
    """A shape, and (group, feature, weight) of numbers."""
    rows = np.arange(1200)
    group = {"balanced": rows % 40, "few": rows % 40, "uneven": (rows**1.5 % 37).astype(int)}.get(kind, rows // 4)
    features = {"single": [0], "few": [0, 2]}.get(kind, [0, 1, 2, 3])
    table = np.array([(g, f, r) for g, r in zip(group, rows, strict=True) for f in features
                      if kind != "patterns" or (r + f) % 3])
    if kind == "crossed":
        table = np.concatenate([table, np.stack([group, 4 + rows % 11, rows], 1)])
    if kind == "table":  # features of their own weights, three read by the same numbers
        table = np.array([(g, f, 40 * f + j) for g in range(37) for j in range(40) if (g + j) % 3 for f in range(4)])
    if kind == "shared":  # weights that are read by all, by some, by one
        more = [np.stack([np.arange(300), np.arange(300) % 4, 1200 + w], 1) for w in (np.zeros(300, int), 1 + np.arange(300) % 9)]
        table = np.concatenate([table, *more])
    return (int(group.max()) + 3, int(table[:, 1].max()) + 1), table


@pytest.mark.parametrize("kind", ["balanced", "few", "uneven", "single", "patterns", "crossed", "shared", "table"])
def test_sparse_sums(kind: str, x64: bool) -> None:
    rng = np.random.default_rng(0)
    shape, table = sparse(kind)
    group, feature, weight = table.T
    numbers = rng.normal(size=len(table))
    if kind == "table":
        numbers = np.where(feature < 3, rng.normal(size=len(table) // 4).repeat(4), numbers)
    dense = np.zeros((*shape, weight.max() + 2))
    np.add.at(dense, (group, feature, weight), numbers)
    sums = SparseSums(shape, group, feature, weight, numbers)
    assert sums._strips
    assert [np.flatnonzero((t.weights >= 0).any(0)).tolist() for t in sums._of_features] == (
        [[0, 1, 2]] if kind == "table" else [])
    omega, change = (jnp.asarray(rng.normal(size=dense.shape[-1])) for _ in range(2))
    tol = {"rtol": 1e-12, "atol": 1e-12} if x64 else {"rtol": 2e-5, "atol": 2e-5}

    def found(omega: Any) -> Any:
        values = Values(NONE._graph, {}, {})
        return jnp.sin(sums.evaluate(values, omega))

    inner = dense @ np.asarray(omega, float)
    np.testing.assert_allclose(found(omega), np.sin(inner), **tol)
    np.testing.assert_allclose(jax.jvp(found, (omega,), (change,))[1], np.cos(inner) * (dense @ np.asarray(change, float)), **tol)
    weights = rng.normal(size=shape)
    slope = jax.grad(lambda o: jnp.sum(weights * found(o)))
    np.testing.assert_allclose(slope(omega), np.einsum("gf,gfw->w", weights * np.cos(inner), dense), **tol)
    twice = np.einsum("gf,gfw->w", -weights * np.sin(inner) * (dense @ np.asarray(change, float)), dense)
    np.testing.assert_allclose(jax.jvp(slope, (omega,), (change,))[1], twice, **tol)
    many = jnp.stack([omega, change])
    np.testing.assert_allclose(jax.vmap(slope)(many)[0], slope(omega), **tol)


@pytest.mark.parametrize("index", [
    np.arange(200)[::-1].copy(), np.arange(0, 200, 2), np.array([3, -1, 7, 7] * 40).reshape(4, 40), np.full((70,), -1),
    np.zeros(90, int), np.r_[np.arange(200), -1, 5]], ids=str)
def test_elements_that_are_looked_up(index: np.ndarray) -> None:
    """As many times as there are, and 0 for -1; derivatives both ways, of vectors by parts too."""
    x, w = RNG.normal(size=200), RNG.normal(size=index.shape)
    matrix = np.where(index[..., None] < 0, 0.0, np.eye(200)[index])
    np.testing.assert_array_equal(look_up(jnp.asarray(x), index), matrix @ x)
    np.testing.assert_array_equal(look_up(Joined([jnp.asarray(x[:50]), jnp.asarray(x[50:])]), index), matrix @ x)
    slope = jax.grad(lambda x: jnp.sum(w * look_up(x, index) ** 2))
    flat = matrix.reshape(-1, 200)
    np.testing.assert_allclose(slope(jnp.asarray(x)), 2 * flat.T @ (w.reshape(-1) * (flat @ x)), rtol=1e-12, atol=1e-12)
    hessian = jax.jacfwd(slope)(jnp.asarray(x))
    np.testing.assert_allclose(hessian, 2 * flat.T @ (w.reshape(-1)[:, None] * flat), rtol=1e-12, atol=1e-12)


def test_outcomes_fall_apart_by_directions_of_covariates(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CASES["outcomes_of_the_same_covariates"]
    args = tuple(map(jnp.asarray, entry.args))
    block = block_of(entry.model, *args)
    assert block.structure.components.shape == (4, 3) and not block.structure.blocks.size
    assert block.reduced.weights.count == 1 + 9 and not any(block.reduced.late.values())

    found = derivatives(entry.model, args)
    monkeypatch.setattr(blocks, "_able", lambda *_: [])
    monkeypatch.setattr(blocks, "collinear", lambda *_: None)
    monkeypatch.setattr(reduce, "Grams", Ungrouped)
    plain = block_of(entry.model, *args)
    assert plain.rotation is None and plain.reduced.weights.count > 10
    agree(found, derivatives(entry.model, args))


class Ungrouped:
    def put(self, *_: Any) -> None:
        return None


def spread(y: Any, x: Any) -> None:
    """Log scales that are linear in what is kept."""
    c = sample("c", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    b = sample("b", dist.Normal(0.0, 1.0))
    with plate("n", len(y)):
        sample("y", dist.Normal(b, jnp.exp(c[0] + c[1] * x)), obs=y)


def test_logarithms_of_exponentials_are_statistics() -> None:
    """The sum of log scales is linear in coefficients: no logarithm is left, and a scale beyond the largest float is none."""
    x = jnp.asarray(RNG.normal(size=500))
    y = jnp.asarray(RNG.normal(size=500))
    block = block_of(spread, y, x)
    names = {v.name for signature, _ in block.reduced.weights.groups for v, _ in signature}
    assert not any(n.startswith("log ") for n in names)
    collapsed = cj.collapse(spread)
    far = {"c": jnp.array([800.0, 0.0])}
    value, slope = jax.value_and_grad(lambda z: log_density(collapsed, (y, x), {}, z)[0])(far)
    assert np.isfinite(value) and np.isfinite(slope["c"]).all()
