"""Differences of log-gamma functions keep their digits, small and large, in both floating types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from conjugate_ppl.families.loggamma import (
    difference,
    log_beta_ratio,
    log_dirichlet_ratio,
    remainder,
)

pytestmark = pytest.mark.optimised

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640629")
X = np.array([1e-6, 1e-3, 0.3, 1.0, 2.5, 7.9, 8.1, 33.0, 1e3, 12345.6, 1e6, 1e9])
D = np.array([0.0, 1e-3, 0.5, 1.0, 4.0, 7.7, 250.0, 1e4, 1e6])


@functools.cache
def bernoulli(n: int) -> Fraction:
    """B_n by its recursion."""
    if n == 0:
        return Fraction(1)
    return -sum((comb(n + 1, k) * bernoulli(k) for k in range(n)), Fraction(0)) / (n + 1)


@functools.cache
def lgamma(x: Decimal) -> Decimal:
    """log Gamma(x) to 50 digits: the recursion up to x + 60, then Stirling's series there."""
    with localcontext() as context:
        context.prec = 70
        low, y = Decimal(1), x
        while y < 60:
            low, y = low * y, y + 1
        total = (y - Decimal("0.5")) * y.ln() - y + (2 * PI).ln() / 2 - low.ln()
        for k in range(1, 40):
            b = bernoulli(2 * k) / (2 * k * (2 * k - 1))
            total += Decimal(b.numerator) / Decimal(b.denominator) / y ** (2 * k - 1)
        return total


def exactly(function: Callable[..., Decimal]) -> Callable[..., np.ndarray]:
    """`function`, elementwise on exactly the numbers that the floats are, to 70 digits."""

    def run(*args: float) -> float:
        with localcontext() as context:
            context.prec = 70
            return float(function(*(Decimal(float(a)) for a in args)))

    return np.vectorize(run, otypes=[float])


@exactly
def exact_difference(x: Decimal, d: Decimal) -> Decimal:
    """lgamma(x + d) - lgamma(x)"""
    return lgamma(x + d) - lgamma(x)


@exactly
def exact_log_beta_ratio(a: Decimal, b: Decimal, da: Decimal, db: Decimal) -> Decimal:
    """log Beta(a + da, b + db) - log Beta(a, b)"""
    return (lgamma(a + da) + lgamma(b + db) - lgamma(a + b + da + db)
            - lgamma(a) - lgamma(b) + lgamma(a + b))


@exactly
def exact_remainder(x: Decimal) -> Decimal:
    """lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2"""
    return lgamma(x) - (x - Decimal("0.5")) * x.ln() + x - (2 * PI).ln() / 2


def grid(*axes: np.ndarray, x64: bool) -> list[np.ndarray]:
    """All combinations, as the floats of the test's type."""
    return [a.ravel().astype(np.float64 if x64 else np.float32) for a in np.meshgrid(*axes)]


def close(actual: object, expected: np.ndarray, x64: bool, doubt: np.ndarray | float = 0.0) -> None:
    """Within some roundings of 1 + |expected|, `doubt` being the size of what the oracle subtracts."""
    actual = np.asarray(actual)
    assert actual.dtype == (np.float64 if x64 else np.float32)
    units = 1 + np.abs(expected), np.broadcast_to(doubt, expected.shape)
    limit = 50 * (np.finfo(actual.dtype).eps * units[0] + np.finfo(np.float64).eps * units[1])
    worst = int(np.argmax(np.abs(actual - expected) / limit))
    assert abs(actual[worst] - expected[worst]) < limit[worst], (worst, actual[worst], expected[worst])


def test_oracle() -> None:
    n = np.arange(1.0, 30.0)
    np.testing.assert_allclose(exact_difference(1.0, n), np.cumsum(np.log(n)), rtol=1e-15)
    np.testing.assert_allclose(exact_difference(0.25, n), special.gammaln(0.25 + n)
                               - special.gammaln(0.25), rtol=1e-12)


def test_remainder(x64: bool) -> None:
    (x,) = grid(X, x64=x64)
    close(jax.jit(remainder)(x), exact_remainder(x), x64)


def test_difference(x64: bool) -> None:
    x, d = grid(X, D, x64=x64)
    close(jax.jit(difference)(x, d), exact_difference(x, d), x64)
    # removing what was added is the same number with the other sign
    y = x + d
    back = y > d
    close(jax.jit(difference)(y[back], -d[back]), exact_difference(y[back], -d[back]), x64)


