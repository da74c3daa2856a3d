"""Fixtures for all tests: the floating type they run in, and registries as the package leaves them."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from conjugate_ppl._compat import double_precision
from conjugate_ppl.densities import DENSITIES
from conjugate_ppl.families import registry

_TESTS = itertools.count(1)
# tracing makes objects by the million, almost none of them garbage: looking for it as often as Python does by
# default takes a fifth of the time
gc.set_threshold(50_000, 20, 50)
# Loops made directly from operations: a third less time to compile; a tenth, if small programs are not cut up for
# threads. Later versions have not all of these flags, and an unknown one ends the process; they are read when JAX
# first runs something.
if jax.__version_info__ < (0, 11):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
_DOUBLE = [True]  # the type of the test before


def _double(on: bool) -> contextlib.AbstractContextManager[None]:
    # the context manager, not the global switch: compiled code of one type is never met by the other
    if on is not _DOUBLE[-1]:
        # JAX keeps what a NumPy array that a model closes over was rounded to, and would use it again,
        # for as long as anything compiled from it is there
        jax.clear_caches()
        gc.collect()
    _DOUBLE[:] = [on]
    return double_precision(on)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """float64 first, then float32: a process changes over once."""
    items.sort(key=lambda item: getattr(item, "callspec", None) is not None
               and item.callspec.params.get("x64") is False)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _float64_unless_asked(request: pytest.FixtureRequest) -> Iterator[None]:
    """float64 for every test but those that ask for `x64`, which get each type in turn."""
    with contextlib.nullcontext() if "x64" in request.fixturenames else _double(True):
        yield


@pytest.fixture(params=[True, False], ids=["float64", "float32"])
def x64(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Runs the test twice; True while floats are float64."""
    with _double(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def _compiled_in_haste(request: pytest.FixtureRequest) -> Iterator[None]:
    """Most tests compile for seconds what runs for milliseconds: leave out what only saves time, but in those marked
    `optimised`, where the last digit of compiled arithmetic is looked at, or what a compiler makes of constants."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", request.node.get_closest_marker("optimised") is None)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def _registries_as_they_were() -> Iterator[None]:
    """What a test registers (the examples in docstrings do) is gone after it."""
    tables: list[dict[Any, Any]] = [DENSITIES, registry.FAMILIES, registry._BY_TYPE]
    before = [dict(t) for t in tables]
    yield
    for table, saved in zip(tables, before, strict=True):
        table.clear()
        table.update(saved)


@pytest.fixture(autouse=True)
def _compiled_programs_dropped() -> Iterator[None]:
    """Every so often compiled programs are dropped, so that a process does not grow with the tests it runs."""
    yield
    if next(_TESTS) % 200 == 0:
        jax.clear_caches()
        gc.collect()
