"""Rules of functions of one number: logarithms, exponentials, angles, and others element by element."""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.definite import on_diagonals
from conjugate_ppl.algebra.monomial import (
    Unknown,
    by_pieces,
    by_rows,
    exact_power,
    known_log,
    positive,
    power,
)
from conjugate_ppl.algebra.operands import full
from conjugate_ppl.algebra.term import Atom, Term, Value, array_module, is_known, merge_atoms
from conjugate_ppl.algebra.value import add, collect, move, multiply
from conjugate_ppl.algebra.variables import (
    Chosen,
    Computed,
    Elementwise,
    Exponential,
    Latent,
    Log,
    LogSum,
    Opaque,
    Variable,
)

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["FUNCTIONS", "UNARY", "elementwise", "power_of"]

Rule = Callable[..., Any]

_FEW = 64  # monomials of a scalar whose exponentials are multiplied


def _log(walk: Walk, eqn: Equation, x: Value) -> Value:
    return by_pieces(walk, x, "a logarithm", functools.partial(_log_of, walk, x.shape))


def _log_of(walk: Walk, shape: tuple[int, ...], term: Term, everywhere: bool) -> Value:
    term = on_diagonals(walk, term)
    out = [Term(term.rank, (), (known_log(term.coefficient()),), ())]
    for atom in term.atoms:
        factor = np.full((1,) * term.rank, float(atom.power))
        base = atom.variable
        exponent = base.exponent(walk)
        if exponent is not None:
            at = np.broadcast_to(atom.selection, shape) if is_known(atom.selection) else jnp.broadcast_to(atom.selection, shape)
            out.extend(t.scaled(float(atom.power)) for t in move(exponent, at).terms)
            continue
        if isinstance(base, Elementwise) and base.primitive == "exp":
            if base.power != 1:
                raise Unknown("a logarithm of an exponential of a power")
            inner, factor = base.base, factor * base.coefficient
        elif base.positive or positive(walk, term, everywhere):
            inner = walk.variables.log(base)
        else:
            raise Unknown("a logarithm of what is not proved positive")
        out.append(Term(term.rank, (), (factor,), (Atom(inner, Fraction(1), atom.selection),)))
    return collect(shape, out)


def _log1p(walk: Walk, eqn: Equation, x: Value) -> Value:
    return _log(walk, eqn, add(full(np.ones(()), x.shape), x))


def power_of(walk: Walk, eqn: Equation, x: Value, exponent: Value) -> Value:
    """x ** exponent = exp(exponent * log x), where x is positive and the exponent differs or depends on something.

    So `((c z)**(1 / k))**k` is `c z`, whatever k is.
    """
    return _exp(walk, eqn, multiply(exponent, _log(walk, eqn, x)), always=True)


def _exp(walk: Walk, eqn: Equation, x: Value, always: bool = False) -> Value:
    """exp of a sum of logarithms is a monomial, times the exponential of what else is in the sum.

    Without a logarithm it is left to others, unless `always`.
    """
    coefficient: Any = np.ones((1,) * len(x.shape))
    logs: list[Term] = []
    rest: list[Term] = []
    for term in x.terms:
        if not term.atoms and not term.hidden:
            c = term.coefficient()
            coefficient = coefficient * array_module(c).exp(c)
            continue
        listed = _unlisted(term)
        (logs if all(map(_is_log, listed)) else rest).extend(
            listed if all(map(_is_log, listed)) else [term])
    if rest and not logs and not always:
        raise Unknown("an exponential")
    bases = [(t.atoms[0].variable.base, t.atoms[0].selection) for t in logs if isinstance(t.atoms[0].variable, Log)]

    def monomial(exponents: list[float]) -> Value:
        atoms = [Atom(base, exact_power(Fraction(p)), at)
                 for (base, at), p in zip(bases, exponents, strict=True) if p]
        one = np.ones((1,) * len(x.shape))
        return Value(x.shape, (Term(len(x.shape), (), (one,), merge_atoms(atoms)),))

    out = by_rows(x.shape, [t.coefficient() for t in logs], monomial)
    if rest:
        other = Exponential(f"exp#{eqn.outputs[0]}", int(np.prod(x.shape)), True,
                            frozenset().union(*(t.roots for t in rest)), collect(x.shape, rest), eqn)
        out = multiply(out, Value.of(walk.variables.keep(("exp", eqn.outputs[0]), other), x.shape))
    return multiply(Value(x.shape, (Term(len(x.shape), (), (coefficient,), ()),)), out)


def _is_log(term: Term) -> bool:
    return len(term.atoms) == 1 and not term.hidden and term.atoms[0].power == 1 and isinstance(
        term.atoms[0].variable, Log) and is_known(term.coefficient())


def _unlisted(term: Term) -> list[Term]:
    """A sum of a few monomials as one term each."""
    if not term.hidden or int(np.prod(term.hidden)) > _FEW or not all(is_known(a) for a in term.arrays):
        return [term]
    out = []
    for place in np.ndindex(term.hidden):
        def pick(x: np.ndarray, place: tuple[int, ...] = place) -> np.ndarray:
            own = x.shape[: term.rank]
            return x[(slice(None),) * term.rank + tuple(
                min(k, n - 1) for k, n in zip(place, x.shape[term.rank:], strict=True))].reshape(own)

        one = term.map(pick, hidden=())
        if one.coefficient().any():
            out.append(one)
    return out


