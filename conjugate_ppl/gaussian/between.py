"""Components as group estimates, and groups of one pattern as one.

A component whose monomials all carry one weight w adds to the log density

    -1/2 w (estimate - e - K e_rest)' D (estimate - e - K e_rest),  D = R R',

and a part for the rest, `within`. Split on the host in float64, nothing is subtracted later. Components
with the same D, K, w, prior scale and prior mean have one *pattern*: they share every matrix, and of
their estimates the mean and the scatter suffice. In a balanced design, or where groups differ in their
sizes alone, a gradient so costs as much as there are patterns, not groups.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.algebra.weighted import DENSE, WeightedArray
from conjugate_ppl.gaussian.estimates import Prior, estimates, one_weight, patterns
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Between", "split_between"]

_FEW = 64  # weights whose parts are added one weight at a time
_MOST = 1 << 26  # multiplications of matrices of which it is looked for what rounding has left
_ROUNDING = 1e-14  # of the diagonal, times the size


@dataclasses.dataclass(frozen=True, eq=False)
class Between:
    """The component part of a quadratic by patterns; see the module's docstring.

    Attributes:
        pattern: for each component its pattern.
        many: for each pattern how many components it has.
        weight, owner, root, loading, scale: weight number, block, R, K and numbers of T, a pattern.
        element: elements of one component of each pattern, shape (patterns, width).
        shift: mean over the pattern of estimate less known prior mean.
        scatter: mean over the pattern of outer products of deviations from that mean.
        estimate: of each component.
        within, within_linear: what is left for the rest.
        adjustment, adjustment_weight: numbers and weights whose sum makes the quadratic complete.
    """

    pattern: np.ndarray
    many: np.ndarray
    weight: np.ndarray
    owner: np.ndarray
    root: np.ndarray
    loading: np.ndarray
    scale: np.ndarray
    element: np.ndarray
    shift: np.ndarray
    scatter: np.ndarray
    estimate: np.ndarray
    within: WeightedArray
    within_linear: WeightedArray
    adjustment: np.ndarray
    adjustment_weight: np.ndarray


def split_between(q: Quadratic, s: Structure, prior: Prior) -> Between | None:
    """The split, or None where a component has several weights or sums of run time."""
    weight = one_weight(q, s)
    if weight is None:
        return None
    (count, width), (number, rest) = s.components.shape, s.blocks.shape
    ci, cj, cl = s.component[q.rows], s.component[q.columns], s.component[q.places]
    pi, pj, pl = s.place[q.rows], s.place[q.columns], s.place[q.places]
    of_rest = (ci < 0) & (cj < 0)
    used = np.unique(np.concatenate([weight, q.weights[of_rest], q.linear_weights[cl < 0]]))
    if max(len(used) * number * rest**2, count * width * rest // 4,
           count * rest**2 if number > 1 or len(used) > _FEW else 0) > DENSE:
        return None

    inner = np.zeros((count, width, width))
    keep = (ci >= 0) & (cj >= 0)
    np.add.at(inner, (ci[keep], pi[keep], pj[keep]), q.numbers[keep])
    cross = np.zeros((count, width, rest))
    keep = (ci >= 0) & (cj < 0)
    np.add.at(cross, (ci[keep], pi[keep], pj[keep]), q.numbers[keep])
    linear = np.zeros((count, width))
    np.add.at(linear, (cl[cl >= 0], pl[cl >= 0]), q.linear[cl >= 0])
    found = estimates(inner)
    loading, estimate = (None, None) if found is None else (found.solve(cross), found.solve(linear))
    if found is None or loading is None or estimate is None:
        return None
    root, size = found.root, np.abs(found.pseudo) @ np.abs(cross)

    row = np.searchsorted(used, weight)
    within = np.zeros((len(used), number, rest, rest))
    np.add.at(within, (np.searchsorted(used, q.weights[of_rest]), s.block[q.rows[of_rest]],
                       pi[of_rest], pj[of_rest]), q.numbers[of_rest])
    within_linear = np.zeros((len(used), number, rest))
    np.add.at(within_linear, (np.searchsorted(used, q.linear_weights[cl < 0]),
                              s.block[q.places[cl < 0]], pl[cl < 0]), q.linear[cl < 0])
    whole = np.sqrt(np.maximum(np.einsum("kbii->kbi", within), 0.0))
    rooted = np.einsum("cik,cij->ckj", root, loading, optimize=True)
    rooted_estimate = np.einsum("cik,ci->ck", root, estimate)
    if number == 1 and len(used) <= _FEW:
        for k in np.unique(row):
            flat = rooted[row == k].reshape(int((row == k).sum()) * width, rest)
            within[k, 0] -= flat.T @ flat
            within_linear[k, 0] -= flat.T @ rooted_estimate[row == k].reshape(-1)
    else:
        np.subtract.at(within, (row, s.owner), np.einsum("cki,ckj->cij", rooted, rooted, optimize=True))
        np.subtract.at(within_linear, (row, s.owner), np.einsum("cki,ck->ci", rooted, rooted_estimate))

    within, within_linear = _without_rounding(within, within_linear, whole)
    pattern, first = patterns(
        [weight, s.owner, *prior.scale.reshape(count, -1).T, *prior.alike[s.components].T],
        np.concatenate([inner.reshape(count, -1), loading.reshape(count, -1)], 1),
        np.concatenate([np.abs(inner).reshape(count, -1), size.reshape(count, -1)], 1))
    deviation = estimate - prior.known[s.components]
    many = np.bincount(pattern)
    shift = np.zeros((len(many), width))
    np.add.at(shift, pattern, deviation)
    shift /= many[:, None]
    gap = deviation - shift[pattern]
    scatter = np.zeros((len(many), width, width))
    np.add.at(scatter, pattern, gap[:, :, None] * gap[:, None, :])
    scatter /= many[:, None, None]
    return Between(
        pattern, many, weight[first], s.owner[first], root[first], loading[first],
        prior.scale[first], s.components[first], shift, scatter, estimate,
        WeightedArray.from_tables(used, within), WeightedArray.from_tables(used, within_linear),
        np.bincount(row, (rooted_estimate**2).sum(1), len(used)), used,
    )


def _without_rounding(left: np.ndarray, linear: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of matrices whose diagonals had the roots `whole`, and of linear parts, without what rounding alone has left: where
    a weight is 1e16, that is as much as what is seen of all else with a weight of 1."""
    if left.size * left.shape[-1] > _MOST:
        return left, linear
    unit = np.where(whole > 0, 1 / np.where(whole > 0, whole, 1.0), 0.0)
    values, vectors = np.linalg.eigh(left * unit[..., :, None] * unit[..., None, :])
    gone = np.abs(values) <= _ROUNDING * left.shape[-1]
    mixed = (gone & (values != 0)).any(-1)
    if not mixed.any():
        return left, linear
    kept = np.where(gone, 0.0, values)
    back = vectors * whole[..., :, None]
    clean = np.einsum("kbir,kbr,kbjr->kbij", back, kept, back, optimize=True)
    seen = np.einsum("kbir,kbr->kbi", back, np.where(gone, 0.0, np.einsum("kbir,kbi->kbr", vectors * unit[..., :, None], linear)))
    return np.where(mixed[..., None, None], clean, left), np.where(mixed[..., None], seen, linear)
