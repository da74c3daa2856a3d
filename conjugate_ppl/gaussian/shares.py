"""What eliminating the components of a block leaves for its rest, and the components given the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.gaussian.entries import Entries
from conjugate_ppl.gaussian.law import Law
from conjugate_ppl.gaussian.products import matmul
from conjugate_ppl.gaussian.small import Small

__all__ = ["Components", "Coupling", "Shares", "in_blocks", "newton"]


@dataclasses.dataclass(frozen=True, eq=False)
class Coupling:
    """A map from the elements of a component's block to vectors over the component, for all components.

    Attributes:
        rows: for each place in a component an array of shape (rest, components).
        owner: the block of each component.
        blocks: number of blocks.
    """

    rows: list[Any]
    owner: np.ndarray
    blocks: int

    def after(self, f: Callable[[list[Any]], list[Any]]) -> Coupling:
        """This map followed by another one of each component's vectors."""
        return Coupling(f(self.rows), self.owner, self.blocks)

    def apply(self, e: Any) -> list[Any]:
        """The vectors of all components at e, shape (blocks, rest)."""
        if self.blocks == 1:
            return [matmul(e, k)[0] for k in self.rows]
        own = e[self.owner].T
        return [jnp.sum(k * own, 0) for k in self.rows]

    def back(self, vectors: list[Any]) -> Any:
        """The transposed map, added up over the components of each block, shape (blocks, rest)."""
        if self.blocks == 1:
            return sum(matmul(k, x[:, None])[:, 0] for k, x in zip(self.rows, vectors, strict=True))[None]
        return self._in_blocks(sum(k * x for k, x in zip(self.rows, vectors, strict=True)))

    def shares(self, v: Entries, vectors: list[Any]) -> tuple[Any, Any]:
        """K' V K and K' V x, added up over the components of each block."""
        pulled = self.after(v.times)
        return self.products(pulled), pulled.back(vectors)

    def products(self, other: Coupling) -> Any:
        """The transposed map after another one, added up likewise, shape (blocks, rest, rest)."""
        pairs = list(zip(self.rows, other.rows, strict=True))
        if self.blocks == 1:
            return sum(matmul(a, b.T) for a, b in pairs)[None]
        return self._in_blocks(sum(a[:, None] * b[None] for a, b in pairs))

    def _in_blocks(self, each: Any) -> Any:
        """Arrays of all components (last axis) added up in the blocks they belong to (first axis)."""
        return in_blocks(jnp.moveaxis(each, -1, 0), self.owner, self.blocks)


def in_blocks(each: Any, owner: np.ndarray, blocks: int) -> Any:
    """Arrays of all components, along the first axis, added up in the blocks they belong to."""
    if blocks == 1:
        return jnp.sum(each, 0, keepdims=True)
    return jnp.zeros((blocks, *each.shape[1:]), each.dtype).at[owner].add(each)


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """The components given the rest.

    Attributes:
        centre: from the elements of the rest to posterior means, shape (count, width).
        slope: derivative of `centre` in the elements of the block that each belongs to, shape
            (count, width, rest).
        law: that of their deviations from the means.
        whitened: from the elements of the rest to u, where posterior means are m + T u.
    """

    centre: Callable[[Any], Any]
    slope: Callable[[], Any]
    law: Law
    whitened: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Shares:
    """H and h of the rest, the quadratic as a function of the rest, and the components; of a narrow rest (`narrow`)
    number by number."""

    rest: Any
    linear: Any
    logdet: Any
    quadratic: Callable[[Any], Any]
    components: Callable[[], Components]

    def less(self, number: Any) -> Shares:
        """The same with a number taken from the quadratic."""
        return dataclasses.replace(self, quadratic=lambda e: self.quadratic(e) - number)


def newton(mean: list[Any], scale: Small, solve: Callable[[list[Any]], list[Any]],
           pull: Callable[[list[Any]], list[Any]]) -> tuple[Any, Any]:
    """m + T u and u where u = pull(m + T u), by two Newton steps; vectors along the last axis.

    `solve` solves with the derivative of u - pull(m + T u). The second step starts from m + T u, which
    is small where prior means are far away and the data speak, and so mends what the first lost.
    """
    u = solve(pull(mean))
    x = [a + b for a, b in zip(mean, scale.times(u), strict=True)]
    step = solve([a - b for a, b in zip(pull(x), u, strict=True)])
    centre, whole = (jnp.stack([a + b for a, b in zip(*pair, strict=True)], -1) for pair in ((x, scale.times(step)), (u, step)))
    return centre, whole
