"""Long runs of plain NUTS, whose means and sds the tests compare with.

Writes tests/data/plain_nuts.json: for each model of the main job and each of its sites the mean and the sd
of every number, with their Monte Carlo standard errors. Usage:

    python benchmarks/posteriors.py [name ...] [--draws 10000] [--chains 4]
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from job import Case, cases
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

from conjugate_ppl import explain

FILE = Path(__file__).resolve().parent.parent / "tests" / "data" / "plain_nuts.json"


def summary(draws: Any) -> dict[str, list[float]]:
    """Mean, sd and their Monte Carlo standard errors of each number; shape (chains, draws, ...)."""
    x = np.asarray(draws, np.float64)
    x = x.reshape(*x.shape[:2], -1)
    mean = x.mean((0, 1))
    squares = (x - mean) ** 2
    sd = np.sqrt(squares.mean((0, 1)))
    moving = sd > 1e-12
    found = {"mean": mean, "sd": sd, "mcse_mean": np.zeros_like(sd), "mcse_sd": np.zeros_like(sd)}
    if moving.any():
        size = np.asarray(effective_sample_size(x[:, :, moving]))
        size_of_squares = np.asarray(effective_sample_size(squares[:, :, moving]))
        found["mcse_mean"][moving] = sd[moving] / np.sqrt(size)
        found["mcse_sd"][moving] = (squares[:, :, moving].std((0, 1)) / np.sqrt(size_of_squares)
                                    / (2 * sd[moving]))
    return {k: [float(f"{number:.6g}") for number in v] for k, v in found.items()}


def run(case: Case, chains: int, draws: int) -> dict[str, Any]:
    """Plain NUTS on the form of the model that it samples best."""
    model = list(case.others.values())[-1] if case.others else case.model
    sites = list(explain(case.model, **case.data).decisions)
    mcmc = MCMC(NUTS(model, target_accept_prob=0.9), num_warmup=2000, num_samples=draws,
                num_chains=chains, chain_method="sequential", progress_bar=False)
    mcmc.run(jax.random.key(7), **case.data, extra_fields=("diverging",))
    samples = mcmc.get_samples(group_by_chain=True)
    worst = max(float(np.nanmax(split_gelman_rubin(np.asarray(samples[n], np.float64)))) for n in sites)
    if not math.isfinite(worst) or worst > 1.01:
        raise SystemExit(f"R-hat is {worst:.4f}: take more draws")
    return {n: summary(samples[n]) for n in sites}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--draws", type=int, default=10000)
    parser.add_argument("--chains", type=int, default=4)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    known = cases()
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in options.names or known:
        found[name] = run(known[name](), options.chains, options.draws)
        FILE.write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n")
        print(name, flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    main()
