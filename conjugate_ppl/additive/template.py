"""A model's equations with its data left open, to be filled in: written once for many batches or places.

The model is run with tracers in place of arrays, as `jax.jit` would, so that what it says holds for all arrays of
these shapes and types. A model that cannot be run so (it looks at the numbers) has no template. What a model computes
with arrays of NumPy is another thing than what JAX computes with its own: 64 bits where JAX has 32 (`x * x` of whole
numbers, say), and types of its own. A template does not stand for such a model (`computes_in_numpy`).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.graph import Equation, Graph
from conjugate_ppl.program import Program, trace_program

__all__ = ["Template", "computes_in_numpy", "template"]

_MOVES = frozenset({"broadcast_in_dim", "copy", "dynamic_slice", "expand_dims", "gather", "reshape", "rev", "slice",
                    "squeeze", "transpose"})


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """A program some of whose constants are open.

    Attributes:
        program: its open constants are tracers.
        places: number of an open constant -> which of the arguments' leaves it is.
    """

    program: Program
    places: Mapping[int, int]

    def filled(self, leaves: Mapping[int, Any]) -> Program:
        """The program of these leaves, of the types that JAX holds them in."""
        graph = self.program.graph
        return dataclasses.replace(self.program, graph=graph.with_constants(
            {n: leaves[k] if leaves[k].dtype == graph.dtypes[n] else np.asarray(leaves[k], graph.dtypes[n])
             for n, k in self.places.items()}))

    def depends(self, numbers: Sequence[int | None]) -> bool:
        """Whether any of some numbers is computed from an open constant."""
        traced = self.program.graph.traced
        return any(n in traced for n in self.program.graph.needed_for(n for n in numbers if n is not None))


class _NotOpen(Exception):
    """A constant of a model is computed from its data."""

    def __str__(self) -> str:
        return "a constant of the model is computed from its data"


def template(model: Callable[..., Any], tree: Any, leaves: Sequence[Any],
             shapes: Mapping[int, jax.ShapeDtypeStruct]) -> Template:
    """A model's template, where some leaves of its arguments have known shapes only.

    `tree` and `leaves` are those of the pair of positional and keyword arguments. Errors that the model raises
    when it is run with tracers come through.

    Raises:
        _NotOpen: if the model keeps what it computes from an open array, so that it cannot be filled in.
    """
    found: list[Template] = []

    def run(given: dict[int, Any]) -> None:
        args, kwargs = jax.tree.unflatten(tree, [given.get(k, x) for k, x in enumerate(leaves)])
        program = trace_program(model, args, kwargs)
        places = {n: k for n, c in program.graph.constants.items() for k, x in given.items() if c is x}
        if any(n not in places for n, c in program.graph.constants.items() if not _compat.is_concrete(c)):
            raise _NotOpen
        found.append(Template(program, places))

    jax.eval_shape(run, dict(shapes))
    return found[0]


def computes_in_numpy(pattern: Template, model: Callable[..., Any], tree: Any, leaves: Sequence[Any]) -> bool:
    """Whether a model computes with arrays of NumPy among some leaves of its arguments, of the pattern's shapes, before
    JAX has them. Then the equations of the model with these leaves lack some that the pattern has."""
    if not any(isinstance(x, np.ndarray) for x in leaves):
        return False
    args, kwargs = jax.tree.unflatten(tree, leaves)
    return _computed(pattern.program) != _computed(trace_program(model, args, kwargs))


def _computed(program: Program) -> Counter[str]:
    """How often each primitive is used in the densities, of those that do more than move numbers."""
    graph = program.graph
    needed, out = graph.needed_for(s.factor for s in program.sites.values()), Counter[str]()

    def count(equations: Iterable[Equation]) -> None:
        for equation in equations:
            if not needed.isdisjoint(equation.outputs):
                count(equation.body)
                out[equation.primitive] += equation.primitive not in _MOVES and not _is_index(graph, equation)

    count(graph.equations)
    return +out


def _is_index(graph: Graph, equation: Equation) -> bool:
    """Whether this may be JAX's own question, whether an index counts from the end, which it asks NumPy of its arrays."""
    return equation.primitive == "lt" and all(np.issubdtype(graph.dtypes[n], np.integer) for n in equation.inputs)
