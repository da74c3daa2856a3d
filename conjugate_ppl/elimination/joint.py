"""Gaussian sites, eliminated jointly.

Proof obligations, checked here on the monomials: every factor that touches the block is a polynomial of
degree two or less in its elements, every location is affine in them, every scale is free of them,
squares come from densities (not from `factor` statements), and flat priors leave a proper posterior
at every value of the kept sites.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.value import Atom, Term, Value, add, collect, is_known
from conjugate_ppl.algebra.variables import Computed, Latent, Log, Variable, Variables
from conjugate_ppl.algebra.walk import Walk, latent_value
from conjugate_ppl.elimination.base import Declined, Pool, describe
from conjugate_ppl.families.normal import GAUSSIAN
from conjugate_ppl.gaussian.assemble import quadratic, reference
from conjugate_ppl.gaussian.block import GaussianBlock, GaussianSite
from conjugate_ppl.gaussian.linear import product
from conjugate_ppl.gaussian.solve import Solution, draw, log_integral, log_prob, moments, solve
from conjugate_ppl.program import Program

__all__ = ["GaussianElimination", "conflicts", "eliminate_gaussian"]

_BLOCK = "<block>"  # the one variable that holds all elements of a block
_LARGEST_REST = 4000  # elements solved densely
_RANK = 1e-11  # smallest eigenvalue of a scaled Gram matrix that counts as full rank
_DENSE_CONDITIONAL = 2000  # sites up to this size get a conditional with its full covariance


def block_degree(term: Term, sites: frozenset[str]) -> tuple[int, Atom | None]:
    """Degree in the elements of `sites`, and the first atom that is no such element."""
    degree = 0
    for atom in term.atoms:
        if not atom.variable.roots & sites:
            continue
        plain = isinstance(atom.variable, Latent) and atom.power in (1, 2, 3, 4)
        if not plain:
            return degree, atom
        degree += int(atom.power)
    return degree, None


def conflicts(program: Program, sites: frozenset[str], values: Mapping[str, Value],
              locations: Mapping[str, Value], scales: Mapping[str, Value]) -> list[Declined]:
    """What stands against eliminating `sites` jointly, worst first; empty if nothing does.

    `values` are the factors that touch the sites (their own priors left out), `locations` and `scales`
    the parameters of their priors.
    """
    found: list[Declined] = []
    for name, value in values.items():
        owner = program.sites[name]
        for term in value.terms:
            degree, odd = block_degree(term, sites)
            if odd is not None:
                for site in sorted(odd.variable.roots & sites):
                    reason, source = describe(odd.variable, odd.power, site)
                    found.append(Declined(site, f"{reason} in `{name}`", source or owner.source))
            elif degree > 2:
                found.append(_too_high(program, term, sites, name))
            elif degree == 2 and owner.auxiliary:
                for site in sorted(term.roots & sites):
                    found.append(Declined(site, f"its square enters the factor statement `{name}`",
                                          owner.source))
    for name, value in locations.items():
        for term in value.terms:
            degree, odd = block_degree(term, sites)
            if odd is not None:
                for site in sorted(odd.variable.roots & sites):
                    reason, source = describe(odd.variable, odd.power, site)
                    found.append(Declined(site, f"{reason} in the location of `{name}`",
                                          source or program.sites[name].source))
            elif degree > 1:
                found.append(_too_high(program, term, sites, name))
    for name, value in scales.items():
        for site in sorted(value.roots & sites):
            found.append(Declined(site, f"the scale of `{name}` depends on it",
                                  program.sites[name].source))
    return found


def _too_high(program: Program, term: Term, sites: frozenset[str], name: str) -> Declined:
    """Of sites that multiply each other the one with the fewest elements stays with the sampler."""
    inside = sorted(term.roots & sites, key=lambda s: (program.sites[s].size,
                                                       -list(program.sites).index(s)))
    source = program.sites[name].source
    if len(inside) == 1:
        return Declined(inside[0], f"it enters `{name}` to a power above two", source)
    others = " and ".join(f"`{s}`" for s in inside[1:])
    return Declined(inside[0], f"it multiplies {others} in `{name}`, and only one of them can be "
                    f"integrated out; {others} has more elements or comes first", source)


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianElimination:
    """Gaussian sites integrated out jointly."""

    sites: tuple[str, ...]
    rule: str
    block: GaussianBlock

    def solution(self, values: Values) -> Solution:
        """The block solved at the given values."""
        return solve(self.block, values)

    def log_integral(self, values: Values) -> Any:
        """The log of the block's integral."""
        return log_integral(self.block, self.solution(values))

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        deviations = draw(self.block, self.solution(values), key)
        out: dict[str, Any] = {}
        for s in self.block.sites:
            own = deviations[s.first : s.first + s.size].reshape(s.shape)
            if s.location is None:
                centre = values.number(s.reference.reshape(s.shape))
            else:
                centre = values.evaluate(s.location)
            out[s.name] = centre + own
            values = values.with_sites({s.name: out[s.name]})
        return out

    def deviations(self, values: Values) -> Any:
        """T u of given values of the block's sites."""
        parts = []
        for s in self.block.sites:
            x = values.site(s.name)
            centre = values.number(s.reference.reshape(s.shape)) if s.location is None else \
                values.evaluate(s.location)
            parts.append((x - centre).reshape(-1))
        return jnp.concatenate(parts)

    def log_prob(self, values: Values) -> Any:
        return log_prob(self.block, self.solution(values), self.deviations(values))

    def conditionals(self, values: Values) -> dict[str, Any]:
        return conditionals(self.block, self.solution(values), values)


