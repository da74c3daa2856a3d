"""Operands of primitives: arrays and values alike, and brought to one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import spread

__all__ = ["full", "shape_of", "value_of"]


def value_of(x: Any) -> Value:
    """A known array, or a value, as a value."""
    return x if isinstance(x, Value) else Value.known(x)


def full(x: Any, shape: tuple[int, ...]) -> Value:
    """An operand brought to the result's shape (size 1, or fewer axes, stand for any size)."""
    v = value_of(x)
    if v.shape == shape:
        return v
    return spread(v, shape, range(len(shape) - len(v.shape), len(shape)))


def shape_of(*operands: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(
        *(x.shape if isinstance(x, Value) else np.shape(x) for x in operands))
