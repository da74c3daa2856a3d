"""Priors whose covariance is known but for a factor: `tau**2 K` of relatives, of neighbours, of a smooth function."""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.algebra.classes import equal_elements
from conjugate_ppl.algebra.term import Term, Value, is_known

__all__ = ["KnownShape", "known_shape"]


@dataclasses.dataclass(frozen=True, eq=False)
class KnownShape:
    """Scales that are known but for a positive factor: T of an event is `factor` times its `roots`.

    Attributes:
        roots: lower triangular matrices, shape (events, width, width).
        factor: the factors.
        index: which of them, flat, each event has: the first of those that are always equal.
    """

    roots: np.ndarray
    factor: Value
    index: np.ndarray


def known_shape(scale: Value, events: tuple[int, ...]) -> KnownShape | None:
    """The known part of lower triangular matrices of shape (..., n, n), one for each of `events`, and the factor that it is
    multiplied by; None if they are not such."""
    if len(scale.terms) != 1 or scale.terms[0].hidden or not all(map(is_known, scale.terms[0].arrays)):
        return None
    (term,) = scale.terms
    atoms = []
    for atom in term.atoms:
        selection = np.broadcast_to(atom.selection, np.broadcast_shapes(np.shape(atom.selection), scale.shape))
        if (selection != selection[..., :1, :1]).any():
            return None
        atoms.append(atom.map(lambda _, s=selection: s[..., 0, 0]))
    roots = np.tril(np.broadcast_to(term.coefficient(), scale.shape))
    if not (np.diagonal(roots, axis1=-2, axis2=-1) > 0).all():
        return None
    batch = scale.shape[:-2]
    factor = Value(batch, (Term(len(batch), (), (np.ones((1,) * len(batch)),), tuple(atoms)),))
    _, first, classes = np.unique(equal_elements(factor), return_index=True, return_inverse=True)
    index = np.broadcast_to(first[classes.reshape(-1)].reshape(batch), events).reshape(-1)
    return KnownShape(np.broadcast_to(roots, (*events, *scale.shape[-2:])).reshape(-1, *scale.shape[-2:]), factor, index)
