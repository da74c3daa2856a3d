"""The point that a quadratic is written about."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from conjugate_ppl.gaussian.quadratic import Quadratic

__all__ = ["explained", "onto", "reference"]

_LEAST = 1e-3  # prior scales smaller than this share of the largest, or unknown, count as so large
_NOTHING = 1e-7  # share of what is said of an element alone that is next to nothing
_LITTLE = 1e-3  # share of what is said of another element of its site
_FAR = 10.0  # times the prior's scale
_UNEXPLAINED = 1e-6  # share of the linear part that a solution may leave
_FLAT = 1e-13  # share of the largest second derivative that is rounding
_RESOLVED = 1e-6  # the same where numbers may have been computed in single precision


def reference(q: Quadratic, prior_mean: np.ndarray, prior_scale: np.ndarray, sites: np.ndarray | None = None,
              steps: int = 200) -> np.ndarray:
    """A least-squares point of the quadratic with all weights set to 1.

    Of many such points (an intercept may be explained by the effects of groups too) one is taken that
    the prior finds likely: it is near `prior_mean` where `prior_scale` is small, so that what the
    quadratic says about the point is of the size of the data's noise, not of their level.

    Args:
        q: the quadratic of `size` elements.
        prior_mean: shape (size,).
        prior_scale: shape (size,); 0 where it is not known, infinite for flat priors.
        sites: number of the site that each element belongs to, shape (size,); by default all are of one.
        steps: of each run of conjugate gradients.

    Returns:
        The point, shape (size,).
    """
    size = len(prior_mean)
    sites = np.zeros(size, np.int64) if sites is None else sites
    if not len(q.numbers):
        return prior_mean.copy()
    matrix = csr_array((q.numbers, (q.rows, q.columns)), shape=(size, size))
    right = explained(matrix, np.bincount(q.places, q.linear, size), steps)
    point = _nearest(matrix, right, prior_mean, prior_scale, steps)
    far = _said_little_of(np.abs(point - prior_mean), matrix.diagonal(), prior_scale, sites)
    if far.any():
        near = np.flatnonzero(~far)
        inside = csr_array(matrix[near][:, near])
        rest = right[near] - matrix[near][:, np.flatnonzero(far)] @ prior_mean[far]
        point[near] = _nearest(inside, explained(inside, rest, steps), prior_mean[near], prior_scale[near], steps)
        point[far] = prior_mean[far]
    return point


def _nearest(matrix: csr_array, right: np.ndarray, prior_mean: np.ndarray, prior_scale: np.ndarray, steps: int) -> np.ndarray:
    """Of the solutions one that is near the prior's mean."""
    plain = _plain(matrix.diagonal())
    effect = np.where(plain > 0, prior_scale, 0.0) / np.where(plain > 0, plain, 1.0)
    flat = np.isinf(effect)
    largest = effect[~flat].max(initial=0.0)
    share = np.ones(len(right))
    if largest > 0:
        share[~flat] = np.clip(effect[~flat] / largest, _LEAST, 1.0)
    if flat.any():
        share[~flat] *= _LEAST
    # drawn to where it starts, so that it stays there in directions of which the data say next to nothing
    point = _descend(matrix, right, prior_mean, plain * share, ~np.isinf(prior_scale), steps)
    # what so many steps have not resolved, and what of a level the start has kept
    point = _descend(matrix, right, point, plain, ~np.isinf(prior_scale), steps)
    return point if np.isfinite(point).all() else np.zeros(len(right))


def onto(matrix: csr_array, right: np.ndarray, start: np.ndarray, steps: int = 200) -> np.ndarray:
    """The solution that is nearest to `start`."""
    return _descend(matrix, right, start, _plain(matrix.diagonal()), np.zeros(len(right), bool), steps)


