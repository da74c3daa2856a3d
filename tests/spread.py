"""Arrays that look as if their rows lay on several devices, for tests on one."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import jax.numpy as jnp
import numpy as np

from conjugate_ppl import marginal
from conjugate_ppl.additive import shards


class Device(NamedTuple):
    id: int
    process_index: int = 0


class Spread:
    """An array cut along an axis, a piece a device (`order`: of the pieces), or copied to all if `axis` is None."""

    def __init__(self, array, count=4, axis=0, order=None):
        self.array = jnp.asarray(array)
        self.shape, self.dtype, self.ndim = self.array.shape, self.array.dtype, self.array.ndim
        n, index = self.shape[axis] // count, {}
        for k, place in enumerate(order or range(count)):
            index[Device(k)] = tuple(slice(place * n, place * n + n) if d == axis else slice(None)
                                     for d in range(self.ndim))
        self.sharding = SimpleNamespace(devices_indices_map=lambda shape: index, device_set=set(index))
        self.addressable_shards = [SimpleNamespace(device=d, data=self.array[i]) for d, i in index.items()]

    def __len__(self):
        return len(self.array)


@contextlib.contextmanager
def taken_for_spread(elsewhere=False):
    """Such arrays are taken for spread ones (`elsewhere`: over processes)."""
    def is_one(x):
        return isinstance(x, Spread)

    with contextlib.ExitStack() as stack:
        for module in (shards, marginal):
            stack.enter_context(mock.patch.object(module, "is_spread", is_one))
            stack.enter_context(mock.patch.object(module, "spans_processes", lambda x: elsewhere and is_one(x)))
        yield


def pieces(array, count=4, axis=0):
    return np.split(np.asarray(array), count, axis)
