"""What each primitive does to sums of monomials: one entry a primitive.

A rule gets the walk, the equation and its operands (`Value`s, or known arrays) and returns the result,
or raises `Unknown` with the reason in words a user understands. A primitive without an entry is
unknown. Nothing here may guess: a rule returns only what is equal for every value of the latents.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra import movement
from conjugate_ppl.algebra.definite import on_diagonals
from conjugate_ppl.algebra.matrices import cholesky
from conjugate_ppl.algebra.monomial import (
    PIECES,
    Unknown,
    by_pieces,
    by_rows,
    exact_power,
    known_log,
    power,
    simplify,
)
from conjugate_ppl.algebra.paired import paired
from conjugate_ppl.algebra.scatter import scatter, scatter_add
from conjugate_ppl.algebra.simplex import sum_of_events
from conjugate_ppl.algebra.term import (
    Atom,
    Term,
    Value,
    array_module,
    is_known,
    merge_atoms,
)
from conjugate_ppl.algebra.value import (
    add,
    collect,
    joined,
    move,
    multiply,
    permute,
    reduce_sum,
    reshape,
    spread,
    where,
)
from conjugate_ppl.algebra.variables import Elementwise, Exponential, Log, Opaque

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["RULES", "Unknown"]

Rule = Callable[..., Any]

_FEW = 64  # monomials of a scalar whose exponentials are multiplied


def value_of(x: Any) -> Value:
    """A known array, or a value, as a value."""
    return x if isinstance(x, Value) else Value.known(x)


def _full(x: Any, shape: tuple[int, ...]) -> Value:
    """An operand brought to the result's shape (size 1, or fewer axes, stand for any size)."""
    v = value_of(x)
    if v.shape == shape:
        return v
    return spread(v, shape, range(len(shape) - len(v.shape), len(shape)))


