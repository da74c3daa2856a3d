"""What is said when names, data or values cannot be used: every error, with a way to provoke it.

`catalogue.entries` are the errors that the source can raise; each of them is raised by a case below,
and docs/errors.md shows them.
"""

import dataclasses
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import catalogue
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from mutants import MUTANTS, mutated
from numpyro import handlers, sample
from numpyro.distributions import constraints
from numpyro.infer import AIES, MCMC, NUTS
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import log_density
from test_input import KEY, conjugate, schools

import conjugate_ppl as cj
from conjugate_ppl.additive.polynomial import NoStatistic
from conjugate_ppl.additive.removal import statistic_name
from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.demo.figure import write_figure

Y = np.array([0.3, -1.2, 2.0, 0.7])
TAU = jnp.ones(())
VALUES = {"mu": jnp.zeros(()), "theta": jnp.zeros(4)}


@dataclasses.dataclass(frozen=True)
class Case:
    """What raises an error, the error's type, words of its message."""

    run: Callable[[], Any]
    kind: type[Exception]
    words: str


CASES: dict[str, Case] = {}


def raises(kind: type[Exception], words: str, *variants: Any) -> Callable[[Any], Any]:
    """Enter a function that raises `kind`, run once for each of `variants` if there are any."""

    def register(run: Any) -> Any:
        runs = [functools.partial(run, v) for v in variants] or [run]
        for one in runs:
            CASES[f"{run.__name__}-{len(CASES)}"] = Case(one, kind, words)
        return run

    return register


@functools.cache
def outcome(name: str) -> tuple[type[Exception], str, Path, int]:
    """The error that a case raises: type, message, and the place in the package that raises it."""
    with pytest.raises(Exception) as caught:
        CASES[name].run()
    inside = [t for t in caught.traceback if catalogue.PACKAGE in Path(t.path).parents]
    return caught.type, str(caught.value), Path(inside[-1].path), inside[-1].lineno + 1


@pytest.mark.parametrize("name", CASES)
def test_message(name):
    kind, message, *_ = outcome(name)
    assert kind is CASES[name].kind
    assert re.search(CASES[name].words, message), message


def test_every_error_is_raised():
    places = [outcome(name)[2:] for name in CASES]
    never = [e.message for e in catalogue.entries()
             if not any(file == e.file and line in e.lines for file, line in places)]
    assert never == []


def test_page_is_up_to_date():
    assert catalogue.PAGE.read_text() == catalogue.page(), "run `python tests/catalogue.py`"
    assert "<...>" not in catalogue.page(), "what a message fills in needs a name"


def test_no_error_of_the_caller_is_one_of_the_package():
    for kind in (cj.ModelError, cj.DataError, cj.PlanError):
        assert issubclass(kind, cj.ConjugatePPLError) and issubclass(kind, ValueError)
        assert not issubclass(kind, AssertionError) and not issubclass(cj.InternalError, kind)


# -- models and kernels ----------------------------------------------------------------------------


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


@raises(cj.ModelError, r"`n` would have to be sampled.*Poisson are not finitely many.*test_errors\.py:\d+\)\. Give it "
        "a prior of finitely many values", dist.Poisson(2.0))
