"""What a gradient costs as groups become more: random intercepts and slopes, every group with its own
covariates, so that no two have the same matrices.

    python benchmarks/gradient.py [100 1000 10000 100000]

Prints microseconds a gradient of the log density, plain (all latents) and collapsed (three scales), in one
compiled loop each, and seconds until the first one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import initialize_model

import conjugate_ppl as cj

ROWS = 5  # of a group
REPEATS = 5  # of which the fastest counts: the machine has other work


def model(group: Any, x: Any, y: Any, groups: int) -> None:
    mean = numpyro.sample("mean", dist.Normal(0, 5).expand([2]).to_event(1))
    scale = numpyro.sample("scale", dist.HalfNormal(jnp.ones(2)).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("groups", groups):
        intercept = numpyro.sample("intercept", dist.Normal(mean[0], scale[0]))
        slope = numpyro.sample("slope", dist.Normal(mean[1], scale[1]))
    with numpyro.plate("rows", len(group)):
        numpyro.sample("y", dist.Normal(intercept[group] + slope[group] * x, sigma), obs=y)


Loop = tuple[Callable[[Any], Any], Any, int]


def looped(potential: Callable[[Any], Any], z: Any, number: int) -> Loop:
    """Compiled: `number` values with gradients, each of which needs the one before."""
    value = jax.value_and_grad(potential)

    def loop(z: Any) -> Any:
        def step(_: int, z: Any) -> Any:
            energy, slope = value(z)
            return jax.tree.map(lambda a, d: a + 1e-30 * (d + energy), z, slope)

        return jax.lax.fori_loop(0, number, step, z)

    return jax.jit(loop).lower(z).compile(), z, number


def seconds(loops: Mapping[str, Loop], rounds: int = REPEATS) -> dict[str, float]:
    """Seconds a gradient of each: they take turns, and the fastest round counts."""
    best = dict.fromkeys(loops, np.inf)
    for _ in range(rounds):
        for name, (compiled, z, number) in loops.items():
            begin = time.perf_counter()
            jax.block_until_ready(compiled(z))
            best[name] = min(best[name], (time.perf_counter() - begin) / number)
    return best


def microseconds(ways: Sequence[Callable[..., Any]], args: tuple[Any, ...], rounds: int = 9) -> list[float]:
    """Microseconds a gradient of the log density of several models of the same arguments."""
    loops = {}
    for k, which in enumerate(ways):
        info = initialize_model(jax.random.key(0), which, model_args=args)
        loops[str(k)] = looped(info.potential_fn, info.param_info.z, 200)
    return [1e6 * s for s in seconds(loops, rounds).values()]


def prepared(which: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Loop, float]:
    """A loop of gradients, and seconds until it can run."""
    begin = time.perf_counter()
    info = initialize_model(jax.random.key(0), which, model_args=args)
    loop = looped(info.potential_fn, info.param_info.z, max(20, 200_000 // args[-1]))
    return loop, time.perf_counter() - begin


def main() -> None:
    print("| groups | plain, us | collapsed, us | ratio | start, s: plain | collapsed |")
    print("|---|---|---|---|---|---|")
    for groups in map(int, sys.argv[1:] or ["100", "1000", "10000", "100000"]):
        rng = np.random.default_rng(0)
        group = np.repeat(np.arange(groups), ROWS)
        x = rng.normal(size=len(group)).astype(np.float32)
        effects = rng.normal(size=(2, groups))
        y = (effects[0][group] + effects[1][group] * x + rng.normal(size=len(group))).astype(np.float32)
        args = (group, x, y, groups)
        (one, first), (other, second) = (prepared(m, args) for m in (model, cj.collapse(model)))
        plain, collapsed = seconds({"plain": one, "collapsed": other}).values()
        print(f"| {groups} | {plain * 1e6:.1f} | {collapsed * 1e6:.1f} | {collapsed / plain:.1f} | "
              f"{first:.1f} | {second:.1f} |", flush=True)


if __name__ == "__main__":
    main()
