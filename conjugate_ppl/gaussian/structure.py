"""Which elements of a Gaussian block are independent given the rest.

Proved from the monomials, not from plates: two elements belong together when some monomial or some
prior holds both. Sites are taken largest first; a site joins the components as long as these stay
small, otherwise it goes to the dense rest. (Random intercepts and slopes of one grouping become
components of two; of crossed groupings the larger becomes components of one.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Structure", "find_structure"]

_LARGEST = 8  # elements of a component


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """Components and rest.

    Attributes:
        components: element numbers, shape (count, width), padded with `size`.
        rest: element numbers of the dense rest, in order.
        component: for each element its component, -1 in the rest (length size + 1 for padding).
        place: for each element its position in its component, or in the rest.
    """

    size: int
    components: np.ndarray
    rest: np.ndarray
    component: np.ndarray
    place: np.ndarray

    @property
    def width(self) -> int:
        """Elements in a component."""
        return int(self.components.shape[1])


def find_structure(size: int, sites: Sequence[tuple[int, int, bool]], rows: np.ndarray,
                   columns: np.ndarray) -> Structure:
    """Split `size` elements; `sites` lists (first element, size, may be eliminated first).

    `rows`, `columns` are the pairs of elements that meet in a monomial or in a prior.
    """
    inside = np.zeros(size, bool)
    labels = np.full(size, -1)
    for first, count, able in sorted(sites, key=lambda s: -s[1]):
        if not able or count < 2:
            continue
        trial = inside.copy()
        trial[first : first + count] = True
        keep = trial[rows] & trial[columns]
        graph = coo_array((np.ones(keep.sum()), (rows[keep], columns[keep])), shape=(size, size))
        _, found = connected_components(graph, directed=False)
        widest = int(np.bincount(found[trial]).max())
        if widest <= _LARGEST and widest < trial.sum():
            inside, labels = trial, found
    members = np.flatnonzero(inside)
    rest = np.flatnonzero(~inside)
    component = np.full(size + 1, -1)
    place = np.zeros(size + 1, np.int64)
    place[rest] = np.arange(len(rest))
    if not len(members):
        return Structure(size, np.zeros((0, 1), np.int64), rest, component, place)
    _, number = np.unique(labels[members], return_inverse=True)
    number = number.reshape(-1)
    order = np.lexsort((members, number))
    members, number = members[order], number[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1])
    position = np.arange(len(members)) - starts[number]
    table = np.full((number[-1] + 1, int(position.max()) + 1), size)
    table[number, position] = members
    component[members] = number
    place[members] = position
    return Structure(size, table, rest, component, place)
