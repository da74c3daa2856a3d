"""Discrete latents that are summed out and drawn back: a hidden Markov model, and a mixture of normals.

* A basketball player's distance from the basket tells whether he drives or waits (posteriordb's `hmm_example`).
  The states of all steps are drawn together, the most probable course of them is `mode`'s.
* The velocities of 82 galaxies come in clusters.

    python examples/hidden_states.py [picture.png]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
from numpyro.distributions import transforms
from numpyro.infer import MCMC

import conjugate_ppl as cj

CLUSTERS = 6


def basketball(y):
    steps = numpyro.sample("steps", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
    mean = numpyro.sample("mean", dist.TransformedDistribution(
        dist.Normal(jnp.array([1.0, 1.0]), 1.0).to_event(1), transforms.OrderedTransform()))

    def step(before, distance):
        state = numpyro.sample("state", dist.Categorical(steps[before]))
        numpyro.sample("y", dist.Normal(mean[state], 1.0), obs=distance)
        return state, None

    scan(step, 0, y)


def galaxies(y):
    weight = numpyro.sample("weight", dist.Dirichlet(jnp.ones(CLUSTERS)))
    mean = numpyro.sample("mean", dist.Normal(20.0, 10.0).expand([CLUSTERS]).to_event(1))
    scale = numpyro.sample("scale", dist.Gamma(2.0, 1.0).expand([CLUSTERS]).to_event(1))
    with numpyro.plate("galaxies", len(y)):
        cluster = numpyro.sample("cluster", dist.Categorical(weight))
        numpyro.sample("y", dist.Normal(mean[cluster], scale[cluster]), obs=y)


def data(name="basketball"):
    """Arguments of the model `name`."""
    file = {"basketball": "hmm_example", "galaxies": "galaxies"}[name]
    return {"y": np.genfromtxt(Path(__file__).parent / "data" / f"{file}.csv", skip_header=1)}


def main():
    draws = {}
    for name, model in (("basketball", basketball), ("galaxies", galaxies)):
        print(f"\n{name}\n")
        print(cj.explain(model, **data(name)))
        mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
        mcmc.run(jax.random.key(0), **data(name))
        draws[name] = mcmc.get_samples()
    kept = {n: np.mean(draws["basketball"][n], 0) for n in ("steps", "mean")}
    best = cj.collapse(basketball).mode(kept, **data("basketball"))["state"]
    print("\nThe most probable states at the posterior means:", *np.asarray(best))
    if len(sys.argv) > 1:
        picture(sys.argv[1], draws, best)


def picture(path, draws, best):
    """The distances with the probability to wait, and the density of the velocities."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.5))
    y = data("basketball")["y"]
    left.plot(y, ".", color="black")
    left.plot(10 * draws["basketball"]["state"].mean(0), color="tab:blue", label="10 P(waits)")
    left.step(np.arange(len(y)), 10 * best, where="mid", color="tab:orange", alpha=0.5, label="most probable")
    left.legend()
    own, grid = draws["galaxies"], np.linspace(5, 40, 300)
    density = np.exp(dist.Normal(own["mean"], own["scale"]).log_prob(grid[:, None, None])) * own["weight"]
    right.hist(data("galaxies")["y"], 40, density=True, color="lightgrey")
    right.plot(grid, density.sum(-1).mean(1), color="tab:blue")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
