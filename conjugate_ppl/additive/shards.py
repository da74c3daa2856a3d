"""Data that are spread over the devices of a mesh, in one process or several: each part is read where it lies.

Parts are added up (`parts.py`); only the sums go from one process to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from conjugate_ppl.additive.exchange import is_spread, spans_processes
from conjugate_ppl.additive.parts import Parts, added_up
from conjugate_ppl.errors import PlanError

__all__ = ["of_shards", "refuse_other_processes"]


def of_shards(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[..., None]:
    """Prior times the likelihood of all rows, as a model whose arguments do not matter.

    Raises:
        PlanError: if it is not proved that the rows add up part by part.
        DataError: if a value is none, in any process.
    """
    leaves, tree = jax.tree.flatten((args, dict(kwargs)))
    parts = _parts(leaves)
    fixed = [np.asarray(x) if isinstance(x, jax.Array) and not is_spread(x) and len(x.sharding.device_set) > 1 else x
             for x in leaves]
    args, kwargs = jax.tree.unflatten(tree, fixed)
    return added_up(model, args, kwargs, parts)


def refuse_other_processes(what: str, args: Any, kwargs: Any) -> None:
    """Raise `PlanError` where rows lie with other processes and `what` needs them all."""
    if any(map(spans_processes, jax.tree.leaves((args, kwargs)))):
        raise PlanError(f"`{what}` reads the data row by row, and some of them lie with other processes. Give it the "
                        "rows of one process (`addressable_shards`); posteriors of several are merged by `merge`.")


def _parts(leaves: Sequence[Any]) -> Parts:
    """How leaves are cut: each along one axis, all in the same order."""
    maps = {k: x.sharding.devices_indices_map(x.shape) for k, x in enumerate(leaves) if is_spread(x)}
    axes: dict[int, int] = {}
    starts: dict[Any, list[int]] = {}
    sizes: dict[int, Any] = {}  # rows in all -> the first leaf that has so many
    for k, where in maps.items():
        shape = leaves[k].shape
        cut = {d for index in where.values() for d, s in enumerate(index) if (s.start or 0, s.stop or shape[d])
               != (0, shape[d])}
        if len(cut) != 1:
            raise PlanError(f"An array of shape {shape} is spread over the devices along {len(cut)} of its axes. Spread "
                            "data along the axis of the rows alone.")
        (axes[k],) = cut
        own = {d: index[axes[k]].start or 0 for d, index in where.items()}
        for device, start in own.items():
            starts.setdefault(device, []).append(start)
        sizes.setdefault(shape[axes[k]], own)
        if sizes[shape[axes[k]]] != own:
            starts = {}
            break
    distinct = {tuple(s) for s in starts.values()}
    if not distinct or any(len({s[j] for s in distinct}) != len(distinct) or len(s) != len(maps)
                           for j in range(len(maps)) for s in distinct):
        shapes = [leaves[k].shape for k in maps]
        raise PlanError(f"Arrays of shapes {shapes} are spread over the devices each in its own way, so that the rows of "
                        "one place do not belong together. Give all of them the same sharding.")
    owner: dict[tuple[int, ...], Any] = {}
    for device in sorted(starts, key=lambda d: d.id):
        owner.setdefault(tuple(starts[device]), device)
    here = {k: {s.device: s.data for s in leaves[k].addressable_shards} for k in maps}
    mine = [{k: np.asarray(here[k][d]) for k in maps} for d in owner.values() if d in here[next(iter(maps))]]
    return Parts(axes, [Fraction(1, len(distinct))], mine, devices=list(starts),
                 elsewhere=any(map(spans_processes, leaves)))
