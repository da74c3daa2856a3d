"""How surely a chain's steps determine what they all share, at every value of the kept sites.

With b the elements beside a chain, x those of the chain, F and G what its locations read of both, and K the
likelihood's quadratic, the precision of b given the data is that of the smallest

    v'K v + (x - F x - G b)'Q^-1 (x - F x - G b),    v = (x, b),    Q the covariance of the noise.

It is 0 only if x = F x + G b, also where the noise is 0. So b with x = P b that solves this, P a matrix of known
numbers, is determined if V'K V is, V = (P, 1). What F and G hold of kept sites may be anything if it cancels, as in
mean + phi (x - mean); then the proof is that of `proper.py`: of K, each weight is positive, each weight's V'K V
positive semidefinite.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array, identity
from scipy.sparse.linalg import splu

from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.elimination.coordinates import without_rounding
from conjugate_ppl.elimination.proper import semidefinite
from conjugate_ppl.elimination.written import Written
from conjugate_ppl.gaussian.quadratic import quadratic

__all__ = ["shared_precision"]

_ROUNDING = 1e-9  # share of what was added up
_LARGEST = 1 << 25  # numbers of P, of V'KV for all weights, and of products held at once


def shared_precision(written: Written) -> np.ndarray | None:
    """V'K V with all weights 1, of the elements beside a chain, in their order; None if nothing is proved."""
    size, n = written.elements.size, sum(v.size for v in written.beside)
    numbers: dict[Variable, int] = {written.elements: 0, written.tokens: size}
    numbers.update(zip(written.beside, np.cumsum([2 * size, *(v.size for v in written.beside)]).tolist(),
                       strict=False))
    locations = reduce_terms(written.locations, numbers.get)
    likelihood = quadratic(without_rounding(reduce_terms(written.terms, numbers.get), written))
    if locations.late.get(2) or likelihood.reduced.late.get(2) or size * n > _LARGEST:
        return None
    p = _followed(locations, size, n)
    if p is None:
        return None
    v = np.concatenate([p, np.eye(n)])
    used, weight = np.unique(likelihood.weights, return_inverse=True)
    positive = likelihood.reduced.weights.where()[1][used]
    rows, columns = (np.where(x < size, x, x - size) for x in (likelihood.rows, likelihood.columns))
    pairs, at = np.unique(weight.reshape(-1) * len(v) + rows, return_inverse=True)  # rows of all K, one below the other
    if len(used) * n * n > _LARGEST:
        return None
    moved_rows = csc_array((likelihood.numbers, (at.reshape(-1), columns)), shape=(len(pairs), len(v))) @ v
    table = np.zeros((len(used), n, n))
    many = max(1, _LARGEST // max(n * n, 1))
    for part in (slice(k, k + many) for k in range(0, len(pairs), many)):
        np.add.at(table, pairs[part] // len(v), v[pairs[part] % len(v)][:, :, None] * moved_rows[part, None, :])
    # what no element beside the chain changes may be of any sign
    moved = (table != 0).any((1, 2))
    return table.sum(0) if semidefinite(table) and positive[moved].all() else None


def _followed(locations: Reduced, size: int, n: int) -> np.ndarray | None:
    """P, or None if it is not the same at all values of the kept sites."""
    two = locations.entries.get(2)
    if two is None:
        return np.zeros((size, n))
    (i, j), weights, c = two.positions, two.weights, two.coefficients
    inner = j < 2 * size  # an element and a token; else a token and an element beside
    child = np.where(inner, j, i) - size
    parent = np.where(inner, i, j - size)
    fixed = weights == 0
    f = csc_array((c[inner & fixed], (child[inner & fixed], parent[inner & fixed])), shape=(size, size))
    g = np.zeros((size, n))
    own = ~inner & fixed
    np.add.at(g, (child[own], parent[own] - size), c[own])
    p: np.ndarray = splu(csc_array(identity(size, format="csc") - f)).solve(g)
    late = np.flatnonzero(~fixed)
    v = np.concatenate([p, np.eye(n)])
    _, at = np.unique(np.stack([weights[late], child[late]]), axis=1, return_inverse=True)
    total, most = np.zeros((2, int(at.max(initial=-1)) + 1, n))
    moves = c[late, None] * v[parent[late]]
    np.add.at(total, at.reshape(-1), moves)
    np.add.at(most, at.reshape(-1), np.abs(moves))
    return p if (np.abs(total) <= _ROUNDING * most).all() else None
