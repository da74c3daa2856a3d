"""What eliminating the components of a block leaves for its rest, and the components given the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from conjugate_ppl.gaussian.small import Small

__all__ = ["Components", "Shares", "newton"]


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """The components given the rest, where u of a component is standard normal a priori.

    Attributes:
        centre: from the elements of the rest to posterior means, width vectors over the components.
        slope: derivative of `centre` in the elements of the block that each belongs to, shape
            (count, width, rest).
        scale, low: T, and the Cholesky factor of I + T'DT, the precision of u, of each component.
    """

    centre: Callable[[Any], list[Any]]
    slope: Callable[[], Any]
    scale: Small
    low: Small


@dataclasses.dataclass(frozen=True, eq=False)
class Shares:
    """H and h of the rest, the quadratic as a function of the rest, and the components."""

    rest: Any
    linear: Any
    logdet: Any
    quadratic: Callable[[Any], Any]
    components: Callable[[], Components]


def newton(mean: list[Any], scale: Small, solve: Callable[[list[Any]], list[Any]],
           pull: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """m + T u where u = pull(m + T u), by two Newton steps.

    `solve` solves with the derivative of u - pull(m + T u). The second step starts from m + T u, which
    is small where prior means are far away and the data speak, and so mends what the first lost.
    """
    u = solve(pull(mean))
    x = [a + b for a, b in zip(mean, scale.times(u), strict=True)]
    left = [a - b for a, b in zip(pull(x), u, strict=True)]
    return [a + b for a, b in zip(x, scale.times(solve(left)), strict=True)]
