"""Traps of distributions: what a type is, what it holds, and what only looks like a known one."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers, plate, sample
from numpyro.distributions import constraints, transforms
from numpyro.infer import init_to_mean, init_to_median
from numpyro.infer.reparam import TransformReparam
from numpyro.infer.util import initialize_model, log_density
from scipy import special, stats

import conjugate_ppl as cj
from traps.oracles import dense, evidence, reason

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])
MATRIX = np.array([[1.0, 0.3, 0.1], [0.3, 2.0, -0.4], [0.1, -0.4, 0.7]])
ONES, EYE = np.ones((4, 4)), np.eye(4)


# -- opaque distributions --------------------------------------------------------------------------

LOW, CUTS = jnp.zeros(4), jnp.array([-1.0, 1.0])
HALVES = dist.Categorical(jnp.full(2, 0.5))
LIKELIHOODS = {
    "truncated": (lambda a: dist.TruncatedNormal(a, 1.0, low=-5.0), Y),
    "truncated on two sides": (lambda a: dist.TruncatedNormal(a, 1.0, low=-5.0, high=5.0), Y),
    "censored": (lambda a: dist.LeftCensoredDistribution(dist.Normal(a, 1.0), LOW), Y),
    "zero-inflated": (lambda a: dist.ZeroInflatedPoisson(0.3, jnp.exp(a)), np.arange(4)),
    "subclass of Categorical": (lambda a: dist.OrderedLogistic(a, CUTS), np.array([0, 2])),
    "mixture": (lambda a: dist.MixtureGeneral(HALVES, [dist.Normal(m, 1.0) for m in (a, -a)]), Y),
    "copula": (lambda a: dist.GaussianCopula(dist.Normal(a + LOW, 1.0), jnp.eye(4)), Y),
    "multivariate t": (lambda a: dist.MultivariateStudentT(4.0, a + LOW, jnp.eye(4)), Y),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_opaque_likelihood(name):
    """Mixtures, truncated, censored, copula and other types are not read."""
    likelihood, y = LIKELIHOODS[name]

    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", likelihood(a), obs=y)  # here

    words = "summed out already" if name in ("zero-inflated", "mixture") else "density is not registered"
    assert words in reason(model, "a", y)


ROW = jnp.array([2.0, 0.5, 0.1, 0.5])
AFFINE = transforms.AffineTransform(1.0, 2.0)
PRIORS = {
    "Weibull": lambda: dist.Weibull(1.0, 2.0),
    "LKJ": lambda: dist.LKJ(2, 1.0),
    "CirculantNormal": lambda: dist.CirculantNormal(jnp.zeros(4), covariance_row=ROW),
    "TransformedDistribution": lambda: dist.TransformedDistribution(dist.Normal(0.0, 1.0), [AFFINE, OddExp()]),
    "ImproperUniform": lambda: dist.ImproperUniform(constraints.positive, (), ()),
}


@pytest.mark.parametrize("name", PRIORS)
def test_prior_of_no_family(name):
    """Only exact types have a family: bounds and relatives of a known type matter."""
    def model(y):
        x = sample("x", PRIORS[name]())  # here
        sample("y", dist.Normal(jnp.sum(x), 1.0), obs=y)

    found = reason(model, "x", Y)
    assert f"its prior, {name.split()[0]}" in found and "no conjugate family" in found


class TwiceMasked(dist.MaskedDistribution):
    """A wrapper that changes the density."""

    def log_prob(self, value):
        return 2 * super().log_prob(value)


class OddExp(transforms.ExpTransform):
    """A transform that changes the density."""

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        return 3 * x


class Rates(dist.Gamma):
    """A prior that changes the density."""

    def log_prob(self, value):
        return super().log_prob(value) - value


@pytest.mark.parametrize("likelihood", [
    lambda a: TwiceMasked(dist.Normal(a, 1.0), jnp.arange(4) > 0),
    lambda a: dist.TransformedDistribution(dist.Normal(a, 1.0), OddExp()),
], ids=["wrapper", "transform"])
def test_subclass_of_a_wrapper(likelihood):
    """A user's subclass of a wrapper or a transform may mean anything."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", likelihood(a), obs=y)  # here

    assert "density is not registered" in reason(model, "a", np.abs(Y))


def test_subclass_of_a_gamma():
    """A user's subclass of a conjugate prior is no conjugate prior."""
    def model(y):
        rate = sample("rate", Rates(2.0, 1.0))  # here
        sample("y", dist.Exponential(rate), obs=y)

    assert "its prior, Rates, has no conjugate family" in reason(model, "rate", np.abs(Y))


# -- parameters ------------------------------------------------------------------------------------


def test_inverse_gamma_has_its_parameters_twice():
    """The parameters of an InverseGamma are those of its name, not the leaves of its base."""
    def model(y):
        v = sample("v", dist.InverseGamma(3.0, 2.0))
        sample("y", dist.Normal(0.5, jnp.sqrt(v)), obs=y)

    expected = stats.multivariate_t([0.5] * 4, 2 / 3 * EYE, df=6).logpdf(Y)
    assert evidence(model, Y) == pytest.approx(expected)


@pytest.mark.parametrize("how", ["scale_tril", "covariance_matrix", "precision_matrix"])
def test_multivariate_normal_keeps_only_its_root(how):
    """Whatever a MultivariateNormal was made from, its covariance is the same."""
    given = {"scale_tril": np.linalg.cholesky(MATRIX), "covariance_matrix": MATRIX,
             "precision_matrix": np.linalg.inv(MATRIX)}[how]

    def model(y):
        b = sample("b", dist.MultivariateNormal(jnp.ones(3), **{how: jnp.asarray(given)}))
        sample("y", dist.Normal(b, 1.0), obs=y)

    assert evidence(model, Y[:3]) == pytest.approx(dense(Y[:3], MATRIX + np.eye(3), 1.0))


