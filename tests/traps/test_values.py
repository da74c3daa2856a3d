"""Traps of values: functions that JAX or a user defines, casts, look-ups, number types."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from numpyro import sample
from scipy import special, stats

import conjugate_ppl as cj
from traps.oracles import dense, evidence, gamma_poisson, reason

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])
ONES, EYE = np.ones((4, 4)), np.eye(4)


# -- functions with derivatives of their own -------------------------------------------------------


@jax.custom_jvp
def double(x):
    return 2 * x


@jax.custom_vjp
def triple(x):
    return 3 * x


@jax.custom_jvp
def size(x):
    return jnp.abs(x)


double.defjvps(lambda dx, out, x: 0 * dx)
triple.defvjp(lambda x: (triple(x), None), lambda _, slope: (7 * slope,))
size.defjvps(lambda dx, out, x: dx)


def test_custom_derivatives_that_lie():
    """A wrong `custom_jvp` or `custom_vjp` rule does not matter: the body is the value."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(double(a) + triple(b), 1.0), obs=y)

    assert evidence(model, Y) == pytest.approx(dense(Y, 13 * ONES + EYE))


def test_custom_derivative_that_looks_linear():
    """A rule that says "linear" above a body that is not proves nothing."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(size(a), 1.0), obs=y)

    assert "abs" in cj.explain(model, Y)["a"].reason


# -- what no rule covers ---------------------------------------------------------------------------


def five_times():
    """A primitive that no one has heard of, complete with derivative, batching and lowering."""
    p = Primitive("five_times")
    p.def_impl(lambda x: 5 * x)
    p.def_abstract_eval(lambda x: x)
    mlir.register_lowering(p, mlir.lower_fun(lambda x: 5 * x, multiple_results=False))
    ad.primitive_jvps[p] = lambda primals, tangents: (p.bind(*primals), 5 * tangents[0])
    batching.primitive_batchers[p] = lambda args, axes: (p.bind(*args), axes[0])
    return p


def test_unknown_primitive():
    """A primitive without a rule keeps the latent it acts on; for others it is a coefficient."""
    unknown = five_times()

    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        s, b = sample("s", dist.HalfNormal(1.0)), sample("b", dist.Normal(0.0, 1.0))
        mean = b + unknown.bind(a)  # here
        sample("y", dist.Normal(mean, unknown.bind(s)), obs=y)

    assert "`five_times`" in reason(model, "a", Y)
    assert cj.explain(model, Y).collapsed == ("b",)
    cj.check(model, KEY, Y, num_points=1)


def test_mutable_reference():
    """What goes through a `jax.new_ref` leaves no trace in the data flow: nothing is collapsed."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))  # here
        cell = jax.new_ref(jnp.zeros(4))
        cell[1:] = jnp.broadcast_to(a, (3,))
        sample("y", dist.Normal(cell[...], 1.0), obs=y)

    assert "side effects" in reason(model, "a", Y)


def test_printing():
    """A side effect would happen more often than the model says."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))  # here
        jax.debug.print("{}", a)
        sample("y", dist.Normal(a, 1.0), obs=y)

    assert "side effects" in reason(model, "a", Y)


@pytest.mark.parametrize("f", [
    lambda a: jnp.abs(jnp.fft.fft(a)),
    lambda a: jax.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, 2 * s[1]), (0, a))[1],
    lambda a: jnp.convolve(a, a, mode="same"),
    lambda a: jax.lax.cond(jnp.asarray(Y).sum() > 0, lambda x: x, lambda x: -x, a),
    lambda a: a.astype(int) * 1.0,
    lambda a: jnp.sqrt(a**2),
], ids=["spectrum", "while_loop", "convolved with itself", "cond", "cast", "root of a square"])
def test_linear_or_not_it_is_declined(f):
    """Linear functions without a rule cost speed; what only looks linear is not taken for it."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0).expand([4]))
        b = sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(f(a) + b, 1.0), obs=y)

    plan = cj.explain(model, Y)
    assert plan.collapsed == ("b",) and plan["a"].reason.startswith("`a` goes through")


