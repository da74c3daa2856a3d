"""Eliminating a Gaussian block: the log integral, and everything else a draw or a density needs.

Two stages. Components go first, all at once; each leaves its share of a quadratic in its block of the
rest. The blocks are then solved densely in coordinates whitened by the prior scale, e = m + T u, where
the precision is I + T'HT: harmless for a scale of 0 and for a vague one. Shares are built without
subtraction where every component carries a single weight (`between`),

    share of c = K' V K,    V = w R (I + w R' T T' R)^-1 R',

and the quadratic is evaluated as the penalised residual at the solution, a sum of squares.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.between import Between
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.linear import (
    Scale,
    inverse_logdet,
    lower_factor,
    matmul,
    product,
    solve_lower,
    times,
    transposed,
)

__all__ = ["Components", "Solution", "log_integral", "solve"]

_MANY = 1000  # components whose products with one vector are left to the library for products


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """The components given the rest.

    Attributes:
        centre: from the elements of the rest to posterior means, shape (count, width).
        slope: derivative of `centre` in the elements of the block that each belongs to.
        scale, precision: T, and I + T'DT, the precision of u.
        row: for each component its row of these three, or None where every component has its own.
    """

    centre: Callable[[Any], Any]
    slope: Any
    scale: Any
    precision: Any
    row: np.ndarray | None = None

    def each(self, x: Any) -> Any:
        """Rows of an array, one for each component."""
        if self.row is None:
            return x
        return jnp.broadcast_to(_at(x, self.row), (len(self.row), *x.shape[1:]))


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A block solved at given values of the kept sites.

    Attributes:
        components: makes the components, where they are asked for.
        rest_scale: T of the rest.
        precision, inverse: of u in each block of the rest, and `mean` its posterior mean.
        centre: posterior mean of the rest's elements, m + T mean.
        quadratic, logdet: the two parts of the log integral.
    """

    components: Callable[[], Components]
    rest_scale: Scale
    precision: Any
    inverse: Any
    mean: Any
    centre: Any
    quadratic: Any
    logdet: Any


@dataclasses.dataclass(frozen=True, eq=False)
class _Shares:
    """What the components leave: H and h of the rest, and the quadratic as a function of the rest."""

    rest: Any
    linear: Any
    logdet: Any
    quadratic: Callable[[Any], Any]
    components: Callable[[], Components]


def solve(block: GaussianBlock, values: Values) -> Solution:
    """Eliminate the components, then the rest."""
    omega = block.reduced.weights.evaluate(values)
    t = block.scale_numbers(values)
    moving = block.moving_mean(values)
    shares = (_between if isinstance(block.parts, Between) else _subtracted)(
        block, values, omega, t, moving)
    scale = block.rest_scale(values, t)
    m = block.mean_at(values, moving, block.structure.blocks)
    if not m.size:
        none = jnp.zeros((*m.shape, m.shape[1]), values.dtype)
        return Solution(shares.components, scale, none, none, m, m, shares.quadratic(m),
                        shares.logdet)
    proper = jnp.asarray(np.where(block.flat, 0.0, 1.0), values.dtype)
    eye = jnp.eye(m.shape[1], dtype=values.dtype)
    precision = proper[:, :, None] * eye + scale.sandwich(shares.rest)
    inverse, logdet = inverse_logdet(precision)
    target = scale.transpose_apply(shares.linear - times(shares.rest, m))
    # A Newton step from the solution: it refines it, and carries its derivative. The quadratic is
    # stationary there, so neither its gradient nor its Hessian needs the inverse's derivative.
    fixed = jax.lax.stop_gradient(inverse)
    mean = jax.lax.stop_gradient(times(inverse, target))
    mean = mean + times(fixed, target - times(precision, mean))
    solution = m + scale.apply(mean)
    quadratic = jnp.sum(proper * mean**2) + shares.quadratic(solution)
    # A second one in the elements themselves, which are small where prior means are far away.
    pull = scale.transpose_apply(shares.linear - times(shares.rest, solution)) - proper * mean
    centre = solution + scale.apply(times(fixed, pull))
    return Solution(shares.components, scale, precision, inverse, mean, centre, quadratic,
                    jnp.sum(logdet) + shares.logdet)


