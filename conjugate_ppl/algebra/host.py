"""Primitives on known numbers, on the host, in float64.

Whatever in a density does not depend on the latents is computed here once: in NumPy, so that nothing
is compiled, and in double precision, so that float32 data lose no digits. A primitive without an
entry is evaluated by JAX itself, and so is one whose rounding is part of the model: one that jumps
(`JUMPS`, comparisons, casts to integers), where the last digit of a float decides, and half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

__all__ = ["HOST", "JUMPS", "known"]

Params = Mapping[str, Any]


def known(value: Any) -> np.ndarray:
    """`value` as a NumPy array; floats as float64."""
    array = np.asarray(value)
    if array.dtype.kind == "f" or array.dtype.kind == "V" or array.dtype.name == "bfloat16":
        return array.astype(np.float64)
    return array


def _convert(p: Params, x: np.ndarray) -> np.ndarray:
    dtype = np.dtype(p["new_dtype"])
    return x.astype(np.float64 if dtype.kind == "f" else dtype)


def _iota(p: Params) -> np.ndarray:
    shape, axis, dtype = tuple(p["shape"]), p["dimension"], np.dtype(p["dtype"])
    line = np.arange(shape[axis]).astype(np.float64 if dtype.kind == "f" else dtype)
    return np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


def dot_general(p: Params, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`lax.dot_general` by einsum."""
    (xc, yc), (xb, yb) = p["dimension_numbers"]
    if (preferred := p.get("preferred_element_type")) is not None:  # in which small integers do not overflow
        x, y = (_convert({"new_dtype": preferred}, a) for a in (x, y))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    xs = [""] * x.ndim
    ys = [""] * y.ndim
    for i, j in [*zip(xb, yb, strict=True), *zip(xc, yc, strict=True)]:
        xs[i] = ys[j] = next(letters)
    batch = "".join(xs[i] for i in xb)
    xs = [c or next(letters) for c in xs]
    ys = [c or next(letters) for c in ys]
    free = [c for i, c in enumerate(xs) if i not in (*xb, *xc)]
    free += [c for i, c in enumerate(ys) if i not in (*yb, *yc)]
    out: np.ndarray = np.einsum(f"{''.join(xs)},{''.join(ys)}->{batch}{''.join(free)}", x, y,
                                optimize=True)
    return out


def _cumulate(function: np.ufunc) -> Callable[..., np.ndarray]:
    def run(p: Params, x: np.ndarray) -> np.ndarray:
        axis = p["axis"]
        if p["reverse"]:
            return np.asarray(np.flip(function.accumulate(np.flip(x, axis), axis, x.dtype), axis))
        return np.asarray(function.accumulate(x, axis, x.dtype))

    return run


def _select_n(p: Params, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    return np.choose(np.broadcast_to(which.astype(np.intp), cases[0].shape), cases)


def _select_large(p: Params, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    if len(cases) == 2:
        return np.where(which.astype(bool), cases[1], cases[0])
    return _select_n(p, which, *cases)


def _integer_pow(p: Params, x: np.ndarray) -> np.ndarray:
    y = p["y"]
    return np.asarray(x**y if y >= 0 else 1.0 / x ** (-y))


def _plain(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda p, *xs: function(*xs)


def _reduction(function: np.ufunc) -> Callable[..., np.ndarray]:
    """In the operand's own type, in which sums of integers may overflow."""
    return lambda p, x: np.asarray(function.reduce(x, tuple(p["axes"]), x.dtype))


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "fc":
        return np.asarray(x / y)
    with np.errstate(all="ignore"):
        quotient = np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))
        return np.asarray(np.where(y == 0, np.array(-1).astype(x.dtype), quotient)).astype(x.dtype)  # all bits, as XLA has it


def _rem(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        left = np.fmod(x, y)
    return np.asarray(left if x.dtype.kind in "fc" else np.where(y == 0, x, left))


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _div, "neg": np.negative,
    "add_any": np.add, "sign": np.sign,
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p, "expm1": np.expm1,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1.0 / np.sqrt(x), "cbrt": np.cbrt, "square": np.square,
    "pow": np.power, "max": np.maximum, "min": np.minimum, "abs": np.abs, "rem": _rem,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "logistic": special.expit, "lgamma": special.gammaln, "digamma": special.digamma,
    "erf": special.erf, "erfc": special.erfc, "erf_inv": special.erfinv,
    "bessel_i0e": special.i0e, "bessel_i1e": special.i1e, "copy": np.asarray,
    "copy_p": np.asarray, "stop_gradient": np.asarray, "tan": np.tan, "atan2": np.arctan2,
    "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
}

HOST: dict[str, Callable[..., Any]] = {name: _plain(f) for name, f in _ELEMENTWISE.items()}
HOST.update({
    "convert_element_type": _convert,
    "iota": _iota,
    "dot_general": dot_general,
    "select_n": _select_large,
    "integer_pow": _integer_pow,
    "cumsum": _cumulate(np.add),
    "cumprod": _cumulate(np.multiply),
    "cummax": _cumulate(np.maximum),
    "cummin": _cumulate(np.minimum),
    "reduce_sum": _reduction(np.add),
    "reduce_max": _reduction(np.maximum),
    "reduce_min": _reduction(np.minimum),
    "reduce_prod": _reduction(np.multiply),
    "reduce_and": _reduction(np.logical_and),
    "reduce_or": _reduction(np.logical_or),
})
"""Primitive name -> function of (parameters, *arrays)."""

JUMPS = frozenset({"sign", "rem"})
"""Primitives of the table that are not continuous functions of floats."""
