"""What components leave of a rest that is itself split: matrices of many small blocks beside a few columns.

Of pupils in schools in districts, eliminating the schools leaves a matrix for each district, and what these have to do with
what all have in common. Vectors over such a rest are in two parts, for its components and for what follows (`Split`), and so
are matrices (`Arrow`). A component meets one of each tier above, its homes, and a block: of its cross terms (`Tied`) only
those are kept, so that nothing here has the districts' number squared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import look_up
from conjugate_ppl.gaussian.assemble import Parts
from conjugate_ppl.gaussian.batches import of_array
from conjugate_ppl.gaussian.entries import FEW, Entries
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Coupling
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.gaussian.stacked import Stacked
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Arrow", "Split", "Tied", "arrow", "columns", "joined", "numbers", "parted", "products", "tied", "vector", "with_numbers"]

_WASTE = 4  # numbers read for one that is there, of groups filled up to the largest


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A vector over a rest in its parts.

    Attributes:
        components: for each place in a component a vector over all of them.
        rest: what follows, a vector in parts or an array of shape (blocks, rest).
    """

    components: list[Any]
    rest: Any

    def __add__(self, other: Split) -> Split:
        return Split([a + b for a, b in zip(self.components, other.components, strict=True)], self.rest + other.rest)

    def __sub__(self, other: Split) -> Split:
        return Split([a - b for a, b in zip(self.components, other.components, strict=True)], self.rest - other.rest)

    def __mul__(self, other: Split) -> Split:
        return Split([a * b for a, b in zip(self.components, other.components, strict=True)], self.rest * other.rest)

    def sum(self) -> Any:
        """Of all elements."""
        return sum(jnp.sum(a) for a in self.components) + self.rest.sum()


@dataclasses.dataclass(frozen=True, eq=False)
class Arrow:
    """Symmetric matrices over such a rest: of the components, between them and what follows, and of that, an arrow or an
    array of shape (blocks, rest, rest)."""

    inner: Small
    cross: Coupling | Tied
    corner: Any

    def times(self, x: Split) -> Split:
        """H x"""
        across, rest = self.cross.apply(x.rest), x.rest
        after = self.corner.times(rest) if isinstance(self.corner, Arrow) else times(self.corner, rest)
        return Split([a + b for a, b in zip(self.inner.times(x.components), across, strict=True)],
                     self.cross.back(x.components) + after)

    def __add__(self, other: Arrow) -> Arrow:
        return self._plus(other, 1)

    def __sub__(self, other: Arrow) -> Arrow:
        return self._plus(other, -1)

    def _plus(self, other: Arrow, sign: int) -> Arrow:
        rows = [a + sign * b for a, b in zip(self.cross.rows, other.cross.rows, strict=True)]
        return Arrow(self.inner + other.inner.scaled(sign), dataclasses.replace(self.cross, rows=rows),
                     self.corner + other.corner if sign > 0 else self.corner - other.corner)


@dataclasses.dataclass(frozen=True, eq=False)
class Tied:
    """A map from a rest in parts to vectors over the components of a tier below.

    Attributes:
        rows: for each place in a component an array of shape (reach, components): first the places of its home.
        above: the structure of the rest.
        homes: of each tier of it the component that each component meets, -1 for none.
        owner: the block of each component.
    """

    rows: list[Any]
    above: Structure
    homes: tuple[np.ndarray, ...]
    owner: np.ndarray

    def after(self, f: Callable[[list[Any]], list[Any]]) -> Tied:
        """This map followed by another one of each component's vectors."""
        return dataclasses.replace(self, rows=f(self.rows))

    def apply(self, x: Split) -> list[Any]:
        """The vectors of all components at x."""
        own = [look_up(a, self.homes[0]) for a in x.components]
        far = self._far.apply(x.rest)
        return [sum((k * a for k, a in zip(row, own, strict=False)), b) for row, b in zip(self.rows, far, strict=True)]

    def back(self, vectors: list[Any]) -> Split:
        """The transposed map, added up."""
        own: Any = sum(k[:self.above.width] * x for k, x in zip(self.rows, vectors, strict=True))
        return Split(list(self._at_home(own)), self._far.back(vectors))

    def products(self, other: Tied) -> Arrow:
        """The transposed map after another one, for which that is symmetric, added up likewise."""
        far, width = self._far, self.above.width
        n = range(width)
        pairs = [(i, j) for i in n for j in range(i + 1)]
        both = list(zip(self.rows, other.rows, strict=True))
        own = [sum(a[i] * b[j] for a, b in both) for i, j in pairs]
        across = [sum(a[i] * b[width:] for a, b in both) for i in n]
        inner, *cross = jnp.split(self._at_home(jnp.concatenate([jnp.stack(own), *across])),
                                  [len(pairs) + k * len(far.rows[0]) for k in n])
        found = dict(zip(pairs, inner, strict=True))
        rows = tuple(tuple(found[max(i, j), min(i, j)] for j in n) for i in n)
        small = Entries(rows) if len(n) <= FEW else Stacked(jnp.stack([jnp.stack(r, -1) for r in rows], -2))
        return Arrow(small, tied(cross, self.above), products(far, other._far))

    @property
    def _far(self) -> Coupling | Tied:
        rows = [k[self.above.width:] for k in self.rows]
        if self.above.upper is None:
            return Coupling(rows, self.owner, len(self.above.blocks))
        return Tied(rows, self.above.upper.structure, self.homes[1:], self.owner)

    def _at_home(self, vectors: Any) -> Any:
        """Vectors over the components, shape (many, components), added up at each home, shape (many, homes).

        Read one after the other and added up, with a derivative that is read, too: sums by scattering take a step a number.
        """
        home, count = self.homes[0], len(self.above.components)
        order = np.argsort(home, kind="stable")[np.count_nonzero(home < 0):]
        many = np.bincount(home[order], minlength=count)
        longest = int(many.max(initial=1))

        def added(vectors: Any) -> Any:
            return jnp.zeros((len(vectors), count), vectors.dtype).at[:, home[order]].add(vectors[:, order])

        if count * longest > _WASTE * len(home):
            return added(vectors)
        table = np.full((count, longest), len(home))
        table[home[order], np.arange(len(order)) - np.repeat(np.cumsum(many) - many, many)] = order

        @jax.custom_jvp
        def sums(vectors: Any) -> Any:
            if np.array_equal(table.reshape(-1), np.arange(len(home))):
                return jnp.sum(vectors.reshape(len(vectors), *table.shape), -1)
            return jnp.sum(jnp.pad(vectors, ((0, 0), (0, 1)))[:, table], -1)

        @sums.defjvp
        def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
            return sums(*primals), added(*tangents)  # which, turned around, is read

        return sums(vectors)


