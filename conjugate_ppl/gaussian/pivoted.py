"""Roots of positive semidefinite matrices, of as many columns as their rank.

Cholesky factorisations with pivots, group after group of the elements: of a group on whose elements the matrix is
diagonal each column so has one element of the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

__all__ = ["Root", "root"]

_ZERO, _RANK = 1e-14, 1e-12  # times the rows: a pivot below the first is rounding, and between them nobody knows if there are such


class Root(NamedTuple):
    """R with H = R R'.

    Fields:
        columns: R, shape (n, rank).
        pivots: the rows of R that make a lower triangular matrix, in order.
    """

    columns: np.ndarray
    pivots: np.ndarray

    def solve(self, h: np.ndarray) -> np.ndarray:
        """C with R C = h, shape (n, any), at the pivots; everywhere, if h lies in the range of H."""
        if not len(self.pivots):
            return np.zeros((0, *h.shape[1:]))
        c: np.ndarray = solve_triangular(self.columns[self.pivots], h[self.pivots], lower=True)
        return c


def root(h: np.ndarray, groups: Sequence[np.ndarray]) -> Root | None:
    """The root of H, shape (n, n), by `groups` of its elements in this order, which have all of them.

    None where H is not positive semidefinite, or rounding leaves its rank open.
    """
    n, diagonal = len(h), np.diagonal(h)
    there = diagonal > 0
    if (diagonal < 0).any() or h[~there].any():
        return None
    unit = np.sqrt(diagonal)
    inverse = np.where(there, 1 / np.where(there, unit, 1.0), 0.0)
    scaled = h * inverse[:, None] * inverse
    left, waiting = scaled.copy(), np.ones(n, bool)
    columns, pivots, least = [np.zeros((n, 0))], [np.zeros(0, np.int64)], 1.0
    for group in (g for g in groups if len(g)):
        waiting[group] = False
        found = _pivots(left[np.ix_(group, group)], n)
        if found is None:
            return None
        order, low = found
        least = min(least, float(((low if low.ndim == 1 else np.diagonal(low))**2).min(initial=1.0)))
        others = np.flatnonzero(waiting)
        at, rows = group[order], np.concatenate([group, others])
        across = left[np.ix_(at, rows)]
        new = np.zeros((n, len(at)))
        new[rows] = (across / low[:, None] if low.ndim == 1 else solve_triangular(low, across, lower=True)).T
        left[np.ix_(others, others)] -= new[others] @ new[others].T
        columns.append(new)
        pivots.append(at)
    r = np.concatenate(columns, 1)
    open_rank = least <= _RANK * n and r.shape[1] < there.sum()
    if open_rank or np.abs(scaled - r @ r.T).max(initial=0.0) > _RANK * n:
        return None
    return Root(unit[:, None] * r, np.concatenate(pivots))


def _pivots(a: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Pivots of a matrix whose diagonal was at most one, and the lower factor of their rows and columns (its diagonal
    alone where that is all); None where it is not positive semidefinite."""
    diagonal = np.diagonal(a)
    if not (a - np.diag(diagonal)).any():
        order = np.flatnonzero(diagonal > _ZERO * n)
        low = np.sqrt(diagonal[order])
    else:
        factor, places, rank, _ = dpstrf(a, tol=_ZERO * n, lower=1)
        rank = rank if diagonal.max() > _ZERO * n else 0  # the first pivot it takes in any case
        order = places[:rank] - 1
        low = np.tril(factor[:rank, :rank])
    return None if (diagonal < -_RANK * n).any() else (order, low)
