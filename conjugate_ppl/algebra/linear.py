"""Rules of primitives that are linear in one operand where the others are known: convolutions, Fourier transforms.

A linear map is its matrix, and that is what the primitive itself makes of unit vectors. Fourier transforms make
complex numbers: coefficients may be complex, monomials never are, so that parts are taken of coefficients alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.algebra.monomial import Unknown
from conjugate_ppl.algebra.operands import full, shape_of
from conjugate_ppl.algebra.sums import dot
from conjugate_ppl.algebra.term import Term, Value, array_module, is_known
from conjugate_ppl.algebra.value import add, collect, reshape

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["COMPLEX", "LINEAR"]

Rule = Callable[..., Any]

_LARGEST = 1 << 22  # numbers of a matrix that is written out


def _applied(eqn: Equation, x: Value, at: int, others: dict[int, Any], dtype: Any, unit: Any = 1.0) -> Value:
    """The primitive's linear map of `x`, its operand number `at`; unit vectors are `unit` times 0 and 1."""
    n = int(np.prod(x.shape))
    size = n * int(np.prod(eqn.raw.outvars[0].aval.shape))
    if size > _LARGEST:
        raise Unknown(f"`{eqn.primitive}` of many numbers, as a matrix of {size} entries")

    def one(e: Any) -> Any:
        operands = [e if k == at else others[k] for k in range(len(others) + 1)]
        return eqn.raw.primitive.bind(*operands, **eqn.params)

    with _compat.eagerly():
        matrix = np.asarray(jax.vmap(one)(jnp.asarray(unit * np.eye(n), dtype).reshape(n, *x.shape)))
    matrix = matrix.astype(complex if matrix.dtype.kind == "c" else float)
    return dot(reshape(x, (n,)), Value.known(matrix), (((0,), (0,)), ((), ())))


def _convolution(walk: Walk, eqn: Equation, x: Any, kernel: Any) -> Value:
    at = 0 if isinstance(x, Value) else 1
    value, other = (x, kernel) if at == 0 else (kernel, x)
    if isinstance(other, Value) or not is_known(other):
        raise Unknown("a convolution of latents with each other or with traced data")
    return _applied(eqn, value, at, {1 - at: jnp.asarray(other, walk.graph.dtypes[eqn.inputs[1 - at]])},
                    walk.graph.dtypes[eqn.inputs[at]])


def _fourier(walk: Walk, eqn: Equation, x: Value) -> Value:
    dtype = walk.graph.dtypes[eqn.inputs[0]]
    if walk.graph.dtypes[eqn.outputs[0]].kind == "c":
        return _applied(eqn, x, 0, {}, dtype)
    # its result is real: linear in the real and in the imaginary part
    real, imaginary = (_part(walk, x, p) for p in (np.real, np.imag))
    return add(_applied(eqn, real, 0, {}, dtype), _applied(eqn, imaginary, 0, {}, dtype, 1j))


def _part(walk: Walk, x: Value, part: Callable[[Any], Any]) -> Value:
    """The real or the imaginary part, or the conjugate."""
    terms = []
    for t in x.terms:
        numbers = [walk.graph.dtypes[a.variable.number] for a in t.atoms if hasattr(a.variable, "number")]
        if any(d.kind == "c" for d in numbers):
            raise Unknown("a part of a complex number that depends on a latent")
        c: Any = np.ones(())
        for other in t.coefficients:
            c = c * other
        if array_module(c) is not np:
            raise Unknown("a part of a complex number that depends on traced data")
        terms.append(Term(t.rank, t.hidden, (part(c),), t.atoms))
    return collect(x.shape, terms)


def _of_part(part: Callable[[Any], Any]) -> Rule:
    return lambda walk, eqn, x: _part(walk, x, part)


def _complex(walk: Walk, eqn: Equation, x: Any, y: Any) -> Value:
    shape = shape_of(x, y)
    imaginary = full(y, shape)
    return add(full(x, shape), Value(shape, tuple(t.scaled(np.asarray(1j)) for t in imaginary.terms)))


LINEAR: dict[str, Rule] = {
    "conv_general_dilated": _convolution, "fft": _fourier, "real": _of_part(np.real), "imag": _of_part(np.imag),
    "conj": _of_part(np.conj), "complex": _complex,
}

COMPLEX: frozenset[str] = frozenset({
    *LINEAR, "add", "add_any", "sub", "neg", "mul", "reduce_sum", "dot_general", "broadcast_in_dim", "reshape",
    "squeeze", "expand_dims", "transpose", "copy", "copy_p", "convert_element_type", "concatenate", "stack", "slice",
    "rev", "dynamic_slice", "gather", "split", "unstack", "tile", "pad",
})
"""Primitives whose rules hold for complex coefficients too."""
