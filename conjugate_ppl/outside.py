"""What a model reads besides its arguments, so that what was found once is not used for another state of it."""

from __future__ import annotations

import dataclasses
import dis
import functools
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.additive.exchange import digest_of
from conjugate_ppl.program import Program, trace_program

__all__ = ["outside_of", "read_by"]

_LIBRARIES = frozenset(("builtins", "functools", "itertools", "jax", "jaxlib", "math", "numpy", "numpyro", "scipy"))
_LARGEST = 1 << 20  # bytes of an array that are read at each look


def outside_of(*things: Any) -> Hashable | None:
    """What a model (or something else) closes over and its globals, by value; None if something among them may change
    unseen.

    Plain values, arrays, functions, lists and dictionaries like these are told; objects and modules of the user's own
    are not.
    """
    found: list[Hashable] = []
    try:
        for thing in things:
            _look(thing, found, set())
    except (_Unknown, ValueError):  # or a variable without a value yet
        return None
    return tuple(found)


def read_by(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], can_run: bool = True) -> Hashable | None:
    """The same, of a model and of those of its arguments that are told apart by name alone (objects of a class of the
    user's); where that is not seen, what the model is with it: its equations. None if these are traced, or it cannot be run here
    with such arguments.
    """
    leaves = jax.tree.leaves((args, kwargs))
    found = outside_of(model, *(x for x in leaves if not isinstance(x, (np.ndarray, jax.Array, np.generic))))
    if found is None and can_run:
        program = trace_program(model, args, kwargs)
        found = _told(program) if program.concrete else None
    return found


def _told(thing: Any) -> Hashable:
    """Equations and what belongs to them, by value; functions in them, and what is not to be read, by name."""
    if isinstance(thing, (np.ndarray, jax.Array, np.generic)):
        return (np.shape(thing), str(thing.dtype), digest_of(np.asarray(thing) if isinstance(thing, np.generic) else thing))
    if isinstance(thing, Program):
        graph = thing.graph
        return (graph.inputs, graph.outputs, _told(graph.equations), _told(graph.constants), _told(
            [getattr(thing, f.name) for f in dataclasses.fields(thing) if f.name != "graph"]))
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return (type(thing), *(_told(getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.name != "raw"))
    if isinstance(thing, Mapping):
        return tuple((_told(k), _told(v)) for k, v in thing.items())
    if isinstance(thing, (tuple, list)):
        return tuple(map(_told, thing))
    if hasattr(_compat.open_jaxpr(thing), "eqns"):
        return (str(thing), _told(list(_compat.constants_of(thing))))
    if repr(thing) == object.__repr__(thing):  # a place in memory
        return type(thing).__qualname__
    return getattr(thing, "__qualname__", None) or repr(thing)


class _Unknown(Exception):
    """Something whose state is not seen."""


def _look(thing: Any, found: list[Hashable], seen: set[int]) -> None:
    if isinstance(thing, (ModuleType, type, FunctionType, BuiltinFunctionType)) and _of_library(thing):
        found.append(thing)
    elif _compat.is_compiled(thing):
        found.append(thing)
        if not _of_library(thing):
            _look(thing.__wrapped__, found, seen)
    elif isinstance(thing, FunctionType):
        if id(thing) in seen:
            return
        seen.add(id(thing))
        found.append(thing)
        _look(thing.__dict__, found, seen)
        for cell in thing.__closure__ or ():
            _look(cell.cell_contents, found, seen)
        for value in (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()):
            _look(value, found, seen)
        for name in sorted(set(_globals_in(thing.__code__)) & thing.__globals__.keys()):
            _look(thing.__globals__[name], found, seen)
    elif type(thing) in (bool, int, float, complex, str, bytes, type(None)):
        found.append((type(thing).__name__, repr(thing)))
    elif type(thing) in (tuple, list, dict, functools.partial):
        if id(thing) in seen:
            raise _Unknown
        parts = (thing.func, thing.args, thing.keywords) if isinstance(thing, functools.partial) else (
            itertools.chain(*thing.items()) if isinstance(thing, dict) else thing)
        found.append((type(thing), len(parts) if isinstance(parts, (tuple, list)) else len(thing)))
        for x in parts:
            _look(x, found, seen | {id(thing)})
    elif isinstance(thing, (np.ndarray, jax.Array)) and _compat.is_concrete(thing) and thing.nbytes <= _LARGEST \
            and thing.dtype != object:
        found.append((thing.shape, str(thing.dtype), digest_of(thing)))
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
