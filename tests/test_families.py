"""Every elementwise family is what its natural form says it is."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints, transforms
from scipy import integrate, special

import conjugate_ppl as cj
from conjugate_ppl.densities import DENSITIES
from conjugate_ppl.elimination.conditionals import Reshaped
from conjugate_ppl.families import FAMILIES, Family, prior_of
from conjugate_ppl.families.logconcave import GAMMA_CURVE, PARABOLA, OnInterval, log_integral, log_ratio
from conjugate_ppl.families.registry import STATISTICS
from conjugate_ppl.families.subspace import Embedded
from conjugate_ppl.families.transformed import TRANSFORMED, plain

# name -> (a prior, values of it, contributions to its natural parameter)
A = np.array([0.4, 1.0, 7.5])
B = np.array([2.0, 0.3, 1.1])
ZEROS = ([0.0] * 3, [0.0] * 3)
EXAMPLES: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "Gamma": (lambda: dist.Gamma(A, B), [0.2, 1.3, 6.0], ([3.0, 0.0, 20.5], [-0.1, -2.0, -7.0])),
    "InverseGamma": (lambda: dist.InverseGamma(A, B), [0.2, 1.3, 6.0],
                     ([-3.0, 0.0, -20.5], [-0.1, -2.0, -7.0])),
    "Beta": (lambda: dist.Beta(A, B), [0.2, 0.5, 0.97], ([3.0, 0.0, 20.0], [0.0, 2.0, 11.0])),
    "Dirichlet": (lambda: dist.Dirichlet(np.stack([A, B])), [[0.2, 0.5, 0.3], [0.01, 0.9, 0.09]],
                  ([[3.0, 0.0, 20.0], [0.0, 0.0, 1.0]],)),
    "LogNormal": (lambda: dist.LogNormal(A, B), [0.2, 1.3, 6.0], ([3.0, 0.0, 20.5], [-0.1, -2.0, -7.0])),
    "VonMises": (lambda: dist.VonMises(A - 1, B), [-2.2, 1.3, 3.0], ([3.0, 0.0, 20.5], [-0.1, 0.0, -7.0])),
    "TruncatedNormal": (lambda: dist.TwoSidedTruncatedDistribution(dist.Normal(A, B), -0.5, 8.0),
                        [0.2, 1.3, 6.0], ([3.0, 0.0, -20.5], [-0.1, 0.0, -7.0], *ZEROS)),
    "TruncatedGamma": (lambda: dist.TwoSidedTruncatedGamma(dist.Gamma(A, B), 0.1, 7.0), [0.2, 1.3, 6.0],
                       ([3.0, 0.0, 20.5], [-0.1, -2.0, -7.0], *ZEROS)),
    "TruncatedInverseGamma": (lambda: dist.Uniform(np.full(3, 0.1), 7.0), [0.2, 1.3, 6.0],
                              ([-3.0, 0.0, -20.5], [-0.1, 0.0, -7.0], *ZEROS)),
    "TruncatedRootGamma": (lambda: dist.HalfNormal(B), [0.2, 0.3, 2.0],
                           ([3.0, 0.0, 20.5], [-0.1, 0.0, -7.0], *ZEROS)),
    "TruncatedRootInverseGamma": (lambda: dist.LogUniform(0.1 * np.ones(3), 7.0), [0.2, 1.3, 6.0],
                                  ([-3.0, 0.0, -20.5], [-0.1, 0.0, -7.0], *ZEROS)),
}
MATRICES = np.stack([np.eye(2), [[2.0, 0.5], [0.5, 1.0]]])
ROOTS = np.linalg.cholesky(MATRICES)
ADDED = -np.stack([np.eye(2), [[3.0, 1.0], [1.0, 2.0]]])
DEGREES = np.array([3.0, 4.5])
EXAMPLES.update({
    "Wishart": (lambda: dist.Wishart(DEGREES, rate_matrix=jnp.asarray(MATRICES)), MATRICES[::-1],
                ([[[3.0]], [[20.5]]], ADDED)),
    "WishartCholesky": (lambda: dist.WishartCholesky(DEGREES, rate_matrix=jnp.asarray(MATRICES)), ROOTS[::-1],
                        ([[[3.0]], [[20.5]]], ADDED)),
    "InverseWishart": (lambda: dist.InverseWishart(DEGREES, scale_matrix=jnp.asarray(MATRICES)), MATRICES[::-1],
                       ([[[-3.0]], [[-20.5]]], ADDED)),
    "InverseWishartCholesky": (lambda: dist.InverseWishartCholesky(DEGREES, scale_matrix=jnp.asarray(MATRICES)),
                               ROOTS[::-1], ([[[-3.0]], [[-20.5]]], ADDED)),
})


def _log_det(z: Any) -> Any:
    return jnp.linalg.slogdet(z)[1]


def _triangular(z: Any) -> Any:
    """Of z = L, where the matrix is L L': d(L L') / dL = 2**n prod_i L_ii**(n + 1 - i)."""
    n = z.shape[-1]
    diagonal = jnp.log(z[..., jnp.arange(n), jnp.arange(n)])
    return -(n + 1) * _log_det(z) + n * np.log(2.0) + jnp.sum(jnp.arange(n, 0, -1) * diagonal, -1)


LOG_BASE: dict[str, Callable[[Any], Any]] = {
    "Gamma": lambda z: -jnp.log(z), "InverseGamma": lambda z: -jnp.log(z),
    "Beta": lambda z: -jnp.log(z) - jnp.log1p(-z), "Dirichlet": lambda z: -jnp.sum(jnp.log(z), -1),
    "Wishart": lambda z: -(z.shape[-1] + 1) / 2 * _log_det(z), "WishartCholesky": _triangular,
    "InverseWishart": lambda z: -(z.shape[-1] + 1) / 2 * _log_det(z), "InverseWishartCholesky": _triangular,
    "VonMises": lambda z: 0.0, "TruncatedNormal": lambda z: 0.0,
    **dict.fromkeys(("LogNormal", "TruncatedGamma", "TruncatedInverseGamma", "TruncatedRootGamma",
                     "TruncatedRootInverseGamma"), lambda z: -jnp.log(z))}
ELEMENTWISE = [f.name for f in FAMILIES.values() if f.statistics and f.name in EXAMPLES]


def example(name: str) -> tuple[Family, Any, tuple[Any, ...], Any, tuple[Any, ...]]:
    """(family, prior, its natural parameter, values, contributions)"""
    family = FAMILIES[name]
    make, z, c = EXAMPLES[name]
    d = make()
    assert family.natural is not None
    natural = tuple(jnp.asarray(n) for n in family.natural(family.parameters(d)))
    return family, d, natural, jnp.asarray(z), tuple(jnp.asarray(x) for x in c)


def close(actual: Any, expected: Any, x64: bool) -> None:
    """Equal to the digits of the type."""
    tol = 1e-10 if x64 else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=tol, atol=tol)


def test_every_family_has_an_example() -> None:
    assert {f.name for f in FAMILIES.values() if f.statistics and f.distribution is not None
            and f.parameters.__module__.startswith("conjugate_ppl.")} == set(EXAMPLES)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_natural_form(name: str, x64: bool) -> None:
    family, d, natural, z, c = example(name)
    assert family.distribution is not None and family.log_partition is not None
    assert family.natural is not None
    assert all(n.dtype == z.dtype for n in natural)

    # natural -> distribution -> natural
    back = family.distribution(natural)
    assert type(back) in (type(d), OnInterval) and back.batch_shape == d.batch_shape
    for n, m in zip(natural, family.natural(family.parameters(back)), strict=True):
        close(n, m, x64)

    @jax.jit
    def compute(natural: Any, z: Any, c: Any) -> Any:
        axes = tuple(range(-family.event_dim, 0))
        inner = sum(jnp.sum(n * STATISTICS[s](z), axes)
                    for n, s in zip(natural, family.statistics, strict=False))
        posterior = tuple(n + x for n, x in zip(natural, c, strict=True))
        plain = family.log_partition(posterior) - family.log_partition(natural)
        log_prob = family.distribution(natural).log_prob(z)
        return LOG_BASE[name](z) + inner - family.log_partition(natural), log_prob, family.ratio(natural, c), plain

    density, log_prob, ratio, plain = compute(natural, z, c)
    # the log-partition normalises
    close(density, log_prob, x64)
    close(log_prob, d.log_prob(z), x64)
    close(ratio, plain, x64)


@pytest.mark.parametrize("name", ["Gamma", "InverseGamma", "Beta", "Dirichlet"])
def test_vague_priors_keep_their_digits(name: str, x64: bool) -> None:
    """Partition of the posterior by that of the prior at shapes of 1e-8, where lgamma(a) = -log a."""
    tiny = 1e-8
    prior, contribution, expected = {
        "Gamma": ((tiny, -tiny), (3.0, -2.0), special.gammaln(3) - 3 * np.log(2) + np.log(tiny)),
        "InverseGamma": ((-tiny, -tiny), (-3.0, -2.0),
                         special.gammaln(3) - 3 * np.log(2) + np.log(tiny)),
        "Beta": ((tiny, tiny), (3.0, 2.0), special.betaln(3, 2) + np.log(tiny / 2)),
        "Dirichlet": (([tiny] * 3,), ([3.0, 2.0, 0.0],), special.betaln(3, 2) + np.log(tiny / 3)),
    }[name]
    ratio = FAMILIES[name].ratio(tuple(map(jnp.asarray, prior)), tuple(map(jnp.asarray, contribution)))
    np.testing.assert_allclose(ratio, expected, rtol=3e-7 if x64 else 2e-6)


@pytest.mark.parametrize("name", ["TruncatedGamma", "TruncatedNormal"])
def test_narrow_truncated_priors_keep_their_digits(name: str, x64: bool) -> None:
    """Shapes of 1e4 and precisions of 2e5, of which the data change little; bounds that cut nothing off."""
    a, b, low, high, da, db = {"TruncatedGamma": (1e4, -1e4, 0.0, 30.0, 100.0, -125.0),
                               "TruncatedNormal": (2e5, -1e5, -9.0, 9.0, 30.0, -20.0)}[name]

    def partition(a: float, b: float) -> Any:
        if name == "TruncatedGamma":
            return special.gammaln(a) - a * np.log(-b)
        return -(a**2) / (4 * b) - 0.5 * np.log(-b)

    ratio = FAMILIES[name].ratio(tuple(map(jnp.asarray, (a, b, low, high))),
                                 tuple(map(jnp.asarray, (da, db, 0.0, 0.0))))
    np.testing.assert_allclose(ratio, partition(a + da, b + db) - partition(a, b), rtol=1e-9 if x64 else 1e-6)


@pytest.mark.parametrize("x64", [True, False], ids=["float64", "float32"], indirect=True)
def test_integrals_of_log_concave_curves(x64: bool) -> None:
    """Against closed forms in the corners: tails, plateaus, wide and narrow intervals, flat curves."""
    inf = np.inf
    gammas = [  # a, b, low, high, expected
        (0.0, -1e-10, 0.0, inf, np.log(special.exp1(1e-10))), (1e-3, -1.0, -inf, inf, special.gammaln(1e-3)),
        (500.0, -2000.0, -inf, -10.0, -5006.305226704342), (1.0, 0.0, -inf, 2.0, 2.0),
        (0.0, 0.0, -1.0, 2.0, np.log(3.0)), (-2.0, 0.0, 1.0, inf, -2 - np.log(2.0)),
        (1e-8, -1.0, -inf, 0.0, 18.42068073598637), (3.0, -2.0, -inf, 0.5, special.gammaln(3) - 3 * np.log(2)
                                                    + np.log(special.gammainc(3, 2 * np.exp(0.5))))]
    parabolas = [
        (-1.0, 0.0, 0.0, inf, 0.0), (-1.0, -1e-12, 0.0, inf, -2e-12), (0.0, -1e-6, 0.0, 1.0, np.log1p(-1e-6 / 3)),
        (300.0, -0.5, -inf, 0.0, -5.703793585458687), (1e6, -5e5, 2.0, 3.0, -13.815511557961774),
        (1e4, -50.0, -inf, inf, 5e5 + 0.5 * np.log(np.pi / 50))]
    for curve, table in ((GAMMA_CURVE, gammas), (PARABOLA, parabolas)):
        *arguments, expected = map(np.array, zip(*table, strict=True))
        out = log_integral(curve, *map(jnp.asarray, arguments))
        np.testing.assert_allclose(out, expected, rtol=1e-13 if x64 else 2e-6, atol=1e-11 if x64 else 2e-6)
    assert np.isnan(log_integral(GAMMA_CURVE, 1.0, 0.5, 0.0, 1.0))


@pytest.mark.optimised
@pytest.mark.parametrize("curve", [PARABOLA, GAMMA_CURVE])
def test_flat_priors_as_constants(curve: str, x64: bool) -> None:
    """A compiler that knows that a slope is 0 may divide by -0."""
    flat, low, high = np.zeros(3), np.full(3, -50.0), np.array([51.0, 50.0, 49.0])
    a, b = jnp.array([1e-6, 1e-7, 0.0]), jnp.array([-0.08, -0.07, -0.08])
    inside = jax.jit(lambda a, b: log_ratio(curve, flat, flat, a, b, low, high))(a, b)
    np.testing.assert_allclose(inside, log_ratio(curve, flat, flat, a, b, low, high), rtol=1e-12 if x64 else 2e-6)


def test_draws_between_bounds() -> None:
    d = OnInterval(1, jnp.array([2.0, -0.5, 40.0]), jnp.array([-1.0, -3.0, -80.0]), jnp.array([0.0, 0.1, 0.0]),
                   jnp.array([3.0, np.inf, 0.3]))
    e = OnInterval(0, jnp.array([2.0, -1.0, 300.0]), jnp.array([-1.0, 0.0, -0.5]), jnp.array([-np.inf, 0.0, -9.0]),
                   jnp.array([0.3, np.inf, 0.0]))
    for law in (d, e):
        x = np.asarray(jax.jit(lambda k, law=law: law.sample(k, (20000,)))(jax.random.key(0)))
        assert (x >= law.low).all() and (x <= law.high).all()
        sd = np.sqrt(law.variance)
        np.testing.assert_array_less(np.abs(x.mean(0) - law.mean), 5 * sd / np.sqrt(len(x)))
        np.testing.assert_allclose(x.std(0), sd, rtol=0.06)
    assert d.log_prob(jnp.array([4.0, 0.05, 0.31])).tolist() == [-np.inf] * 3


def test_mean_parameters_are_the_gradient_of_the_log_partition() -> None:
    a, b = A[2], B[2]
    mean = {name: np.array(jax.grad(lambda n, f=FAMILIES[name]: f.log_partition(n))(
        tuple(n[2] for n in example(name)[2]))) for name in ("Gamma", "InverseGamma", "Beta")}
    np.testing.assert_allclose(mean["Gamma"], [special.digamma(a) - np.log(b), a / b], rtol=1e-10)
    np.testing.assert_allclose(
        mean["InverseGamma"], [np.log(b) - special.digamma(a), a / b], rtol=1e-10)
    np.testing.assert_allclose(
        mean["Beta"], special.digamma([a, b]) - special.digamma(a + b), rtol=1e-10)


@pytest.mark.parametrize(("name", "low", "high"), [
    ("Gamma", 0.0, np.inf), ("InverseGamma", 0.0, np.inf), ("Beta", 0.0, 1.0), ("LogNormal", 0.0, np.inf),
    ("VonMises", -np.pi, np.pi), ("TruncatedNormal", -0.5, 8.0), ("TruncatedGamma", 0.1, 7.0),
    ("TruncatedInverseGamma", 0.1, 7.0), ("TruncatedRootGamma", 0.0, np.inf),
    ("TruncatedRootInverseGamma", 0.1, 7.0)])
def test_log_partition_is_the_integral(name: str, low: float, high: float) -> None:
    family, _, natural, _, c = example(name)
    for k in (0, 2):
        # of the prior, and of a posterior
        for n in (tuple(float(x[k]) for x in natural), tuple(float(x[k] + y[k]) for x, y in zip(natural, c, strict=True))):
            def weight(z: float, n: tuple[float, ...] = n) -> float:
                powers = sum(x * STATISTICS[s](np.float64(z)) for x, s in zip(n, family.statistics, strict=False))
                return float(np.exp(powers + LOG_BASE[name](np.float64(z))))

            with jax.disable_jit():
                area, _ = integrate.quad(weight, low, high, epsabs=0, epsrel=1e-10, limit=200)
            np.testing.assert_allclose(family.log_partition(tuple(map(jnp.asarray, n))), np.log(area), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("prior", "same"), [
    (lambda: dist.Exponential(B), lambda: dist.Gamma(1.0, B)),
    (lambda: dist.Chi2(A), lambda: dist.Gamma(A / 2, 0.5)),
    (lambda: dist.Uniform(0.0, 1.0).expand((3,)), lambda: dist.Beta(1.0, 1.0).expand((3,))),
    (lambda: dist.BetaProportion(0.3, B), lambda: dist.Beta(0.3 * B, 0.7 * B)),
    (lambda: dist.Gamma(A, 2.0).to_event(1), lambda: dist.Gamma(A, 2.0)),
], ids=["Exponential", "Chi2", "Uniform", "BetaProportion", "to_event"])
def test_priors_of_a_family(prior: Callable[[], Any], same: Callable[[], Any], x64: bool) -> None:
    found, expected = prior_of(prior(), (3,)), prior_of(same(), (3,))
    assert found is not None and expected is not None and found[0] == expected[0]
    for key, array in expected[1].items():
        assert found[1][key].shape == (3,)
        close(found[1][key], array, x64)


@pytest.mark.parametrize("d", [
    lambda: dist.Uniform(0.0, 2.0), lambda: dist.Uniform(np.array([0.0, 0.1]), 1.0),
    lambda: dist.Gamma(2.0, 1.0).mask(False), lambda: dist.Cauchy(0.0, 1.0),
    lambda: dist.ImproperUniform(dist.constraints.positive, (), ()),
    lambda: type("Mine", (dist.Gamma,), {})(2.0, 1.0),
    lambda: dist.Uniform(-1.0, 1.0).mask(False), lambda: dist.TruncatedCauchy(low=0.0),
], ids=itertools.count())
def test_priors_of_no_family(d: Callable[[], Any]) -> None:
    assert prior_of(d(), d().shape()) is None


def test_flat_prior_on_the_reals() -> None:
    flat = dist.ImproperUniform(dist.constraints.real_vector, (), (3,))
    assert prior_of(flat, (3,)) == ("Flat", {})


def test_log_posterior_on_the_edge_of_the_support(x64: bool) -> None:
    family, prior = FAMILIES["Beta"], (jnp.asarray(2.0), jnp.asarray(0.05))
    for added, expected in (((4.0, 1.0), -np.inf), ((4.0, 0.0), np.inf)):
        out = family.log_posterior(prior, tuple(map(jnp.asarray, added)), jnp.asarray(1.0))
        assert out == expected


def test_check_notices_a_wrong_log_partition(monkeypatch: pytest.MonkeyPatch, x64: bool) -> None:
    def model(y: Any) -> None:
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        numpyro.sample("y", dist.Poisson(rate), obs=y)

    wrong = dataclasses.replace(FAMILIES["Gamma"], log_ratio=None, log_partition=lambda n: 0.9 * n[0])
    monkeypatch.setitem(FAMILIES, "Gamma", wrong)
    with pytest.raises(cj.errors.InternalError, match="identity"):
        cj.check(model, jax.random.key(0), np.array([3, 1, 4]))


def test_a_distribution_of_ones_own_keeps_what_it_is_made_of() -> None:
    """Conditionals are computed by a compiled function, which does not know of its attributes."""
    class Named(dist.Gamma):  # type: ignore[misc]
        def __init__(self, concentration: Any, rate: Any, name: str = "prior") -> None:
            self.name = name
            super().__init__(concentration, rate)

    family = dataclasses.replace(FAMILIES["Gamma"], name="Named", distribution=lambda n: Named(
        n[0], -n[1], "posterior"), parameters=lambda d: {"concentration": d.concentration, "rate": d.rate})
    cj.register_family(Named)(family)
    cj.register_density(Named)(DENSITIES[dist.Gamma].function)

    def model() -> None:
        z = numpyro.sample("z", Named(2.0, 3.0))
        numpyro.sample("y", dist.Poisson(z), obs=4)

    found = cj.collapse(model).conditionals({})["z"]
    assert found.name == "posterior" and float(found.mean) == pytest.approx(6.0 / 4.0)


TRANSFORMS = {transforms.AffineTransform: transforms.AffineTransform(0.0, 1.7, domain=constraints.positive),
              transforms.ExpTransform: transforms.ExpTransform(), transforms.PowerTransform: transforms.PowerTransform(-1.0),
              transforms.LowerCholeskyAffine: transforms.LowerCholeskyAffine(
                  np.arange(3.0), np.array([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.2, 0.5]]))}


@pytest.mark.parametrize(("base", "kind"), TRANSFORMED, ids=lambda t: t.__name__)
def test_plain_distribution_of_a_transformed_one(base: type, kind: type, x64: bool) -> None:
    inner = base(1.5) if base is dist.Exponential else base(1.5, 0.8)
    by = transforms.AffineTransform(0.4, -1.7) if (base, kind) == (dist.Normal, transforms.AffineTransform) else (
        TRANSFORMS[kind])
    inner = inner.expand([3]).to_event(1) if by.domain.event_dim else inner
    d, x = dist.TransformedDistribution(inner, by), jnp.array([0.3, 1.0, 4.0])
    assert plain(d) is not d
    close(plain(d).log_prob(x), d.log_prob(x), x64)
    other = dist.TransformedDistribution(dist.Normal(0.0, 1.0), transforms.SigmoidTransform())
    assert plain(other) is other


@pytest.mark.parametrize("law", [
    lambda low: dist.MultivariateNormal(jnp.ones(3), scale_tril=low),
    lambda low: dist.MultivariateStudentT(5.0, jnp.ones(3), low),
    lambda low: dist.Normal(jnp.ones(3), jnp.diagonal(low)),
    lambda low: dist.MultivariateStudentT(jnp.array([5.0, 7.0]), jnp.ones(3), low),
    lambda low: dist.MultivariateNormal(jnp.ones(3), scale_tril=low).expand([2]),
    lambda low: dist.MixtureGeneral(dist.Categorical(probs=jnp.array([0.3, 0.7])), [
        dist.MultivariateNormal(m, scale_tril=low) for m in (jnp.arange(3.0), jnp.ones(3))]),
    lambda low: Reshaped(dist.MultivariateNormal(jnp.ones(6), scale_tril=jnp.eye(6).at[:3, :3].set(low)),
                         transforms.ReshapeTransform((2, 3), (6,))),
], ids=["normal", "student", "independent", "students", "expanded", "mixture", "reshaped"])
def test_moments_on_a_subspace(law):
    low = jnp.array([[1.0, 0, 0], [0.5, 2.0, 0], [-0.3, 0.2, 0.7]])
    d = law(low)
    turn = dist.ZeroSumNormal(1.0, (3, 4) if len(d.event_shape) == 2 else (4,)).transforms[0]
    embedded = Embedded(d, turn)
    draws = d.sample(jax.random.key(0), (200_000,))
    z = np.asarray(turn(draws))
    np.testing.assert_allclose(embedded.mean, turn(jnp.broadcast_to(d.mean, d.shape())), atol=1e-12)
    np.testing.assert_allclose(embedded.variance, z.var(0), rtol=0.03)
