"""Products by what the states alone say, with derivatives that are numbers.

A rate `z * lam` is 0 in the state 0, whatever `lam` is: nothing that is computed from it has to do with `lam`, and where a
derivative of that is infinite or no number (a logarithm's at 0) it does not count. JAX has 0 times infinity there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.scipy import special

from conjugate_ppl import _compat
from conjugate_ppl.algebra.slopes import each
from conjugate_ppl.finite.sums import moved

if TYPE_CHECKING:
    from conjugate_ppl.graph import Equation

__all__ = ["LOGARITHMS", "by_states", "logarithm_in", "times_logarithm"]

LOGARITHMS = {"xlogy": jnp.log, "xlog1py": jnp.log1p}
"""Functions x f(y) that are 0 where x is, of `jax.scipy.special`."""


def logarithm_in(equation: Equation | None) -> str:
    """Which of `LOGARITHMS` an equation is a call of; "" if it is of none."""
    if equation is None or not equation.body or len(equation.inputs) != 2:
        return ""
    return next((n for n in LOGARITHMS if _compat.calls(equation.raw, getattr(special, n))), "")


def by_states(a: Any, b: Any) -> Any:
    """a * b; where `a` is 0, `b` has no part in a derivative."""
    return _product(a, b) if jnp.issubdtype(jnp.result_type(a, b), jnp.inexact) else a * b


@jax.custom_jvp
def _product(a: Any, b: Any) -> Any:
    return a * b


def _slope(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    (a, b), (of_a, of_b) = primals, tangents
    out = _product(a, b)
    parts = [f(x, t) for f, x, t in ((moved, a, of_b), (jnp.multiply, b, of_a)) if not isinstance(t, SymbolicZero)]
    return out, sum(parts, jnp.zeros_like(out))


_product.defjvp(_slope, symbolic_zeros=True)  # 0 times what may be infinite


def times_logarithm(name: str, x: Any, y: Any) -> Any:
    """One of `LOGARITHMS`, the logarithm taken once for all that it is multiplied by."""
    product = by_states(x, each(LOGARITHMS[name], y))
    return jnp.where((x == 0) & (y == y), jnp.zeros((), product.dtype), product)
