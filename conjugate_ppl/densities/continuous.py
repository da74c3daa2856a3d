"""Log densities of the continuous univariate distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln, i0e

from conjugate_ppl import _compat
from conjugate_ppl.densities.registry import register_density

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@register_density(dist.Normal)
def normal(d: Any, x: Any) -> Any:
    return -0.5 * ((x - d.loc) / d.scale) ** 2 - jnp.log(d.scale) - _HALF_LOG_2PI


@register_density(dist.HalfNormal)
def half_normal(d: Any, x: Any) -> Any:
    return math.log(2) - 0.5 * (x / d.scale) ** 2 - jnp.log(d.scale) - _HALF_LOG_2PI


@register_density(dist.Cauchy)
def cauchy(d: Any, x: Any) -> Any:
    return -math.log(math.pi) - jnp.log(d.scale) - jnp.log1p(((x - d.loc) / d.scale) ** 2)


@register_density(dist.HalfCauchy)
def half_cauchy(d: Any, x: Any) -> Any:
    return math.log(2 / math.pi) - jnp.log(d.scale) - jnp.log1p((x / d.scale) ** 2)


@register_density(dist.StudentT)
def student_t(d: Any, x: Any) -> Any:
    y = (x - d.loc) / d.scale
    constant = gammaln(0.5 * (d.df + 1)) - gammaln(0.5 * d.df) - 0.5 * jnp.log(math.pi * d.df)
    return constant - jnp.log(d.scale) - 0.5 * (d.df + 1) * jnp.log1p(y**2 / d.df)


@register_density(dist.Laplace)
def laplace(d: Any, x: Any) -> Any:
    return -jnp.log(2 * d.scale) - jnp.abs(x - d.loc) / d.scale


@register_density(dist.Gamma, dist.Chi2)
def gamma(d: Any, x: Any) -> Any:
    a, b = d.concentration, d.rate
    return a * jnp.log(b) + (a - 1) * jnp.log(x) - b * x - gammaln(a)


@register_density(dist.InverseGamma)
def inverse_gamma(d: Any, x: Any) -> Any:
    a, b = d.concentration, d.rate
    return a * jnp.log(b) - (a + 1) * jnp.log(x) - b / x - gammaln(a)


@register_density(dist.Exponential)
def exponential(d: Any, x: Any) -> Any:
    return jnp.log(d.rate) - d.rate * x


@register_density(dist.Weibull)
def weibull(d: Any, x: Any) -> Any:
    k = d.concentration
    return jnp.log(k) - k * jnp.log(d.scale) + (k - 1) * jnp.log(x) - (x / d.scale) ** k


@register_density(dist.Pareto, support=("scale",))
def pareto(d: Any, x: Any) -> Any:
    return jnp.log(d.alpha) + d.alpha * jnp.log(d.scale) - (d.alpha + 1) * jnp.log(x)


@register_density(dist.Beta, dist.BetaProportion)
def beta(d: Any, x: Any) -> Any:
    a, b = d.concentration1, d.concentration0
    constant = gammaln(a + b) - gammaln(a) - gammaln(b)
    return _times(a - 1, jnp.log, x, 0.0) + _times(b - 1, lambda x: jnp.log1p(-x), x, 1.0) + constant


def _times(c: Any, log: Callable[[Any], Any], x: Any, edge: float) -> Any:
    """c log(x), of which the logarithm is infinite at an edge of the support: data may lie there where c is 0."""
    if not _compat.is_concrete(x) or not _compat.is_concrete(c) or not (np.asarray(x) == edge).any():
        return c * log(x)
    none = (x == edge) & (c == 0)
    return c * log(jnp.where(none, 0.5, x))


@register_density(dist.Uniform, support=("low", "high"))
def uniform(d: Any, x: Any) -> Any:
    density = -jnp.log(d.high - d.low)
    return jnp.broadcast_to(density, jnp.broadcast_shapes(jnp.shape(density), jnp.shape(x)))


@register_density(dist.ImproperUniform)
def improper_uniform(d: Any, x: Any) -> Any:
    shape = jnp.shape(x)
    return jnp.zeros(jnp.broadcast_shapes(d.batch_shape, shape[: len(shape) - d.event_dim]))


@register_density(dist.Delta)
def delta(d: Any, x: Any) -> Any:
    return d.log_prob(x)


@register_density(dist.Unit)
def unit(d: Any, x: Any) -> Any:
    shape = jnp.broadcast_shapes(d.batch_shape, jnp.shape(x)[:-1])
    return jnp.broadcast_to(d.log_factor, shape)


@register_density(dist.VonMises)
def von_mises(d: Any, x: Any) -> Any:
    k = d.concentration
    return k * (jnp.cos(x - d.loc) - 1) - jnp.log(i0e(k)) - math.log(2 * math.pi)


@register_density(dist.Gumbel)
def gumbel(d: Any, x: Any) -> Any:
    y = (x - d.loc) / d.scale
    return -y - jnp.exp(-y) - jnp.log(d.scale)


@register_density(dist.Levy, support=("loc",))
def levy(d: Any, x: Any) -> Any:
    y = x - d.loc
    return 0.5 * jnp.log(d.scale) - 0.5 * d.scale / y - 1.5 * jnp.log(y) - _HALF_LOG_2PI


@register_density(dist.Kumaraswamy)
def kumaraswamy(d: Any, x: Any) -> Any:
    a, b = d.concentration1, d.concentration0
    return jnp.log(a) + jnp.log(b) + (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x**a)


@register_density(dist.Gompertz)
def gompertz(d: Any, x: Any) -> Any:
    a, b = d.concentration, d.rate
    return jnp.log(a) + jnp.log(b) + b * x - a * jnp.expm1(b * x)


@register_density(dist.LogUniform, support=("low", "high"))
def log_uniform(d: Any, x: Any) -> Any:
    return -jnp.log(x) - jnp.log(jnp.log(d.high) - jnp.log(d.low))
