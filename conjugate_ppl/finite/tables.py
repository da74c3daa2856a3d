"""Tables of log densities on the way through the summation: rows chosen, added up, summed over states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.finite.chain import chain_draw, chain_log_prob, chain_total, forward
from conjugate_ppl.finite.order import Alone, Chains, Part, Table
from conjugate_ppl.finite.sums import LARGEST, SUM, Over, log_sum

__all__ = ["AloneSum", "ChainSum", "chosen_rows", "step_sum"]

# The array of a table has an axis for each of its axes of states, and last a row for each of its rows, or a single one
# that stands for all: what is done for each row goes along memory.


def chosen_rows(table: Table, array: Any) -> Any:
    """The rows and axes of an array that a table is made of."""
    if table.rows is not None and array.shape[-1] > 1:
        array = array[..., table.rows]
    kept = [k for k, first in enumerate(table.same) if first in table.axes]
    array = array[tuple(slice(None) if k in kept else state for k, state in enumerate(table.states))]
    if len(kept) > len(table.axes):  # the diagonal where two axes are of one element
        rows = len(table.same)
        array = jnp.einsum(array, [*(table.same[k] for k in kept), rows], [*table.axes, rows])
    return array


def _added(parts: Sequence[Part], arrays: Mapping[int, Any], count: int, axes: int) -> Any:
    """The sum of some parts, shape (`axes` of states, and `count` or 1)."""
    total: Any = jnp.zeros((1,) * (axes + 1))
    for part in parts:
        a = arrays[part.table]
        if part.chosen is not None and a.shape[-1] > 1:
            a = a[..., part.chosen]
        order = [int(k) for k in np.argsort(part.axes)]
        a = jnp.transpose(a, [*order, len(order)])
        shape = [1] * axes
        for place, n in zip(sorted(part.axes), a.shape, strict=False):
            shape[place] = n
        total = total + _in_place(jnp.reshape(a, (*shape, a.shape[-1])), part.rows, count)
    return total


def _in_place(a: Any, rows: np.ndarray, count: int) -> Any:
    """Numbers added up by the row that each belongs to."""
    times = np.bincount(rows, minlength=count)
    most = int(times.max(initial=0))
    if a.shape[-1] == 1:
        if (times == most).all():
            return a if most == 1 else a * float(most)
        return jnp.where(times > 0, a * times.astype(a.dtype), 0.0)
    if (times == most).all() and count:  # as many to each: a sum along an axis, which no loop has to look up
        order = np.argsort(rows, kind="stable")
        a = a if np.array_equal(order, np.arange(len(order))) else a[..., order]
        return a if most == 1 else jnp.sum(a.reshape(*a.shape[:-1], count, most), -1)
    return jnp.zeros((*a.shape[:-1], count), a.dtype).at[..., rows].add(a)


def _given(table: Any, others: Sequence[tuple[str, np.ndarray]], states: Mapping[str, Any]) -> Any:
    """A table (last axis: elements or chains) at the states of the others, whose axes are those before that."""
    for site, element in reversed(others):
        at = states[site].reshape(-1)[np.maximum(element, 0)]
        table = jnp.broadcast_to(table, (*table.shape[:-1], len(element)))
        if table.shape[-2] > 1:
            table = jnp.take_along_axis(table, at.reshape((1,) * (table.ndim - 1) + (-1,)), -2, mode="clip")
        table = jnp.squeeze(table, -2)
    return table


class AloneSum:
    """`Alone`, on numbers. `possible`, shape (elements, states): which states an element has at all."""

    def __init__(self, step: Alone, possible: np.ndarray) -> None:
        self.step, self._possible = step, possible.T

    def table(self, arrays: Mapping[int, Any], more: Mapping[str, Any]) -> Any:
        """Log densities, shape (states, states of the others..., elements or 1); `more` is added to those of
        each site's elements."""
        extra = more.get(self.step.site)
        (states, count), others = self._possible.shape, len(self.step.others)
        out = _added(self.step.parts, arrays, count, 1 + others)
        out = jnp.broadcast_to(out, (states, *out.shape[1:]))
        if extra is not None:
            out = out + extra.reshape(states, *(1,) * others, count)
        if not self._possible.all():
            out = jnp.where(self._possible.reshape(states, *(1,) * others, count), out, -jnp.inf)
        return out

    def left(self, table: Any, over: Over) -> Any:
        """What is left: a row for each element."""
        out = over.reduce(table, 0)
        return out if self.step.others else jnp.broadcast_to(out, self._possible.shape[1:])

    def draw(self, key: Any, table: Any, states: Mapping[str, Any], over: Over) -> dict[str, Any]:
        """The state of each element."""
        logits = jnp.broadcast_to(_given(table, self.step.others, states), self._possible.shape)
        return {self.step.site: jnp.argmax(logits + over.noise(key, logits.shape, logits.dtype), 0)}

    def log_prob(self, table: Any, states: Mapping[str, Any]) -> Any:
        """Log probability of the states given the others'."""
        logits = jnp.broadcast_to(_given(table, self.step.others, states), self._possible.shape)
        chosen = jnp.take_along_axis(logits, states[self.step.site].reshape(1, -1), 0, mode="clip")[0]
        return jnp.sum(jnp.where(chosen == -jnp.inf, -jnp.inf, chosen - log_sum(logits, 0)))


