"""Elements in units of their priors, turned to the axes of what the likelihood says of them.

Where a prior's covariance is known but for a factor, elements in units of its root are exchangeable: any orthogonal mix of
them has a prior of that form again. The likelihood's own axes in these units may differ in size by as many digits as
there are, so that all that is said of them is computed from roots, each direction in its own size. Elements with a flat
prior have no units; they are taken in those of the likelihood, each less what the others explain of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.linalg.lapack import dgejsv

from conjugate_ppl.algebra.term import is_known
from conjugate_ppl.gaussian.pivoted import Root, root
from conjugate_ppl.gaussian.products import matmul

__all__ = ["ROUNDING", "Axes", "Known", "Oblique", "applied", "axes"]

ROUNDING = 2e-14
"""Relative to the products of all that is added up."""
_PROPORTIONAL = 1e-13  # relative difference of matrices that are one, but for a factor


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """e = M u, for a known matrix M."""

    matrix: np.ndarray
    inverse_matrix: np.ndarray

    def forward(self, x: Any) -> Any:
        """M^-1 x"""
        return applied(self.inverse_matrix, x)

    def backward(self, x: Any) -> Any:
        """M x"""
        return applied(self.matrix, x)

    def coefficients(self, h: np.ndarray) -> np.ndarray:
        """M'h, without what is rounding alone."""
        out: np.ndarray = self.matrix.T @ h
        out[np.abs(out) <= ROUNDING * (np.abs(self.matrix.T) @ np.abs(h))] = 0.0
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class Oblique(Known):
    """Elements by the axes of the likelihood, e = M u.

    Attributes:
        root: R, with H = R R' for the likelihood's own matrix of these elements.
        across: M'R.
    """

    root: Root
    across: np.ndarray

    def coefficients(self, h: np.ndarray) -> np.ndarray:
        """M'h, shape (elements, any), without what is rounding alone: of what lies in the range of H, each element has its
        own relative accuracy."""
        r, c = self.root.columns, self.root.solve(h)
        left = h - r @ c
        left[np.abs(left) <= ROUNDING * (np.abs(r) @ np.abs(c))] = 0.0
        out: np.ndarray = self.across @ c
        products = np.abs(self.across) @ np.abs(c)
        if left.any():
            out += self.matrix.T @ left
            products += np.abs(self.matrix.T) @ np.abs(left)
        out[np.abs(out) <= ROUNDING * products] = 0.0
        return out


def applied(a: np.ndarray, x: Any) -> Any:
    """A known matrix times what may be a number of a program."""
    return a @ x if is_known(x) else matmul(a.astype(x.dtype), x)


class Axes(NamedTuple):
    """How elements are turned.

    Fields:
        turn: from elements by the axes to elements as they are.
        squares: what H is by the axes for each weight, where it is diagonal for all, shape (elements, weights); else None.
        volume, flat_volume: log |det M| of elements with units, and of the others.
    """

    turn: Oblique
    squares: np.ndarray | None
    volume: float
    flat_volume: float


def axes(own: np.ndarray, flat: int = 0, roots: Sequence[np.ndarray] = (), prior: np.ndarray | None = None) -> Axes | None:
    """The axes of H = sum over weights of `own`, shape (n, n, weights). None where the rank of H is left open.

    From singular values of the root, by Jacobi's method (Drmac & Veselic, 2008), which are accurate each for itself. Of a
    smooth function they range over as many digits as there are, and eigenvalues of the matrix would leave the small ones
    mixed.

    Args:
        own: what is seen of the elements.
        flat: so many of the first elements have a flat prior.
        roots: units of the others, lower triangular matrices along the diagonal; elements without units stay as they are, but
            are taken out of what is seen of the flat ones.
        prior: a share of H among the flat elements, which their axes are those of too.
    """
    n = len(own)
    whole = own.sum(2)
    found = root(whole, [np.arange(flat), np.arange(flat, n)])
    if found is None or (found.pivots < flat).sum() < flat:
        return None
    own_root, shared, other_root = found.columns[:flat, :flat], found.columns[flat:, :flat], found.columns[flat:, flat:]
    others = _Turn(np.eye(n - flat), np.eye(n - flat), other_root, None if n > flat else np.zeros(0), 0.0)
    if len(roots):
        turned = _by_units(other_root, roots)
        if turned is None:
            return None
        others = turned
    unit = np.linalg.inv(own_root).T
    turn = np.eye(flat) if prior is None else np.linalg.eigh(unit.T @ prior @ unit)[1]
    matrix, back, across = np.zeros((n, n)), np.zeros((n, n)), np.zeros_like(found.columns)
    # u = V'(A'f + B'k), of a flat f and another k whose roots are A and B
    matrix[:flat, :flat], matrix[:flat, flat:] = unit @ turn, -unit @ shared.T @ others.matrix
    back[:flat, :flat], back[:flat, flat:] = turn.T @ own_root.T, turn.T @ shared.T
    across[:flat, :flat] = turn.T
    matrix[flat:, flat:], back[flat:, flat:], across[flat:, flat:] = others.matrix, others.inverse, others.across
    shares = _shares(own, whole)
    squares = None
    if shares is not None and others.sizes is not None:
        squares = np.append(np.ones(flat), others.sizes**2)[:, None] * shares
    return Axes(Oblique(matrix, back, found, across), squares, others.volume, float(np.linalg.slogdet(unit)[1]))


class _Turn(NamedTuple):
    """Elements that are not flat: M, its inverse, M'R, of which the rows have `sizes` and are orthogonal, or None, and
    log |det M|."""

    matrix: np.ndarray
    inverse: np.ndarray
    across: np.ndarray
    sizes: np.ndarray | None
    volume: float


def _by_units(r: np.ndarray, roots: Sequence[np.ndarray]) -> _Turn | None:
    """M = L V, where L'R = V diag(sizes) W; None if that was not found."""
    shape, inverse = block_diag(*roots), block_diag(*(solve_triangular(x, np.eye(len(x)), lower=True) for x in roots))
    svd = _singular(shape.T @ r)
    if svd is None:
        return None
    vectors, sizes, right = svd
    across = np.zeros_like(r)
    across[: len(sizes)] = sizes[:, None] * right
    return _Turn(shape @ vectors, vectors.T @ inverse, across, np.append(sizes, np.zeros(len(r) - len(sizes))),
                 float(np.log(np.diagonal(shape)).sum()))


def _singular(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """V, d and W with A = V diag(d) W, V square, for A of no more columns than rows; None if that failed."""
    if not a.size:
        return np.eye(len(a)), np.zeros(0), np.zeros((0, 0))
    sizes, vectors, right, work, _, failed = dgejsv(np.asfortranarray(a), joba=2, jobu=1, jobv=0)
    return None if failed else (vectors, sizes * (work[0] / work[1]), right.T)


def _shares(own: np.ndarray, whole: np.ndarray) -> np.ndarray | None:
    """Of each weight which share of the whole its matrix is; None where it is no multiple of that."""
    unit = whole / (np.abs(whole).max(initial=0.0) or 1.0)  # of large numbers the squares alone may overflow
    shares = np.einsum("ijw,ij->w", own, unit) / (np.sum(unit * whole) or 1.0)
    sized = np.abs(whole[..., None] * shares)
    return None if (np.abs(own - whole[..., None] * shares) > _PROPORTIONAL * sized).any() else shares
