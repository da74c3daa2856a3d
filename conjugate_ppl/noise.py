"""Random numbers of one draw, or of one of many that are made side by side.

Of many draws (`jax.vmap`), each with a key of its own, half of the time would go into keys: one key for all of them gives
an array of numbers with an axis for the draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

__all__ = ["Together", "beside_each_other", "normal", "own_key", "together"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Together:
    """The key of one of many draws: one that all have in `common`, and its `own`."""

    common: Any
    own: Any


def beside_each_other(key: Any, draws: int, parts: int) -> list[Together]:
    """Keys of so many parts of so many draws; the draws are the leading axis of their arrays."""
    common, own = jax.random.split(key)
    each = jax.random.split(common, parts)
    owns = jax.random.split(own, (parts, draws))
    return [Together(jnp.broadcast_to(each[k], (draws, *each[k].shape)), owns[k]) for k in range(parts)]


def own_key(key: Any) -> Any:
    """A key as JAX knows it."""
    return key.own if isinstance(key, Together) else key


def together(make: Callable[..., Any], key: Any, *args: Any) -> Any:
    """make(key, axes, *args), an array that has the axes of the `args`, and before them these `axes`.

    There are none where a single draw is made. Of many side by side it is called once, with a key for all: with their
    number as `axes`, or, if any of the `args` differ between draws, with all of them along a first axis.
    """
    if not isinstance(key, Together):
        return make(key, (), *args)

    @custom_vmap
    def one(key: Any, *args: Any) -> Any:
        return make(key, (), *args)

    @one.def_vmap
    def _(draws: int, batched: Any, keys: Any, *args: Any) -> tuple[Any, bool]:
        if not any(batched[1:]):
            return make(keys[0], (draws,), *args), True
        full = [a if b else jnp.broadcast_to(a, (draws, *jnp.shape(a))) for a, b in zip(args, batched[1:], strict=True)]
        return make(keys[0], (), *full), True

    return one(key.common, *args)


def normal(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Standard normal numbers."""
    return together(lambda key, axes: jax.random.normal(key, (*axes, *shape), dtype), key)
