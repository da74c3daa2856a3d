"""Priors whose covariance is known but for a factor: in units of its root, along the axes of the likelihood."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import CASES
from models.shaped import KINSHIP, TRAIT
from numpyro import sample
from numpyro.infer.util import log_density
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import multivariate_normal
from test_dual import derivatives

import conjugate_ppl as cj
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.gaussian import block as blocks

SHAPED = [n for n in CASES if n.startswith("shaped_")]


def block_of(model: Any, *args: Any) -> Any:
    """The model's Gaussian block."""
    return next(e for e in cj.collapse(model).execution(args, {}).chosen.eliminations
                if isinstance(e, GaussianElimination)).block


@pytest.mark.parametrize("name", SHAPED)
def test_derivatives_are_those_without_a_rotation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))
    structure = block_of(model, *args).structure
    assert structure.width == 1 and structure.blocks.shape[1] <= 2  # every element alone

    shaped = derivatives(model, args)
    monkeypatch.setattr(blocks, "dual_form", lambda *_: None)
    monkeypatch.setattr(blocks, "_able", lambda *_: [])
    monkeypatch.setattr(blocks, "collinear", lambda *_: None)
    assert block_of(model, *args).rotation is None
    for a, b in zip(shaped, derivatives(model, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def smooth(y: Any, k: Any) -> None:
    """Of nearly singular covariance, seen once."""
    tau, s = sample("tau", dist.LogNormal(0.0, 2.0)), sample("s", dist.LogNormal(0.0, 2.0))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(len(y)), scale_tril=tau * np.linalg.cholesky(k)))
    sample("y", dist.Normal(f, s), obs=y)


def test_a_smooth_function_keeps_its_small_directions() -> None:
    """Eigenvalues from 1e-7 to 10, some of which much noise and others little noise hides."""
    x = np.linspace(0.0, 4.0, 40)
    k = np.exp(-0.5 * (x[:, None] - x) ** 2) + 1e-7 * np.eye(40)
    y = np.sin(x)
    assert block_of(smooth, y, k).structure.width == 1
    density = jax.jit(lambda tau, s: log_density(cj.collapse(smooth), (y, k), {}, {"tau": tau, "s": s})[0])
    for tau, s in ((1.0, 1.0), (1.0, 1e-3), (100.0, 1e-2), (1e-4, 1.0), (1e3, 1e-4)):
        prior = sum(float(dist.LogNormal(0.0, 2.0).log_prob(v)) for v in (tau, s))
        expected = multivariate_normal.logpdf(y, np.zeros(40), tau**2 * k + s**2 * np.eye(40)) + prior
        np.testing.assert_allclose(density(tau, s), expected, rtol=1e-7)


