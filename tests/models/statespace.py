"""Linear-Gaussian state space, written with `scan`."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints

from models.table import COUNT, HOLED, SEEN, T, X, Y, case

SERIES = np.stack([Y[:6], Y[3:]])
STEP = np.array([[0.9, 0.2], [-0.1, 0.7]])
ROOT = np.array([[0.5, 0.0], [0.2, 0.4]])


@case("x", Y, relation="gaussian-chain")
def local_level(y):
    walk = sample("walk", dist.HalfNormal(1.0))
    noise = sample("noise", dist.HalfNormal(1.0))

    def step(x, seen):
        x = sample("x", dist.Normal(x, walk))
        sample("y", dist.Normal(x, noise), obs=seen)
        return x, None

    scan(step, 0.0, y)


@case("x x0", 1e3 + Y)
def local_level_with_a_start(y):
    walk = sample("walk", dist.HalfNormal(1.0))
    x0 = sample("x0", dist.Normal(900.0, 200.0))

    def step(x, seen):
        x = sample("x", dist.Normal(x, walk))
        sample("y", dist.Normal(x, 1.0), obs=seen)
        return x, x

    scan(step, x0, y)


@case("x", HOLED, SEEN)
def local_level_with_missing_values(y, seen):
    walk = sample("walk", dist.HalfNormal(1.0))

    def step(x, row):
        now, there = row
        x = sample("x", dist.Normal(x, walk))
        with handlers.mask(mask=there):
            sample("y", dist.Normal(x, 1.0), obs=now)
        return x, None

    scan(step, 0.0, (y, seen))


@case("slope level", Y)
def local_trend(y):
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))

    def step(carry, seen):
        level, slope = carry
        slope = sample("slope", dist.Normal(slope, scales[0]))
        level = sample("level", dist.Normal(level + slope, scales[1]))
        sample("y", dist.Normal(level, scales[2]), obs=seen)
        return (level, slope), None

    scan(step, (0.0, 0.0), y)


@case("level slope", Y)
def local_trend_the_other_way_round(y):
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))

    def step(carry, seen):
        level, slope = carry
        level = sample("level", dist.Normal(level + slope, scales[1]))
        slope = sample("slope", dist.Normal(0.9 * slope, scales[0]))
        sample("y", dist.Normal(level, scales[2]), obs=seen)
        return (level, slope), None

    scan(step, (0.0, 0.0), y)


@case("x", Y, relation="gaussian-chain")
def autoregression(y):
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    mean = sample("mean", dist.StudentT(4.0, 0.0, 5.0))
    sd = sample("sd", dist.HalfNormal(1.0))

    def step(x, seen):
        x = sample("x", dist.Normal(mean + phi * (x - mean), sd))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, mean, y)


@case("x", Y)
def autoregression_of_order_two(y):
    phi = sample("phi", dist.Uniform(-0.5, 0.5).expand([2]))

    def step(carry, seen):
        one, two = carry
        x = sample("x", dist.Normal(phi[0] * one + phi[1] * two, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return (x, one), None

    scan(step, (0.0, 0.0), y)


@case("season level", Y)
def level_and_season(y):
    """Four quarters that sum to nearly nothing."""
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))

    def step(carry, seen):
        level, one, two, three = carry
        season = sample("season", dist.Normal(-one - two - three, scales[0]))
        level = sample("level", dist.Normal(level, scales[1]))
        sample("y", dist.Normal(level + season, scales[2]), obs=seen)
        return (level, season, one, two), None

    scan(step, (0.0, 0.0, 0.0, 0.0), y)


@case("x shock", Y)
def shocks_as_sites(y):
    scale = sample("scale", dist.HalfNormal(1.0))

    def step(x, seen):
        shock = sample("shock", dist.Normal(0.0, scale))
        x = sample("x", dist.Normal(0.9 * x + shock, 0.2))
        sample("y", dist.Normal(x, 1.0), obs=seen)
        return x, None

    scan(step, 0.0, y)


@case("x", np.stack([Y, Y[::-1]], 1), relation="gaussian-chain")
def vector_states(y):
    turn = sample("turn", dist.Normal(0.0, 0.2).expand([2, 2]))
    scale = sample("scale", dist.HalfNormal(1.0).expand([2]))

    def step(x, seen):
        x = sample("x", dist.MultivariateNormal((jnp.asarray(STEP) + turn) @ x,
                                                scale_tril=jnp.asarray(ROOT) * scale[:, None]))
        sample("y", dist.Normal(x, 0.7).to_event(1), obs=seen)
        return x, None

    scan(step, jnp.zeros(2), y)


@case("x", Y, X)
def vector_states_seen_as_one_number(y, design):
    """What is seen of a state changes from step to step; two elements of an event are alike."""
    scale = sample("scale", dist.HalfNormal(1.0))

    def step(x, row):
        seen, h = row
        x = sample("x", dist.Normal(jnp.asarray(STEP) @ x, scale).to_event(1))
        sample("y", dist.Normal(jnp.sum(h * x), 1.0), obs=seen)
        return x, None

    scan(step, jnp.ones(2), (y, design))


@case("x", SERIES)
def several_series(y):
    walk = sample("walk", dist.HalfNormal(1.0).expand([2]))
    noise = sample("noise", dist.HalfNormal(1.0))

    def step(x, seen):
        with plate("series", 2):
            x = sample("x", dist.Normal(x, walk))
            sample("y", dist.Normal(x, noise), obs=seen)
        return x, None

    scan(step, jnp.zeros(2), y.T)


@case("x", Y, T)
def inputs_and_changing_scales(y, t):
    gain = sample("gain", dist.StudentT(3.0, 0.0, 1.0))
    walk = sample("walk", dist.HalfNormal(1.0))

    def step(x, row):
        seen, now = row
        x = sample("x", dist.Normal((1.0 - 0.2 * now) * x + jnp.sin(now), walk * (1.0 + now)))
        sample("y", dist.Normal(x + gain * now, 0.5 + now), obs=seen)
        return x, None

    scan(step, 0.0, (y, t))


@case("x own", Y)
def effects_of_each_step(y):
    """An effect of each step, outside the loop, meets the state in the likelihood."""
    walk = sample("walk", dist.HalfNormal(1.0))
    with plate("steps", len(y)):
        own = sample("own", dist.Normal(0.0, 0.6))

    def step(x, row):
        seen, extra = row
        x = sample("x", dist.Normal(x, walk))
        sample("y", dist.Normal(x + extra, 0.3), obs=seen)
        return x, None

    scan(step, 0.0, (y, own))


@case("x", Y)
def loading_that_is_kept(y):
    loading = sample("loading", dist.HalfNormal(1.0))

    def step(carry, seen):
        x, t = carry
        x = sample("x", dist.Normal(0.8 * x, 1.0))
        sample("y", dist.Normal(jnp.exp(loading) * x, jnp.sqrt(1.0 + loading * t)), obs=seen)
        return (x, t + 1.0), None

    scan(step, (0.0, 0.0), y)


@case("x rate", Y, COUNT)
def chain_beside_other_latents(y, count):
    rate = sample("rate", dist.Gamma(2.0, 1.0))

    def step(x, row):
        seen, number = row
        x = sample("x", dist.Normal(x, 0.5))
        sample("y", dist.Normal(x, 1.0), obs=seen)
        sample("count", dist.Poisson(rate), obs=number)
        return x, None

    scan(step, 0.0, (y, count))


@case("level slope level0 slope0", 1e3 + HOLED, SEEN)
def local_trend_with_flat_starts(y, seen):
    scales = sample("scales", dist.HalfNormal(1.0).expand([2]))
    level0 = sample("level0", dist.ImproperUniform(constraints.real, (), ()))
    slope0 = sample("slope0", dist.ImproperUniform(constraints.real, (), ()))

    def step(carry, row):
        now, there = row
        level, slope = carry
        slope = sample("slope", dist.Normal(slope, scales[0]))
        level = sample("level", dist.Normal(level + slope, scales[1]))
        sample("y", dist.Normal(level, 1.0).mask(there), obs=now)
        return (level, slope), None

    scan(step, (level0, slope0), (y, seen))


@case("x centre mean", SERIES)
def autoregressions_about_means_with_a_flat_mean(y):
    """What is kept cancels: started at their means, they stay there."""
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    scale = sample("scale", dist.HalfNormal(1.0))
    mean = sample("mean", dist.ImproperUniform(constraints.real, (), ()))
    with plate("series", 2):
        centre = sample("centre", dist.Normal(mean, scale))

    def step(x, seen):
        with plate("series", 2):
            x = sample("x", dist.Normal(centre + phi * (x - centre), 0.5))
            sample("y", dist.Normal(x, 0.7), obs=seen)
        return x, None

    scan(step, centre, y.T)


@case("x b", Y, X)
def coefficients_that_all_steps_share(y, design):
    """The chain leaves a quadratic in them, far from zero."""
    walk = sample("walk", dist.HalfNormal(1.0))
    b = sample("b", dist.Normal(jnp.array([900.0, -900.0]), 300.0).to_event(1))

    def step(x, row):
        seen, now = row
        x = sample("x", dist.Normal(x, walk))
        sample("y", dist.Normal(x + now @ b, 0.6), obs=seen + 1e3 * now[0] - 1e3 * now[1])
        return x, None

    scan(step, 0.0, (y, design))


@case("slope level drift b top", Y, X)
def trend_with_a_drift_and_coefficients_with_a_mean(y, design):
    scales = sample("scales", dist.HalfNormal(1.0).expand([4]))
    top = sample("top", dist.Normal(0.0, 2.0))
    drift = sample("drift", dist.Normal(0.0, 1.0))
    b = sample("b", dist.Normal(top, scales[3]).expand([2]))
    sample("other", dist.Normal(b, 1.0), obs=y[:2])

    def step(carry, row):
        level, slope = carry
        seen, now = row
        slope = sample("slope", dist.Normal(slope, scales[0]))
        level = sample("level", dist.Normal(level + slope + drift, scales[1]))
        sample("y", dist.Normal(level + jnp.sum(now * b), scales[2]), obs=seen)
        return (level, slope), None

    scan(step, (0.0, 0.0), (y, design))


@case("x mean", 1e3 + Y)
def autoregression_about_an_unknown_mean(y):
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    mean = sample("mean", dist.Normal(0.0, 1e3))

    def step(x, seen):
        x = sample("x", dist.Normal(mean + phi * (x - mean), 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, mean, y)


@case("walks b", np.stack([Y, 2.0 * Y]), X)
def random_walks_as_sites(y, design):
    """Two walks, and coefficients that all their steps share."""
    scale = sample("scale", dist.HalfNormal(1.0).expand([2]))
    b = sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    walks = sample("walks", dist.GaussianRandomWalk(scale, len(design)))
    sample("y", dist.Normal(walks + design @ b, 0.7), obs=y)


@case("x", Y)
def state_space_as_a_site(y):
    turn = sample("turn", dist.Uniform(0.1, 0.9))
    x = sample("x", dist.GaussianStateSpace(len(y), jnp.asarray(STEP) * turn, scale_tril=jnp.asarray(ROOT)))
    sample("y", dist.Normal(x[:, 0] - x[:, 1], 1.0), obs=y)


@case("x s2", Y)
def one_variance_for_all_of_a_chain(y):
    """It goes last: the chain leaves an inverse gamma's likelihood."""
    ratio = sample("ratio", dist.HalfNormal(1.0))
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))

    def step(x, seen):
        x = sample("x", dist.Normal(0.9 * x, ratio * jnp.sqrt(s2)))
        sample("y", dist.Normal(x, jnp.sqrt(s2)), obs=seen)
        return x, None

    scan(step, 0.0, y)


