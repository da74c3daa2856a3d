"""The nearest models that must not be collapsed, and what the user is told.

Each entry is one step away from a model that collapses. `explain` must keep the site, name what stood
in the way in words, and give the line of this file. The identity of `check` must hold all the same.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints

import conjugate_ppl as cj

RNG = np.random.default_rng(1)
N = 6
Y = RNG.normal(1.0, 1.5, N)
COUNT = np.array([3, 0, 5, 2, 1, 4])
BINARY = np.array([1, 0, 1, 1, 0, 0])
POSITIVE = RNG.gamma(2.0, 1.0, N)
OUTCOME = np.array([0, 2, 1, 1, 0, 2])
GROUP = np.array([0, 1, 2, 0, 1, 2])
X2 = np.stack([np.ones(N), np.arange(N)], 1)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its data, the site that is kept, words of the reason, the other sites' fate."""

    model: Callable[..., Any]
    args: tuple[Any, ...]
    site: str
    words: str
    collapsed: frozenset[str]
    relation: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def declines(site: str, words: str, *args: Any, collapsed: str = "", relation: str = "") -> Callable[[Any], Any]:
    """Enter a model: `site` stays sampled because of `words`; `collapsed` names what does not.

    `relation` lists keys of rows of `tests/relations.py` that it is next to, where pairs of a family and a
    distribution do not say so.

    The line that is to be named carries the comment `# here`.
    """

    def register(model: Any) -> Any:
        assert model.__name__ not in CASES, model.__name__
        CASES[model.__name__] = Case(model, args, site, words, frozenset(collapsed.split()),
                                     tuple(relation.split()))
        return model

    return register


def marked_line(model: Any) -> str:
    """`test_declined.py:12`, the line of the model with the comment `# here`."""
    lines, start = inspect.getsourcelines(model)
    (at,) = [start + k for k, line in enumerate(lines) if line.rstrip().endswith("# here")]
    return f"test_declined.py:{at}"


@declines("b", "rank 1 of 2", Y)
def flat_prior_that_a_linear_factor_does_not_determine(y):
    b = sample("b", dist.ImproperUniform(constraints.real, (2,), ()))  # here
    sample("y", dist.Normal(b[0], 1.0), obs=y)
    numpyro.factor("tilt", -0.3 * jnp.sum(b))


