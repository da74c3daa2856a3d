"""Gaussian sites, eliminated jointly."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.classes import equal_elements
from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.runtime import Values, raised
from conjugate_ppl.algebra.term import Term, Value, is_known, thin_einsum
from conjugate_ppl.algebra.value import add, collect
from conjugate_ppl.algebra.variables import Latent, Variable, Variables
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.elimination.base import (
    MARGINAL,
    Declined,
    Parts,
    Pool,
    Remnant,
    check_coordinates,
    whole,
)
from conjugate_ppl.elimination.conditionals import Law, laws
from conjugate_ppl.elimination.covariance import what_is_left
from conjugate_ppl.elimination.factored import factored
from conjugate_ppl.elimination.owners import Owned
from conjugate_ppl.elimination.place import Place, point_of
from conjugate_ppl.elimination.points import entering_like_real, is_quadratic, least_squares, single
from conjugate_ppl.elimination.proper import check_proper
from conjugate_ppl.elimination.symbols import signed, start_walk
from conjugate_ppl.elimination.together import added_up, loaded
from conjugate_ppl.elimination.typical import larger_scales, unweighted
from conjugate_ppl.elimination.wordy import too_wordy
from conjugate_ppl.families.registry import CORRELATED
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.posterior import centre, draw, log_probs
from conjugate_ppl.gaussian.quadratic import Quadratic, quadratic
from conjugate_ppl.gaussian.reference import reference
from conjugate_ppl.gaussian.site import BLOCK, GaussianSite
from conjugate_ppl.gaussian.solution import Solution
from conjugate_ppl.gaussian.solve import at_the_mean, log_integral, solve
from conjugate_ppl.program import Program, Site
from conjugate_ppl.triangular import unless_failed

__all__ = ["GaussianElimination", "eliminate_gaussian"]

_OFTEN = 1 << 20  # monomials that are written out more often than needed, for a better point
_LARGEST_REST = 4000  # elements solved densely


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianElimination:
    """Gaussian sites integrated out jointly; `elements` is the variable that holds the block.

    `place` holds the residuals, where there are any; of what eliminations left before, `given` are functions of the block's
    sites.

    `scale` is the latent v that scales it, to be integrated out next, and the power of v that the quadratic carries; or
    None. `by_part` names a site of scales (numbers or matrices) each of which has its part of the block; which,
    `owned` says.
    """

    sites: tuple[str, ...]
    rule: str
    block: GaussianBlock
    elements: Variable
    scale: tuple[str, Fraction] | None = None
    by_part: str = ""
    owned: Owned | None = None
    place: Place | None = None
    given: tuple[Callable[[Values], Any], ...] = ()

    def solution(self, values: Values) -> Solution:
        """The block solved at the given values."""
        return solve(self.block, values)

    def log_integral(self, values: Values) -> Any:
        """The log of the block's integral."""
        if self.place is None:
            return log_integral(self.block, self.solution(values))
        squares, volume = self.squares_and_volume(values)
        return squares + volume

    def squares_and_volume(self, values: Values) -> tuple[Any, Any]:
        """The same as what is quadratic, and the rest."""
        solution = self.solution(values)
        squares = -0.5 * solution.quadratic if self.place is None else self._at_the_mean(values, solution, self.place)
        volume = log_integral(self.block, dataclasses.replace(solution, quadratic=jnp.zeros((), values.dtype)))
        return unless_failed(squares, -jnp.inf), volume

    def _at_the_mean(self, values: Values, solution: Solution, place: Place) -> Any:
        """What holds residuals, less half of the priors' squares, where it is largest."""
        def held(inner: Any, rest: Any) -> Any:
            elements = self.block.join(inner, rest)
            found = self.from_reference(values, elements)
            point = jnp.concatenate([jnp.reshape(found[s.name], -1) for s in self.block.sites])
            there = values.with_sites(self._to_sites(values, elements)) if self.given else values
            return place.left(values, point) + sum(f(there) for f in self.given)

        return at_the_mean(self.block, values, solution, held)

    @property
    def alone(self) -> bool:
        return False

    @property
    def _stretching(self) -> bool:
        """Whether a draw's deviation from the mean is in proportion to what scales the block, and nothing else of it
        depends on that; a rotation mixes elements of different scales."""
        return self.scale is not None and (self.owned is None or self.block.rotation is None)

    def factored_once(self, changing: frozenset[str]) -> bool:
        return not changing or (self._stretching and self.scale is not None and changing <= {self.scale[0]})

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        if self.scale is None or not self._stretching:
            return self._to_sites(values, draw(self.block, self.solution(values), key))
        name, q = self.scale  # solved where the scale is one: once, however many draws follow
        one = values.with_sites({name: jnp.ones(values.shape_of(name), values.dtype)})
        stretch = raised(values.site(name), -q / 2).reshape(-1)
        stretch = stretch[0] if self.owned is None else stretch[self.owned.part]
        return self._to_sites(values, draw(self.block, self.solution(one), key, stretch))

    def log_prob(self, values: Values) -> Any:
        return jnp.sum(self.log_probs(values))

    @property
    def partition(self) -> Parts:
        s, sites = self.block.structure, self.block.sites
        count = len(s.components)
        own = np.where(s.component < 0, count + s.block, s.component)
        if self.block.rotation is not None and not self.block.rotation.within(own):
            joined = whole({t.name: t.shape for t in sites})
            return Parts(joined.elements, np.zeros(self._rows, int))
        rows = np.concatenate([np.arange(count), count + np.arange(self._rows - count)])
        return Parts({t.name: own[t.elements] for t in sites}, rows)

    @property
    def _rows(self) -> int:
        """How many `log_probs` there are."""
        s = self.block.structure
        return len(s.components) + (len(s.blocks) if s.blocks.size else 0)

    def centre(self, values: Values) -> dict[str, Any]:
        return self._to_sites(values, centre(self.block, self.solution(values)))

    def log_probs(self, values: Values) -> Any:
        return log_probs(self.block, self.solution(values), self._to_elements(values))

    def laws(self, values: Values) -> dict[str, Law]:
        return laws(self.block, self.solution(values), lambda e: self._to_sites(values, e))

    def conditionals(self, laws: dict[str, Law]) -> dict[str, Any]:
        return {n: law.distribution() for n, law in laws.items()}

    def _to_sites(self, values: Values, elements: Any) -> dict[str, Any]:
        """z_i = r_i + (A_i(e) + e_i)"""
        own = self.from_reference(values, elements)
        return {s.name: values.number(s.reference.reshape(s.shape)) + own[s.name] for s in self.block.sites}

    def from_reference(self, values: Values, elements: Any) -> dict[str, Any]:
        """z_i - r_i = A_i(e) + e_i"""
        values = values.bound(self.elements, elements)
        out = {}
        for s in self.block.sites:
            own = elements[s.elements].reshape(s.shape)
            out[s.name] = own if s.slope is None else own + values.value(s.slope)
        return out

    def _to_elements(self, values: Values) -> Any:
        """e_i = (z_i - r_i) - A_i(e), site by site: a location holds earlier sites only."""
        elements = jnp.zeros(self.block.size, values.dtype)
        for s in self.block.sites:
            own = values.site(s.name) - values.number(s.reference.reshape(s.shape))
            if s.slope is not None:
                own = own - values.bound(self.elements, elements).value(s.slope)
            elements = elements.at[s.elements].set(own.reshape(-1))
        return elements


