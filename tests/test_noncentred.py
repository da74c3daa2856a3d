"""Kept location-scale latents in non-centred form, when asked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample
from numpyro.infer import MCMC
from numpyro.infer.util import log_density

import conjugate_ppl as cj

COUNT = np.array([3, 0, 5, 2, 1, 4, 2, 7, 1])
GROUP = np.array([0, 1, 1, 2, 0, 2, 2, 1, 0])
Y = np.linspace(-1.0, 2.0, 9)


def model(count, y):
    mu, tau = sample("mu", dist.StudentT(3.0, 0.0, 1.0)), sample("tau", dist.HalfNormal(1.0))
    level = sample("level", dist.Normal(0.0, 3.0))  # collapsed, and in the prior of `near`
    plain = sample("plain", dist.Cauchy(0.0, 1.0))  # no other latent in its prior
    near = sample("near", dist.Normal(level, 1.0))
    with plate("groups", 3):
        a = sample("a", dist.StudentT(4.0, mu, tau))
        b = sample("b", dist.Normal(a, 0.5))
    numpyro.deterministic("rate", jnp.exp(b))
    sample("count", dist.Poisson(jnp.exp(b[GROUP] + near)), obs=count)
    sample("y", dist.Normal(level + plain, 1.0), obs=y)


def test_which_sites_and_their_names():
    before, after = cj.explain(model, COUNT, Y), cj.collapse(model, reparam="auto").plan(COUNT, Y)
    assert before.collapsed == after.collapsed == ("level",)
    assert after.kept == ("mu", "tau", "plain", "near", "a_decentered", "b_decentered")
    mcmc = MCMC(cj.Collapsed(model, reparam="auto", keep=["b"]), num_warmup=20, num_samples=10,
                progress_bar=False)
    mcmc.run(jax.random.key(0), COUNT, Y)
    draws = mcmc.get_samples()
    assert set(draws) == {*before.kept, "level", "rate"}
    np.testing.assert_allclose(draws["rate"], np.exp(draws["b"]))


def test_same_posterior():
    """The density of the noise is that of the site, times the scale."""
    auto, plain = cj.collapse(model, reparam="auto"), cj.collapse(model)
    rng = np.random.default_rng(0)
    noise = {"a_decentered": jnp.asarray(rng.normal(size=3)), "b_decentered": jnp.asarray(rng.normal(size=3))}
    given = {"mu": 0.3, "tau": 0.6, "plain": -0.2, "near": 0.1}
    a = given["mu"] + given["tau"] * noise["a_decentered"]
    b = a + 0.5 * noise["b_decentered"]
    left = log_density(auto, (COUNT, Y), {}, {**given, **noise})[0]
    right = log_density(plain, (COUNT, Y), {}, {**given, "a": a, "b": b})[0]
    np.testing.assert_allclose(left, right + 3 * np.log(given["tau"] * 0.5), rtol=1e-12)
    assert cj.check(auto, jax.random.key(0), COUNT, Y, num_points=1).points == 2


def test_sites_of_a_sample_shape():
    def several(form):
        def model(y):
            tau = sample("tau", dist.HalfNormal(1.0))
            a = form(tau)
            sample("y", dist.Bernoulli(logits=a).to_event(1), obs=y)

        return model

    forms = (lambda tau: sample("a", dist.Normal(0.0, tau), sample_shape=(4,)),
             lambda tau: sample("a", dist.Normal(0.0, tau).expand([4]).to_event(1)))
    given = {"tau": jnp.array(0.7), "a_decentered": jnp.linspace(-1.0, 1.0, 4)}
    found = [log_density(cj.collapse(several(form), reparam="auto"), (np.array([0, 1, 1, 0]),), {}, given)[0] for form in forms]
    np.testing.assert_allclose(*found, rtol=1e-12)
