"""Components with several weights, in single precision too, where one of these is far above the prior's precision and the others."""

from collections.abc import Callable
from typing import Any

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
from conjugate_ppl.gaussian import alike, block, pieces
from conjugate_ppl.gaussian.alike import Alike
from conjugate_ppl.gaussian.pieces import Pieced

RNG = np.random.default_rng(3)
OBJECTS = 30
TRUE = 100 + 10 * RNG.normal(size=OBJECTS)
FIRST, SECOND = (np.round(TRUE + s * RNG.normal(size=OBJECTS), 3) for s in (0.01, 2.0))
AGAIN = np.arange(0, OBJECTS, 3).astype(np.int32)
THIRD = np.round(TRUE[AGAIN] + 5 + RNG.normal(size=10), 3)
CONTENT = np.tile([0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0], 6)
BATCH = np.repeat(np.arange(6), 7).astype(np.int32)
SIGNAL = 0.05 + 1.1 * CONTENT * (1 + 0.03 * RNG.normal(size=6)[BATCH]) + np.sqrt(
    0.002**2 + (0.05 * CONTENT)**2) * RNG.normal(size=42)
PRECISE = 1 + RNG.normal(size=6)[BATCH] + 0.001 * RNG.normal(size=42)
ITEMS = 3 + RNG.normal(size=(25, 1)) * [1.0, -0.8, 0.6] + RNG.normal(size=(25, 3)) * [0.1, 0.5, 0.6]
TIMES = np.tile(np.linspace(0.0, 10.0, 7), 6)
DECAY = np.round(1000 * np.exp(-0.3 * TIMES) + 2 + RNG.normal(size=42), 2)
DECAYS = np.round((1000 + 100 * RNG.normal(size=6))[BATCH] * np.exp(-0.3 * TIMES) + RNG.normal(size=42), 2)
E = np.eye(OBJECTS)


def instruments(y: Any, z: Any) -> None:
    t, s = sample("t", dist.HalfNormal(20.0)), sample("s", dist.HalfNormal(5.0).expand([2]).to_event(1))
    m = sample("m", dist.Normal(0.0, 100.0))
    with plate("objects", OBJECTS):
        x = sample("x", dist.Normal(m, t))
        sample("y", dist.Normal(x, s[0]), obs=y)
        sample("z", dist.Normal(x, s[1]), obs=z)


def offsets(y: Any, z: Any, w: Any) -> None:
    """A third instrument has seen some of the objects, and has a level of its own."""
    t, s = sample("t", dist.HalfNormal(20.0)), sample("s", dist.HalfNormal(5.0).expand([3]).to_event(1))
    m, a = sample("m", dist.Normal(0.0, 100.0)), sample("a", dist.Normal(0.0, 10.0))
    with plate("objects", OBJECTS):
        x = sample("x", dist.Normal(m, t))
        sample("y", dist.Normal(x, s[0]), obs=y)
        sample("z", dist.Normal(x, s[1]), obs=z)
    sample("w", dist.Normal(x[AGAIN] + a, s[2]), obs=w)


