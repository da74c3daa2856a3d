"""Products of a computed matrix with itself, as variables of their own.

A residual that is solved with the factor of a covariance and squared, `sum_k (L^-1 r)_k^2`, has a monomial for each k and pair of
places; of the precision matrix `L^-T L^-1`, which is computed once, one for each pair.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.runtime import taken
from conjugate_ppl.algebra.term import Atom, Term, is_known, thin_einsum
from conjugate_ppl.algebra.variables import Computed, Variable

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values

__all__ = ["Grams"]


class Grams:
    """Makes each product once, so that equal ones are the same variable."""

    def __init__(self) -> None:
        self._made: dict[Any, Computed] = {}
        self._work: dict[Variable, int] = {}

    def put(self, term: Term, kept: Collection[int]) -> Term | None:
        """A scalar term with one variable for the product of two of the atoms `kept`; None unless nothing else depends on
        what is summed over."""
        pairs = [(i, j) for i in kept for j in kept if i < j and term.atoms[i].variable is term.atoms[j].variable]
        for i, j in pairs:
            if isinstance(term.atoms[i].variable, Computed):
                found = self._product(term, i, j)
                if found is not None:
                    return found
        return None

    def work(self, term: Term) -> int:
        """How many multiplications its product, which comes last, takes; none if it was taken before."""
        return self._work.get(term.atoms[-1].variable, 0)

    def take(self, term: Term) -> None:
        """Note that the product of a term is computed."""
        self._work.pop(term.atoms[-1].variable, None)

    def _product(self, term: Term, i: int, j: int) -> Term | None:
        a, b = term.atoms[i], term.atoms[j]
        if a.power != 1 or b.power != 1 or not (is_known(a.selection) and is_known(b.selection)):
            return None
        first, second = _axes(a.selection), _axes(b.selection)
        others = frozenset().union(*(_axes(x) for x in (*term.coefficients, *(
            c.selection for k, c in enumerate(term.atoms) if k not in (i, j)))))
        summed = sorted((first & second) - others)
        shared = sorted((first & second) - set(summed))
        if not summed or len(first - second) != 1 or len(second - first) != 1:
            return None
        (left,), (right,) = first - second, second - first
        axes = [*summed, *shared, left, right]
        tables = [np.transpose(x, [*axes, *(k for k in range(x.ndim) if k not in axes)]).reshape(
            [x.shape[k] for k in axes]) for x in (a.selection, b.selection)]
        key = (a.variable, len(summed), *((t.shape, t.tobytes()) for t in tables))
        if key not in self._made:
            size = math.prod(term.hidden[k] for k in axes[len(summed):])
            sums = {k: term.hidden[n] for k, n in enumerate(summed)}

            def compute(values: Values) -> Any:
                x = values.variable(a.variable)
                return thin_einsum([taken(x, t) for t in tables], range(len(summed), len(axes)), sums)

            own = Computed(f"product of {a.variable.name}", size, False, a.variable.roots, compute)
            self._made[key], self._work[own] = own, size * math.prod(sums.values())
        places = np.arange(self._made[key].size).reshape([term.hidden[k] for k in axes[len(summed):]])
        order = np.argsort(axes[len(summed):])
        shape = [n if k in axes[len(summed):] else 1 for k, n in enumerate(term.hidden)]
        atom = Atom(self._made[key], Fraction(1), places.transpose(order).reshape(shape))
        atoms = (*(c for k, c in enumerate(term.atoms) if k not in (i, j)), atom)
        return dataclasses.replace(term, atoms=atoms).map(
            lambda x: np.squeeze(x, tuple(summed)), hidden=tuple(n for k, n in enumerate(term.hidden) if k not in summed))


def _axes(array: Any) -> frozenset[int]:
    return frozenset(k for k, n in enumerate(np.shape(array)) if n > 1)
