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

from conjugate_ppl import _compat
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.entries import Entries, dot
from conjugate_ppl.gaussian.stacked import Stacked

__all__ = ["NarrowCoupling", "elements", "known_entries", "known_numbers", "matrix", "stacked"]

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


def matrix(array: Any) -> Entries:
    """Matrices of all blocks from an array of shape (blocks, n, n)."""
    return Stacked(array).entries()


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
        """Numbers of all components added up in the blocks they belong to.

        Few numbers in one step. More of them, in one block, sum by sum: a sum of all takes longer than its parts, and
        what is not small hands operations to other threads (`_compat.apart`).
        """
        there = [k for k, x in enumerate(each) if not isinstance(x, int)]
        if not there:
            return list(each)
        size = each[there[0]].nbytes
        if self.blocks == 1 and size * len(there) > _compat.SMALL:
            return [x if isinstance(x, int) else jnp.sum(x, keepdims=True) for x in each]
        rows = jnp.stack([each[k] for k in there])
        if self.blocks == 1:
            sums = jnp.sum(rows, -1, keepdims=True)
        else:
            sums = jnp.zeros((len(there), self.blocks), rows.dtype).at[:, self.owner].add(rows)
        found = dict(zip(there, (x[0] for x in jax.lax.split(sums, [1] * len(there))), strict=True))
        return [found.get(k, 0) for k in range(len(each))]
