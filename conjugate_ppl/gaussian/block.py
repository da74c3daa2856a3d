"""A joint Gaussian block: its sites, their priors, and the quadratic of everything that touches them.

Coordinates. Site i is written z_i = A_i(e) + r_i + e_i, where A_i is the part of its prior's location
that is linear in the other sites of the block, r_i a fixed reference, and e_i ~ N(m_i, T_i T_i') has
its own scale T_i. Sites so become independent a priori; what joins them is the likelihood alone. A
flat site has no T.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Reduced
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.value import Value, is_known
from conjugate_ppl.gaussian.assemble import BlockAssembly, Quadratic, quadratic, split_between
from conjugate_ppl.gaussian.linear import Scale
from conjugate_ppl.gaussian.structure import Structure, find_structure

__all__ = ["GaussianBlock", "GaussianSite"]

_BANDS = 3  # diagonals below the main one that a scale may have and still count as banded


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianSite:
    """One site of a block.

    Attributes:
        name: the site's name; `shape` that of its value.
        first: number of its first element in the block.
        family: "Normal", "MultivariateNormal" or "Flat".
        mean: m_i, the part of the location that is free of the block, less the reference.
        location: number of the location in the program's graph; None for a flat site.
        scale: number of the scale, or of the scale_tril; None for a flat site.
        scale_shape: shape of the scale.
        reference: r_i, flat.
        parents: the sites of the block that the location depends on.
    """

    name: str
    shape: tuple[int, ...]
    first: int
    family: str
    mean: Value | None
    location: int | None
    scale: int | None
    scale_shape: tuple[int, ...]
    reference: np.ndarray
    parents: frozenset[str]

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape))


class GaussianBlock:
    """What is fixed of a block; `solve` has the algorithms that use it."""

    def __init__(self, sites: tuple[GaussianSite, ...], reduced: Reduced) -> None:
        self.sites = sites
        self.size = sum(s.size for s in sites)
        self.reduced = reduced
        self.quadratic: Quadratic = quadratic(reduced)
        self._scale_map()
        self.structure: Structure = self._structure()
        self.assembly = BlockAssembly(self.quadratic, self.structure)
        self.between = split_between(self.quadratic, self.structure)
        self._place_scales()
        self._place_flat()

    def site_of(self, element: int) -> GaussianSite:
        """The site an element belongs to."""
        return next(s for s in self.sites if s.first <= element < s.first + s.size)

    # -- the scales T: one flat vector of numbers, and where each goes ---------------------------

    def _scale_map(self) -> None:
        rows, columns, index = [], [], []
        offset = 0
        for s in self.sites:
            elements = np.arange(s.first, s.first + s.size)
            if s.family == "Normal":
                rows.append(elements)
                columns.append(elements)
                index.append(offset + np.arange(s.size))
                offset += s.size
            elif s.family == "MultivariateNormal":
                d = s.shape[-1]
                numbers = np.arange(int(np.prod(s.scale_shape))).reshape(s.scale_shape)
                numbers = np.broadcast_to(numbers, (*s.shape[:-1], d, d)).reshape(-1, d, d)
                i, j = np.tril_indices(d)
                events = elements.reshape(-1, d)
                rows.append(events[:, i].reshape(-1))
                columns.append(events[:, j].reshape(-1))
                index.append(offset + numbers[:, i, j].reshape(-1))
                offset += int(np.prod(s.scale_shape))
        none = np.zeros(0, np.int64)
        self._t_rows = np.concatenate(rows) if rows else none
        self._t_columns = np.concatenate(columns) if columns else none
        self._t_index = np.concatenate(index) if index else none

    def _structure(self) -> Structure:
        q = self.quadratic
        traced = any(not is_known(a)
                     for late in (*q.reduced.late.get(1, ()), *q.reduced.late.get(2, ()))
                     for k in late.slots for a in (late.term.atoms[k].selection,))
        rows, columns = [q.rows, self._t_rows], [q.columns, self._t_columns]
        if not traced:
            for late in q.reduced.late.get(2, ()):
                selections = [np.asarray(late.term.atoms[k].selection) for k in late.slots]
                a, b = np.broadcast_arrays(*selections)
                pairs = np.unique(np.stack([a.reshape(-1) + late.offsets[0],
                                            b.reshape(-1) + late.offsets[1]], 1), axis=0)
                rows.append(pairs[:, 0])
                columns.append(pairs[:, 1])
        able = [(s.first, s.size, s.family != "Flat" and not traced) for s in self.sites]
        return find_structure(self.size, able, np.concatenate(rows), np.concatenate(columns))

    def _place_scales(self) -> None:
        """Where the numbers of T go; an index one past their end stands for 0."""
        s = self.structure
        none = int(self._t_index.max()) + 1 if len(self._t_index) else 0
        ci, cj = s.component[self._t_rows], s.component[self._t_columns]
        pi, pj = s.place[self._t_rows], s.place[self._t_columns]
        inner, rest = np.flatnonzero(ci >= 0), np.flatnonzero((ci < 0) & (cj < 0))
        count, width = s.components.shape
        self._t_inner = np.full((count, width, width), none)
        self._t_inner[ci[inner], pi[inner], pj[inner]] = self._t_index[inner]
        self._t_rest = (pi[rest], pj[rest], self._t_index[rest])
        i, j, k = self._t_rest
        reach = int((i - j).max()) if len(i) else 0
        self._bands: list[np.ndarray] | None = None
        if reach <= _BANDS:
            self._bands = [np.full(len(s.rest), none) for _ in range(reach + 1)]
            for band in range(reach + 1):
                at = (i - j) == band
                self._bands[band][i[at]] = k[at]

    def _place_flat(self) -> None:
        """Flat elements of the rest, and a column scale for each (1 / sqrt of its own precision)."""
        s, q = self.structure, self.quadratic
        flat = np.zeros(self.size, bool)
        for site in self.sites:
            if site.family == "Flat":
                flat[site.first : site.first + site.size] = True
        self.flat = flat[s.rest]
        own = q.rows == q.columns
        diagonal = np.bincount(q.rows[own], q.numbers[own], self.size)[s.rest] \
            if len(q.numbers) else np.zeros(len(s.rest))
        self.flat_scale = np.where(self.flat & (diagonal > 0),
                                   1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)

    # -- at run time -------------------------------------------------------------------------------

    def scales(self, values: Values) -> tuple[Any, Scale]:
        """T of the components (count, width, width), and of the rest."""
        parts = []
        for s in self.sites:
            if s.scale is None:
                continue
            t = jnp.asarray(values.evaluate(s.scale), values.dtype)
            parts.append(t.reshape(-1))
        # one more number, 0, for whatever has no scale
        t = jnp.concatenate([*parts, jnp.zeros(1, values.dtype)])
        flat = values.number(np.where(self.flat, self.flat_scale, 0.0))
        if self._bands is None:
            i, j, k = self._t_rest
            return t[self._t_inner], Scale((), jnp.diag(flat).at[i, j].set(t[k]))
        bands = [t[index] for index in self._bands]
        if self.flat.any():
            bands[0] = bands[0] + flat
        return t[self._t_inner], Scale(tuple(bands))

    def means(self, values: Values) -> tuple[Any, Any]:
        """m of the components (count, width) and of the rest (rest,)."""
        parts = []
        for s in self.sites:
            if s.mean is None:
                parts.append(jnp.zeros(s.size, values.dtype))
            else:
                parts.append(values.value(s.mean).reshape(-1))
        return self.split(jnp.concatenate(parts))

    def split(self, elements: Any) -> tuple[Any, Any]:
        """A vector over all elements as (components, rest); padding reads 0."""
        padded = jnp.concatenate([elements, jnp.zeros(1, elements.dtype)])
        return padded[self.structure.components], elements[self.structure.rest]

    def join(self, components: Any, rest: Any) -> Any:
        """The inverse of `split`."""
        out = jnp.zeros(self.size + 1, rest.dtype)
        out = out.at[self.structure.components.reshape(-1)].set(components.reshape(-1))
        return out.at[self.structure.rest].set(rest)[: self.size]
