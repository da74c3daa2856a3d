"""Components that meet few elements of a large rest: groupings that cross out of balance.

A component's cross terms with the rest, kept as *links*, one for each element of the rest that it
meets, are never made dense. What eliminating the components takes from the rest is

    sum_c K_c' V_c K_c,

and V_c is the same for all components with the same D, weight and prior scale (one *pattern*: groups
of one size). So this is a sum of known sparse matrices, one for each pattern, times numbers of run time;
the products of links are added up on the host, once. A student who rates 25 of 1000 lecturers costs 325
of them, not a million.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.algebra.value import add_up
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.gaussian.assemble import rest_of
from conjugate_ppl.gaussian.estimates import Prior
from conjugate_ppl.gaussian.links import Links, Patterned, in_one_piece, linked
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Crossed", "Products", "split_crossed"]

_PRODUCT = 32  # multiplications of a product of matrices in the time of one product of links
_MOST = 1 << 25  # products of links written out on the host


@dataclasses.dataclass(frozen=True, eq=False)
class Products:
    """A part of sum_c K_c' V_c K_c by coordinates: at `cell` the number `coefficient` times number `entry` of V, which
    counts patterns within entries (upper triangle, by rows)."""

    cell: np.ndarray
    entry: np.ndarray
    coefficient: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Crossed(Patterned):
    """The component part of a quadratic by links; see the module's docstring.

    Attributes:
        links: K.
        products, squares: of its columns, each with another one (a half of a symmetric matrix; cells of all blocks,
            flattened), and with itself (cells of the diagonals).
        within, within_linear: what is left for the rest.
        adjustment, adjustment_weight: numbers and weights whose sum makes the quadratic complete.
    """

    links: Links
    products: Products
    squares: Products
    within: WeightedArray
    within_linear: WeightedArray
    adjustment: np.ndarray
    adjustment_weight: np.ndarray


def split_crossed(q: Quadratic, s: Structure, prior: Prior) -> Crossed | None:
    """The split, or None where dense cross terms are cheaper or a component has several weights."""
    (count, width), rest = s.components.shape, s.blocks.shape[1]
    ci, cj = s.component[q.rows], s.component[q.columns]
    meets = (ci >= 0) & (cj < 0)
    degree = np.bincount(ci[meets], minlength=count)  # entries of K, if a component has one weight
    pairs = int((degree * (degree + width) // 2).sum())
    if not pairs or pairs > _MOST or _PRODUCT * pairs > count * rest**2:
        return None
    of = linked(q, s, in_one_piece(q, s))
    if of is None:
        return None
    own = of.patterned(s, prior)
    first, second = of.links.pairs()
    off = of.links.column[first] != of.links.column[second]
    within, within_linear = rest_of(of.within, s, True)
    numbers, weights = of.adjustment
    return Crossed(**own, links=of.links, products=_products(of.links, first[off], second[off], own["pattern"], rest),
                   squares=_products(of.links, first[~off], second[~off], own["pattern"]), within=within,
                   within_linear=within_linear, adjustment=numbers, adjustment_weight=weights)


def _products(links: Links, first: np.ndarray, second: np.ndarray, pattern: np.ndarray, rest: int = 0
              ) -> Products:
    """The products of links, those of one pattern at one place added up; without `rest` they are all on the diagonal."""
    k, number = links.loading, int(pattern.max()) + 1
    at = links.column[first] * rest + links.column[second] % rest if rest else links.column[first]
    cells, entries, numbers = [], [], []
    for entry, (i, j) in enumerate(zip(*np.triu_indices(k.shape[1]), strict=True)):
        product = k[first, i] * k[second, j]
        numbers.append(product if i == j else product + k[first, j] * k[second, i])
        entries.append(entry * number + pattern[links.component[first]])
        cells.append(at)
    (cell, own), coefficient = add_up([np.concatenate(cells), np.concatenate(entries)],
                                      np.concatenate(numbers))
    return Products(cell, own, coefficient)
