"""Arrays whose elements are sums of monomials.

An array of shape `shape` is a sum of `Term`s. A term is written as an Einstein sum with look-ups: over
the array's own axes followed by `hidden` axes that are summed,

    sum_hidden  prod_k coefficient_k[...]  prod_a variable_a[selection_a[...]] ** power_a

Coefficients are known numbers (float64 on the host); selections say which element of a variable each
position reads. Every array is stored with size 1 along axes it does not depend on, so that a design
matrix times a latent vector costs no more than the matrix, and a Gram matrix is one matrix product.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.variables import Condition, Variable

__all__ = ["Atom", "Term", "Value", "array_module", "combine", "is_known", "merge_atoms",
           "same_selection", "thin_einsum", "unhide"]

_EAGER = 1 << 14  # coefficients up to this size are multiplied out at once
_LONG = 4096  # elements of arrays that are not copied without need
_EXTREME = 1e100  # a number that may not be kept apart from them


def array_module(*arrays: Any) -> Any:
    """NumPy for known numbers, jax.numpy as soon as one of `arrays` belongs to JAX."""
    return np if all(isinstance(a, (np.ndarray, np.generic, float, int)) for a in arrays) else jnp


def is_known(array: Any) -> bool:
    """Whether the numbers of an array are known on the host."""
    return isinstance(array, (np.ndarray, np.generic))


@dataclasses.dataclass(frozen=True, eq=False)
class Atom:
    """`variable[selection] ** power`."""

    variable: Variable
    power: Fraction
    selection: Any

    def map(self, function: Any) -> Atom:
        """The same atom with `function` applied to its selection."""
        return Atom(self.variable, self.power, function(self.selection))

    def same(self, other: Atom) -> bool:
        """Whether another atom is proved to be the same everywhere."""
        return (self.variable is other.variable and self.power == other.power
                and same_selection(self.selection, other.selection))


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """One Einstein sum; see the module's docstring. `rank` own axes, then the hidden ones."""

    rank: int
    hidden: tuple[int, ...]
    coefficients: tuple[Any, ...]
    atoms: tuple[Atom, ...]

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All stored arrays: coefficients, then selections."""
        return self.coefficients + tuple(a.selection for a in self.atoms)

    @functools.cached_property
    def roots(self) -> frozenset[str]:
        """The sites it depends on."""
        return frozenset().union(*(a.variable.roots for a in self.atoms))

    def map(self, function: Any, rank: int | None = None,
            hidden: tuple[int, ...] | None = None) -> Term:
        """The same term with `function` applied to every array."""
        return Term(
            self.rank if rank is None else rank,
            self.hidden if hidden is None else hidden,
            tuple(function(c) for c in self.coefficients),
            tuple(a.map(function) for a in self.atoms),
        )

    def coefficient(self) -> Any:
        """All coefficients multiplied into one array."""
        ones: Any = np.ones((1,) * (self.rank + len(self.hidden)))
        only = [c for c in self.coefficients if not _is_one(c)]
        if len(only) == 1 and isinstance(only[0], np.ndarray) and only[0].dtype == np.float64 and only[0].ndim == ones.ndim:
            return only[0]
        for c in sorted(only, key=np.size):  # numbers first: an array of many is multiplied once
            ones = ones * c
        return np.asarray(ones) if array_module(ones) is np else ones

    def same(self, other: Term) -> bool:
        """Whether another term is written alike."""
        return (self.hidden == other.hidden and len(self.coefficients) == len(other.coefficients)
                and len(self.atoms) == len(other.atoms)
                and all(a is b or (is_known(a) and is_known(b) and np.array_equal(a, b))
                        for a, b in zip(self.coefficients, other.coefficients, strict=True))
                and all(a.same(b) for a, b in zip(self.atoms, other.atoms, strict=True)))

    def scaled(self, factor: Any) -> Term:
        """The term times an array over its own axes (or a number)."""
        factor = unhide(factor, self.rank, len(self.hidden))
        return dataclasses.replace(self, coefficients=combine((*self.coefficients, factor)))


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A sum of terms, an array of shape `shape`."""

    shape: tuple[int, ...]
    terms: tuple[Term, ...]

    @functools.cached_property
    def roots(self) -> frozenset[str]:
        """The sites it depends on."""
        return frozenset().union(*(t.roots for t in self.terms))

    @property
    def single(self) -> Term | None:
        """Its only term, if that is a plain monomial at every position."""
        if len(self.terms) == 1 and not self.terms[0].hidden:
            return self.terms[0]
        return None

    def same(self, other: Value) -> bool:
        """Whether another value is seen to be the same everywhere, term by term."""
        return self.shape == other.shape and len(self.terms) == len(other.terms) and all(
            s.same(t) for s, t in zip(self.terms, other.terms, strict=True))

    @staticmethod
    def known(array: Any) -> Value:
        """A value that depends on nothing."""
        shape = tuple(np.shape(array))
        return Value(shape, (Term(len(shape), (), (array,), ()),))

    @staticmethod
    def of(variable: Variable, shape: tuple[int, ...], first: int = 0) -> Value:
        """The elements of a variable, from number `first` on, as an array of `shape`."""
        one = np.ones((1,) * len(shape))
        number = numbered(shape)
        atom = Atom(variable, Fraction(1), number + first if first else number)
        return Value(shape, (Term(len(shape), (), (one,), (atom,)),))


