"""Handlers around the collapsed model, the certificate, what is registered or not installed."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from mutants import MUTANTS, mutated
from numpyro import handlers, sample
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import log_density
from test_input import KEY, conjugate, schools

import conjugate_ppl as cj
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.variables import Latent, Variable
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.demo.figure import write_figure
from conjugate_ppl.graph import Graph
from provoked.table import TAU, Y, raises

# -- handlers around the collapsed model -----------------------------------------------------------


@raises(cj.PlanError, r"(condition|substitute|do).*keep=\['(mu|theta)'\]",
        lambda m: handlers.condition(m, data={"mu": jnp.array(0.3)}),
        lambda m: handlers.substitute(m, data={"theta": jnp.zeros(4)}),
        lambda m: handlers.do(m, data={"mu": jnp.array(0.3)}),
        lambda m: handlers.condition(m, condition_fn=lambda site: {"mu": 0.3}.get(site["name"])))
def outer_handlers_that_name_a_collapsed_site(around):
    log_density(around(cj.collapse(schools)), (Y,), {}, {"tau": TAU})


def _with_names(y):
    m = sample("m", dist.Normal(0.0, 2.0))
    tau = sample("tau", dist.Normal(m, 1.0))
    size = numpyro.deterministic("size", jnp.exp(tau))
    level = numpyro.deterministic("level", 2.0 * m)
    sample("y", dist.Normal(level, size), obs=y)


@raises(cj.PlanError, "`(reparam|do)` around the collapsed model takes another prior for `tau`",
        lambda m: handlers.reparam(m, config={"tau": LocScaleReparam()}),
        lambda m: handlers.reparam(m, config=lambda site: LocScaleReparam() if site["name"] == "tau" else None),
        lambda m: handlers.do(m, data={"tau": TAU}))
def outer_handlers_that_change_a_prior_that_is_part_of_the_marginal(around):
    log_density(around(cj.collapse(_with_names)), (Y,), {}, {"tau_decentered": TAU})


@raises(cj.PlanError, "gives `y` a value, whose data are part of the marginal",
        lambda m: handlers.condition(m, data={"y": 2 * Y}),
        lambda m: handlers.substitute(m, data={"y": 2 * Y}),
        lambda m: handlers.do(m, data={"y": 2 * Y}),
        lambda m: handlers.condition(m, condition_fn=lambda site: {"y": 2 * Y}.get(site["name"])),
        lambda m: handlers.substitute(m, substitute_fn=lambda site: {"y": 2 * Y}.get(site["name"])))
def outer_handlers_that_give_other_data(around):
    log_density(around(cj.collapse(schools)), (Y,), {}, {"tau": TAU})


@raises(cj.PlanError, "gives the deterministic site `size` a value of its own")
def outer_value_of_a_deterministic_site():
    log_density(handlers.substitute(cj.collapse(_with_names), data={"size": TAU}), (Y,), {}, {"tau": TAU})


@raises(cj.PlanError, "names the deterministic site `level`, which depends on what is integrated out")
def outer_value_of_a_deterministic_site_that_is_hidden():
    log_density(handlers.substitute(cj.collapse(_with_names), data={"level": TAU}), (Y,), {}, {"tau": TAU})


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


@raises(cj.ModelError, "own log density is NaN at")
def check_of_a_density_that_is_no_number():
    def model(y):
        a = sample("a", dist.Normal(jnp.zeros(8), 1.0).to_event(1))
        sample("y", dist.Normal(sample("b", dist.Normal(0.0, 1.0)), 1.0), obs=y)
        numpyro.factor("f", jnp.sum(jnp.log(a)))

    cj.check(model, KEY, Y)


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


@raises(cj.InternalError, "`atan2` was taken for conjugate")
def a_point_that_an_opaque_number_does_not_know_of():
    graph = Graph(jax.make_jaxpr(jnp.arctan2)(1.0, 1.0))
    known, other = graph.inputs
    walk = Walk(graph, {other: Value.of(Latent("k", 1, False, frozenset({"k"}), "real"), ())}, {"k"})
    walk.set(known, Value.known(np.ones(())))
    walk.run(graph.outputs)
