"""Eliminating components in general: their share of the rest is a Schur complement, by subtraction."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.products import matmul, product, times
from conjugate_ppl.gaussian.shares import Components, Shares, newton
from conjugate_ppl.gaussian.small import inverse_logdet, of_array

__all__ = ["schur_shares"]

_MANY = 1000  # components whose products with one vector are left to the library for products


def schur_shares(block: GaussianBlock, assembly: Assembly, values: Values, omega: Any, t: Any,
                 moving: Any) -> Shares:
    """The shares of components whose monomials may carry different weights."""
    s = block.structure
    parts = assembly.evaluate(values, omega)
    g, d = parts.cross, of_array(parts.inner)
    scale = block.inner_scale(t)
    mean = [block.mean_at(values, moving, x) for x in s.components.T]
    h = _elements(parts.inner_linear)
    precision = (scale.T @ d @ scale).plus_one()
    inverse, logdet = inverse_logdet(precision)
    rest, linear = parts.rest, parts.rest_linear
    covariance_g = jnp.zeros_like(g)
    if g.size:
        covariance = (scale @ inverse @ scale.T).stacked((len(g),), values.dtype)
        covariance_g = matmul(covariance, g)
        free = jnp.stack([a - b for a, b in zip(h, d.times(mean), strict=True)], -1)
        rest = rest - _owned(s.owner, "cir,cis->{}rs", rest.shape, g, covariance_g)
        linear = (linear - _owned(s.owner, "cir,ci->{}r", linear.shape, g, jnp.stack(mean, -1))
                  - _owned(s.owner, "cir,ci->{}r", linear.shape, covariance_g, free))

    def pull(x: list[Any], e: Any) -> list[Any]:
        across = _elements(_through(g, e, s.owner))
        return scale.T.times([a - b - c for a, b, c in zip(h, across, d.times(x), strict=True)])

    def centre(e: Any) -> list[Any]:
        return newton(mean, scale, inverse.times, lambda x: pull(x, e))

    def quadratic(e: Any) -> Any:
        u = inverse.times(pull(mean, e))
        x = [a + b for a, b in zip(mean, scale.times(u), strict=True)]
        across = _elements(_through(g, e, s.owner))
        total = sum(jnp.sum(a**2 + b * (c + 2 * (p - q))) for a, b, c, p, q in
                    zip(u, x, d.times(x), across, h, strict=True))
        return total + jnp.sum(e * (times(parts.rest, e) - 2 * parts.rest_linear))

    return Shares(rest, linear, jnp.sum(logdet), quadratic,
                  lambda: Components(centre, lambda: -covariance_g, scale, precision.lower()))


def _elements(vectors: Any) -> list[Any]:
    """Vectors of shape (count, width) by their elements."""
    return [vectors[:, i] for i in range(vectors.shape[1])]


def _through(g: Any, e: Any, owner: np.ndarray) -> Any:
    """G e for each component, e the elements of its block."""
    if e.shape[0] == 1 and g.shape[0] > _MANY:
        return product("cir,r->ci", g, e[0])
    return times(g, e if len(e) == 1 else e[owner])


def _owned(owner: np.ndarray, what: str, shape: tuple[int, ...], a: Any, b: Any) -> Any:
    """Products of components added up in the block that each belongs to."""
    if shape[0] == 1:
        return product(what.format(""), a, b)[None]
    return jnp.zeros(shape, a.dtype).at[owner].add(product(what.format("c"), a, b))