@case("first season level", Y)
def seasons_as_a_vector(y):
    """The last three quarters as one vector, the first ones latent; a month that goes round besides."""
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))
    first = sample("first", dist.Normal(0.0, 2.0).expand([3]))

    def step(carry, seen):
        level, seasons, month = carry
        new = sample("season", dist.Normal(-jnp.sum(seasons), scales[0]))
        level = sample("level", dist.Normal(level, scales[1]))
        sample("y", dist.Normal(level + new + month[0], scales[2]), obs=seen)
        return (level, jnp.concatenate([new[None], seasons[:-1]]), jnp.roll(month, -1)), None

    scan(step, (0.0, first, jnp.array([1.0, -0.5, 0.0, 0.3])), y)


@case("season", Y, np.arange(len(Y)))
def seasons_in_a_ring(y, t):
    """The place of the newest of four goes round."""
    scale = sample("scale", dist.HalfNormal(1.0))

    def step(ring, row):
        seen, now = row
        new = sample("season", dist.Normal(0.5 * ring[now % 4] + 0.2 * ring[(now - 1) % 4], scale))
        sample("y", dist.Normal(new, 0.5), obs=seen)
        return ring.at[now % 4].set(new), None

    scan(step, jnp.ones(4), (y, t))


@case("x b s2", Y, X)
def regression_with_one_variance(y, design):
    """Its errors are an autoregression; the variance of all goes last."""
    ratio = sample("ratio", dist.HalfNormal(1.0))
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    b = sample("b", dist.Normal(0.0, 2.0 * jnp.sqrt(s2)).expand([2]).to_event(1))

    def step(x, row):
        seen, now = row
        x = sample("x", dist.Normal(0.8 * x, ratio * jnp.sqrt(s2)))
        sample("y", dist.Normal(x + now @ b, jnp.sqrt(s2)), obs=seen)
        return x, None

    scan(step, 0.0, (y, design))


