"""Arrays for all states of discrete latents are exact: looked up at any states they are what JAX computes.

One function or more for each primitive of `finite/rules.py`; `mutants.py` breaks each entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy import special

from conjugate_ppl import _compat
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.finite.cases import NONE, Cases, Mixed, held
from conjugate_ppl.finite.evaluate import Evaluator, all_states
from conjugate_ppl.finite.rules import _RULES
from conjugate_ppl.graph import Graph

Z, B = np.arange(3), np.arange(2)  # states of the elements of z, shape (3,), and of b
T = np.array([[0.5, -1.0, 2.0], [0.25, 3.0, 1.5], [1.0, 0.1, -0.7]])
G = np.array([2, 0, 0])
ROWS = np.array([[0.0, 1, 2, 3], [1, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 0], [2, 2, 1, 1]])
LOGS = np.linspace(0.1, 1.2, 12).reshape(3, 4)
Function = Callable[[Any, Any], Any]


def _of_a_float(f: Callable[[Any], Any]) -> Function:
    return lambda z, b: f(0.1 + 0.2 * z + 0.3 * b)


def _of_two(f: Callable[[Any, Any], Any]) -> Function:
    return lambda z, b: f(1.0 + 0.5 * z, 0.3 + b)


def _of_counts(f: Callable[[Any, Any], Any]) -> Function:
    return lambda z, b: f(z + 5, b + 1)


def _of_bits(f: Callable[[Any, Any], Any]) -> Function:
    return lambda z, b: f((z + 5).astype(jnp.uint32), (b + 1).astype(jnp.uint32))


FUNCTIONS: dict[str, Function] = {
    **{name: _of_a_float(getattr(lax, name)) for name in (
        "abs", "acos", "asin", "asinh", "atan", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "cos", "cosh",
        "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "is_finite", "lgamma", "log",
        "log1p", "logistic", "neg", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "tan",
        "tanh")},
    "acosh": lambda z, b: lax.acosh(1.5 + z + b), "atanh": lambda z, b: lax.atanh(0.1 + 0.2 * z),
    **{name: _of_two(getattr(lax, name)) for name in (
        "add", "atan2", "div", "eq", "ge", "gt", "igamma", "igammac", "le", "lt", "max", "min", "mul", "ne",
        "nextafter", "pow", "rem", "sub", "zeta")},
    "polygamma": lambda z, b: lax.polygamma(1.0 + b, 1.0 + z),
    "regularized_incomplete_beta": lambda z, b: special.betainc(1.0 + z, 0.5 + b, 0.3),
    **{name: _of_counts(f) for name, f in {
        "and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor, "shift_left": lax.shift_left,
        "shift_right_arithmetic": lax.shift_right_arithmetic}.items()},
    "shift_right_logical": _of_bits(lax.shift_right_logical),
    "clz": _of_bits(lambda x, y: lax.clz(x) + y), "not": _of_bits(lambda x, y: ~x + y),
    "population_count": _of_bits(lambda x, y: lax.population_count(x) + y),
    "round": lambda z, b: lax.round(1.7 * z + b), "integer_pow": lambda z, b: (z + 0.5) ** 3 + b,
    "clamp": lambda z, b: lax.clamp(0.5, 0.7 * z + b, 1.5),
    "convert_element_type": lambda z, b: z.astype(jnp.uint8) * 200 + b,
    "select_n": lambda z, b: jnp.where(z == 1, 2.5, jnp.where(b == 1, T[0], z)),
    "copy": lambda z, b: jnp.copy(z + b),
    # movement
    "broadcast_in_dim": lambda z, b: jnp.broadcast_to(z[:, None] + b, (3, 2)) * jnp.ones((4, 1, 1)),
    "reshape": lambda z, b: (z[:, None] * T + b).reshape(9),
    "squeeze": lambda z, b: jnp.squeeze((z * T[0])[None, :, None], (0, 2)),
    "expand_dims": lambda z, b: jnp.expand_dims(z * T[0], (0, 2)),
    "transpose": lambda z, b: (z[:, None] * T + b).T,
    "rev": lambda z, b: z[::-1] * T[0] + b,
    "slice": lambda z, b: (z * T[0])[1:] - z[:-1],
    "dynamic_slice": lambda z, b: lax.dynamic_slice(z * T[0], (1,), (2,)),
    "dynamic_slice by a latent": lambda z, b: lax.dynamic_slice(T[0], (z[1],), (1,)) + z,
    "gather": lambda z, b: (z * T[0])[G] + z,
    "gather by latents": lambda z, b: jnp.asarray(T)[z, b],
    "gather by a latent and data": lambda z, b: jnp.asarray(T)[G, z] - jnp.asarray(T)[b, G],
    "gather of columns": lambda z, b: jnp.take(jnp.asarray(T), z, 1)[:, 0] + b,
    "gather backwards": lambda z, b: jnp.asarray(T)[z - 2, 0] + jnp.asarray(T[0])[z + 1],
    "gather along": lambda z, b: jnp.take_along_axis(jnp.asarray(T), z[:, None], 1)[:, 0] * b,
    "pad": lambda z, b: jnp.pad(z * T[0], (1, 2), constant_values=0.5),
    "concatenate": lambda z, b: jnp.concatenate([z * T[0], b[None], jnp.array([0.3])]),
    "stack": lambda z, b: jnp.stack([z * T[0], T[1], b + jnp.zeros(3)], 1) * z[:, None],
    "stack of two elements": lambda z, b: jnp.max(jnp.stack([
        T[0, 1:] * z[1:], T[1, 1:] * z[1:] - z[:-1], T[2, 1:] * z[:-1]], 1), 1),
    "stack states": lambda z, b: jnp.asarray(T)[jnp.stack([z[1:], z[:-1]], 1)[:, 0], z[1:]],
    "concatenate states": lambda z, b: jnp.asarray(T)[jnp.concatenate([jnp.array([1]), z[:-1]]), z],
    "scatter": lambda z, b: jnp.arange(4.0).at[np.array([2, 0])].set(0.5 * z[:2]),
    "scatter of states": lambda z, b: jnp.array([0, 1, 2, 0]).at[np.array([3, 1])].set(z[1:]),
    "scatter into latents": lambda z, b: (z * T[0]).at[1].set(1.5 * b),
    "scatter of rows": lambda z, b: (z[:, None] * T).at[:, 2].set(T[0] * b),
    "split": lambda z, b: jnp.split(z * T[0], [1])[1] + b,
    "unstack": lambda z, b: jnp.unstack(z * T[0])[1] + b,
    # along axes that read one element, products of matrices
    **{f"reduce_{name}": lambda z, b, f=f: f(z[:, None] * T + b, 1) for name, f in {
        "sum": jnp.sum, "max": jnp.max, "min": jnp.min, "prod": jnp.prod}.items()},
    "reduce_and": lambda z, b: jnp.all(z[:, None] > T, 1), "reduce_or": lambda z, b: jnp.any(z[:, None] > T, 1),
    "reduce_xor": lambda z, b: lax.reduce_xor_p.bind(z[:, None] > jnp.asarray(T), axes=(1,)),
    "argmax": lambda z, b: jnp.argmax(z[:, None] * T + b, 1),
    "argmin": lambda z, b: jnp.argmin(z[:, None] * T + b, 1),
    **{f.__name__: lambda z, b, f=f: f(z[:, None] * T + b, 1) for f in (
        lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp)},
    "sort": lambda z, b: jnp.sort(z[:, None] * T + b, 1),
    "dot_general": lambda z, b: (z[:, None] * T + b) @ T,
    "dot_general of a batch": lambda z, b: jnp.einsum("ij,ij->i", z[:, None] * T, b * T),
    "cholesky": lambda z, b: jnp.linalg.cholesky((1.0 + z)[:, None, None] * (jnp.eye(2) + 0.3 * b)),
    "triangular_solve": lambda z, b: lax.linalg.triangular_solve(
        (1.0 + z)[:, None, None] * jnp.tril(jnp.asarray(T[:2, :2])), jnp.ones((3, 2, 1)) + b, left_side=True,
        lower=True),
    # sums of products that need not be written out
    "reduce_sum of rows times look-ups": lambda z, b: (ROWS[:, None] * jnp.asarray(LOGS)[z]).sum(2),
    "reduce_sum of logarithms": lambda z, b: special.xlogy(ROWS[:, None], jnp.clip(jnp.asarray(LOGS)[z], 1e-6, 1.0)).sum(2),
    "reduce_sum of logarithms of zero": lambda z, b: special.xlogy(1.0 * (ROWS[:, None] > 1), jnp.zeros(4) + 0 * z[:, None]
                                                                  ).sum(2),
    "reduce_sum of a sum of products": lambda z, b: (b - special.xlog1py(
        3 - ROWS[:, None], -jnp.clip(jnp.asarray(LOGS)[z], 1e-6, 0.9)) + ROWS[:, None] * jnp.asarray(LOGS)[z][..., ::-1] - jnp.asarray(LOGS)[z]).sum((0, 2)),
    "reduce_sum of two logarithms": lambda z, b: (special.xlogy(ROWS[:, None], jnp.clip(jnp.asarray(LOGS)[z], 1e-6, 0.9)) + (
        special.xlog1py(3 - ROWS[:, None], -jnp.clip(jnp.asarray(LOGS)[z], 1e-6, 0.9)))).sum((0, 2)) + b,
    "reduce_sum within a choice": lambda z, b: jnp.where(jnp.ones((5, 1, 4), bool), ROWS[:, None] * jnp.asarray(LOGS)[z], -jnp.inf).sum(2),
    # along axes that read several
    "reduce_sum of several": lambda z, b: z.sum() * b, "reduce_max of two axes": lambda z, b: jnp.max(z[:, None] * T + b),
    "reduce_sum in a difference": lambda z, b: z - z.mean(), "reduce_prod of a few": lambda z, b: jnp.prod(T * z, 1),
    "sort of several": lambda z, b: jnp.sort(z), "argmax of several": lambda z, b: jnp.argmax(z * T[0] - b),
    "cumsum of several": lambda z, b: jnp.cumsum(z) + b, "dot_general of several": lambda z, b: T @ (z + b),
    "dot_general of latents": lambda z, b: (T * z) @ (z * b),
    # anything else, of one element
    "any primitive": lambda z, b: jnp.linalg.eigh(jnp.asarray(T + T.T) + z[1] * jnp.eye(3))[0] + b,
    "custom derivative": lambda z, b: jax.nn.relu(z[::-1] - 1.0) + jax.nn.relu(z - 0.5) * b,
}

MIXED: dict[str, Function] = {
    "written twice": lambda z, b: jnp.zeros(3, int).at[np.array([1, 1])].set(z[:2]),
    "written at a latent": lambda z, b: jnp.zeros(3).at[z[0]].set(1.0),
    "many in a row": lambda z, b: jnp.tile(z, 11).sum(),
    "many numbers": lambda z, b: (z * jnp.ones((1 << 18, 3))).sum(1),
    "eigenvalues": lambda z, b: jnp.linalg.eigh(jnp.diag(1.0 * z))[0],
    "look-up among latents": lambda z, b: (z * T[0])[b],
    "index out of range": lambda z, b: z[jnp.array([0, 7])],
}


def evaluated(f: Function) -> Cases:
    """The cases of a function of z and b."""
    graph = Graph(_compat.make_jaxpr(f, jnp.zeros(3, int), jnp.zeros((), int)))
    z, b = graph.inputs
    values = Values(graph, {"z": z, "b": b}, {})
    out: Cases = Evaluator(graph, values, {z: all_states(0, (3,), Z), b: all_states(3, (), B)}, {}).evaluate(
        graph.outputs[0])
    return out


def equal_everywhere(f: Function) -> None:
    """The cases of a function, looked up at random states, are what JAX computes."""
    cases, rng = evaluated(f), np.random.default_rng(0)
    array, readings = np.asarray(cases.full()), cases.elements()
    run = jax.jit(f)
    for _ in range(6):
        z, b = rng.integers(0, 3, 3), rng.integers(0, 2)
        states = [*z, b]
        found = np.empty(cases.shape, array.dtype)
        for k in np.ndindex(cases.shape):
            at = [states[e[k]] if e[k] >= 0 else 0 if e[k] == NONE else int(held(e[k])) for e in readings]
            found[k] = array[(*at, *k)]
        np.testing.assert_allclose(found, run(jnp.asarray(z), jnp.asarray(b)), rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equal_everywhere(name):
    equal_everywhere(FUNCTIONS[name])


@pytest.mark.parametrize("name", MIXED)
def test_several_elements_in_one_place(name):
    with pytest.raises(Mixed):
        evaluated(MIXED[name])


def test_every_rule_has_a_function():
    spelled = {"add_any", "copy_p"}  # made by derivatives, and by other versions of JAX
    assert {n for n in _RULES if n not in spelled} <= {n.split()[0] if n.split()[0] in _RULES else n
                                                         for n in FUNCTIONS}