@raises(cj.ModelError, r"`n` would have to be sampled.*weighted by `scale`.*test_errors\.py:\d+\)\. Change the "
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


# -- names -----------------------------------------------------------------------------------------


@raises(cj.PlanError, r"'thetta'.*mu, tau, theta", "keep", "only", "require")
def unknown_names_list_the_latents(option):
    cj.explain(cj.collapse(schools, **{option: ["thetta"]}), Y)


@raises(cj.PlanError, r"'y'.*mu, tau, theta", "keep", "only", "require")
def an_observed_site_is_no_latent(option):
    cj.explain(cj.collapse(schools, **{option: ["y"]}), Y)


@raises(cj.PlanError, r"(keep|only|require)=\['theta'\]", *(
    (how, option) for how in (cj.collapse, cj.Collapsed) for option in ("keep", "only", "require")))
def a_string_is_no_list_of_names(given):
    how, option = given
    how(schools, **{option: "theta"})


@raises(cj.PlanError, "no list of names", {"keep": 3}, {"keep": None}, {"only": 0}, {"require": None})
def no_names(options):
    cj.collapse(schools, **options)


@raises(cj.PlanError, r"`tau`.*HalfCauchy.*test_input\.py:\d+")
def a_required_site_that_is_declined_says_why():
    cj.explain(cj.collapse(schools, require=["theta", "tau"]), Y)


@raises(cj.PlanError, r"`mu`.*`keep`")
def required_and_kept_contradict():
    cj.explain(cj.collapse(schools, keep=["mu"], require=["mu"]), Y)


@raises(KeyError, r"mu, tau, theta")
def the_plan_lists_the_latents_for_an_unknown_name():
    cj.explain(schools, Y)["y"]


# -- data ------------------------------------------------------------------------------------------


@raises(cj.DataError, r"`y` at 1 \(nan, 1 such in all; test_input\.py:\d+\)")
def a_value_that_is_not_finite():
    cj.explain(conjugate, np.array([0.0, np.nan]))


@raises(cj.DataError, r"`y` at 0 \(-1.0, 2 such in all; test_errors\.py:\d+\).*support.*Exponential")
def a_value_outside_the_support():
    def model(y):
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        sample("y", dist.Exponential(rate), obs=y)

    cj.explain(model, np.array([-1.0, 2.0, -3.0]))


@raises(cj.DataError, r"`y` is no array of numbers \(but (list|str|object); test_input\.py:\d+\)",
        [1.0, 2.0], "abc", np.array([1.0, None]))
def data_that_are_no_array(given):
    cj.explain(conjugate, given)


@raises(cj.DataError, r"`y` is NaN or infinite.*test_errors\.py:\d+",
        {"x": np.nan}, {"x": np.inf}, {"sigma": 0.0}, {"sigma": -1.0}, {"sigma": np.nan})
def numbers_that_make_a_density_infinite(given):
    cj.explain(slope, Y, **given)


@raises(cj.DataError, r"`b` is NaN or infinite.*test_errors\.py:\d+", 0.0, -1.0, np.nan)
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


# -- handlers around the collapsed model -----------------------------------------------------------


@raises(cj.PlanError, r"(condition|substitute|do).*keep=\['(mu|theta)'\]",
        lambda m: handlers.condition(m, data={"mu": jnp.array(0.3)}),
        lambda m: handlers.substitute(m, data={"theta": jnp.zeros(4)}),
        lambda m: handlers.do(m, data={"mu": jnp.array(0.3)}),
        lambda m: handlers.condition(m, condition_fn=lambda site: {"mu": 0.3}.get(site["name"])))
def outer_handlers_that_name_a_collapsed_site(around):
    log_density(around(cj.collapse(schools)), (Y,), {}, {"tau": TAU})


@raises(cj.PlanError, "`reparam` around the collapsed model rewrites `tau`")
def outer_reparam_of_a_prior_that_is_part_of_the_marginal():
    def model(y):
        m = sample("m", dist.Normal(0.0, 2.0))
        tau = sample("tau", dist.Normal(m, 1.0))
        sample("y", dist.Normal(tau**2, 1.0), obs=y)

    around = handlers.reparam(cj.collapse(model), config={"tau": LocScaleReparam()})
    log_density(around, (Y,), {}, {"tau_decentered": TAU})


@raises(cj.PlanError, "`scale` around")
def outer_weights():
    log_density(handlers.scale(cj.collapse(schools), scale=0.5), (Y,), {}, {"tau": TAU})


# -- the certificate -------------------------------------------------------------------------------


@raises(cj.ModelError, "-inf at all 6 values")
def check_of_impossible_data():
    def model(y):
        top = sample("top", dist.Gamma(2.0, 1.0))
        sample("y", dist.Uniform(0.0, top), obs=y)

    cj.check(model, KEY, jnp.array([1e6]))


@raises(cj.ModelError, "num_points=0")
def a_check_of_nothing():
    cj.check(conjugate, KEY, Y, num_points=0)


class Mine(dist.Exponential):
    """A distribution of the user's own."""


def waiting(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)
    sample("w", Mine(rate), obs=y**2)


@raises(cj.ModelError, "to blame: `rate`. `w` is Mine, registered outside")
def a_wrong_density_of_the_users_own():
    @cj.register_density(Mine)
    def _(d, x):
        return jnp.log(d.rate) - 1.5 * d.rate * x

    cj.check(waiting, KEY, Y, num_points=1)


@raises(cj.ModelError, "to blame: `rate`. `rate` is Mine, registered outside")
def a_wrong_family_of_the_users_own():
    @cj.register_density(Mine)
    def _(d, x):
        return jnp.log(d.rate) - d.rate * x

    wrong = dataclasses.replace(FAMILY, natural=lambda p: (0.1 * p["rate"], -p["rate"]))
    cj.register_family(Mine)(wrong)

    def model(y):
        rate = sample("rate", Mine(1.0))
        sample("y", dist.Exponential(rate), obs=y)

    cj.check(model, KEY, Y**2, num_points=1)


FAMILY = cj.Family(
    name="Mine", statistics=("log z", "z"), parameters=lambda d: {"rate": d.rate},
    natural=lambda p: (jnp.zeros_like(p["rate"]), -p["rate"]),
    log_partition=lambda n: jax.scipy.special.gammaln(n[0] + 1) - (n[0] + 1) * jnp.log(-n[1]),
    distribution=lambda n: dist.Gamma(n[0] + 1, -n[1]))


@raises(cj.InternalError, r"(?s)to blame: `mu`.*bug in conjugate_ppl.*keep=")
def a_wrong_rule_of_the_package():
    with mutated(MUTANTS["rule sub"]):
        cj.check(conjugate, KEY, Y, num_points=1)


@raises(cj.InternalError, "elements of token are read")
def a_token_read_before_it_is_bound():
    Variable("token", 1, False, frozenset()).elements(None)


# -- what is registered, what is not installed ------------------------------------------------------


@raises(TypeError, "distribution classes", (), (dist.Bernoulli,), (lambda d, x: x,))
def densities_of_no_class(types):
    cj.register_density(*types)


@raises(TypeError, "distribution classes", (), (dist.Bernoulli,), (FAMILY,))
def families_of_no_class(types):
    cj.register_family(*types)


@raises(cj.ModelError, "Mine has no", *({part: None} for part in ("natural", "distribution")),
        {"statistics": ()})
def a_family_with_a_part_missing(changes):
    cj.register_family(Mine)(dataclasses.replace(FAMILY, **changes))


@raises(cj.ModelError, r"statistics \['z\*\*2'\]")
def a_family_with_an_unknown_statistic():
    cj.register_family(Mine)(dataclasses.replace(FAMILY, statistics=("z", "z**2")))


@raises(ImportError, "pip install")
def a_figure_without_matplotlib():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        write_figure(Path("figure.png"), {})


# -- posteriors as sums of contributions -----------------------------------------------------------


def one_rate(y):
    with numpyro.plate("rows", len(y)):
        sample("y", dist.Poisson(sample("rate", dist.Gamma(2.0, 1.0).expand([1]))), obs=y)


def posterior(y=(1, 2), model=one_rate, **how):
    return cj.collapse(model).posterior(jnp.asarray(y), **how)


@raises(cj.PlanError, "needs values of what is kept: `tau`")
def posterior_of_half_a_model():
    cj.collapse(schools).posterior(Y)


@raises(cj.PlanError, "do not add up to a few numbers")
def posterior_of_states():
    def model(y):
        sample("y", dist.Normal(sample("z", dist.Bernoulli(0.5)), 1.0), obs=y)

    posterior(1.0, model)


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


@raises(cj.PlanError, "not taken out of `mu` in closed form", lambda p: p.loo("y"), lambda p: p.predictive("y"))
def observations_of_a_mean_and_a_matrix(ask):
    def model(y):
        p = sample("p", dist.Wishart(4.0, rate_matrix=jnp.eye(2)))
        mu = sample("mu", dist.MultivariateNormal(jnp.zeros(2), precision_matrix=p))
        sample("y", dist.MultivariateNormal(mu, precision_matrix=p), obs=y)

    ask(posterior(jnp.ones((3, 2)), model))


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
