"""Random numbers: gamma variables of all shapes, and many draws side by side from one key."""

from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import plate, sample
from scipy import stats

import conjugate_ppl as cj
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.families.gamma_draws import (
    _first,
    _log_accepted,
    _normal_and_uniform,
    gamma_draw,
    shares_draw,
)
from conjugate_ppl.gaussian import block
from conjugate_ppl.noise import beside_each_other, normal, own_key, together

SHAPES = [1e-3, 0.2, 0.999, 1.0, 1.5, 7.0, 300.0, 2e4, 1e6]
NUMBER = 20_000
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Z = X @ np.arange(6.0) + RNG.normal(size=40)


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_draws(shape, x64):
    for number in (NUMBER, 500):
        x = jax.jit(gamma_draw)(jax.random.key(1), jnp.full(number, shape))
        assert x.dtype == jnp.zeros(()).dtype and (x > 0).all()
        check(x, stats.gamma(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_shares(shape, x64):
    """Of two and of three; of these the smaller one is looked at, which has more digits than its complement."""
    a = jnp.stack([jnp.full(NUMBER, shape), jnp.full(NUMBER, 1.25)])
    for rest, axis in ((a, -2), (jnp.moveaxis(jnp.concatenate([a, a[1:]]), 0, 1), -1)):
        x = jax.jit(shares_draw, static_argnums=(2, 3))(jax.random.key(2), rest, (), axis)
        x, others = jnp.moveaxis(x, axis, 0), 1.25 * (rest.shape[axis] - 1)
        assert ((x > 0) & (x < 1)).all()
        if shape > others:
            check(jnp.minimum(x[1:].sum(0), 1), stats.beta(others, shape))
        else:
            check(x[0], stats.beta(shape, others))
    assert jnp.allclose(shares_draw(jax.random.key(3), jnp.full(3, 1e35), (), -1), 1 / 3)


def check(x, law, least=1e-30):
    """Draws against their law: how many exceed a number that the type still has, and these."""
    x = np.asarray(x, float)
    above = law.sf(least)
    assert stats.binomtest(int((x > least).sum()), len(x), above).pvalue > 1e-4
    assert stats.kstest(1 - law.sf(x[x > least]) / above, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_the_first_places(share):
    for size in (1, 31, 5001):
        wanted = jnp.asarray(RNG.uniform(size=size) < share)
        np.testing.assert_array_equal(_first(wanted, 300), jnp.nonzero(wanted, size=300, fill_value=size)[0])


@pytest.mark.parametrize("many", [20, 1000, 20_000])
def test_numbers_of_a_proposal(many, x64):
    """From bits of their own, or from the same: where arrays are neither small nor long."""
    keys = jax.random.split(jax.random.key(3), NUMBER // many)
    normal, uniform = jax.vmap(lambda k: _normal_and_uniform(k, (many,), jnp.zeros(()).dtype))(keys)
    assert normal.dtype == uniform.dtype == jnp.zeros(()).dtype
    assert stats.kstest(np.ravel(normal), "norm").pvalue > 1e-4
    assert stats.kstest(np.ravel(uniform), "uniform").pvalue > 1e-4
    assert stats.spearmanr(np.ravel(normal), np.ravel(uniform)).pvalue > 1e-4
    a = jnp.full(many, 1.5)
    draws = jax.vmap(lambda k: gamma_draw(k, a))(keys)
    assert stats.kstest(np.ravel(draws), stats.gamma(1.5).cdf).pvalue > 1e-4


def test_the_acceptance_keeps_its_digits(x64):
    """Near its mode, where it is a difference of almost equal numbers, against 40 digits."""
    getcontext().prec = 40
    y = np.array([-0.3, -0.051, -0.049, -1e-3, 1e-4, 0.02, 0.0499, 0.0501, 0.8])
    found = np.asarray(_log_accepted(jnp.asarray(y)), float)
    exact = [float(3 * ((1 + v).ln() - v + v * v / 2) - v**3) for v in map(Decimal, map(float, jnp.asarray(y)))]
    most = 2e-9 if x64 else 1e-5  # of (x / y)^2 / 9, the number that multiplies it, at x = 6
    np.testing.assert_array_less(np.abs(found - exact) * 4 / y**2, most + 0 * y)


def test_a_shape_that_is_no_number():
    x = gamma_draw(jax.random.key(0), jnp.array([2.0, np.nan, np.inf, -3.0]))
    assert x[0] > 0 and not np.isfinite(x[1:]).any()


@pytest.mark.parametrize("name, laws, natural", [
    ("Gamma", [stats.gamma(0.4, scale=0.5), stats.gamma(9.0)], ([0.4, 9.0], [-2.0, -1.0])),
    ("InverseGamma", [stats.invgamma(0.4, scale=2.0), stats.invgamma(9.0)], ([-0.4, -9.0], [-2.0, -1.0])),
    ("Beta", [stats.beta(0.4, 2.0), stats.beta(9.0, 0.7)], ([0.4, 9.0], [2.0, 0.7])),
    ("Dirichlet", [stats.beta(0.4, 2.7), stats.beta(0.7, 2.4), stats.beta(2.0, 1.1)], ([0.4, 0.7, 2.0],)),
])
def test_families_that_draw_by_themselves(name, laws, natural):
    natural = tuple(map(jnp.asarray, natural))
    keys = beside_each_other(jax.random.key(2), NUMBER, 1)[0]
    many = jax.vmap(lambda k: FAMILIES[name].draw(k, natural))(keys)
    each = jax.vmap(lambda k, *n: FAMILIES[name].draw(k, n))(keys, *(jnp.broadcast_to(n, (NUMBER, *n.shape)) for n in natural))
    single = jax.vmap(lambda k: FAMILIES[name].draw(k, natural))(keys.own)
    for x in (many, each, single):
        for j, law in enumerate(laws):
            assert stats.kstest(np.asarray(x[:, j]), law.cdf).pvalue > 1e-4
        assert stats.spearmanr(x[:, 0], x[:, 1]).pvalue > 1e-4 or name == "Dirichlet"


def test_draws_side_by_side_are_independent():
    """Of one another, of other parts, and of what they are made with."""
    one, two = beside_each_other(jax.random.key(3), NUMBER, 2)
    noise = [np.asarray(jax.vmap(lambda k: normal(k, (2,), jnp.float64))(k)) for k in (one, two)]
    columns = np.concatenate(noise, 1)
    assert columns.shape == (NUMBER, 4)
    assert np.abs(np.corrcoef(np.concatenate([columns[1:], columns[:-1]], 1).T) - np.eye(8)).max() < 5 / np.sqrt(NUMBER)
    shift = jnp.arange(float(NUMBER))
    moved = jax.vmap(lambda k, s: together(lambda key, axes, s: s + jax.random.normal(key, (*axes, *s.shape)), k, s))(one, shift)
    assert stats.kstest(np.asarray(moved - shift), "norm").pvalue > 1e-4
    assert len(np.unique(jax.random.key_data(jax.vmap(own_key)(one)), axis=0)) == NUMBER
    assert own_key("a key") == "a key" and together(lambda key, axes: (key, axes), "a key") == ("a key", ())


def regression(x, y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    root = np.linalg.cholesky(np.eye(6) + 0.5)
    b = sample("b", dist.MultivariateNormal(jnp.ones(6), scale_tril=2 * jnp.sqrt(v) * root))
    with plate("rows", len(y)):
        sample("y", dist.Normal(x @ b, jnp.sqrt(v)), obs=y)


@pytest.mark.parametrize("apart", [True, False])
def test_a_variance_that_scales_a_block(apart, x64, monkeypatch):
    """One factorisation for all draws, and none of coefficients that are solved each alone; deviations in proportion to the
    root of the variance, and else independent of it."""
    if not apart:
        monkeypatch.setattr(block, "collinear", lambda *_: None)
    args = jnp.asarray(X), jnp.asarray(Z)
    collapsed = cj.collapse(regression)
    program = jax.make_jaxpr(lambda: collapsed.recover(jax.random.key(0), {}, *args, num_samples=NUMBER))()
    made = [e for e in _equations(program.jaxpr) if "cholesky" in e.primitive.name or "triangular" in e.primitive.name]
    assert bool(made) != apart and all(NUMBER not in v.aval.shape for e in made for v in e.invars[:1])
    draws = collapsed.recover(jax.random.key(0), {}, *args, num_samples=NUMBER)
    prior = np.linalg.inv(4 * (np.eye(6) + 0.5))
    precision = X.T @ X + prior
    mean = np.linalg.solve(precision, X.T @ Z + prior @ np.ones(6))
    v, b = (np.asarray(draws[n], float) for n in "vb")
    rest = 1 + 0.5 * (np.sum((Z - X @ mean) ** 2) + (mean - 1) @ prior @ (mean - 1))
    assert stats.kstest(v, stats.invgamma(22.0, scale=rest).cdf).pvalue > 1e-4
    white = (b - mean) / np.sqrt(v)[:, None] @ np.linalg.cholesky(precision)
    assert np.abs(white.T @ white / NUMBER - np.eye(6)).max() < 6 * np.sqrt(2 / NUMBER)
    assert all(stats.kstest(w, "norm").pvalue > 1e-4 for w in white.T)
    assert np.abs(np.corrcoef(np.concatenate([white**2, v[:, None]], 1).T)[-1, :-1]).max() < 5 / np.sqrt(NUMBER)


def _equations(jaxpr):
    """Its equations, and those of its bodies."""
    for e in jaxpr.eqns:
        yield e
        for p in e.params.values():
            for q in p if isinstance(p, (tuple, list)) else (p,):
                inner = getattr(q, "jaxpr", q)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def test_more_draws_than_fit_side_by_side(monkeypatch):
    """In turns, the last of which is not full: each draw with the values that it is given, none twice."""
    monkeypatch.setattr("conjugate_ppl.planning.execute._FEW", 64)

    def model(y):
        tau = sample("tau", dist.HalfNormal(1.0))
        sample("y", dist.Normal(sample("mu", dist.Normal(0.0, tau)), 1.0), obs=y)

    tau = jnp.arange(1.0, 151.0).reshape(3, 50)
    mu = np.asarray(cj.collapse(model).recover(jax.random.key(4), {"tau": tau}, jnp.asarray(1.0), batch_ndims=2)["mu"])
    assert mu.shape == (3, 50) and len(np.unique(mu)) == 150
    still = cj.collapse(model).recover(jax.random.key(4), {"tau": 1e-9 * tau}, jnp.asarray(1.0), batch_ndims=2)["mu"]
    size = np.abs(np.asarray(still)) / (1e-9 * np.asarray(tau))
    assert size.max() < 5 and size.reshape(3, -1).mean(1).min() > 0.4
