"""What a model reads besides its arguments, so that equations written once are not used for another state of it."""

from __future__ import annotations

import dis
import functools
import hashlib
import itertools
from collections.abc import Callable, Hashable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
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
    if isinstance(thing, (ModuleType, type, FunctionType, BuiltinFunctionType)) and _of_library(thing):
        found.append(thing)
    elif isinstance(thing, FunctionType) and not thing.__dict__:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        found.append(thing)
        for cell in thing.__closure__ or ():
            _look(cell.cell_contents, found, seen)
        for value in (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()):
            _look(value, found, seen)
        for name in sorted(set(_globals_in(thing.__code__)) & thing.__globals__.keys()):
            _look(thing.__globals__[name], found, seen)
    elif isinstance(thing, (bool, int, float, complex, str, bytes, type(None))):
        found.append((type(thing).__name__, repr(thing)))
    elif type(thing) in (tuple, functools.partial):
        for x in thing if type(thing) is tuple else (thing.func, thing.args, *itertools.chain(*thing.keywords.items())):
            _look(x, found, seen)
    elif isinstance(thing, (np.ndarray, jax.Array)) and _compat.is_concrete(thing) and thing.nbytes <= _LARGEST \
            and np.asarray(thing).dtype != object:
        found.append((thing.shape, str(thing.dtype), hashlib.sha256(np.asarray(thing).tobytes()).digest()))
    else:
        raise _Unknown


def _of_library(thing: Any) -> bool:
    """Whether something comes with a library, and not from one of its functions for something of the user's."""
    name = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__ or ""
    return name.split(".")[0] in _LIBRARIES and "<locals>" not in getattr(thing, "__qualname__", "")


def _globals_in(code: CodeType) -> Iterator[str]:
    """Names of globals in a function, and in those within it; what it imports when it runs is not seen."""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and str(step.argval).split(".")[0] not in _LIBRARIES:
            raise _Unknown
        if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_in(constant)
