"""What one cell changes in a Gaussian block: expectations of exp(a l) under the block's posterior."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from conjugate_ppl.additive.monomials import written
from conjugate_ppl.additive.polynomial import Key
from conjugate_ppl.algebra.value import reshape
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.errors import PlanError
from conjugate_ppl.gaussian.posterior import moments
from conjugate_ppl.planning.execute import Execution

__all__ = ["BlockLaw", "Touch", "block_law", "expectations"]

_DENSE = 2000  # elements up to which all are solved together
_NUMBERS = 1 << 22  # of small matrices, held at once
_IMPROPER = 1e-9  # share of a flat direction's precision that may be left: rounding


@dataclasses.dataclass(frozen=True, eq=False)
class BlockLaw:
    """The posterior law of a block's sites, all elements in a row; at v = 1 where a variance scales it.

    Attributes:
        first: number of each site's first element.
        reference: what the mean is measured from; `mean` the rest of it.
        factor: F; the covariance is F F', and in `large` blocks what components have of their own is added:
        component, place: of each element (-1: none), `inner` the covariance of each component.
        scale: the variance that scales the block and its power in the log density, or None; `by_part`: whether each of
            its elements scales a part.
        flat: whether some prior is flat.
    """

    first: Mapping[str, int]
    reference: np.ndarray
    mean: np.ndarray
    factor: np.ndarray
    component: np.ndarray
    place: np.ndarray
    inner: np.ndarray | None
    scale: tuple[Key, Fraction] | None
    by_part: bool
    flat: bool

    def places(self, site: str, positions: np.ndarray) -> np.ndarray:
        """Numbers of elements of a site."""
        out: np.ndarray = self.first[site] + positions
        return out

    def covariance(self, elements: np.ndarray) -> np.ndarray:
        """Covariance matrices of some elements, shape (many, k) -> (many, k, k)."""
        f = self.factor[elements]
        out: np.ndarray = f @ np.swapaxes(f, -1, -2)
        if self.inner is not None:
            c, p = self.component[elements], self.place[elements]
            same = (c[:, :, None] == c[:, None, :]) & (c[:, :, None] >= 0)
            out += np.where(same, self.inner[np.maximum(c, 0)[:, :, None], p[:, :, None], p[:, None, :]], 0.0)
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class Touch:
    """Monomials of cells in the elements of a block: (cell, elements of up to two factors, coefficient)."""

    rows: np.ndarray
    elements: tuple[np.ndarray, ...]
    numbers: np.ndarray


def block_law(execution: Execution, elimination: GaussianElimination) -> BlockLaw:
    """The law of a block that nothing but perhaps a variance is left outside of."""
    block = elimination.block
    scale = None if elimination.scale is None else (("latent", elimination.scale[0]), elimination.scale[1])
    names = [s for s in block.sites if s.size]
    first, at = {}, 0
    for s in names:
        first[s.name] = at
        at += s.size
    dense = block.size <= _DENSE
    mean, factor, inner = _solved(execution, elimination) if dense else _by_components(execution, elimination, scale)
    elements = np.concatenate([s.elements for s in names])
    return BlockLaw(first, np.concatenate([s.reference.reshape(-1) for s in names]), mean, factor,
                    block.structure.component[elements], block.structure.place[elements], inner, scale,
                    bool(elimination.by_part), any(s.family == "Flat" for s in block.sites))


def _solved(execution: Execution, elimination: GaussianElimination) -> tuple[np.ndarray, np.ndarray, None]:
    """(mean less the reference, factor F) of all sites, in double precision.

    In the block's own coordinates, e = m + T u and z = r + B e, as `gaussian/solve.py` does it.
    """
    block, program = elimination.block, execution.program
    d, q = block.size, block.plain
    h, hessian = np.zeros(d), np.zeros((d, d))
    np.add.at(h, q.places, q.linear)
    np.add.at(hessian, (q.rows, q.columns), q.numbers)
    walk = start_walk(program, program.latents)
    m, t, proper, images = np.zeros(d), np.zeros((d, d)), np.ones(d), []
    for s in block.sites:
        own = slice(s.first, s.first + s.size)
        image = np.zeros((s.size, d))
        image[:, own] = np.eye(s.size)
        if s.slope is not None:
            for found in written(reshape(s.slope, (s.size,))):
                np.add.at(image, (found.rows, found.positions[0]), found.numbers)
        images.append(image)
        m[own] = s.known
        if s.scale is None:
            proper[own] = 0.0
            curve = np.diagonal(hessian)[own]
            t[own, own] = np.diag(1 / np.sqrt(np.where(curve > 0, curve, 1.0)))
            continue
        (scale,) = walk.run([s.scale])  # what scales it as a whole is 1
        root = np.broadcast_to(sum(term.coefficient() for term in scale.terms), scale.shape)
        if s.width == 1 and s.family == "Normal":
            t[own, own] = np.diag(np.broadcast_to(root, s.shape).reshape(-1))
        else:
            roots = np.broadcast_to(root, (*s.shape, s.width)).reshape(-1, s.width, s.width)
            t[own, own] = scipy.linalg.block_diag(*np.tril(roots))
    precision = np.diag(proper) + t.T @ hessian @ t
    low = np.linalg.cholesky(precision)
    pull = scipy.linalg.cho_solve((low, True), t.T @ (h - hessian @ m))
    image = np.concatenate(images)
    factor = image @ scipy.linalg.solve_triangular(low, t.T, lower=True).T
    return image @ (m + t @ pull), factor, None


def _by_components(execution: Execution, elimination: GaussianElimination, scale: tuple[Key, Fraction] | None
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean less the reference, columns of F that come through the rest, covariances of the components)."""
    block, values = elimination.block, execution.values({})
    if scale is not None:
        site = scale[0][1]
        values = values.with_sites({site: jnp.ones(values.shape_of(site), values.dtype)})
    names = [s for s in block.sites if s.size]
    for s in names:
        read = [a.selection for t in (s.slope.terms if s.slope else ()) for a in t.atoms]
        if block.rotation is not None or any((block.structure.component[np.unique(r)] >= 0).any() for r in read):
            size = block.size
            raise PlanError(f"The block of `{s.name}` has {size} elements that all depend on each other, too many "
                            "for all observations to be taken out one by one. Take out some, with `without`.")

    def compute() -> tuple[Any, ...]:
        law = moments(block, elimination.solution(values))
        mean, push = jax.linearize(lambda e: elimination.from_reference(values, e), law.mean)
        return mean, jax.vmap(push, in_axes=1, out_axes=-1)(law.rest), law.inner

    mean, images, inner = jax.jit(compute)()
    return (np.concatenate([np.asarray(mean[s.name], float).reshape(-1) for s in names]),
            np.concatenate([np.asarray(images[s.name], float).reshape(s.size, -1) for s in names]),
            np.asarray(inner, float))