@case("first season level", SERIES)
def season_of_a_year_ago(y):
    """Only it is read, of a vector that is rolled; two series."""
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))
    first = sample("first", dist.Normal(0.0, 2.0).expand([4, 2]))

    def step(carry, seen):
        level, seasons = carry
        with plate("series", 2):
            new = sample("season", dist.Normal(seasons[-1], scales[0]))
            level = sample("level", dist.Normal(level, scales[1]))
            sample("y", dist.Normal(level + new, scales[2]), obs=seen)
        return (level, jnp.roll(seasons, 1, 0).at[0].set(new)), None

    scan(step, (jnp.zeros(2), first), y.T)


@case("x", Y)
def lags_as_a_vector(y):
    phi = sample("phi", dist.Uniform(-0.3, 0.3).expand([3]))

    def step(carry, seen):
        lags, two = carry
        x = sample("x", dist.Normal(jnp.dot(phi, lags) + 0.1 * two[1], 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return (jnp.concatenate([x[None], lags[:-1]]), jnp.stack([x, two[0]])), x

    scan(step, (jnp.ones(3), jnp.zeros(2)), y)


@case("start shocks", 1e3 + Y)
def walk_as_a_running_sum(y):
    """What is read is the start and the sum together: the start enters the first step alone."""
    sigma = sample("sigma", dist.HalfNormal(1.0))
    start = sample("start", dist.Normal(900.0, 200.0))
    shocks = sample("shocks", dist.Normal(0.0, 1.0).expand([len(y)]))
    sample("y", dist.Normal(start + sigma * jnp.cumsum(shocks), 0.5), obs=y)


@case("start shocks turns", HOLED[:, None] + np.arange(2.0), SEEN)
def trends_as_running_sums(y, seen):
    """Two series, some values of which are missing; a running sum of running sums."""
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]))
    start = sample("start", dist.Normal(0.0, 3.0).expand([2]))
    shocks = sample("shocks", dist.Normal(0.0, 1.0).expand(list(y.shape)))
    turns = sample("turns", dist.Normal(0.0, scales[0]).expand(list(y.shape)))
    level = start + jnp.cumsum(jnp.cumsum(turns, 0) + scales[1] * shocks, 0)
    with handlers.mask(mask=seen[:, None]):
        sample("y", dist.Normal(level, scales[2]), obs=y)


