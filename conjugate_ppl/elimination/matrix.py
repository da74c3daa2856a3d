"""One site of matrices: precisions, covariances or their Cholesky factors, with a Wishart prior.

As for other conjugate families, all that touches the site must be affine in its statistics, here log det M
and M, or log det M and inv(M). They enter through factors, and are found by the identities of
`algebra/definite.py`: a pair of elements of a factor, summed over what they share, is an element of the
matrix; a logarithm summed over the diagonal is half of the log-determinant.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.definite import Diagonal, Factor, Gram, Inverse
from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.variables import Computed, Latent, Log, Variable
from conjugate_ppl.elimination.base import MARGINAL, Declined, Pool, describe
from conjugate_ppl.elimination.conjugate import ConjugateElimination, Contribution
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.families.wishart import WISHARTS
from conjugate_ppl.program import Program

__all__ = ["MatrixElimination", "eliminate_matrix"]


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
    precision = FAMILIES[record.family].statistics[1] in ("z", "zz'")
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
            for k, find in enumerate((_log_det, _element)):
                found = find(term, hits, n, precision, tokens[k])
                if found is not None:
                    chosen[k].append(found)
                    break
            else:
                atom = term.atoms[hits[0]]
                reason, line = describe(atom.variable, atom.power, site)
                what = "log-determinant and as a precision matrix" if precision else (
                    "log-determinant and as a covariance matrix")
                raise Declined(site, f"{reason} in `{name}`; it may enter only by its {what} of a normal",
                               line or source)
    parts = [Contribution(reduce_terms(c, lambda v: 0 if v in tokens else None), t.size)
             for c, t in zip(chosen, tokens, strict=True)]
    elimination = MatrixElimination((site,), f"conjugate {family.name}", family, record.shape,
                                    dict(record.parameters), *parts)
    roots = frozenset().union(*(t.roots for ts in touched.values() for t in ts))
    roots |= program.roots(*record.parameters.values())
    marginal = Computed(f"the marginal of `{site}`", 1, False, roots - {site}, elimination.log_marginal)
    return elimination, pool.replaced(touched, {site + MARGINAL: (*rest, *Value.of(marginal, ()).terms)})


def _log_det(term: Term, hits: list[int], n: int, precision: bool, token: Variable) -> Term | None:
    """A sum of logarithms over whole diagonals, as a multiple of log det."""
    atom = term.atoms[hits[0]]
    v = atom.variable
    if len(hits) > 1 or atom.power != 1 or not (isinstance(v, Log) and isinstance(v.base, Diagonal)):
        return None
    if not is_known(atom.selection) or isinstance(v.base.base, Inverse):
        return None
    for axis in range(len(term.hidden)):
        at = np.moveaxis(atom.selection, axis, -1)
        if at.shape[-1] == n and _all_cells(at % n) and _same(at // n, at[..., :1] // n) and _constant_along(term, axis) and all(
                np.shape(a.selection)[axis] == 1 for a in term.atoms if a is not atom):
            half = dataclasses.replace(atom, variable=token, selection=atom.selection // n)
            return _without(term, axis, {hits[0]: half}, 0.5)
    return None


def _element(term: Term, hits: list[int], n: int, precision: bool, token: Variable) -> Term | None:
    """An element of the matrix itself, or a pair of elements of its factor summed over what they share."""
    atoms = [term.atoms[k] for k in hits]
    if not all(is_known(a.selection) and a.power == 1 for a in atoms):
        return None
    v: Any = atoms[0].variable
    if len(atoms) == 1 and precision and (isinstance(v, Gram) or (
            isinstance(v, Latent) and v.support == "positive definite")):
        return dataclasses.replace(term, atoms=tuple(
            Atom(token, Fraction(1), a.selection) if a is atoms[0] else a for a in term.atoms))
    if len(atoms) != 2 or atoms[1].variable is not v or not _is_factor(v, precision):
        return None
    order = np.asarray(v.order) if isinstance(v, Factor) else np.arange(n)
    for axis in range(len(term.hidden)):
        if not _constant_along(term, axis) or any(
                np.shape(a.selection)[axis] > 1 for a in term.atoms if a not in atoms):
            continue
        ends = []
        for a in atoms:
            at = np.moveaxis(a.selection, axis, -1)
            row, column = at % n**2 // n, at % n
            shared, own = (column, row) if precision else (row, column)
            if at.shape[-1] != n or (own != own[..., :1]).any() or (at // n**2 != at[..., :1] // n**2).any():
                break
            if not _all_cells(shared):
                break
            ends.append((at[..., :1] // n**2, own[..., :1], shared))
        if len(ends) == 2 and _same(ends[0][2], ends[1][2]) and _same(ends[0][0], ends[1][0]):
            place = ends[0][0] * n**2 + order[ends[0][1]] * n + order[ends[1][1]]
            made = Atom(token, Fraction(1), np.moveaxis(place, -1, axis))
            kept = {hits[0]: made, hits[1]: None}
            return _without(term, axis, kept, 1.0)
    return None


def _all_cells(x: np.ndarray) -> bool:
    """Whether each row holds 0, 1, 2, ... in some order."""
    return bool((np.sort(x, -1) == np.arange(x.shape[-1])).all())


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    return bool((x == y).all())


def _is_factor(v: Variable, precision: bool) -> bool:
    """Whether pairs of it give the statistic: a factor of a precision, the inverse of one of a covariance."""
    if precision:
        return isinstance(v, Factor) or (isinstance(v, Latent) and v.support == "lower cholesky")
    if not isinstance(v, Inverse) or v.places != tuple(range(v.cells**2)):
        return False
    base = v.base
    return (isinstance(base, Latent) and base.support == "lower cholesky") or (
        isinstance(base, Factor) and base.order == tuple(range(v.cells)) and not isinstance(base.base, Gram))


def _constant_along(term: Term, axis: int) -> bool:
    return all(np.shape(c)[term.rank + axis] == 1 or (is_known(c) and bool(
        (c == np.take(c, [0], term.rank + axis)).all())) for c in term.coefficients)


def _without(term: Term, axis: int, atoms: dict[int, Atom | None], factor: float) -> Term:
    """The term with one hidden axis gone and some atoms replaced."""
    def first(x: Any) -> Any:
        return x[(slice(None),) * (term.rank + axis) + (0,)]

    kept = [atoms.get(k, a) for k, a in enumerate(term.atoms)]
    hidden = tuple(k for i, k in enumerate(term.hidden) if i != axis)
    out = Term(term.rank, hidden, tuple(first(c) for c in term.coefficients),
               tuple(a.map(first) for a in kept if a is not None))
    return out.scaled(factor)