# -- look-ups --------------------------------------------------------------------------------------


ORDER = np.array([2, 0, 0, 1])
ROWS = np.eye(3)[ORDER]
PADDED = np.concatenate([np.zeros((1, 3)), np.eye(3)])
LOOK_UPS = {
    "pad": (lambda a: jnp.pad(a, (1, 0)), PADDED),
    "pad edge": (lambda a: jnp.pad(a, (0, 1), mode="edge"), np.eye(3)[[0, 1, 2, 2]]),
    "fill in range": (lambda a: a.at[ORDER].get(mode="fill", fill_value=7.0), ROWS),
    "take": (lambda a: jnp.take(a, ORDER), ROWS),
    "take clipped": (lambda a: jnp.take(a, 9 * ORDER - 8, mode="clip"), np.eye(3)[[2, 0, 0, 1]]),
    "negative": (lambda a: a[ORDER - 3], ROWS),
    "one hot": (lambda a: jax.nn.one_hot(ORDER, 3) @ a, ROWS),
}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_look_ups_are_selections(name):
    """Padding reads no element, fill modes change nothing inside the range."""
    f, design = LOOK_UPS[name]

    def model(y):
        a = sample("a", dist.Normal(0.0, jnp.array([1.0, 2.0, 3.0])))
        sample("y", dist.Normal(f(a), 1.0), obs=y)

    covariance = design @ np.diag([1.0, 4.0, 9.0]) @ design.T + EYE
    assert evidence(model, Y) == pytest.approx(dense(Y, covariance))


@pytest.mark.parametrize("index", [[0, 1, 2, 5], [0, 1, 2, -5]], ids=["above", "below"])
def test_index_out_of_range(index):
    """What JAX reads beyond the last element depends on the mode: such an index is declined."""
    def model(y):
        a = sample("a", dist.Normal(jnp.zeros(3), 1.0))
        sample("y", dist.Normal(a[jnp.array(index)], 1.0), obs=y)

    assert "an index is out of range" in cj.explain(model, Y)["a"].reason


# -- observed values and number types --------------------------------------------------------------


def test_bytes_as_counts(x64):
    """Sums and squares of uint8 data do not wrap around."""
    def model(count, y):
        rate, mu = sample("rate", dist.Gamma(2.0, 1.0)), sample("mu", dist.Normal(0.0, 100.0))
        sample("count", dist.Poisson(rate), obs=count)
        sample("y", dist.Normal(mu, 50.0), obs=y)

    counts = np.array([200, 255, 190, 3], np.uint8)
    expected = gamma_poisson(counts, 2.0, 1.0) + dense(counts, 1e4 * ONES + 2500 * EYE)
    assert evidence(model, counts, counts) == pytest.approx(expected, rel=1e-9 if x64 else 1e-5)


def test_bytes_as_trials(x64):
    """n - y of uint8 data does not wrap around."""
    def model(y, n):
        p = sample("p", dist.Beta(2.0, 3.0).expand([3]).to_event(1))
        sample("y", dist.Binomial(n, p), obs=y)

    y, n = np.array([0, 7, 200], np.uint8), np.array([9, 8, 255], np.uint8)
    expected = stats.betabinom.logpmf(y.astype(int), n.astype(int), 2, 3).sum()
    assert evidence(model, y, n) == pytest.approx(expected, rel=1e-9 if x64 else 1e-5)


