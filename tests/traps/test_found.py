"""Models that were once collapsed wrongly, or not run at all."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints, transforms
from numpyro.infer import MCMC, SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.util import log_density
from numpyro.optim import Adam

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from conjugate_ppl.errors import DataError
from traps.oracles import dense, marginal, schools

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])


def moved(base, *after):
    def of(a):
        first = transforms.AffineTransform(a, 1.0, domain=base.support)
        return dist.TransformedDistribution(base, [first, *after])

    return of


@pytest.mark.parametrize("of", [
    moved(dist.Exponential(1.0)), moved(dist.HalfNormal(1.0)), moved(dist.Uniform(0.0, 1.0)),
    moved(dist.Exponential(1.0), transforms.ExpTransform()),
    lambda a: dist.ImproperUniform(constraints.greater_than(a), (), ()),
], ids=["exponential", "half_normal", "uniform", "two_transforms", "improper"])
@pytest.mark.parametrize("latent", [False, True])
def test_edges_that_a_latent_moves(of, latent):
    """The density is smooth in the latent, but the support ends at it."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        x = sample("x", of(a), obs=None if latent else jnp.asarray(9.0))
        sample("y", dist.Normal(x, 1.0), obs=y)

    plan = cj.explain(model, Y)
    assert not plan["a"].collapsed and "the support of `x`" in plan["a"].reason


def test_transforms_over_all_reals_have_no_edge():
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.TransformedDistribution(dist.Normal(0.0, 1.0),
                                                 transforms.AffineTransform(a, 1.0)), obs=y)

    assert float(cj.collapse(model).log_evidence(Y)) == pytest.approx(dense(Y, 1.0 + np.eye(4)))


@pytest.mark.parametrize("index", [
    lambda x: jnp.floor(x * 10).astype(int), lambda x: jnp.ceil(x * 10).astype(int),
    lambda x: (x * 10).astype(int), lambda x: jnp.searchsorted(jnp.linspace(0.1, 0.9, 9), x),
    lambda x: (x * 10 >= jnp.arange(10)).astype(int), lambda x: jnp.round(x * 5 - 0.5).astype(int),
    lambda x: jnp.argsort(jnp.where(x * 10 == jnp.arange(10), 0.0, 1.0) - x * 1e-9),
    lambda x: jnp.sign(x * 10 - jnp.arange(10)).astype(int) + 1,
    lambda x: (jnp.remainder(x * 10, 1.0) * 3).astype(int),
], ids=["floor", "ceil", "cast", "searchsorted", "compare", "round", "argsort", "sign", "remainder"])
def test_known_numbers_jump_where_those_of_the_model_do(index, x64):
    """0.6 * 10 is below 6 in double precision of a float32 number, and 6 in single."""
    x = jnp.arange(10) / 10

    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0).expand([11]).to_event(1))
        sample("y", dist.Normal(a[index(x)], 0.1), obs=y)

    assert cj.check(model, KEY, np.linspace(-1.0, 1.0, 10))


@pytest.mark.parametrize(("u", "function"), [
    (np.array([200, 100, 3, 255], np.uint8), jnp.cumsum),
    (np.array([200, 100, 3, 255], np.uint8), lambda u: jnp.sum(u, dtype=u.dtype) * jnp.ones(4)),
    (np.array([200, 100, 3, 255], np.uint8), lambda u: jnp.prod(u, dtype=u.dtype) * jnp.ones(4)),
    (np.array([2**30, 2**30, 5, -7], np.int32), jnp.cumsum),
    (np.array([300.0, -5.0, 2.7, 255.9], np.float32), lambda x: x.astype(jnp.uint8)),
    (np.array([4e9, -5.0, 2.0, 3.0], np.float32), lambda x: x.astype(jnp.int32) / 1e9),
], ids=range(6))
def test_whole_numbers_overflow_as_those_of_the_model_do(u, function, x64):
    def model(y, u):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a * function(jnp.asarray(u)), 100.0), obs=y)

    assert cj.check(model, KEY, Y.copy(), u.copy())  # JAX keeps the type an array had at first


def run(kernel, **options):
    mcmc = MCMC(kernel, progress_bar=False, **options)
    mcmc.run(KEY, Y)
    return mcmc


