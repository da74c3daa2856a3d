"""Simulation-based calibration: eight models, from the prior through NUTS and exact draws to ranks.

Parameters are drawn from the prior, data from the parameters, and the posterior is sampled by `Collapsed`
as a user would; where every part is right, the rank of a parameter among its draws is uniform
(Talts et al., arXiv 1804.06788). All simulations of a model run in one compiled program, so that the data
are traced, as under `jit_model_args`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from scipy import stats

import conjugate_ppl as cj

__all__ = ["BINS", "MODELS", "Case", "probabilities", "probability", "ranks"]

DRAWS = 31  # a rank is one of 32
BINS = 8


class Case(NamedTuple):
    """One model of the calibration.

    Fields:
        model: takes `y`, None to simulate.
        collapsed: the latents that must be collapsed.
        thin: steps between draws that are ranked.
    """

    model: Callable[..., None]
    collapsed: set[str]
    thin: int = 8


G = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 9])
H = np.arange(len(G)) % 4
X = np.linspace(-1.5, 1.5, len(G))
N = np.array([3, 9, 27, 81, 4, 12])


def hierarchy(y: Any = None) -> None:
    mu, tau = sample("mu", dist.Normal(0, 3)), sample("tau", dist.HalfNormal(2))
    sigma = sample("sigma", dist.LogNormal(0, 0.5))
    with plate("groups", 6):
        theta = sample("theta", dist.Normal(mu, tau))
    with plate("rows", len(G)):
        sample("y", dist.Normal(theta[G], sigma), obs=y)


def crossed(y: Any = None) -> None:
    sigma = sample("sigma", dist.LogNormal(0, 0.5))
    tau = sample("tau", dist.HalfNormal(jnp.ones(2)).to_event(1))
    L = sample("L", dist.LKJCholesky(2, 2.0))
    b = sample("b", dist.Normal(0, 2).expand([2]).to_event(1))
    u = sample("u", dist.MultivariateNormal(0.0, scale_tril=tau[:, None] * L), sample_shape=(6,))
    with plate("items", 4):
        w = sample("w", dist.Normal(0, 0.7))
    sample("y", dist.Normal(b[0] + u[G, 0] + w[H] + (b[1] + u[G, 1]) * X, sigma), obs=y)


def regression(y: Any = None) -> None:
    v = sample("v", dist.InverseGamma(3.0, 2.0))
    b = sample("b", dist.Normal(jnp.array([0.0, 1.0]), jnp.sqrt(v * jnp.array([4.0, 1.0]))).to_event(1))
    sample("y", dist.Normal(b[0] + b[1] * X, jnp.sqrt(v)), obs=y)


def rates(y: Any = None) -> None:
    a, b = sample("a", dist.Gamma(4.0, 2.0)), sample("b", dist.LogNormal(0, 0.5))
    with plate("units", 6):
        rate = sample("rate", dist.Gamma(a, b))
        sample("y", dist.Poisson(rate * N / 9), obs=y)


def pooling(y: Any = None) -> None:
    m, k = sample("m", dist.Beta(2.0, 2.0)), sample("k", dist.LogNormal(2, 0.7))
    with plate("units", 6):
        p = sample("p", dist.Beta(m * k, (1 - m) * k))
        sample("y", dist.Binomial(N, probs=p), obs=y)


def outcomes(y: Any = None) -> None:
    alpha = sample("alpha", dist.LogNormal(0, 0.5).expand([3]).to_event(1))
    with plate("groups", 6):
        p = sample("p", dist.Dirichlet(alpha))
    with plate("rows", len(G)):
        sample("y", dist.Categorical(probs=p[G]), obs=y)


def variances(y: Any = None) -> None:
    a, b = sample("a", dist.LogNormal(1, 0.4)), sample("b", dist.LogNormal(0, 0.5))
    slope = sample("slope", dist.Laplace(0.0, 1.0))
    with plate("groups", 6):
        v = sample("v", dist.InverseGamma(a, b))
    with plate("rows", len(G)):
        sample("y", dist.Normal(slope * X, jnp.sqrt(v[G])), obs=y)


def logistic(y: Any = None) -> None:
    mu, tau = sample("mu", dist.Normal(0, 1.5)), sample("tau", dist.LogNormal(0, 0.5))
    with plate("groups", 6):
        theta = sample("theta", dist.Normal(mu, tau))
    with plate("rows", len(G)):
        sample("y", dist.Bernoulli(logits=theta[G]), obs=y)


MODELS: dict[str, Case] = {
    "hierarchy": Case(hierarchy, {"mu", "theta"}),
    "crossed": Case(crossed, {"b", "u", "w"}),
    "regression": Case(regression, {"b", "v"}, 1),
    "rates": Case(rates, {"rate"}),
    "pooling": Case(pooling, {"p"}),
    "outcomes": Case(outcomes, {"p"}),
    "variances": Case(variances, {"v"}),
    "logistic": Case(logistic, {"mu"}, 12),
}


def ranks(name: str, simulations: int, seed: int = 0, warmup: int = 300) -> dict[str, np.ndarray]:
    """For every latent of a model the ranks of one of its elements, shape (simulations,)."""
    case = MODELS[name]
    y = handlers.trace(handlers.seed(case.model, 0)).get_trace()["y"]["value"]
    plan = cj.explain(case.model, y=y)
    assert set(plan.collapsed) == case.collapsed, plan
    steps = warmup if plan.kept else 0

    def one(key: Any) -> dict[str, Any]:
        prior_key, key, element_key = jax.random.split(key, 3)
        trace = handlers.trace(handlers.seed(case.model, prior_key)).get_trace()
        y = trace["y"]["value"]
        truth = {n: s["value"] for n, s in trace.items() if s["type"] == "sample" and n != "y"}
        kernel = cj.Collapsed(case.model, target_accept_prob=0.8)
        state = kernel.init(key, steps, None, (), {"y": y})

        def step(_: Any, s: Any) -> Any:
            return kernel.sample(s, (), {"y": y})

        def draw(s: Any, _: None) -> tuple[Any, Any]:
            s = jax.lax.fori_loop(0, case.thin, step, s)
            return s, kernel.postprocess_fn((), {"y": y})(s.z)

        _, draws = jax.lax.scan(draw, jax.lax.fori_loop(0, steps, step, state), None, length=DRAWS)
        out = {}
        for n, value in truth.items():
            flat = draws[n].reshape(DRAWS, -1)
            varies = jnp.where(flat.max(0) > flat.min(0), 0.0, -jnp.inf)  # a Cholesky factor has zeros
            k = jax.random.categorical(element_key, varies)
            out[n] = jnp.sum(flat[:, k] < value.reshape(-1)[k])
        return out

    with numpyro.validation_enabled(False):
        found = jax.jit(lambda keys: jax.lax.map(one, keys))(
            jax.random.split(jax.random.key(seed), simulations))
    return {n: np.asarray(r) for n, r in found.items()}


def probabilities(found: dict[str, np.ndarray]) -> dict[str, float]:
    """For every latent the probability of ranks as uneven as these, were they uniform."""
    return {n: probability(r, DRAWS) for n, r in found.items()}


def probability(ranks: np.ndarray, draws: int) -> float:
    """The probability of ranks among so many draws that are as uneven as these, by a chi-square test."""
    counts = np.bincount(ranks * BINS // (draws + 1), minlength=BINS)
    return float(stats.chisquare(counts).pvalue)
