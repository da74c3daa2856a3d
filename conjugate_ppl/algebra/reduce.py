"""From rows to statistics: the coefficients of a log density, added up per element once.

A scalar sum of monomials is split by the part that belongs to a block of latents (at most two of its
elements a monomial) and the part that does not, the weight. Monomials with the same elements and the
same weight are added on the host in float64, so that what is left has the size of the latents and not
of the data. Where that cannot be done ahead (a weight that differs from row to row through a matrix of
kept latents, or traced data) the sum stays an Einstein sum for run time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.grams import Grams
from conjugate_ppl.algebra.runtime import Joined, Values, look_up
from conjugate_ppl.algebra.term import Atom, Term, array_module, is_known, thin_einsum
from conjugate_ppl.algebra.value import add_up, write_out
from conjugate_ppl.algebra.variables import Variable

__all__ = ["Entries", "Reduced", "Weights", "reduce_terms"]

_BUDGET = 1 << 25  # monomials that are written out one by one on the host
_WEIGHTED = 1 << 23  # of those with weights that change
_FEW = 256  # so many are in any case
_MORE = 4  # for an element

Signature = tuple[tuple[Variable, Any], ...]
_ONE: tuple[Signature, np.ndarray] = ((), np.zeros((1, 0), np.int64))


class Weights:
    """The distinct products of kept variables that multiply a block's monomials.

    Number 0 is the constant 1. `evaluate` gives all of them as one vector.
    """

    def __init__(self) -> None:
        self._groups = [_ONE]
        self.count = 1

    @property
    def groups(self) -> Sequence[tuple[Signature, np.ndarray]]:
        """The products by the variables in them: (signature, which elements, one row a product)."""
        return self._groups

    def add(self, signature: Signature, selections: np.ndarray) -> np.ndarray:
        """Numbers of the weights whose selections are the rows of `selections`."""
        if not signature:
            return np.zeros(len(selections), np.int64)
        classes, first = equal_rows(list(selections.T), len(selections))
        self._groups.append((signature, selections[first]))
        self.count += len(first)
        return self.count - len(first) + classes

    def factors(self) -> list[dict[tuple[Variable, int], Fraction]]:
        """What each weight is made of: elements of variables to powers."""
        return [{(v, int(k)): Fraction(p) for (v, p), k in zip(signature, row, strict=True)}
                for signature, rows in self._groups for row in rows]

    def of_factors(self, factors: Mapping[tuple[Variable, int], Fraction]) -> int:
        """The number of a new weight that is made of these."""
        items = list(factors.items())
        signature = tuple((v, p) for (v, _), p in items)
        return int(self.add(signature, np.array([[k for (_, k), _ in items]], np.int64).reshape(1, len(items)))[0])

    def merge(self) -> np.ndarray:
        """Give equal weights one number; returns old number -> new number."""
        new = np.zeros(self.count, np.int64)
        same: dict[Signature, list[tuple[np.ndarray, np.ndarray]]] = {}
        start = 0
        for signature, rows in self._groups:
            same.setdefault(signature, []).append((np.arange(start, start + len(rows)), rows))
            start += len(rows)
        self._groups, self.count = [_ONE], 1
        for signature, pieces in same.items():
            new[np.concatenate([p[0] for p in pieces])] = self.add(
                signature, np.concatenate([p[1] for p in pieces]))
        return new

    def positive(self, numbers: np.ndarray) -> bool:
        """Whether the weights of these numbers are proved positive."""
        return bool(self.where()[1][numbers].all())

    def where(self, unit: str = "", rows: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Which weights are not zero, and which are proved positive (one over a square is), where the matrices of `rows` rows of the site
        `unit` are the identity."""
        there, positive = [], []
        for signature, numbers in self._groups:
            of_unit = np.array([unit in v.roots for v, _ in signature], bool)
            at = numbers[:, of_unit] % rows**2
            there.append((at // rows == at % rows).all(1))
            positive.append(np.full(len(numbers), all(
                v.positive or own or (p < 0 and p % 2 == 0) for (v, p), own in zip(signature, of_unit, strict=True))))
        return np.concatenate(there), np.concatenate(positive)

    def evaluate(self, values: Values) -> Joined:
        """All weights, `count` of them."""
        out = []
        for signature, rows in self._groups:
            total: Any = jnp.ones(len(rows), values.dtype)
            for k, (variable, power) in enumerate(signature):
                x = values.power(variable, power)
                total = total * (x[0] if variable.size == 1 else look_up(x, rows[:, k]))
            out.append(total)
        return Joined(out)


@dataclasses.dataclass(frozen=True, eq=False)
class Entries:
    """Monomials with the same number of block elements, added up.

    `positions` has one array of element numbers per block atom; `weights` numbers the weight and
    `coefficients` the known factor of each.
    """

    positions: tuple[np.ndarray, ...]
    weights: np.ndarray
    coefficients: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Late:
    """A sum that is evaluated at run time: its term, and which atoms are the block's."""

    term: Term
    slots: tuple[int, ...]
    offsets: tuple[int, ...]

    def evaluate(self, values: Values) -> tuple[tuple[Any, ...], Any]:
        """Positions of the block's elements (one array a slot), and the coefficient of each."""
        term = self.term
        selections = [term.atoms[k].selection for k in self.slots]
        axes = [i for i in range(len(term.hidden)) if any(np.shape(s)[i] != 1 for s in selections)]
        shape = [term.hidden[i] for i in axes]
        total = thin_einsum(values.factors(term, self.slots), axes, dict(enumerate(term.hidden)))
        coefficient = array_module(total).broadcast_to(total, shape).reshape(-1)
        positions = []
        for s, offset in zip(selections, self.offsets, strict=True):
            xp = array_module(s)
            s = xp.reshape(s, [np.shape(s)[i] for i in axes])
            positions.append(xp.broadcast_to(s, shape).reshape(-1) + offset)
        return tuple(positions), coefficient

    @property
    def work(self) -> int:
        """About how many multiplications that is."""
        hidden, slots = self.term.hidden, self.slots
        arrays = [*self.term.coefficients, *(a.selection for k, a in enumerate(self.term.atoms) if k not in slots)]
        axes = [frozenset(i for i, n in enumerate(np.shape(x)) if n > 1) for x in arrays if np.size(x) > 1]
        kept = frozenset(i for k in slots for i, n in enumerate(np.shape(self.term.atoms[k].selection)) if n > 1)
        operands = [y for a in axes for y in (np.broadcast_to(0.0, [hidden[i] for i in sorted(a)]), sorted(a))]
        path = np.einsum_path(*operands, sorted(kept & frozenset().union(*axes)),
                              optimize="optimal" if len(axes) < 6 else "greedy")[0][1:] if axes else []
        total = 0
        for step in path:
            inside = frozenset().union(*(axes[k] for k in step))
            axes = [a for k, a in enumerate(axes) if k not in step]
            total += math.prod(hidden[i] for i in inside)
            axes.append(inside & (kept | frozenset().union(*axes)))
        return total


@dataclasses.dataclass(frozen=True, eq=False)
class Reduced:
    """A scalar sum of monomials by the number of block elements in each."""

    weights: Weights
    entries: dict[int, Entries]
    late: dict[int, tuple[Late, ...]]

    def constant(self, values: Values, omega: Any) -> Any:
        """What does not depend on the block."""
        total: Any = jnp.zeros((), values.dtype)
        found = self.entries.get(0)
        if found is not None and len(found.weights):
            total = total + jnp.dot(values.number(found.coefficients), omega[found.weights],
                                    precision="highest")
        for late in self.late.get(0, ()):
            total = total + jnp.sum(late.evaluate(values)[1])
        return total


def expand(term: Term, place: Callable[[Variable], int | None]) -> tuple[Term, tuple[int, ...]]:
    """Write squares of block variables as two atoms; returns the block's atoms too."""
    atoms: list[Atom] = []
    slots: list[int] = []
    for atom in term.atoms:
        if place(atom.variable) is None:
            atoms.append(atom)
            continue
        for _ in range(int(atom.power)):
            slots.append(len(atoms))
            atoms.append(Atom(atom.variable, Fraction(1), atom.selection))
    return dataclasses.replace(term, atoms=tuple(atoms)), tuple(slots)


def reduce_terms(terms: Sequence[Term], place: Callable[[Variable], int | None]) -> Reduced:
    """Add up scalar terms; `place` gives the first element number of a block variable, or None."""
    weights = Weights()
    parts: dict[int, list[tuple[Any, ...]]] = {}
    late: dict[int, list[Late]] = {}
    grams = Grams()
    # those of a product that others need in any case come after these
    for term, slots in sorted((expand(t, place) for t in terms), key=lambda found: -len(found[1])):
        kept = [k for k in range(len(term.atoms)) if k not in slots]
        other = grams.put(term, kept)
        if other is not None:
            own = tuple(k for k, a in enumerate(other.atoms) if place(a.variable) is not None)
            others = [k for k in range(len(other.atoms)) if k not in own]
            if _ahead(other, own, others) and grams.work(other) + _work(other, own, others) < _work(term, slots, kept):
                grams.take(other)
                term, slots, kept = other, own, others
        offsets = tuple(place(term.atoms[k].variable) or 0 for k in slots)
        if not _ahead(term, slots, kept):
            late.setdefault(len(slots), []).append(Late(term, slots, offsets))
            continue
        coefficients, selections = write_out(term)
        # what is added up once is, where no other term has as many elements, done with
        selections = _ordered([selections[k] + o if o else selections[k] for k, o in zip(slots, offsets, strict=True)]) + [
            selections[k] for k in kept]
        selections, coefficients = add_up(selections, coefficients)
        positions, rest = selections[:len(slots)], selections[len(slots):]
        signature = tuple((term.atoms[k].variable, term.atoms[k].power) for k in kept)
        columns = np.stack(rest, 1) if kept else np.zeros((len(coefficients), 0), np.int64)
        parts.setdefault(len(slots), []).append((positions, weights.add(signature, columns), coefficients))
    renumber = weights.merge()
    entries = {}
    for degree, pieces in parts.items():
        numbers = renumber[np.concatenate([p[1] for p in pieces])]
        keys = [np.concatenate([p[0][k] for p in pieces]) for k in range(degree)]
        total = np.concatenate([p[2] for p in pieces])
        if len(pieces) > 1:
            (numbers, *keys), total = add_up([numbers, *keys], total)
        entries[degree] = Entries(tuple(keys), numbers, total)
    return Reduced(weights, entries, {k: tuple(v) for k, v in late.items()})


def _ordered(positions: list[np.ndarray]) -> list[np.ndarray]:
    """Of two elements the first first."""
    return [np.minimum(*positions), np.maximum(*positions)] if len(positions) == 2 else positions


def _ahead(term: Term, slots: Sequence[int], kept: Sequence[int]) -> bool:
    """Whether a term's monomials are written out on the host: not where they are too many, nor where they do not add up.

    A design that depends on kept latents has a weight for each row and pair of columns: of so many, and of a weight of its
    own for each monomial, nothing is added up ahead, and an Einstein sum is a product of matrices.
    """
    number, weights = _many(term.arrays), [term.atoms[k].selection for k in kept]
    if not all(is_known(a) for a in term.arrays) or number > _BUDGET:
        return False
    if number > _WEIGHTED and weights and _many(weights) > 1:
        return False
    if number < _FEW:
        return True
    elements, own = _many([term.atoms[k].selection for k in slots]), _many(weights)
    return own <= sum(map(np.size, term.arrays)) and (elements == 1 or own < number or number <= _MORE * elements)


def _work(term: Term, slots: tuple[int, ...], kept: Sequence[int]) -> int:
    """About how many multiplications a term takes at run time."""
    return _many([a.selection for a in term.atoms]) if _ahead(term, slots, kept) else Late(term, slots, (0,) * len(slots)).work


def _many(arrays: Sequence[Any]) -> int:
    """How many there are of what is read by all of some arrays."""
    return math.prod(np.broadcast_shapes(*(np.shape(a) for a in arrays)))
