"""Densities exp(f(w)) on an interval with f concave: their integral to rounding, and exact draws.

Two curves serve all families of truncated priors:

    parabola   f(w) = a w + b w**2,  b <= 0      truncated normals, and their limits with b = 0
    gamma      f(w) = a w + b e**w,  b <= 0      logarithms of truncated gammas, of any shape a

The integral is taken outwards from the highest point p, by Gauss-Legendre rules between the points where f
has fallen by the levels of `_RULES`; both curves are analytic, so that this is exact to rounding where incomplete gamma
functions and differences of normal distribution functions lose their digits (tails, narrow intervals). Its derivatives are
expectations, sums over the same nodes.
Draws: a piece between two levels by its share, and a place in it by inversion of the integral of the polynomial through its
nodes, to rounding: no draw waits for others, as where proposals are rejected.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import lax

__all__ = ["GAMMA_CURVE", "PARABOLA", "OnInterval", "in_curve", "log_integral", "log_ratio"]

PARABOLA, GAMMA_CURVE = "parabola", "gamma"
_RULES = {  # how far f falls between the rules, and how many nodes they have: for half of the digits much less will do
    (PARABOLA, 8): ((1.0, 6.0, 20.0, 45.0), 14), (PARABOLA, 4): ((1.0, 8.0, 22.0), 9),
    (GAMMA_CURVE, 8): ((1e-2, 0.3, 3.0, 15.0, 45.0), 20), (GAMMA_CURVE, 4): ((1e-2, 0.3, 3.0, 22.0), 12),
}
_LARGE = 80.0  # an exponent
_STEPS = {8: 4, 4: 3}  # to find a draw, of which each has about three times as many digits as the one before


def _peak(curve: str, a: Any, b: Any, low: Any, high: Any) -> Any:
    """Where f is largest between the bounds; a finite place in any case."""
    if curve == PARABOLA:
        inner = jnp.where(b < 0, -a / jnp.where(b < 0, 2 * b, -1.0), jnp.where(a > 0, jnp.inf, -jnp.inf))
        inner = jnp.where((b == 0) & (a == 0), 0.0, inner)
    else:
        both = (a > 0) & (b < 0)
        inner = jnp.log(jnp.where(both, a, 1.0)) - jnp.log(jnp.where(both, -b, 1.0))
        inner = jnp.where(both, inner, jnp.where(a > 0, jnp.inf, -jnp.inf))
    return jnp.clip(inner, low, high)


def _curve(curve: str, a: Any, b: Any, w: Any) -> Any:
    return a * w + b * (w**2 if curve == PARABOLA else jnp.exp(w))


def _exp_beyond_two_terms(t: Any) -> Any:
    """e**t - 1 - t without cancellation."""
    near = jnp.abs(t) < 0.1
    x = jnp.where(near, t, 0.0)
    series = x**2 / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7 * (1 + x / 8))))))
    far = jnp.clip(jnp.where(near, 1.0, t), None, _LARGE)
    return jnp.where(near, series, jnp.expm1(far) - far)


def _slope(curve: str, a: Any, b: Any, p: Any, t: Any) -> Any:
    """f'(p + t)"""
    if curve == PARABOLA:
        return a + 2 * b * (p + t)
    return a + b * jnp.exp(p) * jnp.exp(t)


def _fall(curve: str, a: Any, b: Any, p: Any, t: Any) -> Any:
    """f(p) - f(p + t), without subtracting the two."""
    if curve == PARABOLA:
        return -(a + 2 * b * p) * t - b * t**2
    height = -b * jnp.exp(p)
    return (height - a) * t + height * _exp_beyond_two_terms(t)


def _over(x: Any, y: Any) -> Any:
    """x / y, infinite unless y > 0: what compilers fold may end in a negative 0."""
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1.0), jnp.inf)


