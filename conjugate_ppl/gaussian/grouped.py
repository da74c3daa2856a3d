"""Eliminating components that are group estimates, one pattern at a time (`between`).

With D = R R' the share of a pattern for the rest is, without subtraction,

    K' V K,    V = w R M^-1 R',    M = I + w R' S R,    S = T T',

and the derivatives of V and of log det M need V itself and N = R M^-1 alone:

    dV = N N' dw - V dS V,    d log det M = tr(M^-1 R' S R) dw + tr(V dS).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.between import Between
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.products import matmul, times
from conjugate_ppl.gaussian.shares import Components, Shares, newton
from conjugate_ppl.gaussian.small import Small, read, small

__all__ = ["grouped_shares"]


def grouped_shares(block: GaussianBlock, parts: Between, values: Values, omega: Any, t: Any,
                   moving: Any) -> Shares:
    """The shares of components with one weight each."""
    s, width = block.structure, block.structure.width
    many = values.number(parts.many.astype(float))
    weight = read(omega, parts.weight)
    root = small(width, lambda i, j: _known(values, parts.root[:, i, j]),
                 lambda: values.number(parts.root))
    scale = block.inner_scale(t, parts.scale)
    precision, logdet = _pattern_precision(root, weight, scale, many.shape)
    v = precision.entries().rows
    loading = [values.number(parts.loading[:, i, :].T) for i in range(width)]  # K, (rest, patterns)
    shift = [values.number(x) for x in parts.shift.T]
    if moving is not None:
        shift = [a - read(moving, e) for a, e in zip(shift, parts.element.T, strict=True)]
    within = parts.within.evaluate(values, omega)
    within_linear = parts.within_linear.evaluate(values, omega)
    rest, linear = within, within_linear
    if s.blocks.shape[1]:
        pulled = [sum(many * v[i][j] * loading[j] for j in range(width)) for i in range(width)]
        rest = rest + _owned_products(parts.owner, len(s.blocks), loading, pulled)
        linear = linear + _owned_vectors(parts.owner, len(s.blocks), pulled, shift)
    adjustment = jnp.dot(values.number(parts.adjustment), omega[parts.adjustment_weight],
                         precision="highest")

    def quadratic(e: Any) -> Any:
        gap = [a - b for a, b in zip(shift, _through(loading, e, parts.owner), strict=True)]
        squares = sum(v[i][j] * (gap[i] * gap[j] + values.number(parts.scatter[:, i, j]))
                      for i in range(width) for j in range(width))
        left = jnp.sum(e * (times(within, e) - 2 * within_linear))
        return jnp.dot(many, squares, precision="highest") + left - adjustment

    def components() -> Components:
        return _components(block, parts, values, root.scaled(jnp.sqrt(weight)), scale, moving)

    total = jnp.dot(many, logdet, precision="highest")
    return Shares(rest, linear, total, quadratic, components)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _pattern_precision(root: Small, weight: Any, scale: Small, shape: tuple[int, ...]
                       ) -> tuple[Small, Any]:
    """(V, log det M) of every pattern; R is known, and has no derivative."""
    _, low, half = _factors(root, weight, scale)
    return _filled(half.gram().scaled(weight), 2 * low.log_diagonal(), shape)


@_pattern_precision.defjvp
def _(shape: tuple[int, ...], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    (root, weight, scale), (_, d_weight, d_scale) = primals, tangents
    v, logdet = _pattern_precision(root, weight, scale, shape)
    white, low, half = _factors(root, weight, scale)
    inverse_low = low.inverse_lower()
    n, whitened = half @ inverse_low, inverse_low @ white
    d_s = (d_scale @ scale.T).plus_transposed()
    d_v = n.gram().scaled(d_weight) + (v @ d_s @ v).scaled(-1)
    d_logdet = d_weight * whitened.inner(whitened) + v.inner(d_s)
    return (v, logdet), _filled(d_v, d_logdet, shape)


def _factors(root: Small, weight: Any, scale: Small) -> tuple[Small, Small, Small]:
    """R'T, the Cholesky factor L of M, and R L'^-1."""
    white = root.T @ scale
    low = white.scaled(jnp.sqrt(weight)).gram().plus_one().lower()
    return white, low, root @ low.inverse_lower().T


def _filled(v: Small, logdet: Any, shape: tuple[int, ...]) -> tuple[Small, Any]:
    """Both with one number for every pattern."""
    return v.filled(shape, logdet.dtype), jnp.broadcast_to(logdet, shape)


def _components(block: GaussianBlock, parts: Between, values: Values, root: Small, scale: Small,
                moving: Any) -> Components:
    """The components given the rest; `root` has the weights' square roots."""
    s = block.structure
    white = root.T @ scale
    patterns = [white.T @ root.T, white.T.gram().plus_one().lower(), scale]  # T'D, L, T
    row = None if np.array_equal(parts.pattern, np.arange(len(parts.many))) else parts.pattern
    own = patterns if row is None else [m.take(row) for m in patterns]
    mean = [block.mean_at(values, moving, x) for x in s.components.T]
    estimate = [values.number(x) for x in parts.estimate.T]
    loading = [values.number(parts.loading[:, i, :].T) for i in range(s.width)]

    def given(matrices: list[Small], mean: list[Any], estimate: list[Any]) -> list[Any]:
        inner, low, scale = matrices

        def solve(x: list[Any]) -> list[Any]:
            return low.solve_lower(low.solve_lower(x), True)

        def pull(x: list[Any]) -> list[Any]:
            return inner.times([a - b for a, b in zip(estimate, x, strict=True)])

        return newton(mean, scale, solve, pull)

    def centre(e: Any) -> list[Any]:
        through = [x if row is None else x[row] for x in _through(loading, e, parts.owner)]
        return given(own, mean, [a - b for a, b in zip(estimate, through, strict=True)])

    def slope() -> Any:
        """The same map without its constants, applied to each column of -K."""
        columns = jnp.moveaxis(values.number(-parts.loading), -1, 0)  # (rest, patterns, width)
        zero = [jnp.zeros(columns.shape[1], values.dtype)] * s.width
        found = jax.vmap(lambda k: jnp.stack(given(patterns, zero, list(k.T)), -1))(columns)
        found = jnp.moveaxis(found, 0, -1)
        return found if row is None else found[row]

    return Components(centre, slope, own[2], own[1])