def _between(block: GaussianBlock, values: Values, omega: Any, t: Any, moving: Any) -> _Shares:
    """Components with one weight each: group estimates, no subtraction."""
    b, s = block.parts, block.structure
    assert isinstance(b, Between)
    weight, many = omega[_once(b.weight)], values.number(b.many.astype(float))
    root = values.number(b.root) * jnp.sqrt(weight)[:, None, None]
    loading = values.number(b.loading)
    scale = t[_once(b.scale)]
    eye = jnp.eye(s.width, dtype=values.dtype)
    white = matmul(transposed(root), scale)  # R'T
    inverse, logdet = inverse_logdet(eye + matmul(white, transposed(white)))
    v = matmul(matmul(root, inverse), transposed(root))
    shift = values.number(b.shift) - (0.0 if moving is None else moving[b.element])
    v_all = v * many[:, None, None]
    v_loading = matmul(v_all, loading)
    within = b.within.evaluate(values, omega)
    within_linear = b.within_linear.evaluate(values, omega)
    rest, linear = within, within_linear
    if loading.size:
        shape = s.blocks.shape
        rest = rest + _owned(b.owner, "cir,cis->{}rs", (*shape, shape[1]), loading, v_loading)
        linear = linear + _owned(b.owner, "cir,ci->{}r", shape, v_loading, shift)
    scattered = jnp.sum(v * values.number(b.scatter))
    adjustment = jnp.dot(values.number(b.adjustment), omega[b.adjustment_weight],
                         precision="highest")

    def quadratic(e: Any) -> Any:
        gap = shift - _through(loading, e, b.owner)
        squares = jnp.sum(gap[..., None] * v_all * gap[..., None, :])
        left = jnp.sum(e * (times(within, e) - 2 * within_linear))
        return squares + scattered + left - adjustment

    def components() -> Components:
        inner = matmul(transposed(white), transposed(root))  # T'RR'
        precision = eye + matmul(transposed(white), white)
        inverse, _ = inverse_logdet(precision)
        gain = _refined(jnp.zeros_like(eye), scale, lambda x: matmul(inverse, x),
                        lambda x: inner - matmul(inner, x), matmul)
        low = lower_factor(precision)
        row = None if np.array_equal(b.pattern, np.arange(len(b.many))) else b.pattern

        def centre(e: Any) -> Any:
            gap = values.number(b.estimate) - out.each(_through(loading, e, b.owner))
            own, own_low = out.each(inner), out.each(low)
            return _refined(block.mean_at(values, moving, s.components), out.each(scale),
                            lambda x: solve_lower(own_low, solve_lower(own_low, x), True),
                            lambda x: times(own, gap - x), times)

        out = Components(centre, -matmul(gain, loading), scale, precision, row)
        return out

    return _Shares(rest, linear, jnp.sum(many * logdet), quadratic, components)


def _once(index: np.ndarray) -> np.ndarray:
    """Rows of an index that are all the same as one row, which broadcasts."""
    return index[:1] if (index == index[:1]).all() else index


def _at(x: Any, index: np.ndarray) -> Any:
    """Rows of an array; a single row stands for all."""
    return x if x.shape[0] == 1 else x[index]


def _through(loading: Any, e: Any, owner: np.ndarray) -> Any:
    """K e for each component, e the elements of its block."""
    if e.shape[0] == 1 and loading.shape[0] > _MANY:
        return product("cir,r->ci", loading, e[0])
    return times(loading, _at(e, owner))


def _owned(owner: np.ndarray, what: str, shape: tuple[int, ...], a: Any, b: Any) -> Any:
    """Products of components added up in the block that each belongs to."""
    if shape[0] == 1:
        return product(what.format(""), a, b)[None]
    return jnp.zeros(shape, a.dtype).at[owner].add(product(what.format("c"), a, b))


def _subtracted(block: GaussianBlock, values: Values, omega: Any, t: Any, moving: Any) -> _Shares:
    """The general case: the share of a component is a Schur complement."""
    s = block.structure
    assert isinstance(block.parts, Assembly)
    parts = block.parts.evaluate(values, omega)
    scale, m = block.inner_scale(t), block.mean_at(values, moving, s.components)
    d, g, h = parts.inner, parts.cross, parts.inner_linear
    eye = jnp.eye(s.width, dtype=values.dtype)
    precision = eye + matmul(matmul(transposed(scale), d), scale)
    inverse, logdet = inverse_logdet(precision)
    covariance = matmul(matmul(scale, inverse), transposed(scale))
    free = h - times(d, m)
    rest, linear = parts.rest, parts.rest_linear
    if g.size:
        covariance_g = matmul(covariance, g)
        shape = s.blocks.shape
        rest = rest - _owned(s.owner, "cir,cis->{}rs", (*shape, shape[1]), g, covariance_g)
        linear = (linear - _owned(s.owner, "cir,ci->{}r", shape, g, m)
                  - _owned(s.owner, "cir,ci->{}r", shape, covariance_g, free))

    def pull(x: Any, e: Any) -> Any:
        return times(transposed(scale), h - _through(g, e, s.owner) - times(d, x))

    def centre(e: Any) -> Any:
        return _refined(m, scale, lambda x: times(inverse, x), lambda x: pull(x, e), times)

    def quadratic(e: Any) -> Any:
        u = times(inverse, pull(m, e))
        x = m + times(scale, u)
        gradient = times(d, x) + 2 * _through(g, e, s.owner) - 2 * h
        left = jnp.sum(e * (times(parts.rest, e) - 2 * parts.rest_linear))
        return jnp.sum(u**2) + jnp.sum(x * gradient) + left

    return _Shares(rest, linear, jnp.sum(logdet), quadratic,
                   lambda: Components(centre, -matmul(covariance, g), scale, precision))


def _refined(m: Any, scale: Any, invert: Callable[[Any], Any], pull: Callable[[Any], Any],
             apply: Callable[[Any, Any], Any]) -> Any:
    """m + T u where u = pull(m + T u), for vectors or for matrices, by two Newton steps.

    `invert` solves with the derivative of u - pull(m + T u). The second step starts from m + T u, which
    is small where prior means are far away and the data speak, and so mends what the first lost.
    """
    u = invert(pull(m))
    x = m + apply(scale, u)
    return x + apply(scale, invert(pull(x) - u))


def log_integral(block: GaussianBlock, solution: Solution) -> Any:
    """log of the integral over the block of exp(-1/2 e'He + h'e) times its priors."""
    scales = block.flat_scale[block.flat]  # flat elements: normalising constant and column scales
    volume = 0.5 * math.log(2 * math.pi) * len(scales) + float(np.sum(np.log(scales)))
    out = volume - 0.5 * (solution.quadratic + solution.logdet)
    return jnp.where(jnp.isnan(out), -jnp.inf, out)
