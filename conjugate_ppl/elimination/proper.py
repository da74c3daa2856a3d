"""Flat priors: is the posterior proper at every value of the kept sites?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from conjugate_ppl.elimination.base import Declined
from conjugate_ppl.elimination.scales import ScaleSite
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.program import Program

__all__ = ["check_proper", "semidefinite"]

_RANK = 1e-11  # smallest eigenvalue of a scaled Gram matrix that counts as full rank


def check_proper(program: Program, sites: Sequence[GaussianSite], q: Quadratic, concrete: bool, by_part: str = "",
                 densities: Callable[[], Iterable[Quadratic]] = tuple) -> None:
    """Flat ones among the sites of a block: the data must determine them, whatever the kept sites are.

    H restricted to the flat elements is sum_w weight_w G_w. If every weight is positive and every G_w
    positive semidefinite, its rank is that of sum_w G_w, the same for all kept values. Matrices `by_part` that
    scale the block are taken at the identity: with rows of elements, H is G x P, of the rank of G x 1.
    Where that is not so of the whole, those of its `densities` (all are semidefinite) of which it is have to do.
    """
    flats = [s for s in sites if s.family == "Flat"]
    if not flats:
        return
    if not concrete:
        raise Declined(flats[0].name, "its prior is flat, and traced data cannot prove that the "
                       "posterior is proper", program.sites[flats[0].name].source)
    number = np.full(sum(s.size for s in sites), -1)
    owner: list[str] = []
    for s in flats:
        number[s.first : s.first + s.size] = len(owner) + np.arange(s.size)
        owner += [s.name] * s.size
    n = len(owner)
    scale = ScaleSite(program.sites[by_part]) if by_part else None
    rows = scale.rows if scale is not None else 1
    table = whole = _fixed(q, number, n, by_part, rows)
    if table is None:
        known = (_fixed(part, number, n, by_part, rows) for part in densities())
        table = np.concatenate([np.zeros((0, n, n)), *(t for t in known if t is not None)])
    values, vectors = np.linalg.eigh(_scaled(table).sum(0)) if len(table) else (np.zeros(n), np.eye(n))
    null = vectors[:, values < _RANK * n]
    if null.shape[1] and whole is None:
        first = flats[0].name
        raise Declined(first, "its prior is flat, and the design depends on kept sites, so that a "
                       "proper posterior is not proved", program.sites[first].source)
    if null.shape[1]:
        loose = np.flatnonzero(np.abs(null).max(1) > 1e-6)
        site, rank = owner[loose[0]], n - null.shape[1]
        raise Declined(site, f"its prior is flat and the data do not determine it: the design of the "
                       f"flat sites has rank {rank} of {n}",
                       program.sites[site].source)


def _fixed(q: Quadratic, number: np.ndarray, n: int, by_part: str, rows: int) -> np.ndarray | None:
    """The matrices of flat elements, of each weight one, if all weights are positive and all matrices semidefinite."""
    there, positive = q.reduced.weights.where(by_part, rows)
    keep = (number[q.rows] >= 0) & (number[q.columns] >= 0) & there[q.weights]
    used, local = np.unique(q.weights[keep], return_inverse=True)
    if not q.fixed or len(used) * n * n > 1 << 23:
        return None
    table = np.zeros((len(used), n, n))
    np.add.at(table, (local.reshape(-1), number[q.rows[keep]], number[q.columns[keep]]),
              q.numbers[keep])
    return table if semidefinite(table) and positive[q.weights[keep]].all() else None


def semidefinite(table: np.ndarray) -> bool:
    """Whether each of some symmetric matrices, shape (matrices, n, n), is positive semidefinite."""
    return not len(table) or bool((np.linalg.eigvalsh(_scaled(table)) >= -1e-9).all())


def _scaled(table: np.ndarray) -> np.ndarray:
    """The matrices in units in which the diagonal of their sum is one."""
    diagonal = np.diagonal(table.sum(0))
    unit = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    return np.asarray(table * unit[:, None] * unit[None, :])
