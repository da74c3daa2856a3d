"""Log densities of the discrete univariate distributions, in probabilities and in logits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import betaln, gammaln

from conjugate_ppl.densities.registry import register_density


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def _log_one_plus_exp(logits: Any) -> Any:
    return jnp.log1p(jnp.exp(logits))


def _real(x: Any) -> Any:
    """Counts as floats: small integer types would overflow."""
    return jnp.asarray(x).astype(jnp.result_type(float))


@register_density(dist.BernoulliProbs, unit=("probs",))
def bernoulli_probs(d: Any, x: Any) -> Any:
    x = _real(x)
    return x * jnp.log(d.probs) + (1 - x) * jnp.log1p(-d.probs)


@register_density(dist.BernoulliLogits)
def bernoulli_logits(d: Any, x: Any) -> Any:
    return _real(x) * d.logits - _log_one_plus_exp(d.logits)


@register_density(dist.BinomialProbs, unit=("probs",), vanishes=True)
def binomial_probs(d: Any, x: Any) -> Any:
    x, n = _real(x), _real(d.total_count)
    return _log_choose(n, x) + x * jnp.log(d.probs) + (n - x) * jnp.log1p(-d.probs)


@register_density(dist.BinomialLogits, vanishes=True)
def binomial_logits(d: Any, x: Any) -> Any:
    x, n = _real(x), _real(d.total_count)
    return _log_choose(n, x) + x * d.logits - n * _log_one_plus_exp(d.logits)


@register_density(dist.GeometricProbs, unit=("probs",))
def geometric_probs(d: Any, x: Any) -> Any:
    return _real(x) * jnp.log1p(-d.probs) + jnp.log(d.probs)


@register_density(dist.GeometricLogits)
def geometric_logits(d: Any, x: Any) -> Any:
    return d.logits - (_real(x) + 1) * _log_one_plus_exp(d.logits)


def _log_rising(r: Any, x: Any) -> Any:
    return gammaln(x + r) - gammaln(x + 1.0) - gammaln(r)


def _log_rising_by_beta(r: Any, x: Any) -> Any:
    """The same by `betaln`, as NumPyro has it: its error (up to 1e-6) is then the same on both sides of
    every comparison with NumPyro's own density."""
    return -betaln(r, x + 1.0) - jnp.log(r + x)


@register_density(dist.NegativeBinomialProbs, unit=("probs",))
def negative_binomial_probs(d: Any, x: Any) -> Any:
    x, r = _real(x), d.concentration
    return _log_rising_by_beta(r, x) + x * jnp.log(d.probs) + r * jnp.log1p(-d.probs)


@register_density(dist.NegativeBinomialLogits)
def negative_binomial_logits(d: Any, x: Any) -> Any:
    x, r = _real(x), d.concentration
    return _log_rising(r, x) + x * d.logits - (x + r) * _log_one_plus_exp(d.logits)


@register_density(dist.GammaPoisson, dist.NegativeBinomial2)
def gamma_poisson(d: Any, x: Any) -> Any:
    x, r = _real(x), d.concentration
    return _log_rising_by_beta(r, x) + r * jnp.log(d.rate) - (x + r) * jnp.log1p(d.rate)


@register_density(dist.Poisson)
def poisson(d: Any, x: Any) -> Any:
    x = _real(x)
    return x * jnp.log(d.rate) - d.rate - gammaln(x + 1.0)


def _pick(cells: Any, x: Any) -> Any:
    """cells[..., x] with the batch axes of both broadcast."""
    batch = jnp.broadcast_shapes(jnp.shape(cells)[:-1], jnp.shape(x))
    cells = jnp.broadcast_to(cells, (*batch, jnp.shape(cells)[-1]))
    x = jnp.broadcast_to(x, batch)[..., None].astype(jnp.int32)
    return jnp.take_along_axis(cells, x, axis=-1, mode="clip")[..., 0]


@register_density(dist.CategoricalProbs, simplex=("probs",))
def categorical_probs(d: Any, x: Any) -> Any:
    return _pick(jnp.log(d.probs), x)


@register_density(dist.CategoricalLogits)
def categorical_logits(d: Any, x: Any) -> Any:
    return _pick(d.logits, x) - jnp.log(jnp.sum(jnp.exp(d.logits), -1))


def _log_multinomial(n: Any, x: Any) -> Any:
    return gammaln(n + 1.0) - jnp.sum(gammaln(x + 1.0), -1)


@register_density(dist.MultinomialProbs, simplex=("probs",))
def multinomial_probs(d: Any, x: Any) -> Any:
    x = _real(x)
    return _log_multinomial(d.total_count, x) + jnp.sum(x * jnp.log(d.probs), -1)


@register_density(dist.MultinomialLogits)
def multinomial_logits(d: Any, x: Any) -> Any:
    x = _real(x)
    total = jnp.log(jnp.sum(jnp.exp(d.logits), -1))
    return _log_multinomial(d.total_count, x) + jnp.sum(x * d.logits, -1) - d.total_count * total
