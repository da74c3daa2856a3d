"""A `scan` whose carry only hands values on, written as one step for all times at once.

Where an element of the carry after step t is computed from what the loop reads at step t (`z[t]`, say), and not from
its own old value, it is known before step t + 1 for all t together: the loop is a map over steps, and what a step
reads from the one before is a movement of elements. An element that is only moved within the carry (the season of
three quarters ago) is the one that it comes from, some steps earlier. Elements that go round in a circle (a counter, a
random key, a recursion) stay loops of their own, with nothing else in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from conjugate_ppl import _compat
from conjugate_ppl.carries import Carried, carried

if TYPE_CHECKING:
    from conjugate_ppl.graph import Graph

__all__ = ["after_each", "as_map", "followed"]


def as_map(loop: _compat.Loop, body: Graph) -> Callable[..., list[Any]] | None:
    """A function of the loop's operands with the results of the loop; None where nothing is gained.

    `body` is the loop's body, read.
    """
    old = body.inputs[loop.constants: loop.constants + loop.carries]
    found = carried(body, old, body.outputs[: loop.carries])
    if len(found.circles) <= 1 and sum(map(len, found.circles)) == found.first[-1] and not loop.reverse and (
            old == body.outputs[loop.carries:]):
        return None
    ys = range(loop.carries, len(body.outputs))

    def run(*operands: Any) -> list[Any]:
        steps = _Steps(loop, operands, found)
        last = steps.carry()
        return [*last, *(_turned(y, loop.reverse) for y in steps.at_once(ys))]

    return run


def after_each(loop: _compat.Loop) -> Callable[..., list[Any]]:
    """What is carried after every step, as a function of what the loop takes: constants, what is carried *before
    every step*, and what is read."""
    carries = range(loop.constants, loop.constants + loop.carries)

    def run(*operands: Any) -> list[Any]:
        step, used = _compat.part_of(loop.body, range(loop.carries))
        given = dict(enumerate(operands))
        moving = {k: given[k] for k in used if k >= carries.start}
        fixed = {k: given[k] for k in used if k < carries.start}
        return jax.vmap(lambda _, x: step({**fixed, **x}))(jnp.arange(loop.length), moving)

    return run


class _Steps:
    """The values of a loop before each of its steps, as far as they have been found.

    Elsewhere they are what they are at the start: nobody reads them, but derivatives go through them.
    """

    def __init__(self, loop: _compat.Loop, operands: Sequence[Any], found: Carried) -> None:
        self._loop, self._found = loop, found
        self._first = loop.constants
        end = loop.constants + loop.carries
        self._start = list(operands[self._first:end])
        self._fixed = dict(enumerate(operands[:end]))  # what is the same at every step, by input
        self._moving = {end + k: _turned(x, loop.reverse) for k, x in enumerate(operands[end:])}
        self._part = np.repeat(np.arange(loop.carries), np.diff(found.first))  # of the carry, by element

    def carry(self) -> list[Any]:
        """Find the carry before every step; the last one."""
        found, loop = self._found, self._loop
        after: list[Any] = [None] * loop.carries  # of each part, what it is after every step
        still = found.origin == np.arange(len(found.origin))
        known = np.zeros(len(found.origin), bool)
        for k in range(loop.carries):
            if still[self._of(k)].all():
                known[self._of(k)] = True
                after[k] = self._start[k][None]
        circle = np.full(len(known), -1)
        for c, group in enumerate(found.circles):
            circle[list(group)] = c
        root, delay = _roots(found.origin, circle >= 0)
        computed = (circle < 0) & (found.origin < 0)
        while not known.all():
            moved = ~known & (circle < 0) & (found.origin >= 0)
            ready = moved & ((root < 0) | known[root])
            if not ready.any():
                ready = ~known & computed & self._read(known, range(len(known)))
                if not ready.any():
                    c = next(c for c, g in enumerate(found.circles) if not known[g[0]] and (
                        self._read(known | (circle == c), g).all()))
                    ready = circle == c
            parts = np.unique(self._part[ready]).tolist()
            if moved[ready].all():
                new = self._moved(parts, root, delay, ready)
            elif computed[ready].all():
                new = [(x, None) for x in self.at_once(parts)]
            else:
                new = self._round(parts, ready)
            for k, (x, before) in zip(parts, new, strict=True):
                own = ready[self._of(k)].reshape(jnp.shape(self._start[k]))
                if before is None:
                    first = jnp.asarray(self._start[k], x.dtype)[None]
                    before = jnp.concatenate([first, x[:-1]])
                if not own.all():
                    before = jnp.where(own, before, self._moving.get(self._first + k, self._start[k]))
                    x = jnp.where(own, x, jnp.zeros_like(x) if after[k] is None else after[k])
                self._moving[self._first + k], after[k] = before, x
            known |= ready
        return [x[-1] for x in after]

    def _of(self, k: int) -> slice:
        return slice(*self._found.first[k: k + 2])

    def _read(self, known: np.ndarray, elements: Sequence[int]) -> np.ndarray:
        """Which elements are computed from known ones alone."""
        reads = [self._found.reads[e] for e in elements]
        there = {needed: known[list(needed)].all() for needed in set(reads)}
        return np.array([there[needed] for needed in reads])

    def _arguments(self, used: Sequence[int]) -> tuple[dict[int, Any], dict[int, Any]]:
        moving = {k: self._moving[k] for k in used if k in self._moving}
        return {k: self._fixed[k] for k in used if k not in moving}, moving

    def at_once(self, wanted: Sequence[int]) -> list[Any]:
        """Some outputs of the body at all steps."""
        step, used = _compat.part_of(self._loop.body, wanted)
        fixed, moving = self._arguments(used)
        return jax.vmap(lambda _, x: step({**fixed, **x}))(jnp.arange(self._loop.length), moving)

    def _moved(self, parts: Sequence[int], root: np.ndarray, delay: np.ndarray, ready: np.ndarray
               ) -> list[tuple[Any, Any]]:
        """Parts of the carry whose elements are others, some steps earlier."""
        found, steps = self._found, self._loop.length
        out = []
        for k in parts:
            own = np.arange(*found.first[k: k + 2])
            own = np.where(ready[own], own, own[ready[own]][0])
            delays, roots = delay[own], root[own]
            inside = (roots >= 0) & (np.arange(steps + 1)[:, None] >= delays)
            source = np.where(inside, -1, followed(found.origin, own, steps + 1))  # at the start; -1: its root's
            used = [source[source >= 0], roots[roots >= 0]]
            pool, place = [], np.zeros(len(found.origin), np.int64)
            count = 0
            for j in np.unique(self._part[used[0]]):
                place[self._of(j)] = count + np.arange(found.first[j + 1] - found.first[j])
                pool.append(jnp.asarray(self._start[j], self._start[k].dtype).reshape(-1))
                count += found.first[j + 1] - found.first[j]
            index = np.where(source >= 0, place[np.maximum(source, 0)], -1)
            for j in np.unique(self._part[used[1]]):
                width = found.first[j + 1] - found.first[j]
                pool.append(self._moving[self._first + j].reshape(-1))
                mine = (roots >= 0) & (self._part[np.maximum(roots, 0)] == j)
                t = np.arange(steps + 1)[:, None] - delays
                at = count + np.minimum(t, steps - 1) * width + roots - found.first[j]
                index = np.where((source < 0) & mine, at, index)
                count += steps * width
            everything = pool[0] if len(pool) == 1 else jnp.concatenate(pool)
            whole = jnp.shape(self._start[k])
            before = everything[index[:-1].reshape(-1)].reshape(steps, *whole)
            after = everything[index[1:].reshape(-1)].reshape(steps, *whole)
            out.append((after, before))
        return out

    def _round(self, parts: Sequence[int], ready: np.ndarray) -> list[tuple[Any, Any]]:
        """Find elements that depend on themselves, by a loop in which nothing else is carried."""
        step, used = _compat.part_of(self._loop.body, parts)
        shape = [jnp.shape(self._start[k]) for k in parts]
        mine = [np.flatnonzero(ready[self._of(k)]) for k in parts]
        whole = [len(m) == int(np.prod(s)) for m, s in zip(mine, shape, strict=True)]
        own = [self._first + k for k in parts]
        fixed, moving = self._arguments([k for k in used if k not in own])
        others = [None if w else self._moving.get(k, jnp.broadcast_to(self._start[k - self._first],
                                                                      (self._loop.length, *s)))
                  for k, w, s in zip(own, whole, shape, strict=True)]

        def cut(x: Any, p: int) -> Any:
            return x if whole[p] else x.reshape(-1)[mine[p]]

        def body(old: list[Any], x: tuple[dict[int, Any], list[Any]]) -> tuple[list[Any], list[Any]]:
            full = {k: a if whole[p] else x[1][p].reshape(-1).at[mine[p]].set(a).reshape(shape[p])
                    for p, (k, a) in enumerate(zip(own, old, strict=True))}
            new = step({**fixed, **x[0], **full})
            return [cut(a, p) for p, a in enumerate(new)], old

        last, before = lax.scan(body, [cut(self._start[k], p) for p, k in enumerate(parts)], (moving, others),
                                length=self._loop.length)
        out = []
        for p, (x, b) in enumerate(zip(last, before, strict=True)):
            b = jnp.concatenate([b, x[None]])
            if not whole[p]:
                b = jnp.zeros((len(b), int(np.prod(shape[p]))), b.dtype).at[:, mine[p]].set(b).reshape(-1, *shape[p])
            out.append((b[1:], b[:-1]))
        return out


def _roots(origin: np.ndarray, circle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each element that is only moved the one that it comes from in the end, -1 if it goes round for ever,
    and how many steps that takes."""
    root, delay = np.arange(len(origin)), np.zeros(len(origin), np.int64)
    for _ in range(len(origin)):
        going = (origin[root] >= 0) & ~circle[root]
        if not going.any():
            break
        root, delay = np.where(going, origin[root], root), delay + going
    return np.where((origin[root] >= 0) & ~circle[root], -1, root), delay


def followed(origin: np.ndarray, own: np.ndarray, steps: int) -> np.ndarray:
    """Which element each of `own` was 0, 1, 2, ... steps ago, shape (steps, own); -1 before one that is computed.

    After as many steps as there are elements it goes round: what is longer repeats that.
    """
    count = len(origin)
    after = np.append(origin, -1)  # of -1, -1
    path = [own]
    for _ in range(min(steps, 2 * count + 1) - 1):
        path.append(after[path[-1]])
    table = np.stack(path)
    if steps <= len(table):
        return table
    period = 1 + (table[count + 1:] == table[count]).argmax(0)
    t = np.arange(steps)[:, None]
    return np.take_along_axis(table, np.where(t < count, t, count + (t - count) % period), 0)


def _turned(x: Any, reverse: bool) -> Any:
    return jnp.flip(x, 0) if reverse else x
