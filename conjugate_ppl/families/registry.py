"""Exponential families of latents, and the table that finds a prior's family.

A family is written in its natural form,

    log p(z) = sum_m natural_m * statistic_m(z) - log_partition(natural) + log h(z),

with statistics that apply element by element. The base measure h is free: with h = 1/z the natural
parameter of a gamma is its shape a, where h = 1 would have a - 1, which keeps no digits of a vague prior's.
A likelihood is conjugate to the family exactly when its log density is affine in the statistics
(Sokoloski, arXiv 2404.19501, theorem 1); its coefficients are then added to the natural parameter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from conjugate_ppl.densities import base_of
from conjugate_ppl.errors import ModelError
from conjugate_ppl.families.transformed import plain
from conjugate_ppl.noise import together

__all__ = ["CORRELATED", "FAMILIES", "GAUSSIAN", "STATISTICS", "Family", "family_from_outside", "prior_of",
           "priors_of", "register_family", "register_series"]

Natural = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """One exponential family of latents.

    Attributes:
        name: what `explain` calls it.
        parameters: from a distribution (no wrapper around it) to its parameters by name; elementwise
            ones are broadcast to the site's shape.
        statistics: the statistics, each one of `STATISTICS`.
        natural: from the parameters to the natural parameter, one array a statistic, and then one for
            each of `constants`.
        log_partition: from the natural parameter to the log-partition, one number per event.
        distribution: from the natural parameter to the NumPyro distribution, batch shape per event.
        log_ratio: from (prior natural, contribution) to the log-partition of their sum less that of
            the prior; by default the plain difference. Give it where that loses digits.
        event_dim: how many of the site's rightmost axes make one event.
        constants: names of numbers, such as bounds, that are handed on with the natural parameter and
            that no data change.
        centre: from the distribution to a value that it finds likely: its mean, or if that may be infinite
            another one.
        sample: from a key, the natural parameter and a shape to exact draws of that shape for each event; by default
            the distribution's own.
        if_fits: whether a prior is taken for one of this family only where the likelihood is seen to be
            conjugate: for types of priors that mostly stand at scales of something else.
        shifted: from a natural parameter (of a prior, or contributions, its constants 0 then) and a number to that of the latent
            less the number, for families of locations. The log-partition then need not be taken far from 0.
        by_nodes: whether the log-partition is a sum over nodes, some hundred operations an element.
    """

    name: str
    parameters: Callable[[Any], Mapping[str, Any]]
    statistics: tuple[str, ...] = ()
    natural: Callable[[Mapping[str, Any]], Natural] | None = None
    log_partition: Callable[[Natural], Any] | None = None
    distribution: Callable[[Natural], Any] | None = None
    log_ratio: Callable[[Natural, Natural], Any] | None = None
    event_dim: int = 0
    constants: tuple[str, ...] = ()
    centre: Callable[[Any], Any] = lambda d: d.mean
    sample: Callable[[Any, Natural, tuple[int, ...]], Any] | None = None
    if_fits: bool = False
    shifted: Callable[[Natural, Any], Natural] | None = None
    by_nodes: bool = False

    def ratio(self, prior: Natural, contribution: Natural) -> Any:
        """log_partition(prior + contribution) - log_partition(prior)"""
        if self.log_ratio is not None:
            return self.log_ratio(prior, contribution)
        assert self.log_partition is not None
        posterior = tuple(p + c for p, c in zip(prior, contribution, strict=True))
        return self.log_partition(posterior) - self.log_partition(prior)

    def draw(self, key: Any, natural: Natural) -> Any:
        """An exact draw of each event."""
        make, sample = self.distribution, self.sample
        assert make is not None

        def drawn(key: Any, axes: tuple[int, ...], *n: Any) -> Any:
            return make(n).sample(key, axes) if sample is None else sample(key, n, axes)

        return together(drawn, key, *natural)

    def log_posterior(self, prior: Natural, contribution: Natural, z: Any) -> Any:
        """Log density at z of the distribution of natural parameter prior + contribution, of each event.

        By that distribution itself, of which the log-partition here so is a check, and it of this; but
        where its parameters are too large for the digits of the type, by Bayes's rule.
        """
        assert self.distribution is not None
        axes = tuple(range(-self.event_dim, 0))
        natural = tuple(p + c for p, c in zip(prior, contribution, strict=True))
        size: Any = sum(jnp.sum(jnp.abs(n), axes) for n in natural[: len(self.statistics)])
        large = size > 0.1 / math.sqrt(jnp.finfo(size.dtype).eps)
        likelihood = sum(jnp.sum(jnp.where(c == 0, 0.0, c * STATISTICS[s](z)), axes)
                         for c, s in zip(contribution, self.statistics, strict=False))
        joint = self.distribution(prior).log_prob(z) + likelihood
        return jnp.where(large & jnp.isfinite(joint), joint - self.ratio(prior, contribution),
                         self.distribution(natural).log_prob(z))


STATISTICS: dict[str, Callable[[Any], Any]] = {
    "z": lambda z: z, "1/z": lambda z: 1 / z, "z^2": lambda z: z**2, "z^-2": lambda z: 1 / z**2,
    "log z": jnp.log, "log(1-z)": lambda z: jnp.log1p(-z), "(log z)^2": lambda z: jnp.log(z) ** 2,
    "cos z": jnp.cos, "sin z": jnp.sin,
    "log det z": lambda z: jnp.linalg.slogdet(z)[1][..., None, None],
    "log det zz'": lambda z: jnp.linalg.slogdet(z)[1][..., None, None] * 2,
    "inv z": jnp.linalg.inv, "zz'": lambda z: z @ jnp.swapaxes(z, -1, -2),
    "inv zz'": lambda z: jnp.linalg.inv(z @ jnp.swapaxes(z, -1, -2)),
}
"""Name of a statistic -> what it is."""

FAMILIES: dict[str, Family] = {}
"""Family name -> family."""

GAUSSIAN = ("Normal", "MultivariateNormal", "MatrixNormal", "Flat")
"""Names of the families whose latents are eliminated jointly; they need nothing but parameters."""

CORRELATED = ("MultivariateNormal", "MatrixNormal")
"""Those of them whose events have a `scale_tril`, of as many rows as the event has elements."""

_NEEDED = ("statistics", "natural", "log_partition", "distribution")

_BY_TYPE: dict[type, tuple[tuple[str, Callable[[Any], bool]], ...]] = {}
"""Distribution type -> the families that it may belong to, and when; the first is the first choice."""

SERIES: dict[type, tuple[str, Callable[[Any, Any], dict[str, Any]]]] = {}
"""Distribution type of a series -> the family of its elements, and their parameters given the series."""


def register_family(*types: type, when: Callable[[Any], bool] = lambda d: True
                    ) -> Callable[[Family], Family]:
    """Register a family as the one that priors of the given distribution types belong to.

    Args:
        *types: distribution classes, matched exactly.
        when: a condition on the distribution beyond its type.

    Raises:
        TypeError: if there is no type, or one is not a class.
        ModelError: if a part of the family is missing, or a statistic is not one of those known.

    Example:
        >>> import conjugate_ppl as cj, jax.numpy as jnp, numpyro.distributions as dist
        >>> from jax.scipy.special import gammaln
        >>> class Erlang(dist.Distribution):
        ...     arg_constraints = {"rate": dist.constraints.positive}
        ...     support = dist.constraints.positive
        ...     def __init__(self, k, rate):
        ...         self.k, self.rate = k, rate
        ...         super().__init__(jnp.shape(rate), ())
        ...     def sample(self, key, sample_shape=()):
        ...         return dist.Gamma(self.k, self.rate).sample(key, sample_shape)
        ...     def log_prob(self, x):
        ...         return dist.Gamma(self.k, self.rate).log_prob(x)
        >>> family = cj.register_family(Erlang)(cj.Family(
        ...     name="Erlang", statistics=("log z", "z"),
        ...     parameters=lambda d: {"k": float(d.k), "rate": d.rate},
        ...     natural=lambda p: (p["k"], -p["rate"]),
        ...     log_partition=lambda n: gammaln(n[0]) - n[0] * jnp.log(-n[1]),
        ...     distribution=lambda n: dist.Gamma(n[0], -n[1])))
    """
    if not types or not all(isinstance(t, type) for t in types):
        raise TypeError(f"register_family takes distribution classes, not {types!r}. Write "
                        "`register_family(TheDistribution)(Family(...))`; where NumPyro has a "
                        "function, as `Bernoulli`, name the classes that it makes.")

    def register(family: Family) -> Family:
        missing = [n for n in _NEEDED if not getattr(family, n)]
        if missing and family.name not in GAUSSIAN:
            raise ModelError(f"The family {family.name} has no {missing}, without which nothing can "
                             "be integrated out. Give them to `Family`.")
        unknown = [s for s in family.statistics if s not in STATISTICS]
        if unknown:
            known = list(STATISTICS)
            raise ModelError(f"The family {family.name} has the statistics {unknown}, which the "
                             f"algebra does not know. Write it in those of {known}.")
        FAMILIES[family.name] = family
        for t in types:
            others = tuple(x for x in _BY_TYPE.get(t, ()) if x[0] != family.name)
            own = (family.name, when)
            _BY_TYPE[t] = (own, *others) if family_from_outside(family.name) else (*others, own)
        return family

    return register


def family_from_outside(name: str) -> bool:
    """Whether a family comes from outside this package."""
    return not FAMILIES[name].parameters.__module__.startswith("conjugate_ppl.")


def prior_of(d: Any, shape: tuple[int, ...]) -> tuple[str, dict[str, Any]] | None:
    """The family of a prior that is its first choice, and its parameters; or None."""
    found = {n: p for n, p in priors_of(d, shape).items() if not FAMILIES[n].if_fits}
    return next(iter(found.items()), None)


def register_series(kind: type, family: str) -> Callable[[Any], Any]:
    """Register how a series of `kind` is a site of a family, its parameters computed from the series."""
    def register(function: Any) -> Any:
        SERIES[kind] = family, function
        return function

    return register


def priors_of(d: Any, shape: tuple[int, ...], value: Any = None) -> dict[str, dict[str, Any]]:
    """The families that a prior may belong to, with its parameters (those of a series depend on its value). A
    masked prior has no family."""
    inner = plain(base_of(d))
    if type(inner) in SERIES and value is not None:
        family, function = SERIES[type(inner)]
        return {family: function(inner, value)}
    found: dict[str, dict[str, Any]] = {}
    for family, when in _BY_TYPE.get(type(inner), ()):
        if not when(inner):
            continue
        found[family] = {}
        for name, array in FAMILIES[family].parameters(inner).items():
            array = jnp.asarray(array, jnp.result_type(float))
            found[family][name] = array if name == "scale_tril" else jnp.broadcast_to(array, shape)
    return found