def _is_one(array: Any) -> bool:
    """Whether it is the known float 1, times which every array is itself."""
    return isinstance(array, np.ndarray) and array.size == 1 and array.dtype == np.float64 and array.item() == 1.0


def unhide(array: Any, rank: int, hidden: int) -> Any:
    """An array over own axes (any rank up to `rank`) with trailing axes of size 1 added."""
    xp = array_module(array)
    shape = np.shape(array)
    return xp.reshape(array, (1,) * (rank - len(shape)) + tuple(shape) + (1,) * hidden)


def combine(coefficients: Sequence[Any], whole: bool = False) -> tuple[Any, ...]:
    """Multiply coefficients together where that makes no array larger than it must be.

    A number is not multiplied into a long array of known numbers, unless the product is wanted `whole`: it is one of
    many, and each would copy the array. One of extreme size is: what it makes of the array (nothing, or what is no finite
    number) must be seen.
    """
    out: list[Any] = []
    for c in sorted(coefficients, key=np.size) if whole else coefficients:
        for k, other in enumerate(out):
            shape = np.broadcast_shapes(np.shape(c), np.shape(other))
            size = int(np.prod(shape))
            if size > _LONG and 1 in (np.size(c), np.size(other)) and is_known(c) and is_known(other):
                number, array = (c, other) if np.size(c) == 1 else (other, c)
                if _is_one(number) and array.dtype == np.float64 and array.shape == shape:
                    out[k] = array
                    break
                if not whole and 1 / _EXTREME < abs(number.item()) < _EXTREME:
                    continue
            if size <= max(np.size(c), np.size(other)) or size <= _EAGER:
                out[k] = other * c
                break
        else:
            out.append(c)
    return tuple(out)


def thin_einsum(arrays: Sequence[Any], keep: Sequence[int], sizes: Mapping[int, int]) -> Any:
    """Multiply arrays stored with size 1 along axes they do not depend on; sum all axes not in `keep`.

    Args:
        arrays: all of one rank.
        keep: the axes of the result, in order, of size 1 where no array depends on them.
        sizes: the full sizes of the axes that are summed.
    """
    xp = array_module(*arrays)
    numbers = [a for a in arrays if xp is np and np.size(a) == 1]
    arrays = [a for a in arrays if xp is not np or np.size(a) != 1] or [numbers.pop()]
    operands: list[Any] = []
    present: set[int] = set()
    for a in arrays:
        axes = [i for i, n in enumerate(np.shape(a)) if n != 1]
        present.update(axes)
        operands += [xp.reshape(a, [np.shape(a)[i] for i in axes]), axes]
    out = [i for i in keep if i in present]
    if len(arrays) == 1 and out == operands[1]:
        result = operands[0]
    elif xp is np:
        result = np.einsum(*operands, out, optimize=len(arrays) > 2)
    else:
        # the best order of many factors takes long to find
        result = jnp.einsum(*operands, out, precision="highest",
                            optimize="optimal" if len(arrays) < 6 else True)
    factor: Any = float(np.prod([n for i, n in sizes.items() if i not in present and i not in keep]))
    for a in numbers:
        factor = factor * a.item()
    if factor != 1.0:
        result = result * factor
    full = dict(zip(out, np.shape(result), strict=True))
    return xp.reshape(result, [full.get(i, 1) for i in keep])


def same_selection(a: Any, b: Any) -> bool:
    """Whether two selections are proved to read the same elements everywhere."""
    if a is b:
        return True
    if not (is_known(a) and is_known(b)) or a.ndim != b.ndim:
        return False
    if a.shape == b.shape:
        return bool(np.array_equal(a, b))
    if any(m != n and 1 not in (m, n) for m, n in zip(a.shape, b.shape, strict=True)):
        return False
    first, second = _thin_as(a, b), _thin_as(b, a)
    return first is not None and second is not None and bool(np.array_equal(first, second))


def _thin_as(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """A selection of size 1 along the axes where the other has that; None where something changes along them."""
    for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)):
        if m > 1 and n == 1:
            one = np.take(a, [0], axis)
            if (a != one).any():
                return None
            a = one
    return a


def merge_atoms(atoms: Sequence[Atom]) -> tuple[Atom, ...]:
    """Add the powers of atoms that read the same elements; drop power 0."""
    out: list[Atom] = []
    for atom in atoms:
        for k, other in enumerate(out):
            if other.variable is atom.variable and same_selection(other.selection, atom.selection):
                out[k] = Atom(atom.variable, other.power + atom.power,
                              other.selection if np.size(other.selection) >= np.size(atom.selection)
                              else atom.selection)
                break
        else:
            out.append(atom)
    out = [Atom(a.variable, Fraction(1), a.selection) if isinstance(a.variable, Condition) else a for a in out]
    return tuple(sorted((a for a in out if a.power), key=lambda a: a.variable.name))
