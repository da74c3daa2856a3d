"""Rules of primitives that move elements about, join and choose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra import movement
from conjugate_ppl.algebra.monomial import Unknown, surely_finite
from conjugate_ppl.algebra.operands import full, shape_of, value_of
from conjugate_ppl.algebra.term import Term, Value, is_known
from conjugate_ppl.algebra.value import (
    add,
    collect,
    joined,
    move,
    multiply,
    permute,
    reshape,
    spread,
    where,
)
from conjugate_ppl.algebra.variables import Condition

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["LOOKED_UP", "PLACEMENT"]

LOOKED_UP = "an index that depends on a latent"
"""Why a look-up is no data movement."""

Rule = Callable[..., Any]


def _move(name: str) -> Rule:
    function = movement.MOVES[name]

    def rule(walk: Walk, eqn: Equation, x: Any, *known: Any) -> Value:
        if not isinstance(x, Value) or any(isinstance(k, Value) for k in known):
            raise Unknown(LOOKED_UP)
        if not all(is_known(k) for k in known):
            return walk.traced_movement(eqn, x, known)
        try:
            return move(x, movement.sources(function, eqn.params, x.shape, *known))
        except movement.Unreadable as error:
            raise Unknown(str(error)) from None

    return rule


def _broadcast_in_dim(walk: Walk, eqn: Equation, x: Value) -> Value:
    return spread(x, tuple(eqn.params["shape"]), eqn.params["broadcast_dimensions"])


def _reshape(walk: Walk, eqn: Equation, x: Value) -> Value:
    if eqn.params.get("dimensions") is not None:
        x = permute(x, eqn.params["dimensions"])
    return reshape(x, tuple(eqn.params["new_sizes"]))


def _axes_of_one(walk: Walk, eqn: Equation, x: Value) -> Value:
    struct = walk.graph.shapes[eqn.outputs[0]]
    return reshape(x, tuple(struct))


def _transpose(walk: Walk, eqn: Equation, x: Value) -> Value:
    return permute(x, eqn.params["permutation"])


def _copy(walk: Walk, eqn: Equation, x: Value) -> Value:
    return x


def _convert(walk: Walk, eqn: Equation, x: Value) -> Value:
    new = np.dtype(eqn.params["new_dtype"])
    if new.kind not in "fc" and str(new) != "bfloat16":
        raise Unknown("a conversion of a latent to whole numbers")
    (old,) = (walk.graph.dtypes[i] for i in eqn.inputs)
    if old.kind != "f":
        raise Unknown("a conversion of something that is not a real number")
    if new.itemsize // (1 + (new.kind == "c")) < old.itemsize:
        raise Unknown("a conversion of a latent to fewer digits")
    return x


def _join(function: Callable[..., np.ndarray]) -> Rule:
    """Several operands become one: each is moved to its places."""

    def rule(walk: Walk, eqn: Equation, *xs: Any) -> Value:
        values = [value_of(x) for x in xs]
        parts = []
        for k, v in enumerate(values):
            source = function(eqn.params, [movement.numbered(x.shape) if j == k else np.full(x.shape, -1)
                                           for j, x in enumerate(values)])
            parts.append((source >= 0, move(v, source)))
        return joined(tuple(walk.graph.shapes[eqn.outputs[0]]), parts)

    return rule


def _tile(walk: Walk, eqn: Equation, x: Value) -> Value:
    return move(x, np.tile(movement.numbered(x.shape), eqn.params["reps"]))


def _pad(walk: Walk, eqn: Equation, x: Any, fill: Any) -> Value:
    if not isinstance(x, Value) or not is_known(fill):
        raise Unknown("padding with a latent")
    source = movement.sources(movement.pad, eqn.params, x.shape, np.asarray(-1))
    out = move(x, source)
    if fill != 0:
        out = add(out, Value.known(np.where(source < 0, fill, 0.0)))
    return out


def _several(name: str) -> Rule:
    function = movement.SPLITS[name]

    def rule(walk: Walk, eqn: Equation, x: Value) -> list[Value]:
        return [move(x, s) for s in movement.sources(function, eqn.params, x.shape)]

    return rule


def _select_n(walk: Walk, eqn: Equation, which: Any, *cases: Any) -> Value:
    if not is_known(which):
        return _switched(walk, eqn, which, *cases)
    shape = shape_of(*cases, which)
    which = np.broadcast_to(which.astype(int), shape)
    terms: list[Term] = []
    for k, case in enumerate(cases):
        terms += where(which == k, full(case, shape)).terms
    return collect(shape, terms)


def _switched(walk: Walk, eqn: Equation, which: Any, *cases: Any) -> Value:
    """i a + j b for a condition i and its negation j as numbers, 1 or 0, in each place; what is in the other
    case is multiplied by 0, so it has to be finite."""
    unknown = Unknown("a choice between cases that depends on a latent or on traced data")
    values = [value_of(c) for c in cases]
    number = eqn.inputs[0]
    if (not isinstance(which, Value) or which.roots & walk.candidates or walk.graph.dtypes[number].kind != "b"
            or not any(v.roots & walk.candidates for v in values)
            or not all(surely_finite(walk, v) for v in values)):
        raise unknown
    shape = shape_of(*cases, which)
    out: list[Term] = []
    for negated, case in zip((True, False), values, strict=True):
        name = f"condition#{number}{'-' if negated else '+'}"
        condition = walk.variables.keep((name,), Condition(
            name, int(np.prod(which.shape)), False, which.roots, number, negated))
        out += multiply(full(Value.of(condition, which.shape), shape), full(case, shape)).terms
    return collect(shape, out)


def _dynamic_update_slice(walk: Walk, eqn: Equation, x: Any, update: Any, *starts: Any) -> Value:
    if not all(is_known(s) for s in starts):
        raise Unknown("an update at an index that depends on a latent or on traced data")
    x, update = value_of(x), value_of(update)
    at = [int(np.clip(int(s), 0, n - k))
          for s, n, k in zip(starts, x.shape, update.shape, strict=True)]
    place = tuple(slice(a, a + k) for a, k in zip(at, update.shape, strict=True))
    keep = np.ones(x.shape, bool)
    keep[place] = False
    source = np.full(x.shape, -1)
    source[place] = movement.numbered(update.shape)
    return collect(x.shape, [*where(keep, x).terms, *move(update, source).terms])


PLACEMENT: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast_in_dim, "reshape": _reshape, "squeeze": _axes_of_one,
    "expand_dims": _axes_of_one, "transpose": _transpose, "copy": _copy, "copy_p": _copy,
    "convert_element_type": _convert, "pad": _pad, "tile": _tile,
    "concatenate": _join(lambda p, blocks: np.concatenate(blocks, p["dimension"])),
    "stack": _join(lambda p, blocks: np.stack(blocks, p["axis"])),
    "select_n": _select_n, "dynamic_update_slice": _dynamic_update_slice,
    "split": _several("split"), "unstack": _several("unstack"),
    **{name: _move(name) for name in ("rev", "slice", "dynamic_slice", "gather")},
}
