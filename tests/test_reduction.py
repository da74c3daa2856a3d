"""What is known ahead is computed on the host, once: statistics, and numbers of the model."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from functions import FLOAT32, Function, Sites, X, Y, point, walk
from jax import lax
from models import CASES
from numpyro import handlers
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl import _compat
from conjugate_ppl.algebra import reduce
from conjugate_ppl.algebra.classes import distinct, equal_rows
from conjugate_ppl.algebra.host import HOST, known
from conjugate_ppl.algebra.reduce import Weights, reduce_terms
from conjugate_ppl.algebra.runtime import Joined, Values, taken
from conjugate_ppl.algebra.value import add_up
from conjugate_ppl.algebra.variables import Latent, Variables
from conjugate_ppl.elimination.elementwise import Contribution
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.graph import Graph

RNG = np.random.default_rng(0)

# -- reduction to statistics ----------------------------------------------------------------------

REDUCED: dict[str, Function] = {
    "regression": lambda x: jnp.sum(-0.5 * ((Y - x.m[1] - X[:3] @ x.a) / x.s) ** 2 - jnp.log(x.s)),
    "groups": lambda x: jnp.sum((X[:, 0] - x.a[np.array([0, 2, 2, 2])] * X[:, 1] - x.r) ** 2 / x.t[0]),
    "row weights": lambda x: jnp.sum((X - x.a) ** 2 / x.t + X * x.a * jnp.exp(x.r)),
    "opaque rows": lambda x: jnp.sum(jnp.tanh(jnp.outer(X[:, 0], x.t)) * (X - x.a) ** 2),
    "chain": lambda x: jnp.sum((x.a[1:] - 0.5 * x.a[:-1]) ** 2) + x.a[0] * x.a[2] + x.r,
}


@pytest.mark.parametrize("name", REDUCED)
def test_reduced_sum_is_the_same_quadratic(name: str) -> None:
    found = walk(REDUCED[name], ("a",))
    reduced = reduce_terms(found.value.terms, lambda v: 0 if "a" in v.roots else None)

    def evaluate(*v: Any) -> tuple[Any, Any]:
        x = Sites(*v)
        values = Values(found.graph, found.inputs, x._asdict())
        omega = reduced.weights.evaluate(values)
        total = reduced.constant(values, omega) + Contribution(reduced, 3).evaluate(values) @ x.a
        two = reduced.entries.get(2)
        if two is not None:
            i, j = two.positions
            total += jnp.sum(jnp.asarray(two.coefficients) * omega[two.weights] * x.a[i] * x.a[j])
        for late in reduced.late.get(2, ()):
            (i, j), c = late.evaluate(values)
            total += jnp.sum(c * x.a[i] * x.a[j])
        return total, REDUCED[name](x)

    for seed in (1, 2):
        total, expected = jax.jit(evaluate)(*point(seed))
        np.testing.assert_allclose(total, expected, rtol=1e-10)


# -- rows that are equal ----------------------------------------------------------------------------


@pytest.mark.parametrize("spans", [(5, 3, 4), (1, 7, 1), (40, 40), (1 << 33, 1 << 34, 3)],
                         ids=["few", "constant columns", "sparse", "keys that overflow"])
def test_equal_rows_are_added_up(spans: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, n, min(n, 6)) for n in spans]
    columns = [rng.choice(values, 60) for values in seen]
    numbers = rng.normal(size=60)
    found, total = add_up(columns, numbers)
    expected: dict[tuple[int, ...], float] = {}
    for *row, number in zip(*columns, numbers, strict=True):
        expected[tuple(row)] = expected.get(tuple(row), 0.0) + number
    got = dict(zip(zip(*(c.tolist() for c in found), strict=True), total, strict=True))
    assert got.keys() == expected.keys() and len(got) == len(total)
    for row, number in expected.items():
        assert got[row] == pytest.approx(number, rel=1e-12)


def test_classes_of_equal_rows() -> None:
    a, b = np.array([3, 1, 3, 3, 1]), np.array([0.5, 0.5, 0.5, -1.0, 0.5])
    classes, first = equal_rows([a, b], 5)
    assert classes.tolist() == [2, 0, 2, 1, 0] and first.tolist() == [1, 3, 0]
    assert [c.tolist() for c in equal_rows([], 3)] == [[0, 0, 0], [0]]
    assert [c.tolist() for c in equal_rows([np.zeros(0)], 0)] == [[], []]


def test_weights_that_are_equal_get_one_number() -> None:
    variables = Variables()
    s = variables.once(("s",), lambda: Latent("s", 3, True, frozenset("s")))
    t = variables.once(("t",), lambda: Latent("t", 1, True, frozenset("t")))
    weights = Weights()
    none = np.zeros((2, 0), np.int64)
    numbers = [
        weights.add((), none),
        weights.add(((s, Fraction(-2)),), np.array([[2], [0], [2]])),
        weights.add(((s, Fraction(-2)), (t, Fraction(1))), np.array([[1, 0]])),
        weights.add(((s, Fraction(-2)),), np.array([[0], [1]])),
    ]
    new = weights.merge()
    plain, one, two, three = (new[n].tolist() for n in numbers)
    assert plain == [0, 0] and weights.count == 5
    assert one[0] == one[2] and one[1] == three[0]
    assert len({0, *one, *two, *three}) == 5
    assert weights.positive(new) and Weights().positive(np.zeros(1, np.int64))
    graph = Graph(_compat.make_jaxpr(lambda s, t: s, np.ones(3), np.ones(1)))
    inputs = dict(zip("st", graph.inputs, strict=True))
    omega = weights.evaluate(Values(graph, inputs, {"s": np.array([1.0, 2.0, 4.0]), "t": np.array([3.0])}))
    np.testing.assert_allclose(omega[np.array([*one, *two, *three])],
                               [1 / 16, 1.0, 1 / 16, 0.75, 1.0, 0.25])


# -- vectors in parts, and what is repeated -------------------------------------------------------


def test_vectors_in_parts() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=n) for n in (1, 4, 1, 30)]
    whole, joined = np.concatenate(parts), Joined([jnp.asarray(x) for x in parts])
    assert len(joined) == len(whole)
    for index in (0, 3, 35, [0, 5], [2, 1, 1, 4], [[0], [35]], np.arange(36), np.arange(6, 36), np.zeros(0, int), np.full(20, 5)):
        np.testing.assert_array_equal(joined[index], whole[np.asarray(index, int)])
    slopes = jax.grad(lambda x: jnp.sum(Joined([x, jnp.zeros(2)])[np.array([[0, 1], [0, 0]])]))(jnp.ones(2))
    np.testing.assert_array_equal(slopes, [3.0, 1.0])


REPEATED: dict[str, Callable[[Any], Any]] = {
    "all": lambda x: jnp.broadcast_to(x[0], (4, 3)),
    "rows": lambda x: jnp.broadcast_to(x[:4, None], (4, 3)),
    "columns": lambda x: jnp.broadcast_to(x[:3], (4, 3)),
    "twice": lambda x: jnp.broadcast_to(jnp.broadcast_to(x[:2, None], (2, 3)).reshape(1, 6), (2, 6)),
    "turned": lambda x: jnp.broadcast_to(jax.lax.reshape(x.reshape(2, 3), (6,), (1, 0)), (2, 6)),
    "not": lambda x: x.reshape(2, 3) * 2,
}


@pytest.mark.parametrize("name", REPEATED)
def test_elements_of_what_is_repeated(name: str) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=6))
    graph = Graph(jax.make_jaxpr(REPEATED[name])(x))
    number, whole = graph.outputs[0], np.asarray(REPEATED[name](x))
    index = np.array([0, 1, 2, whole.size - 1])
    origin, places = graph.origin(number, index)
    assert (origin == number) == (name == "not")
    (value,) = graph.evaluate([origin], {graph.inputs[0]: x})
    np.testing.assert_array_equal(np.ravel(value)[places], np.ravel(whole)[index])
    values = Values(graph, {"x": graph.inputs[0]}, {"x": x})
    np.testing.assert_array_equal(values.elements(number, index), np.ravel(whole)[index])


# -- known numbers --------------------------------------------------------------------------------

U = np.array([[0.3, -1.7, 2.5], [0.5, -0.5, 1.5]])
K = np.array([[3, -2, 5], [0, -2, -4]])
FOLDED: dict[str, Callable[[Any], Any]] = {
    "round away": lambda u: lax.round(u),
    "round even": lambda u: jnp.round(u),
    "integer division": lambda u: lax.div((4 * u).astype(int), jnp.asarray([[2, -3, 3], [1, -2, 5]])),
    "rem": lambda u: lax.rem(u, jnp.full((2, 3), 0.4)) + u % 0.4,
    "integer_pow": lambda u: u**3 + u**-2,
    "pow": lambda u: jnp.abs(u) ** 1.3 + 2 ** (u > 0),
    "cumulative": lambda u: (lax.cumsum(u, 1, reverse=True) + lax.cumprod(u, 0) + lax.cummax(u, 1)
                             + lax.cummin(u, 1, reverse=True)),
    "reductions": lambda u: (jnp.max(u, 0) + jnp.min(u) + jnp.prod(u, 0) + jnp.any(u > 0, 0)
                             + jnp.all(u > 0) + jnp.sum(u > 0)),
    "logic": lambda u: ((u > 0) & (u < 1)) | ~(u >= 0.5) ^ (u == 0.3),
    "functions": lambda u: (jnp.exp(u) + jnp.expm1(u) + jnp.log1p(u**2) + jnp.sin(u) + jnp.tanh(u)
                            + jax.nn.sigmoid(u) + lax.lgamma(u**2 + 1) + lax.digamma(u**2 + 1)
                            + lax.erf(u) + lax.erf_inv(u / 3) + lax.bessel_i0e(u) + jnp.cbrt(u)
                            + jnp.exp2(u) + lax.rsqrt(u**2) + jnp.arctan2(u, 2.0) + jnp.sinh(u)),
    "more functions": lambda u: (jnp.tan(u) + jnp.cosh(u) + jnp.cos(u) + jnp.arcsin(u / 3)
                                 + jnp.arccos(u / 3) + jnp.arctan(u) + lax.erfc(u) + lax.bessel_i1e(u)
                                 + jnp.sqrt(jnp.abs(u)) + jnp.ceil(u) + lax.square(u)
                                 + lax.stop_gradient(u) + jnp.copy(u)),
    "moves": lambda u: jnp.squeeze(u[:, None], 1)[::-1] + lax.dynamic_slice(u, (0, 1), (2, 1)),
    "exclusive or": lambda u: jnp.logical_xor(u > 0, u > 1) * 1.0 + (1 ^ u.astype(int)),
    "not": lambda u: ~(u > 0.4) * 2.0 + (~u.astype(int)),
    "casts": lambda u: u.astype(int) + u.astype(bool) + u.astype(jnp.float16).astype(float),
    "iota": lambda u: u * lax.broadcasted_iota(int, (2, 3), 1) + jnp.eye(3)[:2],
    "select": lambda u: jnp.where(u > 0, u, -u) + lax.select_n((3 * (u > 1)).astype(int) // 2, u, 2 * u),
    "clamp": lambda u: jnp.clip(u, -1, 1) + lax.clamp(0.0, u, 1.0) + jnp.sign(u) + jnp.floor(u),
    "dot": lambda u: u @ u.T + jnp.einsum("ij,ik->jk", u, u)[:2, :2],
    "bytes": lambda u: (jnp.asarray([[200, 3, 7], [1, 2, 255]], jnp.uint8)
                        * jnp.asarray(2, jnp.uint8)).astype(float),
    "gather": lambda u: u[:, np.array([0, -1])] + jnp.take(u, jnp.array([1, 9]), 1, mode="fill",
                                                            fill_value=0.0),
    "whole numbers": lambda u: sum(
        f(jnp.asarray(K), jnp.asarray(K[::-1].copy())) * (n + 1.0) for n, f in enumerate((
            lambda k, m: lax.rem(k, jnp.full_like(k, 3)), jnp.equal, jnp.not_equal, jnp.less, jnp.less_equal, jnp.greater,
            jnp.greater_equal, lambda k, m: lax.sign(k)))) * u,
    "sort": lambda u: jnp.sort(u) + jnp.argsort(u) + jnp.concatenate([u, u])[1:3],
}


def folded(f: Callable[[Any], Any]) -> None:
    """A function of known numbers is computed as JAX does."""
    value = walk(lambda x: x.r * f(jnp.asarray(U)) * 1.0).value
    (term,) = value.terms
    expected = np.asarray(jax.jit(f)(U), float)
    np.testing.assert_allclose(
        np.broadcast_to(term.coefficient(), expected.shape), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FOLDED)
def test_known_numbers_are_computed_like_jax(name: str) -> None:
    folded(FOLDED[name])


@FLOAT32
def test_known_numbers_keep_double_precision_in_float32(x64: bool) -> None:
    y = np.float32([1e4 + 0.5, 1e4 + 1.5, 1e4 + 3.25, 0.1])
    value = walk(lambda x: x.r * jnp.sum((y - jnp.mean(y)) ** 2)).value
    wide = y.astype(np.float64)
    np.testing.assert_allclose(value.terms[0].coefficient(), np.sum((wide - wide.mean()) ** 2),
                               rtol=1e-12)
    assert known(y).dtype == np.float64 and all(map(callable, HOST.values()))


@pytest.mark.parametrize("rows", [50, 5000])
def test_signs_of_products_with_numbers_kept_apart(rows, x64):
    """A scale or variance that is a product of two negative factors is positive, however many rows there are."""
    below = -np.linspace(1.0, 2.0, rows)
    y = np.random.default_rng(0).normal(size=rows)

    def variance(factor):
        v = numpyro.sample("v", dist.InverseGamma(3.0, 2.0))
        numpyro.sample("y", dist.Normal(0.0, jnp.sqrt(factor * v * jnp.asarray(below))), obs=jnp.asarray(y))

    def prior_scale(factor):
        t = numpyro.sample("t", dist.HalfNormal(1.0))
        with numpyro.plate("rows", rows):
            z = numpyro.sample("z", dist.Normal(0.0, factor * t * jnp.asarray(below)))
            numpyro.sample("y", dist.Normal(z, 1.0), obs=jnp.asarray(y))

    for model, site in ((variance, "v"), (prior_scale, "z")):
        assert cj.explain(model, -1.5).collapsed == (site,)
        cj.check(model, jax.random.key(0), -1.5, num_points=2)
    # of one negative factor the variance is none; a prior's scale is looked at when the model runs
    assert cj.explain(variance, 1.5).collapsed == ()
    one = {"t": jnp.ones(())}
    assert np.isfinite(log_density(cj.collapse(prior_scale), (-1.5,), {}, one)[0])
    with numpyro.validation_enabled(False):
        assert not np.isfinite(log_density(cj.collapse(prior_scale), (1.5,), {}, one)[0])


@pytest.mark.parametrize("numbers", [
    [3, 0, 3, 9], [5], [], [10**9, 2, 10**9], [-1, 4, -1], [2.5, 0.0, 2.5], [True, False, True]])
def test_distinct_numbers(numbers):
    """Counted or sorted."""
    found, inverse = distinct(np.array(numbers))
    want, where = np.unique(np.array(numbers), return_inverse=True)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(inverse, where)


def test_equal_rows():
    table = RNG.integers(0, 3, (50, 2)).astype(float)
    classes, first = equal_rows(list(table.T), 50)
    np.testing.assert_array_equal(table[first][classes], table)
    assert len(first) == len(np.unique(table, axis=0)) and all(first[k] == np.flatnonzero(classes == k)[0] for k in classes)
    assert [x.tolist() for x in equal_rows([], 3)] == [[0, 0, 0], [0]]
    assert [x.tolist() for x in equal_rows([np.zeros(0)], 0)] == [[], []]


@pytest.mark.parametrize("columns", [(0, 0), (0, 1), (0, 1, 0), (1, 1, 1)])
@pytest.mark.parametrize("span", [4, 10**6])
def test_rows_with_equal_columns_add_up(columns, span):
    table = [RNG.integers(0, 4, 60) * (span // 4) for _ in range(2)]
    numbers = RNG.normal(size=60)
    found, total = add_up([table[k] for k in columns], numbers)
    rows = np.stack([table[k] for k in columns], 1)
    want, where = np.unique(rows, axis=0, return_inverse=True)
    np.testing.assert_array_equal(np.stack(found, 1), want)
    np.testing.assert_allclose(total, np.bincount(where.reshape(-1), numbers), rtol=1e-12)


@pytest.mark.parametrize("index", [
    np.arange(24).reshape(4, 6).T, np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1) + 5, np.arange(24).reshape(4, 1, 6),
    np.array([[3, 4]]), np.array([[3], [4]]), np.arange(5)[::-1].copy(), np.array([5]), np.zeros((0, 3), int), np.array(7),
    np.array([[0, 1], [1, 2]]), np.array([[0, 2], [1, 3]]), np.array([[0, 3], [1, 2]]), np.array([-1, 0, 1]), np.arange(40),
], ids=str)
def test_elements_that_follow_each_other(index: np.ndarray) -> None:
    vector = jnp.arange(40.0) ** 2
    found = taken(vector, index)
    np.testing.assert_array_equal(found, np.asarray(vector)[index])
    assert found.shape == index.shape


@pytest.mark.parametrize("name", ["wide_basis_about_kept_centres", "wide_last_layer", "wide_trend_below_a_process"])
def test_products_at_run_time_are_those_written_out(name: str, monkeypatch: pytest.MonkeyPatch, x64: bool) -> None:
    """Designs that depend on kept latents: values and derivatives, at a level of the data, too."""
    entry = CASES[name]

    def found(level: float, late: bool) -> np.ndarray:
        monkeypatch.setattr(reduce, "_FEW", 64 if late else 1 << 25)
        args = (jnp.asarray(entry.args[0] + level), *map(jnp.asarray, entry.args[1:]))
        collapsed = cj.collapse(entry.model, require=entry.collapsed)  # whatever it costs
        execution = collapsed.execution(args, {})
        drawn = handlers.trace(handlers.seed(entry.model, 0)).get_trace(*args)
        kept = {n: drawn[n]["value"] for n in execution.plan.kept}
        value, slope = jax.value_and_grad(lambda z: log_density(collapsed, args, {}, z)[0])(kept)
        left = [e for e in execution.chosen.eliminations if isinstance(e, GaussianElimination)]
        assert bool(left[0].block.reduced.late) == late
        return np.concatenate([np.ravel(value), *(np.ravel(slope[n]) for n in sorted(slope))])

    for level in (0.0, 100.0):
        written = found(level, False)
        np.testing.assert_allclose(found(level, True), written, rtol=0, atol=(1e-10 if x64 else 1e-4) * np.abs(written).max())
