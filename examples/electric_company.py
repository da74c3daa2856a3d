"""The Electric Company (Gelman and Hill, 2007): classes in pairs, pairs in grades.

Four residual scales are left to the sampler; 104 effects at three levels are integrated out jointly.
Indices in the data count from one, as in the book.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj


def model(grade_pair, pair, grade, treatment, y):
    mua = numpyro.sample("mua", dist.Normal(0.0, 1.0), sample_shape=(4,))
    sigmay = numpyro.sample("sigmay", dist.Normal(0.0, 1.0), sample_shape=(4,))
    a = numpyro.sample("a", dist.Normal(100.0 * mua[grade_pair - 1], 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 100.0), sample_shape=(4,))
    mean = a[pair - 1] + b[grade - 1] * treatment
    numpyro.sample("y", dist.Normal(mean, jnp.exp(sigmay[grade - 1])), obs=y)


def data():
    """Scores `y` of 192 classes, their pair, grade and treatment, and each pair's grade."""
    path = Path(__file__).parent / "data" / "electric_company.json"
    return {name: np.asarray(v) for name, v in json.loads(path.read_text()).items()}


def main():
    print(cj.explain(model, **data()))
    mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
    mcmc.run(jax.random.key(0), **data())
    mcmc.print_summary()


if __name__ == "__main__":
    main()
