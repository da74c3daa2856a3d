"""Partial pooling of success rates: one Beta-Binomial model, three data sets.

The model is that of NumPyro's baseball example. Every rate `phi` is integrated out, however many there
are; the population's mean `m` and concentration `kappa` are left to the sampler.
"""

from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj

# file, column of successes, column of trials
SETS = {
    "rat_tumors": ("tumors", "rats"),
    "baseball_large": ("hits", "at_bats"),
    "efron_morris": ("hits", "at_bats"),
}


def model(y, n):
    m = numpyro.sample("m", dist.Uniform(0, 1))
    kappa = numpyro.sample("kappa", dist.Pareto(1, 1.5))
    with numpyro.plate("units", len(y)):
        phi = numpyro.sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
        numpyro.sample("y", dist.Binomial(n, probs=phi), obs=y)


def data(name="rat_tumors"):
    """Successes `y` out of `n` in each unit (experiment or batter)."""
    path = Path(__file__).parent / "data" / f"{name}.csv"
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
    successes, trials = SETS[name]
    return {"y": table[successes], "n": table[trials]}


def main():
    for name in SETS:
        print(f"\n{name}\n")
        print(cj.explain(model, **data(name)))
        mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
        mcmc.run(jax.random.key(0), **data(name))
        mcmc.print_summary()


if __name__ == "__main__":
    main()