def test_restart_with_a_longer_warmup():
    """Collapsed sites are drawn at every step, whatever the sampler counts."""
    first = run(cj.Collapsed(schools), num_warmup=10, num_samples=10)
    second = MCMC(cj.Collapsed(schools), num_warmup=500, num_samples=20, progress_bar=False)
    second.post_warmup_state = first.last_state
    second.run(KEY, Y)
    assert len(np.unique(np.asarray(second.get_samples()["mu"]))) == 20


def test_warmup_that_is_collected():
    mcmc = MCMC(cj.Collapsed(schools), num_warmup=20, num_samples=5, progress_bar=False)
    mcmc.warmup(KEY, Y, collect_warmup=True)
    assert len(np.unique(np.asarray(mcmc.get_samples()["mu"]))) == 20


@pytest.mark.parametrize(("value", "words"), [
    (lambda key: 10 * jax.random.normal(key, ()), "random initial value"),
    ({"w": jnp.ones(2)}, "tree of arrays")], ids=["random", "tree"])
def test_param_whose_value_is_not_known_ahead(value, words):
    def model(y):
        w = numpyro.param("w", value)
        a = sample("a", dist.Normal(jax.tree.leaves(w)[0].sum(), 1.0))
        sample("y", dist.Normal(a, 1.0), obs=y)

    plan = cj.explain(model, Y)
    assert not plan.collapsed and words in plan["a"].reason and "`w`" in plan["a"].reason


def test_recovery_beside_a_param():
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, numpyro.param("s", 1e-6)), obs=y)

    collapsed, y = cj.collapse(model), np.full(4, 0.7)
    with pytest.warns(UserWarning, match="No value for the `param` site `s`"):
        draws = collapsed.recover(KEY, {}, y, num_samples=3)["a"]
    np.testing.assert_allclose(draws, 0.7, atol=1e-5)
    np.testing.assert_allclose(collapsed.recover(KEY, {"s": 1e-6}, y, num_samples=3)["a"], draws)
    wide = [collapsed.recover(KEY, {"s": s}, y, **more)["a"] for s, more in ((2.0, {"num_samples": 4000}), (np.full(4000, 2.0), {}))]
    for a in wide:  # the variance of four observations is as large as the prior's
        assert 0.65 < a.std() < 0.76


def test_a_param_that_was_optimised():
    """Effects' mean and scale by SVI (empirical Bayes): what is recovered follows them, not what they began with."""
    def model(y):
        m, tau = numpyro.param("m", 0.0), numpyro.param("tau", 1.0, constraint=dist.constraints.positive)
        s = sample("s", dist.HalfNormal(1.0))
        with plate("n", len(y)):
            sample("y", dist.Normal(sample("a", dist.Normal(m, tau)), s), obs=y)

    y = np.random.default_rng(0).normal(10.0, 0.5, 12)
    collapsed = cj.collapse(model)
    guide = AutoNormal(collapsed)
    fit = SVI(collapsed, guide, Adam(0.05), Trace_ELBO()).run(KEY, 500, y, progress_bar=False)
    drawn = guide.sample_posterior(KEY, fit.params, y, sample_shape=(500,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = collapsed.recover(KEY, {**drawn, **{n: fit.params[n] for n in ("m", "tau")}}, y)["a"]
    assert abs(found.mean() - y.mean()) < 0.3  # of what they began with, 0.7


def test_site_named_like_a_marginal():
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        s = sample("s", dist.HalfNormal(1.0))
        sample("a (marginal)", dist.Normal(a, s), obs=y)

    assert marginal(model, {"s": jnp.asarray(0.5)}, Y) == pytest.approx(
        dense(Y, 1.0 + 0.25 * np.eye(4)) + float(dist.HalfNormal(1.0).log_prob(0.5)))


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a branch"])
def test_marginal_without_a_reverse_derivative(inside):
    """A kept latent goes through a loop, which JAX differentiates forwards alone."""
    def loop(a):
        return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, a))[1]

    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
        v = jax.lax.cond(a > 0, loop, jnp.sin, a) if inside else loop(a)
        sample("y", dist.Normal(v + b, 1.0), obs=y)

    assert cj.explain(model, Y).collapsed == ("b",) and cj.check(model, KEY, Y)
    mcmc = run(cj.Collapsed(model, forward_mode_differentiation=True), num_warmup=200, num_samples=50)
    assert len(np.unique(np.asarray(mcmc.get_samples()["a"]))) > 5