@case("shock b", Y, X)
def autoregression_by_shocks(y, design):
    """Nothing in the loop is sampled but standard normals; coefficients enter what is carried."""
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    sigma = sample("sigma", dist.HalfNormal(1.0))
    b = sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    def step(x, row):
        seen, now = row
        x = phi * x + now @ b + sigma * sample("shock", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 1.0, (y, design))


@case("mean phi", Y)
def moving_average_of_errors(y):
    """An ARMA(1, 1): errors follow from the data, and are linear in what all steps share; no latent is in steps."""
    mean = sample("mean", dist.Normal(0.0, 10.0))
    phi = sample("phi", dist.Normal(0.0, 2.0))
    theta = sample("theta", dist.Uniform(-1.0, 1.0))
    s = sample("s", dist.HalfCauchy(2.5))

    def step(carry, seen):
        before, error = carry
        expected = mean + phi * before + theta * error
        sample("y", dist.Normal(expected, s), obs=seen)
        return (seen, seen - expected), None

    scan(step, (y[0], 0.0), y[1:])


@case("level", Y)
def flat_start_of_a_recursion(y):
    level = sample("level", dist.ImproperUniform(constraints.real, (), ()))
    gain = sample("gain", dist.Uniform(0.0, 1.0))
    noise = sample("noise", dist.HalfNormal(1.0))

    def step(level, row):
        seen, t = row
        sample("y", dist.Normal(level, noise), obs=seen)
        return level + 0.3 * (seen - level) + gain * t, None

    scan(step, level, (y, jnp.arange(9.0)))


