"""A joint Gaussian block: its sites, their priors, and the quadratic of everything that touches them.

Coordinates. Site i is written z_i = A_i(e) + r_i + e_i, where A_i is the part of its prior's location
that is linear in the other sites of the block, r_i a fixed reference, and e_i ~ N(m_i, T_i T_i') has
its own scale T_i. Sites so become independent a priori; what joins them is the likelihood alone. A
flat site has no T. The elements of some sites may be rotated (`rotation`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Entries, Reduced
from conjugate_ppl.algebra.runtime import Joined, Values
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.value import add_up
from conjugate_ppl.gaussian.alike import Alike, alike_components
from conjugate_ppl.gaussian.arrow import Split, joined, parted
from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.batches import read, small
from conjugate_ppl.gaussian.between import Between, split_between
from conjugate_ppl.gaussian.collinear import collinear
from conjugate_ppl.gaussian.crossed import Crossed, split_crossed
from conjugate_ppl.gaussian.dual import Dual, dual_form
from conjugate_ppl.gaussian.entries import FEW
from conjugate_ppl.gaussian.entries import Entries as Numbers
from conjugate_ppl.gaussian.estimates import Prior
from conjugate_ppl.gaussian.linear import Scale
from conjugate_ppl.gaussian.pieces import Pieced, split_pieces
from conjugate_ppl.gaussian.quadratic import Quadratic, quadratic
from conjugate_ppl.gaussian.rotation import Able, Group, Rotation, rotations
from conjugate_ppl.gaussian.scale_map import NONE, OWN, WRITTEN, ScaleMap, scale_map
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.gaussian.structure import LARGEST, Structure, find_structure, in_tiers, split
from conjugate_ppl.gaussian.tiers import Tiers, split_tiers
from conjugate_ppl.gaussian.unseen import by_what_is_seen

__all__ = ["GaussianBlock"]

_WIDE = 8  # elements of a block of the rest from which on rotations are tried
_ENTRIES = 1 << 16  # of H, of a block without components that is looked at once more
_DIFFERENTIATED = 4  # work of a factor that is differentiated too, in that of a factorisation and inverse


class _Coordinates(NamedTuple):
    """How elements are written.

    Fields:
        quadratic: what is said of them.
        scales: T.
        groups: (elements, whether they may be components), for the search of a structure.
        rotation: from elements as they are; None if they are left so.
        units: of all elements (`scale_map`).
        constant: what is added to the log of the integral.
    """

    quadratic: Quadratic
    scales: ScaleMap
    groups: list[Group]
    rotation: Rotation | None
    units: np.ndarray
    constant: float


class GaussianBlock:
    """What is fixed of a block; `solve` and `posterior` have the algorithms that use it."""

    def __init__(self, sites: tuple[GaussianSite, ...], reduced: Reduced) -> None:
        self.sites = sites
        self.size = sum(s.size for s in sites)
        self.reduced = reduced
        self.plain: Quadratic = quadratic(reduced)
        units = np.full(self.size, WRITTEN)
        self._written = _Coordinates(self.plain, scale_map(sites, units), self._groups(), None, units, 0.0)
        self._mean_map()
        at = self._apart()
        self._take(at, self._structure(at))
        dual = None
        if not self._tiers(at) and max(self.structure.width - 1, self.structure.blocks.shape[1]) >= _WIDE:
            self._rotate(at)
            dual = self._dual(at)
        parts = dual or self._parts()
        if dual is None and not isinstance(parts, Crossed) and self._turn_rest():
            parts = self._parts()
        if isinstance(parts, Assembly):
            parts = self._with_component() or parts
        self._place_scales()
        self._place_flat()
        self.parts: Dual | Tiers | Between | Crossed | Alike | Pieced | Assembly = self._complete(parts)

    def _take(self, at: _Coordinates, structure: Structure) -> None:
        self._at, self.structure = at, structure
        self.quadratic, self.rotation, self.constant, self._t = at.quadratic, at.rotation, at.constant, at.scales
        self._known = np.append(self._known_mean(at), 0.0)

    def _parts(self) -> Tiers | Between | Crossed | Alike | Pieced | Assembly:
        q, s, prior = self.quadratic, self.structure, self._prior()
        if s.upper is not None:
            return split_tiers(q, s, prior) or split_pieces(q, s) or Assembly(q, s)
        return (split_crossed(q, s, prior) or split_between(q, s, prior) or alike_components(q, s, prior) or split_pieces(q, s)
                or Assembly(q, s))

    def _complete(self, parts: Any) -> Any:
        """The parts with what does not depend on elements, where they have numbers for it; else it is left to `constant_left`."""
        found = self.reduced.entries.get(0)
        self._constant = None
        if found is None or not len(found.weights):
            return parts
        if isinstance(parts, (Between, Crossed, Tiers)):
            return completed(parts, found)
        if isinstance(parts, (Pieced, Alike)) and parts.pieces is not None:
            return dataclasses.replace(parts, pieces=completed(parts.pieces, found))
        self._constant = found
        return parts

    def constant_left(self, values: Values, omega: Any) -> Any:
        """What does not depend on elements and is in no part."""
        if self._constant is None:
            return 0.0
        return jnp.dot(values.number(self._constant.coefficients), omega[self._constant.weights], precision="highest")

    def _prior(self) -> Prior:
        return Prior(self._t.in_components(self.structure), self._alike, self._known)

    def _apart(self) -> _Coordinates:
        """The sites as they are written, but for coefficients that nearly depend on each other."""
        found = collinear(self.plain, self._structure(self._written), self.sites)
        if found is None:
            return self._written
        done = np.zeros(self.size, bool)
        done[np.concatenate([e for e, _ in found.groups])] = True
        return _Coordinates(found.quadratic, scale_map(self.sites, found.units),
                            [(e[~done[e]], able) for e, able in self._groups()] + found.groups, found.rotation,
                            found.units, found.constant)

    def _rotate(self, at: _Coordinates) -> None:
        """Rotate elements where that saves work, in the way that saves most."""
        free = [s for s in self.sites if (at.units[s.elements] == WRITTEN).all()]
        ways = [[a for s in free for a in _able(s, way)] for way in range(3 if any(len(s.shape) > 1 for s in free) else 1)]
        for every in ways:
            self._rotated(at, every)

    def _rotated(self, at: _Coordinates, every: list[Able]) -> None:
        able = np.zeros(self.size, bool)
        able[np.concatenate([np.zeros(0, int), *(a.elements for a in every)])] = True
        found = rotations(at.quadratic, self.size, every, [g for g in at.groups if not able[g[0]].any()], at.rotation)
        if found is None:
            return
        units = at.units.copy()
        own = {int(index[0, 0]) for index, _ in found.rotation.parts}  # and none of what was turned before
        for a in every:
            if a.roots is not None and int(a.elements[0]) in own:
                units[a.elements] = OWN
        rotated = _Coordinates(found.quadratic, scale_map(self.sites, units), found.groups, found.rotation, units, at.constant)
        structure = self._structure(rotated)
        if structure.work < self.structure.work / 2:
            self._take(rotated, structure)

    def _with_component(self) -> Pieced | None:
        """A small block without components with one after all, where that is by pieces: what a kept site multiplies."""
        s, q = self.structure, self._at.quadratic
        able = np.concatenate([np.zeros(0, np.int64), *(elements for elements, able in self._at.groups if able)])
        if len(s.components) or len(s.blocks) > 1 or not 0 < len(able) <= LARGEST or not q.fixed or len(q.numbers) > _ENTRIES:
            return None
        pairs, t = self._pairs(q, self._at.scales), self._at.scales
        joined = np.concatenate([t.rows[t.rows != t.columns], t.columns[t.rows != t.columns]])  # by their prior
        for element in np.setdiff1d(able, joined):
            structure = split(self.size, np.arange(self.size) == element, *pairs)
            found = split_pieces(q, structure)
            if found is not None:
                self._take(self._at, structure)
                return found
        return None

    def _turn_rest(self) -> bool:
        """Turn the rest so that what is not seen of it stands alone; whether that changes anything."""
        at, s = self._at, self.structure
        found = by_what_is_seen(at.quadratic, s, self.sites, at.units, at.rotation)
        if found is None:
            return False
        self._take(at._replace(quadratic=found.quadratic, rotation=found.rotation, units=found.units,
                               scales=scale_map(self.sites, found.units)), s)
        return True

    def _dual(self, at: _Coordinates) -> Dual | None:
        """Components of the sites with wide covariances in their dual form, where that saves half of the work."""
        given = [s for s, t in zip(self.sites, at.scales.tables, strict=True)
                 if s.covariance is not None and s.width >= _WIDE and t is not None]
        if not given or not self.plain.fixed:
            return None
        inside = np.zeros(self.size, bool)
        inside[np.concatenate([s.elements for s in given])] = True
        structure = split(self.size, inside, *self._pairs(at.quadratic, at.scales))
        found = dual_form(at.quadratic, structure, self.sites, at.scales.tables, self._known_mean(at))
        if found is None or found.work > self.structure.work * _DIFFERENTIATED / 2:
            return None
        self._take(at, structure)
        return found

    def _tiers(self, at: _Coordinates) -> bool:
        """Split the rest once more, where that saves half of the work; whether it is."""
        s = self.structure
        if max(s.width, s.blocks.shape[1]) <= FEW or not self.plain.fixed or self._anywhere(at.quadratic):
            return False
        found = in_tiers(self.size, at.groups, *self._pairs(at.quadratic, at.scales))
        if found is None or 2 * found.products > s.products:
            return False
        alike = split_between(at.quadratic, s, self._prior())  # of groups that are alike one stands for all
        if alike is not None and len(alike.many) * s.products < len(s.components) * found.products:
            return False
        self._take(at, found)
        return True

    def _groups(self) -> list[Group]:
        return [(s.elements, s.family != "Flat") for s in self.sites]

    def structure_given(self, sites: Sequence[GaussianSite]) -> Structure:
        """The structure where some of the sites are given: their elements join nothing."""
        return self._structure(self._written, np.concatenate([s.elements for s in sites]))

    def _structure(self, at: _Coordinates, given: np.ndarray | None = None) -> Structure:
        """The structure for these coordinates; `given` elements join nothing."""
        groups = at.groups
        if self._anywhere(at.quadratic):  # everything may meet everything
            groups = [(elements, False) for elements, _ in groups]
        i, j = self._pairs(at.quadratic, at.scales)
        if given is not None:
            there = np.ones(self.size, bool)
            there[given] = False
            i, j = (x[there[i] & there[j]] for x in (i, j))
        return find_structure(self.size, groups, i, j)

    @staticmethod
    def _anywhere(q: Quadratic) -> bool:
        """Whether positions are known only at run time."""
        late = q.reduced.late
        return any(not is_known(x.term.atoms[k].selection)
                   for x in (*late.get(2, ()), *late.get(1, ())) for k in x.slots)

    def _pairs(self, q: Quadratic, t: ScaleMap) -> tuple[np.ndarray, np.ndarray]:
        """The elements that meet in a monomial or in a prior."""
        if self._anywhere(q):
            every = np.arange(self.size)
            return every[:-1], every[1:]
        rows, columns = [q.rows, t.rows], [q.columns, t.columns]
        for late in q.reduced.late.get(2, ()):
            selections = [np.asarray(late.term.atoms[k].selection) for k in late.slots]
            a, b = np.broadcast_arrays(*selections)
            pairs = np.unique(np.stack([a.reshape(-1) + late.offsets[0],
                                        b.reshape(-1) + late.offsets[1]], 1), axis=0)
            rows.append(pairs[:, 0])
            columns.append(pairs[:, 1])
        return np.concatenate(rows), np.concatenate(columns)

    def _mean_map(self) -> None:
        alike, offset = [], 0
        for s in self.sites:
            alike.append(offset + s.alike.reshape(-1))
            offset += int(s.alike.max(initial=-1)) + 1
        self._alike = np.append(np.concatenate(alike), offset)
        self._moving = any(s.mean is not None for s in self.sites)

    def _known_mean(self, at: _Coordinates) -> np.ndarray:
        known = np.where(at.units == NONE, 0.0, np.concatenate([s.known for s in self.sites]))
        return known if at.rotation is None else at.rotation.forward(known)

    def _place_scales(self) -> None:
        """Where the numbers of T go; an index one past their end stands for 0."""
        s = self.structure
        self._t_inner = self._t.in_components(s)
        self._t_above = [self._t.in_components(tier) for tier in s.tiers[1:]]
        self._t_rest, self._banded = self._t.in_blocks(s.core)

    def _place_flat(self) -> None:
        """Flat elements of the blocks, and a column scale for each (1 / sqrt of its own precision)."""
        core, q = self.structure.core, self.quadratic
        flat = np.zeros(self.size + 1, bool)
        for site in self.sites:
            flat[site.elements] = site.family == "Flat"
        flat[: self.size] |= self._at.units == NONE
        self._proper = np.where(flat, 0.0, 1.0)
        self.flat = flat[core.blocks]
        own = q.rows == q.columns
        diagonal = np.bincount(q.rows[own], q.numbers[own], self.size + 1)[core.blocks]
        self.flat_scale = np.where(self.flat & (diagonal > 0),
                                   1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)

    @property
    def pieced(self) -> bool:
        """Whether components are kept as estimates."""
        return isinstance(self.parts, (Between, Crossed, Tiers)) or getattr(self.parts, "pieces", None) is not None

    @property
    def whitened(self) -> bool:
        """Whether all that priors say of elements is in T: not where coefficients that nearly depend on each other are taken
        apart (`collinear`)."""
        return bool((self._at.units != NONE).all())

    @property
    def components_rotated(self) -> bool:
        """Whether elements of components are not as they are written."""
        return self.rotation is not None and bool((self.structure.component[self.rotation.elements] >= 0).any())

    # -- at run time -------------------------------------------------------------------------------

    def scale_numbers(self, values: Values) -> Joined:
        """The numbers of all T, and a last 0 for whatever has no scale; NaN for a negative scale, of
        which only the square would be seen."""
        parts = []
        for source, used, signed in self._t.read:
            part = (values.value(source).reshape(-1)[used] if isinstance(source, Value)
                    else jnp.asarray(values.elements(source, used), values.dtype))
            parts.append(part if signed is None else jnp.where(signed & (part < 0), jnp.nan, part))
        return Joined([*parts, jnp.zeros(1, values.dtype)])

    def inner_scale(self, t: Any, numbers: np.ndarray | None = None) -> Small:
        """T of the components, or of others by their numbers of T, shape (many, width, width)."""
        index = self._t_inner if numbers is None else numbers
        once = index[:1] if (index == index[:1]).all() else index
        return small(index.shape[-1], lambda i, j: read(t, index[:, i, j], last_is_zero=True), lambda: t[once])

    def scale_above(self, t: Any, tier: int) -> Small:
        """T of the components of a tier above those."""
        return self.inner_scale(t, self._t_above[tier])

    def rest_scale(self, values: Values, t: Any) -> Scale:
        """T of the blocks."""
        numbers = t[self._t_rest]
        flat = np.where(self.flat, self.flat_scale, 0.0)
        if not self._banded:
            diagonal = flat[:, :, None] * np.eye(flat.shape[1])
            return Scale((), numbers + values.number(diagonal) if flat.any() else numbers)
        first, *others = numbers
        return Scale((first + values.number(flat) if flat.any() else first, *others))

    @property
    def narrow(self) -> bool:
        """Whether the rest is written out number by number."""
        rest = self.structure.blocks.shape[1]
        return isinstance(self.parts, Between) and rest > 0 and max(self.structure.width, rest) <= FEW

    def rest_entries(self, values: Values, t: Any) -> Numbers:
        """T of a narrow rest."""
        def entry(i: int, j: int) -> Any:
            own = read(t, self._t_rest[:, i, j], last_is_zero=True)
            flat = np.where(self.flat[:, i], self.flat_scale[:, i], 0.0)
            return own + values.number(flat) if i == j and flat.any() else own

        n = range(self.structure.blocks.shape[1])
        return Numbers(tuple(tuple(entry(i, j) for j in n) for i in n))

    def moving_mean(self, values: Values) -> Joined | None:
        """The part of m that depends on kept sites, length size + 1; None if there is none."""
        if not self._moving:
            return None
        parts = [jnp.zeros(s.size, values.dtype) if s.mean is None
                 else values.value(s.mean).reshape(-1) for s in self.sites]
        return Joined([*parts, jnp.zeros(1, values.dtype)])

    def pushed(self, values: Values, t: Any, rest: Any) -> Any:
        """T u of the rest, shape (blocks, rest)."""
        if not rest.size:
            return rest
        if self.structure.upper is None:
            return self.rest_scale(values, t).apply(rest)
        def push(u: Any, tier: int) -> Any:
            if isinstance(u, Split):
                return Split(self.scale_above(t, tier).times(u.components), push(u.rest, tier + 1))
            return self.rest_scale(values, t).apply(u) if u.size else u

        return joined(self.structure, push(parted(self.structure, rest), 0))

    def proper(self, values: Values, elements: np.ndarray) -> Any:
        """1 for elements with a prior, padding too, and 0 for flat ones."""
        return values.number(self._proper[elements])

    def mean_at(self, values: Values, moving: Any, elements: np.ndarray) -> Any:
        """m at the given element numbers; padding reads 0."""
        known = values.number(self._known[elements])
        return known if moving is None else known + moving[elements]

    def split(self, elements: Any) -> tuple[Any, Any]:
        """A vector over all elements as (components, blocks of the rest); padding reads 0."""
        if self.rotation is not None:
            elements = self.rotation.forward(elements)
        padded = jnp.concatenate([elements, jnp.zeros((1, *elements.shape[1:]), elements.dtype)])
        return padded[self.structure.components], padded[self.structure.blocks]

    def join(self, components: Any, rest: Any) -> Any:
        """The inverse of `split`; more axes may follow those of the parts."""
        s, tail = self.structure, rest.shape[2:]
        both = jnp.concatenate([components.reshape(s.components.size, *tail),
                                rest.reshape(s.blocks.size, *tail)])
        component, block, place = s.component[:-1], s.block[:-1], s.place[:-1]
        out = both[np.where(component >= 0, component * s.width + place,
                            s.components.size + block * s.blocks.shape[1] + place)]
        return out if self.rotation is None else self.rotation.backward(out)


def completed(parts: Any, constant: Entries) -> Any:
    """Parts with twice a constant added to their adjustment, number by number."""
    weights = np.concatenate([parts.adjustment_weight, constant.weights])
    (weights,), numbers = add_up([weights], np.concatenate([parts.adjustment, 2 * constant.coefficients]))
    return dataclasses.replace(parts, adjustment=numbers, adjustment_weight=weights)


def _able(site: GaussianSite, way: int) -> list[Able]:
    """What may be rotated of a site: all of it where its events have one scale; else each event of a known shape.

    Independent elements may be taken one by one, or by one of two `way`s in rows, or in columns, of their last axis: what
    several outcomes have to do with covariates is diagonal in directions of the covariates.
    """
    if site.scale is None or site.mean is not None:
        return []
    if site.width == 1 or site.shaped is None:
        width = site.shape[-1] if way and site.width == 1 and len(site.shape) > 1 else site.width
        table = site.elements.reshape(-1, width)
        return [Able(table.T if way == 2 else table)] if site.one_scale else []
    table = site.elements.reshape(-1, site.width)
    if (site.shaped.index == site.shaped.index[:1]).all():
        return [Able(table.reshape(-1, 1), site.shaped.roots)]
    return [Able(e[:, None], r[None]) for e, r in zip(table, site.shaped.roots, strict=True)]
