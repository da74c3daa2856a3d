"""Fixtures for all tests: the floating type they run in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import pytest


def _double(on: bool) -> contextlib.AbstractContextManager[None]:
    # the context manager, not the global switch: compiled code of one type is never met by the other
    enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    return enable_x64(on)  # type: ignore[no-any-return]


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
