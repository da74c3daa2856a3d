"""A model's equations with its data left open, to be filled in: written once for many batches or places.

The model is run with tracers in place of arrays, as `jax.jit` would, so that what it says holds for all arrays of
these shapes and types. A model that cannot be run so (it looks at the numbers) has no template.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.program import Program, trace_program

__all__ = ["Template", "template"]


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