def _lgamma(walk: Walk, eqn: Equation, x: Value) -> Value:
    """lgamma(1 + v) = lgamma(v) + log v"""
    constant = [t for t in x.terms if not t.atoms and not t.hidden]
    others = [t for t in x.terms if t.atoms]
    if len(constant) != 1 or len(others) != 1 or not (
            is_known(constant[0].coefficient()) and (constant[0].coefficient() == 1).all()):
        raise Unknown("`lgamma`")
    v = Value(x.shape, (others[0],))
    return add(elementwise(walk, eqn, v), _log(walk, eqn, v))


def _turn(sine: bool) -> Rule:
    """Sines and cosines of sums of angles."""

    def rule(walk: Walk, eqn: Equation, x: Value) -> Value:
        return _angles(walk, eqn, x)[sine]

    return rule


def _angles(walk: Walk, eqn: Equation, x: Value) -> tuple[Value, Value]:
    """(cos, sin) of a value, term by term: cos(a + b) = cos a cos b - sin a sin b."""
    cosine: Value | None = None
    sine: Value | None = None
    for term in x.terms:
        c, s = _angle(walk, eqn, Value(x.shape, (term,)))
        if cosine is None or sine is None:
            cosine, sine = c, s
        else:
            cosine, sine = (add(multiply(cosine, c), multiply(sine, s), -1),
                            add(multiply(sine, c), multiply(cosine, s)))
    if cosine is None or sine is None:
        return Value.known(np.ones(x.shape)), Value.known(np.zeros(x.shape))
    return cosine, sine


def _angle(walk: Walk, eqn: Equation, x: Value) -> tuple[Value, Value]:
    term = x.terms[0]
    if term.hidden or len(term.atoms) > 1:
        raise Unknown(f"`{eqn.primitive}` of a product or a sum over elements")
    c = term.coefficient()
    xp = array_module(c)
    if not term.atoms:
        return (Value(x.shape, (Term(term.rank, (), (xp.cos(c),), ()),)),
                Value(x.shape, (Term(term.rank, (), (xp.sin(c),), ()),)))
    if not is_known(c) or np.unique(np.abs(c)).size != 1:
        raise Unknown(f"`{eqn.primitive}` of a latent times data")
    positive = Value(x.shape, (Term(term.rank, (), (np.abs(c),), term.atoms),))
    sign = Value(x.shape, (Term(term.rank, (), (np.sign(c),), ()),))
    return (elementwise(walk, eqn, positive, "cos"),
            multiply(sign, elementwise(walk, eqn, positive, "sin")))


def _logistic(walk: Walk, eqn: Equation, x: Value) -> Value:
    """1 / (1 + exp(-x))"""
    odds = _exp(walk, eqn, Value(x.shape, tuple(t.scaled(-1.0) for t in x.terms)))
    return power(walk, add(full(np.ones(()), x.shape), odds), Fraction(-1))


def elementwise(walk: Walk, eqn: Equation, x: Any, primitive: str = "") -> Value:
    """A function of one monomial in one variable, element by element: a new variable.

    The function is that of the equation, or `primitive`.

    f(v[selection]) = f(v)[selection], so rows that read the same element share one value. Of what is no latent it is
    taken of elements that are read, since the others may lie where it has no derivative.
    """
    term = x.single if isinstance(x, Value) else None
    if term is None or len(term.atoms) != 1:
        raise Unknown("")
    atom = _read(walk, term.atoms[0])
    c = term.coefficient()
    if not is_known(c) or np.unique(c).size != 1:
        raise Unknown("")
    number, p = float(c.flat[0]), float(atom.power)
    own = primitive or eqn.primitive
    key = (own, tuple(sorted((k, repr(v)) for k, v in eqn.params.items())), atom.variable, number, p)
    name = f"{own}({atom.variable.name})"
    variable = walk.variables.once(key, lambda: Elementwise(
        name, atom.variable.size, own in ("exp", "logistic") or (own == "abs" and isinstance(atom.variable, Latent)), atom.variable.roots,
        own, atom.variable, number, p, eqn))
    one = np.ones((1,) * term.rank)
    return Value(x.shape, (Term(term.rank, (), (one,), (Atom(variable, Fraction(1),
                                                             atom.selection),)),))


def _read(walk: Walk, atom: Atom) -> Atom:
    """An atom of a variable that is computed whole as one of only those elements that are read."""
    v = atom.variable
    if type(v) not in (Opaque, LogSum, Computed) or not is_known(atom.selection):
        return atom
    places = np.unique(atom.selection)
    if len(places) == v.size:
        return atom

    def chosen() -> Variable:
        if isinstance(v, Opaque):
            return Chosen(v.name, len(places), v.positive, v.roots, v.number, v.reason, v.equation, of=v, places=places)
        return Computed(v.name, len(places), v.positive, v.roots, lambda values: values.variable(v)[places])

    part = walk.variables.once(("chosen", v, places.tobytes()), chosen)
    return Atom(part, atom.power, np.searchsorted(places, atom.selection))


UNARY: frozenset[str] = frozenset({
    "exp", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "sqrt", "rsqrt", "abs",
    "erf", "erfc", "erf_inv", "lgamma", "digamma", "cbrt", "exp2", "sign", "tan", "sinh", "cosh",
    "integer_pow", "bessel_i0e", "bessel_i1e",
})
"""Primitives of one operand, element by element, whose results are variables of their own."""

FUNCTIONS: dict[str, Rule] = {
    "log": _log, "log1p": _log1p, "exp": _exp, "logistic": _logistic, "lgamma": _lgamma,
    "cos": _turn(False), "sin": _turn(True),
}
