"""Components with several weights as estimates, one for each weight: sums of squares in place of differences.

Two instruments measure the same objects, or each row has a noise of its own. Where one of them is much more precise than the
prior, what components take from the rest and from the quadratic is nearly all that there is, and a Schur complement by
subtraction is rounding. A component and one of its weights are a *piece*: w (estimate - x - K e)' D (estimate - x - K e), with
D, K and the estimate split off on the host. At the posterior mean x0 - J e = m + T (u0 - U e) of the component given the rest

    H = sum_pieces w (K - J)' D (K - J) + U'U,    h = sum_pieces w (K - J)' D (estimate - x0) + U'u0,

the form of Joseph, in which nothing is subtracted but what is as small as that. Components are taken about what the rest says of
them where all pieces say the same, x + B e with B as if all weights were one: K less B is then 0 to the last digit, for a shift of
everything, say, which no data see.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values, look_up
from conjugate_ppl.algebra.weighted import DENSE, WeightedArray
from conjugate_ppl.gaussian.assemble import Assembly, rest_of, within
from conjugate_ppl.gaussian.estimates import estimates
from conjugate_ppl.gaussian.links import Linked, linked
from conjugate_ppl.gaussian.loaded import Loaded, as_seen, by_loads
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.structure import Structure

__all__ = ["Pieced", "Pieces", "pieces_of", "split_pieces"]

_TURNED = 1e8  # multiplications on the host, for the roots of what is left for the rest
_ROUNDING = 1e-13  # relative
_WORK = 4  # times as many multiplications as by subtraction


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
    """The component part of a quadratic by pieces.

    Attributes:
        component, weight, root, estimate: of each piece its component, weight number, R and estimate.
        about: B, shape (components, width, reach); None for 0.
        cross: D (K - B) added up over the pieces of each component, of the same shape; None where that is what they have as they are.
        loading: K - B, shape (2, pieces, width, reach): of elements of the rest as they are, and of those multiplied like the component's.
        factor: weight numbers of what multiplies the elements of the component, shape (pieces, width).
        within: H and h that are left for the rest: two arrays, or of a rest that is split by its structure.
        squares: what is left for the rest as squares; None where these would be too many.
        adjustment, adjustment_weight: numbers and weights whose sum makes the quadratic complete.
    """

    component: np.ndarray
    weight: np.ndarray
    root: np.ndarray
    estimate: np.ndarray
    about: np.ndarray | None
    cross: WeightedArray | None
    loading: np.ndarray
    factor: np.ndarray
    within: tuple[WeightedArray, WeightedArray] | Assembly
    squares: Squares | None
    adjustment: np.ndarray
    adjustment_weight: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Squares:
    """A quadratic of the rest as sum w |target - R'e|^2.

    Attributes:
        weight, owner: of each term.
        root, target: shapes (terms, rest, rank) and (terms, rank).
    """

    weight: np.ndarray
    owner: np.ndarray
    root: np.ndarray
    target: np.ndarray

    @staticmethod
    def of(q: Quadratic, s: Structure) -> Squares | None:
        """Of what is said of the rest alone, one term for each block and weight."""
        rest, span = s.blocks.shape[1], q.reduced.weights.count
        keys = [s.block[e] * span + w for e, w in ((q.rows, q.weights), (q.places, q.linear_weights))]
        used = np.unique(np.concatenate(keys))
        if not rest or s.upper is not None or len(used) * rest**3 > _TURNED:
            return None
        at, linear_at = (np.searchsorted(used, k) for k in keys)
        h, linear = np.zeros((len(used), rest, rest)), np.zeros((len(used), rest))
        np.add.at(h, (at, s.place[q.rows], s.place[q.columns]), q.numbers)
        np.add.at(linear, (linear_at, s.place[q.places]), q.linear)
        found = estimates(h)
        centre = None if found is None else found.solve(linear)
        if found is None or centre is None:
            return None
        rank = int((found.root != 0).any(1).sum(-1).max(initial=0))
        if not rank or len(used) * rank * rest > _WORK * max(len(q.numbers), rest**2):
            return None
        root = found.root[:, :, rest - rank:]  # eigenvalues ascend
        return Squares(used % span, used // span, root, np.einsum("nik,ni->nk", root, centre))

    @property
    def adjustment(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and weights of all that does not depend on elements."""
        return np.bincount(self.weight, (self.target**2).sum(1)), np.arange(int(self.weight.max(initial=-1)) + 1)

    def evaluate(self, values: Values, omega: Any, e: Any) -> Any:
        """The sum at e, shape (blocks, rest)."""
        own = e if len(e) == 1 else e[self.owner]
        gaps = [values.number(t) - jnp.sum(values.number(r) * own, -1)
                for r, t in zip(np.moveaxis(self.root, -1, 0), self.target.T, strict=True)]
        return jnp.dot(look_up(omega, self.weight), sum(g**2 for g in gaps), precision="highest")