def calibration(c: Any, y: Any) -> None:
    """Lines by batch, with a noise that grows with the level."""
    s = sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
    t = sample("t", dist.HalfNormal(1.0).expand([2]).to_event(1))
    m = sample("m", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    with plate("batches", 6):
        b = sample("b", dist.Normal(m, t).to_event(1))
    sample("y", dist.Normal(b[BATCH, 0] + b[BATCH, 1] * c, jnp.sqrt(s[0]**2 + (s[1] * c)**2)), obs=y)


def line(c: Any, y: Any) -> None:
    """Nothing but a line, with such a noise."""
    s = sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
    b = sample("b", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    sample("y", dist.Normal(b[0] + b[1] * c, jnp.sqrt(s[0]**2 + (s[1] * c)**2)), obs=y)


def non_centred(y: Any) -> None:
    t, s = sample("t", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    m = sample("m", dist.Normal(0.0, 10.0))
    with plate("batches", 6):
        z = sample("z", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(m + t * z[BATCH], s), obs=y)


def factor(y: Any) -> None:
    """Scores below loadings of either sign."""
    t, s = sample("t", dist.Normal(0.0, 1.0).expand([3]).to_event(1)), sample("s", dist.HalfNormal(1.0).expand([3]).to_event(1))
    m = sample("m", dist.Normal(0.0, 5.0).expand([3]).to_event(1))
    with plate("people", 25, dim=-2):
        f = sample("f", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(m + t * f, s).to_event(2), obs=y)


def decay(y: Any) -> None:
    """An amplitude a thousand noises high, at times of which there are a few, beside a level."""
    k, s = sample("k", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    m, a = sample("m", dist.Normal(0.0, 5.0)), sample("a", dist.Normal(0.0, 1000.0))
    sample("y", dist.Normal(m + a * jnp.exp(-k * TIMES), s), obs=y)


def decays(y: Any) -> None:
    """The same of groups."""
    k, s, t = (sample(n, dist.HalfNormal(1.0)) for n in "kst")
    m = sample("m", dist.Normal(0.0, 1000.0))
    with plate("batches", 6):
        a = sample("a", dist.Normal(m, 100.0 * t))
    sample("y", dist.Normal(a[BATCH] * jnp.exp(-k * TIMES), s), obs=y)


def of_instruments(t: Any, s: Any) -> Any:
    both = np.concatenate([E, E])
    return 100.0**2 * both.sum(1)[:, None] * both.sum(1) + t**2 * both @ both.T + np.diag(np.repeat(np.square(s), OBJECTS))


def of_offsets(t: Any, s: Any) -> Any:
    every, own = np.concatenate([E, E, E[AGAIN]]), np.repeat([0.0, 1.0], [2 * OBJECTS, 10])
    return 100.0**2 * np.ones((70, 70)) + 100 * np.outer(own, own) + t**2 * every @ every.T + np.diag(
        np.repeat(np.square(s), [OBJECTS, OBJECTS, 10]))


def of_lines(s: Any, t: Any = (0.0, 0.0)) -> Any:
    design, same = np.stack([np.ones(42), CONTENT], 1), BATCH[:, None] == BATCH
    return 25 * design @ design.T + same * (design * np.square(t) @ design.T) + np.diag(s[0]**2 + (s[1] * CONTENT)**2)


def of_non_centred(t: Any, s: Any) -> Any:
    return 100.0 * np.ones((42, 42)) + t**2 * (BATCH[:, None] == BATCH) + s**2 * np.eye(42)


def of_factor(t: Any, s: Any) -> Any:
    means = np.kron(np.ones((25, 25)), 25 * np.eye(3))
    return means + np.kron(np.eye(25), np.outer(t, t) + np.diag(np.square(s)))


def of_decay(k: Any, s: Any) -> Any:
    curve = np.exp(-k * TIMES)
    return 25.0 + 1e6 * curve[:, None] * curve + s**2 * np.eye(42)


def of_decays(k: Any, s: Any, t: Any) -> Any:
    curve = np.exp(-k * TIMES)
    return (1e6 + 1e4 * t**2 * (BATCH[:, None] == BATCH)) * curve[:, None] * curve + s**2 * np.eye(42)


def normal(y: Any, covariance: Any) -> tuple[Any, Any, float]:
    """C^-1 y, C^-1 and the log density at y, in NumPy's longest numbers: the smallest scale is 1e-6 of the largest, and is squared."""
    n, left = len(y), covariance.astype(np.longdouble)
    low = np.zeros_like(left)
    for k in range(n):
        low[k:, k] = left[k:, k] / np.sqrt(left[k, k])
        left -= np.outer(low[:, k], low[:, k])
    right = np.concatenate([np.eye(n), y[:, None]], 1).astype(np.longdouble)
    for k in range(n):
        right[k] = (right[k] - low[k, :k] @ right[:k]) / low[k, k]
    white = right[:, -1]
    density = -0.5 * white @ white - np.sum(np.log(np.diagonal(low))) - 0.5 * n * np.log(2 * np.pi)
    return right[:, :-1].T @ white, right[:, :-1].T @ right[:, :-1], float(density)


MODELS: dict[str, tuple[Callable[..., None], tuple[Any, ...], Callable[..., Any], list[dict[str, Any]]]] = {
    "instruments": (instruments, (FIRST, SECOND), of_instruments, [
        {"t": 10.0, "s": s} for s in ([0.03, 2.0], [0.001, 2.0], [2.0, 0.001], [2.0, 1e-4], [0.01, 0.01], [500.0, 300.0])]
        + [{"t": 1e-3, "s": [1.0, 2.0]}, {"t": 500.0, "s": [1.0, 2.0]}]),
    "offsets": (offsets, (FIRST, SECOND, THIRD), of_offsets, [
        {"t": 10.0, "s": s} for s in ([0.03, 2.0, 1.0], [0.001, 2.0, 1.0], [2.0, 1.0, 0.001], [0.001, 0.5, 5.0])]),
    "calibration": (calibration, (CONTENT, SIGNAL), of_lines, [
        {"s": s, "t": t} for s, t in (([0.002, 0.05], [0.002, 0.03]), ([0.0025, 0.06], [0.003, 0.04]), ([0.05, 0.01], [0.5, 0.01]))]),
    "non-centred": (non_centred, (PRECISE,), of_non_centred, [
        {"t": t, "s": s} for t in (1.0, 0.7) for s in (0.1, 0.01, 0.001)] + [{"t": 1e-4, "s": 1.0}, {"t": 1.0, "s": 30.0}]),
    "factor": (factor, (ITEMS,), of_factor, [
        {"t": [1.0, -0.8, 0.6], "s": s} for s in ([0.1, 0.5, 0.6], [1e-3, 0.5, 0.6], [0.5, 1e-4, 0.6], [1e-3, 1e-3, 0.5])]),
    "decay": (decay, (DECAY,), of_decay, [{"k": k, "s": s} for k in (0.299, 0.3, 0.305) for s in (1.0, 0.5)] + [{"k": 0.5, "s": 30.0}]),
    "decays": (decays, (DECAYS,), of_decays, [{"k": k, "s": s, "t": t} for k in (0.3, 0.303) for s, t in ((1.0, 1.0), (0.7, 0.1))]),
    "line": (line, (CONTENT, SIGNAL), of_lines, [{"s": s} for s in ([0.002, 0.05], [0.0025, 0.06], [0.1, 0.3])]),
}


ONES = {"t": 1.0, "s": 1.0, "k": 1.0}


def against_normal(model: Callable[..., None], args: tuple[Any, ...], y: np.ndarray, covariance_at: Callable[..., Any],
                   point: dict[str, Any], priors: dict[str, float], x64: bool) -> None:
    """The log density, and its derivatives by each kept number, of data from a Normal distribution about 0; `priors` are the scales
    of kept sites, half of a Normal's."""
    args = tuple(jnp.asarray(a, None if a.dtype.kind == "i" else float) for a in args)
    collapsed = cj.collapse(model)
    f = jax.jit(jax.value_and_grad(lambda z: log_density(collapsed, args, {}, z)[0]))
    kept = {n: jnp.asarray(v) for n, v in point.items()}
    found, slopes = f(kept)
    at = {n: np.asarray(v, float) for n, v in kept.items()}
    pulled, inverse, density = normal(y, covariance_at(**at))
    expected = density + sum(np.sum(np.log((1 if n == "t" and model is factor else 2) / priors[n]) - 0.5 * np.log(2 * np.pi)
                                    - 0.5 * (v / priors[n])**2) for n, v in at.items())
    np.testing.assert_allclose(found, expected, rtol=1e-6 if x64 else 3e-6, atol=1e-6 if x64 else 1e-3)
    for n, v in at.items():
        for k in np.ndindex(v.shape):
            step = 1e-6j * v[k]
            moved = {**at, n: np.where(np.arange(v.size).reshape(v.shape) == np.ravel_multi_index(k, v.shape) if k else True,
                                       v + step, v)}
            change = np.imag(covariance_at(**moved)) / np.imag(step)
            slope = 0.5 * (pulled @ change @ pulled - np.sum(inverse * change)) - v[k] / priors[n]**2
            # by the logarithm of the scale, which is what a sampler moves
            np.testing.assert_allclose(np.asarray(slopes[n])[k] * v[k], slope * v[k], rtol=1e-3, atol=1e-5 if x64 else 3e-3)


@pytest.mark.optimised
@pytest.mark.parametrize("name", MODELS)
def test_against_a_dense_normal(name: str, x64: bool) -> None:
    """Densities, and derivatives by each scale, where one instrument is much better than the prior and the others."""
    model, data, covariance_at, points = MODELS[name]
    # in the precision of the data as they are given
    y = np.concatenate([np.asarray(jnp.asarray(a, float), float).ravel() for a in data[1 if model in (calibration, line) else 0:]])
    priors = {"t": 20.0, "s": 5.0} if model in (instruments, offsets) else ONES
    for point in points:
        against_normal(model, data, y, covariance_at, point, priors, x64)


@pytest.mark.parametrize("name", MODELS)
def test_as_by_subtraction(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, _, _ = MODELS[name]
    args = tuple(map(jnp.asarray, data))
    parts = block_of(model, *args).parts
    assert isinstance(parts, Alike if name in ("instruments", "offsets", "non-centred", "factor") else Pieced) and parts.pieces is not None

    found = derivatives(model, args)
    for module in (alike, pieces):
        monkeypatch.setattr(module, "pieces_of", lambda *_: None)
    parts = block_of(model, *args).parts
    assert not isinstance(parts, Pieced) and getattr(parts, "pieces", None) is None
    for a, b in zip(found, derivatives(model, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7)


def test_pieces_in_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = CASES["tiers_two_scales"].model, tuple(map(jnp.asarray, CASES["tiers_two_scales"].args))
    assert isinstance(block_of(model, *args).parts, Pieced)
    found = derivatives(model, args)
    monkeypatch.setattr(block, "split_pieces", lambda *_: None)
    for a, b in zip(found, derivatives(model, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_multiplied_in_one_of_two_likelihoods_of_one_scale(x64: bool) -> None:
    """A weight may be that of two residuals, one of which multiplies: each is a piece."""
    def model(y: Any) -> None:
        t, s = sample("t", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
        with plate("objects", 4):
            z = sample("z", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(t * z, s), obs=y)
            sample("w", dist.Normal(z, s), obs=2 * y)

    y = np.array([0.5, -1.0, 0.2, 2.0])
    found = getattr(block_of(model, jnp.asarray(y)).parts, "pieces", None)
    assert found is not None and (np.bincount(found.component) == 2).all()
    seen = np.kron(np.array([[0.7], [1.0]]), np.eye(4))
    against_normal(model, (y,), np.concatenate([y, 2 * y]), lambda t, s: _of_two(t, s, seen), {"t": 0.7, "s": 0.5}, ONES, x64)


def _of_two(t: Any, s: Any, seen: np.ndarray) -> Any:
    both = np.concatenate([t * seen[4:], seen[4:]])
    return both @ both.T + s**2 * np.eye(8)


def test_two_elements_that_are_multiplied_otherwise(x64: bool) -> None:
    """Intercepts beside what a curve multiplies: which rows say how much of an intercept is in no weight, so that it is no piece."""
    def model(y: Any) -> None:
        k, s = sample("k", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
        with plate("batches", 6):
            b = sample("b", dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1))
        sample("y", dist.Normal(b[BATCH, 0] + b[BATCH, 1] * jnp.exp(-k * TIMES), s), obs=y)

    def covariance(k: Any, s: Any) -> Any:
        curve = np.exp(-k * TIMES)
        return (BATCH[:, None] == BATCH) * (1 + curve[:, None] * curve) + s**2 * np.eye(42)

    assert getattr(block_of(model, jnp.asarray(PRECISE)).parts, "pieces", None) is None
    against_normal(model, (PRECISE,), PRECISE, covariance, {"k": 0.3, "s": 0.4}, ONES, x64)
