"""Data whose level is far larger than their noise cost float32 no digits.

Oracle: the density of the data as one dense multivariate normal, in float64 NumPy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.scipy.special import gammaln
from numpyro import plate, sample
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision

G, H = 6, 4
GROUP = np.repeat(np.arange(G), [3, 5, 4, 6, 5, 7]).astype(np.int32)
OTHER = np.arange(30, dtype=np.int32) % H
ABOVE = np.array([0, 0, 1, 1, 2, 2], np.int32)
RNG = np.random.default_rng(5)
NOISE = RNG.normal(size=30) + RNG.normal(size=G)[GROUP]
X = RNG.normal(size=30).astype(np.float32)  # closed over in both precisions
KEPT = {"t": 0.4, "s": 0.6}


def hierarchy(y):
    mu, t = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t")
    with plate("groups", G):
        theta = sample("theta", dist.Normal(mu, t))
    sample("y", dist.Normal(theta[GROUP], sample_scale("s")), obs=y)


def not_centred(y):
    mu, t = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t")
    z = sample("z", dist.Normal(0.0, 1.0).expand([G]).to_event(1))
    sample("y", dist.Normal(mu + t * z[GROUP], sample_scale("s")), obs=y)


def crossed(y):
    mu, t = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t")
    a = sample("a", dist.Normal(0.0, t).expand([G]).to_event(1))
    b = sample("b", dist.Normal(0.0, 2 * t).expand([H]).to_event(1))
    sample("y", dist.Normal(mu + a[GROUP] + b[OTHER], sample_scale("s")), obs=y)


def three_levels(y):
    top, t = sample("top", dist.Normal(0.0, 3e4)), sample_scale("t")
    middle = sample("middle", dist.Normal(top, 1.5).expand([3]).to_event(1))
    low = sample("low", dist.Normal(middle[ABOVE], t))
    sample("y", dist.Normal(low[GROUP], sample_scale("s")), obs=y)


def slopes(y):
    line, t = sample("line", dist.Normal(0.0, 3e4).expand([2]).to_event(1)), sample_scale("t")
    root = jnp.array([[1.0, 0.0], [0.5, 0.8]])
    with plate("groups", G):
        b = sample("b", dist.MultivariateNormal(line, scale_tril=t * root))
    sample("y", dist.Normal(b[GROUP, 0] + b[GROUP, 1] * X, sample_scale("s")), obs=y)


def correlated(y):
    """The precision of the rows is the inverse of a matrix that is computed from what is kept."""
    mu, t, s = sample("mu", dist.Normal(0.0, 3e4)), sample_scale("t"), sample_scale("s")
    theta = sample("theta", dist.Normal(mu, t).expand([G]).to_event(1))
    sample("y", dist.MultivariateNormal(theta[GROUP], covariance_matrix=s**2 * jnp.eye(30) + 0.5 * s), obs=y)


def walk(y):
    mu = sample("mu", dist.Normal(0.0, 3e4))
    z = sample("z", dist.GaussianRandomWalk(sample_scale("t"), 30))
    sample("y", dist.Normal(mu + z, sample_scale("s")), obs=y)


def sample_scale(name):
    return sample(name, dist.Uniform(0.0, 10.0))


def covariance(model):
    """Of the data, but for the noise's own part."""
    t = KEPT["t"]
    same = (GROUP[:, None] == GROUP).astype(float)
    if model is crossed:
        return 9e8 + t**2 * same + 4 * t**2 * (OTHER[:, None] == OTHER)
    if model is three_levels:
        above = ABOVE[GROUP]
        return 9e8 + 1.5**2 * (above[:, None] == above) + t**2 * same
    if model is slopes:
        root = t * np.array([[1.0, 0.0], [0.5, 0.8]])
        design = np.stack([np.ones(30), X], 1)
        return 9e8 * design @ design.T + (design @ root @ root.T @ design.T) * same
    if model is walk:
        steps = np.arange(1.0, 31)
        return 9e8 + t**2 * np.minimum(steps[:, None], steps)
    return 9e8 + t**2 * same + (0.5 * KEPT["s"] if model is correlated else 0.0)


MODELS = [hierarchy, not_centred, crossed, three_levels, slopes, correlated, walk]


def marginal(model, y, kept):
    return log_density(cj.collapse(model), (y,), {}, kept)[0] - 2 * np.log(0.1)


