"""A site of a joint Gaussian block."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import reshape
from conjugate_ppl.families.registry import CORRELATED
from conjugate_ppl.gaussian.shapes import KnownShape, known_shape

__all__ = ["BLOCK", "Covariance", "GaussianSite"]

BLOCK = "<block>"
"""Name of the one variable that holds all elements of a block."""


@dataclasses.dataclass(frozen=True)
class Covariance:
    """Covariances, of which a site's scale_tril is the factor.

    Attributes:
        number: their number in the graph, of matrices of shape (*batch_shape, n, n).
        batch_shape: the axes of events that they have.
        symmetric: whether both triangles are filled; else the lower one counts.
    """

    number: int
    batch_shape: tuple[int, ...]
    symmetric: bool


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianSite:
    """One site of a block.

    Attributes:
        name: the site's name; `shape` that of its value.
        first: number of its first element in the block.
        family: one of `GAUSSIAN`.
        reference: r_i, flat.
        slope: A_i, the part of the location that is linear in the block; None if there is none.
        mean: the part of m_i that depends on kept sites; None if there is none.
        known: the rest of m_i, flat.
        spread: standard deviations of the elements of e_i, flat; 0 where they depend on kept sites,
            infinite for a flat site.
        alike: a class for each element; `mean` is equal within a class.
        scale: number of the scale, or of the scale_tril; None for a flat site.
        scale_index: for each event (and each entry of its scale_tril) which number of the scale it
            reads: the first of those that are always equal.
        signed: which numbers of the scale must not be negative and are not proved so; None if none.
        covariance: what a scale_tril is the factor of, where that is seen.
        written: the scale, or the scale_tril, in the algebra; None for a flat site, and where something may be negative.
    """

    name: str
    shape: tuple[int, ...]
    first: int
    family: str
    reference: np.ndarray
    slope: Value | None
    mean: Value | None
    known: np.ndarray
    spread: np.ndarray
    alike: np.ndarray
    scale: int | None
    scale_index: np.ndarray
    signed: np.ndarray | None
    covariance: Covariance | None = None
    written: Value | None = None

    @functools.cached_property
    def shaped(self) -> KnownShape | None:
        """The scales, where they are known but for a positive factor."""
        if self.written is None:
            return None
        if self.family in CORRELATED:
            return known_shape(self.written, self.scale_index.shape[:-2])
        return known_shape(reshape(self.written, (*self.written.shape, 1, 1)), self.shape)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape))

    @property
    def elements(self) -> np.ndarray:
        """The numbers of its elements in the block."""
        return np.arange(self.first, self.first + self.size)

    @property
    def one_scale(self) -> bool:
        """Whether all of its events have the same scale, by proof."""
        events = self.scale_index.reshape(-1, self.width**2)
        return bool((events == events[:1]).all())

    @property
    def width(self) -> int:
        """Elements of one event, which have a joint prior."""
        return self.scale_index.shape[-1] if self.family in CORRELATED else 1

    @property
    def which(self) -> np.ndarray:
        """Which of its covariances each event has, flat."""
        assert self.covariance is not None
        batch = self.covariance.batch_shape
        return np.broadcast_to(np.arange(np.prod(batch, dtype=int)).reshape(batch), self.scale_index.shape[:-2]).reshape(-1)
