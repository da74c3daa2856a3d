"""Eliminating components in general: their share of the rest is a Schur complement, by subtraction."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.batches import of_array
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.law import Pieces
from conjugate_ppl.gaussian.products import times
from conjugate_ppl.gaussian.shares import Components, Coupling, Shares, newton
from conjugate_ppl.gaussian.small import inverse_logdet

__all__ = ["schur_shares"]


def schur_shares(block: GaussianBlock, assembly: Assembly, values: Values, omega: Any, t: Any,
                 moving: Any) -> Shares:
    """The shares of components whose monomials may carry different weights."""
    s = block.structure
    parts = assembly.evaluate(values, omega)
    d, scale = of_array(parts.inner), block.inner_scale(t)
    g = Coupling([parts.cross[:, i, :].T for i in range(s.width)], s.owner, len(s.blocks))
    h = list(parts.inner_linear.T)
    mean = [block.mean_at(values, moving, x) for x in s.components.T]
    precision = (scale.T @ d @ scale).plus_one()
    inverse, logdet = inverse_logdet(precision)
    rest, linear = parts.rest, parts.rest_linear
    covariance_g = g.after((scale @ inverse @ scale.T).times)
    if parts.cross.size:
        free = [a - b for a, b in zip(h, d.times(mean), strict=True)]
        rest = rest - g.products(covariance_g)
        linear = linear - g.back(mean) - covariance_g.back(free)

    def pull(x: list[Any], e: Any) -> list[Any]:
        across = g.apply(e)
        return scale.T.times([a - b - c for a, b, c in zip(h, across, d.times(x), strict=True)])

    def centre(e: Any) -> Any:
        return newton(mean, scale, inverse.times, lambda x: pull(x, e))

    def slope() -> Any:
        return -jnp.stack([x.T for x in covariance_g.rows], 1)

    def quadratic(e: Any) -> Any:
        u = inverse.times(pull(mean, e))
        x = [a + b for a, b in zip(mean, scale.times(u), strict=True)]
        total = sum(jnp.sum(a**2 + b * (c + 2 * (p - q))) for a, b, c, p, q in
                    zip(u, x, d.times(x), g.apply(e), h, strict=True))
        return total + jnp.sum(e * (times(parts.rest, e) - 2 * parts.rest_linear))

    return Shares(rest, linear, jnp.sum(logdet), quadratic,
                  lambda: Components(centre, slope, Pieces(scale, precision.lower(), len(s.components))))