@declines("rate", "to the power 2", COUNT)
def product_with_almost_zero(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    sample("extra", dist.Normal(1e-30 * rate, 1.0), obs=0.5)  # here


@pytest.mark.parametrize("name", CASES)
def test_reason_and_line(name):
    entry = CASES[name]
    plan = cj.explain(entry.model, *map(jnp.asarray, entry.args))
    assert not plan[entry.site].collapsed
    assert entry.site in plan.kept
    assert entry.words in plan[entry.site].reason, f"\n{plan}"
    assert plan[entry.site].source == marked_line(entry.model), f"\n{plan}"
    assert frozenset(plan.collapsed) == entry.collapsed, f"\n{plan}"


@pytest.mark.parametrize("name", CASES)
def test_identity(name, x64):
    entry = CASES[name]
    cj.check(entry.model, jax.random.key(0), *map(jnp.asarray, entry.args), num_points=1)


# -- next to a relation ----------------------------------------------------------------------------


@declines("z", "`z` enters to the power -1 in `inverse gamma`", POSITIVE, np.stack([Y, Y], 1))
def gammas_in_the_wrong_place(y, points):
    z, laplace, pareto, log_normal, field = (sample(n, dist.Gamma(2.0, 1.0)) for n in (
        "z", "of laplace", "of pareto", "of log normal", "of a field"))
    sample("inverse gamma", dist.InverseGamma(2.0, 1 / z), obs=y)  # here
    sample("laplace", dist.Laplace(0.0, laplace), obs=y)
    sample("pareto", dist.Pareto(0.001, 1 / pareto), obs=y)
    sample("log normal", dist.LogNormal(0.0, log_normal), obs=y)
    sample("field", dist.MultivariateNormal(0.0, field * jnp.eye(2)), obs=points)


@declines("z", "`z` enters to the power 1 in `exponential`", POSITIVE)
def inverse_gammas_in_the_wrong_place(y):
    z, gamma, inverse, weibull, laplace, log_normal = (sample(n, dist.InverseGamma(3.0, 1.0)) for n in (
        "z", "of gamma", "of inverse gamma", "of weibull", "of laplace", "of log normal"))
    sample("exponential", dist.Exponential(z), obs=y)  # here
    sample("gamma", dist.Gamma(2.0, gamma), obs=y)
    sample("inverse gamma", dist.InverseGamma(2.0, inverse), obs=y)
    sample("weibull", dist.Weibull(weibull, 2.0), obs=y)
    sample("laplace", dist.Laplace(0.0, 1 / laplace), obs=y)
    sample("log normal", dist.LogNormal(0.0, log_normal), obs=y)


@declines("z", "may enter only as", COUNT, OUTCOME, np.array([[1, 0, 3], [2, 2, 0]]), relation="dirichlet-transitions")
def parts_of_probabilities(count, outcome, counts):
    z, negative, geometric = (sample(n, dist.Beta(2.0, 3.0)) for n in ("z", "of negative binomial", "of geometric"))
    phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
    rows = sample("rows", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
    sample("binomial", dist.Binomial(6, 0.5 * z), obs=count)  # here
    sample("negative binomial", dist.NegativeBinomialProbs(6.0, 0.5 * negative), obs=count)
    sample("geometric", dist.Geometric(0.5 * geometric), obs=count)
    sample("counts", dist.Multinomial(4, 0.5 * phi + 1 / 6), obs=counts)
    sample("next", dist.Categorical(0.5 * rows[outcome[:-1]] + 1 / 6), obs=outcome[1:])


@declines("b", "it enters `y` to a power above two", Y, POSITIVE, np.stack([Y, Y], 1), X2,
          relation="regression gaussian-field autoregression")
def squares_of_means(y, positive, points, x):
    b = sample("b", dist.Normal(0.0, 1.0))
    m, phi = (sample(n, dist.Normal(0.0, 1.0)) for n in ("m", "phi"))
    u = sample("u", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    c = sample("c", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(N), jnp.eye(N) + 0.5))
    sample("y", dist.Normal(x[:, 1] * b**2, 1.0), obs=y)  # here
    sample("positive", dist.LogNormal(m**2, 1.0), obs=positive)
    sample("next", dist.Normal(phi**2 * y[:-1], 1.0), obs=y[1:])
    sample("points", dist.MultivariateNormal(u**2, jnp.eye(2)), obs=points)
    sample("w", dist.Normal((x @ c) ** 2, 1.0), obs=y)
    sample("field", dist.Normal(jnp.exp(f), 1.0), obs=y)


@declines("v", "the integral over `b` depends on it", Y, X2, collapsed="b", relation="conjugate-regression")
def coefficients_scaled_by_the_variance_itself(y, x):
    v = sample("v", dist.InverseGamma(2.0, 1.0))  # here
    b = sample("b", dist.Normal(jnp.zeros(2), v))
    sample("y", dist.Normal(x @ b, jnp.sqrt(v)), obs=y)


@declines("tau", "in no closed form", Y, collapsed="x", relation="gamma-gaussian-chain")
def chain_whose_steps_have_another_scale(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))  # here

    def step(x, now):
        x = sample("x", dist.Normal(x, 0.5))
        sample("y", dist.Normal(x, 1 / jnp.sqrt(tau)), obs=now)
        return x, None

    scan(step, 0.0, y)


# -- what the density does with the latent ---------------------------------------------------------


@declines("p", "may enter only as `log p` or `log(1-p)`", BINARY)
def scaled_probability(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(0.9 * p), obs=y)  # here


def test_scaled_simplex():
    # NumPyro's own density refuses these probabilities, so that there is no identity to check

    def model(y):
        phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
        sample("y", dist.Categorical(0.9 * phi), obs=y)

    assert cj.explain(model, OUTCOME).collapsed == ()


@declines("phi", "", COUNT)
def one_cell_of_a_simplex(y):
    phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
    sample("y", dist.Binomial(6, phi[0]), obs=y)  # here


@declines("th", "the support of `y` depends on it", POSITIVE)
def support_edge(y):
    th = sample("th", dist.Gamma(9.0, 1.0))
    sample("y", dist.Uniform(0.0, 20 + th), obs=y)  # here


@declines("a", "exp", COUNT)
def exponential_link(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Poisson(jnp.exp(a)), obs=y)  # here


@declines("a", "", BINARY)
def logistic_regression(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Bernoulli(logits=a * jnp.arange(N)), obs=y)  # here


@declines("a", "abs", Y)
def absolute_value(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.abs(a), 1.0), obs=y)  # here


@declines("a", "", Y)
def clipped(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.clip(a, -9.0, 9.0), 1.0), obs=y)  # here


