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
from conjugate_ppl.additive.states import in_states
from conjugate_ppl.algebra.term import Term, Value, combine, is_known
from conjugate_ppl.algebra.value import collect, move, multiply, reduce_sum, reshape
from conjugate_ppl.algebra.variables import Indicator, Variables
from conjugate_ppl.algebra.walk import Walk, latent_value
from conjugate_ppl.densities import log_density
from conjugate_ppl.densities.wrappers import apart
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

    def given(self, states: Mapping[str, np.ndarray]) -> Cells:
        """The same cells with some discrete latents in known states; what is impossible there is left out."""
        terms = []
        for t in self.value.terms:
            numbers, atoms = t.coefficients, []
            for a in t.atoms:
                v = a.variable
                if not isinstance(v, Indicator) or v.site not in states:
                    atoms.append(a)
                else:
                    there = states[v.site].reshape(-1)[a.selection // v.count] - v.low == a.selection % v.count
                    numbers = (*numbers, there * (0.0 if v.never else 1.0))
            terms.append(Term(t.rank, t.hidden, combine(numbers), tuple(atoms)))
        return dataclasses.replace(self, value=collect(self.shape, terms))

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
    graph, numbers = _graph_of(model, args, kwargs, program, read)
    return _start(graph, program, origins, {}), numbers


def _graph_of(model: Callable[..., Any], args: Any, kwargs: Any, program: Program,
              read: Callable[[Mapping[str, Any]], Any]) -> tuple[Graph, Any]:
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
    return graph, jax.tree.unflatten(tree[-1], graph.outputs)


def _start(graph: Graph, program: Program, origins: Mapping[str, np.ndarray], states: Mapping[str, int]) -> Walk:
    """A walk with the latents, discrete ones that are in given states known."""
    inputs = dict(zip(program.latents, graph.inputs, strict=True))
    variables = Variables()
    known = {inputs[n]: np.full(program.sites[n].shape, x, program.sites[n].dtype) for n, x in states.items()}
    walk = Walk(graph, known, program.latents, variables)
    for name in (n for n in program.latents if n not in states):
        site = program.sites[name]
        walk.set(inputs[name], latent_value(name, site.shape, "other" if site.discrete else site.support,
                                            variables, origins.get(name)))
    return walk


def read_cells(model: Callable[..., Any], args: Any, kwargs: Any, program: Program,
               origins: Mapping[str, np.ndarray], sites: Collection[str]) -> dict[str, Cells] | None:
    """The cells of the observed `sites`; None if some of their numbers are not known (traced)."""
    discrete = {n for n in program.latents if program.sites[n].discrete}
    by_state = {n for n in sites if program.roots(program.sites[n].cells) & discrete}
    if by_state and not program.concrete:
        return None
    extras: dict[str, int] = {}

    def read(trace: Mapping[str, Any]) -> dict[str, Any]:
        out = {}
        for name in sites:
            site, fn, extra = trace[name], trace[name]["fn"], 0
            found: dict[str, Any] = {}
            if name in by_state:
                fn, extra = apart(fn)
                found["as NumPyro"] = fn.log_prob(jnp.asarray(site["value"]))
            if name not in by_state or program.roots(program.sites[name].cells) - discrete:
                found["as registered"] = log_density(fn, site["value"])
            if site["scale"] is not None:
                weight = jnp.reshape(site["scale"], jnp.shape(site["scale"]) + (1,) * extra)
                found = {k: x * weight for k, x in found.items()}
            out[name], extras[name] = found, extra
        return out

    graph, numbers = _graph_of(model, args, kwargs, program, read)

    def walk(states: Mapping[str, int]) -> Walk:
        return _start(graph, program, origins, states)

    plain = [n for n in sites if n not in by_state]
    values = dict(zip(plain, walk({}).run([numbers[n]["as registered"] for n in plain]), strict=True))
    for name in by_state:
        values[name] = in_states(graph, program, numbers[name], extras[name], walk)
    if not all(is_known(a) for v in values.values() for t in v.terms for a in t.arrays):
        return None
    return {n: Cells(values[n], np.ones(values[n].shape), origins) for n in sites}
