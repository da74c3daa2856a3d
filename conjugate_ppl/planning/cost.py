"""What a gradient costs, where integrating more out is not plainly a gain.

Eliminating components leaves a dense rest: of n rows, one Cholesky factorisation and inverse a gradient. With one of
its sites kept, a block costs about as much as it has numbers that are not zero. Fewer numbers to move, without the
correlations between effects, are worth some gradients, but not any number.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.algebra.value import add_up
from conjugate_ppl.elimination.base import Declined
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.structure import Structure
from conjugate_ppl.program import Program

__all__ = ["too_dear"]

_DENSE = 2.4 / 4e10  # seconds for a row cubed: factor, two triangular solves
_SPARSE = 2e-8  # for a number of the quadratic that is not zero, read and added forwards and backwards
_LEAST = 2e-2  # seconds; less is no reason to leave anything to the sampler
# Gradients of the smaller collapse that one of the larger may cost. Of InstEval's worst scale a gradient gives 0.11
# effective samples where only four scales move, 0.021 with the students' effects sampled, 0.011 with the lecturers'.
_WORTH = 10


@dataclasses.dataclass(frozen=True)
class _Choice:
    """A site that could be kept: what a gradient then costs, in seconds, and its coupling with what is not kept."""

    site: GaussianSite
    seconds: float
    coupling: float


def too_dear(program: Program, elimination: GaussianElimination) -> Declined | None:
    """The site of a block that is better left to the sampler, if there is one.

    Of the sites without which a gradient is much cheaper, the one that has least to do with the sites that are
    none of these: what determines each other is better integrated out together.
    """
    block = elimination.block
    dense = _dense(block.structure)
    if dense < _LEAST or len(block.sites) < 2:
        return None
    # a multivariate normal prior costs the sampler the same
    able = [s for s in block.sites if s.width == 1 and s.size > 1 and s.family != "Flat"]
    cheaper = [(s, seconds) for s in able if (seconds := _given(block, s)) * _WORTH < dense]
    others = [s for s in block.sites if s not in {c for c, _ in cheaper}]
    choices = [_Choice(s, seconds, _coupling(block, s, others)) for s, seconds in cheaper]
    if not choices:
        return None
    least = min(c.coupling for c in choices)
    found = min((c for c in choices if c.coupling < least + 1), key=lambda c: c.site.size)
    rows, times = block.structure.blocks.shape[1], int(np.round(dense / found.seconds))
    return Declined(found.site.name, f"with the others it would leave a dense matrix of {rows} rows, with which a gradient "
                    f"costs some {times} times as much as with `{found.site.name}` sampled; `require` collapses it all "
                    "the same", program.sites[found.site.name].source)


def _dense(structure: Structure) -> float:
    number, widest = structure.blocks.shape
    return _DENSE * float(number) * float(widest) ** 3


def _given(block: GaussianBlock, site: GaussianSite) -> float:
    """Seconds of a gradient with a site kept."""
    return _dense(block.structure_given(site)) + _SPARSE * max(1, len(block.plain.numbers))


def _coupling(block: GaussianBlock, site: GaussianSite, others: list[GaussianSite]) -> float:
    """Squared correlations of the site's elements with those of others, by the likelihood alone, all weights equal.

    Of groupings it is at most the number of elements of the others: how many of them the site's own could explain.
    """
    q = block.plain
    (rows, columns), numbers = add_up([q.rows, q.columns], q.numbers)
    own, other = np.zeros(block.size, bool), np.zeros(block.size, bool)
    own[site.elements] = True
    for s in others:
        other[s.elements] = True
    same, meet = rows == columns, own[rows] & other[columns]
    root = np.full(block.size, np.inf)
    root[rows[same]] = np.sqrt(np.where(numbers[same] > 0, numbers[same], np.inf))
    return float(np.sum((numbers[meet] / root[rows[meet]] / root[columns[meet]]) ** 2))
