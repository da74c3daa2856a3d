"""The posterior law of a Gaussian block, all of its elements together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from conjugate_ppl.additive.monomials import written
from conjugate_ppl.additive.polynomial import Key
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import reshape
from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.elimination.owners import Owned
from conjugate_ppl.elimination.scales import ScaleSite
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.errors import PlanError
from conjugate_ppl.gaussian.posterior import inner_columns, moments
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.planning.execute import Execution

__all__ = ["BlockLaw", "block_law"]

_DENSE = 2000  # elements up to which all are solved together


@dataclasses.dataclass(frozen=True, eq=False)
class BlockLaw:
    """The posterior law of a block's sites, all elements in a row; at v = 1 where a variance scales it, at P = I where
    matrices do.

    Attributes:
        first: number of each site's first element.
        reference: what the mean is measured from; `mean` the rest of it.
        factor: F; the covariance is F F', and in `large` blocks what components have of their own is added:
        component, place: of each element (-1: none), `inner` the covariance of each component.
        scale: the variance that scales the block and its power in the log density, or None.
        matrices: the site of the matrices that scale it, or "".
        owned: which element goes with which of the scales (the first of one where there is none).
        mixed: sites whose location reads other elements than those in its own column of its own scale.
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
    matrices: str
    owned: Owned
    mixed: frozenset[str]
    flat: bool

    @functools.cached_property
    def members(self) -> np.ndarray:
        """The elements of each row, by the number of the row."""
        out = np.zeros((len(self.mean), self.owned.rows), np.int64)
        out[self.owned.row, self.owned.column] = np.arange(len(self.mean))
        return out

    def places(self, site: str, positions: np.ndarray) -> np.ndarray:
        """Numbers of elements of a site."""
        out: np.ndarray = self.first[site] + positions
        return out

    def covariance(self, elements: np.ndarray) -> np.ndarray:
        """Covariance matrices of some elements, shape (many, k) -> (many, k, k)."""
        f = self.factor[elements]
        out: np.ndarray = f @ np.swapaxes(f, -1, -2)
        if self.inner is not None and len(self.inner):
            c = self.component[elements]
            p = np.where(c >= 0, self.place[elements], 0)
            same = (c[:, :, None] == c[:, None, :]) & (c[:, :, None] >= 0)
            out += np.where(same, self.inner[np.maximum(c, 0)[:, :, None], p[:, :, None], p[:, None, :]], 0.0)
        return out


def block_law(execution: Execution, elimination: GaussianElimination) -> BlockLaw:
    """The law of a block that nothing but perhaps scales are left outside of."""
    block = elimination.block
    scale = None if elimination.scale is None else (("latent", elimination.scale[0]), elimination.scale[1])
    one = np.arange(block.size)
    owned = elimination.owned or Owned(Fraction(0), 0 * one, 0 * one, one, 1)
    names = [s for s in block.sites if s.size]
    first, at = {}, 0
    for s in names:
        first[s.name] = at
        at += s.size
    dense = block.size <= _DENSE
    site = elimination.by_part or (scale[0][1] if scale else "")
    values = execution.values({})
    if site:
        values = values.with_sites({site: jnp.asarray(ScaleSite(execution.program.sites[site]).unit, values.dtype)})
    mean, factor, inner = (_solved if dense else _by_components)(execution, elimination, owned, values)
    elements = np.concatenate([s.elements for s in names])
    return BlockLaw(first, np.concatenate([s.reference.reshape(-1) for s in names]), mean, factor,
                    block.structure.component[elements], block.structure.place[elements], inner, scale,
                    "" if scale else elimination.by_part, owned,
                    frozenset(s.name for s in names if not _keeps_rows(s, owned)),
                    any(s.family == "Flat" for s in block.sites))


