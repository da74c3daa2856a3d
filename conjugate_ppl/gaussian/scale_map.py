"""Where the numbers of all priors' scales T stand, and what they are read from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from conjugate_ppl.algebra.term import Value
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["NONE", "OWN", "WRITTEN", "Read", "ScaleMap", "scale_map"]

WRITTEN, OWN, NONE = range(3)
"""Units of elements."""

_BANDS = 3  # diagonals below the main one that a scale may have and still count as banded
_SMALL = 16  # rows of a scale that is written out in any case


class Read(NamedTuple):
    """Numbers of one site's scales.

    Fields:
        source: a number of the graph, or a value.
        used: which of its elements are read.
        signed: which of those must not be negative and are not proved so; None if none.
    """

    source: int | Value
    used: np.ndarray
    signed: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class ScaleMap:
    """The scales of all sites as one vector of numbers, `none` of them, and a 0 that follows.

    Attributes:
        rows, columns, index: entries of T by elements, and which number stands there.
        read: where the numbers come from, in order.
        tables: of each site which numbers its events' T have, shape (events, width, width); None of a flat site, and of one
            in other units.
    """

    rows: np.ndarray
    columns: np.ndarray
    index: np.ndarray
    read: tuple[Read, ...]
    none: int
    tables: tuple[np.ndarray | None, ...]

    def in_components(self, s: Structure) -> np.ndarray:
        """Where the numbers stand in T of the components, shape (count, width, width); `none` for a 0."""
        c, i, j = s.component[self.rows], s.place[self.rows], s.place[self.columns]
        own = np.flatnonzero(c >= 0)
        out = np.full((len(s.components), s.width, s.width), self.none)
        out[c[own], i[own], j[own]] = self.index[own]
        return out

    def in_blocks(self, s: Structure) -> tuple[np.ndarray, bool]:
        """Where they stand in T of the blocks, shape (number, widest, widest); or, where that is said, by diagonals, shape
        (diagonals, number, widest)."""
        own = np.flatnonzero((s.component[self.rows] < 0) & (s.block[self.rows] >= 0))
        b, i, j, k = s.block[self.rows[own]], s.place[self.rows[own]], s.place[self.columns[own]], self.index[own]
        number, widest = s.blocks.shape
        reach = int((i - j).max(initial=0))
        if reach <= _BANDS and widest > _SMALL:
            bands = np.full((reach + 1, number, widest), self.none)
            bands[i - j, b, i] = k
            return bands, True
        out = np.full((number, widest, widest), self.none)
        out[b, i, j] = k
        return out, False


def scale_map(sites: Sequence[GaussianSite], units: np.ndarray) -> ScaleMap:
    """The map for elements by their `units`: as they are written, in units of their known shape (`shapes`), or without a
    scale. All elements of an event have the same."""
    none = np.zeros(0, np.int64)
    rows, columns, index, read, offset = [none], [none], [none], [], 0
    tables: list[np.ndarray | None] = []
    for s in sites:
        if s.scale is None:
            tables.append(None)
            continue
        d = s.width
        events, own = s.elements.reshape(-1, d), units[s.elements].reshape(-1, d)[:, 0]
        tables.append(None if own.any() else np.full((len(events), d, d), -1))
        for unit in (WRITTEN, OWN):
            part = np.flatnonzero(own == unit)
            if not len(part):
                continue
            width = 1 if unit == OWN else d
            source, places, signed = _scales(s, part, unit)
            used, numbers = np.unique(places, return_inverse=True)
            numbers = numbers.reshape(-1, width, width)
            i, j = np.tril_indices(width)
            members = events[part].reshape(-1, width)
            rows.append(members[:, i].reshape(-1))
            columns.append(members[:, j].reshape(-1))
            index.append(offset + numbers[:, i, j].reshape(-1))
            read.append(Read(source, used, None if signed is None else signed[used]))
            if tables[-1] is not None:
                tables[-1] = np.where(np.tri(d, dtype=bool), offset + numbers, -1)
            offset += len(used)
    return ScaleMap(np.concatenate(rows), np.concatenate(columns), np.concatenate(index), tuple(read), offset,
                    tuple(None if x is None else np.where(x < 0, offset, x) for x in tables))


def _scales(s: GaussianSite, events: np.ndarray, unit: int) -> tuple[int | Value, np.ndarray, np.ndarray | None]:
    """What the scales of some events are read from, which of its elements, and which of those must not be negative."""
    if unit == OWN:
        assert s.shaped is not None
        return s.shaped.factor, np.repeat(s.shaped.index[events], s.width), None
    assert s.scale is not None
    return s.scale, s.scale_index.reshape(-1, s.width, s.width)[events], s.signed