def dense(model, y):
    """The same by NumPy, in double precision."""
    whole = covariance(model) + KEPT["s"] ** 2 * np.eye(30)
    square = y.astype(float) @ np.linalg.solve(whole, y.astype(float))
    return -0.5 * (square + np.linalg.slogdet(2 * np.pi * whole)[1])


@pytest.mark.parametrize("level", [0.0, 1e3, 1e5])
@pytest.mark.parametrize("model", MODELS)
def test_marginal_of_data_at_a_level(model, level, x64):
    y = (level + NOISE).astype(np.float32)
    assert float(marginal(model, jnp.asarray(y), KEPT)) == pytest.approx(dense(model, y), abs=1e-4 if x64 else 0.01)


@pytest.mark.parametrize("model", MODELS)
def test_marginal_of_traced_data_at_a_level(model, x64):
    """No point is known ahead: the residuals are about the posterior mean at each value of the kept sites."""
    ys = (np.array([[0.0], [1e3]]) + NOISE).astype(np.float32)
    value_and_grad = jax.jit(jax.vmap(jax.value_and_grad(lambda y, k: marginal(model, y, k), 1), (0, None)))
    found, slopes = value_and_grad(jnp.asarray(ys), {n: jnp.asarray(x) for n, x in KEPT.items()})
    for y, value, by_t, by_s in zip(ys, found, slopes["t"], slopes["s"], strict=True):
        known = jax.grad(lambda k, y=y: marginal(model, jnp.asarray(y), k))(KEPT)
        assert float(value) == pytest.approx(dense(model, y), abs=1e-4 if x64 else 0.01)
        np.testing.assert_allclose([by_t, by_s], [known["t"], known["s"]], rtol=1e-6 if x64 else 2e-3)


@pytest.mark.parametrize("model", [hierarchy, crossed, slopes])
def test_check_of_data_at_a_level(model, x64):
    y = jnp.asarray((3e3 + NOISE).astype(np.float32))
    assert cj.check(model, jax.random.key(0), y).points


def about_a_mean(y, level):
    """The mean is integrated out, or, of two lags, the coefficients: each multiplies the other."""
    mean = sample("mean", dist.Normal(level, 3.0))
    phi = sample("phi", dist.Normal(0.0, 0.5))
    sample("y", dist.Normal(mean + phi * (y[:-1] - mean), sample_scale("s")), obs=y[1:])


def about_a_mean_by_two_lags(y, level):
    mean = sample("mean", dist.Normal(level, 3.0))
    phi = sample("phi", dist.Normal(0.0, 0.5).expand([2]).to_event(1))
    location = mean + phi[0] * (y[1:-1] - mean) + phi[1] * (y[:-2] - mean)
    sample("y", dist.Normal(location, sample_scale("s")), obs=y[2:])


def two_series_about_their_means(y, level):
    mean = sample("mean", dist.Normal(level, 3.0).expand([2]).to_event(1))
    phi = sample("phi", dist.Normal(0.0, 0.5).expand([2, 2]).to_event(2))
    y = y.reshape(-1, 2)
    sample("y", dist.Normal(mean + (y[:-1] - mean) @ phi.T, sample_scale("s")).to_event(1), obs=y[1:])


