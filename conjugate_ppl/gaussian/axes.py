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

__all__ = ["ROUNDING", "Axes", "Oblique", "applied", "axes"]

ROUNDING = 2e-14
"""Relative to the products of all that is added up."""
_PROPORTIONAL = 1e-13  # relative difference of matrices that are one, but for a factor


@dataclasses.dataclass(frozen=True, eq=False)
class Oblique:
    """Elements by the axes of the likelihood, e = M u.

    Attributes:
        matrix, inverse_matrix: M and its inverse.
        root: R, with H = R R' for the likelihood's own matrix of these elements.
        across: M'R.
    """

    matrix: np.ndarray
    inverse_matrix: np.ndarray
    root: Root
    across: np.ndarray

    def forward(self, x: Any) -> Any:
        """M^-1 x"""
        return applied(self.inverse_matrix, x)

    def backward(self, x: Any) -> Any:
        """M x"""
        return applied(self.matrix, x)

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


def axes(own: np.ndarray, roots: Sequence[np.ndarray]) -> Axes | None:
    """The axes of H = sum over weights of `own`, shape (n, n, weights), for elements of which the first are flat, and the
    others have units `roots`, lower triangular matrices along the diagonal. None where the rank of H is left open.

    From singular values of the root, by Jacobi's method (Drmac & Veselic, 2008), which are accurate each for itself. Of a
    smooth function they range over as many digits as there are, and eigenvalues of the matrix would leave the small ones
    mixed.
    """
    n = len(own)
    shape, inverse = (block_diag(np.zeros((0, 0)), *x) for x in (
        roots, [solve_triangular(r, np.eye(len(r)), lower=True) for r in roots]))
    flat = n - len(shape)
    whole = own.sum(2)
    found = root(whole, [np.arange(flat), np.arange(flat, n)])
    if found is None or (found.pivots < flat).sum() < flat:
        return None
    across = np.zeros_like(found.columns)
    matrix, back = np.eye(n), np.eye(n)
    own_root, other_root = found.columns[:, :flat], found.columns[flat:, flat:]
    svd = _singular(shape.T @ other_root)
    if svd is None:
        return None
    vectors, sizes, right = svd
    matrix[flat:, flat:], back[flat:, flat:] = shape @ vectors, vectors.T @ inverse
    across[flat : flat + len(sizes), flat:] = sizes[:, None] * right
    across[:flat, :flat] = np.eye(flat)
    back[:flat] = own_root.T  # u = A'f + B'k, of a flat f and another k whose root has the parts A and B
    unit = np.linalg.inv(own_root[:flat]).T
    matrix[:flat, :flat] = unit
    matrix[:flat, flat:] = -unit @ own_root[flat:].T @ matrix[flat:, flat:]
    squares = None
    shares = _shares(own, whole)
    if shares is not None:
        squares = np.concatenate([np.ones(flat), sizes**2, np.zeros(n - flat - len(sizes))])[:, None] * shares
    return Axes(Oblique(matrix, back, found, across), squares, float(np.log(np.diagonal(shape)).sum()),
                float(np.linalg.slogdet(unit)[1]))


def _singular(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """V, d and W with A = V diag(d) W, V square, for A of no more columns than rows; None if that failed."""
    if not a.size:
        return np.eye(len(a)), np.zeros(0), np.zeros((0, 0))
    sizes, vectors, right, work, _, failed = dgejsv(np.asfortranarray(a), joba=2, jobu=1, jobv=0)
    return None if failed else (vectors, sizes * (work[0] / work[1]), right.T)


def _shares(own: np.ndarray, whole: np.ndarray) -> np.ndarray | None:
    """Of each weight which share of the whole its matrix is; None where it is no multiple of that."""
    squared = np.sum(whole**2)
    shares = np.einsum("ijw,ij->w", own, whole) / (squared or 1.0)
    sized = np.abs(whole[..., None] * shares)
    return None if (np.abs(own - whole[..., None] * shares) > _PROPORTIONAL * sized).any() else shares
