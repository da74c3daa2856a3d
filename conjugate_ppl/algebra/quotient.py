"""Quotients of two functions of the same kept sites, each as one variable.

Of `x**h / (x**h + c**h)` neither part, squared, need be a number that a float holds, where the quotient is at most 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.monomial import Unknown
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.residual import Residual, times
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.variables import Latent, Variable

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["Quotient", "in_quotients"]


@dataclasses.dataclass(frozen=True, eq=False)
class Quotient(Variable):
    """The elements of a monomial of functions of kept sites, divided by one more."""

    above: Value
    below: Value

    def elements(self, values: Values) -> Any:
        return (values.value(self.above) / values.value(self.below)).reshape(-1)


def in_quotients(walk: Walk, eqn: Equation, x: Value, y: Value) -> tuple[Value, list[Term]]:
    """What of `x` is still to be divided by `y`, one variable of kept sites, and what has been: where it holds functions of the
    same sites, these and `y` are one.

    Raises:
        Unknown: if nothing of it is a candidate's, so that the whole may be one.
    """
    parts = [_meeting(t, y) for t in x.terms]
    if not x.roots & walk.candidates and any(parts) and not walk.replaced(eqn.outputs[0]):
        raise Unknown("a quotient of functions of the same latents")
    out, left = [], []
    for term, atoms in zip(x.terms, parts, strict=True):
        if atoms:
            whole = Atom(_variable(walk, eqn.outputs[0], term, atoms, y), Fraction(1), numbered(x.shape))
            out.append(times([whole], dataclasses.replace(term, atoms=tuple(a for a in term.atoms if a not in atoms))))
        else:
            left.append(term)
    return Value(x.shape, tuple(left)), out


def _variable(walk: Walk, number: int, term: Term, atoms: Sequence[Atom], y: Value) -> Variable:
    own = tuple(a.map(lambda s: s.reshape(s.shape[:term.rank])) for a in atoms)
    above = Value(y.shape, (Term(term.rank, (), (np.ones((1,) * term.rank),), own),))
    positive = all(a.variable.positive for t in (*above.terms, *y.terms) for a in t.atoms)
    key = ("quotient", number, *((a.variable, a.power, a.selection.shape, a.selection.tobytes()) for a in own))
    return walk.variables.once(key, lambda: Quotient(
        f"quotient#{number}", math.prod(y.shape), positive, above.roots | y.roots, above, y))


def _meeting(term: Term, y: Value) -> list[Atom]:
    """The functions of sites of `y` in a term, where none changes along axes that are summed. Residuals stay what they are."""
    atoms = [a for a in term.atoms if not isinstance(a.variable, Latent | Residual) and a.variable.roots & y.roots]
    plain = all(is_known(a.selection) and a.selection.size == math.prod(a.selection.shape[:term.rank]) for a in atoms)
    return atoms if plain else []
