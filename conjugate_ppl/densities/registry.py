"""The table of log densities, and the wrappers NumPyro puts around a distribution.

NumPyro's own `log_prob` carries clamps, support checks and special cases that hide the algebra of a
density. The functions registered here say the same in plain arithmetic, valid inside the support.
Only exact types match: a subclass may have changed the density.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints, transforms

from conjugate_ppl.densities.wrappers import innermost

__all__ = ["DENSITIES", "Density", "UnknownDensity", "base_of", "fills_the_reals", "log_density",
           "probabilities", "register_density", "registered_outside", "support_parameters",
           "vanishes_outside"]

LogDensity = Callable[[Any, Any], Any]
F = TypeVar("F", bound=LogDensity)


class UnknownDensity(Exception):
    """A distribution has no entry in the table; the message names it."""


@dataclasses.dataclass(frozen=True)
class Density:
    """One entry: the log density, and what must be known of its parameters.

    A latent that a parameter in `support` depends on is never collapsed: the support would hide a
    factor. A latent that a parameter in `simplex` depends on must be proved to sum to one there, one that a parameter in `unit`
    depends on to be a probability.
    `vanishes` says that outside the support the density is 0, here and in NumPyro: a discrete latent may
    then move it.
    """

    function: LogDensity
    support: tuple[str, ...] = ()
    simplex: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    vanishes: bool = False


DENSITIES: dict[type, Density] = {}
"""Distribution type -> its density."""


def register_density(*types: type, support: tuple[str, ...] = (), simplex: tuple[str, ...] = (),
                     unit: tuple[str, ...] = (), vanishes: bool = False) -> Callable[[F], F]:
    """Register the log density of one or more distribution types, for use in the analysis.

    The decorated function gets the distribution (its own parameters, no wrapper around it) and a value
    of shape `sample_shape + batch_shape + event_shape`, and returns log densities of shape
    `sample_shape + batch_shape`, equal to the type's `log_prob` inside its support. It should use
    plain arithmetic on the parameters, without clamps or `where`: what it computes is what can be
    recognised. Subclasses of a type are not covered by its entry.

    Args:
        *types: the distribution classes, matched exactly.
        support: names of the parameters that the support depends on.
        simplex: names of the parameters that must sum to one over their last axis.
        unit: names of the parameters that must lie between 0 and 1.
        vanishes: whether both this density and the type's `log_prob` are -inf outside the support.

    Raises:
        TypeError: if there is no type, or one is not a class.

    Example:
        >>> import jax.numpy as jnp, numpyro.distributions as dist
        >>> import conjugate_ppl as cj
        >>> class Rayleigh(dist.Distribution):
        ...     arg_constraints = {"precision": dist.constraints.positive}
        ...     support = dist.constraints.positive
        ...     def __init__(self, precision):
        ...         self.precision = precision
        ...         super().__init__(jnp.shape(precision), ())
        ...     def log_prob(self, x):
        ...         return jnp.log(self.precision * x) - self.precision * x**2 / 2
        >>> @cj.register_density(Rayleigh)
        ... def _(d, x):
        ...     return jnp.log(d.precision) + jnp.log(x) - d.precision * x**2 / 2
    """
    if not types or not all(isinstance(t, type) for t in types):
        raise TypeError(f"register_density takes distribution classes, not {types!r}. Write "
                        "`@register_density(TheDistribution)` above the function; where NumPyro has "
                        "a function, as `Bernoulli`, name the classes that it makes.")

    def register(function: F) -> F:
        for t in types:
            DENSITIES[t] = Density(function, support, simplex, unit, vanishes)
        return function

    return register


# Transforms of the whole real line whose image does not depend on their parameters.
_FREE = (transforms.AffineTransform, transforms.LowerCholeskyAffine)
_FIXED = (transforms.ExpTransform, transforms.SigmoidTransform)


def _known_transforms(d: Any) -> bool:
    """Whether a transformed distribution has a support that no parameter moves."""
    if type(d) not in (dist.TransformedDistribution, dist.LogNormal):
        return False
    kinds = [type(t) for t in d.transforms]
    while kinds and kinds[0] in _FREE:
        kinds.pop(0)
    return len(kinds) <= 1 and all(k in _FIXED for k in kinds)


def log_density(d: Any, x: Any) -> Any:
    """Elementwise log density of `d` at `x` (shape `broadcast(batch_shape, ...)`), wrappers included.

    Raises:
        UnknownDensity: if a type in it has no entry.
    """
    kind = type(d)
    if kind is dist.Independent:
        inner = log_density(d.base_dist, x)
        n = d.reinterpreted_batch_ndims
        return jnp.sum(inner, axis=tuple(range(-n, 0))) if n else inner
    if kind is dist.ExpandedDistribution:
        inner = log_density(d.base_dist, x)
        return jnp.broadcast_to(inner, jnp.broadcast_shapes(jnp.shape(inner), d.batch_shape))
    if kind is dist.MaskedDistribution:
        mask = d._mask
        if isinstance(mask, bool):
            inner = log_density(d.base_dist, x)
            return inner if mask else jnp.zeros(jnp.shape(inner))
        x = feasible_where(mask, x, d)
        inner = log_density(d.base_dist, x)
        return jnp.where(mask, inner, 0.0)
    if kind in DENSITIES:
        return DENSITIES[kind].function(d, x)
    if _known_transforms(d):
        total: Any = 0.0
        ndim = len(d.event_shape)
        y = x
        for t in reversed(d.transforms):
            x = t.inv(y)
            jacobian = t.log_abs_det_jacobian(x, y)
            extra = ndim - t.codomain.event_dim
            total = total - (jnp.sum(jacobian, tuple(range(-extra, 0))) if extra else jacobian)
            y = x
        inner = log_density(d.base_dist, y)
        extra = ndim - len(d.base_dist.event_shape)
        return total + (jnp.sum(inner, tuple(range(-extra, 0))) if extra else inner)
    raise UnknownDensity(kind.__name__)


def feasible_where(mask: Any, x: Any, d: Any) -> Any:
    """`x` where `mask`, and some value of the support of `d` elsewhere (masked data may be NaN)."""
    n = len(d.event_shape)
    wide = jnp.reshape(mask, jnp.shape(mask) + (1,) * n)
    return jnp.where(wide, x, d.base_dist.support.feasible_like(x))


def base_of(d: Any) -> Any:
    """The distribution inside NumPyro's shape wrappers (`expand`, `to_event`), masks excluded."""
    while type(d) in (dist.Independent, dist.ExpandedDistribution):
        d = d.base_dist
    return d