def eliminate_gaussian(program: Program, sites: Sequence[str], pool: Pool, touched: Iterable[str],
                       visible: frozenset[str], concrete: bool, wanted: Collection[str] = ()
                       ) -> tuple[GaussianElimination, Pool]:
    """Integrate `sites` (in the model's order, already proved jointly Gaussian) out of `pool`.

    `touched` names the factors that depend on them, `visible` the other candidates, which must stay
    symbolic because they may be eliminated next; those that are `wanted` are integrated out at any price.
    """
    touched = list(touched)
    remnants = [r for n, r in pool.remnants.items() if n in touched]
    about = functools.partial(_write, program, sites, touched, remnants, visible)
    written = about()
    if concrete:
        factors = _factors(program, written, visible, about)
        written = about(None, factors) if factors else written
        origin = _origins(program, written)
        origin.update({s: p for r in remnants for s, p in r.points.items() if s in sites})
        # only what enters quadratically is moved: elsewhere an origin would hide a latent's form
        kept = {s: v for s, v in origin.items() if s not in sites and v.any()}
        bare, about = about, functools.partial(about, {s: origin[s] for s in sites}, {**kept, **factors})
        written = about()
    sites = tuple(sites)
    inside = frozenset(sites)
    free, bound, reduced = added_up(written.terms, written.elements, inside, visible)
    wordy = too_wordy(program, written.sites, reduced, touched, wanted) if concrete else None
    if wordy is not None:
        raise wordy
    block = GaussianBlock(written.sites, reduced)
    multiplied = loaded(block) if concrete and not block.pieced else None
    if multiplied is not None:
        # what is multiplied is no estimate about a point; as one it needs none
        unmoved = functools.partial(bare, {s: origin[s] * (s not in multiplied[0]) for s in sites},
                                   {s: v for s, v in kept.items() if s not in multiplied[1]})
        alone = unmoved()
        again = added_up(alone.terms, alone.elements, inside, visible)
        found = GaussianBlock(alone.sites, again[2])
        if found.pieced:
            about, written, (free, bound, reduced), block = unmoved, alone, again, found
    widest = block.structure.core.blocks.shape[1]
    if widest > _LARGEST_REST:
        rest = frozenset(block.structure.in_rest().tolist())
        big = max((s for s in block.sites if rest.intersection(s.elements.tolist())),
                  key=lambda s: s.size)
        raise Declined(big.name, "its joint Gaussian block would need a dense matrix of "
                       f"{widest} rows", program.sites[big.name].source)
    elimination = GaussianElimination(sites, "jointly Gaussian", block, written.elements)
    left, scale, parts = what_is_left(program, elimination, bound, written.priors, visible, written.variables)
    by_part, owned = parts or ("", None)
    given = tuple(r.given for r in remnants if r.given is not None)
    if (written.walk.residuals or given) and block.whitened and len(given) == len(remnants):
        with contextlib.suppress(Declined):  # elements a point apart may have no form
            point = point_of(block.size)
            place, others = Place.of(point, [t for t in about(point=point).own if not t.roots & inside])
            scaled = scale or (by_part, owned.power if owned else Fraction(0))
            if not scaled[0] or (place.scaled_by(*scaled) and not given):
                free, elimination = others, dataclasses.replace(elimination, place=place, given=given)
                more = place.roots.union(*(t.roots for t in written.left)) - inside
                left, *_ = what_is_left(program, elimination, bound, written.priors, visible, written.variables, more)
    direct = block.plain if not remnants or not any(s.family == "Flat" for s in block.sites) else quadratic(
        reduce_terms(_direct(program, written, remnants), lambda v: 0 if v is written.elements else None))
    check_proper(program, block.sites, direct, concrete, by_part,
                 lambda: _densities(program, written, touched))
    elimination = dataclasses.replace(elimination, scale=scale, by_part=by_part, owned=owned)
    return elimination, pool.replaced(touched, {", ".join(sites) + MARGINAL: (*free, *left)})


