"""Exact draws, beside what draws them by hand.

    python benchmarks/recovery.py [name ...] [--draws 20000]

For posteriors in closed form, draws a second of

* `recover`: `collapse(model).recover(key, {}, *data, num_samples=n)`;
* by hand: the posterior's parameters written down, one jitted function of a key that draws all n at once;
* NumPy: the same parameters, NumPy's generators (on one thread);

and seconds a draw of `MCMC(Collapsed(model))` over those of a kernel that does nothing but the same draw by hand. For
a model of which scales are kept (`intercepts`), the share of `recover` in the time of sampling. Times are the difference
of a long and a short run, so that compilation drops out; the ways take turns, and the fastest of some rounds counts.
"""

from __future__ import annotations

import argparse
import time
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC
from numpyro.infer.mcmc import MCMCKernel

import conjugate_ppl as cj

ROUNDS = 3
RNG = np.random.default_rng(0)


class Case(NamedTuple):
    """A model, its data, and its posterior drawn by hand: with JAX (key, number) and with NumPy (number)."""

    model: Callable[..., None]
    data: tuple[Any, ...]
    hand: Callable[[Any, int], dict[str, Any]]
    numpy: Callable[[int], dict[str, Any]]


def nig() -> Case:
    """Regression with unknown variance: 1000 rows, 8 coefficients."""
    n, p = 1000, 8
    x = RNG.normal(size=(n, p)).astype(np.float32)
    y = (x @ np.arange(p) + RNG.normal(size=n)).astype(np.float32)

    def model(x: Any, y: Any) -> None:
        v = numpyro.sample("v", dist.InverseGamma(2.0, 1.0))
        b = numpyro.sample("b", dist.Normal(0.0, 3.0 * jnp.sqrt(v)).expand([p]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ b, jnp.sqrt(v)), obs=y)

    precision = x.T.astype(float) @ x + np.eye(p) / 9
    mean = np.linalg.solve(precision, x.T.astype(float) @ y)
    shape, rate = 2 + n / 2, 1 + (y.astype(float) @ y - mean @ precision @ mean) / 2
    root = np.linalg.inv(np.linalg.cholesky(precision))

    def hand(key: Any, number: int) -> dict[str, Any]:
        one, two = jax.random.split(key)
        v = rate / jax.random.gamma(one, shape, (number,))
        noise = jax.random.normal(two, (number, p)) @ jnp.asarray(root, jnp.float32)
        return {"v": v, "b": jnp.asarray(mean, jnp.float32) + jnp.sqrt(v)[:, None] * noise}

    def plain(number: int) -> dict[str, Any]:
        v = rate / RNG.gamma(shape, size=number)
        return {"v": v, "b": mean + np.sqrt(v)[:, None] * (RNG.normal(size=(number, p)) @ root)}

    return Case(model, (x, y), hand, plain)


def elementwise(model: Callable[..., None], data: tuple[Any, ...], name: str,
                hand: Callable[[Any, tuple[int, ...]], Any], plain: Callable[[tuple[int, ...]], Any], size: int) -> Case:
    """A vector of independent latents."""
    return Case(model, data, lambda key, number: {name: hand(key, (number, size))},
                lambda number: {name: plain((number, size))})


def beta_binomial(groups: int = 71) -> Case:
    total = RNG.integers(10, 50, groups)
    y = RNG.binomial(total, 0.3)

    def model(total: Any, y: Any) -> None:
        with numpyro.plate("groups", len(y)):
            numpyro.sample("y", dist.Binomial(total, numpyro.sample("p", dist.Beta(2.0, 3.0))), obs=y)

    a, b = 2.0 + y, 3.0 + total - y
    return elementwise(model, (total, y), "p", lambda k, s: jax.random.beta(k, a, b, s),
                       lambda s: RNG.beta(a, b, s), groups)


def gamma_poisson(groups: int = 100) -> Case:
    y = RNG.poisson(4.0, groups)

    def model(y: Any) -> None:
        with numpyro.plate("groups", len(y)):
            numpyro.sample("y", dist.Poisson(numpyro.sample("rate", dist.Gamma(2.0, 0.5))), obs=y)

    return elementwise(model, (y,), "rate", lambda k, s: jax.random.gamma(k, 2.0 + y, s) / 1.5,
                       lambda s: RNG.gamma(2.0 + y, size=s) / 1.5, groups)


def gamma_poisson_1e5() -> Case:
    return gamma_poisson(100_000)


def dirichlet_multinomial(cells: int = 20) -> Case:
    y = RNG.multinomial(500, np.full(cells, 1 / cells))

    def model(y: Any) -> None:
        p = numpyro.sample("p", dist.Dirichlet(jnp.ones(cells)))
        numpyro.sample("y", dist.Multinomial(total_count=500, probs=p), obs=y)

    return Case(model, (y,), lambda key, number: {"p": jax.random.dirichlet(key, 1.0 + y, (number,))},
                lambda number: {"p": RNG.dirichlet(1.0 + y, number)})


CASES = {f.__name__: f for f in (nig, beta_binomial, gamma_poisson, dirichlet_multinomial, gamma_poisson_1e5)}


State = namedtuple("State", ["z", "rng_key"])


