"""What each primitive does to an array of cases: which elements its results read, and their values.

A rule gets the evaluator, the equation and its operands (`Cases`, or plain arrays) and returns the results,
or raises `Mixed`. A primitive without one is followed only where each latent is read at one element all
over: then it is run for each state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from conjugate_ppl.algebra import movement
from conjugate_ppl.algebra.monomial import Unknown
from conjugate_ppl.algebra.scatter import targets
from conjugate_ppl.finite.cases import NONE, Cases, Mixed, at_places, held, joined, merged, read_along
from conjugate_ppl.finite.products import by_states, logarithm_in, times_logarithm
from conjugate_ppl.finite.together import side_by_side, used_together
from conjugate_ppl.finite.totals import total
from conjugate_ppl.primitives import ELEMENTWISE

if TYPE_CHECKING:
    from conjugate_ppl.finite.evaluate import Evaluator
    from conjugate_ppl.graph import Equation

__all__ = ["rule_of"]

Rule = Callable[..., list[Any]]


def rule_of(equation: Equation) -> Rule:
    """The rule for an equation."""
    if equation.body:
        return _custom
    return _RULES.get(equation.primitive, _anything)


def _elementwise(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    shape = ev.graph.shapes[eqn.outputs[0]]
    readings, arrays = joined([_thin(ev, n, x) for n, x in zip(eqn.inputs, operands, strict=True)], len(shape))
    if eqn.primitive == "mul" and any(map(ev.of_states, eqn.inputs)):
        states, other = arrays if ev.of_states(eqn.inputs[0]) else arrays[::-1]
        return [Cases(shape, readings, by_states(states, other))]
    # the primitive wants equal shapes
    return [Cases(shape, readings, ev.graph.apply(eqn, jnp.broadcast_arrays(*arrays))[0])]


def _thin(ev: Evaluator, number: int, x: Any) -> Any:
    """An operand without copies of what is known to be constant along an axis."""
    return x if isinstance(x, Cases) else _without_repeats(x, ev.constant(number))


# -- run for each state -----------------------------------------------------------------------------


def _each_state(ev: Evaluator, eqn: Equation, operands: Sequence[Any], places: Sequence[Sequence[int]],
                count: int) -> list[Any]:
    """The equation's results, with `count` axes of states before their own; `places` says which of
    them the axes of each operand are."""
    arrays = []
    for x, mine in zip(operands, places, strict=True):
        if isinstance(x, Cases):
            order = [int(k) for k in np.argsort(mine)]
            x = jnp.transpose(x.full(), [*order, *range(len(mine), len(mine) + x.rank)])
        arrays.append(x)

    def run(*xs: Any) -> list[Any]:
        return ev.graph.apply(eqn, xs)

    for k in reversed(range(count)):
        run = jax.vmap(run, in_axes=tuple(0 if k in mine else None for mine in places))
    return run(*arrays)


def _followed(ev: Evaluator, eqn: Equation, operands: Sequence[Any],
              read: Sequence[Sequence[np.ndarray]]) -> list[Any]:
    """Run for each state; `read` has the elements that the results read, for each operand's readings."""
    readings, places = merged([
        [r.map(e) for r, e in zip(x.readings, mine, strict=True)] if isinstance(x, Cases) else []
        for x, mine in zip(operands, read, strict=True)])
    results = _each_state(ev, eqn, operands, places, len(readings))
    return [Cases(ev.graph.shapes[n], readings, y)
            for n, y in zip(eqn.outputs, results, strict=True)]


def _one_element(x: Any) -> list[np.ndarray]:
    """The element that each reading of an operand reads all over; `Mixed` if there are several."""
    if not isinstance(x, Cases):
        return []
    return [e.reshape(-1)[:1].reshape(()) if e.size else np.asarray(NONE)
            for e in (r.element for r in x.alike_along(range(x.rank)).readings)]