def test_check_where_some_values_are_impossible():
    """Zero density on both sides is no failure of the identity."""
    def model(y):
        a, top = sample("a", dist.Normal(0.0, 1.0)), sample("top", dist.Gamma(2.0, 1.0))
        sample("below", dist.Uniform(0.0, top), obs=jnp.asarray(1.5))
        sample("y", dist.Normal(a, 1.0), obs=y)

    assert cj.check(model, KEY, Y, num_points=10)


def test_scope_around_a_collapsed_model():
    inside = handlers.scope(cj.collapse(schools), "in")
    assert float(log_density(inside, (Y,), {}, {"in/tau": jnp.asarray(1.3)})[0]) == pytest.approx(
        marginal(schools, {"tau": jnp.asarray(1.3)}, Y))


def test_check_where_the_density_is_no_number():
    """NaN is not the zero density on which both sides may agree, and here it is the model's own."""
    def model(y):
        k = sample("k", dist.Normal(0.0, 1.0))
        z = sample("z", dist.Normal(k, 1.0))
        numpyro.factor("f", jnp.log(k))
        sample("y", dist.Normal(z, 1.0), obs=y)

    with pytest.raises(cj.ModelError, match="own log density is NaN"):
        cj.check(model, KEY, Y[0], num_points=6)


def test_half_precision_counts_round():
    """float16 has no odd numbers above 2048."""
    def model(y):
        x = jnp.arange(2060, dtype=jnp.float16).astype(jnp.float32)
        z = sample("z", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(z * (x - 2048.0)[2049:2052], 1.0), obs=y)

    slope = np.arange(2060).astype(np.float16).astype(float)[2049:2052] - 2048
    mean = slope.sum() / (1 + (slope**2).sum())
    assert float(cj.collapse(model).conditionals({}, jnp.ones(3))["z"].mean) == pytest.approx(mean)


@pytest.mark.parametrize("prior", [
    lambda s: dist.Normal(jnp.zeros(2), s),
    lambda s: dist.MultivariateNormal(jnp.zeros(2), scale_tril=s * jnp.array([[1.0, 0.0], [-0.5, 1.0]])),
], ids=["normal", "multivariate"])
@pytest.mark.parametrize("looped", [False, True])
def test_scale_that_may_be_negative(prior, looped):
    """Only squares of a collapsed prior's scale are seen; the model has no density where it is negative."""
    def model(y):
        s = sample("s", dist.Normal(0.0, 1.0))
        if looped:
            def step(before, seen):
                z = sample("z", dist.Normal(before, s) if len(prior(1.0).event_shape) == 0 else prior(s))
                sample("y", dist.Normal(z, 1.0), obs=seen)
                return z, None

            scan(step, jnp.zeros(2), jnp.stack([y, 2 * y]))
        else:
            sample("y", dist.Normal(sample("z", prior(s)), 1.0), obs=y)

    with numpyro.validation_enabled(False):
        collapsed = cj.collapse(model)
        assert "z" in collapsed.plan(Y[:2]).collapsed
        density = jax.jit(lambda s: log_density(collapsed, (Y[:2],), {}, {"s": s})[0])
        assert np.isfinite(density(0.7)) and density(-0.7) == -np.inf


@pytest.mark.parametrize("known", [
    dist.HalfNormal(1.0), dist.Uniform(-1.0, 1.0), dist.Exponential(1.0), dist.Weibull(1.0, 1.0),
    dist.ImproperUniform(constraints.positive, (), ()),
], ids=lambda d: type(d).__name__)
def test_observed_value_that_is_a_latent(known):
    """The support of the distribution truncates the latent, which no density formula shows."""
    def model(y):
        z = sample("z", dist.Normal(0.0, 1.0))
        sample("at", known, obs=0.5 * z)
        sample("y", dist.Normal(z, 1.0), obs=y)

    assert "may lie outside its support" in cj.explain(model, Y)["z"].reason


@pytest.mark.parametrize(("prior", "growth"), [
    (dist.Normal(0.0, 1.0), lambda z: z**2), (dist.Gamma(2.0, 1.0), lambda z: 3.0 * z)])
def test_delta_with_a_density_of_its_own(prior, growth):
    """A factor in other clothes: with the latent's own prior it may have no integral."""
    def model():
        z = sample("z", prior)
        sample("bonus", dist.Delta(0.0, log_density=growth(z)), obs=0.0)
        sample("y", dist.Exponential(z) if prior.support is constraints.positive else dist.Normal(z, 1.0),
               obs=0.3)

    assert "the factor statement `bonus`" in cj.explain(model)["z"].reason