def conditionals(block: GaussianBlock, solution: Solution, values: Values) -> dict[str, Any]:
    """The exact marginal of each site given the kept ones: multivariate normal over its elements.

    The sites are affine in the deviations T u, site by site in the model's order, so their joint law
    follows by pushing the deviations' mean and covariance through `jax.linearize` of that map.
    """
    deviation_mean, inner, loading, rest_cov, _ = moments(block, solution)

    def to_sites(deviations: Any) -> dict[str, Any]:
        current = values
        out = {}
        for s in block.sites:
            own = deviations[s.first : s.first + s.size].reshape(s.shape)
            centre = current.number(s.reference.reshape(s.shape)) if s.location is None else \
                current.evaluate(s.location)
            out[s.name] = centre + own
            current = current.with_sites({s.name: out[s.name]})
        return out

    mean, push = jax.linearize(to_sites, deviation_mean)
    small = [s for s in block.sites if s.size <= _DENSE_CONDITIONAL]
    large = [s for s in block.sites if s.size > _DENSE_CONDITIONAL]
    out: dict[str, Any] = {}
    dense = bool(small) and block.size <= 2 * _DENSE_CONDITIONAL
    root = _covariance_root(block, inner, loading, rest_cov, dense)
    images = jax.vmap(push, in_axes=1, out_axes=-1)(root)
    for s in block.sites:
        factor = images[s.name].reshape(s.size, -1)
        loc = mean[s.name].reshape(-1)
        if dense and s not in large:
            covariance = product("ik,jk->ij", factor, factor)
            if s.size == 1:
                out[s.name] = dist.Normal(mean[s.name], jnp.sqrt(covariance).reshape(s.shape))
                continue
            flat = dist.MultivariateNormal(loc, covariance_matrix=covariance)
        else:
            # one element a component: diagonal, plus low rank through the rest
            if not _own_component(block, s):
                continue
            c, p = _component_places(block, s)
            through_rest = factor[:, : len(block.structure.rest)]
            flat = dist.LowRankMultivariateNormal(loc, through_rest, inner[c, p, p])
        if len(s.shape) > 1:
            out[s.name] = _Reshaped(flat, dist.transforms.ReshapeTransform(s.shape, (s.size,)))
        else:
            out[s.name] = flat
    return out


def _component_places(block: GaussianBlock, site: GaussianSite) -> tuple[np.ndarray, np.ndarray]:
    elements = np.arange(site.first, site.first + site.size)
    return block.structure.component[elements], block.structure.place[elements]


def _own_component(block: GaussianBlock, site: GaussianSite) -> bool:
    """Whether each element of a site has a component of its own, and no other site's component
    enters its location."""
    c, _ = _component_places(block, site)
    if (c < 0).any() or len(np.unique(c)) != len(c):
        return False
    others = [s for s in block.sites if s is not site and (_component_places(block, s)[0] >= 0).any()]
    names = {s.name for s in others}
    return site.mean is None or not (names & site.parents)


class _Reshaped(dist.TransformedDistribution):  # type: ignore[misc]
    """A vector's distribution as that of an array; keeps its mean and variance."""

    def __init__(self, base: Any, transform: Any) -> None:
        super().__init__(base, transform)

    @property
    def mean(self) -> Any:
        return self.transforms[0](self.base_dist.mean)

    @property
    def variance(self) -> Any:
        return self.transforms[0](self.base_dist.variance)


