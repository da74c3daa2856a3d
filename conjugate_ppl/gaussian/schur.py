"""Eliminating components in general: their share of the rest is a Schur complement, by subtraction."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.alike import Alike
from conjugate_ppl.gaussian.arrow import Arrow, arrow, columns, parted, tied, vector
from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.batches import of_array, read, take
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.grouped import added
from conjugate_ppl.gaussian.law import Pieces
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Components, Coupling, Shares, newton
from conjugate_ppl.gaussian.small import Small, inverse_logdet

__all__ = ["alike_shares", "schur_shares"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
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
        """T' times the slope of the log likelihood at x, given the rest."""
        across = self.cross.apply(e)
        return self.scale.T.times([a - b - c for a, b, c in zip(self.linear, across, self.d.times(x), strict=True)])

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
    rows, precision, logdet = _components(block, parts, values, t, moving)
    upper, rest, linear = block.structure.upper, parts.rest, parts.rest_linear
    if upper is not None:
        rest, linear = arrow(parts.rest, upper.structure), vector(parts.rest, upper.structure)
    return _shares(rest, linear, rows, jnp.sum(logdet), lambda: _law(block, rows, precision))


def alike_shares(block: GaussianBlock, alike: Alike, values: Values, omega: Any, t: Any, moving: Any) -> Shares:
    """The shares of components that share every matrix."""
    s = block.structure
    inner, cross, linear = alike.evaluate(values, omega)
    d, scale = of_array(inner), block.inner_scale(t, alike.scale)
    inverse, logdet = inverse_logdet((scale.T @ d @ scale).plus_one())
    if len(alike.many) > 1:
        d, scale, inverse = take((d, scale, inverse), alike.pattern)
    mean = [values.number(x) for x in alike.known.T]
    if moving is not None:
        ones = values.number(alike.ones)
        mean = [a + ones * read(moving, e) for a, e in zip(mean, alike.element[alike.pattern].T, strict=True)]
    rows = _Rows(d, scale, inverse, Coupling(_by_place(cross), alike.owner, len(s.blocks)), list(linear.T), mean)

    def components() -> Components:
        every, precision, _ = _components(block, alike.every().evaluate(values, omega), values, t, moving)
        return _law(block, every, precision)

    shape = alike.many.shape
    whole = alike.rest.evaluate(values, omega), alike.rest_linear.evaluate(values, omega)
    return _shares(*whole, rows, added(values.number(alike.many.astype(float)), jnp.broadcast_to(logdet, shape)), components)


def _components(block: GaussianBlock, parts: Any, values: Values, t: Any, moving: Any) -> tuple[_Rows, Small, Any]:
    """All components, I + T'DT, and log determinants of that."""
    s = block.structure
    d, scale = of_array(parts.inner), block.inner_scale(t)
    mean = [block.mean_at(values, moving, x) for x in s.components.T]
    precision = (scale.T @ d @ scale).plus_one()
    inverse, logdet = inverse_logdet(precision)
    cross = tied(_by_place(parts.cross), s)
    return _Rows(d, scale, inverse, cross, list(parts.inner_linear.T), mean), precision, logdet


def _by_place(cross: Any) -> list[Any]:
    return [cross[:, i, :].T for i in range(cross.shape[1])]


def _shares(rest: Any, linear: Any, rows: _Rows, logdet: Any, components: Callable[[], Components]) -> Shares:
    def quadratic(e: Any) -> Any:
        if isinstance(rest, Arrow):
            return rows.quadratic(e) + (e * (rest.times(e) - linear - linear)).sum()
        return rows.quadratic(e) + jnp.sum(e * (times(rest, e) - 2 * linear))

    left = rows.taken_from(rest, linear) if rows.cross.rows[0].size else (rest, linear)
    return Shares(*left, logdet, quadratic, components)


def _law(block: GaussianBlock, rows: _Rows, precision: Small) -> Components:
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