@pytest.mark.parametrize(("power", "collapsed"), [
    (lambda z: z**0 + z**1.0, True), (lambda z: 1 / (1 / z), False), (lambda z: jnp.log(jnp.exp(2 * z)), True)])
def test_monomials_that_are_none_about_another_point(power, collapsed):
    """Linear in the latent, and not so in its distance from a reference point."""
    def model(y):
        z = sample("z", dist.Normal(3.0, 1.0))
        sample("y", dist.Normal(power(z), 1.0), obs=y)

    assert ("z" in cj.explain(model, Y).collapsed) == collapsed
    if collapsed:
        cj.check(model, KEY, Y)


def test_data_that_are_changed_in_place():
    """In float32 JAX converts an array of NumPy once, and keeps the result for as long as the array lives."""
    def model(y):
        z = sample("z", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(z, 1.0), obs=y)

    with double_precision(False):
        y = np.arange(3.0)
        collapsed = cj.collapse(model)
        before = float(collapsed.log_evidence(y))
        y[0] = 10.0
        after = float(collapsed.log_evidence(y))
        assert after == pytest.approx(float(collapsed.log_evidence(y.copy()))) != before


def test_data_that_are_no_arguments():
    """In a global dictionary, an array around the model, attributes of an object that it is a method of or is given, with a
    handler around it: what was found for them before is not used for others."""
    class Study:
        def __init__(self):
            self.y = np.arange(3.0)

        def model(self):
            below(self.y)

    def below(y):
        z = sample("z", dist.Normal(0.0, 1.0))
        s = sample("s", dist.HalfNormal(0.1))
        sample("y", dist.Normal(z, 1.0 + s), obs=y)

    table, array, study, given = {"y": np.arange(3.0)}, np.arange(3.0), Study(), Study()
    models = [(lambda: below(table["y"]), ()), (lambda: below(array), ()), (study.model, ()),
              (handlers.condition(study.model, {}), ()), (lambda s: below(s.y), (given,))]
    kept = {"s": jnp.asarray(1e-9)}
    before = [cj.collapse(m) for m, _ in models]
    expected = [float(log_density(c, a, {}, kept)[0]) for c, (_, a) in zip(before, models, strict=True)]
    runs = [MCMC(cj.Collapsed(m), num_warmup=50, num_samples=100, progress_bar=False) for m, _ in models]
    for mcmc, (_, a) in zip(runs, models, strict=True):
        mcmc.run(jax.random.key(0), *a)
    assert len(set(expected)) == 1
    for collapsed, (_, a) in zip(before, models, strict=True):
        assert collapsed.execution(a, {}) is collapsed.execution(a, {})
    table["y"] = study.y = given.y = np.arange(3.0) + 8.0
    array += 8.0
    for collapsed, mcmc, (model, a) in zip(before, runs, models, strict=True):
        afresh = float(log_density(cj.collapse(model), a, {}, kept)[0])
        assert afresh < expected[0] - 1.0
        assert float(log_density(collapsed, a, {}, kept)[0]) == pytest.approx(afresh, rel=1e-12)
        drawn = collapsed.recover(jax.random.key(1), {"s": np.full(100, 1e-9)}, *a)["z"]
        mcmc.run(jax.random.key(0), *a)
        for draws in (drawn, mcmc.get_samples()["z"]):  # about 27 / 4, which was 3 / 4
            assert abs(draws.mean() - 6.75) < 1.0


