"""Posteriors of models with discrete latents, as sums of contributions: against sums over all states, and refitting."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import evaluated
from numpyro import sample
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy.special import logsumexp

import conjugate_ppl as cj

Y = np.random.default_rng(0).normal(1.0, 1.0, 8)
GROUP = np.array([0, 1, 2, 0, 1, 2, 0, 0])
COUNT = np.array([1, 0, 3, 2, 5])
SEEN = np.arange(8) % 3 != 1


def one_switch(y):
    k = sample("k", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    sample("y", dist.Normal(jnp.array([0.0, 1.0, 2.0])[k], 1.0).mask(SEEN[: len(y)]), obs=y)


def classes_of_groups(y):
    with numpyro.plate("groups", 3):
        k = sample("k", dist.Bernoulli(0.3))
    j = sample("j", dist.Categorical(jnp.array([0.4, 0.6])))
    with numpyro.handlers.scale(scale=0.5):
        sample("y", dist.Normal(jnp.array([[0.0, 1.0], [3.0, 0.2]])[k[GROUP], j], 1.0), obs=y)


def classes_of_rows(y):
    with numpyro.plate("rows", len(y)):
        k = sample("k", dist.Bernoulli(0.3))
        sample("y", dist.Normal(1.5 * k, 1.0), obs=y)


def unknown_total(y):
    n = sample("n", dist.DiscreteUniform(3, 6))
    sample("y", dist.Binomial(n, 0.4), obs=y)


def hidden_markov(y):
    def step(k, seen):
        k = sample("k", dist.Categorical(jnp.array([[0.8, 0.2], [0.3, 0.7]])[k]))
        sample("y", dist.Normal(1.0 * k, 1.0), obs=seen)
        return k, None

    scan(step, 0, y)


def events_of_rows(y):
    with numpyro.plate("rows", 8):
        k = sample("k", dist.Bernoulli(0.3))
    with numpyro.plate("pairs", 4):
        sample("y", dist.Normal(1.5 * k.reshape(4, 2), 1.0).to_event(1), obs=y.reshape(4, 2))


def far_apart(y):
    sample("y", dist.Normal(100.0 * sample("k", dist.Bernoulli(0.3)), 1.0), obs=y)


def means_of_groups(y):
    with numpyro.plate("groups", 3):
        k = sample("k", dist.Bernoulli(0.3))
        z = sample("z", dist.Normal(0.0, jnp.where(k == 1, 3.0, 0.3)))
    sample("y", dist.Normal(z[GROUP], 1.0 + k[GROUP]), obs=y)


def prior_that_switches(y):
    k = sample("k", dist.Bernoulli(0.3))
    z = sample("z", dist.Gamma(1.0 + 3.0 * k, 2.0))
    v = sample("v", dist.InverseGamma(2.0, 2.0))
    sample("y", dist.Exponential(z), obs=jnp.abs(y))
    sample("apart", dist.Normal(0.0, jnp.sqrt(v)), obs=y)


def effects_in_classes(y):
    """A state is one of two indices of a table, above a latent of each row."""
    table = jnp.array([[0.0, 9.0], [2.0, 9.0]])
    with numpyro.plate("rows", len(y)):
        k, u = sample("k", dist.Bernoulli(0.3)), sample("u", dist.Normal(0.0, 0.5))
        sample("y", dist.Normal(table[k, 0] + u, 1.0), obs=y)


MODELS = {m.__name__: (m, y) for m, y in (
    (one_switch, Y), (classes_of_groups, Y), (classes_of_rows, Y), (unknown_total, COUNT), (hidden_markov, Y),
    (events_of_rows, Y), (far_apart, np.array([0.0, 100.0])), (means_of_groups, Y), (prior_that_switches, Y),
    (effects_in_classes, Y[:4]))}


@pytest.mark.parametrize("x64, name", [*((True, n) for n in MODELS), *((False, n) for n in list(MODELS)[::3])],
                         indirect=["x64"])
def test_sums(name, x64):
    """Data added, weighted and taken away, and all cells left out, against refitting."""
    model, y = MODELS[name]
    tol = {"rtol": 1e-8, "atol": 1e-8} if x64 else {"rtol": 1e-4, "atol": 2e-4}
    collapsed, y = cj.collapse(model), jnp.asarray(y)
    whole = collapsed.posterior(y)
    evidence = whole.log_evidence()
    np.testing.assert_allclose(evidence, collapsed.log_evidence(y), **tol)
    np.testing.assert_allclose(whole.temper(0.0).log_evidence(), 0.0, atol=1e-5)
    np.testing.assert_allclose(whole.update(y).log_evidence(), whole.temper(2.0).log_evidence(), **tol)
    np.testing.assert_allclose(whole.merge(whole).log_evidence(), whole.temper(2.0).log_evidence(), **tol)
    value = {n: x[0] for n, x in whole.sample(jax.random.key(0), 1).items()}
    density = evaluated(lambda z: log_density(model, (y,), {}, z)[0])(value)
    np.testing.assert_allclose(density - whole.log_prob(value), evidence, **tol)
    for site, shape in whole.observations.items():
        loo = whole.loo(site)
        assert loo.shape == shape
        for i in {0, shape[0] - 1}:
            left = whole.without(site, i)
            np.testing.assert_allclose(loo[i], evidence - left.log_evidence(), **tol)
            np.testing.assert_allclose(left.loo(site)[i], loo[i], **tol)  # predicted by what is left


def test_a_sum_over_all_states():
    """The evidence of some of the data, state by state."""
    collapsed, kept = cj.collapse(classes_of_groups), np.delete(np.arange(8), 3)
    total = []
    for *k, j in itertools.product(range(2), repeat=4):
        mean = np.array([[0.0, 1.0], [3.0, 0.2]])[np.array(k)[GROUP], j]
        terms = 0.5 * dist.Normal(mean, 1.0).log_prob(Y)
        total.append(np.sum(dist.Bernoulli(0.3).log_prob(np.array(k))) + np.log([0.4, 0.6][j]) + np.sum(terms[kept]))
    np.testing.assert_allclose(collapsed.posterior(Y).without("y", 3).log_evidence(), logsumexp(total), rtol=1e-9)


@pytest.mark.parametrize("name", ["one_switch", "means_of_groups", "prior_that_switches"])
def test_predictions_are_mixtures(name):
    """At an observed value the prediction without it is what leaving it out gives."""
    model, y = MODELS[name]
    whole = cj.collapse(model).posterior(y)
    value = np.abs(y) if name == "prior_that_switches" else y
    found = whole.without("y", 0).predictive("y").log_prob(value)[0]
    np.testing.assert_allclose(found, whole.loo("y")[0], rtol=1e-8)
    assert np.isfinite(whole.predictive("y").mean).all()


def test_laws_of_states():
    printed = str(cj.collapse(one_switch).posterior(Y))
    assert "CategoricalProbs" in printed and "nan" not in printed
    assert "MixtureGeneral" in str(cj.collapse(means_of_groups).posterior(Y))


def test_impossible_states_come_back():
    """What no state allows but for one observation is possible without it."""
    whole = cj.collapse(unknown_total).posterior(COUNT)
    probs = whole.distributions["n"].probs
    assert (np.asarray(probs)[:2] == 0).all()
    assert (np.asarray(whole.without("y", 4).distributions["n"].probs) > 0).all()


def test_leave_one_out_where_elements_differ_in_their_states():
    y, i = np.random.default_rng(0).normal(size=6), np.arange(6) % 2

    def model(i, y):
        k = numpyro.sample("k", dist.DiscreteUniform(np.array([0, 1]), np.array([2, 2])))
        m = numpyro.sample("m", dist.Normal(1.0, 1.0).expand([2]))
        numpyro.sample("y", dist.Normal(m[i] * (1.0 + k)[i], 1.0), obs=y)

    collapsed = cj.collapse(model)
    rest = np.array([float(collapsed.log_evidence(np.delete(i, j), np.delete(y, j))) for j in range(6)])
    found = collapsed.posterior(i, y).loo("y")
    np.testing.assert_allclose(found, float(collapsed.log_evidence(i, y)) - rest, rtol=1e-9)
