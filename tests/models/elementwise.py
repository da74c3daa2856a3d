"""Gamma, InverseGamma, Beta and Dirichlet latents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logit
from numpyro import handlers, plate, sample

from models.table import (
    BINARY,
    COUNT,
    EXPOSURE,
    GROUP,
    HOLED,
    OUTCOME,
    POSITIVE,
    SEEN,
    SMALL,
    G,
    N,
    P,
    X,
    Y,
    case,
)

# -- gamma -----------------------------------------------------------------------------------------


@case("rate", COUNT, EXPOSURE)
def gamma_poisson_exposure(y, e):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * e), obs=y)


@case("rate", COUNT, GROUP, EXPOSURE)
def gamma_poisson_groups(y, g, e):
    a, b = sample("a", dist.LogNormal(0.0, 0.5)), sample("b", dist.LogNormal(0.0, 0.5))
    with plate("g", G):
        rate = sample("rate", dist.Gamma(a, b))
    with plate("rows", N):
        sample("y", dist.Poisson(e * rate[g]), obs=y)


@case("rate", SMALL)
def gamma_poisson_small_integers(y):
    rate = sample("rate", dist.Exponential(0.2))
    sample("y", dist.Poisson(rate), obs=y * 30)


@case("frailty", POSITIVE, GROUP, X)
def gamma_frailty_of_censored_times(y, g, x):
    """Groups share a frailty; every third is still alive."""
    shape = sample("shape", dist.LogNormal(0.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1.0).expand([X.shape[1]]).to_event(1))
    with plate("g", G):
        frailty = sample("frailty", dist.Gamma(shape, shape))
    with plate("n", N):
        times = dist.Exponential(frailty[g] * jnp.exp(0.1 * (x @ b)))
        sample("y", dist.RightCensoredDistribution(times, censored=np.arange(N) % 3 == 0), obs=y)


@case("frailty", POSITIVE)
def gamma_frailty_of_censored_weibull_times(y):
    k = sample("k", dist.LogNormal(0.0, 0.3))
    frailty = sample("frailty", dist.Gamma(2.0, 2.0))
    times = dist.Weibull(jnp.broadcast_to(frailty ** (-1 / k), (len(y),)), k)
    seen = dist.RightCensoredDistribution(times, censored=np.arange(len(y)) > 1).mask(np.arange(len(y)) != 2)
    sample("y", seen.to_event(1), obs=y)


@case("frailty", COUNT, X)
def gamma_poisson_frailty(y, x):
    b = sample("b", dist.Normal(jnp.zeros(P), 0.5))
    shape = sample("shape", dist.LogNormal(0.0, 0.5))
    with plate("rows", N):
        frailty = sample("frailty", dist.Gamma(shape, shape))
        sample("y", dist.Poisson(frailty * jnp.exp(x @ b)), obs=y)


@case("rate", COUNT)
def gamma_times_zero(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    sample("extra", dist.Normal(0.0 * rate, 1.0), obs=0.5)


@case("rate", POSITIVE)
def gamma_exponential(y):
    rate = sample("rate", dist.Chi2(3.0))
    sample("y", dist.Exponential(rate), obs=y)


@case("rate", POSITIVE, GROUP)
def gamma_gamma(y, g):
    shape = sample("shape", dist.LogNormal(0.0, 0.3))
    rate = sample("rate", dist.Gamma(jnp.array([1.0, 2.0, 3.0, 4.0]), 2.0))
    sample("y", dist.Gamma(shape, rate[g]), obs=y)


@case("rate", POSITIVE)
def gamma_inverse_gamma(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.InverseGamma(3.0, rate), obs=y)


@case("rate", POSITIVE)
def gamma_weibull(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Weibull(rate**-0.5, 2.0), obs=y)


@case("alpha", 1.5 + POSITIVE)
def gamma_pareto(y):
    alpha = sample("alpha", dist.Gamma(2.0, 1.0))
    sample("y", dist.Pareto(1.5, alpha), obs=y)


@case("rate", Y)
def gamma_laplace(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Laplace(0.3, 1 / rate), obs=y)


@case("tau", np.abs(Y))
def gamma_half_normal(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    sample("y", dist.HalfNormal(1 / jnp.sqrt(tau)), obs=y)


@case("b", POSITIVE)
def gamma_of_gamma(y):
    b = sample("b", dist.Gamma(2.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N):
        z = sample("z", dist.LogNormal(0.0, s))
        sample("y", dist.Gamma(2.0, b * z), obs=y)


PRECISIONS = {
    "one_over_sqrt": lambda t: 1 / jnp.sqrt(t),
    "power": lambda t: t**-0.5,
    "rsqrt": jax.lax.rsqrt,
    "sqrt_of_inverse": lambda t: jnp.sqrt(1 / t),
    "exp_of_log": lambda t: jnp.exp(-0.5 * jnp.log(t)),
    "reciprocal": lambda t: jnp.reciprocal(jnp.sqrt(t)),
    "jnp_power": lambda t: jnp.power(t, -1 / 2),
    "jitted": jax.jit(lambda t: t ** (-0.5)),
}
VARIANCES = {
    "sqrt": jnp.sqrt,
    "power": lambda v: v**0.5,
    "exp_of_log": lambda v: jnp.exp(0.5 * jnp.log(v)),
    "inverse_rsqrt": lambda v: 1 / jax.lax.rsqrt(v),
    "jnp_power": lambda v: jnp.power(v, 0.5),
}


def _precision(y, g, spelt):
    m = sample("m", dist.Normal(0.0, 1.0))
    k = sample("k", dist.LogNormal(0.0, 0.2))
    with plate("g", G):
        tau = sample("tau", dist.Gamma(2.0, 1.5))
    sample("y", dist.Normal(jnp.sin(m), k * spelt(tau)[g]), obs=y)


def _variance(y, g, spelt):
    m = sample("m", dist.Normal(0.0, 1.0))
    with plate("g", G):
        v = sample("v", dist.InverseGamma(2.0, 1.5))
    sample("y", dist.Normal(jnp.sin(m), spelt(v)[g]), obs=y)


for _name, _spelt in PRECISIONS.items():
    case("tau", Y, GROUP, name=f"gamma_precision_{_name}")(partial(_precision, spelt=_spelt))
for _name, _spelt in VARIANCES.items():
    case("v", Y, GROUP, name=f"inverse_gamma_variance_{_name}")(partial(_variance, spelt=_spelt))


@case("w", Y)
def gamma_scale_mixture(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N):
        w = sample("w", dist.Gamma(2.0, 2.0))
        sample("y", dist.Normal(mu, s / jnp.sqrt(w)), obs=y)


@case("tau", POSITIVE)
def gamma_lognormal_precision(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    sample("y", dist.LogNormal(0.2, 1 / jnp.sqrt(tau)), obs=y)


@case("s", POSITIVE)
def inverse_gamma_exponential(y):
    s = sample("s", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Exponential(1 / s), obs=y)


@case("s", POSITIVE)
def inverse_gamma_gamma(y):
    s = sample("s", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Gamma(2.5, rate=1 / s), obs=y)


@case("s", Y)
def inverse_gamma_laplace(y):
    s = sample("s", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Laplace(0.0, s), obs=y)


@case("v", HOLED)
def inverse_gamma_masked(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    with handlers.mask(mask=jnp.isfinite(y)):
        sample("y", dist.Normal(0.1, jnp.sqrt(v)), obs=y)


# -- beta ------------------------------------------------------------------------------------------


@case("p", BINARY)
def beta_bernoulli(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(p), obs=y)


@case("p", BINARY)
def beta_uniform_prior(y):
    p = sample("p", dist.Uniform(0.0, 1.0))
    sample("y", dist.Bernoulli(probs=p), obs=y)


@case("p", COUNT, GROUP)
def beta_binomial_groups(y, g):
    mean = sample("mean", dist.Uniform(0.1, 0.9))
    size = sample("size", dist.LogNormal(1.0, 0.5))
    with plate("g", G):
        p = sample("p", dist.BetaProportion(mean, size))
    with plate("rows", N):
        sample("y", dist.Binomial(10, p[g]), obs=y)


@case("p", COUNT)
def beta_geometric(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Geometric(p), obs=y)


@case("p", COUNT)
def beta_negative_binomial(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.NegativeBinomialProbs(3.5, p), obs=y)


LOGITS = {
    "logit": logit,
    "log_odds": lambda p: jnp.log(p / (1 - p)),
    "difference": lambda p: jnp.log(p) - jnp.log1p(-p),
    "plain_difference": lambda p: jnp.log(p) - jnp.log(1 - p),
}
WITH_LOGITS = {
    "bernoulli": (lambda x: dist.Bernoulli(logits=x), BINARY),
    "binomial": (lambda x: dist.Binomial(10, logits=x), COUNT),
    "geometric": (lambda x: dist.Geometric(logits=x), COUNT),
    "negative_binomial": (lambda x: dist.NegativeBinomialLogits(3.5, x), COUNT),
}


def _logits(y, spelt, likelihood):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", likelihood(spelt(p)), obs=y)


for _name, _spelt in LOGITS.items():
    case("p", BINARY, name=f"beta_bernoulli_{_name}")(
        partial(_logits, spelt=_spelt, likelihood=WITH_LOGITS["bernoulli"][0]))
for _name, (_likelihood, _data) in WITH_LOGITS.items():
    if _name != "bernoulli":
        case("p", _data, name=f"beta_{_name}_logit")(
            partial(_logits, spelt=logit, likelihood=_likelihood))


@case("p", BINARY)
def beta_complement(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(1 - p), obs=y)
    sample("w", dist.Bernoulli(p), obs=1 - y)


@case("p", np.where(SEEN, BINARY, -1), SEEN)
def beta_masked(y, seen):
    p = sample("p", dist.Beta(2.0, 3.0))
    with plate("rows", N), handlers.mask(mask=seen):
        sample("y", dist.Bernoulli(p), obs=y)


# -- Dirichlet -------------------------------------------------------------------------------------


@case("phi", OUTCOME)
def dirichlet_categorical(y):
    phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    sample("y", dist.Categorical(phi), obs=y)


@case("phi", OUTCOME, GROUP)
def dirichlet_in_another_order(y, g):
    with plate("g", G):
        phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    with plate("rows", N):
        sample("y", dist.Categorical(phi[:, jnp.array([2, 0, 1])][g]), obs=y)


@case("phi", OUTCOME)
def dirichlet_backwards(y):
    phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    sample("y", dist.Categorical(phi[::-1]), obs=y)


@case("phi", OUTCOME, GROUP)
def dirichlet_rows(y, g):
    size = sample("size", dist.LogNormal(0.0, 0.5))
    with plate("g", G):
        phi = sample("phi", dist.Dirichlet(size * jnp.array([1.0, 2.0, 0.5])))
    with plate("rows", N):
        sample("y", dist.Categorical(phi[g]), obs=y)


@case("start step", OUTCOME, relation="dirichlet-transitions")
def dirichlet_transitions(y):
    start = sample("start", dist.Dirichlet(jnp.ones(3)))
    step = sample("step", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
    sample("first", dist.Categorical(start), obs=y[0])
    sample("next", dist.Categorical(step[y[:-1]]), obs=y[1:])


@case("phi", np.array([[1, 4, 2], [0, 3, 4]]))
def dirichlet_multinomial(y):
    phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    with plate("rows", 2):
        sample("y", dist.Multinomial(7, phi), obs=y)


MANY = np.random.default_rng(1).normal(size=(30, 16))
SUMS = MANY @ np.ones(16) + np.cos(np.arange(30))


def of_each_residual(prior, y, x):
    s, nu = sample("s", dist.HalfNormal(1.0)), sample("nu", dist.Gamma(2.0, 0.1))
    b = sample("b", prior.expand([16]).to_event(1))
    with plate("rows", 30):
        w = sample("w", dist.Gamma(nu / 2, nu / 2))
        sample("y", dist.Normal(x @ b, s / jnp.sqrt(w)), obs=y)


@case("w", SUMS, MANY)
def gamma_of_each_residual(y, x):
    """Of a regression whose coefficients stay: residuals are squared as the model computes them."""
    of_each_residual(dist.Laplace(0.0, 1.0), y, x)


@case("w", SUMS, MANY)
def gamma_of_each_residual_and_candidates(y, x):
    of_each_residual(dist.Normal(0.0, 1.0), y, x)


# -- times what is computed from kept latents -----------------------------------------------------

DOSE = np.linspace(0.0, 3.0, N)


def of_groups(y, g, form, of):
    """Rates of groups times a function of a latent that stays."""
    k, rate = sample("k", dist.HalfNormal(1.0)), sample("rate", dist.Gamma(2.0, 1.0).expand([G]))
    sample("y", of(rate[g] * form(k)), obs=y)


@case("rate", COUNT, GROUP)
def gamma_times_a_saturation(y, g):
    of_groups(y, g, lambda k: 1 + 4 * DOSE / (k + DOSE), dist.Poisson)


@case("rate", COUNT, GROUP)
def gamma_times_a_sigmoid(y, g):
    of_groups(y, g, lambda k: jax.nn.sigmoid(k * (DOSE - 1)), dist.Poisson)


@case("rate", COUNT, GROUP)
def gamma_times_a_softplus(y, g):
    of_groups(y, g, lambda k: jnp.logaddexp(0.0, k * (DOSE - 1)), dist.Poisson)


@case("rate", COUNT, GROUP)
def gamma_times_what_is_caught(y, g):
    of_groups(y, g, lambda k: 1 - jnp.exp(-k * (DOSE + 0.1)), dist.Poisson)


@case("rate", POSITIVE, GROUP)
def gamma_times_a_square_and_one(y, g):
    of_groups(y, g, lambda k: 1 + k**2 * DOSE, dist.Exponential)


@case("rate", Y, GROUP)
def gamma_precision_times_a_wave(y, g):
    """Not proved positive: the density is NaN where it is not, here and in the model."""
    k, rate = sample("k", dist.Normal(0.0, 1.0)), sample("rate", dist.Gamma(2.0, 1.0).expand([G]))
    sample("y", dist.Normal(0.0, 1 / jnp.sqrt(rate[g] * (2 + jnp.sin(k * DOSE)))), obs=y)


@case("rate", COUNT, GROUP)
def gamma_times_a_quotient_of_powers(y, g):
    of_groups(y, g, lambda k: (0.5 + DOSE**k) / (DOSE**k + 1.5**k), dist.Poisson)


@case("rate", COUNT, GROUP)
def gamma_times_an_error_function(y, g):
    of_groups(y, g, lambda k: jax.lax.erf((DOSE + 0.1) / k), dist.Poisson)


@case("rate", COUNT)
def gamma_times_a_detection_rate(y):
    """Of one number, not of many."""
    k, rate = sample("k", dist.HalfNormal(2.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * k * jax.lax.erf(3.0 / k)), obs=y)


@case("rate", COUNT)
def gamma_times_a_share_seen(y):
    k, rate = sample("k", dist.HalfNormal(2.0)), sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * (1 - jnp.exp(-k))), obs=y)
