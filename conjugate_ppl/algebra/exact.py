"""Known numbers to the last bit of what JAX computes, without compiling anything where NumPy has the same bits.

Those are data movements, whole numbers and truth values, comparisons, and the arithmetic of floats that IEEE 754
rounds alike everywhere. XLA takes numbers below the smallest normal one for 0, and is left to do so itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.algebra.host import HOST
from conjugate_ppl.algebra.movement import MOVES, Unreadable
from conjugate_ppl.graph import Equation, Graph

__all__ = ["constants"]

_ROUNDED_ALIKE = frozenset({"add", "sub", "add_any", "mul", "div", "neg", "abs", "sqrt", "square", "eq", "ne", "lt", "le",
                            "gt", "ge", "select_n", "stop_gradient"})
_WHOLE = frozenset({"add", "sub", "mul", "neg", "max", "min", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor",
                    "select_n", "stop_gradient", "reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or",
                    "cumsum", "cummax", "cummin", "iota"})
_LEAST = 4  # bytes of a float whose arithmetic NumPy has


def constants(graph: Graph, numbers: Sequence[int], memo: dict[int, Any]) -> list[Any]:
    """The values of numbers that depend on constants alone, as JAX computes them."""

    def apply(equation: Equation, operands: Sequence[Any]) -> list[Any]:
        out = _by_numpy(graph, equation, operands)
        return graph.apply(equation, operands) if out is None else [out]

    return graph.constant(numbers, memo, apply)


def _by_numpy(graph: Graph, equation: Equation, operands: Sequence[Any]) -> np.ndarray | None:
    """The result of an equation, None where NumPy's might be another."""
    if len(equation.outputs) > 1 or not all(map(_on_host, operands)):
        return None
    into = graph.dtypes[equation.outputs[0]]
    types = [graph.dtypes[n] for n in equation.inputs]
    if not all(_has(t) for t in (into, *types)):
        return None
    name, floats = equation.primitive, any(t.kind == "f" for t in (into, *types))
    xs = [np.asarray(x, t) for x, t in zip(operands, types, strict=True)]
    # what NumPy refuses, JAX itself knows how to take
    with np.errstate(all="ignore"), contextlib.suppress(Unreadable, TypeError, ValueError, IndexError):
        if name in MOVES:
            return np.asarray(MOVES[name](equation.params, *xs), into)
        if name == "concatenate":
            return np.concatenate(xs, equation.params["dimension"])
        if name == "convert_element_type" and (into.kind == "f" or types[0].kind != "f"):
            out = xs[0].astype(into)
        elif name in (_ROUNDED_ALIKE if floats else _WHOLE):
            out = np.asarray(HOST[name](equation.params, *xs))
        else:
            return None
        if out.dtype == into and not any(map(_tiny, (*xs, out))):
            return out
    return None


def _on_host(x: Any) -> bool:
    return not isinstance(x, jax.Array) or (_compat.is_concrete(x) and len(x.devices()) == 1)


def _has(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and (dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize >= _LEAST))


def _tiny(x: np.ndarray) -> bool:
    """Whether some float is below the normal ones."""
    if x.dtype.kind != "f":
        return False
    size = np.abs(x)
    return bool(((size > 0) & (size < np.finfo(x.dtype).tiny)).any())