@dataclasses.dataclass(frozen=True, eq=False)
class _Written:
    """The block's sites, and the factors that touch them in the block's own coordinates."""

    sites: tuple[GaussianSite, ...]
    elements: Latent
    own: list[Term]  # of factors of the model
    left: list[Term]  # of what eliminations have left
    walk: Walk
    factors: tuple[int, ...]

    @property
    def terms(self) -> list[Term]:
        """All that touches the sites."""
        return [*self.own, *self.left]

    @functools.cached_property
    def linear(self) -> frozenset[Latent]:
        """Kept sites that are not real and enter like real ones, the block's priors too: what scales one of these is not measured
        from a point, about which it is no single factor."""
        found = entering_like_real(self.terms, self.walk.candidates, self.elements)
        return found and found & entering_like_real([*self.terms, *self.priors()], self.walk.candidates, self.elements)

    @property
    def variables(self) -> Variables:
        """What the terms are made of."""
        return self.walk.variables

    def priors(self) -> list[Term]:
        """The log densities of the block's priors."""
        return [t for v in self.walk.run(self.factors) for t in v.terms]


def _write(program: Program, sites: Sequence[str], touched: Sequence[str], remnants: Sequence[Remnant],
           visible: frozenset[str], origin: Mapping[str, np.ndarray] | None = None,
           kept_origin: Mapping[str, np.ndarray] | None = None, point: Variable | None = None) -> _Written:
    """Walk the touched factors in the block's coordinates, about `origin` (default: zero); with a `point` to be given at
    run time about that too, and what the model subtracts is one variable (`algebra/residual.py`)."""
    inside = frozenset(sites)
    size = sum(program.sites[n].size for n in sites)
    elements = Latent(BLOCK, size, False, inside, "real")
    walk = start_walk(program, inside | visible, kept_origin, expanding=point is None)
    out: list[GaussianSite] = []
    first = 0
    for name in sites:
        record = program.sites[name]
        at = np.zeros(record.size) if origin is None else origin[name]
        out.append(_site(program, walk, record, first, at))
        own = Value.of(elements, record.shape, first)
        if point is not None:
            own = add(own, Value.of(point, record.shape, first))
        if out[-1].slope is not None:
            own = collect(record.shape, (*out[-1].slope.terms, *own.terms))
        if at.any():
            own = add(own, Value.known(at.reshape(record.shape)))
        walk.set(program.inputs[name], own)
        first += record.size
    terms = [t for v in walk.run([program.sites[n].factor for n in touched if n in program.sites])
             for t in v.terms]
    left = [t for r in remnants for t in r.write(walk)]
    locations = [t for s in out for v in (s.slope, s.mean) if v is not None for t in v.terms]
    check_coordinates([*terms, *left, *locations], inside, elements, program.sites[sites[0]].source)
    return _Written(tuple(out), elements, terms, left, walk, tuple(program.sites[n].factor for n in sites))


