"""Three regressions: one parameter left, none left, and one that has to be declined.

With flat coefficients only `sigma` is sampled. With a normal-inverse-gamma prior nothing is: draws are
independent and the evidence is exact. A logistic regression has no conjugate prior, and `explain` names
the line that says so.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.infer import MCMC

import conjugate_ppl as cj


def kidiq(X, y):
    beta = numpyro.sample("beta", dist.ImproperUniform(constraints.real, (), (X.shape[1],)))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    numpyro.sample("y", dist.Normal(X @ beta, sigma), obs=y)


def nig(X, y):
    s2 = numpyro.sample("s2", dist.InverseGamma(2.0, 3000.0))
    m0 = jnp.r_[150.0, jnp.zeros(10)]
    v0 = jnp.r_[40.0, jnp.full(10, 100.0)]
    beta = numpyro.sample("beta", dist.Normal(m0, jnp.sqrt(s2 * v0)).to_event(1))
    numpyro.sample("y", dist.Normal(X @ beta, jnp.sqrt(s2)), obs=y)


def logistic(X, y):
    beta = numpyro.sample("beta", dist.Normal(0.0, 2.5).expand([X.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=X @ beta), obs=y)


MODELS = {"kidiq": kidiq, "nig": nig, "logistic": logistic}


def data(name="kidiq"):
    """Design `X`, first column ones, and response `y` of the model `name`."""
    folder = Path(__file__).parent / "data"
    if name == "kidiq":
        # columns used: kid_score on (1, mom_hs, mom_iq)
        table = np.genfromtxt(folder / "kidiq.csv", delimiter=",", skip_header=1)
        return {"X": np.column_stack([np.ones(len(table)), table[:, 1:]]), "y": table[:, 0]}
    if name == "nig":
        # columns used: y on (1, and all ten others)
        table = np.genfromtxt(folder / "diabetes.csv", delimiter=",", skip_header=1)
        return {"X": np.column_stack([np.ones(len(table)), table[:, :-1]]), "y": table[:, -1]}
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(200), rng.normal(size=(200, 2))])
    p = 1 / (1 + np.exp(-X @ np.array([-0.5, 1.0, -1.5])))
    return {"X": X, "y": (rng.uniform(size=200) < p).astype(int)}


def main():
    for name, model in MODELS.items():
        print(f"\n{name}\n")
        print(cj.explain(model, **data(name)))
        mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
        mcmc.run(jax.random.key(0), **data(name))
        mcmc.print_summary()
    print(f"\nlog evidence of nig: {cj.collapse(nig).log_evidence(**data('nig')):.4f}")


if __name__ == "__main__":
    main()