def _reached(curve: str, a: Any, b: Any, p: Any, sides: Any, levels: Any) -> Any:
    """How far from p, to either side, f falls by each level, or up to about twice that."""
    if curve == PARABOLA:
        slope = jnp.maximum(-(a + 2 * b * p) * sides, 0.0)
        return _over(2 * levels, slope + jnp.sqrt(slope**2 - 4 * b * levels))
    height = jnp.abs(b) * jnp.exp(p)
    slope = (height - a) * sides
    y = jnp.minimum(_over(levels, height), jnp.finfo(a.dtype).max / 4)
    up = jnp.log1p(y + jnp.log1p(y + jnp.sqrt(2 * y)))  # e**t - 1 - t is at least y there
    down = (y + jnp.sqrt(y) * jnp.sqrt(y + 8)) / 2  # and here of -t, as it is at least t**2 / (2 + t)
    return jnp.minimum(jnp.where(sides > 0, up, down), _over(levels, slope))


def _nodes(curve: str, a: Any, b: Any, low: Any, high: Any, p: Any = None) -> tuple[Any, Any, Any]:
    """(p, distances from p, weights): a rule for the integral of e**(f(p + t) - f(p)), nodes along axis 0."""
    dtype = jnp.result_type(float, a, b)
    a, b, low, high = jnp.broadcast_arrays(*(jnp.asarray(x, dtype) for x in (a, b, low, high)))
    levels, many = _RULES[curve, max(dtype.itemsize, 4)]
    places, sizes = np.polynomial.legendre.leggauss(many)
    if p is None:
        p = lax.stop_gradient(_peak(curve, a, b, low, high))
    ones = (1,) * a.ndim
    sides = jnp.asarray([1.0, -1.0], dtype).reshape(2, 1, *ones)
    reached = lax.stop_gradient(_reached(curve, *lax.stop_gradient((a, b)), p, sides,
                                         jnp.asarray(levels, dtype).reshape(-1, *ones)))
    room = jnp.stack([high - p, p - low])
    # no maximum, whose derivative is a half where the peak is at a bound, so that there is no room
    room = jnp.where(room < 0, 0.0, room)[:, None]
    ends = jnp.minimum(reached, room)
    starts = jnp.concatenate([jnp.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
    half = (ends - starts) / 2
    nodes, weights = (jnp.asarray(x, dtype).reshape(-1, 1, 1, *ones) for x in (places, sizes))
    count = (many * 2 * len(levels), *a.shape)
    return (p, (sides * (starts + half * (1 + nodes))).reshape(count),
            (half * weights).reshape(count))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_mass(curve: str, a: Any, b: Any, low: Any, high: Any, p: Any) -> Any:
    """log of the integral of e**(f(p + t) - f(p)), with p held."""
    _, t, weights = _nodes(curve, a, b, low, high, p)
    return jnp.log(jnp.sum(jnp.exp(-_fall(curve, a, b, p, t)) * weights, 0))


@_log_mass.defjvp
def _(curve: str, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    a, b, low, high, p = primals
    _, t, weights = _nodes(curve, a, b, low, high, p)
    weights = jnp.exp(-_fall(curve, a, b, p, t)) * weights
    total = jnp.sum(weights, 0)
    by_b = t * (2 * p + t) if curve == PARABOLA else jnp.exp(p) * jnp.expm1(t)
    slopes = [jnp.sum(t * weights, 0) / total, jnp.sum(by_b * weights, 0) / total]
    for sign, end in ((-1.0, low), (1.0, high)):
        there = jnp.isfinite(end) & (total > 0)
        density = jnp.exp(-_fall(curve, a, b, p, jnp.where(there, end - p, 1.0)))
        slopes.append(sign * jnp.where(there, density / jnp.where(there, total, 1.0), 0.0))
    return jnp.log(total), sum(s * d for s, d in zip(slopes, tangents[:4], strict=True))


def _with_peak(curve: str, *numbers: Any) -> tuple[Any, ...]:
    """a, b and the bounds as arrays of one shape, and the highest point."""
    dtype = jnp.result_type(float, *numbers[:2])
    numbers = tuple(jnp.broadcast_arrays(*(jnp.asarray(x, dtype) for x in numbers)))
    return (*numbers, lax.stop_gradient(_peak(curve, *numbers)))


@functools.partial(jax.jit, static_argnums=0)
def log_integral(curve: str, a: Any, b: Any, low: Any, high: Any) -> Any:
    """log of the integral of e**f between the bounds (elementwise; bounds may be infinite)."""
    whole = _with_peak(curve, a, b, low, high)
    out = _curve(curve, a, b, whole[-1]) + _log_mass(curve, *whole)
    return jnp.where(b > 0, jnp.nan, out)  # not concave: no number rather than a wrong one


@functools.partial(jax.jit, static_argnums=0)
def log_ratio(curve: str, a: Any, b: Any, da: Any, db: Any, low: Any, high: Any) -> Any:
    """`log_integral` at (a + da, b + db) less that at (a, b), which may both be much larger.

    With g = da w + db e**w, and the curves' highest points p and q, f(q) + g(q) - f(p) is g(q) and how far f falls.
    """
    before, after = _with_peak(curve, a, b, low, high), _with_peak(curve, a + da, b + db, low, high)
    p, q = before[-1], after[-1]
    out = _curve(curve, da, db, q) - _fall(curve, a, b, p, q - p) + _log_mass(curve, *after) - _log_mass(curve, *before)
    return jnp.where((b > 0) | (b + db > 0), jnp.nan, out)


@functools.cache
def _cumulative(many: int) -> np.ndarray:
    """Of a function's values at nodes in (-1, 1) the Legendre coefficients of its integral from -1, shape (many + 1, many)."""
    places, weights = np.polynomial.legendre.leggauss(many)
    powers = np.polynomial.legendre.legvander(places, many - 1)
    coefficients = (np.arange(many)[:, None] + 0.5) * powers.T * weights
    return np.asarray(np.polynomial.legendre.legint(coefficients, lbnd=-1))


def _legendre(coefficients: Any, x: Any) -> Any:
    """A sum of Legendre polynomials, by Clenshaw's recursion."""
    one: Any = jnp.zeros_like(x)
    two = one
    for k in range(len(coefficients) - 1, 0, -1):
        one, two = coefficients[k] + (2 * k + 1) / (k + 1) * x * one - (k + 1) / (k + 2) * two, one
    return coefficients[0] + x * one - two / 2


@functools.partial(jax.jit, static_argnums=(1, 6))
def _draw(key: Any, curve: str, a: Any, b: Any, low: Any, high: Any, shape: tuple[int, ...]) -> Any:
    """Exact draws; NaN where there is nothing between the bounds."""
    p, t, weights = _nodes(curve, a, b, low, high)
    levels, many = _RULES[curve, max(p.dtype.itemsize, 4)]
    pieces, own = 2 * len(levels), p.shape
    density = jnp.exp(-_fall(curve, a, b, p, t)).reshape(many, pieces, *own)
    t, weights = (x.reshape(many, pieces, *own) for x in (t, weights))
    ends = jnp.cumsum(jnp.sum(density * weights, 0), 0)
    middle, half = (t[0] + t[-1]) / 2, jnp.sum(weights, 0) / 2
    integral = functools.partial(jnp.tensordot, jnp.asarray(_cumulative(many), p.dtype), axes=1, precision="highest")
    few = math.prod(shape) < density[0].size  # draws, so that not all pieces are integrated
    rising = density if few else integral(density)

    keys = jax.random.split(key)
    chosen = jax.random.uniform(keys[0], shape, p.dtype) * ends[-1]
    piece = jnp.minimum(jnp.sum(ends.reshape(pieces, *(1,) * (len(shape) - len(own)), *own) <= chosen, 0), pieces - 1)
    where = (piece * p.size + jnp.arange(p.size).reshape(own)).reshape(-1)

    def of(x: Any, lead: int) -> Any:
        return x.reshape(*x.shape[:lead], -1)[..., where].reshape(*x.shape[:lead], *shape)

    middle, half, rising = of(middle, 0), of(half, 0), of(rising, 1)
    rising = integral(rising) if few else rising
    side = jnp.where(piece < len(levels), half, -half)
    share = jax.random.uniform(keys[1], shape, p.dtype)
    target = share * _legendre(rising, jnp.ones(shape, p.dtype))
    # as if f were a line in the piece, and from there on a line at each place
    falls = [_fall(curve, a, b, p, middle + s * side) for s in (-1.0, 1.0)]
    drop = jnp.maximum(falls[1] - falls[0], 1e-3)
    x = jnp.clip(-2 * jnp.log1p(-share * -jnp.expm1(-drop)) / drop - 1, -1.0, 1.0)
    for _ in range(_STEPS[max(p.dtype.itemsize, 4)]):
        t = middle + side * x
        step = (target - _legendre(rising, x)) / jnp.maximum(jnp.exp(-_fall(curve, a, b, p, t)), jnp.finfo(p.dtype).tiny)
        slope = _slope(curve, a, b, p, t) * side
        rise = jnp.maximum(slope * step, -0.99)
        flat = jnp.abs(rise) < 1e-3
        step = jnp.where(flat, step * (1 - rise / 2), jnp.log1p(rise) / jnp.where(flat, 1.0, slope))
        x = jnp.clip(x + step, -1.0, 1.0)
    t = middle + side * x
    return jnp.where(jnp.isfinite(ends[-1]) & (ends[-1] > 0), p + t, jnp.nan)


@functools.partial(jax.jit, static_argnums=0)
def _log_prob(curve: str, a: Any, b: Any, low: Any, high: Any, w: Any) -> Any:
    p, t, weights = _nodes(curve, a, b, low, high)
    return -_fall(curve, a, b, p, w - p) - jnp.log(jnp.sum(jnp.exp(-_fall(curve, a, b, p, t)) * weights, 0))


@functools.partial(jax.jit, static_argnums=(0, 6))
def _moment(curve: str, a: Any, b: Any, low: Any, high: Any, about: Any, degree: int, power: Any) -> Any:
    """The mean of (z - about)**degree; z is w, or e**(w / power)."""
    p, t, weights = _nodes(curve, a, b, low, high)
    weights = jnp.exp(-_fall(curve, a, b, p, t)) * weights
    z = p + t if curve == PARABOLA else jnp.exp((p + t) / power)
    return jnp.sum((z - about) ** degree * weights, 0) / jnp.sum(weights, 0)


class OnInterval(dist.Distribution):
    """z between two bounds, with log density `a s(z) + b t(z) + log h(z)` up to a constant.

    With `power` 0, s = z, t = z**2, h = 1 (a truncated normal); otherwise s = log z, t = z**power,
    h = 1/z (a truncated gamma, inverse gamma, or a root of one).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("a", "b", "low", "high")
    pytree_aux_fields = ("power",)

    def __init__(self, power: int, a: Any, b: Any, low: Any, high: Any) -> None:
        self.power = power
        self.a, self.b, self.low, self.high = jnp.broadcast_arrays(*map(jnp.asarray, (a, b, low, high)))
        super().__init__(self.a.shape, ())

    @property
    def support(self) -> Any:
        return dist.constraints.interval(self.low, self.high)

    def _in_w(self) -> tuple[str, Any, Any, Any, Any]:
        return in_curve(self.power, self.a, self.b, self.low, self.high)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        w = _draw(key, *self._in_w(), (*sample_shape, *self.batch_shape))
        z = w if self.power == 0 else jnp.exp(w / self.power)
        return jnp.clip(z, self.low, self.high)

    def log_prob(self, value: Any) -> Any:
        w, jacobian = jnp.asarray(value, self.a.dtype), 0.0
        if self.power:
            log = jnp.log(w)
            w, jacobian = self.power * log, np.log(abs(self.power)) - log
        out = _log_prob(*self._in_w(), w) + jacobian
        return jnp.where((value >= self.low) & (value <= self.high), out, -jnp.inf)

    @property
    def mean(self) -> Any:
        return _moment(*self._in_w(), jnp.zeros_like(self.a), 1, self.power)

    @property
    def variance(self) -> Any:
        return _moment(*self._in_w(), self.mean, 2, self.power)


def in_curve(power: int, a: Any, b: Any, low: Any, high: Any) -> tuple[str, Any, Any, Any, Any]:
    """(curve, a, b, low, high) in w = z, or in w = power log z, of which z**power is e**w."""
    if power == 0:
        return PARABOLA, a, b, low, high
    ends = power * jnp.log(low), power * jnp.log(high)
    return (GAMMA_CURVE, a / power, b, *(ends if power > 0 else ends[::-1]))