def test_mask_within_an_event():
    """Its axes are those of the event, not of the batch."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0).expand([2]))
        sample("y", dist.Normal(a, 1.0).mask(np.array([True, False])).to_event(1), obs=y)

    y = np.array([[0.0, 1.0], [2.0, np.nan], [4.0, 5.0]])
    found = cj.collapse(model).conditionals({}, y)["a"]
    np.testing.assert_allclose(found.mean, [6 / 4, 0.0], atol=1e-12)
    with pytest.raises(DataError, match=r"`y` at \(2, 0\)"):
        cj.explain(model, np.where(y == 4.0, np.nan, y))


def test_bins_that_a_call_makes():
    """`linspace` is compiled as a whole, and rounds once where its operations would each by themselves: the data lie on edges."""
    x = np.arange(11.0) / 10

    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal((x[:, None] >= jnp.linspace(0.0, 1.0, 11)).sum(1) * a, 1.0), obs=y)

    y = np.arange(11.0)
    found = np.asarray((x[:, None] >= jnp.linspace(0.0, 1.0, 11)).sum(1), float)
    expected = -0.5 * y @ np.linalg.solve(np.outer(found, found) + np.eye(11), y) - 0.5 * np.linalg.slogdet(
        2 * np.pi * (np.outer(found, found) + np.eye(11)))[1]
    assert float(cj.collapse(model).log_evidence(y)) == pytest.approx(expected, rel=1e-10)


def test_points_of_what_is_beside_a_chain(x64):
    """What all steps share was measured from far off, where the model subtracts a curve of a kept latent."""
    t = np.linspace(0.0, 3.0, 100, dtype=np.float32)
    y = (np.cumsum(np.sin(np.arange(100.0) ** 2)) * 0.3 + np.sin(2 * t)).astype(np.float32)

    def model(y):
        rate, s = sample("rate", dist.LogNormal(0.0, 0.5)), sample("s", dist.HalfNormal(2.0))
        level = sample("level", dist.Normal(0.0, 1.0))
        z = sample("z", dist.GaussianRandomWalk(0.3, num_steps=100))
        sample("y", dist.Normal(jnp.sin(rate * t) + level + z, s), obs=y)

    assert frozenset(cj.explain(model, jnp.asarray(y)).collapsed) == {"level", "z"}
    assert cj.check(model, KEY, jnp.asarray(y)).worst < (1e-9 if x64 else 0.02)


def pareto(y):
    edge, a = sample("edge", dist.LogNormal(0.0, 1.0)), sample("a", dist.Gamma(2.0, 1.0))
    sample("y", dist.Pareto(edge, a), obs=y)


def shifted(y):
    edge, a = sample("edge", dist.LogNormal(0.0, 1.0)), sample("a", dist.Gamma(2.0, 1.0))
    moves = transforms.AffineTransform(edge, 1.0, domain=constraints.positive)
    sample("y", dist.TransformedDistribution(dist.Exponential(a), moves).mask(np.array([True, True, False])), obs=y)


@pytest.mark.parametrize("model, inside, outside", [(pareto, 1.4, 1.6), (shifted, 1.6, 1.8)])
def test_support_that_a_kept_latent_moves(model, inside, outside, x64):
    """The observed site is hidden from NumPyro, which would have looked whether the data are in it; what is masked may be out."""
    y = np.array([3.0, 1.7, 1.5])
    collapsed = cj.collapse(model)
    assert cj.explain(collapsed, y).collapsed == ("a",)
    assert cj.check(collapsed, KEY, y)
    at = [float(jax.jit(lambda e: log_density(collapsed, (y,), {}, {"edge": e})[0])(e)) for e in (inside, outside)]
    assert np.isfinite(at[0]) and at[1] == -np.inf


def test_gradient_in_a_bound_that_the_peak_lies_at():
    """The derivative of a maximum is a half where both are the same."""
    def model(y):
        high = sample("high", dist.HalfNormal(3.0))
        t = sample("t", dist.Uniform(0.0, high))
        sample("y", dist.Normal(t, 1.0), obs=y)

    y = np.array([9.0, 10.0])
    density = jax.grad(lambda high: log_density(cj.collapse(model), (y,), {}, {"high": high})[0])
    for high in (2.0, 5.0, 12.0):
        t = np.linspace(0.0, high, 200001)
        log = -0.5 * ((y[:, None] - t) ** 2).sum(0)
        edge = np.exp(log[-1] - log.max()) / np.trapezoid(np.exp(log - log.max()), t)
        assert float(density(high)) == pytest.approx(edge - 1 / high - high / 9, rel=1e-6)


@pytest.mark.parametrize("high", [np.nan, -1.0])
def test_nothing_between_the_bounds(high):
    """There is no draw, and the loop that looks for one ends."""
    def model(y):
        t = sample("t", dist.Uniform(0.0, sample("high", dist.Normal(3.0, 1.0))))
        sample("y", dist.Normal(t, 1.0), obs=y)

    drawn = cj.collapse(model).recover(KEY, {"high": np.array([2.0, high])}, 1.0)["t"]
    assert 0 < drawn[0] < 2 and np.isnan(drawn[1])


def test_covariate_that_is_zero_in_all_rows():
    """It leaves nothing of its coefficient in front of a function that is not looked into, and the model reads it all the same."""
    def model(y, x):
        b, s = sample("b", dist.Normal(0.0, 1.0)), sample("s", dist.HalfNormal(1.0))
        sample("y", dist.StudentT(3.0, sample("a", dist.Normal(0.0, 1.0)) + b * x, s), obs=y)

    assert not cj.explain(model, Y, 0 * Y).collapsed
    assert cj.check(model, KEY, Y, 0 * Y)


@pytest.mark.parametrize("of", ["rbg", "threefry2x32"])
def test_keys_of_other_kinds(of):
    with jax.default_prng_impl(of):
        mcmc = MCMC(cj.Collapsed(schools), num_warmup=3, num_samples=3, progress_bar=False)
        mcmc.run(jax.random.key(0), Y)
        assert cj.check(schools, jax.random.key(0), Y)


def test_a_typed_key_that_a_model_holds():
    def model(y, key):
        z = sample("z", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(z + jax.random.normal(key), 1.0), obs=y)

    assert "noise" in cj.explain(model, Y, KEY)["z"].reason


def test_rate_that_a_kept_latent_makes_negative():
    """The density is NaN there, as the model's own is, though nothing is NaN in what is left of it."""
    def model(y):
        k, rate = sample("k", dist.Normal(0.0, 1.0)), sample("rate", dist.Gamma(2.0, 1.0).expand([2]))
        sample("y", dist.Exponential(rate * (1 + k * np.array([1.0, 2.0]))), obs=y)

    y = np.array([1.0, 2.0])
    collapsed = cj.collapse(model)
    assert cj.explain(collapsed, y).collapsed == ("rate",)
    for k in (-2.0, -0.7, 0.5):
        values = {"k": jnp.asarray(k)}, {"rate": jnp.ones(2)}
        joint = float(jax.jit(lambda k, r: log_density(model, (y,), {}, {**k, **r})[0])(*values))
        found = float(jax.jit(lambda k: log_density(collapsed, (y,), {}, k)[0])(values[0]))
        expected = joint - float(collapsed.conditional_log_prob(values[1], values[0], y)) if k > -0.5 else np.nan
        assert found == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_proportion_on_the_edge():
    """Of Beta(p, 1), whose density is finite at 1: `0 * log 0` is 0 there."""
    def model(y):
        p = sample("p", dist.Gamma(2.0, 1.0))
        sample("y", dist.Beta(p, 1.0), obs=y)

    y = np.array([0.2, 1.0, 0.7])
    assert cj.explain(model, y).collapsed == ("p",)
    density = dist.Gamma(2.0 + 3, 1.0 - np.log(y).sum())
    found = cj.collapse(model).conditional_log_prob({"p": jnp.array(1.3)}, {}, y)
    assert float(found) == pytest.approx(float(density.log_prob(1.3)), rel=1e-10)
    with pytest.raises(DataError, match="NaN or infinite"):
        cj.explain(model, np.array([0.0, 0.5]))


