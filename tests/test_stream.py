"""Data in batches, and data spread over devices: the posterior of the whole."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import plate, sample
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj

RNG = np.random.default_rng(0)
N, G, BATCH = 60, 4, 20
GROUP, X, Y = RNG.integers(0, G, N), RNG.normal(size=(N, 2)), RNG.normal(100.0, 1.0, N)
COUNT = RNG.poisson(3.0, N)


def regression(y, g, x):
    t, s = sample("t", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(jnp.ones(G)).to_event(1))
    b = sample("b", dist.Normal(jnp.zeros(2), 3.0).to_event(1))
    with plate("groups", G):
        a = sample("a", dist.Normal(100.0, t))
    numpyro.deterministic("shift", b[0] + 1)
    with plate("rows", len(y)):
        sample("y", dist.Normal(a[g] + x @ b, s[g]), obs=y)


def rates(y, g):
    shape = sample("shape", dist.Exponential(1.0))
    rate = sample("rate", dist.Gamma(shape, 1.0).expand([G]).to_event(1))
    sample("y", dist.Poisson(rate[g]), obs=y)


def shares(kind, counts):
    share = sample("share", dist.Dirichlet(jnp.ones(3)))
    others = sample("others", dist.Dirichlet(2 * jnp.ones((2, 3))).to_event(1))
    sample("kind", dist.Categorical(share), obs=kind)
    sample("counts", dist.Multinomial(counts.sum(-1), others[kind % 2]), obs=counts)


def split(*arrays):
    for k in range(0, N, BATCH):
        yield tuple(a[k : k + BATCH] for a in arrays)


@pytest.mark.parametrize(("model", "data", "kept"), [
    (regression, (Y, GROUP, X), {"t": np.array(0.7), "s": np.array([0.5, 1.0, 1.5, 2.0])}),
    (rates, (COUNT, GROUP), {"shape": np.array(1.3)}),
    (shares, (COUNT % 3, np.stack([COUNT, COUNT % 2, COUNT % 5], 1)), {}),
])
def test_batches_are_the_whole(model, data, kept):
    whole, stream = cj.collapse(model), cj.collapse(model).stream(split(*data))
    assert set(stream.plan().collapsed) == set(whole.plan(*data).collapsed)
    results = []
    for collapsed, args in ((whole, data), (stream, ())):
        value, slope = jax.jit(jax.value_and_grad(
            lambda k, m=collapsed, a=args: log_density(m, a, {}, k)[0]))(kept)
        found = collapsed.conditionals(kept, *args)
        results.append((value, slope, {n: (d.mean, d.variance) for n, d in found.items()}))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), *results)


def test_draws_have_the_names_of_the_model():
    stream = cj.collapse(regression).stream({"y": y, "g": g, "x": x} for y, g, x in split(Y, GROUP, X))
    mcmc = numpyro.infer.MCMC(cj.Collapsed(stream), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0))
    assert set(mcmc.get_samples()) == {"t", "s", "b", "a", "shift"}


def test_whole_numbers_of_more_bits_than_jax_has(x64):
    """NumPy squares them, with 64 bits."""
    def model(y, n):
        m = sample("m", dist.Normal(0.0, 5.0))
        sample("y", dist.Normal(m * (n * n / 1e10), 1.0), obs=y)

    large = 100_000 + np.arange(N)
    for own in (large, (large * 1.0).astype(np.float32)):
        batches = zip(np.split(Y, 3), np.split(own, 3), strict=True)
        whole = cj.collapse(model).log_evidence(Y, own)
        np.testing.assert_allclose(cj.collapse(model).stream(batches).log_evidence(), whole, rtol=1e-5)


def weight_of_a_latent(y):
    w = sample("w", dist.HalfNormal(1.0))
    with numpyro.handlers.scale(scale=w):
        sample("y", dist.Normal(sample("m", dist.Normal(0.0, 1.0)), 1.0), obs=y)


def covariate_in_a_rate(y):
    sample("y", dist.Poisson(jnp.exp(sample("b", dist.Normal(0.0, 1.0)) * jnp.arange(len(y)))), obs=y)


def with_factor(y):
    m = sample("m", dist.Normal(0.0, 1.0))
    numpyro.factor("tilt", -(m**2))
    sample("y", dist.Normal(m, 1.0), obs=y)


def nothing_observed(y):
    sample("m", dist.Normal(0.0, 1.0))


def other_site(y):
    m = sample("m", dist.Normal(0.0, 1.0))
    sample("y" if len(y) == BATCH else "z", dist.Normal(m, 1.0), obs=y)


TESTS = Path(__file__).parent


def python(*arguments, devices):
    """A Python process of its own, which sees so many devices, and compiles as other tests do."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
        **os.environ, "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])})


def outputs(*processes):
    """What they print, if nothing goes wrong."""
    out = [p.communicate(timeout=300) for p in processes]
    assert not any(p.returncode for p in processes), "\n".join(error for _, error in out)
    return [text for text, _ in out]


def test_data_spread_over_devices():
    """Arrays sharded over a mesh of eight devices give the posterior of the same arrays on one, and so do chains of
    which every device runs one."""
    outputs(python(str(TESTS / "eight_devices.py"), devices=8))


def test_data_spread_over_processes():
    """Each of two processes has half of the rows, and both have the same posterior, that of all rows."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = str(s.getsockname()[1])
    one, two = outputs(*(python(str(TESTS / "two_processes.py"), port, str(k), devices=2) for k in range(2)))
    assert one.splitlines()[-1] == two.splitlines()[-1]


STATE, WEIGHT = {"w": 1.0}, 1.0


@pytest.mark.parametrize("where", ["dictionary", "global", "closure", "partial", "handler"])
def test_what_a_model_reads_besides_its_batch_may_change(where):
    global WEIGHT
    w = 1.0

    def weighted(y, weight):
        b = numpyro.sample("b", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(b * weight, 1.0), obs=y)

    def batches():
        nonlocal w
        global WEIGHT
        for new in (1.0, 5.0):
            w = WEIGHT = STATE["w"] = new
            yield np.arange(4.0) + new

    model = {
        "dictionary": lambda y: weighted(y, STATE["w"]),
        "global": lambda y: weighted(y, WEIGHT),
        "closure": lambda y: weighted(y, w),
        "partial": functools.partial(lambda state, y: weighted(y, state["w"]), STATE),
        "handler": numpyro.handlers.mask(lambda y: weighted(y, STATE["w"]), True),
    }[where]
    streamed = cj.collapse(model).stream(batches())
    y = np.concatenate([np.arange(4.0) + 1, np.arange(4.0) + 5])
    slope = np.repeat([1.0, 5.0], 4)
    expected = stats.multivariate_normal(np.zeros(8), np.eye(8) + np.outer(slope, slope)).logpdf(y)
    assert float(log_density(streamed, (), {}, {})[0]) == pytest.approx(expected, rel=1e-10)
