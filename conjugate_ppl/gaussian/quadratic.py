"""The quadratic of a block: coefficients by coordinates.

The log density of everything that touches a block is, in its elements e,

    -1/2 e' H e + h' e + constant,      H = sum_w weight_w H_w,   h = sum_w weight_w h_w,

with one weight for each distinct product of kept variables (`algebra.reduce`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.algebra.reduce import Reduced

__all__ = ["Quadratic", "quadratic"]

@dataclasses.dataclass(frozen=True, eq=False)
class Quadratic:
    """Coefficients by coordinates: symmetric H as (row, column, weight, number), h likewise."""

    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray
    places: np.ndarray
    linear_weights: np.ndarray
    linear: np.ndarray
    reduced: Reduced

    @property
    def fixed(self) -> bool:
        """Whether nothing is left to be summed at run time."""
        return not (self.reduced.late.get(1) or self.reduced.late.get(2))


def quadratic(reduced: Reduced) -> Quadratic:
    """Read H and h off a reduced log density (-1/2 e'He + h'e)."""
    two, one = reduced.entries.get(2), reduced.entries.get(1)
    none = np.zeros(0, np.int64)
    if two is None:
        rows = columns = weights = none
        numbers = np.zeros(0)
    else:
        i, j = two.positions
        off = i != j
        rows = np.concatenate([i, j[off]])
        columns = np.concatenate([j, i[off]])
        weights = np.concatenate([two.weights, two.weights[off]])
        doubled = np.where(off, -two.coefficients, -2 * two.coefficients)
        numbers = np.concatenate([doubled, doubled[off]])
    return Quadratic(
        rows, columns, weights, numbers,
        one.positions[0] if one else none, one.weights if one else none,
        one.coefficients if one else np.zeros(0), reduced,
    )
