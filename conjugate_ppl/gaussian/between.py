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

from conjugate_ppl.algebra.classes import equal_rows
from conjugate_ppl.algebra.weighted import DENSE, WeightedArray
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Between", "Prior", "split_between"]

_EQUAL = 1e-13  # relative difference of numbers that count as equal: their rounding
_LEFT = 1e-7  # of linear parts that may lie outside the range of the quadratic one: rounding
_FEW = 64  # weights whose parts are added one weight at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """What is known of the components' priors ahead.

    Attributes:
        scale: which number of the scales each entry of T reads, shape (count, width, width).
        alike: a class for each element; elements of one class have equal prior means but for the
            known part (length size + 1).
        known: the known part of the prior means (length size + 1).
    """

    scale: np.ndarray
    alike: np.ndarray
    known: np.ndarray


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
    weight = _one_weight(q, s)
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
    solved = _estimates(inner, cross, linear)
    if solved is None:
        return None
    root, loading, estimate, size = solved

    row = np.searchsorted(used, weight)
    within = np.zeros((len(used), number, rest, rest))
    np.add.at(within, (np.searchsorted(used, q.weights[of_rest]), s.block[q.rows[of_rest]],
                       pi[of_rest], pj[of_rest]), q.numbers[of_rest])
    within_linear = np.zeros((len(used), number, rest))
    np.add.at(within_linear, (np.searchsorted(used, q.linear_weights[cl < 0]),
                              s.block[q.places[cl < 0]], pl[cl < 0]), q.linear[cl < 0])
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

    pattern, first = _patterns(
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


def _one_weight(q: Quadratic, s: Structure) -> np.ndarray | None:
    """The number of the one weight of each component, proved positive; None if some has several."""
    count = len(s.components)
    if not q.fixed or not count:
        return None
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    for element, w in ((q.rows, q.weights), (q.columns, q.weights), (q.places, q.linear_weights)):
        owner = s.component[element]
        np.minimum.at(low, owner[owner >= 0], w[owner >= 0])
        np.maximum.at(high, owner[owner >= 0], w[owner >= 0])
    low = np.where(high < 0, 0, low)
    high = np.maximum(high, 0)
    return low if (low == high).all() and q.reduced.weights.positive(low) else None


def _estimates(inner: np.ndarray, cross: np.ndarray, linear: np.ndarray
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """(R, K, estimate) of every component: D = R R', D K = cross, D estimate = linear; then the size
    of the numbers that K is a sum of. None where rounding leaves open what the rank of D is, and where
    a linear part has no quadratic one to be the estimate of (a factor that is linear in a latent)."""
    width = inner.shape[-1]
    diagonal = np.einsum("cii->ci", inner)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    values, vectors = np.linalg.eigh(inner * scale[:, :, None] * scale[:, None, :])
    good = values > 1e-12 * width
    if (values < -1e-9).any() or ((values > 1e-14 * width) & ~good).any():
        return None
    root = vectors * np.sqrt(np.where(good, values, 0.0))[:, None, :] / scale[:, :, None]
    reciprocal = np.where(good, 1 / np.where(good, values, 1.0), 0.0)
    pseudo = np.einsum("cik,ck,cjk->cij", vectors * scale[:, :, None], reciprocal,
                       vectors * scale[:, :, None], optimize=True)
    loading = pseudo @ cross
    estimate = np.einsum("cij,cj->ci", pseudo, linear)
    for part, solution in ((cross, loading), (linear[..., None], estimate[..., None])):
        left = np.abs(inner @ solution - part)
        if left.size and (left * scale[:, :, None]).max() > _LEFT * (
                np.where(diagonal > 0, scale, 0.0)[:, :, None] * np.abs(part)).max():
            return None
    return root, loading, estimate, np.abs(pseudo) @ np.abs(cross)


def _patterns(labels: list[np.ndarray], numbers: np.ndarray, sizes: np.ndarray
              ) -> tuple[np.ndarray, np.ndarray]:
    """(pattern of each row, one row of each pattern): rows with equal labels and numbers.

    Numbers are equal if they differ by no more than the rounding of numbers of `sizes`.
    """
    size = np.abs(numbers).max(0, initial=0.0)
    columns = [np.round(c / n, 9) for c, n in zip(numbers.T, size, strict=True) if n > 0]
    found, first = equal_rows([*labels, *columns], len(numbers))
    # equal to nine digits of the largest of all rows is not yet equal
    close = _EQUAL * np.minimum(sizes, sizes[first[found]])
    same = (np.abs(numbers - numbers[first[found]]) <= close).all(1)
    if not same.all():
        found = np.where(same, found, len(first) + np.cumsum(~same))
        _, first, found = np.unique(found, return_index=True, return_inverse=True)
    return found.reshape(-1), first
