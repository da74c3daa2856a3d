"""What each element of a loop's carry is computed from, element by element.

The last twelve seasons may be carried as twelve numbers or as one vector, `concatenate([new[None], c[:-1]])`: what
a vector does is read off its elements. An element whose new value is an element of the old carry is *moved*; of
the others it is found which elements they read. What a movement does to elements is found by running it on
their numbers; any other operation reads all elements of its operands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.primitives import ELEMENTWISE

if TYPE_CHECKING:
    from conjugate_ppl.graph import Equation, Graph

__all__ = ["Carried", "carried"]

_MOST = 1024  # elements that are told apart
_LARGEST = 1 << 16  # elements of an array that are

# movements, and which of their operands say where to
_MOVED: dict[str, slice] = {
    **dict.fromkeys(("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "rev", "slice", "copy",
                     "copy_p", "concatenate", "stack", "pad", "split", "unstack", "tile"), slice(0)),
    "dynamic_slice": slice(1, None), "gather": slice(1, 2), "scatter": slice(1, 2),
    "dynamic_update_slice": slice(2, None), "select_n": slice(1),
}


@dataclasses.dataclass(frozen=True)
class Carried:
    """The elements of all parts of a carry, numbered one after the other.

    Attributes:
        first: the number of each part's first element, and of all.
        origin: for each element, the old one that its new value is, -1 where it is computed.
        reads: for each element, the old ones that its new value is computed from.
        circles: groups of elements that depend on their own old values, and are not only moved.
    """

    first: tuple[int, ...]
    origin: np.ndarray
    reads: tuple[frozenset[int], ...]
    circles: tuple[tuple[int, ...], ...]


def carried(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Carried:
    """Read a loop's body: the numbers of its old carry and of its new one."""
    sizes = [int(np.prod(graph.shapes[n])) for n in inputs]
    first = np.cumsum([0, *sizes])
    reads, origin = _element_by_element(graph, inputs, outputs, first) if first[-1] <= _MOST else (
        _part_by_part(graph, inputs, outputs, first))
    net = nx.DiGraph()
    net.add_nodes_from(range(int(first[-1])))
    for needed in set(reads):  # a node as well: all elements of a part may read all of another
        net.add_edges_from((j, needed) for j in needed)
    net.add_edges_from((needed, k) for k, needed in enumerate(reads))
    groups = [sorted(k for k in g if isinstance(k, int)) for g in nx.strongly_connected_components(net)]
    circles = [tuple(g) for g in groups if g and (len(g) > 1 or g[0] in reads[g[0]]) and (origin[g] < 0).any()]
    circles = _side_by_side(graph, inputs, outputs, first, circles)
    return Carried(tuple(first.tolist()), origin, tuple(reads), tuple(sorted(circles)))


