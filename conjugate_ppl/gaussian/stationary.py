"""Values of a function where it is stationary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from conjugate_ppl import _compat

__all__ = ["at_stationary"]


def at_stationary(f: Callable[..., Any], *point: Any) -> Any:
    """f(*point) where f has its own minimum or maximum in the point, whatever else it reads.

    The first derivative is so that of f with the point held, and asks for none of the point, which takes as long as
    the rest of a gradient. The second derivative is that of the first, in which the point moves.
    """
    g, read = _compat.hoisted(f, *point)

    @jax.custom_jvp
    def value(point: Any, read: Any) -> Any:
        return g(*point, *read)

    @value.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (point, read), (_, moves) = primals, tangents
        return jax.jvp(lambda r: g(*point, *r), (read,), (moves,))

    return value(point, read)
