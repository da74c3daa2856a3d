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
from conjugate_ppl.gaussian.estimates import Prior, estimates, one_weight, patterns
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Crossed", "Links", "Products", "split_crossed"]

_PRODUCT = 32  # multiplications of a product of matrices in the time of one product of links
_MOST = 1 << 25  # products of links written out on the host


@dataclasses.dataclass(frozen=True, eq=False)
class Links:
    """K by its columns that are not zero.

    Attributes:
        component: which component a link belongs to, in order.
        column: which element of the rest, as a number in `Structure.blocks` flattened.
        loading: the column of K, shape (links, width).
    """

    component: np.ndarray
    column: np.ndarray
    loading: np.ndarray

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of links of one component, the smaller column first."""
        count = len(self.component)
        end = np.searchsorted(self.component, self.component, side="right")
        many = end - np.arange(count)
        first = np.repeat(np.arange(count), many)
        start = np.cumsum(many) - many
        return first, first + np.arange(len(first)) - start[first]


@dataclasses.dataclass(frozen=True, eq=False)
class Products:
    """A part of sum_c K_c' V_c K_c by coordinates: at `cell` the number `coefficient` times number `entry` of V, which
    counts patterns within entries (upper triangle, by rows)."""

    cell: np.ndarray
    entry: np.ndarray
    coefficient: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Crossed:
    """The component part of a quadratic by links; see the module's docstring.

    Attributes:
        pattern: for each component its pattern.
        many: for each pattern how many components it has.
        weight, root, scale: weight number, R and numbers of T, a pattern.
        shift: estimate less known prior mean; `estimate` itself, of each component.
        links: K.
        products, squares: of its columns, each with another one (a half of a symmetric matrix; cells of all blocks,
            flattened), and with itself (cells of the diagonals).
        within, within_linear: what is left for the rest.
        adjustment, adjustment_weight: numbers and weights whose sum makes the quadratic complete.
    """

    pattern: np.ndarray
    many: np.ndarray
    weight: np.ndarray
    root: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    estimate: np.ndarray
    links: Links
    products: Products
    squares: Products
    within: WeightedArray
    within_linear: WeightedArray
    adjustment: np.ndarray
    adjustment_weight: np.ndarray


def split_crossed(q: Quadratic, s: Structure, prior: Prior) -> Crossed | None:
    """The split, or None where dense cross terms are cheaper or a component has several weights."""
    (count, width), (number, rest) = s.components.shape, s.blocks.shape
    ci, cj = s.component[q.rows], s.component[q.columns]
    meets = (ci >= 0) & (cj < 0)
    degree = np.bincount(ci[meets], minlength=count)  # entries of K, if a component has one weight
    pairs = int((degree * (degree + width) // 2).sum())
    if not pairs or pairs > _MOST or _PRODUCT * pairs > count * rest**2:
        return None
    weight = one_weight(q, s)
    if weight is None:
        return None
    inner = np.zeros((count, width, width))
    keep = (ci >= 0) & (cj >= 0)
    np.add.at(inner, (ci[keep], s.place[q.rows[keep]], s.place[q.columns[keep]]), q.numbers[keep])
    found = estimates(inner)
    if found is None:
        return None
    linear = np.zeros((count, width))
    cl = s.component[q.places]
    np.add.at(linear, (cl[cl >= 0], s.place[q.places[cl >= 0]]), q.linear[cl >= 0])
    estimate, links = found.solve(linear), _links(q, s, meets)
    loading = found.solve(links.loading, links.component)
    if estimate is None or loading is None:
        return None
    links = dataclasses.replace(links, loading=loading)

    # what the components' own estimates explain is taken from the rest
    first, second = links.pairs()
    rooted = np.einsum("lik,li->lk", found.root[links.component], loading)
    rooted_estimate = np.einsum("cik,ci->ck", found.root, estimate)
    taken = -(rooted[first] * rooted[second]).sum(1)
    a, b, w = links.column[first], links.column[second], weight[links.component[first]]
    off = a != b
    of_rest = (ci < 0) & (cj < 0)
    at = np.concatenate([_flat(s, q.rows[of_rest]), a, b[off]])
    to = np.concatenate([_flat(s, q.columns[of_rest]), b, a[off]])
    within = WeightedArray(
        (number, rest, rest), (at // rest, at % rest, to % rest),
        np.concatenate([q.weights[of_rest], w, w[off]]),
        np.concatenate([q.numbers[of_rest], taken, taken[off]]))
    at = np.concatenate([_flat(s, q.places[cl < 0]), links.column])
    within_linear = WeightedArray(
        (number, rest), (at // rest, at % rest),
        np.concatenate([q.linear_weights[cl < 0], weight[links.component]]),
        np.concatenate([q.linear[cl < 0], -(rooted * rooted_estimate[links.component]).sum(1)]))

    pattern, one = patterns([weight, *prior.scale.reshape(count, -1).T], inner.reshape(count, -1),
                            np.abs(inner).reshape(count, -1))
    return Crossed(
        pattern, np.bincount(pattern), weight[one], found.root[one], prior.scale[one],
        estimate - prior.known[s.components], estimate, links,
        _products(links, first[off], second[off], pattern, rest), _products(links, first[~off], second[~off], pattern),
        within, within_linear,
        np.bincount(weight, (rooted_estimate**2).sum(1)), np.arange(int(weight.max()) + 1))


def _flat(s: Structure, elements: np.ndarray) -> np.ndarray:
    """Numbers of elements of the rest in `blocks` flattened."""
    out: np.ndarray = s.block[elements] * s.blocks.shape[1] + s.place[elements]
    return out


def _links(q: Quadratic, s: Structure, meets: np.ndarray) -> Links:
    """The cross terms, one row for each component and each element of the rest that it meets."""
    rows, columns = q.rows[meets], q.columns[meets]
    (component, column, place), numbers = add_up(
        [s.component[rows], _flat(s, columns), s.place[rows]], q.numbers[meets])
    new = np.append(True, (np.diff(component) != 0) | (np.diff(column) != 0))
    cross = np.zeros((int(new.sum()), s.width))
    cross[np.cumsum(new) - 1, place] = numbers
    return Links(component[new], column[new], cross)


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
