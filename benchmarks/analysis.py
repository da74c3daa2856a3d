"""What comes before the first gradient: the analysis alone, and with compilation, beside what a plain model takes.

    python benchmarks/analysis.py

Prints seconds of the analysis, of analysis and compilation of a gradient (collapsed), and of compilation of
the plain model's: as sites become more that all meet in one sum, and as rows and groups become more. Every
line is a model that was not analysed before; the first of all is left out, as it loads the compiler. What a whole run
takes before it samples, in processes of their own, `startup.py` measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from gradient import model as slopes
from numpyro.infer.util import initialize_model

import conjugate_ppl as cj


def sites(count: int) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """A regression in which every coefficient is a site of its own."""
    rng = np.random.default_rng(count)
    x, y = rng.normal(size=(count, 200)), rng.normal(size=200)

    def model(y: Any) -> None:
        mean = sum(numpyro.sample(f"b{j}", dist.Normal(0.0, 1.0)) * x[j] for j in range(count))
        v = numpyro.sample("v", dist.InverseGamma(2.0, 1.0))
        numpyro.sample("y", dist.Normal(mean, jnp.sqrt(v)), obs=y)

    return model, (y,)


def rows_and_groups(rows: int, groups: int) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Random intercepts and slopes."""
    rng = np.random.default_rng(rows)
    group = np.arange(rows) % groups
    x = rng.normal(size=rows)
    y = rng.normal(size=groups)[group] + x + rng.normal(size=rows)
    return slopes, (group, x, y, groups)


def seconds(function: Callable[[], Any]) -> float:
    """Of one call."""
    jax.clear_caches()  # nobody starts with what another compiled
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def gradient(model: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """One gradient, from nothing."""
    info = initialize_model(jax.random.key(0), model, model_args=args, validate_grad=False)
    return jax.jit(jax.value_and_grad(info.potential_fn))(info.param_info.z)


def line(name: str, model: Callable[..., Any], args: tuple[Any, ...], shown: bool = True) -> None:
    """Measure one model."""
    analysis = seconds(lambda: cj.explain(cj.collapse(model), *args))
    collapsed = seconds(lambda: gradient(cj.collapse(model), args))
    plain = seconds(lambda: gradient(model, args))
    if shown:
        print(f"{name:32} {analysis:8.2f} {collapsed:18.2f} {plain:12.2f}", flush=True)


def main() -> None:
    line("", *sites(2), shown=False)
    print(f"{'':32} {'analysis':>8} {'and first gradient':>18} {'plain model':>12}")
    for count in (12, 24, 48):
        line(f"{count} sites in one sum", *sites(count))
    for rows in (1_000, 10_000, 100_000, 1_000_000):
        line(f"{rows} rows, 100 groups", *rows_and_groups(rows, 100))
    for groups in (1_000, 10_000, 100_000):
        line(f"{5 * groups} rows, {groups} groups", *rows_and_groups(5 * groups, groups))


if __name__ == "__main__":
    main()
