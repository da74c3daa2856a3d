"""A solved Gaussian block, and the step that makes a solution precise."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from conjugate_ppl.gaussian.law import Law
from conjugate_ppl.gaussian.shares import Components

__all__ = ["Solution", "refined"]

Map = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A block solved at given values of the kept sites.

    Attributes:
        components: makes the components, where they are asked for.
        rest: the law of the rest's elements about their posterior mean, `centre` that, and `whitened` u, where it is m + T u.
        quadratic, logdet: the two parts of the log integral.
    """

    components: Callable[[], Components]
    rest: Law
    centre: Any
    whitened: Any
    quadratic: Any
    logdet: Any


def refined(width: int, m: Any, linear: Any, proper: Any, push: Map, back: Map, rest: Map, inverse: Map
             ) -> tuple[Any, Any, Any]:
    """The posterior mean of u, of so many elements a block, a last step from it, and m + T u after the step.

    Vectors are arrays or lists of their elements. `push` and `back` are T and T', `rest` H, `inverse` that of u's
    precision I + T'HT.
    """
    plus, minus, times_each = (partial(jax.tree.map, f) for f in (operator.add, operator.sub, operator.mul))
    target = back(minus(linear, rest(m)))
    mean = inverse(target)
    if width > 1:  # one number is divided by another to its last digit
        mean = plus(mean, inverse(minus(target, plus(times_each(proper, mean), back(rest(push(mean)))))))
    solution = plus(m, push(mean))
    # A second Newton step in the elements themselves, which are small where prior means are far away: there m + T u
    # has lost digits. The quadratic is the same to first order, so that this step needs no derivative.
    step = inverse(minus(back(minus(linear, rest(solution))), times_each(proper, mean)))
    return mean, jax.lax.stop_gradient(step), plus(solution, push(step))
