"""Components that share every matrix, weights that differ from row to row, and several outcomes of the same covariates."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import case

RNG = np.random.default_rng(23)
PEOPLE, ITEMS = 40, 5
ABILITY = RNG.normal(size=PEOPLE)
SCORES = np.round(ABILITY[:, None] * np.linspace(0.5, 1.5, ITEMS) + 10 + 0.5 * RNG.normal(size=(PEOPLE, ITEMS)), 3)
CLASS = (np.arange(PEOPLE) % 2).astype(np.int32)
TRUE = 2 + RNG.normal(size=60)
MEASURED = np.round(TRUE + 0.3 * RNG.normal(size=60), 3)
TWICE = np.arange(0, 60, 2).astype(np.int32)
AGAIN = np.round(TRUE[TWICE] + 0.6 * RNG.normal(size=30), 3)
COVARIATE = np.round(RNG.normal(size=60), 3)
RESPONSE = np.round(2 * TRUE - COVARIATE + RNG.normal(size=60), 3)
GROUPS, ROWS = 40, 720
GROUP = RNG.integers(GROUPS, size=ROWS).astype(np.int32)
OTHER = RNG.integers(6, size=ROWS).astype(np.int32)
TIME = np.round(RNG.uniform(0.5, 2.0, ROWS), 3)
GROWN = np.round(3 + RNG.normal(size=GROUPS)[GROUP] + TIME * (1 + RNG.normal(size=ROWS)), 3)
OUTCOMES = np.round(SCORES[:, :3] - 10 + RNG.normal(size=(PEOPLE, 3)), 3)
DESIGN = np.round(RNG.normal(size=(PEOPLE, 4)), 3)


@case("mean theta", SCORES)
def alike_factor_scores(y):
    loading = sample("loading", dist.LogNormal(0.0, 0.5).expand([ITEMS]).to_event(1))
    noise = sample("noise", dist.HalfNormal(1.0).expand([ITEMS]).to_event(1))
    mean = sample("mean", dist.Normal(10.0, 5.0).expand([ITEMS]).to_event(1))
    with plate("people", PEOPLE):
        theta = sample("theta", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(mean + theta[:, None] * loading, noise).to_event(1), obs=y)


@case("level theta", SCORES, CLASS)
def alike_scores_in_classes(y, g):
    """Two factors a person, whose means are sampled, and a level of each class."""
    loading = sample("loading", dist.Normal(0.0, 1.0).expand([ITEMS, 2]).to_event(2))
    noise = sample("noise", dist.HalfNormal(1.0).expand([ITEMS]).to_event(1))
    spread = sample("spread", dist.HalfNormal(1.0).expand([2]).to_event(1))
    shift = sample("shift", dist.Gumbel(0.0, 1.0))
    with plate("classes", 2):
        level = sample("level", dist.Normal(10.0, 5.0))
    with plate("people", PEOPLE):
        theta = sample("theta", dist.Normal(jnp.stack([shift, 2 * shift]), spread).to_event(1))
        sample("y", dist.Normal(level[g][:, None] + theta @ loading.T, noise).to_event(1), obs=y)


@case("a b centre x", MEASURED, AGAIN, COVARIATE, RESPONSE)
def alike_measured_once_or_twice(w, again, z, y):
    slope = sample("slope", dist.Gumbel(2.0, 1.0))
    centre = sample("centre", dist.Normal(2.0, 10.0))
    spread, s = sample("spread", dist.HalfNormal(2.0)), sample("s", dist.HalfNormal(1.0))
    a, b = sample("a", dist.Normal(0.0, 10.0)), sample("b", dist.Normal(0.0, 1.0))
    with plate("n", 60):
        x = sample("x", dist.Normal(centre, spread))
        sample("w", dist.Normal(x, 0.3), obs=w)
        sample("y", dist.Normal(a + b * z + slope * x, s), obs=y)
    with plate("twice", 30):
        sample("again", dist.Normal(x[TWICE], 0.6), obs=again)


@case("a b m", GROWN, GROUP, TIME)
def strips_of_growth(y, g, t):
    m = sample("m", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    tau = sample("tau", dist.HalfNormal(1.0).expand([2]).to_event(1))
    s, d = sample("s", dist.HalfNormal(1.0)), sample("d", dist.Normal(0.0, 1.0))
    with plate("groups", GROUPS):
        a = sample("a", dist.Normal(m[0], tau[0]))
        b = sample("b", dist.Normal(m[1], tau[1]))
    sample("y", dist.Normal(a[g] + b[g] * t, s * t**d).to_event(1), obs=y)


@case("a b m", GROWN, GROUP, OTHER, TIME)
def strips_of_crossed_groups(y, g, h, t):
    m = sample("m", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfNormal(1.0).expand([2]).to_event(1))
    c = sample("c", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with plate("groups", GROUPS):
        a = sample("a", dist.Normal(0.0, tau[0]))
    with plate("others", 6):
        b = sample("b", dist.Normal(0.0, tau[1]))
    sample("y", dist.Normal(m + a[g] + b[h], jnp.exp(c[0] + c[1] * t)).to_event(1), obs=y)


@case("b", OUTCOMES, DESIGN)
def outcomes_of_the_same_covariates(y, x):
    t = sample("t", dist.HalfNormal(1.0).expand([3]).to_event(1))
    root = sample("root", dist.LKJCholesky(3, 1.0))
    b = sample("b", dist.Normal(0.0, 2.0).expand([4, 3]).to_event(2))
    with plate("people", PEOPLE):
        sample("y", dist.MultivariateNormal(x @ b, scale_tril=t[:, None] * root), obs=y)