def a_peak(x, level):
    """Of a parabola, in a year that is sampled."""
    mean = sample("mean", dist.Normal(level, 3.0))
    b = sample("b", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    sample("y", dist.Normal(b[0] + b[1] * (x - mean) ** 2, sample_scale("s")), obs=jnp.asarray(NOISE, x.dtype))


@pytest.mark.parametrize("level", [100.0, 2000.0])
@pytest.mark.parametrize("model", [about_a_mean, about_a_mean_by_two_lags, two_series_about_their_means, a_peak])
def test_what_multiplies_and_is_subtracted(model, level):
    """float32 against float64 of the same numbers: values and derivatives near where the posterior is."""
    y = (level + np.cumsum(0.2 * NOISE)).astype(np.float32)
    results = []
    for wide in (True, False):
        with double_precision(wide):
            data, collapsed = jnp.asarray(y, jnp.result_type(float)), cj.collapse(model)
            values = {"mean": jnp.full((2,) if model is two_series_about_their_means else (), level + 0.75),
                      "phi": jnp.asarray(0.625), "s": jnp.asarray(0.5)}
            kept = {n: values[n] for n in collapsed.plan(data, level).kept}
            results.append(jax.value_and_grad(lambda k, c=collapsed, d=data: log_density(c, (d, level), {}, k)[0])(kept))
    (value, slope), (other, other_slope) = results
    np.testing.assert_allclose(other, value, rtol=1e-5, atol=1e-3)
    for n in slope:
        np.testing.assert_allclose(other_slope[n], slope[n], rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("prior", [
    dist.HalfNormal(1.0), dist.Uniform(-1.0, 1.0), dist.LogNormal(-5.0, 1.0), dist.Gamma(2.0, 2.0), dist.InverseGamma(2.0, 1.0),
], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("composed", [False, True])
def test_slope_that_stays_and_is_not_real(prior, composed):
    """A dose of 0 to 1000 beside an intercept and effects, at likely values: about a slope of 1 nothing is left of the squares."""
    def model(dose, y):
        a, b = sample("a", dist.Normal(0.0, 10.0)), sample("b", prior)
        v = sample("v", dist.InverseGamma(2.0, 0.1) if composed else dist.HalfNormal(0.1))
        u = sample("u", dist.Normal(0.0, 0.5 * (jnp.sqrt(v) if composed else 1.0)).expand([4]))
        scale = jnp.sqrt(v)
        sample("y", dist.Normal((a if not composed else 0.0) + b * dose + u[np.arange(40) % 4], scale), obs=y)

    def found(double):
        with double_precision(double):
            dose = np.linspace(0.0, 1000.0, 40).astype(np.float32).astype(float)
            y = (5.0 * (not composed) + 0.003 * dose + 0.3 * np.random.default_rng(0).normal(size=40)).astype(np.float32).astype(float)
            collapsed = cj.collapse(model)
            kept = {n: jnp.asarray({"b": 0.003, "v": 0.09}[n]) for n in cj.explain(collapsed, dose, y).kept}
            assert "b" in kept
            value, slopes = jax.value_and_grad(lambda k: log_density(collapsed, (dose, y), {}, k)[0])(kept)
            return float(value), float(slopes["b"])

    single, double = found(False), found(True)
    assert single[0] == pytest.approx(double[0], abs=2e-3)
    assert single[1] == pytest.approx(double[1], rel=1e-3, abs=1.0)


def test_chain_beside_a_slope_that_stays():
    """A random walk, and a dose of 0 to 1000 times a slope that is positive: the path is not one about a slope of 1."""
    def model(dose, y):
        b, s = sample("b", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
        walk = sample("walk", dist.GaussianRandomWalk(0.1, 40))
        sample("y", dist.Normal(walk + b * dose, s), obs=y)

    def found(double):
        with double_precision(double):
            dose = np.linspace(0.0, 1000.0, 40).astype(np.float32).astype(float)
            y = (0.003 * dose + 0.3 * np.random.default_rng(0).normal(size=40)).astype(np.float32).astype(float)
            kept = {"b": jnp.asarray(0.003), "s": jnp.asarray(0.3)}
            return jax.value_and_grad(lambda k: log_density(cj.collapse(model), (dose, y), {}, k)[0])(kept)

    single, double = found(False), found(True)
    assert float(single[0]) == pytest.approx(float(double[0]), abs=2e-3)
    assert float(single[1]["s"]) == pytest.approx(float(double[1]["s"]), rel=1e-3, abs=0.01)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("slope", [0.003, 1.0])
def test_rows_of_kept_sites_that_are_not_real(slope, streamed):
    """Nothing is integrated out, and rows are added up about what they say of an intercept and a positive slope."""
    def model(dose, y):
        a, b = sample("a", dist.Laplace(0.0, 10.0)), sample("b", dist.HalfCauchy(1.0))
        sample("y", dist.Normal(a + b * dose, sample("s", dist.HalfCauchy(1.0))), obs=y)

    dose = np.linspace(0.0, 1000.0, 2000).astype(np.float32)
    y = (5.0 + slope * dose + 0.3 * np.random.default_rng(0).normal(size=2000)).astype(np.float32)
    kept = {"a": 5.0, "b": slope, "s": 0.3}

    def found(double):
        with double_precision(double):
            collapsed = cj.collapse(model)
            assert cj.explain(collapsed, dose, y).statistics
            args = () if streamed else (dose, y)
            if streamed:
                collapsed = collapsed.stream([(dose[k::4], y[k::4]) for k in range(4)])
            return jax.value_and_grad(lambda k: log_density(collapsed, args, {}, k)[0])(
                {n: jnp.asarray(x) for n, x in kept.items()})

    single, double = found(False), found(True)
    assert float(single[0]) == pytest.approx(float(double[0]), abs=2e-3)
    assert float(single[1]["s"]) == pytest.approx(float(double[1]["s"]), rel=1e-3)


TIMES = np.tile(np.float32([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0]), 3)  # closed over in both precisions
MATURITY = np.float32([3, 6, 9, 12, 18, 24, 36, 48, 60, 84, 120])
YEAR = np.arange(1960, 2021, dtype=np.float32)
STEP = np.arange(60, dtype=np.float32)
MADE = np.random.default_rng(11)


def doses(k):
    return (k[0] / (k[0] - k[1]) * (jnp.exp(-k[1] * TIMES) - jnp.exp(-k[0] * TIMES)))[:, None]


def yields(k):
    fall = jnp.exp(-k[0] * MATURITY)
    rate = (1 - fall) / (k[0] * MATURITY)
    return jnp.stack([jnp.ones(len(MATURITY)), rate, rate - fall], -1)


def bend(k):
    return jnp.stack([jnp.ones(len(YEAR)), YEAR - k[0], jnp.maximum(YEAR - k[0], 0.0)], -1)


def line_with_correlated_errors(k):
    return jnp.stack([jnp.full(len(STEP) - 1, 1 - k[0]), STEP[1:] - k[0] * STEP[:-1]], -1)


def rows_of_columns(design, k, b, y):
    """The model's own spelling of `design(k) @ b`, and its data."""
    if design is line_with_correlated_errors:
        line = b[0] + b[1] * STEP
        return line[1:] + k[0] * (y[:-1] - line[:-1]), y[1:]
    if design is bend:
        return b[0] + b[1] * (YEAR - k[0]) + b[2] * jnp.where(k[0] < YEAR, YEAR - k[0], 0.0), y
    if design is doses:
        return b[0] * k[0] / (k[0] - k[1]) * (jnp.exp(-k[1] * TIMES) - jnp.exp(-k[0] * TIMES)), y
    return design(k) @ b, y


@pytest.mark.parametrize("design, k, level, noise", [
    (doses, [0.11, 0.1], 0.0, 3.0), (doses, [0.5, 0.1], 0.0, 1.0), (yields, [0.06], 6.0, 0.05), (yields, [0.2], 6.0, 0.05),
    (bend, [1990.3], 14.0, 0.3), (bend, [1970.4], 14.0, 0.3), (line_with_correlated_errors, [0.9], 1000.0, 5.0),
    (line_with_correlated_errors, [0.99], 1000.0, 5.0)])
def test_coefficients_of_columns_whose_terms_cancel(design, k, level, noise):
    """`x[1:] - rho * x[:-1]`, differences of curves: squared term by term nothing of them is left in single precision."""
    columns, prior = len(np.asarray(design(np.array(k))).T), 50.0 if design is doses else 10.0 + level
    truth = np.concatenate([[80.0 if design is doses else level], 0.1 * np.ones(columns - 1)])

    def model(y):
        own = [sample(f"k{i}", dist.Uniform(0.5 * v, 1.5 * v)) for i, v in enumerate(k)]
        b = sample("b", dist.Normal(0.0, prior).expand([columns]).to_event(1))
        location, seen = rows_of_columns(design, own, b, y)
        sample("y", dist.Normal(location, sample("s", dist.HalfNormal(10.0))), obs=seen)

    y = np.asarray(rows_of_columns(design, k, truth, np.full(60, level))[0])
    y = np.concatenate([[level], y]) if design is line_with_correlated_errors else y
    y = (y + noise * MADE.normal(size=len(y))).astype(np.float32)

    def by_hand(own, s):
        x = design(own)
        zero, seen = rows_of_columns(design, own, jnp.zeros(columns), y.astype(float))
        law = dist.MultivariateNormal(jnp.zeros(len(seen)), prior**2 * x @ x.T + s**2 * jnp.eye(len(seen)))
        return law.log_prob(seen - zero) + dist.HalfNormal(10.0).log_prob(s) - sum(jnp.log(v) for v in k)

    expected, (by_k, by_s) = jax.value_and_grad(by_hand, (0, 1))(jnp.array(k), jnp.array(noise))
    with double_precision(False):
        values = {f"k{i}": jnp.float32(v) for i, v in enumerate(k)} | {"s": jnp.float32(noise)}
        assert set(cj.explain(model, y).collapsed) == {"b"}
        found, slopes = jax.value_and_grad(lambda v: log_density(cj.collapse(model), (y,), {}, v)[0])(values)
        mine = np.array([*(slopes[f"k{i}"] for i in range(len(k))), slopes["s"]])
    assert float(found) == pytest.approx(float(expected), abs=0.01)
    unit = np.array([*(1.0 if design is bend else v for v in k), noise])
    np.testing.assert_allclose(mine * unit, np.array([*by_k, by_s]) * unit, rtol=5e-3, atol=0.05)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("above", ["known", "sampled", "lognormal"])
def test_hierarchy_that_is_not_centred_in_the_units_of_the_data(unit, above):
    """`mu + tau * z` of groups: z is about 1, whatever the unit is, and is measured from where it may be."""
    g = np.random.default_rng(1).integers(0, 20, 300)
    u = 5 + 2 * np.random.default_rng(2).normal(size=20)
    y = (unit * (u[g] + np.random.default_rng(3).normal(size=300))).astype(np.float32)
    tau_given = {"known": lambda w: dist.HalfNormal(5 * unit), "sampled": lambda w: dist.HalfNormal(w),
                 "lognormal": lambda w: dist.LogNormal(np.float32(np.log(unit)), 1.0)}[above]

    def model(y):
        w = sample("w", dist.Gamma(2.0, 2.0 / (5 * unit))) if above == "sampled" else 0.0
        mu, tau = sample("mu", dist.Normal(5 * unit, 5 * unit)), sample("tau", tau_given(w))
        z = sample("z", dist.Normal(0.0, 1.0).expand([20]).to_event(1))
        sample("y", dist.Normal(mu + tau * z[g], sample("s", dist.HalfNormal(5 * unit))), obs=y)

    same = (g[:, None] == g).astype(float)

    def by_hand(k):
        law = dist.MultivariateNormal(5 * unit, 25 * unit**2 + k["tau"]**2 * same + k["s"]**2 * jnp.eye(300))
        w = k.get("w", 0.0)
        prior = dist.Gamma(2.0, 2.0 / (5 * unit)).log_prob(w) if "w" in k else 0.0
        return law.log_prob(y.astype(float)) + prior + tau_given(w).log_prob(k["tau"]) + dist.HalfNormal(5 * unit).log_prob(k["s"])

    for tau, s in ((2.0, 1.0), (0.5, 1.2), (5.0, 0.9)):
        kept = {"tau": tau * unit, "s": s * unit, **({"w": 4.0 * unit} if above == "sampled" else {})}
        expected, slopes = jax.value_and_grad(by_hand)(kept)
        with double_precision(False):
            assert set(cj.explain(model, y).collapsed) == {"mu", "z"}
            found, mine = jax.value_and_grad(lambda k: log_density(cj.collapse(model), (y,), {}, k)[0])(
                {n: jnp.float32(v) for n, v in kept.items()})
        assert float(found) == pytest.approx(float(expected), abs=3e-3)
        for n in kept:
            assert float(mine[n]) * kept[n] == pytest.approx(float(slopes[n]) * kept[n], rel=1e-3, abs=3e-3)


@pytest.mark.parametrize("prior", [lambda: dist.Cauchy(900.0, 100.0), lambda: dist.LogNormal(7.0, 1.0)], ids=["real", "positive"])
def test_mean_that_stays_below_a_variance_that_goes(prior, x64):
    """Three numbers say all of `sum((y - mu - b x)**2)`, about a point, in any precision."""
    rng = np.random.default_rng(0)
    x = (50 + 10 * rng.normal(size=400)).astype(np.float32)
    y = (1000 + 0.5 * x + rng.normal(size=400)).astype(np.float32)

    def model(x, y):
        mu, b, v = sample("mu", prior()), sample("b", dist.Cauchy(0.0, 1.0)), sample("v", dist.InverseGamma(2.0, 2.0))
        sample("y", dist.Normal(mu + b * x, jnp.sqrt(v)), obs=y)

    def by_hand(mu, b):
        half = ((y.astype(float) - mu - b * x.astype(float))**2).sum() / 2
        law = gammaln(202.0) - gammaln(2.0) + 2 * np.log(2.0) - 202 * jnp.log(2 + half) - 200 * np.log(2 * np.pi)
        return law + prior().log_prob(mu) + dist.Cauchy(0.0, 1.0).log_prob(b)

    mu, b = np.float32(1000.25), np.float32(0.5)
    with double_precision(True):
        expected = jax.value_and_grad(by_hand, (0, 1))(float(mu), float(b))
    found = [jax.value_and_grad(lambda a, b, n=n: log_density(cj.collapse(model), (x[:n], y[:n]), {}, {"mu": a, "b": b})[0], (0, 1))
             for n in (400, 200)]
    value, slopes = found[0](jnp.asarray(mu, float), jnp.asarray(b, float))
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-9 if x64 else 3e-7)
    for mine, right in zip(slopes, expected[1], strict=True):
        assert float(mine) == pytest.approx(float(right), rel=1e-6 if x64 else 2e-4)
    flops = [jax.jit(f).lower(1.0, 1.0).compile().cost_analysis()["flops"] for f in found]
    assert flops[0] < flops[1] + 2000  # nothing but what looks at the data's support


@pytest.mark.parametrize("level", [100.0, 10000.0])
@pytest.mark.parametrize("prior", [lambda: dist.Uniform(0.0, 2e4), lambda: dist.HalfNormal(1e4), lambda: dist.Exponential(1e-4)],
                         ids=["uniform", "half_normal", "exponential"])
def test_location_between_bounds(prior, level, x64):
    """It is measured from where the data are, in its natural parameter too."""
    y = (level + np.random.default_rng(0).normal(size=40)).astype(np.float32)

    def model(y):
        mu, s = sample("mu", prior()), sample("s", dist.HalfCauchy(1.0))
        sample("y", dist.Normal(mu, s), obs=y)

    def by_hand(s):  # bounds and a prior that nothing is seen of, so far from them
        rest, slope = y.astype(float) - y.mean(dtype=float), jax.grad(lambda m: prior().log_prob(m))(y.mean(dtype=float))
        half = (rest**2).sum() / 2 / s**2
        more = 0.5 * (s * slope) ** 2 / 40 + 0.5 * jnp.log(2 * np.pi * s**2 / 40)
        more += -0.5 * jnp.log1p(s**2 / 40 / 1e8) if prior().__class__ is dist.HalfNormal else 0.0
        return (-20 * np.log(2 * np.pi) - 40 * jnp.log(s) - half + prior().log_prob(y.mean(dtype=float)) + more
                + dist.HalfCauchy(1.0).log_prob(s))

    collapsed = cj.collapse(model, require=["mu"])
    for s in (1.0, 1.5):
        with double_precision(True):
            expected = jax.value_and_grad(by_hand)(s)
        found = jax.value_and_grad(lambda s: log_density(collapsed, (y,), {}, {"s": s})[0])(jnp.asarray(s))
        np.testing.assert_allclose(found, expected, rtol=1e-8 if x64 else 1e-5)
        data = jnp.asarray(y, float)
        kept, z = {"s": jnp.asarray(s)}, {"mu": jnp.asarray(float(np.float32(y.mean())))}
        whole = log_density(model, (data,), {}, {**kept, **z})[0] - collapsed.conditional_log_prob(z, kept, data)
        assert float(whole) == pytest.approx(float(found[0]), rel=1e-9 if x64 else 1e-5)


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_of_effects_that_are_not_centred(streamed):
    """Nothing is integrated out, and rows are added up about a point: that of effects too is in their own units."""
    unit, g = 1e4, np.random.default_rng(1).integers(0, 20, 3000)
    u = np.random.default_rng(2).normal(size=20)
    y = (unit * (5 + 2 * u[g] + np.random.default_rng(3).normal(size=3000))).astype(np.float32)

    def model(g, y):
        mu, tau = sample("mu", dist.StudentT(4.0, 5 * unit, 5 * unit)), sample("tau", dist.HalfNormal(5 * unit))
        z = sample("z", dist.StudentT(4.0).expand([20]).to_event(1))
        sample("y", dist.Normal(mu + tau * z[g], sample("s", dist.HalfNormal(5 * unit))), obs=y)

    kept = {"mu": 5 * unit, "tau": 2 * unit, "s": unit, "z": u + 0.01}

    def found(double):
        with double_precision(double):
            collapsed = cj.collapse(model, keep=["tau"])
            args = () if streamed else (g, y)
            if streamed:
                collapsed = collapsed.stream([(g[k::4], y[k::4]) for k in range(4)])
            else:
                assert cj.explain(collapsed, g, y).statistics
            return jax.value_and_grad(lambda k: log_density(collapsed, args, {}, k)[0])({n: jnp.asarray(v) for n, v in kept.items()})

    single, double = found(False), found(True)
    assert float(single[0]) == pytest.approx(float(double[0]), abs=0.01)
    for n in ("tau", "s"):
        assert float(single[1][n]) * unit == pytest.approx(float(double[1][n]) * unit, abs=0.02)
