"""Run by `test_stream.py` in two processes at once, each of which has half of the rows: `two_processes.py PORT NUMBER`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro import plate, sample
from numpyro.infer import MCMC
from numpyro.infer.util import log_density

import conjugate_ppl as cj

port, number = sys.argv[1:]
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", 2, int(number))
assert jax.process_count() == 2 and len(jax.devices()) == 4

N, G = 48, 4
rng = np.random.default_rng(0)
X, GROUP = rng.normal(size=(N, 3)), np.sort(rng.integers(0, G, N))
Y = 1e4 + X @ [1.0, -2.0, 0.5] + rng.normal(size=G)[GROUP] + rng.normal(size=N)


def regression(y, x):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    level = sample("level", dist.Normal(0.0, 1e4 * jnp.sqrt(v)))
    b = sample("b", dist.Normal(0.0, 3.0 * jnp.sqrt(v)).expand([3]).to_event(1))
    with plate("rows", len(y)):
        sample("y", dist.Normal(level + x @ b, jnp.sqrt(v)), obs=y)


def effects(y, x, g):
    tau, sigma = sample("tau", dist.HalfNormal(2.0)), sample("sigma", dist.HalfNormal(2.0))
    level = sample("level", dist.Normal(0.0, 1e4))
    b = sample("b", dist.Normal(0.0, 3.0).expand([3]).to_event(1))
    with plate("groups", G):
        a = sample("a", dist.Normal(level, tau))
    with plate("rows", len(y)):
        sample("y", dist.Normal(a[g] + x @ b, sigma), obs=y)


def lines(y):
    m = sample("m", dist.Normal(0.0, 1.0))
    numpyro.deterministic("residual", y - m)
    sample("y", dist.Normal(m, 1.0), obs=y)


mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("rows", "copies"))
half = slice(0, N // 2) if number == "0" else slice(N // 2, N)


def spread(a):
    """Half of the rows are given to this process; none sees the others."""
    return jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("rows")), a[half])


y, x, g = map(spread, (Y, X, GROUP))
assert not y.is_fully_addressable


def same(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-10)


def density(model, data):
    return jax.jit(jax.vmap(lambda kept: log_density(model, data, {}, kept)[0]))


flat = cj.collapse(regression, keep=["v"])
same(*(density(flat, data)({"v": jnp.array([0.5, 2.0])}) for data in ((y, x), (Y, X))))
draws = [cj.collapse(regression).recover(jax.random.key(0), {}, *data, num_samples=2) for data in ((y, x), (Y, X))]
assert set(draws[0]) == {"v", "level", "b"}
jax.tree.map(same, *draws)

mcmc = MCMC(cj.Collapsed(effects), num_warmup=100, num_samples=50, progress_bar=False)
mcmc.run(jax.random.key(0), y, x, g)
samples = mcmc.get_samples()
assert set(samples) == {"tau", "sigma", "level", "b", "a"}
kept = {n: samples[n] for n in ("tau", "sigma")}
same(*(density(cj.collapse(effects), data)(kept) for data in ((y, x, g), (Y, X, GROUP))))


def message(function, *args):
    try:
        function(*args)
    except cj.ConjugatePPLError as problem:
        return type(problem).__name__ + ": " + str(problem)
    raise AssertionError("no error")


broken = Y.copy()
broken[-1] = np.nan  # with the second process
assert "NaN" in message(cj.explain, regression, spread(broken), x)
assert "`residual`" in message(cj.explain, lines, y)
assert "`posterior`" in message(cj.collapse(lines).posterior, y)
assert "`check`" in message(cj.check, lines, jax.random.key(0), y)
assert "sum over rows" in message(cj.explain, lambda y: sample("y", dist.Normal(
    sample("m", dist.Normal(0.0, 1.0)), 1.0), obs=y - y.mean()), y)
print("samples", float(samples["a"].sum()), float(samples["tau"].sum()))
