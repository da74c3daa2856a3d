"""A solved Gaussian block, and the step that makes a solution precise."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from conjugate_ppl import _compat
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
    precision I + T'HT. Newton steps in the elements themselves, which are small where prior means are far away: there m + T u
    has lost digits. From any u one step has all derivatives of the solution, so that only the last one has any.
    """
    plus, minus, times_each = (partial(jax.tree.map, f) for f in (operator.add, operator.sub, operator.mul))

    def step(u: Any) -> Any:
        return inverse(minus(back(minus(linear, rest(plus(m, push(u))))), times_each(proper, u)))

    zero = jax.tree.map(jnp.zeros_like, m)
    number = 2 if width > 1 else 1  # one number is divided by another to its last digit
    if isinstance(m, list):  # number by number, in one function of the compiler
        mean = functools.reduce(lambda u, _: plus(u, step(u)), range(number), zero)
        mean = jax.lax.stop_gradient(mean)
    else:
        # A loop's numbers are there but once. Elsewhere compilers compute one anew wherever it is read, and round it otherwise: what
        # a step so takes for a difference is as large as rounding times the precision.
        one, read = _compat.hoisted(lambda u: plus(u, step(u)), zero)
        held = jax.lax.stop_gradient(read)
        mean = jax.lax.fori_loop(0, number, lambda _, u: one(u, *held), zero)
    last = step(mean)
    return mean, last, plus(plus(m, push(mean)), push(last))
