"""Eliminating components that are group estimates, one pattern at a time (`between`).

With D = R R' the share of a pattern for the rest is, without subtraction,

    K' V K,    V = w R M^-1 R',    M = I + w R' S R,    S = T T',

and the derivatives of V and of log det M need V itself and N = R M^-1 alone:

    dV = N N' dw - V dS V,    d log det M = tr(M^-1 R' S R) dw + tr(V dS).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values, look_up
from conjugate_ppl.gaussian.batches import read, small, take
from conjugate_ppl.gaussian.between import Between
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.crossed import Crossed
from conjugate_ppl.gaussian.entries import Entries, dot
from conjugate_ppl.gaussian.law import Pieces
from conjugate_ppl.gaussian.narrow import (
    NarrowCoupling,
    known_entries,
    known_numbers,
    weighted_entries,
    weighted_numbers,
)
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Components, Coupling, Shares, newton
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.gaussian.tiers import Tiers

__all__ = ["added", "estimated", "grouped_shares", "of_patterns"]


def grouped_shares(block: GaussianBlock, parts: Between, values: Values, omega: Any, t: Any,
                   moving: Any) -> Shares:
    """The shares of components with one weight each."""
    s, width = block.structure, block.structure.width
    many, weight, root, scale, precision, logdet = of_patterns(block, parts, values, omega, t)
    v = precision.entries()
    loading: Coupling | NarrowCoupling
    if block.narrow:
        loading = NarrowCoupling(known_entries(values, parts.loading), parts.owner, len(s.blocks))
    else:
        loading = Coupling([values.number(parts.loading[:, i, :].T) for i in range(width)], parts.owner,
                           len(s.blocks))  # K, of each pattern
    shift = [values.number(x) for x in parts.shift.T]
    if moving is not None:
        shift = [a - read(moving, e) for a, e in zip(shift, parts.element.T, strict=True)]
    inside: tuple[Any, Any]
    if block.narrow:
        inside = weighted_entries(parts.within, values, omega), weighted_numbers(parts.within_linear, values, omega)
    else:
        inside = parts.within.evaluate(values, omega), parts.within_linear.evaluate(values, omega)
    rest, linear = inside
    if s.blocks.shape[1]:
        more = loading.shares(v.scaled(many), shift)
        rest, linear = rest + more[0], jax.tree.map(operator.add, linear, more[1])
    adjustment = jnp.dot(values.number(parts.adjustment), look_up(omega, parts.adjustment_weight),
                         precision="highest")

    def quadratic(e: Any) -> Any:
        gap = [a - b for a, b in zip(shift, loading.apply(e), strict=True)]
        pairs = [(i, j) for i in range(width) for j in range(i + 1)]
        squares = [gap[i] * gap[j] + known_numbers(values, parts.scatter[:, i, j]) for i, j in pairs]
        total = added(many, dot([v.rows[i][j] for i, j in pairs],
                                 [x if i == j else 2 * x for x, (i, j) in zip(squares, pairs, strict=True)]))
        if isinstance(inside[0], Entries):
            left = dot(e, [a - 2 * b for a, b in zip(inside[0].times(e), inside[1], strict=True)])
        else:
            left = e * (times(inside[0], e) - 2 * inside[1])
        return total + jnp.sum(left) - adjustment

    own_pattern = np.array_equal(parts.pattern, np.arange(len(parts.pattern)))

    def moved(e: Any) -> list[Any]:
        found = loading.apply(e)
        return found if own_pattern else take(found, parts.pattern)

    def components() -> Components:
        return estimated(
            block, values, root.scaled(jnp.sqrt(weight)), scale, parts.pattern, parts.estimate, moving,
            moved, lambda: (jnp.moveaxis(values.number(parts.loading), -1, 0), parts.pattern))

    return Shares(rest, linear, added(many, logdet), quadratic, components)


def of_patterns(block: GaussianBlock, parts: Between | Crossed | Tiers, values: Values, omega: Any, t: Any
                ) -> tuple[Any, Any, Small, Small, Small, Any]:
    """How many components each pattern has, its weight, R, T, V and log det M."""
    many = known_numbers(values, parts.many.astype(float))
    weight = read(omega, parts.weight)
    root = small(block.structure.width, lambda i, j: known_numbers(values, parts.root[:, i, j]),
                 lambda: values.number(parts.root))
    scale = block.inner_scale(t, parts.scale)
    # One number for every pattern: what derivatives say of a common one is then added up once, at the end.
    shape = parts.many.shape
    each = jnp.broadcast_to(weight, shape), scale.spread(shape)
    return many, weight, root, scale, *_pattern_precision(root, *each, shape)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _pattern_precision(root: Small, weight: Any, scale: Small, shape: tuple[int, ...]
                       ) -> tuple[Small, Any]:
    """(V, log det M) of every pattern; R is known, and has no derivative."""
    half, _, d, logdet, _ = _factors(root, weight, scale)
    return _filled(half.gram(d).scaled(weight), logdet, shape)


@_pattern_precision.defjvp
def _(shape: tuple[int, ...], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    (root, weight, scale), (_, d_weight, d_scale) = primals, tangents
    half, h, d, logdet, white = _factors(root, weight, scale)
    v = half.gram(d).scaled(weight)
    n, whitened = half.columns_scaled(d) @ h, (h @ white).T
    d_s = (d_scale @ scale.T).plus_transposed()
    d_v = n.gram().scaled(d_weight) + (v @ d_s @ v).scaled(-1)
    d_logdet = d_weight * whitened.inner(whitened.columns_scaled(d)) + v.inner(d_s)
    return _filled(v, logdet, shape), _filled(d_v, d_logdet, shape)


def _factors(root: Small, weight: Any, scale: Small) -> tuple[Small, Small, list[Any] | None, Any, Small]:
    """R H', H, d, log det M and R'T, where the inverse of M is H' diag(d) H."""
    white = root.T @ scale
    h, d, logdet = white.scaled(jnp.sqrt(weight)).gram().plus_one().inverse_factor()
    return root @ h.T, h, d, logdet, white