def _known(values: Values, numbers: np.ndarray) -> Any:
    """Known numbers of all patterns; a scalar where they are equal, and 0 where they are zero."""
    if not numbers.any():
        return 0
    return values.number(numbers[0] if (numbers == numbers[0]).all() else numbers)


def _through(loading: list[Any], e: Any, owner: np.ndarray) -> list[Any]:
    """K e of each pattern, e the elements of its block."""
    if len(e) == 1:
        return [matmul(e, k)[0] for k in loading]
    own = e[owner].T
    return [jnp.sum(k * own, 0) for k in loading]


def _owned_products(owner: np.ndarray, blocks: int, loading: list[Any], pulled: list[Any]) -> Any:
    """Sums of K'(V K), each pattern's in its block."""
    if blocks == 1:
        return sum(matmul(k, p.T) for k, p in zip(loading, pulled, strict=True))[None]
    each = sum(k[:, None] * p[None] for k, p in zip(loading, pulled, strict=True))
    return _in_blocks(owner, blocks, each)


def _owned_vectors(owner: np.ndarray, blocks: int, pulled: list[Any], shift: list[Any]) -> Any:
    """Sums of (V K)' shift, each pattern's in its block."""
    if blocks == 1:
        return sum(matmul(p, x[:, None])[:, 0] for p, x in zip(pulled, shift, strict=True))[None]
    return _in_blocks(owner, blocks, sum(p * x for p, x in zip(pulled, shift, strict=True)))


def _in_blocks(owner: np.ndarray, blocks: int, each: Any) -> Any:
    """Arrays of all patterns (last axis) added up in the blocks they belong to (first axis)."""
    return jnp.zeros((blocks, *each.shape[:-1]), each.dtype).at[owner].add(jnp.moveaxis(each, -1, 0))
