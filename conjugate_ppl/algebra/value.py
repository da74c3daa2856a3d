"""Operations on sums of monomials: sums, products, reductions and data movement."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import (
    Atom,
    Term,
    Value,
    array_module,
    combine,
    is_known,
    merge_atoms,
    same_selection,
    thin_einsum,
    unhide,
)
from conjugate_ppl.algebra.variables import Condition, Variable

__all__ = ["add", "add_up", "always_positive", "collect", "contract", "joined", "move", "multiply", "never_negative", "permute",
           "reduce_sum", "reshape", "spread", "where", "write_out"]

_LISTED = 1 << 12  # monomials of a scalar up to this number are listed one by one
_FEW = 64  # of each term are listed even where nothing adds up
_MANY = 16  # terms that are not compared pair by pair


def _product(a: Term, b: Term) -> Term:
    na, nb = len(a.hidden), len(b.hidden)

    def left(x: Any) -> Any:
        return array_module(x).reshape(x, np.shape(x) + (1,) * nb)

    def right(x: Any) -> Any:
        s = np.shape(x)
        return array_module(x).reshape(x, s[: b.rank] + (1,) * na + s[b.rank :])

    x = a.map(left) if nb else a
    y = b.map(right) if na else b
    return Term(a.rank, a.hidden + b.hidden, combine(x.coefficients + y.coefficients),
                merge_atoms(x.atoms + y.atoms))


def multiply(a: Value, b: Value) -> Value:
    """Elementwise product of two values of one shape."""
    if a is b:
        return _square(a)
    return collect(a.shape, [_product(s, t) for s in a.terms for t in b.terms if not _excluded(s, t)])


def _square(a: Value) -> Value:
    """A value times itself: two different terms meet twice, which is looked at once."""
    pairs = [(s, t, 1.0 if i == k else 2.0) for i, s in enumerate(a.terms) for k, t in enumerate(a.terms[: i + 1])]
    return collect(a.shape, [_product(s, t if n == 1 else t.scaled(n)) for s, t, n in pairs if not _excluded(s, t)])


def _excluded(a: Term, b: Term) -> bool:
    """Whether the product of two terms is 0, a condition meeting its negation."""
    return any(isinstance(x.variable, Condition) and x.variable.excludes(y.variable)
               and same_selection(x.selection, y.selection) for x in a.atoms for y in b.atoms)


def add(a: Value, b: Value, sign: int = 1) -> Value:
    """Elementwise sum (or difference) of two values of one shape."""
    return collect(a.shape, [*a.terms, *(t if sign > 0 else t.scaled(-1.0) for t in b.terms)])


def collect(shape: tuple[int, ...], terms: Sequence[Term]) -> Value:
    """A value from terms, those with the same atoms added into one, and those that are zero left out.

    Scalars with few monomials are kept as one list of monomials for each set of variables.
    """
    if shape == () and len(terms) > 1:
        terms = _stacked(terms)
    out: list[Term] = []
    many = len(terms) > _MANY
    places: dict[Any, list[int]] = {}  # in `out`, of terms in the same variables and powers
    for term in terms:
        same = places.setdefault((term.hidden, _powers(term), _ranges(term) if many else ()), [])
        for k in same:
            if _alike(term, out[k]):
                total = out[k].coefficient() + term.coefficient()
                out[k] = dataclasses.replace(out[k], coefficients=(total,))
                break
        else:
            same.append(len(out))
            out.append(term)
    return Value(shape, tuple(t for t in out if not _is_zero(t)))


def _powers(term: Term) -> tuple[tuple[int, int, int], ...]:
    """The variables and their powers; fractions themselves are slow to look up."""
    return tuple((id(a.variable), a.power.numerator, a.power.denominator) for a in term.atoms)


def _ranges(term: Term) -> tuple[Any, ...]:
    """Something that is equal for equal selections, and soon found: their smallest and largest elements."""
    return tuple((a.selection.item() if a.selection.size == 1 else
                  (int(a.selection.min(initial=0)), int(a.selection.max(initial=0))))
                 if is_known(a.selection) else None for a in term.atoms)


def _is_zero(term: Term) -> bool:
    # a look at one element is often enough, and the rest may be millions
    return any(is_known(c) and not (np.size(c) and c.item(0)) and not np.any(c) for c in term.coefficients)


def _stacked(terms: Sequence[Term]) -> list[Term]:
    """Scalar terms in the same variables and powers, listed along one hidden axis."""
    groups: dict[Any, list[Term]] = {}
    out: list[Term] = []
    for term in terms:
        small = all(is_known(a) and np.size(a) <= _LISTED and np.isrealobj(a) for a in term.arrays)
        if not small or not term.atoms or int(np.prod(term.hidden)) > _LISTED:
            out.append(term)
            continue
        groups.setdefault(_powers(term), []).append(term)
    for group in groups.values():
        if len(group) == 1:
            out += group
            continue
        written = [write_out(term) for term in group]
        columns, total = add_up([np.concatenate(c) for c in zip(*(w[1] for w in written), strict=True)],
                                np.concatenate([w[0] for w in written]))
        if len(total) > _FEW * len(group) and len(total) == sum(len(w[0]) for w in written):  # sums of products as they are
            out += group
            continue
        atoms = tuple(Atom(a.variable, a.power, column)
                      for a, column in zip(group[0].atoms, columns, strict=True))
        out.append(contract(Term(0, (len(total),), (total,), atoms)))
    return out


def write_out(term: Term) -> tuple[np.ndarray, list[np.ndarray]]:
    """One row a monomial of a known scalar term: coefficients, and the selection of every atom."""
    shape = np.broadcast_shapes(*(np.shape(a) for a in term.arrays))
    missing = float(np.prod([full for n, full in zip(shape, term.hidden, strict=True) if n == 1]))
    flat = np.broadcast_to(term.coefficient() * missing, shape).reshape(-1)
    return flat, [np.broadcast_to(a.selection, shape).reshape(-1) for a in term.atoms]


def add_up(columns: list[np.ndarray], numbers: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows with equal columns become one, their numbers added."""
    if not columns:
        return [], np.asarray([numbers.sum()])
    if not len(numbers):
        return columns, numbers
    alike = [next(j for j in range(k + 1) if j == k or np.array_equal(columns[j], c)) for k, c in enumerate(columns)]
    if alike != list(range(len(columns))):  # of a square, say
        kept = sorted(set(alike))
        apart, total = add_up([columns[k] for k in kept], numbers)
        return [apart[kept.index(j)] for j in alike], total
    spans = [int(c.max()) + 1 for c in columns]
    size = math.prod(spans)
    if size >= 1 << 62:  # too many for one number each
        classes, first = equal_rows(columns, len(numbers))
        return [c[first] for c in columns], np.bincount(classes, numbers)
    key = np.asarray(columns[0], np.int64)
    for c, n in zip(columns[1:], spans[1:], strict=True):
        key = key * n + c
    if size < 4 * len(numbers) + 1024:
        total = np.bincount(key, weights=numbers, minlength=size)
        found = np.flatnonzero(np.bincount(key, minlength=size))
        total = total[found]
    else:
        found, inverse = np.unique(key, return_inverse=True)
        total = np.bincount(inverse.reshape(-1), weights=numbers, minlength=len(found))
    out = []
    for n in reversed(spans):
        out.append(found % n)
        found = found // n
    return out[::-1], total


