"""Many small square matrices at once: entry by entry, or, where they are wider, stacked.

An entry of all matrices is one vector, so that a compiler sees a few long loops where arrays of shape
(many, n, n) would give it many short ones (a hundred times slower on some). What is the same whole number
in every matrix is a Python integer, of which 0 and 1 cost nothing; what else is the same in every matrix is
a scalar. Vectors are lists of their elements, each for the whole batch, or matrices of one column.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from conjugate_ppl.gaussian.entries import Entries

__all__ = ["Small", "inverse_logdet"]


class Small(abc.ABC):
    """A batch of matrices. Both operands of an operation are kept in the same way."""

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """Rows of a matrix."""

    @property
    @abc.abstractmethod
    def T(self) -> Small:
        """Transposed."""

    @abc.abstractmethod
    def __matmul__(self, other: Any) -> Small:
        """Products."""

    @abc.abstractmethod
    def __add__(self, other: Any) -> Small:
        """Sums."""

    @abc.abstractmethod
    def columns_scaled(self, d: list[Any] | None) -> Small:
        """A diag(d), or A"""

    @abc.abstractmethod
    def gram(self, d: list[Any] | None = None) -> Small:
        """A diag(d) A', or A A'"""

    @abc.abstractmethod
    def around(self, other: Any, plus: Any = None) -> Small:
        """A B A', or C + A B A', for symmetric B and C"""

    @abc.abstractmethod
    def swept(self) -> tuple[Small, Any]:
        """(inverse, log-determinant) of symmetric matrices no less than I."""

    @abc.abstractmethod
    def inverted(self) -> tuple[Small, Any]:
        """(inverse, log-determinant) of symmetric matrices; NaN where one is not positive definite."""

    def joseph(self, r: Any, inverse: Any) -> tuple[Any, Any]:
        """((P^-1 + R R')^-1, (I + P R R')^-1) for symmetric P, given (I + R' P R)^-1, in the form of Bucy and
        Joseph: neither P nor R needs an inverse, and nothing is subtracted."""
        gain: Any = self @ r @ inverse
        left = (gain @ r.T).scaled(-1).plus_one()
        return left.around(self) + gain.gram(), left

    @abc.abstractmethod
    def root(self) -> Small:
        """A lower triangular R with R R' = A, for positive semidefinite A.

        A pivot that is not more than rounding counts as 0, and so does its column.
        """

    @abc.abstractmethod
    def series(self, other: Any) -> Small:
        """(I - A)^-1 B, for A that is 0 on and above the diagonal."""

    @abc.abstractmethod
    def plus_transposed(self) -> Small:
        """A + A'"""

    @abc.abstractmethod
    def plus_one(self) -> Small:
        """I + A"""

    @abc.abstractmethod
    def scaled(self, factor: Any) -> Small:
        """Each matrix times a number."""

    @abc.abstractmethod
    def inner(self, other: Any) -> Any:
        """The sums of products of all entries."""

    @abc.abstractmethod
    def lower(self) -> Small:
        """Cholesky factors; NaN where a matrix is not positive definite."""

    @abc.abstractmethod
    def lower_of_gram(self) -> Small:
        """The Cholesky factors of I + A A', by rotations or reflections of I and A': a product would take the squares of
        what nearly depends on each other."""

    @abc.abstractmethod
    def inverse_factor(self) -> tuple[Small, list[Any] | None, Any]:
        """(H, d, log-determinant) with H' diag(d) H the inverse of positive definite matrices, H lower triangular; NaN as in
        `lower`. Without d it is H'H.

        Entry by entry no root is taken of a pivot, which takes as long as all else of a small matrix.
        """

    @abc.abstractmethod
    def inverse_lower(self) -> Small:
        """The inverses of lower triangular matrices."""

    @abc.abstractmethod
    def times(self, vector: Sequence[Any]) -> list[Any]:
        """A x; the elements of vectors may have an axis before that of the batch."""

    @abc.abstractmethod
    def solve_lower(self, vector: Sequence[Any], transpose: bool = False) -> list[Any]:
        """The solution of L x = b, or of L' x = b, for lower triangular matrices."""

    @abc.abstractmethod
    def solve_array(self, b: Any, transpose: bool = False) -> Any:
        """The same for vectors over the last axis of an array."""

    @abc.abstractmethod
    def filled(self, many: tuple[int, ...], dtype: Any) -> Small:
        """The same, every entry of every matrix written out."""

    @abc.abstractmethod
    def spread(self, many: tuple[int, ...]) -> Small:
        """The same, but for whole numbers, with every entry of every matrix written out if they are kept by entry."""

    @abc.abstractmethod
    def entries(self) -> Entries:
        """These matrices, entry by entry."""

    @abc.abstractmethod
    def as_change(self) -> Small:
        """A tangent, 0 in place of whole numbers, which are no variables."""

    @abc.abstractmethod
    def like(self, value: Any) -> Small:
        """A tangent of `value`, with numbers wherever that has some."""

    @abc.abstractmethod
    def lower_half(self) -> Any:
        """Symmetric matrices without what is above the diagonal."""

    @classmethod
    @abc.abstractmethod
    def of_half(cls, half: Any) -> Small:
        """The inverse of `lower_half`."""

    @abc.abstractmethod
    def stacked(self, many: tuple[int, ...], dtype: Any) -> Any:
        """As an array, shape (*many, n, n)."""


@jax.custom_jvp
def inverse_logdet(m: Small) -> tuple[Small, Any]:
    """(inverse, log-determinant) of symmetric positive definite matrices.

    Both are NaN where a matrix is not positive definite. Differentiating through a Cholesky
    factorisation costs several of them; here the derivatives are products with the inverse,

        d inverse(M) = -inverse(M) dM inverse(M),    d logdet(M) = tr(inverse(M) dM).
    """
    return m.inverted()


@inverse_logdet.defjvp
def _(primals: tuple[Small], tangents: tuple[Small]) -> tuple[tuple[Small, Any], tuple[Small, Any]]:
    inverse, logdet = inverse_logdet(primals[0])
    dm = tangents[0].as_change()
    change = (inverse @ dm @ inverse).scaled(-1)
    trace = jnp.asarray(inverse.inner(dm), logdet.dtype)  # an integer where nothing changes
    return (inverse, logdet), (change.like(inverse), jnp.broadcast_to(trace, logdet.shape))
