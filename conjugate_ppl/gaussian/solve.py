"""Eliminating a Gaussian block, drawing it back, and its conditional density.

Two stages. Components go first, all at once; each leaves its share of a quadratic in the rest. The rest
is then solved densely in coordinates whitened by its prior scale, e = m + T u, where the precision is
I + T'HT: harmless for a scale of 0 and for a vague one. Shares are built without subtraction where
every component carries a single weight (`assemble.Between`),

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
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.linear import (
    inverse_logdet,
    lower_factor,
    matmul,
    product,
    solve_lower,
    transposed,
)

__all__ = ["Solution", "draw", "log_integral", "log_prob", "moments", "solve"]


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A block solved at given values of the kept sites.

    `component_precision` is I + T'DT of each component, `component_target(e_rest)` the right side of its
    normal equations (whitened); `precision`, `mean` those of the whitened rest, `inverse` its
    inverse. `quadratic` and `logdet` make up the log integral.
    """

    inner_scale: Any
    inner_mean: Any
    component_precision: Any
    component_target: Callable[[Any], Any]
    component_slope: Any
    rest_scale: Any
    rest_mean: Any
    precision: Any
    inverse: Any
    mean: Any
    quadratic: Any
    logdet: Any


def solve(block: GaussianBlock, values: Values) -> Solution:
    """Eliminate the components, then the rest."""
    omega = block.reduced.weights.evaluate(values)
    inner_t, rest_t = block.scales(values)
    inner_m, rest_m = block.means(values)
    stage = _between(block, values, omega, inner_t, inner_m) if block.between is not None else \
        _subtracted(block, values, omega, inner_t, inner_m)
    h, linear = stage.rest, stage.rest_linear
    proper = jnp.asarray(np.where(block.flat, 0.0, 1.0), values.dtype)
    target = rest_t.transpose_apply(linear - product("ij,j->i", h, rest_m))
    precision = jnp.diag(proper) + rest_t.sandwich(h)
    if len(block.structure.rest):
        inverse, logdet = inverse_logdet(precision)
        # A Newton step from the solution: it refines it, and carries its derivative. The quadratic is
        # stationary there, so neither its gradient nor its Hessian needs the inverse's derivative.
        fixed = jax.lax.stop_gradient(inverse)
        mean = jax.lax.stop_gradient(product("ij,j->i", inverse, target))
        mean = mean + product("ij,j->i", fixed, target - product("ij,j->i", precision, mean))
    else:
        inverse, logdet = precision, jnp.zeros((), values.dtype)
        mean = target
    solution = rest_m + rest_t.apply(mean)
    quadratic = jnp.sum(proper * mean**2) + stage.quadratic(solution)
    return Solution(inner_t, inner_m, stage.precision, stage.target, stage.slope, rest_t, rest_m,
                    precision, inverse, mean, quadratic, logdet + stage.logdet)


@dataclasses.dataclass(frozen=True, eq=False)
class _Stage:
    rest: Any
    rest_linear: Any
    logdet: Any
    quadratic: Callable[[Any], Any]
    precision: Any
    target: Callable[[Any], Any]
    slope: Any


def _eye(block: GaussianBlock, values: Values) -> Any:
    return jnp.eye(block.structure.width, dtype=values.dtype)


def _between(block: GaussianBlock, values: Values, omega: Any, t: Any, m: Any) -> _Stage:
    """Components with one weight each: group estimates, no subtraction."""
    b = block.between
    assert b is not None
    weight = omega[b.weight]
    root = values.number(b.root) * jnp.sqrt(weight)[:, None, None]
    estimate, loading = values.number(b.estimate), values.number(b.loading)
    white = matmul(transposed(root), t)  # R'T
    inverse, logdet = inverse_logdet(_eye(block, values) + matmul(white, transposed(white)))
    v = matmul(matmul(root, inverse), transposed(root))
    shift = estimate - m
    v_loading = matmul(v, loading)
    within = b.within.evaluate(values, omega)
    within_linear = b.within_linear.evaluate(values, omega)
    rest = within + product("cir,cis->rs", loading, v_loading)
    linear = within_linear + product("cir,ci->r", v_loading, shift)
    adjustment = jnp.sum(values.number(b.adjustment) * omega[b.adjustment_weight])

    def quadratic(e: Any) -> Any:
        gap = shift - product("cir,r->ci", loading, e)
        squares = jnp.sum(gap[..., None] * v * gap[..., None, :])
        left = jnp.dot(e, product("rs,s->r", within, e) - 2 * within_linear, precision="highest")
        return squares + left - adjustment

    precision = _eye(block, values) + matmul(transposed(white), white)
    inner = matmul(transposed(white), transposed(root))  # T'RR'

    def target(e: Any) -> Any:
        gap = shift - product("cir,r->ci", loading, e)
        return jnp.sum(inner * gap[..., None, :], -1)

    return _Stage(rest, linear, jnp.sum(logdet), quadratic, precision, target,
                  -matmul(inner, loading))