def _direct(program: Program, written: _Written, remnants: Sequence[Remnant]) -> list[Term]:
    """Terms that determine no direction of the block that is not determined at all values of the kept sites."""
    terms = [t for t in written.own if t.roots & frozenset(s.name for s in written.sites)]
    for r in remnants:
        squares = r.squares(written.walk)
        if squares is None:
            flat = next(s.name for s in written.sites if s.family == "Flat")
            raise Declined(flat, "its prior is flat, and what is left of a chain of steps cannot prove that the posterior "
                           "is proper", program.sites[flat].source)
        terms += squares
    return terms


def _densities(program: Program, written: _Written, touched: Collection[str]) -> Iterator[Quadratic]:
    """The quadratics of the factors one by one, where all of them are the model's."""
    inside = frozenset(s.name for s in written.sites)
    for name in touched if program.sites.keys() >= set(touched) else ():
        (value,) = written.walk.run([program.sites[name].factor])
        yield quadratic(reduce_terms([t for t in value.terms if t.roots & inside],
                                     lambda v: 0 if v is written.elements else None))


def _site(program: Program, walk: Walk, record: Site, first: int, at: np.ndarray) -> GaussianSite:
    """The prior of a site, its location split into what is linear in the block, kept and known."""
    slope = mean = None
    known, alike = np.zeros(record.shape), np.zeros(record.shape, np.int64)
    if "loc" in record.parameters:
        (location,) = walk.run([record.parameters["loc"]])
        parts: dict[str, list[Term]] = {"slope": [], "mean": []}
        known = known - at.reshape(record.shape)
        for term in location.terms:
            if not term.atoms and is_known(term.coefficient()):
                known = known + term.coefficient()
            else:
                inside = any(a.variable.name == BLOCK for a in term.atoms)
                parts["slope" if inside else "mean"].append(term)
        slope, mean = (collect(record.shape, p) if p else None for p in parts.values())
        alike = equal_elements(mean) if mean is not None else alike
    scale = record.parameters.get("scale", record.parameters.get("scale_tril"))
    index = np.zeros(0, np.int64)
    covariance = value = None
    spread = np.full(record.shape, np.inf)
    negative = None
    if scale is not None:
        (value,) = walk.run([scale])
        _, first_of, classes = np.unique(equal_elements(value), return_index=True, return_inverse=True)
        index = first_of[classes.reshape(-1)].reshape(value.shape)
        spread = _known_spread(value, record)
        negative = signed(value, record.family)
        if record.family in CORRELATED:
            index = np.broadcast_to(index, (*_events(record), *value.shape[-2:]))
            covariance = factored(program.graph, scale)
    return GaussianSite(record.name, record.shape, first, record.family, at, slope, mean,
                        known.reshape(-1), spread.reshape(-1), alike, scale, index, negative, covariance,
                        value if negative is None else None)


