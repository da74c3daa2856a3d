"""`Collapsed` inside NumPyro: chains, restarts, pickles, ArviZ, other samplers."""

import gc
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import HMC, MCMC, NUTS, SVI, Predictive, Trace_ELBO, init_to_median
from numpyro.infer.autoguide import AutoLaplaceApproximation, AutoNormal
from numpyro.infer.util import initialize_model, log_density

import conjugate_ppl as cj
from conjugate_ppl import _compat

Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)
    numpyro.deterministic("best", theta.max())


def regression(X, y):
    s2 = numpyro.sample("s2", dist.InverseGamma(3.0, 2.0))
    b = numpyro.sample("b", dist.Normal(0.0, jnp.sqrt(4.0 * s2)).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(X @ b, jnp.sqrt(s2)), obs=y)


X = np.stack([np.ones(6), np.arange(6.0)], 1)
Z = np.array([0.3, 1.1, 1.7, 3.2, 3.9, 5.1])


def run(kernel, *args, key=0, **options):
    options = {"num_warmup": 30, "num_samples": 20, "progress_bar": False, **options}
    mcmc = MCMC(kernel, **options)
    mcmc.run(jax.random.key(key), *args, extra_fields=("num_steps", "potential_energy"))
    return mcmc


def shapes(mcmc):
    return {n: v.shape for n, v in mcmc.get_samples(group_by_chain=True).items()}


def expected(chains, draws):
    return {"mu": (chains, draws), "tau": (chains, draws), "theta": (chains, draws, 8),
            "best": (chains, draws)}


@pytest.mark.parametrize("method", ["sequential", "vectorized"])
def test_chains(method):
    mcmc = run(cj.Collapsed(schools), Y, SIGMA, num_chains=2, chain_method=method)
    assert shapes(mcmc) == expected(2, 20)
    draws = mcmc.get_samples(group_by_chain=True)
    assert np.all(np.asarray(draws["theta"]).std((0, 1)) > 0)
    assert not np.allclose(draws["theta"][0], draws["theta"][1])
    np.testing.assert_allclose(draws["best"], draws["theta"].max(-1))


def test_thinning_and_inner_kernels():
    assert shapes(run(cj.Collapsed(schools), Y, SIGMA, thinning=5)) == expected(1, 4)
    kernel = cj.Collapsed(schools, dense_mass=[("tau", "theta")], init_strategy=init_to_median)
    assert shapes(run(kernel, Y, SIGMA)) == expected(1, 20)
    kernel = cj.Collapsed(schools, kernel=HMC, step_size=0.5, num_steps=3, adapt_step_size=False)
    assert shapes(run(kernel, Y, SIGMA)) == expected(1, 20)


class Keeping(NUTS):
    """Keeps the state that it began with, which a compiled start must not let it do."""

    def init(self, *args, **kwargs):
        self.first = super().init(*args, **kwargs)
        return self.first


