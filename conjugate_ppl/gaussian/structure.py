"""Which elements of a Gaussian block are independent given the rest.

Proved from the monomials, not from plates: two elements belong together when some monomial or some
prior holds both. Groups of elements are taken largest first; a group joins the components as long as
these stay small, or save work, otherwise it goes to the rest. (Random intercepts and slopes of one grouping become
components of two; of crossed groupings the larger becomes components of one.) What no chain of monomials
joins is independent altogether: the rest falls into blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from conjugate_ppl.algebra.classes import distinct

__all__ = ["Structure", "find_structure", "split"]

_LARGEST = 8  # elements of a component that is always made one
_WIDEST = 64  # of one that is made so where it saves half of the work
_PADDED = 1 << 24  # numbers in blocks, or in shares of components, each as wide as the widest


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """Components, and the blocks of the rest that they belong to.

    Attributes:
        size: number of elements.
        components: element numbers, shape (count, width), padded with `size`.
        blocks: element numbers of the rest, shape (number of blocks, widest), padded with `size`;
            at least one block, which may be empty.
        component: for each element its component, -1 in the rest (length size + 1 for padding).
        block: for each element the block that it, or its component, belongs to.
        place: for each element its position in its component, or in its block.
        owner: for each component its block.
    """

    size: int
    components: np.ndarray
    blocks: np.ndarray
    component: np.ndarray
    block: np.ndarray
    place: np.ndarray
    owner: np.ndarray

    @property
    def width(self) -> int:
        """Elements in a component."""
        return int(self.components.shape[1])

    @property
    def work(self) -> float:
        """Roughly how many multiplications solving takes."""
        count, width = self.components.shape
        number, rest = self.blocks.shape
        return float(count * width**2 * (width + rest) + number * rest**3)

    def in_rest(self) -> np.ndarray:
        """The elements of the rest, in order."""
        return np.flatnonzero(self.component[: self.size] < 0)


def find_structure(size: int, groups: Sequence[tuple[np.ndarray, bool]], rows: np.ndarray,
                   columns: np.ndarray) -> Structure:
    """Split `size` elements; `groups` lists (elements, may be eliminated first).

    `rows`, `columns` are the pairs of elements that meet in a monomial or in a prior.
    """
    inside = np.zeros(size, bool)
    for elements, able in sorted(groups, key=lambda g: -len(g[0])):
        if not able or len(elements) < 2:
            continue
        trial = inside.copy()
        trial[elements] = True
        keep = trial[rows] & trial[columns]
        found = _connected(size, rows[keep], columns[keep])
        widest = int(np.bincount(found[trial]).max())
        if widest == trial.sum() or widest > _WIDEST:
            continue
        if widest <= _LARGEST or 2 * split(size, trial, rows, columns).work < split(size, inside, rows, columns).work:
            inside = trial
    return split(size, inside, rows, columns)


def split(size: int, inside: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Structure:
    """The structure in which the elements `inside` are components, and the others the rest."""
    keep = inside[rows] & inside[columns]
    labels = _connected(size, rows[keep], columns[keep])
    together = _connected(size, rows, columns)
    number = np.full(size + 1, -1)
    place = np.zeros(size + 1, np.int64)
    components = _table(np.flatnonzero(inside), labels, size, number, place)
    component = number.copy()
    rest = np.flatnonzero(~inside)
    _, sizes = np.unique(together[rest], return_counts=True)
    padded = int(sizes.max(initial=0)) ** 2
    if len(sizes) * padded > len(rest) ** 2 or (
            len(sizes) > 1 and max(len(sizes), len(components)) * padded > _PADDED):
        together = np.zeros(size, np.int64)  # padded to the widest, blocks would take more
    blocks = _table(rest, together, size, number, place)
    if not len(blocks):
        blocks = np.zeros((1, 0), np.int64)
    # a component joined to no element of the rest goes to the first block, with nothing to couple it
    block_of = np.zeros(int(together.max(initial=0)) + 1, np.int64)
    block_of[together[rest]] = number[rest]
    block = np.append(block_of[together], 0) if size else np.zeros(1, np.int64)
    return Structure(size, components, blocks, component, block, place, block[components[:, 0]])


def _connected(size: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    apart = rows != columns
    if not apart.any():
        return np.arange(size)
    rows, columns = rows[apart], columns[apart]
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    found: np.ndarray = connected_components(graph, directed=False)[1]
    return found


def _table(members: np.ndarray, labels: np.ndarray, size: int, number: np.ndarray,
           place: np.ndarray) -> np.ndarray:
    """Members with one label in one row each, padded with `size`; notes row and position."""
    if not len(members):
        return np.zeros((0, 1), np.int64)
    row = distinct(labels[members])[1]
    order = np.lexsort((members, row))
    members, row = members[order], row[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(row)) + 1])
    position = np.arange(len(members)) - starts[row]
    table = np.full((row[-1] + 1, int(position.max()) + 1), size)
    table[row, position] = members
    number[members] = row
    place[members] = position
    return table