def _filled(v: Small, logdet: Any, shape: tuple[int, ...]) -> tuple[Small, Any]:
    """Both with one number for every pattern."""
    return v.filled(shape, logdet.dtype), jnp.broadcast_to(logdet, shape)


def estimated(block: GaussianBlock, values: Values, root: Small, scale: Small, pattern: np.ndarray,
              estimate: np.ndarray, moving: Any, moved: Callable[[Any], list[Any]],
              columns: Callable[[], tuple[Any, np.ndarray | None]]) -> Components:
    """The components given the rest.

    Args:
        block: the block.
        values: the values of the kept sites.
        root: R of each pattern, with the weights' square roots; `scale` T.
        pattern: for each component its pattern; `estimate` what the data say of it.
        moving: the part of prior means that depends on kept sites.
        moved: K e of each component.
        columns: the columns of K, shape (rest, many, width), and which of the many is each
            component's (None: its own).

    Returns:
        Their posterior means as a function of the rest, and their law.
    """
    s = block.structure
    white = root.T @ scale
    patterns = [white.T, root.T, white.T.lower_of_gram(), scale]  # T'R, R', L, T
    own = patterns if np.array_equal(pattern, np.arange(len(pattern))) else take(patterns, pattern)
    mean = [block.mean_at(values, moving, x) for x in s.components.T]
    estimates = [values.number(x) for x in estimate.T]

    def given(matrices: list[Small], mean: list[Any], estimate: list[Any]) -> tuple[Any, Any]:
        back, seen, low, scale = matrices

        def solve(x: list[Any]) -> list[Any]:
            return low.solve_lower(low.solve_lower(x), True)

        def pull(x: list[Any]) -> list[Any]:
            return back.times(seen.times([a - b for a, b in zip(estimate, x, strict=True)]))

        return newton(mean, scale, solve, pull)

    def found(e: Any) -> tuple[Any, Any]:
        return given(own, mean, [a - b for a, b in zip(estimates, moved(e), strict=True)])

    def slope() -> Any:
        """The same map without its constants, applied to each column of -K."""
        k, row = columns()
        matrices = own if row is None else patterns
        zero = [jnp.zeros(k.shape[1], values.dtype)] * s.width
        columns_of = jnp.moveaxis(jax.vmap(lambda k: given(matrices, zero, list(-k.T))[0])(k), 0, -1)
        return columns_of if row is None else columns_of[row]

    return Components(lambda e: found(e)[0], slope, Pieces(own[3], own[2], len(s.components)), lambda e: found(e)[1])


def added(many: Any, numbers: Any) -> Any:
    """The sum over all components of numbers of the patterns."""
    if np.ndim(many) == 0:
        return jnp.sum(numbers) * many
    return jnp.dot(many, numbers, precision="highest")
