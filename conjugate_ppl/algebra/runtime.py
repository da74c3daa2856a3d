"""Evaluating the algebra's results at given values of the sites."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.slopes import each
from conjugate_ppl.algebra.term import Term, Value, array_module, combine, is_known, thin_einsum
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.graph import Graph

__all__ = ["Joined", "OnHost", "Values", "look_up", "raised", "segment_sums", "taken"]

_FEW = 8  # elements that are read one by one


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

    def elements(self, number: int, index: np.ndarray) -> Any:
        """Elements of a number, flattened, at distinct known places; what it repeats is not written out."""
        origin, places = self._graph.origin(number, index)
        if len(np.unique(places)) < len(places):
            origin, places = number, index
        flat = jnp.reshape(self.evaluate(origin), -1)
        return flat[:len(places)] if np.array_equal(places, np.arange(len(places))) else flat[places]

    def variable(self, variable: Variable) -> Any:
        """The elements of a variable, shape (size,)."""
        if variable not in self._variables:
            found = variable.elements(self)
            half = jnp.issubdtype(found.dtype, jnp.floating) and found.dtype.itemsize < 4
            self._variables[variable] = found.astype(self.dtype) if half else found
        return self._variables[variable]

    def power(self, variable: Variable, power: Any) -> Any:
        """The elements of a variable to a rational power: of exponentials, exponentials, without the numbers in between."""
        exponents = None if power == 1 or variable in self._variables else variable.exponents(self)
        if exponents is None:
            return raised(self.variable(variable), power)
        return each(lambda u: self.xp.exp(float(power) * u), exponents)

    def factors(self, term: Term, skip: tuple[int, ...] = ()) -> list[Any]:
        """The arrays whose Einstein sum a term is, its atoms at the positions `skip` left out."""
        out = [self.number(c) for c in combine(term.coefficients, whole=True)]
        for k, atom in enumerate(term.atoms):
            if k not in skip:
                out.append(taken(self.power(atom.variable, atom.power), atom.selection))
        return out

    def value(self, value: Value) -> Any:
        """The array that a value is."""
        total: Any = jnp.zeros(value.shape, self.dtype)
        for term in value.terms:
            own = range(term.rank)
            sizes = dict(enumerate(term.hidden, term.rank))
            total = total + thin_einsum(self.factors(term), own, sizes)
        return total

    def logarithm(self, primitive: str, value: Value) -> Any:
        """`log` or `log1p` of a sum of positive terms with exponentials in them, by what these are of; None if it is none."""
        logs = [self._logarithm(t, value.shape) for t in value.terms]
        if any(x is None for x in logs) or not any(a.variable.exponents(self) is not None for t in value.terms
                                                   for a in t.atoms):
            return None
        if primitive == "log1p":
            logs.append(self.xp.zeros((), self.dtype))
        return functools.reduce(self.xp.logaddexp, logs)

    def _logarithm(self, term: Term, shape: tuple[int, ...]) -> Any:
        """The logarithm of a term, from that of each factor."""
        c = term.coefficient()
        if not is_known(c) or not (c > 0).all():
            return None
        total = self.number(np.log(c))
        for atom in term.atoms:
            logs = atom.variable.exponents(self)
            if logs is None and not atom.variable.positive:
                return None
            logs = each(self.xp.log, self.variable(atom.variable)) if logs is None else logs
            total = total + float(atom.power) * taken(logs, atom.selection)
        hidden = tuple(range(term.rank, term.rank + len(term.hidden)))
        return jax.nn.logsumexp(self.xp.broadcast_to(total, (*shape, *term.hidden)), hidden) if hidden else total


class OnHost(Values):
    """Values of variables in double precision, by NumPy."""

    def __init__(self, graph: Graph, variables: Mapping[Variable, np.ndarray]) -> None:
        super().__init__(graph, {}, {})
        self._variables = {v: np.asarray(x, float) for v, x in variables.items()}

    def number(self, array: Any) -> Any:
        return np.asarray(array, float)


class Joined:
    """A vector by its parts, one after the other.

    What reads some of them has nothing to do with the others: it does not wait for them, and where those that it reads
    are known its derivative is known to be 0.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(p) for p in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @functools.cached_property
    def whole(self) -> Any:
        """The vector itself."""
        return jnp.concatenate(self._parts) if len(self._parts) > 1 else self._parts[0]

    def __getitem__(self, index: Any) -> Any:
        """The elements at known numbers (an integer, or an array of any shape)."""
        index = np.asarray(index)
        if index.ndim == 1 and 1 < len(index) <= _FEW:
            return jnp.stack([self[i] for i in index])
        owner = np.searchsorted(self._ends, index, side="right")
        read = np.unique(owner)
        if len(read) > 1:
            sizes = [len(self._parts[k]) for k in read]
            moved = np.cumsum(sizes) - self._ends[read]
            return taken(jnp.concatenate([self._parts[k] for k in read]), index + moved[np.searchsorted(read, owner)])
        if not len(read):
            return self.whole[index]
        return taken(self._parts[read[0]], index - (self._ends[read[0]] - len(self._parts[read[0]])))


