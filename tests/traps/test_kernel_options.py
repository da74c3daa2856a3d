"""Traps of the contract between `MCMC` and a kernel that moves only some of a model's sites."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import sample
from numpyro.infer import MCMC, log_likelihood
from scipy import stats

import conjugate_ppl as cj
from traps.oracles import schools

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])


def test_options_that_name_collapsed_sites():
    """Starting values of collapsed sites are left out; any site may be left out of the samples."""
    kernel = cj.Collapsed(schools)
    mcmc = MCMC(kernel, num_warmup=20, num_samples=10, progress_bar=False)
    start = {"mu": jnp.zeros(()), "tau": jnp.zeros(()), "theta": jnp.zeros(4)}
    mcmc.run(KEY, Y, init_params=start, extra_fields=("~z.mu", "num_steps"))
    draws = mcmc.get_samples()
    assert {n: v.shape for n, v in draws.items()} == {"tau": (10,), "theta": (10, 4)}
    assert set(mcmc.get_extra_fields()) == {"diverging", "num_steps"}
    # pointwise, given the recovered draws: what plain NUTS reports
    found = log_likelihood(kernel.model, {"mu": jnp.zeros(10), **draws}, Y)["y"]
    np.testing.assert_allclose(found, stats.norm(draws["theta"], 1).logpdf(Y))


def test_mass_matrix_of_a_collapsed_site():
    """An inverse mass matrix that names a collapsed site is an error that says what to do."""
    kernel = cj.Collapsed(schools, inverse_mass_matrix={("tau", "theta"): jnp.eye(5)})
    with pytest.raises(cj.PlanError, match=r"inverse_mass_matrix.*'theta'.*keep="):
        kernel.init(KEY, 10, None, (Y,), {})


def test_nothing_compiled():
    """Who looks for a fault switches compilation off."""
    def model(y):
        mu, s = sample("mu", dist.Normal(0.0, 1.0)), sample("s", dist.HalfNormal(1.0))
        sample("y", dist.Normal(mu, s), obs=y)

    with jax.disable_jit():
        mcmc = MCMC(cj.Collapsed(model), num_warmup=1, num_samples=1, progress_bar=False)
        mcmc.run(jax.random.key(0), np.array([0.3, -1.2, 2.0]))
    assert np.isfinite(mcmc.get_samples()["mu"]).all()
