"""Chains of states: forward and backward recursions in log space (Rabiner, Proc. IEEE 77, 1989).

A chain of L elements with S states each has a table `own` of shape (L, S) and one `pair`, of shape
(L - 1, S, S) or (1, S, S), for each element and the next one. Chains side by side have further axes, behind these: what
is done for each of them goes along memory. Along such axes `pair` may have size 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from conjugate_ppl.finite.sums import SUM, Over, log_sum, moved, weights

__all__ = ["Forward", "chain_draw", "chain_log_prob", "chain_total", "forward"]

_FEW = 8  # states up to which a step's matrix is read as fast as it is made


def _along(pair: Any, own: Any) -> Any:
    """The pairs, one for each step of each chain."""
    return jnp.broadcast_to(pair, (own.shape[0] - 1, *pair.shape[1:3], *own.shape[2:]))


class Forward(NamedTuple):
    """What the elements up to each one amount to, by its state.

    Fields:
        front: shape (L, S, ...), less the largest of each element's states: no digits go into what all have in common.
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
    """Numbers less the largest along the first axis, and that; as they are if that is infinite."""
    top = jnp.max(a, 0)
    top = lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    return a - top, top


@jax.custom_jvp
def chain_total(own: Any, pair: Any) -> Any:
    """Log of the sum over all states of all elements, for each chain."""
    front, tops = forward(own, pair, SUM)
    return log_sum(front[-1], 0) + jnp.sum(tops, 0)


@chain_total.defjvp
def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """The derivative with respect to a table is how probable its entries are (Baum and Welch)."""
    own, pair = primals
    found = forward(own, pair, SUM)
    states, joint = _by_conditionals(pair, found) if own.shape[1] <= _FEW else _from_both_ends(own, pair, found)
    if pair.shape[0] == 1:  # before the tangent comes in: infinite ones have weight 0 in all steps
        joint = jnp.sum(joint, 0, keepdims=True)
    slope = jnp.sum(moved(states, tangents[0]), (0, 1)) + jnp.sum(moved(joint, tangents[1]), (0, 1, 2))
    return log_sum(found.front[-1], 0) + jnp.sum(found.tops, 0), slope


def _by_conditionals(pair: Any, found: Forward) -> tuple[Any, Any]:
    """Probabilities of all states, and of pairs of them: of the last state, and of each given the next one.

    The exponentials are taken of all steps side by side, and the recursion is sums of products; but it reads a matrix
    a step, which takes as long where there are many states.
    """
    before = jnp.swapaxes(found.front[:-1, :, None] + pair, 1, 2)
    top = jnp.max(before, 2, keepdims=True)
    share = jnp.exp(before - jnp.where(jnp.isfinite(top), top, 0.0))
    whole = jnp.sum(share, 2, keepdims=True)
    given = share / jnp.where(whole > 0, whole, 1.0)  # by the next state, and this one

    def step(after: Any, given: Any) -> tuple[Any, Any]:
        here = jnp.sum(given * after[:, None], 0)
        whole = jnp.sum(here, 0)  # one, but for rounding, which would add up
        here = here / jnp.where(whole > 0, whole, 1.0)
        return here, here

    last = weights(found.front[-1], log_sum(found.front[-1], 0))
    _, states = lax.scan(step, last, given, reverse=True)
    states = jnp.concatenate([states, last[None]])
    return states, jnp.swapaxes(given * states[1:, :, None], 1, 2)


def _from_both_ends(own: Any, pair: Any, found: Forward) -> tuple[Any, Any]:
    """The same by a recursion from the last state in logarithms."""
    once, (front, tops) = pair.shape[0] == 1, found

    def step(after: Any, x: Any) -> tuple[Any, Any]:
        here, p = (x, pair[0]) if once else x
        before, _ = _less_largest(log_sum(p + (after + here), 1))
        return before, before

    last = jnp.zeros_like(own[0])
    _, back = lax.scan(step, last, own[1:] if once else (own[1:], pair), reverse=True)
    back = jnp.concatenate([back, last[None]])
    both = log_sum(front + back, 1)  # the same everywhere, but for what was taken off
    joint = weights(front[:-1, :, None] + pair + (own + back)[1:, None, :], (both + tops)[1:, None, None])
    return weights(front + back, both[:, None]), joint


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
