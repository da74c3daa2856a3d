"""One site of a conjugate family, element by element (Sokoloski, arXiv 2404.19501, section 2).

Everything that touches the site z must be affine in its statistics: each monomial holds at most one of
them. Their coefficients, added up per element, are the contribution c; then

    posterior natural = prior natural + c,
    log marginal = terms without z + log_partition(prior + c) - log_partition(prior).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.residual import Residual
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.variables import Complement, Computed, Elementwise, Latent, Log, Variable
from conjugate_ppl.elimination.base import MARGINAL, Declined, Parts, Pool, article, describe, spoken
from conjugate_ppl.elimination.conjugate import ConjugateElimination, Contribution
from conjugate_ppl.elimination.points import point_of_rows
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.elimination.wordy import is_wordy
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.families.registry import Family
from conjugate_ppl.program import Program

__all__ = ["ElementwiseElimination", "choose_family", "eliminate_elementwise", "named", "statistic_of"]

_FEWER = 4  # times that there must be fewer numbers than rows


def statistic_of(atom: Atom, site: str) -> str:
    """The statistic of `site` that an atom is ("z", "1/z", "z^2", "log z", "log(1-z)", ...), or ""."""
    variable, power = atom.variable, atom.power
    base, form = variable, "z"
    if isinstance(variable, Log):
        base, form = variable.base, "log z"
        if isinstance(base, Complement):
            base, form = base.base, "log(1-z)"
    elif isinstance(variable, Elementwise) and (variable.coefficient, variable.power) == (1.0, 1.0):
        base, form = variable.base, f"{variable.primitive} z"
    if not (isinstance(base, Latent) and base.site == site):
        return ""
    return named(form, power)


def named(form: str, power: Fraction) -> str:
    """The name of a power of "z" or of a function of it."""
    if power == 1:
        return form
    if form == "z":
        return "1/z" if power == -1 else f"z^{power}"
    return f"({form})^{power}"


def choose_family(program: Program, site: str, pool: Pool) -> tuple[str, bool]:
    """(the family that the prior of a site is to be taken for, whether all that enters is a statistic of it).

    The first choice if it fits, else the one with most of the statistics that enter.
    """
    record = program.sites[site]
    terms = [t for ts in pool.touching(site).values() for t in ts]
    entering = {statistic_of(a, site) for t in terms for a in t.atoms if site in a.variable.roots}
    alone = all(sum(site in a.variable.roots for a in t.atoms) < 2 for t in terms)
    candidates = [n for n in (record.family, *record.alternatives) if n]
    best = max(candidates, key=lambda n: len(entering & set(FAMILIES[n].statistics)))
    return best, alone and entering <= set(FAMILIES[best].statistics)


@dataclasses.dataclass(frozen=True, eq=False)
class ElementwiseElimination(ConjugateElimination):
    """A site integrated out element by element; see the module's docstring."""

    contributions: tuple[Contribution, ...]
    origin: np.ndarray | None = None
    """What the site is measured from in the contributions, if not 0, of its shape."""

    def natural(self, values: Values) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(prior natural parameter, contribution), one array of the site's shape a statistic."""
        prior, added = self._prior(values), self._added(values)
        return prior, added if self.origin is None else self._from_zero(added, values.number(self.origin))

    def _prior(self, values: Values) -> tuple[Any, ...]:
        assert self.family.natural is not None
        given = {k: jnp.asarray(values.evaluate(n), values.dtype)
                 for k, n in self.parameters.items()}
        return tuple(jnp.broadcast_to(p, self.shape) for p in self.family.natural(given))

    def _added(self, values: Values) -> tuple[Any, ...]:
        """The contributions as they are, and zeros for constants."""
        added = tuple(c.evaluate(values).reshape(self.shape) for c in self.contributions)
        return added + tuple(jnp.zeros(self.shape, values.dtype) for _ in self.family.constants)

    def _from_zero(self, added: tuple[Any, ...], origin: Any) -> tuple[Any, ...]:
        assert self.family.shifted is not None
        many = len(self.contributions)
        return (*self.family.shifted(added, -origin)[:many], *added[many:])

    @property
    def known(self) -> tuple[np.ndarray | None, ...]:
        """Contributions that depend on nothing, flat, in double precision; None for others."""
        found = tuple(c.known for c in self.contributions)
        if self.origin is None:
            return found
        if any(x is None for x in found):
            return (None,) * len(found)
        nothing = (np.zeros(self.origin.size) for _ in self.family.constants)
        return self._from_zero((*found, *nothing), self.origin.reshape(-1))[:len(found)]

    def log_marginal(self, values: Values) -> Any:
        """log_partition(posterior) - log_partition(prior), all summed, about the origin."""
        if self.origin is None:
            return super().log_marginal(values)
        assert self.family.shifted is not None
        prior = self.family.shifted(self._prior(values), values.number(self.origin))
        return jnp.sum(self.family.ratio(prior, self._added(values)))

    def log_prob(self, values: Values) -> Any:
        return jnp.sum(self.log_probs(values))

    @property
    def partition(self) -> Parts:
        events = int(np.prod(self.shape[: len(self.shape) - self.family.event_dim]))
        own = np.repeat(np.arange(events), int(np.prod(self.shape)) // events if events else 0)
        return Parts({self.sites[0]: own}, np.arange(events))

    def log_probs(self, values: Values) -> Any:
        prior, added, value = self._prior(values), self._added(values), values.site(self.sites[0])
        if self.origin is not None:
            assert self.family.shifted is not None
            origin = values.number(self.origin)
            prior, value = self.family.shifted(prior, origin), value - origin
        return self.family.log_posterior(prior, added, value).reshape(-1)


def eliminate_elementwise(program: Program, site: str, pool: Pool, visible: Collection[str] | None = None
                          ) -> tuple[ElementwiseElimination, Pool]:
    """Integrate `site` out of `pool`, or raise `Declined`. Of other sites all but the `visible` ones stay (default: it is not known)."""
    record = program.sites[site]
    family = FAMILIES[choose_family(program, site, pool)[0]]
    parameters = record.parameters if family.name == record.family else record.alternatives[family.name]
    touched = pool.touching(site)
    tokens: dict[str, Variable] = {
        s: Variable(s, record.size, False, frozenset({site})) for s in family.statistics
    }
    origin = None
    if visible is not None:
        written, origin = _about_a_point(program, site, family, touched, frozenset(visible))
        touched = {**touched, **written}
    chosen, rest = _by_statistic(program, site, family, tokens, touched)
    if origin is None and is_wordy(program, [t for ts in chosen.values() for t in ts], touched):
        with contextlib.suppress(Declined):  # which is no reason to stay
            chosen, _ = _by_statistic(program, site, family, tokens, _as_written(program, site, touched))
    token_set = set(tokens.values())
    contributions = tuple(
        Contribution(reduce_terms(chosen[s], lambda v: 0 if v in token_set else None), record.size)
        for s in family.statistics
    )
    elimination = ElementwiseElimination((site,), f"conjugate {family.name}", family, record.shape,
                                         dict(parameters), contributions, origin)
    roots = frozenset().union(*(t.roots for ts in chosen.values() for t in ts))
    roots |= program.roots(*parameters.values())
    marginal = Computed(f"the marginal of `{site}`", 1, False, roots - {site},
                        elimination.log_marginal)
    left = Value.of(marginal, ()).terms
    return elimination, pool.replaced(touched, {site + MARGINAL: (*rest, *left)})


def _about_a_point(program: Program, site: str, family: Family, touched: Mapping[str, tuple[Term, ...]],
                   visible: frozenset[str]) -> tuple[Mapping[str, tuple[Term, ...]], np.ndarray | None]:
    """The model's own factors, with sites that stay measured from where squares of residuals are least, if these add up so
    (`(y - mu)**2 / s**2` to three numbers); the site too, if its family can be. Also where that is measured from."""
    moves = frozenset({site}) if family.shifted is not None else frozenset()
    still = (visible | {site}) - moves
    names = [n for n, terms in touched.items() if n in program.sites and any(
        isinstance(a.variable, Residual) or (isinstance(a.variable, Latent) and a.power > 0)
        for t in terms for a in t.atoms if not a.variable.roots & still)]

    def written(origins: Mapping[str, np.ndarray]) -> Mapping[str, tuple[Term, ...]]:
        walk = start_walk(program, visible | {site}, {n: x.reshape(program.sites[n].shape) for n, x in origins.items()},
                          in_steps=True, adding=True)
        found = walk.run([program.sites[n].factor for n in names])
        return {} if walk.residuals else {n: v.terms for n, v in zip(names, found, strict=True)}

    if moves and set(names) != set(touched):
        return {}, None
    terms = [t for n, ts in written({}).items() for t in ts if site in t.roots]
    origins = point_of_rows(program, terms, (frozenset(program.latents) - visible - {site}) | moves)
    if not origins:
        return {}, None
    found = written(origins)
    numbers = reduce_terms([t for ts in found.values() for t in ts if site in t.roots], lambda v: None).weights.count
    rows = sum(v.size for v in {a.variable for n in names for t in touched[n] for a in t.atoms} if isinstance(v, Residual))
    if not found or _FEWER * numbers > (rows or math.inf):
        return {}, None
    return found, origins[site].reshape(program.sites[site].shape) if site in origins else None


def _as_written(program: Program, site: str, touched: Iterable[str]) -> dict[str, Sequence[Term]]:
    """What factors are in one site, all else computed as the model does."""
    walk = start_walk(program, [site], in_steps=True, folding=True)
    names = list(touched)
    return {n: v.terms for n, v in zip(names, walk.run([program.sites[n].factor for n in names]), strict=True)}


def _by_statistic(program: Program, site: str, family: Family, tokens: Mapping[str, Variable],
                  touched: Mapping[str, Sequence[Term]]) -> tuple[dict[str, list[Term]], list[Term]]:
    """The terms that hold each statistic, in place of which is its token, and those that hold none."""
    record = program.sites[site]
    chosen: dict[str, list[Term]] = {s: [] for s in family.statistics}
    rest: list[Term] = []
    for name, terms in touched.items():
        owner = program.sites.get(name)
        if owner is not None and owner.auxiliary:
            raise Declined(site, f"the factor statement `{name}` depends on it", owner.source)
        for term in terms:
            hits = [k for k, a in enumerate(term.atoms) if site in a.variable.roots]
            if not hits:
                rest.append(term)
                continue
            atom = term.atoms[hits[0]]
            statistic = statistic_of(atom, site)
            if len(hits) > 1:
                raise Declined(site, f"products of its elements enter {spoken(name)}",
                               owner.source if owner else "")
            if statistic not in family.statistics:
                reason, source = describe(atom.variable, atom.power, site)
                if isinstance(atom.variable, Computed):
                    raise Declined(site, reason, source or record.source)
                if owner is not None:
                    reason += f" in `{name}`"
                forms = " or ".join(f"`{s}`" for s in family.statistics)
                forms = re.sub(r"\bz\b", site, forms)
                prior = family.name if family.name == record.family else record.distribution
                raise Declined(site, f"{reason}; {article(prior)} latent may enter only as {forms}",
                               source or (owner.source if owner else ""))
            atoms = list(term.atoms)
            atoms[hits[0]] = Atom(tokens[statistic], Fraction(1), atom.selection)
            chosen[statistic].append(dataclasses.replace(term, atoms=tuple(atoms)))
    return chosen, rest
