"""Effects above precise data: what no data see of them stands beside what is seen, in single precision too."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import plate, sample
from test_pieces import ONES, against_normal
from test_shaped import block_of

from conjugate_ppl.gaussian.structure import Structure

RNG = np.random.default_rng(5)
ROWS, A, B = 90, 9, 7
FIRST, SECOND = (RNG.integers(0, n, ROWS).astype(np.int32) for n in (A, B))
EACH = [g.reshape(-1).astype(np.int32) for g in np.meshgrid(np.arange(A), np.arange(B))]
X = np.round(RNG.normal(size=ROWS), 2)
CLASSES, SCHOOLS = 30, 8
SCHOOL = RNG.integers(0, SCHOOLS, CLASSES).astype(np.int32)
CLASS = np.repeat(np.arange(CLASSES), 3).astype(np.int32)
NOISE = 1e-3
EFFECTS = RNG.normal(size=A), RNG.normal(size=B)
CROSSED = 1 + EFFECTS[0][FIRST] + EFFECTS[1][SECOND] + NOISE * RNG.normal(size=ROWS)
BALANCED = 1 + EFFECTS[0][EACH[0]] + EFFECTS[1][EACH[1]] + NOISE * RNG.normal(size=A * B)
SLOPES = CROSSED + X * (RNG.normal(size=A)[FIRST] + RNG.normal(size=B)[SECOND])
NESTED = 3 + RNG.normal(size=SCHOOLS)[SCHOOL][CLASS] + RNG.normal(size=CLASSES)[CLASS] + NOISE * RNG.normal(size=ROWS)


def scales() -> Any:
    return tuple(sample(n, dist.HalfNormal(1.0)) for n in "tks")


def crossed(y: Any, first: Any = FIRST, second: Any = SECOND) -> None:
    t, k, s = scales()
    m = sample("m", dist.Normal(0.0, 10.0))
    a, b = sample("a", dist.Normal(0.0, t).expand([A])), sample("b", dist.Normal(0.0, k).expand([B]))
    sample("y", dist.Normal(m + a[first] + b[second], s), obs=y)


def balanced(y: Any) -> None:
    crossed(y, *EACH)


def noise_by_row(y: Any) -> None:
    t, k, s = scales()
    m = sample("m", dist.Normal(0.0, 10.0))
    a, b = sample("a", dist.Normal(0.0, t).expand([A])), sample("b", dist.Normal(0.0, k).expand([B]))
    sample("y", dist.Normal(m + a[FIRST] + b[SECOND], s * jnp.exp(0.3 * t * X)), obs=y)


def slopes(y: Any) -> None:
    """Intercepts and slopes of both groupings, of one of them correlated."""
    t, k, s = scales()
    m = sample("m", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    with plate("first", A):
        a = sample("a", dist.MultivariateNormal(jnp.zeros(2), scale_tril=t * jnp.array([[1.0, 0.0], [0.4, 0.8]])))
    with plate("second", B):
        b = sample("b", dist.Normal(0.0, k * jnp.array([1.0, 0.5])).to_event(1))
    sample("y", dist.Normal(m[0] + a[FIRST, 0] + b[SECOND, 0] + (m[1] + a[FIRST, 1] + b[SECOND, 1]) * X, s), obs=y)


def nested(y: Any) -> None:
    """Classes in schools."""
    t, k, s = scales()
    m = sample("m", dist.Normal(0.0, 10.0))
    a = sample("a", dist.Normal(m, k).expand([SCHOOLS]))
    b = sample("b", dist.Normal(a[SCHOOL], t))
    sample("y", dist.Normal(b[CLASS], s), obs=y)


def same(group: np.ndarray) -> np.ndarray:
    out: np.ndarray = group[:, None] == group
    return out


def of_crossed(t: Any, k: Any, s: Any) -> Any:
    return 100.0 + t**2 * same(FIRST) + k**2 * same(SECOND) + s**2 * np.eye(ROWS)


def of_balanced(t: Any, k: Any, s: Any) -> Any:
    return 100.0 + t**2 * same(EACH[0]) + k**2 * same(EACH[1]) + s**2 * np.eye(A * B)


def of_rows(t: Any, k: Any, s: Any) -> Any:
    return 100.0 + t**2 * same(FIRST) + k**2 * same(SECOND) + np.diag((s * np.exp(0.3 * t * X))**2)


def of_slopes(t: Any, k: Any, s: Any) -> Any:
    design, low = np.stack([np.ones(ROWS), X], 1), np.array([[1.0, 0.0], [0.4, 0.8]])
    return 100.0 * design @ design.T + t**2 * same(FIRST) * (design @ (low @ low.T) @ design.T) + k**2 * same(SECOND) * (
        design @ np.diag([1.0, 0.25]) @ design.T) + s**2 * np.eye(ROWS)


def of_nested(t: Any, k: Any, s: Any) -> Any:
    return 100.0 + k**2 * same(SCHOOL[CLASS]) + t**2 * same(CLASS) + s**2 * np.eye(ROWS)


MODELS: dict[str, tuple[Callable[..., None], np.ndarray, Callable[..., Any]]] = {
    "crossed": (crossed, CROSSED, of_crossed),
    "balanced": (balanced, BALANCED, of_balanced),
    "noise by row": (noise_by_row, CROSSED, of_rows),
    "slopes": (slopes, SLOPES, of_slopes),
    "nested": (nested, NESTED, of_nested),
}
POINTS = [{"t": t, "k": k, "s": s} for s in (0.1, 0.003, 0.001) for t, k in ((1.0, 1.0), (0.7, 1.2), (0.05, 1.0), (1.0, 0.05))]


@pytest.mark.optimised
@pytest.mark.parametrize("name", MODELS)
def test_against_a_dense_normal(name: str, x64: bool) -> None:
    """Noise of a tenth to a thousandth of the effects, and effects that are small beside what the data say of them."""
    model, y, covariance_at = MODELS[name]
    given = np.asarray(jnp.asarray(y, float), float)  # in the precision of the model's data
    for point in POINTS:
        against_normal(model, (y,), given, covariance_at, point, ONES, x64)


def turned(structure: Structure, parts: Any) -> bool:
    """Whether elements of the rest are mixed."""
    return any((structure.component[index] < 0).any() and len(index) > 1 for index, _ in parts)


def test_what_is_seen_with_scales_of_its_own_is_not_mixed() -> None:
    """Means of items below loadings, each with a noise of its own: in a mix of them the one that is seen worst would be lost."""
    def items(y: Any) -> None:
        load = sample("load", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        s = sample("s", dist.HalfNormal(1.0).expand([3]).to_event(1))
        m = sample("m", dist.Normal(0.0, 5.0).expand([3]).to_event(1))
        with plate("people", 25, dim=-2):
            f = sample("f", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(m + load * f, s).to_event(2), obs=y)

    def raters(y: Any) -> None:
        t, k, _ = scales()
        s = sample("sigma", dist.HalfNormal(1.0).expand([B]).to_event(1))
        a, b = sample("a", dist.Normal(0.0, t).expand([A])), sample("b", dist.Normal(0.0, k).expand([B]))
        sample("y", dist.Normal(a[FIRST] + b[SECOND], s[SECOND]), obs=y)

    alone = block_of(items, jnp.asarray(RNG.normal(size=(25, 3))))
    rated = block_of(raters, jnp.asarray(CROSSED))
    mixed = block_of(crossed, jnp.asarray(CROSSED))
    assert alone.rotation is None or not turned(alone.structure, alone.rotation.all_parts)
    assert rated.rotation is None or not turned(rated.structure, rated.rotation.all_parts)
    assert mixed.rotation is not None and turned(mixed.structure, mixed.rotation.all_parts)
