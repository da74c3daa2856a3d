"""The point that a quadratic is written about."""

from __future__ import annotations

import numpy as np

from conjugate_ppl.gaussian.quadratic import Quadratic

__all__ = ["reference"]


def reference(q: Quadratic, size: int, steps: int = 200) -> np.ndarray:
    """A least-squares point of the quadratic with all weights set to 1 (shape (size,)).

    Conjugate gradients on the normal equations, scaled by their diagonal: the point only has to be
    close, so that the quadratic written about it has small coefficients.
    """
    if not len(q.numbers):
        return np.zeros(size)
    diagonal = np.bincount(q.rows[q.rows == q.columns], q.numbers[q.rows == q.columns], size)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    numbers = q.numbers * scale[q.rows] * scale[q.columns]
    right = np.bincount(q.places, q.linear, size) * scale

    def apply(x: np.ndarray) -> np.ndarray:
        return np.bincount(q.rows, numbers * x[q.columns], size)

    x = np.zeros(size)
    r: np.ndarray = right.copy()
    p = r.copy()
    norm: float = float(r @ r)
    target = norm * 1e-24
    for _ in range(min(steps, 2 * size + 10)):
        if norm <= target:
            break
        ap = apply(p)
        curve = float(p @ ap)
        if not np.isfinite(curve) or curve <= 0:
            break
        alpha = norm / curve
        x += alpha * p
        r = r - alpha * ap
        new = float(r @ r)
        p = r + (new / norm) * p
        norm = new
    x = x * scale
    return x if np.isfinite(x).all() else np.zeros(size)
