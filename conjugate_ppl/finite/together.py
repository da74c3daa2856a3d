"""Elements of a discrete latent that are used together: in a sum, a product of matrices, an index.

A number that is made of several elements reads all of them, and has a value for each of their states together. A sum
of a few (covariates that are in or out, causes, chains side by side) is so an array like any other; of many it would
be a table of the states to the power of the elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.finite.cases import NONE, Cases, Mixed, joined

__all__ = ["side_by_side", "used_together"]

_MOST = 32  # positions along an axis, and elements read there; arrays have an axis for each
_LARGEST = 1 << 24  # numbers of what they are used in


def side_by_side(x: Cases, axis: int) -> Cases:
    """The same with every reading alike along an axis: what is read there gets axes of states of its own."""
    columns = []
    for k in range(x.shape[axis]):
        def column(a: Any, k: int = k) -> Any:
            at = axis + a.ndim - x.rank
            return a[(*(slice(None) for _ in range(at)), k if a.shape[at] > 1 else 0)]

        columns.append(Cases((*x.shape[:axis], *x.shape[axis + 1:]), tuple(
            r.map(column(r.element)) for r in x.readings), column(x.array)))
    readings, arrays = joined(columns, x.rank - 1)
    return Cases(x.shape, tuple(r.map(np.expand_dims(r.element, axis)) for r in readings),
                 jnp.stack(jnp.broadcast_arrays(*arrays), axis + len(readings)))


def used_together(x: Cases, axes: Sequence[int]) -> Cases:
    """The same, alike along some axes: a few elements in all of their states together.

    Raises:
        Mixed: if these are too many.
    """
    try:
        return x.alike_along(axes)
    except Mixed:
        pass
    axes = [a % x.rank for a in axes]
    rows = np.prod([x.shape[a] for a in axes])
    if rows > _MOST:
        raise Mixed
    last = [np.moveaxis(e, axes, range(-len(axes), 0)).reshape(-1, int(rows)) for e in x.elements()]
    each = np.sort(np.concatenate(last, 1), 1)
    most = int(((np.diff(each, axis=1, prepend=NONE) != 0) & (each >= 0)).sum(1).max(initial=0))
    # the axes of states of other readings count as if they were these
    numbers = float(np.prod(x.shape)) * float(max((r.states for r in x.readings), default=1)) ** most
    if most > _MOST or numbers > _LARGEST:
        raise Mixed
    for a in axes:
        x = side_by_side(x, a)
    return x