@declines("rate", "", COUNT)
def clipped_rate(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(jnp.maximum(rate, 1e-9)), obs=y)  # here


@declines("b", "multiplies `a`", Y, collapsed="a")
def product_of_two(y):
    a = sample("a", dist.Normal(0.0, 1.0).expand([N]))
    b = sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a * b, 1.0), obs=y)  # here


@declines("a", "", Y)
def product_with_itself(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a * a, 1.0), obs=y)  # here


@declines("a", "", Y)
def root_of_a_square(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.sqrt(a**2), 1.0), obs=y)  # here


@declines("tau", "", Y)
def precision_plus_a_constant(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(0.0, 1 / jnp.sqrt(tau + 0.5)), obs=y)  # here


@declines("v", "", Y)
def variance_taken_for_a_scale(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Normal(0.0, v), obs=y)  # here


@declines("rate", "", COUNT)
def sum_of_rates(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0).expand([2]))
    sample("y", dist.Poisson(rate.sum()), obs=y)  # here


@declines("shape", "", POSITIVE)
def shape_of_a_gamma(y):
    shape = sample("shape", dist.Gamma(2.0, 1.0))
    sample("y", dist.Gamma(shape, 1.0), obs=y)  # here


@declines("mu", "", Y)
def heavy_tails(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.StudentT(4.0, mu, 1.0), obs=y)  # here


@declines("a", "the scale of", Y, collapsed="b")
def latent_in_a_scale(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1.0 + a**2))  # here
    sample("y", dist.Normal(b, 1.0), obs=y)


@declines("mu", "what is left of `tau` is in no closed form in it", Y, collapsed="tau")
def semi_conjugate_precision(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))  # here
    with plate("rows", N):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        sample("y", dist.Normal(mu, 1 / jnp.sqrt(tau)), obs=y)


@declines("tau", "in no closed form", Y, collapsed="mu", relation="normal-gamma")
def semi_conjugate(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    tau = sample("tau", dist.Gamma(2.0, 1.0))  # here
    sample("y", dist.Normal(mu, 1 / jnp.sqrt(tau)), obs=y)


@declines("beta", "", COUNT, collapsed="rate")
def rate_of_rates(y):
    beta = sample("beta", dist.Gamma(2.0, 1.0))  # here
    with plate("rows", N):
        rate = sample("rate", dist.Gamma(2.0, beta))
        sample("y", dist.Poisson(rate), obs=y)


@declines("p", "", BINARY)
def half_a_probability(y):
    p = sample("p", dist.Uniform(0.0, 2.0))  # here
    sample("y", dist.Bernoulli(p / 2), obs=y)


@declines("a", "its square enters the factor statement", Y)
def quadratic_factor(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    numpyro.factor("tilt", -0.1 * a**2)  # here


@declines("rate", "the factor statement `tilt`", COUNT)
def factor_on_a_rate(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    numpyro.factor("tilt", -0.1 * rate)  # here


# -- how the latent is used ------------------------------------------------------------------------


@declines("a", "an index that depends on a latent", Y)
def latent_as_an_index(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    b = jnp.arange(5.0)
    where = jnp.clip(a, 0, 4).astype(int)
    sample("y", dist.Normal(b[where], 1.0), obs=y)  # here


@declines("a", "conversion", Y)
def cast_to_whole_numbers(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a.astype(int), 1.0), obs=y)  # here


@declines("a", "conversion", Y)
def cast_to_fewer_digits(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a.astype(jnp.float16), 1.0), obs=y)  # here


@declines("b", "", Y)
def look_up_out_of_range(y):
    b = sample("b", dist.Normal(jnp.zeros(3), 1.0))
    sample("y", dist.Normal(b.at[jnp.asarray(GROUP) + 1].get(mode="fill", fill_value=0.0), 1.0), obs=y)  # here


@declines("a", "pure_callback", Y)
def callback(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    out = jax.pure_callback(lambda v: 2 * v, jax.ShapeDtypeStruct((), a.dtype), a)  # here
    sample("y", dist.Normal(out, 1.0), obs=y)


@declines("a", "while", Y)
def loop_of_unknown_length(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    last = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] + a), (0, 0.0 * a))  # here
    sample("y", dist.Normal(last[1], 1.0), obs=y)


@declines("a", "stop_gradient", Y)
def stopped_gradient(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jax.lax.stop_gradient(a), 1.0), obs=y)  # here


@declines("a", "sort", Y)
def sorted_latent(y):
    a = sample("a", dist.Normal(jnp.zeros(N), 1.0))
    sample("y", dist.Normal(jnp.sort(a), 1.0), obs=y)  # here


