"""Making batches of small matrices, and taking some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.gaussian.entries import FEW, Entries
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.gaussian.stacked import Stacked

__all__ = ["of_array", "read", "small", "take"]


def read(numbers: Any, index: np.ndarray, last_is_zero: bool = False) -> Any:
    """Numbers at a vector of positions: a scalar where all are one, 0 for the last if so said."""
    if not (len(index) and (index == index[0]).all()):
        return numbers[index]
    return 0 if last_is_zero and index[0] == len(numbers) - 1 else numbers[int(index[0])]


def small(width: int, entry: Callable[[int, int], Any], stacked: Callable[[], Any],
          columns: int | None = None) -> Small:
    """Matrices from their entries, or, where they are wide, from an array of shape (many, n, n), or
    (many, n, columns)."""
    if width > FEW:
        return Stacked(stacked())
    return Entries(tuple(tuple(entry(i, j) for j in range(width if columns is None else columns))
                         for i in range(width)))


def of_array(matrices: Any) -> Small:
    """Matrices from an array of shape (..., n, n)."""
    return small(matrices.shape[-1], lambda i, j: matrices[..., i, j], lambda: matrices)


def take(batch: Any, index: np.ndarray) -> Any:
    """Matrices and vectors of batches, by number.

    Vectors of all entries in one step, which reads memory once; where each is small one by one, since all of
    them together might not be (`_compat.apart`).
    """
    leaves, structure = jax.tree.flatten(batch)
    vectors = [k for k, x in enumerate(leaves)
               if jnp.ndim(x) == 1 and len(index) * x.dtype.itemsize > _compat.SMALL]
    if vectors:
        taken = jnp.stack([leaves[k] for k in vectors], -1)[index]
        for place, k in enumerate(vectors):
            leaves[k] = taken[:, place]
    leaves = [x if k in vectors or jnp.ndim(x) == 0 or (jnp.ndim(x) > 1 and len(x) == 1) else x[index]
              for k, x in enumerate(leaves)]
    return jax.tree.unflatten(structure, leaves)
