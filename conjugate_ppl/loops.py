"""A `scan` whose carry only hands values on, written as one step for all times at once.

Where the carry after step t is computed from what the loop reads at step t (`z[t]`, say), and not from the
carry before it, the carry before step t + 1 is known for all t together: the loop is a map over steps, and
what a step reads from the one before is a movement of elements. Parts of the carry that go round in a
circle (a counter, a random key, a recursion) stay loops of their own, with nothing else in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
from jax import lax

from conjugate_ppl import _compat

__all__ = ["as_map"]


def as_map(loop: _compat.Loop) -> Callable[..., list[Any]] | None:
    """A function of the loop's operands with the results of the loop; None where nothing is gained."""
    reads = _reads(loop)
    carries, ys = reads[: loop.carries], reads[loop.carries:]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(loop.carries))
    graph.add_edges_from((j, k) for k, needed in enumerate(carries) for j in needed)
    passed = {k for k in range(loop.carries) if loop.outputs[k] is loop.inputs[loop.constants + k]}
    groups = [sorted(g) for g in nx.strongly_connected_components(graph)]
    circles = [g for g in groups if (len(g) > 1 or graph.has_edge(g[0], g[0])) and g[0] not in passed]
    own = {id(v) for v in loop.inputs[loop.constants: loop.constants + loop.carries]}
    if len(circles) == len(groups) <= 1 and all(
            id(v) in own for v in loop.outputs[loop.carries:]):
        return None
    order = list(nx.topological_sort(nx.condensation(graph, map(set, groups))))

    def run(*operands: Any) -> list[Any]:
        steps = _Steps(loop, operands)
        last = list(steps.start)
        for node in order:
            group = groups[node]
            if group[0] in passed:
                continue
            for k, final in zip(group, steps.round(group) if group in circles else
                                steps.handed_on(group[0]), strict=True):
                last[k] = final
        return [*last, *(_turned(y, loop.reverse) for y in steps.at_once(
            range(loop.carries, loop.carries + len(ys))))]

    return run


class _Steps:
    """The values of a loop before each of its steps, as far as they have been found."""

    def __init__(self, loop: _compat.Loop, operands: Sequence[Any]) -> None:
        self._loop = loop
        first, end = loop.constants, loop.constants + loop.carries
        self.start = list(operands[first:end])
        self._fixed = dict(enumerate(operands[:end]))  # what is the same at every step, by input
        self._moving = {end + k: _turned(x, loop.reverse) for k, x in enumerate(operands[end:])}

    def _arguments(self, used: Sequence[int]) -> tuple[dict[int, Any], dict[int, Any]]:
        moving = {k: self._moving[k] for k in used if k in self._moving}
        return {k: self._fixed[k] for k in used if k not in moving}, moving

    def at_once(self, wanted: Sequence[int]) -> list[Any]:
        """Some outputs of the body at all steps."""
        step, used = _compat.part_of(self._loop.body, wanted)
        fixed, moving = self._arguments(used)
        return jax.vmap(lambda _, x: step({**fixed, **x}))(jnp.arange(self._loop.length), moving)

    def handed_on(self, k: int) -> list[Any]:
        """Find a carry that does not depend on itself; its last value."""
        (after,) = self.at_once([k])
        first = jnp.asarray(self.start[k], after.dtype)[None]
        self._moving[self._loop.constants + k] = jnp.concatenate([first, after[:-1]])
        return [after[-1]]

    def round(self, group: Sequence[int]) -> list[Any]:
        """Find a part of the carry that depends on itself; its last values."""
        step, used = _compat.part_of(self._loop.body, group)
        own = [self._loop.constants + k for k in group]
        fixed, moving = self._arguments([k for k in used if k not in own])

        def body(mine: list[Any], x: dict[int, Any]) -> tuple[list[Any], list[Any]]:
            return step({**fixed, **x, **dict(zip(own, mine, strict=True))}), mine

        last, before = lax.scan(body, [self.start[k] for k in group], moving,
                                length=self._loop.length)
        self._moving.update(zip(own, before, strict=True))
        return last


def _reads(loop: _compat.Loop) -> list[frozenset[int]]:
    """For each output of the body, which parts of the carry it is computed from."""
    nothing: frozenset[int] = frozenset()
    found = {v: frozenset({k - loop.constants})
             for k, v in enumerate(loop.inputs) if 0 <= k - loop.constants < loop.carries}
    for equation in _compat.open_jaxpr(loop.body).eqns:
        read = nothing.union(*(found.get(v, nothing) for v in equation.invars
                               if not isinstance(v, _compat.Literal)))
        found.update(dict.fromkeys(equation.outvars, read))
    return [nothing if isinstance(v, _compat.Literal) else found.get(v, nothing) for v in loop.outputs]


def _turned(x: Any, reverse: bool) -> Any:
    return jnp.flip(x, 0) if reverse else x
