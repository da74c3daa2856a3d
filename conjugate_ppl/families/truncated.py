"""Families of priors between two bounds: the posterior stays between them.

    truncated normal     log p(z) = a z + b z**2 - log_partition,                 low < z < high
    truncated gamma      log p(z) = a log z + b z**q - log_partition - log z,     q = 1, -1, 2, -2

Bounds are part of the natural parameter that no data change. A prior may belong to several: a uniform one
is a normal of precision 0, a gamma of shape 1 and rate 0, and so on; what the data say in decides. For
q = -1 and -2 these are variances and standard deviations with uniform priors.

Priors: Uniform, HalfNormal, Exponential, LogUniform, Pareto, truncated normals and gammas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl._compat import is_concrete
from conjugate_ppl.families.logconcave import (
    GAMMA_CURVE,
    PARABOLA,
    OnInterval,
    in_curve,
    log_integral,
    log_ratio,
)
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["TRUNCATED_GAMMAS", "TRUNCATED_NORMAL"]

_NORMALS = (dist.LeftTruncatedDistribution, dist.RightTruncatedDistribution,
            dist.TwoSidedTruncatedDistribution)
_GAMMAS = (dist.LeftTruncatedGamma, dist.RightTruncatedGamma, dist.TwoSidedTruncatedGamma)


def _made(a: Any, b: Any, low: Any, high: Any) -> Mapping[str, Any]:
    a, b, low, high = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.result_type(float)) for x in (a, b, low, high)))
    return {"a": a, "b": b, "low": low, "high": high}


def _as_normal(d: Any) -> Mapping[str, Any]:
    if type(d) is OnInterval:
        return _made(d.a, d.b, d.low, d.high)
    if type(d) is dist.Uniform:
        return _made(0.0, 0.0, d.low, d.high)
    if type(d) is dist.Exponential:
        return _made(-d.rate, 0.0, 0.0, jnp.inf)
    if type(d) is dist.HalfNormal:
        return _made(0.0, -0.5 / d.scale**2, 0.0, jnp.inf)
    precision = 1 / d.base_dist.scale**2
    return _made(d.base_dist.loc * precision, -0.5 * precision, getattr(d, "low", -jnp.inf),
                 getattr(d, "high", jnp.inf))


def _as_gamma(d: Any) -> Mapping[str, Any]:
    if type(d) is OnInterval:
        return _made(d.a, d.b, d.low, d.high)
    if type(d) is dist.Uniform:
        return _made(1.0, 0.0, d.low, d.high)
    if type(d) is dist.LogUniform:
        return _made(0.0, 0.0, d.low, d.high)
    if type(d) is dist.Pareto:
        return _made(-d.alpha, 0.0, d.scale, jnp.inf)
    if type(d) is dist.HalfNormal:
        return _made(1.0, -0.5 / d.scale**2, 0.0, jnp.inf)
    return _made(d.base_dist.concentration, -d.base_dist.rate, getattr(d, "low", 0.0),
                 getattr(d, "high", jnp.inf))


def _family(name: str, power: int, parameters: Any, statistics: tuple[str, str]) -> Family:
    size, sign = max(abs(power), 1), -1 if power < 0 else 1
    curve = GAMMA_CURVE if power else PARABOLA
    return Family(
        name=name,
        parameters=parameters,
        statistics=statistics,
        constants=("low", "high"),
        natural=lambda p: (p["a"], p["b"], p["low"], p["high"]),
        log_partition=lambda n: log_integral(*in_curve(power, *n)) - np.log(size),
        distribution=lambda n: OnInterval(power, *n),
        log_ratio=lambda n, c: log_ratio(curve, n[0] / size * sign, n[1], c[0] / size * sign, c[1],
                                         *in_curve(power, *n)[3:]),
        if_fits=True,
        shifted=None if power else _less,
        by_nodes=True,
    )


def _less(n: Any, by: Any) -> Any:
    """Of `a z + b z**2`, and bounds of z, in z - by."""
    a, b, low, high = n
    return a + 2 * b * by, b, low - by, high - by


def _of_normal(d: Any) -> bool:
    return type(d.base_dist) is dist.Normal


def _not_negative(d: Any) -> bool:
    return is_concrete(d.low) and bool(np.all(np.asarray(d.low) >= 0))


TRUNCATED_NORMAL = _family("TruncatedNormal", 0, _as_normal, ("z", "z^2"))
register_family(*_NORMALS, when=_of_normal)(TRUNCATED_NORMAL)
register_family(dist.HalfNormal, dist.Exponential, dist.Uniform)(TRUNCATED_NORMAL)

TRUNCATED_GAMMAS = {
    1: _family("TruncatedGamma", 1, _as_gamma, ("log z", "z")),
    -1: _family("TruncatedInverseGamma", -1, _as_gamma, ("log z", "1/z")),
    2: _family("TruncatedRootGamma", 2, _as_gamma, ("log z", "z^2")),
    -2: _family("TruncatedRootInverseGamma", -2, _as_gamma, ("log z", "z^-2")),
}
for _power, _one in TRUNCATED_GAMMAS.items():
    register_family(dist.Uniform, when=_not_negative)(_one)
    register_family(dist.LogUniform, dist.Pareto)(_one)
register_family(*_GAMMAS)(TRUNCATED_GAMMAS[1])
register_family(dist.HalfNormal)(TRUNCATED_GAMMAS[2])