def _covariance_root(block: GaussianBlock, inner: Any, loading: Any, rest_cov: Any, full: bool
                     ) -> Any:
    """A matrix F, one row an element, with F F' the covariance of the deviations (with `full` False:
    the part of it that comes through the rest).

    By eigenvalues, which may be zero: a scale of zero is no error here.
    """
    s = block.structure
    count, width = s.components.shape
    of_rest = np.arange(len(s.rest))
    rest_root = _symmetric_root(rest_cov)
    own = count * width if full else 0
    out = jnp.zeros((block.size + 1, len(s.rest) + own), rest_cov.dtype)
    out = out.at[s.rest[:, None], of_rest[None, :]].set(rest_root)
    if count:
        rows = s.components[:, :, None]
        out = out.at[rows, of_rest[None, None, :]].set(product("cir,rk->cik", loading, rest_root))
        if full:
            columns = len(s.rest) + np.arange(count * width).reshape(count, 1, width)
            out = out.at[rows, columns].set(_symmetric_root(inner))
    return out[: block.size]


def _symmetric_root(covariance: Any) -> Any:
    if not covariance.size:
        return covariance
    values, vectors = jnp.linalg.eigh(covariance)
    return vectors * jnp.sqrt(jnp.maximum(values, 0))[..., None, :]


# -- building -------------------------------------------------------------------------------------


def eliminate_gaussian(program: Program, sites: Sequence[str], pool: Pool, touched: Iterable[str],
                       visible: frozenset[str], concrete: bool
                       ) -> tuple[GaussianElimination, Pool]:
    """Integrate `sites` (in the model's order, already proved jointly Gaussian) out of `pool`.

    `touched` names the factors that depend on them, `visible` the other candidates, which must stay
    symbolic because they may be eliminated next.
    """
    touched = list(touched)
    block, terms, variables = _build(program, sites, touched, visible, None, None)
    _, first_q, numbers = block
    origin, kept_origin = None, None
    if concrete:
        point = reference(first_q, sum(_size(program, s) for s in numbers))
        origin = {s: point[o : o + _size(program, s)] for s, o in numbers.items()}
        # only what enters quadratically is moved: elsewhere an origin would hide a latent's form
        kept_origin = {s: v for s, v in origin.items() if s not in sites and v.any()}
        block, terms, variables = _build(program, sites, touched, visible,
                                         {s: origin[s] for s in sites}, kept_origin)
    gaussian_sites, _, _ = block
    inside = frozenset(sites)

    def place(v: Variable) -> int | None:
        return 0 if isinstance(v, Latent) and v.site == _BLOCK else None

    free = [t for t in terms if not t.roots & inside]
    bound = [t for t in terms if t.roots & inside]
    reduced = reduce_terms(bound, place)
    final = GaussianBlock(gaussian_sites, reduced)
    if len(final.structure.rest) > _LARGEST_REST:
        big = max((s for s in gaussian_sites if (final.structure.component[s.first] < 0)),
                  key=lambda s: s.size)
        raise Declined(big.name, f"its joint Gaussian block would need a dense matrix of "
                       f"{len(final.structure.rest)} rows", program.sites[big.name].source)
    _check_proper(program, final, concrete)
    elimination = GaussianElimination(tuple(sites), "jointly Gaussian", final)
    name = f"{', '.join(sites)} (marginal)"
    left = _what_is_left(program, elimination, bound, visible, variables)
    return elimination, pool.replaced(touched, {name: (*free, *left)})


def _size(program: Program, name: str) -> int:
    return int(np.prod(program.graph.shapes[program.inputs[name]]))


