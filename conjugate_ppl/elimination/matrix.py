"""One site of matrices: precisions, covariances or their Cholesky factors, with a Wishart prior.

As for other conjugate families, all that touches the site must be affine in its statistics, here log det M
and M, or log det M and inv(M). They enter through factors, and sums over those are seen for what they are by
`algebra/paired.py`.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import jax.numpy as jnp

from conjugate_ppl.algebra.definite import Gram, Inverted
from conjugate_ppl.algebra.paired import LogDet
from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.variables import Computed, Latent, Variable
from conjugate_ppl.elimination.base import MARGINAL, Declined, Pool, describe, spoken
from conjugate_ppl.elimination.conjugate import ConjugateElimination, Contribution
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.families.wishart import WISHARTS
from conjugate_ppl.program import Program

__all__ = ["MatrixElimination", "eliminate_matrix", "precision", "statistic_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixElimination(ConjugateElimination):
    """Matrices integrated out one by one; see the module's docstring."""

    log_det: Contribution
    matrix: Contribution

    def natural(self, values: Values) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """(prior natural parameter, contribution): shapes (..., 1, 1) and (..., n, n)."""
        assert self.family.natural is not None
        given = {k: jnp.asarray(values.evaluate(n), values.dtype) for k, n in self.parameters.items()}
        a, b = self.family.natural(given)
        one = (*self.shape[:-2], 1, 1)
        added = self.matrix.evaluate(values).reshape(self.shape)
        return ((jnp.broadcast_to(a, one), jnp.broadcast_to(b, self.shape)),
                (self.log_det.evaluate(values).reshape(one), 0.5 * (added + added.swapaxes(-1, -2))))

    def log_prob(self, values: Values) -> Any:
        (law,) = self.conditionals(self.laws(values)).values()
        return jnp.sum(law.log_prob(values.site(self.sites[0])))


def eliminate_matrix(program: Program, site: str, pool: Pool) -> tuple[MatrixElimination, Pool]:
    """Integrate `site` out of `pool`, or raise `Declined`."""
    record = program.sites[site]
    family = WISHARTS[record.family]
    n = record.shape[-1]
    if n < 2:
        raise Declined(site, f"it is a {record.family} of one row; a gamma says the same", record.source)
    tokens = (Variable("log det", record.size // n**2, False, frozenset({site})),
              Variable("matrix", record.size, False, frozenset({site})))
    chosen: tuple[list[Term], list[Term]] = ([], [])
    rest: list[Term] = []
    touched = pool.touching(site)
    for name, terms in touched.items():
        owner = program.sites.get(name)
        source = owner.source if owner is not None else record.source
        if owner is not None and owner.auxiliary:
            raise Declined(site, f"the factor statement `{name}` depends on it", source)
        for term in terms:
            hits = [k for k, a in enumerate(term.atoms) if site in a.variable.roots]
            if not hits:
                rest.append(term)
                continue
            atom = term.atoms[hits[0]]
            which = statistic_of(atom, precision(record.family))
            if len(hits) > 1 or which is None or not is_known(atom.selection):
                reason, line = describe(atom.variable, atom.power, site)
                if isinstance(atom.variable, Computed):
                    raise Declined(site, reason, line or record.source)
                what = "precision" if precision(record.family) else "covariance"
                raise Declined(site, f"{reason} in {spoken(name)}; it may enter only by its log-determinant and as "
                               f"a {what} matrix of a normal", line or source)
            atoms = list(term.atoms)
            atoms[hits[0]] = Atom(tokens[which], Fraction(1), atom.selection)
            chosen[which].append(dataclasses.replace(term, atoms=tuple(atoms)))
    parts = [Contribution(reduce_terms(c, lambda v: 0 if v in tokens else None), t.size)
             for c, t in zip(chosen, tokens, strict=True)]
    elimination = MatrixElimination((site,), f"conjugate {family.name}", family, record.shape,
                                    dict(record.parameters), *parts)
    roots = frozenset().union(*(t.roots for ts in touched.values() for t in ts))
    roots |= program.roots(*record.parameters.values())
    marginal = Computed(f"the marginal of `{site}`", 1, False, roots - {site}, elimination.log_marginal)
    return elimination, pool.replaced(touched, {site + MARGINAL: (*rest, *Value.of(marginal, ()).terms)})


def precision(family: str) -> bool:
    """Whether a family is one of precisions, not covariances."""
    return FAMILIES[family].statistics[1] in ("z", "zz'")


def statistic_of(atom: Atom, of_precision: bool) -> int | None:
    """Which statistic of the family an atom is: 0 the log-determinant, 1 the precision matrix; None for neither."""
    v = atom.variable
    if atom.power != 1:
        return None
    if isinstance(v, LogDet):
        return 0
    if of_precision:
        plain = isinstance(v, Gram) or (isinstance(v, Latent) and v.support == "positive definite")
    else:
        plain = isinstance(v, Inverted)
    return 1 if plain else None