def test_transformed_prior_with_and_without_its_reparametrisation():
    """`TransformReparam` turns a transformed normal into a normal and a deterministic site; the model is the same."""
    def model(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("rows", 4):
            shifted = transforms.AffineTransform(mu, 2.0)
            a = sample("a", dist.TransformedDistribution(dist.Normal(0.0, 1.0), shifted))
            sample("y", dist.Normal(a, 1.0), obs=y)

    told = handlers.reparam(model, config={"a": TransformReparam()})
    assert cj.explain(model, Y).collapsed == ("mu", "a")
    assert evidence(model, Y) == pytest.approx(dense(Y, ONES + 5 * EYE))
    assert evidence(told, Y) == pytest.approx(dense(Y, ONES + 5 * EYE))


# -- priors that cannot be drawn, and moments that are missing -------------------------------------


def test_flat_prior_cannot_be_drawn():
    """`ImproperUniform` has no `sample`: neither the analysis nor an initialisation asks for it."""
    def model(y):
        b = sample("b", dist.ImproperUniform(constraints.real, (), ()))
        s = sample("s", dist.HalfNormal(1.0))
        sample("y", dist.Normal(b, s), obs=y)

    info = initialize_model(KEY, cj.collapse(model), model_args=(Y,))
    assert set(info.param_info.z) == {"s"} and np.isfinite(info.param_info.potential_energy)


@pytest.mark.parametrize("strategy", [init_to_mean, init_to_median], ids=["mean", "median"])
def test_initialisation_by_moments(strategy):
    """A prior that the marginal accounts for still starts where the model's own prior says."""
    def model(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        x = sample("x", dist.Normal(mu, 1.0))
        sample("y", dist.Bernoulli(logits=x), obs=y)

    collapsed = cj.collapse(model)
    assert collapsed.plan(np.array([0, 1])).collapsed == ("mu",)
    info = initialize_model(KEY, collapsed, init_strategy=strategy, model_args=(np.array([0, 1]),))
    assert set(info.param_info.z) == {"x"} and np.isfinite(info.param_info.potential_energy)


# -- supports that move ----------------------------------------------------------------------------


def test_observations_below_a_latent():
    """`Uniform(0, th)` is no Gamma-like likelihood of th: its support moves."""
    def model(y):
        th = sample("th", dist.Gamma(2.0, 1.0))
        sample("y", dist.Uniform(0.0, th), obs=y)  # here

    assert "the support of `y` depends on it" in reason(model, "th", np.abs(Y))


def test_pareto_above_a_latent():
    """The scale of a Pareto is the edge of its support; with a known one its shape is conjugate."""
    def model(y):
        low = sample("low", dist.Gamma(2.0, 2.0))
        sample("y", dist.Pareto(low, 2.0), obs=y)  # here

    assert "the support of `y` depends on it" in reason(model, "low", 1 + np.abs(Y))


def test_latent_between_latents():
    """A latent whose own support depends on another one keeps it with the sampler."""
    def model(y):
        th = sample("th", dist.Gamma(2.0, 1.0))
        x = sample("x", dist.Uniform(0.0, th))  # here
        sample("y", dist.Normal(x, 1.0), obs=y)

    assert "the support of `x` depends on it" in reason(model, "th", Y)


def test_unobserved_delta():
    """A Delta latent is no alias of its value: what it stands for stays with the sampler."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        d = sample("d", dist.Delta(a))  # here
        sample("y", dist.Normal(d, 1.0), obs=y)

    assert "its prior, Delta, has no conjugate family" in reason(model, "d", Y)
    assert cj.explain(model, Y).collapsed == ()


@pytest.mark.parametrize("prior", [
    dist.InverseGamma(1, 1), dist.InverseGamma(1.0, 1.0), dist.InverseGamma(0.001, 0.001), dist.Pareto(1.0, 1.0),
    dist.InverseGamma(1, 1).mask(True), dist.InverseGamma(1, 1).expand(())])
def test_priors_without_a_mean(prior):
    def model(y):
        variance = sample("variance", prior)
        a = sample("a", dist.Normal(0.0, 2.0))
        sample("y", dist.Normal(a, jnp.sqrt(variance)), obs=y)

    collapsed = cj.collapse(model)
    assert collapsed.plan(Y).collapsed == ("a",)
    found = log_density(collapsed, (Y,), {}, {"variance": jnp.asarray(1.3)})[0]
    np.testing.assert_allclose(found, dense(Y, 1.3 * EYE + 4 * ONES) + float(prior.log_prob(1.3)), rtol=1e-9)


def test_directions_of_a_whole_turn():
    """Angles from 0 to 360 degrees are outside of what NumPyro calls the support, and its density is periodic."""
    def model(y):
        m = sample("m", dist.VonMises(0.0, 1.0))
        sample("y", dist.VonMises(m, 2.0), obs=y)

    y = np.array([0.1, 3.5, 6.0])
    within = (y + np.pi) % (2 * np.pi) - np.pi
    assert evidence(model, y) == pytest.approx(evidence(model, within), rel=1e-5)
    size = abs(np.exp(0j) + 2 * np.exp(1j * y).sum())
    expected = np.log(2 * np.pi * special.i0(size)) - np.log(2 * np.pi * special.i0(1.0)) - 3 * np.log(2 * np.pi * special.i0(2.0))
    assert evidence(model, y) == pytest.approx(expected, rel=1e-5)
