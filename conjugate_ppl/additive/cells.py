"""Observed sites cell by cell: each observation's log density as monomials in the latents.

The model runs once with its latents as inputs, as in `program.py`, and the walk of the algebra reads off every
cell's log density. These are the contributions of which a posterior is the sum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.additive.polynomial import Polynomial
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.value import move, multiply, reduce_sum, reshape
from conjugate_ppl.algebra.variables import Variables
from conjugate_ppl.algebra.walk import Walk, latent_value
from conjugate_ppl.densities import log_density
from conjugate_ppl.graph import Graph
from conjugate_ppl.program import Program, trace_sites

__all__ = ["Cells", "read_cells", "walk_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """The log densities of one observed site, an array of its batch shape, each times its weight.

    Attributes:
        value: the log densities at weight 1.
        weights: one for each cell.
        origins: what the latents in `value` are less.
    """

    value: Value
    weights: np.ndarray
    origins: Mapping[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape."""
        return self.value.shape

    def weighted(self, weights: np.ndarray) -> Cells:
        """The same cells with other weights."""
        return dataclasses.replace(self, weights=np.broadcast_to(weights, self.shape))

    def total(self) -> Polynomial:
        """The sum of all cells."""
        weighted = multiply(self.value, Value.known(np.asarray(self.weights, float)))
        return Polynomial.of_terms(reduce_sum(weighted, range(len(self.shape))).terms, self.origins)

    def rows(self, first: int, last: int) -> Value:
        """Some cells by their numbers (C order), as a vector."""
        flat = reshape(self.value, (int(np.prod(self.shape)),))
        return move(flat, np.arange(first, last))


def walk_of(model: Callable[..., Any], args: Any, kwargs: Any, program: Program,
            origins: Mapping[str, np.ndarray], read: Callable[[Mapping[str, Any]], Any]
            ) -> tuple[Walk, Any]:
    """A walk over what `read` takes from a run of the model, and the numbers of that in its graph.

    `read` gets the trace of a run with the latents as inputs, and returns a tree of arrays.
    """
    names = program.latents
    tree: list[Any] = []

    def run(values: list[Any]) -> list[Any]:
        data = {n: program.outside(n, x) for n, x in zip(names, values, strict=True)}
        trace = trace_sites(model, args, kwargs, data=data)
        leaves, structure = jax.tree.flatten(read(trace))
        tree.append(structure)
        return [jnp.asarray(x) for x in leaves]

    structs = [jax.ShapeDtypeStruct(program.sites[n].shape, program.sites[n].dtype) for n in names]
    graph = Graph(_compat.make_jaxpr(run, structs))
    variables = Variables()
    walk = Walk(graph, {}, names, variables)
    for name, number in zip(names, graph.inputs, strict=True):
        site = program.sites[name]
        walk.set(number, latent_value(name, site.shape, "other" if site.discrete else site.support,
                                      variables, origins.get(name)))
    return walk, jax.tree.unflatten(tree[-1], graph.outputs)


def read_cells(model: Callable[..., Any], args: Any, kwargs: Any, program: Program,
               origins: Mapping[str, np.ndarray], sites: Collection[str]) -> dict[str, Cells] | None:
    """The cells of the observed `sites`; None if some of their numbers are not known (traced)."""

    def read(trace: Mapping[str, Any]) -> dict[str, Any]:
        out = {}
        for name in sites:
            site = trace[name]
            found = log_density(site["fn"], site["value"])
            out[name] = found if site["scale"] is None else found * site["scale"]
        return out

    walk, numbers = walk_of(model, args, kwargs, program, origins, read)
    values = dict(zip(sites, walk.run([numbers[n] for n in sites]), strict=True))
    if not all(is_known(a) for v in values.values() for t in v.terms for a in t.arrays):
        return None
    return {n: Cells(v, np.ones(v.shape), origins) for n, v in values.items()}
