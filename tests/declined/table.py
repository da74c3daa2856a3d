"""The table of models that must not be collapsed: each is one step away from one that is."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RNG = np.random.default_rng(1)
N = 6
Y = RNG.normal(1.0, 1.5, N)
COUNT = np.array([3, 0, 5, 2, 1, 4])
BINARY = np.array([1, 0, 1, 1, 0, 0])
POSITIVE = RNG.gamma(2.0, 1.0, N)
OUTCOME = np.array([0, 2, 1, 1, 0, 2])
GROUP = np.array([0, 1, 2, 0, 1, 2])
X2 = np.stack([np.ones(N), np.arange(N)], 1)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its data, the site that is kept, words of the reason, the other sites' fate."""

    model: Callable[..., Any]
    args: tuple[Any, ...]
    site: str
    words: str
    collapsed: frozenset[str]
    relation: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def declines(site: str, words: str, *args: Any, collapsed: str = "", relation: str = "") -> Callable[[Any], Any]:
    """Enter a model: `site` stays sampled because of `words`; `collapsed` names what does not.

    `relation` lists keys of rows of `tests/relations.py` that it is next to, where pairs of a family and a
    distribution do not say so.

    The line that is to be named carries the comment `# here`.
    """

    def register(model: Any) -> Any:
        assert model.__name__ not in CASES, model.__name__
        CASES[model.__name__] = Case(model, args, site, words, frozenset(collapsed.split()),
                                     tuple(relation.split()))
        return model

    return register


def marked_line(model: Any) -> str:
    """`uses.py:12`, the line of the model with the comment `# here`."""
    lines, start = inspect.getsourcelines(model)
    (at,) = [start + k for k, line in enumerate(lines) if line.rstrip().endswith("# here")]
    return f"{Path(inspect.getfile(model)).name}:{at}"
