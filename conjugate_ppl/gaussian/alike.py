"""Components that share every matrix, as few: what is said of them, turned.

Where components have the same prior scale and the same precision (each person's factor scores below loadings that are sampled,
each true value below its measurements), only the vectors differ: cross terms, linear parts and prior means, each a sum of
known vectors times weights of run time. Everything that integrating them out leaves for others is a sum over components of
products of two of these vectors, with matrices that are the same for all. An orthogonal matrix from the left does not change
it: of the known vectors, a row a component, the triangular factor is left, which has no more rows than there are different
vectors. Nothing is squared or subtracted, and a gradient costs what so many components cost, however many there are. Only
the log determinant counts all of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy.linalg import qr

from conjugate_ppl.algebra.classes import distinct
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.weighted import DENSE, WeightedArray
from conjugate_ppl.gaussian.assemble import Assembly, rest_of, within
from conjugate_ppl.gaussian.estimates import Prior, patterns
from conjugate_ppl.gaussian.pieces import Pieces, pieces_of
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Alike", "alike_components"]

_PATTERNS = 64  # which are made one by one
_WEIGHTS = 1024  # of the matrices of all components: where rows have some of their own, nothing is shared
_WORK = 4e10  # multiplications of the factorisation, which is made once
_PART = 1 << 22  # numbers of a part of the known vectors
_ROUNDING = 2e-16  # for each of a pattern, of what is left of a vector that depends on others


@dataclasses.dataclass(frozen=True, eq=False)
class Alike:
    """The component part of a quadratic by patterns of components that share every matrix.

    Attributes:
        every: makes all components, which draws want.
        rest, rest_linear: H and h of the rest, before they are integrated out.
        pattern: of each row its pattern; `many` for each pattern how many components it has.
        scale, element: numbers of T and the elements of one component of each pattern.
        inner: matrices of the patterns, shape (patterns, width * width).
        vectors: cross terms and linear parts of the rows, shape (rows, width * rest + width).
        known, ones: of the rows the known part of prior means, shape (rows, width), and what their common part is times.
        owner: the block of each row.
        pieces: of the rows (`pieces`); None where these have none.
    """

    every: Callable[[], Assembly]
    rest: WeightedArray
    rest_linear: WeightedArray
    pattern: np.ndarray
    many: np.ndarray
    scale: np.ndarray
    element: np.ndarray
    inner: WeightedArray
    vectors: WeightedArray
    known: np.ndarray
    ones: np.ndarray
    owner: np.ndarray
    pieces: Pieces | None

    def evaluate(self, values: Values, omega: Any) -> tuple[Any, Any, Any]:
        """Matrices of the patterns, cross terms of the rows, shape (rows, width, rest), and linear parts, (rows, width)."""
        (count, width), rows = self.element.shape, len(self.pattern)
        vectors = self.vectors.evaluate(values, omega)
        cross, linear = vectors[:, :-width], vectors[:, -width:]
        return (self.inner.evaluate(values, omega).reshape(count, width, width),
                cross.reshape(rows, width, -1), linear)


def alike_components(q: Quadratic, s: Structure, prior: Prior) -> Alike | None:
    """The components as rows of patterns; None where that would not be half as many."""
    (count, width), rest = s.components.shape, s.blocks.shape[1]
    if not q.fixed or count < 2:
        return None
    ci, cj, cl = s.component[q.rows], s.component[q.columns], s.component[q.places]
    pi, pj, pl = s.place[q.rows], s.place[q.columns], s.place[q.places]
    same, own, linear = (ci >= 0) & (cj >= 0), (ci >= 0) & (cj < 0), cl >= 0
    weights, column = distinct(q.weights[same] * width**2 + pi[same] * width + pj[same])
    if len(weights) > _WEIGHTS or count * len(weights) > DENSE:
        return None
    inner = np.zeros((count, len(weights)))
    np.add.at(inner, (ci[same], column), q.numbers[same])
    pattern, first = patterns([s.owner, *prior.scale.reshape(count, -1).T, *prior.alike[s.components].T], inner, np.abs(inner))
    if len(first) > min(_PATTERNS, count // 2):
        return None

    # the known vectors: of each component numbers by weight and place, the known prior means and a one
    parts = [(ci[own], q.weights[own], pi[own] * rest + pj[own], q.numbers[own]),
             (cl[linear], q.linear_weights[linear], width * rest + pl[linear], q.linear[linear])]
    order = np.argsort(np.concatenate([p[0] for p in parts]), kind="stable")
    component, weight, place, numbers = (np.concatenate(x)[order] for x in zip(*parts, strict=True))
    known = prior.known[s.components]
    rows: list[np.ndarray] = []
    entries: list[tuple[np.ndarray, ...]] = []
    total, vectors = 0, width * rest + width
    for k in range(len(first)):
        members = np.flatnonzero(pattern == k)
        mine = np.flatnonzero(pattern[component] == k)  # component by component
        keys, which = distinct(weight[mine] * vectors + place[mine])
        row = np.searchsorted(members, component[mine])
        size = len(keys) + width + 1
        if len(members) * size**2 > _WORK:
            return None

        def rows_of(members: np.ndarray = members, at: Any = (row, which), numbers: np.ndarray = numbers[mine],
                  size: int = size) -> Iterator[np.ndarray]:
            step = max(size, _PART // size)
            for start in range(0, len(members), step):
                there = slice(*np.searchsorted(at[0], [start, start + step]))
                table = np.zeros((len(members[start:start + step]), size))
                np.add.at(table, (at[0][there] - start, at[1][there]), numbers[there])
                table[:, size - width - 1:-1], table[:, -1] = known[members[start:start + step]], 1.0
                yield table

        table = _triangular(rows_of(), len(members))
        at, of = np.nonzero(table[:, :len(keys)])
        entries.append((at + total, keys[of] % vectors, keys[of] // vectors, table[at, of]))
        rows.append(table[:, len(keys):])
        total += len(table)
        if 2 * total > count:
            return None
    means, own_pattern = np.concatenate(rows), np.repeat(np.arange(len(first)), [len(r) for r in rows])
    at, place, weight, numbers = (np.concatenate(x) for x in zip(*entries, strict=True))
    of, what = np.nonzero(inner[first])
    of_row, what_of_row = np.nonzero(inner[first][own_pattern])
    rows_alone = pieces_of(*_rows(q, s, s.owner[first][own_pattern], (
        of_row, weights[what_of_row] % width**2, weights[what_of_row] // width**2, inner[first][own_pattern][of_row, what_of_row]),
        (at, place, weight, numbers)))
    return Alike(
        functools.cache(functools.partial(Assembly, q, s)), *rest_of(q, s, True), own_pattern, np.bincount(pattern),
        prior.scale[first], s.components[first],
        WeightedArray((len(first), width * width), (of, weights[what] % width**2), weights[what] // width**2,
                      inner[first][of, what]),
        WeightedArray((total, vectors), (at, place), weight, numbers), means[:, :-1], means[:, -1], s.owner[first][own_pattern], rows_alone)


def _rows(q: Quadratic, s: Structure, owner: np.ndarray, inner: tuple[np.ndarray, ...], vectors: tuple[np.ndarray, ...]
          ) -> tuple[Quadratic, Structure]:
    """The rows as if they were components: what is said of them, and of the rest; their elements have numbers of their own.

    `inner` and `vectors` are (row, place, weight, number) of their matrices, and of cross terms and linear parts.
    """
    count, width, rest, size = len(owner), s.width, s.blocks.shape[1], s.size
    components = size + np.arange(count * width).reshape(count, width)
    total = size + count * width
    blocks = np.where(s.blocks == size, total, s.blocks)
    component, place, block = np.full(total + 1, -1), np.zeros(total + 1, np.int64), np.zeros(total + 1, np.int64)
    component[components], place[components], block[components] = np.arange(count)[:, None], np.arange(width), owner[:, None]
    there = np.flatnonzero(s.component[:-1] < 0)
    place[there], block[there] = s.place[there], s.block[there]
    left = within(q, s)
    row, at, weight, number = vectors
    across = at < width * rest
    rows, columns = components[row[across], at[across] // rest] if rest else row[:0], blocks[owner[row[across]], at[across] % max(rest, 1)]
    own = components[inner[0], inner[1] // width], components[inner[0], inner[1] % width]
    said = dataclasses.replace(
        left, rows=np.concatenate([left.rows, own[0], rows]), columns=np.concatenate([left.columns, own[1], columns]),
        weights=np.concatenate([left.weights, inner[2], weight[across]]),
        numbers=np.concatenate([left.numbers, inner[3], number[across]]),
        places=np.concatenate([left.places, components[row[~across], at[~across] - width * rest]]),
        linear_weights=np.concatenate([left.linear_weights, weight[~across]]),
        linear=np.concatenate([left.linear, number[~across]]))
    return said, Structure(total, components, blocks, component, block, place, owner)


def _triangular(parts: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """Of a matrix of so many rows, by parts, one with the same products of columns and as few rows as its rank."""
    table = functools.reduce(lambda above, part: np.asarray(np.linalg.qr(np.concatenate([above, part]), mode="r")), parts)
    size = np.sqrt((table**2).sum(0))
    root, order = qr(table / np.where(size > 0, size, 1.0), mode="r", pivoting=True)
    rank = int((np.abs(np.diagonal(root)) > _ROUNDING * rows).sum())
    out = np.zeros((rank, len(size)))
    out[:, order] = root[:rank]
    return np.asarray(out * size)
