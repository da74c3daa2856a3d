"""Names, data and values that are given. Every error is in test_errors.py."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers, plate, sample
from numpyro.infer.util import log_density

import conjugate_ppl as cj

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])


def schools(y):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfCauchy(5.0))
    with plate("groups", len(y)):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 1.0), obs=y)


def conjugate(y):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    sample("y", dist.Normal(mu, 1.0), obs=y)


def counts(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)


# -- names -----------------------------------------------------------------------------------------


def test_keep_and_only_are_followed():
    kept = cj.explain(cj.collapse(schools, keep=["mu"]), Y)
    assert kept.collapsed == ("theta",)
    assert "`keep`" in kept["mu"].reason
    alone = cj.explain(cj.collapse(schools, only=["mu"]), Y)
    assert alone.collapsed == ("mu",)
    assert "`only`" in alone["theta"].reason
    assert cj.explain(cj.collapse(schools, only=[]), Y).collapsed == ()


@pytest.mark.parametrize("options", [{"keep": ["mu"]}, {"only": ["mu"]}, {"only": ()}])
def test_identity_holds_for_every_choice(options, x64):
    cj.check(cj.collapse(schools, **options), KEY, jnp.asarray(Y), num_points=1)


def test_required_sites_that_are_collapsed():
    assert cj.explain(cj.collapse(schools, require=["theta", "mu"]), Y).kept == ("tau",)


def test_errors_of_the_model_come_through():
    def broken(y):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        cj.explain(broken, Y)


# -- observed values -------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad, x64):
    y = Y.copy()
    y[2] = bad
    with pytest.raises(cj.DataError, match=r"`y` at 2"):
        cj.explain(schools, jnp.asarray(y))


def test_the_index_has_all_axes(x64):
    def model(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(mu, 1.0), obs=y)

    y = np.zeros((2, 3))
    y[1, 2] = np.nan
    with pytest.raises(cj.DataError, match=r"`y` at \(1, 2\)"):
        cj.check(model, KEY, jnp.asarray(y))


@pytest.mark.parametrize(("family", "y"), [
    (lambda p: dist.Poisson(10 * p), np.array([1, -1, 2])),
    (lambda p: dist.Bernoulli(p), np.array([1, 2, 0])),
    (lambda p: dist.Binomial(3, p), np.array([3, 4, 0])),
    (lambda p: dist.Exponential(p), np.array([1.0, -0.5, 2.0])),
    (lambda p: dist.Gamma(2.0, p), np.array([1.0, -0.5, 2.0])),
    (lambda p: dist.LogNormal(p, 1.0), np.array([1.0, -0.5, 2.0])),
    (lambda p: dist.Categorical(jnp.stack([p, 1 - p])), np.array([0, 2, 1])),
], ids=["poisson", "bernoulli", "binomial", "exponential", "gamma", "lognormal", "categorical"])
def test_values_outside_the_support(family, y, x64):
    def model(y):
        p = sample("p", dist.Beta(2.0, 2.0))
        sample("y", family(p), obs=y)

    with pytest.raises(cj.DataError, match=r"`y` at 1.*outside the support"):
        cj.explain(model, jnp.asarray(y))


def test_values_outside_the_support_of_a_vector(x64):
    def model(y):
        phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
        with plate("rows", 2):
            sample("y", dist.Multinomial(4, phi), obs=y)

    with pytest.raises(cj.DataError, match=r"`y` at 1.*outside the support"):
        cj.explain(model, jnp.array([[1, 2, 1], [1, 2, 2]]))


def test_nothing_is_said_of_masked_cells(x64):
    def model(y, count):
        seen = jnp.isfinite(y)
        mu = sample("mu", dist.Normal(0.0, 1.0))
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        with plate("rows", 4), handlers.mask(mask=seen):
            sample("y", dist.Normal(mu, 1.0), obs=y)
            sample("count", dist.Poisson(rate), obs=count)

    y, count = jnp.asarray(Y), jnp.array([1, 2, 3, 4])
    holed = y.at[1].set(jnp.nan)
    assert cj.explain(model, holed, count.at[1].set(-1)).kept == ()
    cj.check(model, KEY, holed, count.at[1].set(-1), num_points=1)
    changed = cj.collapse(model).log_evidence(y.at[1].set(jnp.inf), count)
    assert float(changed) == float(cj.collapse(model).log_evidence(holed, count))


def test_nan_that_is_not_masked_is_found_beside_masked_cells(x64):
    def model(y, seen):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with handlers.mask(mask=seen):
            sample("y", dist.Normal(mu, 1.0), obs=y)

    y = np.array([np.nan, 0.0, np.nan, 1.0])
    seen = np.array([False, True, True, True])
    with pytest.raises(cj.DataError, match=r"`y` at 2"):
        cj.explain(model, jnp.asarray(y), jnp.asarray(seen))


# -- evidence --------------------------------------------------------------------------------------


def test_evidence(x64):
    y = jnp.asarray(Y)
    found = cj.collapse(conjugate).log_evidence(y)
    exact = dist.MultivariateNormal(jnp.zeros(4), 25.0 * jnp.ones((4, 4)) + jnp.eye(4)).log_prob(y)
    assert abs(float(found - exact)) < (1e-10 if x64 else 1e-4)


# -- values of the kept and the collapsed sites -----------------------------------------------------


def test_recover_follows_the_batch_axes():
    collapsed = cj.collapse(schools)
    grouped = {"tau": jnp.ones((2, 3))}
    assert collapsed.recover(KEY, grouped, Y, batch_ndims=2)["theta"].shape == (2, 3, 4)
    assert collapsed.recover(KEY, {"tau": jnp.ones(())}, Y, batch_ndims=0)["mu"].shape == ()


def test_recover_takes_several_sites():
    values = {"tau": np.ones(5), "theta": np.zeros((5, 4)).tolist()}
    assert cj.collapse(schools, keep=["theta"]).recover(KEY, values, Y)["mu"].shape == (5,)


def test_recover_ignores_other_sites():
    samples = {"tau": jnp.ones(5), "theta": jnp.zeros((7, 9)), "anything": None}
    assert sorted(cj.collapse(schools).recover(KEY, samples, Y)) == ["mu", "theta"]


def test_recover_and_the_number_of_draws():
    for number in (6, np.int64(6), 0):
        drawn = cj.collapse(conjugate).recover(KEY, {}, Y, num_samples=number)
        assert drawn["mu"].shape == (number,)


# -- handlers around the collapsed model -----------------------------------------------------------


def test_outer_handlers_that_name_a_kept_site():
    given = {"tau": jnp.array(0.7)}
    fixed = handlers.condition(cj.collapse(schools), data=given)
    found = log_density(fixed, (Y,), {}, {})[0]
    assert float(found) == pytest.approx(float(log_density(cj.collapse(schools), (Y,), {}, given)[0]))


def test_inner_handlers_are_honoured():
    inner = handlers.condition(schools, data={"mu": jnp.array(0.3)})
    assert cj.explain(inner, Y).collapsed == ("theta",)
    weighted = handlers.scale(counts, scale=0.5)
    assert "scale" in cj.explain(weighted, np.array([1, 2])).decisions["rate"].reason


def test_deterministic_sites_may_be_given_what_they_are():
    def model(y):
        tau = sample("tau", dist.HalfNormal(1.0))
        size = numpyro.deterministic("size", 2.0 * tau)
        sample("y", dist.Normal(sample("m", dist.Normal(0.0, 1.0)), size), obs=y)

    given = {"tau": jnp.array(0.7), "size": jnp.array(1.4)}
    found = [float(log_density(cj.collapse(model), (Y,), {}, z)[0]) for z in (given, {"tau": given["tau"]})]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


# -- what an analysis is kept by -------------------------------------------------------------------


@jax.tree_util.register_pytree_node_class
class WithArray:
    """Data beside which an array is kept that cannot be compared."""

    def __init__(self, y, beside):
        self.y, self.beside = y, beside

    def tree_flatten(self):
        return (self.y,), (self.beside,)

    @classmethod
    def tree_unflatten(cls, beside, leaves):
        return cls(*leaves, *beside)


def test_arguments_that_differ_in_what_they_keep_beside_arrays():
    def shifted(data):
        y, move = (data.y, data.beside) if isinstance(data, WithArray) else (Y, data)
        m = sample("m", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(move(m) if callable(move) else m + move[-1], 1.0), obs=y)

    collapsed = cj.collapse(shifted)
    for k in range(4):  # functions that are gone when the next one takes their place in memory
        found = collapsed.log_evidence(jax.tree_util.Partial(lambda m, k=k: m + k))
        same = collapsed.log_evidence(WithArray(Y, np.full(2000, float(k))))
        right = cj.collapse(lambda y, k=k: shifted(WithArray(y, np.array([k])))).log_evidence(Y)
        assert float(found) == pytest.approx(float(right), rel=1e-12)
        assert float(same) == pytest.approx(float(right), rel=1e-12)


def test_signs_of_zero_differ():
    def model(y, zero):
        m = sample("m", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(m + math.copysign(2.0, zero), 1.0), obs=y)

    collapsed = cj.collapse(model)
    found = [float(collapsed.log_evidence(Y, zero)) for zero in (0.0, -0.0)]
    assert abs(found[0] - found[1]) > 0.1


# -- the certificate -------------------------------------------------------------------------------


def test_check_takes_raw_and_typed_keys():
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        assert cj.check(conjugate, key, Y).relative < 1e-8


def test_a_model_may_close_over_traced_data():
    def evidence(y):
        return cj.collapse(lambda: conjugate(y)).log_evidence()

    expected = cj.collapse(conjugate).log_evidence(Y)
    assert float(jax.jit(evidence)(Y)) == pytest.approx(float(expected), rel=1e-12)
    slope = jax.grad(evidence)(jnp.asarray(Y))
    np.testing.assert_allclose(slope, jax.grad(cj.collapse(conjugate).log_evidence)(jnp.asarray(Y)),
                               rtol=1e-10)


def test_without_jit():
    expected = log_density(cj.collapse(schools), (Y,), {}, {"tau": 2.0})[0]
    with jax.disable_jit():
        found = log_density(cj.collapse(schools), (Y,), {}, {"tau": 2.0})[0]
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
