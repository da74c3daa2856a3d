"""Which element of a vector of scales each element of a Gaussian block goes with, if with one only.

Proved from the monomials: every one of the likelihood holds one scale to the power q, every prior scale is
one to the power -q/2, and elements that meet, in a monomial or in a location, have the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from conjugate_ppl.algebra.term import Term, is_known
from conjugate_ppl.algebra.value import write_out
from conjugate_ppl.algebra.variables import Latent
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.gaussian.block import BLOCK, GaussianBlock, GaussianSite
from conjugate_ppl.program import Program

__all__ = ["owners"]

Pairs = list[tuple[np.ndarray, np.ndarray]]
_BUDGET = 1 << 22  # monomials that are written out


def owners(program: Program, block: GaussianBlock, bound: Sequence[Term], name: str,
           visible: frozenset[str]) -> tuple[Fraction, np.ndarray] | None:
    """(q, number of the scale of each element), or None."""
    powers = {a.power for t in bound for a in t.atoms if name in a.variable.roots}
    if len(powers) != 1:
        return None
    (q,) = powers
    pairs: Pairs = []  # of nodes that go together: elements of the block, and behind them the scales
    for term in bound:
        if not _of_likelihood(term, name, q, block.size, pairs):
            return None
    walk = start_walk(program, visible | {name})
    for site in block.sites:
        if site.mean is not None and name in site.mean.roots:
            return None
        if site.slope is not None and not _of_location(site, pairs):
            return None
        if site.scale is None:
            continue
        (scale,) = walk.run([site.scale])
        for term in scale.terms:
            if not _of_scale(term, site, scale.shape, name, -q / 2, block.size, pairs):
                return None
    size = program.sites[name].size
    first, second = (np.concatenate(x) for x in zip(*pairs, strict=True))
    nodes = block.size + size
    _, part = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(nodes, nodes)),
                                   directed=False)
    own = part[block.size :]
    if len(np.unique(own)) != size or not np.isin(part[: block.size], own).all():
        return None
    place = np.full(part.max() + 1, -1)
    place[own] = np.arange(size)
    return q, place[part[: block.size]]


def _plain(term: Term, name: str, power: Fraction) -> bool:
    """Whether the scale enters a known term once, as a latent to one power."""
    found = [a for a in term.atoms if name in a.variable.roots]
    return (len(found) == 1 and isinstance(found[0].variable, Latent) and found[0].power == power
            and all(is_known(x) for x in term.arrays) and _size(term) <= _BUDGET)


def _size(term: Term) -> int:
    return int(np.prod(np.broadcast_shapes(*(np.shape(x) for x in term.arrays))))


def _of_likelihood(term: Term, name: str, q: Fraction, size: int, pairs: Pairs) -> bool:
    if not _plain(term, name, q):
        return False
    numbers, columns = write_out(term)
    there = numbers != 0
    scales = [c[there] + size for a, c in zip(term.atoms, columns, strict=True) if name in a.variable.roots]
    pairs += [(c[there], scales[0]) for a, c in zip(term.atoms, columns, strict=True)
              if a.variable.name == BLOCK]
    return True


def _of_location(site: GaussianSite, pairs: Pairs) -> bool:
    assert site.slope is not None
    for term in site.slope.terms:
        if not all(is_known(x) for x in term.arrays):
            return False
        for a in term.atoms:
            if a.variable.name == BLOCK:
                full = (*site.shape, *term.hidden)
                if int(np.prod(full)) > _BUDGET:
                    return False
                there = np.broadcast_to(term.coefficient() != 0, full)
                own = site.elements.reshape(site.shape + (1,) * len(term.hidden))
                pairs.append((np.broadcast_to(own, full)[there], np.broadcast_to(a.selection, full)[there]))
    return True


def _of_scale(term: Term, site: GaussianSite, shape: tuple[int, ...], name: str, power: Fraction, size: int,
              pairs: Pairs) -> bool:
    c = term.coefficient()
    if is_known(c) and not c.any():
        return True
    if term.hidden or not _plain(term, name, power):
        return False
    (atom,) = [a for a in term.atoms if name in a.variable.roots]
    own = site.elements.reshape(site.shape)
    if site.family == "MultivariateNormal":
        own, shape = own[..., None], (*site.shape, site.shape[-1])
    there = np.broadcast_to(c != 0, shape)
    pairs.append((np.broadcast_to(own, shape)[there], np.broadcast_to(atom.selection, shape)[there] + size))
    return True