def products(a: Any, b: Any) -> Any:
    """K' L for two maps of one kind, for which that is symmetric, added up."""
    return a.products(b)


def numbers(h: Any) -> Any:
    """All arrays of symmetric matrices over a rest; `with_numbers` is the inverse."""
    return (h.inner, h.cross.rows, numbers(h.corner)) if isinstance(h, Arrow) else h


def with_numbers(h: Any, found: Any) -> Any:
    """Matrices of the same structure with other numbers."""
    if not isinstance(h, Arrow):
        return found
    inner, rows, corner = found
    return Arrow(inner, dataclasses.replace(h.cross, rows=rows), with_numbers(h.corner, corner))


def tied(rows: list[Any], s: Structure) -> Coupling | Tied:
    """A map to the components of a structure from its rest, by rows for each place."""
    if s.upper is None:
        return Coupling(rows, s.owner, len(s.blocks))
    return Tied(rows, s.upper.structure, s.upper.homes, s.upper.owner)


def arrow(parts: Parts, s: Structure) -> Arrow:
    """H of a structure's elements from arrays."""
    corner = parts.rest if s.upper is None else arrow(parts.rest, s.upper.structure)
    return Arrow(of_array(parts.inner), tied([parts.cross[:, i, :].T for i in range(s.width)], s), corner)


def vector(parts: Parts, s: Structure) -> Split:
    """h likewise."""
    return Split(list(parts.inner_linear.T), parts.rest_linear if s.upper is None else vector(parts.rest, s.upper.structure))


def parted(s: Structure, e: Any) -> Any:
    """A vector over the rest of a structure with tiers, shape (1, rest), in its parts; padding reads 0."""
    padded = jnp.append(e.reshape(-1), jnp.zeros(1, e.dtype))

    def part(above: Structure) -> Split:
        rest = padded[_places(s, above.blocks)] if above.upper is None else part(above.upper.structure)
        return Split(list(padded[_places(s, above.components)].T), rest)

    return part(s.tiers[1])


def joined(s: Structure, x: Split) -> Any:
    """The inverse."""
    own = s.blocks[0]
    at, flat, start = np.zeros(len(own), np.int64), [], 0
    e: Any = x
    for tier in s.tiers[1:]:
        c = tier.component[own]
        at = np.where(c >= 0, start + tier.place[own] * len(tier.components) + c, at)
        flat += e.components
        start += tier.components.size
        e = e.rest
    last = s.core.component[own] < 0
    for tier in s.tiers[1:]:
        last &= tier.component[own] < 0
    at = np.where(last, start + s.core.block[own] * s.core.blocks.shape[1] + s.core.place[own], at)
    return jnp.concatenate([*flat, e.reshape(-1)])[at][None]


def columns(s: Structure, rows: list[Any]) -> Any:
    """A map from the rest of a structure with tiers to its components, by all elements of the rest: shape (rest, components,
    width)."""
    assert s.upper is not None
    tiers = zip(s.upper.structure.tiers, s.upper.homes, strict=True)
    near = [_places(s, tier.components)[home] for tier, home in tiers]  # of no home the numbers are 0
    reached = np.concatenate([*near, _places(s, s.core.blocks)[s.upper.owner]], 1).T
    whole = jnp.stack(rows, -1)
    rest, count = s.blocks.shape[1], len(s.components)
    return jnp.zeros((rest + 1, *whole.shape[1:]), whole.dtype).at[reached, np.arange(count)].add(whole)[:-1]


def _places(s: Structure, elements: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.where(elements < s.size, s.place[elements], s.blocks.shape[1])
    return out