@declines("x", "its elements depend on each other", POSITIVE)
def chain_of_gammas(y):
    def step(x, seen):
        x = sample("x", dist.Gamma(2.0, x))
        sample("y", dist.Exponential(x), obs=seen)
        return x, None

    scan(step, 1.0, y)  # here


@declines("x", "`sin`", Y, relation="gaussian-chain")
def state_space_with_a_curved_step(y):
    def step(x, seen):
        x = sample("x", dist.Normal(jnp.sin(x), 1.0))  # here
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)


@declines("h", "`h` goes through `exp`", Y)
def stochastic_volatility(y):
    def step(h, seen):
        h = sample("h", dist.Normal(0.9 * h, 0.3))
        sample("y", dist.Normal(0.0, jnp.exp(h / 2)), obs=seen)  # here
        return h, None

    scan(step, 0.0, y)


@declines("x", "another order", Y)
def loop_that_runs_backwards(y):
    def step(x, seen):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y, reverse=True)  # here


@declines("b", "its prior is flat", Y, collapsed="x")
def flat_coefficient_of_the_steps(y):
    b = sample("b", dist.ImproperUniform(constraints.real, (), ()))  # here

    def step(x, seen):
        x = sample("x", dist.Normal(0.5 * x + b, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)


@declines("b", "would have to be carried from step to step", Y, collapsed="x")
def too_many_coefficients_that_all_steps_share(y):
    b = sample("b", dist.Normal(0.0, 1.0).expand([70]))  # here

    def step(carry, seen):
        x, t = carry
        x = sample("x", dist.Normal(0.5 * x, 1.0))
        sample("y", dist.Normal(x + jnp.sum(jnp.cos(t * jnp.arange(70.0)) * b), 0.5), obs=seen)
        return (x, t + 1.0), None

    scan(step, (0.0, 0.0), y)


@declines("x0", "its prior is flat", Y, collapsed="x")
def flat_start_of_a_chain(y):
    x0 = sample("x0", dist.ImproperUniform(constraints.real, (), ()))  # here

    def step(x, seen):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, x0, y)


@declines("e", "`tanh`", Y)
def curved_recursion(y):
    def step(x, seen):
        x = jnp.tanh(x) + sample("e", dist.Normal(0.0, 1.0))  # here
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)


@declines("phi", "multiplies what is carried", Y, collapsed="e")
def unknown_coefficient_of_a_recursion(y):
    phi = sample("phi", dist.Normal(0.0, 0.5))

    def step(x, seen):
        x = phi * x + sample("e", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)  # here


@declines("e", "multiplies what is carried", Y)
def growth_by_random_rates(y):
    def step(x, seen):
        x = x * (1.0 + sample("e", dist.Normal(0.0, 0.1)))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 1.0, y)  # here


@declines("e", "`exp`", Y)
def running_sum_of_exponentials(y):
    e = sample("e", dist.Normal(0.0, 1.0).expand([N]))
    sample("y", dist.Normal(jnp.cumsum(jnp.exp(e)), 0.5), obs=y)  # here


@declines("x", "not linear in what is carried", Y)
def lags_by_a_latent_choice(y):
    """Which of two lags is carried on depends on the state."""
    def step(c, seen):
        x = sample("x", dist.Normal(0.5 * c[0], 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return jnp.where(c[1] > 0, jnp.stack([x, c[0]]), jnp.stack([c[0], x])), None

    scan(step, jnp.zeros(2), y)  # here


@declines("level", "its prior is flat", Y)
def flat_start_of_a_recursion(y):
    level = sample("level", dist.ImproperUniform(constraints.real, (), ()))  # here

    def step(level, seen):
        sample("y", dist.Normal(level, 1.0), obs=seen)
        return level + 0.3 * (seen - level), None

    scan(step, level, y)


# -- plates, weights, masks ------------------------------------------------------------------------


@declines("a", "subsampled plate", Y)
def subsampled(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    with plate("rows", N, subsample_size=3) as rows:
        sample("y", dist.Normal(a, 1.0), obs=y[rows])  # here


@declines("a", "weight (`scale`) of `y` depends on a latent", Y)
def weight_depends_on_a_latent(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    w = sample("w", dist.HalfNormal(1.0))
    with handlers.scale(scale=w):
        sample("y", dist.Normal(a, 1.0), obs=y)  # here


@declines("a", "weighted by `scale`", Y)
def weighted_prior(y):
    with handlers.scale(scale=0.5):
        a = sample("a", dist.Normal(0.0, 1.0))  # here
    sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "its prior is masked", Y)
def masked_prior(y):
    with plate("rows", N), handlers.mask(mask=jnp.arange(N) < 4):
        a = sample("a", dist.Normal(0.0, 1.0))  # here
        sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "mask of `y` depends on it", Y)
def mask_depends_on_the_latent(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0).mask(a > 0), obs=y)  # here


# -- types -----------------------------------------------------------------------------------------


class Shifted(dist.Normal):
    """A subclass that changes the density."""

    def log_prob(self, value):
        return super().log_prob(value - 1.0)


class Hidden(dist.Distribution):
    """A distribution that no table knows."""

    arg_constraints = {"loc": constraints.real}  # noqa: RUF012
    support = constraints.real

    def __init__(self, loc):
        self.loc = loc
        super().__init__(jnp.shape(loc), (), validate_args=False)

    def sample(self, key, sample_shape=()):
        return dist.Normal(self.loc, 1.0).sample(key, sample_shape)

    def log_prob(self, value):
        return dist.Normal(self.loc, 1.0).log_prob(value)


@declines("a", "its prior, Shifted", Y)
def subclass_as_a_prior(y):
    a = sample("a", Shifted(0.0, 1.0))  # here
    sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "`y` is Shifted, whose density is not registered", Y)
