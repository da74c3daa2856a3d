"""Models and kernels."""

from unittest import mock

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import handlers, sample
from numpyro.distributions import constraints
from numpyro.infer import AIES, MCMC, NUTS
from test_input import KEY, schools

import conjugate_ppl as cj
from provoked.table import Y, raises


@raises(cj.ModelError, "callable", 3, NUTS(schools))
def no_model(given):
    cj.collapse(given)


@raises(cj.ModelError, "no class of kernels", "NUTS", NUTS(schools))
def no_class_of_kernels(given):
    cj.Collapsed(schools, kernel=given)


@raises(cj.ModelError, r"AIES moves all chains.*AIES\(collapse\(model\)\)")
def ensemble_of_chains():
    cj.Collapsed(schools, kernel=AIES)


@raises(cj.PlanError, "collapsed already", {"keep": ["mu"]}, {"only": []}, {"require": ["mu"]})
def options_for_a_collapsed_model(options):
    cj.Collapsed(cj.collapse(schools), **options)


@raises(cj.PlanError, r"\['mu'\], integrated out")
def mass_matrix_of_a_collapsed_site():
    kernel = cj.Collapsed(schools, inverse_mass_matrix={("tau", "mu"): jnp.eye(2)})
    kernel.init(KEY, 0, None, (Y,), {})


@raises(cj.PlanError, r"\['tua'\], no latents.*mu, tau, theta",
        {"dense_mass": [("tua",)]}, {"inverse_mass_matrix": {("tua",): jnp.eye(1)}})
def mass_matrix_of_no_site(options):
    cj.Collapsed(schools, **options).init(KEY, 0, None, (Y,), {})


@raises(cj.ModelError, r"`n` would have to be sampled.*Poisson are not finitely many.*models\.py:\d+\)\. Give it "
        "a prior of finitely many values", dist.Poisson(2.0))
@raises(cj.ModelError, r"`n` would have to be sampled.*weighted by `scale`.*models\.py:\d+\)\. Change the "
        "model there", dist.Bernoulli(0.4))
def discrete_latent_that_stays(prior):
    def model():
        with handlers.scale(scale=2.0):
            n = sample("n", prior)
        sample("y", dist.Poisson(1.0 + n), obs=3)

    with mock.patch("importlib.util.find_spec", return_value=None):
        MCMC(cj.Collapsed(model), num_warmup=1, num_samples=1, progress_bar=False).run(KEY)


@raises(cj.ModelError, r"`n` would have to be sampled.*you named it in `keep`.*Leave it to be summed out")
def discrete_latent_that_is_kept():
    def model():
        sample("y", dist.Poisson(1.0 + sample("n", dist.Bernoulli(0.4))), obs=3)

    with mock.patch("importlib.util.find_spec", return_value=None):
        MCMC(cj.Collapsed(model, keep=["n"]), num_warmup=1, num_samples=1, progress_bar=False).run(KEY)


@raises(cj.PlanError, r"`mu`: its prior is flat.*keep=\['mu'\]")
def traced_arguments_prove_less():
    kernel = cj.Collapsed(flat)
    MCMC(kernel, num_warmup=1, num_samples=1, progress_bar=False, jit_model_args=True).run(KEY, Y)


def flat(y):
    mu = sample("mu", dist.ImproperUniform(constraints.real, (), ()))
    sample("y", dist.Normal(mu, 1.0), obs=y)
