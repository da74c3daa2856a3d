"""Models on which other packages for automatic conjugacy fail or are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import plate, sample
from scipy import special, stats

import conjugate_ppl as cj
from traps.oracles import dense, evidence, gamma_poisson, marginal, reason

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])
COUNT = np.array([1, 2, 0, 3])
BINARY = np.array([1, 0, 1, 1])
ONES, EYE = np.ones((4, 4)), np.eye(4)


# -- small models, with their evidence in closed form ----------------------------------------------


def beta_binomial():
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Binomial(10, p), obs=4)


def beta_bernoulli():
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(p), obs=1)


def beta_binomial_inside_a_plate():
    with plate("rows", 4):
        p = sample("p", dist.Beta(2.0, 3.0))
        sample("y", dist.Binomial(10, p), obs=COUNT)


def beta_shared_over_a_plate():
    p = sample("p", dist.Beta(2.0, 3.0))
    with plate("rows", 4):
        sample("y", dist.Bernoulli(p), obs=BINARY)


def binomials_of_one_beta():
    p = sample("p", dist.Beta(2.0, 3.0))
    with plate("rows", 4):
        sample("y", dist.Binomial(10, p), obs=COUNT)


def gamma_gamma():
    rate = sample("rate", dist.Gamma(2.0, 3.0))
    sample("y", dist.Gamma(4.0, rate), obs=1.5)


def gamma_poissons():
    rate = sample("rate", dist.Gamma(2.0, 3.0))
    with plate("rows", 4):
        sample("y", dist.Poisson(rate), obs=COUNT)


def normal_seen_as_a_python_number():
    a = sample("a", dist.Normal(1.0, 2.0))
    sample("y", dist.Normal(a, 1.0), obs=0.5)


def affine_mean():
    p = sample("p", dist.Normal(1.0, 2.0))
    sample("y", dist.Normal(2 * p + 1, 1.0), obs=0.5)


def eight_schools_of_known_spread():
    mu = sample("mu", dist.Normal(0.0, 5.0))
    with plate("schools", 4):
        theta = sample("theta", dist.Normal(mu, 2.0))
        sample("y", dist.Normal(theta, 1.0), obs=Y)


def dirichlet_multinomial():
    phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    sample("y", dist.Multinomial(6, phi), obs=np.array([1, 3, 2]))


CHOICES = float(np.log(special.binom(10, COUNT)).sum())
SMALL = {
    beta_binomial: stats.betabinom.logpmf(4, 10, 2, 3),
    beta_bernoulli: np.log(2 / 5),
    beta_binomial_inside_a_plate: stats.betabinom.logpmf(COUNT, 10, 2, 3).sum(),
    beta_shared_over_a_plate: special.betaln(5, 4) - special.betaln(2, 3),
    binomials_of_one_beta: CHOICES + special.betaln(8, 37) - special.betaln(2, 3),
    gamma_gamma: stats.betaprime.logpdf(1.5 / 3, 4, 2) - np.log(3),
    gamma_poissons: gamma_poisson(COUNT, 2.0, 3.0),
    normal_seen_as_a_python_number: stats.norm.logpdf(0.5, 1, np.sqrt(5)),
    affine_mean: stats.norm.logpdf(0.5, 3, np.sqrt(17)),
    eight_schools_of_known_spread: dense(Y, 25 * ONES + 5 * EYE),
    dirichlet_multinomial: stats.dirichlet_multinomial.logpmf([1, 3, 2], [1.0, 2.0, 0.5], 6),
}


@pytest.mark.parametrize("model", SMALL, ids=lambda m: m.__name__)
def test_small_models(model):
    """Models on which `numpyro.handlers.collapse` crashes, or loses a constant of the data."""
    assert evidence(model) == pytest.approx(float(SMALL[model]))


# -- conjugate at the first row, or only at first sight --------------------------------------------


def test_first_row_of_coefficient_one_and_offset_zero():
    """The first dependent of a latent says nothing of the others."""
    def model(slope, offset, group, y):
        a = sample("a", dist.Normal(1.0, 2.0))
        b = sample("b", dist.Normal(0.0, 1.0).expand([2]))
        sample("y", dist.Normal(slope[group] * a + offset[group] + b[group], 1.0), obs=y)

    slope, offset, group = np.array([1.0, 3.0]), np.array([0.0, 2.0]), np.array([0, 1, 0, 1])
    c = slope[group]
    covariance = 4 * np.outer(c, c) + (group[:, None] == group) + EYE
    expected = dense(Y, covariance, c + offset[group])
    assert evidence(model, *map(jnp.asarray, (slope, offset, group)), Y) == pytest.approx(expected)


def test_overlapping_slices_of_a_vector():
    """Slices, supersets and offset slices of one vector latent are not the vector."""
    def model(y, w):
        b = sample("b", dist.MultivariateNormal(jnp.ones(4), jnp.eye(4) + 0.5))
        sample("y", dist.MultivariateNormal(2 * b[1:3] + b[:2], jnp.eye(2) + 0.3), obs=y)
        sample("w", dist.Normal(b[::2], 0.5), obs=w)

    design = np.array([[1.0, 2, 0, 0], [0, 1, 2, 0], [1, 0, 0, 0], [0, 0, 1, 0]])
    noise = np.diag([1.0, 1, 0.25, 0.25])
    noise[:2, :2] += 0.3
    expected = dense(Y, design @ (EYE + 0.5) @ design.T + noise, design.sum(1))
    assert evidence(model, Y[:2], Y[2:]) == pytest.approx(expected)


def test_stick_breaking():
    """A stick reaches the data by two ways: as the probability of a cell, and in the rest of the later ones."""
    def model(y):
        v = sample("v", dist.Beta(1.0, 2.0).expand([2]))
        rest = jnp.cumprod(1 - v)
        sample("y", dist.Categorical(jnp.stack([v[0], v[1] * rest[0], rest[1]])), obs=y)

    expected = special.beta(2, 4) / special.beta(1, 2) * special.beta(2, 3) / special.beta(1, 2)
    assert evidence(model, np.array([0, 1, 2])) == pytest.approx(np.log(expected))


@pytest.mark.parametrize("probs, words", [
    (lambda p: p[jnp.array([0, 1, 1])], "not proved to sum to one"),
    (lambda p: jnp.stack([p[0], p[1], 1 - p[0] - p[1]]), "a logarithm of a sum"),
    (lambda p: p**2, "not proved to sum to one"),
], ids=["merged", "rest by subtraction", "squared"])
def test_cells_that_are_no_simplex(probs, words):
    """Cells of a simplex, put together anew, need not sum to one."""
    def model(y):
        phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
        sample("y", dist.Categorical(probs(phi)), obs=y)  # here

    assert words in reason(model, "phi", np.array([0, 1, 2]))


def test_binomial_of_a_power():
    """A count's probability must be the latent itself, with coefficient and exponent one."""
    def model(y):
        p = sample("p", dist.Beta(2.0, 2.0))
        sample("y", dist.Binomial(5, p**2), obs=y)

    assert "may enter only as" in cj.explain(model, COUNT)["p"].reason


