"""From the coefficients of a quadratic to arrays: what is fixed is added up once, on the host.

The log density of everything that touches a block is, in its elements e,

    -1/2 e' H e + h' e + constant,      H = sum_w weight_w H_w,   h = sum_w weight_w h_w,

with one weight for each distinct product of kept variables (`algebra.reduce`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Reduced
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.linear import product
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Quadratic", "WeightedArray", "quadratic"]

_DENSE = 1 << 24  # numbers held for all weights together


class WeightedArray:
    """sum_w weight_w A_w for arrays A_w of one shape, given by coordinates."""

    def __init__(self, shape: tuple[int, ...], index: tuple[np.ndarray, ...], weights: np.ndarray,
                 numbers: np.ndarray) -> None:
        self.shape = shape
        used, local = np.unique(weights, return_inverse=True)
        self._used = used
        size = int(np.prod(shape))
        flat = np.ravel_multi_index(index, shape) if len(numbers) else np.zeros(0, np.int64)
        self._dense: np.ndarray | None = None
        self.empty = not len(numbers)
        if len(used) * size <= max(_DENSE, 4 * len(numbers)):
            table = np.zeros((len(used), size))
            np.add.at(table, (local.reshape(-1), flat), numbers)
            self._dense = table.reshape(len(used), *shape)
        else:
            self._flat, self._weights, self._numbers = flat, weights, numbers

    @classmethod
    def from_tables(cls, used: np.ndarray, table: np.ndarray) -> WeightedArray:
        """From one dense array for each of the weights `used`."""
        self = cls(table.shape[1:], tuple(np.zeros(0, np.int64) for _ in table.shape[1:]),
                   np.zeros(0, np.int64), np.zeros(0))
        self._used, self._dense, self.empty = used, table, False
        return self

    def evaluate(self, values: Values, omega: Any) -> Any:
        """The array, given all weights."""
        if self.empty:
            return jnp.zeros(self.shape, values.dtype)
        if self._dense is not None:
            table = values.number(self._dense)
            if len(self._used) == 1:
                return table[0] if self._used[0] == 0 else omega[self._used[0]] * table[0]
            return jnp.tensordot(omega[self._used], table, 1, precision="highest")
        out = jnp.zeros(int(np.prod(self.shape)), values.dtype)
        out = out.at[self._flat].add(values.number(self._numbers) * omega[self._weights])
        return out.reshape(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Quadratic:
    """Coefficients by coordinates: symmetric H as (row, column, weight, number), h likewise."""

    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray
    places: np.ndarray
    linear_weights: np.ndarray
    linear: np.ndarray
    reduced: Reduced

    @property
    def fixed(self) -> bool:
        """Whether nothing is left to be summed at run time."""
        return not (self.reduced.late.get(1) or self.reduced.late.get(2))


def quadratic(reduced: Reduced) -> Quadratic:
    """Read H and h off a reduced log density (-1/2 e'He + h'e)."""
    two, one = reduced.entries.get(2), reduced.entries.get(1)
    none = np.zeros(0, np.int64)
    if two is None:
        rows = columns = weights = none
        numbers = np.zeros(0)
    else:
        i, j = two.positions
        off = i != j
        rows = np.concatenate([i, j[off]])
        columns = np.concatenate([j, i[off]])
        weights = np.concatenate([two.weights, two.weights[off]])
        doubled = np.where(off, -two.coefficients, -2 * two.coefficients)
        numbers = np.concatenate([doubled, doubled[off]])
    return Quadratic(
        rows, columns, weights, numbers,
        one.positions[0] if one else none, one.weights if one else none,
        one.coefficients if one else np.zeros(0), reduced,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """H and h by structure, as run-time arrays: components, their coupling to the rest, the rest."""

    inner: Any  # (count, width, width)
    cross: Any  # (count, width, rest)
    rest: Any  # (rest, rest)
    inner_linear: Any  # (count, width)
    rest_linear: Any  # (rest,)


class BlockAssembly:
    """Adds up the structured parts of H and h."""

    def __init__(self, q: Quadratic, s: Structure) -> None:
        self._q, self._s = q, s
        count, width, rest = *s.components.shape, len(s.rest)
        ci, cj = s.component[q.rows], s.component[q.columns]
        pi, pj = s.place[q.rows], s.place[q.columns]

        def part(shape: tuple[int, ...], keep: np.ndarray, *index: np.ndarray) -> WeightedArray:
            return WeightedArray(shape, tuple(i[keep] for i in index), q.weights[keep],
                                 q.numbers[keep])

        self.inner = part((count, width, width), (ci >= 0) & (cj >= 0), ci, pi, pj)
        self.cross = part((count, width, rest), (ci >= 0) & (cj < 0), ci, pi, pj)
        self.rest = part((rest, rest), (ci < 0) & (cj < 0), pi, pj)
        c, p = s.component[q.places], s.place[q.places]
        self.inner_linear = WeightedArray((count, width), (c[c >= 0], p[c >= 0]),
                                          q.linear_weights[c >= 0], q.linear[c >= 0])
        self.rest_linear = WeightedArray((rest,), (p[c < 0],), q.linear_weights[c < 0],
                                         q.linear[c < 0])

    def evaluate(self, values: Values, omega: Any) -> Blocks:
        """All parts at run time, late sums included."""
        out = [a.evaluate(values, omega) for a in
               (self.inner, self.cross, self.rest, self.inner_linear, self.rest_linear)]
        inner, cross, rest, inner_linear, rest_linear = out
        s = self._s
        everything_rest = len(s.rest) == s.size
        for late in self._q.reduced.late.get(2, ()):
            (i, j), c = late.evaluate(values)
            if everything_rest:
                rest = rest.at[i, j].add(-c).at[j, i].add(-c)
                continue
            i, j = np.asarray(i), np.asarray(j)
            for a, b in ((i, j), (j, i)):
                ca, cb, pa, pb = s.component[a], s.component[b], s.place[a], s.place[b]
                k = np.flatnonzero((ca >= 0) & (cb >= 0))
                inner = inner.at[ca[k], pa[k], pb[k]].add(-c[k])
                k = np.flatnonzero((ca >= 0) & (cb < 0))
                cross = cross.at[ca[k], pa[k], pb[k]].add(-c[k])
                k = np.flatnonzero((ca < 0) & (cb < 0))
                rest = rest.at[pa[k], pb[k]].add(-c[k])
        for late in self._q.reduced.late.get(1, ()):
            (i,), c = late.evaluate(values)
            if everything_rest:
                rest_linear = rest_linear.at[i].add(c)
                continue
            i = np.asarray(i)
            k = np.flatnonzero(s.component[i] >= 0)
            inner_linear = inner_linear.at[s.component[i[k]], s.place[i[k]]].add(c[k])
            k = np.flatnonzero(s.component[i] < 0)
            rest_linear = rest_linear.at[s.place[i[k]]].add(c[k])
        return Blocks(inner, cross, rest, inner_linear, rest_linear)


@dataclasses.dataclass(frozen=True, eq=False)
class Between:
    """The component part of a quadratic as group estimates: for each component c with one weight w,

        -1/2 w_c (estimate_c - e_c - K_c e_rest)' D_c (estimate_c - e_c - K_c e_rest),  D_c = R_c R_c',

    and what is left for the rest, `within`: all split on the host, so nothing is subtracted later.
    """

    weight: np.ndarray
    root: np.ndarray
    estimate: np.ndarray
    loading: np.ndarray
    within: WeightedArray
    within_linear: WeightedArray
    adjustment: np.ndarray
    adjustment_weight: np.ndarray


def split_between(q: Quadratic, s: Structure) -> Between | None:
    """The between/within split, or None where a component has several weights or late sums."""
    if not q.fixed or not len(s.components):
        return None
    count, width, rest = *s.components.shape, len(s.rest)
    ci = s.component[q.rows]
    cj = s.component[q.columns]
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    for owner, w in ((ci, q.weights), (cj, q.weights), (s.component[q.places], q.linear_weights)):
        keep = owner >= 0
        np.minimum.at(low, owner[keep], w[keep])
        np.maximum.at(high, owner[keep], w[keep])
    low = np.where(high < 0, 0, low)
    high = np.maximum(high, 0)
    if (low != high).any() or not q.reduced.weights.positive(low):
        return None
    unique = np.unique(np.concatenate([low, q.weights[(ci < 0) & (cj < 0)],
                                       q.linear_weights[s.component[q.places] < 0]]))
    if len(unique) * rest * rest > _DENSE or count * width * rest > 4 * _DENSE:
        return None

    pi, pj = s.place[q.rows], s.place[q.columns]
    inner = np.zeros((count, width, width))
    keep = (ci >= 0) & (cj >= 0)
    np.add.at(inner, (ci[keep], pi[keep], pj[keep]), q.numbers[keep])
    cross = np.zeros((count, width, rest))
    keep = (ci >= 0) & (cj < 0)
    np.add.at(cross, (ci[keep], pi[keep], pj[keep]), q.numbers[keep])
    linear = np.zeros((count, width))
    cl = s.component[q.places]
    keep = cl >= 0
    np.add.at(linear, (cl[keep], s.place[q.places][keep]), q.linear[keep])

    diagonal = np.einsum("cii->ci", inner)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    values, vectors = np.linalg.eigh(inner * scale[:, :, None] * scale[:, None, :])
    good = values > 1e-12 * width
    if (values < -1e-9).any():
        return None
    rooted = np.sqrt(np.where(good, values, 0.0))
    root = vectors * rooted[:, None, :] / scale[:, :, None]
    reciprocal = np.where(good, 1 / np.where(good, values, 1.0), 0.0)
    pseudo = np.einsum("cik,ck,cjk->cij", vectors * scale[:, :, None], reciprocal,
                       vectors * scale[:, :, None], optimize=True)
    loading = pseudo @ cross
    estimate = np.einsum("cij,cj->ci", pseudo, linear)
    size = np.sqrt(np.maximum(diagonal, 0))
    unexplained = np.abs(inner @ loading - cross) / np.maximum(size[:, :, None], 1e-300)
    if unexplained.size and unexplained.max() > 1e-7 * max(1.0, np.abs(cross).max()):
        return None

    row_of = np.searchsorted(unique, low)
    within = np.zeros((len(unique), rest, rest))
    keep = (ci < 0) & (cj < 0)
    np.add.at(within, (np.searchsorted(unique, q.weights[keep]), pi[keep], pj[keep]),
              q.numbers[keep])
    within_linear = np.zeros((len(unique), rest))
    keep = cl < 0
    np.add.at(within_linear, (np.searchsorted(unique, q.linear_weights[keep]),
                              s.place[q.places][keep]), q.linear[keep])
    rooted_loading = np.einsum("cik,cij->ckj", root, loading, optimize=True)
    rooted_estimate = np.einsum("cik,ci->ck", root, estimate)
    for k in np.unique(row_of):
        part = rooted_loading[row_of == k].reshape(int((row_of == k).sum()) * width, rest)
        # the diagonal is exact to rounding; tiny negative within parts are noise
        within[k] -= part.T @ part
        within_linear[k] -= part.T @ rooted_estimate[row_of == k].reshape(-1)
    return Between(
        low, root, estimate, loading,
        WeightedArray.from_tables(unique, within), WeightedArray.from_tables(unique, within_linear),
        np.asarray([np.sum(rooted_estimate[row_of == k] ** 2) for k in np.unique(row_of)]),
        unique[np.unique(row_of)],
    )


def reference(q: Quadratic, size: int, steps: int = 200) -> np.ndarray:
    """A least-squares point of the quadratic with all weights set to 1 (shape (size,)).

    Conjugate gradients on the normal equations, scaled by their diagonal: the point only has to be
    close, so that the quadratic written about it has small coefficients.
    """
    if not len(q.numbers):
        return np.zeros(size)
    diagonal = np.bincount(q.rows[q.rows == q.columns], q.numbers[q.rows == q.columns], size)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    numbers = q.numbers * scale[q.rows] * scale[q.columns]
    right = np.bincount(q.places, q.linear, size) * scale

    def apply(x: np.ndarray) -> np.ndarray:
        return np.bincount(q.rows, numbers * x[q.columns], size)

    x = np.zeros(size)
    r: np.ndarray = right.copy()
    p = r.copy()
    norm: float = float(r @ r)
    target = norm * 1e-24
    for _ in range(min(steps, 2 * size + 10)):
        if norm <= target:
            break
        ap = apply(p)
        curve = float(p @ ap)
        if not np.isfinite(curve) or curve <= 0:
            break
        alpha = norm / curve
        x += alpha * p
        r = r - alpha * ap
        new = float(r @ r)
        p = r + (new / norm) * p
        norm = new
    x = x * scale
    return x if np.isfinite(x).all() else np.zeros(size)


__all__ += ["Between", "BlockAssembly", "Blocks", "product", "reference", "split_between"]
