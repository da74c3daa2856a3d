"""Is it a chain? Which elements meet, which read each other, and what is said where they form no steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from conjugate_ppl.algebra.classes import equal_elements
from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.term import is_known
from conjugate_ppl.algebra.value import spread
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.elimination.base import Beside, Declined
from conjugate_ppl.elimination.coordinates import without_rounding
from conjugate_ppl.elimination.symbols import signed
from conjugate_ppl.elimination.written import Part, Written
from conjugate_ppl.program import Program
from conjugate_ppl.statespace.layers import Layers, NoChain, find_layers
from conjugate_ppl.statespace.model import ChainModel, Noise

__all__ = ["chain_of", "not_in"]

_WIDEST = 48  # elements of a step: of a season of twelve months, a year
_MOST_BESIDE = 64  # elements that all steps share


def chain_of(program: Program, sites: Sequence[str], written: Written) -> ChainModel:
    """The chain of what is written.

    Raises:
        Beside: for a site that had better be integrated out later.
        Declined: for one that has to stay.
    """
    parts, size = written.parts, written.elements.size
    numbers: dict[Variable, int] = {written.elements: 0, written.tokens: size}
    numbers.update(zip(written.beside, np.cumsum([2 * size, *(v.size for v in written.beside)]).tolist(),
                       strict=False))
    likelihood = without_rounding(reduce_terms(written.bound, numbers.get), written)
    locations = reduce_terms(written.locations, numbers.get)
    first = sites[0] if sites else parts[0].site
    source = program.sites[first].source
    for reduced in (likelihood, locations):
        for late in (x for k in (1, 2) for x in reduced.late.get(k, ())):
            if not all(is_known(late.term.atoms[k].selection) for k in late.slots):
                raise Declined(first, "which elements of it meet depends on traced data", source)
    noise = _noise(program, written)
    pairs = [p[_pairs(likelihood)[1] < size] for p in _pairs(likelihood)]
    together = np.concatenate([pairs[0], noise.rows]), np.concatenate([pairs[1], noise.columns])
    parent, child = (p[_pairs(locations)[1] < 2 * size] for p in _pairs(locations))
    child = child - size
    own = np.concatenate([np.full(p.size, k) for k, p in enumerate(parts)])
    circle = _circles(len(parts), own[parent], own[child])[own]
    reads_itself = np.zeros(size, bool)
    reads_itself[child[circle[child] == circle[parent]]] = True
    in_chain = np.isin(own, own[reads_itself])
    if not in_chain.any():  # steps of a Python loop, sites of their own
        in_chain[child] = reads_itself[child] = True
    chained = frozenset(parts[k].site for k in np.unique(own[in_chain]) if not parts[k].exact)
    starts = np.flatnonzero(in_chain & ~reads_itself)
    everywhere = _met_at_several_steps(size, together, child, parent, in_chain, starts)
    for site in dict.fromkeys(parts[k].site for k in own[everywhere]):
        problem = not_in(program, site, chained, "elements at several steps of a chain meet it")
        if isinstance(problem, Beside):
            raise problem
    try:
        layers = find_layers(size, together, child, parent, starts)
    except NoChain as problem:
        raise not_in(program, parts[own[problem.element]].site, chained,
                      "more than its own and the next step of a chain depend on its elements") from None
    if layers.width > _WIDEST:
        site = _widest(program, parts, chained, own, layers)
        raise not_in(program, site, chained,
                      f"{layers.width} elements would have to be carried from step to step")
    if (layers.place[noise.rows] < layers.place[noise.columns]).any():
        raise Declined(first, "within a step, elements of one event depend on each other", source)
    return ChainModel(layers, size, likelihood, locations, noise, sum(v.size for v in written.beside))


def _circles(count: int, parents: np.ndarray, children: np.ndarray) -> np.ndarray:
    """For each part, a number of those that read each other."""
    graph = coo_array((np.ones(len(parents)), (parents, children)), shape=(count, count))
    found: np.ndarray = connected_components(graph, connection="strong")[1]
    return found


def _met_at_several_steps(size: int, together: tuple[np.ndarray, np.ndarray], child: np.ndarray,
                          parent: np.ndarray, in_chain: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The elements that are no steps of a chain, but meet elements of more than two steps of one."""
    number = np.cumsum(in_chain) - 1

    def among(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = in_chain[a] & in_chain[b]
        return number[a[both]], number[b[both]]

    try:
        layers = find_layers(int(in_chain.sum()), among(*together), *among(child, parent), number[starts])
    except NoChain:
        return np.zeros(0, int)
    low, high = np.full(size, layers.steps), np.full(size, -1)
    for a, b in (together, together[::-1], (child, parent), (parent, child)):
        mixed = ~in_chain[a] & in_chain[b]
        step = layers.step[number[b[mixed]]]
        np.minimum.at(low, a[mixed], step)
        np.maximum.at(high, a[mixed], step)
    return np.flatnonzero(high > low + 1)


def not_in(program: Program, site: str, chained: frozenset[str], reason: str) -> Declined:
    """That a site cannot be one of a chain of steps: whether it had better be beside it, or has to stay."""
    record = program.sites[site]
    kind = Declined if site in chained or record.size > _MOST_BESIDE else Beside
    return kind(site, reason, record.source)


def _pairs(reduced: Reduced) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of positions in monomials of two elements, smaller first; coefficients of 0 left out."""
    found = [np.zeros((2, 0), int)]
    if 2 in reduced.entries:
        entries = reduced.entries[2]
        found.append(np.stack(entries.positions)[:, entries.coefficients != 0])
    for late in reduced.late.get(2, ()):
        known = [np.asarray(c) != 0 for c in late.term.coefficients if is_known(c)]
        a, b, *there = np.broadcast_arrays(
            *(np.asarray(late.term.atoms[k].selection) for k in late.slots), *known)
        keep = np.logical_and.reduce(there).reshape(-1) if there else slice(None)
        found.append(np.stack([a.reshape(-1) + late.offsets[0], b.reshape(-1) + late.offsets[1]])[:, keep])
    both = np.unique(np.sort(np.concatenate(found, 1), 0), axis=1)
    return both[0], both[1]


def _noise(program: Program, written: Written) -> Noise:
    """The scales of all elements that have noise of their own."""
    scales: list[tuple[int, tuple[int, ...]]] = []
    rows, columns, entries, classes = ([np.zeros(0, int)] for _ in range(4))
    signs = [np.zeros(0, bool)]
    begin: dict[int, int] = {}  # of the classes of each scale
    count = 0
    for part in written.parts:
        if part.exact:
            continue
        record = program.sites[part.site]
        if record.family == "MatrixNormal":
            raise Declined(part.site, "it is a matrix in a chain of steps", record.source)
        number = record.parameters.get("scale", record.parameters.get("scale_tril"))
        assert number is not None
        d = record.shape[-1] if record.family == "MultivariateNormal" else 0
        shape = (*record.shape, d) if d else record.shape
        (scale,) = written.walk.run([number])
        scale = spread(scale, shape, range(len(shape) - len(scale.shape), len(shape)))
        elements = np.arange(part.first, part.own.stop)
        if d:
            i, j = np.tril_indices(d)
            events = elements.reshape(-1, d)
            rows.append(events[:, i].reshape(-1))
            columns.append(events[:, j].reshape(-1))
            entries.append(count + (np.arange(len(events))[:, None] * d * d + i * d + j).reshape(-1))
        else:
            rows.append(elements)
            columns.append(elements)
            entries.append(count + np.arange(part.size))
        alike = np.broadcast_to(equal_elements(scale), shape).reshape(-1)
        classes.append(begin.setdefault(number, count) + alike)
        negative = signed(scale, record.family)
        signs.append(np.zeros(alike.size, bool) if negative is None else negative)
        scales.append((number, shape))
        count += alike.size
    at = np.concatenate(entries)
    sign = np.concatenate(signs)
    return Noise(tuple(scales), np.concatenate(rows), np.concatenate(columns), at, np.concatenate(classes)[at],
                 sign if sign.any() else None)


def _widest(program: Program, parts: Sequence[Part], chained: frozenset[str], own: np.ndarray,
            layers: Layers) -> str:
    """The site to leave out where a step is too wide: the smallest of those that are no chain, else the
    one with the most elements in one step."""
    beside = [p.site for p in parts if not p.exact and p.site not in chained]
    if beside:
        return min(beside, key=lambda n: program.sites[n].size)
    number = layers.chain * layers.steps + layers.step
    return max(parts, key=lambda p: int(np.bincount(number[p.own]).max())).site
