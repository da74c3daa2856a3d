"""Rules of addition, multiplication, division and powers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.functions import power_of
from conjugate_ppl.algebra.monomial import Unknown, power, simplify
from conjugate_ppl.algebra.operands import full, shape_of, value_of
from conjugate_ppl.algebra.quotient import in_quotients
from conjugate_ppl.algebra.residual import in_residuals, multiplied
from conjugate_ppl.algebra.term import Term, Value, is_known
from conjugate_ppl.algebra.value import add, always_positive, collect, multiply
from conjugate_ppl.algebra.variables import Sum

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["ARITHMETIC"]

Rule = Callable[..., Any]


def _add(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = shape_of(x, y)
    return add(full(x, shape), full(y, shape))


def _sub(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = shape_of(x, y)
    return add(full(x, shape), full(y, shape), -1)


def _neg(walk: Walk, eqn: Equation, x: Value) -> Value:
    return Value(x.shape, tuple(t.scaled(-1.0) for t in x.terms))


def _mul(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = shape_of(x, y)
    x, y = multiplied(walk, eqn.inputs, x, y)
    return multiply(full(x, shape), full(y, shape))


def _div(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = shape_of(x, y)
    y = simplify(walk, value_of(y))
    divided: list[Term] = []
    if y.single is not None or y.roots & walk.candidates:
        x, y = (full(v, shape) for v in multiplied(walk, eqn.inputs, x, y))
    else:
        x, y = (full(v, shape) for v in multiplied(walk, eqn.inputs, x, _as_one(walk, eqn.inputs[1], y)))
        x, divided = in_quotients(walk, eqn, x, y)
    found = multiply(x, power(walk, y, Fraction(-1)))
    return collect(shape, (*divided, *found.terms)) if divided else found


def _as_one(walk: Walk, number: int, x: Value) -> Value:
    """A sum free of the candidates (`s + 0.1`) as one variable: a coefficient like any other."""
    return Value.of(walk.variables.once(("whole", number), lambda: Sum(
        f"sum#{number}", int(np.prod(x.shape)), always_positive(x), x.roots, number, whole=x)), x.shape)


def _integer_pow(walk: Walk, eqn: Equation, x: Value) -> Value:
    y = eqn.params["y"]
    if y == 2:
        return _square(walk, eqn, x)
    return power(walk, x, Fraction(y))


def _square(walk: Walk, eqn: Equation, x: Value) -> Value:
    x = in_residuals(walk, eqn.inputs[0], x)
    return multiply(x, x)


def _root(p: Fraction) -> Rule:
    return lambda walk, eqn, x: power(walk, x, p)


def _pow(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    known = not isinstance(y, Value) and is_known(y)
    exponents = np.unique(y) if known else np.zeros(0)
    if exponents.size == 1 and np.isfinite(exponents[0]):
        p = Fraction(float(exponents[0]))
        return _square(walk, eqn, value_of(x)) if p == 2 else power(walk, value_of(x), p)
    if isinstance(x, Value) and x.roots & walk.candidates and not (known and not np.isfinite(y).all()):
        shape = shape_of(x, y)
        return power_of(walk, eqn, full(x, shape), full(y, shape))
    raise Unknown("a power whose exponent differs from element to element" if known else
                  "a power whose exponent depends on a latent or on traced data")


ARITHMETIC: dict[str, Rule] = {
    "add": _add, "add_any": _add, "sub": _sub, "neg": _neg, "mul": _mul, "div": _div,
    "integer_pow": _integer_pow, "square": _square, "pow": _pow,
    "sqrt": _root(Fraction(1, 2)), "rsqrt": _root(Fraction(-1, 2)),
}
