"""The dual form of wide components: by what is seen of one, and not by its elements.

Where a component's part of H is sum_w weight_w R_w R_w' with R known, it is seen as c = R'e + G e_rest + noise of precisions
W, one weight for each column. What is seen has the covariance P = R'KR, and all that a density needs is B = I + W^1/2 P
W^1/2: the prior enters by its covariance K, and not by a factor T of it. That is less work where K is what the model
computes: the Cholesky factor of a Gaussian process need not be differentiated. The components of `between` are such too,
with T for K, each so small that all of one pattern are written out.

B is as well conditioned as the covariance that is seen, but no more: what is vague and common to many numbers (a mean,
coefficients with scales of their own) would drown what is not. So components are elements with covariances, and all else
is the rest.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from conjugate_ppl.algebra.weighted import DENSE, WeightedArray
from conjugate_ppl.gaussian.dual_parts import Dense, View, view
from conjugate_ppl.gaussian.pivoted import Root, root
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.site import Covariance, GaussianSite
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Dual", "DualPart", "dual_form"]

_LEFT = 1e-10  # of what may lie outside the range of the components' own matrices: rounding
_DISTINCT = 1e-2  # least eigenvalue of the correlations of what is seen


@dataclasses.dataclass(frozen=True, eq=False)
class DualPart:
    """One site's elements in every component.

    Attributes:
        places: theirs in a component.
        view: how they are seen.
        scale: which numbers of all T they read, shape (count, events, width, width).
        covariance: what T is the factor of; `which` of these each event has, shape (count, events).
    """

    places: slice
    view: View
    scale: np.ndarray
    covariance: Covariance
    which: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Dual:
    """Components in their dual form, and what they leave for the rest.

    Attributes:
        parts: the sites.
        weights: the weight of each number seen, shape (count, seen).
        seen: c, of the same shape; padding has no column in R.
        across: G, shape (count, seen, rest).
        owner: the block of each component.
        within, within_linear: what the rest has of its own.
    """

    parts: tuple[DualPart, ...]
    weights: np.ndarray
    seen: np.ndarray
    across: np.ndarray
    owner: np.ndarray
    within: WeightedArray
    within_linear: WeightedArray

    @property
    def work(self) -> float:
        """Roughly how many multiplications solving takes."""
        count, seen, rest = self.across.shape
        each = seen**2 + 2 * seen * rest
        for p in self.parts:
            if isinstance(p.view, Dense):
                size = p.view.matrix.shape[1]
                each += 2 * size * (seen + p.scale.shape[-1])
        return float(count * seen * each + self.within.shape[0] * rest**3)


def dual_form(q: Quadratic, s: Structure, sites: Sequence[GaussianSite], scales: Sequence[np.ndarray | None],
              known: np.ndarray) -> Dual | None:
    """The dual form of the components; None where they have none, or it would lose digits.

    `scales` are the numbers of all T that the events of each site read, shape (events, width, width), `known` the known
    parts of the prior means, about the point that the quadratic is written about.
    """
    (count, width), (blocks, rest) = s.components.shape, s.blocks.shape
    used = np.unique(np.concatenate([q.weights, q.linear_weights]))
    layout = _layout(s.components, sites)
    if not q.fixed or layout is None or max(count * width**2, len(used) * blocks * rest**2) > DENSE:
        return None
    groups = [np.arange(width)[p] for _, p in layout]  # of each site each number seen is of one element, if they are seen so
    entries, linear = _by_component(q, s)
    found, roots = [], _Roots(groups)
    for k in range(count):
        one = _seen(q, s, entries[k], linear[k], roots, known[s.components[k]])
        if one is None or not q.reduced.weights.positive(one.weights):
            return None
        found.append(one)
    most = max(len(x.weights) for x in found)
    if not most or count * most * (width + rest) > DENSE:
        return None
    columns, across, seen = np.zeros((count, width, most)), np.zeros((count, most, rest)), np.zeros((count, most))
    weights = np.full((count, most), next(x.weights[0] for x in found if len(x.weights)))
    for k, x in enumerate(found):
        own = len(x.weights)
        columns[k, :, :own], across[k, :own], weights[k, :own], seen[k, :own] = x.columns, x.across, x.weights, x.numbers
    parts = []
    for number, places in layout:
        site, scale = sites[number], scales[number]
        assert scale is not None and site.covariance is not None
        event = ((s.components[:, places] - site.first) // site.width)[:, ::site.width]
        parts.append(DualPart(places, view(columns[:, places]), scale[event], site.covariance, site.which[event]))
        if not _distinct(columns[:, places]):
            return None
    return Dual(tuple(parts), weights, seen, across, s.owner, *_within(q, s, used, weights, across, seen))


def _distinct(columns: np.ndarray) -> bool:
    """Whether what is seen, shape (count, elements, seen), differs enough: noise on what is nearly seen twice would drown."""
    size = np.sqrt((columns**2).sum(1, keepdims=True))
    unit = columns / np.where(size > 0, size, 1.0)
    gram = np.swapaxes(unit, 1, 2) @ unit
    n = np.arange(gram.shape[-1])
    gram[:, n, n] = 1.0  # of padding too
    return bool((np.linalg.eigvalsh(gram) > _DISTINCT).all())


def _layout(members: np.ndarray, sites: Sequence[GaussianSite]) -> list[tuple[int, slice]] | None:
    """The numbers of the sites of a component and their places in it, if all have the same, whole events each, of
    covariances."""
    owner = np.searchsorted([x.first + x.size for x in sites], members, side="right")
    if not members.size or (owner != owner[0]).any() or owner.max() == len(sites):
        return None
    out = []
    for number in np.unique(owner[0]).tolist():
        site, places = sites[number], np.flatnonzero(owner[0] == number)
        inside = (members[:, places] - site.first) % site.width
        if site.covariance is None or len(places) % site.width or (inside != np.arange(len(places)) % site.width).any():
            return None
        out.append((number, slice(int(places[0]), int(places[-1]) + 1)))
    return out


def _by_component(q: Quadratic, s: Structure) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Which numbers of H and h are in a row of each component."""
    out = []
    for element in (q.rows, q.places):
        owner = s.component[element]
        order = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[order], np.arange(-1, len(s.components)), side="right")
        out.append([order[a:b] for a, b in itertools.pairwise(ends)])
    return out[0], out[1]


