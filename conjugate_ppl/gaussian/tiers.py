"""Components whose rest is split once more: groups in groups.

A component meets one component of the second tier, its home, and a block: cross terms are kept by these (`Structure.reach`).
Where each has one weight they are group estimates, as in `crossed`, and nothing is subtracted at run time.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.gaussian.assemble import Assembly
from conjugate_ppl.gaussian.estimates import Prior
from conjugate_ppl.gaussian.links import Patterned, in_one_piece, linked
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Tiers", "split_tiers"]


@dataclasses.dataclass(frozen=True, eq=False)
class Tiers(Patterned):
    """The component part of a quadratic, and the parts of the rest by its structure.

    Attributes:
        loading: K, shape (count, width, reach).
        within: what is left for the rest.
        adjustment, adjustment_weight: numbers and weights whose sum makes the quadratic complete.
    """

    loading: np.ndarray
    within: Assembly
    adjustment: np.ndarray
    adjustment_weight: np.ndarray


def split_tiers(q: Quadratic, s: Structure, prior: Prior) -> Tiers | None:
    """The split, or None where a component has several weights."""
    assert s.upper is not None
    of = linked(q, s, in_one_piece(q, s))
    if of is None:
        return None
    loading = np.zeros((*s.components.shape, s.reach))
    loading[of.links.component, :, s.column(s.blocks[0][of.links.column])] = of.links.loading
    numbers, weights = of.adjustment
    return Tiers(**of.patterned(s, prior), loading=loading, within=Assembly(of.within, s.upper.structure), adjustment=numbers,
                 adjustment_weight=weights)
