"""Data, evidence, and values of the kept and the collapsed sites."""


import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import sample
from test_input import KEY, conjugate, schools

import conjugate_ppl as cj
from provoked.models import flat
from provoked.table import TAU, VALUES, Y, raises

# -- data ------------------------------------------------------------------------------------------


@raises(cj.DataError, r"`y` at 1 \(nan, 1 such in all; test_input\.py:\d+\)")
def a_value_that_is_not_finite():
    cj.explain(conjugate, np.array([0.0, np.nan]))


@raises(cj.DataError, r"`y` at 0 \(-1.0, 2 such in all; values\.py:\d+\).*support.*Exponential")
def a_value_outside_the_support():
    def model(y):
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        sample("y", dist.Exponential(rate), obs=y)

    cj.explain(model, np.array([-1.0, 2.0, -3.0]))


@raises(cj.DataError, r"`y` is no array of numbers \(but (list|str|object); test_input\.py:\d+\)",
        [1.0, 2.0], "abc", np.array([1.0, None]))
def data_that_are_no_array(given):
    cj.explain(conjugate, given)


@raises(cj.DataError, r"`y` is NaN or infinite.*values\.py:\d+",
        {"x": np.nan}, {"x": np.inf}, {"sigma": 0.0}, {"sigma": -1.0}, {"sigma": np.nan})
def numbers_that_make_a_density_infinite(given):
    cj.explain(slope, Y, **given)


@raises(cj.DataError, r"`b` is NaN or infinite.*values\.py:\d+", 0.0, -1.0, np.nan)
def prior_scale_out_of_range(scale):
    cj.explain(slope, Y, scale=scale)


def slope(y, x=1.0, sigma=1.0, scale=1.0):
    b = sample("b", dist.Normal(0.0, scale))
    sample("y", dist.Normal(b * x, sigma), obs=y)


# -- evidence --------------------------------------------------------------------------------------


@raises(cj.PlanError, r"`tau`.*HalfCauchy")
def no_evidence_while_something_is_sampled():
    cj.collapse(schools).log_evidence(Y)


@raises(cj.PlanError, r"`mu`.*`keep`")
def no_evidence_while_something_is_kept():
    cj.collapse(conjugate, keep=["mu"]).log_evidence(Y)


@raises(cj.PlanError, "`mu` is improper")
def no_evidence_under_a_flat_prior():
    cj.collapse(flat).log_evidence(Y)


# -- values of the kept and the collapsed sites -----------------------------------------------------


@raises(cj.DataError, "its type is (ndarray|dict|int)", Y, {"tau": jnp.ones(5)}, 0)
def no_key(given):
    cj.collapse(schools).recover(given, {"tau": jnp.ones(5)}, Y)


@raises(cj.DataError, "its type is ndarray")
def no_key_for_check():
    cj.check(schools, Y)


@raises(cj.DataError, r"`theta` has shape \(5, 3\)", {"theta": jnp.zeros((5, 3))})
@raises(cj.DataError, r"`theta` has shape \(6, 4\)", {"theta": jnp.zeros((6, 4))})
@raises(cj.DataError, r"`tau` has shape \(5, 1\)", {"tau": jnp.ones((5, 1))})
def draws_of_a_wrong_shape(wrong):
    good = {"tau": jnp.ones(5), "theta": jnp.zeros((5, 4))}
    cj.collapse(schools, keep=["theta"]).recover(KEY, {**good, **wrong}, Y)


@raises(cj.DataError, r"`tau` has shape \(2, 3\). With batch_ndims=(1|3|-1)", 1, 3, -1)
def draws_of_other_batch_axes(batch_ndims):
    cj.collapse(schools).recover(KEY, {"tau": jnp.ones((2, 3))}, Y, batch_ndims=batch_ndims)


@raises(cj.PlanError, r"num_samples=(None|-1|5\.0) does not", None, -1, 5.0)
def no_number_of_draws(num_samples):
    cj.collapse(conjugate).recover(KEY, {}, Y, num_samples=num_samples)


@raises(cj.PlanError, "num_samples=5 is for")
def a_number_of_draws_out_of_place():
    cj.collapse(schools).recover(KEY, {"tau": jnp.ones(5)}, Y, num_samples=5)


@raises(cj.PlanError, "kept site `tau`",
        lambda m: m.recover(KEY, {"mu": jnp.zeros(5)}, Y), lambda m: m.conditionals({}, Y),
        lambda m: m.conditional_log_prob(VALUES, {}, Y))
def a_kept_site_without_a_value(use):
    use(cj.collapse(schools))


@raises(cj.PlanError, "collapsed site `theta`")
def a_collapsed_site_without_a_value():
    cj.collapse(schools).conditional_log_prob({"mu": jnp.zeros(())}, {"tau": TAU}, Y)


@raises(cj.DataError, "as a mapping", lambda m: m.recover(KEY, jnp.ones(5), Y),
        lambda m: m.conditional_log_prob(jnp.ones(5), {"tau": TAU}, Y))
def values_without_names(use):
    use(cj.collapse(schools))


@raises(cj.DataError, "`tau`, (None|'one'), is no array", None, "one")
def a_value_that_is_no_array(given):
    cj.collapse(schools).recover(KEY, {"tau": given}, Y)


@raises(cj.DataError, r"`tau` has shape \(5,\)", lambda m: m.conditionals({"tau": jnp.ones(5)}, Y))
@raises(cj.DataError, r"`theta` has shape \(3,\).*\(4,\)", lambda m: m.conditional_log_prob(
    {**VALUES, "theta": jnp.zeros(3)}, {"tau": TAU}, Y))
def single_values_of_a_wrong_shape(use):
    use(cj.collapse(schools))
