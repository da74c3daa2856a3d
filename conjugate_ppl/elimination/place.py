"""A point that a block is measured from at run time, should what it enters be residuals (`algebra/residual.py`).

How large they are, and how much of them the block explains, depends on the kept sites. At its posterior mean given these what
is left of them is as small as it can be, and a sum of squares: no digits are lost to differences of large numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp

from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.residual import Residual
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Term
from conjugate_ppl.algebra.variables import Latent, Point, Variable

__all__ = ["Place", "point_of"]


def point_of(size: int) -> Variable:
    """The elements of a point, zero unless they are bound."""
    return Point("the block's place", size, False, frozenset())


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A `point` that a block is measured from, and the sum of what holds residuals or the point, but not the block."""

    point: Variable
    terms: tuple[Term, ...]
    free: Reduced

    @staticmethod
    def of_all(point: Variable, terms: Sequence[Term]) -> Place:
        """With all of some terms."""
        return Place(point, tuple(terms), reduce_terms(terms, lambda v: None))

    @staticmethod
    def of(point: Variable, terms: Sequence[Term]) -> tuple[Place, tuple[Term, ...]]:
        """Of terms that do not hold the block those that belong to the place, and the others."""
        own = tuple(t for t in terms if any(a.variable is point or isinstance(a.variable, Residual) for a in t.atoms))
        return Place.of_all(point, own), tuple(t for t in terms if t not in own)

    @property
    def roots(self) -> frozenset[str]:
        """The sites that it depends on."""
        return frozenset().union(*(t.roots for t in self.terms))

    def bound(self, values: Values, mean: Callable[[Values], Any]) -> Values:
        """The values with the point bound to the posterior mean, which `mean` gives about any point. The integral is the same
        for all, so that the point has no derivative."""
        found = mean(values.bound(self.point, jnp.zeros(self.point.size, values.dtype)))
        return values.bound(self.point, jax.lax.stop_gradient(jnp.where(jnp.isfinite(found), found, 0.0)))

    def left(self, values: Values, point: Any = None) -> Any:
        """The sum at a point, or at values that hold it."""
        if point is not None:
            values = values.bound(self.point, point)
        return self.free.constant(values, self.free.weights.evaluate(values))

    def scaled_by(self, name: str, power: Fraction) -> bool:
        """Whether each of its terms is one element of the site `name` to some power, times what does not depend on it."""
        own = [[a for a in t.atoms if name in a.variable.roots] for t in self.terms]
        return all(len(atoms) == 1 and isinstance(atoms[0].variable, Latent) and atoms[0].power == power for atoms in own)
