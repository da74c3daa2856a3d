"""The exact conditional of each site of a Gaussian block whose scales are integrated out after it: Student's t.

Given a precision t the block is normal with covariance C / t, where C is its covariance at t = 1. With t ~ Gamma(a, b)
an event is Student's t of 2a degrees of freedom with scale matrix C b / a.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.elimination.base import Elimination
from conjugate_ppl.elimination.conditionals import Law, Reshaped
from conjugate_ppl.elimination.elementwise import ElementwiseElimination
from conjugate_ppl.elimination.joint import GaussianElimination

__all__ = ["LawsOverScales", "conditionals_over_scales", "laws_over_scales"]


class LawsOverScales(NamedTuple):
    """The laws of a block where its scales are one, and of the precisions: shape and rate, flat."""

    laws: dict[str, Law]
    shape: Any
    rate: Any


def laws_over_scales(block: Elimination, scales: Elimination, values: Values) -> LawsOverScales | None:
    """Of a block and what `scales` it, if that is a gamma precision or an inverse gamma variance."""
    if not isinstance(block, GaussianElimination) or not isinstance(scales, ElementwiseElimination):
        return None
    (site,), sign = scales.sites, {"Gamma": 1, "InverseGamma": -1}.get(scales.family.name, 0)
    power = block.scale[1] if block.scale else block.owned.power if block.owned is not None else 0
    if not sign or power != sign or site != (block.scale[0] if block.scale else block.by_part):
        return None
    shape, rate = (jnp.reshape(p + a, -1) for p, a in zip(*scales.natural(values), strict=True))
    there = values.with_sites({site: jnp.ones(scales.shape, values.dtype)})
    return LawsOverScales(block.laws(there), sign * shape, -rate)


def conditionals_over_scales(block: Elimination, found: LawsOverScales) -> dict[str, Any]:
    """The sites' distributions, of those whose elements have one scale together or each its own."""
    assert isinstance(block, GaussianElimination)
    out: dict[str, Any] = {}
    for s in (s for s in block.block.sites if s.name in found.laws):
        law = found.laws[s.name]
        part = np.zeros(s.size, int) if block.owned is None else block.owned.part[s.first + np.arange(s.size)]
        if block.owned is not None and s.slope is not None:  # perhaps of elements with other scales
            continue
        a, wide = found.shape[part], jnp.sqrt(found.rate / found.shape)[part]
        if len(np.unique(part)) == s.size:
            own = 0.0 if law.diagonal is None else law.diagonal
            sd = jnp.sqrt(jnp.sum(law.factor**2, -1) + own) * wide
            out[s.name] = dist.StudentT(*(x.reshape(s.shape) for x in (2 * a, law.mean.reshape(-1), sd)))
        elif law.diagonal is None and (part == part[0]).all():
            flat = dist.MultivariateStudentT(2 * a[0], law.mean.reshape(-1), law.factor * wide[0])
            out[s.name] = flat if len(s.shape) == 1 else Reshaped(
                flat, dist.transforms.ReshapeTransform(s.shape, (s.size,)))
    return out