def test_many_sites_in_any_order_of_names():
    """Sites have no order but the model's, also where there are more of them than letters."""
    def model(y):
        x = 0.0
        for k in range(30):
            x = sample(f"x{7 * k % 30}", dist.Normal(0.5 * x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)

    variance = sum(0.25**k for k in range(30))
    assert evidence(model, Y) == pytest.approx(dense(Y, variance * ONES + EYE))


# -- posteriors ------------------------------------------------------------------------------------


def posterior(model, values, *args):
    """log p(a | data) at some values of `a`."""
    collapsed = cj.collapse(model)
    density = jax.vmap(lambda a: collapsed.conditional_log_prob({"a": a}, {}, *args))
    return jax.jit(density)(jnp.asarray(values))


def test_prior_mean_enters_the_posterior_mean():
    """The mean given the data is that of a prior with a mean, not of a centred one."""
    def model(y):
        a = sample("a", dist.Normal(3.0, 1.0))
        sample("y", dist.Normal(a, 2.0), obs=y)

    at = np.array([-1.0, 0.5, 2.0])
    exact = stats.norm((3 + Y.sum() / 4) / 2, np.sqrt(1 / 2))
    np.testing.assert_allclose(posterior(model, at, Y), exact.logpdf(at), rtol=1e-10)


@pytest.mark.parametrize("noise", [1e-3, 1e3], ids=["sharp", "vague"])
def test_posterior_variance_without_subtraction(noise, x64):
    """1 - k x loses all digits of a small variance in float32; 1 / (1 + n / s^2) loses none."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, noise), obs=y)

    spread = 1 / np.sqrt(1 + 4 / noise**2)
    at = spread * np.array([-2.0, 0.5, 1.0])
    expected = stats.norm(0, spread).logpdf(at)
    found = posterior(model, at, np.zeros(4))
    np.testing.assert_allclose(found, expected, rtol=1e-10 if x64 else 1e-5)


def test_more_than_two_correlated_effects():
    """Effects of a group are a vector of any width, given any known design and any noise."""
    rng = np.random.default_rng(0)
    group, x = np.repeat([0, 1], 4), rng.normal(size=(8, 3))
    y, noise = rng.normal(size=8), rng.uniform(0.5, 2.0, 8)
    root = np.array([[1.0, 0.0, 0.0], [0.5, 0.8, 0.0], [-0.3, 0.2, 0.6]])

    def model(x, y):
        tau = sample("tau", dist.Uniform(0.0, 10.0))
        with plate("groups", 2):
            b = sample("b", dist.MultivariateNormal(jnp.zeros(3), scale_tril=tau * root))
        sample("y", dist.Normal(jnp.sum(b[group] * x, -1), noise), obs=y)

    found = marginal(model, {"tau": 1.5}, x, y) - np.log(0.1)
    own = 2.25 * x @ root @ root.T @ x.T * (group[:, None] == group)
    assert found == pytest.approx(dense(y, own + np.diag(noise**2)))