def _alike(a: Term, b: Term) -> bool:
    """Whether two terms in the same variables and powers, with the same hidden axes, add up to one."""
    if a.hidden and any(sum(np.size(c) > 1 for c in t.coefficients) > 1 for t in (a, b)):
        return False  # an outer product
    return all(same_selection(x.selection, y.selection)
               for x, y in zip(a.atoms, b.atoms, strict=True))


def reduce_sum(value: Value, axes: Sequence[int], known: Callable[[Term], Term] = lambda t: t) -> Value:
    """Sum over own axes: they become hidden, and are summed at once where nothing is looked up.

    `known` does the sums over hidden axes that have a form of their own.
    """
    axes = sorted(axes)
    keep = [i for i in range(len(value.shape)) if i not in axes]
    shape = tuple(value.shape[i] for i in keep)
    if 0 in value.shape and 0 not in shape:
        return Value(shape, ())  # sums of nothing
    terms = []
    for term in value.terms:
        order = [*keep, *range(term.rank, term.rank + len(term.hidden)), *axes]
        moved = term.map(lambda x, order=order: array_module(x).transpose(x, order),
                         rank=len(keep),
                         hidden=term.hidden + tuple(value.shape[i] for i in axes))
        terms.append(contract(known(moved)))
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
    inside = [c for c in term.coefficients if any(np.shape(c)[i] != 1 for i in free)]
    outside = [c for c in term.coefficients if not any(np.shape(c)[i] != 1 for i in free)]

    def drop(x: Any) -> Any:
        return array_module(x).reshape(x, tuple(np.shape(x)[i] for i in rest))

    sizes = {i: term.hidden[i - rank] for i in free}
    inside = inside or [np.ones((1,) * total)]
    coefficients = [*(drop(c) for c in outside), thin_einsum(inside, rest, sizes)]
    hidden = tuple(n for k, n in enumerate(term.hidden) if rank + k not in free)
    return Term(rank, hidden, combine(coefficients), tuple(a.map(drop) for a in term.atoms))


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


