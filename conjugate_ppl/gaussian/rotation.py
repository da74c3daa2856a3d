"""Rotating exchangeable elements, so that fewer of them depend on each other.

Where a prior's covariance is known but for a factor, elements in units of its root are exchangeable: a random effect of
relatives, a smooth function, coefficients of a spline. Where all events of a site (its elements, or its rows for a multivariate one) have one scale, and means
that are known, any orthogonal mix of the events has a prior of that form again. The mix chosen here
makes what the likelihood says of the site as diagonal as one mix can make it, and couples as few events
as possible with other sites: the contrasts within a balanced group couple with nothing, and of a ridge
regression the coefficients become its principal components, each solved alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.linalg.lapack import dgejsv

from conjugate_ppl import _compat
from conjugate_ppl.algebra.term import is_known
from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.pivoted import root
from conjugate_ppl.gaussian.products import matmul
from conjugate_ppl.gaussian.quadratic import Quadratic

__all__ = ["Able", "Rotated", "Rotation", "rotations"]

_LARGEST = 2000  # events of a site that is rotated
_PIECES = 4  # of the parts of a mix
_ZERO = 1e-12  # relative to the largest entries of row and column under one weight: rounding
_WIDEST = 8  # elements of an event of a site that is rotated
_EQUAL = 1e-9  # eigenvalues that differ by less, relative to the largest, count as one

Group = tuple[np.ndarray, bool]


@dataclasses.dataclass(frozen=True, eq=False)
class Mix:
    """An orthogonal matrix Q of shape (events, events): as it is, or as `I - left right'`.

    The second form is a product of reflections, as many as directions that are not exchangeable. Where these
    are few it is smaller; where not, its two parts are, piece by piece, and computations with small arrays only
    are the fast ones (`_compat.apart`).
    """

    matrix: np.ndarray | None
    left: np.ndarray
    right: np.ndarray

    @property
    def inverse(self) -> Mix:
        """Its transposed."""
        return self.transposed

    @property
    def transposed(self) -> Mix:
        """Its inverse."""
        return Mix(None if self.matrix is None else self.matrix.T, self.right, self.left)

    def __matmul__(self, x: Any) -> Any:
        if self.matrix is not None:
            return _product(self.matrix, x)
        out = x
        for left, right in self._pieces(x.dtype.itemsize):
            out = out - _product(left, _product(right.T, x))
        return out

    def _pieces(self, itemsize: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`left` and `right` by columns, in a few small arrays where that is possible."""
        events, columns = self.left.shape
        most = max(1, _compat.SMALL // (itemsize * events))
        step = most if columns <= _PIECES * most else columns
        for k in range(0, columns, step):
            yield self.left[:, k:k + step], self.right[:, k:k + step]


@dataclasses.dataclass(frozen=True, eq=False)
class Oblique:
    """A matrix and its inverse: the elements of a known shape by a mix of such in its units."""

    matrix: np.ndarray
    inverse_matrix: np.ndarray

    @property
    def inverse(self) -> Oblique:
        """The inverse."""
        return Oblique(self.inverse_matrix, self.matrix)

    @property
    def transposed(self) -> Oblique:
        """The transposed."""
        return Oblique(self.matrix.T, self.inverse_matrix.T)

    def __matmul__(self, x: Any) -> Any:
        return _product(self.matrix, x)


def _product(a: np.ndarray, x: Any) -> Any:
    return a @ x if is_known(x) else matmul(a.astype(x.dtype), x)


@dataclasses.dataclass(frozen=True, eq=False)
class Rotation:
    """e = Q e', site by site.

    Attributes:
        parts: (element numbers of shape (events, width), a range; Q) for each site that is rotated.
        log_volume: log |det Q| of all.
    """

    parts: tuple[tuple[np.ndarray, Mix | Oblique], ...]
    log_volume: float

    def forward(self, e: Any) -> Any:
        """From plain to rotated coordinates, along the first axis."""
        return self._apply(e, [(index, q.inverse) for index, q in self.parts])

    def around(self, h: Any) -> Any:
        """Q'h, along the first axis: from coefficients of plain coordinates to those of rotated ones."""
        return self._apply(h, [(index, q.transposed) for index, q in self.parts])

    def backward(self, e: Any) -> Any:
        """From rotated to plain coordinates, along the first axis."""
        return self._apply(e, self.parts)

    def _apply(self, e: Any, parts: Sequence[tuple[np.ndarray, Mix | Oblique]]) -> Any:
        pieces, done = [], 0
        for index, q in sorted(parts, key=lambda p: int(p[0][0, 0])):
            first, last = int(index[0, 0]), int(index[-1, -1]) + 1  # a site's elements are a range
            turned = q @ e[first:last].reshape(len(index), -1)
            pieces += [e[done:first], turned.reshape(last - first, *e.shape[1:])]
            done = last
        pieces.append(e[done:])
        return np.concatenate(pieces) if is_known(e) else jnp.concatenate(pieces)


class Able(NamedTuple):
    """Elements that may be mixed.

    Fields:
        elements: a range of numbers.
        width: of an event, whose elements keep their places.
        roots: known lower triangular matrices in whose units the elements are taken, shape (many, n, n); None if none.
    """

    elements: np.ndarray
    width: int
    roots: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Rotated:
    """A quadratic in rotated coordinates, and groups of elements for the search of a structure."""

    rotation: Rotation
    quadratic: Quadratic
    groups: list[Group]


def rotations(q: Quadratic, size: int, able: Sequence[Able], others: list[Group]) -> Rotated | None:
    """Rotate what is `able`.

    `others` are the groups of elements that stay as they are. None where nothing can be rotated.
    """
    chosen = [a for a in able if 2 < len(a.elements) // a.width <= _LARGEST and a.width <= _WIDEST]
    used = np.unique(np.concatenate([q.weights, q.linear_weights]))
    if not q.fixed or not chosen or len(used) * size * size > DENSE:
        return None
    h = np.zeros((size, size, len(used)))
    np.add.at(h, (q.rows, q.columns, np.searchsorted(used, q.weights)), q.numbers)
    linear = np.zeros((size, len(used)))
    np.add.at(linear, (q.places, np.searchsorted(used, q.linear_weights)), q.linear)

    tables = [a.elements.reshape(-1, a.width) for a in chosen]
    parts: list[tuple[np.ndarray, Mix | Oblique]] = []
    own, volume = [], 0.0
    for a, table in zip(chosen, tables, strict=True):
        if a.roots is None:
            parts.append((table, _events(np.moveaxis(h, 2, 0), table)))
            continue
        shape = _of_roots(a.roots)
        axes = _principal_axes(h[np.ix_(a.elements, a.elements)], shape.matrix)
        if axes is not None:
            own.append((a.elements, axes))
            vectors = axes.vectors
        else:
            shaped = _both(Rotation(((table, shape),), 0.0), h)
            vectors = _events(np.moveaxis(shaped, 2, 0), table) @ np.eye(len(table))
        parts.append((table, Oblique(shape.matrix @ vectors, vectors.T @ shape.inverse_matrix)))
        volume += float(np.log(np.diagonal(shape.matrix)).sum())
    rotation = Rotation(tuple(parts), volume)
    h = _both(rotation, h)
    largest = np.sqrt(np.abs(h).max(1, initial=0.0))  # of each row, for each weight
    h[np.abs(h) <= _ZERO * largest[:, None] * largest[None, :]] = 0.0
    for elements, axes in own:
        h[np.ix_(elements, elements)] = 0.0
        h[elements, elements, axes.weight] = axes.squares
    rows, columns, weights = np.nonzero(h)
    linear = rotation.around(linear)
    places, linear_weights = np.nonzero(linear)
    turned = dataclasses.replace(
        q, rows=rows, columns=columns, weights=used[weights], numbers=h[rows, columns, weights],
        places=places, linear_weights=used[linear_weights], linear=linear[places, linear_weights])

    groups = list(others)
    rotated = {int(t[0, 0]) for t in tables}
    groups += [(a.elements, True) for a in able if int(a.elements[0]) not in rotated]
    label = np.arange(size)
    for table in tables:
        label[table.reshape(-1)] = -1 - table[0, 0]
        outside = (label[rows] != label[columns]) & (label[rows] == -1 - table[0, 0])
        coupled = np.isin(table, rows[outside]).any(1)
        groups += [(table[part].reshape(-1), True) for part in (coupled, ~coupled) if part.any()]
    return Rotated(rotation, turned, groups)


def _both(rotation: Rotation, h: np.ndarray) -> np.ndarray:
    """Q'HQ, of matrices along the first two axes."""
    return np.swapaxes(rotation.around(np.swapaxes(rotation.around(h), 0, 1)), 0, 1)


def _of_roots(roots: np.ndarray) -> Oblique:
    """Known roots of events one after the other, and the inverse."""
    inverse = np.stack([solve_triangular(r, np.eye(len(r)), lower=True) for r in roots])
    return Oblique(block_diag(*roots), block_diag(*inverse))


class _Axes(NamedTuple):
    """Orthonormal vectors along which a matrix is diagonal, what it is there, and the place of its weight."""

    vectors: np.ndarray
    squares: np.ndarray
    weight: int


def _principal_axes(h: np.ndarray, shape: np.ndarray) -> _Axes | None:
    """The axes of L'HL, for H of shape (n, n, weights) of which one is not 0; None where its root is not found.

    From singular values of the root, by Jacobi's method (Drmac & Veselic, 2008), which are accurate each for itself. Of a smooth
    function they range over as many digits as there are, and eigenvalues of the matrix would leave the small ones mixed.
    """
    (there,) = np.nonzero(h.any((0, 1)))
    found = root(h[:, :, there[0]], [np.arange(len(h))]) if len(there) == 1 else None
    if found is None:
        return None
    rank = found.columns.shape[1]
    sizes, vectors, _, work, _, failed = dgejsv(np.asfortranarray(shape.T @ found.columns), joba=2, jobu=1, jobv=3)
    if failed:
        return None
    squares = np.zeros(len(h))
    squares[:rank] = (sizes * work[0] / work[1]) ** 2
    return _Axes(vectors, squares, int(there[0]))


def _events(h: np.ndarray, table: np.ndarray) -> Mix:
    """The orthogonal matrix for the events of one site."""
    events, width = table.shape
    rng = np.random.default_rng(0)
    mix = np.zeros((events, events))
    for a in range(width):
        for b in range(width):
            for one in h[:, table[:, a], :][:, :, table[:, b]]:
                mix += rng.normal() * (one + one.T)
    values, vectors = np.linalg.eigh(mix)
    outside = np.setdiff1d(np.arange(h.shape[1]), table.reshape(-1))
    cross = np.concatenate([h[:, table[:, a], :][:, :, outside] for a in range(width)], 2)
    cross = np.moveaxis(cross, 1, 0).reshape(events, -1)
    if cross.shape[1] > events:  # a random mix of columns spans the same space
        cross = cross @ rng.normal(size=(cross.shape[1], events))
    # within one eigenspace, the directions that couple with other sites come first
    alike = np.arange(0)  # of the others, any orthogonal mix will do
    gaps = np.diff(values) > _EQUAL * max(np.abs(values).max(initial=0.0), 1e-300)
    for space in np.split(np.arange(events), np.flatnonzero(gaps) + 1):
        if len(space) == 1:
            continue
        basis = vectors[:, space]
        turn, sizes, _ = np.linalg.svd(basis.T @ cross)
        vectors[:, space] = basis @ turn
        free = space[(sizes > _EQUAL * np.abs(cross).max(initial=0.0)).sum():]
        alike = max(alike, free, key=len)
    special = vectors[:, np.setdiff1d(np.arange(events), alike)]
    if special.shape[1] == events:
        return Mix(vectors, np.zeros((events, 0)), np.zeros((events, 0)))
    return _reflections(special)


def _reflections(columns: np.ndarray) -> Mix:
    """An orthogonal matrix that begins with orthonormal columns, up to their signs.

    A product of Householder reflections: (I - left right') (I - 2 v v') = I - left right' - 2 (Q v) v'.
    """
    count = columns.shape[1]
    left, right = np.zeros_like(columns), np.zeros_like(columns)
    for k in range(count):
        v = columns[:, k] - right @ (left.T @ columns[:, k])  # as the reflections so far leave it
        v[:k] = 0.0
        v[k] += np.copysign(np.linalg.norm(v), v[k])
        v /= np.linalg.norm(v)
        left[:, k] = 2 * (v - left @ (right.T @ v))
        right[:, k] = v
    return Mix(None, left, right)
