"""Columns that nearly depend on each other, against normal distributions in extended precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro import plate, sample
from numpyro.infer.util import log_density
from test_dual import derivatives
from test_shaped import block_of

import conjugate_ppl as cj
from conjugate_ppl.gaussian import block as blocks
from conjugate_ppl.gaussian.rotation import Mix

COLLINEAR = [n for n in CASES if n.startswith("collinear_")]
Wide = np.longdouble


@pytest.mark.parametrize("name", COLLINEAR)
def test_derivatives_are_those_without_a_turn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))
    assert block_of(model, *args).rotation is not None
    if not cj.explain(model, *args).kept:
        evidence = cj.collapse(model).log_evidence(*args)
        monkeypatch.setattr(blocks, "collinear", lambda *_: None)
        np.testing.assert_allclose(cj.collapse(model).log_evidence(*args), evidence, rtol=1e-8)
        return

    turned = derivatives(model, args)
    monkeypatch.setattr(blocks, "collinear", lambda *_: None)
    for a, b in zip(turned, derivatives(model, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_turns_and_rotations_count_their_volume() -> None:
    model, args = CASES["collinear_beside_a_ridge"].model, CASES["collinear_beside_a_ridge"].args
    rotation = block_of(model, *map(jnp.asarray, args)).rotation
    assert any(isinstance(turn, Mix) for _, turn in rotation.all_parts) and rotation.after.log_volume
    plain = np.linalg.slogdet(rotation.backward(np.eye(12)))[1]
    np.testing.assert_allclose(rotation.log_volume, plain, rtol=1e-10)


@pytest.mark.parametrize("x64", [False], indirect=True)
def test_weights_of_either_sign_leave_columns_alone(x64: bool) -> None:
    """What a precision matrix joins is seen along other axes for each of its values."""
    design, noise = np.stack([np.ones(ROWS), 300 + STEP], 1), np.stack([NOISE, NOISE[::-1]], 1)

    def model(y: Any) -> None:
        p = sample("p", dist.Wishart(5.0, rate_matrix=jnp.eye(2)))
        b = sample("b", dist.Normal(0.0, jnp.array([[100.0], [3.0]])).expand([2, 2]).to_event(2))
        sample("y", dist.MultivariateNormal(jnp.asarray(design) @ b, precision_matrix=p), obs=y)

    assert block_of(model, jnp.asarray(noise)).rotation is None


def test_columns_of_any_size() -> None:
    """Squares of what is seen may be larger than any number there is."""
    def model(y: Any, unit: float) -> None:
        a = sample("a", dist.Normal(0.0, 100.0 / unit))
        b = sample("b", dist.Normal(0.0, 3.0 / unit))
        sample("y", dist.Normal(a * unit + b * (unit * (300 + STEP)), 0.5), obs=y)

    found, small = (cj.collapse(model).log_evidence(jnp.asarray(NOISE), unit) for unit in (1e80, 1.0))
    np.testing.assert_allclose(found, small, rtol=1e-8)


class Design(NamedTuple):
    """A regression with what is exact of it: latents are (priors' means, covariances) and the rows' coefficients."""

    model: Callable[..., Any]
    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    columns: np.ndarray
    noise: float


ROWS, GROUPS = 40, 4
RNG = np.random.default_rng(3)
STEP = RNG.integers(-10, 11, ROWS).astype(float)
GROUP = np.arange(ROWS) % GROUPS
NOISE = RNG.normal(size=ROWS)


def line(x: np.ndarray) -> Design:
    def model(y: Any) -> None:
        a, b = sample("a", dist.Normal(1.0, 1000.0)), sample("b", dist.Normal(0.0, 10.0))
        sample("y", dist.Normal(a + b * x.astype(y.dtype), 0.5), obs=y)

    return Design(model, ("a", "b"), np.array([1.0, 0.0]), np.diag([1e6, 100.0]), np.stack([np.ones(ROWS), x], 1), 0.5)


def polynomial(x: np.ndarray) -> Design:
    def model(y: Any) -> None:
        own = x.astype(y.dtype)
        a = sample("a", dist.Normal(0.0, 1e4))
        b = sample("b", dist.Normal(0.0, jnp.array([100.0, 0.1])).to_event(1))
        sample("y", dist.Normal(a + b[0] * own + b[1] * own**2, 0.5), obs=y)

    return Design(model, ("a", "b"), np.zeros(3), np.diag([1e8, 1e4, 0.01]), np.stack([np.ones(ROWS), x, x**2], 1), 0.5)


def shrunk(x: np.ndarray) -> Design:
    def model(y: Any) -> None:
        t = sample("t", dist.HalfNormal(1.0))
        a, b = sample("a", dist.Normal(0.0, 1000.0)), sample("b", dist.Normal(0.0, t))
        sample("y", dist.Normal(a + b * x.astype(y.dtype), 0.5), obs=y)

    return Design(model, ("a", "b"), np.zeros(2), np.diag([1e6, 0.49]), np.stack([np.ones(ROWS), x], 1), 0.5)


def groups(x: np.ndarray) -> Design:
    """Correlated lines of groups, about means."""
    root = np.array([[1.5, 0.0], [0.2, 0.3]])

    def model(y: Any) -> None:
        t = sample("t", dist.HalfNormal(1.0))
        m = sample("m", dist.Normal(0.0, jnp.array([1000.0, 10.0])).to_event(1))
        with plate("groups", GROUPS):
            u = sample("u", dist.MultivariateNormal(m, scale_tril=t / 0.7 * jnp.asarray(root)))
        sample("y", dist.Normal(u[GROUP, 0] + u[GROUP, 1] * x.astype(y.dtype), 0.5), obs=y)

    design = np.stack([np.ones(ROWS), x], 1)
    through = np.kron(np.ones((GROUPS + 1, 1)), np.eye(2))  # from m to (m, u)
    covariance = through @ np.diag([1e6, 100.0]) @ through.T
    covariance[2:, 2:] += np.kron(np.eye(GROUPS), root @ root.T)
    columns = np.zeros((ROWS, 2 + 2 * GROUPS))
    for k in range(2):
        columns[np.arange(ROWS), 2 + 2 * GROUP + k] = design[:, k]
    return Design(model, ("m", "u"), np.zeros(2 + 2 * GROUPS), covariance, columns, 0.5)


def exact(d: Design, y: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(log density of y, means and standard deviations of the latents) in extended precision."""
    z, k = d.columns.astype(Wide), d.covariance.astype(Wide)
    gap, across = y - z @ d.mean, k @ z.T
    c = z @ across + Wide(d.noise) ** 2 * np.eye(ROWS, dtype=Wide)
    low, right = np.zeros_like(c), np.concatenate([gap[:, None], across.T], 1)
    for j in range(ROWS):  # NumPy's own factorisation is in double precision
        low[j:, j] = (c[j:, j] - low[j:, :j] @ low[j, :j])
        low[j:, j] /= np.sqrt(low[j, j])
        right[j] = (right[j] - low[j, :j] @ right[:j]) / low[j, j]
    own, seen = right[:, 0], right[:, 1:]
    logpdf = -0.5 * own @ own - np.log(np.diagonal(low)).sum() - 0.5 * ROWS * np.log(2 * np.pi)
    return float(logpdf), np.asarray(d.mean + seen.T @ own, float), np.sqrt(np.asarray(np.diagonal(k) - (seen**2).sum(0), float))


@pytest.mark.parametrize("x64", [True, False], indirect=True)
@pytest.mark.parametrize("level", [0.0, 100.0, 2000.0, 10000.0])
@pytest.mark.parametrize("design", [line, polynomial, shrunk, groups])
def test_covariates_far_from_zero(design: Callable[[np.ndarray], Design], level: float, x64: bool) -> None:
    if design is polynomial:
        level /= 20  # the square of a covariate is as far from the covariate
    d = design(level + STEP)
    y = (0.3 * STEP + NOISE).astype(np.float32)
    logpdf, mean, sd = exact(d, y.astype(Wide))
    collapsed, data = cj.collapse(d.model), jnp.asarray(y, float)
    kept = {n: jnp.asarray(0.7) for n in cj.explain(d.model, data).kept}
    prior = sum(float(dist.HalfNormal(1.0).log_prob(v)) for v in kept.values())
    tolerance = 1e-6 if x64 else 3e-4
    np.testing.assert_allclose(float(log_density(collapsed, (data,), {}, kept)[0]) - prior, logpdf, atol=tolerance * 10)
    laws = collapsed.conditionals(kept, data)
    found = np.concatenate([np.ravel(laws[n].mean) for n in d.names])
    spread = np.sqrt(np.concatenate([np.ravel(laws[n].variance) for n in d.names]))
    np.testing.assert_allclose((found - mean) / sd, 0.0, atol=tolerance)
    np.testing.assert_allclose(spread / sd, 1.0, atol=tolerance)
    many = {n: jnp.broadcast_to(v, 4000) for n, v in kept.items()}
    key = jax.random.key(0)
    draws = collapsed.recover(key, many, data) if kept else collapsed.recover(key, {}, data, num_samples=4000)
    fitted = np.concatenate([np.asarray(draws[n], float).reshape(4000, -1) for n in d.names], 1) @ d.columns.T
    assert np.abs(fitted.mean(0) - d.columns @ mean).max() < 0.1
    assert fitted.std(0).max() < 1.0


@pytest.mark.parametrize("noise", [1.0, 100.0])
def test_a_prior_that_is_far_from_the_data(noise: float, x64: bool) -> None:
    """Its square is none of an observation's: at a noise so large it, and not the data, decides."""
    x = 300.0 + STEP

    def model(y: Any) -> None:
        s, t = sample("s", dist.HalfNormal(100.0)), sample("t", dist.HalfNormal(1.0))
        a, b, d = (sample(n, dist.Normal(0.0, scale)) for n, scale in (("a", 1.0), ("b", 1.0), ("d", t)))
        sample("y", dist.Normal(a + (b + d / 3) * x.astype(y.dtype), s), obs=y)

    y = (3000.0 + 0.2 * STEP + NOISE).astype(np.float32)
    design = Design(model, (), np.zeros(3), np.diag([1.0, 1.0, 0.09]), np.stack([np.ones(ROWS), x, x / 3], 1), noise)
    kept = {"s": jnp.asarray(noise), "t": jnp.asarray(0.3)}
    prior = float(dist.HalfNormal(100.0).log_prob(noise)) + float(dist.HalfNormal(1.0).log_prob(0.3))
    found = float(log_density(cj.collapse(model), (jnp.asarray(y, float),), {}, kept)[0]) - prior
    np.testing.assert_allclose(found, exact(design, y.astype(Wide))[0], rtol=1e-9 if x64 else 1e-5)


def test_factors_of_different_variables_are_not_mixed() -> None:
    """Scales that are different functions of one latent, whatever they are called."""
    def model(y: Any) -> None:
        q = sample("q", dist.Normal(0.0, 1.0))
        b = [sample(f"b{k}", dist.Normal(0.0, f(q)).expand([2]).to_event(1)) for k, f in enumerate(
            (lambda v: jnp.exp(jnp.sin(v)), lambda v: jnp.exp(jnp.sin(2 * v)), lambda v: jnp.exp(jnp.sin(v))))]
        columns = np.stack([np.ones(ROWS), 300.0 + STEP, 299.0 + STEP**2 / 100, 200 - STEP, 100.0 + NOISE, 90.0 - NOISE], 1)
        sample("y", dist.Normal(columns @ jnp.concatenate(b), 1.0), obs=y)

    y = jnp.asarray(NOISE)
    parts = block_of(model, y).rotation.all_parts
    mixed = {frozenset(index.reshape(-1).tolist()) for index, _ in parts}
    assert {2, 3} in mixed and all(m <= {2, 3} or m <= {0, 1, 4, 5} for m in mixed)
    assert cj.check(model, jax.random.key(0), y).points


def test_what_an_intercept_is_taken_out_of_keeps_its_units() -> None:
    """Coefficients of a known shape that two noises leave as they are, beside relatives that are turned."""
    root = np.linalg.cholesky(np.eye(2) + 0.5)
    kinship = np.linalg.cholesky(np.eye(12) + 0.3)
    x = np.stack([300.0 + STEP, NOISE], 1)

    def model(y: Any) -> None:
        s = sample("s", dist.HalfNormal(1.0).expand([3]).to_event(1))
        t = sample("t", dist.HalfNormal(1.0).expand([2]).to_event(1))
        a = sample("a", dist.ImproperUniform(dist.constraints.real, (), ()))
        c = sample("c", dist.MultivariateNormal(jnp.zeros(2), scale_tril=t[0] * root))
        u = sample("u", dist.MultivariateNormal(jnp.zeros(12), scale_tril=t[1] * kinship))
        sample("y", dist.Normal(a + x @ c, s[:2][GROUP % 2]), obs=y)
        sample("w", dist.Normal(0.1 * c[1] + u, s[2]), obs=y[:12])

    y = jnp.asarray(NOISE)
    turned = [sorted(index.reshape(-1).tolist()) for index, _ in block_of(model, y).rotation.all_parts]
    assert turned[0][:3] == [0, 1, 2] and turned[1:] == [list(range(3, 15))]
    assert cj.check(model, jax.random.key(0), y).points


@pytest.mark.optimised
@pytest.mark.parametrize("x64", [False], indirect=True)
@pytest.mark.parametrize("apart", [1e-3, 2e-4, 1e-4, 5e-5, 1e-5])
def test_columns_that_differ_in_the_last_digits_of_a_square(apart: float, x64: bool) -> None:
    """A height in centimetres and in rounded inches: what tells them apart is all but rounding of their squares."""
    design = np.stack([np.ones(ROWS), 170 + STEP, 170 + STEP + apart * NOISE], 1).astype(np.float32)
    y = np.asarray(NOISE[::-1], np.float32)

    def model(y: Any) -> None:
        s = sample("s", dist.HalfNormal(1.0))
        b = sample("b", dist.Normal(0.0, 10.0).expand([3]).to_event(1))
        sample("y", dist.Normal(jnp.asarray(design) @ b, s), obs=y)

    for s in (0.25, 1.0):
        logpdf, _, _ = exact(Design(model, ("b",), np.zeros(3), 100.0 * np.eye(3), design, s), y.astype(Wide))
        found = log_density(cj.collapse(model), (jnp.asarray(y),), {}, {"s": jnp.float32(s)})[0]
        np.testing.assert_allclose(found - float(dist.HalfNormal(1.0).log_prob(s)), logpdf, rtol=1e-5, atol=1e-3)