def _said_little_of(distance: np.ndarray, curvature: np.ndarray, prior_scale: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Elements that the data say much less of than of others of their site, and that only noise takes so far from the prior: the
    slope of a group whose covariate hardly varies. It is the prior that determines them."""
    largest = np.zeros(sites.max(initial=-1) + 1)
    np.maximum.at(largest, sites, curvature)
    little = (curvature < _LITTLE * largest[sites]) & (largest[sites] > 0)
    scale = prior_scale.copy()  # of flat ones infinite
    if little.any():  # where the prior's scale is not known, that of the other elements
        for k in np.unique(sites[little & (scale == 0)]):
            scale[sites == k] = np.median(distance[(sites == k) & ~little])
    found: np.ndarray = little & (scale > 0) & (distance > _FAR * scale)
    return found


def explained(matrix: csr_array, right: np.ndarray, steps: int = 200) -> np.ndarray:
    """The linear part without what is linear in a direction that nothing is quadratic in, which no point explains.

    Most often there is none, which a solution shows that comes from well curved directions alone. Otherwise by conjugate
    gradients for least squares (Hestenes & Stiefel, 1952), which unlike plain ones stay where they are in such a direction.
    """
    scale = _plain(matrix.diagonal())
    right = np.where(scale > 0, right, 0.0)
    scaled = _scaled(matrix, scale)
    r = right * scale
    enough = _UNEXPLAINED**2 * _dot(r, r)
    solved = _conjugate_gradients(scaled, r, enough, steps)
    if solved.left <= enough and solved.flattest > _RESOLVED:
        return right
    s = scaled @ r
    p, norm = s.copy(), _dot(s, s)
    for _ in range(steps):
        left = _dot(r, r)
        if left <= enough or norm <= _RESOLVED**2 * left:
            break
        ap = scaled @ p
        r = r - norm / _dot(ap, ap) * ap
        s = scaled @ r
        new = _dot(s, s)
        p = s + (new / norm) * p
        norm = new
    else:
        return right  # not resolved
    return right - (np.where(scale > 0, r / np.where(scale > 0, scale, 1.0), 0.0) if left > enough else 0.0)


def _plain(diagonal: np.ndarray) -> np.ndarray:
    """Units in which the diagonal is 1; 0 where nothing is quadratic."""
    root = np.sqrt(np.maximum(diagonal, 0.0))
    return np.where(root > 0, 1 / np.where(root > 0, root, 1.0), 0.0)


def _scaled(matrix: csr_array, scale: np.ndarray) -> csr_array:
    numbers = matrix.data * np.repeat(scale, np.diff(matrix.indptr)) * scale[matrix.indices]
    return csr_array((numbers, matrix.indices, matrix.indptr), shape=matrix.shape)


def _descend(matrix: csr_array, right: np.ndarray, start: np.ndarray, scale: np.ndarray, held: np.ndarray, steps: int
             ) -> np.ndarray:
    """The solution nearest to `start` in units of `scale`, by conjugate gradients; what is `held` is drawn to the start."""
    r = (right - matrix @ start) * scale
    target = _dot(right * scale, right * scale) * 1e-24
    drawn = np.where(held, _NOTHING, 0.0)
    out: np.ndarray = start + _conjugate_gradients(_scaled(matrix, scale), r, target, steps, drawn).point * scale
    return out


class _Solved(NamedTuple):
    """What conjugate gradients found: the point, the square of what is left of the right side, and the smallest
    curvature among the directions gone, as a share of the largest."""

    point: np.ndarray
    left: float
    flattest: float


def _conjugate_gradients(matrix: csr_array, right: np.ndarray, target: float, steps: int,
                         diagonal: np.ndarray | float = 0.0) -> _Solved:
    """Of a matrix and what is added to its diagonal: from 0, until the square of what is left is `target`, or the next direction is flat (Hestenes & Stiefel, 1952)."""
    x, r = np.zeros(len(right)), right
    p, norm, steepest, flattest = r, _dot(r, r), 0.0, np.inf
    for _ in range(min(steps, 2 * len(right) + 10)):
        if norm <= target:
            break
        ap = matrix @ p + diagonal * p
        curve = _dot(p, ap)
        bend = curve / _dot(p, p)
        steepest, flattest = max(steepest, bend), min(flattest, bend)
        if not np.isfinite(curve) or bend <= _FLAT * steepest:
            break
        alpha = norm / curve
        x = x + alpha * p
        r = r - alpha * ap
        new = _dot(r, r)
        p = r + (new / norm) * p
        norm = new
    return _Solved(x, norm, flattest / steepest if steepest > 0 else 1.0)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Of vectors, without the threads of a BLAS: for so little work waiting for them takes longer."""
    return float(np.einsum("i,i->", a, b))
