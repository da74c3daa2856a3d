"""Gaussian sites that form chains of steps, integrated out by a filter."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree

from conjugate_ppl.algebra.monomial import power
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Term, Value
from conjugate_ppl.algebra.value import add, reshape
from conjugate_ppl.algebra.variables import Computed, Latent, Variable
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.elimination.base import MARGINAL, Declined, Elimination, Parts, Pool, Remnant
from conjugate_ppl.elimination.chain import chain_of, not_in
from conjugate_ppl.elimination.coefficients import quadratic_in, squares_of
from conjugate_ppl.elimination.coordinates import Coordinates, better_coordinates
from conjugate_ppl.elimination.covariance import common_power, scaled_terms
from conjugate_ppl.elimination.path import path, points_beside
from conjugate_ppl.elimination.place import Place, point_of
from conjugate_ppl.elimination.points import single
from conjugate_ppl.elimination.shared import shared_precision
from conjugate_ppl.elimination.wordy import too_wide
from conjugate_ppl.elimination.written import Part, Written, follow, parts_beside, parts_of, write
from conjugate_ppl.noise import normal
from conjugate_ppl.program import Program
from conjugate_ppl.statespace.filter import Steps, log_integral, quadratic
from conjugate_ppl.statespace.model import ChainModel
from conjugate_ppl.statespace.smoother import draw, forward, log_probs, smoothed
from conjugate_ppl.triangular import unless_failed

__all__ = ["StateSpaceElimination", "eliminate_statespace"]


@dataclasses.dataclass(frozen=True, eq=False)
class StateSpaceElimination:
    """Gaussian sites integrated out step by step.

    Of `sites` there may be none, where only a recursion is a chain, which sites beside it enter. `parts` says where the
    elements of each site are, and those of recursions that the sites enter, some of them in `moved` coordinates;
    `origin` is what they are measured from. `beside` holds the elements of sites that all steps share, which are
    integrated out later. `place` is what elements are measured from at run time, where there are residuals. `scale` is a positive site and its power in the quadratic, if it scales all of the chain.
    """

    sites: tuple[str, ...]
    model: ChainModel
    parts: tuple[Part, ...]
    origin: np.ndarray
    moved: Mapping[int, Coordinates]
    beside: tuple[Latent, ...]
    scale: tuple[str, Fraction] | None = None
    place: Place | None = None

    @property
    def rule(self) -> str:
        return "jointly Gaussian"

    def factored_once(self, changing: frozenset[str]) -> bool:
        return not changing

    @property
    def alone(self) -> bool:
        """Whether draws are made faster one at a time: where a step is one function of the compiler, which
        it is not for many draws side by side (thirty times slower)."""
        return self.model.layers.width <= 4 and self.model.many[0] > 100 and jax.default_backend() == "cpu"

    def log_integral(self, values: Values) -> Any:
        """Log of the integral over the sites of all that depends on them, where nothing is beside them."""
        values = self._placed(values)
        out = unless_failed(log_integral(self.model.steps(values)), -jnp.inf)
        return out if self.place is None else out + self.place.left(values)

    def squares_and_volume(self, values: Values) -> tuple[Any, Any]:
        """The same, the squares and what is left."""
        values = self._placed(values)
        square, volume = quadratic(self.model.steps(values))
        square, volume = unless_failed(0.5 * square[0, 0], -jnp.inf), unless_failed(volume, -jnp.inf)
        return square if self.place is None else square + self.place.left(values), volume

    def quadratic(self, values: Values) -> Any:
        """The same as the coefficients of a quadratic in 1 and the elements beside, and a constant."""
        square, volume = quadratic(self.model.steps(values))
        return jnp.append(0.5 * square.reshape(-1), unless_failed(volume, -jnp.inf))

    def _steps(self, values: Values) -> Steps:
        return self.model.steps(values).at(jnp.concatenate([
            jnp.ones(1, values.dtype), *(values.variable(v) for v in self.beside)]))

    def _placed(self, values: Values) -> Values:
        """The values, with what elements are measured from."""
        def mean(values: Values) -> Any:
            return self._from_origin(values, self.model.unpack(jax.vmap(smoothed)(forward(self._steps(values)))[0]))

        return values if self.place is None else self.place.bound(values, mean)

    def _from_origin(self, values: Values, elements: Any) -> Any:
        return elements if self.place is None else elements + values.variable(self.place.point)

    def points(self, beside: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Where the sites are measured from, flat, if those beside the chain are from such points."""
        found = {p: self.origin[p.own] for p in self.parts if not p.exact}
        return {p.site: single(self.moved[p.number].point_back(x, beside)) if p.number in self.moved else x for p, x in found.items()}

    def _to_sites(self, values: Values, elements: Any) -> dict[str, Any]:
        elements = self._from_origin(values, elements)
        found = {}
        for p in (p for p in self.parts if not p.exact):
            own = (elements[p.own] + values.number(self.origin[p.own])).reshape(p.shape)
            found[p.site] = self.moved[p.number].numbers_back(values, own) if p.number in self.moved else own
        return found

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        if not self.sites:  # those beside are not known yet
            return {}
        return self.from_noise(values, normal(key, self.model.shape, values.dtype))

    def from_noise(self, values: Values, noise: Any) -> dict[str, Any]:
        """The sites at standard normal noise of all steps, in which they are affine."""
        values = self._placed(values)
        found = jax.vmap(draw)(forward(self._steps(values)), noise)
        return self._to_sites(values, self.model.unpack(found))

    @property
    def partition(self) -> Parts:
        n = self.model.layers
        return Parts({p.site: n.chain[p.own] for p in self.parts if not p.exact}, np.repeat(np.arange(n.chains), n.steps))

    def centre(self, values: Values) -> dict[str, Any]:
        return {n: mean for n, (mean, _) in self.laws(values).items()}

    def log_prob(self, values: Values) -> Any:
        return jnp.sum(self.log_probs(values)) if self.sites else values.number(0.0)

    def log_probs(self, values: Values) -> Any:
        values = self._placed(values)
        x = jnp.concatenate([self._part(values, p).reshape(-1) - values.number(self.origin[p.own])
                             for p in self.parts])
        x = x if self.place is None else x - values.variable(self.place.point)
        packed, noisy = self.model.pack(x), self.model.noisy
        missing = noisy.shape[-1] - noisy.sum(-1)  # places without noise, which count as standard normal at 0
        found = jax.vmap(log_probs)(forward(self._steps(values)), packed, noisy)
        return (found + values.number(0.5 * np.log(2 * np.pi) * missing)).reshape(-1)

    def _part(self, values: Values, part: Part) -> Any:
        own = values.evaluate(part.number) if part.exact else values.site(part.site)
        return self.moved[part.number].numbers(values, own) if part.number in self.moved else own

    def laws(self, values: Values) -> dict[str, tuple[Any, Any]]:
        if not self.sites:
            return {}
        values = self._placed(values)
        mean, variance = (self.model.unpack(x) for x in jax.vmap(smoothed)(forward(self._steps(values))))
        means = self._to_sites(values, mean)
        return {p.site: (means[p.site], variance[p.own].reshape(p.shape)) for p in self.parts if not p.exact}

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
                         visible: frozenset[str], concrete: bool, beside: Sequence[str] = (), wanted: Collection[str] = ()
                         ) -> tuple[StateSpaceElimination, Pool]:
    """Integrate `sites` (in the model's order, already proved jointly Gaussian) out of `pool`.

    What is left is a quadratic in the sites `beside`, proved jointly Gaussian with the others. What is `wanted` is so at any
    price.

    Raises:
        Beside: for a site that had better be one of those.
        Declined: for one that has to stay.
    """
    touched = list(touched)
    for name in sites:
        if program.sites[name].family == "Flat":
            raise not_in(program, name, frozenset(), "its prior is flat, and it is one of a chain of steps")
    points = {n: np.zeros(program.sites[n].size) for n in beside}
    parts, equations = parts_of(program, sites, touched, visible, beside)
    origin = np.zeros(sum(p.size for p in parts))
    written = write(program, parts, equations, touched, visible, origin, points, {})
    moved = better_coordinates(written, parts_beside(program, beside, 2 * len(origin)))
    variables = written.walk.variables

    def rewritten(point: Variable | None = None) -> Written:
        return write(program, parts, equations, touched, visible, origin, points, moved, variables, point)

    written = rewritten() if moved else written
    model = chain_of(program, sites, written)
    if concrete and (wide := too_wide(program, model.layers, sites, touched, wanted)) is not None:
        raise wide
    if concrete:
        if beside:
            points = points_beside(program, model, written, points)
            written = rewritten()
        origin = path(program, written)
        written = rewritten()
        model = chain_of(program, sites, written)
    precision = functools.cache(lambda: shared_precision(written) if concrete else None)
    for name in (n for n in beside if program.sites[n].family == "Flat" and precision() is None):
        raise Declined(name, "its prior is flat, and how much the steps of a chain say of it depends on "
                       + ("kept sites" if concrete else "traced data") + ", so that a proper posterior is not proved",
                       program.sites[name].source)
    elimination = StateSpaceElimination(tuple(sites), model, parts, origin, moved, written.beside)
    roots = frozenset().union(*(program.roots(program.sites[n].factor) for n in (*touched, *sites)))
    roots -= frozenset(sites) | frozenset(beside)
    spoken_of = sites or touched
    what = ("the integral over " if sites else "the recursion in ") + ", ".join(f"`{s}`" for s in spoken_of)
    name = ", ".join(spoken_of) + MARGINAL
    priors = [(program.roots(r.parameters["loc"]), r.parameters.get("scale", r.parameters.get("scale_tril")))
              for r in (program.sites[n] for n in sites)]
    priors += [(program.roots(p.number) | moved[p.number].roots, None) for p in parts if p.number in moved]
    priors += [(program.roots(p.number), None) for p in parts if p.exact and p.number not in moved]
    powers = ((n, common_power(program, priors, written.bound, n, visible | frozenset(sites)))
              for n in program.latents if n in visible & roots)
    scaling, q = next(((n, p) for n, p in powers if p is not None), ("", Fraction(0)))
    free: Sequence[Term] = written.free
    if written.walk.residuals and not beside:
        with contextlib.suppress(Declined):  # measured from a known point it may still have a form
            point = point_of(len(origin))
            placed = rewritten(point)
            place, others = Place.of(point, placed.free)
            if not scaling or place.scaled_by(scaling, q):
                elimination = dataclasses.replace(elimination, model=chain_of(program, sites, placed), place=place)
                free = others
    elimination = dataclasses.replace(elimination, scale=(scaling, q) if scaling else None)
    if not beside:
        left = Value.of(Computed(what, 1, False, roots, elimination.log_integral), ()).terms
        if scaling:
            left = scaled_terms(sites, scaling, q, roots, variables, elimination.squares_and_volume)
        return elimination, pool.replaced(touched, {name: (*free, *left)})
    columns = 1 + model.beside

    def coefficients(values: Values) -> Any:
        one = {scaling: jnp.ones(values.shape_of(scaling), values.dtype)} if scaling else {}
        return elimination.quadratic(values.with_sites(one))

    marginal = Computed(what, columns**2 + 1, False, roots - {scaling}, coefficients)

    def scale(walk: Walk) -> Value:
        return power(walk, walk.run([program.inputs[scaling]])[0], q) if scaling else Value.known(np.ones(()))

    def remnant(walk: Walk) -> tuple[Term, ...]:
        for p in parts:
            own = Value.known(origin[p.own].reshape(p.shape))
            walk.set(p.number, moved[p.number].back(walk, own) if p.number in moved else own)
        follow(walk, equations)
        terms = [t for v in walk.run([program.sites[n].factor for n in touched]) for t in v.terms]
        return (*terms, *quadratic_in(marginal, centred(walk), columns, scale(walk)).terms)

    def centred(walk: Walk) -> list[Value]:
        return [add(reshape(v, (points[n].size,)), Value.known(-points[n])) for n in beside
                for v in walk.run([program.inputs[n]])]

    def squares(walk: Walk) -> tuple[Term, ...] | None:
        found = precision()
        return None if found is None else squares_of(centred(walk), found).terms

    given: Callable[[Values], Any] | None = None
    if not sites and not scaling:  # what the model's own loop says, which may carry off any errors (`nu[t] = th * (y - nu)[t-1]`)
        def given(values: Values) -> Any:
            return sum(values.evaluate(program.sites[n].factor) for n in touched)
    elif written.walk.residuals and sites and not any(p.exact for p in parts if p.number in moved) and not scaling:
        with contextlib.suppress(Declined):
            point = point_of(len(origin))
            placed = write(program, parts, equations, touched, visible - frozenset(beside), origin, {}, moved, variables, point)
            given = StateSpaceElimination(tuple(sites), chain_of(program, sites, placed), parts, origin, moved, (),
                                          place=Place.of_all(point, placed.free)).log_integral
    own = [Value.of(v, (v.size,)) for v in written.beside]
    left = *written.free, *quadratic_in(marginal, own, columns, scale(written.walk)).terms
    return elimination, pool.replaced(touched, {name: left}, {name: Remnant(remnant, points, squares, given)})
