"""Chains of states: forward and backward recursions in log space (Rabiner, Proc. IEEE 77, 1989).

A chain of L elements with S states each has a table `own` of shape (L, S) and one `pair`, of shape
(L - 1, S, S) or (1, S, S), for each element and the next one. Chains side by side have further axes, behind these: what
is done for each of them goes along memory. Along such axes `pair` may have size 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from conjugate_ppl.finite.sums import Over, log_sum, of_settled, settled

__all__ = ["Forward", "chain_draw", "chain_log_prob", "chain_total", "forward"]

_DIGITS = 40  # binary; what of 52 is left where the recursion has come to a hundred thousand is enough


def _along(pair: Any, own: Any) -> Any:
    """The pairs, one for each step of each chain."""
    return jnp.broadcast_to(pair, (own.shape[0] - 1, *pair.shape[1:3], *own.shape[2:]))


class Forward(NamedTuple):
    """What the elements up to each one amount to, by its state.

    Fields:
        front: shape (L, S, ...), in single precision less the largest of each element's states: no digits go into what
            all have in common.
        tops: what each step took off, shape (L, ...).
    """

    front: Any
    tops: Any


def forward(own: Any, pair: Any, over: Over) -> Forward:
    """The recursion from the first element to the last."""
    once = pair.shape[0] == 1

    def step(before: Any, x: Any) -> tuple[Any, Any]:
        here, p = (x, pair[0]) if once else x
        after, top = _less_largest(over.reduce(before[:, None] + p, 0) + here)
        return after, (after, top)

    first, top = _less_largest(own[0])
    _, (found, tops) = lax.scan(step, first, own[1:] if once else (own[1:], pair))
    return Forward(jnp.concatenate([first[None], found]), jnp.concatenate([top[None], tops]))


def _less_largest(a: Any) -> tuple[Any, Any]:
    """Numbers less the largest along the first axis, and that; as they are if that is infinite, or they have digits to spare."""
    if jnp.finfo(a.dtype).nmant > _DIGITS:
        return a, jnp.zeros(a.shape[1:], a.dtype)
    top = jnp.max(a, 0)
    top = lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    return a - top, top


def chain_total(own: Any, pair: Any) -> Any:
    """Log of the sum over all states of all elements, for each chain.

    Its derivative is how probable states are, and pairs of them (Baum and Welch, by JAX: what a step computes forwards is kept).
    """
    once = pair.shape[0] == 1
    own, pair = settled(own), settled(pair)

    def step(carry: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], None]:
        (before, total), (here, p) = carry, (x, pair[0]) if once else x
        after, top = _less_largest(of_settled(before[:, None] + p, 0) + here)
        return (after, total + top), None

    (last, total), _ = lax.scan(step, _less_largest(own[0]), own[1:] if once else (own[1:], pair))
    return of_settled(last, 0) + total


def chain_draw(key: Any, front: Any, pair: Any, over: Over) -> Any:
    """The states of all elements, shape (L, ...), drawn from the last to the first; `front` is that of `forward`."""
    noise = over.noise(key, front.shape, front.dtype)
    last = jnp.argmax(front[-1] + noise[-1], 0)
    once = pair.shape[0] == 1

    def step(after: Any, x: Any) -> tuple[Any, Any]:
        logits, p = (x, pair[0]) if once else x
        p = jnp.broadcast_to(p, (*p.shape[:2], *after.shape))
        state = jnp.argmax(logits + jnp.take_along_axis(p, after[None, None], 1, mode="clip")[:, 0], 0)
        return state, state

    rest = front[:-1] + noise[:-1]
    _, states = lax.scan(step, last, rest if once else (rest, pair), reverse=True)
    return jnp.concatenate([states, last[None]])


def chain_log_prob(front: Any, pair: Any, states: Any) -> Any:
    """Log probability of the states of all elements, each given those behind it, added up over chains."""
    given = jnp.take_along_axis(_along(pair, front), states[1:, None, None], 2, mode="clip")[:, :, 0]
    logits = jnp.concatenate([front[:-1] + given, front[-1:]])
    chosen = jnp.take_along_axis(logits, states[:, None], 1, mode="clip")[:, 0]
    return jnp.sum(jnp.where(chosen == -jnp.inf, -jnp.inf, chosen - log_sum(logits, 1)))
