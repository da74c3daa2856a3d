"""Tables of log densities on the way through the summation: rows chosen, added up, summed over states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.finite.chain import chain_draw, chain_log_prob, chain_total, forward
from conjugate_ppl.finite.order import Alone, Chains, Part, Table
from conjugate_ppl.finite.sums import LARGEST, SUM, Over, log_sum

__all__ = ["AloneSum", "ChainSum", "chosen_rows", "step_sum"]

# The array of a table has a row for each of its rows, or a single one that stands for all.


def chosen_rows(table: Table, array: Any) -> Any:
    """The rows and axes of an array that a table is made of."""
    if table.rows is not None and array.shape[0] > 1:
        array = array[table.rows]
    kept = [k for k, first in enumerate(table.same) if first in table.axes]
    array = array[(slice(None), *(slice(None) if k in kept else state for k, state in enumerate(table.states)))]
    if len(kept) > len(table.axes):  # the diagonal where two axes are of one element
        rows = len(table.same)
        array = jnp.einsum(array, [rows, *(table.same[k] for k in kept)], [rows, *table.axes])
    return array


def _added(parts: Sequence[Part], arrays: Mapping[int, Any], count: int, axes: int) -> Any:
    """The sum of some parts, shape (`count` or 1, and `axes` of states)."""
    total: Any = jnp.zeros((1,) * (1 + axes))
    for part in parts:
        a = arrays[part.table]
        if part.chosen is not None and a.shape[0] > 1:
            a = a[part.chosen]
        order = [int(k) for k in np.argsort(part.axes)]
        a = jnp.transpose(a, [0, *(1 + k for k in order)])
        shape = [1] * axes
        for place, n in zip(sorted(part.axes), a.shape[1:], strict=True):
            shape[place] = n
        total = total + _in_place(jnp.reshape(a, (a.shape[0], *shape)), part.rows, count)
    return total


def _in_place(a: Any, rows: np.ndarray, count: int) -> Any:
    if a.shape[0] == 1:
        times = np.bincount(rows, minlength=count)
        if (times == times[0]).all():
            return a if times[0] == 1 else a * float(times[0])
        times = times.reshape(-1, *(1,) * (a.ndim - 1))
        return jnp.where(times > 0, a * times.astype(a.dtype), 0.0)
    if np.array_equal(rows, np.arange(count)):
        return a
    return jnp.zeros((count, *a.shape[1:]), a.dtype).at[rows].add(a)


def _given(table: Any, others: Sequence[tuple[str, np.ndarray]], states: Mapping[str, Any], first: int
           ) -> Any:
    """A table (axis 0: elements or chains) at the states of the others, whose axes start at `first`."""
    for k in reversed(range(len(others))):
        site, element = others[k]
        at = states[site].reshape(-1)[np.maximum(element, 0)]
        index = at.reshape(-1, *(1,) * (table.ndim - 1))
        table = jnp.broadcast_to(table, (len(element), *table.shape[1:]))
        if table.shape[first + k] > 1:
            table = jnp.take_along_axis(table, index, first + k, mode="clip")
        table = jnp.squeeze(table, first + k)
    return table


class AloneSum:
    """`Alone`, on numbers. `possible`, shape (elements, states): which states an element has at all."""

    def __init__(self, step: Alone, possible: np.ndarray) -> None:
        self.step, self._possible = step, possible

    def table(self, arrays: Mapping[int, Any], more: Mapping[str, Any]) -> Any:
        """Log densities, shape (elements or 1, states, states of the others...); `more` is added to those of
        each site's elements."""
        extra = more.get(self.step.site)
        others = len(self.step.others)
        out = _added(self.step.parts, arrays, len(self._possible), 1 + others)
        states = self._possible.shape[1]
        out = jnp.broadcast_to(out, (out.shape[0], states, *out.shape[2:]))
        if extra is not None:
            out = out + extra.reshape(extra.shape + (1,) * others)
        if not self._possible.all():
            mask = self._possible.reshape(self._possible.shape + (1,) * others)
            out = jnp.where(mask, out, -jnp.inf)
        return out

    def left(self, table: Any, over: Over) -> Any:
        """What is left: a row for each element."""
        out = over.reduce(table, 1)
        return out if self.step.others else jnp.broadcast_to(out, (len(self._possible),))

    def draw(self, key: Any, table: Any, states: Mapping[str, Any], over: Over) -> dict[str, Any]:
        """The state of each element."""
        logits = _given(table, self.step.others, states, 2)
        logits = jnp.broadcast_to(logits, self._possible.shape)
        return {self.step.site: jnp.argmax(logits + over.noise(key, logits.shape, logits.dtype), 1)}

    def log_prob(self, table: Any, states: Mapping[str, Any]) -> Any:
        """Log probability of the states given the others'."""
        logits = jnp.broadcast_to(_given(table, self.step.others, states, 2), self._possible.shape)
        own = states[self.step.site].reshape(-1, 1)
        chosen = jnp.take_along_axis(logits, own, 1, mode="clip")[:, 0]
        return jnp.sum(jnp.where(chosen == -jnp.inf, -jnp.inf, chosen - log_sum(logits, 1)))


