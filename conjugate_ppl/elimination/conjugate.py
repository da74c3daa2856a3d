"""One site whose posterior stays in the family of its prior: what all such eliminations share."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.reduce import Reduced
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.weighted import WeightedArray
from conjugate_ppl.elimination.base import Parts, whole
from conjugate_ppl.families import Family

__all__ = ["ConjugateElimination", "Contribution"]


class Contribution:
    """What the factors add to one natural parameter: a vector over the site's elements."""

    def __init__(self, reduced: Reduced, size: int) -> None:
        self._weights = reduced.weights
        self._late = reduced.late.get(1, ())
        found = reduced.entries.get(1)
        none = np.zeros(0, np.int64)
        self._fixed = WeightedArray((size,), found.positions, found.weights, found.coefficients) \
            if found is not None else WeightedArray((size,), (none,), none, np.zeros(0))

    def evaluate(self, values: Values) -> Any:
        """The vector at the given values of the kept sites."""
        out = self._fixed.evaluate(values, self._weights.evaluate(values))
        for late in self._late:
            (position,), c = late.evaluate(values)
            out = out.at[position].add(c)
        return out

    @property
    def known(self) -> np.ndarray | None:
        """The vector in double precision, if it depends on nothing."""
        return None if self._late else self._fixed.known


@dataclasses.dataclass(frozen=True, eq=False)
class ConjugateElimination(abc.ABC):
    """A site integrated out by adding a contribution to its natural parameter."""

    sites: tuple[str, ...]
    rule: str
    family: Family
    shape: tuple[int, ...]
    parameters: dict[str, int]

    @property
    def alone(self) -> bool:
        return False

    def factored_once(self, changing: frozenset[str]) -> bool:
        return not changing or self.family.event_dim < 2

    @abc.abstractmethod
    def natural(self, values: Values) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(prior natural parameter, contribution), one array a statistic."""

    @abc.abstractmethod
    def log_prob(self, values: Values) -> Any:
        """Normalised log density of the site's value in `values`."""

    def log_marginal(self, values: Values) -> Any:
        """log_partition(posterior) - log_partition(prior), all summed."""
        return jnp.sum(self.family.ratio(*self.natural(values)))

    def laws(self, values: Values) -> tuple[Any, ...]:
        """The posterior's natural parameter."""
        prior, added = self.natural(values)
        return tuple(p + c for p, c in zip(prior, added, strict=True))

    def conditionals(self, laws: tuple[Any, ...]) -> dict[str, Any]:
        """The site's exact conditional, by its `laws`."""
        assert self.family.distribution is not None
        return {self.sites[0]: self.family.distribution(laws)}

    def centre(self, values: Values) -> dict[str, Any]:
        """A likely value."""
        return {n: self.family.centre(d) for n, d in self.conditionals(self.laws(values)).items()}

    @property
    def partition(self) -> Parts:
        """One part: the whole site."""
        return whole({self.sites[0]: self.shape})

    def log_probs(self, values: Values) -> Any:
        """Normalised log density of the site's value in `values`, of each of its parts."""
        return self.log_prob(values)[None]

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        """One exact draw."""
        return {self.sites[0]: self.family.draw(key, self.laws(values))}