@pytest.mark.parametrize("unit", [1.0, 1.6e9])
def test_a_smooth_function_beside_others_in_any_units(unit: float) -> None:
    """What is said of directions that hardly vary a priori is small beside what is said of others: it counts all the same."""
    n = 20
    x, rng = np.linspace(0.0, 2.0, n), np.random.default_rng(1)
    z, y = rng.normal(size=n), np.sin(x) + 0.1 * rng.normal(size=n)
    low = np.linalg.cholesky(np.exp(-0.5 * (x[:, None] - x) ** 2) + 1e-9 * np.eye(n))
    group = np.arange(n) % 5

    def model(y: Any) -> None:
        t, s = sample("t", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
        b = sample("b", dist.Normal(0.0, 1 / unit))
        u = sample("u", dist.MultivariateNormal(jnp.zeros(n), scale_tril=t * low))
        w = sample("w", dist.Normal(0.0, 0.5).expand([5]).to_event(1))
        sample("y", dist.Normal(unit * z * b + u + w[group], s), obs=y)

    block = block_of(model, jnp.asarray(y))
    assert block.rotation is not None and block.structure.width == 1
    density = jax.jit(lambda t, s: log_density(cj.collapse(model), (jnp.asarray(y),), {}, {"t": t, "s": s})[0])
    for t, s in ((2.0, 0.3), (2.0, 0.05), (0.5, 1e-3)):
        covariance = t**2 * low @ low.T + np.outer(z, z) + 0.25 * (group[:, None] == group) + s**2 * np.eye(n)
        root = np.linalg.cholesky(covariance)
        expected = -0.5 * np.sum(np.linalg.solve(root, y) ** 2) - np.log(np.diagonal(root)).sum() - 0.5 * n * np.log(2 * np.pi)
        expected += sum(float(dist.HalfNormal(1.0).log_prob(v)) for v in (t, s))
        np.testing.assert_allclose(density(t, s), expected, rtol=1e-8)


def _some_traits(y: Any, k: Any, seen: Any) -> None:
    """Traits of their own scales, of which some rows are seen."""
    tau, s = sample("tau", dist.HalfNormal(1.0).expand([3])), sample("s", dist.HalfNormal(1.0).expand([12]))
    u = sample("u", dist.MultivariateNormal(jnp.zeros((3, 12)), scale_tril=tau[:, None, None] * np.linalg.cholesky(k)))
    for trait, rows in enumerate(seen):
        if rows == "all":
            sample(f"y{trait}", dist.Normal(u[trait], s[0]), obs=y)
        elif rows == "with noises":
            sample(f"y{trait}", dist.Normal(u[trait], s), obs=y)


@pytest.mark.parametrize(("seen", "turned"), [(("all", "none", "all"), 36), (("all", "with noises", "all"), 24)])
def test_events_of_a_site_are_turned_each_for_itself(seen: tuple[str, ...], turned: int) -> None:
    args = jnp.asarray(TRAIT), KINSHIP, seen
    assert len(block_of(_some_traits, *args).rotation.elements) == turned
    assert cj.check(cj.collapse(_some_traits), jax.random.key(0), *args, num_points=2).points


def test_more_coefficients_than_rows_are_principal_components_too() -> None:
    x = np.random.default_rng(0).normal(size=(15, 30))

    def model(y: Any) -> None:
        b = sample("b", dist.Normal(0.0, sample("t", dist.HalfNormal(1.0))).expand([30]).to_event(1))
        sample("y", dist.Normal(x @ b, sample("s", dist.HalfNormal(1.0))), obs=y)

    y = jnp.asarray(TRAIT[:10].repeat(2)[:15])
    assert block_of(model, y).structure.components.shape == (30, 1)
    assert cj.check(cj.collapse(model), jax.random.key(0), y, num_points=2).points


def test_draws_and_their_density(x64: bool) -> None:
    """Mean and covariance of draws, and the density, against a dense normal."""
    tau, s = 1.5, 0.7
    args = jnp.asarray(TRAIT), KINSHIP
    precision = np.linalg.inv(tau**2 * KINSHIP) + np.eye(12) / s**2
    covariance = np.linalg.inv(precision)
    mean = cho_solve(cho_factor(precision), TRAIT / s**2)
    collapsed = cj.collapse(smooth)
    assert block_of(smooth, *args).rotation is not None
    kept = {"tau": jnp.asarray(tau), "s": jnp.asarray(s)}
    draws = np.asarray(collapsed.recover(jax.random.key(0), {n: jnp.broadcast_to(v, 20000) for n, v in kept.items()}, *args)["f"], float)
    sd = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose((draws.mean(0) - mean) / sd, 0.0, atol=0.04)
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.05)
    found = collapsed.conditional_log_prob({"f": jnp.asarray(draws[0])}, kept, *args)
    np.testing.assert_allclose(found, multivariate_normal.logpdf(draws[0], mean, covariance), rtol=1e-9 if x64 else 1e-4)


def _own_scales(y: Any, k: Any) -> None:
    """Elements with scales of their own."""
    tau = sample("tau", dist.HalfNormal(1.0).expand([12]))
    u = sample("u", dist.MultivariateNormal(jnp.zeros(12), scale_tril=tau[:, None] * np.linalg.cholesky(k)))
    sample("y", dist.Normal(u, sample("s", dist.HalfNormal(1.0))), obs=y)


def _kept_mean(y: Any, k: Any) -> None:
    """A mean that the sampler moves."""
    mean = jnp.exp(sample("level", dist.Normal(0.0, 1.0)))
    u = sample("u", dist.MultivariateNormal(jnp.full(12, mean), scale_tril=sample("tau", dist.HalfNormal(1.0)) * np.linalg.cholesky(k)))
    sample("y", dist.Normal(u, sample("s", dist.HalfNormal(1.0))), obs=y)


def _either_sign(y: Any, k: Any) -> None:
    """A factor that is not proved positive."""
    tau = sample("tau", dist.Normal(2.0, 0.1))
    u = sample("u", dist.MultivariateNormal(jnp.zeros(12), scale_tril=tau * np.linalg.cholesky(k)))
    sample("y", dist.Normal(u, sample("s", dist.HalfNormal(1.0))), obs=y)


def _noise_of_each(y: Any, k: Any) -> None:
    """As many weights as elements: no axes are common to them."""
    s = sample("s", dist.HalfNormal(1.0).expand([12]))
    u = sample("u", dist.MultivariateNormal(jnp.zeros(12), scale_tril=sample("tau", dist.HalfNormal(1.0)) * np.linalg.cholesky(k)))
    sample("y", dist.Normal(u, s), obs=y)


@pytest.mark.parametrize("model", [_own_scales, _kept_mean, _either_sign, _noise_of_each])
def test_others_are_left_as_they_are(model: Any) -> None:
    args = jnp.asarray(TRAIT), KINSHIP
    assert block_of(model, *args).rotation is None
    assert model is _either_sign or cj.check(cj.collapse(model), jax.random.key(0), *args, num_points=1).points
