"""What a Gaussian block leaves behind, and when a variance that scales all of it stays visible.

If one remaining candidate v scales the whole block (every monomial of the likelihood carries v**q, every
prior scale v**(-q/2)), then in coordinates whitened by the prior nothing depends on v but the quadratic,
which is v**q times its value at v = 1: an inverse gamma or a gamma prior of v is conjugate to that, with
no rule of its own. Where each element of the block goes with one element of a vector v (a mean and a variance
for each group), the quadratic is sum_k v_k**q Q_k, and the Q_k are its derivatives; where rows of it go with
a precision matrix P (normal-Wishart), it is tr(P Q), and Q again its derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.variables import Computed, Latent, Log, Variables
from conjugate_ppl.elimination.owners import Owned, owners
from conjugate_ppl.elimination.scales import ScaleSite
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.program import Program
from conjugate_ppl.triangular import unless_failed

__all__ = ["common_power", "scaled_terms", "what_is_left"]


class Solved(Protocol):
    """A Gaussian block that can be solved at given values."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Its sites."""

    @property
    def block(self) -> GaussianBlock:
        """The block."""

    @property
    def log_integral(self) -> Callable[[Values], Any]:
        """The log of its integral."""

    @property
    def squares_and_volume(self) -> Callable[[Values], tuple[Any, Any]]:
        """The same as what is quadratic, and the rest."""


def what_is_left(program: Program, elimination: Solved, bound: Sequence[Term], priors: Callable[[], list[Term]],
                 visible: frozenset[str], variables: Variables, more: frozenset[str] = frozenset()
                 ) -> tuple[tuple[Term, ...], tuple[str, Fraction] | None, tuple[str, Owned] | None]:
    """The block's log integral, as terms; what scales it (v, q), if numbers do; and the name of the site of scales, if
    each of them has its own part of the block, with what goes with which.

    `bound` are the monomials that held the block, `priors` gives the log densities of its priors; `more` sites may enter the
    integral.
    """
    sites = elimination.block.sites
    roots = more.union(*(t.roots for t in bound), *(
        s.mean.roots for s in sites if s.mean is not None), program.roots(*(s.scale for s in sites)))
    roots -= frozenset(elimination.sites)
    for name in program.latents:
        if name in visible and name in roots:
            if program.sites[name].size > 1:
                owned = owners(program, elimination.block, bound, priors, name, visible)
                if owned is not None:
                    site = ScaleSite(program.sites[name])
                    power = (name, owned.power) if site.rows == 1 else None
                    return _terms_by_part(elimination, site, owned.power, owned.part, roots, variables), power, (name, owned)
                continue
            q = common_power(program, [(s.mean.roots if s.mean is not None else frozenset(), s.scale)
                                       for s in sites], bound, name, visible)
            if q is not None:
                return scaled_terms(elimination.sites, name, q, roots, variables,
                                    elimination.squares_and_volume,
                                    int(elimination.block.flat.sum())), (name, q), None
    whole = Computed(f"the integral over {', '.join(f'`{s}`' for s in elimination.sites)}", 1,
                     False, roots, elimination.log_integral)
    return Value.of(whole, ()).terms, None, None


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


def common_power(program: Program, priors: Sequence[tuple[frozenset[str], int | None]],
                 bound: Sequence[Term], name: str, visible: frozenset[str]) -> Fraction | None:
    """The power q of `name` in all of `bound`, if with -q/2 it scales all priors; these are given by what
    their locations depend on and their scales' numbers."""
    powers = {_power_in(t, name) for t in bound} or _of_scales(program, [n for _, n in priors], name, visible)
    if len(powers) != 1 or None in powers or powers == {Fraction(0)}:
        return None
    (q,) = powers
    assert q is not None
    walk = start_walk(program, visible | {name})
    for roots, number in priors:
        if name in roots:
            return None
        if number is None:
            continue
        (scale,) = walk.run([number])
        for term in scale.terms:
            c = term.coefficient()
            if is_known(c) and not c.any():
                continue
            if _power_in(term, name) != -q / 2:
                return None
    return q


def _of_scales(program: Program, numbers: Sequence[int | None], name: str, visible: frozenset[str]
               ) -> set[Fraction | None]:
    """The power that would go with the prior scales, where no data speak."""
    walk = start_walk(program, visible | {name})
    terms = [t for n in numbers if n is not None for t in walk.run([n])[0].terms]
    found = {_power_in(t, name) for t in terms}
    return {None if p is None else -2 * p for p in found}


def scaled_terms(eliminated: Sequence[str], name: str, q: Fraction, roots: frozenset[str],
                 variables: Variables, parts_at: Callable[[Values], tuple[Any, Any]], flats: int = 0
                 ) -> tuple[Term, ...]:
    """The log integral at v: v**q squares + volume, both (`parts_at`) taken at v = 1."""
    def at_one(values: Values) -> Any:
        one = values.with_sites({name: jnp.ones(values.shape_of(name), values.dtype)})
        return jnp.stack(parts_at(one))

    parts = Computed("the integral over " + ", ".join(f"`{s}`" for s in eliminated), 2, False,
                     roots - {name}, at_one)
    scale = variables.once(("latent", name), lambda: Latent(name, 1, True, frozenset({name}),
                                                           "positive"))
    zero, one = np.zeros((), np.int64), (np.ones(()),)
    squares, volume = (Atom(parts, Fraction(1), np.full((), k)) for k in (0, 1))
    terms = [Term(0, (), one, (squares, Atom(scale, q, zero))), Term(0, (), one, (volume,))]
    if flats:
        log = variables.log(scale)
        assert isinstance(log, Log)
        terms.append(Term(0, (), (np.asarray(-0.5 * float(q) * flats),),
                          (Atom(log, Fraction(1), zero),)))
    return tuple(terms)


def _terms_by_part(elimination: Solved, site: ScaleSite, q: Fraction, owner: np.ndarray,
                   roots: frozenset[str], variables: Variables) -> tuple[Term, ...]:
    """The same for scales of parts; `owner` says which of them each element of the block goes with."""
    name, size = site.site.name, site.site.size

    def at_one(values: Values) -> Any:
        """[squares of each number of the scales ..., volume]"""
        one = jnp.asarray(site.unit, values.dtype)

        def squares(v: Any) -> tuple[Any, Any]:
            return elimination.squares_and_volume(values.with_sites({name: v}))

        slopes, volume = jax.grad(squares, has_aux=True)(one)
        each = unless_failed(site.squares(slopes, q), -jnp.inf)
        return jnp.concatenate([each, volume[None]])

    parts = Computed("the integral over " + ", ".join(f"`{s}`" for s in elimination.sites), size + 1, False,
                     roots - {name}, at_one)
    one = (np.ones((1,)),)
    flat = [s.elements for s in elimination.block.sites if s.scale is None]
    flats = np.bincount(owner[np.concatenate([np.zeros(0, int), *flat])], minlength=site.count)
    terms = [Term(0, (size,), one, (Atom(parts, Fraction(1), np.arange(size)), site.numbers(variables, q))),
             Term(0, (), (np.ones(()),), (Atom(parts, Fraction(1), np.full((), size)),))]
    if flats.any():
        terms.append(site.logarithms(variables, q, flats))
    return tuple(terms)
