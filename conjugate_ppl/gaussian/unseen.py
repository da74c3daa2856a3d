"""The rest by the axes of what is said of it once components are taken out.

Of groupings that cross, the data see differences between the effects of one only: the components take up a shift of all of
them. Beside what is seen precisely, what is not seen is lost in sums: 1e7, and 1e-7 of that. By these axes it stands in
places of its own, where nothing is added to it but what priors say. They are known ahead as far as the elements' priors
are: elements whose scales are known but for one factor are exchangeable in units of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.axes import Known
from conjugate_ppl.gaussian.collinear import exchangeable
from conjugate_ppl.gaussian.estimates import estimates
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.rotation import Rotation
from conjugate_ppl.gaussian.scale_map import OWN
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.structure import Structure
from conjugate_ppl.gaussian.turned import among, turned

__all__ = ["Seen", "by_what_is_seen"]

_LARGEST = 500  # elements of the rest
_LIKE = 0.1  # of the share that a weight has in what is seen of one element, that it has at least of another
_UNSEEN = 1e-2  # the least eigenvalue, relative to the largest, from which on all is seen well


class Seen(NamedTuple):
    """Coordinates in which what is not seen stands alone: what turns to them, the quadratic, and the units of all elements."""

    rotation: Rotation
    quadratic: Quadratic
    units: np.ndarray


def by_what_is_seen(q: Quadratic, s: Structure, sites: Sequence[GaussianSite], units: np.ndarray, after: Rotation | None
                    ) -> Seen | None:
    """Turn the rest; None where that changes nothing."""
    rest = s.blocks.shape[1]
    if not q.fixed or s.upper is not None or not len(s.components) or len(s.blocks) > 1 or not 2 <= rest <= _LARGEST:
        return None
    left = _left(q, s)
    if left is None:
        return None
    parts: list[tuple[np.ndarray, Known]] = []
    volume = 0.0 if after is None else after.log_volume
    units = units.copy()
    for elements, roots in (x for e in exchangeable(s, sites, units) for x in _alike(q, s, *e)):
        unit = block_diag(*roots)
        own = left[np.ix_(s.place[elements], s.place[elements])]
        values, vectors = np.linalg.eigh(unit.T @ own @ unit)
        met = ((s.component[q.columns] >= 0) & np.isin(q.rows, elements)).any()
        if values[0] > _UNSEEN * values[-1] or not met or not np.triu(own, 1).any():
            continue
        place = np.full(s.size, -1)
        place[elements] = np.arange(len(elements))
        turn = Known(unit @ vectors, vectors.T @ np.linalg.inv(unit))
        new = turned(q, among(q, place, elements), turn)
        if new is None:
            continue
        q = new
        parts.append((elements[:, None], turn))
        volume += float(np.log(np.diagonal(unit)).sum())
        units[elements] = OWN
    return Seen(Rotation(tuple(parts), volume, after), q, units) if parts else None


def _alike(q: Quadratic, s: Structure, elements: np.ndarray, roots: list[np.ndarray]
           ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Those parts of events in which all elements are seen with the same weights, in nearly the same shares, or each with several of
    its own, those of rows: mixed with what is seen much better, with a scale of its own, an element would be lost."""
    own = np.flatnonzero((q.rows == q.columns) & np.isin(q.rows, elements))
    used, weight = np.unique(q.weights[own], return_inverse=True)
    if s.blocks.shape[1] * len(used) > DENSE:
        return
    seen = np.zeros((s.blocks.shape[1], len(used)))  # by places
    np.add.at(seen, (s.place[q.rows[own]], weight.reshape(-1)), np.abs(q.numbers[own]))
    events = np.split(elements, np.cumsum([len(r) for r in roots])[:-1])
    common = used[(seen[s.place[elements]] > 0).sum(0) > max(len(r) for r in roots)]
    kinds: dict[bytes | None, list[int]] = {}
    for k, event in enumerate(events):
        there = (seen[s.place[event]] > 0).any(0)
        rows = there.sum() > 1 and not np.isin(used[there], common).any()
        kinds.setdefault(None if rows else there.tobytes(), []).append(k)
    for kind, members in kinds.items():
        every = np.concatenate([events[k] for k in members])
        own_seen = seen[s.place[every]]
        shares = own_seen / np.maximum(own_seen.sum(1, keepdims=True), np.finfo(float).tiny)
        if len(every) > 1 and (kind is None or (shares.min(0) >= _LIKE * shares.max(0)).all()):
            yield every, [roots[k] for k in members]


def _left(q: Quadratic, s: Structure) -> np.ndarray | None:
    """What is said of the rest once components are taken out, if all weights are one: what is not seen then never is."""
    count, width = s.components.shape
    rest = s.blocks.shape[1]
    if max(count * width * (width + rest), rest**2) > DENSE:
        return None
    ci, cj = s.component[q.rows], s.component[q.columns]
    inner, cross, own = np.zeros((count, width, width)), np.zeros((count, width, rest)), np.zeros((rest, rest))
    for table, keep, first in ((inner, (ci >= 0) & (cj >= 0), (ci,)), (cross, (ci >= 0) & (cj < 0), (ci,)), (own, (ci < 0) & (cj < 0), ())):
        np.add.at(table, tuple(x[keep] for x in (*first, s.place[q.rows], s.place[q.columns])), q.numbers[keep])
    found = estimates(inner)
    loading = None if found is None else found.solve(cross)
    if loading is None:
        return None
    left: np.ndarray = own - np.einsum("cir,ciq->rq", cross, loading, optimize=True)
    return left
