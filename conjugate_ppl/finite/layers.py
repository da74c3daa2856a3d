"""Layers of a graph: what edges join lies in one layer or in two that follow each other.

Layers are counted from one end, so that they are as many and as narrow as the graph lets them be (the level
structures of Cuthill and McKee, Proc. ACM 24, 1969).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

__all__ = ["layers"]


def layers(size: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each element its chain (what `edges` connect) and its layer: how many edges it is away from one end.

    An end is the first element of a chain, or if that gives narrower layers the one that is furthest from it.
    """
    graph = coo_array((np.ones(len(edges)), tuple(edges.T)), shape=(size, size))
    chains, chain = connected_components(graph, directed=False)
    ends = np.full(chains, size)
    np.minimum.at(ends, chain, np.arange(size))
    best: np.ndarray | None = None
    for _ in range(2):
        distance = _distance(size, edges, ends)
        if best is None or _work(chain, distance) < _work(chain, best):
            best = distance
        order = np.lexsort((distance, chain))
        ends = order[np.append(np.flatnonzero(np.diff(chain[order])), size - 1)] if size else ends
    assert best is not None
    return chain, best


def _distance(size: int, edges: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many edges each element is away from the nearest of `ends`."""
    # one more element, next to all ends
    joined = np.concatenate([edges, np.stack([ends, np.full(len(ends), size)], 1)])
    graph = coo_array((np.ones(len(joined)), tuple(joined.T)), shape=(size + 1, size + 1)).tocsr()
    found = dijkstra(graph, directed=False, indices=size, unweighted=True)
    out: np.ndarray = found[:size].astype(int) - 1
    return out


def _work(chain: np.ndarray, layer: np.ndarray) -> int:
    """How many elements the largest layer has."""
    number = chain * (layer.max(initial=0) + 1) + layer
    return int(np.bincount(number, minlength=1).max())
