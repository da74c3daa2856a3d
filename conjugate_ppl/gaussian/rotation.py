"""Rotating exchangeable elements, so that fewer of them depend on each other.

Where all events of a site (its elements, or its rows for a multivariate one) have one scale, and means
that are known, any orthogonal mix of the events has a prior of that form again. The mix chosen here
makes what the likelihood says of the site as diagonal as one mix can make it, and couples as few events
as possible with other sites: the contrasts within a balanced group couple with nothing, and of a ridge
regression the coefficients become its principal components, each solved alone.

Where a prior's covariance is known but for a factor, elements in units of its root are exchangeable too: the effects of
relatives, a smooth function, coefficients of a spline. The likelihood's own axes in these units may differ in size by
as many digits as there are, so that all that is said of them is computed from roots, each direction in its own size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.linalg.lapack import dgejsv

from conjugate_ppl import _compat
from conjugate_ppl.algebra.term import is_known
from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.pivoted import Root, root
from conjugate_ppl.gaussian.products import matmul
from conjugate_ppl.gaussian.quadratic import Quadratic

__all__ = ["Able", "Rotated", "Rotation", "rotations"]

_LARGEST = 2000  # events of a site that is rotated, or elements of a known shape
_PIECES = 4  # of the parts of a mix
_ROUNDING = 2e-14  # relative to the products of all that is added up
_PROPORTIONAL = 1e-13  # relative difference of matrices that are one, but for a factor
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

    def forward(self, x: Any) -> Any:
        """Q'x"""
        return Mix(None if self.matrix is None else self.matrix.T, self.right, self.left).backward(x)

    def coefficients(self, h: np.ndarray) -> np.ndarray:
        """Q'h"""
        out: np.ndarray = self.forward(h)
        return out

    @property
    def absolute(self) -> np.ndarray:
        """|Q|"""
        out: np.ndarray = np.abs(self.backward(np.eye(len(self.left))))
        return out

    def backward(self, x: Any) -> Any:
        """Q x"""
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
    """The elements of a known shape by the axes of the likelihood in its units: M = L V, where L'R = V diag(sizes) U'.

    Attributes:
        matrix, inverse_matrix: M and its inverse.
        root: R, with H = R R' for the likelihood's own matrix of these elements.
        across: diag(sizes) U'.
    """

    matrix: np.ndarray
    inverse_matrix: np.ndarray
    root: Root
    across: np.ndarray

    def forward(self, x: Any) -> Any:
        """M^-1 x"""
        return _product(self.inverse_matrix, x)

    def backward(self, x: Any) -> Any:
        """M x"""
        return _product(self.matrix, x)

    def coefficients(self, h: np.ndarray) -> np.ndarray:
        """M'h, shape (elements, any): of what lies in the range of H, each element has its own relative accuracy."""
        r, c = self.root.columns, self.root.solve(h)
        left = h - r @ c
        left[np.abs(left) <= _ROUNDING * (np.abs(r) @ np.abs(c))] = 0.0
        out: np.ndarray = self.matrix.T @ left if left.any() else np.zeros_like(left)
        out[: len(self.across)] += self.across @ c
        return out


def _product(a: np.ndarray, x: Any) -> Any:
    return a @ x if is_known(x) else matmul(a.astype(x.dtype), x)