def raised(x: Any, power: Any) -> Any:
    """x ** power for a rational power, by the cheapest exact form; some elements may not be read."""
    if power == 1:
        return x
    if power >= 0 or isinstance(x, np.ndarray):
        return each(lambda x: _root_or_power(x, power), x)
    return each(lambda x: _inverse_power(x, power), x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _inverse_power(x: Any, power: Any) -> Any:
    """A power below 0; of the derivative what is small meets what is large first: of scales of 1e13 the third power is beyond
    the range of single precision, and one over it."""
    return _root_or_power(x, power)


@_inverse_power.defjvp
def _(power: Any, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    out = _inverse_power(x, power)
    return out, out * (float(power) * (t / x))


def _root_or_power(x: Any, power: Any) -> Any:
    if power == 0.5:
        return array_module(x).sqrt(x)
    return x ** (int(power) if power.denominator == 1 else float(power))


def taken(vector: Any, index: Any) -> Any:
    """Elements of a vector, by an index of any shape; known ones that follow each other, in whatever order of the axes, as
    a part of it, whose gradient is no scattered sum."""
    if not isinstance(index, np.ndarray):
        return vector[index]
    if not index.ndim:
        return vector[int(index)]
    order = _order(index)
    if order is None:
        return vector[index]
    first = int(index.flat[0])
    part = vector if index.size == len(vector) else vector[first:first + index.size]
    return part.reshape([index.shape[a] for a in order]).transpose(np.argsort(order))


def _order(index: np.ndarray) -> list[int] | None:
    """The order of axes in which elements follow each other, one after the other; None if they do not."""
    if index.size < 2 or (first := index.flat[0]) < 0:
        return None
    steps = [0 if n == 1 else int(np.take(index, 1, a).flat[0] - first) for a, n in enumerate(index.shape)]
    order = sorted(range(index.ndim), key=lambda a: (-steps[a], a))
    ordered = index.transpose(order)
    same = ordered.flat[-1] - first == index.size - 1 and np.array_equal(
        ordered.reshape(-1), np.arange(first, first + index.size))
    return order if same else None


def look_up(vector: Any, index: np.ndarray) -> Any:
    """Elements by known numbers, -1 for 0, all in range: no compiler has to prove that for millions of them.

    The gradient is read too, instead of added up where elements come from, if none is read many times.
    """
    flat = index.reshape(-1)
    there = int(np.count_nonzero(flat >= 0))
    if there and np.array_equal(flat[:there], np.arange(flat[0], flat[0] + there)):  # one after the other, and then none
        part = vector[flat[:there]] if isinstance(vector, Joined) else taken(vector, flat[:there])
        return (jnp.pad(part, (0, flat.size - there)) if there < flat.size else part).reshape(index.shape)
    vector = vector.whole if isinstance(vector, Joined) else vector
    return _read(vector, index, _places(index, len(vector)))


def _places(index: np.ndarray, size: int) -> np.ndarray | None:
    """For each element where it is read, shape (times, size), `index.size` for nowhere; None if that would be many numbers."""
    flat = index.reshape(-1)
    order = np.argsort(flat, kind="stable")[np.count_nonzero(flat < 0):]
    many = np.bincount(flat[order], minlength=size)
    times = int(many.max(initial=0))
    if index.size < _FEW**2 or times * size > 2 * index.size:
        return None
    places = np.full((times, size), index.size)
    first = np.cumsum(many) - many
    places[np.arange(len(order)) - np.repeat(first, many), flat[order]] = order
    return places


def _read(vector: Any, index: np.ndarray, places: np.ndarray | None) -> Any:
    size = len(vector)

    def read(x: Any) -> Any:
        x = jnp.pad(x, (0, 1)) if (index < 0).any() else x
        return x.at[np.where(index < 0, size, index).astype(np.int32)].get(mode="promise_in_bounds")

    if places is None:
        return read(vector)
    with_places = jax.custom_jvp(read)

    @with_places.defjvp
    def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        moved = jnp.zeros(index.size + 1, vector.dtype).at[places.astype(np.int32)].add(
            tangents[0], mode="promise_in_bounds")  # which, turned around, is read
        return with_places(*primals), moved[:-1].reshape(index.shape)

    return with_places(vector)


def segment_sums(numbers: Any, index: np.ndarray, size: int) -> Any:
    """Of numbers (or rows of them) `size` sums; `index`, all in range, says which one each belongs to."""
    ordered = bool((np.diff(index) >= 0).all())
    return jnp.zeros((size, *numbers.shape[1:]), numbers.dtype).at[index.astype(np.int32)].add(
        numbers, mode="promise_in_bounds", indices_are_sorted=ordered)