@dataclasses.dataclass(frozen=True, eq=False)
class Pieced:
    """The component part of a quadratic, added up by components and by pieces."""

    whole: Assembly
    pieces: Pieces


def split_pieces(q: Quadratic, s: Structure) -> Pieced | None:
    """The component part by pieces, where these are estimates."""
    pieces = pieces_of(q, s)
    return None if pieces is None else Pieced(Assembly(q, s), pieces)


def pieces_of(q: Quadratic, s: Structure) -> Pieces | None:
    """The pieces; None where they would be too many, or are no estimates."""
    width, reach = s.width, s.reach
    if not len(s.components):
        squares = Squares.of(within(q, s), s) if q.fixed else None
        if squares is None or len(squares.weight) <= len(s.blocks):
            return None
        none, zero = np.zeros((0, width, max(width, reach))), np.zeros(0, np.int64)
        return Pieces(zero, zero, none[:, :, :width], none[:, :, 0], None, None, np.zeros((2, 0, width, reach)), np.zeros((0, width), np.int64),
                      rest_of(q, s, True), squares, *squares.adjustment)
    loaded, of = _estimates(q, s)
    if loaded is None or of is None:
        return None
    loading = np.zeros((2, len(of.weight), width, reach))
    loading[of.links.again.astype(int), of.links.component, :, s.column(s.blocks.reshape(-1)[of.links.column])] = of.links.loading
    # of what is multiplied in a piece like the component's elements are there
    own = loaded.factor.any(1).astype(int), np.arange(len(of.weight))
    about, cross = None, None
    if width == 1 or not own[0].any():
        about = _about(of, loaded.pieces.component, loading[own], len(s.components))
    if about is not None:
        loading[own] = _less(of.root, loading[own], about[loaded.pieces.component])
        powers = np.repeat(of.weight[:, None], 3, 1) if loaded.pieces.powers is None else loaded.pieces.powers
        seen = np.moveaxis(of.inner @ loading, 0, -1)
        piece, *place, again = np.nonzero(seen)
        cross = WeightedArray(about.shape, (loaded.pieces.component[piece], *place), powers[piece, 1 + again], seen[piece, *place, again])
    left = rest_of(of.within, s, True) if s.upper is None else Assembly(of.within, s.upper.structure)
    squares = Squares.of(of.within, s)
    adjustments = [of.adjustment, *([] if squares is None else [squares.adjustment])]
    return Pieces(loaded.pieces.component, of.weight, of.root, of.estimate, about, cross, loading, loaded.factor, left, squares,
                  *(np.concatenate(x) for x in zip(*adjustments, strict=True)))


def _about(of: Linked, component: np.ndarray, loading: np.ndarray, count: int) -> np.ndarray | None:
    """B: K of the pieces of each component together, all of one weight."""
    inner, cross = np.zeros((count, *of.inner.shape[1:])), np.zeros((count, *loading.shape[1:]))
    np.add.at(inner, component, of.inner)
    np.add.at(cross, component, of.inner @ loading)
    found = estimates(inner)
    return None if found is None or not cross.any() else found.solve(cross)


def _less(root: np.ndarray, loading: np.ndarray, about: np.ndarray) -> np.ndarray:
    """K - B as far as it is seen: 0 where that is rounding."""
    back = np.swapaxes(root, 1, 2)
    seen = back @ (loading - about)
    seen[np.abs(seen) <= _ROUNDING * (np.abs(back) @ (np.abs(loading) + np.abs(about)))] = 0.0
    out: np.ndarray = np.linalg.pinv(back) @ seen
    return out


def _estimates(q: Quadratic, s: Structure) -> tuple[Loaded | None, Linked | None]:
    """The pieces as estimates, as they are seen, or else by what multiplies elements."""
    one = s.width * (s.width + s.reach)**2
    for way in (as_seen, by_loads):
        loaded = way(q, s)
        number = 0 if loaded is None else len(loaded.factor)
        if loaded is None or not number or number * one > _WORK * (len(q.numbers) + len(s.components) * one) or (
                number * s.width * (s.width + s.reach) > DENSE):
            continue
        of = linked(q, s, loaded.pieces)
        if of is not None:
            return loaded, of
    return None, None
