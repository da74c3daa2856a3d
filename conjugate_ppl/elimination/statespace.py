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
from jax.flatten_util import ravel_pytree
from scipy.sparse import csc_array, csr_array, identity
from scipy.sparse.linalg import lsqr, spsolve

from conjugate_ppl.algebra.classes import equal_elements
from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.value import add, multiply, reduce_sum, reshape, spread
from conjugate_ppl.algebra.variables import Computed, Latent, Variable
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.elimination.base import (
    MARGINAL,
    Beside,
    Declined,
    Elimination,
    Pool,
    Remnant,
    check_coordinates,
)
from conjugate_ppl.elimination.covariance import common_power, scaled_terms
from conjugate_ppl.elimination.symbols import signed, start_walk
from conjugate_ppl.gaussian.block import BLOCK
from conjugate_ppl.gaussian.quadratic import quadratic as coordinates
from conjugate_ppl.gaussian.reference import reference
from conjugate_ppl.program import Program
from conjugate_ppl.statespace.filter import Steps, log_integral, quadratic
from conjugate_ppl.statespace.layers import Layers, NoChain, find_layers
from conjugate_ppl.statespace.model import ChainModel, Noise
from conjugate_ppl.statespace.smoother import backward, draw, log_prob, smoothed

__all__ = ["StateSpaceElimination", "eliminate_statespace"]

_WIDEST = 16  # elements of a step
_MOST_BESIDE = 64  # elements that all steps share


