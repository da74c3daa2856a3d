"""What one cell changes in a Gaussian block: expectations of exp(a l) under the block's posterior.

Where matrices P scale the block, its elements come in rows z of as many columns, and the cell's log density is

    l = -1/2 sum_ij h_ij z_i'P z_j + sum_i z_i'P k_i - 1/2 tr(P K),

so that D(a) of `removal.py` is tr(P S) with a matrix S in place of the number (z, k and g have a row for each row), and
the determinant counts once a column. Numbers are matrices of one row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from conjugate_ppl.additive.leverage import BlockLaw

__all__ = ["Touch", "expectations"]

_NUMBERS = 1 << 22  # of small matrices, held at once
_IMPROPER = 1e-9  # share of a flat direction's precision that may be left: rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Touch:
    """Monomials of cells in the rows of a block: (cell, first elements of up to two rows, coefficient).

    Those in one row go with k's element `towards`.
    """

    rows: np.ndarray
    elements: tuple[np.ndarray, ...]
    numbers: np.ndarray
    towards: np.ndarray


def expectations(law: BlockLaw, touches: Sequence[Touch], powers: np.ndarray,
                 origins: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(squares, volume) of D(a), shapes (2, cells, n, n) and (2, cells), for the two powers a of every cell.

    `origins` is what elements in the monomials are less.
    """
    count = powers.shape[1]
    mean = law.reference + law.mean
    for site, first in law.first.items():
        part = slice(first, first + len(origins[site]))
        mean[part] = law.mean[part] + (law.reference[part] - origins[site])
    n = law.owned.rows
    squares, volume = np.zeros((2, count, n, n)), np.zeros((2, count))
    rows = np.concatenate([t.rows for t in touches for _ in t.elements] or [np.zeros(0, np.int64)])
    touched = np.concatenate([e for t in touches for e in t.elements] or [np.zeros(0, np.int64)])
    pairs = np.unique(rows * (len(mean) + 1) + touched)
    owner, element = pairs // (len(mean) + 1), pairs % (len(mean) + 1)
    many = np.bincount(owner, minlength=count)
    local = np.arange(len(pairs)) - np.repeat(np.cumsum(many) - many, many)
    width = int(many.max(initial=0))
    table = np.zeros((count, width), np.int64)
    table[owner, local] = element

    def at(r: np.ndarray, e: np.ndarray) -> np.ndarray:
        found: np.ndarray = local[np.searchsorted(pairs, r * (len(mean) + 1) + e)]
        return found

    h, hessian, constant = np.zeros((count, width, n)), np.zeros((count, width, width)), np.zeros(count)
    for t in touches:
        if not t.elements:
            np.add.at(constant, t.rows, t.numbers)
        elif len(t.elements) == 1:
            np.add.at(h, (t.rows, at(t.rows, t.elements[0]), t.towards), t.numbers)
        else:
            i, j = (at(t.rows, e) for e in t.elements)
            np.subtract.at(hessian, (t.rows, i, j), t.numbers)
            np.subtract.at(hessian, (t.rows, j, i), t.numbers)
    m = np.where((np.arange(width) < many[:, None])[:, :, None], mean[law.members[table]], 0.0)
    pull = hessian @ m
    density = constant[:, None, None] + np.swapaxes(m, 1, 2) @ (h - 0.5 * pull)
    step = max(1, _NUMBERS // max(width * max(width, law.factor.shape[1]), n**2, 1))
    for k in range(0, count, step):
        part = slice(k, min(k + step, count))
        a = powers[:, part]
        more, logdet = _corrections(law.covariance(table[part]), hessian[part], (h - pull)[part], a, law.flat)
        wide = a[:, :, None, None]
        squares[:, part] = wide * density[part] + 0.5 * wide**2 * more
        volume[:, part] = -0.5 * n * logdet
    return squares, volume


def _corrections(c: np.ndarray, hessian: np.ndarray, g: np.ndarray, a: np.ndarray, flat: bool
                 ) -> tuple[np.ndarray, np.ndarray]:
    """g' C (I + a H C)^-1 g and log|I + a H C|, shapes (2, many, n, n) and (2, many); nan where the rest is improper."""
    k = c.shape[-1]
    root = _one_column(hessian)
    cg = c @ g
    if root is not None:  # one number a cell, as most have
        lever = np.einsum("ri,rij,rj->r", root, c, root, optimize=True)
        along = np.einsum("ri,rib->rb", root, cg)
        det = 1 + a * lever
        det = np.where(det > (_IMPROPER if flat else 0), det, np.nan)
        more = np.swapaxes(g, 1, 2) @ cg - (a / det)[:, :, None, None] * (along[:, :, None] * along[:, None, :])
        return np.asarray(more), np.asarray(np.log(det))
    matrix = np.eye(k) + a[:, :, None, None] * (hessian @ c)
    sign, logdet = np.linalg.slogdet(matrix)
    good = (sign > 0) & (logdet > (np.log(_IMPROPER) if flat else -np.inf))
    matrix = np.where(good[..., None, None], matrix, np.eye(k))
    solved = np.linalg.solve(matrix, np.broadcast_to(g, (2, *g.shape)))
    more = np.swapaxes(cg, 1, 2) @ solved
    return more, np.where(good, logdet, np.nan)


def _one_column(hessian: np.ndarray) -> np.ndarray | None:
    """The vectors r with H = r r', if all of some matrices have rank one or zero."""
    many, k = hessian.shape[:2]
    if not k:
        return np.zeros((many, 0))
    diagonal = np.einsum("rii->ri", hessian)
    pivot = diagonal.argmax(1)
    top = diagonal[np.arange(many), pivot]
    if (top < 0).any():
        return None
    column = hessian[np.arange(many), :, pivot]
    root = column / np.sqrt(np.where(top > 0, top, 1.0))[:, None]
    close = np.abs(root[:, :, None] * root[:, None, :] - hessian) <= 1e-13 * top[:, None, None]
    return root if close.all() else None