def test_whole_numbers_that_are_traced():
    """Groups and times are arguments of a compiled gradient, and the mean is a curve of what is kept."""
    def model(t, g, y):
        k, u = sample("k", dist.LogNormal(0.0, 0.5)), sample("u", dist.Normal(0.0, 1.0).expand([2]))
        sample("y", dist.Normal(jnp.sin(k * t) + u[g], 1.0), obs=y)

    def density(t, g, y, k):
        return log_density(cj.collapse(model), (t, g, y), {}, {"k": k})[0]

    data = jnp.arange(4.0), jnp.array([0, 1, 0, 1]), jnp.asarray(Y)
    assert float(jax.jit(jax.grad(density, 3))(*data, 0.7)) == pytest.approx(float(jax.grad(density, 3)(*data, 0.7)), rel=1e-9)


def test_a_loop_in_reverse_that_nothing_is_seen_of():
    """It is drawn forward; NumPyro hands the values over in the order of the turns, the last of which is the loop's result."""
    def model(y):
        start = sample("start", dist.Normal(0.0, 3.0))
        sample("y", dist.Normal(start, 1.0), obs=y)

        def step(state, _):
            state = sample("state", dist.Normal(state, 1.0))
            return state, None

        numpyro.deterministic("last", scan(step, start, np.arange(4.0), reverse=True)[0])

    mcmc = MCMC(cj.Collapsed(model), num_warmup=0, num_samples=50, progress_bar=False)
    mcmc.run(jax.random.key(0), 1.0)
    draws = mcmc.get_samples()
    np.testing.assert_array_equal(draws["last"], draws["state"][:, -1])