def _anything(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    """Any primitive, where each latent is read at one element all over."""
    read = [_one_element(x) for x in operands]
    readings, places = merged([
        [r.map(e) for r, e in zip(x.readings, mine, strict=True)] if isinstance(x, Cases) else []
        for x, mine in zip(operands, read, strict=True)])
    results = _each_state(ev, eqn, operands, places, len(readings))
    out = []
    for number, y in zip(eqn.outputs, results, strict=True):
        shape = ev.graph.shapes[number]
        out.append(Cases(shape, tuple(r.map(r.element.reshape((1,) * len(shape))) for r in readings), y))
    return out


def _custom(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    """A function with a derivative of its own: what it reads is read off its body; it is run itself
    where its results' readings can be told from its operands'."""
    name = logarithm_in(eqn)
    if name and ev.of_states(eqn.inputs[0]):
        shape = ev.graph.shapes[eqn.outputs[0]]
        readings, (x, y) = joined([_thin(ev, n, x) for n, x in zip(eqn.inputs, operands, strict=True)], len(shape))
        return [Cases(shape, readings, times_logarithm(name, x, y))]
    for inner in eqn.body:
        ev.step(inner)
    results = [ev.operand(n) for n in eqn.body_outputs]
    cases = [x for x in operands if isinstance(x, Cases)]
    if len({x.shape for x in cases}) > 1:
        return _anything(ev, eqn, operands)
    readings, places = merged([x.readings if isinstance(x, Cases) else () for x in operands])
    out = []
    for x, y in zip(results, _each_state(ev, eqn, operands, places, len(readings)), strict=True):
        # a result's reading is that of the operands which alone has its elements
        able = [[k for k, own in enumerate(readings) if own.states == r.states and np.isin(
            r.element[r.element != NONE], own.element).all()] for r in x.readings] \
            if isinstance(x, Cases) else [[]]
        mine = [k for found in able for k in found]
        if any(len(found) != 1 for found in able) or len(set(mine)) < len(mine):
            return _anything(ev, eqn, operands)
        rest = [k for k in range(len(readings)) if k not in mine]
        y = jnp.transpose(y, [*rest, *mine, *range(len(readings), y.ndim)])
        out.append(Cases(x.shape, x.readings, y[(0,) * len(rest)]))  # it reads nothing of the rest
    return out


# -- movement ---------------------------------------------------------------------------------------


def _moved(x: Cases, source: np.ndarray) -> Cases:
    """The cases read from `x` at `source` (C-order numbers)."""
    readings = tuple(r.map(e.reshape(-1)[source]) for r, e in zip(x.readings, x.elements(), strict=True))
    if x.uniform:  # of no positions, too
        return Cases(source.shape, readings, jnp.reshape(x.array, x.states + (1,) * source.ndim), x.values)
    stored = np.broadcast_to(np.arange(int(np.prod(x.own))).reshape(x.own), x.shape).reshape(-1)[source]
    for axis in range(stored.ndim):
        first = stored.take([0], axis) if stored.shape[axis] else stored
        stored = first if (stored == first).all() else stored
    return Cases(source.shape, readings, jnp.reshape(x.array, (*x.states, -1))[..., stored])


def _movement(name: str) -> Rule:
    function = movement.MOVES[name]

    def rule(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
        known = [k for k in map(ev.constant, eqn.inputs[1:]) if k is not None]
        if len(known) < len(operands) - 1 or not isinstance(operands[0], Cases):
            return _LOOKS_UP[name](ev, eqn, operands)
        try:
            return [_moved(operands[0], movement.sources(function, eqn.params, operands[0].shape, *known))]
        except movement.Unreadable as error:
            raise Mixed(str(error), eqn.source) from None

    return rule


def _split(name: str) -> Rule:
    def rule(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
        (x,) = operands
        return [_moved(x, s) for s in movement.SPLITS[name](eqn.params, movement.numbered(x.shape))]

    return rule


def _reshape(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    (x,) = operands
    shape = ev.graph.shapes[eqn.outputs[0]]
    if eqn.primitive == "reshape" and eqn.params.get("dimensions") is not None:
        return _movement("reshape")(ev, eqn, operands)
    return [_reshaped(x, shape)]


def _reshaped(x: Cases, shape: tuple[int, ...]) -> Cases:
    readings = tuple(r.map(e.reshape(shape)) for r, e in zip(x.readings, x.elements(), strict=True))
    if x.uniform:
        return Cases(shape, readings, jnp.reshape(x.array, x.states + (1,) * len(shape)), x.values)
    stored = [k for k, n in zip(x.own, x.shape, strict=True) if n > 1]
    if [n for n in x.shape if n > 1] == [n for n in shape if n > 1]:  # only axes of size 1 come or go
        own = tuple(stored.pop(0) if n > 1 else 1 for n in shape)
        return Cases(shape, readings, jnp.reshape(x.array, x.states + own), x.values)
    return Cases(shape, readings, jnp.reshape(x.full(), x.states + shape), x.values)


def _broadcast_in_dim(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    (x,) = operands
    shape, dims = tuple(eqn.params["shape"]), eqn.params["broadcast_dimensions"]

    def grow(a: Any, states: tuple[int, ...]) -> Any:
        own = [1] * len(shape)
        for axis, dim in enumerate(dims):
            own[dim] = np.shape(a)[len(states) + axis]
        return a.reshape((*states, *own))

    return [Cases(shape, tuple(r.map(grow(r.element, ())) for r in x.readings),
                  grow(x.array, x.states), x.values)]


def _transpose(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    (x,) = operands
    order = list(eqn.params["permutation"])
    first = len(x.states)
    return [Cases(tuple(x.shape[i] for i in order),
                  tuple(r.map(r.element.transpose(order)) for r in x.readings),
                  jnp.transpose(x.array, [*range(first), *(first + i for i in order)]), x.values)]


def _concatenate(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    known = [ev.constant(n) for n in eqn.inputs]
    return [_joined(operands, known, eqn.params["dimension"], ev.graph.shapes[eqn.outputs[0]])]


def _stack(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    axis = eqn.params["axis"]

    def wide(x: Any) -> Any:
        if not isinstance(x, Cases):
            return jnp.expand_dims(x, axis)
        return Cases((*x.shape[:axis], 1, *x.shape[axis:]), tuple(
            r.map(np.expand_dims(r.element, axis)) for r in x.readings), jnp.expand_dims(x.array, axis + len(x.states)),
            x.values)

    known = [None if k is None else np.expand_dims(k, axis) for k in map(ev.constant, eqn.inputs)]
    return [_joined([wide(x) for x in operands], known, axis, ev.graph.shapes[eqn.outputs[0]])]


def _joined(operands: Sequence[Any], known: Sequence[np.ndarray | None], axis: int, shape: tuple[int, ...]) -> Cases:
    """Operands joined along an axis; `known` are those that depend on nothing."""
    alike = _states_side_by_side(operands, known, axis)
    if alike is not None:
        return alike
    sizes = [x.shape[axis] for x in operands]
    padded = []
    for k, x in enumerate(operands):
        if not isinstance(x, Cases):
            continue
        pads = [(0, 0)] * x.rank
        pads[axis] = (sum(sizes[:k]), sum(sizes[k + 1:]))
        padded.append([r.map(np.pad(e, pads, constant_values=NONE))
                       for r, e in zip(x.readings, x.elements(), strict=True)])
    readings, places = merged(padded, axis)
    found = iter(places)
    rank, states = len(shape), [1] * len(readings)
    slim = []
    for own_known, x in zip(known, operands, strict=True):
        mine: list[int] = []
        if isinstance(x, Cases):
            mine = next(found)
            for k, n in zip(mine, x.states, strict=True):
                states[k] = n
        else:
            x = _without_repeats(x, own_known, axis)
        slim.append(at_places(x, mine, len(readings), rank))
    wide = [max(y.shape[len(readings) + i] for y in slim) for i in range(rank)]
    parts = [jnp.broadcast_to(y, (*states, *(x.shape[axis] if i == axis else n for i, n in enumerate(wide))))
             for x, y in zip(operands, slim, strict=True)]
    return Cases(shape, readings, jnp.concatenate(parts, len(readings) + axis))


def _without_repeats(array: Any, known: np.ndarray | None, axis: int = -1) -> Any:
    """A plain array with size 1 along the axes, `axis` left out, along which it is known to be constant."""
    for i in range(np.ndim(array)):
        if known is not None and i != axis and known.size and (known == np.take(known, [0], i)).all():
            array = jax.lax.slice_in_dim(array, 0, 1, axis=i)
    return array


def _states_side_by_side(operands: Sequence[Any], constants: Sequence[np.ndarray | None], axis: int
                         ) -> Cases | None:
    """Elements with the same states, and known numbers among these, joined; None if they are not."""
    first = next(x for x in operands if isinstance(x, Cases))
    elements = []
    for known, x in zip(constants, operands, strict=True):
        if isinstance(x, Cases):
            if x.values is None or first.values is None or not np.array_equal(x.values, first.values):
                return None
            elements += x.elements()
            continue
        if known is None or first.values is None or not np.isin(known, first.values).all():
            return None
        elements.append(held(np.searchsorted(first.values, known)))
    element = np.concatenate(elements, axis)
    return Cases(element.shape, (first.readings[0].map(element),),
                 jnp.reshape(first.array, first.states + (1,) * element.ndim), first.values)


def _pad(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    x, fill = operands
    if isinstance(fill, Cases):
        raise Mixed
    config = tuple(eqn.params["padding_config"])
    readings = tuple(r.map(movement.pad(eqn.params, e, np.asarray(NONE)))
                     for r, e in zip(x.readings, x.elements(), strict=True))
    array = lax.pad(x.full(), fill, (*((0, 0, 0) for _ in x.states), *config))
    return [Cases(ev.graph.shapes[eqn.outputs[0]], readings, array)]


def _scatter(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    """Each element is one of the updates, or what it was."""
    (x, _, updates), at = operands, ev.constant(eqn.inputs[1])
    if at is None:
        raise Mixed
    try:
        to = targets(eqn, x.shape, at, updates.shape).reshape(-1)
    except Unknown as error:
        raise Mixed(str(error), eqn.source) from None
    numbers = np.flatnonzero(to >= 0)
    if len(np.unique(to[numbers])) != len(numbers):
        raise Mixed("writing twice at one place", eqn.source)
    size, more = int(np.prod(x.shape)), int(np.prod(updates.shape))
    source = np.arange(size)
    source[to[numbers]] = size + numbers
    both = _joined([_reshaped(v, (n,)) if isinstance(v, Cases) else jnp.reshape(v, (n,))
                    for v, n in ((x, size), (updates, more))],
                   [None if k is None else k.reshape(-1) for k in map(ev.constant, (eqn.inputs[0], eqn.inputs[2]))],
                   0, (size + more,))
    return [_moved(both, source.reshape(x.shape))]


# -- look-ups: an index that is a latent ------------------------------------------------------------


def _beside(d: Any) -> dict[int, int]:
    """Axes of the index, and those of the operand that run along with them."""
    return dict(zip(getattr(d, "start_indices_batching_dims", ()), getattr(d, "operand_batching_dims", ()), strict=True))


def _looked_up_alike(x: Any, index: Any, d: Any) -> tuple[Any, Any]:
    """The operands with size 1 along the axes of the index along which the same is looked up."""
    if not isinstance(index, Cases):
        return x, index
    beside = _beside(d)
    stored = x.own if isinstance(x, Cases) else np.shape(x)
    alike = [i for i, n in enumerate(index.own[:-1])
             if n == 1 and (i not in beside or stored[beside[i]] == 1)]
    own = tuple(1 if i in alike else n for i, n in enumerate(index.shape))
    index = Cases(own, index.readings, index.array)
    if isinstance(x, Cases):
        less = [beside[i] for i in alike if i in beside]
        x = Cases(tuple(1 if i in less else n for i, n in enumerate(x.shape)), x.readings, x.array)
    return x, index


def _gather(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    x, index = operands
    d, shape = eqn.params["dimension_numbers"], ev.graph.shapes[eqn.outputs[0]]
    batch = [i for i in range(len(shape)) if i not in d.offset_dims]
    if isinstance(index, Cases):
        index = side_by_side(index, index.rank - 1)  # the numbers of an index are used together
    read: list[list[np.ndarray]] = [[], []]
    if isinstance(x, Cases):
        x = x.alike_along(d.start_index_map)
        first = np.zeros(ev.graph.shapes[eqn.inputs[1]], int)
        source = movement.sources(movement.MOVES["gather"], eqn.params, x.shape, first)
        read[0] = [e.reshape(-1)[source] for e in x.elements()]
    if isinstance(index, Cases):
        for r in index.readings:
            own = [1] * len(shape)
            for axis, n in zip(batch, r.element.shape[:-1], strict=True):
                own[axis] = n
            read[1].append(r.element.reshape(own))
        if not isinstance(x, Cases):
            x = _without_copies(ev, eqn.inputs[0], x, [b for a, b in _beside(d).items() if index.own[a] == 1])
    return _followed(ev, eqn, _looked_up_alike(x, index, d), read)


def _without_copies(ev: Evaluator, number: int, x: Any, axes: Sequence[int]) -> Any:
    """A plain operand with size 1 along those of some axes along which it was repeated: what is looked up in each row of a
    repeated vector would have a derivative of as many numbers as there are rows."""
    origin, index = ev.graph.origin(number, np.arange(int(np.prod(np.shape(x)))))
    index = index.reshape(np.shape(x))
    for axis in axes:
        first = index.take([0], axis) if index.shape[axis] else index
        index = first if (index == first).all() else index
    if index.size == np.size(x):
        return x
    flat = jnp.reshape(ev.operand(origin), -1)
    places = index.reshape(-1)
    return (flat if np.array_equal(places, np.arange(flat.size)) else flat[places]).reshape(index.shape)


def _dynamic_slice(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    x, *starts = operands
    shape = ev.graph.shapes[eqn.outputs[0]]
    read: list[list[np.ndarray]] = [[]]
    if isinstance(x, Cases):
        found = [ev.constant(n) for n in eqn.inputs[1:]]
        x = x.alike_along([k for k, s in enumerate(found) if s is None])
        at = [np.asarray(0) if s is None else s for s in found]
        source = movement.sources(movement.MOVES["dynamic_slice"], eqn.params, x.shape, *at)
        read[0] = [e.reshape(-1)[source] for e in x.elements()]
    for s in starts:
        read.append([r.element.reshape((1,) * len(shape)) for r in s.readings]
                    if isinstance(s, Cases) else [])
    return _followed(ev, eqn, operands, read)


_LOOKS_UP: dict[str, Rule] = {"gather": _gather, "dynamic_slice": _dynamic_slice}


# -- along axes -------------------------------------------------------------------------------------


def _along(axes_of: Callable[[Equation], Sequence[int]], drop: bool) -> Rule:
    """A primitive that works along some axes, where the same is read all along them."""

    def rule(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
        x = operands[0]
        axes = tuple(axes_of(eqn))
        if len(operands) > 1 or not all(x.shape):
            raise Mixed
        x = used_together(x, axes)
        read = [e.squeeze(axes) if drop else e for e in read_along(x, axes)]
        return _followed(ev, eqn, [_kept_small(x, [a for a in range(x.rank) if a not in axes])], [read])

    return rule


def _sum(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    axes = tuple(eqn.params["axes"])
    found = total(ev, eqn.inputs[0], axes)
    if found is None:
        return _along(lambda _: axes, drop=True)(ev, eqn, operands)
    return [Cases(ev.graph.shapes[eqn.outputs[0]], tuple(r.map(r.element.squeeze(axes)) for r in found.readings),
                  jnp.squeeze(found.array, tuple(len(found.states) + a for a in axes)))]


def _kept_small(x: Cases, axes: Sequence[int]) -> Cases:
    """With size 1 along those of some axes along which it is constant."""
    return Cases(tuple(x.own[i] if i in axes else n for i, n in enumerate(x.shape)), x.readings, x.array)


def _dot_general(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    contract, batch = eqn.params["dimension_numbers"]
    rank = len(ev.graph.shapes[eqn.outputs[0]])
    free = [[i for i in range(len(ev.graph.shapes[n])) if i not in c and i not in b]
            for n, c, b in zip(eqn.inputs, contract, batch, strict=True)]
    read: list[list[np.ndarray]] = []
    alike = []
    for k, (x, c, b) in enumerate(zip(operands, contract, batch, strict=True)):
        mine = []
        if isinstance(x, Cases):
            x = used_together(x, c)
            for r in x.readings:
                e = r.element.transpose([*b, *free[k], *c])
                e = e.reshape((*e.shape[: e.ndim - len(c)], -1))[..., 0]
                skip = len(free[0]) if k else 0
                e = e.reshape(e.shape[: len(b)] + (1,) * skip + e.shape[len(b):])
                mine.append(e.reshape(e.shape + (1,) * (rank - e.ndim)))
        read.append(mine)
        alike.append(x)
    small = [_kept_small(x, f) if isinstance(x, Cases) else x for x, f in zip(alike, free, strict=True)]
    return _followed(ev, eqn, small, read)


def _cholesky(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    return _followed(ev, eqn, operands, [read_along(operands[0], (-2, -1))])


def _triangular_solve(ev: Evaluator, eqn: Equation, operands: Sequence[Any]) -> list[Any]:
    a, b = operands
    solved = -2 if eqn.params["left_side"] else -1
    return _followed(ev, eqn, operands, [read_along(a, (-2, -1)), read_along(b, (solved,))])


_RULES: dict[str, Rule] = dict.fromkeys(sorted(ELEMENTWISE), _elementwise)
_RULES.update({name: _movement(name) for name in movement.MOVES if name not in ("copy", "copy_p")})
_RULES.update({name: _split(name) for name in movement.SPLITS})
_RULES.update({name: _along(lambda e: e.params["axes"], drop=True) for name in (
    "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor",
    "argmax", "argmin")})
_RULES.update({name: _along(lambda e: [e.params["axis"]], drop=False) for name in (
    "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")})
_RULES.update(dict.fromkeys(("reshape", "squeeze", "expand_dims"), _reshape))
_RULES.update({
    "broadcast_in_dim": _broadcast_in_dim, "transpose": _transpose, "concatenate": _concatenate, "stack": _stack,
    "reduce_sum": _sum,
    "pad": _pad, "scatter": _scatter, "dot_general": _dot_general, "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "sort": _along(lambda e: [e.params["dimension"]], drop=False),
})
"""Primitive name -> rule."""
