"""What a gradient costs, where integrating more out is not plainly a gain.

Eliminating components leaves a dense rest: of n rows, one Cholesky factorisation and inverse a gradient, and n squared for
what each component says of it. With some of its sites kept, a block costs about as much as it has numbers that are not zero.
Fewer numbers to move, without the correlations between effects, are worth some gradients, but not any number.

An integral that is a sum over nodes costs as much as some rows. It is worth it where the sampler moves what the prior of
the latent depends on, or the latent belongs to one row, as its error: then it hangs together with what else is sampled. The
scale of many rows, or a rate of many counts, hangs together with nothing; to move it costs less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

import numpy as np

from conjugate_ppl.algebra.value import add_up
from conjugate_ppl.elimination.base import Declined, Elimination
from conjugate_ppl.elimination.elementwise import ElementwiseElimination
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.elimination.wordy import NUMBER, model_size
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.gaussian.structure import Structure
from conjugate_ppl.program import Program

__all__ = ["idle", "too_dear"]

_DENSE = 2.4 / 4e10  # seconds for a row cubed: factor, two triangular solves; and for a component and two rows
_SPARSE = 4e-9  # for a number of the quadratic that is not zero, read and added forwards and backwards
_FACTORS = {"cholesky", "eigh", "lu", "qr", "svd", "householder_product", "triangular_solve"}
_MANY = 64  # elements; of 22 that are sampled there are 1.15 times as many effective samples a second, of 88 five times
_AREAS = 32  # elements of a prior of neighbours; of 64 that are sampled there are twice as many effective samples a second
_ROWS = 4  # of an element; of 8 samples a second were 0.3 to 0.6 of those without, of one 4 times as many (and 0.5, rounded)
_LEAST = 2e-4  # seconds; less is no reason to leave anything to the sampler
_FLOOR = 2e-5  # and no gradient takes less
_ALIKE = 3  # times as many seconds are about as many
# Gradients of the smaller collapse that one of the larger may cost. Of InstEval's worst scale a gradient gives 0.11
# effective samples where only four scales move, 0.021 with the students' effects sampled, 0.011 with the lecturers'; of 500
# effects crossed with 300, of the worst number 0.10, 0.008 and 0.010.
_WORTH = 10
_WORTH_ALL = 30  # of the model itself: there 0.0030 and 0.0014, and 0.0022 of 0.079 where 20 teams' strengths walk 38 steps


def idle(program: Program, eliminations: Iterable[Elimination], rows: Callable[[str], int], wanted: Collection[str]
         ) -> dict[str, Declined]:
    """Sites whose integrals cost more than they save where something is sampled anyway, none of which is `wanted` at any price;
    `rows` that depend on each."""
    found: list[Declined] = []

    def source(name: str) -> str:
        return program.sites[name].source

    for e in eliminations:
        if isinstance(e, ElementwiseElimination) and e.family.by_nodes and not program.roots(*e.parameters.values()):
            size = program.sites[e.sites[0]].size
            if size == 1 or rows(e.sites[0]) >= _ROWS * size:
                found.append(Declined(e.sites[0], "its prior depends on no other site, and its integral, a sum over nodes, would cost "
                                      "more than it saves; `require` collapses it all the same", source(e.sites[0])))
        if not isinstance(e, GaussianElimination):
            continue
        for s in e.block.sites:
            if _apart(e.block, s):
                found.append(Declined(s.name, "its prior is flat, so that its elements cannot be integrated out one by one, and together "
                                      "they cost much more than to sample them; `require` collapses it all the same", source(s.name)))
            elif s.width >= _AREAS and _sparse(program, s):
                found.append(Declined(s.name, "it would leave a dense matrix, with which a gradient costs much more than with its prior, "
                                      "which takes no factor of one; `require` collapses it all the same", source(s.name)))
    return {problem.site: problem for problem in found if problem.site not in wanted}


def too_dear(program: Program, elimination: GaussianElimination, touched: list[str], wanted: Collection[str]) -> list[Declined]:
    """The sites of a block that are better left to the sampler, none of which is `wanted` at any price.

    One after the other, of those without which a gradient is cheapest the one that has least to do with the sites that are none
    of these: what determines each other is better integrated out together.
    """
    block = elimination.block
    whole = best = _dense(block.structure)
    model = NUMBER * model_size(program, [n for n in touched if n in program.sites])
    if whole < _LEAST or whole <= min(_WORTH * _numbers(block), _WORTH_ALL * model):
        return []
    able = [s for s in block.sites if s.size > 1 and s.family != "Flat" and s.name not in wanted
            and (s.width == 1 or _sparse(program, s))]
    kept: list[GaussianSite] = []
    chosen: list[GaussianSite] = []
    while able:
        seconds = {s.name: _given(block, [*kept, s]) for s in able}
        least = min(seconds.values())
        alike = [s for s in able if seconds[s.name] <= _ALIKE * least]
        others = [s for s in block.sites if s not in (*alike, *kept)]
        coupling = {s.name: _coupling(block, s, others) for s in alike} if len(alike) > 1 else {alike[0].name: 0.0}
        loose = [s for s in alike if coupling[s.name] < min(coupling.values()) + 1]
        kept.append(min(loose, key=lambda s: s.size))
        able = [s for s in able if s is not kept[-1]]
        if len(kept) == len(block.sites):
            cost, worth = model, _WORTH_ALL
        else:
            cost, worth = seconds[kept[-1].name], _WORTH
        if max(cost, _FLOOR) * worth < best:
            best, chosen = cost, list(kept)
    rows = block.structure.core.blocks.shape[1]
    names = " and ".join(f"`{s.name}`" for s in chosen)
    return [Declined(s.name, f"with the others it would leave a dense matrix of {rows} rows, with which a gradient costs much "
                     f"more than with {names} sampled; `require` collapses it all the same", program.sites[s.name].source)
            for s in chosen]


def _apart(block: GaussianBlock, site: GaussianSite) -> bool:
    """Whether a site is flat, and of many elements that meet none of each other (missing cells of a covariate), but make a large dense
    matrix with what they have in common."""
    if site.family != "Flat" or min(site.size, block.structure.core.blocks.shape[1]) < _MANY:
        return False
    q = block.plain
    own = np.zeros(block.size, bool)
    own[site.elements] = True
    meet = own[q.rows] & own[q.columns] & (q.rows != q.columns)
    return not meet.any() and _ALIKE * _dense(block.structure_given([site])) < _dense(block.structure)


def _sparse(program: Program, site: GaussianSite) -> bool:
    """Whether a multivariate prior costs the sampler much less than a dense matrix, as that of neighbours does; most cost it
    the same, and of known ones the correlations are what is better integrated out."""
    if site.shaped is not None:
        return False
    work = 0
    for equation in program.graph.missing([program.sites[site.name].factor], {}):
        if equation.primitive in _FACTORS and program.roots(*equation.outputs):  # others are made once
            shape = program.graph.shapes[equation.inputs[0]]
            work += math.prod(shape) * shape[-1]
    return work < site.width**3 / _WORTH


def _dense(structure: Structure) -> float:
    """Seconds for the rest and what the components leave for it."""
    (count, width), (number, widest) = structure.components.shape, structure.blocks.shape
    if structure.upper is not None:
        return _DENSE * float(count * width) * float(structure.reach) ** 2 + _dense(structure.core)
    return _DENSE * (float(number) * float(widest) ** 3 + float(count * width) * float(widest) ** 2)


def _given(block: GaussianBlock, sites: list[GaussianSite]) -> float:
    """Seconds of a gradient with sites kept."""
    return _dense(block.structure_given(sites)) + _numbers(block)


def _numbers(block: GaussianBlock) -> float:
    """Seconds for the numbers of the quadratic."""
    return _SPARSE * max(1, len(block.plain.numbers))


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
