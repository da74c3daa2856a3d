"""Known numbers by NumPy: the same bits as JAX's, or left to JAX."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from conjugate_ppl.algebra.exact import constants
from conjugate_ppl.graph import Graph

X = np.array([[0.1, -2.5, 3e7, -0.0], [np.inf, np.nan, 1 / 3, 7.0]])
Y = np.array([[0.7, 0.1, -3e7, 0.0], [-np.inf, 1.0, 3.0, np.nan]])
K = np.array([[3, -7, 2**31 - 1, 0], [-(2**31), 5, 5, 1]], np.int32)
B = K > 0

# functions of floats x, y, whole numbers k and truth values b that NumPy computes
SAME = {
    "arithmetic": lambda x, y, k, b: (x + y - x * y) / (y - 3.0),
    "signs": lambda x, y, k, b: -jnp.abs(x),
    "roots and squares": lambda x, y, k, b: jnp.sqrt(x) + lax.square(y),
    "comparisons": lambda x, y, k, b: (x < y) | (x <= 0.1) ^ (x == y) & ~(x != y) | (x > y) | (x >= y),
    "choices": lambda x, y, k, b: jnp.where(b, x, y),
    "whole numbers": lambda x, y, k, b: k * k - 2 * k + jnp.maximum(k, -k) + jnp.minimum(k, 3),
    "sums of whole numbers": lambda x, y, k, b: k.sum(1) + jnp.max(k) - jnp.min(k, 1),
    "running numbers": lambda x, y, k, b: lax.cumsum(k, 1) - lax.cummax(k, 0) + lax.cummin(k, 1, reverse=True),
    "all and any": lambda x, y, k, b: b.all(1) ^ b.any(1),
    "numbers of places": lambda x, y, k, b: lax.broadcasted_iota(jnp.int32, (2, 3), 1),
    "converted": lambda x, y, k, b: k.astype(x.dtype) + b + k.astype(jnp.int8),
    "other floats": lambda x, y, k, b: x.astype(jnp.float32),
    "movements": lambda x, y, k, b: jnp.concatenate([x.T, y.T[::-1]], 1).reshape(2, -1)[:, 1:, None],
    "look-ups": lambda x, y, k, b: x[:, jnp.array([3, 0, 0])],
}
# ... and what has other bits there, or might
OTHER = {
    "functions": lambda x, y, k, b: jnp.exp(x),
    "sums": lambda x, y, k, b: x.sum(),
    "truncated": lambda x, y, k, b: x.astype(jnp.int32),
    "halves": lambda x, y, k, b: x.astype(jnp.float16),
    "division of whole numbers": lambda x, y, k, b: lax.div(k, jnp.full_like(k, 2)),
    "below the normal numbers": lambda x, y, k, b: (x * np.asarray(np.finfo(x.dtype).tiny, x.dtype)) == 0,
    "products of matrices": lambda x, y, k, b: x @ y.T,
}


def graph(f):
    args = [jnp.asarray(a) for a in (X, Y, K, B)]
    closed = jax.make_jaxpr(lambda: f(*args))()
    return Graph(closed)


def compare(f, allow):
    """The result by `constants`, bit for bit that of JAX; how many equations JAX has run."""
    made = graph(f)
    right = made.evaluate(made.outputs, {})
    calls = []

    def apply(equation, operands):
        calls.append(equation.primitive)
        assert allow, f"{equation.primitive} is left to JAX"
        return Graph.apply(made, equation, operands)

    with mock.patch.object(made, "apply", apply):
        found = constants(made, made.outputs, {})
    for a, b in zip(found, right, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(np.isnan(a) if a.dtype.kind == "f" else 0, np.isnan(b) if b.dtype.kind == "f" else 0)
        same = a.view(f"u{a.dtype.itemsize}") == b.view(f"u{b.dtype.itemsize}")
        assert (same | (a != a)).all()
    return calls


@pytest.mark.parametrize("name", SAME)
def test_same_bits(name, x64):
    compare(SAME[name], allow=False)


@pytest.mark.parametrize("name", OTHER)
def test_left_to_jax(name, x64):
    assert compare(OTHER[name], allow=True)
