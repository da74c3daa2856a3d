"""Which elements of a Gaussian block are independent given the rest.

Proved from the monomials, not from plates: two elements belong together when some monomial or some
prior holds both. Groups of elements are taken largest first; a group joins the components as long as
these stay small, or save work, otherwise it goes to the rest. (Random intercepts and slopes of one grouping become
components of two; of crossed groupings the larger becomes components of one.) What no chain of monomials
joins is independent altogether: the rest falls into blocks.

Where groups lie in groups (pupils in schools in districts), what components leave of the rest is sparse again: components of
its own, the districts, and a small rest of theirs (`in_tiers`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from conjugate_ppl.algebra.classes import distinct

__all__ = ["LARGEST", "Structure", "Upper", "find_structure", "in_tiers", "split"]

LARGEST = 8
"""Elements of a component that is always made one."""
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
        upper: how the rest, then one block, is itself split; None where it is solved densely.
    """

    size: int
    components: np.ndarray
    blocks: np.ndarray
    component: np.ndarray
    block: np.ndarray
    place: np.ndarray
    owner: np.ndarray
    upper: Upper | None = None

    @property
    def width(self) -> int:
        """Elements in a component."""
        return int(self.components.shape[1])

    @property
    def work(self) -> float:
        """Roughly how many multiplications solving takes."""
        count, width = self.components.shape
        number, rest = self.blocks.shape
        after = number * rest**3 if self.upper is None else self.upper.structure.work
        return float(count * width**2 * (width + self.reach)) + float(after)

    @property
    def products(self) -> float:
        """The same with what components take from the rest, their matrices dense."""
        count, width = self.components.shape
        after = 0.0 if self.upper is None else self.upper.structure.products - self.upper.structure.work
        return self.work + float(count * width * self.reach**2) + after

    @property
    def tiers(self) -> list[Structure]:
        """This one, and those above."""
        return [self, *(() if self.upper is None else self.upper.structure.tiers)]

    @property
    def core(self) -> Structure:
        """What has the blocks that are solved densely: this one, or the last of those above."""
        return self.tiers[-1]

    @property
    def reach(self) -> int:
        """How many elements of the rest a component may meet: those of its block, and of one component of each tier above."""
        return int(self.blocks.shape[1]) if self.upper is None else self.upper.structure.width + self.upper.structure.reach

    def column(self, elements: np.ndarray) -> np.ndarray:
        """Places of elements of the rest among those that a component may meet."""
        if self.upper is None:
            own: np.ndarray = self.place[elements]
            return own
        above = self.upper.structure
        out: np.ndarray = np.where(above.component[elements] >= 0, above.place[elements], above.width + above.column(elements))
        return out

    def owners(self, elements: np.ndarray) -> np.ndarray:
        """The blocks of the core that elements, or their components, belong to."""
        if self.upper is None:
            own: np.ndarray = self.block[elements]
            return own
        out: np.ndarray = np.where(self.component[elements] >= 0, self.upper.owner[self.component[elements]],
                                   self.upper.structure.owners(elements))
        return out

    def in_rest(self) -> np.ndarray:
        """The elements of the rest, in order."""
        return np.flatnonzero(self.component[: self.size] < 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Upper:
    """How a rest is split.

    Attributes:
        structure: of the rest's elements, by the same numbers; others are in no block of it (-1).
        homes: for each component the component that it meets of each tier above, -1 for none; of the first in order.
        owner: for each component the block that it meets.
    """

    structure: Structure
    homes: tuple[np.ndarray, ...]
    owner: np.ndarray


def find_structure(size: int, groups: Sequence[tuple[np.ndarray, bool]], rows: np.ndarray,
                   columns: np.ndarray) -> Structure:
    """Split `size` elements; `groups` lists (elements, may be eliminated first).

    `rows`, `columns` are the pairs of elements that meet in a monomial or in a prior.
    """
    inside = _chosen(size, groups, rows, columns, np.zeros(size, bool), True)
    return split(size, inside, rows, columns)


def in_tiers(size: int, groups: Sequence[tuple[np.ndarray, bool]], rows: np.ndarray, columns: np.ndarray,
             absent: np.ndarray | None = None) -> Structure | None:
    """The same in tiers: small components, and what they leave of the rest split in the same way; None if that is dense.

    Elements that are `absent` are not looked at.
    """
    absent = np.zeros(size, bool) if absent is None else absent
    inside = _chosen(size, groups, rows, columns, absent, False)
    if not inside.any():
        return None
    s = split(size, inside, rows, columns, absent=absent, together=False)
    meets = inside[rows] & ~inside[columns]
    component, element = np.unique(np.stack([s.component[rows[meets]], columns[meets]], 1), axis=0).T
    many = np.bincount(component, minlength=len(s.components))
    if not len(component) or (many.astype(float)**2).sum() > _PADDED:
        return None
    # eliminated, a component joins all that it meets
    start = (np.cumsum(many) - many)[component]
    first = np.repeat(np.arange(len(component)), many[component])
    shift = np.cumsum(many[component]) - many[component]
    second = np.arange(len(first)) - np.repeat(shift - start, many[component])
    of_rest = ~inside[rows] & ~inside[columns]
    pairs = (np.concatenate([rows[of_rest], element[first]]), np.concatenate([columns[of_rest], element[second]]))
    left = [(e[~inside[e]], able) for e, able in groups]
    absent = absent | inside
    above = split(size, _chosen(size, left, *pairs, absent, True), *pairs, absent=absent)
    higher = in_tiers(size, left, *pairs, absent)
    if higher is not None and 2 * higher.products < above.products:
        above = higher
    if not len(above.components):
        return None
    homes = []
    for tier in above.tiers:
        there = tier.component[element] >= 0
        homes.append(np.full(len(s.components), -1))
        homes[-1][component[there]] = tier.component[element[there]]
    owner = np.zeros(len(s.components), np.int64)
    owner[component] = above.owners(element)
    order = np.argsort(homes[0], kind="stable")
    number = np.append(np.argsort(order), -1)
    return dataclasses.replace(s, components=s.components[order], component=number[s.component], owner=s.owner[order],
                               upper=Upper(above, tuple(h[order] for h in homes), owner[order]))


def _chosen(size: int, groups: Sequence[tuple[np.ndarray, bool]], rows: np.ndarray, columns: np.ndarray, absent: np.ndarray,
            wide: bool) -> np.ndarray:
    """Which elements are components; `wide` ones, too, where that saves work. Else none joins others, which is for tiers."""
    inside = np.zeros(size, bool)
    count, width = 0, 0

    def work(inside: np.ndarray) -> float:
        return split(size, inside, rows, columns, absent=absent).work

    def parts(elements: np.ndarray) -> int:
        own = np.zeros(size, bool)
        own[elements] = True
        keep = own[rows] & own[columns]
        return int(np.count_nonzero(np.bincount(_connected(size, rows[keep], columns[keep])[elements])))

    for elements, able in sorted(groups, key=lambda g: -len(g[0]) if wide else -parts(g[0])):
        one = len(elements) < 2  # an element by itself joins components where that makes none wider, if it meets others
        if not able or not len(elements) or (one and not (inside.any() and (columns[rows == elements[0]] != elements[0]).any())):
            continue
        trial = inside.copy()
        trial[elements] = True
        keep = trial[rows] & trial[columns]
        found = _connected(size, rows[keep], columns[keep])
        sizes = np.bincount(found[trial])
        widest = int(sizes.max())
        if widest == trial.sum() or widest > _WIDEST or (one and widest > width):
            continue
        number = int(np.count_nonzero(sizes))
        small = widest <= LARGEST and (wide or number >= count)
        if small or (wide and 2 * work(trial) < work(inside)):
            inside, count, width = trial, number, widest
    return inside


def split(size: int, inside: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, absent: np.ndarray | None = None,
          together: bool = True) -> Structure:
    """The structure in which the elements `inside` are components, and the others, but those that are `absent`, the rest:
    what hangs `together` in a block, or all."""
    keep = inside[rows] & inside[columns]
    labels = _connected(size, rows[keep], columns[keep])
    joined = _connected(size, rows, columns) if together else np.zeros(size, np.int64)
    number = np.full(size + 1, -1)
    place = np.zeros(size + 1, np.int64)
    components = _table(np.flatnonzero(inside), labels, size, number, place)
    component = number.copy()
    rest = np.flatnonzero(~inside if absent is None else ~inside & ~absent)
    sizes = np.bincount(joined[rest])
    sizes = sizes[sizes > 0]
    padded = int(sizes.max(initial=0)) ** 2
    if len(sizes) * padded > len(rest) ** 2 or (
            len(sizes) > 1 and max(len(sizes), len(components)) * padded > _PADDED):
        joined = np.zeros(size, np.int64)  # padded to the widest, blocks would take more
    blocks = _table(rest, joined, size, number, place)
    if not len(blocks):
        blocks = np.zeros((1, 0), np.int64)
    # a component joined to no element of the rest goes to the first block, with nothing to couple it
    block_of = np.zeros(int(joined.max(initial=0)) + 1, np.int64)
    block_of[joined[rest]] = number[rest]
    block = np.append(block_of[joined], 0) if size else np.zeros(1, np.int64)
    if absent is not None:
        block[:-1][absent] = -1
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
