"""Small dense matrices, and the split of a joint Gaussian into components and a rest."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import check_by_numpy
from models import CASES
from scipy.sparse import csr_array

import conjugate_ppl as cj
from conjugate_ppl.algebra.reduce import Reduced, Weights
from conjugate_ppl.gaussian import crossed, linear
from conjugate_ppl.gaussian.between import Between
from conjugate_ppl.gaussian.crossed import Crossed
from conjugate_ppl.gaussian.entries import Entries
from conjugate_ppl.gaussian.linear import inverse_logdet, lower_factor, solve_lower
from conjugate_ppl.gaussian.products import matmul
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.reference import explained, reference
from conjugate_ppl.gaussian.rotation import Able, rotations
from conjugate_ppl.gaussian.stacked import Stacked
from conjugate_ppl.gaussian.structure import Structure, find_structure
from conjugate_ppl.triangular import unless_failed


def spd(n: int, batch: tuple[int, ...] = (), seed: int = 0) -> np.ndarray:
    """Random symmetric positive definite matrices, eigenvalues of order 1."""
    root = np.random.default_rng(seed).normal(size=(*batch, n, n))
    return root @ np.swapaxes(root, -1, -2) / n + np.eye(n)


def close(actual: Any, expected: Any, x64: bool, units: float = 1.0) -> None:
    """Equal to the digits of the type."""
    tol = (1e-11 if x64 else 2e-5) * units
    np.testing.assert_allclose(actual, expected, rtol=tol, atol=tol)


@pytest.mark.parametrize(("n", "large"), [*((k, 256) for k in range(1, 7)), (5, 2)])
@pytest.mark.parametrize("batch", [(), (3, 2)], ids=["one", "batch"])
def test_inverse_logdet(n: int, large: int, batch: tuple[int, ...], x64: bool,
                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_LARGE", large)
    m, s, t = spd(n, batch), spd(n, batch, 1) - np.eye(n), spd(n, batch, 2) - 2 * np.eye(n)
    weight = np.random.default_rng(4).normal(size=m.shape)
    rounded = [jnp.asarray(x) for x in (m, s, t, weight)]

    @jax.jit
    def run(m: Any, s: Any, t: Any, weight: Any) -> Any:
        """Value, first and second directional derivatives of <weight, inverse> and logdet."""

        def both(x: Any, y: Any) -> Any:
            inverse, logdet = inverse_logdet(m + x * s + y * t)
            return jnp.stack([jnp.sum(weight * inverse), jnp.sum(logdet)])

        first = jax.jacrev(both)(0.0, 0.0)
        second = jax.jacfwd(jax.jacrev(both), 1)(0.0, 0.0)
        return inverse_logdet(m), first, second

    (inverse, logdet), first, second = run(*rounded)
    w = np.linalg.inv(m)
    close(inverse, w, x64)
    close(logdet, np.linalg.slogdet(m)[1], x64)

    def dot(*factors: np.ndarray) -> np.ndarray:
        out = factors[0]
        for f in factors[1:]:
            out = out @ f
        return out

    def trace(x: np.ndarray) -> float:
        return float(np.trace(x, axis1=-2, axis2=-1).sum())

    close(first, [-np.sum(weight * dot(w, s, w)), trace(w @ s)], x64, 10)
    both = dot(w, s, w, t, w) + dot(w, t, w, s, w)
    close(second, [np.sum(weight * both), -trace(dot(w, s, w, t))], x64, 10)


@pytest.mark.parametrize("large", [256, 2])
@pytest.mark.parametrize("kind", ["one band", "three bands", "dense"])
def test_inverse_of_a_whitened_precision(kind: str, large: int, x64: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, first and second derivatives are those of the same written plainly."""
    monkeypatch.setattr(linear, "_LARGE", large)
    rng, n = np.random.default_rng(0), 6
    h, proper = jnp.asarray(spd(n, (2,))), jnp.asarray([[1.0] * n, [1, 0, 1, 0, 1, 1]])
    dense = np.tril(rng.uniform(0.5, 1.5, (2, n, n)))
    bands = [np.stack([np.append(np.zeros(k), np.diagonal(t, -k)) for t in dense]) for k in range(3 if "three" in kind else 1)]
    start = linear.Scale((), jnp.asarray(dense)) if kind == "dense" else linear.Scale(tuple(map(jnp.asarray, bands)))
    weight, change = rng.normal(size=(2, n, n)), jnp.asarray(spd(n, (2,), 1))
    moves = jax.tree.map(lambda x: jnp.asarray(np.where(x == 0, 0.0, rng.normal(size=x.shape))), start)

    def found(f: Any, x: Any, y: Any) -> Any:
        t = jax.tree.map(lambda a, b: a + y * b, start, moves)
        inverse, logdet = f(h + x * change, t, proper)
        return jnp.stack([jnp.sum(weight * inverse), jnp.sum(logdet), jnp.exp(-logdet[0])])

    def plainly(h: Any, t: Any, proper: Any) -> Any:
        m = proper[:, :, None] * jnp.eye(n) + jnp.swapaxes(t.matrix(), 1, 2) @ h @ t.matrix()
        return jnp.linalg.inv(m), jnp.linalg.slogdet(m)[1]

    for one in (lambda f: f, lambda f: jax.jacrev(f, (0, 1)), lambda f: jax.jacfwd(jax.jacrev(f, (0, 1)), (0, 1))):
        actual, expected = (jax.jit(one(partial(found, f)))(0.0, 0.0) for f in (linear.whitened_inverse, plainly))
        rtol, atol = (1e-9, 1e-9) if x64 else (1e-4, 1e-4 * float(np.abs(expected).max()))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_not_positive_definite_is_nan(n: int) -> None:
    m = np.stack([np.eye(n), np.diag([*[1.0] * (n - 1), -1.0]), 2 * np.eye(n)])
    inverse, logdet = inverse_logdet(jnp.asarray(m))
    assert np.isnan(logdet).tolist() == [False, True, False]
    assert np.isnan(inverse).any((1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_triangular_solves(n: int, x64: bool) -> None:
    m, b = spd(n, (2,)), np.random.default_rng(1).normal(size=(3, 2, n))
    low, forward, backward = jax.jit(lambda m, b: (
        lower_factor(m), solve_lower(lower_factor(m), b), solve_lower(lower_factor(m), b, True)))(m, b)
    expected = np.linalg.cholesky(m)
    close(low, expected, x64)
    close(forward, np.linalg.solve(expected, b[..., None])[..., 0], x64)
    close(backward, np.linalg.solve(np.swapaxes(expected, -1, -2), b[..., None])[..., 0], x64)


# -- structure ------------------------------------------------------------------------------------


def structure(sites: list[tuple[int, bool]], pairs: list[tuple[int, int]]) -> Structure:
    """Of sites given as (size, may go first), one after the other, and pairs that meet."""
    sizes = [n for n, _ in sites]
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    rows, columns = np.array(pairs or np.zeros((0, 2)), int).T
    found = find_structure(sum(sizes), [(np.arange(f, f + n), able)
                                        for f, (n, able) in zip(firsts, sites, strict=True)], rows, columns)
    check(found, pairs)
    return found


def check(s: Structure, pairs: list[tuple[int, int]]) -> None:
    """Every element has one place, and no pair joins two components or two blocks."""
    members = s.components[s.components < s.size]
    rest = s.blocks[s.blocks < s.size]
    assert sorted([*members, *rest]) == list(range(s.size))
    assert sorted(rest) == s.in_rest().tolist()
    assert s.component[s.size] == -1 and s.place.shape == s.component.shape == (s.size + 1,)
    for e in range(s.size):
        where = s.blocks[s.block[e], s.place[e]] if s.component[e] < 0 else \
            s.components[s.component[e], s.place[e]]
        assert where == e
        assert s.component[e] < 0 or s.owner[s.component[e]] == s.block[e]
    for i, j in pairs:
        assert s.component[i] == s.component[j] or -1 in (s.component[i], s.component[j])
        assert s.block[i] == s.block[j] or (s.component[i] >= 0 and s.component[j] >= 0)


def groups(s: Structure) -> set[frozenset[int]]:
    """The components as sets of elements."""
    return {frozenset(row[row < s.size].tolist()) for row in s.components}


def test_random_intercepts_go_first() -> None:
    # element 0 is shared; 1..4 meet it alone
    s = structure([(1, True), (4, True)], [(0, k) for k in range(1, 5)])
    assert groups(s) == {frozenset({k}) for k in range(1, 5)}
    assert s.in_rest().tolist() == [0] and s.width == 1


def test_intercepts_and_slopes_of_a_grouping_share_components() -> None:
    pairs = [(k, 3 + k) for k in range(3)] + [(6, k) for k in range(6)]
    s = structure([(3, True), (3, True), (1, True)], pairs)
    assert groups(s) == {frozenset({k, 3 + k}) for k in range(3)}
    assert s.in_rest().tolist() == [6]


def test_of_crossed_groupings_the_larger_goes_first() -> None:
    pairs = [(i, 3 + j) for i in range(3) for j in range(5)]
    s = structure([(3, True), (5, True)], pairs)
    assert groups(s) == {frozenset({3 + j}) for j in range(5)}
    assert s.in_rest().tolist() == [0, 1, 2]


def test_components_of_different_width_are_padded() -> None:
    s = structure([(5, True)], [(0, 1), (2, 3), (3, 4)])
    assert groups(s) == {frozenset({0, 1}), frozenset({2, 3, 4})}
    assert sorted((s.components == 5).sum(1).tolist()) == [0, 1]


def test_what_nothing_joins_falls_into_blocks() -> None:
    # two groups of three, each with an intercept and a slope of its own
    pairs = [(k, 6 + k // 3) for k in range(6)] + [(k, 8 + k // 3) for k in range(6)] + [(6, 8), (7, 9)]
    s = structure([(6, True), (2, False), (2, False)], pairs)
    assert sorted(map(sorted, s.blocks.tolist())) == [[6, 8], [7, 9]]
    assert s.owner.tolist() == [s.block[6]] * 3 + [s.block[7]] * 3


@pytest.mark.parametrize(("sites", "pairs"), [
    ([(4, False)], []),
    ([(1, True), (1, True)], []),
    ([(12, True)], [(i, i + 1) for i in range(11)]),
    ([(4, True)], [(i, j) for i in range(4) for j in range(4)]),
], ids=["not able", "scalars", "a long chain", "all joined"])
def test_everything_in_the_rest(sites: list[tuple[int, bool]], pairs: list[tuple[int, int]]) -> None:
    s = structure(sites, pairs)
    assert len(s.components) == 0 and s.in_rest().tolist() == list(range(sum(n for n, _ in sites)))


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sites = [(int(n), bool(rng.random() < 0.8)) for n in rng.integers(1, 9, 4)]
    size = sum(n for n, _ in sites)
    structure(sites, [tuple(p) for p in rng.integers(0, size, (2 * size, 2)).tolist()])


# -- rotation -------------------------------------------------------------------------------------


def dense(q: Quadratic, size: int) -> tuple[np.ndarray, np.ndarray]:
    """H and h with all weights 1."""
    h, linear = np.zeros((size, size)), np.zeros(size)
    np.add.at(h, (q.rows, q.columns), q.numbers)
    np.add.at(linear, q.places, q.linear)
    return h, linear


def turned(x: np.ndarray, able: list[tuple[np.ndarray, int]]) -> Any:
    """The regression of random numbers on `x`, rotated."""
    y = np.random.default_rng(1).normal(size=len(x))
    q = quadratic(x.T @ x, x.T @ y)
    others = np.setdiff1d(np.arange(x.shape[1]), np.concatenate([e for e, _ in able]))
    found = rotations(q, x.shape[1], [Able(e.reshape(-1, w)) for e, w in able], [(others, True)] if len(others) else [])
    assert found is not None
    h, linear = dense(q, x.shape[1])
    for part in (h, linear):  # a rotation, and the same quadratic in it
        np.testing.assert_allclose(found.rotation.backward(found.rotation.forward(part)), part,
                                   atol=1e-12 * np.abs(part).max())
    new_h, new_linear = dense(found.quadratic, x.shape[1])
    expected = found.rotation.forward(found.rotation.forward(h).T)
    np.testing.assert_allclose(new_h, expected, atol=1e-10 * np.abs(h).max())
    np.testing.assert_allclose(new_linear, found.rotation.forward(linear), atol=1e-12 * np.abs(linear).max())
    return found, new_h


def test_coefficients_become_principal_components() -> None:
    found, h = turned(np.random.default_rng(0).normal(size=(30, 6)), [(np.arange(6), 1)])
    assert np.count_nonzero(h - np.diag(np.diag(h))) == 0
    assert len(found.groups) == 1


def test_contrasts_of_a_balanced_grouping_couple_with_nothing() -> None:
    group = np.repeat(np.arange(5), 4)
    x = np.concatenate([np.eye(5)[group], np.ones((20, 1))], 1)
    found, h = turned(x, [(np.arange(5), 1)])
    sizes = sorted(len(elements) for elements, _ in found.groups)
    assert sizes == [1, 1, 4] and np.count_nonzero(h[:5, 5]) == 1


def test_rows_of_a_matrix_are_rotated_together() -> None:
    group, t = np.repeat(np.arange(6), 4), np.tile([-1.0, 0.0, 1.0, 2.0], 6)
    z = np.zeros((24, 6, 2))
    z[np.arange(24), group] = np.stack([np.ones(24), t], 1)
    x = np.concatenate([z.reshape(24, 12), np.ones((24, 1)), t[:, None]], 1)
    found, h = turned(x, [(np.arange(12), 2)])
    assert sorted(len(elements) for elements, _ in found.groups) == [2, 2, 10]
    assert np.count_nonzero(h[:12, 12:].any(1)) == 2


# -- reference ------------------------------------------------------------------------------------


def quadratic(h: np.ndarray, linear: np.ndarray) -> Quadratic:
    """-1/2 e'He + h'e with every weight 1, each entry in two halves."""
    rows, columns = (np.concatenate([i, i]) for i in np.nonzero(h))
    numbers = np.concatenate([0.25 * h[np.nonzero(h)], 0.75 * h[np.nonzero(h)]])
    places = np.arange(len(linear))
    return Quadratic(rows, columns, np.zeros(len(rows), int), numbers, places,
                     np.zeros(len(places), int), linear, Reduced(Weights(), {}, {}))


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_reference_solves_the_normal_equations(n: int) -> None:
    rng = np.random.default_rng(n)
    scale = 10 ** rng.uniform(-4, 4, n)  # columns of very different sizes
    x = rng.normal(size=(3 * n, n)) * scale
    y = x @ (rng.normal(size=n) / scale) + rng.normal(size=3 * n)
    found = reference(quadratic(x.T @ x, x.T @ y), np.zeros(n), np.full(n, np.inf))
    np.testing.assert_allclose(found * scale, np.linalg.lstsq(x / scale, y)[0], rtol=1e-6, atol=1e-8)


def test_reference_of_a_singular_quadratic() -> None:
    x = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    y = np.array([1.0, 2.0, 4.0])
    found = reference(quadratic(x.T @ x, x.T @ y), np.zeros(3), np.full(3, np.inf))
    np.testing.assert_allclose(x @ found, x @ np.linalg.pinv(x) @ y, rtol=1e-10)
    assert found[2] == 0


@pytest.mark.parametrize("scales", [(1e5, 0.0), (np.inf, 1.0), (3.0, 1e-4)])
def test_reference_explains_a_level_by_what_the_prior_leaves_free(scales: tuple[float, float]) -> None:
    # element 0 is in every row, elements 1 to 4 are of groups
    x = np.concatenate([np.ones((12, 1)), np.kron(np.eye(4), np.ones((3, 1)))], 1)
    noise = np.random.default_rng(0).normal(size=12)
    y = 1e4 + noise
    free, groups = scales
    found = reference(quadratic(x.T @ x, x.T @ y), np.zeros(5), np.array([free, *[groups] * 4]))
    np.testing.assert_allclose(x @ found, np.repeat(y.reshape(4, 3).mean(1), 3), rtol=1e-10)
    assert np.abs(found[1:]).max() < 2


@pytest.mark.parametrize("scale", [1.0, 0.0, np.inf])
def test_reference_of_a_slope_of_next_to_nothing(scale: float) -> None:
    """Of group 2 the covariate hardly varies: its slope is the prior's, unless that is flat."""
    rng = np.random.default_rng(0)
    x = np.kron(np.eye(5), np.ones((4, 1))) * rng.normal(size=(20, 1)) * np.repeat([1.0, 1.0, 1e-4, 1.0, 1.0], 4)[:, None]
    y = x.sum(1) + rng.normal(size=20)
    found = reference(quadratic(x.T @ x, x.T @ y), np.zeros(5), np.full(5, scale))
    solved = np.linalg.lstsq(x, y)[0]
    assert abs(solved[2]) > 100
    np.testing.assert_allclose(found, solved if np.isinf(scale) else solved * [1, 1, 0, 1, 1], rtol=1e-8)


def test_nothing_is_explained_where_nothing_is_quadratic() -> None:
    found = explained(csr_array(np.diag([1.0, 0.0, 2.0])), np.array([1.0, 0.7, 2.0]))
    np.testing.assert_allclose(found, [1.0, 0.0, 2.0], rtol=1e-10)


def test_reference_of_nothing() -> None:
    none = quadratic(np.zeros((2, 2)), np.zeros(2))
    np.testing.assert_array_equal(reference(none, np.zeros(2), np.ones(2)), 0.0)


@pytest.mark.parametrize("kind", [Entries, Stacked])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_factors_of_inverses(width: int, kind: type, x64: bool) -> None:
    def small(m: np.ndarray) -> Any:
        stacked = Stacked(jnp.asarray(m))
        return stacked if kind is Stacked else stacked.entries()

    m, dtype = spd(width, (5,)), jnp.result_type(float)
    h, d, logdet = small(m).inverse_factor()
    assert (d is None) == (kind is Stacked)
    found = np.asarray(h.stacked((5,), dtype))
    np.testing.assert_array_equal(np.triu(found, 1), 0.0)
    for inverse in (h.T.gram(d), h.T.columns_scaled(d) @ h):
        close(inverse.stacked((5,), dtype), np.linalg.inv(m), x64)
    close(logdet, np.linalg.slogdet(m)[1], x64)
    scaled = small(m).columns_scaled(list(np.arange(width * 5.0).reshape(width, 5)))
    close(scaled.stacked((5,), dtype), m * np.arange(width * 5.0).reshape(width, 5).T[:, None, :], x64)
    m[2] = -m[2]
    np.testing.assert_array_equal(np.isnan(small(m).inverse_factor()[2]), np.arange(5) == 2)


@pytest.mark.parametrize("shape", [(300, 5, 5, 5), (1, 5, 6, 300), (300, 4, 7, 2), (300, 3, 3, 3), (300, 8, 2, 9), (2, 6, 6, 6)])
def test_products_of_many_small_matrices(shape: tuple[int, int, int, int], x64: bool) -> None:
    """Those of four to seven rows are filled up."""
    many, rows, inner, columns = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(many, rows, inner)), rng.normal(size=(300, inner, columns))
    if many == 2:
        b = b[:2]
    close(matmul(jnp.asarray(a), jnp.asarray(b)), a @ b, x64)


@pytest.mark.parametrize(("t", "s"), [(1e18, 1e5), (1e10, 0.1), (1e-20, 1.0), (1e15, 1.0)])
def test_gradients_at_scales_of_all_sizes(t: float, s: float, x64: bool) -> None:
    """Of matrices of two rows whose pivots' product is no finite float32, against least squares and differences."""
    group, rng = np.repeat(np.arange(5), [3, 4, 5, 6, 2]), np.random.default_rng(0)
    x, y = rng.normal(size=20).astype(np.float32), rng.normal(size=20).astype(np.float32)

    def model() -> None:
        t, s = (numpyro.sample(n, dist.ImproperUniform(dist.constraints.positive, (), ())) for n in "ts")
        a, b = (numpyro.sample(n, dist.Normal(0.0, t).expand([5]).to_event(1)) for n in "ab")
        numpyro.sample("y", dist.Normal(a[group] + b[group] * x, s), obs=jnp.asarray(y))

    def exact(log_t: float, log_s: float) -> float:
        t, s, total = np.exp(log_t), np.exp(log_s), 0.0
        for g in range(5):
            rows = np.column_stack([np.ones(20), x])[group == g].astype(float)
            whole, seen = np.concatenate([rows / s, np.eye(2) / t]), np.append(y[group == g] / s, [0.0, 0.0])
            left = seen - whole @ np.linalg.lstsq(whole, seen, rcond=0)[0]
            total += left @ left + np.linalg.slogdet(np.eye(2) + (t / s) ** 2 * rows.T @ rows)[1]
        return -0.5 * total - 20 * (log_s + 0.5 * np.log(2 * np.pi))

    log_marginal = cj.collapse(model).execution((), {}).log_marginal
    value, slope = jax.value_and_grad(log_marginal)({"t": jnp.asarray(t), "s": jnp.asarray(s)})
    at, h = np.log([t, s]), 1e-4
    tol = 1e-6 if x64 else 1e-4
    assert float(value) == pytest.approx(exact(*at), rel=tol)
    for n, step in (("t", np.array([h, 0.0])), ("s", np.array([0.0, h]))):
        expected = (exact(*(at + step)) - exact(*(at - step))) / (2 * h)
        assert float(slope[n]) * {"t": t, "s": s}[n] == pytest.approx(expected, rel=tol, abs=tol)


def test_groups_without_rows_have_the_weight_of_the_others() -> None:
    """So that it is one number, which no gradient looks up."""
    group, rng = np.array([0, 0, 2, 2, 2, 4, 4]), np.random.default_rng(0)
    x, y = rng.normal(size=7), rng.normal(size=7)

    def model() -> None:
        scale = numpyro.sample("scale", dist.HalfNormal(jnp.ones(2)).to_event(1))
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        a = numpyro.sample("a", dist.Normal(slope, scale[0]).expand([6]).to_event(1))
        numpyro.sample("y", dist.Normal(a[group] + slope * x, scale[1]), obs=y)

    block = cj.collapse(model).execution((), {}).chosen.eliminations[-1].block
    assert isinstance(block.parts, Between)
    assert len(block.structure.components) == 6 and len(block.parts.many) == 4
    assert len(set(block.parts.weight)) == 1
    cj.check(model, jax.random.key(0), num_points=2)


@pytest.mark.parametrize("uneven", [False, True], ids=["one weight", "weights"])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("width", [1, 3, 4, 5, 7])
def test_components_of_any_width(width: int, blocks: int, uneven: bool, x64: bool) -> None:
    """Coefficients of each group around those of its block, whose rows may have noises of their own."""
    rng = np.random.default_rng(width)
    groups, rows = 12, 12 * (width + 2)
    of = np.arange(rows) % groups
    x = np.column_stack([np.ones(rows), rng.normal(size=(rows, width - 1))]).astype(np.float32)
    y = rng.normal(size=rows).astype(np.float32)

    def model() -> None:
        t = numpyro.sample("t", dist.HalfNormal(1.0))
        s = numpyro.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
        top = numpyro.sample("top", dist.Normal(0.0, 2.0).expand([blocks, width]).to_event(2))
        b = numpyro.sample("b", dist.Normal(top[np.arange(groups) % blocks], t).to_event(2))
        noise = s[np.arange(rows) // groups % 2] if uneven else s[0]
        numpyro.sample("y", dist.Normal(jnp.sum(b[of] * x, -1), noise), obs=jnp.asarray(y))

    assert set(cj.explain(model).collapsed) == {"top", "b"}
    check = cj.check if not x64 and blocks == 3 and uneven else check_by_numpy
    check(model, jax.random.key(0), num_points=2)


@pytest.mark.parametrize("name", ["gaussian_random_slopes", "gaussian_crossed_sparsely_in_two_blocks"])
def test_sparse_cross_terms_are_the_dense_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    entry = CASES[name]
    for price, kind in ((0, Crossed), (1 << 40, Between)):
        monkeypatch.setattr(crossed, "_PRODUCT", price)
        collapsed = cj.collapse(entry.model)
        execution = collapsed.execution(entry.args, {})
        assert isinstance(execution.chosen.eliminations[-1].block.parts, kind)
        kept = {n: jnp.full(execution.program.sites[n].shape, 0.7) for n in execution.plan.kept}
        value, slope = jax.value_and_grad(execution.log_marginal)(kept)
        batch = {n: x[None] for n, x in kept.items()}
        draw = collapsed.recover(jax.random.key(0), batch, *entry.args)
        density = collapsed.conditional_log_prob({n: x[0] for n, x in draw.items()}, kept, *entry.args)
        laws = collapsed.conditionals(kept, *entry.args)
        found.append((value, slope, draw, density, {n: (d.mean, d.variance) for n, d in laws.items()}))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11), *found)


SHAPES = {"one": (1, 1), "rows": (3, 1), "columns": (1, 2), "each": (3, 2)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
def test_second_derivatives(shape: tuple[int, int], wide: bool) -> None:
    """With a rest number by number or of arrays, and scales that are one for all, for rows or for columns."""
    rng, columns = np.random.default_rng(0), 6 if wide else 2
    x, of = rng.normal(size=(12, columns)), np.arange(12) % 3
    y = rng.normal(size=(12, 2))

    def model() -> None:
        s = numpyro.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
        t = numpyro.sample("t", dist.HalfNormal(1.0).expand(shape).to_event(2))
        b = numpyro.sample("b", dist.Normal(0.0, s[0]).expand([columns]).to_event(1))
        a = numpyro.sample("a", dist.Normal(b[0], jnp.broadcast_to(t, (3, 2))).to_event(2))
        numpyro.sample("y", dist.Normal((x @ b)[:, None] + a[of], s[1]), obs=y)

    assert set(cj.explain(model).collapsed) == {"a", "b"}
    log_marginal = cj.collapse(model).execution((), {}).log_marginal

    def density(v: Any) -> Any:
        return log_marginal({"s": v[:2], "t": v[2:].reshape(shape)})

    at = jnp.asarray(rng.uniform(0.5, 1.5, 2 + shape[0] * shape[1]))
    slope, step = jax.jit(jax.grad(density)), 1e-5 * np.eye(len(at))
    numeric = np.stack([slope(at + e) - slope(at - e) for e in step]) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.hessian(density))(at), numeric, rtol=1e-6, atol=1e-6)
    for e in step:
        assert float(slope(at) @ e) == pytest.approx(float(density(at + e) - density(at - e)) / 2, rel=1e-6, abs=1e-11)


def test_where_a_factorisation_fails() -> None:
    value, slope = jax.value_and_grad(lambda x: unless_failed(jnp.log(x), -jnp.inf))(-1.0)
    assert (value, slope) == (-np.inf, -1.0)
    value, slope = jax.value_and_grad(lambda x: unless_failed(jnp.log(x), -jnp.inf))(2.0)
    assert (value, slope) == (np.log(2.0), 0.5)
