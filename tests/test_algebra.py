"""The algebra is exact: the value found for a number equals what JAX computes, at every point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functions import FLOAT32, Function, Sites, X, Y, exact, is_plain, point, variables, walk
from jax import lax
from jax.scipy.special import logit

from conjugate_ppl import _compat
from conjugate_ppl.algebra.rules import RULES
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Value, combine
from conjugate_ppl.algebra.value import always_positive, multiply, never_negative
from conjugate_ppl.algebra.variables import Elementwise, Latent, Opaque, Variables
from conjugate_ppl.algebra.walk import HIDDEN_NOISE, Walk, latent_value
from conjugate_ppl.graph import Equation, Graph
from conjugate_ppl.loops import followed

# -- what the algebra sees through ----------------------------------------------------------------

TRIL = np.array([[2.0, 0.0, 0.0], [0.3, 0.5, 0.0], [-1.0, 0.7, 1.5]])
MASK = np.array([True, False, True])
T3 = np.arange(24.0).reshape(2, 3, 4)


@jax.custom_jvp
def lying(x: Any) -> Any:
    """3 x, whose derivative is claimed to be 0."""
    return 3 * x


lying.defjvps(lambda dx, ans, x: 0 * dx)


@jax.custom_vjp
def lying_too(x: Any) -> Any:
    """x / 2, whose derivative is claimed to be 7."""
    return x / 2


lying_too.defvjp(lambda x: (lying_too(x), None), lambda _, g: (7 * g,))

PLAIN: dict[str, Function] = {
    # arithmetic
    "add": lambda x: x.a + x.m + 2.0,
    "sub": lambda x: 1.0 - x.a - x.r,
    "neg, mul": lambda x: -x.a * x.m * 3.0,
    "div": lambda x: (x.a - 2.0) / x.t / 4.0,
    "div by a real": lambda x: x.r / x.a,
    "div known": lambda x: np.array([1.0, 0.0, 2.0]) / x.t,
    "square": lambda x: jnp.square(x.a - x.m),
    "integer_pow": lambda x: x.t**3 * x.a**-2 + x.t**2,
    "pow": lambda x: x.t**1.7 + x.s**-0.25,
    "pow 2": lambda x: (x.a + 1.0) ** jnp.asarray(2.0),
    "sqrt": lambda x: jnp.sqrt(4.0 * x.t) * x.a,
    "rsqrt": lambda x: lax.rsqrt(x.t) * x.m,
    "root of a square of a positive": lambda x: jnp.sqrt(x.t**2) - x.t,
    "cancel": lambda x: x.a * x.t / x.t - x.a,
    "quadratic": lambda x: -0.5 * ((X @ x.a - x.r) / x.s) ** 2 - jnp.log(x.s),
    "convert": lambda x: x.a.astype(jnp.float32).astype(float) * 1.0 if x.a.dtype == jnp.float32
    else x.a.astype(float),
    "known floats to ints": lambda x: x.a * np.array([1.7, -2.7, 3.0]).astype(int),
    "add_any": lambda x: jax.grad(lambda a: jnp.sum(a * a * x.t) + jnp.sum(a * X[0]) + a[0])(x.a),
    # exp and log
    "log": lambda x: jnp.log(3.0 * x.t**2 / x.s),
    "log of exp": lambda x: jnp.log(2.0 * jnp.exp(1.5 * x.a)),
    "exp of logs": lambda x: jnp.exp(2.0 - 0.5 * jnp.log(x.t) + jnp.log(x.s)),
    "exp of a difference of logs": lambda x: jnp.exp(jnp.log(x.t[0]) - jnp.log(x.t[1])) * x.a,
    "exp of stacked logs": lambda x: jnp.exp(jnp.stack([jnp.log(x.t[0]), jnp.log(x.t[2])])
                                             - jnp.log(x.t[1:])),
    "exp of exponents": lambda x: jnp.exp(np.array([1.0, 2.0, 3.0]) * jnp.log(x.t)),
    "exp of logs and more": lambda x: jnp.exp(jnp.log(x.s) + X @ x.a - 0.5 * jnp.log(x.t[1])),
    "a power by a latent": lambda x: x.t**x.a,
    "a power by element": lambda x: x.t ** np.array([1.0, 2.0, 0.5]),
    "powers by a latent undone": lambda x: (x.t ** (1 / x.s)) ** x.s * x.a,
    "powers undone": lambda x: (x.t ** (1 / 1.7)) ** 1.7 * x.a,
    "powers by pieces": lambda x: 1.0 / jnp.where(MASK, x.t, 2.0 * x.s) + jnp.sqrt(x.p * MASK + 1.0 - MASK),
    "log by pieces": lambda x: jnp.log(jnp.concatenate([x.t, 1.0 - x.p, np.array([0.5]), x.q * x.s])),
    "a part of what is left": lambda x: jnp.log(x.t - x.t * x.p),
    "log1p": lambda x: jnp.log1p(-x.p) * x.a,
    "1 - p": lambda x: 1.0 / (1.0 - x.p) + jnp.log(1.0 - (1.0 - x.p)),
    "1 - q": lambda x: jnp.log(1.0 - x.q),
    "logit": lambda x: logit(x.p) * 2.0,
    "sigmoid of logit": lambda x: jax.nn.sigmoid(logit(x.p)) + jax.nn.sigmoid(-logit(x.p)) ** 2,
    "softplus of logit": lambda x: jnp.log1p(jnp.exp(logit(x.p))),
    "odds": lambda x: jnp.log(x.p / (1.0 - x.p)) + 1.0 / (1.0 + x.p / (1.0 - x.p)),
    # data movement
    "index": lambda x: x.a[1] * x.m[0, -1],
    "gather": lambda x: x.a[np.array([2, 0, 0, -1, -3])],
    "gather rows": lambda x: x.m[np.array([1, 1, 0])] * x.a,
    "gather columns": lambda x: x.m[:, np.array([[2, 2], [0, -1]])],
    "gather pairs": lambda x: x.m[np.array([0, 1, 1]), np.array([2, -3, 2])],
    "gather along": lambda x: jnp.take_along_axis(x.m, np.array([[0, 2], [1, 1]]), 1),
    "gather clipped": lambda x: x.a.at[np.array([0, 9])].get(mode="clip"),
    "gather a mask": lambda x: x.a[MASK],
    "gather diagonal": lambda x: jnp.einsum("ii->i", x.m[:, :2]),
    "gather a product": lambda x: (x.a * x.t)[np.array([1, 1])] * x.a[np.array([1, 0])],
    "slice": lambda x: x.a[1:] * x.m[:, ::2],
    "rev": lambda x: x.a[::-1] - x.m[::-1, ::-1],
    "dynamic_slice": lambda x: lax.dynamic_slice(x.m, (1, 5), (1, 2)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x.m * 1.0, x.a[None, 1:], (1, 0)),
    "update known": lambda x: lax.dynamic_update_slice(jnp.asarray(X), x.m, (2, 7)),
    "reshape": lambda x: x.m.reshape(3, 2) * x.m.reshape(-1)[:2],
    "squeeze, expand": lambda x: jnp.squeeze(x.a[None, :, None], 2)[..., None] * x.a[:1, None, None],
    "transpose": lambda x: x.m.T + jnp.einsum("ij->ji", x.m) * x.a[:, None],
    "transpose three": lambda x: jnp.transpose(x.m[:, None] * X, (2, 0, 1)),
    "broadcast": lambda x: jnp.broadcast_to(x.a[:, None], (2, 3, 4)) * T3,
    "broadcast one": lambda x: jnp.broadcast_to(x.a[:1], (4,)) + x.r,
    "tile, repeat": lambda x: jnp.tile(x.a, 2) - jnp.repeat(x.a, 2),
    "concatenate": lambda x: jnp.concatenate([x.a, np.arange(2.0), 2.0 * x.t, x.a[:1]]),
    "concatenate axis": lambda x: jnp.concatenate([x.m, X, x.m * x.a], 0),
    "concatenate infinite": lambda x: jnp.concatenate([np.array([-np.inf, np.inf]), x.a]),
    "concatenate empty": lambda x: jnp.concatenate([np.zeros(0), x.a, x.t[:0]]),
    "stack": lambda x: jnp.stack([x.a, x.m[0], np.ones(3)], 1),
    "append": lambda x: jnp.append(x.a, -jnp.sum(x.a)),
    "pad": lambda x: jnp.pad(x.a, (2, 1)) + lax.pad(x.a, 0.5, [(1, 2, 0)]),
    "pad inside": lambda x: lax.pad(x.m, 2.0, [(0, 1, 2), (-1, 1, 1)]),
    "pad infinite": lambda x: lax.pad(x.a, -jnp.inf, [(1, 0, 0)]),
    "split": lambda x: jnp.split(x.a, [1])[1] * jnp.split(x.m, 2)[1][:, :2],
    "unpack": lambda x: sum(k * row for k, row in enumerate(x.m)),
    "select_n": lambda x: lax.select_n(np.array([0, 2, 1]), x.a, x.t, jnp.ones(3)),
    "where": lambda x: jnp.where(MASK, x.a, 0.0) + jnp.where(MASK[:, None], 1.0, x.a),
    "where infinite": lambda x: jnp.where(MASK, x.a * 2.0, -jnp.inf),
    "where divides by 0": lambda x: jnp.where(MASK, x.a * np.array([1.0, np.nan, 2.0]), x.r),
    "copy": lambda x: jnp.copy(x.a) * jnp.array(x.r),
    "scatter": lambda x: jnp.zeros(5).at[np.array([4, 0, 7])].set(x.a) + jnp.ones(5).at[1:4].set(x.t),
    "scatter rows": lambda x: x.m.at[np.array([1])].set(x.a[None]) * jnp.asarray(X)[:2].at[:, 1].set(x.m[:, 0]),
    "scatter-add": lambda x: x.a.at[np.array([0, 0])].add(x.t[:2]),
    "scatter-add rows": lambda x: jnp.zeros((3, 3)).at[np.array([2, 0, 2, 5])].add(X * x.a),
    "segment_sum": lambda x: jax.ops.segment_sum(x.m.T, np.array([1, 3, 1]), num_segments=4),
    # linear maps
    "solve": lambda x: jnp.linalg.solve(TRIL @ TRIL.T + 1.0, x.a * x.s) + jnp.linalg.solve(TRIL, x.m.T)[:, 0],
    "solve definite": lambda x: jax.scipy.linalg.solve(TRIL @ TRIL.T, x.a, assume_a="pos"),
    "convolve": lambda x: jnp.convolve(x.a * x.t, np.array([1.0, -0.5])) + jnp.convolve(np.array([2.0, 1.0]), x.m[0]),
    "fft": lambda x: jnp.fft.fft(x.m[0] * x.s, 4).real + jnp.conj(jnp.fft.rfft2(x.m)).imag[0, 1],
    "fft with a known kernel": lambda x: jnp.fft.irfft(jnp.fft.rfft(x.a, 4) * np.fft.rfft([1.0, 0.5, 0.0, 0.25]), 4),
    "complex": lambda x: jnp.fft.irfft(lax.complex(x.a, x.t * x.r), 4) + jnp.sum(jnp.fft.ifft(x.a)).real,
    # sums and products
    "prod": lambda x: jnp.prod(x.a) + jnp.prod(x.m, 0) * jnp.prod(1.0 - x.p),
    "cumprod": lambda x: jnp.cumprod(x.a) + lax.cumprod(x.m, 1, reverse=True),
    "sum over a simplex": lambda x: jnp.sum(x.q * x.s) + jnp.log(jnp.sum(jnp.exp(jnp.log(x.q[np.array([0, 1, 2])])))),
    "sum over a part of a simplex": lambda x: jnp.sum(x.q[1:]) + jnp.sum(x.q[np.array([0, 1, 1])]),
    "lgamma": lambda x: lax.lgamma(x.t + 1.0) - lax.lgamma(x.t),
    "angles": lambda x: jnp.cos(x.a - x.r + 0.3) * jnp.sin(x.m[0] - 1.0) + jnp.sin(-2.0 * x.a),
    "cholesky": lambda x: jnp.linalg.cholesky(x.s * (TRIL @ TRIL.T)) * x.r + jnp.linalg.cholesky(jnp.diag(x.t)),
    "cholesky of rows and columns": lambda x: jnp.linalg.cholesky(x.t[:, None] * (TRIL @ TRIL.T) * x.t * x.s),
    "inverse of scaled": lambda x: lax.linalg.triangular_solve(
        x.t[:, None] * x.s * TRIL, x.m.T, left_side=True, lower=True),
    "inverse of a diagonal": lambda x: lax.linalg.triangular_solve(
        jnp.diag(x.t), x.m, left_side=False, lower=True),
    "inverse of rows and columns": lambda x: jnp.linalg.inv(x.t[:, None] * (TRIL[::-1] @ TRIL.T) * x.s),
    "solve scaled": lambda x: jnp.linalg.solve(x.s * TRIL[::-1] * x.t, X[0]) @ jnp.linalg.inv(x.t[:2, None, None] * TRIL).sum(0),
    "sum": lambda x: jnp.sum(x.a * x.m) + jnp.sum(x.r * T3),
    "sum axis": lambda x: jnp.sum(x.m * x.a, 1) - jnp.mean(x.m, 1),
    "sum broadcast": lambda x: jnp.sum(jnp.broadcast_to(x.a, (4, 3)), 0),
    "sum of sums": lambda x: jnp.sum((x.m - jnp.mean(x.m, 0)) ** 2),
    "sum gathered": lambda x: jnp.sum((X[:, 0] - x.a[np.array([0, 1, 1, 2])]) ** 2),
    "sum scalars": lambda x: x.a[0] * x.a[1] + 2.0 * x.a[1] * x.a[2] - x.a[0] * x.a[1] + x.a[0] ** 2,
    "sum chain": lambda x: jnp.sum((x.a[1:] - x.r * x.a[:-1]) ** 2 / x.s),
    "cumsum": lambda x: jnp.cumsum(x.a) + lax.cumsum(x.a, reverse=True),
    "cumsum axis": lambda x: jnp.cumsum(x.m, 0) * lax.cumsum(x.m * x.a, 1, reverse=True),
    "matrix vector": lambda x: X @ x.a,
    "vector matrix": lambda x: x.a @ X.T + x.a @ TRIL[0],
    "matrix matrix": lambda x: x.m @ TRIL @ x.m.T,
    "latent times latent": lambda x: x.m @ x.a,
    "outer": lambda x: jnp.outer(x.a, x.t),
    "dot_general batch": lambda x: lax.dot_general(x.m, jnp.asarray(T3), (((1,), (1,)), ((0,), (0,)))),
    "dot_general right": lambda x: lax.dot_general(jnp.asarray(T3), x.m, (((1,), (1,)), ((), ()))),
    "dot_general two": lambda x: lax.dot_general(jnp.asarray(T3), x.m, (((0, 1), (0, 1)), ((), ()))),
    "einsum": lambda x: jnp.einsum("ij,ijk,j->k", x.m, T3, x.a),
    "triangular_solve": lambda x: lax.linalg.triangular_solve(
        TRIL, x.m.T, left_side=True, lower=True),
    "triangular_solve upper": lambda x: lax.linalg.triangular_solve(
        TRIL.T, x.m, left_side=False, lower=False),
    "triangular_solve transposed": lambda x: lax.linalg.triangular_solve(
        TRIL, x.m.T, left_side=True, lower=True, transpose_a=True),
    "triangular_solve right": lambda x: lax.linalg.triangular_solve(
        TRIL, x.m, left_side=False, lower=True, transpose_a=True, unit_diagonal=True),
    "triangular_solve batch": lambda x: lax.linalg.triangular_solve(
        np.stack([TRIL, TRIL @ TRIL]), x.m[:, :, None], left_side=True, lower=True),
    "quadratic form": lambda x: jnp.sum(lax.linalg.triangular_solve(
        TRIL, (x.m - x.a).T, left_side=True, lower=True) ** 2, 0),
    # calls
    "jit": lambda x: jax.jit(lambda y: 2.0 * y + x.r)(x.a),
    "checkpoint": lambda x: jax.checkpoint(lambda y: y * x.s)(x.a),
    "vmap": lambda x: jax.vmap(lambda row: row @ x.a)(x.m),
    # loops of few steps
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, c: c + x.a * (i + 1.0), x.a),
    "scan": lambda x: jnp.concatenate([jnp.ravel(y) for y in lax.scan(
        lambda c, k: (jnp.asarray(TRIL) @ c - x.t * k, c[::-1]), jnp.outer(X[0], x.a), jnp.arange(4.0))]),
    "custom_jvp that lies": lambda x: lying(x.a) * x.t,
    "custom_vjp that lies": lambda x: lying_too(x.a + 1.0),
}


# not made by every version of JAX: other primitives stand for them
BY_VERSION = {"unstack", "stack", "tile", "expand_dims", "copy", "copy_p", "square", "squeeze", "add_any"}


def primitives(equations: Iterable[Equation]) -> Iterator[str]:
    """Names of all primitives, bodies included."""
    for e in equations:
        yield e.primitive
        yield from primitives(e.body)


@pytest.mark.parametrize("name", PLAIN)
def test_seen_through(name: str) -> None:
    f = PLAIN[name]
    plain = walk(f)
    assert all(map(is_plain, variables(plain.value))), variables(plain.value)
    # with most latents folded away, and about other points
    exact(f, plain, walk(f, ("a",)), walk(f, (), origins=True), walk(f, origins=True))


@FLOAT32
@pytest.mark.parametrize("name", [n for k, n in enumerate(PLAIN) if k % 3 == 0])
def test_seen_through_in_float32(name: str, x64: bool) -> None:
    exact(PLAIN[name], walk(PLAIN[name]), walk(PLAIN[name], ("m",)), x64=False)


def test_every_rule_is_used() -> None:
    used = {n for f in PLAIN.values() for n in primitives(walk(f).graph.equations)}
    assert set(RULES) - BY_VERSION <= used


def test_conversion_to_more_digits() -> None:
    x = jnp.asarray([0.5, 2.0], jnp.float32)
    graph, variables = Graph(_compat.make_jaxpr(lambda x: 3.0 * x.astype(float), x)), Variables()
    steps = Walk(graph, {}, ("x",), variables)
    steps.set(graph.inputs[0], latent_value("x", (2,), "real", variables))
    (value,) = steps.run(graph.outputs)
    found = Values(graph, {"x": graph.inputs[0]}, {"x": x}).value(value)
    np.testing.assert_array_equal(found, [1.5, 6.0])
    assert is_plain(value.terms[0].atoms[0].variable)


def test_custom_derivatives_stay_with_jax() -> None:
    # the algebra proves the value of the body; JAX keeps the author's derivative
    graph = walk(PLAIN["custom_jvp that lies"]).graph
    assert [e.primitive for e in graph.equations if e.body] == ["custom_jvp_call"]


# -- one form for one monomial --------------------------------------------------------------------


def form(value: Value) -> list[Any]:
    """Coefficients and (variable, power) of each term; selections must be the identity."""
    out = []
    for term in value.terms:
        assert not term.hidden
        c = np.unique(term.coefficient())
        assert c.size == 1
        if c == 0 and not term.atoms:
            continue
        for atom in term.atoms:
            np.testing.assert_array_equal(atom.selection, np.arange(3))
        out.append((round(float(c[0]), 12), sorted((a.variable.name, a.power) for a in term.atoms)))
    return sorted(out)


HALF = Fraction(-1, 2)
SPELLINGS: dict[str, tuple[list[Any], list[Function]]] = {
    "t^(-1/2)": ([(1.0, [("t", HALF)])], [
        lambda x: 1 / jnp.sqrt(x.t), lambda x: x.t**-0.5, lambda x: jnp.sqrt(1 / x.t),
        lambda x: jnp.exp(-jnp.log(x.t) / 2), lambda x: 1.0 / jnp.sqrt(x.t), lambda x: lax.rsqrt(x.t),
        lambda x: jnp.reciprocal(jnp.sqrt(x.t)), lambda x: jnp.sqrt(x.t) / x.t,
        lambda x: jnp.power(x.t, -2.0) ** 0.25, lambda x: jnp.float_power(x.t, -0.5),
        lambda x: jnp.sqrt(x.t ** -1), lambda x: jnp.exp(0.5 * jnp.log(1 / x.t)),
    ]),
    "log(1-p)": ([(1.0, [("log (1 - p)", 1)])], [
        lambda x: jnp.log1p(-x.p), lambda x: jnp.log(1 - x.p), lambda x: 2 * jnp.log(jnp.sqrt(1 - x.p)),
        lambda x: jnp.log(1 - (1 - (1 - x.p))), lambda x: jnp.log1p(-1.0 * x.p),
        lambda x: -jnp.log1p(jnp.exp(logit(x.p))), lambda x: jnp.log(jax.nn.sigmoid(-logit(x.p))),
        lambda x: jnp.log(-x.p + 1),
    ]),
    "logit p": ([(-1.0, [("log (1 - p)", 1)]), (1.0, [("log p", 1)])], [
        lambda x: logit(x.p), lambda x: jnp.log(x.p / (1 - x.p)), lambda x: jnp.log(x.p) - jnp.log1p(-x.p),
        lambda x: -logit(1 - x.p), lambda x: -jnp.log((1 - x.p) / x.p), lambda x: -jnp.log(1 / x.p - 1),
        lambda x: jnp.log(x.p / (1.0 - x.p)),
    ]),
    "p": ([(1.0, [("p", 1)])], [
        lambda x: jax.nn.sigmoid(logit(x.p)), lambda x: jnp.exp(jnp.log(x.p)),
        lambda x: 1 / (1 + jnp.exp(-logit(x.p))), lambda x: jax.nn.sigmoid(jnp.log(x.p) - jnp.log1p(-x.p)),
    ]),
    "a^2 t^-2": ([(1.0, [("a", 2), ("t", -2)])], [
        lambda x: (x.a / x.t) ** 2, lambda x: x.a * x.a / (x.t * x.t), lambda x: jnp.square(x.a) / x.t**2,
        lambda x: x.a**2 * jnp.exp(-2 * jnp.log(x.t)), lambda x: jnp.square(x.a / jnp.sqrt(x.t)) / x.t,
    ]),
}


@pytest.mark.parametrize(("name", "number"), [(n, k) for n, (_, fs) in SPELLINGS.items()
                                              for k in range(len(fs))])
def test_one_form(name: str, number: int) -> None:
    expected, functions = SPELLINGS[name]
    assert form(walk(functions[number]).value) == expected


@FLOAT32
@pytest.mark.parametrize("name", SPELLINGS)
def test_one_form_in_float32(name: str, x64: bool) -> None:
    expected, functions = SPELLINGS[name]
    for f in functions:
        assert form(walk(f).value) == expected


# -- what stays opaque ----------------------------------------------------------------------------

OPAQUE: dict[str, Function] = {
    "abs": lambda x: jnp.abs(x.a),
    "sign": lambda x: jnp.sign(x.a),
    "max": lambda x: jnp.maximum(x.a, 0.0),
    "max of two": lambda x: jnp.maximum(x.a, x.t),
    "reduce_max": lambda x: jnp.max(x.a),
    "clip": lambda x: jnp.clip(x.t, 0.5, 1.0),
    "clamp": lambda x: lax.clamp(-0.1, x.a, 0.1),
    "sqrt(a**2)": lambda x: jnp.sqrt(x.a**2),
    "(a**2)**0.5": lambda x: (x.a**2) ** 0.5,
    "sqrt(a)": lambda x: jnp.sqrt(x.a),
    "log(a**2)": lambda x: jnp.log(x.a**2),
    "log(-t)": lambda x: jnp.log(-x.t),
    "sqrt of negative data": lambda x: jnp.sqrt(x.t * np.array([1.0, -1.0, 2.0])),
    "log of a sum": lambda x: jnp.log(x.t + 1.0),
    "1 / sum": lambda x: 1.0 / (x.a + 1.0),
    "1 / 0": lambda x: 1.0 / (x.t * np.array([0.0, 1.0, 2.0])),
    "log(1 - a)": lambda x: jnp.log(1.0 - x.a),
    "log1p(t)": lambda x: jnp.log1p(x.t),
    "exp": lambda x: jnp.exp(x.a),
    "sigmoid": lambda x: jax.nn.sigmoid(x.a),
    "a ** a": lambda x: x.a**x.a,
    "pow by element of what may be negative": lambda x: x.a ** np.array([1.0, 2.0, 0.5]),
    "sin": lambda x: jnp.sin(x.a) * 2.0,
    "floor": lambda x: jnp.floor(x.a),
    "rem": lambda x: x.a % 1.0,
    "to int": lambda x: x.a.astype(int) * 1.0,
    "to int and back": lambda x: (x.t * 5.0).astype(np.int8).astype(float),
    "to bool": lambda x: x.a.astype(bool) * 1.0,
    "to fewer digits": lambda x: x.a.astype(jnp.float16).astype(float),
    "compare": lambda x: (x.a > 0) * 1.0,
    "where on a latent": lambda x: jnp.where(x.a > 0, x.a, 2.0 * x.a),
    "guarded": lambda x: jnp.where(x.t > 0, jnp.log(x.t), -jnp.inf),
    "index fills": lambda x: x.a.at[np.array([0, 7])].get(mode="fill", fill_value=3.0),
    "index by a latent": lambda x: jnp.asarray(X)[jnp.argmax(x.a)] * 1.0,
    "element by a latent": lambda x: x.a[jnp.argmax(x.t)],
    "slice at a latent": lambda x: lax.dynamic_slice(x.a, (jnp.argmax(x.t),), (1,)),
    "scatter known": lambda x: jnp.zeros(4).at[np.array([3, 1, 1])].set(x.a),
    "sort": lambda x: jnp.sort(x.a),
    "prod of sums": lambda x: jnp.prod(x.a + x.t),
    "cos of a product": lambda x: jnp.cos(x.a * x.r),
    "lgamma of a sum": lambda x: lax.lgamma(x.t + 2.0),
    "cholesky of a sum": lambda x: jnp.linalg.cholesky(x.s * TRIL @ TRIL.T + np.eye(3)),
    "cholesky of rows": lambda x: jnp.linalg.cholesky(
        x.t[:, None] * (TRIL @ TRIL.T) * x.t[::-1], symmetrize_input=False),
    "log of overlapping pieces": lambda x: jnp.log(x.t * MASK + x.s),
    "logsumexp": lambda x: jax.nn.logsumexp(x.a),
    "cholesky": lambda x: jnp.linalg.cholesky(jnp.eye(3) + jnp.outer(x.a, x.a)),
    "solve": lambda x: lax.linalg.triangular_solve(
        jnp.eye(3) + jnp.diag(x.t), X[:3], left_side=True, lower=True),
    "callback": lambda x: jax.pure_callback(
        lambda v: np.sin(np.asarray(v)), jax.ShapeDtypeStruct(x.a.shape, x.a.dtype), x.a) * 2.0,
    "while": lambda x: lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2.0), (0, x.a))[1],
    "scan": lambda x: lax.scan(lambda c, y: (0.5 * c + y, c), x.r, x.a)[1],
    "cond": lambda x: lax.cond(x.r > 0, lambda y: y, lambda y: 2 * y, x.a),
    "cond known": lambda x: lax.cond(jnp.sum(jnp.asarray(X)) > 0, lambda y: y, lambda y: 2 * y, x.a),
    "stop_gradient": lambda x: lax.stop_gradient(x.a),
    "reduce_precision": lambda x: lax.reduce_precision(x.a, 8, 7),
    "lying inside": lambda x: lying(jnp.abs(x.a)),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_stays_opaque(name: str) -> None:
    f = OPAQUE[name]
    found = walk(f)
    assert variables(found.value), "nothing that depends on a latent"
    assert all(isinstance(v, (Opaque, Elementwise)) for v in variables(found.value))
    assert all(v.reason for v in variables(found.value) if isinstance(v, Opaque))
    exact(f, found, walk(f, ()), walk(f, origins=True))


@FLOAT32
@pytest.mark.parametrize("name", ["abs", "exp", "sigmoid", "where on a latent", "scan", "to int"])
def test_stays_opaque_in_float32(name: str, x64: bool) -> None:
    exact(OPAQUE[name], walk(OPAQUE[name]), x64=False)


@pytest.mark.parametrize("f", [
    lambda x: jnp.exp(x.m[0])[np.array([0, 0, 2])] * x.a,
    lambda x: x.a / jnp.exp(x.r) - jnp.log(jnp.exp(x.r)),
    lambda x: (x.a - jnp.abs(x.r)) ** 2 / (jnp.exp(2.0 * x.r) + 0.1),
    lambda x: jnp.sqrt(jnp.exp(x.r) * x.s) * x.a,
    lambda x: x.a / jnp.sqrt(x.t[0] ** 2 + 1.0),
    lambda x: jnp.sin(x.m) @ x.a,
    lambda x: lax.linalg.triangular_solve(
        jnp.linalg.cholesky(jnp.eye(3) * x.s + jnp.exp(-(X[:3, :1] - X[:3, 0]) ** 2)), x.a[:, None],
        left_side=True, lower=True),
], ids=range(7))
def test_opaque_coefficients(f: Function) -> None:
    """What is computed in any way from other latents is a coefficient of `a`."""
    found = walk(f, ("a",))
    assert any(isinstance(v, Latent) and v.site == "a" for v in variables(found.value)) or \
        "a" not in found.value.roots
    assert all(isinstance(v, Latent) for v in variables(found.value) if "a" in v.roots)
    exact(f, found, walk(f), walk(f, (), origins=True))


def test_hidden_noise_is_a_root() -> None:
    found = walk(lambda x: x.a + jax.random.normal(jax.random.PRNGKey(0), (3,)))
    assert HIDDEN_NOISE in found.value.roots


def test_out_of_range_index_is_never_a_selection() -> None:
    index = np.array([0, 5, -9])
    for f in (lambda x: x.a[index], lambda x: x.m[:, index], lambda x: jnp.take(x.a, index),
              lambda x: x.a[jnp.array(4)]):
        exact(f, walk(f), walk(f, ()))


# -- random programs ------------------------------------------------------------------------------


def random_program(seed: int, x: Sites) -> Any:
    """A sequence of random operations, the same for each call with one seed."""
    rng = np.random.default_rng(seed)
    pool = [x.a, x.m, x.r, 1.0 / x.t, jnp.sqrt(x.s) * x.a, jnp.log1p(-x.p), X, jnp.log(x.q)]
    products = 0
    for _ in range(9):
        y = jnp.asarray(pool[rng.integers(len(pool))])
        kind = rng.integers(12)
        axis = int(rng.integers(max(y.ndim, 1)))
        if kind < 3:
            partners = [z for z in pool if np.shape(z) in (np.shape(y), ()) or
                        (y.ndim and np.shape(z) == np.shape(y)[-1:])]
            z = partners[rng.integers(len(partners))]
            multiply = kind == 0 and products < 2
            products += multiply
            y = y * z if multiply else y - 2.0 * z
        elif y.ndim == 0:
            y = jnp.broadcast_to(y * 0.7, (2, 3))
        elif kind == 3:
            n = y.shape[axis]
            y = jnp.take(y, rng.integers(-n, n, 3), axis, mode="wrap")
        elif kind == 4:
            y = y[rng.integers(-y.shape[0], y.shape[0], 3)]
        elif kind == 5:
            y = lax.cumsum(y, axis, reverse=bool(rng.integers(2)))
        elif kind == 6:
            y = jnp.where(rng.random(y.shape) < 0.5, y, 0.3)
        elif kind == 7:
            y = jnp.tensordot(rng.normal(size=(3, y.shape[axis])), y, ((1,), (axis,)))
        elif kind == 8:
            y = jnp.concatenate([jnp.flip(y, axis), y * 2.0, jnp.ones_like(y)], axis)[..., :3]
        elif kind == 9:
            y = lax.pad(y.T, 0.25, [(1, -1, int(rng.integers(2)))] * y.ndim)
        elif kind == 10:
            y = jnp.sum(y, axis)
        else:
            y = y.reshape(-1)[: 3 * (y.size // 3)].reshape(-1, 3) if y.size >= 3 else y.reshape(-1)
        pool.append(y)
    return sum(jnp.sum(jnp.asarray(y)) * k for k, y in enumerate(pool[-4:], 1)) + jnp.asarray(pool[-1])


@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed: int) -> None:
    def f(x: Sites) -> Any:
        return random_program(seed, x)

    exact(f, walk(f), walk(f, ("a", "t"), origins=True))


# -- traced data ----------------------------------------------------------------------------------

TRACED: dict[str, tuple[Callable[[Sites, Any], Any], Any]] = {
    "coefficient": (lambda x, y: jnp.sum((y - x.a) ** 2 / x.s) + y @ x.m.T, Y),
    "quotient": (lambda x, y: x.a / (y * x.t) + (x.r - y) / y, Y),
    "index": (lambda x, g: x.a[g] * x.m[:, g].sum(0), np.array([2, 0, -1, 0])),
    "mask": (lambda x, k: jnp.where(k, x.a, 0.0) + x.t, MASK),
    "cumsum": (lambda x, y: jnp.cumsum(x.a * y) + jnp.concatenate([x.a, y])[1:4], Y),
    "dot": (lambda x, y: (y[:, None] * X[:3]) @ x.a, Y),
}


@pytest.mark.parametrize("name", TRACED)
def test_traced_data(name: str) -> None:
    f, data = TRACED[name]
    x = point(3)
    found = jax.jit(lambda d: walk(lambda s: f(s, d)).at(x))(data)
    np.testing.assert_allclose(found, jax.jit(f)(x, data), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_elements_that_are_moved_are_followed_without_a_loop_over_steps(seed):
    rng = np.random.default_rng(seed)
    origin = rng.integers(-1 if seed % 2 else 0, 7, 7)
    own, steps = np.arange(7), 40
    naive = [own]
    for _ in range(steps - 1):
        naive.append(np.where(naive[-1] < 0, -1, origin[naive[-1]]))
    np.testing.assert_array_equal(followed(origin, own, steps), naive)


def test_numbers_stay_apart_from_long_arrays() -> None:
    """A million rows are not copied for each factor; what is proved of a product does not depend on it."""
    long, short = np.linspace(1.0, 2.0, 10_000), np.linspace(1.0, 2.0, 10)
    two, one = np.full(1, 2.0), np.ones(1)
    assert [c.size for c in combine((long, two, two))] == [10_000, 1]
    assert combine((two, long, one))[1] is long and combine((one, long)) == (long,)
    (product,) = combine((two, long, two), whole=True)
    np.testing.assert_array_equal(product, 4 * long)
    assert len(combine((short, two))) == 1
    for extreme in (0.0, np.nan, np.inf, 1e200):  # what comes of it is seen at once
        assert len(combine((long, np.full(1, extreme)))) == 1
    for array in (short, long):
        x = Value.known(-array)
        assert not never_negative(x)
        for factor, sign in ((-2.0, True), (2.0, False)):
            found = multiply(x, Value.known(np.full_like(array, factor)))
            scaled = Value(x.shape, tuple(t.scaled(np.full(1, factor)) for t in x.terms))
            assert never_negative(found) is sign and never_negative(scaled) is sign
            assert always_positive(scaled) is sign
            np.testing.assert_array_equal(scaled.terms[0].coefficient(), -factor * array)
    assert not always_positive(Value((3,), ()))
