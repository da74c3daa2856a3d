"""Data movement: primitives that only choose which element goes where.

Each entry of `MOVES` runs a primitive on a NumPy array exactly as JAX would. Running it on the numbers
0, 1, 2, ... therefore tells from which element each result was read: the selection. An entry may
answer -1 for "no element" (padding), and raises `Unreadable` for what has no such description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["MOVES", "SPLITS", "Unreadable", "numbered", "pad", "sources"]

Params = Mapping[str, Any]


class Unreadable(Exception):
    """A movement that cannot be described by a selection; the message says why."""


def broadcast_in_dim(p: Params, x: np.ndarray) -> np.ndarray:
    shape, dims = tuple(p["shape"]), tuple(p["broadcast_dimensions"])
    full = [1] * len(shape)
    for axis, dim in enumerate(dims):
        full[dim] = x.shape[axis]
    return np.broadcast_to(x.reshape(full), shape)


def _reshape(p: Params, x: np.ndarray) -> np.ndarray:
    if p.get("dimensions") is not None:
        x = x.transpose(p["dimensions"])
    return x.reshape(tuple(p["new_sizes"]))


def _slice(p: Params, x: np.ndarray) -> np.ndarray:
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, p["start_indices"], p["limit_indices"], strides))]


def _dynamic_slice(p: Params, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    sizes = p["slice_sizes"]
    at = [int(np.clip(int(s), 0, n - k)) for s, n, k in zip(starts, x.shape, sizes, strict=True)]
    return x[tuple(slice(a, a + k) for a, k in zip(at, sizes, strict=True))]


def _gather(p: Params, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    d, sizes = p["dimension_numbers"], tuple(p["slice_sizes"])
    op_batch = tuple(getattr(d, "operand_batching_dims", ()))
    ix_batch = tuple(getattr(d, "start_indices_batching_dims", ()))
    batch = indices.shape[:-1]
    mode = str(p["mode"]).upper()
    starts = []
    for axis in range(x.ndim):
        if axis in d.start_index_map:
            start = indices[..., d.start_index_map.index(axis)].astype(np.int64)
            limit = x.shape[axis] - sizes[axis]
            if "CLIP" in mode:
                start = np.clip(start, 0, limit)
            elif start.size and (start.min() < 0 or start.max() > limit):
                raise Unreadable("an index is out of range")
        elif axis in op_batch:
            k = ix_batch[op_batch.index(axis)]
            start = np.arange(batch[k]).reshape([-1 if i == k else 1 for i in range(len(batch))])
            start = np.broadcast_to(start, batch)
        else:
            start = np.zeros(batch, np.int64)
        starts.append(start)
    window_axes = [a for a in range(x.ndim) if a not in d.collapsed_slice_dims and a not in op_batch]
    window = [sizes[a] for a in window_axes]
    picks = []
    for axis in range(x.ndim):
        start = starts[axis].reshape(batch + (1,) * len(window))
        if axis in window_axes:
            k = window_axes.index(axis)
            step = np.arange(window[k]).reshape([-1 if i == k else 1 for i in range(len(window))])
            start = start + step
        picks.append(start)
    out = x[tuple(np.broadcast_arrays(*picks))] if picks else np.broadcast_to(x, batch)
    # `out` has the batch axes first; the result wants the window axes at offset_dims
    rank = len(batch) + len(window)
    order, b, w = [], 0, len(batch)
    for axis in range(rank):
        if axis in d.offset_dims:
            order.append(w)
            w += 1
        else:
            order.append(b)
            b += 1
    return np.asarray(out.transpose(order))


def _pad(p: Params, x: np.ndarray, fill: np.ndarray) -> np.ndarray:
    for axis, (low, high, interior) in enumerate(p["padding_config"]):
        n = x.shape[axis]
        if interior:
            wide = list(x.shape)
            wide[axis] = n + max(n - 1, 0) * interior
            spread = np.full(wide, fill, x.dtype)
            spread[(slice(None),) * axis + (slice(None, None, interior + 1),)] = x
            x, n = spread, wide[axis]
        pads = [(0, 0)] * x.ndim
        pads[axis] = (max(low, 0), max(high, 0))
        x = np.pad(x, pads, constant_values=fill)
        cut = slice(max(-low, 0), x.shape[axis] - max(-high, 0))
        x = x[(slice(None),) * axis + (cut,)]
    return x


MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": broadcast_in_dim,
    "reshape": _reshape,
    "squeeze": lambda p, x: x.reshape([n for i, n in enumerate(x.shape)
                                       if i not in [d % x.ndim for d in p["dimensions"]]]),
    "expand_dims": lambda p, x: np.expand_dims(x, tuple(p["dimensions"])),
    "transpose": lambda p, x: x.transpose(p["permutation"]),
    "rev": lambda p, x: np.flip(x, tuple(p["dimensions"])),
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "copy": lambda p, x: x,
    "copy_p": lambda p, x: x,
}
"""Primitive name -> function of (parameters, array, *known arrays). One operand moves."""


def split(p: Params, x: np.ndarray) -> list[np.ndarray]:
    """`lax.split`: several results, each a slice."""
    return np.split(x, np.cumsum(p["sizes"])[:-1], axis=p["axis"])


def unstack(p: Params, x: np.ndarray) -> list[np.ndarray]:
    """`unstack` (jax >= 0.12): one result per element of an axis."""
    axis = p.get("axis", 0)
    return [np.take(x, i, axis) for i in range(x.shape[axis])]


SPLITS: dict[str, Callable[..., list[np.ndarray]]] = {"split": split, "unstack": unstack}
"""Movements with several results."""

pad = _pad


def sources(function: Callable[..., Any], params: Params, shape: tuple[int, ...],
            *known: np.ndarray) -> Any:
    """Which element (numbered in C order) of an array of `shape` each result element is read from."""
    return function(params, numbered(shape), *known)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """An array of `shape` that holds the numbers of its own elements, in C order."""
    return np.arange(int(np.prod(shape))).reshape(shape)
