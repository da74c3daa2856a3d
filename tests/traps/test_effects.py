"""Traps of control flow, hidden randomness, handlers and names."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers, sample
from numpyro.contrib.control_flow import cond, scan
from numpyro.distributions import constraints
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import log_density
from numpyro.primitives import mutable

import conjugate_ppl as cj
from traps.oracles import dense, evidence, marginal, reason, schools

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])
ONES, EYE = np.ones((4, 4)), np.eye(4)


# -- control flow ----------------------------------------------------------------------------------


def test_latent_read_inside_a_scan():
    """Each step is written out, a recursion of known numbers as the numbers that it gives."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))

        def step(carry, seen):
            sample("y", dist.Normal(a + carry, 1.0), obs=seen)
            return 0.5 * carry, None

        scan(step, 1.0, y)
        sample("w", dist.Normal(b, 1.0), obs=y)

    assert cj.explain(model, jnp.asarray(Y)).collapsed == ("a", "b")
    cj.check(model, KEY, jnp.asarray(Y), num_points=1)
    means = np.array([1.0, 0.5, 0.25, 0.125])
    expected = dense(Y, EYE + ONES, means) + dense(Y, EYE + ONES)
    assert evidence(model, jnp.asarray(Y)) == pytest.approx(expected, rel=1e-10)


def test_recursion_of_a_latent_inside_a_scan():
    """A recursion that a latent takes part in stays a loop, which no rule covers."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))

        def step(carry, seen):
            sample("y", dist.Normal(carry, 1.0), obs=seen)
            return a * carry, None

        scan(step, 1.0, y)
        sample("w", dist.Normal(b, 1.0), obs=y)

    plan = cj.explain(model, jnp.asarray(Y))
    assert plan.collapsed == ("b",) and "`scan`" in plan["a"].reason


def test_chain_inside_a_scan():
    """Stacked, a chain looks like independent rows."""
    def model(y):
        b = sample("b", dist.Normal(0.0, 1.0))

        def step(x, seen):
            x = sample("x", dist.Gamma(2.0, x))
            sample("y", dist.Poisson(x), obs=seen)
            return x, None

        scan(step, 1.0, y)  # here
        sample("w", dist.Normal(b, 1.0), obs=y)

    y = jnp.asarray([0, 3, 1, 2])
    assert "its elements depend on each other" in reason(model, "x", y)
    cj.check(model, KEY, y, num_points=1)


def test_latent_inside_a_cond():
    """The branches of a cond may differ in everything but the type."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        x = cond(y[0] > 0, lambda _: sample("x", dist.Normal(a, 1.0)),
                 lambda _: sample("x", dist.Normal(-a, 2.0)), None)
        sample("y", dist.Normal(x, 1.0), obs=y)

    plan = cj.explain(model, jnp.asarray(Y))
    assert plan.collapsed == ()
    assert all("inside `cond`" in plan[n].reason for n in ("a", "x"))


def test_branching_in_python():
    """`if` on a latent fails as it does under NUTS, with JAX's own words."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a if a > 0 else -a, 1.0), obs=y)

    with pytest.raises(jax.errors.TracerBoolConversionError):
        cj.explain(model, Y)


# -- hidden randomness, parameters and state -------------------------------------------------------


def hidden_site():
    with handlers.block():
        return sample("hidden", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize("noise", [
    hidden_site,
    lambda: jax.random.normal(numpyro.prng_key()),
    lambda: jax.random.normal(jax.random.key(3), (4,)),
], ids=["blocked site", "prng_key", "fixed key"])
def test_noise_outside_sites(noise):
    """What a model draws behind NumPyro's back is another number in every run."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a + noise(), 1.0), obs=y)  # here
        sample("w", dist.Normal(b, 1.0), obs=y)

    assert "noise" in reason(model, "a", Y)
    assert cj.explain(model, Y).collapsed == ("b",)


def test_param_is_a_constant():
    """A `param` site is a number of the run."""
    def model(y):
        s = numpyro.param("s", 1.5, constraint=constraints.positive)
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, s), obs=y)

    assert evidence(model, Y) == pytest.approx(dense(Y, ONES + 2.25 * EYE))
    assert marginal(model, {"s": 0.5}, Y) == pytest.approx(dense(Y, ONES + 0.25 * EYE))


