"""What a gradient of a collapsed time series costs, against one that is written by hand.

    python benchmarks/timeseries.py [10000]

The state space is a local trend (a level, a slope, three scales kept), the hidden Markov model has eight
states (their means and the transitions kept). By hand they are the textbook's filters, each a `lax.scan` that
JAX differentiates; `by entry` is a filter for this very trend, without matrices. All of them take turns in
one process. The table has the fastest time of each, the median of the ratios of times of the same turn, and
an interval for it (95 %, by order statistics); and seconds to compile, for a tenth of the steps and for all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj

STATES = 8
TURNS = 60

Density = Callable[[Any], Any]


def trend(y: Any) -> None:
    scales = numpyro.sample("scales", dist.HalfNormal(jnp.ones(3)).to_event(1))

    def step(carry: Any, seen: Any) -> Any:
        level, slope = carry
        slope = numpyro.sample("slope", dist.Normal(slope, scales[0]))
        level = numpyro.sample("level", dist.Normal(level + slope, scales[1]))
        numpyro.sample("y", dist.Normal(level, scales[2]), obs=seen)
        return (level, slope), None

    scan(step, (0.0, 0.0), y)


def trend_by_hand(kept: Any, y: Any) -> Any:
    """Kalman's filter, in matrices."""
    scales = kept["scales"]
    f, h = jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([1.0, 0.0])
    root = f * jnp.array([scales[1], scales[0]])
    noise = root @ root.T

    def step(carry: Any, seen: Any) -> Any:
        mean, covariance = carry
        mean, covariance = f @ mean, f @ covariance @ f.T + noise
        variance = h @ covariance @ h + scales[2] ** 2
        gap = seen - h @ mean
        gain = covariance @ h / variance
        mean, covariance = mean + gain * gap, covariance - jnp.outer(gain, gain) * variance
        return (mean, covariance), -0.5 * (jnp.log(2 * jnp.pi * variance) + gap**2 / variance)

    _, out = jax.lax.scan(step, (jnp.zeros(2), jnp.zeros((2, 2))), y)
    return jnp.sum(out) + jnp.sum(dist.HalfNormal(1.0).log_prob(scales))


def trend_by_entry(kept: Any, y: Any) -> Any:
    """The same for this model alone, number by number."""
    a, b, r = kept["scales"] ** 2

    def step(carry: Any, seen: Any) -> Any:
        level, slope, p, c, q = carry
        level, p, c, q = level + slope, p + 2 * c + q + a + b, c + q + a, q + a
        variance, gap = p + r, seen - level
        gain, other = p / variance, c / variance
        after = (level + gain * gap, slope + other * gap, p - gain * p, c - gain * c, q - other * c)
        return after, (variance, gap)

    _, (variance, gap) = jax.lax.scan(step, (jnp.zeros(()),) * 5, y)
    out = -0.5 * jnp.sum(jnp.log(2 * jnp.pi * variance) + gap**2 / variance)
    return out + jnp.sum(dist.HalfNormal(1.0).log_prob(kept["scales"]))


def hidden_markov(y: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(jnp.zeros(STATES), 10.0).to_event(1))
    steps = numpyro.sample("steps", dist.Dirichlet(jnp.ones((STATES, STATES))).to_event(1))

    def step(before: Any, seen: Any) -> Any:
        state = numpyro.sample("state", dist.Categorical(steps[before]))
        numpyro.sample("y", dist.Normal(mean[state], 1.0), obs=seen)
        return state, None

    scan(step, 0, y)


def _rest(kept: Any) -> Any:
    return jnp.sum(dist.Normal(0.0, 10.0).log_prob(kept["mean"])) + jnp.sum(
        dist.Dirichlet(jnp.ones((STATES, STATES))).log_prob(kept["steps"]))


