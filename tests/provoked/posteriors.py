"""Posteriors as sums of contributions, and data in batches."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import sample
from numpyro.distributions import constraints
from spread import Device, Spread, taken_for_spread
from test_input import KEY, conjugate, schools

import conjugate_ppl as cj
from conjugate_ppl.additive.polynomial import NoStatistic
from conjugate_ppl.additive.removal import statistic_name
from conjugate_ppl.families.subspace import Embedded
from provoked.table import TAU, Y, raises

# -- posteriors as sums of contributions -----------------------------------------------------------


def one_rate(y):
    with numpyro.plate("rows", len(y)):
        sample("y", dist.Poisson(sample("rate", dist.Gamma(2.0, 1.0).expand([1]))), obs=y)


def posterior(y=(1, 2), model=one_rate, **how):
    return cj.collapse(model).posterior(jnp.asarray(y), **how)


@raises(cj.PlanError, "needs values of what is kept: `tau`")
def posterior_of_half_a_model():
    cj.collapse(schools).posterior(Y)


@raises(cj.PlanError, "is integrated out step by step")
def leave_one_out_of_a_chain():
    def model(y):
        walk = sample("walk", dist.GaussianRandomWalk(1.0, 3))
        sample("y", dist.Normal(walk, 1.0), obs=y)

    with mock.patch("conjugate_ppl.additive.chains._DENSE", 2):
        posterior([1.0, 2.0, 3.0], model).loo("y")


@raises(cj.PlanError, "its scale goes with `s`, which is no gamma variable")
def prediction_with_a_truncated_scale():
    def model(y):
        s = sample("s", dist.LogUniform(0.01, 50.0))
        m = sample("m", dist.Normal(0.0, 3.0 * s))
        with numpyro.plate("rows", len(y)):
            sample("y", dist.Normal(m, s), obs=y)

    posterior([1.0, 2.0, 4.0], model).predictive("y")


def classes(y):
    with numpyro.plate("rows", len(y)):
        k = sample("k", dist.Bernoulli(0.3))
        z = sample("z", dist.Normal(1.0 * k, 1.0))
        sample("y", dist.Normal(z, 1.0), obs=y)


@raises(cj.PlanError, "which together have 64", lambda p: p.loo("y"), lambda p: p.predictive("y"))
def mixtures_over_many_states(ask):
    ask(posterior(jnp.zeros(6), classes))


@raises(cj.PlanError, "whether it is data")
def posterior_with_a_factor_statement():
    def model(y):
        z = sample("z", dist.Normal(0.0, 1.0))
        numpyro.factor("tilt", 2.0 * z)
        sample("y", dist.Normal(z, 1.0), obs=y)

    posterior(1.0, model)


@raises(cj.ModelError, "no observed site")
def posterior_of_nothing():
    posterior(1.0, lambda y: sample("z", dist.Normal(0.0, 1.0)))


@raises(cj.PlanError, "have to be known", lambda y: posterior(y), lambda y: posterior().update(y))
def posterior_of_traced_data(make):
    jax.jit(lambda y: make(y).log_evidence())(jnp.array([1, 2]))


@raises(cj.PlanError, "through `w`, which no posterior")
def no_statistic():
    with mock.patch("conjugate_ppl.additive.polynomial.key_of", side_effect=NoStatistic("`w`")):
        posterior()


@raises(cj.InternalError, "belongs to no family")
def statistic_of_no_family():
    statistic_name(("cos", ("latent", "z"), 2.0, 1.0), 1)


@raises(cj.PlanError, "no observed site of this posterior; those are `y`", lambda p: p.loo("rate"),
        lambda p: p.without("x", 0))
def observations_of_no_site(ask):
    ask(posterior())


@raises(cj.DataError, "no observation", 2, "last", (0, 1))
def no_such_observation(index):
    posterior().without("y", index)


@raises(cj.DataError, "makes no posterior", -1.0, np.inf, "2")
def temper_by_no_power(power):
    posterior().temper(power)


@raises(cj.ModelError, "posteriors of one model", 3, functools.partial(posterior, 1.0, conjugate))
def merge_of_different_models(other):
    posterior().merge(other() if callable(other) else other)


@raises(cj.ModelError, "different values of .'tau'.")
def merge_given_different_values():
    one, two = (cj.collapse(schools).posterior(Y, kept={"tau": t * TAU}) for t in (1.0, 2.0))
    one.merge(two)


@raises(cj.ModelError, "the same latents")
def update_with_other_latents():
    def model(y):
        with numpyro.plate("rows", len(y)):
            sample("y", dist.Poisson(sample("rate", dist.Gamma(2.0, 1.0))), obs=y)

    posterior((1, 2), model).update(jnp.array([1, 2, 3]))


@raises(cj.ModelError, "The prior of `rate` is another one")
def update_with_another_prior():
    def model(y):
        sample("y", dist.Poisson(sample("rate", dist.Gamma(jnp.mean(y), 1.0))), obs=y)

    posterior((1, 2), model).update(jnp.array([4, 2]))


@raises(cj.ModelError, "The prior of `k2?` is another one",
        lambda y, p: sample("k", dist.Categorical(jnp.stack([p, 1 - p]))),
        lambda y, p: sample("k", dist.Categorical(logits=jnp.log(jnp.stack([p, 1 - p])))),
        lambda y, p: sample("k", dist.Bernoulli(p)), lambda y, p: sample("k", dist.Binomial(3, p)),
        lambda y, p: sample("k2", dist.Categorical(jnp.array([[0.5, 0.5], [p, 1 - p]])[sample("k", dist.Bernoulli(0.5))])),
        lambda y, p: sample("k", dist.TruncatedNormal(p, 1.0, low=0.0)),
        lambda y, p: sample("k", dist.TruncatedNormal(0.0, 1.0, low=p, high=3.0)))
def update_with_another_prior_of_states_or_of_what_is_truncated(latent):
    def model(y, p):
        sample("y", dist.Normal(latent(y, p), 1.0), obs=y)

    cj.collapse(model).posterior(Y, 0.3).update(Y, 0.5)


@raises(cj.ModelError, "The prior of `t` is another one", lambda p: dist.SoftLaplace(p, 1.0),
        lambda p: dist.AsymmetricLaplaceQuantile(p, 1.0, 0.5))
def update_with_another_prior_of_what_is_given(prior):
    def model(y, p):
        t = sample("t", prior(p))
        sample("y", dist.Normal(sample("z", dist.Normal(t, 1.0)), 1.0), obs=y)

    same = cj.collapse(model).posterior(Y, 0.5, kept={"t": 0.3})
    same.update(Y, 0.5).update(Y, 0.3)


@raises(cj.PlanError, "a RightCensoredDistribution is made of other distributions")
def prediction_of_what_is_censored():
    def model(y):
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        sample("y", dist.RightCensoredDistribution(dist.Exponential(rate + jnp.zeros(2)), jnp.array([0, 1])), obs=y)

    posterior([1.0, 2.0], model).predictive("y")


def half_and_whole(y, x=None):
    z = sample("z", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(z), obs=y)
    if x is not None:
        sample("x", dist.Poisson(z + x), obs=1) if x > 1 else sample("x", dist.Poisson(z), obs=1)


@raises(cj.ModelError, "those of the posterior .'y',", lambda p, x: p.update(1, 0.0),
        lambda p, x: p.merge(cj.collapse(half_and_whole).posterior(1, 0.0)))
def data_of_other_sites(add):
    add(cj.collapse(half_and_whole).posterior(1), 0.0)


@raises(cj.PlanError, "With these arguments there is no posterior in closed form of `z`")
def update_that_is_not_conjugate():
    cj.collapse(half_and_whole).posterior(1).update(1, 2.0)


@raises(cj.PlanError, "gives no posterior of `z`")
def nothing_left_for_a_flat_prior():
    def model(y):
        sample("y", dist.Normal(sample("z", dist.ImproperUniform(constraints.real, (), ())), 1.0), obs=y)

    posterior((1.0, 2.0), model).without("y", slice(None)).sample(KEY, 1)


@raises(cj.PlanError, "all depend on each other, too many")
def leave_one_out_in_a_large_block():
    def model(y):
        with numpyro.plate("rows", len(y)):
            a = sample("a", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(sample("b", dist.Normal(a, 1.0)), 1.0), obs=y)

    with mock.patch("conjugate_ppl.additive.leverage._DENSE", 2):
        posterior((1.0, 2.0, 3.0), model).loo("y")


def two_of_one_kind(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate).expand([2]).to_event(1), obs=y)


@raises(cj.PlanError, "no closed form here: elements of one event share",
        lambda: posterior((1, 2), two_of_one_kind).predictive("y"))
def no_closed_prediction(ask):
    ask()


# -- data in batches --------------------------------------------------------------------------------


def stream(*batches, model=one_rate):
    return cj.collapse(model).stream(batches)


@raises(cj.DataError, "no batch")
def a_stream_of_nothing():
    stream()


@raises(cj.ModelError, "no observed site with this batch")
def a_stream_without_data():
    stream(Y, model=lambda y: sample("z", dist.Normal(0.0, 1.0)))


@raises(cj.ModelError, r"the observed sites are \('y',\), and with the first \('x', 'y'\)")
def batches_of_different_sites():
    def model(y, x=None):
        z = sample("z", dist.Normal(0.0, 1.0))
        if x is not None:
            sample("x", dist.Normal(z, 1.0), obs=x)
        sample("y", dist.Normal(z, 1.0), obs=y)

    stream((Y, Y), Y, model=model)


@raises(cj.PlanError, "one of its own or all together")
def a_stream_with_a_factor_statement():
    def model(y):
        z = sample("z", dist.Normal(0.0, 1.0))
        numpyro.factor("tilt", 2.0 * z)
        sample("y", dist.Normal(z, 1.0), obs=y)

    stream(Y, model=model)


@raises(cj.PlanError, "this one is traced")
def a_stream_of_traced_data():
    jax.jit(lambda y: stream(y).log_evidence())(jnp.array([1, 2]))


@raises(cj.PlanError, "rows of `y` do not add up")
def a_stream_of_subsamples():
    def model(y):
        z = sample("z", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", 100, subsample_size=len(y)):
            sample("y", dist.Normal(z, 1.0), obs=y)

    stream(Y, model=model)


@raises(cj.PlanError, "reach a latent through `exp`")
def a_stream_of_logits():
    stream(np.array([0, 1]), model=lambda y: sample(
        "y", dist.Bernoulli(logits=sample("a", dist.Normal(0.0, 1.0)) + sample("b", dist.Normal(0.0, 1.0))),
        obs=y))


@raises(cj.PlanError, "none of the choices", "all")
def no_such_reparametrisation(given):
    cj.collapse(schools, reparam=given)


# -- data spread over devices -----------------------------------------------------------------------


def spread_out(model, *arrays, elsewhere=False):
    with taken_for_spread(elsewhere):
        return cj.explain(model, *arrays)


def one_mean(y, shift=0.0):
    m = sample("m", dist.Normal(0.0, 1.0))
    numpyro.deterministic("residual", y - m)
    sample("y", dist.Normal(m + shift, 1.0), obs=y)


@raises(cj.PlanError, "along 2 of its axes")
def data_spread_in_tiles():
    tiles = Spread(np.ones((4, 4)))
    tiles.sharding.devices_indices_map = lambda shape: {
        Device(k): (slice(2 * (k // 2), 2 * (k // 2) + 2), slice(2 * (k % 2), 2 * (k % 2) + 2)) for k in range(4)}
    spread_out(one_mean, tiles, elsewhere=True)


@raises(cj.PlanError, "each in its own way", (None, (3, 2, 1, 0)), ((0, 1, 2, 3), (0, 0, 1, 1)))
def data_spread_in_different_ways(orders):
    spread_out(one_mean, *(Spread(Y, order=o) for o in orders), elsewhere=True)


@raises(cj.PlanError, "cannot be run on a part of the rows: .*Likely the number of rows",
        lambda y: one_mean(y.reshape(2, 2)), lambda y: one_mean(y, jnp.zeros(4)))
def data_spread_where_the_number_of_rows_is_given(model):
    spread_out(model, Spread(Y, count=2), elsewhere=True)


@raises(cj.PlanError, "cannot be run on the rows as unknown numbers")
def data_spread_that_are_looked_at():
    spread_out(lambda y: one_mean(y / max(y)) if y[0] > 0 else None, Spread(Y), elsewhere=True)


@raises(cj.PlanError, r"`y` \(posteriors.py:\d+\) is not proved to be a sum over rows. In the way is the number of rows")
def data_spread_of_one_mean():
    spread_out(lambda y: one_mean(y - y.mean()), Spread(Y), elsewhere=True)


@raises(cj.PlanError, "`m` .* In the way is its prior, which depends on the rows|`m` .* sum over rows")
def data_spread_and_a_prior_of_them():
    def model(y):
        sample("y", dist.Normal(sample("m", dist.Normal(y.max(), 1.0)), 1.0), obs=y)

    spread_out(model, Spread(Y), elsewhere=True)


@raises(cj.PlanError, "deterministic site `residual` is computed from rows")
def data_of_other_processes_shown():
    spread_out(one_mean, Spread(Y), elsewhere=True)


@raises(cj.PlanError, "`posterior` reads the data row by row")
def data_of_other_processes_for_a_posterior():
    with taken_for_spread(elsewhere=True):
        cj.collapse(one_mean).posterior(Spread(Y))


@raises(cj.DataError, "NaN")
def data_spread_with_a_missing_one():
    def model(y):
        sample("y", dist.Normal(sample("m", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    spread_out(model, Spread(np.where(np.arange(4) == 3, np.nan, Y)), elsewhere=True)


@raises(cj.InternalError, "The covariance of Dirichlet is not known")
def variance_of_a_law_of_unknown_covariance():
    _ = Embedded(dist.Dirichlet(jnp.ones(3)), dist.ZeroSumNormal(1.0, (4,)).transforms[0]).variance
