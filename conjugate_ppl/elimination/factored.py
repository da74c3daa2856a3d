"""The covariance that a prior's scale_tril is the Cholesky factor of, where the model computes it from one.

A marginal density needs the covariance alone: what is differentiated is then a product with it, and not its factor.
"""

from __future__ import annotations

import numpy as np

from conjugate_ppl.gaussian.site import Covariance
from conjugate_ppl.graph import Graph

__all__ = ["factored"]


def factored(graph: Graph, number: int) -> Covariance | None:
    """The matrices, shape (..., n, n), that those of `number` are the factors of; None if that is not seen.

    The equations are those of `jnp.linalg.cholesky`: the lower triangle of the factor of (x + x') / 2. Other ways to
    call for a factor have a part of them. Axes of events may have been added in front.
    """
    while (maker := graph.maker(number)) is not None and maker.primitive in ("select_n", "broadcast_in_dim"):
        shape, inside = graph.shapes[number], maker.inputs[-1]
        before = graph.shapes[inside]
        if maker.primitive == "select_n":
            mask, zero = maker.inputs[:2]
            same = _is(graph, mask, np.tri(*shape[-2:], dtype=bool)) and _is(graph, zero, np.zeros(()))
        else:
            own = tuple(range(len(shape) - len(before), len(shape)))
            same = len(before) > 1 and tuple(maker.params["broadcast_dimensions"]) == own and before[-2:] == shape[-2:]
        if not same:
            return None
        number = inside
    if maker is None or maker.primitive != "cholesky":
        return None
    matrix, = maker.inputs
    return Covariance(matrix, graph.shapes[matrix][:-2], _symmetric(graph, matrix))


def _is(graph: Graph, number: int, expected: np.ndarray) -> bool:
    """Whether a number is known and equal to an array, wherever it is repeated."""
    if graph.dependencies.get(number) or number in graph.traced:
        return False
    (known,) = graph.constant([number], {})
    return bool(np.array_equal(np.asarray(known), np.broadcast_to(expected, graph.shapes[number])))


def _symmetric(graph: Graph, number: int) -> bool:
    """Whether matrices are (x + x') times a number."""
    maker = graph.maker(number)
    if maker is None or maker.primitive not in ("div", "mul"):
        return False
    scalars = [i for i in maker.inputs if not graph.shapes[i] and not graph.dependencies.get(i)]
    sums = [graph.maker(i) for i in maker.inputs[: 1 if maker.primitive == "div" else 2] if i not in scalars]
    if len(scalars) != 1 or len(sums) != 1 or sums[0] is None or sums[0].primitive not in ("add", "add_any"):
        return False
    a, b = sums[0].inputs
    return any(_transposed(graph, x, y) for x, y in ((a, b), (b, a)))


def _transposed(graph: Graph, x: int, y: int) -> bool:
    """Whether y is x, transposed."""
    maker = graph.maker(y)
    rank = len(graph.shapes[y])
    return (maker is not None and maker.primitive == "transpose" and maker.inputs == (x,)
            and tuple(maker.params["permutation"]) == (*range(rank - 2), rank - 1, rank - 2))