def _subtracted(block: GaussianBlock, values: Values, omega: Any, t: Any, m: Any) -> _Stage:
    """The general case: the share of a component is a Schur complement."""
    parts = block.assembly.evaluate(values, omega)
    d, g, h = parts.inner, parts.cross, parts.inner_linear
    precision = _eye(block, values) + matmul(matmul(transposed(t), d), t)
    if len(block.structure.components):
        inverse, logdet = inverse_logdet(precision)
    else:
        inverse, logdet = precision, jnp.zeros(0, values.dtype)
    covariance = matmul(matmul(t, inverse), transposed(t))
    free = h - jnp.sum(d * m[..., None, :], -1)
    covariance_g = matmul(covariance, g)
    rest = parts.rest - product("cir,cis->rs", g, covariance_g)
    linear = (parts.rest_linear - product("cir,ci->r", g, m)
              - product("cir,ci->r", covariance_g, free))

    def target(e: Any) -> Any:
        gap = free - product("cir,r->ci", g, e)
        return jnp.sum(transposed(t) * gap[..., None, :], -1)

    def quadratic(e: Any) -> Any:
        u = jnp.sum(inverse * target(e)[..., None, :], -1)
        x = m + jnp.sum(t * u[..., None, :], -1)
        pull = jnp.sum(d * x[..., None, :], -1) + 2 * product("cir,r->ci", g, e) - 2 * h
        left = jnp.dot(e, product("rs,s->r", parts.rest, e) - 2 * parts.rest_linear,
                       precision="highest")
        return jnp.sum(u**2) + jnp.sum(x * pull) + left

    return _Stage(rest, linear, jnp.sum(logdet), quadratic, precision, target,
                  -matmul(transposed(t), g))


def log_integral(block: GaussianBlock, solution: Solution) -> Any:
    """log of the integral over the block of exp(-1/2 e'He + h'e) times its priors."""
    flats = int(block.flat.sum())
    volume = 0.5 * math.log(2 * math.pi) * flats + float(np.sum(np.log(
        block.flat_scale[block.flat]))) if flats else 0.0
    out = -0.5 * (solution.quadratic + solution.logdet) + volume
    return jnp.where(jnp.isnan(out), -jnp.inf, out)


def draw(block: GaussianBlock, solution: Solution, key: Any) -> Any:
    """One exact draw of T u, the deviations from the prior means, over all elements."""
    dtype = solution.mean.dtype
    key_rest, key_inner = jax.random.split(key)
    u = solution.mean
    if u.size:
        noise = jax.random.normal(key_rest, u.shape, dtype)
        u = u + solve_lower(lower_factor(solution.precision), noise, transpose=True)
    rest = solution.rest_scale.apply(u)
    inner = solution.inner_mean
    if inner.size:
        target = solution.component_target(solution.rest_mean + rest)
        low = lower_factor(solution.component_precision)
        noise = jax.random.normal(key_inner, target.shape, dtype)
        v = solve_lower(low, solve_lower(low, target) + noise, transpose=True)
        inner = product("cij,cj->ci", solution.inner_scale, v)
    return block.join(inner, rest)


def log_prob(block: GaussianBlock, solution: Solution, deviations: Any) -> Any:
    """Log density of the block at deviations T u from the prior means, over all elements."""
    inner, rest = block.split(deviations)
    total: Any = jnp.zeros((), solution.mean.dtype)
    if rest.size:
        scale = solution.rest_scale.matrix()
        u = solve_lower(scale, rest)
        gap = u - solution.mean
        low = lower_factor(solution.precision)
        total += (-0.5 * product("i,ij,j->", gap, solution.precision, gap)
                  + jnp.sum(jnp.log(jnp.diagonal(low)))
                  - jnp.sum(jnp.log(jnp.diagonal(scale)))
                  - 0.5 * rest.size * math.log(2 * math.pi))
    if inner.size:
        real = block.structure.components < block.size
        t = solution.inner_scale + jnp.where(real, 0.0, 1.0)[:, :, None] * jnp.eye(
            block.structure.width, dtype=inner.dtype)
        u = solve_lower(t, inner)
        low = lower_factor(solution.component_precision)
        target = solution.component_target(solution.rest_mean + rest)
        mean = solve_lower(low, solve_lower(low, target), transpose=True)
        gap = u - mean
        total += (-0.5 * product("ci,cij,cj->", gap, solution.component_precision, gap)
                  + jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)))
                  - jnp.sum(jnp.log(jnp.diagonal(t, axis1=-2, axis2=-1)))
                  - 0.5 * int(real.sum()) * math.log(2 * math.pi))
    return total


def moments(block: GaussianBlock, solution: Solution) -> tuple[Any, Any, Any, Any, Any]:
    """The joint posterior of deviations T u: mean over all elements, and its covariance as
    (component covariance given the rest, loading on the rest, rest covariance)."""
    rest_mean = solution.rest_scale.apply(solution.mean)
    scale = solution.rest_scale.matrix()
    rest_cov = product("ik,kl,jl->ij", scale, solution.inverse, scale)
    if not solution.inner_mean.size:
        empty = jnp.zeros(solution.inner_scale.shape, rest_cov.dtype)
        loading = jnp.zeros((*solution.inner_mean.shape, rest_cov.shape[0]), rest_cov.dtype)
        return block.join(solution.inner_mean, rest_mean), empty, loading, rest_cov, rest_mean
    inverse, _ = inverse_logdet(solution.component_precision)
    target = solution.component_target(solution.rest_mean + rest_mean)
    gain = product("cik,ckl->cil", solution.inner_scale, inverse)
    inner_mean = product("cij,cj->ci", gain, target)
    inner_cov = product("cik,cjk->cij", gain, solution.inner_scale)
    loading = product("cij,cjr->cir", gain, solution.component_slope)
    return block.join(inner_mean, rest_mean), inner_cov, loading, rest_cov, rest_mean
