"""Failure rates of ten pumps (BUGS examples, volume 1): Gamma-Poisson.

The rates `theta` are integrated out. Their prior's rate `beta` has a Gamma prior and would be conjugate
to them, but of the two only one can go, and ten numbers are more than one.
"""

import json
from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj


def model(x, t):
    alpha = numpyro.sample("alpha", dist.Exponential(1.0))
    beta = numpyro.sample("beta", dist.Gamma(0.1, 1.0))
    with numpyro.plate("pumps", len(x)):
        theta = numpyro.sample("theta", dist.Gamma(alpha, beta))
        numpyro.sample("x", dist.Poisson(theta * t), obs=x)


def data():
    """Failures `x` in `t` thousand hours."""
    path = Path(__file__).parent / "data" / "pumps.json"
    return {name: np.asarray(v) for name, v in json.loads(path.read_text()).items()}


def main():
    print(cj.explain(model, **data()))
    mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
    mcmc.run(jax.random.key(0), **data())
    mcmc.print_summary()


if __name__ == "__main__":
    main()
