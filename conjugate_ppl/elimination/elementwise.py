"""One site of a conjugate family, element by element (Sokoloski, arXiv 2404.19501, section 2).

Everything that touches the site z must be affine in its statistics: each monomial holds at most one of
them. Their coefficients, added up per element, are the contribution c; then

    posterior natural = prior natural + c,
    log marginal = terms without z + log_partition(prior + c) - log_partition(prior).
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.variables import Complement, Computed, Latent, Log, Variable
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.elimination.base import MARGINAL, Declined, Pool, describe
from conjugate_ppl.families import FAMILIES, Family
from conjugate_ppl.program import Program

__all__ = ["ElementwiseElimination", "eliminate_elementwise", "statistic_of"]


def statistic_of(atom: Atom, site: str) -> str:
    """The statistic of `site` that an atom is ("z", "1/z", "log z", "log(1-z)"), or ""."""
    variable, power = atom.variable, atom.power
    if isinstance(variable, Latent) and variable.site == site:
        return "z" if power == 1 else "1/z" if power == -1 else ""
    if isinstance(variable, Log) and power == 1:
        base = variable.base
        if isinstance(base, Latent) and base.site == site:
            return "log z"
        if isinstance(base, Complement) and isinstance(base.base, Latent) and (
                base.base.site == site):
            return "log(1-z)"
    return ""


class Contribution:
    """What the factors add to one natural parameter: a vector over the site's elements."""

    def __init__(self, reduced: Reduced, size: int) -> None:
        self._weights = reduced.weights
        self._late = reduced.late.get(1, ())
        found = reduced.entries.get(1)
        none = np.zeros(0, np.int64)
        self._fixed = WeightedArray((size,), found.positions, found.weights, found.coefficients) \
            if found is not None else WeightedArray((size,), (none,), none, np.zeros(0))

    def evaluate(self, values: Values) -> Any:
        """The vector at the given values of the kept sites."""
        out = self._fixed.evaluate(values, self._weights.evaluate(values))
        for late in self._late:
            (position,), c = late.evaluate(values)
            out = out.at[position].add(c)
        return out

    @property
    def known(self) -> np.ndarray | None:
        """The vector in double precision, if it depends on nothing."""
        return None if self._late else self._fixed.known


@dataclasses.dataclass(frozen=True, eq=False)
class ElementwiseElimination:
    """A site integrated out element by element; see the module's docstring."""

    sites: tuple[str, ...]
    rule: str
    family: Family
    shape: tuple[int, ...]
    parameters: dict[str, int]
    contributions: tuple[Contribution, ...]

    def natural(self, values: Values) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(prior natural parameter, contribution), one array of the site's shape a statistic."""
        assert self.family.natural is not None
        given = {k: jnp.asarray(values.evaluate(n), values.dtype)
                 for k, n in self.parameters.items()}
        prior = tuple(jnp.broadcast_to(p, self.shape) for p in self.family.natural(given))
        added = tuple(c.evaluate(values).reshape(self.shape) for c in self.contributions)
        return prior, added

    def log_marginal(self, values: Values) -> Any:
        """log_partition(posterior) - log_partition(prior), summed over elements."""
        prior, added = self.natural(values)
        return jnp.sum(self.family.ratio(prior, added))

    def laws(self, values: Values) -> tuple[Any, ...]:
        prior, added = self.natural(values)
        return tuple(p + c for p, c in zip(prior, added, strict=True))

    def conditionals(self, laws: tuple[Any, ...]) -> dict[str, Any]:
        assert self.family.distribution is not None
        return {self.sites[0]: self.family.distribution(laws)}

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        return {n: d.sample(key) for n, d in self.conditionals(self.laws(values)).items()}

    def log_prob(self, values: Values) -> Any:
        return self.family.log_posterior(*self.natural(values), values.site(self.sites[0]))


def eliminate_elementwise(program: Program, site: str, pool: Pool
                          ) -> tuple[ElementwiseElimination, Pool]:
    """Integrate `site` out of `pool`, or raise `Declined`."""
    record = program.sites[site]
    family = FAMILIES[record.family]
    touched = pool.touching(site)
    chosen: dict[str, list[Term]] = {s: [] for s in family.statistics}
    rest: list[Term] = []
    tokens: dict[str, Variable] = {
        s: Variable(s, record.size, False, frozenset({site})) for s in family.statistics
    }
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
                raise Declined(site, f"products of its elements enter `{name}`",
                               owner.source if owner else "")
            if statistic not in family.statistics:
                reason, source = describe(atom.variable, atom.power, site)
                if isinstance(atom.variable, Computed):
                    raise Declined(site, reason, source or record.source)
                if owner is not None:
                    reason += f" in `{name}`"
                forms = " or ".join(f"`{s}`" for s in family.statistics).replace("z", site)
                raise Declined(site, f"{reason}; a {family.name} latent may enter only as {forms}",
                               source or (owner.source if owner else ""))
            atoms = list(term.atoms)
            atoms[hits[0]] = Atom(tokens[statistic], Fraction(1), atom.selection)
            chosen[statistic].append(dataclasses.replace(term, atoms=tuple(atoms)))
    token_set = set(tokens.values())
    contributions = tuple(
        Contribution(reduce_terms(chosen[s], lambda v: 0 if v in token_set else None), record.size)
        for s in family.statistics
    )
    elimination = ElementwiseElimination((site,), f"conjugate {family.name}", family, record.shape,
                                         dict(record.parameters), contributions)
    roots = frozenset().union(*(t.roots for ts in touched.values() for t in ts))
    roots |= program.roots(*record.parameters.values())
    marginal = Computed(f"the marginal of `{site}`", 1, False, roots - {site},
                        elimination.log_marginal)
    left = Value.of(marginal, ()).terms
    return elimination, pool.replaced(touched, {site + MARGINAL: (*rest, *left)})
