"""Whether what is integrated out would be many more numbers a gradient than the model's own.

Rows that have a weight each, which changes, do not add up: a quadratic of n coefficients is n (n + 1) / 2 numbers a row,
where the model reads n. Fewer numbers to sample are worth some of that: more where the sampler would find it hard.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from conjugate_ppl.algebra.reduce import Entries, Reduced
from conjugate_ppl.algebra.term import Term, is_known
from conjugate_ppl.elimination.base import Declined
from conjugate_ppl.gaussian.site import GaussianSite
from conjugate_ppl.program import Program
from conjugate_ppl.statespace.layers import Layers

__all__ = ["NUMBER", "is_wordy", "model_size", "too_wide", "too_wordy"]

_WORDY = 4  # times as many numbers as the model's own
_FEW = 1 << 14  # numbers, of which there may be as many as there are
_FUNNEL = 10  # as much again, of elements whose prior has a kept scale or location (`planning/cost.py`)
NUMBER = 1e-9
"""Seconds for a number that the model itself computes."""

_STEP, _CUBED = 1e-5, 2e-8  # seconds of a step of a chain, and times its width cubed
_LEAST = 2e-5  # seconds, that any gradient takes
_NARROW = 8  # elements of a step, which are always integrated out
_WORTH, _LONG = 30, 4  # gradients of the model itself that one may cost (`planning/cost.py`); or so many for each step
_MANY = 1000  # elements, for whose correlations no matrix is made


def is_wordy(program: Program, terms: Sequence[Term], touched: Collection[str]) -> bool:
    """Whether monomials are many more numbers than the model itself computes and reads (a regression's residuals, squared,
    each with a latent of its own: as many as pairs of coefficients)."""
    if not program.sites.keys() >= set(touched):
        return False
    return sum(map(_numbers_of, terms)) > _WORDY * model_size(program, touched)


def too_wordy(program: Program, sites: Sequence[GaussianSite], reduced: Reduced, touched: Iterable[str],
              wanted: Collection[str]) -> Declined | None:
    """The Gaussian site that is better left to the sampler since a gradient would add up so many numbers, one of those that
    are not `wanted` at any price; None if there is none."""
    able = [s for s in sites if s.name not in wanted]
    squares = reduced.entries.get(2) or Entries((np.zeros(0, np.int64),) * 2, np.zeros(0, np.int64), np.zeros(0))
    rows, columns = squares.positions
    changing = squares.weights > 0
    late = [(x, x.work // 2) for x in reduced.late.get(2, ())]
    total = int(changing.sum()) + sum(n for _, n in late)
    if total <= _FEW or not able:
        return None
    number = np.full(sum(s.size for s in sites), -1)
    for k, s in enumerate(sites):
        number[s.elements] = k
    counts = [int((changing & ((number[rows] == k) | (number[columns] == k))).sum()) for k in range(len(sites))]
    for x, many in late:
        places = [np.asarray(x.term.atoms[k].selection) + o for k, o in zip(x.slots, x.offsets, strict=True)
                  if is_known(x.term.atoms[k].selection)]
        for k in np.unique(np.concatenate([np.zeros(0, np.int64), *(number[p.reshape(-1)] for p in places)])):
            counts[k] += many
    own = model_size(program, (n for n in touched if n in program.sites))
    site = max(able, key=lambda s: counts[sites.index(s)])
    worth = _hard(site, rows, columns, squares.coefficients)
    if site.mean is not None or not site.spread.all():
        worth *= _FUNNEL
    if counts[sites.index(site)] <= _WORDY * worth * max(own, _FEW):
        return None
    return Declined(site.name, f"the rows that it enters have weights of their own, which change, and a gradient would add up "
                    f"{total} numbers, where the model itself computes {own}; `require` collapses it all the same",
                    program.sites[site.name].source)


def too_wide(program: Program, layers: Layers, sites: Sequence[str], touched: Iterable[str],
             wanted: Collection[str]) -> Declined | None:
    """The site of a chain of so wide steps that it is better left to the sampler; None if there is none.

    The longer a walk is, the more its steps depend on each other, and the more gradients a sampler needs.
    """
    able = [n for n in sites if n not in wanted]
    if layers.width <= _NARROW or not able:
        return None
    seconds = layers.chains * layers.steps * (_STEP + _CUBED * layers.width**3)
    own = NUMBER * model_size(program, (n for n in {*touched, *sites} if n in program.sites))
    if seconds <= max(_WORTH, _LONG * layers.steps) * max(own, _LEAST):
        return None
    return Declined(able[0], f"its steps have {layers.width} elements each, and a gradient through all of them takes much longer "
                    "than the model's own; `require` collapses it all the same", program.sites[able[0]].source)


def _hard(site: GaussianSite, rows: np.ndarray, columns: np.ndarray, numbers: np.ndarray) -> float:
    """About how many times as many steps a sampler makes for elements that are correlated: the root of the condition number of
    their precision, in units in which its diagonal is one, all weights equal."""
    if site.size > _MANY:
        return 1.0
    there = (rows >= site.first) & (columns >= site.first) & (np.maximum(rows, columns) < site.first + site.size)
    i, j = rows[there] - site.first, columns[there] - site.first
    half = np.bincount(i * site.size + j, -numbers[there], site.size**2).reshape(site.size, site.size)
    precision = half + half.T + np.diag(np.where(site.spread > 0, 1 / np.where(site.spread > 0, site.spread, 1.0) ** 2, 0.0))
    diagonal = np.diagonal(precision)
    if not (diagonal > 0).all():
        return 1.0
    values = np.linalg.eigvalsh(precision / np.sqrt(diagonal) / np.sqrt(diagonal)[:, None])
    return math.sqrt(values[-1] / max(values[0], np.finfo(float).eps * values[-1]))


def model_size(program: Program, touched: Iterable[str]) -> int:
    """How many numbers the model computes and reads for the densities of some sites."""
    needed = program.graph.needed_for([program.sites[n].factor for n in touched])
    return sum(math.prod(program.graph.shapes[n]) for n in needed)


def _numbers_of(term: Term) -> int:
    """At most so many monomials are left of a term after its sums: one for each choice of elements.

    Rows add up where all that they read is few elements; where each has one of its own, none do.
    """
    shape = np.broadcast_shapes(*(np.shape(a.selection) for a in term.atoms))
    if not all(is_known(a.selection) for a in term.atoms):
        return math.prod(shape)
    return min(math.prod(shape), math.prod(int(np.max(a.selection, initial=0)) + 1 for a in term.atoms))