class ChainSum:
    """`Chains`, on numbers: a layer is one variable, in so many states as its elements have together."""

    def __init__(self, step: Chains, possible: Mapping[str, np.ndarray]) -> None:
        self.step = step
        self._sizes = tuple(possible[n].shape[1] for n in step.places)
        count, length, _ = step.elements.shape
        there = np.ones((count, length, 1), bool)
        for k, n in enumerate(step.places):
            at = step.elements[..., k]
            # where there is no element, state 0 stands for that
            own = np.where((at >= 0)[..., None], possible[n][np.maximum(at, 0)], np.arange(self._sizes[k]) == 0)
            there = (there[..., None] & own[:, :, None]).reshape(count, length, -1)
        self._possible = there.transpose(1, 2, 0)  # length, states, chains

    def table(self, arrays: Mapping[int, Any], more: Mapping[str, Any]) -> tuple[Any, Any]:
        """Log densities of each layer and of neighbours: shapes (length, states, others..., chains)
        and (length - 1 or 1, states, states, others..., chains or 1)."""
        length, states, count = self._possible.shape
        others, width = len(self.step.others), len(self._sizes)
        own = _added(self.step.own, arrays, count * length, width + others)
        own = jnp.broadcast_to(own, (*self._sizes, *own.shape[width:-1], count * length))
        own = own.reshape(*own.shape[:-1], count, length)
        for k, n in enumerate(self.step.places):
            if n in more:
                at = self.step.elements[..., k]
                extra = jnp.where(at >= 0, more[n][:, np.maximum(at, 0)], 0.0)
                own = own + extra.reshape(*(
                    self._sizes[k] if i == k else 1 for i in range(width + others)), count, length)
        own = jnp.moveaxis(own.reshape(states, *own.shape[width:]), -1, 0)
        if not self._possible.all():
            own = jnp.where(self._possible.reshape(length, states, *(1,) * others, count), own, -jnp.inf)
        pair = _added(self.step.pairs, arrays, count * (length - 1), 2 * width + others)
        pair = jnp.broadcast_to(pair, (*self._sizes, *self._sizes, *pair.shape[2 * width:]))
        pair = pair.reshape(states, states, *pair.shape[2 * width:])
        once = pair.shape[-1] == 1
        return own, pair[None] if once else jnp.moveaxis(pair.reshape(*pair.shape[:-1], count, length - 1), -1, 0)

    def left(self, table: tuple[Any, Any], over: Over) -> Any:
        """What is left: a row for each chain."""
        own, pair = table
        own = jnp.broadcast_to(own, own.shape[:2] + np.broadcast_shapes(own.shape[2:], pair.shape[3:]))
        if over is LARGEST:
            front, tops = forward(own, pair, over)
            return over.reduce(front[-1], 0) + jnp.sum(tops, 0)
        return chain_total(own, pair)

    def _tables(self, table: tuple[Any, Any], states: Mapping[str, Any]) -> tuple[Any, Any]:
        own, pair = table
        return _given(own, self.step.others, states), _given(pair, self.step.others, states)

    def draw(self, key: Any, table: tuple[Any, Any], states: Mapping[str, Any], over: Over) -> dict[str, Any]:
        """The state of each element."""
        own, pair = self._tables(table, states)
        found = chain_draw(key, forward(own, pair, over).front, pair, over)
        each = jnp.stack(jnp.unravel_index(found.T, self._sizes), -1)
        out = {}
        for n in self.step.sites:
            mine = np.array([n == m for m in self.step.places]) & (self.step.elements >= 0)
            out[n] = each[mine][np.argsort(self.step.elements[mine])]
        return out

    def log_prob(self, table: tuple[Any, Any], states: Mapping[str, Any]) -> Any:
        """Log probability of the states given the others'."""
        own, pair = self._tables(table, states)
        mine: Any = 0
        for k, n in enumerate(self.step.places):
            at = self.step.elements[..., k].T
            mine = mine * self._sizes[k] + jnp.where(at >= 0, states[n].reshape(-1)[np.maximum(at, 0)], 0)
        return chain_log_prob(forward(own, pair, SUM).front, pair, mine)


def step_sum(step: Alone | Chains, possible: Mapping[str, np.ndarray]) -> AloneSum | ChainSum:
    """A step of the order, on numbers; `possible` as in `AloneSum`, for each site."""
    return ChainSum(step, possible) if isinstance(step, Chains) else AloneSum(step, possible[step.site])
