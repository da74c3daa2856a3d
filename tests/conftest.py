"""Fixtures for all tests: the floating type they run in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import pytest


@contextlib.contextmanager
def _double(on: bool) -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", on)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture(autouse=True)
def _float64_unless_asked() -> Iterator[None]:
    """float64 for every test; a test that asks for `x64` then gets each type in turn."""
    with _double(True):
        yield


@pytest.fixture(params=[True, False], ids=["float64", "float32"])
def x64(request: pytest.FixtureRequest, _float64_unless_asked: None) -> Iterator[bool]:
    """Runs the test twice; True while floats are float64."""
    with _double(request.param):
        yield request.param
