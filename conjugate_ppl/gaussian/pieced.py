"""Eliminating components by their pieces (`pieces`): sums of squares at the components' posterior mean."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values, look_up, segment_sums
from conjugate_ppl.gaussian.arrow import Arrow, Tied, arrow, numbers, products, vector, with_numbers
from conjugate_ppl.gaussian.batches import read, small
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.entries import Entries
from conjugate_ppl.gaussian.narrow import known_numbers
from conjugate_ppl.gaussian.pieces import Pieced, Pieces
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.schur import Rows, by_place, components_of, law_of, schur_shares
from conjugate_ppl.gaussian.shares import Coupling, Shares, newton
from conjugate_ppl.gaussian.stationary import at_stationary

__all__ = ["by_pieces", "general_shares"]


def general_shares(block: GaussianBlock, parts: Any, values: Values, omega: Any, t: Any, moving: Any) -> Shares:
    """The shares of components with several weights each: by pieces, or where these have none by subtraction."""
    if not isinstance(parts, Pieced):
        return schur_shares(block, parts, values, omega, t, moving)
    rows, precision, logdet = components_of(block, parts.whole.evaluate(values, omega), values, t, moving)
    rest, linear, quadratic = by_pieces(block, rows, parts.pieces, values, omega)
    return Shares(rest, linear, jnp.sum(logdet), quadratic, lambda: law_of(block, rows, precision))


def by_pieces(block: GaussianBlock, rows: Rows, parts: Pieces, values: Values, omega: Any
              ) -> tuple[Any, Any, Callable[[Any], Any]]:
    """H and h of the rest, and the quadratic as a function of it, from components or rows that stand for them."""
    width = block.structure.width
    root = small(width, lambda i, j: known_numbers(values, parts.root[:, i, j]), lambda: values.number(parts.root)).T
    weight = jnp.sqrt(read(omega, parts.weight))
    estimate = [values.number(x) for x in parts.estimate.T]
    rest, linear = _within(block, parts, values, omega)
    h, pulled = rest, linear
    adjustment = jnp.dot(values.number(parts.adjustment), look_up(omega, parts.adjustment_weight), precision="highest")

    factor = [1 if not f.any() else omega[f] for f in parts.factor.T]
    columns = [[values.number(k[:, i, :].T) if k.any() else 0 for i in range(width)] for k in parts.loading[1:]]
    loading = _pieces(rows.cross, [values.number(parts.loading[0, :, i, :].T) + f * k for i, (f, k) in enumerate(
        zip(factor, columns[0], strict=True))], parts.component)
    held, product = _held(rows, _leading(parts, weight, factor, len(rows.cross.owner)))
    there = np.atleast_1d(parts.root.any((0, 1)))
    about = None
    if parts.about is not None and parts.cross is not None:
        about = dataclasses.replace(rows.cross, rows=by_place(values.number(parts.about)))
        rows = dataclasses.replace(rows, cross=dataclasses.replace(rows.cross, rows=by_place(parts.cross.evaluate(values, omega))))

    def of_pieces(vector: Sequence[Any]) -> list[Any]:
        """Vectors over components, along the last axis, as each of their pieces sees them."""
        return [f * _read(x, parts.component) for f, x in zip(factor, vector, strict=True)]

    def rooted(gap: list[Any]) -> list[Any]:
        # of pieces of lower rank (a row of a regression) some columns of R are 0
        return [weight * x for x, some in zip(root.times(gap), there, strict=True) if some]

    def found(e: Any = None) -> tuple[list[Any], list[Any], list[Any]]:
        """Prior means, x and u at the mean, given the rest; at 0 if that is not said."""
        mean = rows.mean if e is None or about is None else [a + b for a, b in zip(rows.mean, about.apply(e), strict=True)]
        x, u = newton(mean, rows.scale, rows.inverse.times, lambda x: rows.pull(x, e))
        return mean, list(jnp.moveaxis(x, -1, 0)), list(jnp.moveaxis(u, -1, 0))

    if rows.cross.rows[0].size:
        whites, moves = _refined(rows, about)
        pushed = rows.scale.times(whites)

        def seen(pushed: list[Any]) -> Any:
            moved = [_moved(a, -b) for a, b in zip(moves, pushed, strict=True)]
            return loading.after(lambda k: rooted([a + b for a, b in zip(k, of_pieces(moved), strict=True)]))

        def left(pushed: list[Any], white: list[Any]) -> Any:
            pushed, white = held(pushed, white)
            own, prior = seen(pushed), dataclasses.replace(rows.cross, rows=white)
            return numbers(rest + products(own, own) + products(prior, prior))

        _, x, u = found()
        gap = rooted([a - b for a, b in zip(estimate, of_pieces(x), strict=True)])
        # each number of it is stationary in U, whose derivative is all rounding where a weight is large
        h = with_numbers(rest, at_stationary(left, product(whites), whites))
        pulled = linear + seen(pushed).back(gap) + dataclasses.replace(rows.cross, rows=whites).back(u)

    def quadratic(e: Any) -> Any:
        across = loading.apply(e)
        mean, centre, u = found(e)

        def squares(pushed: list[Any], u: list[Any]) -> Any:
            pushed, u = held(pushed, u)
            x = of_pieces([_moved(a, b + c) for a, b, c in zip(centre, mean, pushed, strict=True)])
            gap = rooted([a - b - c for a, b, c in zip(estimate, x, across, strict=True)])
            return sum(jnp.sum(v**2) for v in (*gap, *u))

        total = at_stationary(squares, product(u), u) - adjustment
        if parts.squares is not None:
            return total + parts.squares.evaluate(values, omega, e)
        if isinstance(rest, Arrow):
            return total + (e * (rest.times(e) - linear - linear)).sum()
        return total + jnp.sum(e * (times(rest, e) - 2 * linear))

    return h, pulled, quadratic


def _held(rows: Rows, factor: list[Any]
          ) -> tuple[Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]], Callable[[list[Any]], list[Any]]]:
    """T u and u from what is held of both, and the first of that from u: T u, times what all pieces multiply it by, of components that data
    determine, for which u has the derivative, else u, which a scale of 0 does not harm. Held u would leave to a large weight what
    rounding leaves of a residual.
    """
    if not isinstance(rows.scale, Entries):
        return lambda pushed, u: (rows.scale.times(u), u), rows.scale.times
    seen = rows.scale.T.around(rows.d).rows
    determined = functools.reduce(operator.and_, (jnp.asarray(seen[i][i]) > 1 for i in range(len(seen))))
    scale = Entries(tuple(tuple(x if isinstance(x, int) and i != j else jnp.where(determined, x, float(i == j))
                                for j, x in enumerate(r)) for i, r in enumerate(rows.scale.rows)))

    own = [jnp.where(determined, f, 1.0) for f in factor]

    def held(pushed: list[Any], u: list[Any]) -> tuple[list[Any], list[Any]]:
        pushed = [x / f for f, x in zip(own, pushed, strict=True)]
        solved, moved = scale.solve_lower(pushed), rows.scale.times(u)
        return ([jnp.where(determined, a, b) for a, b in zip(pushed, moved, strict=True)],
                [jnp.where(determined, a, b) for a, b in zip(solved, u, strict=True)])

    return held, lambda u: [f * x for f, x in zip(own, rows.scale.times(u), strict=True)]


def _leading(parts: Pieces, weight: Any, factor: list[Any], count: int) -> list[Any]:
    """What the pieces that say most of a component multiply its elements by, for each place; 1 where that differs in sign."""
    out: list[Any] = []
    for k, f in enumerate(factor):
        if not parts.factor[:, k].any():
            out.append(1.0)
            continue
        said = (weight * f)**2 * np.square(parts.root[:, k]).sum(-1).astype(weight.dtype)
        total = jax.lax.stop_gradient(segment_sums(said, parts.component, count))
        share = jax.lax.stop_gradient(said) / jnp.where(total > 0, total, 1.0)[parts.component]
        mean = segment_sums(share * f, parts.component, count)
        size = jax.lax.stop_gradient(segment_sums(share * f**2, parts.component, count))
        out.append(jnp.where(mean**2 > 0.5 * size, mean, 1.0))
    return out


def _refined(rows: Rows, about: Coupling | Tied | None) -> tuple[list[Any], list[Any]]:
    """U = (I + T'DT)^-1 T' (D B + C), and B - T U, columns, by two Newton steps."""
    back, push = rows.scale.T.times, rows.scale.times
    cross = rows.cross.rows

    def pull(x: list[Any]) -> list[Any]:
        return back([a + b for a, b in zip(cross, rows.d.times(x), strict=True)])

    if about is None:
        u = rows.inverse.times(back(cross))
        x = [-a for a in push(u)]
    else:
        u = rows.inverse.times(pull(about.rows))
        x = [a - b for a, b in zip(about.rows, push(u), strict=True)]
    step = rows.inverse.times([a - b for a, b in zip(pull(x), u, strict=True)])
    return [a + b for a, b in zip(u, step, strict=True)], [a - b for a, b in zip(x, push(step), strict=True)]


def _moved(x: Any, change: Any) -> Any:
    """x, which is as precise as it can be, with the derivatives of the change."""
    return jax.lax.stop_gradient(x) + (change - jax.lax.stop_gradient(change))


def _read(x: Any, component: np.ndarray) -> Any:
    return look_up(x, component) if x.ndim == 1 else jax.vmap(lambda row: look_up(row, component))(x)


def _pieces(cross: Coupling | Tied, rows: list[Any], component: np.ndarray) -> Any:
    """A map to the pieces, which meet what their components meet."""
    if isinstance(cross, Coupling):
        return Coupling(rows, cross.owner[component], cross.blocks)
    return Tied(rows, cross.above, tuple(h[component] for h in cross.homes), cross.owner[component])


def _within(block: GaussianBlock, parts: Pieces, values: Values, omega: Any) -> tuple[Any, Any]:
    if isinstance(parts.within, tuple):
        rest, linear = parts.within
        return rest.evaluate(values, omega), linear.evaluate(values, omega)
    above, found = block.structure.tiers[1], parts.within.evaluate(values, omega)
    return arrow(found, above), vector(found, above)