def hidden_markov_by_hand(kept: Any, y: Any) -> Any:
    """The forward recursion, in logarithms."""
    steps, seen = jnp.log(kept["steps"]), dist.Normal(kept["mean"], 1.0)

    def step(front: Any, now: Any) -> Any:
        return logsumexp(front[:, None] + steps, 0) + seen.log_prob(now), None

    front, _ = jax.lax.scan(step, steps[0] + seen.log_prob(y[0]), y[1:])
    return logsumexp(front) + _rest(kept)


def hidden_markov_scaled(kept: Any, y: Any) -> Any:
    """The same in probabilities, scaled to sum to one at each step: where some state's is below the smallest number it is lost."""
    chance = jnp.exp(dist.Normal(kept["mean"], 1.0).log_prob(y[:, None]))

    def step(front: Any, now: Any) -> Any:
        front = (front @ kept["steps"]) * now
        total = jnp.sum(front)
        return front / total, total

    first = kept["steps"][0] * chance[0]
    _, totals = jax.lax.scan(step, first / jnp.sum(first), chance[1:])
    return jnp.log(jnp.sum(first)) + jnp.sum(jnp.log(totals)) + _rest(kept)


def compiled(density: Density, kept: Any) -> tuple[Any, float]:
    """Value and gradient, and seconds until it is compiled."""
    begin = time.perf_counter()
    out = jax.jit(jax.value_and_grad(density)).lower(kept).compile()
    return out, time.perf_counter() - begin


def report(name: str, model: Any, others: dict[str, Any], kept: Any, y: np.ndarray) -> None:
    """Prints the rows of one model."""
    def ways(y: Any) -> dict[str, Density]:
        collapsed = cj.collapse(model)
        collapsed.plan(y)
        return {"collapsed": lambda k: log_density(collapsed, (y,), {}, k)[0],
                **{n: lambda k, f=f: f(k, y) for n, f in others.items()}}

    short = {n: compiled(f, kept)[1] for n, f in ways(jnp.asarray(y[: len(y) // 10])).items()}
    whole = {n: compiled(f, kept) for n, f in ways(jnp.asarray(y)).items()}
    values = {n: float(f(kept)[0]) for n, (f, _) in whole.items()}
    assert np.allclose(list(values.values()), values["collapsed"], rtol=2e-4), values
    times: dict[str, list[float]] = {n: [] for n in whole}
    for _ in range(TURNS):
        for n, (f, _) in whole.items():
            begin = time.perf_counter()
            jax.block_until_ready(f(kept))
            times[n].append(time.perf_counter() - begin)
    rank = int(stats.binom.ppf(0.025, TURNS, 0.5))
    for n, own in times.items():
        ratio = np.sort(np.array(times["collapsed"]) / own)
        versus = "" if n == "collapsed" else \
            f"{np.median(ratio):.2f} ({ratio[rank - 1]:.2f} to {ratio[-rank]:.2f})"
        print(f"| {name} | {n} | {min(own) * 1e3:.2f} | {versus} | {short[n]:.1f}, {whole[n][1]:.1f} |", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    rng = np.random.default_rng(0)
    print("| model | written | ms | collapsed / this | compiling, s: a tenth, all |")
    print("|---|---|---|---|---|")
    slope = np.cumsum(0.02 * rng.normal(size=count))
    y = np.cumsum(slope + 0.3 * rng.normal(size=count)) + rng.normal(size=count)
    report("local trend", trend, {"by hand": trend_by_hand, "by entry": trend_by_entry},
           {"scales": jnp.array([0.02, 0.3, 1.1])}, y.astype(np.float32))
    steps = np.full((STATES, STATES), 0.02) + np.eye(STATES) * (1 - 0.02 * STATES)
    states = [0]
    for _ in range(count - 1):
        states.append(rng.choice(STATES, p=steps[states[-1]]))
    y = 2.0 * np.array(states) + rng.normal(size=count)
    report("hidden Markov, 8 states", hidden_markov,
           {"by hand": hidden_markov_by_hand, "scaled": hidden_markov_scaled},
           {"mean": 2.0 * jnp.arange(STATES), "steps": jnp.asarray(steps)}, y.astype(np.float32))


if __name__ == "__main__":
    main()