class Direct(MCMCKernel):
    """Nothing but a draw by hand in every step."""

    sample_field = "z"

    def __init__(self, model: Callable[..., None], hand: Callable[[Any, int], dict[str, Any]]) -> None:
        self._model, self._hand = model, hand

    @property
    def model(self) -> Callable[..., None]:
        return self._model

    def init(self, rng_key: Any, num_warmup: int, init_params: Any, model_args: Any, model_kwargs: Any) -> State:
        return self.sample(State({}, rng_key), model_args, model_kwargs)

    def sample(self, state: State, model_args: Any, model_kwargs: Any) -> State:
        key, own = jax.random.split(state.rng_key)
        return State({n: v[0] for n, v in self._hand(own, 1).items()}, key)


def seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def fastest(ways: dict[str, tuple[Callable[[], Any], Callable[[], Any]]]) -> dict[str, float]:
    """The time of each way's long run less that of its short one: each at its fastest, in turns."""
    best = {name: [np.inf, np.inf] for name in ways}
    for _ in range(ROUNDS + 1):  # the first compiles
        for name, runs in ways.items():
            best[name] = [min(b, seconds(run)) for b, run in zip(best[name], runs, strict=True)]
    return {name: max(long - short, 1e-9) for name, (short, long) in best.items()}


def sampled(kernel: MCMCKernel, data: tuple[Any, ...], draws: int) -> Callable[[], Any]:
    mcmc = MCMC(kernel, num_warmup=0, num_samples=draws, progress_bar=False)

    def run() -> Any:
        mcmc.run(jax.random.key(0), *data)
        return mcmc.get_samples()

    return run


def line(name: str, case: Case, draws: int) -> str:
    collapsed, key = cj.collapse(case.model), jax.random.key(1)
    by_hand = jax.jit(case.hand, static_argnums=1)
    size = sum(np.size(v) for v in case.numpy(1).values())
    many, draws = 10 * max(10, 400_000 // size), 10 * max(10, min(draws, 4_000_000 // size) // 10)

    def ways(way: Callable[[int], Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
        return lambda: way(many // 10), lambda: way(many)

    r = fastest({
        "recover": ways(lambda n: collapsed.recover(key, {}, *case.data, num_samples=n)),
        "hand": ways(lambda n: by_hand(key, n)), "numpy": ways(case.numpy),
        "mcmc": tuple(sampled(cj.Collapsed(case.model), case.data, n) for n in (draws // 10, draws)),
        "direct": tuple(sampled(Direct(case.model, case.hand), case.data, n) for n in (draws // 10, draws)),
    })
    made = many - many // 10
    return (f"| {name} | {made / r['recover']:.3g} | {r['hand'] / r['recover']:.2f} | {r['numpy'] / r['recover']:.2f} | "
            f"{r['mcmc'] / r['direct']:.2f} |")


def intercepts(x: Any, g: Any, y: Any, groups: int) -> None:
    tau, sigma = numpyro.sample("tau", dist.HalfNormal(1.0)), numpyro.sample("sigma", dist.HalfNormal(1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    with numpyro.plate("groups", groups):
        a = numpyro.sample("a", dist.Normal(b[0], tau))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(a[g] + x * b[1], sigma), obs=y)


def share(groups: int, draws: int) -> str:
    """The part of a run of `Collapsed` that draws what is collapsed: its time less that of one that does not."""
    g = np.repeat(np.arange(groups), 5)
    x, y = RNG.normal(size=(2, len(g))).astype(np.float32)
    data = (x, g, (y + RNG.normal(size=groups)[g]).astype(np.float32), groups)
    r = fastest({str(recover): tuple(sampled_warm(cj.Collapsed(intercepts, recover=recover), data, n)
                                     for n in (draws // 10, draws)) for recover in (True, False)})
    return f"| {groups} | {1e6 * r['False'] / (0.9 * draws):.0f} | {1 - r['False'] / r['True']:.0%} |"


def sampled_warm(kernel: MCMCKernel, data: tuple[Any, ...], draws: int) -> Callable[[], Any]:
    """Sampling after a warm-up."""
    mcmc = MCMC(kernel, num_warmup=300, num_samples=draws, progress_bar=False)
    mcmc.warmup(jax.random.key(0), *data)
    state = mcmc.last_state

    def run() -> Any:
        mcmc.post_warmup_state = state
        mcmc.run(jax.random.key(0), *data)
        return mcmc.get_samples()["tau"]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(CASES)}, intercepts")
    parser.add_argument("--draws", type=int, default=400_000, help="of MCMC, at most")
    options = parser.parse_args()
    names = options.names or [*CASES, "intercepts"]
    if set(names) & set(CASES):
        print("| model | draws/s of `recover` | over by hand | over NumPy | MCMC over a kernel by hand |\n|---|---|---|---|---|")
    for name in names:
        if name != "intercepts":
            print(line(name, CASES[name](), options.draws), flush=True)
    if "intercepts" in names:
        print("\n| groups of random intercepts | sampling, us a draw | share of `recover` |\n|---|---|---|")
        for groups in (100, 10_000, 100_000):
            print(share(groups, max(100, min(options.draws, 5_000_000 // groups))), flush=True)


if __name__ == "__main__":
    main()
