"""Three time series: states that drift are integrated out by a filter, coefficients in closed form.

* The flow of the Nile is a level that drifts, seen with noise. With forty years hidden the level in between is
  drawn all the same: `nile` is the model of Durbin and Koopman (2012), with priors.
* Carbon dioxide at Mauna Loa has a level, a slope and a season. The first half of 1964 was never measured.
* Sunspots follow their last nine values (an autoregression of what is seen, so a regression).

    python examples/time_series.py [picture.png]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.diagnostics import print_summary
from numpyro.infer import MCMC

import conjugate_ppl as cj

LAGS = 9


def nile(y, seen):
    noise = numpyro.sample("noise", dist.HalfNormal(200.0))
    drift = numpyro.sample("drift", dist.HalfNormal(200.0))
    first = numpyro.sample("first", dist.Normal(1000.0, 1000.0))
    with handlers.mask(mask=seen[0]):
        numpyro.sample("y_first", dist.Normal(first, noise), obs=y[0])

    def step(level, row):
        flow, there = row
        level = numpyro.sample("level", dist.Normal(level, drift))
        with handlers.mask(mask=there):
            numpyro.sample("y", dist.Normal(level, noise), obs=flow)
        return level, None

    scan(step, first, (y[1:], seen[1:]))


def co2(y, seen):
    """Four seasons that sum to nearly nothing; level and slope are those of the quarter before the first."""
    scales = numpyro.sample("scales", dist.HalfNormal(jnp.array([0.5, 0.1, 0.3, 0.5])).to_event(1))
    level = numpyro.sample("level_0", dist.Normal(315.0, 10.0))
    slope = numpyro.sample("slope_0", dist.Normal(0.0, 1.0))
    seasons = numpyro.sample("season_0", dist.Normal(jnp.zeros(3), 5.0).to_event(1))

    def step(carry, row):
        level, slope, one, two, three = carry
        ppm, there = row
        slope = numpyro.sample("slope", dist.Normal(slope, scales[1]))
        level = numpyro.sample("level", dist.Normal(level + slope, scales[0]))
        season = numpyro.sample("season", dist.Normal(-one - two - three, scales[2]))
        with handlers.mask(mask=there):
            numpyro.sample("y", dist.Normal(level + season, scales[3]), obs=ppm)
        return (level, slope, season, one, two), None

    scan(step, (level, slope, *seasons), (y, seen))


def sunspots(y, lags):
    mean = numpyro.sample("mean", dist.Normal(0.0, 50.0))
    beta = numpyro.sample("beta", dist.Normal(jnp.zeros(lags.shape[1]), 1.0).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(10.0))
    numpyro.sample("y", dist.Normal(mean + lags @ beta, sigma), obs=y)


def data(name="nile"):
    """Arguments of the model `name`; `nile_missing` has no flows of 1891 to 1910 and 1931 to 1950."""
    path = Path(__file__).parent / "data" / f"{name.removesuffix('_missing')}.csv"
    y = np.genfromtxt(path, delimiter=",", skip_header=1)[:, -1]
    if name == "sunspots":
        lags = np.stack([y[LAGS - k - 1: len(y) - k - 1] for k in range(LAGS)], 1)
        return {"y": y[LAGS:], "lags": lags}
    if name == "nile_missing":
        y[20:40] = y[60:80] = np.nan
    return {"y": y, "seen": np.isfinite(y)}


def main():
    bands = {}
    for name, model in (("nile", nile), ("nile_missing", nile), ("co2", co2), ("sunspots", sunspots)):
        print(f"\n{name}\n")
        plan = cj.explain(model, **data(name))
        print(plan)
        mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
        mcmc.run(jax.random.key(0), **data(name))
        draws, chains = mcmc.get_samples(), mcmc.get_samples(group_by_chain=True)
        # of states that drift the picture shows more
        print_summary({n: x for n, x in chains.items() if name == "sunspots" or n in plan.kept})
        if name != "sunspots":
            states = draws["level"] + draws.get("season", 0.0)
            bands[name] = np.quantile(states, [0.05, 0.5, 0.95], 0)
    if len(sys.argv) > 1:
        picture(sys.argv[1], bands)


def picture(path, bands):
    """Data, and the middle and 90 % of the states' draws."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(bands), figsize=(13, 3.5))
    for axis, (name, (low, middle, high)) in zip(axes, bands.items(), strict=True):
        y = data(name)["y"]
        steps = np.arange(len(y))[-len(middle):]
        axis.fill_between(steps, low, high, color="tab:blue", alpha=0.3)
        axis.plot(steps, middle, color="tab:blue")
        axis.plot(np.arange(len(y)), y, ".", color="black")
        axis.set_title(name)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
