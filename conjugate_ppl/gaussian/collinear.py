"""Coefficients whose columns nearly depend on each other, along the axes of what is seen of them.

An intercept and a covariate far from zero, a polynomial, the same in two units: what is seen of such coefficients is a
matrix with as many digits of its own as the columns share, and single precision has seven. Along its axes it is
diagonal, each direction in its own size. The axes are known ahead as far as the elements' prior is; elements are mixed with
those of their own block of the rest alone, so that no more of them depend on each other than before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import block_diag, solve_triangular

from conjugate_ppl.gaussian.axes import Axes, axes
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.rotation import Group, Rotation, turned_groups
from conjugate_ppl.gaussian.scale_map import NONE, OWN, WRITTEN
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.structure import Structure
from conjugate_ppl.gaussian.turned import Among, among, observed, turned

__all__ = ["Turned", "collinear"]

_NEAR = 1e-2  # the least eigenvalue of a matrix with a diagonal of ones from which on columns are apart
_LARGEST = 500  # elements that are turned together
_ROUNDING = 1e-9  # relative, of sums
_MANY = 64  # blocks that are looked at, one by one
_FARTHEST = 50  # scales between a prior's mean and the reference, up to which a prior counts as an observation


class Turned(NamedTuple):
    """Elements by the axes of what is seen of them.

    Fields:
        rotation: from these coordinates.
        quadratic: in them.
        units: of all elements (`scale_map`).
        groups: the turned elements, for the search of a structure.
        constant: what is added to the log of the block's integral.
    """

    rotation: Rotation
    quadratic: Quadratic
    units: np.ndarray
    groups: list[Group]
    constant: float


class _Events(NamedTuple):
    """Elements, event by event, and their units: lower triangular matrices along the diagonal."""

    elements: np.ndarray
    roots: list[np.ndarray]


class _Members(NamedTuple):
    """The elements of a block: flat ones, those of known scales, those of each factor that multiplies a known scale, and
    all others."""

    flat: np.ndarray
    known: _Events
    factors: list[_Events]
    all: np.ndarray


def collinear(q: Quadratic, structure: Structure, sites: Sequence[GaussianSite]) -> Turned | None:
    """Turn what of the rest is nearly dependent; None where nothing is."""
    if not q.fixed:
        return None
    state = _State(q, structure.size, np.concatenate([s.known for s in sites]))
    blocks = _blocks(structure, sites)
    for block in blocks:
        if not state.take_out(block):
            state.turn(block.flat, block.known)
    first = state.rotation(None)
    for events in (f for b in blocks for f in b.factors):
        state.turn(np.zeros(0, np.int64), events)
    rotation = state.rotation(first)
    if rotation is None:
        return None
    return Turned(rotation, state.q, state.units, state.groups(), state.constant)


class _State:
    """What has been turned so far."""

    def __init__(self, q: Quadratic, size: int, mean: np.ndarray) -> None:
        self.q = q
        self.units = np.full(size, WRITTEN)
        self.constant = 0.0
        self._mean = mean
        self._size = size
        self._parts: list[tuple[np.ndarray, Axes]] = []
        self._free: list[np.ndarray] = []
        self._able: list[np.ndarray] = []

    def turn(self, flat: np.ndarray, events: _Events) -> None:
        """Turn flat elements and others with their units, if they nearly depend on each other, or so need no others at all:
        by their axes each of them is solved alone."""
        elements = np.concatenate([flat, events.elements])
        own = self._among(elements)
        if own is None or (_least(own.numbers.sum(2)) > _NEAR and not self._apart(own)):
            return
        found = axes(own.numbers, len(flat), events.roots)
        if found is not None and self._set(self.q, own, found):
            self.units[events.elements] = OWN
            self._free.append(flat)
            self._able.append(events.elements)

    def take_out(self, block: _Members) -> bool:
        """Take what flat elements and those of known scales explain of others out of these, if that is nearly all.

        A known scale says no more than one more observation; elements without one are free to follow the others, whatever
        the scales of these.
        """
        known, roots = block.known
        first = np.concatenate([block.flat, known])
        others = np.setdiff1d(block.all, first)
        if not len(first) or not len(others):
            return False
        own = self._among(np.concatenate([first, others]))
        if own is None or not _explained(own.numbers.sum(2), len(first)):
            return False
        inverse = block_diag(np.zeros((0, 0)), *(solve_triangular(r, np.eye(len(r)), lower=True) for r in roots))
        deviation = inverse @ self._mean[known]
        if deviation @ deviation > _FARTHEST**2:  # an observation's square is a difference, in which digits would be lost
            return self.take_out(block._replace(known=_events([])))
        prior = inverse.T @ inverse
        q = observed(self.q, known, prior, self._mean[known])
        own = among(q, own.place, own.elements)
        share = np.zeros((len(first), len(first)))
        share[len(block.flat):, len(block.flat):] = prior
        found = axes(own.numbers, len(first), prior=share)
        if found is None or not self._set(q, own, found):
            return False
        self.constant += float(np.log(np.diagonal(inverse)).sum() - 0.5 * deviation @ deviation
                               - 0.5 * len(known) * np.log(2 * np.pi))
        self.units[known] = NONE
        self._free.append(first)
        return True

    def _apart(self, own: Among) -> bool:
        """Whether elements meet each other, by one matrix whatever its weight, and nothing else."""
        inside = own.place[self.q.rows] >= 0
        return (own.numbers.shape[2] == 1 and bool((own.place[self.q.columns[inside]] >= 0).all())
                and bool(np.triu(own.numbers[..., 0], 1).any()))

    def _among(self, elements: np.ndarray) -> Among | None:
        """What is said of some elements; None if they are too few or too many."""
        if not 2 <= len(elements) <= _LARGEST:
            return None
        place = np.full(self._size, -1)
        place[elements] = np.arange(len(elements))
        own = among(self.q, place, elements)
        return own if _of_squares(own.numbers) else None

    def _set(self, q: Quadratic, own: Among, found: Axes) -> bool:
        new = turned(q, own, found.turn, found.squares)
        if new is None:
            return False
        self.q = new
        self._parts.append((own.elements, found))
        self.constant += found.flat_volume
        return True

    def rotation(self, after: Rotation | None) -> Rotation | None:
        """What has been turned since this was asked for, after another one."""
        parts, self._parts = self._parts, []
        if not parts:
            return after
        volume = sum(found.volume + found.flat_volume for _, found in parts)
        return Rotation(tuple((elements[:, None], found.turn) for elements, found in parts),
                        volume + (after.log_volume if after is not None else 0.0), after)

    def groups(self) -> list[Group]:
        """The turned elements, for the search of a structure."""
        able = [g for e in self._able for g in turned_groups(e[:, None], self._size, self.q.rows, self.q.columns)]
        return [(e, False) for e in self._free] + able


def exchangeable(structure: Structure, sites: Sequence[GaussianSite], units: np.ndarray
                 ) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Of the rest the events with known scales, and those of each factor that multiplies known scales, with their units; 1 for what is
    in units of its own already."""
    kinds: dict[tuple[Any, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for s in sites:
        events = s.elements.reshape(-1, s.width)
        there = np.flatnonzero((structure.component[events] < 0).all(1) & (units[events] != NONE).all(1))
        if not len(there) or s.family == "Flat" or s.mean is not None or s.shaped is None:
            continue
        for k, kind in zip(there, _kinds(s, there), strict=True):
            root = s.shaped.roots[k] if units[events[k, 0]] == WRITTEN else np.eye(s.width)
            kinds.setdefault(kind, []).append((events[k], root))
    return [_events(k) for k in kinds.values()]


def _blocks(structure: Structure, sites: Sequence[GaussianSite]) -> list[_Members]:
    """The blocks of the rest, as far as they are not too many or too large."""
    rest = structure.blocks
    if not 0 < len(rest) <= _MANY or not 2 <= rest.shape[1] <= _LARGEST:
        return []
    flat: list[list[np.ndarray]] = [[] for _ in rest]
    known: list[dict[tuple[Any, ...], list[tuple[np.ndarray, np.ndarray]]]] = [{} for _ in rest]
    for s in sites:
        if not s.size or (structure.component[s.elements] >= 0).any():
            continue
        block = structure.block[s.elements]
        if s.family == "Flat":
            for e, b in zip(s.elements, block, strict=True):
                flat[b].append(np.array([e]))
        elif s.shaped is not None and s.mean is None:
            for event, kind, root in zip(s.elements.reshape(-1, s.width), _kinds(s, np.arange(len(s.shaped.index))), s.shaped.roots,
                                         strict=True):
                known[structure.block[event[0]]].setdefault(kind, []).append((event, root))
    return [_Members(_joined(f), _events(k.pop((), [])), [_events(x) for x in k.values()], e[e < structure.size])
            for f, k, e in zip(flat, known, rest, strict=True)]


def _events(members: list[tuple[np.ndarray, np.ndarray]]) -> _Events:
    return _Events(_joined([e for e, _ in members]), [r for _, r in members])


def _joined(elements: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *elements])


def _kinds(site: GaussianSite, events: np.ndarray) -> list[tuple[Any, ...]]:
    """For each of some events what its factor is made of."""
    assert site.shaped is not None
    factor, index = site.shaped.factor, site.shaped.index[events]
    (term,) = factor.terms
    names = [(id(a.variable), a.power) for a in term.atoms]  # variables are equal if they are one
    places = [np.broadcast_to(a.selection, factor.shape).reshape(-1)[index] for a in term.atoms]
    return [tuple(sorted((*n, int(p[k])) for n, p in zip(names, places, strict=True))) for k in range(len(index))]


def _of_squares(h: np.ndarray) -> bool:
    """Whether what is seen with each weight, shape (n, n, weights), may be a sum of squares. Else (loadings, precision
    matrices) the axes where all weights are 1 are not those of other weights."""
    size = np.sqrt(np.maximum(np.einsum("iiw->iw", h), 0.0))
    return bool((np.abs(h) <= (1 + _ROUNDING) * size[:, None] * size).all())


def _least(h: np.ndarray) -> float:
    """The least eigenvalue of H, by the units in which its diagonal is 1."""
    return float(np.linalg.eigvalsh(_scaled(h)).min(initial=1.0))


def _scaled(h: np.ndarray) -> np.ndarray:
    unit = np.sqrt(np.maximum(np.diagonal(h), 0.0))
    seen = unit > 0
    inverse = np.where(seen, 1 / np.where(seen, unit, 1.0), 0.0)
    out: np.ndarray = h * inverse[:, None] * inverse + np.diag(np.where(seen, 0.0, 1.0))
    return out


def _explained(h: np.ndarray, first: int) -> bool:
    """Whether the first elements explain nearly all that is seen of some other one."""
    scaled = _scaled(h)
    own, across = scaled[:first, :first], scaled[:first, first:]
    return bool((np.sum(across * (np.linalg.pinv(own, hermitian=True) @ across), 0) > 1 - _NEAR).any())
