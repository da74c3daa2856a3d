"""Evaluating the algebra's results at given values of the sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.term import Term, Value, combine, thin_einsum
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.graph import Graph

__all__ = ["Values", "look_up", "raised", "segment_sums"]


class Values:
    """The values of some sites, and everything computed from them, each once.

    `dtype` is the floating type of the results: known numbers, float64 until now, are rounded to it.
    """

    xp = jnp

    def __init__(self, graph: Graph, inputs: Mapping[str, int], sites: Mapping[str, Any]) -> None:
        self._graph = graph
        self._numbers = inputs
        self._sites = {n: jnp.asarray(v) for n, v in sites.items()}
        self.dtype = jnp.result_type(float)
        self._memo: dict[int, Any] = {}
        self._variables: dict[Variable, Any] = {}

    def site(self, name: str) -> Any:
        """The value of a site."""
        return self._sites[name]

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of a site's value, given or not."""
        return self._graph.shapes[self._numbers[name]]

    def with_sites(self, more: Mapping[str, Any]) -> Values:
        """These values and some more sites; what does not depend on those is not computed again."""
        out = Values(self._graph, self._numbers, {**self._sites, **more})
        names = list(self._numbers)
        changed = {names.index(n) for n in more if n in self._numbers}
        deps = self._graph.dependencies
        out._memo = {k: v for k, v in self._memo.items() if k in deps and not deps[k] & changed}
        out._variables = {v: x for v, x in self._variables.items() if not v.roots & more.keys()}
        return out

    def bound(self, variable: Variable, elements: Any) -> Values:
        """These values, with the elements of a variable given."""
        out = self.with_sites({})
        out._variables[variable] = elements
        return out

    def number(self, array: Any) -> Any:
        """A known array in the working type."""
        return jnp.asarray(array, self.dtype) if isinstance(array, (np.ndarray, float)) else array

    def evaluate(self, number: int) -> Any:
        """The value of a number of the graph."""
        inputs = {self._numbers[n]: v for n, v in self._sites.items() if n in self._numbers}
        return self._graph.evaluate([number], inputs, self._memo)[0]

    def variable(self, variable: Variable) -> Any:
        """The elements of a variable, shape (size,)."""
        if variable not in self._variables:
            self._variables[variable] = variable.elements(self)
        return self._variables[variable]

    def factors(self, term: Term, skip: tuple[int, ...] = ()) -> list[Any]:
        """The arrays whose Einstein sum a term is, its atoms at the positions `skip` left out."""
        out = [self.number(c) for c in combine(term.coefficients, whole=True)]
        for k, atom in enumerate(term.atoms):
            if k not in skip:
                out.append(raised(self.variable(atom.variable), atom.power)[atom.selection])
        return out

    def value(self, value: Value) -> Any:
        """The array that a value is."""
        total: Any = jnp.zeros(value.shape, self.dtype)
        for term in value.terms:
            own = range(term.rank)
            sizes = dict(enumerate(term.hidden, term.rank))
            total = total + thin_einsum(self.factors(term), own, sizes)
        return total


def raised(x: Any, power: Any) -> Any:
    """x ** power for a rational power, by the cheapest exact form."""
    if power == 1:
        return x
    if power.denominator == 1:
        return x ** int(power)
    if power == 0.5:
        return jnp.sqrt(x)
    return x ** float(power)


def look_up(vector: Any, index: np.ndarray) -> Any:
    """Elements by known numbers, all in range: no compiler has to prove that for millions of them."""
    return vector.at[index.astype(np.int32)].get(mode="promise_in_bounds")


def segment_sums(numbers: Any, index: np.ndarray, size: int) -> Any:
    """A vector of `size` sums; `index`, all in range, says which one each number belongs to."""
    ordered = bool((np.diff(index) >= 0).all())
    return jnp.zeros(size, numbers.dtype).at[index.astype(np.int32)].add(
        numbers, mode="promise_in_bounds", indices_are_sorted=ordered)
