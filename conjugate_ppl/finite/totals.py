"""Sums of products as products of matrices, where a product written out would be many more numbers than its factors.

`x * log q[z]`, added up over the items of a row, is a number for each row, item and state, where the rows times the
logarithms of all states are a product of two matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.term import thin_einsum
from conjugate_ppl.finite.cases import Cases, Mixed, cases_of, joined, read_along
from conjugate_ppl.finite.products import LOGARITHMS, logarithm_in

if TYPE_CHECKING:
    from conjugate_ppl.finite.evaluate import Evaluator
    from conjugate_ppl.graph import Equation

__all__ = ["gathered", "total"]

_LINEAR = {"add": (1.0, 1.0), "add_any": (1.0, 1.0), "sub": (1.0, -1.0), "neg": (-1.0,)}  # signs of the operands
_MOST = 32  # parts of a sum that are looked at one by one


def total(ev: Evaluator, number: int, axes: Sequence[int]) -> Cases | None:
    """The sum of a number's cases along some axes, kept with size 1; None where that is none of products, or one of parts
    that may cancel: added up each for itself, large ones would leave no digits."""
    shape, leaves = ev.graph.shapes[number], _leaves(ev, number)
    factors = [_factors(ev, n) for n, _ in leaves]
    if not any(factors) or not (len(leaves) == 1 or all(sign > 0 and _negative(ev, n) for n, sign in leaves)):
        return None
    try:
        parts = [_added_up(shape, f or [ev.operand(n)], axes) for (n, _), f in zip(leaves, factors, strict=True)]
    except Mixed:
        return None
    readings, arrays = joined(parts, len(shape))
    return Cases(_less(shape, axes), readings, sum(sign * a for (_, sign), a in zip(leaves, arrays, strict=True)))


def gathered(ev: Evaluator, number: int) -> Cases:
    """A number's cases, those that read the same elements all along an axis added up."""
    x = cases_of(ev.evaluate(number))
    axes: list[int] = []
    for axis in range(x.rank):
        if x.shape[axis] > 1:
            try:
                x.alike_along([*axes, axis])
            except Mixed:
                continue
            axes.append(axis)
    if not axes:
        return x
    found: Cases = total(ev, number, axes) or _added_up(x.shape, [x], axes)
    return found


def _same(ev: Evaluator, number: int) -> int:
    """The number that this one is, up to axes of size 1 that came and went, and choices that are known."""
    while (maker := ev.graph.maker(number)) is not None:
        before = number
        origin, index = ev.graph.origin(number, np.arange(int(np.prod(ev.graph.shapes[number]))))
        if ev.graph.shapes[origin] == ev.graph.shapes[number] and np.array_equal(index, np.arange(len(index))):
            number = origin
        if maker.primitive == "select_n" and (which := ev.constant(maker.inputs[0])) is not None and which.size and (
                which == which.flat[0]).all():
            number = maker.inputs[1 + int(which.flat[0])]
        if number == before:
            break
    return number


def _factors(ev: Evaluator, number: int) -> tuple[Any, Any] | None:
    """The two factors of a product whose numbers are more than those of both; None if it is none."""
    x, maker = ev.operand(number), ev.graph.maker(number)
    if not isinstance(x, Cases) or maker is None or len(maker.inputs) != 2 or not _alike(ev, maker):
        return None
    a, b = (ev.operand(n) for n in maker.inputs)
    name = logarithm_in(maker)
    if name and ev.of_states(maker.inputs[0]) and _inside(ev, maker.inputs[1], name):
        b = Cases(b.shape, b.readings, LOGARITHMS[name](b.array)) if isinstance(b, Cases) else LOGARITHMS[name](b)
    elif maker.primitive != "mul" or any(isinstance(ev.operand(n), Cases) and ev.of_states(n) for n in maker.inputs):
        return None  # a state of 0 takes the other factor out of derivatives (`by_states`)
    sizes = [np.size(f.array) if isinstance(f, Cases) else np.size(f) for f in (a, b)]
    return (a, b) if np.size(x.array) > sum(sizes) else None


def _negative(ev: Evaluator, number: int) -> bool:
    """Whether a number is known to be negative, or 0: counts times logarithms of probabilities."""
    maker = ev.graph.maker(number)
    name = logarithm_in(maker)
    if maker is None or not name:
        return False
    return _bounds(ev, maker.inputs[0])[0] >= 0 and _bounds(ev, maker.inputs[1])[1] <= (1.0 if name == "xlogy" else 0.0)


def _inside(ev: Evaluator, number: int, name: str) -> bool:
    """Whether the logarithm is known to be finite: 0 times infinity is 0 there, and not in a product of matrices."""
    low, high = _bounds(ev, number)
    return low > (0.0 if name == "xlogy" else -1.0) and high < np.inf


def _bounds(ev: Evaluator, number: int) -> tuple[float, float]:
    """What a number, where it is one, lies between."""
    number = _same(ev, number)
    known, maker = ev.constant(number), ev.graph.maker(number)
    if known is not None and known.size:
        return float(known.min()), float(known.max())
    if maker is not None and maker.primitive in ("max", "min"):
        lows, highs = zip(*(_bounds(ev, n) for n in maker.inputs), strict=True)
        choose = max if maker.primitive == "max" else min
        return choose(lows), choose(highs)
    if maker is not None and maker.primitive == "neg":
        low, high = _bounds(ev, maker.inputs[0])
        return -high, -low
    return -np.inf, np.inf


def _alike(ev: Evaluator, maker: Equation) -> bool:
    """Whether the operands have the shape of the result; a number may stand for all."""
    return all(ev.graph.shapes[n] == ev.graph.shapes[maker.outputs[0]] for n in maker.inputs)


def _leaves(ev: Evaluator, number: int) -> list[tuple[int, float]]:
    """What a number is the sum of, and signs: as far as its parts have its shape and are few."""
    stack, out = [(number, 1.0)], []
    while stack:
        at, sign = stack.pop()
        at = _same(ev, at)
        maker = ev.graph.maker(at)
        if maker is None or maker.primitive not in _LINEAR or not _alike(ev, maker) or not isinstance(ev.operand(at), Cases):
            out.append((at, sign))
        elif len(out) + len(stack) >= _MOST:
            return [(number, 1.0)]
        else:
            stack += zip(maker.inputs, (sign * k for k in _LINEAR[maker.primitive]), strict=True)
    return out


def _added_up(shape: tuple[int, ...], factors: Sequence[Any], axes: Sequence[int]) -> Any:
    """The sum of a product along some axes."""
    thin = [Cases(x.shape, tuple(r.map(e) for r, e in zip(x.readings, read_along(x, axes), strict=True)), x.array)
            if isinstance(x, Cases) else x for x in factors]
    readings, arrays = joined(thin, len(shape))
    states = len(readings)
    keep = [k for k in range(states + len(shape)) if k - states not in axes]
    out = thin_einsum(arrays, keep, dict(enumerate(shape, states)))
    out = jnp.expand_dims(out, [states + a for a in axes])
    return Cases(_less(shape, axes), readings, out) if readings else out


def _less(shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(1 if k in axes else n for k, n in enumerate(shape))
