"""What a chain leaves for coefficients that all its steps share: a quadratic in them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.value import add, multiply, reduce_sum, spread
from conjugate_ppl.algebra.variables import Variable

__all__ = ["quadratic_in", "squares_of"]


def quadratic_in(marginal: Variable, own: Sequence[Value], columns: int, scale: Value) -> Value:
    """scale w'qw + v for w = 1 and the elements beside the chain."""
    numbers = np.arange(columns**2).reshape(columns, columns)

    def entries(which: np.ndarray) -> Value:
        one = np.ones((1,) * which.ndim)
        return Value(which.shape, (Term(which.ndim, (), (one,), (Atom(marginal, Fraction(1), which),)),))

    total = entries(numbers[0, 0])
    starts = np.cumsum([1, *(v.shape[0] for v in own)])
    for k, (at, v) in enumerate(zip(starts, own, strict=False)):
        i = slice(at, at + v.shape[0])
        total = add(total, reduce_sum(multiply(entries(numbers[0, i]), v), [0]))
        total = add(total, reduce_sum(multiply(entries(numbers[i, 0]), v), [0]))
        for n, (bt, u) in enumerate(zip(starts, own, strict=False)):
            j = slice(bt, bt + u.shape[0])
            if n < k:
                continue
            shape = v.shape[0], u.shape[0]
            pair = multiply(spread(v, shape, (0,)), spread(u, shape, (1,)))
            both = multiply(entries(numbers[i, j]), pair)
            total = add(total, reduce_sum(both, [0, 1]))
            if n > k:
                total = add(total, reduce_sum(multiply(entries(numbers[j, i].T), pair), [0, 1]))
    return add(multiply(scale, total), entries(np.asarray(columns**2)))


def squares_of(own: Sequence[Value], precision: np.ndarray) -> Value:
    """-1/2 w'(precision)w for the elements beside the chain."""
    starts = np.cumsum([0, *(v.shape[0] for v in own)])
    total = Value.known(np.zeros(()))
    for at, v in zip(starts, own, strict=False):
        for bt, u in zip(starts, own, strict=False):
            shape = v.shape[0], u.shape[0]
            part = Value.known(-0.5 * precision[at: at + shape[0], bt: bt + shape[1]])
            pair = multiply(spread(v, shape, (0,)), spread(u, shape, (1,)))
            total = add(total, reduce_sum(multiply(part, pair), [0, 1]))
    return total