class ChainSum:
    """`Chains`, on numbers: a layer is one variable, in so many states as its elements have together."""

    def __init__(self, step: Chains, possible: Mapping[str, np.ndarray]) -> None:
        self.step = step
        self._sizes = tuple(possible[n].shape[1] for n in step.places)
        count, length, _ = step.elements.shape
        self._possible = np.ones((count, length, 1), bool)
        for k, n in enumerate(step.places):
            there = step.elements[..., k, None] >= 0
            # where there is no element, state 0 stands for that
            own = np.where(there, possible[n][np.maximum(step.elements[..., k], 0)],
                           np.arange(self._sizes[k]) == 0)
            self._possible = (self._possible[..., None] & own[:, :, None]).reshape(count, length, -1)

    def table(self, arrays: Mapping[int, Any], more: Mapping[str, Any]) -> tuple[Any, Any]:
        """Log densities of each layer and of neighbours: shapes (chains, length, states, others...)
        and (chains or 1, length - 1 or 1, states, states, others...)."""
        count, length, states = self._possible.shape
        others, width = len(self.step.others), len(self._sizes)
        own = _added(self.step.own, arrays, count * length, width + others)
        own = jnp.broadcast_to(own, (count * length, *self._sizes, *own.shape[1 + width:]))
        own = own.reshape(count, length, *own.shape[1:])
        for k, n in enumerate(self.step.places):
            if n in more:
                at = self.step.elements[..., k]
                extra = jnp.where((at >= 0)[..., None], more[n][np.maximum(at, 0)], 0.0)
                own = own + extra.reshape(count, length, *(
                    self._sizes[k] if i == k else 1 for i in range(width + others)))
        own = own.reshape(count, length, states, *own.shape[2 + width:])
        if not self._possible.all():
            mask = self._possible.reshape(self._possible.shape + (1,) * others)
            own = jnp.where(mask, own, -jnp.inf)
        pair = _added(self.step.pairs, arrays, count * (length - 1), 2 * width + others)
        pair = jnp.broadcast_to(pair, (pair.shape[0], *self._sizes, *self._sizes, *pair.shape[1 + 2 * width:]))
        pair = pair.reshape(pair.shape[0], states, states, *pair.shape[1 + 2 * width:])
        once = pair.shape[0] == 1
        return own, pair[:, None] if once else pair.reshape(count, length - 1, *pair.shape[1:])

    def left(self, table: tuple[Any, Any], over: Over) -> Any:
        """What is left: a row for each chain."""
        own, pair = table
        if over is LARGEST:
            def largest(u: Any, p: Any) -> Any:
                front, tops = forward(u, p, over)
                return over.reduce(front[-1], 0) + jnp.sum(tops)

            return self._each(largest, own, pair)
        return self._each(chain_total, own, pair)

    def _each(self, function: Any, own: Any, pair: Any) -> Any:
        """A function of one chain's tables, for all chains and all states of the others."""
        shape = np.broadcast_shapes(own.shape[3:], pair.shape[4:])
        own = jnp.broadcast_to(own, own.shape[:3] + shape)
        pair = jnp.broadcast_to(pair, pair.shape[:4] + shape)
        for _ in shape:
            function = jax.vmap(function, in_axes=-1, out_axes=-1)
        if own.shape[0] == 1:
            return function(own[0], pair[0])[None]
        if pair.shape[0] == 1:
            return jax.vmap(lambda u: function(u, pair[0]))(own)
        return jax.vmap(function)(own, pair)

    def _tables(self, table: tuple[Any, Any], states: Mapping[str, Any]) -> tuple[Any, Any]:
        own, pair = table
        return (_given(own, self.step.others, states, 3),
                _given(pair, self.step.others, states, 4))

    def draw(self, key: Any, table: tuple[Any, Any], states: Mapping[str, Any], over: Over) -> dict[str, Any]:
        """The state of each element."""
        own, pair = self._tables(table, states)
        keys = jax.random.split(key, len(own))

        def one(k: Any, u: Any, p: Any) -> Any:
            return chain_draw(k, forward(u, p, over).front, p, over)

        if pair.shape[0] == 1:
            found = jax.vmap(lambda k, u: one(k, u, pair[0]))(keys, own)
        else:
            found = jax.vmap(one)(keys, own, pair)
        each = jnp.stack(jnp.unravel_index(found, self._sizes), -1)
        out = {}
        for n in self.step.sites:
            own = np.array([n == m for m in self.step.places]) & (self.step.elements >= 0)
            out[n] = each[own][np.argsort(self.step.elements[own])]
        return out

    def log_prob(self, table: tuple[Any, Any], states: Mapping[str, Any]) -> Any:
        """Log probability of the states given the others'."""
        own, pair = self._tables(table, states)
        mine: Any = 0
        for k, n in enumerate(self.step.places):
            at = self.step.elements[..., k]
            mine = mine * self._sizes[k] + jnp.where(at >= 0, states[n].reshape(-1)[np.maximum(at, 0)], 0)

        def one(u: Any, p: Any, s: Any) -> Any:
            return chain_log_prob(forward(u, p, SUM).front, p, s)

        if pair.shape[0] == 1:
            return jnp.sum(jax.vmap(lambda u, s: one(u, pair[0], s))(own, mine))
        return jnp.sum(jax.vmap(one)(own, pair, mine))


def step_sum(step: Alone | Chains, possible: Mapping[str, np.ndarray]) -> AloneSum | ChainSum:
    """A step of the order, on numbers; `possible` as in `AloneSum`, for each site."""
    return ChainSum(step, possible) if isinstance(step, Chains) else AloneSum(step, possible[step.site])
