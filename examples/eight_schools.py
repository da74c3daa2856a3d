"""Eight schools (Rubin, 1981), centred and non-centred.

Both say the same and collapse alike: only `tau` is left to the sampler.
"""

import json
from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj


def centred(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def non_centred(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * z)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def data():
    """Estimated effect `y` of coaching in each school, and its standard error `sigma`."""
    path = Path(__file__).parent / "data" / "eight_schools.json"
    return {name: np.asarray(v, float) for name, v in json.loads(path.read_text()).items()}


def main():
    for model in (centred, non_centred):
        print(f"\n{model.__name__}\n")
        print(cj.explain(model, **data()))
        mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
        mcmc.run(jax.random.key(0), **data())
        mcmc.print_summary()


if __name__ == "__main__":
    main()
