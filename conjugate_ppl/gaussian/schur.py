"""Eliminating components in general: their share of the rest is a Schur complement, by subtraction."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.arrow import Arrow, arrow, columns, parted, tied, vector
from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.batches import of_array
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.law import Pieces
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Components, Shares, newton
from conjugate_ppl.gaussian.small import Small, inverse_logdet

__all__ = ["Rows", "by_place", "components_of", "law_of", "schur_shares", "shares_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Components, or rows that stand for them: D and T, the inverse of I + T'DT, cross terms, linear parts, prior means."""

    d: Small
    scale: Small
    inverse: Small
    cross: Any  # Coupling, or Tied
    linear: list[Any]
    mean: list[Any]

    @functools.cached_property
    def spread(self) -> Any:
        """T (I + T'DT)^-1 T' times the cross terms."""
        return self.cross.after((self.scale @ self.inverse @ self.scale.T).times)

    def pull(self, x: list[Any], e: Any) -> list[Any]:
        """T' times the slope of the log likelihood at x, given the rest; at 0 if that is None."""
        slope = [a - b for a, b in zip(self.linear, self.d.times(x), strict=True)]
        if e is not None:
            slope = [a - b for a, b in zip(slope, self.cross.apply(e), strict=True)]
        return self.scale.T.times(slope)

    def taken_from(self, rest: Any, linear: Any) -> tuple[Any, Any]:
        """What is left of H and h of the rest."""
        free = [a - b for a, b in zip(self.linear, self.d.times(self.mean), strict=True)]
        return rest - self.cross.products(self.spread), linear - self.cross.back(self.mean) - self.spread.back(free)

    def quadratic(self, e: Any) -> Any:
        """Their part of the quadratic."""
        u = self.inverse.times(self.pull(self.mean, e))
        x = [a + b for a, b in zip(self.mean, self.scale.times(u), strict=True)]
        return sum(jnp.sum(a**2 + b * (c + 2 * (p - q))) for a, b, c, p, q in
                   zip(u, x, self.d.times(x), self.cross.apply(e), self.linear, strict=True))


def schur_shares(block: GaussianBlock, assembly: Assembly, values: Values, omega: Any, t: Any,
                 moving: Any) -> Shares:
    """The shares of components whose monomials may carry different weights."""
    parts = assembly.evaluate(values, omega)
    rows, precision, logdet = components_of(block, parts, values, t, moving)
    upper, rest, linear = block.structure.upper, parts.rest, parts.rest_linear
    if upper is not None:
        rest, linear = arrow(parts.rest, upper.structure), vector(parts.rest, upper.structure)
    return shares_of(rest, linear, rows, jnp.sum(logdet), lambda: law_of(block, rows, precision))


def components_of(block: GaussianBlock, parts: Any, values: Values, t: Any, moving: Any) -> tuple[Rows, Small, Any]:
    """All components, I + T'DT, and log determinants of that."""
    s = block.structure
    d, scale = of_array(parts.inner), block.inner_scale(t)
    mean = [block.mean_at(values, moving, x) for x in s.components.T]
    precision = (scale.T @ d @ scale).plus_one()
    inverse, logdet = inverse_logdet(precision)
    cross = tied(by_place(parts.cross), s)
    return Rows(d, scale, inverse, cross, list(parts.inner_linear.T), mean), precision, logdet


def by_place(cross: Any) -> list[Any]:
    return [cross[:, i, :].T for i in range(cross.shape[1])]


def shares_of(rest: Any, linear: Any, rows: Rows, logdet: Any, components: Callable[[], Components]) -> Shares:
    def quadratic(e: Any) -> Any:
        if isinstance(rest, Arrow):
            return rows.quadratic(e) + (e * (rest.times(e) - linear - linear)).sum()
        return rows.quadratic(e) + jnp.sum(e * (times(rest, e) - 2 * linear))

    left = rows.taken_from(rest, linear) if rows.cross.rows[0].size else (rest, linear)
    return Shares(*left, logdet, quadratic, components)


def law_of(block: GaussianBlock, rows: Rows, precision: Small) -> Components:
    """The components given the rest."""
    s = block.structure

    def found(e: Any) -> tuple[Any, Any]:
        e = e if s.upper is None else parted(s, e)
        return newton(rows.mean, rows.scale, rows.inverse.times, lambda x: rows.pull(x, e))

    def slope() -> Any:
        spread = rows.spread.rows
        found = jnp.stack(spread, -1) if s.upper is None else columns(s, spread)
        return -jnp.transpose(found, (1, 2, 0))

    law = Pieces(rows.scale, precision.lower(), len(s.components))
    return Components(lambda e: found(e)[0], slope, law, lambda e: found(e)[1])
