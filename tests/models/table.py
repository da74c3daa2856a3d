"""The table that every model of this folder enters, and the data that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

RNG = np.random.default_rng(0)
N, G, H, P = 9, 4, 3, 2
Y = RNG.normal(1.0, 2.0, N)
YG = RNG.normal(0.5, 1.5, G)
X = RNG.normal(size=(N, P))
T = np.linspace(0.0, 1.0, N)
GROUP = np.array([0, 1, 1, 2, 0, 2, 2, 1, 0])  # group 3 has no rows
OTHER = np.array([2, 0, 1, 0, 1, 2, 0, 2, 1])
COUNT = np.array([3, 0, 5, 2, 1, 4, 2, 7, 1])
SMALL = COUNT.astype(np.uint8)
BINARY = np.array([1, 0, 1, 1, 0, 0, 1, 1, 1])
POSITIVE = RNG.gamma(2.0, 1.0, N)
EXPOSURE = RNG.uniform(0.5, 3.0, N)
OUTCOME = np.array([0, 2, 1, 1, 0, 2, 2, 2, 1])
MATRIX = np.array([[1.0, 0.3, 0.1], [0.3, 2.0, -0.4], [0.1, -0.4, 0.7]])
ROOT = np.linalg.cholesky(MATRIX)
HOLED = np.where(np.arange(N) % 4 == 1, np.nan, Y)
SEEN = np.isfinite(HOLED)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its data, the names of the latents that are collapsed, and rows of `relations.py`."""

    model: Callable[..., Any]
    args: tuple[Any, ...]
    collapsed: frozenset[str]
    relation: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def case(collapsed: str, *args: Any, name: str = "", relation: str = "") -> Callable[[Any], Any]:
    """Enter a model in the table; `collapsed` lists names, separated by spaces.

    `relation` lists keys of rows of `tests/relations.py` that the model tests, where the pairs of a family
    and a distribution in it do not say so.
    """

    def register(model: Any) -> Any:
        label = name or model.__name__
        assert label not in CASES, label
        CASES[label] = Case(model, args, frozenset(collapsed.split()), tuple(relation.split()))
        return model

    return register


def flat(shape: tuple[int, ...]) -> dist.ImproperUniform:
    """A flat prior over real numbers."""
    return dist.ImproperUniform(constraints.real, shape, ())