def subclass_as_a_likelihood(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", Shifted(a, 1.0), obs=y)  # here


@declines("a", "`y` is Hidden, whose density is not registered", Y)
def unknown_distribution(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", Hidden(a), obs=y)  # here


@declines("a", "has no conjugate family", Y)
def truncated_prior_of_another_shape(y):
    a = sample("a", dist.TruncatedCauchy(0.0, 1.0, low=0.0))  # here
    sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "has no conjugate family", Y, X2, relation="exponential-normal")
def truncated_slopes(y, x):
    a = sample("a", dist.TruncatedNormal(jnp.zeros(2), 1.0, low=0.0))  # here
    sample("y", dist.Normal(x @ a, 1.0), obs=y)


@declines("s", "has no conjugate family", Y)
def half_normal_deviation(y):
    s = sample("s", dist.HalfNormal(1.0))  # here
    sample("y", dist.Normal(0.0, s), obs=y)


@declines("s", "has no conjugate family", Y, collapsed="mu", relation="uniform-scale")
def uniform_deviation_of_a_mean(y):
    s = sample("s", dist.Uniform(0.0, 5.0))  # here
    mu = sample("mu", dist.Normal(0.0, 1.0 + s))
    sample("y", dist.Normal(mu, s), obs=y)


@declines("s", "the integral over `mu` depends on it in no closed form", Y, collapsed="mu")
def uniform_deviation_of_the_data_alone(y):
    s = sample("s", dist.Uniform(0.0, 5.0))  # here
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mu, s), obs=y)


@declines("z", "the support of `y` depends on it", POSITIVE)
def pareto_edge(y):
    z = sample("z", dist.Pareto(9.0, 2.0))
    sample("y", dist.Uniform(0.0, z), obs=y)  # here


@declines("z", "goes through `cos`", np.clip(Y, -3, 3))
def twice_a_direction(y):
    z = sample("z", dist.VonMises(0.0, 1.0))
    sample("y", dist.VonMises(2 * z, 3.0), obs=y)  # here


@declines("k", "", np.clip(Y, -3, 3))
def concentration_of_directions(y):
    k = sample("k", dist.Gamma(2.0, 1.0))
    sample("y", dist.VonMises(0.0, k), obs=y)  # here


@declines("t", "to the power", POSITIVE)
def weibull_of_another_power(y):
    t = sample("t", dist.Gamma(2.0, 1.0))
    sample("y", dist.Weibull(t ** (-1 / 1.7), 1.8), obs=y)  # here


@declines("lam", "", COUNT)
def log_linear_rate_that_is_not_linear(y):
    lam = sample("lam", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(jnp.exp(jnp.log(lam) * jnp.arange(1.0, 7.0))), obs=y)  # here


@declines("p", "a logarithm of a sum", COUNT)
def rate_with_a_background(y):
    p = sample("p", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(p * (jnp.arange(N) > 2) + 0.5), obs=y)  # here


@declines("v", "not proved to sum to one", OUTCOME, relation="stick-breaking")
def sticks_with_a_piece_missing(y):
    v = sample("v", dist.Beta(1.0, 1.5).expand([2]))
    left = jnp.cumprod(1 - v)
    p = jnp.stack([v[0], v[1] * left[0], left[0]])
    sample("y", dist.Categorical(p), obs=y)  # here


