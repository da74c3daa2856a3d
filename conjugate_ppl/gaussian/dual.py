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
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from conjugate_ppl.algebra.weighted import DENSE, WeightedArray
from conjugate_ppl.gaussian.dual_parts import Dense, View, view
from conjugate_ppl.gaussian.pivoted import root
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
    seen = _seen(q, s, groups, known)
    if seen is None:
        return None
    parts = []
    for number, places in layout:
        site, scale = sites[number], scales[number]
        assert scale is not None and site.covariance is not None
        event = ((s.components[:, places] - site.first) // site.width)[:, ::site.width]
        parts.append(DualPart(places, view(seen.columns[:, places]), scale[event], site.covariance, site.which[event]))
        if not _distinct(seen.columns[:, places]):
            return None
    return Dual(tuple(parts), seen.weights, seen.numbers, seen.across, s.owner, *_within(q, s, used, seen))


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


class _Seen(NamedTuple):
    """What is seen of all components: columns of R, shape (count, width, seen), rows of G, shape (count, seen, rest), their
    weights and c, shape (count, seen)."""

    columns: np.ndarray
    across: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray


def _seen(q: Quadratic, s: Structure, groups: Sequence[np.ndarray], known: np.ndarray) -> _Seen | None:
    """What is seen, for each weight of each component; None where a matrix has no root, where nothing is seen, or where
    something else is said of what is not.

    Components with equal matrices share a root, and are solved for together.
    """
    (count, width), rest, many = s.components.shape, s.blocks.shape[1], q.reduced.weights.count
    of_h, of_linear = np.flatnonzero(s.component[q.rows] >= 0), np.flatnonzero(s.component[q.places] >= 0)
    pairs, pair = np.unique(np.concatenate([s.component[q.rows[of_h]] * many + q.weights[of_h],
                                            s.component[q.places[of_linear]] * many + q.linear_weights[of_linear]]),
                            return_inverse=True)
    owner, weight = pairs // many, pairs % many
    if not q.reduced.weights.positive(weight) or len(pairs) * width * (width + rest) > DENSE:
        return None
    h, said = np.zeros((len(pairs), width, width)), np.zeros((len(pairs), width, rest + 1))  # the last column is linear
    inner = s.component[q.columns[of_h]] >= 0
    for to, part in ((h, inner), (said, ~inner)):
        k = of_h[part]
        np.add.at(to, (pair[: len(of_h)][part], s.place[q.rows[k]], s.place[q.columns[k]]), q.numbers[k])
    np.add.at(said, (pair[len(of_h):], s.place[q.places[of_linear]], rest), q.linear[of_linear])

    numbered: dict[bytes, int] = {}
    pattern = np.array([numbered.setdefault(x.tobytes(), len(numbered)) for x in h], int)
    members = np.split(np.argsort(pattern, kind="stable"), np.cumsum(np.bincount(pattern))[:-1])
    roots = [root(h[own[0]], groups) for own in members if len(own)]
    found = [r for r in roots if r is not None]
    if len(found) < len(roots):
        return None
    rank = np.array([len(r.pivots) for r in found], int)[pattern]
    first = np.cumsum(rank) - rank
    first -= first[np.searchsorted(owner, owner)]  # among what is seen of the component, whose pairs follow each other
    most = int(np.bincount(owner, rank).max(initial=0))
    if not most or count * most * (width + rest) > DENSE:
        return None
    columns, across = np.zeros((count, width, most)), np.zeros((count, most, rest))
    weights, seen = np.full((count, most), weight[rank > 0][0]), np.zeros((count, most))
    for r, own in zip(found, members, strict=True):
        solved = r.solve(np.moveaxis(said[own], 0, 1).reshape(width, -1)).reshape(-1, len(own), rest + 1).swapaxes(0, 1)
        unit = np.sqrt(np.diagonal(h[own[0]]))[:, None]
        # what a linear part may be off by goes with the level of what is seen
        size = np.sqrt((solved**2).sum(1, keepdims=True))
        size[:, 0, rest] = (np.abs(solved[..., rest]).max(1, initial=0.0)
                            + np.abs(known[s.components[owner[own]]] @ r.columns).max(1, initial=0.0))
        if (np.abs(said[own] - r.columns @ solved) > _LEFT * unit * size).any():
            return None
        to, at = owner[own][:, None], first[own][:, None] + np.arange(len(r.pivots))
        columns[to, :, at], across[to, at], seen[to, at] = r.columns.T, solved[..., :rest], solved[..., rest]
        weights[to, at] = weight[own][:, None]
    return _Seen(columns, across, weights, seen)


def _within(q: Quadratic, s: Structure, used: np.ndarray, seen: _Seen) -> tuple[WeightedArray, WeightedArray]:
    """What the components leave for the rest: H and h of the rest less G'G and G'c of each weight."""
    blocks, rest = s.blocks.shape
    of_rest, alone = (s.component[q.rows] < 0) & (s.component[q.columns] < 0), s.component[q.places] < 0
    matrix, vector = np.zeros((len(used), blocks, rest, rest)), np.zeros((len(used), blocks, rest))
    np.add.at(matrix, (np.searchsorted(used, q.weights[of_rest]), s.block[q.rows[of_rest]],
                       s.place[q.rows[of_rest]], s.place[q.columns[of_rest]]), q.numbers[of_rest])
    np.add.at(vector, (np.searchsorted(used, q.linear_weights[alone]), s.block[q.places[alone]],
                       s.place[q.places[alone]]), q.linear[alone])
    for row, w in enumerate(used if rest else ()):
        own = np.where((seen.weights == w)[:, :, None], seen.across, 0.0)
        np.subtract.at(matrix[row], s.owner, np.einsum("csi,csj->cij", own, own, optimize=True))
        np.subtract.at(vector[row], s.owner, np.einsum("csi,cs->ci", own, seen.numbers))
    return WeightedArray.from_tables(used, matrix), WeightedArray.from_tables(used, vector)
