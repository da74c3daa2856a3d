"""Means of kept latents that differ from row to row, above or beside what is integrated out, and choices between cases."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample
from numpyro.contrib.control_flow import scan

from models.table import case

RNG = np.random.default_rng(29)
ROWS, GROUPS = 24, 4
GROUP = (np.arange(ROWS) % GROUPS).astype(np.int32)
AGE = np.round(np.sort(RNG.uniform(0.2, 3.0, ROWS)), 3)
GROWN = np.round(30 * (1 - np.exp(-1.3 * AGE)) + RNG.normal(size=GROUPS)[GROUP] + RNG.normal(size=ROWS), 3)
BOTH = np.stack([GROWN, np.round(0.5 * GROWN + RNG.normal(size=ROWS), 3)], -1)
BEFORE, AFTER = np.round(RNG.normal(size=8), 3), np.round(2 + RNG.normal(size=8), 3)
STEPS = np.concatenate([BEFORE, AFTER])
TIME = np.arange(16.0)


def growth(age):
    """A curve that no statistic stands for."""
    size, rate = sample("size", dist.LogNormal(3.4, 0.2)), sample("rate", dist.LogNormal(0.0, 0.5))
    return size * (1 - jnp.exp(-rate * age))


@case("effect", GROWN, AGE)
def residual_effects(y, age):
    mean, s, t = growth(age), sample("s", dist.HalfNormal(2.0)), sample("t", dist.HalfNormal(1.0))
    with plate("groups", GROUPS):
        effect = sample("effect", dist.Normal(0.0, t))
    sample("y", dist.Normal(mean + effect[GROUP], s), obs=y)


@case("level effect", GROWN, AGE)
def residual_weights(y, age):
    """The noise grows with the mean."""
    mean, s = growth(age), sample("s", dist.HalfNormal(0.1))
    level = sample("level", dist.Normal(0.0, 3.0))
    with plate("groups", GROUPS):
        effect = sample("effect", dist.Normal(level, 0.7))
    sample("y", dist.Normal(mean + effect[GROUP], s * mean), obs=y)


@case("v", GROWN, AGE)
def residual_variance(y, age):
    mean, v = growth(age), sample("v", dist.InverseGamma(2.0, 2.0))
    sample("y", dist.Normal(mean, jnp.sqrt(v)), obs=y)


@case("v", GROWN, AGE)
def residual_variance_of_each_group(y, age):
    mean = growth(age)
    with plate("groups", GROUPS):
        v = sample("v", dist.InverseGamma(2.0, 2.0))
    sample("y", dist.Normal(mean, jnp.sqrt(v[GROUP])), obs=y)


@case("v level", GROWN, AGE)
def residual_level_and_variance(y, age):
    mean, v = growth(age), sample("v", dist.InverseGamma(2.0, 2.0))
    level = sample("level", dist.Normal(0.0, 2.0 * jnp.sqrt(v)))
    sample("y", dist.Normal(mean + level, jnp.sqrt(v)), obs=y)


@case("v level", GROWN, AGE)
def residual_level_and_variance_of_each_group(y, age):
    mean = growth(age)
    with plate("groups", GROUPS):
        v = sample("v", dist.InverseGamma(2.0, 2.0))
        level = sample("level", dist.Normal(0.0, 2.0 * jnp.sqrt(v)))
    sample("y", dist.Normal(mean + level[GROUP], jnp.sqrt(v[GROUP])), obs=y)


@case("w", GROWN, AGE)
def residual_precision_of_each_row(y, age):
    mean, s = growth(age), sample("s", dist.HalfNormal(2.0))
    with plate("rows", ROWS):
        w = sample("w", dist.Gamma(2.0, 2.0))
        sample("y", dist.Normal(mean, s / jnp.sqrt(w)), obs=y)


@case("effect", BOTH, AGE)
def residual_outcomes(y, age):
    """Two outcomes with joint noise."""
    mean = growth(age)
    s = sample("s", dist.HalfNormal(2.0).expand([2]).to_event(1))
    root = sample("root", dist.LKJCholesky(2, 2.0))
    effect = sample("effect", dist.Normal(0.0, 1.0).expand([GROUPS]).to_event(1))
    mean = jnp.stack([mean + effect[GROUP], 0.5 * mean], -1)
    sample("y", dist.MultivariateNormal(mean, scale_tril=s[:, None] * root), obs=y)


@case("precision", BOTH, AGE)
def residual_precision_matrix(y, age):
    mean, precision = growth(age), sample("precision", dist.Wishart(4.0, jnp.eye(2)))
    sample("y", dist.MultivariateNormal(jnp.stack([mean, 0.5 * mean], -1), precision_matrix=precision), obs=y)


@case("z", GROWN, AGE)
def residual_walk(y, age):
    """The curve, and a walk about it."""
    mean, s, q = growth(age), sample("s", dist.HalfNormal(2.0)), sample("q", dist.HalfNormal(1.0))

    def step(before, row):
        z = sample("z", dist.Normal(before, q))
        sample("y", dist.Normal(row[0] + z, s), obs=row[1])
        return z, None

    scan(step, 0.0, (mean, y))


@case("z level", GROWN, AGE)
def residual_walk_and_level(y, age):
    mean, s, q = growth(age), sample("s", dist.HalfNormal(2.0)), sample("q", dist.HalfNormal(1.0))
    level = sample("level", dist.Normal(0.0, 5.0))
    z = sample("z", dist.GaussianRandomWalk(q, num_steps=ROWS))
    sample("y", dist.Normal(mean + level + z, s), obs=y)


@case("a b", STEPS, TIME)
def residual_switch(y, t):
    """When a step comes is sampled: what else it would be of is no reason to look at it as a choice among latents."""
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    at = sample("at", dist.Normal(8.0, 4.0))
    sample("y", dist.Normal(a + jnp.where(t > at, b, 0.0), 1.0), obs=y)


@case("b", GROWN, AGE)
def residual_smooth_curve(y, age):
    """A height that could itself be a scale, times a curve, beside what is integrated out."""
    height, rate = sample("height", dist.HalfNormal(40.0)), sample("rate", dist.LogNormal(0.0, 0.5))
    b, s = sample("b", dist.Normal(0.0, 1.0)), sample("s", dist.HalfNormal(2.0))
    sample("y", dist.Normal(height * (1 - jnp.exp(-rate * age)) + b * age, s), obs=y)


@case("b", GROWN[:3])
def residual_of_a_system(y):
    """What is solved for goes; a factor of the matrix, that could be collapsed alone, stays."""
    a = sample("a", dist.Normal(0.0, 0.1))
    b = sample("b", dist.Normal(jnp.zeros(3), 30.0))
    sample("y", dist.Normal(jnp.linalg.solve(jnp.eye(3) + a * jnp.eye(3, k=1), b), 1.0), obs=y)


@case("mu u w", GROWN, GROUP)
def residual_floors(y, group):
    """Scales that could go, if nothing were added to them, stand in the way of means together."""
    mu = sample("mu", dist.Normal(20.0, 10.0))
    scales = [sample(f"s{k}", dist.Exponential(1.0)) + 0.01 for k in range(3)]
    u = sample("u", dist.Normal(mu, scales[0]).expand([GROUPS]).to_event(1))
    w = sample("w", dist.Normal(0.0, scales[1]).expand([3]).to_event(1))
    sample("y", dist.Normal(u[group] + w[jnp.arange(ROWS) % 3], scales[2]), obs=y)


@case("b z", STEPS[:6])
def residual_floor_below_states(y):
    k = sample("k", dist.Gamma(2.0, 2.0))
    with plate("rows", 6):
        z, b = sample("z", dist.Bernoulli(0.4)), sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(b + jnp.where(z == 1, jnp.exp(k), 0.0), k + 0.1), obs=y)


SPARSE = np.where(np.arange(ROWS)[:, None] % 3, np.round(RNG.normal(size=(ROWS, 3)), 3), 0.0)


@case("z", GROWN, AGE)
def columns_of_sums_and_curves(y, age):
    """Where both are nothing but one of them is a monomial."""
    k, h = sample("k", dist.Normal(0.0, 1.0).expand([3]).to_event(1)), sample("h", dist.LogNormal(0.0, 1.0))
    z = sample("z", dist.Normal(0.0, 1.0).expand([ROWS]).to_event(1))
    curve = jnp.where(np.arange(ROWS) < 20, jnp.exp(-h * age), 0.0)
    sample("y", dist.Normal(z * (SPARSE @ k) + curve * z, 2.0), obs=y)


@case("b c", GROWN, AGE)
def column_beside_nothing_of_another(y, age):
    """What the column is computed from is multiplied by 0 in it."""
    rho = sample("rho", dist.Uniform(0.0, 1.0))
    b, c = sample("b", dist.Normal(0.0, 9.0)), sample("c", dist.Normal(0.0, 9.0))
    sample("y", dist.Normal(b * (jnp.exp(-rho * age) - rho * age + 0.0 * c) + c, 2.0), obs=y)
