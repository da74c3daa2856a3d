"""Which terms belong to a Gaussian block: those that hold it, and the squares of the data beside these."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.term import Term
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.gaussian.block import GaussianBlock

__all__ = ["added_up", "loaded"]

_FEW = 32  # kinds of weights that are looked at in pairs


def added_up(terms: Sequence[Term], elements: Variable, inside: frozenset[str], visible: frozenset[str]
             ) -> tuple[Sequence[Term], list[Term], Reduced]:
    """The terms that do not hold the block `inside`, whose elements are given, those that do, and their sum; `visible` sites may be
    integrated out next."""
    free: Sequence[Term] = [t for t in terms if not t.roots & inside]
    bound = [t for t in terms if t.roots & inside]
    with_block = _with_block(free, bound, elements, inside, visible)
    reduced = reduce_terms([*bound, *with_block], lambda v: 0 if v is elements else None)
    if reduced.late.get(0):
        with_block, reduced = [], reduce_terms(bound, lambda v: 0 if v is elements else None)
    return [t for t in free if t not in with_block], bound, reduced


def _with_block(free: Sequence[Term], bound: Sequence[Term], elements: Variable, inside: frozenset[str], visible: frozenset[str]
                ) -> list[Term]:
    """Terms that do not hold the block, but have the weights of what does: the squares of the data. Of these less what the block
    explains a sum is known ahead; apart, both are large where a weight is. What may be integrated out next stays a term."""
    own = {frozenset((a.variable, a.power) for a in t.atoms if a.variable is not elements) for t in bound}
    weights = own | {_third(a, b) for a in own for b in own if a != b and len(own) <= _FEW}
    roots = frozenset[str]().union(*(t.roots for t in bound)) - inside
    if roots & visible:
        return []
    return [t for t in free if t.atoms and frozenset((a.variable, a.power) for a in t.atoms) in weights]


def _third(first: frozenset[tuple[Variable, Fraction]], second: frozenset[tuple[Variable, Fraction]]
           ) -> frozenset[tuple[Variable, Fraction]]:
    """Of weights w l and w l^2 the weight w."""
    total: dict[Variable, Fraction] = {}
    for names, sign in ((first, 2), (second, -1)):
        for v, p in names:
            total[v] = total.get(v, Fraction(0)) + sign * p
    return frozenset((v, p) for v, p in total.items() if p)


def loaded(block: GaussianBlock) -> tuple[frozenset[str], frozenset[str]] | None:
    """The sites of the block whose squares a kept site multiplies, and those kept sites; None if there are none."""
    squares = block.reduced.entries.get(2)
    if squares is None:
        return None
    multiplied, names = [np.zeros(0, bool)], frozenset[str]()
    present = np.bincount(squares.weights, minlength=block.reduced.weights.count) > 0
    start = 0
    for signature, rows in block.reduced.weights.groups:
        own = frozenset(n for v, p in signature if p > 0 for n in v.roots)
        there = present[start:start + len(rows)] & bool(own)
        multiplied.append(there)
        names |= own if there.any() else frozenset()
        start += len(rows)
    own_squares = squares.positions[0] == squares.positions[1]
    elements = np.unique(squares.positions[0][own_squares & np.concatenate(multiplied)[squares.weights]])
    if not len(elements):
        return None
    return frozenset(s.name for s in block.sites if np.isin(s.elements, elements).any()), names