def _side_by_side(graph: Graph, inputs: Sequence[int], outputs: Sequence[int], first: np.ndarray,
                  circles: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Circles that are one operation on vectors, element by element, as one: a loop each would take very long."""
    part = np.repeat(np.arange(len(inputs)), np.diff(first))
    by_parts: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for circle in circles:
        by_parts.setdefault(tuple(np.unique(part[list(circle)]).tolist()), []).append(circle)
    out = []
    for parts, found in by_parts.items():
        alike = len(found) > 1 and _element_for_element(graph, [inputs[k] for k in parts], [outputs[k] for k in parts])
        out += [tuple(sorted(e for c in found for e in c))] if alike else found
    return out


def _element_for_element(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> bool:
    """Whether each element of some outputs is computed from those in the same place of some inputs, as all others are."""
    alike, carry = set(inputs), frozenset(graph.inputs.index(n) for n in inputs)
    for equation in graph.equations:
        moving = [n for n in equation.inputs if carry & graph.dependencies.get(n, frozenset())]
        if moving and equation.primitive in ELEMENTWISE and alike.issuperset(moving) and len(
                {graph.shapes[n] for n in (*moving, *equation.outputs)}) == 1:
            alike.update(equation.outputs)
    return alike.issuperset(outputs)


def _part_by_part(graph: Graph, inputs: Sequence[int], outputs: Sequence[int], first: np.ndarray
                  ) -> tuple[list[frozenset[int]], np.ndarray]:
    """Where there are too many elements: of each part of the carry, which parts it is computed from."""
    reads: list[frozenset[int]] = []
    origin = np.full(first[-1], -1)
    place = {graph.inputs.index(n): k for k, n in enumerate(inputs)}
    for k, number in enumerate(outputs):
        own = range(first[k], first[k + 1])
        if number in inputs:
            j = inputs.index(number)
            origin[own] = range(first[j], first[j + 1])
            reads += [frozenset({int(e)}) for e in origin[own]]
            continue
        parts = [place[p] for p in graph.dependencies.get(number, ()) if p in place]
        needed = frozenset(e for j in parts for e in range(first[j], first[j + 1]))
        reads += [needed] * len(own)
    return reads, origin


class _Sets:
    """Sets of elements by number, each kept once; number 0 is the empty set."""

    def __init__(self) -> None:
        self.sets: list[frozenset[int]] = [frozenset()]
        self._number = {self.sets[0]: 0}

    def number(self, elements: frozenset[int]) -> int:
        if elements not in self._number:
            self._number[elements] = len(self.sets)
            self.sets.append(elements)
        return self._number[elements]

    def union(self, numbers: Sequence[np.ndarray], shape: tuple[int, ...] | None = None) -> Any:
        """The union of all sets in some arrays; with a `shape`, position by position."""
        if shape is None:
            return self.number(frozenset().union(*(self.sets[k] for x in numbers for k in np.unique(x))))
        rows = np.stack([np.broadcast_to(x, shape).reshape(-1) for x in numbers])
        found, back = np.unique(rows, axis=1, return_inverse=True)
        return np.array([self.number(frozenset().union(*(self.sets[k] for k in column))) for column in found.T],
                        np.int64)[back.reshape(-1)].reshape(shape)


def _element_by_element(graph: Graph, inputs: Sequence[int], outputs: Sequence[int], first: np.ndarray
                        ) -> tuple[list[frozenset[int]], np.ndarray]:
    sets = _Sets()
    read: dict[int, np.ndarray] = {}  # the set of each element of a number
    origin: dict[int, np.ndarray] = {}  # which old element it is, or -1
    for k, n in enumerate(inputs):
        origin[n] = np.arange(first[k], first[k + 1]).reshape(graph.shapes[n])
        read[n] = np.array([sets.number(frozenset({int(e)})) for e in origin[n].reshape(-1)],
                           np.int64).reshape(graph.shapes[n])

    def look(number: int) -> tuple[np.ndarray, np.ndarray]:
        shape = graph.shapes[number]
        return read.get(number, np.zeros(shape, np.int64)), origin.get(number, np.full(shape, -1))

    def take(equations: Sequence[Equation]) -> None:
        for equation in equations:
            if equation.body:
                take(equation.body)
                for number, inner in zip(equation.outputs, equation.body_outputs, strict=True):
                    read[number], origin[number] = look(inner)
                continue
            operands = [look(n) for n in equation.inputs]
            if not any(s.any() for s, _ in operands):
                continue
            sources = _sources(graph, equation)
            for k, number in enumerate(equation.outputs):
                shape = graph.shapes[number]
                if sources is not None:
                    for found, which in ((read, 0), (origin, 1)):
                        flat = np.concatenate([np.reshape(o[which], -1) for o in operands])
                        found[number] = np.where(sources[k] < 0, 0 - which, flat[np.maximum(sources[k], 0)])
                elif equation.primitive in ELEMENTWISE and int(np.prod(shape)) <= _LARGEST:
                    read[number] = sets.union([s for s, _ in operands], shape)
                else:
                    read[number] = np.full(shape, sets.union([s for s, _ in operands]))

    take(graph.equations)
    pairs = [look(n) for n in outputs]
    reads = [sets.sets[k] for s, _ in pairs for k in s.reshape(-1)]
    return reads, np.concatenate([o.reshape(-1) for _, o in pairs] or [np.zeros(0, int)])


def _sources(graph: Graph, equation: Equation) -> list[np.ndarray] | None:
    """For each result of a movement, which element of its operands (numbered one after the other) each element
    is, -1 for none; None if that is not known."""
    sizes = [int(np.prod(graph.shapes[n])) for n in (*equation.inputs, *equation.outputs)]
    if equation.primitive not in _MOVED or sum(sizes) > _LARGEST:  # floats are to hold their numbers
        return None
    places = range(len(equation.inputs))[_MOVED[equation.primitive]]
    operands: list[Any] = []
    first = 0
    for k, n in enumerate(equation.inputs):
        size, dtype = int(np.prod(graph.shapes[n])), graph.dtypes[n]
        if k in places:
            if graph.dependencies.get(n):
                return None
            (known,) = graph.constant([n], {})
            if not _compat.is_concrete(known):
                return None
            operands.append(known)
        elif not isinstance(dtype, np.dtype) or dtype.kind not in "fi" or dtype.itemsize < 4:
            return None
        else:
            operands.append(np.arange(first, first + size).astype(dtype).reshape(graph.shapes[n]))
        first += size
    with _compat.eagerly():
        results = [np.asarray(x) for x in graph.apply(equation, operands)]
    return [np.where((x >= 0) & (x < first), x, -1).astype(np.int64) for x in results]  # NaN where nothing was read
