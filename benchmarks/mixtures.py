"""What a gradient costs where discrete latents are summed out, against the same density marginalised by hand.

    python benchmarks/mixtures.py [names]

By hand is NumPyro's own mixture, or the textbook's sum in logarithms. Prints microseconds a value with its gradient, float32, in
one compiled loop each that take turns, the fastest of each.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from gradient import microseconds
from jax.nn import sigmoid
from jax.scipy.special import logsumexp
from numpyro import plate, sample
from numpyro.contrib.control_flow import scan

import conjugate_ppl as cj

RNG = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A model with discrete latents, the same without them, and their arguments."""

    model: Callable[..., None]
    by_hand: Callable[..., None]
    args: tuple[Any, ...]
    size: str


def _real(name: str, *shape: int, scale: float = 2.0) -> Any:
    return sample(name, dist.Normal(0.0, scale).expand(shape).to_event(len(shape)))


def _weights(states: int) -> Any:
    return sample("w", dist.Dirichlet(jnp.ones(states)))


def normals(rows: int, states: int) -> Pair:
    """A mixture of normals."""
    y = (RNG.normal(size=rows) + 3 * RNG.integers(states, size=rows)).astype(np.float32)

    def model(y: Any, latent: bool = True) -> None:
        w, mean, spread = _weights(states), _real("mean", states, scale=10.0), sample("s", dist.HalfNormal(1.0))
        with plate("rows", rows):
            if latent:
                sample("y", dist.Normal(mean[sample("z", dist.Categorical(w))], spread), obs=y)
            else:
                sample("y", dist.MixtureSameFamily(dist.Categorical(w), dist.Normal(mean, spread)), obs=y)

    return Pair(model, lambda y: model(y, False), (y,), f"{rows} rows, {states} states")


def regressions(rows: int, states: int, columns: int) -> Pair:
    """A mixture of regressions."""
    x = RNG.normal(size=(rows, columns)).astype(np.float32)
    y = ((x * RNG.normal(size=(states, columns))[RNG.integers(states, size=rows)]).sum(1)).astype(np.float32)

    def model(x: Any, y: Any, latent: bool = True) -> None:
        w, b = _weights(states), _real("b", states, columns)
        spread = sample("s", dist.HalfNormal(1.0).expand([states]).to_event(1))
        with plate("rows", rows):
            if latent:
                z = sample("z", dist.Categorical(w))
                sample("y", dist.Normal((x * b[z]).sum(-1), spread[z]), obs=y)
            else:
                sample("y", dist.MixtureSameFamily(dist.Categorical(w), dist.Normal(x @ b.T, spread)), obs=y)

    return Pair(model, lambda x, y: model(x, y, False), (x, y), f"{rows} rows, {states} states, {columns} columns")


def classes(rows: int, states: int, items: int) -> Pair:
    """Latent classes, seen by items that are answered yes or no."""
    y = RNG.integers(0, 2, (rows, items))

    def model(y: Any, latent: bool = True) -> None:
        w, q = _weights(states), sample("q", dist.Beta(1.0, 1.0).expand([states, items]).to_event(2))
        with plate("rows", rows):
            if latent:
                sample("y", dist.Bernoulli(q[sample("z", dist.Categorical(w))]).to_event(1), obs=y)
            else:
                sample("y", dist.MixtureSameFamily(dist.Categorical(w), dist.Bernoulli(q).to_event(1)), obs=y)

    return Pair(model, lambda y: model(y, False), (y,), f"{rows} rows, {states} states, {items} items")


def zeros(rows: int, columns: int) -> Pair:
    """Counts with more zeros than a Poisson distribution has."""
    x = (0.3 * RNG.normal(size=(rows, columns))).astype(np.float32)
    y = RNG.poisson(np.exp(x.sum(1))) * RNG.binomial(1, 0.7, rows)

    def model(x: Any, y: Any, latent: bool = True) -> None:
        rate, gate = jnp.exp(x @ _real("b", columns, scale=1.0)), sample("gate", dist.Beta(1.0, 1.0))
        with plate("rows", rows):
            if latent:
                sample("y", dist.Poisson(sample("z", dist.Bernoulli(1 - gate)) * rate), obs=y)
            else:
                sample("y", dist.ZeroInflatedPoisson(gate, rate), obs=y)

    return Pair(model, lambda x, y: model(x, y, False), (x, y), f"{rows} rows, {columns} columns")