class _Seen(NamedTuple):
    """What is seen of one component: columns of R, rows of G, their weights, and c."""

    columns: np.ndarray
    across: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray


class _Roots:
    """Roots of matrices, of equal ones once."""

    def __init__(self, groups: Sequence[np.ndarray]) -> None:
        self._groups, self._found = groups, dict[bytes, Root | None]()

    def __call__(self, h: np.ndarray) -> Root | None:
        key = h.tobytes()
        if key not in self._found:
            self._found[key] = root(h, self._groups)
        return self._found[key]


def _seen(q: Quadratic, s: Structure, entries: np.ndarray, linear: np.ndarray, roots: _Roots, known: np.ndarray
          ) -> _Seen | None:
    """One component; None where a matrix has no root, or something else is said of what is not seen."""
    width, rest = s.components.shape[1], s.blocks.shape[1]
    out = [_Seen(np.zeros((width, 0)), np.zeros((0, rest)), np.zeros(0, int), np.zeros(0))]
    for w in np.unique(np.concatenate([q.weights[entries], q.linear_weights[linear]])):
        k, j = entries[q.weights[entries] == w], linear[q.linear_weights[linear] == w]
        inner = s.component[q.columns[k]] >= 0
        h, g, right = np.zeros((width, width)), np.zeros((width, rest)), np.zeros(width)
        for to, part in ((h, k[inner]), (g, k[~inner])):
            np.add.at(to, (s.place[q.rows[part]], s.place[q.columns[part]]), q.numbers[part])
        np.add.at(right, s.place[q.places[j]], q.linear[j])
        r = roots(h)
        if r is None:
            return None
        across, c = r.solve(g), r.solve(right)
        unit = np.sqrt(np.diagonal(h))
        level = np.abs(c).max(initial=0.0) + np.abs(r.columns.T @ known).max(initial=0.0)
        outside = np.abs(g - r.columns @ across) > _LEFT * unit[:, None] * np.sqrt((across**2).sum(0))
        if outside.any() or (np.abs(right - r.columns @ c) > _LEFT * level * unit).any():
            return None
        out.append(_Seen(r.columns, across, np.full(len(c), w), c))
    return _Seen(*(np.concatenate([getattr(x, n) for x in out], axis)
                   for n, axis in zip(_Seen._fields, (1, 0, 0, 0), strict=True)))


def _within(q: Quadratic, s: Structure, used: np.ndarray, weights: np.ndarray, across: np.ndarray, seen: np.ndarray
            ) -> tuple[WeightedArray, WeightedArray]:
    """What the components leave for the rest: H and h of the rest less G'G and G'c of each weight."""
    blocks, rest = s.blocks.shape
    of_rest, alone = (s.component[q.rows] < 0) & (s.component[q.columns] < 0), s.component[q.places] < 0
    matrix, vector = np.zeros((len(used), blocks, rest, rest)), np.zeros((len(used), blocks, rest))
    np.add.at(matrix, (np.searchsorted(used, q.weights[of_rest]), s.block[q.rows[of_rest]],
                       s.place[q.rows[of_rest]], s.place[q.columns[of_rest]]), q.numbers[of_rest])
    np.add.at(vector, (np.searchsorted(used, q.linear_weights[alone]), s.block[q.places[alone]],
                       s.place[q.places[alone]]), q.linear[alone])
    for row, w in enumerate(used if rest else ()):
        own = np.where((weights == w)[:, :, None], across, 0.0)
        np.subtract.at(matrix[row], s.owner, np.einsum("csi,csj->cij", own, own, optimize=True))
        np.subtract.at(vector[row], s.owner, np.einsum("csi,cs->ci", own, seen))
    return WeightedArray.from_tables(used, matrix), WeightedArray.from_tables(used, vector)
