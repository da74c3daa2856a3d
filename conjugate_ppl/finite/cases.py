"""Arrays that depend on discrete latents, one value for each state of what they read.

The elements of all latents of a block are numbered through. Position p of an array may read one of them,
several, or none. `Reading.element` says which, position by position; the array holds, before its own axes, one
axis of states a reading: a loop over positions, which are many, is one over neighbours in memory. Own axes along which all
values are equal are stored with size 1: the value of `z[t]` in state s is s, whatever t is. A known number that stands beside such values, as the state before the
first of a chain does, counts as an element that is held in one state (`held`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["NONE", "Cases", "Mixed", "Reading", "at_places", "cases_of", "held", "joined", "merged",
           "read_along"]


NONE = -1


def held(state: Any) -> Any:
    """The number of an element that is held in a state; `held(held(state)) == state`."""
    return NONE - 1 - state


class Mixed(Exception):
    """A value reads several elements of a discrete latent in a way that is not followed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """Which element, of so many states, each position reads; `NONE`, or one below for an element that is
    held. Axes of size 1 stand for any size."""

    states: int
    element: np.ndarray

    def map(self, element: Any) -> Reading:
        """The same axis of states, other elements."""
        return Reading(self.states, np.asarray(element))


@dataclasses.dataclass(frozen=True, eq=False)
class Cases:
    """An array of `shape` for all states of its readings; see the module's docstring.

    `values` are set where the array is nothing but the values of the states of its one reading.
    """

    shape: tuple[int, ...]
    readings: tuple[Reading, ...]
    array: Any
    values: np.ndarray | None = None

    @property
    def rank(self) -> int:
        """Number of own axes."""
        return len(self.shape)

    @property
    def states(self) -> tuple[int, ...]:
        """The sizes of the axes before the own ones."""
        return tuple(self.array.shape[: self.array.ndim - self.rank])

    @property
    def own(self) -> tuple[int, ...]:
        """The sizes that the own axes are stored with."""
        return tuple(self.array.shape[self.array.ndim - self.rank:])

    @property
    def uniform(self) -> bool:
        """Whether all positions have the same values."""
        return all(n == 1 for n in self.own)

    def full(self) -> Any:
        """The array with all own axes at full size."""
        return jnp.broadcast_to(self.array, (*self.states, *self.shape))

    def elements(self) -> list[np.ndarray]:
        """The readings' elements at full size."""
        return [np.broadcast_to(r.element, self.shape) for r in self.readings]

    def alike_along(self, axes: Sequence[int]) -> Cases:
        """The same, where every reading reads one element all along some own axes, or here and there none (where
        all states have one value); `Mixed` if one reads several."""
        found = []
        for r in self.readings:
            if not _alike(r.element, tuple(axes)):
                raise Mixed
            found.append(r.map(np.where(r.element == NONE, _read_along(r.element, tuple(axes)), r.element)))
        return dataclasses.replace(self, readings=tuple(found))


def cases_of(x: Any) -> Cases:
    """A number that depends on no latent reads nothing, in a single state."""
    return x if isinstance(x, Cases) else Cases(np.shape(x), (Reading(1, np.full(np.shape(x), NONE)),), jnp.asarray(x)[None])


def read_along(x: Any, axes: Sequence[int]) -> list[np.ndarray]:
    """The elements that each reading of cases reads all along some axes, of size 1 there; none of a plain array.

    Raises:
        Mixed: if it reads several.
    """
    if not isinstance(x, Cases):
        return []
    axes = [a % x.rank for a in axes]
    first = tuple(slice(0, 1) if k in axes else slice(None) for k in range(x.rank))
    return [r.element[first] for r in x.alike_along(axes).readings]


def _merged(a: Reading, b: Reading) -> Reading | None:
    """One reading for two that nowhere read different elements."""
    if a.states != b.states:
        return None
    x, y = np.broadcast_arrays(a.element, b.element)
    if ((x != y) & (x != NONE) & (y != NONE)).any():
        return None
    if np.array_equal(x, y):
        return a if a.element.size <= b.element.size else b
    return a.map(np.where(x == NONE, y, x))


def merged(operands: Sequence[Sequence[Reading]], axis: int | None = None
           ) -> tuple[tuple[Reading, ...], list[list[int]]]:
    """All readings of some operands, equal ones once, and the places of each operand's own.

    Of several readings that one could be joined with, one that reads the same all along an `axis` is taken.
    """
    found: list[Reading] = []
    places: list[list[int]] = []
    for readings in operands:
        mine: list[int] = []
        for r in readings:
            able = [(k, x) for k, other in enumerate(found) if k not in mine
                    and (x := _merged(other, r)) is not None]
            if able:
                k, both = next((x for x in able if axis is not None and _alike(x[1].element, axis)), able[0])
                found[k] = both
            else:
                k = len(found)
                found.append(r)
            mine.append(k)
        places.append(mine)
    return tuple(found), places


def _read_along(element: np.ndarray, axes: int | tuple[int, ...]) -> np.ndarray:
    """An element that is read somewhere along some axes, if there is one; axes of size 1 in their place."""
    lowest = np.iinfo(element.dtype).min
    found = np.where(element == NONE, lowest, element).max(axes, keepdims=True, initial=lowest)
    return np.where(found == lowest, NONE, found)


def _alike(element: np.ndarray, axes: int | tuple[int, ...]) -> bool:
    """Whether one element, or none, is read all along some axes."""
    return bool(((element == NONE) | (element == _read_along(element, axes))).all())


def joined(operands: Sequence[Any], rank: int) -> tuple[tuple[Reading, ...], list[Any]]:
    """All readings of some operands, and the operands' arrays brought to them.

    Each array gets an axis for every reading, of size 1 for those that are not its own, and then `rank` own axes
    (new ones in front).
    """
    readings, places = merged([
        [r.map(r.element.reshape((1,) * (rank - x.rank) + r.element.shape)) for r in x.readings]
        if isinstance(x, Cases) else [] for x in operands])
    return readings, [at_places(x, mine, len(readings), rank) for x, mine in zip(operands, places, strict=True)]


def at_places(x: Any, places: Sequence[int], count: int, rank: int) -> Any:
    """The array of cases, or a plain one, with its axes of states at some of `count` places, and `rank` own ones."""
    array, own = (x.array, x.own) if isinstance(x, Cases) else (x, np.shape(x))
    states = np.shape(array)[: len(places)]
    array = jnp.transpose(array, [*(int(k) for k in np.argsort(places)), *range(len(places), np.ndim(array))])
    sizes = dict(zip(places, states, strict=True))
    return jnp.reshape(array, (*(sizes.get(k, 1) for k in range(count)), *(1,) * (rank - len(own)), *own))
