"""Rotating exchangeable elements, so that fewer of them depend on each other.

Where all events of a site (its elements, or its rows for a multivariate one) have one scale, and means
that are known, any orthogonal mix of the events has a prior of that form again. The mix chosen here
makes what the likelihood says of the site as diagonal as one mix can make it, and couples as few events
as possible with other sites: the contrasts within a balanced group couple with nothing, and of a ridge
regression the coefficients become its principal components, each solved alone.

Where a prior's covariance is known but for a factor, elements in units of its root are exchangeable too: the effects of
relatives, a smooth function, coefficients of a spline (`axes`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.linalg import qr, solve_triangular

from conjugate_ppl import _compat
from conjugate_ppl.algebra.term import is_known
from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.axes import ROUNDING, applied, axes
from conjugate_ppl.gaussian.quadratic import Quadratic

__all__ = ["Able", "Group", "Rotated", "Rotation", "rotations", "turned_groups"]

_MANY, _DEAR = 256, 1000  # events of a site that is not rotated before it is seen that this would free half of them, or most
_LARGEST = 2000  # events of a site that is rotated, or elements of a known shape
_RUNS = 16  # slices that are put together, rather than rows one by one
_PIECES = 4  # of the parts of a mix
_WIDEST = 32  # elements of an event of a site that is rotated
_OWN = 0.05  # of `ROUNDING`, of each number of a mix
_EQUAL = 1e-9  # eigenvalues that differ by less, relative to the largest, count as one

Group = tuple[np.ndarray, bool]
"""Elements, and whether they may be components."""


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
        """|Q|, and more: what multiplies `ROUNDING` in products with Q, whose own numbers are those of unit vectors."""
        out: np.ndarray = np.abs(self.backward(np.eye(len(self.left)))) + _OWN
        return out

    def backward(self, x: Any) -> Any:
        """Q x"""
        if self.matrix is not None:
            return applied(self.matrix, x)
        out = x
        for left, right in self._pieces(x.dtype.itemsize):
            out = out - applied(left, applied(right.T, x))
        return out

    def _pieces(self, itemsize: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`left` and `right` by columns, in a few small arrays where that is possible."""
        events, columns = self.left.shape
        most = max(1, _compat.SMALL // (itemsize * events))
        step = most if columns <= _PIECES * most else columns
        for k in range(0, columns, step):
            yield self.left[:, k:k + step], self.right[:, k:k + step]


Part = tuple[np.ndarray, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Rotation:
    """e = Q e', part by part, or one after the other.

    Attributes:
        parts: (element numbers of shape (events, width), Q) for all that is rotated: sites, events, or coefficients.
        log_volume: log |det Q| of all, what is before this one included.
        after: what plain coordinates are rotated by first.
    """

    parts: tuple[Part, ...]
    log_volume: float
    after: Rotation | None = None

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Those of what is before this one, too."""
        return self.parts if self.after is None else self.after.all_parts + self.parts

    @property
    def elements(self) -> np.ndarray:
        """All that is rotated."""
        return np.unique(np.concatenate([index.reshape(-1) for index, _ in self.all_parts]))

    def within(self, labels: np.ndarray) -> bool:
        """Whether only elements of equal labels are mixed."""
        return all((labels[index] == labels[index[:1, :1]]).all() for index, _ in self.all_parts)

    def forward(self, e: Any) -> Any:
        """From plain to rotated coordinates, along the first axis."""
        e = e if self.after is None else self.after.forward(e)
        return self._apply(e, [(index, q.forward) for index, q in self.parts])

    def backward(self, e: Any) -> Any:
        """From rotated to plain coordinates, along the first axis."""
        e = self._apply(e, [(index, q.backward) for index, q in self.parts])
        return e if self.after is None else self.after.backward(e)

    def _apply(self, e: Any, parts: Sequence[tuple[np.ndarray, Callable[[Any], Any]]]) -> Any:
        pieces, places, done = [], np.arange(len(e)), len(e)
        for index, turn in parts:
            flat = index.reshape(-1)
            turned = turn(_taken(e, flat).reshape(len(index), -1))
            pieces.append(turned.reshape(len(flat), *e.shape[1:]))
            places[flat] = done + np.arange(len(flat))
            done += len(flat)
        return _joined([e, *pieces], places)


def _taken(e: Any, numbers: np.ndarray) -> Any:
    """Some rows, as a slice where they are one."""
    first = int(numbers[0])
    return e[first : first + len(numbers)] if (np.diff(numbers) == 1).all() else e[numbers]


def _joined(pieces: Sequence[Any], places: np.ndarray) -> Any:
    """The rows `places` of all pieces, one after the other: slices put together where these are few."""
    starts = np.cumsum([0, *(len(x) for x in pieces)])
    piece = np.searchsorted(starts, places, "right") - 1
    ends = np.flatnonzero((np.diff(places) != 1) | (np.diff(piece) != 0)) + 1
    concatenate = np.concatenate if is_known(pieces[0]) else jnp.concatenate
    if len(ends) >= _RUNS:
        return concatenate(pieces)[places]
    local = places - starts[piece]
    return concatenate([pieces[piece[r[0]]][local[r[0]] : local[r[0]] + len(r)]
                        for r in np.split(np.arange(len(places)), ends)])


class Able(NamedTuple):
    """Elements that may be mixed.

    Fields:
        table: numbers of the elements, shape (events, width); those of an event keep their places.
        roots: known lower triangular matrices in whose units the elements are taken, shape (many, n, n); None if none.
    """

    table: np.ndarray
    roots: np.ndarray | None = None

    @property
    def elements(self) -> np.ndarray:
        """All of them, event by event."""
        return self.table.reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Rotated:
    """A quadratic in rotated coordinates, and groups of elements for the search of a structure."""

    rotation: Rotation
    quadratic: Quadratic
    groups: list[Group]


def rotations(q: Quadratic, size: int, able: Sequence[Able], others: list[Group], after: Rotation | None = None
              ) -> Rotated | None:
    """Rotate what is `able`.

    `others` are the groups of elements that stay as they are; the quadratic's coordinates are those `after` a rotation.
    None where nothing can be rotated.
    """
    chosen = [a for a in able if 2 < len(a.table) <= _LARGEST and a.table.shape[1] <= _WIDEST]
    used = np.unique(np.concatenate([q.weights, q.linear_weights]))
    if not q.fixed or len(used) * size * size > DENSE:
        return None
    chosen = [a for a in chosen if not _in_vain(q, a, size)]
    if not chosen:
        return None
    h = np.zeros((size, size, len(used)))
    np.add.at(h, (q.rows, q.columns, np.searchsorted(used, q.weights)), q.numbers)
    linear = np.zeros((size, len(used)))
    np.add.at(linear, (q.places, np.searchsorted(used, q.linear_weights)), q.linear)

    parts: list[Part] = []
    shaped = np.zeros(size, bool)
    own, volume = [], 0.0 if after is None else after.log_volume
    for a in chosen:
        if a.roots is None:
            parts.append((a.table, _events(np.moveaxis(h, 2, 0), a.table)))
            continue
        found = axes(h[np.ix_(a.elements, a.elements)], roots=list(a.roots))
        if found is not None and found.squares is not None:
            parts.append((a.table, found.turn))
            own.append((a.elements, found.squares))
            shaped[a.elements] = True
            volume += found.volume
    if not parts:
        return None
    rotation = Rotation(tuple(parts), volume, after)
    rounding = ROUNDING * _both(lambda x: _absolute(parts, x), np.abs(h))
    h = _both(lambda x: _coefficients(parts, x), h)
    rounding[np.arange(size), np.arange(size)] = 0.0
    rounding[shaped], rounding[:, shaped] = 0.0, 0.0
    h[np.abs(h) <= rounding] = 0.0
    for elements, squares in own:
        h[np.ix_(elements, elements)] = 0.0
        h[elements, elements] = squares
    rows, columns, weights = np.nonzero(h)
    linear = _coefficients(parts, linear)
    places, linear_weights = np.nonzero(linear)
    turned = dataclasses.replace(
        q, rows=rows, columns=columns, weights=used[weights], numbers=h[rows, columns, weights],
        places=places, linear_weights=used[linear_weights], linear=linear[places, linear_weights])

    groups = list(others)
    tables = [table for table, _ in parts]
    rotated = {int(t[0, 0]) for t in tables}
    groups += [(a.elements, True) for a in able if int(a.elements[0]) not in rotated]
    groups += [g for table in tables for g in turned_groups(table, size, rows, columns)]
    return Rotated(rotation, turned, groups)


def _in_vain(q: Quadratic, a: Able, size: int) -> bool:
    """Whether many elements of their own, of which nothing but their number of rows is said, are so unlike that too few
    of their mixes could be free of others: of n with the same rows those that m others couple with are m."""
    events = len(a.table)
    if events < _MANY or a.table.shape[1] > 1 or a.roots is not None:
        return False
    event = np.full(size, -1)
    event[a.elements] = np.arange(events)
    own, other = event[q.rows], event[q.columns]
    inside, same = (own >= 0) & (other >= 0), own == other
    if (inside & ~same & (q.numbers != 0)).any():
        return False
    weights, column = np.unique(q.weights[inside], return_inverse=True)
    said = np.zeros((events, len(weights)))
    np.add.at(said, (own[inside], column), q.numbers[inside])
    unit = np.abs(said).max(initial=0.0) or 1.0
    _, alike, many = np.unique(np.round(said / unit / _EQUAL), axis=0, return_inverse=True, return_counts=True)
    cross = (own >= 0) & (other < 0)
    met = np.unique(np.stack([alike.reshape(-1)[own[cross]], q.columns[cross], q.weights[cross]], 1), axis=0)
    free = np.maximum(many - np.bincount(met[:, 0], minlength=len(many)), 0).sum()
    return bool(free < (0.5 if events < _DEAR else 0.75) * events)


def turned_groups(table: np.ndarray, size: int, rows: np.ndarray, columns: np.ndarray) -> list[Group]:
    """The events of a part that are coupled with other elements of all `size`, and the others."""
    inside = np.zeros(size, bool)
    inside[table.reshape(-1)] = True
    coupled = np.isin(table, rows[inside[rows] & ~inside[columns]]).any(1)
    return [(table[part].reshape(-1), True) for part in (coupled, ~coupled) if part.any()]


def _both(f: Callable[[np.ndarray], np.ndarray], h: np.ndarray) -> np.ndarray:
    """Q'HQ, of matrices along the first two axes, for Q' as a function."""
    return np.swapaxes(f(np.swapaxes(f(h), 0, 1)), 0, 1)


def _coefficients(parts: Sequence[Part], h: np.ndarray) -> np.ndarray:
    """Q'h, along the first axis: from coefficients of plain coordinates to those of rotated ones."""
    out = h.copy()
    for index, q in parts:
        own = h[index.reshape(-1)]
        out[index.reshape(-1)] = q.coefficients(own.reshape(len(index), -1)).reshape(own.shape)
    return out


def _absolute(parts: Sequence[Part], h: np.ndarray) -> np.ndarray:
    """|Q|'h along the first axis, of what is mixed without a shape."""
    out = h.copy()
    for index, q in parts:
        if isinstance(q, Mix):
            own = h[index.reshape(-1)]
            out[index.reshape(-1)] = (q.absolute.T @ own.reshape(len(index), -1)).reshape(own.shape)
    return out


def _events(h: np.ndarray, table: np.ndarray) -> Mix:
    """The orthogonal matrix for the events of one site."""
    events, width = table.shape
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(width, width, len(h)))
    mix = np.einsum("weafb,abw->ef", h[:, table[:, :, None, None], table], numbers, optimize=True)
    values, vectors = _eigen(mix + mix.T)
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


def _eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors; of what is diagonal (numbers of rows) by sorting."""
    diagonal = np.diagonal(matrix)
    if np.count_nonzero(matrix) > np.count_nonzero(diagonal):
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors
    order = np.argsort(diagonal, kind="stable")
    return diagonal[order], np.eye(len(matrix))[:, order]


def _reflections(columns: np.ndarray) -> Mix:
    """An orthogonal matrix that begins with orthonormal columns, up to their signs.

    A product of Householder reflections, those of LAPACK's QR factorisation: I - V T V' with V lower trapezoidal, where the inverse
    of T is the upper triangle of V'V with 1 / tau on its diagonal (Joffrain et al., ACM TOMS 32, 2006).
    """
    (packed, tau), _ = qr(columns, mode="raw", check_finite=False)
    v = np.tril(packed, -1) + np.eye(*packed.shape)
    v, tau = v[:, tau != 0], tau[tau != 0]  # of others nothing is reflected
    inverse = np.triu(v.T @ v, 1) + np.diag(1 / tau)
    return Mix(None, np.ascontiguousarray(solve_triangular(inverse, v.T, trans="T", check_finite=False).T), np.ascontiguousarray(v))
