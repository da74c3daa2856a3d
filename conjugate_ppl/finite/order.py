"""The order in which discrete latents are summed out, found from which elements meet in which cell.

A table holds log densities: a row for each cell of a factor, and an axis of states for each element that the
cell reads. A site goes when no cell reads two of its elements, and what is read with an element is the same
wherever that element is read (`Alone`). Otherwise its elements, or those of a few sites together, are
put in layers such that what meets lies in one layer or in two that follow each other (`Chains`): the states of
a layer are those of all of its elements. What a step leaves is a table again, a row for each of its elements or
chains. Of the steps that can go, the one with the smallest table goes first.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from conjugate_ppl.finite.cases import NONE, held
from conjugate_ppl.finite.layers import layers

__all__ = ["Alone", "Chains", "Part", "Stuck", "Table", "order_of"]

_LARGEST = 1 << 27  # numbers in a table
_TOGETHER = 4  # sites in one step, at most
_TRIED = 1000  # groups of sites that are tried as one step


class Stuck(Exception):
    """No site can go next; the message says why, for one of them."""


Read = tuple[str, np.ndarray]  # a site, and the element of it that each row reads


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Some rows, `count` in number, of what a factor or a step gives.

    `axes` are those of its readings that these rows have; the others are to be taken at `states`, one for
    each axis, or together with an earlier one of the same element: `same` has an axis for each.
    """

    source: int
    count: int
    rows: np.ndarray | None  # None for all
    axes: tuple[int, ...]
    states: tuple[int, ...]
    same: tuple[int, ...]
    reads: tuple[Read, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A table (by number), or the rows `chosen` of it, that is added to another one.

    Its axes go to the places `axes`, its rows to the rows `rows`.
    """

    table: int
    axes: tuple[int, ...]
    rows: np.ndarray
    chosen: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Alone:
    """A site whose elements are independent given `others`: for each element of it, the element read."""

    site: str
    parts: tuple[Part, ...]
    others: tuple[Read, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """The site."""
        return (self.site,)


@dataclasses.dataclass(frozen=True, eq=False)
class Chains:
    """Sites whose elements form chains of layers.

    A layer has so many places, each for an element of one site: `places` names the sites, `elements`, shape
    (chains, length, places), the elements, -1 where there is none. Axes of the tables go to the places of a
    layer (`own`) or to those of two that follow each other (`pairs`), then to those of `others`.
    """

    places: tuple[str, ...]
    elements: np.ndarray
    own: tuple[Part, ...]
    pairs: tuple[Part, ...]
    others: tuple[Read, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites."""
        return tuple(dict.fromkeys(self.places))


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
        read = {k: tables[k].reads for k in sorted(there)}
        step = _cheapest(left, sizes, states, read)
        steps.append(step)
        left = [n for n in left if n not in step.sites]
        there.difference_update(_touching(step.sites, read))
        rows = len(step.elements) if isinstance(step, Chains) else sizes[step.site]
        put(len(factors) + len(steps) - 1, rows, [
            np.where(e >= 0, first[names.index(n)] + e, NONE) for n, e in step.others])
    return tuple(tables), tuple(steps)


def _touching(sites: Sequence[str], reads: Mapping[int, tuple[Read, ...]]) -> dict[int, tuple[Read, ...]]:
    return {k: r for k, r in reads.items() if any(n in sites for n, _ in r)}


def _cheapest(left: Sequence[str], sizes: Mapping[str, int], states: Mapping[str, int],
              reads: Mapping[int, tuple[Read, ...]]) -> Alone | Chains:
    """The next step: of one site if there is one within the limit, else of two sites, and so on."""
    dearest: tuple[float, tuple[str, ...]] | None = None
    problem: Stuck | None = None
    groups: set[tuple[str, ...]] = {(n,) for n in left}
    for _ in range(_TOGETHER):
        found: list[tuple[float, int, Alone | Chains]] = []
        for group in sorted(groups, key=lambda g: [left.index(n) for n in g]):
            try:
                step = _step(group, sizes, _touching(group, reads))
            except Stuck as reason:
                problem = problem or reason
                continue
            found.append((_cost(step, sizes, states), len(found), step))
        if found:
            cost, _, step = min(found, key=lambda f: f[:2])
            if cost <= _LARGEST:
                return step
            dearest = min(dearest or (cost, step.sites), (cost, step.sites))
        groups = {tuple(sorted({*g, n}, key=left.index)) for g in groups for r in _touching(g, reads).values()
                  for n, _ in r if n in left and n not in g}
        if len(groups) > _TRIED:
            break
    if dearest is not None:
        cost, sites = dearest
        raise Stuck(f"summing out {' and '.join(f'`{n}`' for n in sites)} would take a table of {cost:.2g} numbers")
    raise problem or Stuck()


def _by_site(source: int, count: int, reads: Sequence[np.ndarray], names: Sequence[str],
             first: np.ndarray) -> Iterable[Table]:
    """Rows that read the same sites, or elements held in the same states, are one table."""
    if not reads:
        yield Table(source, count, None, (), (), (), ())
        return
    owner = np.stack([np.where(e >= 0, np.searchsorted(first, e, "right") - 1, e) for e in reads], 1)
    elements = np.stack(reads, 1)
    equal = (elements[:, :, None] == elements[:, None]) & (elements >= 0)[:, None]
    same = np.where(elements >= 0, equal.argmax(2), np.arange(len(reads)))  # the first axis with that element
    patterns, kind = np.unique(np.concatenate([owner, same], 1), axis=0, return_inverse=True)
    for k, both in enumerate(patterns):
        pattern, first_of = np.split(both, 2)
        rows = None if len(patterns) == 1 else np.flatnonzero(kind.reshape(-1) == k)
        axes = tuple(int(i) for i in np.flatnonzero((pattern >= 0) & (first_of == np.arange(len(reads)))))
        # along an axis of which nothing is read all numbers are equal
        states = tuple(int(held(p)) if p < NONE else 0 for p in pattern)
        yield Table(source, count if rows is None else len(rows), rows, axes, states, tuple(map(int, first_of)), tuple(
            (names[pattern[i]], (reads[i] if rows is None else reads[i][rows]) - first[pattern[i]])
            for i in axes))


def _step(sites: tuple[str, ...], sizes: Mapping[str, int], reads: Mapping[int, tuple[Read, ...]]
          ) -> Alone | Chains:
    most = max((sum(n in sites for n, _ in r) for r in reads.values()), default=0)
    if len(sites) == 1 and most < 2:
        return _alone(sites[0], sizes[sites[0]], reads)
    return _chains(sites, sizes, reads)


def _alone(site: str, size: int, reads: Mapping[int, tuple[Read, ...]]) -> Alone:
    own = {k: next(e for n, e in r if n == site) for k, r in reads.items()}
    others, places = _others((site,), reads, own, size)
    return Alone(site, tuple(Part(k, tuple(0 if p is None else 1 + p for p in places[k]), own[k])
                             for k in reads), others)


def _others(sites: tuple[str, ...], reads: Mapping[int, tuple[Read, ...]], own: Mapping[int, np.ndarray], size: int
            ) -> tuple[tuple[Read, ...], dict[int, list[int | None]]]:
    """What else is read with each of `size` groups of elements (`own`: the group of each row), and which of
    these each axis of each table is; None for the sites' own."""
    others: list[Read] = []
    places: dict[int, list[int | None]] = {}
    for k, r in reads.items():
        places[k] = []
        for name, elements in r:
            if name in sites:
                places[k].append(None)
                continue
            found = np.full(size, -1)
            found[own[k]] = elements
            if (found[own[k]] != elements).any():
                raise Stuck(f"an element of `{sites[0]}` meets several of `{name}`")
            for j, (other, known) in enumerate(others):
                clash = (known != found) & (known >= 0) & (found >= 0)
                if other == name and j not in places[k] and not clash.any():
                    others[j] = (name, np.maximum(known, found))
                    break
            else:
                j = len(others)
                others.append((name, found))
            places[k].append(j)
    return tuple(others), places


def _chains(sites: tuple[str, ...], sizes: Mapping[str, int], reads: Mapping[int, tuple[Read, ...]]) -> Chains:
    first = dict(zip(sites, np.cumsum([0, *(sizes[n] for n in sites)]), strict=False))
    size = sum(sizes[n] for n in sites)
    inside = {k: [first[n] + e for n, e in r if n in sites] for k, r in reads.items()}
    pairs = [np.stack(p, 1) for ends in inside.values() for p in itertools.combinations(ends, 2)]
    edges = np.concatenate([*pairs, np.zeros((0, 2), int)])
    site = np.repeat(np.arange(len(sites)), [sizes[n] for n in sites])
    chain, layer = layers(size, edges)
    # places within a layer: for each site as many as it has elements in any
    order = np.lexsort((np.arange(size), site, layer, chain))
    new = np.append(True, np.diff(np.stack([chain, layer, site])[:, order], axis=1).any(0))
    start = np.maximum.accumulate(np.where(new, np.arange(size), 0))
    rank = np.zeros(size, int)
    rank[order] = np.arange(size) - start
    most = [int(rank[site == k].max(initial=-1)) + 1 for k in range(len(sites))]
    place = np.cumsum([0, *most])[site] + rank
    width, length = sum(most), int(layer.max(initial=-1)) + 1
    elements = np.full((int(chain.max(initial=-1)) + 1, length, width), -1)
    elements[chain, layer, place] = np.arange(size) - np.array([first[n] for n in sites])[site]

    others, axes = _others(sites, reads, {k: chain[e[0]] for k, e in inside.items()}, len(elements))
    own: list[Part] = []
    both: list[Part] = []
    for k, ends in inside.items():
        at = layer[np.stack(ends, 1)]
        base = at.min(1)
        later = at - base[:, None]
        patterns, kind = np.unique(place[np.stack(ends, 1)] + width * later, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = np.flatnonzero(kind.reshape(-1) == number)
            two = bool((pattern >= width).any())
            mine = iter(pattern.tolist())
            to = tuple(next(mine) if a is None else a + width * (1 + two) for a in axes[k])
            target = chain[ends[0][rows]] * (length - two) + base[rows]
            (both if two else own).append(Part(k, to, target, rows if len(patterns) > 1 else None))
    return Chains(tuple(n for n, m in zip(sites, most, strict=True) for _ in range(m)), elements, tuple(own),
                  tuple(both), others)


def _cost(step: Alone | Chains, sizes: Mapping[str, int], states: Mapping[str, int]) -> float:
    others = float(np.prod([float(states[n]) for n, _ in step.others]))
    if isinstance(step, Alone):
        return float(sizes[step.site]) * states[step.site] * others
    chains, length, _ = step.elements.shape
    return float(chains * length) * float(np.prod([float(states[n]) for n in step.places])) ** 2 * others
