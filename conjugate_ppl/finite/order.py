"""The order in which discrete latents are summed out, found from which elements meet in which cell.

A table holds log densities: a row for each cell of a factor, and an axis of states for each element that the
cell reads. A site goes when either no cell reads two of its elements, and what is read with an element
is the same wherever that element is read (`Alone`), or its elements form chains of neighbours (`Chains`).
What it leaves is a table again, a row for each of its elements or chains. Of the sites that can go, the one
with the smallest table goes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from conjugate_ppl.finite.cases import NONE, held

__all__ = ["Alone", "Chains", "Part", "Stuck", "Table", "order_of"]

_LARGEST = 1 << 27  # numbers in a table


class Stuck(Exception):
    """No site can go next; the message says why, for one of them."""


Read = tuple[str, np.ndarray]  # a site, and the element of it that each row reads


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Some rows, `count` in number, of what a factor or a step gives.

    `axes` are those of its readings that these rows have; the others are to be taken at `states`, one for
    each axis.
    """

    source: int
    count: int
    rows: np.ndarray | None  # None for all
    axes: tuple[int, ...]
    states: tuple[int, ...]
    reads: tuple[Read, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A table (by number) that is added to another one.

    Its axes go to the places `axes`, row k to row `rows[k]`; `turned` rows with the first two axes
    exchanged.
    """

    table: int
    axes: tuple[int, ...]
    rows: np.ndarray
    turned: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Alone:
    """A site whose elements are independent given `others`: for each element of it, the element read."""

    site: str
    parts: tuple[Part, ...]
    others: tuple[Read, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Chains:
    """A site whose elements form chains; `elements` has a row a chain, filled up with -1."""

    site: str
    elements: np.ndarray
    own: tuple[Part, ...]
    pairs: tuple[Part, ...]
    others: tuple[Read, ...]


def order_of(factors: Sequence[Sequence[np.ndarray]], sizes: Mapping[str, int], states: Mapping[str, int]
             ) -> tuple[tuple[Table, ...], tuple[Alone | Chains, ...]]:
    """The tables and the steps that sum out all sites of `sizes` (their elements) and `states`.

    `factors` are what the cells of each factor read, flat: elements numbered through all sites, as in
    `cases.Reading`. Table number k is made of source `k`, a factor or, from `len(factors)` on, what
    a step leaves.

    Raises:
        Stuck: if there is no order, or only one with a table too large to hold.
    """
    names = list(sizes)
    first = np.cumsum([0, *sizes.values()])
    tables: list[Table] = []
    there: set[int] = set()

    def put(source: int, count: int, reads: Sequence[np.ndarray]) -> None:
        for table in _by_site(source, count, reads, names, first):
            there.add(len(tables))
            tables.append(table)

    for source, reads in enumerate(factors):
        put(source, len(reads[0]), reads)
    steps: list[Alone | Chains] = []
    left = list(names)
    while left:
        found: list[tuple[float, int, Alone | Chains, list[int]]] = []
        problem: Stuck | None = None
        for site in left:
            touching = [k for k in sorted(there) if any(n == site for n, _ in tables[k].reads)]
            try:
                step = _step(site, sizes[site], {k: tables[k].reads for k in touching})
            except Stuck as reason:
                problem = problem or reason
                continue
            found.append((_cost(step, sizes, states), len(found), step, touching))
        if not found:
            raise problem or Stuck()
        cost, _, step, touching = min(found, key=lambda f: f[:2])
        if cost > _LARGEST:
            raise Stuck(f"summing out `{step.site}` would take a table of {cost:.2g} numbers")
        steps.append(step)
        left.remove(step.site)
        there.difference_update(touching)
        rows = len(step.elements) if isinstance(step, Chains) else sizes[step.site]
        put(len(factors) + len(steps) - 1, rows, [
            np.where(e >= 0, first[names.index(n)] + e, NONE) for n, e in step.others])
    return tuple(tables), tuple(steps)


def _by_site(source: int, count: int, reads: Sequence[np.ndarray], names: Sequence[str],
             first: np.ndarray) -> Iterable[Table]:
    """Rows that read the same sites, or elements held in the same states, are one table."""
    if not reads:
        yield Table(source, count, None, (), (), ())
        return
    owner = np.stack([np.where(e >= 0, np.searchsorted(first, e, "right") - 1, e) for e in reads], 1)
    patterns, kind = np.unique(owner, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        rows = None if len(patterns) == 1 else np.flatnonzero(kind.reshape(-1) == k)
        axes = tuple(int(i) for i in np.flatnonzero(pattern >= 0))
        # along an axis of which nothing is read all numbers are equal
        states = tuple(int(held(p)) if p < NONE else 0 for p in pattern)
        yield Table(source, count if rows is None else len(rows), rows, axes, states, tuple(
            (names[pattern[i]], (reads[i] if rows is None else reads[i][rows]) - first[pattern[i]])
            for i in axes))


def _step(site: str, size: int, reads: Mapping[int, tuple[Read, ...]]) -> Alone | Chains:
    most = max(sum(n == site for n, _ in r) for r in reads.values())
    if most == 1:
        return _alone(site, size, reads)
    if most == 2:
        return _chains(site, size, reads)
    raise Stuck(f"{most} elements of `{site}` meet in one place")


def _alone(site: str, size: int, reads: Mapping[int, tuple[Read, ...]]) -> Alone:
    own = {k: next(e for n, e in r if n == site) for k, r in reads.items()}
    others, places = _others(site, reads, own, size)
    return Alone(site, tuple(Part(k, tuple(places[k]), own[k]) for k in reads), others)


def _others(site: str, reads: Mapping[int, tuple[Read, ...]], own: Mapping[int, np.ndarray], size: int
            ) -> tuple[tuple[Read, ...], dict[int, list[int]]]:
    """What else is read with each of `size` groups of elements (`own`: the group of each row), and the
    place of each axis of each table: 0 for the site's own, then the others."""
    others: list[Read] = []
    places: dict[int, list[int]] = {}
    for k, r in reads.items():
        places[k] = []
        for name, elements in r:
            if name == site:
                places[k].append(0)
                continue
            found = np.full(size, -1)
            found[own[k]] = elements
            if (found[own[k]] != elements).any():
                raise Stuck(f"an element of `{site}` meets several of `{name}`")
            for j, (other, known) in enumerate(others):
                clash = (known != found) & (known >= 0) & (found >= 0)
                if other == name and j + 1 not in places[k] and not clash.any():
                    others[j] = (name, np.maximum(known, found))
                    break
            else:
                j = len(others)
                others.append((name, found))
            places[k].append(j + 1)
    return tuple(others), places


def _chains(site: str, size: int, reads: Mapping[int, tuple[Read, ...]]) -> Chains:
    ends = {k: [e for n, e in r if n == site] for k, r in reads.items()}
    edges = np.concatenate([np.stack([np.minimum(*e), np.maximum(*e)], 1)
                            for e in ends.values() if len(e) == 2])
    edges = np.unique(edges, axis=0)
    after, before = np.full(size, -1), np.full(size, -1)
    after[edges[:, 0]], before[edges[:, 1]] = edges[:, 1], edges[:, 0]
    if (after[edges[:, 0]] != edges[:, 1]).any() or (before[edges[:, 1]] != edges[:, 0]).any() or (
            edges[:, 0] == edges[:, 1]).any():
        raise Stuck(f"elements of `{site}` meet otherwise than as neighbours in a chain")
    step, first = _place(before)
    starts = np.flatnonzero(before < 0)
    number = np.full(size, -1)
    number[starts] = np.arange(len(starts))
    chain = number[first]
    length = int(step.max()) + 1
    elements = np.full((len(starts), length), -1)
    elements[chain, step] = np.arange(size)
    others, places = _others(site, reads, {k: chain[e[0]] for k, e in ends.items()}, len(starts))
    own, pairs = [], []
    for k, e in ends.items():
        if len(e) == 1:
            own.append(Part(k, tuple(places[k]), chain[e[0]] * length + step[e[0]]))
            continue
        axes = [p + 1 if p else 0 for p in places[k]]
        axes[len(axes) - 1 - axes[::-1].index(0)] = 1  # the neighbour's
        rows = chain[e[0]] * (length - 1) + np.minimum(step[e[0]], step[e[1]])
        pairs.append(Part(k, tuple(axes), rows, step[e[0]] > step[e[1]]))
    return Chains(site, elements, tuple(own), tuple(pairs), others)


def _place(before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many steps each element is from the first of its chain, and which that is."""
    step, first = (before >= 0).astype(int), np.where(before >= 0, before, np.arange(len(before)))
    while True:
        more = step[first]
        if not more.any():
            return step, first
        step, first = step + more, first[first]


def _cost(step: Alone | Chains, sizes: Mapping[str, int], states: Mapping[str, int]) -> float:
    own = states[step.site] ** (2 if isinstance(step, Chains) else 1)
    return float(sizes[step.site]) * own * float(np.prod([float(states[n]) for n, _ in step.others]))