def occupancy(places: int, visits: int) -> Pair:
    """Is a species there, and is it seen?"""
    x = RNG.normal(size=(places, 3)).astype(np.float32)
    y = RNG.binomial(1, 0.4, (places, visits)) * RNG.binomial(1, 0.5, places)[:, None]

    def model(x: Any, y: Any, latent: bool = True) -> None:
        there, seen = sigmoid(sample("a", dist.Normal(0.0, 1.0)) + x @ _real("b", 3, scale=1.0)), sample("q", dist.Beta(1.0, 1.0))
        if latent:
            with plate("places", places):
                z = sample("z", dist.Bernoulli(there))
                sample("y", dist.Bernoulli((z * seen)[:, None] * jnp.ones(visits)).to_event(1), obs=y)
        else:
            each = dist.Bernoulli(seen).log_prob(y).sum(1) + jnp.log(there)
            numpyro.factor("y", jnp.where(y.any(1), each, jnp.logaddexp(each, jnp.log1p(-there))).sum())

    return Pair(model, lambda x, y: model(x, y, False), (x, y), f"{places} places, {visits} visits")


def topics(documents: int, states: int, words: int, count: int) -> Pair:
    """Words of documents, each of a topic."""
    of, word = RNG.integers(documents, size=count), RNG.integers(words, size=count)

    def model(of: Any, word: Any, latent: bool = True) -> None:
        share = sample("share", dist.Dirichlet(jnp.ones(states)).expand([documents]).to_event(1))
        phi = sample("phi", dist.Dirichlet(jnp.ones(words)).expand([states]).to_event(1))
        if latent:
            with plate("words", count):
                sample("word", dist.Categorical(phi[sample("z", dist.Categorical(share[of]))]), obs=word)
        else:
            numpyro.factor("word", logsumexp(jnp.log(share)[of] + jnp.log(phi).T[word], 1).sum())

    return Pair(model, lambda of, word: model(of, word, False), (of, word), f"{count} words, {states} topics")


def captures(animals: int, times: int) -> Pair:
    """Animals that live or do not, and are caught or not (Cormack, Jolly and Seber): a chain each."""
    y = np.cumprod(RNG.binomial(1, 0.8, (times, animals)), 0) * RNG.binomial(1, 0.5, (times, animals))

    def model(y: Any, latent: bool = True) -> None:
        live, catch = sample("live", dist.Beta(1.0, 1.0)), sample("catch", dist.Beta(1.0, 1.0).expand([times]).to_event(1))

        def step(z: Any, now: Any) -> Any:
            with plate("animals", animals):
                z = sample("z", dist.Bernoulli(z * live))
                sample("y", dist.Bernoulli(z * now[1]), obs=now[0])
            return z, None

        def forward(a: Any, now: Any) -> Any:
            seen, p = now
            alive = a[0] + jnp.log(live) + jnp.where(seen == 1, jnp.log(p), jnp.log1p(-p))
            gone = jnp.where(seen == 1, -1e30, jnp.logaddexp(a[1], a[0] + jnp.log1p(-live)))
            return jnp.stack([alive, gone]), None

        if latent:
            scan(step, jnp.ones(animals, jnp.int32), (y, catch))
        else:
            last, _ = jax.lax.scan(forward, jnp.stack([jnp.zeros(animals), jnp.full(animals, -1e30)]), (y, catch))
            numpyro.factor("y", jnp.logaddexp(*last).sum())

    return Pair(model, lambda y: model(y, False), (y,), f"{animals} chains of {times}")


MODELS: dict[str, Callable[[], Pair]] = {
    "normals": lambda: normals(20_000, 5), "regressions": lambda: regressions(2000, 3, 5),
    "latent classes": lambda: classes(5000, 4, 10), "more zeros": lambda: zeros(5000, 5),
    "occupancy": lambda: occupancy(500, 5), "topics": lambda: topics(50, 3, 100, 2000), "captures": lambda: captures(300, 8),
}


def main() -> None:
    print("| model | size | by hand, us | collapsed, us | collapsed / by hand |")
    print("|---|---|---|---|---|")
    for name in sys.argv[1:] or MODELS:
        pair = MODELS[name]()
        hand, collapsed = microseconds((pair.by_hand, cj.collapse(pair.model)), pair.args)
        print(f"| {name} | {pair.size} | {hand:.3g} | {collapsed:.3g} | {collapsed / hand:.2g} |", flush=True)


if __name__ == "__main__":
    main()
