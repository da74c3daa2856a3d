"""What a gradient costs, where integrating more out is not plainly a gain.

Eliminating components leaves a dense rest: of n rows, one Cholesky factorisation and inverse a gradient. With
the largest of its sites kept, the same block costs about as much as it has numbers that are not zero. Fewer
numbers to move, without the correlations between effects, are worth many gradients, but not any number.
"""

from __future__ import annotations

import numpy as np

from conjugate_ppl.elimination.base import Declined
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.program import Program

__all__ = ["too_dear"]

_DENSE = 2.4 / 2e10  # seconds for a row cubed: factor, two triangular solves
_SPARSE = 2e-8  # for a number of the quadratic that is not zero, read and added forwards and backwards
_LEAST = 2e-2  # seconds; less is no reason to leave anything to the sampler
# Gradients of the smaller collapse that one of the larger may cost. Of InstEval's worst scale a gradient gives 0.0014
# effective samples with the lecturers' effects sampled (80 draws), and where only four scales move, some 0.1 to 0.3.
_WORTH = 100


def too_dear(program: Program, elimination: GaussianElimination) -> Declined | None:
    """The site of the rest that is better left to the sampler, if there is one."""
    block = elimination.block
    number, widest = block.structure.blocks.shape
    dense = _DENSE * number * widest**3
    largest = max((s for s in block.sites if (block.structure.component[s.elements] < 0).all()),
                  key=lambda s: s.size, default=None)
    if dense < _LEAST or largest is None or largest.width > 1:
        return None  # a multivariate normal prior costs the sampler the same
    left = widest - -(-largest.size // number)
    other = _DENSE * number * left**3 + _SPARSE * len(block.plain.numbers)
    if dense < _WORTH * other:
        return None
    rows, times = int(widest), int(np.round(dense / other, -1))
    return Declined(largest.name, f"it would leave a dense matrix of {rows} rows, with which a gradient costs "
                    f"some {times} times as much as with `{largest.name}` sampled; `require` collapses it all "
                    "the same", program.sites[largest.name].source)
