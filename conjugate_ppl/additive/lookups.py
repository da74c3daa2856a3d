"""Monomials in the states of discrete latents as tables, looked up at the states.

Those that differ in the states alone are a row of a table: what data say of the elements that it reads, in each of their
states. It may be a factor of a monomial in statistics of other latents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from conjugate_ppl.additive.polynomial import Signature

__all__ = ["STATES", "Lookup", "lookups"]

STATES = "state", "never"
"""What begins the keys of indicators."""

_ROUNDING = 1e-9  # of a sum of weights


@dataclasses.dataclass(frozen=True, eq=False)
class Lookup:
    """One table for all elements that are read together with the same statistics.

    Attributes:
        sites: the discrete sites that are read, with the smallest value of each; `elements` of them by row.
        others: the statistics that it multiplies and their powers, read at `positions`.
        numbers, never: shape (rows, states of the first site, ...): log densities, and how often something was seen
            that is impossible there.
    """

    sites: tuple[tuple[str, int], ...]
    elements: np.ndarray
    others: Signature
    positions: np.ndarray
    numbers: np.ndarray
    never: np.ndarray

    def table(self, rows: Any = slice(None), more: Any = 0.0, never: Any = 0.0) -> np.ndarray:
        """Some rows with -inf for what is impossible, and something added to either part."""
        return np.where(self.never[rows] + never > _ROUNDING, -np.inf, self.numbers[rows] + more)

    @property
    def level(self) -> np.ndarray:
        """What the rows can be measured from: their largest number, if that is all there is."""
        table = self.table()
        top = table.max(tuple(range(1, table.ndim)), keepdims=True)
        return np.where(np.isfinite(top) & (not self.others), top, 0.0)

    def at(self, values: Mapping[str, Any], table: Any) -> Any:
        """The numbers of a table in the states that the sites are in, one a row."""
        states = [jnp.reshape(values[n], -1)[e].astype(int) - low
                  for (n, low), e in zip(self.sites, self.elements, strict=True)]
        return table[(np.arange(len(self.numbers)), *states)]


def lookups(pieces: Iterable[tuple[Signature, np.ndarray, np.ndarray]]) -> list[Lookup]:
    """Those of some monomials that read states, as tables: (signature, positions, coefficients).

    Positions may have more columns than the signature, which tell rows apart.
    """
    found: dict[Any, list[tuple[np.ndarray, np.ndarray, bool]]] = {}
    for signature, positions, coefficients in pieces:
        mine = [k for k, (key, _) in enumerate(signature) if key[0] in STATES]
        if not mine:
            continue
        kinds = sorted(mine, key=lambda k: str(signature[k][0][1:]))
        others = [k for k in range(len(signature)) if k not in mine]
        name = (tuple(signature[k][0][1:] for k in kinds), tuple(signature[k] for k in others))
        columns = positions[:, [*kinds, *others, *range(len(signature), positions.shape[1])]]
        never = any(signature[k][0][0] == "never" for k in mine)
        found.setdefault(name, []).append((columns, coefficients, never))
    return [_table(kinds, others, parts) for (kinds, others), parts in sorted(found.items(), key=lambda x: str(x[0]))]


def _table(kinds: tuple[Any, ...], others: Signature, parts: list[tuple[np.ndarray, np.ndarray, bool]]) -> Lookup:
    counts = np.array([count for _, _, count in kinds])
    n = len(kinds)
    rows = [np.concatenate([p[:, :n] // counts, p[:, n:]], 1) for p, _, _ in parts]
    unique, index = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    split = np.split(index.reshape(-1), np.cumsum([len(r) for r in rows])[:-1])
    numbers, never = np.zeros((2, len(unique), *counts))
    for (positions, coefficients, of_never), at in zip(parts, split, strict=True):
        np.add.at(never if of_never else numbers, (at, *(positions[:, :n] % counts).T), coefficients)
    return Lookup(tuple((latent[1], low) for latent, low, _ in kinds), unique[:, :n].T, others, unique[:, n:], numbers, never)