def _build(program: Program, sites: Sequence[str], touched: Sequence[str], visible: frozenset[str],
           origin: Mapping[str, np.ndarray] | None, kept_origin: Mapping[str, np.ndarray] | None
           ) -> tuple[Any, list[Term], Variables]:
    """Walk the touched factors in the block's own coordinates.

    Without an origin, also returns a quadratic over the block *and* the kept real sites, from which
    the reference point is found.
    """
    variables = Variables()
    inside = frozenset(sites)
    walk = Walk(program.graph, {}, inside | visible, variables)
    for name, number in program.inputs.items():
        if name in inside:
            continue
        record = program.sites.get(name)
        shape = program.graph.shapes[number]
        support = record.support if record is not None and not record.discrete else "other"
        at = (kept_origin or {}).get(name)
        walk.set(number, latent_value(name, shape, support, variables, at))
    size = sum(program.sites[n].size for n in sites)
    joint = Latent(_BLOCK, size, False, inside, "real")
    gaussian_sites = []
    offset = 0
    for name in sites:
        record = program.sites[name]
        at = np.zeros(record.size) if origin is None else origin[name]
        elements = offset + np.arange(record.size).reshape(record.shape)
        one = np.ones((1,) * len(record.shape))
        base = Value(record.shape, (Term(len(record.shape), (), (one,),
                                         (Atom(joint, Fraction(1), elements),)),))
        if origin is not None:
            base = add(base, Value.known(at.reshape(record.shape)))
        mean = None
        if record.family in GAUSSIAN[:2]:
            (location,) = walk.run([record.parameters["loc"]])
            moving = tuple(t for t in location.terms if t.roots & inside)
            still = tuple(t for t in location.terms if not t.roots & inside)
            mean = collect(record.shape, still) if still else Value.known(np.zeros(record.shape))
            mean = add(mean, Value.known(at.reshape(record.shape)), -1)
            base = collect(record.shape, (*moving, *base.terms))
        scale = record.parameters.get("scale", record.parameters.get("scale_tril"))
        gaussian_sites.append(GaussianSite(
            name, record.shape, offset, record.family, mean, record.parameters.get("loc"), scale,
            program.graph.shapes[scale] if scale is not None else (), at,
            _number_roots(program, record.parameters["loc"]) & inside if mean is not None
            else frozenset()))
        offset += record.size
        walk.set(program.inputs[name], base)
    terms = [t for v in walk.run([program.sites[n].factor for n in touched]) for t in v.terms]
    numbers: dict[str, int] = {s.name: s.first for s in gaussian_sites}
    q = None
    if origin is None:
        for t in terms:
            for a in t.atoms:
                v = a.variable
                if isinstance(v, Latent) and v.support == "real" and (
                        v.site not in numbers and v is not joint):
                    numbers[v.site] = offset
                    offset += v.size
        places = {**numbers, _BLOCK: 0}
        good = [t for t in terms if _is_quadratic(t, frozenset(places))]
        q = quadratic(reduce_terms(good, lambda v: places.get(v.name)
                                   if isinstance(v, Latent) else None))
    return (tuple(gaussian_sites), q, numbers), terms, variables


def _is_quadratic(term: Term, real: frozenset[str]) -> bool:
    degree = 0
    for atom in term.atoms:
        v = atom.variable
        if isinstance(v, Latent) and v.site in real:
            if atom.power.denominator != 1 or atom.power < 1:
                return False
            degree += int(atom.power)
        elif v.roots & real and not v.positive:
            return False
    return 1 <= degree <= 2 and all(is_known(a) for a in term.arrays)


def _check_proper(program: Program, block: GaussianBlock, concrete: bool) -> None:
    """Flat sites: the data must determine them, whatever the kept sites are.

    H restricted to the flat elements is sum_w weight_w G_w. If every weight is positive and every G_w
    positive semidefinite, its rank is that of sum_w G_w, the same for all kept values.
    """
    flats = [s for s in block.sites if s.family == "Flat"]
    if not flats:
        return
    if not concrete:
        raise Declined(flats[0].name, "its prior is flat, and traced data cannot prove that the "
                       "posterior is proper", program.sites[flats[0].name].source)
    q = block.quadratic
    number = np.full(block.size, -1)
    owner: list[str] = []
    for s in flats:
        number[s.first : s.first + s.size] = len(owner) + np.arange(s.size)
        owner += [s.name] * s.size
    n = len(owner)
    keep = (number[q.rows] >= 0) & (number[q.columns] >= 0)
    used, local = np.unique(q.weights[keep], return_inverse=True)
    first = flats[0].name
    source = program.sites[first].source
    if not q.fixed or len(used) * n * n > 1 << 23:
        raise Declined(first, "its prior is flat, and the design depends on kept sites, so that a "
                       "proper posterior is not proved", source)
    table = np.zeros((len(used), n, n))
    np.add.at(table, (local.reshape(-1), number[q.rows[keep]], number[q.columns[keep]]),
              q.numbers[keep])
    total = table.sum(0)
    diagonal = np.diagonal(total)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    table = table * scale[:, None] * scale[None, :]
    if (len(used) and (np.linalg.eigvalsh(table) < -1e-9).any()) or not (
            q.reduced.weights.positive(q.weights[keep])):
        raise Declined(first, "its prior is flat, and the design depends on kept sites, so that a "
                       "proper posterior is not proved", source)
    values, vectors = np.linalg.eigh(table.sum(0)) if len(used) else (np.zeros(n), np.eye(n))
    null = vectors[:, values < _RANK * n]
    if null.shape[1]:
        loose = np.flatnonzero(np.abs(null).max(1) > 1e-6)
        site = owner[loose[0]]
        raise Declined(site, f"its prior is flat and the data do not determine it: the design of the "
                       f"flat sites has rank {n - null.shape[1]} of {n}",
                       program.sites[site].source)


