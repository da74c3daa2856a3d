"""A Gaussian chain as the matrices of its steps, made from monomials."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Late, Reduced
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.statespace.filter import Steps, divided
from conjugate_ppl.statespace.layers import Layers

__all__ = ["ChainModel", "Noise"]


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """The scale of some elements' own noise: its number in the graph, the shape it is brought to, and the
    pairs of elements that its entries belong to; and which numbers of it must not be negative and are not
    proved so."""

    number: int
    shape: tuple[int, ...]
    rows: np.ndarray
    columns: np.ndarray
    entries: np.ndarray  # positions in the flat scale
    signed: np.ndarray | None


class ChainModel:
    """The chain: `likelihood` in its elements, and `locations`, in them and in one token for each element
    whose location it is (numbered from `size` on)."""

    def __init__(self, layers: Layers, size: int, likelihood: Reduced, locations: Reduced,
                 noise: tuple[Noise, ...]) -> None:
        self.layers, self.size = layers, size
        self._likelihood, self._locations, self._noise = likelihood, locations, noise
        shape = (layers.chains, layers.steps, layers.width)
        self._vectors, self._matrices = int(np.prod(shape)), int(np.prod(shape)) * layers.width
        two, one = likelihood.entries.get(2), likelihood.entries.get(1)
        none = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        i, j, w, c = none if two is None else (*two.positions, two.weights, two.coefficients)
        # c x_i x_j = -1/2 x'Dx
        self._d = self._matrix(np.append(i, j), np.append(j, i), np.append(w, w), np.append(-c, -c))
        i, w, c = none[1:] if one is None else (*one.positions, one.weights, one.coefficients)
        self._h = self._vector(i, w, c)
        two, one = locations.entries.get(2), locations.entries.get(1)
        parent, child, w, c = none if two is None else (*two.positions, two.weights, two.coefficients)
        child = child - size
        same = layers.step[parent] == layers.step[child]
        self._within = self._matrix(child[same], parent[same], w[same], c[same])
        self._between = self._matrix(child[~same], parent[~same], w[~same], c[~same])
        i, w, c = none[1:] if one is None else (*one.positions, one.weights, one.coefficients)
        self._m = self._vector(i - size, w, c)

    def _matrix(self, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, numbers: np.ndarray
                ) -> WeightedArray:
        return WeightedArray((self._matrices,), (self.layers.matrix(rows, columns),), weights, numbers)

    def _vector(self, places: np.ndarray, weights: np.ndarray, numbers: np.ndarray) -> WeightedArray:
        return WeightedArray((self._vectors,), (self.layers.vector[places],), weights, numbers)

    def steps(self, values: Values) -> Steps:
        """The matrices, with a first axis of chains."""
        n, many = self.layers, (self.layers.chains, self.layers.steps)
        omega, weight = self._likelihood.weights.evaluate(values), self._locations.weights.evaluate(values)
        d, h = self._d.evaluate(values, omega), self._h.evaluate(values, omega)
        within, between = self._within.evaluate(values, weight), self._between.evaluate(values, weight)
        m = self._m.evaluate(values, weight)
        for (i, j), c in _evaluated(self._likelihood.late.get(2, ()), values):
            d = d.at[n.matrix(i, j)].add(-c).at[n.matrix(j, i)].add(-c)
        for (i,), c in _evaluated(self._likelihood.late.get(1, ()), values):
            h = h.at[n.vector[i]].add(c)
        for pair, c in _evaluated(self._locations.late.get(2, ()), values):
            parent, child = np.minimum(*pair), np.maximum(*pair) - self.size
            same = n.step[parent] == n.step[child]
            at = n.matrix(child, parent)
            within = within.at[at].add(jnp.where(same, c, 0.0))
            between = between.at[at].add(jnp.where(same, 0.0, c))
        for (i,), c in _evaluated(self._locations.late.get(1, ()), values):
            m = m.at[n.vector[i - self.size]].add(c)
        # a place without an element is one of its own, of which nothing is known
        t = jnp.asarray(np.where(n.there, 0.0, 1.0)[..., None] * np.eye(n.width), values.dtype).reshape(-1)
        for part in self._noise:
            scale = jnp.broadcast_to(jnp.asarray(values.evaluate(part.number), values.dtype), part.shape)
            scale = scale.reshape(-1)
            if part.signed is not None:  # only its square would be seen
                scale = jnp.where(part.signed & (scale < 0), jnp.nan, scale)
            t = t.at[n.matrix(part.rows, part.columns)].set(scale[part.entries])
        f, t, d = (x.reshape(*many, n.width, n.width) for x in (between, t, d))
        m, h = m.reshape(*many, n.width), h.reshape(*many, n.width)
        if not self._within.empty or self._locations.late:
            low = jnp.eye(n.width, dtype=values.dtype) - within.reshape(d.shape)
            f, t, m = divided(low, f), divided(low, t), divided(low, m[..., None])[..., 0]
        return Steps(f, t, m, d, h)

    def pack(self, x: Any) -> Any:
        """A vector of all elements as an array of shape (chains, steps, width)."""
        n = self.layers
        return jnp.zeros(self._vectors, x.dtype).at[n.vector].set(x).reshape(n.chains, n.steps, n.width)

    def unpack(self, x: Any) -> Any:
        """The inverse of `pack`."""
        return x.reshape(-1)[self.layers.vector]


def _evaluated(lates: tuple[Late, ...], values: Values) -> list[tuple[Any, Any]]:
    return [late.evaluate(values) for late in lates]