@declines("phi", "", OUTCOME)
def half_the_logits(y):
    phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
    sample("y", dist.Categorical(logits=0.5 * jnp.log(phi)), obs=y)  # here


@declines("p", "it may enter only by its log-determinant", Y)
def one_element_of_a_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.Normal(0.0, 1 / jnp.sqrt(p[0, 0])), obs=y)  # here


@declines("p", "factor", np.stack([Y, Y], 1))
def precision_with_a_ridge(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.MultivariateNormal(0.0, precision_matrix=p + jnp.eye(2)), obs=y)  # here


@declines("p", "", np.stack([Y, Y], 1))
def precision_taken_for_a_covariance(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.MultivariateNormal(0.0, covariance_matrix=p), obs=y)  # here


@declines("l", "", np.stack([Y, Y], 1))
def root_of_a_precision_taken_for_that_of_a_covariance(y):
    l = sample("l", dist.WishartCholesky(4.0, rate_matrix=jnp.eye(2)))  # noqa: E741
    sample("y", dist.MultivariateNormal(0.0, scale_tril=l), obs=y)  # here


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), collapsed="p", relation="normal-wishart")
def mean_whose_prior_does_not_scale_with_the_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))  # here
    sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)


@declines("p", "the integral over `mu` depends on it", np.stack([Y, Y], 1), collapsed="mu")
def mean_scaled_by_the_inverse_of_its_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))  # here
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), covariance_matrix=p))
    sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), collapsed="p")
def mean_moved_across_the_columns_of_its_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))  # here
    sample("y", dist.MultivariateNormal(mu[::-1], precision_matrix=p), obs=y)


@declines("s", "the integral over `b` depends on it", np.stack([Y, Y], 1), collapsed="b", relation="matrix-normal-wishart")
def coefficients_that_differ_between_columns(y):
    s = sample("s", dist.InverseWishart(4.0, scale_matrix=jnp.eye(2)))  # here
    with plate("coefficients", 2):
        b = sample("b", dist.MultivariateNormal(jnp.zeros(2), covariance_matrix=s))
    weights = jnp.asarray(np.stack([X2, X2 * np.array([1.0, 2.0])], -1))
    sample("y", dist.MultivariateNormal(jnp.sum(weights * b, 1), covariance_matrix=s), obs=y)


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), GROUP, collapsed="p")
def means_and_precisions_by_different_groups(y, g):
    with plate("g", 3):
        p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
        mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))  # here
    sample("y", dist.MultivariateNormal(mu[g], precision_matrix=p[g[::-1]]), obs=y)


@declines("v", "the integral over `mu` depends on it", Y[:3], collapsed="mu")
def correlated_means_with_variances_of_their_own(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0).expand([3]))  # here
    root = jnp.sqrt(v)[:, None] * jnp.asarray(np.tril(np.full((3, 3), 0.5)) + np.eye(3))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(3), scale_tril=root))
    sample("y", dist.Normal(mu, jnp.sqrt(v)), obs=y)


@declines("p", "it may enter only by its log-determinant", np.stack([np.eye(2)] * 2))
def wishart_whose_scale_is_a_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    sample("y", dist.Wishart(4.0, scale_matrix=p), obs=y)  # here


@declines("z", "has no conjugate family here", Y[:3])
def normal_with_sum_zero(y):
    z = sample("z", dist.ZeroSumNormal(1.0, (3,)))  # here
    sample("y", dist.Normal(z, 1.0), obs=y)


@declines("a", "`abs` of complex numbers", Y)
def power_of_a_spectrum(y):
    a = sample("a", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    sample("y", dist.Normal(jnp.abs(jnp.fft.fft(a)), 1.0), obs=y)  # here


@declines("b", "a convolution of latents with each other", Y)
def convolution_of_latents(y):
    a = sample("a", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    b = sample("b", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    sample("y", dist.Normal(jnp.convolve(a, b, mode="same"), 1.0), obs=y)  # here


@declines("tau", "the factor statement `f` depends on it", Y, collapsed="b")
def factor_that_scales_with_the_precision(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1 / jnp.sqrt(tau)))
    sample("y", dist.Normal(b, 1 / jnp.sqrt(tau)), obs=y)
    numpyro.factor("f", (b + 50.0) * tau)  # here


@declines("p", "the factor statement `f` depends on it", np.stack([Y, Y], 1), collapsed="mu")
def factor_with_an_element_of_the_precision(y):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))
    sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)
    numpyro.factor("f", mu[0] * p[0, 1])  # here