def _events(record: Site) -> tuple[int, ...]:
    """The shape of a site without the axes of an event."""
    return record.shape[:-1] if record.family == "MultivariateNormal" else record.shape[:-2]


def _known_spread(scale: Value, record: Site) -> np.ndarray:
    """The prior's standard deviations, or 0 where they are not known ahead."""
    if not all(is_known(t.coefficient()) and not t.atoms for t in scale.terms):
        return np.zeros(record.shape)
    known = np.broadcast_to(sum(t.coefficient() for t in scale.terms), scale.shape)
    if record.family in CORRELATED:
        events = _events(record)
        known = np.broadcast_to(np.sqrt((known**2).sum(-1)), (*events, scale.shape[-1])).reshape(record.shape)
    return np.broadcast_to(known, record.shape)


def _origins(program: Program, written: _Written) -> dict[str, np.ndarray]:
    """The point of `_reference` by sites, of those of the block and of kept ones."""
    point, numbers = _reference(program, written)
    origin = dict(zip(numbers, np.split(point, [*numbers.values()][1:]), strict=True))
    for s in written.sites:  # a site follows those that its location is linear in
        origin[s.name] = single(origin[s.name] + _level(s, point))
    return origin


def _factors(program: Program, written: _Written, visible: frozenset[str],
             about: Callable[[Mapping[str, np.ndarray] | None, Mapping[str, np.ndarray]], _Written]) -> dict[str, np.ndarray]:
    """Points for kept sites that multiply elements (a mean that is subtracted from what coefficients multiply, a coefficient of
    covariates with error): from their prior means, least squares given the elements, and these given those, in turn."""
    every = [v for t in written.terms for v in _real(t, written) if v.site not in visible]
    multiply = sorted({v.site for t in written.terms if _degree(t, written) > 2 for v in _real(t, written)} - visible)
    sizes = {v.site: v.size for v in every}
    factors = {n: _prior_mean(program, written.walk, n) for n in multiply}
    if sum(math.prod(np.broadcast_shapes(*map(np.shape, t.arrays))) for t in written.terms) > _OFTEN:
        return {n: x for n, x in factors.items() if x.any()}
    means = np.concatenate([s.known for s in written.sites])
    if multiply and (means.any() or any(x.any() for x in factors.values())):
        written = about({s.name: single(s.known + _level(s, means)) for s in written.sites}, factors)
    for again in (True, False) if multiply else ():
        found = least_squares(program, [t for t in written.terms if all(a.variable is not written.elements for a in t.atoms)], sizes)
        factors = {n: single(x + found[n]) for n, x in factors.items()}
        if again:
            origins = _origins(program, about(None, factors))
            written = about({s.name: origins[s.name] for s in written.sites}, factors)
    return {n: x for n, x in factors.items() if x.any()}


