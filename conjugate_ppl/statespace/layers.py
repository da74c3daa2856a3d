"""Which elements of a Gaussian block make up one step of a chain.

Elements that meet in a monomial of the likelihood, or have a joint prior, belong to one cluster. Clusters whose
elements read each other in their prior's location are neighbours: a cluster's step is that of the one it reads,
or the next. The steps are as many as that allows, from the elements that read nothing of their own site.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

__all__ = ["Layers", "NoChain", "find_layers"]


class NoChain(Exception):
    """The elements form no chain; `element` is one that stands in the way."""

    def __init__(self, element: int) -> None:
        super().__init__(element)
        self.element = element


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """Where each element is: chain, step and place, shape (size,); and how many there are of each.

    Within a step, what an element reads has an earlier place.
    """

    chain: np.ndarray
    step: np.ndarray
    place: np.ndarray
    chains: int
    steps: int
    width: int

    @property
    def vector(self) -> np.ndarray:
        """Each element's position in an array of shape (chains, steps, width)."""
        return np.asarray((self.chain * self.steps + self.step) * self.width + self.place)

    def matrix(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Positions of pairs of elements in an array of shape (chains, steps, width, width): the step is
        that of the row."""
        return np.asarray(self.vector[rows] * self.width + self.place[columns])

    @property
    def there(self) -> np.ndarray:
        """Which places hold an element, shape (chains, steps, width)."""
        out = np.zeros(self.chains * self.steps * self.width, bool)
        out[self.vector] = True
        return out.reshape(self.chains, self.steps, self.width)


def find_layers(size: int, together: tuple[np.ndarray, np.ndarray], child: np.ndarray,
                parent: np.ndarray, first: np.ndarray) -> Layers:
    """Sort `size` elements into steps.

    `together` are pairs that must share a step; the location of `child` reads `parent`; chains begin at the
    elements `first`. What reads nothing itself goes to the step before the last that reads it.

    Raises:
        NoChain: if elements of more than two steps read one that reads nothing itself.
    """
    cluster = _components(size, *together)
    count = int(cluster.max(initial=-1)) + 1
    a, b = cluster[child], cluster[parent]
    whole = _components(count, a, b)
    starts = np.unique(cluster[first])
    root = ~np.isin(np.arange(count), a)
    root[starts] = False
    root[np.setdiff1d(np.flatnonzero(root), b)] = False  # nor does anything read it
    # what no chain reaches begins one of its own
    lost = np.setdiff1d(whole[~root], whole[starts])
    starts = np.concatenate([starts, [np.flatnonzero((whole == w) & ~root)[0] for w in lost]]).astype(int)
    inner = ~(root[a] | root[b])
    far = _steps(count, b[inner], a[inner], starts)
    last, soonest = np.full(count, -count), np.full(count, count)
    own = root[b]
    np.maximum.at(last, b[own], far[a[own]])
    np.minimum.at(soonest, b[own], far[a[own]])
    odd = np.flatnonzero(own & (last[b] > soonest[b] + 1))
    if len(odd):
        raise NoChain(int(parent[odd[-1]]))
    far[root] = last[root] - 1
    step = (far - far.min(initial=0))[cluster]
    gap = step[child] - step[parent]
    chain = whole[cluster]
    depth = np.zeros(size, int)
    near = gap == 0
    for _ in range(size if near.any() else 0):
        new = depth.copy()
        np.maximum.at(new, child[near], depth[parent[near]] + 1)
        if (new == depth).all():
            break
        depth = new
    order = np.lexsort((np.arange(size), depth, step, chain))
    key = chain[order] * (int(step.max(initial=0)) + 1) + step[order]
    begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if size else np.zeros(0, int)
    sizes = np.diff(np.append(begins, size))
    place = np.zeros(size, int)
    place[order] = np.arange(size) - np.repeat(begins, sizes)
    return Layers(chain, step, place, int(chain.max(initial=-1)) + 1, int(step.max(initial=-1)) + 1,
                  int(sizes.max(initial=0)))


def _steps(count: int, parent: np.ndarray, child: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The largest numbers with parent <= child <= parent + 1, 0 at the starts: shortest paths."""
    edges = np.stack([np.append(parent, child), np.append(child, parent)])
    # steps back cost next to nothing (of two edges between the same ends the cheaper counts)
    cost = np.repeat([1.0, 1e-9], len(parent))
    order = np.lexsort((cost, *edges))
    edges, cost = edges[:, order], cost[order]
    new = np.append(True, (np.diff(edges) != 0).any(0)) if len(cost) else np.zeros(0, bool)
    graph = coo_array((cost[new], tuple(edges[:, new])), shape=(count, count))
    far = dijkstra(graph, indices=starts, min_only=True)
    return np.where(np.isfinite(far), far, 0.0).astype(int)


def _components(size: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    found: np.ndarray = connected_components(graph, directed=False)[1]
    return found
