"""Models that nobody wrote: what must hold of every model, on random ones (`generated.oracle`).

`python tests/campaign.py` checks thousands. Every model that ever failed is in `regressions`.
"""

from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import Function
from generated.oracle import verify
from generated.strategy import models
from generated.writer import Written
from hypothesis import HealthCheck, Phase
from numpyro import handlers

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.py"))


@pytest.mark.parametrize(("x64", "block"), [(True, k) for k in range(4)] + [(False, 0)],
                         indirect=["x64"], ids=str)
def test_generated_models(block, x64):
    @hypothesis.seed(block)
    @hypothesis.settings(max_examples=20, database=None, deadline=None,
                         phases=[Phase.generate],
                         suppress_health_check=list(HealthCheck))
    @hypothesis.given(models())
    def check(written):
        verify(written)

    check()


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda p: p.stem)
def test_models_that_once_failed(path, x64):
    verify(Written.parse(path.read_text()), slope=True)


def test_numpy_evaluates_jaxprs_as_xla_does(x64):
    """Draws, densities and what made the data, of models with gamma variates left out."""
    def model():
        with numpyro.plate("rows", 4):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            k = numpyro.sample("k", dist.Poisson(3.0))
            c = numpyro.sample("c", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        u = numpyro.sample("u", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2) + 0.5), sample_shape=(3,))
        _, path = jax.lax.scan(lambda s, x: (0.5 * s + x, s), 0.0, z, reverse=True)
        seen = u.at[jnp.array([0, 0, 7])].add(1.0)[jnp.array([2, -1])]
        return (path, jnp.sort(z)[c % 2], k // 2, seen, jnp.linalg.solve(jnp.eye(2) + 1.0, u.T),
                jax.lax.while_loop(lambda s: s < 20.0, lambda s: 2.0 * s, 1.0 + z[0] ** 2),
                jax.scipy.special.gammaln(jnp.exp(z)), jnp.pad(z, (1, 2)), jax.nn.logsumexp(u, 0),
                jax.lax.reshape(u, (6,), (1, 0)))

    def run(key):
        trace = handlers.trace(handlers.seed(model, key))
        out = trace()
        return out, {n: s["value"] for n, s in trace.trace.items() if s["type"] == "sample"}

    key = jax.random.key(3)
    for found, expected in zip(jax.tree.leaves(Function(run, key)(key)), jax.tree.leaves(jax.jit(run)(key)),
                               strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9 if x64 else 1e-4, atol=1e-9 if x64 else 1e-4)
