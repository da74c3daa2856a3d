"""`x.at[index].set(y)`, `x.at[index].add(y)`, `segment_sum`: writing at known indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from conjugate_ppl import _compat
from conjugate_ppl.algebra.monomial import Unknown
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.value import add, collect, move, reduce_sum, where

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["scatter", "scatter_add", "targets"]

_BUDGET = 1 << 24


def targets(eqn: Equation, shape: tuple[int, ...], indices: Any, updates: tuple[int, ...]) -> np.ndarray:
    """For each element of the updates the number of the element that it is written to; -1 for none.

    By a look-up with the same indices, which is what a scatter is the reverse of.
    """
    if not is_known(indices):
        raise Unknown("writing at indices that depend on a latent or on traced data")
    d = eqn.params["dimension_numbers"]
    window = iter(d.update_window_dims)
    sizes = [1 if i in d.inserted_window_dims or i in d.operand_batching_dims else updates[next(window)]
             for i in range(len(shape))]
    reverse = lax.GatherDimensionNumbers(
        offset_dims=d.update_window_dims, collapsed_slice_dims=d.inserted_window_dims,
        start_index_map=d.scatter_dims_to_operand_dims, operand_batching_dims=d.operand_batching_dims,
        start_indices_batching_dims=d.scatter_indices_batching_dims)
    mode = eqn.params["mode"]
    if "CLIP" not in str(mode).upper():
        mode = lax.GatherScatterMode.FILL_OR_DROP
    with _compat.eagerly():
        out = lax.gather(jnp.asarray(numbered(shape), jnp.int32), jnp.asarray(indices), reverse, tuple(sizes),
                         mode=mode, fill_value=-1)
    found = np.asarray(out)
    if "PROMISE" in str(eqn.params["mode"]).upper() and (found < 0).any():
        raise Unknown("an index is out of range")
    return found


def _operands(x: Any, updates: Any) -> tuple[Value, Value]:
    return (x if isinstance(x, Value) else Value.known(x),
            updates if isinstance(updates, Value) else Value.known(updates))


def scatter(walk: Walk, eqn: Equation, x: Any, indices: Any, updates: Any) -> Value:
    """Each element is one of the updates, or what it was."""
    x, updates = _operands(x, updates)
    to = targets(eqn, x.shape, indices, updates.shape).reshape(-1)
    numbers = np.flatnonzero(to >= 0)
    source = np.full(int(np.prod(x.shape)), -1)
    source[to[numbers]] = numbers
    if len(np.unique(to[numbers])) != len(numbers):
        raise Unknown("writing twice at one place")
    source = source.reshape(x.shape)
    return collect(x.shape, [*where(source < 0, x).terms, *move(updates, source).terms])


def scatter_add(walk: Walk, eqn: Equation, x: Any, indices: Any, updates: Any) -> Value:
    """To each element some of the updates are added: a table of their numbers, -1 where a row is shorter."""
    before, updates = _operands(x, updates)
    to = targets(eqn, before.shape, indices, updates.shape).reshape(-1)
    order = np.argsort(to, kind="stable")
    order = order[to[order] >= 0]
    size = int(np.prod(before.shape))
    counts = np.bincount(to[order], minlength=size)
    longest = int(counts.max(initial=0))
    if longest == 0:
        return before
    if size * longest > _BUDGET:
        raise Unknown("a sum by groups, many and of very different sizes")
    table = np.full((size, longest), -1)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[to[order], rank] = order
    added = reduce_sum(move(updates, table.reshape(*before.shape, longest)), [len(before.shape)])
    return add(before, added)
