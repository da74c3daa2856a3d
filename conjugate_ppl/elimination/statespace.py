"""Gaussian sites that form chains of steps, integrated out by a filter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.sparse import csr_array, identity
from scipy.sparse.linalg import lsqr

from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.value import add, multiply, reduce_sum, spread
from conjugate_ppl.algebra.variables import Computed, Latent, Variable
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.elimination.base import MARGINAL, Declined, Pool, check_coordinates
from conjugate_ppl.elimination.symbols import signed, start_walk
from conjugate_ppl.gaussian.block import BLOCK
from conjugate_ppl.gaussian.quadratic import quadratic
from conjugate_ppl.gaussian.reference import reference
from conjugate_ppl.program import Program
from conjugate_ppl.statespace.filter import (
    Backward,
    backward,
    draw,
    filtered,
    log_integral,
    log_prob,
    smoothed,
)
from conjugate_ppl.statespace.layers import Layers, NoChain, find_layers
from conjugate_ppl.statespace.model import ChainModel, Noise

__all__ = ["StateSpaceElimination", "eliminate_statespace"]

_WIDEST = 16  # elements of a step


@dataclasses.dataclass(frozen=True, eq=False)
class StateSpaceElimination:
    """Gaussian sites integrated out step by step.

    `origin` is what each site's elements are measured from, `first` the number of its first element.
    """

    sites: tuple[str, ...]
    model: ChainModel
    shapes: Mapping[str, tuple[int, ...]]
    first: Mapping[str, int]
    origin: Mapping[str, np.ndarray]

    @property
    def rule(self) -> str:
        return "jointly Gaussian"

    def log_integral(self, values: Values) -> Any:
        """Log of the integral over the sites of all that depends on them."""
        out = jnp.sum(jax.vmap(log_integral)(self.model.steps(values)))
        return jnp.where(jnp.isnan(out), -jnp.inf, out)

    def _backward(self, values: Values) -> Backward:
        steps = self.model.steps(values)
        return jax.vmap(backward)(steps, jax.vmap(filtered)(steps))

    def _to_sites(self, values: Values, elements: Any) -> dict[str, Any]:
        out = {}
        for n, shape in self.shapes.items():
            at = self.first[n]
            out[n] = (elements[at: at + self.origin[n].size]
                      + values.number(self.origin[n])).reshape(shape)
        return out

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        n = self.model.layers
        noise = jax.random.normal(key, (n.chains, n.steps, n.width), values.dtype)
        return self._to_sites(values, self.model.unpack(jax.vmap(draw)(self._backward(values), noise)))

    def log_prob(self, values: Values) -> Any:
        x = jnp.concatenate([values.site(n).reshape(-1) - values.number(self.origin[n])
                             for n in self.sites])
        packed = self.model.pack(x)
        missing = packed.size - self.model.size  # places without an element, standard normal at 0
        return jnp.sum(jax.vmap(log_prob)(self._backward(values), packed)) \
            + 0.5 * missing * np.log(2 * np.pi)

    def laws(self, values: Values) -> dict[str, tuple[Any, Any]]:
        mean, variance = (self.model.unpack(x) for x in jax.vmap(smoothed)(self._backward(values)))
        means = self._to_sites(values, mean)
        return {n: (means[n], variance[self.first[n]: self.first[n] + self.origin[n].size].reshape(shape))
                for n, shape in self.shapes.items()}

    def conditionals(self, laws: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
        return {n: dist.Normal(mean, jnp.sqrt(variance)) for n, (mean, variance) in laws.items()}


def eliminate_statespace(program: Program, sites: Sequence[str], pool: Pool, touched: Iterable[str],
                         visible: frozenset[str], concrete: bool
                         ) -> tuple[StateSpaceElimination, Pool]:
    """Integrate `sites` (in the model's order, already proved jointly Gaussian) out of `pool`."""
    touched = list(touched)
    first = dict(zip(sites, np.cumsum([0, *(program.sites[n].size for n in sites)]).tolist(), strict=False))
    for name in sites:
        if program.sites[name].family == "Flat":
            raise Declined(name, "its prior is flat, and it is one of a chain of steps",
                           program.sites[name].source)
    written = _write(program, sites, first, touched, visible, {})
    origin = {n: np.zeros(program.sites[n].size) for n in sites}
    if concrete:
        origin = _origin(program, sites, first, written)
        written = _write(program, sites, first, touched, visible, origin)
    size = sum(program.sites[n].size for n in sites)
    likelihood = reduce_terms([t for t in written.terms if written.elements in _variables(t)],
                              lambda v: 0 if v is written.elements else None)
    locations = reduce_terms(written.locations, lambda v: {
        written.elements: 0, written.tokens: size}.get(v))
    walk = start_walk(program, frozenset(sites) | visible)
    noise = tuple(_noise(program, walk, n, first[n]) for n in sites)
    source = program.sites[sites[0]].source
    for reduced in (likelihood, locations):
        for late in (x for k in (1, 2) for x in reduced.late.get(k, ())):
            if not all(is_known(late.term.atoms[k].selection) for k in late.slots):
                raise Declined(sites[0], "which elements of it meet depends on traced data", source)
    pairs = _pairs(likelihood)
    together = (np.concatenate([pairs[0], *(p.rows for p in noise)]),
                np.concatenate([pairs[1], *(p.columns for p in noise)]))
    parent, child = _pairs(locations)
    child = child - size
    own = np.concatenate([np.full(program.sites[n].size, k) for k, n in enumerate(sites)])
    reads_itself = np.zeros(size, bool)
    reads_itself[child[own[child] == own[parent]]] = True
    in_chain = np.isin(own, own[reads_itself])
    try:
        layers = find_layers(size, together, child, parent, np.flatnonzero(in_chain & ~reads_itself))
    except NoChain as problem:
        site = sites[own[problem.element]]
        raise Declined(site, "more than its own and the next step of a chain depend on its elements",
                       program.sites[site].source) from None
    if layers.width > _WIDEST:
        chained = frozenset(sites[k] for k in np.unique(own[in_chain]))
        site = _widest(program, sites, chained, own, layers)
        raise Declined(site, f"{layers.width} elements would have to be carried from step to step",
                       program.sites[site].source)
    for part in noise:
        if (layers.place[part.rows] < layers.place[part.columns]).any():
            raise Declined(sites[0], "within a step, elements of one event depend on each other", source)
    model = ChainModel(layers, size, likelihood, locations, noise)
    shapes = {n: program.sites[n].shape for n in sites}
    elimination = StateSpaceElimination(tuple(sites), model, shapes, first, origin)
    free = [t for t in written.terms if written.elements not in _variables(t)]
    roots = frozenset().union(*(program.roots(program.sites[n].factor) for n in (*touched, *sites)))
    marginal = Computed("the integral over " + ", ".join(f"`{s}`" for s in sites), 1, False,
                        roots - frozenset(sites), elimination.log_integral)
    return elimination, pool.replaced(touched, {
        ", ".join(sites) + MARGINAL: (*free, *Value.of(marginal, ()).terms)})


@dataclasses.dataclass(frozen=True, eq=False)
class _Written:
    """What depends on the sites, in their elements; and the sum of all locations, each times a token."""

    elements: Latent
    tokens: Variable
    terms: list[Term]
    locations: tuple[Term, ...]


def _write(program: Program, sites: Sequence[str], first: Mapping[str, int], touched: Sequence[str],
           visible: frozenset[str], origin: Mapping[str, np.ndarray]) -> _Written:
    inside = frozenset(sites)
    walk = start_walk(program, inside | visible)
    size = sum(program.sites[n].size for n in sites)
    elements = Latent(BLOCK, size, False, inside, "real")
    tokens = Variable("location", size, False, frozenset())
    for name in sites:
        record = program.sites[name]
        own = _vector(elements, first[name], record.shape)
        if name in origin and origin[name].any():
            own = add(own, Value.known(origin[name].reshape(record.shape)))
        walk.set(program.inputs[name], own)
    terms = [t for v in walk.run([program.sites[n].factor for n in touched]) for t in v.terms]
    locations: list[Term] = []
    for name in sites:
        location = _location(program, walk, name)
        if name in origin and origin[name].any():
            location = add(location, Value.known(-origin[name].reshape(location.shape)))
        token = _vector(tokens, first[name], location.shape)
        locations += reduce_sum(multiply(token, location), list(range(len(location.shape)))).terms
    check_coordinates([*terms, *locations], inside, elements, program.sites[sites[0]].source)
    return _Written(elements, tokens, terms, tuple(locations))


def _location(program: Program, walk: Walk, name: str) -> Value:
    (location,) = walk.run([program.sites[name].parameters["loc"]])
    return location


def _vector(variable: Variable, first: int, shape: tuple[int, ...]) -> Value:
    """Elements of a variable, from number `first` on, as an array."""
    number = first + np.arange(int(np.prod(shape))).reshape(shape)
    one = np.ones((1,) * len(shape))
    return Value(shape, (Term(len(shape), (), (one,), (Atom(variable, Fraction(1), number),)),))


def _variables(term: Term) -> set[Variable]:
    return {a.variable for a in term.atoms}


def _pairs(reduced: Reduced) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of positions in monomials of two elements, smaller first; coefficients of 0 left out."""
    found = [np.zeros((2, 0), int)]
    if 2 in reduced.entries:
        entries = reduced.entries[2]
        found.append(np.stack(entries.positions)[:, entries.coefficients != 0])
    for late in reduced.late.get(2, ()):
        known = [np.asarray(c) != 0 for c in late.term.coefficients if is_known(c)]
        a, b, *there = np.broadcast_arrays(
            *(np.asarray(late.term.atoms[k].selection) for k in late.slots), *known)
        keep = np.logical_and.reduce(there).reshape(-1) if there else slice(None)
        found.append(np.stack([a.reshape(-1) + late.offsets[0], b.reshape(-1) + late.offsets[1]])[:, keep])
    both = np.unique(np.sort(np.concatenate(found, 1), 0), axis=1)
    return both[0], both[1]


def _noise(program: Program, walk: Walk, name: str, first: int) -> Noise:
    record = program.sites[name]
    number = record.parameters.get("scale", record.parameters.get("scale_tril"))
    assert number is not None
    elements = first + np.arange(record.size)
    (scale,) = walk.run([number])
    if record.family != "MultivariateNormal":
        scale = spread(scale, record.shape, range(len(record.shape) - len(scale.shape), len(record.shape)))
        return Noise(number, record.shape, elements, elements, np.arange(record.size),
                     signed(scale, record.family))
    d = record.shape[-1]
    i, j = np.tril_indices(d)
    events = elements.reshape(-1, d)
    entries = np.arange(len(events))[:, None] * d * d + i * d + j
    scale = spread(scale, (*record.shape, d), range(len(record.shape) + 1 - len(scale.shape),
                                                    len(record.shape) + 1))
    return Noise(number, (*record.shape, d), events[:, i].reshape(-1), events[:, j].reshape(-1),
                 entries.reshape(-1), signed(scale, record.family))


def _origin(program: Program, sites: Sequence[str], first: Mapping[str, int], written: _Written
            ) -> dict[str, np.ndarray]:
    """A point where the likelihood's quadratic is small, in single precision.

    Elements that the likelihood does not reach follow their locations, and those that read them, as far as
    these are known ahead; least squares again.
    """
    terms = [t for t in written.terms if written.elements in _variables(t) and all(
        v is written.elements or v.positive for v in _variables(t)) and all(map(is_known, t.arrays))]
    size = written.elements.size
    q = quadratic(reduce_terms(terms, lambda v: 0))
    point = reference(q, np.zeros(size), np.full(size, np.inf))
    hidden = np.ones(size, bool)
    hidden[q.rows[q.numbers != 0]] = False
    known = [t for t in written.locations if not (_variables(t) - {written.elements, written.tokens})
             and all(map(is_known, t.arrays))]
    locations = reduce_terms(known, lambda v: 0 if v is written.elements else size)
    parent, child = locations.entries[2].positions if 2 in locations.entries else (np.zeros(0, int),) * 2
    weight = locations.entries[2].coefficients if 2 in locations.entries else np.zeros(0)
    level = np.zeros(size)
    if 1 in locations.entries:
        level[locations.entries[1].positions[0] - size] = locations.entries[1].coefficients
    # element - what its location makes of others = level
    system = identity(size, format="csr") - csr_array((weight, (child - size, parent)), shape=(size, size))
    if hidden.any() and not hidden.all():
        target = level - system @ np.where(hidden, 0.0, point)
        point[hidden] = lsqr(system[:, np.flatnonzero(hidden)], target, iter_lim=200)[0]
    point = point.astype(np.float32).astype(np.float64)
    point = np.where(np.isfinite(point), point, 0.0)
    return {n: point[first[n]: first[n] + program.sites[n].size] for n in sites}


def _widest(program: Program, sites: Sequence[str], chained: frozenset[str], own: np.ndarray,
            layers: Layers) -> str:
    """The site to leave out where a step is too wide: the smallest of those that are no chain, else the
    one with the most elements in one step."""
    beside = [n for n in sites if n not in chained]
    if beside:
        return min(beside, key=lambda n: program.sites[n].size)
    number = layers.chain * layers.steps + layers.step
    most = {n: int(np.bincount(number[own == k]).max()) for k, n in enumerate(sites)}
    return max(most, key=lambda n: most[n])
