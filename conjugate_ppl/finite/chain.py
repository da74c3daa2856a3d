"""Chains of states: forward and backward recursions in log space (Rabiner, Proc. IEEE 77, 1989).

A chain of L elements with S states each has a table `own` of shape (L, S) and one `pair`, of shape
(L - 1, S, S) or (1, S, S), for each element and the next one. All functions are for one chain.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.finite.sums import SUM, Over, log_sum, moved, weights

__all__ = ["Forward", "chain_draw", "chain_log_prob", "chain_total", "forward"]


def _along(pair: Any, own: Any) -> Any:
    """The pairs, one for each step."""
    return jnp.broadcast_to(pair, (own.shape[0] - 1, *pair.shape[1:]))


class Forward(NamedTuple):
    """What the elements up to each one amount to, by its state.

    Fields:
        front: shape (L, S), less the largest of each element's states: no digits go into what all have in common.
        tops: what each step took off, shape (L,).
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
    """Numbers less the largest, and that; as they are if that is infinite."""
    top = jnp.max(a)
    top = lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    return a - top, top


@jax.custom_jvp
def chain_total(own: Any, pair: Any) -> Any:
    """Log of the sum over all states of all elements."""
    front, tops = forward(own, pair, SUM)
    return log_sum(front[-1], 0) + jnp.sum(tops)


@chain_total.defjvp
def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """The derivative with respect to a table is how probable its entries are (Baum and Welch): of the last state, and of
    each given the next one."""
    own, pair = primals
    front, tops = forward(own, pair, SUM)
    total = log_sum(front[-1], 0)
    last, given = weights(front[-1], total), _shares(front[:-1, :, None] + pair)

    def step(after: Any, given: Any) -> tuple[Any, Any]:
        here = jnp.matmul(given, after, precision="highest")
        whole = jnp.sum(here)  # one, but for rounding, which would add up
        here = here / jnp.where(whole > 0, whole, 1.0)
        return here, here

    _, before = lax.scan(step, last, given, reverse=True)
    joint = given * jnp.concatenate([before[1:], last[None]])[:, None, :]
    if pair.shape[0] == 1:  # before the tangent comes in: infinite ones have weight 0 in all steps
        joint = jnp.sum(joint, 0, keepdims=True)
    slope = jnp.sum(moved(jnp.concatenate([before, last[None]]), tangents[0])) + jnp.sum(moved(joint, tangents[1]))
    return total + jnp.sum(tops), slope


def _shares(a: Any) -> Any:
    """exp(a), along the axis before the last as shares of their sum; 0 where all are impossible."""
    top = jnp.max(a, -2, keepdims=True)
    share = jnp.exp(a - jnp.where(jnp.isfinite(top), top, 0.0))
    whole = jnp.sum(share, -2, keepdims=True)
    return share / jnp.where(whole > 0, whole, 1.0)


def chain_draw(key: Any, front: Any, pair: Any, over: Over) -> Any:
    """The states of all elements, drawn from the last to the first; `front` is that of `forward`."""
    noise = over.noise(key, front.shape, front.dtype)
    last = jnp.argmax(front[-1] + noise[-1])

    def step(after: Any, x: Any) -> tuple[Any, Any]:
        logits, p = x if len(x) == 2 else (x[0], pair[0])
        state = jnp.argmax(logits + p[:, after])
        return state, state

    rest = front[:-1] + noise[:-1]
    _, states = lax.scan(step, last, (rest,) if pair.shape[0] == 1 else (rest, pair), reverse=True)
    return jnp.concatenate([states, last[None]])


def chain_log_prob(front: Any, pair: Any, states: Any) -> Any:
    """Log probability of the states of all elements, each given those behind it."""
    steps = _along(pair, front)
    given = jnp.take_along_axis(steps, states[1:, None, None], 2, mode="clip")[..., 0]
    logits = jnp.concatenate([front[:-1] + given, front[-1:]])
    chosen = jnp.take_along_axis(logits, states[:, None], 1, mode="clip")[:, 0]
    return jnp.sum(jnp.where(chosen == -jnp.inf, -jnp.inf, chosen - log_sum(logits, 1)))
