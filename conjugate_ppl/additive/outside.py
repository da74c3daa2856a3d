"""What a model reads besides its arguments, so that equations written once are not used for another state of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat

__all__ = ["outside_of"]

_LIBRARIES = frozenset(("builtins", "functools", "itertools", "jax", "jaxlib", "math", "numpy", "numpyro", "scipy"))
_LARGEST = 1 << 20  # bytes of an array that are read at each look


def outside_of(model: Callable[..., Any]) -> Hashable | None:
    """What a model closes over and its globals, by value; None if something among them may change unseen.

    Plain values, arrays and functions like these are told; objects, dictionaries, lists and modules of the user's own
    are not.
    """
    found: list[Hashable] = []
    try:
        _look(model, found, set())
    except (_Unknown, ValueError):  # or a variable without a value yet
        return None
    return tuple(found)


class _Unknown(Exception):
    """Something whose state is not seen."""


def _look(thing: Any, found: list[Hashable], seen: set[int]) -> None:
    if isinstance(thing, (ModuleType, type)) or callable(thing):
        name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) or ""
        if name.split(".")[0] in _LIBRARIES:
            found.append(id(thing))
            return
    if isinstance(thing, FunctionType) and not hasattr(thing, "__wrapped__"):
        if id(thing) in seen:
            return
        seen.add(id(thing))
        found.append(thing)
        for cell in thing.__closure__ or ():
            _look(cell.cell_contents, found, seen)
        for value in (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()):
            _look(value, found, seen)
        for name in sorted(set(_names(thing.__code__)) & thing.__globals__.keys()):
            _look(thing.__globals__[name], found, seen)
    elif isinstance(thing, (bool, int, float, complex, str, bytes, type(None))):
        found.append((type(thing).__name__, repr(thing)))
    elif isinstance(thing, tuple):
        for x in thing:
            _look(x, found, seen)
    elif isinstance(thing, (np.ndarray, jax.Array)) and _compat.is_concrete(thing) and thing.nbytes <= _LARGEST \
            and np.asarray(thing).dtype != object:
        found.append((thing.shape, str(thing.dtype), hashlib.sha256(np.asarray(thing).tobytes()).digest()))
    else:
        raise _Unknown


def _names(code: CodeType) -> Iterator[str]:
    """Global names in a function, and in those within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