@dataclasses.dataclass(frozen=True, eq=False)
class StateSpaceElimination:
    """Gaussian sites integrated out step by step.

    `origin` is what each site's elements are measured from, `first` the number of its first element. `beside`
    holds the elements of sites that all steps share, which are integrated out later.
    """

    sites: tuple[str, ...]
    model: ChainModel
    shapes: Mapping[str, tuple[int, ...]]
    first: Mapping[str, int]
    origin: Mapping[str, np.ndarray]
    beside: tuple[Latent, ...]

    @property
    def rule(self) -> str:
        return "jointly Gaussian"

    @property
    def alone(self) -> bool:
        """Whether draws are made faster one at a time: where a step is one function of the compiler, which
        it is not for many draws side by side (thirty times slower)."""
        return self.model.layers.width <= 4 and self.model.many[0] > 100 and jax.default_backend() == "cpu"

    def log_integral(self, values: Values) -> Any:
        """Log of the integral over the sites of all that depends on them, where nothing is beside them."""
        out = log_integral(self.model.steps(values))
        return jnp.where(jnp.isnan(out), -jnp.inf, out)

    def parts(self, values: Values) -> tuple[Any, Any]:
        """The same, the squares and what is left."""
        square, volume = quadratic(self.model.steps(values))
        square = 0.5 * square[0, 0]
        return jnp.where(jnp.isnan(square), -jnp.inf, square), jnp.where(jnp.isnan(volume), -jnp.inf, volume)

    def quadratic(self, values: Values) -> Any:
        """The same as the coefficients of a quadratic in 1 and the elements beside, and a constant."""
        square, volume = quadratic(self.model.steps(values))
        return jnp.append(0.5 * square.reshape(-1), jnp.where(jnp.isnan(volume), -jnp.inf, volume))

    def _steps(self, values: Values) -> Steps:
        return self.model.steps(values).at(jnp.concatenate([
            jnp.ones(1, values.dtype), *(values.variable(v) for v in self.beside)]))

    def _to_sites(self, values: Values, elements: Any) -> dict[str, Any]:
        out = {}
        for n, shape in self.shapes.items():
            at = self.first[n]
            out[n] = (elements[at: at + self.origin[n].size]
                      + values.number(self.origin[n])).reshape(shape)
        return out

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        noise = jax.random.normal(key, self.model.shape, values.dtype)
        found = jax.vmap(draw)(backward(self._steps(values)), noise)
        return self._to_sites(values, self.model.unpack(found))

    def log_prob(self, values: Values) -> Any:
        x = jnp.concatenate([values.site(n).reshape(-1) - values.number(self.origin[n])
                             for n in self.sites])
        packed = self.model.pack(x)
        missing = packed.size - self.model.size  # places without an element, standard normal at 0
        return jnp.sum(jax.vmap(log_prob)(backward(self._steps(values)), packed)) \
            + 0.5 * missing * np.log(2 * np.pi)

    def laws(self, values: Values) -> dict[str, tuple[Any, Any]]:
        mean, variance = (self.model.unpack(x) for x in jax.vmap(smoothed)(backward(self._steps(values))))
        means = self._to_sites(values, mean)
        return {n: (means[n], variance[self.first[n]: self.first[n] + self.origin[n].size].reshape(shape))
                for n, shape in self.shapes.items()}

    def laws_over(self, values: Values, later: Elimination) -> dict[str, tuple[Any, Any]]:
        """`laws` where the sites beside the chain are among those of a Gaussian elimination `later`."""
        found = later.conditionals(later.laws(values))
        center, unravel = ravel_pytree({n: found[n].mean for n in later.sites})
        # its log density is a quadratic
        covariance = jnp.linalg.inv(-jax.hessian(
            lambda z: later.log_prob(values.with_sites(unravel(z))))(center))

        def given(z: Any) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
            laws = self.laws(values.with_sites(unravel(z)))
            return {n: mean for n, (mean, _) in laws.items()}, laws

        slopes, laws = jax.jacfwd(given, has_aux=True)(center)
        return {n: (mean, variance + jnp.einsum("...i,ij,...j", slopes[n], covariance, slopes[n],
                                                precision="highest"))
                for n, (mean, variance) in laws.items()}

    def conditionals(self, laws: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
        return {n: dist.Normal(mean, jnp.sqrt(variance)) for n, (mean, variance) in laws.items()}


def eliminate_statespace(program: Program, sites: Sequence[str], pool: Pool, touched: Iterable[str],
                         visible: frozenset[str], concrete: bool, beside: Sequence[str] = ()
                         ) -> tuple[StateSpaceElimination, Pool]:
    """Integrate `sites` (in the model's order, already proved jointly Gaussian) out of `pool`.

    What is left is a quadratic in the sites `beside`, proved jointly Gaussian with the others.

    Raises:
        Beside: for a site that had better be one of those.
        Declined: for one that has to stay.
    """
    touched = list(touched)
    for name in sites:
        if program.sites[name].family == "Flat":
            raise Declined(name, "its prior is flat, and it is one of a chain of steps",
                           program.sites[name].source)
    points = {n: np.zeros(program.sites[n].size) for n in beside}
    origin = {n: np.zeros(program.sites[n].size) for n in sites}
    written = _write(program, sites, touched, visible, origin, points)
    model = _model(program, sites, written)
    if concrete:
        if beside:
            points = _points(program, model, points)
            written = _write(program, sites, touched, visible, origin, points)
        origin = _origin(program, sites, written)
        written = _write(program, sites, touched, visible, origin, points)
        model = _model(program, sites, written)
    shapes = {n: program.sites[n].shape for n in sites}
    elimination = StateSpaceElimination(tuple(sites), model, shapes, written.first, origin, written.beside)
    roots = frozenset().union(*(program.roots(program.sites[n].factor) for n in (*touched, *sites)))
    roots -= frozenset(sites) | frozenset(beside)
    what, name = "the integral over " + ", ".join(f"`{s}`" for s in sites), ", ".join(sites) + MARGINAL
    if not beside:
        bound = [t for t in written.terms if written.elements in _variables(t)]
        priors = [(program.roots(r.parameters["loc"]), r.parameters.get("scale", r.parameters.get("scale_tril")))
                  for r in (program.sites[n] for n in sites)]
        for scaling in (n for n in program.latents if n in visible & roots):
            q = common_power(program, priors, bound, scaling, visible | frozenset(sites))
            if q is not None:
                left = scaled_terms(sites, scaling, q, roots, written.walk.variables, elimination.parts)
                return elimination, pool.replaced(touched, {name: (*_free(written), *left)})
        marginal = Computed(what, 1, False, roots, elimination.log_integral)
        return elimination, pool.replaced(touched, {name: (*_free(written), *Value.of(marginal, ()).terms)})
    columns = 1 + model.beside
    marginal = Computed(what, columns**2 + 1, False, roots, elimination.quadratic)

    def write(walk: Walk) -> tuple[Term, ...]:
        for n in sites:
            walk.set(program.inputs[n], Value.known(origin[n].reshape(shapes[n])))
        terms = [t for v in walk.run([program.sites[n].factor for n in touched]) for t in v.terms]
        own = [add(reshape(v, (points[n].size,)), Value.known(-points[n])) for n in beside
               for v in walk.run([program.inputs[n]])]
        return (*terms, *_quadratic(marginal, own, columns).terms)

    own = [_vector(v, 0, (v.size,)) for v in written.beside]
    left = *_free(written), *_quadratic(marginal, own, columns).terms
    return elimination, pool.replaced(touched, {name: left}, {name: Remnant(write, points)})


def _free(written: _Written) -> list[Term]:
    return [t for t in written.terms if written.elements not in _variables(t)]


def _quadratic(marginal: Variable, own: Sequence[Value], columns: int) -> Value:
    """w'qw + v for w = 1 and the elements beside the chain."""
    numbers = np.arange(columns**2).reshape(columns, columns)

    def entries(which: np.ndarray) -> Value:
        one = np.ones((1,) * which.ndim)
        return Value(which.shape, (Term(which.ndim, (), (one,), (Atom(marginal, Fraction(1), which),)),))

    total = add(entries(numbers[0, 0]), entries(np.asarray(columns**2)))
    starts = np.cumsum([1, *(v.shape[0] for v in own)])
    for k, (at, v) in enumerate(zip(starts, own, strict=False)):
        i = slice(at, at + v.shape[0])
        total = add(total, reduce_sum(multiply(entries(numbers[0, i]), v), [0]))
        total = add(total, reduce_sum(multiply(entries(numbers[i, 0]), v), [0]))
        for n, (bt, u) in enumerate(zip(starts, own, strict=False)):
            j = slice(bt, bt + u.shape[0])
            if n < k:
                continue
            shape = v.shape[0], u.shape[0]
            pair = multiply(spread(v, shape, (0,)), spread(u, shape, (1,)))
            both = multiply(entries(numbers[i, j]), pair)
            total = add(total, reduce_sum(both, [0, 1]))
            if n > k:
                total = add(total, reduce_sum(multiply(entries(numbers[j, i].T), pair), [0, 1]))
    return total


def _model(program: Program, sites: Sequence[str], written: _Written) -> ChainModel:
    """The chain of what is written, if it is one."""
    first, size = written.first, written.elements.size
    numbers: dict[Variable, int] = {written.elements: 0, written.tokens: size}
    numbers.update(zip(written.beside, np.cumsum([2 * size, *(v.size for v in written.beside)]).tolist(),
                       strict=False))
    likelihood = reduce_terms([t for t in written.terms if written.elements in _variables(t)], numbers.get)
    locations = reduce_terms(written.locations, numbers.get)
    noise = tuple(_noise(program, n, first[n], written.walk) for n in sites)
    source = program.sites[sites[0]].source
    for reduced in (likelihood, locations):
        for late in (x for k in (1, 2) for x in reduced.late.get(k, ())):
            if not all(is_known(late.term.atoms[k].selection) for k in late.slots):
                raise Declined(sites[0], "which elements of it meet depends on traced data", source)
    pairs = [p[_pairs(likelihood)[1] < size] for p in _pairs(likelihood)]
    together = (np.concatenate([pairs[0], *(p.rows for p in noise)]),
                np.concatenate([pairs[1], *(p.columns for p in noise)]))
    parent, child = (p[_pairs(locations)[1] < 2 * size] for p in _pairs(locations))
    child = child - size
    own = np.concatenate([np.full(program.sites[n].size, k) for k, n in enumerate(sites)])
    reads_itself = np.zeros(size, bool)
    reads_itself[child[own[child] == own[parent]]] = True
    in_chain = np.isin(own, own[reads_itself])
    chained = frozenset(sites[k] for k in np.unique(own[in_chain]))
    starts = np.flatnonzero(in_chain & ~reads_itself)
    everywhere = _met_at_several_steps(size, together, child, parent, in_chain, starts)
    for site in dict.fromkeys(sites[k] for k in own[everywhere]):
        problem = _not_in(program, site, chained, "elements at several steps of a chain meet it")
        if isinstance(problem, Beside):
            raise problem
    try:
        layers = find_layers(size, together, child, parent, starts)
    except NoChain as problem:
        site = sites[own[problem.element]]
        raise _not_in(program, site, chained,
                      "more than its own and the next step of a chain depend on its elements") from None
    if layers.width > _WIDEST:
        site = _widest(program, sites, chained, own, layers)
        raise _not_in(program, site, chained,
                      f"{layers.width} elements would have to be carried from step to step")
    for part in noise:
        if (layers.place[part.rows] < layers.place[part.columns]).any():
            raise Declined(sites[0], "within a step, elements of one event depend on each other", source)
    return ChainModel(layers, size, likelihood, locations, noise, sum(v.size for v in written.beside))


def _met_at_several_steps(size: int, together: tuple[np.ndarray, np.ndarray], child: np.ndarray,
                          parent: np.ndarray, in_chain: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The elements that are no steps of a chain, but meet elements of more than two steps of one."""
    number = np.cumsum(in_chain) - 1

    def among(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = in_chain[a] & in_chain[b]
        return number[a[both]], number[b[both]]

    try:
        layers = find_layers(int(in_chain.sum()), among(*together), *among(child, parent), number[starts])
    except NoChain:
        return np.zeros(0, int)
    low, high = np.full(size, layers.steps), np.full(size, -1)
    for a, b in (together, together[::-1], (child, parent), (parent, child)):
        mixed = ~in_chain[a] & in_chain[b]
        step = layers.step[number[b[mixed]]]
        np.minimum.at(low, a[mixed], step)
        np.maximum.at(high, a[mixed], step)
    return np.flatnonzero(high > low + 1)


def _not_in(program: Program, site: str, chained: frozenset[str], reason: str) -> Declined:
    record = program.sites[site]
    kind = Declined if site in chained or record.family == "Flat" or record.size > _MOST_BESIDE else Beside
    return kind(site, reason, record.source)


def _points(program: Program, model: ChainModel, zeros: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Where the quadratic in the sites beside the chain is largest, for some values of the kept sites; in
    single precision."""
    def coefficients() -> Any:
        values: dict[str, Any] = {}
        for name, number in program.inputs.items():
            site, shape = program.sites.get(name), program.graph.shapes[number]
            support = site.support if site is not None else "other"
            typical = {"positive": 1.0, "simplex": 1.0 / shape[-1] if shape else 1.0}.get(support, 0.5)
            values[name] = jnp.full(shape, typical).astype(program.graph.dtypes[number])
        return quadratic(model.steps(Values(program.graph, program.inputs, values)))[0]

    with jax.ensure_compile_time_eval():
        square = np.asarray(jax.jit(coefficients)(), np.float64)
    size = np.cumsum([0, *(z.size for z in zeros.values())])
    best = np.zeros(size[-1])
    if np.isfinite(square).all():
        best = np.linalg.lstsq(-square[1:, 1:], square[1:, 0], rcond=1e-6)[0]
    best = best.astype(np.float32).astype(np.float64)
    return {n: best[k: k + z.size] for (n, z), k in zip(zeros.items(), size, strict=False)}


@dataclasses.dataclass(frozen=True, eq=False)
class _Written:
    """What depends on the sites, in their elements, numbered from `first` on; and the sum of all locations,
    each times a token. Both hold the sites `beside` as they are, less a constant."""

    elements: Latent
    tokens: Variable
    beside: tuple[Latent, ...]
    first: Mapping[str, int]
    terms: list[Term]
    locations: tuple[Term, ...]
    walk: Walk


def _write(program: Program, sites: Sequence[str], touched: Sequence[str], visible: frozenset[str],
           origin: Mapping[str, np.ndarray], points: Mapping[str, np.ndarray]) -> _Written:
    inside = frozenset(sites)
    walk = start_walk(program, inside | visible, points)
    beside = []
    for name in points:
        (value,) = walk.run([program.inputs[name]])
        beside += [a.variable for t in value.terms for a in t.atoms if isinstance(a.variable, Latent)]
    first = dict(zip(sites, np.cumsum([0, *(program.sites[n].size for n in sites)]).tolist(), strict=False))
    size = sum(program.sites[n].size for n in sites)
    elements = Latent(BLOCK, size, False, inside, "real")
    tokens = Variable("location", size, False, frozenset())
    for name in sites:
        record = program.sites[name]
        own = _vector(elements, first[name], record.shape)
        if origin[name].any():
            own = add(own, Value.known(origin[name].reshape(record.shape)))
        walk.set(program.inputs[name], own)
    terms = [t for v in walk.run([program.sites[n].factor for n in touched]) for t in v.terms]
    locations: list[Term] = []
    for name in sites:
        location = _location(program, walk, name)
        if origin[name].any():
            location = add(location, Value.known(-origin[name].reshape(location.shape)))
        token = _vector(tokens, first[name], location.shape)
        locations += reduce_sum(multiply(token, location), list(range(len(location.shape)))).terms
    check_coordinates([*terms, *locations], inside, elements, program.sites[sites[0]].source)
    return _Written(elements, tokens, tuple(beside), first, terms, tuple(locations), walk)


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


def _noise(program: Program, name: str, first: int, walk: Walk) -> Noise:
    record = program.sites[name]
    number = record.parameters.get("scale", record.parameters.get("scale_tril"))
    assert number is not None
    if record.family == "MatrixNormal":
        raise Declined(name, "it is a matrix in a chain of steps", record.source)
    elements = first + np.arange(record.size)
    shape = record.shape if record.family != "MultivariateNormal" else (*record.shape, record.shape[-1])
    (scale,) = walk.run([number])
    scale = spread(scale, shape, range(len(shape) - len(scale.shape), len(shape)))
    negative = signed(scale, record.family)
    classes = np.broadcast_to(equal_elements(scale), shape).reshape(-1)
    if record.family != "MultivariateNormal":
        return Noise(number, shape, elements, elements, np.arange(record.size), classes, negative)
    d = record.shape[-1]
    i, j = np.tril_indices(d)
    events = elements.reshape(-1, d)
    entries = np.arange(len(events))[:, None] * d * d + i * d + j
    return Noise(number, shape, events[:, i].reshape(-1), events[:, j].reshape(-1), entries.reshape(-1),
                 classes[entries.reshape(-1)], negative)


def _origin(program: Program, sites: Sequence[str], written: _Written) -> dict[str, np.ndarray]:
    """A point where the likelihood's quadratic is small, in single precision.

    Elements that the likelihood does not reach follow their locations, and those that read them, as far as
    these are known ahead; least squares again.
    """
    terms = [t for t in written.terms if written.elements in _variables(t) and all(
        v is written.elements or v.positive for v in _variables(t)) and all(map(is_known, t.arrays))]
    size = written.elements.size
    q = coordinates(reduce_terms(terms, lambda v: 0))
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
    # where data alone do not say how much of them is level and how much season, the locations do
    whole = np.ones(size, bool)
    for t in written.locations:
        if _variables(t) - {written.elements, written.tokens} or not all(map(is_known, t.arrays)):
            for a in t.atoms:
                if a.variable is written.tokens:
                    whole[np.unique(np.asarray(a.selection)) if is_known(a.selection) else slice(None)] = False
    scale = float(np.abs(q.numbers).mean()) if len(q.numbers) else 1.0
    rows = system[whole]
    normal = csr_array((q.numbers, (q.rows, q.columns)), shape=(size, size)) \
        + 1e-6 * scale * (rows.T @ rows) + 1e-12 * scale * identity(size, format="csr")
    right = 1e-6 * scale * (rows.T @ level[whole]) + 1e-12 * scale * point
    np.add.at(right, q.places, q.linear)
    better = spsolve(csc_array(normal), right)
    point = np.where(np.isfinite(better), better, point).astype(np.float32).astype(np.float64)
    point = np.where(np.isfinite(point), point, 0.0)
    first = written.first
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
