"""The monomials of a vector of log densities, one by one, with the cell that each is of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from conjugate_ppl.additive.polynomial import Key, key_of
from conjugate_ppl.algebra.term import Value

__all__ = ["Monomials", "written"]


@dataclasses.dataclass(frozen=True, eq=False)
class Monomials:
    """Monomials of one kind, by the cells that they are of.

    Attributes:
        atoms: statistic and power of each factor.
        rows, positions, numbers: cell, positions of the factors, coefficient.
    """

    atoms: tuple[tuple[Key, Fraction], ...]
    rows: np.ndarray
    positions: tuple[np.ndarray, ...]
    numbers: np.ndarray


def written(value: Value) -> Iterator[Monomials]:
    """The monomials of a vector, one by one."""
    for term in value.terms:
        shape = np.broadcast_shapes((value.shape[0],) + (1,) * len(term.hidden),
                                    *(np.shape(a) for a in term.arrays))
        missing = float(np.prod([n for k, n in zip(shape[1:], term.hidden, strict=True) if k == 1]))
        numbers = np.broadcast_to(term.coefficient() * missing, shape).reshape(-1)
        rows = np.broadcast_to(np.arange(shape[0]).reshape((-1,) + (1,) * len(term.hidden)), shape).reshape(-1)
        used = numbers != 0
        atoms = tuple((key_of(a.variable), a.power) for a in term.atoms)
        positions = tuple(np.broadcast_to(a.selection, shape).reshape(-1)[used] for a in term.atoms)
        yield Monomials(atoms, rows[used], positions, numbers[used])
