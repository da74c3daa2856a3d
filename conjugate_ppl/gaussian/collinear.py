"""Coefficients whose columns nearly depend on each other, along the axes of what is seen of them.

An intercept and a covariate far from zero, a polynomial, the same in two units: what is seen of such coefficients is a
matrix with as many digits of its own as the columns share, and single precision has seven. Along its axes it is
diagonal, each direction in its own size. The axes are known ahead as far as the elements' prior is; elements are mixed with
those of their own block of the rest alone, so that no more of them depend on each other than before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.axes import Axes, axes
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.rotation import Group, Rotation, turned_groups
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Turned", "collinear"]

_NEAR = 1e-2  # the least eigenvalue of a matrix with a diagonal of ones from which on columns are apart
_LARGEST = 500  # elements that are turned together
_MANY = 1000  # blocks that are looked at, one by one


class Turned(NamedTuple):
    """Elements by the axes of what is seen of them.

    Fields:
        rotation: from these coordinates.
        quadratic: in them.
        groups: the turned elements, for the search of a structure.
    """

    rotation: Rotation
    quadratic: Quadratic
    groups: list[Group]


class _Members(NamedTuple):
    """Elements of a block that may be mixed: flat ones, and those with units, lower triangular matrices."""

    flat: np.ndarray
    others: np.ndarray
    roots: list[np.ndarray]


def collinear(q: Quadratic, structure: Structure, sites: Sequence[GaussianSite]) -> Turned | None:
    """Turn what of the rest is nearly dependent; None where nothing is."""
    if not q.fixed:
        return None
    parts, given = [], []
    for block in _blocks(structure, sites):
        elements = np.concatenate([block.flat, block.others])
        if not 2 <= len(elements) <= _LARGEST:
            continue
        place = np.full(structure.size, -1)
        place[elements] = np.arange(len(elements))
        own = _among(q, place, len(elements))
        if _apart(own.numbers.sum(2)):
            continue
        found = axes(own.numbers, block.roots)
        new = None if found is None else _turned(q, place, elements, own, found)
        if new is not None:
            parts.append((elements, found))
            given.append(block)
            q = new
    if not parts:
        return None
    return Turned(Rotation(tuple((elements[:, None], found.turn) for elements, found in parts),
                           sum(found.volume + found.flat_volume for _, found in parts),
                           sum(found.flat_volume for _, found in parts)), q,
                  [g for b in given for g in ((b.flat, False), *turned_groups(b.others[:, None], structure.size, q.rows, q.columns))])


def _blocks(structure: Structure, sites: Sequence[GaussianSite]) -> Iterator[_Members]:
    """What may be mixed: of each block the elements of one factor, those without a prior with those of known scales."""
    able: dict[int, tuple[list[np.ndarray], dict[tuple[Any, ...], list[tuple[np.ndarray, np.ndarray]]]]] = {}
    for s in sites:
        given = s.family == "Flat"
        if s.size and (given or (s.shaped is not None and s.mean is None)) and (structure.component[s.elements] < 0).all():
            events = s.elements.reshape(-1, s.width)
            if len(events) > _MANY:
                continue
            kinds = [()] * len(events) if given else _kinds(s)
            for k, (event, kind) in enumerate(zip(events, kinds, strict=True)):
                flat, others = able.setdefault(int(structure.block[event[0]]), ([], {}))
                if given:
                    flat.append(event)
                else:
                    others.setdefault(kind, []).append((event, s.shaped.roots[k]))
    if len(able) > _MANY:
        return
    none = np.zeros(0, np.int64)
    for flat, others in able.values():
        for kind, members in {(): [], **others}.items():
            yield _Members(np.concatenate([none, *(flat if kind == () else [])]),
                           np.concatenate([none, *(e for e, _ in members)]), [r for _, r in members])


def _kinds(site: GaussianSite) -> list[tuple[Any, ...]]:
    """For each event what its factor is made of."""
    (term,) = site.shaped.factor.terms
    names = [(a.variable.name, a.power) for a in term.atoms]
    places = [np.broadcast_to(a.selection, site.shaped.factor.shape).reshape(-1)[site.shaped.index] for a in term.atoms]
    return [tuple(sorted((*n, int(p[k])) for n, p in zip(names, places, strict=True))) for k in range(len(site.shaped.index))]


class _Among(NamedTuple):
    """H among elements, shape (n, n, weights), and the numbers of the weights."""

    numbers: np.ndarray
    used: np.ndarray


def _among(q: Quadratic, place: np.ndarray, size: int) -> _Among:
    """H among the elements that have a place."""
    inside = np.flatnonzero((place[q.rows] >= 0) & (place[q.columns] >= 0))
    used, w = np.unique(q.weights[inside], return_inverse=True)
    h = np.zeros((size, size, len(used)))
    np.add.at(h, (place[q.rows[inside]], place[q.columns[inside]], w), q.numbers[inside])
    return _Among(h, used)


def _apart(h: np.ndarray) -> bool:
    """Whether the columns of a matrix H are far from dependent."""
    unit = np.sqrt(np.maximum(np.diagonal(h), 0.0))
    seen = np.flatnonzero(unit)
    scaled = h[np.ix_(seen, seen)] / np.outer(unit[seen], unit[seen])
    return bool(np.linalg.eigvalsh(scaled).min(initial=1.0) > _NEAR)


def _turned(q: Quadratic, place: np.ndarray, elements: np.ndarray, own: _Among, found: Axes) -> Quadratic | None:
    """The quadratic with some elements by their axes; None if that would take too many numbers."""
    across = _across(q, place, elements, found)
    if across is None:
        return None
    rows, columns, weights, numbers = across
    apart = np.flatnonzero((place[q.rows] < 0) & (place[q.columns] < 0))
    two = [np.concatenate(x) for x in zip(
        (q.rows[apart], q.columns[apart], q.weights[apart], q.numbers[apart]), _inside(elements, own, found),
        (rows, columns, weights, numbers), (columns, rows, weights, numbers), strict=True)]
    apart = np.flatnonzero(place[q.places] < 0)
    one = [np.concatenate(x) for x in zip(
        (q.places[apart], q.linear_weights[apart], q.linear[apart]), _linear(q, place, elements, found), strict=True)]
    return Quadratic(*two, *one, q.reduced)


def _inside(elements: np.ndarray, own: _Among, found: Axes) -> tuple[np.ndarray, ...]:
    """(rows, columns, weights, numbers) of what is quadratic in the elements."""
    if found.squares is not None:
        i, w = np.nonzero(found.squares)
        return elements[i], elements[i], own.used[w], found.squares[i, w]
    h = own.numbers
    for _ in range(2):
        h = np.swapaxes(found.turn.coefficients(h.reshape(len(h), -1)).reshape(h.shape), 0, 1)
    i, j, w = np.nonzero(h)
    return elements[i], elements[j], own.used[w], h[i, j, w]


def _across(q: Quadratic, place: np.ndarray, elements: np.ndarray, found: Axes) -> tuple[np.ndarray, ...] | None:
    """The same of what joins them with others."""
    there = np.flatnonzero((place[q.rows] >= 0) & (place[q.columns] < 0))
    pair, at = np.unique(np.stack([q.columns[there], q.weights[there]]), axis=1, return_inverse=True)
    if len(elements) * pair.shape[1] > DENSE:
        return None
    h = np.zeros((len(elements), pair.shape[1]))
    np.add.at(h, (place[q.rows[there]], at.reshape(-1)), q.numbers[there])
    h = found.turn.coefficients(h)
    i, j = np.nonzero(h)
    return elements[i], pair[0, j], pair[1, j], h[i, j]


def _linear(q: Quadratic, place: np.ndarray, elements: np.ndarray, found: Axes) -> tuple[np.ndarray, ...]:
    """(places, weights, numbers) of what is linear in the elements."""
    inside = np.flatnonzero(place[q.places] >= 0)
    used, w = np.unique(q.linear_weights[inside], return_inverse=True)
    h = np.zeros((len(elements), len(used)))
    np.add.at(h, (place[q.places[inside]], w), q.linear[inside])
    h = found.turn.coefficients(h)
    i, w = np.nonzero(h)
    return elements[i], used[w], h[i, w]