def test_the_first_state_is_numpyros_own():
    key = jax.random.key(3)
    own = NUTS(cj.collapse(schools), target_accept_prob=0.65).init(jax.random.split(key, 3)[1], 10, None, (Y, SIGMA))
    for kernel in (cj.Collapsed(schools), cj.Collapsed(schools, kernel=Keeping)):
        state = kernel.init(key, 10, None, (Y, SIGMA))
        assert np.isfinite(float(state.potential_energy))
        for a, b in zip(jax.tree.leaves(state.inner[1:4]), jax.tree.leaves(own[1:4]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    assert _compat.is_concrete(kernel._inner.first.potential_energy)

    def nowhere(y):
        schools(y, SIGMA)
        numpyro.factor("never", jnp.log(-1.0 - numpyro.sample("x", dist.HalfNormal(1.0))))

    with pytest.raises(RuntimeError, match="Cannot find valid initial parameters"):
        cj.Collapsed(nowhere).init(key, 10, None, (Y,))


def test_a_program_is_compiled_quickly_and_after_many_calls_to_be_fast():
    double = _compat.compiled_once(lambda x: {"out": 2.0 * x["in"]})
    for k in range(35):
        assert double({"in": jnp.array([float(k)])})["out"] == 2.0 * k


AGAIN = """
import sys, jax, numpy as np
jax.config.update("jax_compilation_cache_dir", sys.argv[2])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
sys.path.insert(0, sys.argv[1])
from test_kernel import SIGMA, Y, cj, run, schools
run(cj.Collapsed(schools), Y, SIGMA)
"""


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    found = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", AGAIN, str(Path(__file__).parent), str(tmp_path)], check=True, timeout=300)
        found.append({f.name for f in tmp_path.iterdir() if f.name.endswith("-cache")})
    assert found[0]
    assert found[1] == found[0]


def test_draws_left_for_later():
    mcmc = run(cj.Collapsed(schools, recover=False), Y, SIGMA, num_chains=2,
               chain_method="sequential")
    assert shapes(mcmc) == {"tau": (2, 20)}
    kept = {n: v[:, ::4] for n, v in mcmc.get_samples(group_by_chain=True).items()}
    drawn = cj.collapse(schools).recover(jax.random.key(1), kept, Y, SIGMA, batch_ndims=2)
    assert {n: v.shape for n, v in drawn.items()} == {"mu": (2, 5), "theta": (2, 5, 8)}


def test_traced_arguments_and_new_data():
    mcmc = MCMC(cj.Collapsed(schools), num_warmup=100, num_samples=200, progress_bar=False,
                jit_model_args=True)
    mcmc.run(jax.random.key(0), Y, SIGMA)
    before = mcmc.get_samples()["theta"].mean()
    mcmc.run(jax.random.key(0), Y + 30.0, SIGMA)
    assert mcmc.get_samples()["theta"].mean() > before + 5


def test_warm_restart_with_new_data_and_pickle():
    mcmc = run(cj.Collapsed(schools), Y, SIGMA)
    again = pickle.loads(pickle.dumps(mcmc))
    again.post_warmup_state = again.last_state
    again.run(jax.random.key(1), Y + 30.0, SIGMA)
    assert {n: v.shape for n, v in again.get_samples().items()} == {
        n: v.shape for n, v in mcmc.get_samples().items()}
    assert again.get_samples()["theta"].mean() > mcmc.get_samples()["theta"].mean() + 5


def test_fields_of_a_state():
    """They are set and read as those of NumPyro's own states; nothing is in a state twice."""
    state = run(cj.Collapsed(schools), Y, SIGMA, num_samples=3).last_state
    again = pickle.loads(pickle.dumps(state))
    assert again.z.keys() == state.z.keys() and again.num_steps == state.inner.num_steps
    new = state._replace(z={n: v + 1.0 for n, v in state.z.items()}, rng_key=jax.random.PRNGKey(7), diverging=True)
    for name, value in state.z.items():
        np.testing.assert_array_equal(new.z[name], value + 1.0)
    assert new.inner.diverging is True and new.kept.keys().isdisjoint(new.drawn)
    np.testing.assert_array_equal(new.rng_key, jax.random.PRNGKey(7))
    places = [id(x) for x in jax.tree.leaves(state)]
    assert len(set(places)) == len(places)
    with pytest.raises(AttributeError, match="no_such_field"):
        _ = state.no_such_field


def test_nothing_kept():
    mcmc = run(cj.Collapsed(regression), X, Z, num_warmup=0, num_samples=2000)
    draws = mcmc.get_samples()
    assert int(np.sum(mcmc.get_extra_fields()["num_steps"])) == 0
    sizes = effective_sample_size(np.asarray(draws["b"])[None])
    assert np.all(np.asarray(sizes) > 1500)
    exact = cj.collapse(regression).recover(jax.random.key(3), {}, X, Z, num_samples=2000)
    for name in ("b", "s2"):
        error = np.asarray(exact[name]).std(0) / np.sqrt(1000)
        assert np.all(np.abs(draws[name].mean(0) - exact[name].mean(0)) < 5 * error)


def test_a_model_without_latents_runs():
    def model(y):
        numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    assert run(cj.Collapsed(model), 1.0).get_samples() == {}


def mixture(y):
    p = numpyro.sample("p", dist.Beta(2.0, 2.0))
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    with numpyro.plate("n", len(y)):
        z = numpyro.sample("z", dist.Bernoulli(p), infer={"enumerate": "parallel"})
        numpyro.sample("y", dist.Normal(jnp.where(z == 1, 2.0, -2.0), 1.0), obs=y)
    numpyro.sample("w", dist.Normal(mu, 1.0), obs=1.0)


def test_discrete_latents_are_drawn():
    y = np.array([2.1, -1.8, 1.5])
    assert cj.explain(mixture, y).collapsed == ("z", "mu")
    found = run(cj.Collapsed(mixture), y, num_samples=600).get_samples()
    assert {n: v.shape for n, v in found.items()} == {"p": (600,), "mu": (600,), "z": (600, 3)}
    assert jnp.issubdtype(found["z"].dtype, jnp.integer)
    assert np.allclose(np.mean(np.asarray(found["z"]), 0), [1, 0, 1], atol=0.05)


def test_latents_of_a_loop_are_drawn():
    def model(y):
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        hold = jnp.array([[0.9, 0.1], [0.2, 0.8]])

        def step(carry, seen):
            x, z = carry
            x = numpyro.sample("x", dist.Normal(x, scale))
            z = numpyro.sample("z", dist.Categorical(hold[z]))
            numpyro.sample("y", dist.Normal(x, 0.5), obs=seen)
            numpyro.sample("w", dist.Normal(3.0 * z, 1.0), obs=seen)
            numpyro.deterministic("twice", 2 * x)
            return (x, z), None

        scan(step, (0.0, 0), y)

    y = jnp.asarray([0.2, -0.1, 3.1, 2.9, 3.2])
    mcmc = run(cj.Collapsed(model), y, num_samples=300, num_chains=2, chain_method="vectorized")
    assert shapes(mcmc) == {"scale": (2, 300), "x": (2, 300, 5), "z": (2, 300, 5), "twice": (2, 300, 5)}
    found = {n: np.asarray(v) for n, v in mcmc.get_samples().items()}
    np.testing.assert_allclose(found["twice"], 2 * found["x"], rtol=1e-5)
    assert found["z"].mean(0)[0] < 0.2 and found["z"].mean(0)[3] > 0.8


def test_discrete_latents_that_stay_are_enumerated_by_numpyro():
    y = np.array([2.1, -1.8, 1.5])
    kernel = cj.Collapsed(mixture, keep=["z"])
    assert kernel.plan(y).collapsed == ("mu",)
    assert sorted(run(kernel, y).get_samples()) == ["mu", "p"]


def test_the_posterior_is_right():
    # exact values by quadrature: mu 4.39682, theta_1 6.21188, tau's median 2.74873
    mcmc = run(cj.Collapsed(schools), Y, SIGMA, num_warmup=500, num_samples=4000)
    draws = {n: np.asarray(v) for n, v in mcmc.get_samples(group_by_chain=True).items()}
    for value, mean in ((draws["mu"], 4.39682), (draws["theta"][..., 0], 6.21188)):
        error = value.std() / np.sqrt(effective_sample_size(value))
        assert abs(value.mean() - mean) < 4 * error
    assert abs(np.median(draws["tau"]) - 2.74873) < 0.35


@pytest.mark.parametrize("guide", [AutoNormal, AutoLaplaceApproximation])
def test_collapsed_model_under_svi(guide):
    model = cj.collapse(schools)
    auto = guide(model)
    svi = SVI(model, auto, numpyro.optim.Adam(0.05), Trace_ELBO())
    result = svi.run(jax.random.key(0), 30, Y, SIGMA, progress_bar=False)
    draws = auto.sample_posterior(jax.random.key(1), result.params, sample_shape=(3,))
    assert {n: v.shape for n, v in draws.items()} == {"tau": (3,)}


def test_collapsed_model_for_other_samplers_and_prediction():
    model = cj.collapse(schools)
    info = initialize_model(jax.random.key(0), model, model_args=(Y, SIGMA))
    assert np.isfinite(info.potential_fn(info.param_info.z))
    prior = Predictive(model, num_samples=3)(jax.random.key(0), Y, SIGMA)
    assert prior["tau"].shape == (3,)
    posterior = run(cj.Collapsed(schools), Y, SIGMA).get_samples()
    drawn = Predictive(schools, posterior)(jax.random.key(0), Y, SIGMA)
    np.testing.assert_allclose(drawn["best"], posterior["best"])


def test_gradients_of_every_order():
    def density(tau):
        return log_density(cj.collapse(schools), (Y, SIGMA), {}, {"tau": tau})[0]

    step = 1e-4
    numeric = (density(2.0 + step) - 2 * density(2.0) + density(2.0 - step)) / step**2
    np.testing.assert_allclose(jax.hessian(density)(2.0), numeric, rtol=1e-4)
    numeric = (density(2.0 + step) - density(2.0 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(density)(2.0), numeric, rtol=1e-6)


def test_arviz_sees_the_users_model():
    import arviz as az

    kernels = {"plain": NUTS(schools), "collapsed": cj.Collapsed(schools)}
    data = {n: az.from_numpyro(run(k, Y, SIGMA), log_likelihood=True) for n, k in kernels.items()}
    for group in ("posterior", "observed_data", "log_likelihood"):
        plain, collapsed = data["plain"][group], data["collapsed"][group]
        assert {n: v.dims for n, v in plain.data_vars.items()} == {
            n: v.dims for n, v in collapsed.data_vars.items()}
    assert set(data["plain"]["sample_stats"].data_vars) == set(
        data["collapsed"]["sample_stats"].data_vars)
    kept = cj.to_arviz(run(cj.Collapsed(schools), Y, SIGMA))
    assert '"collapsed": ["mu", "theta"]' in kept["posterior"].attrs["conjugate_ppl_plan"]


def test_rao_blackwell_moments():
    collapsed = cj.collapse(schools)
    taus = jnp.array([0.5, 2.0, 8.0])

    def moments(tau):
        found = collapsed.conditionals({"tau": tau}, Y, SIGMA)
        return found["theta"].mean, found["theta"].variance

    mean, variance = jax.vmap(moments)(taus)
    drawn = collapsed.recover(jax.random.key(0), {"tau": jnp.repeat(taus, 4000)}, Y, SIGMA)
    theta = np.asarray(drawn["theta"]).reshape(3, 4000, 8)
    assert np.all(np.abs(theta.mean(1) - mean) < 5 * np.sqrt(variance / 4000))
    np.testing.assert_allclose(theta.var(1), variance, rtol=0.15)


def test_progress_bar_and_summary(capsys, monkeypatch):
    for name in ("CI", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    mcmc = run(cj.Collapsed(schools), Y, SIGMA, progress_bar=True)
    assert "steps of size" in capsys.readouterr().err
    mcmc.print_summary()
    shown = capsys.readouterr().out
    assert "theta[7]" in shown and "mu" in shown and "best" not in shown


def test_conditional_of_a_large_site_is_that_of_a_small_one():
    def model(y):
        mu = numpyro.sample("mu", dist.Normal(0, 5))
        tau = numpyro.sample("tau", dist.HalfCauchy(5))
        with numpyro.plate("groups", len(y)):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
            numpyro.sample("y", dist.Normal(theta, 1.0), obs=y)

    # many groups of equal data: the conditional of one element is known in closed form
    n, tau = 3000, 1.5
    found = cj.collapse(model).conditionals({"tau": tau}, np.full(n, 2.0))["theta"]
    spread = 1 / (1 / 25 + n / (1 + tau**2))
    mean_mu = spread * n * 2.0 / (1 + tau**2)
    shrink = 1 / (1 + tau**2)
    np.testing.assert_allclose(found.mean[7], shrink * mean_mu + (1 - shrink) * 2.0, rtol=1e-10)
    np.testing.assert_allclose(found.variance[7], tau**2 * shrink + shrink**2 * spread, rtol=1e-10)


def overdispersed(y):
    a, b = numpyro.sample("a", dist.Exponential(1.0)), numpyro.sample("b", dist.Exponential(1.0))
    c = numpyro.sample("c", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        rate = numpyro.sample("rate", dist.Gamma(a, b))
        numpyro.sample("y", dist.Poisson(c * rate), obs=y)


@pytest.mark.parametrize(("options", "mass", "target"), [
    ({}, [("a", "b")], 0.65),
    ({"dense_mass": True, "target_accept_prob": 0.9}, True, 0.9),
    ({"dense_mass": [("a", "rate", "c")]}, [("a", "c")], 0.65),
    ({"keep": ["rate", "b"]}, False, 0.8),
], ids=["default", "given", "names", "nothing collapsed"])
def test_mass_matrix_and_acceptance(options, mass, target):
    kernel = cj.Collapsed(overdispersed, **options)
    state = kernel.init(jax.random.key(0), 10, None, (jnp.array([3, 0, 5]),), {})
    assert kernel._inner._dense_mass == mass and kernel._inner._target_accept_prob == target
    if mass == [("a", "b")]:
        assert {k: v.ndim for k, v in state.inner.adapt_state.inverse_mass_matrix.items()} == {
            ("a", "b"): 2, ("c",): 1}


def test_draws_of_a_step_use_keys_of_their_own():
    # were a key used twice, draws of one kind would repeat from step to step or from chain to chain
    mcmc = run(cj.Collapsed(regression), X, Z, num_chains=2, num_warmup=0, num_samples=200)
    b = np.asarray(mcmc.get_samples(group_by_chain=True)["b"])
    assert len(np.unique(b.reshape(-1, 2), axis=0)) == 400
    x = b[0, :, 0] - b[0, :, 0].mean()
    assert abs(float(x[1:] @ x[:-1]) / float(x @ x)) < 0.25
    assert abs(np.corrcoef(b[0, :, 0], b[1, :, 0])[0, 1]) < 0.25


def test_gradient_in_the_data():
    # what the marginal says of the data: y_i ~ N(0, sqrt(25 + tau^2 + sigma_i^2)), mu in common
    def value(y, tau):
        return log_density(cj.collapse(schools), (y, jnp.asarray(SIGMA)), {}, {"tau": tau})[0]

    y, tau = jnp.asarray(Y), jnp.array(7.0)
    by_data, by_tau = jax.grad(value, (0, 1))(y, tau)
    step = 1e-4
    for k in (0, 5):
        e = step * jnp.eye(8)[k]
        np.testing.assert_allclose(by_data[k], (value(y + e, tau) - value(y - e, tau)) / (2 * step),
                                   rtol=1e-6)
    np.testing.assert_allclose(by_tau, (value(y, tau + step) - value(y, tau - step)) / (2 * step),
                               rtol=1e-6)


def test_no_tracer_leaks(request):
    # what holds a tracer is looked for among all objects: those of the tests before need not be
    gc.freeze()
    request.addfinalizer(gc.unfreeze)
    with jax.checking_leaks():
        mcmc = run(cj.Collapsed(schools), Y, SIGMA, num_warmup=3, num_samples=3)
        assert shapes(mcmc) == expected(1, 3)
        assert cj.check(schools, jax.random.key(0), Y, SIGMA)


def test_an_interrupted_run_can_be_repeated(monkeypatch):
    class Plate(numpyro.plate):
        """Interrupted at one of the model's runs, as by Ctrl-C at an arbitrary place."""
        def __enter__(self):
            runs.append(len(runs))
            if len(runs) == stop:
                raise KeyboardInterrupt
            return super().__enter__()

    def new():
        return MCMC(cj.Collapsed(schools), num_warmup=30, num_samples=20, progress_bar=False)

    # not within the model, whose state it would be: another state is another model
    monkeypatch.setattr(numpyro, "plate", Plate)

    runs, stop, undisturbed = [], 0, new()
    undisturbed.run(jax.random.key(0), Y, SIGMA)
    expected_draws = undisturbed.get_samples()["theta"]
    for number in range(1, len(runs) + 1, 2):
        runs, stop, mcmc = [], number, new()
        with pytest.raises(KeyboardInterrupt):
            mcmc.run(jax.random.key(0), Y, SIGMA)
        mcmc.run(jax.random.key(0), Y, SIGMA)
        # the same program, compiled again
        np.testing.assert_allclose(mcmc.get_samples()["theta"], expected_draws, rtol=1e-12)


def test_threads_do_not_mix_their_models():
    def work(k):
        def model(y):
            mu = numpyro.sample(f"mu{k}", dist.Normal(0, 5))
            tau = numpyro.sample(f"tau{k}", dist.HalfNormal(k + 1.0))
            with numpyro.plate(f"groups{k}", 5 + k):
                theta = numpyro.sample(f"theta{k}", dist.Normal(mu, tau))
                numpyro.sample(f"y{k}", dist.Normal(theta, 1), obs=y)

        y = np.arange(5.0 + k)
        plans = [set(cj.explain(model, y).decisions) for _ in range(3)]
        return plans, set(run(cj.Collapsed(model), y, num_samples=5).get_samples())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(interval)
    for k, (plans, sampled) in enumerate(found):
        assert all(names == {f"mu{k}", f"tau{k}", f"theta{k}"} for names in [*plans, sampled])