def _prior_mean(program: Program, walk: Walk, name: str) -> np.ndarray:
    """The location of a kept site as far as it is known ahead, else 0; that of a `param` site."""
    if name in program.params:
        return np.zeros(math.prod(program.graph.shapes[program.inputs[name]]))
    site = program.sites[name]
    total = np.zeros(site.shape)
    for value in walk.run([site.parameters[n] for n in ("loc",) if n in site.parameters]):
        for term in value.terms:
            if not term.atoms and not term.hidden and is_known(term.coefficient()):
                total = total + term.coefficient()
    return single(total.reshape(-1))


def _reference(program: Program, written: _Written) -> tuple[np.ndarray, dict[str, int]]:
    """A point where the quadratic over the block *and* the kept real sites is small; its layout.

    Single precision, so that subtracting it costs a float32 value no digits. A kept site that multiplies elements counts
    as 0: of `(y - b z)**2` the terms up to degree two are no square.
    """
    numbers = {s.name: s.first for s in written.sites}
    size = sum(s.size for s in written.sites)
    multiplies = frozenset().union(*(_real(t, written) for t in written.terms if _degree(t, written) > 2))
    for t in written.terms:
        for v in (v for v in _real(t, written) if v.site not in numbers and v not in multiplies):
            numbers[v.site] = size
            size += v.size
    places = {**numbers, BLOCK: 0}
    good = [t for t in written.terms if is_quadratic(t, frozenset(places)) and multiplies.isdisjoint(_real(t, written))]
    about = functools.partial(unweighted, program, good, lambda v: places.get(v.name) if isinstance(v, Latent) else None)
    # what is kept may be as far from 0 as what the block's priors are widest for: what both explain they share
    known = np.concatenate([s.spread for s in written.sites])
    known = known[np.isfinite(known) & (known > 0)]
    mean, spread = np.zeros(size), np.full(size, known.max(initial=0.0) or np.inf)
    own = np.repeat(np.arange(len(numbers)), np.diff([*numbers.values(), size]))
    for s in written.sites:
        mean[s.elements], spread[s.elements] = s.known, s.spread
    point = reference(about(), mean, spread, own)
    block = np.arange(size) < sum(s.size for s in written.sites)
    units = np.where(block & np.isfinite(spread) & (spread > 0), (point - mean) / np.where(spread > 0, spread, 1.0), np.nan)
    larger = larger_scales(good, written.elements, units)
    return single(reference(about(larger), mean, spread, own) if larger else point), numbers


def _real(term: Term, written: _Written) -> dict[Latent, Fraction]:
    """The kept sites in a term that may be measured from a point, with their powers: real ones, and those that enter like them."""
    return {v: a.power for a in term.atoms if isinstance(v := a.variable, Latent) and v is not written.elements
            and (v.support == "real" or v in written.linear)}


def _degree(term: Term, written: _Written) -> Fraction:
    """The degree of a term in elements and kept real sites."""
    return sum((a.power for a in term.atoms if a.variable is written.elements), sum(
        _real(term, written).values(), Fraction(0)))


def _level(site: GaussianSite, point: np.ndarray) -> np.ndarray:
    """What a site's location is at the point, as far as that is known ahead."""
    total = np.zeros(site.shape)
    for t in site.slope.terms if site.slope is not None else ():
        if all(a.variable.name == BLOCK for a in t.atoms) and all(is_known(a) for a in t.arrays):
            factors = [*t.coefficients, *(point[a.selection] for a in t.atoms)]
            total = total + thin_einsum(factors, range(t.rank), dict(enumerate(t.hidden, t.rank)))
    return total.reshape(-1)