@case("other", Y)
def flat_coefficients_of_a_recursion_that_are_one(y):
    """The data say what their sum is: one of them stays."""
    noise = sample("noise", dist.HalfNormal(1.0))
    one = sample("one", dist.ImproperUniform(constraints.real, (), ()))
    other = sample("other", dist.ImproperUniform(constraints.real, (), ()))

    def step(error, seen):
        expected = one + other - 0.5 * error
        sample("y", dist.Normal(expected, noise), obs=seen)
        return seen - expected, None

    scan(step, 0.0, y)


@case("level slope", Y)
def exponential_smoothing(y):
    """Holt's: no noise but that of the data; all states follow from the first ones."""
    gain = sample("gain", dist.Uniform(0.0, 1.0).expand([2]))
    noise = sample("noise", dist.HalfNormal(1.0))
    start = sample("level", dist.Normal(0.0, 5.0)), sample("slope", dist.Normal(0.0, 1.0))

    def step(carry, seen):
        level, slope = carry
        sample("y", dist.Normal(level + slope, noise), obs=seen)
        new = level + slope + gain[0] * (seen - level - slope)
        return (new, 0.9 * slope + gain[1] * (new - level - slope)), None

    (level, _), _ = scan(step, start, y)
    sample("next", dist.Normal(level, noise), obs=1.0)


@case("mean x0 x1 x2 x3 x4 x5 x6 x7 x8 x9", Y)
def steps_of_a_python_loop(y):
    scale = sample("scale", dist.HalfNormal(1.0))
    mean = sample("mean", dist.Normal(0.0, 3.0))
    x = sample("x0", dist.Normal(mean, 2.0))
    for t in range(9):
        x = sample(f"x{t + 1}", dist.Normal(mean + 0.8 * (x - mean), scale))
        sample(f"y{t}", dist.Normal(x, 0.5), obs=y[t])
