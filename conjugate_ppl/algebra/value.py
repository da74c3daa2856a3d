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
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.variables import Variable

__all__ = ["Atom", "Term", "Value", "array_module", "is_known", "same_selection"]

_EAGER = 1 << 14  # coefficients up to this size are multiplied out at once
_LISTED = 1 << 12  # monomials of a scalar up to this number are listed one by one


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

    @property
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
        for c in self.coefficients:
            ones = ones * c
        return np.asarray(ones) if array_module(ones) is np else ones

    def scaled(self, factor: Any) -> Term:
        """The term times an array over its own axes (or a number)."""
        factor = _unhide(factor, self.rank, len(self.hidden))
        return dataclasses.replace(self, coefficients=_combine((*self.coefficients, factor)))


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A sum of terms, an array of shape `shape`."""

    shape: tuple[int, ...]
    terms: tuple[Term, ...]

    @property
    def roots(self) -> frozenset[str]:
        """The sites it depends on."""
        return frozenset().union(*(t.roots for t in self.terms))

    @property
    def single(self) -> Term | None:
        """Its only term, if that is a plain monomial at every position."""
        if len(self.terms) == 1 and not self.terms[0].hidden:
            return self.terms[0]
        return None

    @staticmethod
    def known(array: Any) -> Value:
        """A value that depends on nothing."""
        shape = tuple(np.shape(array))
        return Value(shape, (Term(len(shape), (), (array,), ()),))

    @staticmethod
    def of(variable: Variable, shape: tuple[int, ...]) -> Value:
        """A variable itself, as an array of `shape`."""
        selection = np.arange(variable.size).reshape(shape)
        one = np.ones((1,) * len(shape))
        atom = Atom(variable, Fraction(1), selection)
        return Value(shape, (Term(len(shape), (), (one,), (atom,)),))


def _unhide(array: Any, rank: int, hidden: int) -> Any:
    """An array over own axes (any rank up to `rank`) with trailing axes of size 1 added."""
    xp = array_module(array)
    shape = np.shape(array)
    return xp.reshape(array, (1,) * (rank - len(shape)) + tuple(shape) + (1,) * hidden)


def _combine(coefficients: Sequence[Any]) -> tuple[Any, ...]:
    """Multiply coefficients together where that makes no array larger than it must be."""
    out: list[Any] = []
    for c in coefficients:
        for k, other in enumerate(out):
            shape = np.broadcast_shapes(np.shape(c), np.shape(other))
            size = int(np.prod(shape))
            if size <= max(np.size(c), np.size(other)) or size <= _EAGER:
                out[k] = other * c
                break
        else:
            out.append(c)
    return tuple(out)


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
    return bool(np.all(a == b))


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
    return tuple(sorted((a for a in out if a.power), key=lambda a: a.variable.name))


def _product(a: Term, b: Term) -> Term:
    na, nb = len(a.hidden), len(b.hidden)

    def left(x: Any) -> Any:
        return array_module(x).reshape(x, np.shape(x) + (1,) * nb)

    def right(x: Any) -> Any:
        s = np.shape(x)
        return array_module(x).reshape(x, s[: b.rank] + (1,) * na + s[b.rank :])

    x = a.map(left) if nb else a
    y = b.map(right) if na else b
    return Term(a.rank, a.hidden + b.hidden, _combine(x.coefficients + y.coefficients),
                merge_atoms(x.atoms + y.atoms))


def multiply(a: Value, b: Value) -> Value:
    """Elementwise product of two values of one shape."""
    return collect(a.shape, [_product(s, t) for s in a.terms for t in b.terms])


def add(a: Value, b: Value, sign: int = 1) -> Value:
    """Elementwise sum (or difference) of two values of one shape."""
    return collect(a.shape, [*a.terms, *(t if sign > 0 else t.scaled(-1.0) for t in b.terms)])


def collect(shape: tuple[int, ...], terms: Sequence[Term]) -> Value:
    """A value from terms, those with the same atoms added into one.

    Scalars with few monomials are kept as one list of monomials for each set of variables.
    """
    if shape == () and len(terms) > 1:
        terms = _stacked(terms)
    out: list[Term] = []
    for term in terms:
        for k, other in enumerate(out):
            if _alike(term, other):
                total = other.coefficient() + term.coefficient()
                out[k] = dataclasses.replace(other, coefficients=(total,))
                break
        else:
            out.append(term)
    return Value(shape, tuple(out))


def _stacked(terms: Sequence[Term]) -> list[Term]:
    """Scalar terms in the same variables and powers, listed along one hidden axis."""
    groups: dict[Any, list[Term]] = {}
    out: list[Term] = []
    for term in terms:
        small = all(is_known(a) and np.size(a) <= _LISTED for a in term.arrays)
        if not small or not term.atoms or int(np.prod(term.hidden)) > _LISTED:
            out.append(term)
            continue
        key = tuple((id(a.variable), a.power) for a in term.atoms)
        groups.setdefault(key, []).append(term)
    for group in groups.values():
        if len(group) == 1:
            out += group
            continue
        coefficients, selections = [], [[] for _ in group[0].atoms]  # type: ignore[var-annotated]
        for term in group:
            coefficients.append(np.broadcast_to(term.coefficient(), term.hidden).reshape(-1))
            for k, atom in enumerate(term.atoms):
                selections[k].append(np.broadcast_to(atom.selection, term.hidden).reshape(-1))
        columns = np.stack([np.concatenate(s) for s in selections], 1)
        rows, inverse = np.unique(columns, axis=0, return_inverse=True)
        total = np.bincount(inverse.reshape(-1), np.concatenate(coefficients), len(rows))
        atoms = tuple(Atom(a.variable, a.power, rows[:, k]) for k, a in enumerate(group[0].atoms))
        out.append(contract(Term(0, (len(rows),), (total,), atoms)))
    return out


def _alike(a: Term, b: Term) -> bool:
    if a.hidden != b.hidden or len(a.atoms) != len(b.atoms):
        return False
    if a.hidden and (len(a.coefficients) > 1 or len(b.coefficients) > 1):
        return False
    return all(
        x.variable is y.variable and x.power == y.power
        and same_selection(x.selection, y.selection)
        for x, y in zip(a.atoms, b.atoms, strict=True)
    )


def reduce_sum(value: Value, axes: Sequence[int]) -> Value:
    """Sum over own axes: they become hidden, and are summed at once where nothing is looked up."""
    axes = sorted(axes)
    keep = [i for i in range(len(value.shape)) if i not in axes]
    shape = tuple(value.shape[i] for i in keep)
    terms = []
    for term in value.terms:
        order = [*keep, *range(term.rank, term.rank + len(term.hidden)), *axes]
        moved = term.map(lambda x, order=order: array_module(x).transpose(x, order),
                         rank=len(keep),
                         hidden=term.hidden + tuple(value.shape[i] for i in axes))
        terms.append(contract(moved))
    return collect(shape, terms)


def contract(term: Term) -> Term:
    """Sum over the hidden axes along which no selection varies."""
    rank = term.rank
    free = [
        rank + k for k in range(len(term.hidden))
        if all(np.shape(a.selection)[rank + k] == 1 for a in term.atoms)
    ]
    if not free:
        return term
    total = rank + len(term.hidden)
    rest = [i for i in range(total) if i not in free]
    factor = 1.0
    for i in free:
        if all(np.shape(c)[i] == 1 for c in term.coefficients):
            factor *= term.hidden[i - rank]
    inside = [c for c in term.coefficients if any(np.shape(c)[i] > 1 for i in free)]
    outside = [c for c in term.coefficients if not any(np.shape(c)[i] > 1 for i in free)]

    def drop(x: Any) -> Any:
        return array_module(x).reshape(x, tuple(np.shape(x)[i] for i in rest))

    coefficients = [drop(c) for c in outside]
    if inside:
        coefficients.append(_einsum(inside, free, total))
    if factor != 1.0 or not coefficients:
        coefficients.append(np.full((1,) * len(rest), factor))
    hidden = tuple(n for k, n in enumerate(term.hidden) if rank + k not in free)
    return Term(rank, hidden, _combine(coefficients), tuple(a.map(drop) for a in term.atoms))


def _einsum(arrays: Sequence[Any], summed: Sequence[int], total: int) -> Any:
    """Multiply `arrays` (axes of size 1 broadcast) and sum over `summed`; those axes are removed."""
    xp = array_module(*arrays)
    operands: list[Any] = []
    present: set[int] = set()
    for a in arrays:
        axes = [i for i in range(total) if np.shape(a)[i] > 1]
        present.update(axes)
        operands += [xp.reshape(a, [np.shape(a)[i] for i in axes]), axes]
    out = [i for i in range(total) if i in present and i not in summed]
    result = xp.einsum(*operands, out, optimize=True) if len(arrays) > 1 or out != operands[1] \
        else operands[0]
    rest = [i for i in range(total) if i not in summed]
    sizes = dict(zip(out, np.shape(result), strict=True))
    return xp.reshape(result, [sizes.get(i, 1) for i in rest])


def broadcast_own(x: Any, shape: Sequence[int]) -> Any:
    """An array of a term of own shape `shape`, its own axes brought to full size."""
    xp = array_module(x)
    return xp.broadcast_to(x, tuple(shape) + tuple(np.shape(x)[len(shape):]))


def move(value: Value, source: Any) -> Value:
    """The value whose elements are read from `value` at `source` (C-order numbers; -1 reads 0)."""
    shape = tuple(np.shape(source))
    flat = np.asarray(source).reshape(-1) if isinstance(source, np.ndarray) else source.reshape(-1)
    missing = isinstance(source, np.ndarray) and bool((flat < 0).any())
    rank = len(value.shape)

    if missing and not np.prod(value.shape):
        return Value.known(np.zeros(shape))

    def take(x: Any) -> Any:
        xp = array_module(x, flat)
        tail = tuple(np.shape(x)[rank:])
        if all(n == 1 for n in np.shape(x)[:rank]):
            return xp.reshape(x, (1,) * len(shape) + tail)
        full = xp.reshape(broadcast_own(x, value.shape), (-1, *tail))
        return xp.reshape(xp.take(full, xp.maximum(flat, 0), axis=0), shape + tail)

    out = Value(shape, tuple(t.map(take, rank=len(shape)) for t in value.terms))
    return where((flat >= 0).reshape(shape), out) if missing else out


def spread(value: Value, shape: tuple[int, ...], dims: Sequence[int]) -> Value:
    """`lax.broadcast_in_dim`: new axes are stored with size 1."""

    def grow(x: Any) -> Any:
        s = np.shape(x)
        own = [1] * len(shape)
        for axis, dim in enumerate(dims):
            own[dim] = s[axis]
        return array_module(x).reshape(x, tuple(own) + tuple(s[len(dims):]))

    return Value(shape, tuple(t.map(grow, rank=len(shape)) for t in value.terms))


def permute(value: Value, order: Sequence[int]) -> Value:
    """Transpose of the own axes."""
    rank = len(order)
    terms = tuple(
        t.map(lambda x, t=t: array_module(x).transpose(x, [*order, *range(rank, rank + len(t.hidden))]))
        for t in value.terms
    )
    return Value(tuple(value.shape[i] for i in order), terms)


def reshape(value: Value, shape: tuple[int, ...]) -> Value:
    """Reshape; free of copies where only axes of size 1 come or go."""
    old = [n for n in value.shape if n != 1]
    if old == [n for n in shape if n != 1]:
        axes = iter([i for i, n in enumerate(value.shape) if n != 1])
        place = [next(axes) if n != 1 else -1 for n in shape]

        def slim(x: Any) -> Any:
            s = np.shape(x)
            own = tuple(1 if i < 0 else s[i] for i in place)
            return array_module(x).reshape(x, own + tuple(s[len(value.shape):]))

        return Value(shape, tuple(t.map(slim, rank=len(shape)) for t in value.terms))
    return move(value, np.arange(int(np.prod(shape))).reshape(shape))


def where(mask: np.ndarray, value: Value) -> Value:
    """The value where `mask` is true, 0 elsewhere; nothing is multiplied by 0 that might be NaN."""
    mask = np.broadcast_to(np.asarray(mask, bool), value.shape)
    terms = []
    for t in value.terms:
        m = _unhide(mask, t.rank, len(t.hidden))
        clean = tuple(
            np.where(m, c, 0.0) if is_known(c) and not np.isfinite(c).all() else c
            for c in t.coefficients
        )
        terms.append(dataclasses.replace(t, coefficients=clean).scaled(mask.astype(float)))
    return Value(value.shape, tuple(terms))