def registered_outside(d: Any) -> bool:
    """Whether the density of `d` (no wrapper around it) comes from outside this package."""
    entry = DENSITIES.get(type(d))
    return entry is not None and not entry.function.__module__.startswith("conjugate_ppl.")


def vanishes_outside(d: Any) -> bool:
    """Whether the density of `d`, wrappers looked through, is known to be 0 outside its support."""
    entry = DENSITIES.get(type(innermost(d)))
    return entry is not None and entry.vanishes


def support_parameters(d: Any) -> list[Any]:
    """The numbers that the support of `d`, wrappers looked through, depends on.

    Those of its constraint, those registered, and the parameters of transforms over a base that does
    not fill the reals, whose edge they move.
    """
    d = innermost(d)
    if type(d) in (dist.TransformedDistribution, dist.LogNormal):
        moved = [] if fills_the_reals(d.base_dist) else _arrays(list(d.transforms))
        return [*moved, *support_parameters(d.base_dist)]
    entry = DENSITIES.get(type(d))
    registered = [getattr(d, name) for name in entry.support] if entry else []
    return list({id(x): x for x in [*registered, *_arrays(d.support)]}.values())


def probabilities(d: Any) -> tuple[list[Any], list[Any]]:
    """The parameters of `d`, wrappers looked through, that must sum to one, and those that must lie between 0 and 1."""
    d = innermost(d)
    if type(d) in (dist.TransformedDistribution, dist.LogNormal):
        return probabilities(d.base_dist)
    entry = DENSITIES.get(type(d)) or Density(lambda d, x: x)
    return [getattr(d, name) for name in entry.simplex], [getattr(d, name) for name in entry.unit]


def _arrays(tree: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(tree) if isinstance(x, jax.Array)]


def fills_the_reals(d: Any) -> bool:
    """Whether the support of a distribution is all reals, or all real vectors."""
    support = d.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real