def expectations(law: BlockLaw, touches: Sequence[Touch], powers: np.ndarray,
                 origins: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(squares, volume) of D(a), each of shape (2, cells), for the two powers a of every cell.

    `origins` is what elements in the monomials are less.
    """
    count = powers.shape[1]
    mean = law.reference + law.mean
    for site, first in law.first.items():
        part = slice(first, first + len(origins[site]))
        mean[part] = law.mean[part] + (law.reference[part] - origins[site])
    squares, volume = np.zeros((2, count)), np.zeros((2, count))
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

    h, hessian, constant = np.zeros((count, width)), np.zeros((count, width, width)), np.zeros(count)
    for t in touches:
        if not t.elements:
            np.add.at(constant, t.rows, t.numbers)
        elif len(t.elements) == 1:
            np.add.at(h, (t.rows, at(t.rows, t.elements[0])), t.numbers)
        else:
            i, j = (at(t.rows, e) for e in t.elements)
            np.subtract.at(hessian, (t.rows, i, j), t.numbers)
            np.subtract.at(hessian, (t.rows, j, i), t.numbers)
    m = np.where(np.arange(width) < many[:, None], mean[table], 0.0)
    pull = np.einsum("rij,rj->ri", hessian, m)
    density = constant + np.einsum("ri,ri->r", h, m) - 0.5 * np.einsum("ri,ri->r", m, pull)
    step = max(1, _NUMBERS // max(width * max(width, law.factor.shape[1]), 1))
    for k in range(0, count, step):
        part = slice(k, min(k + step, count))
        a = powers[:, part]
        more, logdet = _corrections(law.covariance(table[part]), hessian[part], (h - pull)[part], a, law.flat)
        squares[:, part] = a * density[part] + 0.5 * a**2 * more
        volume[:, part] = -0.5 * logdet
    return squares, volume


def _corrections(c: np.ndarray, hessian: np.ndarray, g: np.ndarray, a: np.ndarray, flat: bool
                 ) -> tuple[np.ndarray, np.ndarray]:
    """g' C (I + a H C)^-1 g and log|I + a H C|, shape (2, many); nan where the rest is improper."""
    k = c.shape[-1]
    root = _one_column(hessian)
    cg = np.einsum("rij,rj->ri", c, g)
    if root is not None:  # one number a cell, as most have
        lever = np.einsum("ri,rij,rj->r", root, c, root, optimize=True)
        along = np.einsum("ri,ri->r", root, cg)
        det = 1 + a * lever
        det = np.where(det > (_IMPROPER if flat else 0), det, np.nan)
        more = np.einsum("ri,ri->r", g, cg) - a * along**2 / det
        return np.asarray(more), np.asarray(np.log(det))
    matrix = np.eye(k) + a[:, :, None, None] * (hessian @ c)
    sign, logdet = np.linalg.slogdet(matrix)
    good = (sign > 0) & (logdet > (np.log(_IMPROPER) if flat else -np.inf))
    matrix = np.where(good[..., None, None], matrix, np.eye(k))
    solved = np.linalg.solve(matrix, np.broadcast_to(g, (2, *g.shape))[..., None])[..., 0]
    more = np.einsum("ri,ari->ar", cg, solved)
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
