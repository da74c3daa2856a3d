"""The parts of a dual form: one site's elements of each block, how they are seen, and their prior.

Vectors have shape (count, elements), or (count, seen).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.linear import solve_lower
from conjugate_ppl.gaussian.products import matmul, product, times, transposed

__all__ = ["Covariances", "Dense", "Selected", "View", "view"]


class View(Protocol):
    """R of a part: what is seen is R'e."""

    def seen(self, values: Values, e: Any) -> Any:
        """R'e"""

    def back(self, values: Values, x: Any) -> Any:
        """R x"""

    def around(self, values: Values, k: Any) -> Any:
        """R'KR, for K by the events' matrices, shape (count or 1, events or 1, width, width)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dense:
    """R itself, shape (count, elements, seen)."""

    matrix: np.ndarray

    def seen(self, values: Values, e: Any) -> Any:
        return times(values.number(np.swapaxes(self.matrix, 1, 2)), e)

    def back(self, values: Values, x: Any) -> Any:
        return times(values.number(self.matrix), x)

    def around(self, values: Values, k: Any) -> Any:
        count, _, seen = self.matrix.shape
        r = values.number(self.matrix).reshape(count, -1, k.shape[-1], seen)
        return product("bewr,bewv->brv", r, matmul(k, r))


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """Each column of R has at most one number: `factor`, at `place`; both of shape (count, seen)."""

    place: np.ndarray
    factor: np.ndarray
    elements: int

    def seen(self, values: Values, e: Any) -> Any:
        return values.number(self.factor) * self._read(e)

    def back(self, values: Values, x: Any) -> Any:
        own = values.number(self.factor) * x
        return own if self._all else jnp.zeros((len(x), self.elements), own.dtype).at[
            np.arange(len(x))[:, None], self.place].add(own)

    def around(self, values: Values, k: Any) -> Any:
        factor, width = values.number(self.factor), k.shape[-1]
        if self._all and width == self.elements:
            own = k[:, 0]
        else:
            event, place = self.place // width, self.place % width
            count = np.arange(len(event))[:, None, None] if len(k) > 1 else 0
            events = event[:, :, None] if k.shape[1] > 1 else 0
            own = k[count, events, place[:, :, None], place[:, None, :]]
            together = event[:, :, None] == event[:, None, :]
            own = own if together.all() else jnp.where(together, own, 0.0)
        return own if (self.factor == 1).all() else factor[:, :, None] * own * factor[:, None, :]

    def _read(self, e: Any) -> Any:
        """The elements at the places."""
        return e if self._all else e[np.arange(len(e))[:, None], self.place]

    @property
    def _all(self) -> bool:
        """Whether what is seen is the elements, in order."""
        return self.place.shape[1] == self.elements and bool((self.place == np.arange(self.elements)).all())


def view(matrix: np.ndarray) -> View:
    """R, shape (count, elements, seen), in its smaller form."""
    there = matrix != 0
    if not matrix.size or there.sum(1).max() > 1:
        return Dense(matrix)
    place = there.argmax(1)
    return Selected(place, np.take_along_axis(matrix, place[:, None], 1)[:, 0], matrix.shape[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Covariances:
    """Prior covariances K of a part's events, shape (count or 1, events or 1, width, width), and T of them, shape (count,
    events, width, width), which only draws and densities read."""

    k: Any
    t: Any

    def push(self, u: Any) -> Any:
        """T u"""
        return times(self.t, self._events(u)).reshape(u.shape)

    def back(self, e: Any) -> Any:
        """T'e"""
        return times(transposed(self.t), self._events(e)).reshape(e.shape)

    def solve(self, e: Any) -> tuple[Any, Any]:
        """The solution of T u = e, and log det T of each component."""
        logs = jnp.sum(jnp.log(jnp.diagonal(self.t, axis1=-2, axis2=-1)), (-2, -1))
        return solve_lower(self.t, self._events(e)).reshape(e.shape), logs

    def times(self, e: Any) -> Any:
        """K e"""
        return times(self.k, self._events(e)).reshape(e.shape)

    def _events(self, x: Any) -> Any:
        return x.reshape(*x.shape[:1], *self.t.shape[1:3])
