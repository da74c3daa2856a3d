"""Components as group estimates whose cross terms are kept as links, one for each element of the rest that one meets.

What eliminating such components takes from the rest is a sum of products of links: at places by two elements of the rest
(`crossed`), or by the structure of a rest that is split itself (`tiers`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from conjugate_ppl.algebra.value import add_up
from conjugate_ppl.gaussian.assemble import within
from conjugate_ppl.gaussian.estimates import Prior, estimates, one_weight, patterns
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Linked", "Links", "Numbering", "Patterned", "in_one_piece", "linked"]


@dataclasses.dataclass(frozen=True, eq=False)
class Links:
    """K by its columns that are not zero.

    Attributes:
        component: which component, or piece of one, a link belongs to, in order.
        column: which element of the rest, as a number in `Structure.blocks` flattened.
        loading: the column of K, shape (links, width).
        again: whether that is multiplied as the component's elements are.
    """

    component: np.ndarray
    column: np.ndarray
    loading: np.ndarray
    again: np.ndarray

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of links of one component, the smaller column first."""
        count = len(self.component)
        end = np.searchsorted(self.component, self.component, side="right")
        many = end - np.arange(count)
        first = np.repeat(np.arange(count), many)
        start = np.cumsum(many) - many
        return first, first + np.arange(len(first)) - start[first]


@dataclasses.dataclass(frozen=True, eq=False)
class Linked:
    """Components, or their pieces, as estimates, and their cross terms as links.

    Attributes:
        weight, inner, root, estimate: weight number, D, R and what the data say, of each.
        links: K.
        within: what is left for the rest, by elements.
        adjustment: numbers and weights whose sum makes the quadratic complete.
    """

    weight: np.ndarray
    inner: np.ndarray
    root: np.ndarray
    estimate: np.ndarray
    links: Links
    within: Quadratic
    adjustment: tuple[np.ndarray, np.ndarray]

    def patterned(self, s: Structure, prior: Prior) -> dict[str, np.ndarray]:
        """The fields of `Patterned`."""
        count = len(self.inner)
        numbers = self.inner.reshape(count, -1)
        pattern, one = patterns([self.weight, *prior.scale.reshape(count, -1).T], numbers, np.abs(numbers))
        return vars(Patterned(pattern, np.bincount(pattern), self.weight[one], self.root[one], prior.scale[one],
                              self.estimate - prior.known[s.components], self.estimate))


@dataclasses.dataclass(frozen=True, eq=False)
class Patterned:
    """Components of one weight each, by patterns.

    Attributes:
        pattern: for each component its pattern.
        many: for each pattern how many components it has.
        weight, root, scale: weight number, R and numbers of T, a pattern.
        shift: estimate less known prior mean; `estimate` itself, of each component.
    """

    pattern: np.ndarray
    many: np.ndarray
    weight: np.ndarray
    root: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    estimate: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Numbering:
    """Components, each in one piece for each of its weights.

    Attributes:
        component, weight: of each piece.
        entry, linear: the piece of each entry of H and h, -1 for none.
        again: which entries hold an element of the rest that is multiplied as that of the component is; None for none.
        powers: of each piece its weight times what multiplies elements to the powers 0, 1 and 2, shape (pieces, 3).
    """

    component: np.ndarray
    weight: np.ndarray
    entry: np.ndarray
    linear: np.ndarray
    again: np.ndarray | None = None
    powers: np.ndarray | None = None


def in_one_piece(q: Quadratic, s: Structure) -> Numbering | None:
    """Components of one weight each; None where one has several, or sums of run time."""
    weight = one_weight(q, s)
    if weight is None:
        return None
    return Numbering(np.arange(len(weight)), weight, s.component[q.rows], s.component[q.places])


def linked(q: Quadratic, s: Structure, pieces: Numbering | None) -> Linked | None:
    """The pieces of components so; None where something linear has no estimate."""
    if pieces is None:
        return None
    weight, count, width = pieces.weight, len(pieces.weight), s.width
    ci, of_columns = pieces.entry, s.component[q.columns] >= 0
    inner = np.zeros((count, width, width))
    keep = (ci >= 0) & of_columns
    np.add.at(inner, (ci[keep], s.place[q.rows[keep]], s.place[q.columns[keep]]), q.numbers[keep])
    found = estimates(inner)
    if found is None:
        return None
    linear = np.zeros((count, width))
    cl = pieces.linear
    np.add.at(linear, (cl[cl >= 0], s.place[q.places[cl >= 0]]), q.linear[cl >= 0])
    again = np.zeros(len(q.rows), bool) if pieces.again is None else pieces.again
    powers = np.repeat(weight[:, None], 3, 1) if pieces.powers is None else pieces.powers
    estimate, links = found.solve(linear), _links(q, s, ci, again, (ci >= 0) & ~of_columns)
    loading = found.solve(links.loading, links.component)
    if estimate is None or loading is None:
        return None
    links = dataclasses.replace(links, loading=loading)

    # what the pieces' own estimates explain is taken from the rest
    first, second = links.pairs()
    rooted = np.einsum("lik,li->lk", found.root[links.component], loading)
    rooted_estimate = np.einsum("cik,ci->ck", found.root, estimate)
    taken = -(rooted[first] * rooted[second]).sum(1)
    a, b, twice = links.column[first], links.column[second], links.again.astype(int)
    w = powers[links.component[first], twice[first] + twice[second]]
    off, element = a != b, s.blocks.reshape(-1)
    left = within(q, s)
    left = dataclasses.replace(
        left, rows=np.concatenate([left.rows, element[a], element[b[off]]]),
        columns=np.concatenate([left.columns, element[b], element[a[off]]]),
        weights=np.concatenate([left.weights, w, w[off]]), numbers=np.concatenate([left.numbers, taken, taken[off]]),
        places=np.concatenate([left.places, element[links.column]]),
        linear_weights=np.concatenate([left.linear_weights, powers[links.component, twice]]),
        linear=np.concatenate([left.linear, -(rooted * rooted_estimate[links.component]).sum(1)]))
    return Linked(weight, inner, found.root, estimate, links, left,
                  (np.bincount(weight, (rooted_estimate**2).sum(1)), np.arange(int(weight.max()) + 1)))


def _flat(s: Structure, elements: np.ndarray) -> np.ndarray:
    """Numbers of elements of the rest in `blocks` flattened."""
    out: np.ndarray = s.block[elements] * s.blocks.shape[1] + s.place[elements]
    return out


def _links(q: Quadratic, s: Structure, piece: np.ndarray, again: np.ndarray, meets: np.ndarray) -> Links:
    """The cross terms, one row for each piece and each element of the rest that it meets."""
    rows, columns = q.rows[meets], q.columns[meets]
    (component, column, again, place), numbers = add_up(
        [piece[meets], _flat(s, columns), again[meets].astype(np.int64), s.place[rows]], q.numbers[meets])
    new = (np.diff(component, prepend=-1) != 0) | (np.diff(column, prepend=-1) != 0) | (np.diff(again, prepend=-1) != 0)
    cross = np.zeros((int(new.sum()), s.width))
    cross[np.cumsum(new) - 1, place] = numbers
    return Links(component[new], column[new], cross, again[new].astype(bool))
