"""The path that a chain is measured from, so that single precision keeps its digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csc_array, csr_array, identity
from scipy.sparse.linalg import lsqr, spsolve

from conjugate_ppl import _compat
from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.term import Term, is_known
from conjugate_ppl.algebra.variables import Computed, Latent, Variable
from conjugate_ppl.elimination.coordinates import without_rounding
from conjugate_ppl.elimination.points import single
from conjugate_ppl.elimination.typical import at_likely, at_typical, typical
from conjugate_ppl.elimination.written import Written, variables_of
from conjugate_ppl.gaussian.reference import explained, onto, reference
from conjugate_ppl.program import Program
from conjugate_ppl.statespace.filter import quadratic
from conjugate_ppl.statespace.model import ChainModel

__all__ = ["path", "points_beside"]


def path(program: Program, written: Written) -> np.ndarray:
    """A point where the likelihood's quadratic is small, in the model's precision: where data without noise say what an element is, that.

    Elements that the likelihood does not reach follow their locations, and those that read them, as far as
    these are known ahead; least squares again. What is positive counts as 1 where it is a weight, as it is of squares of
    elements; coefficients beside the chain count as 0.
    """
    terms = [t for t in written.bound if all(v is written.elements or v.positive or isinstance(v, Computed)
                                             for v in variables_of(t)) and all(map(is_known, t.arrays))]
    weights = frozenset().union(*(_multiplying(t) for t in terms if sum(
        a.power for a in t.atoms if a.variable is written.elements) == 2))
    terms = [t for t in terms if _multiplying(t) <= weights]
    size = written.elements.size

    def place(variable: Variable) -> int | None:
        return 0 if variable is written.elements else None

    q = at_typical(program, without_rounding(reduce_terms(at_likely(program, terms, place), place), written))
    point = reference(q, np.zeros(size), np.full(size, np.inf))
    hidden = np.ones(size, bool)
    hidden[q.rows[q.numbers != 0]] = False
    known = [t for t in written.locations if not (variables_of(t) - {written.elements, written.tokens})
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
        if variables_of(t) - {written.elements, written.tokens} or not all(map(is_known, t.arrays)):
            for a in t.atoms:
                if a.variable is written.tokens:
                    whole[np.unique(np.asarray(a.selection)) if is_known(a.selection) else slice(None)] = False
    scale = float(np.abs(q.numbers).mean()) if len(q.numbers) else 1.0
    rows = system[whole]
    matrix = csr_array((q.numbers, (q.rows, q.columns)), shape=(size, size))
    normal = matrix + 1e-6 * scale * (rows.T @ rows) + 1e-12 * scale * identity(size, format="csr")
    right = 1e-6 * scale * (rows.T @ level[whole]) + 1e-12 * scale * point
    seen = explained(matrix, np.bincount(q.places, q.linear, size))
    better = spsolve(csc_array(normal), right + seen)
    # what is drawn to the locations, so little as it is, is much to data without noise
    better = onto(matrix, seen, np.where(np.isfinite(better), better, point))
    point = np.where(np.isfinite(better), better, 0.0)
    return point if jnp.result_type(float) == jnp.float64 else single(point)


def _multiplying(term: Term) -> frozenset[Variable]:
    """The kept sites that a term is multiplied by."""
    return frozenset(a.variable for a in term.atoms if isinstance(v := a.variable, Latent) and v.positive and a.power > 0)


def points_beside(program: Program, model: ChainModel, written: Written, zeros: Mapping[str, np.ndarray]
                  ) -> dict[str, np.ndarray]:
    """Where the quadratic in the sites beside the chain is largest, for some values of the kept sites; in
    single precision. It is what the chain leaves, and what says nothing of the chain."""
    def coefficients() -> Any:
        return quadratic(model.steps(typical(program)))[0]

    with _compat.eagerly():
        square = np.asarray(_compat.compiled_quickly(coefficients)(), np.float64)
    starts = np.cumsum([0, *(v.size for v in written.beside)])
    first: dict[Variable, int] = dict(zip(written.beside, map(int, starts), strict=False))
    free = [t for t in written.free if first.keys() & variables_of(t)]
    q = at_typical(program, reduce_terms(free, lambda v: first.get(v)), evaluated=True)
    size = np.cumsum([0, *(z.size for z in zeros.values())])
    matrix = -square[1:, 1:]
    np.add.at(matrix, (q.rows, q.columns), q.numbers)
    right = square[1:, 0] + np.bincount(q.places, q.linear, size[-1])
    best = np.zeros(size[-1])
    if np.isfinite(matrix).all() and np.isfinite(right).all():
        root = np.sqrt(np.maximum(np.diagonal(matrix), 0.0))  # of covariates in all units, and such that are not centred
        unit = np.where(root > 0, 1 / np.where(root > 0, root, 1.0), 0.0)
        best = unit * np.linalg.lstsq(unit[:, None] * matrix * unit, unit * right, rcond=1e-6)[0]
    best = single(best)
    return {n: best[k: k + z.size] for (n, z), k in zip(zeros.items(), size, strict=False)}