def _keeps_rows(s: GaussianSite, owned: Owned) -> bool:
    """Whether a site's location is the same sum of rows in every column, of rows that go with its own scale."""
    for m in written(reshape(s.slope, (s.size,))) if s.slope is not None else ():
        own, read = s.first + m.rows, m.positions[0]
        if (owned.part[own] != owned.part[read]).any() or (owned.column[own] != owned.column[read]).any():
            return False
        pair, index = np.unique(owned.row[own] * len(owned.row) + owned.row[read], return_inverse=True)
        each = np.zeros((len(pair), owned.rows))
        np.add.at(each, (index, owned.column[own]), m.numbers)
        if (each != each[:, :1]).any():
            return False
    return True


def _at(value: Value, values: Values) -> np.ndarray:
    """A value where the scales are one, in double precision."""
    total = np.zeros(value.shape)
    for term in value.terms:
        out = term.coefficient()
        for a in term.atoms:
            out = out * np.asarray(values.variable(a.variable), float)[a.selection] ** float(a.power)
        wide = np.broadcast_shapes(out.shape, (*value.shape, *term.hidden))
        total += np.broadcast_to(out, wide).sum(tuple(range(term.rank, len(wide))))
    return total


def _solved(execution: Execution, elimination: GaussianElimination, owned: Owned, values: Values
            ) -> tuple[np.ndarray, np.ndarray, None]:
    """(mean less the reference, factor F) of all sites, in double precision.

    In the block's own coordinates, e = m + T u and z = r + B e, as `gaussian/solve.py` does it.
    """
    block, program = elimination.block, execution.program
    d, q = block.size, block.plain
    h, hessian = np.zeros(d), np.zeros((d, d))
    there, _ = q.reduced.weights.where(elimination.by_part, owned.rows)  # at scales that are one
    np.add.at(h, q.places, q.linear * there[q.linear_weights])
    np.add.at(hessian, (q.rows, q.columns), q.numbers * there[q.weights])
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
        root = _at(walk.run([s.scale])[0], values)
        if s.width == 1 and s.family == "Normal":
            t[own, own] = np.diag(np.broadcast_to(root, s.shape).reshape(-1))
        else:
            roots = np.broadcast_to(root, s.scale_index.shape).reshape(-1, s.width, s.width)
            t[own, own] = scipy.linalg.block_diag(*np.tril(roots))
    precision = np.diag(proper) + t.T @ hessian @ t
    low = np.linalg.cholesky(precision)
    pull = scipy.linalg.cho_solve((low, True), t.T @ (h - hessian @ m))
    image = np.concatenate(images)
    factor = image @ scipy.linalg.solve_triangular(low, t.T, lower=True).T
    return image @ (m + t @ pull), factor, None


def _by_components(execution: Execution, elimination: GaussianElimination, owned: Owned, values: Values
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean less the reference, columns of F that come through the rest, covariances of the components)."""
    block = elimination.block
    names = [s for s in block.sites if s.size]
    component = block.structure.component
    rotated = np.zeros(0, int) if block.rotation is None else np.unique(component[block.rotation.elements])
    rotated = rotated[rotated >= 0]
    for s in names:
        read = [a.selection for t in (s.slope.terms if s.slope else ()) for a in t.atoms]
        if block.size * len(rotated) * block.structure.width > DENSE or any((component[np.unique(r)] >= 0).any() for r in read):
            size = block.size
            raise PlanError(f"The block of `{s.name}` has {size} elements that all depend on each other, too many "
                            "for all observations to be taken out one by one. Take out some, with `without`.")

    def compute() -> tuple[Any, ...]:
        law = moments(block, elimination.solution(values))
        mean, push = jax.linearize(lambda e: elimination.from_reference(values, e), law.mean)
        columns = jnp.concatenate([law.rest, inner_columns(block, law.inner, rotated)], 1)
        return mean, jax.vmap(push, in_axes=1, out_axes=-1)(columns), law.inner.at[rotated].set(0.0)

    mean, images, inner = jax.jit(compute)()
    inner = np.asarray(inner, float)
    return (np.concatenate([np.asarray(mean[s.name], float).reshape(-1) for s in names]),
            np.concatenate([np.asarray(images[s.name], float).reshape(s.size, -1) for s in names]),
            inner @ np.swapaxes(inner, 1, 2))