def joined(shape: tuple[int, ...], parts: Sequence[tuple[np.ndarray, Value]]) -> Value:
    """The value that is each part where its mask, shape `shape`, is true; no two are true at one position.

    Terms of different parts in the same variables and powers become one, so that a list of `phi**k e[t]` for
    all t has as many terms as powers.
    """
    out: list[Term] = []
    alike: dict[Any, list[tuple[np.ndarray, Term]]] = {}
    for mask, value in parts:
        count: dict[Any, int] = {}
        for term in value.terms:
            if term.hidden or not all(map(is_known, term.arrays)):
                out.append(term)
                continue
            signature = _powers(term)
            count[signature] = count.get(signature, 0) + 1
            alike.setdefault((signature, count[signature]), []).append((mask, term))
    for pieces in alike.values():
        out.append(pieces[0][1] if len(pieces) == 1 else _side_by_side(shape, pieces))
    return collect(shape, out)


def _side_by_side(shape: tuple[int, ...], pieces: Sequence[tuple[np.ndarray, Term]]) -> Term:
    """One term for terms in the same variables and powers, each where its mask is true."""
    first = pieces[0][1]

    def choose(arrays: Sequence[Any], dtype: Any) -> np.ndarray:
        full = np.zeros(shape, dtype)
        for (mask, _), array in zip(pieces, arrays, strict=True):
            np.copyto(full, array, where=mask)
        same = full.size and (full == full.flat[0]).all()
        return full.flat[0].reshape((1,) * len(shape)) if same else full

    atoms = tuple(Atom(a.variable, a.power, choose([t.atoms[k].selection for _, t in pieces], np.int64))
                  for k, a in enumerate(first.atoms))
    return Term(first.rank, (), (choose([t.coefficient() for _, t in pieces], float),), atoms)


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
    return move(value, numbered(shape))


def where(mask: np.ndarray, value: Value) -> Value:
    """The value where `mask` is true, 0 elsewhere; nothing is multiplied by 0 that might be NaN."""
    mask = np.broadcast_to(np.asarray(mask, bool), value.shape)
    terms = []
    for t in value.terms:
        m = unhide(mask, t.rank, len(t.hidden))
        clean = tuple(
            np.where(m, c, 0.0) if is_known(c) and not np.isfinite(c).all() else c
            for c in t.coefficients
        )
        terms.append(dataclasses.replace(t, coefficients=clean).scaled(mask.astype(float)))
    return Value(value.shape, tuple(terms))


def never_negative(value: Value, positive: Callable[[Variable], bool] = lambda v: v.positive) -> bool:
    """Whether no element of a value can be negative, by proof, where no variable is that is `positive`."""
    return all(_of_one_sign(t, np.greater_equal, np.less_equal, positive) for t in value.terms)


def always_positive(value: Value) -> bool:
    """Whether every element of a value is positive, by proof."""
    return never_negative(value) and any(_of_one_sign(t, np.greater, np.less, lambda v: v.positive) and all(
        a.variable.positive for a in t.atoms) for t in value.terms)


def _of_one_sign(term: Term, above: Callable[..., Any], below: Callable[..., Any], positive: Callable[[Variable], bool]) -> bool:
    """Whether an even number of a term's coefficients is below 0 everywhere, the others above; variables are positive or squared."""
    if not all(map(is_known, term.coefficients)) or not all(
            a.power % 2 == 0 or positive(a.variable) for a in term.atoms):
        return False
    under = [bool(c.size) and bool(below(c, 0).all()) for c in term.coefficients if not above(c, 0).all()]
    return all(under) and len(under) % 2 == 0

