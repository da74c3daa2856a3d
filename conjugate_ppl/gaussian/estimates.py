"""Components as group estimates: what the general and the crossed split of a quadratic share."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Estimates", "Prior", "estimates", "one_weight", "patterns"]

_EQUAL = 1e-13  # relative difference of numbers that count as equal: their rounding
_LEFT = 1e-7  # of linear parts that may lie outside the range of the quadratic one: rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """What is known of the components' priors ahead.

    Attributes:
        scale: which number of the scales each entry of T reads, shape (count, width, width).
        alike: a class for each element; elements of one class have equal prior means but for the
            known part (length size + 1).
        known: the known part of the prior means (length size + 1).
    """

    scale: np.ndarray
    alike: np.ndarray
    known: np.ndarray


def one_weight(q: Quadratic, s: Structure) -> np.ndarray | None:
    """The number of the one weight of each component, proved positive; None if some has several.

    One that no monomial holds (a group without rows) has that of most others, so that all may have one.
    """
    count = len(s.components)
    if not q.fixed or not count:
        return None
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    for element, w in ((q.rows, q.weights), (q.columns, q.weights), (q.places, q.linear_weights)):
        owner = s.component[element]
        np.minimum.at(low, owner[owner >= 0], w[owner >= 0])
        np.maximum.at(high, owner[owner >= 0], w[owner >= 0])
    there = high >= 0
    common = np.bincount(low[there]).argmax() if there.any() else 0
    low, high = np.where(there, low, common), np.where(there, high, common)
    return low if (low == high).all() and q.reduced.weights.positive(low) else None


@dataclasses.dataclass(frozen=True, eq=False)
class Estimates:
    """D = R R' of every component, and its generalised inverse.

    Attributes:
        inner: D, shape (count, width, width); `root` R and `pseudo` the inverse, of the same shape.
        scale: 1 over the root of each diagonal entry, 1 where that is 0; `own` whether it is not.
        full: whether D has full rank, so that nothing lies outside its range.
    """

    inner: np.ndarray
    root: np.ndarray
    pseudo: np.ndarray
    scale: np.ndarray
    own: np.ndarray
    full: np.ndarray

    def solve(self, part: np.ndarray, owner: np.ndarray | None = None) -> np.ndarray | None:
        """x with D x = part, for vectors of the components `owner` (default: one of each); None where a
        part lies outside the range of D (a factor that is linear in a latent)."""
        pseudo, inner, scale, own, full = (x if owner is None else x[owner] for x in (
            self.pseudo, self.inner, self.scale, self.own, self.full))
        columns = part.reshape(*scale.shape, math.prod(part.shape[2:]))
        solution = pseudo @ columns
        solution = solution + pseudo @ (columns - inner @ solution)  # an inverse alone loses digits twice
        left = np.abs(inner @ solution - columns) * np.where(full[:, None], 0.0, scale)[:, :, None]
        size = np.where(own, scale, 0.0)[:, :, None] * np.abs(columns)
        if left.size and left.max() > _LEFT * size.max():
            return None
        out: np.ndarray = solution.reshape(part.shape)
        return out


def estimates(inner: np.ndarray) -> Estimates | None:
    """Roots and inverses; None where rounding leaves open what the rank of a D is."""
    width = inner.shape[-1]
    diagonal = np.einsum("cii->ci", inner)
    own = diagonal > 0
    scale = np.where(own, 1 / np.sqrt(np.where(own, diagonal, 1.0)), 1.0)
    values, vectors = np.linalg.eigh(inner * scale[:, :, None] * scale[:, None, :])
    good = values > 1e-12 * width
    if (values < -1e-9).any() or ((values > 1e-14 * width) & ~good).any():
        return None
    root = vectors * np.sqrt(np.where(good, values, 0.0))[:, None, :] / scale[:, :, None]
    reciprocal = np.where(good, 1 / np.where(good, values, 1.0), 0.0)
    pseudo = np.einsum("cik,ck,cjk->cij", vectors * scale[:, :, None], reciprocal,
                       vectors * scale[:, :, None], optimize=True)
    return Estimates(inner, root, pseudo, scale, own, good.all(1))


def patterns(labels: list[np.ndarray], numbers: np.ndarray, sizes: np.ndarray
              ) -> tuple[np.ndarray, np.ndarray]:
    """(pattern of each row, one row of each pattern): rows with equal labels and numbers.

    Numbers are equal if they differ by no more than the rounding of numbers of `sizes`.
    """
    size = np.abs(numbers).max(0, initial=0.0)
    columns = [np.round(c / n, 9) for c, n in zip(numbers.T, size, strict=True) if n > 0]
    found, first = equal_rows([*labels, *columns], len(numbers))
    # equal to nine digits of the largest of all rows is not yet equal
    close = _EQUAL * np.minimum(sizes, sizes[first[found]])
    same = (np.abs(numbers - numbers[first[found]]) <= close).all(1)
    if not same.all():
        found = np.where(same, found, len(first) + np.cumsum(~same))
        _, first, found = np.unique(found, return_index=True, return_inverse=True)
    return found.reshape(-1), first
