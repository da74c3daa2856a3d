"""A rest of few elements, number by number: what arrays and `Coupling` are to a wide one.

A sum over an axis of two elements is a loop of its own to a compiler, and what comes before and after it others:
a gradient then is as many short loops as there are products. Written out, the whole solution of such a rest is one.
Vectors are lists of their elements, each an array over the blocks; what is known to be 0 or 1 costs nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.gaussian.entries import Entries, dot

__all__ = ["NarrowCoupling", "elements", "known_entries", "known_numbers", "stacked", "weighted_entries", "weighted_numbers"]

def known_numbers(values: Values, numbers: np.ndarray) -> Any:
    """Known numbers, one for each pattern; a scalar where they are equal, and 0 or 1 where they all are."""
    if not numbers.any():
        return 0
    if (numbers == numbers[0]).all():
        return 1 if numbers[0] == 1 else values.number(numbers[0])
    return values.number(numbers)


def known_entries(values: Values, matrices: np.ndarray) -> Entries:
    """Known matrices, shape (many, rows, columns)."""
    _, rows, columns = matrices.shape
    return Entries(tuple(tuple(known_numbers(values, matrices[:, i, j]) for j in range(columns)) for i in range(rows)))


def weighted_entries(array: WeightedArray, values: Values, omega: Any) -> Entries:
    """Symmetric matrices of all blocks from an array of shape (blocks, n, n)."""
    n = array.shape[-1]
    half = [[_weighted(array.part(i, j), values, omega) for j in range(i + 1)] for i in range(n)]
    return Entries.of_half(half)


def weighted_numbers(array: WeightedArray, values: Values, omega: Any) -> list[Any]:
    """Vectors of all blocks from an array of shape (blocks, n)."""
    return [_weighted(array.part(i), values, omega) for i in range(array.shape[-1])]


def _weighted(part: WeightedArray, values: Values, omega: Any) -> Any:
    return 0 if part.empty else part.evaluate(values, omega)


def elements(array: Any) -> list[Any]:
    """Vectors of all blocks from an array of shape (blocks, n)."""
    return [x[0] for x in jax.lax.split(array.T, [1] * array.shape[-1])] if array.shape[-1] else []


def stacked(vector: Sequence[Any], blocks: int, dtype: Any) -> Any:
    """The inverse of `elements`."""
    return jnp.stack([jnp.broadcast_to(jnp.asarray(x, dtype), (blocks,)) for x in vector], -1)


@dataclasses.dataclass(frozen=True, eq=False)
class NarrowCoupling:
    """A map from the elements of a component's block to vectors over the component, for all components.

    Attributes:
        map: the matrices, of as many columns as the rest has elements.
        owner: the block of each component.
        blocks: number of blocks.
    """

    map: Entries
    owner: np.ndarray
    blocks: int

    def apply(self, e: Any) -> list[Any]:
        """The vectors of all components at e."""
        own = [x[0] if self.blocks == 1 else x[self.owner] for x in (e if isinstance(e, list) else elements(e))]
        return self.map.times(own)

    def shares(self, v: Entries, vectors: list[Any]) -> tuple[Entries, list[Any]]:
        """K' V K and K' V x, added up over the components of each block."""
        back = self.map.T
        n, after = back.width, (v @ self.map).T
        pairs = [(i, j) for i in range(n) for j in range(i + 1)]
        sums = self._in_blocks([*(dot(back.rows[i], after.rows[j]) for i, j in pairs),
                                *(dot(r, vectors) for r in after.rows)])
        found = dict(zip(pairs, sums, strict=False))
        return Entries(tuple(tuple(found[max(i, j), min(i, j)] for j in range(n)) for i in range(n))), sums[len(pairs):]

    def _in_blocks(self, each: Sequence[Any]) -> list[Any]:
        """Numbers of all components added up in the blocks they belong to; in one block sum by sum, since a sum of
        all takes longer than its parts."""
        there = [k for k, x in enumerate(each) if not isinstance(x, int)]
        if not there:
            return list(each)
        if self.blocks == 1:
            return [x if isinstance(x, int) else jnp.sum(x, keepdims=True) for x in each]
        rows = jnp.stack([each[k] for k in there])
        sums = jnp.zeros((len(there), self.blocks), rows.dtype).at[:, self.owner].add(rows)
        found = dict(zip(there, (x[0] for x in jax.lax.split(sums, [1] * len(there))), strict=True))
        return [found.get(k, 0) for k in range(len(each))]
