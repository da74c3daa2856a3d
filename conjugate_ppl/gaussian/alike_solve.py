"""Eliminating components that share every matrix (`alike`), by the rows that stand for them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.gaussian.alike import Alike
from conjugate_ppl.gaussian.batches import of_array, read, take
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.grouped import added
from conjugate_ppl.gaussian.pieced import by_pieces
from conjugate_ppl.gaussian.schur import Rows, by_place, components_of, law_of, shares_of
from conjugate_ppl.gaussian.shares import Components, Coupling, Shares
from conjugate_ppl.gaussian.small import inverse_logdet

__all__ = ["alike_shares"]


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
    rows = Rows(d, scale, inverse, Coupling(by_place(cross), alike.owner, len(s.blocks)), list(linear.T), mean)

    def components() -> Components:
        every, precision, _ = components_of(block, alike.every().evaluate(values, omega), values, t, moving)
        return law_of(block, every, precision)

    logdet = added(values.number(alike.many.astype(float)), jnp.broadcast_to(logdet, alike.many.shape))
    if alike.pieces is not None:
        rest, pulled, quadratic = by_pieces(block, rows, alike.pieces, values, omega)
        return Shares(rest, pulled, logdet, quadratic, components)
    whole = alike.rest.evaluate(values, omega), alike.rest_linear.evaluate(values, omega)
    return shares_of(*whole, rows, logdet, components)
