"""Values that are one monomial at each position: what powers and logarithms may be taken of.

`1 - p` of a probability is a monomial (of a variable of its own), and `where(seen, p, 0.5)` is one
monomial where `seen` is true and another elsewhere: a piece each. Functions of monomials are taken piece by
piece and put together again.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.movement import MOVES
from conjugate_ppl.algebra.residual import Residual, in_one
from conjugate_ppl.algebra.term import (
    Atom,
    Term,
    Value,
    array_module,
    is_known,
    merge_atoms,
    same_selection,
)
from conjugate_ppl.algebra.value import collect, multiply, where
from conjugate_ppl.algebra.variables import Complement, Condition, Latent, Log, Opaque, Point

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk

__all__ = ["Unknown", "by_pieces", "by_rows", "exact_power", "positive", "power", "simplify",
           "surely_finite"]

_UNDEFINED = ("log", "sqrt", "rsqrt")  # of negative numbers
PIECES = 64  # regions with a monomial each, elements that are multiplied
_WRITTEN = 1 << 22  # numbers of a sum that are looked at one by one

Monomials = list[tuple[Any, Term]]


class Unknown(Exception):
    """The algebra cannot say what a primitive does to these operands; the message says why."""


def simplify(walk: Walk, x: Value) -> Value:
    """`a - a p` as `a (1 - p)`, `1/p - 1` as `(1-p)/p`, `1 + p/(1-p)` as `1/(1-p)`, and back.

    Terms that are 0 go, and sums of which one number is left are look-ups.
    """
    if any(t.hidden for t in x.terms):
        x = Value(x.shape, tuple(_looked_up(t, x.shape) if t.hidden else t for t in x.terms))
    terms = tuple(t for t in x.terms if t.hidden or not _is_constant(t, 0.0))
    if 0 < len(terms) < len(x.terms):
        x = Value(x.shape, terms)
    if len(x.terms) != 2 or any(t.hidden for t in x.terms):
        return x
    for whole, part in (x.terms, x.terms[::-1]):
        rest = _remainder(walk, whole, part)
        if rest is not None:
            return Value(x.shape, (rest,))
    one = [t for t in x.terms if not t.atoms]
    other = [t for t in x.terms if t.atoms]
    if len(one) != 1:
        return x
    term = other[0]
    if len(term.atoms) == 1:
        atom = term.atoms[0]
        odds = atom.power == -1 and _is_constant(one[0], -1.0) and _is_constant(term, 1.0)
        if odds and _has_complement(atom):
            flipped = _one_minus(walk, atom)
            unit = np.ones((1,) * term.rank)
            return Value(x.shape, (Term(term.rank, (), (unit,), merge_atoms((atom, flipped))),))
    if not _is_constant(one[0], 1.0):
        return x
    if len(term.atoms) == 2 and _is_constant(term, 1.0):
        up = next((a for a in term.atoms if a.power == 1), None)
        down = next((a for a in term.atoms if a.power == -1), None)
        flipped_up = _one_minus(walk, up) if up and down else None
        if flipped_up and down and flipped_up.variable is down.variable and (
                same_selection(flipped_up.selection, down.selection)):
            return Value(x.shape, (Term(term.rank, (), term.coefficients, (down,)),))
    return x


def _looked_up(term: Term, shape: tuple[int, ...]) -> Term:
    """A sum over hidden axes as a look-up, if at each position all coefficients but one are 0 (indicators of groups)."""
    full, count = (*shape, *term.hidden), int(np.prod(term.hidden))
    if not all(map(is_known, term.arrays)) or int(np.prod(full)) > _WRITTEN:
        return term
    c = np.broadcast_to(term.coefficient(), full).reshape(*shape, count)
    there = c != 0
    if (there.sum(-1) > 1).any():
        return term
    at = there.argmax(-1)[..., None]

    def pick(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.take_along_axis(np.broadcast_to(x, full).reshape(*shape, count), at, -1)[..., 0])

    return Term(term.rank, (), (np.take_along_axis(c, at, -1)[..., 0],), tuple(a.map(pick) for a in term.atoms))


def _has_complement(atom: Atom) -> bool:
    base = atom.variable
    return isinstance(base, Complement) or (
        isinstance(base, Latent) and base.support in ("unit", "simplex"))


def _one_minus(walk: Walk, atom: Atom) -> Atom:
    """One minus an element: of two cells that sum to one, the other cell."""
    v = atom.variable
    if isinstance(v, Latent) and v.support == "simplex" and v.cells == 2 and is_known(atom.selection):
        return Atom(v, Fraction(1), atom.selection ^ 1)
    return Atom(walk.variables.complement(v), Fraction(1), atom.selection)


def _remainder(walk: Walk, whole: Term, part: Term) -> Term | None:
    """`a (1 - p)`, if the two terms are `a` and `-a p`."""
    if len(part.atoms) != len(whole.atoms) + 1:
        return None
    extra = [a for a in part.atoms if not any(a.same(b) for b in whole.atoms)]
    if len(extra) != 1 or extra[0].power != 1 or not _has_complement(extra[0]):
        return None
    c, d = whole.coefficient(), part.coefficient()
    if not (is_known(c) and is_known(d) and bool(np.all(c == -d))):
        return None
    return Term(whole.rank, (), (c,), merge_atoms((*whole.atoms, _one_minus(walk, extra[0]))))


def _is_constant(term: Term, number: float) -> bool:
    c = term.coefficient()
    return is_known(c) and bool(np.all(c == number))


def by_pieces(walk: Walk, x: Value, what: str, function: Callable[[Term, bool], Value], everywhere: bool = True) -> Value:
    """`function` of the monomial at each position of `x`, and whether `x` is it `everywhere`; `what` names it in the reason."""
    cases = _cases(x)
    if cases:
        found = [(by_pieces(walk, case, what, function, False), condition) for case, condition in cases]
        if not all(surely_finite(walk, v) for v, _ in found):
            raise Unknown(f"{what} of a choice between cases")
        return collect(x.shape, [t for v, condition in found for t in multiply(v, condition).terms])
    try:
        pieces = monomials(walk, x, what)
    except Unknown:
        together = in_one(walk, x)
        if together is None:
            raise
        return function(together, everywhere)
    if len(pieces) == 1:
        return function(pieces[0][1], everywhere)
    return collect(x.shape, [t for mask, m in pieces for t in where(mask, function(m, False)).terms])


def _cases(x: Value) -> list[tuple[Value, Value]]:
    """The two cases of a choice, each with its condition; empty if `x` is none."""
    if any(t.hidden for t in x.terms) or len(x.terms) < 2:
        return []
    for atom in x.terms[0].atoms:
        own = atom.variable
        if not isinstance(own, Condition):
            continue
        found: dict[Condition, list[Term]] = {}
        for t in x.terms:
            for a in t.atoms:
                v = a.variable
                if isinstance(v, Condition) and (v is own or v.excludes(own)) and same_selection(
                        a.selection, atom.selection):
                    rest = tuple(b for b in t.atoms if b is not a)
                    found.setdefault(v, []).append(Term(t.rank, (), t.coefficients, rest))
        if len(found) == 2 and sum(map(len, found.values())) == len(x.terms):
            one = np.ones((1,) * len(x.shape))
            return [(Value(x.shape, tuple(terms)),
                     Value(x.shape, (Term(len(x.shape), (), (one,), (Atom(v, Fraction(1), atom.selection),)),)))
                    for v, terms in found.items()]
    return []


def surely_finite(walk: Walk, value: Value) -> bool:
    """Whether no element can be infinite or NaN: a polynomial in latents and in elements looked up among them,
    with powers and logarithms of positive ones."""
    def finite(v: Any) -> bool:
        return isinstance(v, Latent | Condition | Point) or (
            isinstance(v, Residual) and surely_finite(walk, v.whole)) or (
            isinstance(v, Log) and isinstance(v.base, Latent) and v.base.positive) or (
            isinstance(v, Opaque) and v.equation.primitive in MOVES
            and surely_finite(walk, walk.value(v.equation.inputs[0])))

    return all(is_known(c) and bool(np.isfinite(c).all()) for t in value.terms for c in t.coefficients) and all(
        finite(a.variable) and (a.power > 0 or (isinstance(a.variable, Latent) and a.variable.positive))
        for t in value.terms for a in t.atoms)


def monomials(walk: Walk, x: Value, what: str) -> Monomials:
    """(where, monomial) for each region of `x`; of a monomial everywhere, one region."""
    x = simplify(walk, x)
    if x.single is not None:
        return [(None, x.single)]
    if any(t.hidden or not all(map(is_known, t.arrays)) for t in x.terms):
        raise Unknown(f"{what} of a sum")
    there = [np.broadcast_to(t.coefficient() != 0, x.shape).reshape(-1) for t in x.terms]
    classes, first = equal_rows(there, int(np.prod(x.shape)))
    if len(first) < 2 or len(first) > PIECES:
        raise Unknown(f"{what} of a sum")
    out: Monomials = []
    for k, at in enumerate(first):
        mask = (classes == k).reshape(x.shape)
        terms = tuple(_alike_elsewhere(t, mask, int(at)) for t, on in zip(x.terms, there, strict=True) if on[at])
        rank = len(x.shape)
        part = simplify(walk, Value(x.shape, terms or (Term(rank, (), (np.zeros((1,) * rank),), ()),)))
        if part.single is None:
            raise Unknown(f"{what} of a sum")
        out.append((mask, part.single))
    return out


def _alike_elsewhere(term: Term, mask: np.ndarray, at: int) -> Term:
    """The term where `mask` is true; elsewhere what it is at position `at`, so that it stays one monomial."""
    def fill(x: np.ndarray) -> np.ndarray:
        if all(n == 1 for n in x.shape):
            return x
        full = np.broadcast_to(x, mask.shape)
        full = np.where(mask, full, full.reshape(-1)[at])
        return full[(slice(0, 1),) * full.ndim] if (full == full.reshape(-1)[0]).all() else full

    return Term(term.rank, (), (fill(term.coefficient()),), tuple(a.map(fill) for a in term.atoms))


def by_rows(shape: tuple[int, ...], rows: list[np.ndarray], function: Callable[[list[float]], Value]) -> Value:
    """A value made region by region: `function` gets the numbers that `rows` have there."""
    flat = [np.broadcast_to(r, shape).reshape(-1) for r in rows]
    if all((r == r[:1]).all() for r in flat):
        return function([float(r[0]) if r.size else 0.0 for r in flat])
    classes, first = equal_rows(flat, int(np.prod(shape)))
    if len(first) > PIECES:
        raise Unknown("an exponential whose exponent differs from element to element")
    parts = [function([float(r[at]) for r in flat]) for at in first]
    return collect(shape, [t for k, v in enumerate(parts)
                           for t in where((classes == k).reshape(shape), v).terms])


def exact_power(p: Fraction) -> Fraction:
    """A power that was computed in floats, as the fraction it is up to their rounding.

    `(z ** (1 / 1.7)) ** 1.7` is z: the float nearest to 1 / 1.7, times 1.7, differs from 1 in the last digit.
    """
    near = p.limit_denominator(64)
    rounding = 4 * float(jnp.finfo(jnp.result_type(float)).eps)
    return near if abs(near - p) <= rounding * abs(near) else p


def power(walk: Walk, x: Value, p: Fraction) -> Value:
    """`x ** p` of a monomial; other than whole powers need a proof that it is positive, or see `positive`."""
    if p in (0, 1):
        return x if p else Value.known(np.ones(x.shape))
    return by_pieces(walk, x, "a power", lambda term, everywhere: _power(walk, x.shape, term, p, everywhere))


def positive(walk: Walk, term: Term, everywhere: bool) -> bool:
    """Whether all factors of a term, of which the equation takes a logarithm or a root, are positive; or all but one that depends
    on no candidate, and if that is not, what the equation makes of it is NaN, and with it all that comes of it, in NumPyro's
    densities too. It is assumed then, and looked at when there are numbers."""
    doubtful = [a for a in term.atoms if not walk.positive(a.variable) and a.variable not in walk.assumed]
    if not doubtful:
        return True
    (atom,), c, equation = doubtful[:1], term.coefficient(), walk.equation
    seen = [bool(a.variable.roots & walk.candidates) for a in term.atoms]
    if (len(doubtful) > 1 or not everywhere or atom.variable.roots & walk.candidates or not any(seen)
            or atom.power.denominator != 1 or atom.power.numerator % 2 == 0 or not is_known(c) or not (c > 0).all()
            or not is_known(atom.selection) or len(np.unique(atom.selection)) < atom.variable.size
            or equation is None or equation.primitive not in _UNDEFINED or walk.graph.within(equation)
            or _compat.stands_for_another(equation.raw) or not walk.graph.spreads(equation.outputs[0])):
        return False
    walk.assumed[atom.variable] = None
    return True


def _power(walk: Walk, shape: tuple[int, ...], term: Term, p: Fraction, everywhere: bool) -> Value:
    c = term.coefficient()
    if p.denominator != 1 and not positive(walk, term, everywhere):
        raise Unknown("a root of what is not proved positive")
    # of traced data nothing is known, and nothing need be: (c v)**p = c**p v**p for positive v,
    # NaN for NaN
    if is_known(c):
        if p.denominator != 1 and not (c > 0).all():
            raise Unknown("a root of data that are not positive")
        if p < 0 and not (c != 0).all():
            raise Unknown("a division by data that hold a zero")
    exponent = int(p) if p.denominator == 1 and p >= 0 else float(p)
    atoms = tuple(Atom(a.variable, exact_power(a.power * p), a.selection) for a in term.atoms)
    coefficient = 1.0 / c if p == -1 else c**exponent
    return Value(shape, (Term(term.rank, (), (coefficient,), atoms),))


def known_log(c: Any) -> Any:
    """Logarithms of a coefficient, which must be positive where it is known."""
    if is_known(c) and not (c > 0).all():
        raise Unknown("a logarithm of data that are not positive")
    return array_module(c).log(c)