def test_mutable_state():
    """State that survives a run may change between two looks at the model."""
    def model(y):
        state = mutable("state", {"runs": jnp.zeros(())})
        a = sample("a", dist.Normal(0.0, 1.0))  # here
        state["runs"] = state["runs"] + 1
        sample("y", dist.Normal(a, 1.0), obs=y)

    assert "mutable state" in reason(model, "a", Y)


# -- handlers --------------------------------------------------------------------------------------


def test_centring_that_is_learned():
    """`LocScaleReparam()` adds a `param` site and a deterministic one."""
    model = handlers.reparam(schools, config={"theta": LocScaleReparam()})
    assert set(cj.explain(model, Y).collapsed) == {"mu", "theta_decentered"}
    cj.check(model, KEY, Y, num_points=1)


def test_uncondition():
    """Observations that are drawn again leave nothing to sample."""
    plan = cj.explain(handlers.uncondition(schools), Y)
    assert plan.kept == () and set(plan.collapsed) == {"mu", "tau", "theta", "y"}
    assert {d.rule for d in plan.decisions.values()} == {"drawn forward"}


def draws_of_everything():
    return handlers.trace(handlers.seed(schools, 0)).get_trace(Y)


@pytest.mark.parametrize("around", [
    lambda m: handlers.condition(m, data={"mu": jnp.array(0.3)}),
    lambda m: handlers.substitute(m, data={"theta": jnp.zeros(4)}),
    lambda m: handlers.do(m, data={"mu": jnp.array(0.3)}),
    lambda m: handlers.reparam(m, config={"theta": LocScaleReparam(0.0)}),
    lambda m: handlers.replay(m, draws_of_everything()),
    lambda m: handlers.lift(m, prior={"mu": dist.Normal(0.0, 1.0)}),
], ids=["condition", "substitute", "do", "reparam", "replay", "lift"])
def test_outer_handlers_that_come_too_late(around):
    """A handler around the collapsed model that names a collapsed site is an error."""
    with pytest.raises(cj.PlanError, match=r"keep=\['(mu|theta)'\]"):
        log_density(around(cj.collapse(schools)), (Y,), {}, {"tau": 1.0})


def test_what_belongs_to_the_user_is_left_alone():
    """Neither `infer` dictionaries nor data change hands."""
    mine = {"note": 1}
    y = Y.copy()
    y.flags.writeable = False

    def model(data):
        a = sample("a", dist.Normal(0.0, 1.0), infer=mine)
        s = sample("s", dist.HalfNormal(1.0), infer=mine)
        sample("y", dist.Normal(a, s), obs=data["y"], infer=mine)

    log_density(cj.collapse(model), ({"y": y},), {}, {"s": 1.0})
    assert mine == {"note": 1}
    np.testing.assert_array_equal(y, Y)


def test_only_public_names_of_jax():
    """Analyses of jaxprs broke with every other release of JAX through its private names."""
    package = Path(cj.__file__).parent
    private = re.compile(r"jax\.(_src|interpreters)")
    assert [p.name for p in package.rglob("*.py") if private.search(p.read_text())] == []


# -- names -----------------------------------------------------------------------------------------


def test_names_that_are_taken():
    """Sites may be called like the arguments and sites that this package or NumPyro uses."""
    def model(y):
        x = sample("fn", dist.Normal(0.0, 1.0))
        for name in ("model", "args", "values", "rng_key", "collapsed_log_marginal"):
            x = sample(name, dist.Normal(x, 1.0))
        sample("model_args", dist.Normal(x, 1.0), obs=y)

    assert evidence(model, Y) == pytest.approx(dense(Y, 6 * ONES + EYE))


def test_deterministic_sites_hide_no_dependence():
    """A latent is seen through a deterministic site."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        twice = numpyro.deterministic("twice", 2 * a)
        size = numpyro.deterministic("size", jnp.abs(twice))
        sample("y", dist.Normal(twice, 1.0), obs=y)
        return size

    assert evidence(model, Y) == pytest.approx(dense(Y, 4 * ONES + EYE))
