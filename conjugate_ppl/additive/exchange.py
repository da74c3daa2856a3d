"""Small things that processes tell each other, and what arrays hold, also those that are spread over devices."""

from __future__ import annotations

import hashlib
import pickle
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from conjugate_ppl import _compat

__all__ = ["digest_of", "exchanged", "is_spread", "spans_processes"]


def is_spread(value: Any) -> bool:
    """Whether a value is an array whose parts lie on several devices."""
    return (isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
            and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and not value.is_fully_replicated)


def spans_processes(value: Any) -> bool:
    """Whether some of these parts are on devices of other processes, where nobody here can read them."""
    return is_spread(value) and not value.is_fully_addressable


def exchanged(mine: Any, devices: Sequence[Any]) -> list[Any]:
    """What each process that has some of `devices` gives, in the same order for all of them.

    All of these processes have to call this, as with everything in JAX that concerns arrays they share.
    """
    first: dict[int, Any] = {}
    for device in sorted(devices, key=lambda d: d.id):
        first.setdefault(device.process_index, device)
    if len(first) < 2:
        return [mine]
    mesh = Mesh(np.array(list(first.values())), ("processes",))
    data = np.frombuffer(pickle.dumps(mine), np.uint8)
    lengths = _gathered(np.frombuffer(len(data).to_bytes(8, "little"), np.uint8), mesh)
    sizes = [int.from_bytes(row.tobytes(), "little") for row in lengths]
    padded = np.zeros(max(sizes), np.uint8)
    padded[: len(data)] = data
    return [pickle.loads(row[:n].tobytes()) for row, n in zip(_gathered(padded, mesh), sizes, strict=True)]


def _gathered(row: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Bytes of every process, as rows."""
    (device,) = mesh.local_devices
    with _compat.eagerly():
        together = jax.make_array_from_single_device_arrays(
            (mesh.size, len(row)), NamedSharding(mesh, PartitionSpec("processes")), [jax.device_put(row[None], device)])
        everywhere = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(together)
        return np.asarray(everywhere.addressable_data(0))


_SEEN: dict[int, tuple[Any, bytes]] = {}  # arrays of JAX never change; told apart by a weak reference


def digest_of(array: Any) -> bytes:
    """What stands for the content of an array; of one that is spread, the same in all processes that share it.

    Parts are read where they lie.
    """
    if not isinstance(array, jax.Array):
        return _digest(array)
    known = _SEEN.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    if is_spread(array):
        parts = [(repr(shard.index), _digest(shard.data)) for shard in array.addressable_shards if shard.replica_id == 0]
        if not array.is_fully_addressable:
            parts = [p for mine in exchanged(parts, list(array.sharding.device_set)) for p in mine]
        out = hashlib.blake2b(repr(sorted(parts)).encode(), digest_size=16).digest()
    else:
        out = _digest(array)
    number = id(array)
    _SEEN[number] = (weakref.ref(array, lambda _: _SEEN.pop(number, None)), out)
    return out


def _digest(array: Any) -> bytes:
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    content = np.ascontiguousarray(array)
    # read as it is, not copied; objects have no content, only places
    read = content.tobytes() if content.dtype.hasobject else content.reshape(-1).view(np.uint8).data
    return hashlib.blake2b(read, digest_size=16).digest()
