"""How many numbers a sum is once it is written in monomials, and how many the model itself computes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from conjugate_ppl.algebra.term import Term, is_known
from conjugate_ppl.program import Program

__all__ = ["model_size", "numbers_of"]


def numbers_of(term: Term) -> int:
    """At most so many monomials are left of a term after its sums: one for each choice of elements.

    Rows add up where all that they read is few elements; where each has one of its own, none do.
    """
    shape = np.broadcast_shapes(*(np.shape(a.selection) for a in term.atoms))
    if not all(is_known(a.selection) for a in term.atoms):
        return math.prod(shape)
    return min(math.prod(shape), math.prod(int(np.max(a.selection, initial=0)) + 1 for a in term.atoms))


def model_size(program: Program, factors: Iterable[str]) -> int:
    """The numbers that a model computes or reads for some factors."""
    numbers = program.graph.needed_for([program.sites[n].factor for n in factors])
    return sum(math.prod(program.graph.shapes[n]) for n in numbers)
