"""Eliminating components that meet few elements of the rest, by their links (`crossed`)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values, look_up, segment_sums
from conjugate_ppl.gaussian.batches import take
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.crossed import Crossed, Products
from conjugate_ppl.gaussian.grouped import added, estimated, of_patterns
from conjugate_ppl.gaussian.links import Links
from conjugate_ppl.gaussian.products import transposed
from conjugate_ppl.gaussian.shares import Components, Shares

__all__ = ["crossed_shares"]


def crossed_shares(block: GaussianBlock, parts: Crossed, values: Values, omega: Any, t: Any,
                   moving: Any) -> Shares:
    """The shares of components with one weight each, and few links."""
    s, width = block.structure, block.structure.width
    many, weight, root, scale, precision, logdet = of_patterns(block, parts, values, omega, t)
    own = take(precision, parts.pattern).entries()  # V of each component
    links = _Links(parts.links, values, s.components.shape, s.blocks.shape)
    shift = [values.number(x) for x in parts.shift.T]
    if moving is not None:
        shift = [a - moving[x] for a, x in zip(shift, s.components.T, strict=True)]
    within = parts.within.evaluate(values, omega)
    within_linear = parts.within_linear.evaluate(values, omega)
    rows = precision.entries().rows
    entries = [rows[i][j] for i, j in zip(*np.triu_indices(width), strict=True)]
    v = jnp.concatenate(entries)
    apart = _sums(parts.products, values, v, within.shape)
    # what is added to the diagonal last keeps the compiler from adding up all once more wherever the sum is read
    places = np.arange(within.shape[-1])
    rest = (within + apart + transposed(apart)).at[..., places, places].add(_sums(parts.squares, values, v, s.blocks.shape))
    linear = within_linear + links.back(own.times(shift))
    adjustment = jnp.dot(values.number(parts.adjustment), omega[parts.adjustment_weight],
                         precision="highest")

    def quadratic(e: Any) -> Any:
        gap = [a - b for a, b in zip(shift, links.apply(e), strict=True)]
        squares = sum(jnp.sum(a * b) for a, b in zip(gap, own.times(gap), strict=True))
        return squares + jnp.sum(e * (parts.within.times(values, omega, e) - 2 * within_linear)) - adjustment

    def components() -> Components:
        return estimated(block, values, root.scaled(jnp.sqrt(weight)), scale, parts.pattern,
                         parts.estimate, moving, links.apply, lambda: (links.dense(), None))

    return Shares(rest, linear, added(many, logdet), quadratic, components)


@dataclasses.dataclass(frozen=True, eq=False)
class _Links:
    """K as a map between the rest, shape (blocks, rest), and vectors over the components."""

    known: Links
    values: Values
    components: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def _loadings(self) -> list[Any]:
        return [self.values.number(x) for x in self.known.loading.T]

    def apply(self, e: Any) -> list[Any]:
        """K e"""
        read = look_up(e.reshape(-1), self.known.column)
        return [segment_sums(k * read, self.known.component, self.components[0])
                for k in self._loadings]

    def back(self, vectors: list[Any]) -> Any:
        """K' x"""
        total = sum(k * look_up(x, self.known.component)
                    for k, x in zip(self._loadings, vectors, strict=True))
        return segment_sums(total, self.known.column, int(np.prod(self.blocks))).reshape(self.blocks)

    def dense(self) -> Any:
        """K itself, by the columns of each component's own block, shape (rest, components, width)."""
        out = jnp.zeros((self.blocks[1], *self.components), self.values.dtype)
        where = self.known.column % self.blocks[1], self.known.component
        return out.at[where].set(self.values.number(self.known.loading))


def _sums(products: Products, values: Values, entries: Any, shape: tuple[int, ...]) -> Any:
    """What stands at each cell, of so many, from the entries of V."""
    numbers = values.number(products.coefficient) * look_up(entries, products.entry)
    return segment_sums(numbers, products.cell, int(np.prod(shape))).reshape(shape)