def test_difference_of_large_numbers_is_relatively_exact(x64: bool) -> None:
    x, d = grid(np.array([1e4, 1e6, 1e9]), D[1:], x64=x64)
    out, expected = np.asarray(jax.jit(difference)(x, d)), exact_difference(x, d)
    assert np.max(np.abs(out / expected - 1)) < (1e-13 if x64 else 2e-6)


def test_no_change_is_exactly_zero(x64: bool) -> None:
    (x,) = grid(X, x64=x64)
    assert not np.any(jax.jit(difference)(x, 0 * x))
    assert not np.any(jax.jit(log_beta_ratio)(x, x[::-1], 0 * x, 0 * x))


def test_difference_gradient(x64: bool) -> None:
    x, d = grid(X, D, x64=x64)
    slope = jax.jit(jax.vmap(jax.grad(difference, (0, 1))))
    in_x, in_d = slope(x, d)
    x, d = x.astype(np.float64), d.astype(np.float64)
    after = special.digamma(x + d)
    close(in_x, after - special.digamma(x), x64, np.abs(special.digamma(x)))
    close(in_d, after, x64)


A = np.array([1e-3, 0.5, 1.0, 20.0, 1e6, 1e9])
N = np.array([0.0, 1.0, 30.0, 1e6])


def test_log_beta_ratio(x64: bool) -> None:
    a, b, da, db = grid(A, A, N, N, x64=x64)
    close(jax.jit(log_beta_ratio)(a, b, da, db), exact_log_beta_ratio(a, b, da, db), x64)


def test_log_beta_ratio_gradient(x64: bool) -> None:
    a, b, da, db = (g.astype(np.float64) for g in grid(A, A, N, N, x64=x64))
    slope = jax.jit(jax.vmap(jax.grad(log_beta_ratio, (0, 1, 2, 3))))
    found = slope(*grid(A, A, N, N, x64=x64))
    terms = [special.digamma(v) for v in (a + da, b + db, a + b + da + db, a, b, a + b)]
    in_da, in_db = terms[0] - terms[2], terms[1] - terms[2]
    expected = (in_da - terms[3] + terms[5], in_db - terms[4] + terms[5], in_da, in_db)
    # near 0 a prior's parameter is right as a logarithm: its slope is 1 / a less 1 / a
    for f, e, unit in zip(found, expected, (a, b, 1.0, 1.0), strict=True):
        unit = np.minimum(unit, 1.0).astype(f.dtype)
        close(f * unit, e * unit, x64, np.abs(terms).max(0))


def test_log_dirichlet_ratio(x64: bool) -> None:
    rng = np.random.default_rng(0)
    kind = np.float64 if x64 else np.float32
    a = 10 ** rng.uniform(-3, 6, (40, 5)).astype(kind)
    d = np.floor(10 ** rng.uniform(-1, 6, (40, 5))).astype(kind)
    d[:20] *= rng.random((20, 5)) < 0.3  # most cells unseen

    def one(a: np.ndarray, d: np.ndarray) -> float:
        with localcontext() as context:
            context.prec = 70
            old = [Decimal(float(x)) for x in a]
            new = [x + Decimal(float(y)) for x, y in zip(old, d, strict=True)]
            sides = [sum(map(lgamma, p), Decimal(0)) - lgamma(sum(p, Decimal(0))) for p in (old, new)]
            return float(sides[1] - sides[0])

    expected = np.array([one(*row) for row in zip(a, d, strict=True)])
    close(jax.jit(log_dirichlet_ratio)(a, d), expected, x64)
    pair = jax.jit(log_dirichlet_ratio)(a[:, :2], d[:, :2])
    close(pair, exact_log_beta_ratio(a[:, 0], a[:, 1], d[:, 0], d[:, 1]), x64)
    np.testing.assert_array_equal(jax.jit(log_dirichlet_ratio)(a[:, :1], d[:, :1]), 0.0)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_shapes_broadcast(shape: tuple[int, ...]) -> None:
    one = jnp.ones(shape)
    shapes = jax.eval_shape(lambda x: (difference(2.0, x), difference(x, 1.0),
                                       log_beta_ratio(x, 2.0, 1.0, x)), one)
    assert {s.shape for s in shapes} == {shape}