def _shape(*operands: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(
        *(x.shape if isinstance(x, Value) else np.shape(x) for x in operands))


# -- arithmetic -----------------------------------------------------------------------------------


def _add(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = _shape(x, y)
    return add(_full(x, shape), _full(y, shape))


def _sub(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = _shape(x, y)
    return add(_full(x, shape), _full(y, shape), -1)


def _neg(walk: Walk, eqn: Equation, x: Value) -> Value:
    return Value(x.shape, tuple(t.scaled(-1.0) for t in x.terms))


def _mul(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = _shape(x, y)
    return multiply(_full(x, shape), _full(y, shape))


def _div(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = _shape(x, y)
    y = simplify(walk, value_of(y))
    if y.single is None and not y.roots & walk.candidates:
        y = _as_one(walk, eqn.inputs[1], y)
    return multiply(_full(x, shape), power(walk, _full(y, shape), Fraction(-1)))


def _as_one(walk: Walk, number: int, x: Value) -> Value:
    """A sum free of the candidates (`s + 0.1`) as one variable: a coefficient like any other."""
    positive = all(is_known(c) and bool((c > 0).all()) for t in x.terms for c in t.coefficients) and (
        all(a.variable.positive for t in x.terms for a in t.atoms))
    return Value.of(walk.variables.once(("whole", number), lambda: Opaque(
        f"sum#{number}", int(np.prod(x.shape)), positive, x.roots, number)), x.shape)


def _integer_pow(walk: Walk, eqn: Equation, x: Value) -> Value:
    y = eqn.params["y"]
    if y == 2:
        return multiply(x, x)
    return power(walk, x, Fraction(y))


def _square(walk: Walk, eqn: Equation, x: Value) -> Value:
    return multiply(x, x)


def _root(p: Fraction) -> Rule:
    return lambda walk, eqn, x: power(walk, x, p)


def _pow(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    if isinstance(y, Value) or not is_known(y):
        raise Unknown("a power whose exponent depends on a latent or on traced data")
    exponents = np.unique(y)
    if exponents.size != 1 or not np.isfinite(exponents[0]):
        raise Unknown("a power whose exponent differs from element to element")
    p = Fraction(float(exponents[0]))
    if p == 2:
        return multiply(value_of(x), value_of(x))
    return power(walk, value_of(x), p)


def _log(walk: Walk, eqn: Equation, x: Value) -> Value:
    return by_pieces(walk, x, "a logarithm", lambda term: _log_of(walk, x.shape, term))


def _log_of(walk: Walk, shape: tuple[int, ...], term: Term) -> Value:
    term = on_diagonals(walk, term)
    out = [Term(term.rank, (), (known_log(term.coefficient()),), ())]
    for atom in term.atoms:
        factor = np.full((1,) * term.rank, float(atom.power))
        base = atom.variable
        if isinstance(base, Elementwise) and base.primitive == "exp":
            if base.power != 1:
                raise Unknown("a logarithm of an exponential of a power")
            inner, factor = base.base, factor * base.coefficient
        elif base.positive:
            inner = walk.variables.log(base)
        else:
            raise Unknown("a logarithm of what is not proved positive")
        out.append(Term(term.rank, (), (factor,), (Atom(inner, Fraction(1), atom.selection),)))
    return collect(shape, out)


def _log1p(walk: Walk, eqn: Equation, x: Value) -> Value:
    return _log(walk, eqn, add(_full(np.ones(()), x.shape), x))


def _exp(walk: Walk, eqn: Equation, x: Value) -> Value:
    """exp of a sum of logarithms is a monomial, times the exponential of what else is in the sum."""
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
    if rest and not logs:
        raise Unknown("an exponential")
    bases = [(t.atoms[0].variable, t.atoms[0].selection) for t in logs]

    def monomial(exponents: list[float]) -> Value:
        atoms = [Atom(log.base, exact_power(Fraction(p)), at)  # type: ignore[attr-defined]
                 for (log, at), p in zip(bases, exponents, strict=True) if p]
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
    odds = _exp(walk, eqn, _neg(walk, eqn, x))
    return power(walk, add(_full(np.ones(()), x.shape), odds), Fraction(-1))


# -- sums and products ----------------------------------------------------------------------------


def _reduce_sum(walk: Walk, eqn: Equation, x: Value) -> Value:
    return sum_of_events(x, eqn.params["axes"], _of_matrices(walk))


def _of_matrices(walk: Walk) -> Callable[[Term], Term]:
    return lambda term: paired(walk.variables, term)


def _cumprod(walk: Walk, eqn: Equation, x: Value) -> Value:
    axis = eqn.params["axis"]
    steps = _running_products(walk, x, axis, eqn.params["reverse"])
    terms: list[Term] = []
    for k, product in enumerate(steps):
        here = np.full(x.shape, -1)
        at = (slice(None),) * axis + (x.shape[axis] - 1 - k if eqn.params["reverse"] else k,)
        here[at] = movement.numbered(product.shape)
        terms += move(product, here).terms
    return collect(x.shape, terms)


def _reduce_prod(walk: Walk, eqn: Equation, x: Value) -> Value:
    for axis in sorted(eqn.params["axes"], reverse=True):
        x = _running_products(walk, x, axis, False)[-1]
    return x


def _running_products(walk: Walk, x: Value, axis: int, reverse: bool) -> list[Value]:
    """The products of the first k elements along an axis, k = 1, 2, ...; one monomial each."""
    n = x.shape[axis]
    if not 0 < n <= PIECES:
        raise Unknown("a product of many elements")
    numbers = movement.numbered(x.shape)
    out: list[Value] = []
    for k in range(n):
        element = simplify(walk, move(x, np.take(numbers, n - 1 - k if reverse else k, axis)))
        if element.single is None:
            raise Unknown("a product of sums")
        out.append(multiply(out[-1], element) if out else element)
    return out


def _dot_general(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    return dot(value_of(x), value_of(y), eqn.params["dimension_numbers"], _of_matrices(walk))


def dot(x: Value, y: Value, dimension_numbers: Any, known: Callable[[Term], Term] = lambda t: t) -> Value:
    """`lax.dot_general`: spread both over batch, free and contracted axes, multiply, sum."""
    (xc, yc), (xb, yb) = dimension_numbers
    xf = [i for i in range(len(x.shape)) if i not in (*xc, *xb)]
    yf = [i for i in range(len(y.shape)) if i not in (*yc, *yb)]
    nb, nx, ny = len(xb), len(xf), len(yf)
    shape = (*(x.shape[i] for i in xb), *(x.shape[i] for i in xf), *(y.shape[i] for i in yf),
             *(x.shape[i] for i in xc))
    x = permute(x, [*xb, *xf, *xc])
    y = permute(y, [*yb, *yf, *yc])
    last = range(nb + nx + ny, len(shape))
    x = spread(x, shape, [*range(nb + nx), *last])
    y = spread(y, shape, [*range(nb), *range(nb + nx, nb + nx + ny), *last])
    return reduce_sum(multiply(x, y), list(last), known)


def _cumsum(walk: Walk, eqn: Equation, x: Value) -> Value:
    axis, n = eqn.params["axis"], x.shape[eqn.params["axis"]]
    lower = np.tril(np.ones((n, n)))
    matrix = lower.T if eqn.params["reverse"] else lower
    out = dot(x, Value.known(matrix), (((axis,), (1,)), ((), ())))
    rank = len(x.shape)
    order = [*range(rank - 1)]
    order.insert(axis, rank - 1)
    return permute(out, order)


def _is_identity(x: Value) -> bool:
    if x.single is None or x.single.atoms or not is_known(x.single.coefficient()):
        return False
    c = np.broadcast_to(x.single.coefficient(), x.shape)
    return x.shape[-1] == x.shape[-2] and bool((c == np.eye(x.shape[-1])).all())


def _triangular_solve(walk: Walk, eqn: Equation, a: Any, b: Any) -> Value:
    """Solving with a matrix that is free of the candidates is a product with its inverse."""
    p = eqn.params
    inverse = walk.triangular_inverse(eqn, a)
    n = len(inverse.shape)
    batch = tuple(range(n - 2))
    inner = n - 2 if p["transpose_a"] else n - 1
    b = value_of(b)
    if _is_identity(b) and not p["transpose_a"]:
        return inverse
    if p["left_side"]:
        return dot(inverse, b, (((inner,), (n - 2,)), (batch, batch)))
    return dot(b, inverse, (((n - 1,), (n - 2 if inner == n - 1 else n - 1,)), (batch, batch)))


# -- movement -------------------------------------------------------------------------------------


def _move(name: str) -> Rule:
    function = movement.MOVES[name]

    def rule(walk: Walk, eqn: Equation, x: Any, *known: Any) -> Value:
        if not isinstance(x, Value) or any(isinstance(k, Value) for k in known):
            raise Unknown("an index that depends on a latent")
        if not all(is_known(k) for k in known):
            return walk.traced_movement(eqn, x, known)
        try:
            return move(x, movement.sources(function, eqn.params, x.shape, *known))
        except movement.Unreadable as error:
            raise Unknown(str(error)) from None

    return rule


def _broadcast_in_dim(walk: Walk, eqn: Equation, x: Value) -> Value:
    return spread(x, tuple(eqn.params["shape"]), eqn.params["broadcast_dimensions"])


def _reshape(walk: Walk, eqn: Equation, x: Value) -> Value:
    if eqn.params.get("dimensions") is not None:
        x = permute(x, eqn.params["dimensions"])
    return reshape(x, tuple(eqn.params["new_sizes"]))


def _axes_of_one(walk: Walk, eqn: Equation, x: Value) -> Value:
    struct = walk.graph.shapes[eqn.outputs[0]]
    return reshape(x, tuple(struct))


def _transpose(walk: Walk, eqn: Equation, x: Value) -> Value:
    return permute(x, eqn.params["permutation"])


def _copy(walk: Walk, eqn: Equation, x: Value) -> Value:
    return x


def _convert(walk: Walk, eqn: Equation, x: Value) -> Value:
    if np.dtype(eqn.params["new_dtype"]).kind != "f" and str(
            eqn.params["new_dtype"]) != "bfloat16":
        raise Unknown("a conversion of a latent to whole numbers")
    (old,) = (walk.graph.dtypes[i] for i in eqn.inputs)
    if old.kind != "f":
        raise Unknown("a conversion of something that is not a real number")
    if np.dtype(eqn.params["new_dtype"]).itemsize < old.itemsize:
        raise Unknown("a conversion of a latent to fewer digits")
    return x


def _join(function: Callable[..., np.ndarray]) -> Rule:
    """Several operands become one: each is moved to its places."""

    def rule(walk: Walk, eqn: Equation, *xs: Any) -> Value:
        values = [value_of(x) for x in xs]
        parts = []
        for k, v in enumerate(values):
            source = function(eqn.params, [movement.numbered(x.shape) if j == k else np.full(x.shape, -1)
                                           for j, x in enumerate(values)])
            parts.append((source >= 0, move(v, source)))
        return joined(tuple(walk.graph.shapes[eqn.outputs[0]]), parts)

    return rule


def _tile(walk: Walk, eqn: Equation, x: Value) -> Value:
    return move(x, np.tile(movement.numbered(x.shape), eqn.params["reps"]))


def _pad(walk: Walk, eqn: Equation, x: Any, fill: Any) -> Value:
    if not isinstance(x, Value) or not is_known(fill):
        raise Unknown("padding with a latent")
    source = movement.sources(movement.pad, eqn.params, x.shape, np.asarray(-1))
    out = move(x, source)
    if fill != 0:
        out = add(out, Value.known(np.where(source < 0, fill, 0.0)))
    return out


def _several(name: str) -> Rule:
    function = movement.SPLITS[name]

    def rule(walk: Walk, eqn: Equation, x: Value) -> list[Value]:
        return [move(x, s) for s in movement.sources(function, eqn.params, x.shape)]

    return rule


def _select_n(walk: Walk, eqn: Equation, which: Any, *cases: Any) -> Value:
    if not is_known(which):
        raise Unknown("a choice between cases that depends on a latent or on traced data")
    shape = _shape(*cases, which)
    which = np.broadcast_to(which.astype(int), shape)
    terms: list[Term] = []
    for k, case in enumerate(cases):
        terms += where(which == k, _full(case, shape)).terms
    return collect(shape, terms)


def _dynamic_update_slice(walk: Walk, eqn: Equation, x: Any, update: Any, *starts: Any) -> Value:
    if not all(is_known(s) for s in starts):
        raise Unknown("an update at an index that depends on a latent or on traced data")
    x, update = value_of(x), value_of(update)
    at = [int(np.clip(int(s), 0, n - k))
          for s, n, k in zip(starts, x.shape, update.shape, strict=True)]
    place = tuple(slice(a, a + k) for a, k in zip(at, update.shape, strict=True))
    keep = np.ones(x.shape, bool)
    keep[place] = False
    source = np.full(x.shape, -1)
    source[place] = movement.numbered(update.shape)
    return collect(x.shape, [*where(keep, x).terms, *move(update, source).terms])


def elementwise(walk: Walk, eqn: Equation, x: Any, primitive: str = "") -> Value:
    """A function of one monomial in one variable, element by element: a new variable.

    The function is that of the equation, or `primitive`.

    f(v[selection]) = f(v)[selection], so rows that read the same element share one value.
    """
    term = x.single if isinstance(x, Value) else None
    if term is None or len(term.atoms) != 1:
        raise Unknown("")
    atom = term.atoms[0]
    c = term.coefficient()
    if not is_known(c) or np.unique(c).size != 1:
        raise Unknown("")
    number, p = float(c.flat[0]), float(atom.power)
    own = primitive or eqn.primitive
    key = (own, tuple(sorted((k, repr(v)) for k, v in eqn.params.items())), atom.variable, number, p)
    name = f"{own}({atom.variable.name})"
    variable = walk.variables.once(key, lambda: Elementwise(
        name, atom.variable.size, own in ("exp", "logistic"), atom.variable.roots,
        own, atom.variable, number, p, eqn))
    one = np.ones((1,) * term.rank)
    return Value(x.shape, (Term(term.rank, (), (one,), (Atom(variable, Fraction(1),
                                                             atom.selection),)),))


ELEMENTWISE: frozenset[str] = frozenset({
    "exp", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "sqrt", "rsqrt", "abs",
    "erf", "erfc", "erf_inv", "lgamma", "digamma", "cbrt", "exp2", "sign", "tan", "sinh", "cosh",
    "integer_pow", "bessel_i0e", "bessel_i1e",
})
"""Primitives of one operand that act element by element."""

RULES: dict[str, Rule] = {
    "add": _add, "add_any": _add, "sub": _sub, "neg": _neg, "mul": _mul, "div": _div,
    "integer_pow": _integer_pow, "square": _square, "pow": _pow,
    "sqrt": _root(Fraction(1, 2)), "rsqrt": _root(Fraction(-1, 2)),
    "log": _log, "log1p": _log1p, "exp": _exp, "logistic": _logistic,
    "reduce_sum": _reduce_sum, "dot_general": _dot_general, "cumsum": _cumsum,
    "triangular_solve": _triangular_solve, "cholesky": cholesky,
    "cumprod": _cumprod, "reduce_prod": _reduce_prod, "lgamma": _lgamma,
    "cos": _turn(False), "sin": _turn(True), "scatter": scatter, "scatter-add": scatter_add,
    "broadcast_in_dim": _broadcast_in_dim, "reshape": _reshape, "squeeze": _axes_of_one,
    "expand_dims": _axes_of_one, "transpose": _transpose, "copy": _copy, "copy_p": _copy,
    "convert_element_type": _convert, "pad": _pad, "tile": _tile,
    "concatenate": _join(lambda p, blocks: np.concatenate(blocks, p["dimension"])),
    "stack": _join(lambda p, blocks: np.stack(blocks, p["axis"])),
    "select_n": _select_n, "dynamic_update_slice": _dynamic_update_slice,
    "split": _several("split"), "unstack": _several("unstack"),
    **{name: _move(name) for name in ("rev", "slice", "dynamic_slice", "gather")},
}
"""Primitive name -> rule(walk, equation, *operands)."""
