"""Probabilities by proof: single ones, and those that sum to one (the cells of a simplex, products of `v` and `1 - v`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.monomial import PIECES, Unknown, monomials
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Term, Value, is_known
from conjugate_ppl.algebra.value import add, move, never_negative, reduce_sum
from conjugate_ppl.algebra.variables import Complement, Condition, Elementwise, Latent, Opaque, Variable

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk

__all__ = ["is_probability", "sum_of_events", "sum_of_sticks", "sums_to_one"]

Key = frozenset[tuple[Variable, bytes]]


def is_probability(walk: Walk, value: Value) -> bool:
    """Whether every element lies between 0 and 1: it, or one less it, is a product of what does."""
    return any(_is_product(walk, x) for x in (value, add(Value.known(np.ones(value.shape)), value, -1)))


def _is_product(walk: Walk, value: Value) -> bool:
    try:
        pieces = [m for _, m in monomials(walk, value, "a probability")]
    except Unknown:
        return False
    return all(is_known(c) and bool(((c >= 0) & (c <= 1)).all()) for m in pieces for c in (m.coefficient(),)) and all(
        a.power > 0 and _at_most_one(walk, a.variable) for m in pieces for a in m.atoms)


def _at_most_one(walk: Walk, v: Variable) -> bool:
    if isinstance(v, Complement) or (isinstance(v, Latent) and v.support in ("unit", "simplex")):
        return True
    if isinstance(v, Condition) or (isinstance(v, Elementwise | Opaque) and v.equation.primitive == "logistic"):
        return True
    if isinstance(v, Elementwise) and v.primitive == "exp":
        return v.coefficient <= 0 and walk.positive(v.base)
    exponent = v.exponent(walk)
    return exponent is not None and never_negative(Value(exponent.shape, tuple(t.scaled(-1.0) for t in exponent.terms)))


def sums_to_one(walk: Walk, value: Value) -> bool:
    """Whether the elements along a value's last axis are probabilities that always sum to one."""
    if not value.shape:
        return False
    return _is_one(sum_of_events(value, [len(value.shape) - 1])) or _sticks(walk, value)


def sum_of_sticks(walk: Walk, value: Value, axes: Iterable[int]) -> Value | None:
    """The ones that the pieces of a broken stick add up to along the last axis; None if they are none."""
    last = len(value.shape) - 1
    broken = any(isinstance(a.variable, Complement) for t in value.terms for a in t.atoms)
    if tuple(axes) != (last,) or not broken or not _sticks(walk, value):
        return None
    return Value.known(np.ones(value.shape[:-1]))


def _is_one(value: Value) -> bool:
    return all(not t.atoms and is_known(t.coefficient()) for t in value.terms) and bool(
        np.all(sum((t.coefficient() for t in value.terms), np.zeros(())) == 1))


def sum_of_events(value: Value, axes: Iterable[int], known: Callable[[Term], Term] = lambda t: t) -> Value:
    """`reduce_sum`, where whole events of a simplex latent are summed to one."""
    axes = sorted(axes)
    left, done = [], []
    for term in value.terms:
        axis = next((a for a in axes if _whole_events(term, value.shape, a)), None)
        if axis is None:
            left.append(term)
        else:
            one = tuple(1 if i == axis else n for i, n in enumerate(value.shape))  # its cells sum to one
            done.append(Value(one, (_without_event(term, axis),)))
    terms = list(reduce_sum(Value(value.shape, tuple(left)), axes, known).terms)
    for event in done:
        terms += reduce_sum(event, axes).terms
    return Value(tuple(n for i, n in enumerate(value.shape) if i not in axes), tuple(terms))


def _whole_events(term: Term, shape: tuple[int, ...], axis: int) -> bool:
    """Whether each row along an axis is one event of a simplex, its cells in some order, times what is equal in it."""
    varying = [a for a in term.atoms if np.shape(a.selection)[axis] > 1]
    if term.hidden or len(varying) != 1 or any(np.shape(c)[axis] > 1 for c in term.coefficients):
        return False
    atom = varying[0]
    if not (isinstance(atom.variable, Latent) and atom.variable.support == "simplex"
            and atom.power == 1 and atom.variable.cells == shape[axis] and is_known(atom.selection)):
        return False
    rows = np.moveaxis(atom.selection, axis, -1)
    cells = shape[axis]
    return bool((np.sort(rows % cells, -1) == np.arange(cells)).all() and (rows // cells == rows[..., :1] // cells).all())


def _without_event(term: Term, axis: int) -> Term:
    """The term without the atom that varies along an axis."""
    return Term(term.rank, (), term.coefficients,
                tuple(a for a in term.atoms if np.shape(a.selection)[axis] == 1))


def _sticks(walk: Walk, value: Value) -> bool:
    """Whether the sum shrinks to one by `a v + a (1 - v) = a`, as for the pieces of a broken stick."""
    cells = value.shape[-1]
    if not 1 < cells <= PIECES:
        return False
    sums: dict[Key, Any] = {}
    for k in range(cells):
        cell = move(value, numbered(value.shape)[..., k])
        try:
            pieces = monomials(walk, cell, "")
        except Unknown:
            return False
        if len(pieces) != 1:
            return False
        term = pieces[0][1]
        if not all(map(is_known, term.arrays)) or any(a.power != 1 or not a.variable.positive
                                                      for a in term.atoms):
            return False
        key = frozenset((a.variable, np.broadcast_to(a.selection, cell.shape).tobytes()) for a in term.atoms)
        if key in sums or len(key) != len(term.atoms) or (np.asarray(term.coefficient()) != 1).any():
            return False
        sums[key] = None
    while len(sums) > 1:
        merged = _merge(walk, set(sums))
        if merged is None:
            return False
        sums = dict.fromkeys(merged)
    return not next(iter(sums))


def _merge(walk: Walk, keys: set[Key]) -> set[Key] | None:
    for key in sorted(keys, key=len, reverse=True):
        for variable, at in key:
            rest = key - {(variable, at)}
            other = rest | {(walk.variables.complement(variable), at)}
            if other in keys and rest not in keys:
                return (keys - {key, other}) | {rest}
    return None