def _what_is_left(program: Program, elimination: GaussianElimination, bound: Sequence[Term],
                  visible: frozenset[str], variables: Variables) -> tuple[Term, ...]:
    """The block's log integral, as terms.

    If one remaining candidate v scales the whole block (every monomial of the likelihood carries
    v**q, every prior scale v**(-q/2)), then in coordinates whitened by the prior nothing depends on
    v but the quadratic, which is v**q times its value at v = 1: an inverse gamma or a gamma prior of v
    is conjugate to that, with no rule of its own.
    """
    roots = frozenset().union(*(t.roots for t in bound), *(
        s.mean.roots for s in elimination.block.sites if s.mean is not None),
        *(_number_roots(program, s.scale) for s in elimination.block.sites if s.scale is not None))
    roots -= frozenset(elimination.sites)
    for name in program.latents:
        if name in visible and name in roots:
            q = _common_power(program, elimination, bound, name, visible)
            if q is not None:
                return _scaled_terms(elimination, name, q, roots, variables)
    whole = Computed(f"the integral over {', '.join(f'`{s}`' for s in elimination.sites)}", 1,
                     False, roots, elimination.log_integral)
    return Value.of(whole, ()).terms


def _number_roots(program: Program, number: int) -> frozenset[str]:
    names = list(program.inputs)
    return frozenset(names[k] for k in program.graph.dependencies.get(number, frozenset()))


def _power_in(term: Term, name: str) -> Fraction | None:
    """The power of scalar `name` in a term; None if it enters otherwise."""
    total = Fraction(0)
    for atom in term.atoms:
        if name not in atom.variable.roots:
            continue
        if not (isinstance(atom.variable, Latent) and atom.variable.size == 1):
            return None
        total += atom.power
    return total


def _common_power(program: Program, elimination: GaussianElimination, bound: Sequence[Term],
                  name: str, visible: frozenset[str]) -> Fraction | None:
    powers = {_power_in(t, name) for t in bound}
    if len(powers) != 1 or None in powers or powers == {Fraction(0)}:
        return None
    (q,) = powers
    assert q is not None
    variables = Variables()
    walk = Walk(program.graph, {}, visible | {name}, variables)
    for other, number in program.inputs.items():
        record = program.sites.get(other)
        support = record.support if record is not None and not record.discrete else "other"
        walk.set(number, latent_value(other, program.graph.shapes[number], support, variables))
    for s in elimination.block.sites:
        if s.mean is not None and name in s.mean.roots:
            return None
        if s.scale is None:
            continue
        (scale,) = walk.run([s.scale])
        for term in scale.terms:
            c = term.coefficient()
            if is_known(c) and not c.any():
                continue
            if _power_in(term, name) != -q / 2:
                return None
    return q


def _scaled_terms(elimination: GaussianElimination, name: str, q: Fraction, roots: frozenset[str],
                  variables: Variables) -> tuple[Term, ...]:
    free = roots - {name}

    def at_one(values: Values) -> Values:
        return values.with_sites({name: jnp.ones(elimination_shape(values, name), values.dtype)})

    def squares(values: Values) -> Any:
        return -0.5 * elimination.solution(at_one(values)).quadratic

    def volume(values: Values) -> Any:
        solution = elimination.solution(at_one(values))
        return log_integral(elimination.block, dataclasses.replace(
            solution, quadratic=jnp.zeros((), values.dtype)))

    what = ", ".join(f"`{s}`" for s in elimination.sites)
    scale = variables.once(("latent", name), lambda: Latent(name, 1, True, frozenset({name}),
                                                           "positive"))
    zero = np.zeros((), np.int64)
    quad = Computed(f"the squares of {what}", 1, False, free, squares)
    rest = Computed(f"the volume of {what}", 1, False, free, volume)
    one = (np.ones(()),)
    terms = [
        Term(0, (), one, (Atom(quad, Fraction(1), zero), Atom(scale, q, zero))),
        Term(0, (), one, (Atom(rest, Fraction(1), zero),)),
    ]
    flats = int(elimination.block.flat.sum())
    if flats:
        log = variables.log(scale)
        assert isinstance(log, Log)
        terms.append(Term(0, (), (np.asarray(-0.5 * float(q) * flats),),
                          (Atom(log, Fraction(1), zero),)))
    return tuple(terms)


def elimination_shape(values: Values, name: str) -> tuple[int, ...]:
    """Shape of a scalar site's value (it may have axes of size 1)."""
    return tuple(values.shape_of(name))