@declines("mu", "what is left of `p` is in no closed form in it", np.stack([Y, Y], 1), Y, collapsed="p")
def mean_of_one_coordinate_alone(y, x):
    p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
    mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))  # here
    sample("y", dist.MultivariateNormal(mu * jnp.array([1.0, 0.0]), precision_matrix=p), obs=y)


@declines("v", "", np.stack([Y, Y, Y], 1))
def variance_beside_a_known_one(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.MultivariateNormal(0.0, covariance_matrix=v * jnp.eye(3) + 0.5), obs=y)  # here


@declines("mu", "`z`, which is summed out, chooses between its elements", Y, collapsed="z")
def discrete_parent(y):
    mu = sample("mu", dist.Normal(jnp.zeros(2), 1.0))
    with plate("rows", N):
        z = sample("z", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
        sample("y", dist.Normal(mu[z], 1.0), obs=y)  # here


@declines("b", "meets several elements of the discrete latent `k`", Y, collapsed="k u")
def discrete_classes_beside_what_all_share(y):
    b = sample("b", dist.Normal(0.0, 1.0))  # here
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(2.0 * k, 1.0))
        sample("y", dist.Normal(b + u, 1.0 + k), obs=y)


@declines("mu", "it joins elements of `u` that meet different elements of the discrete latent `k`", Y,
          collapsed="k u")
def discrete_classes_of_exchangeable_effects(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))  # here
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(mu, 1.0))
        sample("y", dist.Normal(u + 2.0 * k, 1.0), obs=y)


@declines("u", "elements of it that are not independent meet different elements of the discrete latent `k`", Y,
          collapsed="k")
def discrete_classes_of_a_process(y):
    near = jnp.exp(-0.5 * (jnp.arange(N)[:, None] - jnp.arange(N)) ** 2) + 0.1 * jnp.eye(N)
    u = sample("u", dist.MultivariateNormal(jnp.zeros(N), near))  # here
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        sample("y", dist.Normal(u, 1.0 + k), obs=y)


@declines("u", "for all states of `j` and `k` it would take 2.2e+08 numbers", Y, collapsed="j k")
def discrete_classes_with_many_states(y):
    with plate("rows", N):
        j = sample("j", dist.DiscreteUniform(0, 5999))
        k = sample("k", dist.DiscreteUniform(0, 5999))
        u = sample("u", dist.Normal(0.001 * j, 1.0))  # here
        sample("y", dist.Normal(u - 0.001 * k, 1.0), obs=y)


@declines("p", "the support of `y` depends on a discrete latent", np.minimum(COUNT, 3), collapsed="k")
def discrete_totals(y):
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        p = sample("p", dist.Beta(1.0, 2.0))
        sample("y", dist.Binomial(3 + k, p), obs=y)  # here


@declines("u", "`u` goes through `tanh` in `y`", Y, collapsed="k")
def discrete_classes_of_what_is_not_linear(y):
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        u = sample("u", dist.Normal(2.0 * k, 1.0))
        sample("y", dist.Normal(jnp.tanh(u), 1.0), obs=y)  # here


@declines("s", "a choice between cases", Y, collapsed="k")
def discrete_choice_beside_what_may_be_infinite(y):
    w = sample("w", dist.StudentT(3.0, 0.0, 1.0))
    with plate("rows", N):
        k = sample("k", dist.Bernoulli(0.4))
        s = sample("s", dist.InverseGamma(2.0, 1.0))
        sample("y", dist.Normal(0.0, jnp.where(k == 1, jnp.sqrt(s), jnp.exp(w))), obs=y)  # here


@declines("a", "a choice between cases that depends on a latent", Y)
def choice_whose_other_case_is_not_finite(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.StudentT(3.0, 0.0, 1.0))
    sample("y", dist.Normal(jnp.where(s > 0, a * jnp.log(s), a), 1.0), obs=y)  # here


