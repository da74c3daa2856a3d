"""Sums over the elements of factors of definite matrices that are numbers of the matrices themselves.

    sum_k F[a, k] F[b, k] = M[a, b]           F the lower factor of M
    sum_k A[k, a] A[k, b] = inv(M)[a, b]      A the inverse of F
    sum_a log F[a, a] = log det M / 2

They are applied where a sum is written, before anything else is done with it. What comes out is affine in the
statistics of a Wishart family (`families/wishart.py`), or it is not, and that can be seen.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.definite import (
    Diagonal,
    Factor,
    Gram,
    Inverse,
    Inverted,
    inverted_variable,
    roots,
)
from conjugate_ppl.algebra.term import Atom, Term, is_known, merge_atoms
from conjugate_ppl.algebra.variables import Latent, Log, Variable, Variables
from conjugate_ppl.triangular import log_det_lower

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values

__all__ = ["LogDet", "paired"]


@dataclasses.dataclass(frozen=True, eq=False)
class LogDet(Variable):
    """The logarithms of the determinants of definite matrices, one a matrix."""

    base: Variable
    cells: int

    def elements(self, values: Values) -> Any:
        return 2 * log_det_lower(roots(values, self.base, self.cells))


def paired(variables: Variables, term: Term) -> Term:
    """The term with such sums over hidden axes done."""
    while True:
        found = _log_det(variables, term) or _pair(variables, term)
        if found is None:
            return term
        term = found


def _whole(variables: Variables, factor: Variable) -> Variable | None:
    """The matrices that a triangular variable is the factor of, if it is one of definite latents."""
    if isinstance(factor, Factor):
        return factor.base
    if isinstance(factor, Latent) and factor.support == "lower cholesky":
        latent = factor
        return variables.once(("gram", latent), lambda: Gram(
            f"{latent.name} {latent.name}'", latent.size, False, latent.roots, latent))
    return None


def _log_det(variables: Variables, term: Term) -> Term | None:
    """With a sum of logarithms over whole diagonals."""
    for atom in term.atoms:
        v = atom.variable
        if not (isinstance(v, Log) and isinstance(v.base, Diagonal) and atom.power == 1 and is_known(atom.selection)):
            continue
        matrix, n = _whole(variables, v.base.base), v.base.cells
        if matrix is None:
            continue
        for axis in range(len(term.hidden)):
            at = np.moveaxis(atom.selection, term.rank + axis, -1)
            if at.shape[-1] != n or not _all_cells(at % n) or not _same(at // n, at[..., :1] // n):
                continue
            if _alone(term, axis, [atom]) and _place(term, axis, None) is not None:
                sign, matrix = (-0.5, matrix.base) if isinstance(matrix, Inverted) else (0.5, matrix)
                made = variables.keep(("log det", matrix), LogDet(
                    f"log det {matrix.name}", v.size // n, False, v.roots, matrix, n))
                number = _first(term, axis, 0)(atom.selection // n)
                return _without(term, axis, 0, [atom], Atom(made, Fraction(1), number), sign)
    return None


def _pair(variables: Variables, term: Term) -> Term | None:
    """With a sum over what two elements of a factor, or of its inverse, share."""
    atoms = [a for a in term.atoms if isinstance(a.variable, (Factor, Inverse, Latent)) and is_known(a.selection)
             and a.power in (1, 2)]
    for k, one in enumerate(atoms):
        made = _matrix(variables, one.variable)
        if made is None:
            continue
        matrix, order, rows_shared = made
        for other in [one] if one.power == 2 else [a for a in atoms[k + 1:] if a.variable is one.variable
                                                   and a.power == 1]:
            for axis in range(len(term.hidden)):
                found = _sum(term, axis, one, other, len(order), rows_shared)
                if found is None:
                    continue
                number, a, b, place = found
                a, b = order[a], order[b]
                n = len(order)
                at = number * n**2 + np.maximum(a, b) * n + np.minimum(a, b)
                return _without(term, axis, place, [one, other], Atom(matrix, Fraction(1), at), 1.0)
    return None


def _matrix(variables: Variables, v: Variable) -> tuple[Variable, np.ndarray, bool] | None:
    """What pairs of elements of a variable add up to: the matrices, which row of them each row stands for, and
    whether the pairs share rows."""
    if isinstance(v, Inverse):
        base, n = _whole(variables, v.base), v.cells
        if base is None:
            return None
        order = np.asarray(v.base.order) if isinstance(v.base, Factor) else np.arange(n)
        places = np.asarray(v.places).reshape(n, n)
        shares_rows = v.places == tuple(range(n**2))
        if not shares_rows:  # of F', its rows and columns in some order: the inverse shares columns
            row, column = places // n, places % n
            if (row != row[:1]).any() or (column != column[:, :1]).any():
                return None
            order = order[row[0]]
        return inverted_variable(variables, base, n), order, shares_rows
    base = _whole(variables, v)
    if base is None:
        return None
    assert isinstance(v, Factor | Latent)
    return base, np.asarray(v.order) if isinstance(v, Factor) else np.arange(v.cells), False


def _sum(term: Term, axis: int, one: Atom, other: Atom, n: int, rows_shared: bool
         ) -> tuple[Any, Any, Any, int] | None:
    """(matrix, row and column of each position, a place along the axis that all depends on), if the axis is what
    a pair of elements shares."""
    if not _alone(term, axis, [one, other]):
        return None
    ends = []
    for atom in (one, other):
        at = np.moveaxis(atom.selection, term.rank + axis, -1)
        if at.shape[-1] != n:
            return None
        row, column = at % n**2 // n, at % n
        shared, own = (row, column) if rows_shared else (column, row)
        if not _same(own, own[..., :1]) or not _same(at // n**2, at[..., :1] // n**2) or not _all_cells(shared):
            return None
        ends.append([np.moveaxis(x, -1, term.rank + axis) for x in (at // n**2, own, shared)])
    (number, a, shared), (same, b, turned) = ends
    if not _same(number, same) or not _same(shared, turned):
        return None
    # elements above the diagonal are zero, whatever multiplies them
    zero = (shared < a) | (shared < b) if rows_shared else (shared > a) | (shared > b)
    place = _place(term, axis, zero)
    if place is None:
        return None
    number, a, b = (_first(term, axis, 0)(x) for x in (number, a, b))
    return number, a, b, place


def _all_cells(x: np.ndarray) -> bool:
    """Whether each row holds 0, 1, 2, ... in some order."""
    return bool((np.sort(x, -1) == np.arange(x.shape[-1])).all())


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    return bool((x == y).all())


def _alone(term: Term, axis: int, atoms: list[Atom]) -> bool:
    """Whether no other atom varies along a hidden axis."""
    return all(np.shape(a.selection)[term.rank + axis] == 1 for a in term.atoms
               if not any(a is b for b in atoms))


def _place(term: Term, axis: int, zero: np.ndarray | None) -> int | None:
    """A place along a hidden axis that the coefficients have the same numbers at as everywhere, places apart where
    `zero` says that they do not count."""
    axis = term.rank + axis
    varying = [c for c in term.coefficients if np.shape(c)[axis] > 1]
    if not varying:
        return 0
    if not all(map(is_known, varying)):
        return None
    full = np.zeros(0, int)
    if zero is not None:
        full = np.flatnonzero(~np.moveaxis(zero, axis, 0).reshape(zero.shape[axis], -1).any(1))
    place = int(full[0]) if len(full) else 0
    for c in varying:
        differs = c != np.take(c, [place], axis)
        if (differs if zero is None or not len(full) else differs & ~zero).any():
            return None
    return place


def _first(term: Term, axis: int, place: int) -> Any:
    """What takes an array of the term at one place of a hidden axis."""
    def take(x: Any) -> Any:
        k = place if np.shape(x)[term.rank + axis] > 1 else 0
        return x[(slice(None),) * (term.rank + axis) + (k,)]

    return take


def _without(term: Term, axis: int, place: int, gone: list[Atom], made: Atom, factor: float) -> Term:
    """The term with one hidden axis summed and some atoms replaced by one."""
    take = _first(term, axis, place)
    atoms = tuple(a.map(take) for a in term.atoms if not any(a is b for b in gone))
    hidden = tuple(n for k, n in enumerate(term.hidden) if k != axis)
    coefficients = tuple(take(c) for c in term.coefficients)
    return Term(term.rank, hidden, coefficients, merge_atoms((*atoms, made))).scaled(factor)
