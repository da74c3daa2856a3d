"""Which scale each element of a Gaussian block goes with, if with one only: of a vector, or of some matrices.

Proved from the monomials. Every one of the likelihood holds one number of the scales, every prior goes with
the same, and elements that meet have one scale. With matrices P of n rows, elements come in rows of n: what two
rows have in common must be h z'Pz, with one number h for all of the n x n monomials, in the likelihood as in the
priors; and what is linear in a row must be z'Pk, with one vector k.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.reduce import expand
from conjugate_ppl.algebra.term import Term, is_known
from conjugate_ppl.algebra.value import add_up, write_out
from conjugate_ppl.elimination.scales import ScaleSite
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.families.registry import CORRELATED
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.site import BLOCK, GaussianSite
from conjugate_ppl.program import Program

__all__ = ["Owned", "owners"]

_BUDGET = 1 << 22  # monomials that are written out
_ROUNDING = 1e-9  # of sums of products that are equal by what they are sums of

Signature = tuple[tuple[int, Fraction], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Owned:
    """What goes with what.

    Attributes:
        power: q, with which the scales enter.
        part: number of the scale that each element of the block goes with.
        column: its column of that; `row` a number for its row: elements of numbers are rows of their own.
        rows: how many rows each scale has.
    """

    power: Fraction
    part: np.ndarray
    column: np.ndarray
    row: np.ndarray
    rows: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Monomials:
    """Monomials with the same weights: one or two elements of the block, and a number of the scales."""

    elements: tuple[np.ndarray, ...]
    numbers: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray


class _NotOwned(Exception):
    """Some elements go with no scale, or with several."""


def owners(program: Program, block: GaussianBlock, bound: Sequence[Term], priors: Callable[[], list[Term]],
           name: str, visible: frozenset[str]) -> Owned | None:
    """Which scale of a site each element goes with; None if they do not.

    `priors` gives the log densities of the block's priors, about the same point as `bound`.
    """
    scale = ScaleSite(program.sites[name])
    bound = [t for t in bound if not is_known(t.coefficient()) or t.coefficient().any()]  # of a likelihood to the power 0
    q = scale.power(list(bound) or [t for t in priors() if any(a.variable.name == BLOCK for a in t.atoms)])
    if q is None or any(s.mean is not None and name in s.mean.roots for s in block.sites):
        return None
    n = scale.rows
    try:
        if n == 1:
            found = _written(bound, name, scale, q)
            place = _places(found, block.size, n, _of_scales(program, block, name, visible, -q / 2))
        else:
            own = [t for t in priors() if any(a.variable.name == BLOCK for a in t.atoms)]
            found = _written([*bound, *own], name, scale, q)
            place = _places(found, block.size, n)
        _check(found, place, n)
        row = np.arange(block.size) if n == 1 else _rows(block.sites, place % n, n)
        if n > 1:
            _check_rows(found, place % n, row, n)
    except _NotOwned:
        return None
    return Owned(q, place // n**2, place % n, row, n)


def _written(terms: Sequence[Term], name: str, scale: ScaleSite, q: Fraction) -> list[_Monomials]:
    """All monomials, by what variables weigh them."""
    parts: dict[tuple[int, Signature], list[tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]]] = {}
    for term in terms:
        term, slots = expand(term, lambda v: 0 if v.name == BLOCK else None)
        held = [k for k, a in enumerate(term.atoms) if name in a.variable.roots]
        if len(held) != 1 or not scale.scales(term.atoms[held[0]], q) or not all(
                map(is_known, term.arrays)) or _size(term) > _BUDGET:
            raise _NotOwned
        numbers, columns = write_out(term)
        columns, numbers = add_up(columns, numbers)
        there = numbers != 0
        rest = [k for k in range(len(term.atoms)) if k not in slots and k not in held]
        signature = tuple((id(term.atoms[k].variable), term.atoms[k].power) for k in rest)
        weights = np.stack([columns[k][there] for k in rest], 1) if rest else np.zeros((int(there.sum()), 0), int)
        parts.setdefault((len(slots), signature), []).append(
            ([columns[k][there] for k in slots], columns[held[0]][there], weights, numbers[there]))
    out = []
    for (degree, _), pieces in parts.items():
        weights = np.concatenate([p[2] for p in pieces])
        classes, _ = equal_rows(list(weights.T), len(weights)) if weights.shape[1] else (
            np.zeros(len(weights), int), None)
        out.append(_Monomials(tuple(np.concatenate([p[0][k] for p in pieces]) for k in range(degree)),
                              np.concatenate([p[1] for p in pieces]), classes,
                              np.concatenate([p[3] for p in pieces])))
    return out


def _size(term: Term) -> int:
    return int(np.prod(np.broadcast_shapes(*(np.shape(x) for x in term.arrays))))


Pairs = list[tuple[np.ndarray, np.ndarray]]


def _places(found: Sequence[_Monomials], size: int, n: int, more: Pairs | None = None) -> np.ndarray:
    """The number of the scales that the square of each element goes with, which is on a diagonal."""
    pairs = [*(more or ()), *((m.elements[0][same], m.numbers[same]) for m in found if len(m.elements) == 2
                              for same in [m.elements[0] == m.elements[1]])]
    place = np.full(size, -1)
    for element, number in pairs:
        place[element] = number
    if (place < 0).any() or any((place[e] != k).any() for e, k in pairs) or (
            place % n**2 // n != place % n).any():
        raise _NotOwned
    return place


def _check(found: Sequence[_Monomials], place: np.ndarray, n: int) -> None:
    """Every monomial goes with a number of its elements' own scale, in their columns."""
    for m in found:
        matrix, row, column = m.numbers // n**2, m.numbers % n**2 // n, m.numbers % n
        own = [place[e] % n for e in m.elements]
        good = np.logical_and.reduce([place[e] // n**2 == matrix for e in m.elements])
        if len(own) == 2:
            good &= (np.maximum(*own) == np.maximum(row, column)) & (np.minimum(*own) == np.minimum(row, column))
        else:
            good &= (own[0] == row) | (own[0] == column)
        if not good.all():
            raise _NotOwned


def _rows(sites: Sequence[GaussianSite], column: np.ndarray, n: int) -> np.ndarray:
    """A number for the row of each element: elements of a site that differ along one axis only, that of columns."""
    out = np.empty_like(column)
    for s in sites:
        elements = s.elements.reshape(s.shape)
        for axis, size in enumerate(s.shape):
            along = np.arange(n).reshape([-1 if k == axis else 1 for k in range(len(s.shape))])
            if size == n and (column[elements] == along).all():
                out[elements] = elements.take([0], axis)
                break
        else:
            raise _NotOwned
    return out


def _check_rows(found: Sequence[_Monomials], column: np.ndarray, row: np.ndarray, n: int) -> None:
    """Two rows meet with one coefficient for all pairs of columns."""
    for m in found:
        if len(m.elements) == 1:
            _check_linear(m, column, row, n)
            continue
        i, j = m.elements
        swap = (row[i] > row[j]) | ((row[i] == row[j]) & (column[i] > column[j]))
        i, j = np.where(swap, j, i), np.where(swap, i, j)
        keys, each = add_up([m.weights, row[i], row[j], column[i], column[j]],
                            m.coefficients / np.where(i == j, 1, 2))
        pair, first = equal_rows(keys[:3], len(each))
        weight, one, two = (k[first] for k in keys[:3])
        count = np.bincount(pair)
        largest, smallest = np.full(len(first), -np.inf), np.full(len(first), np.inf)
        np.maximum.at(largest, pair, each)
        np.minimum.at(smallest, pair, each)
        missing = count < np.where(one == two, n * (n + 1) // 2, n**2)
        largest, smallest = (np.where(missing, f(x, 0.0), x)
                             for f, x in ((np.maximum, largest), (np.minimum, smallest)))
        own = np.flatnonzero(one == two)
        order = own[np.argsort(weight[own] * len(column) + one[own])]
        known = weight[order] * len(column) + one[order]
        size = np.append(np.maximum(abs(largest), abs(smallest))[order], 0.0)

        def own_size(rows: np.ndarray, known: np.ndarray = known, weight: np.ndarray = weight,
                     size: np.ndarray = size) -> np.ndarray:
            at = np.searchsorted(known, weight * len(column) + rows)
            same = np.append(known, -1)[at] == weight * len(column) + rows
            return np.where(same, size[at], 0.0)

        if (largest - smallest > _ROUNDING * np.sqrt(own_size(one) * own_size(two))).any():
            raise _NotOwned


def _check_linear(m: _Monomials, column: np.ndarray, row: np.ndarray, n: int) -> None:
    """A row meets k with z'P k: one coefficient for each column of P, whatever the element's own."""
    (i,) = m.elements
    a, b = m.numbers % n**2 // n, m.numbers % n
    other = np.where(column[i] == a, b, a)
    keys, each = add_up([m.weights, row[i], other, column[i]], m.coefficients)
    group, first = equal_rows(keys[:3], len(each))
    largest, smallest = np.full(len(first), -np.inf), np.full(len(first), np.inf)
    np.maximum.at(largest, group, each)
    np.minimum.at(smallest, group, each)
    missing = np.bincount(group) < n
    largest, smallest = (np.where(missing, f(x, 0.0), x) for f, x in ((np.maximum, largest), (np.minimum, smallest)))
    if (largest - smallest > _ROUNDING * abs(each).max(initial=0.0)).any():
        raise _NotOwned


def _of_scales(program: Program, block: GaussianBlock, name: str, visible: frozenset[str], power: Fraction) -> Pairs:
    """Elements, and the number that the scale of their prior holds, to one power."""
    pairs: Pairs = []
    walk = start_walk(program, visible | {name})
    for site in block.sites:
        if site.scale is None:
            continue
        (scale,) = walk.run([site.scale])
        own, shape = site.elements.reshape(site.shape), site.shape
        ends = [own]
        if site.family in CORRELATED:  # a row and a column of its factor meet
            shape = site.scale_index.shape
            own = own.reshape(shape[:-1])
            ends = [own[..., :, None], own[..., None, :]]
        for term in scale.terms:
            c = term.coefficient()
            if is_known(c) and not c.any():
                continue
            held = [a for a in term.atoms if name in a.variable.roots]
            if term.hidden or not all(map(is_known, term.arrays)) or len(held) != 1 or not (
                    ScaleSite(program.sites[name]).scales(held[0], power)):
                raise _NotOwned
            there = np.broadcast_to(c != 0, shape)
            number = np.broadcast_to(held[0].selection, shape)[there]
            pairs += [(np.broadcast_to(end, shape)[there], number) for end in ends]
    return pairs