@declines("mu", "MixtureSameFamily", Y)
def mixture(y):
    mu = sample("mu", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    parts = dist.Normal(mu, 1.0)
    sample("y", dist.MixtureSameFamily(dist.Categorical(jnp.ones(2) / 2), parts), obs=y)  # here


@declines("k", "values of a Poisson are not finitely many", COUNT)
def discrete_without_a_largest_value(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with plate("rows", N):
        k = sample("k", dist.Poisson(rate))  # here
        sample("y", dist.Poisson(k + 0.5), obs=y)


@declines("rate", "a discrete latent is summed out already", COUNT)
def mixture_that_numpyro_sums_out(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.ZeroInflatedPoisson(0.3, rate), obs=y)  # here


@declines("k", "the support of `y` depends on it", np.minimum(COUNT, 2))
def discrete_that_moves_a_support(y):
    with plate("rows", N):
        k = sample("k", dist.Categorical(jnp.ones(4) / 4))
        # NumPyro's density of it is not 0 outside
        sample("y", dist.DiscreteUniform(0, k + 2), obs=y)  # here


@declines("z", "several of its elements go through `dot_general`", Y, np.stack([Y, Y**2], 1))
def discrete_inclusion(y, x):
    b = sample("b", dist.Normal(jnp.zeros(2), 1.0))
    z = sample("z", dist.Bernoulli(0.5).expand([2]))
    sample("y", dist.Normal(x @ (z * b), 1.0), obs=y)  # here


@declines("z", "summing out `z` would take a table of 4.2e+09 numbers", Y, relation="discrete-chain")
def discrete_chain_of_order_two_with_many_states(y):
    def step(carry, seen):
        one, two = carry
        z = sample("z", dist.Categorical(logits=jnp.arange(180.0) * 0.01 * (one - two)))
        sample("y", dist.Normal(z, 1.0), obs=seen)
        return (z, one), None

    scan(step, (0, 0), y)  # here


@declines("a", "summing out `a` and `b` would take a table of 1.5e+09 numbers", Y)
def discrete_chains_that_meet_with_many_states(y):
    def step(carry, seen):
        a = sample("a", dist.Categorical(logits=jnp.arange(120.0) * 0.01 * carry[0]))
        b = sample("b", dist.Categorical(logits=jnp.arange(120.0) * 0.01 * carry[1]))
        sample("y", dist.Normal(a + 2.0 * b, 1.0), obs=seen)
        return (a, b), None

    scan(step, (0, 0), y)  # here


@declines("z", "would take a table of", np.ones((20, 20)))
def discrete_grid(y):
    z = sample("z", dist.Bernoulli(0.4).expand([20, 20]))  # here
    numpyro.factor("down", jnp.where(z[1:] == z[:-1], 0.5, 0.0))
    numpyro.factor("across", jnp.where(z[:, 1:] == z[:, :-1], 0.5, 0.0))
    sample("y", dist.Normal(z, 1.0), obs=y)


@declines("z", "discrete latent `n`, which stays", COUNT)
def discrete_beside_one_that_stays(y):
    n = sample("n", dist.Poisson(2.0))
    z = sample("z", dist.Bernoulli(0.4))
    sample("y", dist.Poisson(1.0 + n + z), obs=y)  # here


@declines("k", "subsampled plate", Y)
def discrete_in_a_subsampled_plate(y):
    k = sample("k", dist.Bernoulli(0.4))
    with plate("rows", N, subsample_size=3) as rows:
        sample("y", dist.Normal(k, 1.0), obs=y[rows])  # here


@declines("k", "weighted by `scale`", Y)
def discrete_with_a_weight(y):
    with handlers.scale(scale=2.0):
        k = sample("k", dist.Bernoulli(0.4))  # here
    sample("y", dist.Normal(k, 1.0), obs=y)


# -- what cannot be proved -------------------------------------------------------------------------


@declines("b", "the data do not determine it", Y)
def flat_prior_without_rank(y):
    b = sample("b", dist.ImproperUniform(constraints.real, (2,), ()))  # here
    sample("y", dist.Normal(jnp.stack([y, 2 * y], 1) @ b, 1.0), obs=y)


@declines("a", "rank 3 of 6", Y, collapsed="b")
def flat_prior_between_sites(y):
    a = sample("a", dist.ImproperUniform(constraints.real, (3,), ()))  # here
    b = sample("b", dist.ImproperUniform(constraints.real, (3,), ()))
    sample("y", dist.Normal(a[jnp.asarray(GROUP)] + b[jnp.asarray(GROUP)], 1.0), obs=y)


@declines("a", "noise", Y)
def hidden_noise(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    noise = jax.random.normal(numpyro.prng_key())
    sample("y", dist.Normal(a + noise, 1.0), obs=y)  # here


@declines("new", "noise", Y, collapsed="a")
def hidden_noise_in_a_prediction(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    noise = jax.random.normal(numpyro.prng_key())
    sample("new", dist.Normal(noise, 1.0))  # here
