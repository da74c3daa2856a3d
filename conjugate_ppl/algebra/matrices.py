"""Cholesky factors and inverses of matrices whose latents are scales of rows, or of the whole.

With `A = D K D`, `K` known and `D` diagonal and positive (all of one number in `v K`), the factor of `A` is
`D chol(K)`, and the inverse of `D L` is `inv(L) inv(D)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra import definite
from conjugate_ppl.algebra.monomial import Unknown, power, simplify
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.value import collect, move, multiply, spread

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["cholesky", "common", "inverse_of_scaled"]


def _diagonal(x: Value) -> Value | None:
    """The diagonal of a matrix that is zero elsewhere, or None."""
    n = x.shape[-1]
    off = ~np.eye(n, dtype=bool)
    for t in x.terms:
        c = t.coefficient()
        if t.hidden or not is_known(c) or np.broadcast_to(c, x.shape)[..., off].any():
            return None
    diagonal = move(x, numbered(x.shape)[..., np.arange(n), np.arange(n)])
    return collect(diagonal.shape, diagonal.terms)


def _on_diagonal(x: Value) -> Value:
    """The matrix with a diagonal, zero elsewhere; along a row the same element is read."""
    n, rank = x.shape[-1], len(x.shape)
    shape = (*x.shape, n)
    return multiply(spread(x, shape, range(rank)), spread(Value.known(np.eye(n)), shape, (rank - 1, rank)))


def _thin(x: np.ndarray) -> np.ndarray:
    """Stored with size 1 along those of the last two axes along which nothing changes."""
    for axis in (-1, -2):
        first = np.take(x, [0], axis)
        if x.shape[axis] > 1 and (x == first).all():
            x = first
    return x


def _sorted(term: Term) -> tuple[list[Atom], list[Atom], list[Atom]]:
    """Atoms of the whole matrix, of rows and of columns."""
    whole: list[Atom] = []
    rows: list[Atom] = []
    columns: list[Atom] = []
    for a in term.atoms:
        shape = np.shape(a.selection)
        if shape[-1] > 1 and shape[-2] > 1:
            raise Unknown("a factor of a matrix whose elements are latent")
        (rows if shape[-2] > 1 else columns if shape[-1] > 1 else whole).append(a)
    return whole, rows, columns


def _turned(atom: Atom) -> Atom:
    return atom.map(lambda s: np.swapaxes(s, -1, -2))


def _single(walk: Walk, x: Value, what: str) -> tuple[Term, np.ndarray]:
    # a matrix and its transpose, added, are one where their atoms are in one order
    terms = [dataclasses.replace(t, atoms=tuple(sorted(
        (a.map(_thin) for a in t.atoms), key=lambda a: (a.variable.name, np.shape(a.selection)))))
        for t in x.terms if all(map(is_known, t.arrays))]
    if len(terms) == len(x.terms):
        x = collect(x.shape, terms)
    term = simplify(walk, x).single
    if term is None or not all(map(is_known, term.arrays)):
        raise Unknown(f"{what} of a sum of matrices that depends on a latent")
    c = term.coefficient()
    return term, np.broadcast_to(c, (*np.shape(c)[:-2], *x.shape[-2:]))


def common(scale: Term) -> Term:
    """What scales a latent matrix: one number for the whole of it."""
    thin = scale.map(lambda a: _thin(a) if is_known(a) else a)
    if any(n > 1 for a in thin.arrays for n in np.shape(a)[-2:]):
        raise Unknown("a factor of a latent matrix that is scaled element by element")
    return thin


def cholesky(walk: Walk, eqn: Equation, x: Value) -> Value:
    """The lower factor of `v K`, `D K D` or a diagonal matrix."""
    diagonal = _diagonal(x)
    if diagonal is not None:
        return _on_diagonal(power(walk, diagonal, Fraction(1, 2)))
    latent = definite.factor(walk, x)
    if latent is not None:
        made, scale = latent
        return multiply(made, power(walk, Value(x.shape, (common(scale),)), Fraction(1, 2)))
    term, known = _single(walk, x, "a factor")
    whole, rows, columns = _sorted(term)
    turned = [_turned(a) for a in columns]
    for a in rows:
        same = [b for b in turned if a.same(b)]
        if not same:
            raise Unknown("a factor of a matrix that is not scaled alike by rows and by columns")
        turned.remove(same[0])
    if turned or not all(a.variable.positive for a in term.atoms):
        raise Unknown("a factor of a matrix that is not proved positive")
    try:
        factor = np.linalg.cholesky(known)
    except np.linalg.LinAlgError:
        raise Unknown("a factor of a matrix that is not positive definite") from None
    atoms = tuple(Atom(a.variable, a.power / 2, a.selection) for a in whole) + tuple(rows)
    return Value(x.shape, (Term(term.rank, (), (factor,), atoms),))


def inverse_of_scaled(walk: Walk, x: Value, inverse: Callable[[np.ndarray], np.ndarray]) -> Value:
    """The inverse of a triangular `v L`, `D L` or `L D`; `inverse` takes it of a known matrix."""
    diagonal = _diagonal(x)
    if diagonal is not None:
        return _on_diagonal(power(walk, diagonal, Fraction(-1)))
    latent = definite.inverse(walk, x)
    if latent is not None:
        made, scale = latent
        return multiply(made, power(walk, Value(x.shape, (common(scale),)), Fraction(-1)))
    term, known = _single(walk, x, "an inverse")
    whole, rows, columns = _sorted(term)
    atoms = [*whole, *map(_turned, (*rows, *columns))]
    flipped: Any = tuple(Atom(a.variable, -a.power, a.selection) for a in atoms)
    return Value(x.shape, (Term(term.rank, (), (inverse(known),), flipped),))
