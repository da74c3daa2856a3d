"""Arrays that are sums of known arrays, each times a weight computed at run time."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values, taken
from conjugate_ppl.algebra.strips import SparseSums
from conjugate_ppl.algebra.value import add_up

__all__ = ["DENSE", "WeightedArray"]

DENSE = 1 << 24
"""Numbers held for all weights of an array together."""

_FEW = 8  # places whose sums are products of vectors, which compilers make faster than that of a flat matrix
_MANY, _SPARSE = 64, 4  # of so many weights, so many numbers held for one that is not zero: one by one


@dataclasses.dataclass(frozen=True, eq=False)
class _ByPlace:
    """Arrays of many weights, the numbers of a place next to each other, so that a product goes along them; of symmetric
    matrices one half. `index` has the place in `table` of each element."""

    table: np.ndarray
    index: np.ndarray

    @staticmethod
    def of(arrays: np.ndarray) -> _ByPlace:
        shape = arrays.shape[1:]
        index = np.arange(int(np.prod(shape))).reshape(shape)
        if len(shape) > 1 and shape[-1] == shape[-2] and np.array_equal(arrays, arrays.swapaxes(-1, -2)):
            index = np.minimum(index, index.swapaxes(-1, -2))
        places, number = np.unique(index, return_inverse=True)
        table = np.ascontiguousarray(arrays.reshape(len(arrays), -1)[:, places].T)
        return _ByPlace(table, number.reshape(shape))

    def evaluate(self, values: Values, weights: Any) -> Any:
        table = values.number(self.table)
        if len(table) <= _FEW:
            return taken(jnp.stack([jnp.dot(row, weights, precision="highest") for row in table]), self.index)
        return taken(jnp.dot(table, weights, precision="highest"), self.index)


class WeightedArray:
    """sum_w weight_w A_w for arrays A_w of one shape, given by coordinates.

    Sums of many weights go `along` them, unless what is alike in several arrays has to be so to the last digit.
    """

    def __init__(self, shape: tuple[int, ...], index: tuple[np.ndarray, ...], weights: np.ndarray,
                 numbers: np.ndarray, along: bool = True) -> None:
        self.shape = shape
        used, local = np.unique(weights, return_inverse=True)
        self._used: np.ndarray = used
        size = int(np.prod(shape))
        flat = np.ravel_multi_index(index, shape) if len(numbers) else np.zeros(0, np.int64)
        self._dense: np.ndarray | None = None
        self._by_place: _ByPlace | None = None
        self.empty = not len(numbers)
        all_held = len(used) * size
        if all_held <= max(DENSE, 4 * len(numbers)) and (
                len(used) < _MANY or all_held < _SPARSE * len(numbers)):
            table = np.zeros((len(used), size))
            np.add.at(table, (local.reshape(-1), flat), numbers)
            self._hold(used, table.reshape(len(used), *shape), along)
        else:
            # added up here, in float64: what is left may be a difference of large numbers
            (flat, weights), numbers = add_up([flat, weights], numbers)
            width = max(1, size // shape[0])
            self._sparse = SparseSums((shape[0], width), flat // width, flat % width, weights, numbers)

    @classmethod
    def from_tables(cls, used: np.ndarray, table: np.ndarray) -> WeightedArray:
        """From one dense array for each of the weights `used`."""
        self = cls(table.shape[1:], tuple(np.zeros(0, np.int64) for _ in table.shape[1:]),
                   np.zeros(0, np.int64), np.zeros(0))
        filled = table.any(tuple(range(1, table.ndim)))
        self.empty = not filled.any()
        self._hold(used[filled], table[filled])
        return self

    def _hold(self, used: np.ndarray, table: np.ndarray, along: bool = True) -> None:
        self._used, self._dense = used, table
        self._by_place = _ByPlace.of(table) if along and len(used) >= _MANY else None

    def part(self, *place: int) -> WeightedArray:
        """What stands at a place of the last axes, of an array that is held densely."""
        assert self._dense is not None
        axes = self._dense.ndim - len(place)
        return WeightedArray.from_tables(self._used, self._dense[(slice(None),) * axes + place])

    @property
    def held(self) -> bool:
        """Whether there is an array for each weight."""
        return self._dense is not None

    @property
    def known(self) -> np.ndarray | None:
        """The array itself, if its only weight is the constant."""
        if self.empty:
            return np.zeros(self.shape)
        if self._dense is None or len(self._used) > 1 or self._used[0]:
            return None
        table: np.ndarray = self._dense[0]
        return table

    def times(self, values: Values, omega: Any, vector: Any) -> Any:
        """The array, of matrices over its last two axes, times vectors; without making it, where it is held densely."""
        if self._dense is None or self._by_place is not None or self.empty:
            return jnp.einsum("...ij,...j->...i", self.evaluate(values, omega), vector, precision="highest")
        each = jnp.einsum("w...ij,...j->w...i", values.number(self._dense), vector, precision="highest")
        return jnp.tensordot(omega[self._used], each, 1, precision="highest")

    def evaluate(self, values: Values, omega: Any) -> Any:
        """The array, given all weights."""
        if self.empty:
            return jnp.zeros(self.shape, values.dtype)
        if self._by_place is not None:
            return self._by_place.evaluate(values, omega[self._used])
        if self._dense is not None:
            table = values.number(self._dense)
            if len(self._used) == 1:
                return table[0] if self._used[0] == 0 else omega[self._used[0]] * table[0]
            return jnp.tensordot(omega[self._used], table, 1, precision="highest")
        return self._sparse.evaluate(values, omega).reshape(self.shape)
