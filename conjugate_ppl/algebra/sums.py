"""Rules of sums and products over axes: reductions, matrix products, triangular solves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.monomial import PIECES, Unknown, simplify
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.operands import value_of
from conjugate_ppl.algebra.paired import paired
from conjugate_ppl.algebra.residual import multiplied
from conjugate_ppl.algebra.simplex import sum_of_events, sum_of_sticks
from conjugate_ppl.algebra.term import Term, Value, is_known
from conjugate_ppl.algebra.value import collect, move, multiply, permute, reduce_sum, spread

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["SUMS", "dot"]

Rule = Callable[..., Any]


def _reduce_sum(walk: Walk, eqn: Equation, x: Value) -> Value:
    ones = sum_of_sticks(walk, x, eqn.params["axes"])
    return sum_of_events(x, eqn.params["axes"], _of_matrices(walk)) if ones is None else ones


def _of_matrices(walk: Walk) -> Callable[[Term], Term]:
    return lambda term: paired(walk.variables, term)


def _cumprod(walk: Walk, eqn: Equation, x: Value) -> Value:
    axis = eqn.params["axis"]
    steps = _running_products(walk, x, axis, eqn.params["reverse"])
    terms: list[Term] = []
    for k, product in enumerate(steps):
        here = np.full(x.shape, -1)
        at = (slice(None),) * axis + (x.shape[axis] - 1 - k if eqn.params["reverse"] else k,)
        here[at] = numbered(product.shape)
        terms += move(product, here).terms
    return collect(x.shape, terms)


def _reduce_prod(walk: Walk, eqn: Equation, x: Value) -> Value:
    for axis in sorted(eqn.params["axes"], reverse=True):
        x = _running_products(walk, x, axis, False)[-1]
    return x


def _running_products(walk: Walk, x: Value, axis: int, reverse: bool) -> list[Value]:
    """The products of the first k elements along an axis, k = 1, 2, ...; one monomial each."""
    n = x.shape[axis]
    if not 0 < n <= PIECES:
        raise Unknown("a product of many elements")
    numbers = numbered(x.shape)
    out: list[Value] = []
    for k in range(n):
        element = simplify(walk, move(x, np.take(numbers, n - 1 - k if reverse else k, axis)))
        if element.single is None:
            raise Unknown("a product of sums")
        out.append(multiply(out[-1], element) if out else element)
    return out


def _dot_general(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    x, y = multiplied(walk, eqn.inputs, x, y)
    return dot(value_of(x), value_of(y), eqn.params["dimension_numbers"], _of_matrices(walk))


def dot(x: Value, y: Value, dimension_numbers: Any, known: Callable[[Term], Term] = lambda t: t) -> Value:
    """`lax.dot_general`: spread both over batch, free and contracted axes, multiply, sum."""
    (xc, yc), (xb, yb) = dimension_numbers
    xf = [i for i in range(len(x.shape)) if i not in (*xc, *xb)]
    yf = [i for i in range(len(y.shape)) if i not in (*yc, *yb)]
    nb, nx, ny = len(xb), len(xf), len(yf)
    shape = (*(x.shape[i] for i in xb), *(x.shape[i] for i in xf), *(y.shape[i] for i in yf),
             *(x.shape[i] for i in xc))
    x = permute(x, [*xb, *xf, *xc])
    y = permute(y, [*yb, *yf, *yc])
    last = range(nb + nx + ny, len(shape))
    x = spread(x, shape, [*range(nb + nx), *last])
    y = spread(y, shape, [*range(nb), *range(nb + nx, nb + nx + ny), *last])
    return reduce_sum(multiply(x, y), list(last), known)


def _cumsum(walk: Walk, eqn: Equation, x: Value) -> Value:
    axis, n = eqn.params["axis"], x.shape[eqn.params["axis"]]
    lower = np.tril(np.ones((n, n)))
    matrix = lower.T if eqn.params["reverse"] else lower
    out = dot(x, Value.known(matrix), (((axis,), (1,)), ((), ())))
    rank = len(x.shape)
    order = [*range(rank - 1)]
    order.insert(axis, rank - 1)
    return permute(out, order)


def is_identity(x: Value) -> bool:
    if x.single is None or x.single.atoms or not is_known(x.single.coefficient()):
        return False
    c = np.broadcast_to(x.single.coefficient(), x.shape)
    return x.shape[-1] == x.shape[-2] and bool((c == np.eye(x.shape[-1])).all())


def _triangular_solve(walk: Walk, eqn: Equation, a: Any, b: Any) -> Value:
    """Solving with a matrix that is free of the candidates is a product with its inverse."""
    p = eqn.params
    inverse = walk.triangular_inverse(eqn, a)
    n = len(inverse.shape)
    batch = tuple(range(n - 2))
    inner = n - 2 if p["transpose_a"] else n - 1
    b = value_of(b)
    if is_identity(b) and not p["transpose_a"]:
        return inverse
    if p["left_side"]:
        return dot(inverse, b, (((inner,), (n - 2,)), (batch, batch)))
    return dot(b, inverse, (((n - 1,), (n - 2 if inner == n - 1 else n - 1,)), (batch, batch)))


SUMS: dict[str, Rule] = {
    "reduce_sum": _reduce_sum, "dot_general": _dot_general, "cumsum": _cumsum, "cumprod": _cumprod,
    "reduce_prod": _reduce_prod, "triangular_solve": _triangular_solve,
}