@dataclasses.dataclass(frozen=True, eq=False)
class Rotation:
    """e = Q e', site by site.

    Attributes:
        parts: (element numbers of shape (events, width), a range; Q) for all that is rotated: sites, or events of one.
        log_volume: log |det Q| of all.
    """

    parts: tuple[tuple[np.ndarray, Mix | Oblique], ...]
    log_volume: float

    def forward(self, e: Any) -> Any:
        """From plain to rotated coordinates, along the first axis."""
        return self._apply(e, [(index, q.forward) for index, q in self.parts])

    def coefficients(self, h: np.ndarray) -> np.ndarray:
        """Q'h, along the first axis: from coefficients of plain coordinates to those of rotated ones."""
        out = h.copy()
        for index, q in self.parts:
            own = h[index.reshape(-1)]
            out[index.reshape(-1)] = q.coefficients(own.reshape(len(index), -1)).reshape(own.shape)
        return out

    def backward(self, e: Any) -> Any:
        """From rotated to plain coordinates, along the first axis."""
        return self._apply(e, [(index, q.backward) for index, q in self.parts])

    def _apply(self, e: Any, parts: Sequence[tuple[np.ndarray, Callable[[Any], Any]]]) -> Any:
        pieces, done = [], 0
        for index, turn in sorted(parts, key=lambda p: int(p[0][0, 0])):
            first, last = int(index[0, 0]), int(index[-1, -1]) + 1  # a site's elements are a range
            turned = turn(e[first:last].reshape(len(index), -1))
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
        site: its name; in units of roots all that is able of a site is mixed, or nothing.
    """

    elements: np.ndarray
    width: int
    roots: np.ndarray | None = None
    site: str = ""


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

    parts: list[tuple[np.ndarray, Mix | Oblique]] = []
    shaped = np.zeros(size, bool)
    own, volume = [], 0.0
    axes = [None if a.roots is None else _principal_axes(h[np.ix_(a.elements, a.elements)], a.roots) for a in chosen]
    without = {a.site for a, x in zip(chosen, axes, strict=True) if a.roots is not None and x is None}
    for a, x in zip(chosen, axes, strict=True):
        table = a.elements.reshape(-1, a.width)
        if a.roots is None:
            parts.append((table, _events(np.moveaxis(h, 2, 0), table)))
        elif x is not None and a.site not in without:
            parts.append((table, x.turn))
            own.append((a.elements, x.squares))
            shaped[a.elements] = True
            volume += float(np.log(np.diagonal(a.roots, axis1=1, axis2=2)).sum())
    if not parts:
        return None
    rotation = Rotation(tuple(parts), volume)
    rounding = _ROUNDING * _both(lambda x: _absolute(parts, x), np.abs(h))
    h = _both(rotation.coefficients, h)
    rounding[np.arange(size), np.arange(size)] = 0.0
    rounding[shaped], rounding[:, shaped] = 0.0, 0.0
    h[np.abs(h) <= rounding] = 0.0
    for elements, squares in own:
        h[np.ix_(elements, elements)] = 0.0
        h[elements, elements] = squares
    rows, columns, weights = np.nonzero(h)
    linear = rotation.coefficients(linear)
    places, linear_weights = np.nonzero(linear)
    turned = dataclasses.replace(
        q, rows=rows, columns=columns, weights=used[weights], numbers=h[rows, columns, weights],
        places=places, linear_weights=used[linear_weights], linear=linear[places, linear_weights])

    groups = list(others)
    tables = [table for table, _ in parts]
    rotated = {int(t[0, 0]) for t in tables}
    groups += [(a.elements, True) for a in able if int(a.elements[0]) not in rotated]
    label = np.arange(size)
    for table in tables:
        label[table.reshape(-1)] = -1 - table[0, 0]
        outside = (label[rows] != label[columns]) & (label[rows] == -1 - table[0, 0])
        coupled = np.isin(table, rows[outside]).any(1)
        groups += [(table[part].reshape(-1), True) for part in (coupled, ~coupled) if part.any()]
    return Rotated(rotation, turned, groups)


def _both(f: Callable[[np.ndarray], np.ndarray], h: np.ndarray) -> np.ndarray:
    """Q'HQ, of matrices along the first two axes, for Q' as a function."""
    return np.swapaxes(f(np.swapaxes(f(h), 0, 1)), 0, 1)


def _absolute(parts: Sequence[tuple[np.ndarray, Mix | Oblique]], h: np.ndarray) -> np.ndarray:
    """|Q|'h along the first axis, of what is mixed without a shape."""
    out = h.copy()
    for index, q in parts:
        if isinstance(q, Mix):
            own = h[index.reshape(-1)]
            out[index.reshape(-1)] = (q.absolute.T @ own.reshape(len(index), -1)).reshape(own.shape)
    return out


class _Axes(NamedTuple):
    """How elements of a known shape are turned, and what H is there for each weight, shape (elements, weights)."""

    turn: Oblique
    squares: np.ndarray


def _principal_axes(own: np.ndarray, roots: np.ndarray) -> _Axes | None:
    """The axes of L'HL, for H of shape (n, n, weights) and L with `roots` along its diagonal; None where there are none in
    common.

    From singular values of the root, by Jacobi's method (Drmac & Veselic, 2008), which are accurate each for itself. Of a
    smooth function they range over as many digits as there are, and eigenvalues of the matrix would leave the small ones
    mixed.
    """
    n, _, weights = own.shape
    largest = np.abs(own).max((0, 1), initial=0.0)
    first = int(largest.argmax())
    squared = np.sum(own[..., first] ** 2)
    factor = np.einsum("ijw,ij->w", own, own[..., first]) / (squared or 1.0)
    found = root(own[..., first], [np.arange(n)])
    if found is None or (np.abs(own - own[..., first, None] * factor) > _PROPORTIONAL * np.abs(own[..., first, None] * factor)).any():
        return None
    shape = block_diag(*roots)
    inverse = block_diag(*(solve_triangular(r, np.eye(len(r)), lower=True) for r in roots))
    if not squared:  # nothing is seen of them
        return _Axes(Oblique(shape, inverse, found, np.zeros((0, 0))), np.zeros((n, weights)))
    sizes, vectors, right, work, _, failed = dgejsv(np.asfortranarray(shape.T @ found.columns), joba=2, jobu=1, jobv=0)
    if failed:
        return None
    rank = found.columns.shape[1]
    sizes = sizes * (work[0] / work[1])
    squares = np.zeros((n, weights))
    squares[:rank] = sizes[:, None] ** 2 * factor
    turn = Oblique(shape @ vectors, vectors.T @ inverse, found, sizes[:, None] * right.T)
    return _Axes(turn, squares)


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
