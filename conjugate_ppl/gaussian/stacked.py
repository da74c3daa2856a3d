"""Wider matrices, as one array for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from conjugate_ppl.gaussian.entries import Entries
from conjugate_ppl.gaussian.products import matmul, product, times, transposed
from conjugate_ppl.gaussian.small import Small
from conjugate_ppl.triangular import diagonal, inverse_triangular

__all__ = ["Stacked"]


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Stacked(Small):
    """Matrices as an array, shape (..., n, n), or (1, n, n) where all of a batch are one."""

    array: Any

    @property
    def width(self) -> int:
        return int(self.array.shape[-1])

    @property
    def T(self) -> Stacked:
        return Stacked(transposed(self.array))

    def __matmul__(self, other: Any) -> Stacked:
        return Stacked(matmul(self.array, other.array))

    def columns_scaled(self, d: list[Any] | None) -> Stacked:
        return self if d is None else Stacked(self.array * _vectors(d)[..., None, :])

    def gram(self, d: list[Any] | None = None) -> Stacked:
        return self.columns_scaled(d) @ self.T

    def around(self, other: Any, plus: Any = None) -> Stacked:
        out = Stacked(matmul(matmul(self.array, other.array), transposed(self.array)))
        return out if plus is None else out + plus

    def swept(self) -> tuple[Stacked, Any]:
        return self.inverted()

    def inverted(self) -> tuple[Stacked, Any]:
        half, _, logdet = self.inverse_factor()
        return half.T.gram(), logdet

    def root(self) -> Stacked:
        d, n = self.array, self.width

        def column(j: Any, low: Any) -> Any:
            # all at once a program of many columns takes long to compile
            left = d[..., j] - times(low, low[..., j, :])
            pivot = left[..., j, None]
            full = pivot > 4 * n * jnp.finfo(d.dtype).eps * d[..., j, j, None]
            left = jnp.where(full & (jnp.arange(n) >= j), left, 0.0)
            return low.at[..., j].set(left / jnp.sqrt(jnp.where(full, pivot, 1.0)))

        return Stacked(jax.lax.fori_loop(0, n, column, jnp.zeros_like(d)))

    def series(self, other: Any) -> Stacked:
        a = self.array

        def row(i: Any, out: Any) -> Any:
            return out.at[..., i, :].add(matmul(a[..., i, None, :], out)[..., 0, :])

        return Stacked(jax.lax.fori_loop(1, self.width, row, jnp.broadcast_to(
            other.array, jnp.broadcast_shapes(a.shape[:-2], other.array.shape[:-2]) + other.array.shape[-2:])))

    def plus_transposed(self) -> Stacked:
        return self + self.T

    def plus_one(self) -> Stacked:
        return Stacked(self.array + jnp.eye(self.width, dtype=self.array.dtype))

    def __add__(self, other: Any) -> Stacked:
        return Stacked(self.array + other.array)

    def scaled(self, factor: Any) -> Stacked:
        return Stacked(self.array * jnp.asarray(factor)[..., None, None])

    def inner(self, other: Any) -> Any:
        return jnp.sum(self.array * other.array, (-2, -1))

    def lower(self) -> Stacked:
        return Stacked(jnp.linalg.cholesky(self.array))

    def lower_of_gram(self) -> Stacked:
        one = jnp.broadcast_to(jnp.eye(self.width, dtype=self.array.dtype), self.array.shape)
        upper = jnp.linalg.qr(jnp.concatenate([one, transposed(self.array)], -2), mode="r")
        signs = jnp.where(diagonal(upper) < 0, -1, 1).astype(upper.dtype)
        return Stacked(transposed(upper * signs[..., None]))

    def inverse_factor(self) -> tuple[Stacked, list[Any] | None, Any]:
        low = jnp.linalg.cholesky(self.array)
        logdet = 2 * jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)), -1)
        return Stacked(inverse_triangular(low)), None, logdet

    def inverse_lower(self) -> Stacked:
        return Stacked(inverse_triangular(self.array))

    def times(self, vector: Sequence[Any]) -> list[Any]:
        v = _vectors(vector)
        if v.ndim < self.array.ndim:
            return list(jnp.moveaxis(times(self.array, v), -1, 0))
        matrices = jnp.broadcast_to(self.array, (v.shape[-2], *self.array.shape[-2:]))
        return list(product("cij,rcj->irc", matrices, v))

    def solve_lower(self, vector: Sequence[Any], transpose: bool = False) -> list[Any]:
        return list(jnp.moveaxis(self.solve_array(_vectors(vector), transpose), -1, 0))

    def solve_array(self, b: Any, transpose: bool = False) -> Any:
        low = jnp.broadcast_to(self.array, b.shape + b.shape[-1:])
        return jax.lax.linalg.triangular_solve(low, b[..., None], left_side=True, lower=True,
                                               transpose_a=transpose)[..., 0]

    def filled(self, many: tuple[int, ...], dtype: Any) -> Stacked:
        return Stacked(self.stacked(many, dtype))

    def spread(self, many: tuple[int, ...]) -> Stacked:
        return self

    def entries(self) -> Entries:
        n = self.width
        flat = jnp.moveaxis(self.array.reshape(-1, n * n), 0, 1)
        parts = [x[0] for x in jax.lax.split(flat, [1] * (n * n))]  # its derivative is one array again
        return Entries(tuple(tuple(parts[i * n:(i + 1) * n]) for i in range(n)))

    def as_change(self) -> Stacked:
        return self

    def like(self, value: Any) -> Stacked:
        return self

    def lower_half(self) -> Any:
        return self.array

    @classmethod
    def of_half(cls, half: Any) -> Stacked:
        return cls(half)

    def stacked(self, many: tuple[int, ...], dtype: Any) -> Any:
        return jnp.broadcast_to(self.array, (*many, *self.array.shape[-2:])).astype(dtype)

    def tree_flatten(self) -> tuple[list[Any], None]:
        """For JAX."""
        return [self.array], None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: Sequence[Any]) -> Stacked:
        """For JAX."""
        return cls(*leaves)


def _vectors(vector: Sequence[Any]) -> Any:
    """A list of elements as an array, shape (many, n)."""
    return jnp.stack(jnp.broadcast_arrays(*vector), -1)
