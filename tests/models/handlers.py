"""Masks, weights, and NumPyro's own handlers."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from numpyro.handlers import condition, do, lift, reparam, scope
from numpyro.infer import reparam as reparams

from models.table import COUNT, EXPOSURE, GROUP, HOLED, SEEN, YG, G, N, P, X, Y, case

# -- Gaussian: masks, weights, handlers ------------------------------------------------------------


@case("a", HOLED)
def masked_by_handler(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with handlers.mask(mask=jnp.isfinite(y)):
        sample("y", dist.Normal(a, s), obs=y)


@case("a", HOLED, X)
def masked_by_method(y, x):
    a = sample("a", dist.Normal(jnp.zeros(P), 1.0))
    sample("y", dist.Normal(x @ a, 1.0).mask(jnp.isfinite(y)), obs=y)


@case("a", np.where(np.arange(G * 3).reshape(G, 3) == 4, np.nan, 1.0 + np.arange(G * 3).reshape(G, 3)))
def masked_wider_than_batch(y):
    with plate("g", G, dim=-2):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, 1.0).mask(jnp.isfinite(y)), obs=y)


@case("a", Y)
def masked_altogether(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("off", dist.Normal(a, 0.1).mask(False), obs=y)
    sample("y", dist.Normal(a, 1.0).mask(True), obs=y)


@case("a y_unobserved", np.where(SEEN, Y, 0.0), SEEN)
def masked_by_obs_mask(y, seen):
    a = sample("a", dist.Normal(0.0, 1.0))
    with plate("rows", N):
        sample("y", dist.Normal(a, 1.0), obs=y, obs_mask=seen)


@case("a nu missing", Y, HOLED[::-1])
def missing_cells_whose_prior_is_masked(y, x):
    """Their density is that of an observed site, as the documents of NumPyro write it; the other prior is flat so."""
    a = sample("a", dist.Normal(0.0, 5.0))
    b = sample("b", dist.Cauchy(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    nu = sample("nu", dist.Normal(0.0, 5.0).mask(False))
    there = np.isfinite(x)
    missing = sample("missing", dist.Normal(nu, s).expand([int((~there).sum())]).mask(False))
    whole = jnp.asarray(np.where(there, x, 0.0)).at[np.flatnonzero(~there)].set(missing)
    sample("x", dist.Normal(nu, s), obs=whole)
    sample("y", dist.Normal(a + b * whole, s), obs=y)


@case("a", Y, EXPOSURE)
def weighted_rows(y, w):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N), handlers.scale(scale=w):
        sample("y", dist.Normal(a, s), obs=y)


@case("a", Y)
def tempered(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    with handlers.scale(scale=0.3):
        sample("y", dist.Normal(a, 1.0), obs=y)


@case("rate", COUNT)
def tempered_counts(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with handlers.scale(scale=2.5):
        sample("y", dist.Poisson(rate), obs=y)


def _schools(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("g", G):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 1.0), obs=y)


case("mu theta_decentered", YG, name="reparam_not_centred")(
    reparam(_schools, config={"theta": reparams.LocScaleReparam(0)}))
case("mu theta_decentered", YG, name="reparam_half_centred")(
    reparam(_schools, config={"theta": reparams.LocScaleReparam(0.4)}))
case("in/mu in/theta", YG, name="scope")(scope(_schools, "in"))
case("theta", YG, name="condition_latent")(condition(_schools, {"mu": 0.4}))
case("mu theta", YG, name="condition_scale")(condition(_schools, {"tau": 0.7}))
case("mu theta", YG, name="do_latent")(do(_schools, {"mu": jnp.array(0.4)}))
case("mu theta tau", YG, name="do_scale")(do(_schools, {"tau": jnp.array(0.4)}))


def _with_parameter(y):
    mu = numpyro.param("mu", 0.0)
    with plate("rows", N):
        sample("y", dist.Normal(mu, 1.0), obs=y)


case("mu", Y, name="lift")(lift(_with_parameter, prior={"mu": dist.Normal(0.0, 2.0)}))


@case("z", Y, X[:, 1], GROUP)
def params_in_a_mean(y, x, g):
    """Of `param` sites one enters as coefficients do, one multiplies what is integrated out."""
    line = numpyro.param("line", jnp.array([1.0, -0.5]))
    slope = numpyro.param("slope", 0.4)
    s = sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        z = sample("z", dist.Normal(line[0], 1.0))
    with plate("rows", N):
        sample("y", dist.Normal(z[g] * (1.0 + slope * x) + line[1] * x, s), obs=y)


@case("z", Y, GROUP)
def params_of_a_prior(y, g):
    """Empirical Bayes: mean and scale of effects."""
    mean, spread = numpyro.param("mean", 0.3), numpyro.param("spread", 1.5, constraint=dist.constraints.positive)
    s = sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        z = sample("z", dist.Normal(mean, spread))
    with plate("rows", N):
        sample("y", dist.Normal(z[g], s), obs=y)