def test_observation_made_of_latents():
    """`obs=` may hold latents; the density is that of the pair."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, 1.0), obs=y + 2 * b)

    assert evidence(model, Y) == pytest.approx(dense(Y, 5 * ONES + EYE))


def test_design_computed_in_the_model():
    """What the model computes of its data, by whatever primitive, is a coefficient."""
    def model(x, y):
        a = sample("a", dist.Normal(0.0, 1.0).expand([4]))
        spectrum = jnp.abs(jnp.fft.fft(x))
        sample("y", dist.Normal(spectrum * a[jnp.argsort(x)] + jnp.sort(x), 1.0), obs=y)

    expected = dense(Y, np.diag(np.abs(np.fft.fft(Y)) ** 2) + EYE, np.sort(Y))
    assert evidence(model, jnp.asarray(Y), Y) == pytest.approx(expected)


def test_validation_leaves_no_trace():
    """Checks of arguments and supports are no part of the density."""
    def model(y):
        rate = sample("rate", dist.Gamma(2.0, 1.0, validate_args=True))
        sample("y", dist.Poisson(rate, validate_args=True), obs=y)

    y = np.array([1, 2, 0, 3])
    with numpyro.validation_enabled():
        assert evidence(model, y) == pytest.approx(gamma_poisson(y, 2.0, 1.0))


def test_order_of_names():
    """Dictionaries sort their keys, models and draws keep their own order."""
    def model(data):
        z = sample("z", dist.Normal(0.0, 1.0).expand([2]))
        b = sample("b", dist.Normal(jnp.sum(z), 1.0).expand([3]))
        a = sample("a", dist.Gamma(2.0, 1.0))
        sample("y", dist.Normal(jnp.sum(b), 1.0), obs=data["y"])
        sample("c", dist.Poisson(a), obs=data["count"])

    data = {"y": Y, "count": np.array([1, 2, 0, 3])}
    assert list(cj.explain(model, data).decisions) == ["z", "b", "a"]
    expected = dense(Y, (9 * 2 + 3) * ONES + EYE) + gamma_poisson(data["count"], 2.0, 1.0)
    assert evidence(model, data) == pytest.approx(expected)


# -- whole numbers -----------------------------------------------------------------------------------


def line(first, second=0.0):
    """A slope below known numbers, with noise of one."""
    def model(y, *args):
        b = sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(b * (first(*args) + (second(*args) if second else 0.0)), 1.0), obs=y)

    return model


def test_whole_numbers_divided_by_zero():
    """As XLA has it: -1, and the number itself is left, of which JAX makes a floor."""
    n, k, y = jnp.array([5, -5, 7]), jnp.array([0, 2, -2]), Y[:3]
    x = np.asarray(n // k + n % k, float)
    assert x[0] not in (0, 5)
    assert evidence(line(lambda n, k: n // k, lambda n, k: n % k), y, n, k) == pytest.approx(dense(y, np.outer(x, x) + EYE[:3, :3]), rel=1e-5)


def test_products_of_small_integers_that_are_asked_for_in_larger_ones():
    a, b = jnp.full((4, 3), 100, jnp.int8), jnp.array([2, 1, 1], jnp.int8)
    model = line(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.int32) / 400.0)
    assert evidence(model, Y, a, b) == pytest.approx(dense(Y, ONES + EYE), rel=1e-5)


def test_sums_of_whole_numbers_of_numpy_and_of_jax():
    """The one adds up in 64 bits, the other wraps around: two models, whichever comes first."""
    x = np.array([2_000_000_000, 1_900_000_000, 5, 6], np.int32)
    model = line(lambda x: x / x.sum())
    with jax.enable_x64(False):
        wrapped = np.asarray(x / np.float32(np.sum(x, dtype=np.int32)), float)
        for order in ((x, jnp.asarray(x)), (jnp.asarray(x), x)):
            collapsed = cj.collapse(model)
            for given in order:
                z = np.asarray(x / x.sum(), float) if isinstance(given, np.ndarray) else wrapped
                assert collapsed.log_evidence(Y, given) == pytest.approx(dense(Y, np.outer(z, z) + EYE), rel=1e-5)


@pytest.mark.parametrize("cells", [49, 103])
def test_simplices_whose_cells_are_no_fractions(cells):
    """Of 49 cells a 49th each is not one in floating point: what is summed is no average."""
    y = np.arange(12) % cells

    def model(y):
        p = sample("p", dist.Dirichlet(jnp.ones(cells)))
        sample("y", dist.Categorical(p).expand([12]).to_event(1), obs=y)

    counts = np.bincount(y, minlength=cells)
    expected = special.gammaln(cells) - special.gammaln(cells + 12) + special.gammaln(1 + counts).sum()
    assert evidence(model, y) == pytest.approx(expected, rel=1e-5)
