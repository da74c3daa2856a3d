"""Solving with a full matrix, as `jnp.linalg.inv` and `jnp.linalg.solve` do it, by factors with pivots.

    P A = L U,   x = inv(U) inv(L) P b = inv(A) b

Which rows are exchanged depends on the matrix, so that the factors themselves are no monomials. But the three steps
together are: rows looked up by the permutation, then solving with L, then with U. Whether a solver's body is that is
looked up in it, and tried on numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.lax import linalg

from conjugate_ppl import _compat
from conjugate_ppl.algebra import definite
from conjugate_ppl.algebra.host import HOST
from conjugate_ppl.algebra.matrices import common, inverse_of_scaled
from conjugate_ppl.algebra.monomial import Unknown, power
from conjugate_ppl.algebra.movement import MOVES
from conjugate_ppl.algebra.operands import value_of
from conjugate_ppl.algebra.sums import dot, is_identity
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.value import multiply
from conjugate_ppl.algebra.variables import Computed

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["linear_solve"]

_WHAT = "solving with a matrix that depends on a latent"


def linear_solve(walk: Walk, eqn: Equation, *operands: Any) -> list[Value]:
    """The rule of a solver with a known right side, or with a matrix of kept latents alone."""
    factors = next((f for f in map(walk.graph.maker, eqn.inputs) if f is not None and f.primitive == "lu"), None)
    if factors is None or len(eqn.outputs) != 1:
        raise Unknown(_WHAT)
    right = eqn.inputs[-1]
    b = operands[-1]
    source = factors.inputs[0]
    while (before := walk.graph.maker(source)) is not None and before.primitive == "stop_gradient":
        source = before.inputs[0]
    matrix = walk.value(source)
    if matrix.roots and not matrix.roots & walk.candidates:
        inverse = _of_kept(walk, source, matrix)
    elif isinstance(b, Value) or not is_known(b):
        raise Unknown("solving with a matrix that depends on a latent for what is not known")
    else:
        inverse = _inverse(walk, matrix)
    _try(walk, eqn, factors, right)
    return [value_of(_through(walk, eqn, factors, {right: b}, inverse))]


def _of_kept(walk: Walk, number: int, matrix: Value) -> Value:
    """The inverse of a matrix in which nothing is to be collapsed, as elements computed at run time."""
    return Value.of(walk.variables.once(("full inverse", number), lambda: Computed(
        f"inverse#{number}", int(np.prod(matrix.shape)), False, matrix.roots,
        lambda values: jnp.linalg.inv(values.evaluate(number)))), matrix.shape)


def _inverse(walk: Walk, x: Value) -> Value:
    found = definite.inverted(walk, x)
    if found is not None:
        made, scale = found
        return multiply(made, power(walk, Value(x.shape, (common(scale),)), Fraction(-1)))
    try:
        return inverse_of_scaled(walk, x, np.linalg.inv)
    except np.linalg.LinAlgError:
        raise Unknown("the inverse of a singular matrix") from None


def _through(walk: Walk, eqn: Equation, factors: Equation, env: dict[int, Any], inverse: Any) -> Any:
    """The result of the solver's body, given the inverse of the matrix."""
    lu, _, exchanged = factors.outputs
    places, lower = {exchanged}, False
    for e in eqn.body:
        operands = [env.get(n, walk.graph.constants.get(n)) for n in e.inputs]
        p = e.params
        if e.primitive == "triangular_solve" and e.inputs[0] == lu and p["left_side"] and not p["transpose_a"]:
            if p["lower"] == lower or p["unit_diagonal"] != p["lower"]:
                raise Unknown(_WHAT)
            lower = p["lower"]
            out = operands[1] if lower else _product(inverse, operands[1])
        elif places.intersection(e.inputs):
            if e.primitive != "gather" or e.inputs[0] in places:
                places.update(e.outputs)
                continue
            out = operands[0]
            if out is None or walk.graph.shapes[e.outputs[0]] != np.shape(out):
                raise Unknown(_WHAT)
        else:
            function = MOVES.get(e.primitive) or HOST.get(e.primitive)
            if function is None or any(x is None for x in operands):
                raise Unknown(_WHAT)
            out = function(p, *operands) if not isinstance(operands[0], Value) else walk.rule(e, operands)
        env[e.outputs[0]] = out
    return env[eqn.body_outputs[0]]


def _product(inverse: Any, b: Any) -> Any:
    if isinstance(inverse, Value):
        if is_identity(value_of(b)) and np.shape(b) == inverse.shape:
            return inverse
        n = len(inverse.shape)
        batch = tuple(range(n - 2))
        return dot(inverse, value_of(b), (((n - 1,), (n - 2,)), (batch, batch)))
    return inverse @ b


def _try(walk: Walk, eqn: Equation, factors: Equation, right: int) -> None:
    """On some matrix whose rows are exchanged the body is what it is taken for."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=walk.graph.shapes[n]) for n in (factors.inputs[0], right))
    with _compat.eagerly():
        known = {factors.inputs[0]: jnp.asarray(a), right: jnp.asarray(b, float)}
        known.update(zip(factors.outputs, linalg.lu(known[factors.inputs[0]]), strict=True))
        operands = [known.get(n, known[factors.inputs[0]]) for n in eqn.inputs]
        (found,) = walk.graph.apply(eqn, operands)
    expected = _through(walk, eqn, factors, {right: np.asarray(b, float)}, np.linalg.inv(a))
    if not np.allclose(found, expected, rtol=1e-2, atol=1e-2 * float(np.abs(expected).max(initial=0.0))):
        raise Unknown(_WHAT)
