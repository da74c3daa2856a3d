"""Functions of repeated rows: computed once for each distinct row.

Where the operands of an elementwise primitive are proved equal in many positions (`exp(m + a[g])` in all
rows of a group), its result is a variable with as many elements as there are distinct rows, and a
selection. Rows so become counts, whatever the function is.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.variables import LOGARITHMS, Opaque
from conjugate_ppl.primitives import ELEMENTWISE

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["Distinct", "distinct"]


@dataclasses.dataclass(frozen=True, eq=False)
class Distinct(Opaque):
    """An elementwise primitive of operands (`parts`, of `types`) written out for distinct rows alone."""

    parts: tuple[Any, ...] = ()
    types: tuple[Any, ...] = ()

    def elements(self, values: Values) -> Any:
        inner = self.parts[0]
        if self.equation.primitive in LOGARITHMS and isinstance(inner, Value):
            out = values.logarithm(self.equation.primitive, inner)
            if out is not None:
                return out
        return self.equation.raw.primitive.bind(*self._operands(values), **self.equation.params)

    def _operands(self, values: Values) -> list[Any]:
        return [jnp.asarray(values.value(p) if isinstance(p, Value) else p, t)
                for p, t in zip(self.parts, self.types, strict=True)]

    def exponents(self, values: Values) -> Any:
        return self._operands(values)[0] if self._exponential else None

    def exponent(self, walk: Walk) -> Value | None:
        inner = self.parts[0]
        return inner if self._exponential and isinstance(inner, Value) else None


def distinct(walk: Walk, equation: Equation, operands: list[Any], opaque: Opaque) -> Value | None:
    """`opaque`, the result of an equation, as a variable over the distinct rows of its operands; None
    where rows are not proved to repeat."""
    if equation.primitive not in ELEMENTWISE or len(equation.outputs) != 1:
        return None
    shape = walk.graph.shapes[equation.outputs[0]]
    size, types = int(np.prod(shape)), tuple(walk.graph.dtypes[n] for n in equation.inputs)
    if size < 2 or any(jnp.issubdtype(t, jnp.integer) for t in types):
        return None
    columns: list[np.ndarray] = []
    for x in operands:
        arrays = [a for t in x.terms for a in t.arrays] if isinstance(x, Value) else [x]
        if not all(map(is_known, arrays)) or (isinstance(x, Value) and any(t.hidden for t in x.terms)):
            return None
        columns += [np.broadcast_to(a, shape).reshape(-1) for a in arrays if np.size(a) > 1]
    classes, first = equal_rows(columns, size)
    if 2 * len(first) > size:
        return None

    def rows(a: Any) -> Any:
        return np.broadcast_to(a, shape).reshape(-1)[first]

    parts = tuple(Value((len(first),), tuple(t.map(rows, 1) for t in x.terms))
                  if isinstance(x, Value) else rows(x) for x in operands)
    roots = frozenset().union(*(p.roots for p in parts if isinstance(p, Value)))
    made = walk.variables.keep(("distinct", opaque.number), Distinct(
        opaque.name, len(first), opaque.positive, roots, opaque.number, opaque.reason, equation, parts, types))
    return Value(shape, (Term(len(shape), (), (np.ones((1,) * len(shape)),),
                              (Atom(made, Fraction(1), classes.reshape(shape)),)),))
