"""The table of what raises an error: a function, the error's type, words of its message."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

Y = np.array([0.3, -1.2, 2.0, 0.7])
TAU = jnp.ones(())
VALUES = {"mu": jnp.zeros(()), "theta": jnp.zeros(4)}


@dataclasses.dataclass(frozen=True)
class Case:
    """What raises an error, the error's type, words of its message."""

    run: Callable[[], Any]
    kind: type[Exception]
    words: str


CASES: dict[str, Case] = {}


def raises(kind: type[Exception], words: str, *variants: Any) -> Callable[[Any], Any]:
    """Enter a function that raises `kind`, run once for each of `variants` if there are any."""

    def register(run: Any) -> Any:
        runs = [functools.partial(run, v) for v in variants] or [run]
        for one in runs:
            CASES[f"{run.__name__}-{len(CASES)}"] = Case(one, kind, words)
        return run

    return register
