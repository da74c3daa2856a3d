"""Every registered density equals NumPyro's own inside the support; what is not known is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints, transforms
from scipy import stats

from conjugate_ppl.additive.prior import Likelihood
from conjugate_ppl.densities import (
    DENSITIES,
    UnknownDensity,
    log_density,
    register_density,
    support_parameters,
)

LOC = np.array([-1.5, 0.2, 4.0])
POSITIVE = np.array([0.3, 1.0, 2.7])
OTHER = np.array([3.1, 0.8, 1.4])
UNIT = np.array([0.05, 0.5, 0.83])
COUNT = np.array([1, 7, 30])
SIMPLEX = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
TRIL = np.array([[[1.0, 0.0, 0.0], [-0.4, 0.7, 0.0], [0.3, 2.0, 1.9]],
                 [[0.2, 0.0, 0.0], [0.1, 3.0, 0.0], [-5.0, 0.5, 0.6]]])

PATH = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
WIDE = np.stack([np.eye(3), np.tril(np.full((3, 3), 0.5)) + np.eye(3)])

EXAMPLES: dict[type, Callable[[], Any]] = {
    Likelihood: lambda: Likelihood(lambda: jnp.asarray(-1.5)),
    dist.Normal: lambda: dist.Normal(LOC, POSITIVE),
    dist.HalfNormal: lambda: dist.HalfNormal(POSITIVE),
    dist.Cauchy: lambda: dist.Cauchy(LOC, POSITIVE),
    dist.HalfCauchy: lambda: dist.HalfCauchy(POSITIVE),
    dist.StudentT: lambda: dist.StudentT(OTHER, LOC, POSITIVE),
    dist.Laplace: lambda: dist.Laplace(LOC, POSITIVE),
    dist.Gamma: lambda: dist.Gamma(OTHER, POSITIVE),
    dist.Chi2: lambda: dist.Chi2(OTHER),
    dist.InverseGamma: lambda: dist.InverseGamma(OTHER, POSITIVE),
    dist.Exponential: lambda: dist.Exponential(POSITIVE),
    dist.Weibull: lambda: dist.Weibull(POSITIVE, OTHER),
    dist.RightCensoredDistribution: lambda: dist.RightCensoredDistribution(
        dist.Weibull(4 + POSITIVE, 0.5 + OTHER / 4), np.arange(3) % 2 > 0),
    dist.Pareto: lambda: dist.Pareto(POSITIVE, OTHER),
    dist.Beta: lambda: dist.Beta(OTHER, POSITIVE),
    dist.BetaProportion: lambda: dist.BetaProportion(UNIT, OTHER),
    dist.Uniform: lambda: dist.Uniform(LOC, LOC + POSITIVE),
    dist.ImproperUniform: lambda: dist.ImproperUniform(constraints.positive, (3,), (2,)),
    dist.Delta: lambda: dist.Delta(LOC, log_density=jnp.asarray(OTHER)),
    dist.Unit: lambda: dist.Unit(jnp.asarray(LOC)),
    dist.BernoulliProbs: lambda: dist.BernoulliProbs(UNIT),
    dist.BernoulliLogits: lambda: dist.BernoulliLogits(LOC),
    dist.BinomialProbs: lambda: dist.BinomialProbs(UNIT, COUNT),
    dist.BinomialLogits: lambda: dist.BinomialLogits(LOC, COUNT),
    dist.GeometricProbs: lambda: dist.GeometricProbs(UNIT),
    dist.GeometricLogits: lambda: dist.GeometricLogits(LOC),
    dist.NegativeBinomialProbs: lambda: dist.NegativeBinomialProbs(OTHER, UNIT),
    dist.NegativeBinomialLogits: lambda: dist.NegativeBinomialLogits(OTHER, LOC),
    dist.NegativeBinomial2: lambda: dist.NegativeBinomial2(POSITIVE, OTHER),
    dist.GammaPoisson: lambda: dist.GammaPoisson(OTHER, POSITIVE),
    dist.Poisson: lambda: dist.Poisson(POSITIVE),
    dist.CategoricalProbs: lambda: dist.CategoricalProbs(SIMPLEX),
    dist.CategoricalLogits: lambda: dist.CategoricalLogits(3 * SIMPLEX),
    dist.MultinomialProbs: lambda: dist.MultinomialProbs(SIMPLEX, np.array([4, 9])),
    dist.MultinomialLogits: lambda: dist.MultinomialLogits(3 * SIMPLEX, np.array([4, 9])),
    dist.MultivariateNormal: lambda: dist.MultivariateNormal(LOC, scale_tril=TRIL),
    dist.LowRankMultivariateNormal: lambda: dist.LowRankMultivariateNormal(LOC, TRIL[:, :, :2], POSITIVE),
    dist.MatrixNormal: lambda: dist.MatrixNormal(np.stack([LOC, OTHER]), TRIL[:, :2, :2], TRIL),
    dist.ZeroSumNormal: lambda: dist.ZeroSumNormal(0.7, (3, 4)),
    dist.GaussianRandomWalk: lambda: dist.GaussianRandomWalk(POSITIVE, 4),
    dist.GaussianStateSpace: lambda: dist.GaussianStateSpace(
        4, TRIL[0].T, scale_tril=TRIL, initial_value=np.stack([LOC, OTHER])),
    dist.Dirichlet: lambda: dist.Dirichlet(10 * SIMPLEX),
    dist.VonMises: lambda: dist.VonMises(LOC, POSITIVE),
    dist.Gumbel: lambda: dist.Gumbel(LOC, POSITIVE),
    dist.Levy: lambda: dist.Levy(LOC, POSITIVE),
    dist.Kumaraswamy: lambda: dist.Kumaraswamy(OTHER, POSITIVE),
    dist.Gompertz: lambda: dist.Gompertz(OTHER, POSITIVE),
    dist.LogUniform: lambda: dist.LogUniform(POSITIVE, POSITIVE + OTHER),
    dist.CAR: lambda: dist.CAR(LOC, 0.6, np.array([0.5, 2.0]), PATH),
    dist.Wishart: lambda: dist.Wishart(np.array([3.5, 4.0]), scale_tril=WIDE),
    dist.WishartCholesky: lambda: dist.WishartCholesky(np.array([3.5, 4.0]), scale_tril=WIDE),
    dist.InverseWishart: lambda: dist.InverseWishart(np.array([3.5, 4.0]), scale_tril=WIDE),
    dist.InverseWishartCholesky: lambda: dist.InverseWishartCholesky(np.array([3.5, 4.0]), scale_tril=WIDE),
    dist.LKJCholesky: lambda: dist.LKJCholesky(3, POSITIVE),
}
# NumPyro writes these with betaln, which is good to six digits only; so do we, digit for digit, but for
# the logits form, which is exact here
BETALN = (dist.GammaPoisson, dist.NegativeBinomial2, dist.NegativeBinomialProbs)


def inside(d: Any, sample_shape: tuple[int, ...]) -> Any:
    """Random values inside the support."""
    rng = np.random.default_rng(3)
    shape, support = (*sample_shape, *d.shape()), d.support
    if isinstance(d, dist.Delta):
        return np.broadcast_to(d.v, shape)
    if isinstance(support, type(constraints.multinomial(1))):
        return rng.multinomial(d.total_count, [0.2, 0.3, 0.5], shape[:-1])
    if support.is_discrete:
        top = 1 if support is constraints.boolean else getattr(support, "upper_bound", 40)
        return np.floor(rng.random(shape) * (np.asarray(top) + 1)).astype(int)
    transform = dist.biject_to(support)
    return jax.jit(lambda u: transform(u))(rng.normal(size=transform.inverse_shape(shape)))


def both(d: Any, *values: Any) -> Any:
    """(log_density, log_prob) at each of several values, compiled together."""
    return jax.jit(lambda xs: [(log_density(d, x), d.log_prob(x)) for x in xs])(values)


def close(actual: Any, expected: Any, x64: bool, rtol: float = 1e-8) -> None:
    """Equal in shape, and in value to the digits of the type."""
    assert jnp.shape(actual) == jnp.shape(expected)
    rtol, atol = (rtol, 1e-9) if x64 else (2e-5, 1e-5)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", [t for t in DENSITIES if t.__module__.startswith("numpyro.")],
                         ids=lambda t: t.__name__)
def test_equals_numpyro(kind: type, x64: bool) -> None:
    assert kind in EXAMPLES, f"{kind.__name__} is registered but has no example here"
    d = EXAMPLES[kind]()
    assert type(d) is kind
    for ours, theirs in both(d, *(inside(d, s) for s in [(5, 2), ()][: 1 + x64])):
        close(ours, theirs, x64)


def test_every_example_is_registered() -> None:
    assert set(EXAMPLES) <= set(DENSITIES)


@pytest.mark.parametrize(("kind", "n", "p"), [
    (dist.GammaPoisson, OTHER, POSITIVE / (1 + POSITIVE)),
    (dist.NegativeBinomial2, OTHER, OTHER / (OTHER + POSITIVE)),
    (dist.NegativeBinomialProbs, OTHER, 1 - UNIT),
    (dist.NegativeBinomialLogits, OTHER, 1 / (1 + np.exp(LOC))),
], ids=lambda v: getattr(v, "__name__", ""))
def test_negative_binomials_equal_scipy(kind: type, n: np.ndarray, p: np.ndarray, x64: bool) -> None:
    x = np.array([[0], [1], [8], [150]])
    close(jax.jit(log_density)(EXAMPLES[kind](), x), stats.nbinom.logpmf(x, n, p), x64,
          1e-5 if kind in BETALN else 1e-8)


WRAPPED: dict[str, Callable[[], Any]] = {
    "expand": lambda: dist.Normal(0.5, 2.0).expand((4, 3)),
    "expand of a batch": lambda: dist.Normal(LOC, POSITIVE).expand((4, 3)),
    "expand inside": lambda: dist.Normal(LOC[:, None], 1.0).expand((3, 4)),
    "to_event": lambda: dist.Gamma(OTHER, POSITIVE).to_event(1),
    "expand, to_event": lambda: dist.Gamma(2.0, 1.5).expand((2, 3)).to_event(1),
    "to_event, expand": lambda: dist.Beta(OTHER, POSITIVE).to_event(1).expand((2,)),
    "to_event(2)": lambda: dist.Poisson(POSITIVE).expand((2, 3)).to_event(2),
    "vector to_event": lambda: dist.Dirichlet(10 * SIMPLEX).to_event(1),
    "vector expand": lambda: dist.MultivariateNormal(LOC, scale_tril=TRIL).expand((3, 2)),
    "mask True": lambda: dist.Normal(LOC, POSITIVE).mask(True),
    "mask False": lambda: dist.Normal(LOC, POSITIVE).mask(False),
    "mask": lambda: dist.Normal(LOC, POSITIVE).mask(np.array([True, False, True])),
    "mask wider": lambda: dist.Normal(LOC, POSITIVE).mask(np.array([[True], [False]])),
    "mask of an event": lambda: dist.Dirichlet(10 * SIMPLEX).mask(np.array([False, True])),
    "mask, to_event": lambda: dist.Normal(LOC, POSITIVE).mask(np.array([True, False, True])).to_event(1),
    "LogNormal": lambda: dist.LogNormal(LOC, POSITIVE),
    "LogNormal to_event": lambda: dist.LogNormal(LOC, POSITIVE).to_event(1),
    "affine": lambda: dist.TransformedDistribution(
        dist.StudentT(4.0), transforms.AffineTransform(LOC, POSITIVE)),
    "affine, exp": lambda: dist.TransformedDistribution(
        dist.Normal(LOC, 1.0), [transforms.AffineTransform(0.3, -2.0), transforms.ExpTransform()]),
    "sigmoid": lambda: dist.TransformedDistribution(
        dist.Normal(LOC, 1.0), transforms.SigmoidTransform()),
    "exp of an event": lambda: dist.TransformedDistribution(
        dist.Normal(LOC, POSITIVE).to_event(1), transforms.ExpTransform()),
    "exp of a matrix normal": lambda: dist.TransformedDistribution(
        dist.MultivariateNormal(LOC, scale_tril=TRIL), transforms.ExpTransform()),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers(name: str, x64: bool) -> None:
    d = WRAPPED[name]()
    for ours, theirs in both(d, *(inside(d, s) for s in [(5,), ()][: 1 + x64])):
        close(ours, theirs, x64)


def test_values_broadcast_like_numpyro(x64: bool) -> None:
    d = dist.Normal(LOC, POSITIVE)
    for ours, theirs in both(d, 0.3, np.ones((4, 1)), np.ones(3, np.uint8)):
        close(ours, theirs, x64)
    # 200 * 2 does not fit the type of the data
    counts = np.array([200, 3, 0], np.uint8)
    close(log_density(dist.Poisson(POSITIVE), counts),
          stats.poisson.logpmf(counts.astype(int), POSITIVE), x64)


@pytest.mark.parametrize("d, x, kept", [
    (lambda: dist.Normal(LOC, POSITIVE), [0.1, np.nan, 0.2], [True, False, True]),
    (lambda: dist.Gamma(OTHER, POSITIVE), [np.nan, 0.4, np.nan], [False, True, False]),
    (lambda: dist.LogNormal(LOC, POSITIVE), [np.nan, 0.4, 2.0], [False, True, True]),
    (lambda: dist.Dirichlet(10 * SIMPLEX), [[np.nan] * 3, [0.2, 0.3, 0.5]], [False, True]),
], ids=["Normal", "Gamma", "LogNormal", "Dirichlet"])
def test_nan_in_masked_cells(d: Callable[[], Any], x: Any, kept: Any, x64: bool) -> None:
    x, kept = np.asarray(x), np.asarray(kept)
    masked = d().mask(kept)
    ((ours, theirs),) = both(masked, x)
    close(ours, theirs, x64)
    assert (np.asarray(ours)[~kept] == 0).all()
    slope = jax.jit(jax.grad(lambda x: jnp.sum(log_density(masked, x))))(jnp.asarray(x))
    assert np.isfinite(slope).all()


class Louder(dist.Normal):
    """A subclass may mean anything."""

    def log_prob(self, value: Any, intermediates: Any = None) -> Any:
        return 2 * super().log_prob(value)


@pytest.mark.parametrize("d", [
    lambda: Louder(0.0, 1.0),
    lambda: Louder(LOC, 1.0).to_event(1),
    lambda: Louder(0.0, 1.0).expand((2, 3)).mask(True),
    lambda: dist.TransformedDistribution(Louder(0.0, 1.0), transforms.ExpTransform()),
    lambda: dist.Logistic(0.0, 1.0),
    lambda: dist.OrderedLogistic(0.0, jnp.array([-1.0, 1.0])),
    lambda: dist.TransformedDistribution(dist.Normal(0.0, 1.0), transforms.SoftplusTransform()),
    lambda: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0), [transforms.ExpTransform(), transforms.AffineTransform(1.0, 2.0)]),
    lambda: dist.ZeroInflatedPoisson(0.2, 3.0),
    lambda: dist.TruncatedNormal(0.0, 1.0, low=-1.0),
    lambda: dist.RightCensoredDistribution(dist.LogNormal(0.0, 1.0), censored=1),
    lambda: dist.RightCensoredDistribution(dist.Exponential(jnp.ones(2)).to_event(1), censored=1),
], ids=range(12))
def test_unknown_is_refused(d: Callable[[], Any]) -> None:
    with pytest.raises(UnknownDensity):
        log_density(d(), 0.5)


def test_support_parameters() -> None:
    low, high = jnp.zeros(3), jnp.ones(3)
    found = support_parameters(dist.Uniform(low, high).to_event(1))
    np.testing.assert_array_equal(np.stack(found), [low, high])
    assert support_parameters(dist.Normal(0.0, 1.0).expand((2,))) == []


def test_register_density(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{register_density.__module__}.DENSITIES", dict(DENSITIES))
    register_density(Louder)(lambda d, x: -((x - d.loc) ** 2))
    assert log_density(Louder(1.0, 1.0), 3.0) == -4.0
