"""The matrices of a block by structure, where its parts cannot be put together on the host."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import is_known
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Assembly", "Parts", "rest_of", "within"]


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """H and h by structure, as run-time arrays: components, their coupling to the rest, the rest.

    Of a rest that is split itself `rest` has its parts, and `rest_linear` nothing.
    """

    inner: Any  # (count, width, width)
    cross: Any  # (count, width, reach)
    rest: Any  # (blocks, rest, rest)
    inner_linear: Any  # (count, width)
    rest_linear: Any  # (blocks, rest)


class Assembly:
    """Adds up the structured parts of H and h."""

    def __init__(self, q: Quadratic, s: Structure) -> None:
        self._q, self._s = q, s
        (count, width), rest = s.components.shape, s.reach
        ci, cj = s.component[q.rows], s.component[q.columns]
        pi, pj = s.place[q.rows], s.place[q.columns]

        c, p = s.component[q.places], s.place[q.places]
        # of a component all in a row, for which a weight is read once: matrix, cross terms, vector
        first, linear = ci >= 0, c >= 0
        self._split = width * width, width * (width + rest)
        column = np.where(cj >= 0, pi * width + pj, width * width + pi * rest + s.column(q.columns))
        self.components = WeightedArray(
            (count, width * (width + rest + 1)),
            (np.concatenate([ci[first], c[linear]]), np.concatenate([column[first], self._split[1] + p[linear]])),
            np.concatenate([q.weights[first], q.linear_weights[linear]]),
            np.concatenate([q.numbers[first], q.linear[linear]]), along=not count)
        # what components take away from the rest may be all that is there: to the last digit, if both are added up alike
        along = not (count and self.components.held)
        self.above = None if s.upper is None else Assembly(within(q, s), s.upper.structure)
        if self.above is None:
            self.rest, self.rest_linear = rest_of(q, s, along)

    def evaluate(self, values: Values, omega: Any) -> Parts:
        """All parts at run time, late sums included."""
        s = self._s
        count, width = s.components.shape
        inner, cross, inner_linear = jnp.split(self.components.evaluate(values, omega), self._split, 1)
        inner, cross = inner.reshape(count, width, width), cross.reshape(count, width, s.reach)
        if self.above is not None:
            return Parts(inner, cross, self.above.evaluate(values, omega), inner_linear, None)
        rest, rest_linear = (a.evaluate(values, omega) for a in (self.rest, self.rest_linear))
        all_rest = s.blocks.shape == (1, s.size)
        for late in self._q.reduced.late.get(2, ()):
            (i, j), c = late.evaluate(values)
            if all_rest:  # the positions may be traced
                found = _table(i, j, c, s.size)
                rest = rest.at[0, i, j].add(-c).at[0, j, i].add(-c) if found is None else rest - found - found.T
                continue
            i, j = np.asarray(i), np.asarray(j)
            for a, b in ((i, j), (j, i)):
                ca, cb, pa, pb = s.component[a], s.component[b], s.place[a], s.place[b]
                k = np.flatnonzero((ca >= 0) & (cb >= 0))
                inner = inner.at[ca[k], pa[k], pb[k]].add(-c[k])
                k = np.flatnonzero((ca >= 0) & (cb < 0))
                cross = cross.at[ca[k], pa[k], pb[k]].add(-c[k])
                k = np.flatnonzero((ca < 0) & (cb < 0))
                rest = rest.at[s.block[a[k]], pa[k], pb[k]].add(-c[k])
        for late in self._q.reduced.late.get(1, ()):
            (i,), c = late.evaluate(values)
            if all_rest:
                found = _table(i[:1] * 0, i, c, s.size, 1)
                rest_linear = rest_linear.at[0, i].add(c) if found is None else rest_linear + found
                continue
            i = np.asarray(i)
            k = np.flatnonzero(s.component[i] >= 0)
            inner_linear = inner_linear.at[s.component[i[k]], s.place[i[k]]].add(c[k])
            k = np.flatnonzero(s.component[i] < 0)
            rest_linear = rest_linear.at[s.block[i[k]], s.place[i[k]]].add(c[k])
        return Parts(inner, cross, rest, inner_linear, rest_linear)


def within(q: Quadratic, s: Structure) -> Quadratic:
    """What is said of the rest alone."""
    own, linear = (s.component[q.rows] < 0) & (s.component[q.columns] < 0), s.component[q.places] < 0
    return dataclasses.replace(
        q, rows=q.rows[own], columns=q.columns[own], weights=q.weights[own], numbers=q.numbers[own],
        places=q.places[linear], linear_weights=q.linear_weights[linear], linear=q.linear[linear])


def rest_of(q: Quadratic, s: Structure, along: bool) -> tuple[WeightedArray, WeightedArray]:
    """H and h of the rest, its sums of many weights `along` these."""
    number, rest = s.blocks.shape
    q = within(q, s)
    return (WeightedArray((number, rest, rest), (s.block[q.rows], s.place[q.rows], s.place[q.columns]), q.weights, q.numbers, along),
            WeightedArray((number, rest), (s.block[q.places], s.place[q.places]), q.linear_weights, q.linear, along))


def _table(rows: Any, columns: Any, numbers: Any, size: int, height: int | None = None) -> Any:
    """A matrix with numbers at known places that are all those of some rows and columns that follow each other, in order,
    and 0 elsewhere; None if they are not. To add that is no scattered sum."""
    if not (is_known(rows) and is_known(columns) and len(columns)):
        return None
    (top, bottom), (left, right) = ((x.min(), x.max() + 1) for x in (rows, columns))
    shape = int(bottom - top), int(right - left)
    grid = np.indices(shape).reshape(2, -1)
    if grid.shape[1] != len(columns) or (rows != top + grid[0]).any() or (columns != left + grid[1]).any():
        return None
    return jnp.pad(numbers.reshape(shape), ((top, (height or size) - bottom), (left, size - right)))
