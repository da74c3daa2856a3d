"""The pass over a graph's equations that evaluates a number for all states of discrete latents.

Run abstractly it is the proof: it raises `Mixed` where a cell of a log density reads elements in a way that
no rule follows. Run on values it gives the tables that are summed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.exact import constants
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.finite.cases import Cases, Mixed, Reading
from conjugate_ppl.finite.rules import rule_of
from conjugate_ppl.graph import Equation, Graph

__all__ = ["Evaluator", "all_states"]


def all_states(first: int, shape: tuple[int, ...], states: np.ndarray, possible: np.ndarray | None = None) -> Cases:
    """A latent itself, its elements numbered from `first`: each position reads its own element.

    A state that an element cannot have (`possible`, shape `shape + states`) stands for one that it can: what would be evaluated
    there may have no slope, and is left out after it.
    """
    readings = (Reading(len(states), first + np.arange(int(np.prod(shape))).reshape(shape)),)
    if possible is None:
        return Cases(shape, readings, jnp.asarray(states).reshape((len(states),) + (1,) * len(shape)), states)
    some = states[possible.argmax(-1)][..., None]
    return Cases(shape, readings, jnp.asarray(np.moveaxis(np.where(possible, states, some), -1, 0)))


class Evaluator:
    """Numbers of a graph, given values of some sites and all states of others.

    `latents` are the latter, by their number in the graph; `known` keeps numbers that depend on nothing,
    from one evaluator to the next.
    """

    def __init__(self, graph: Graph, values: Values, latents: Mapping[int, Cases],
                 known: dict[int, Any]) -> None:
        self.graph, self._values, self._known = graph, values, known
        self._env: dict[int, Any] = dict(latents)
        self._inputs = {graph.inputs.index(n) for n in latents}

    def evaluate(self, number: int) -> Any:
        """A number, as `Cases` or, where it depends on no discrete latent of these, an array."""
        stack = [number]
        while stack:
            top = stack[-1]
            if self._ready(top):
                stack.pop()
                continue
            equation = self.graph.producer(top)
            missing = [i for i in equation.inputs if not self._ready(i)]
            if missing:
                stack.extend(missing)
            else:
                self.step(equation)
        return self._env[number]

    def _ready(self, number: int) -> bool:
        if number not in self._env:
            if not self.graph.dependencies.get(number, frozenset()).isdisjoint(self._inputs):
                return False
            self._env[number] = self._values.evaluate(number)
        return True

    def step(self, equation: Equation) -> None:
        """Evaluate one equation whose operands are there."""
        operands = [self.operand(i) for i in equation.inputs]
        if any(isinstance(x, Cases) for x in operands):
            try:
                results = rule_of(equation)(self, equation, operands)
            except Mixed as problem:
                if not str(problem):
                    raise Mixed(f"`{equation.primitive}`", equation.source) from None
                raise
        else:
            results = self.graph.apply(equation, operands)
        self._env.update(zip(equation.outputs, results, strict=True))

    def operand(self, number: int) -> Any:
        """A number that has been reached."""
        if not self._ready(number):
            raise Mixed()
        return self._env[number]

    def of_states(self, number: int) -> bool:
        """Whether a number depends on nothing but the states of these latents, and known data, so that it has no
        derivative."""
        if number in self.graph.traced:
            return False
        depends = self.graph.dependencies.get(number)
        return number in self.graph.constants if depends is None else depends <= self._inputs

    def constant(self, number: int) -> np.ndarray | None:
        """The value of a number that depends on nothing, on the host; None for any other."""
        graph = self.graph
        if number in graph.traced or (number not in graph.constants and (
                number not in graph.dependencies or graph.dependencies[number])):
            return None
        (value,) = constants(graph, [number], self._known)
        try:
            return np.asarray(value)
        except TypeError:  # traced data, or a random key
            return None
