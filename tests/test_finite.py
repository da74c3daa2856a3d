"""Discrete latents against brute force: NumPyro's density at every combination of their values."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import evaluated
from jax.scipy.special import logsumexp
from models import CASES, finite
from models.finite import STEPS
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import init_to_uniform
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from conjugate_ppl.finite import chain

TABLE = {n: c for n, c in CASES.items() if c.model.__module__ == finite.__name__}
KEY = jax.random.key(0)
DRAWS = 4000


def prepared(name):
    """The model collapsed on its discrete sites alone, its arguments, values of the rest, and the discrete
    sites with a distribution each."""
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in TABLE[name].args]
    with numpyro.validation_enabled(False):
        found = trace(substitute(seed(TABLE[name].model, KEY), substitute_fn=init_to_uniform(
            radius=1.0))).get_trace(*args)
    latents = {n: s for n, s in found.items() if s["type"] == "sample" and not s["is_observed"]}
    own = {n: s["fn"] for n, s in latents.items() if s["fn"].support.is_discrete}
    kept = {n: s["value"] for n, s in latents.items() if n not in own}
    shapes = {n: latents[n]["value"].shape for n in own}
    return cj.collapse(TABLE[name].model, only=list(own)), args, kept, own, shapes


def every_value(own, shapes):
    """{site: all combinations of the values of all sites}, one on the first axis."""
    choices, sizes = [], []
    for n, d in own.items():
        support = d.support
        while hasattr(support, "base_constraint"):
            support = support.base_constraint
        low, high = (0, 1) if support is constraints.boolean else (
            support.lower_bound, support.upper_bound)
        low, high = (np.broadcast_to(b, shapes[n]).reshape(-1) for b in (low, high))
        choices += [range(a, b + 1) for a, b in zip(low, high, strict=True)]
        sizes.append(len(low))
    table = np.array(list(itertools.product(*choices)))
    parts = np.split(table, np.cumsum(sizes)[:-1], axis=1)
    return {n: jnp.asarray(p.reshape(-1, *shapes[n])) for n, p in zip(own, parts, strict=True)}


# float32 is left to the identity but for some; its brute force takes as long and says no more
@pytest.mark.parametrize("x64, name", [(x, n) for x in (True, False) for k, n in enumerate(TABLE)
                                       if x or k % 4 == 0], indirect=["x64"])
def test_against_every_combination(x64, name):
    collapsed, args, kept, own, shapes = prepared(name)
    values = every_value(own, shapes)
    run = evaluated if x64 else jax.jit
    joint = run(jax.vmap(lambda v: log_density(TABLE[name].model, args, {}, {**kept, **v})[0]))(values)
    conditional = run(jax.vmap(lambda v: collapsed.conditional_log_prob(v, kept, *args)))(values)
    total = logsumexp(joint)
    exact = 1e-10 if x64 else 2e-4
    marginal = run(lambda k: log_density(collapsed, args, {}, k)[0])
    assert float(marginal(kept)) == pytest.approx(float(total), rel=exact, abs=exact)
    possible = np.asarray(joint) > -np.inf
    assert (np.asarray(conditional)[~possible] == -np.inf).all()
    np.testing.assert_allclose(conditional[possible], (joint - total)[possible],
                               rtol=exact, atol=10 * exact)

    # the gradient, with respect to what is kept
    if kept:
        slope = run(jax.grad(lambda k: log_density(collapsed, args, {}, k)[0]))(kept)
        brute = run(jax.grad(lambda k: logsumexp(jax.vmap(lambda v: log_density(
            TABLE[name].model, args, {}, {**k, **v})[0])({n: v[possible] for n, v in values.items()}))))(kept)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-8 if x64 else 2e-3, atol=1e-8 if x64 else 2e-3), slope, brute)

    best = run(lambda k: collapsed.mode(k, *args))(kept)
    at = run(lambda z: log_density(TABLE[name].model, args, {}, {**kept, **z})[0])(best)
    assert float(at) == pytest.approx(float(joint.max()), rel=exact, abs=exact)
    assert all(v.dtype == values[n].dtype or x64 for n, v in best.items())

    probability = np.exp(np.asarray(joint - total, float))
    levels = {n: np.unique(v) for n, v in values.items()}
    laws = run(lambda k: {n: jnp.stack([d.log_prob(jnp.full(shapes[n], v)) for v in levels[n]])
                          for n, d in collapsed.conditionals(k, *args).items()})(kept)
    for n, law in laws.items():
        expected = [np.tensordot(probability, np.asarray(values[n]) == v, 1) for v in levels[n]]
        np.testing.assert_allclose(np.exp(law), expected, atol=1e-8 if x64 else 1e-4)

    repeated = {n: jnp.broadcast_to(v, (DRAWS, *jnp.shape(v))) for n, v in kept.items()}
    draws = run(lambda key, kept: collapsed.recover(key, kept, *args))(
        jax.random.key(3), repeated)
    seen = np.concatenate([np.asarray(draws[n]).reshape(DRAWS, -1) for n in own], 1)
    check_draws(seen, np.concatenate([np.asarray(values[n]).reshape(len(joint), -1) for n in own], 1),
                probability)


def check_draws(seen, table, probability):
    """Draws fall on the rows of a table as often as their probabilities say."""
    place = {tuple(row): i for i, row in enumerate(table)}
    counts = np.bincount([place[tuple(row)] for row in seen], minlength=len(table))
    expected = len(seen) * probability
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 5:
        counts[-2:], expected[-2:] = counts[-2:].sum(), expected[-2:].sum()
        counts, expected = counts[:-1], expected[:-1]
    if len(counts) > 1:
        assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_data_of_numpy_above_a_latent_total(x64):
    """NumPyro's own density compares NumPy's whole numbers with the latent total."""
    model = finite.unknown_totals
    data = np.asarray(TABLE["unknown_totals"].args[0])
    assert cj.collapse(model).plan(data).collapsed == ("total",)
    kept = {"p": jnp.asarray(0.3)}
    assert log_density(cj.collapse(model), (data,), {}, kept)[0] == log_density(
        cj.collapse(model), (jnp.asarray(data),), {}, kept)[0]
    assert cj.check(model, KEY, data, num_points=1).points == 2


def markov_switching(y, probs, mean):
    """Written with `scan`; the transitions depend on time."""
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))

    def step(before, row):
        seen, p = row
        z = numpyro.sample("z", dist.Categorical(p[before]))
        numpyro.sample("y", dist.Normal(jnp.asarray(mean)[z], scale), obs=seen)
        return z, None

    scan(step, 0, (y, probs))


def by_hand(y, probs, mean, scale):
    """(log likelihood, its derivative by the scale, smoothed probabilities, most probable states): the recursions of
    Rabiner (1989) in NumPy, scaled to sum to one."""
    seen = stats.norm(mean, scale).pdf(y[:, None])
    n, size = seen.shape
    front, back, totals = np.zeros((n, size)), np.ones((n, size)), np.zeros(n)
    best, origin = np.zeros((n, size)), np.zeros((n, size), int)
    with np.errstate(divide="ignore"):
        for t in range(n):
            now = (probs[t, 0] if t == 0 else front[t - 1] @ probs[t]) * seen[t]
            totals[t] = now.sum()
            front[t] = now / totals[t]
            ways = (np.zeros(size)[:, None] if t == 0 else best[t - 1][:, None]) + np.log(probs[t])
            origin[t] = 0 if t == 0 else ways.argmax(0)
            best[t] = (ways[0] if t == 0 else ways.max(0)) + np.log(seen[t])
    for t in reversed(range(n - 1)):
        back[t] = probs[t + 1] @ (seen[t + 1] * back[t + 1]) / totals[t + 1]
    states = [int(best[-1].argmax())]
    for t in reversed(range(1, n)):
        states.append(int(origin[t][states[-1]]))
    smoothed = front * back
    slope = (smoothed * (((y[:, None] - mean) / scale) ** 2 - 1) / scale).sum()
    return np.log(totals).sum(), slope, smoothed, np.array(states[::-1])


def test_against_forward_and_backward_recursions_by_hand(x64):
    """Some thousand steps, with transitions that differ, some of them impossible."""
    rng, n, size = np.random.default_rng(4), 2000, 3
    probs = rng.dirichlet(np.ones(size), (n, size))
    probs[:, 2, 0] = 0.0
    probs /= probs.sum(-1, keepdims=True)
    mean, scale = np.array([-1.0, 0.5, 3.0]), 0.8
    z = [0]
    for p in probs:
        z.append(rng.choice(size, p=p[z[-1]]))
    y = rng.normal(mean[z[1:]], scale)
    if not x64:
        y, probs = y.astype(np.float32).astype(float), probs.astype(np.float32).astype(float)
    total, slope, smoothed, states = by_hand(y, probs, mean, scale)
    collapsed, kept = cj.collapse(markov_switching), {"scale": jnp.asarray(scale)}
    args = (jnp.asarray(y), jnp.asarray(probs), mean)
    found, gradient = jax.value_and_grad(lambda k: log_density(collapsed, args, {}, k)[0])(kept)
    assert float(found) == pytest.approx(total + stats.halfnorm.logpdf(scale), rel=1e-11 if x64 else 1e-5)
    # a difference of sums of thousands
    assert float(gradient["scale"]) == pytest.approx(slope - scale, abs=1e-8 if x64 else 2e-5 * n / scale**3)
    # logarithms of thousands
    np.testing.assert_allclose(collapsed.conditionals(kept, *args)["z"].probs, smoothed,
                               rtol=0, atol=1e-10 if x64 else 1e-3)
    assert (np.asarray(collapsed.mode(kept, *args)["z"]) == states).mean() > (0.9999 if x64 else 0.99)


def test_cost_by_elements():
    """What is compiled does not grow with the elements; the largest array is one of elements times states."""
    def largest(jaxpr):
        inner = [largest(e.jaxpr if hasattr(e, "jaxpr") else e) for q in jaxpr.eqns for p in q.params.values()
                 for e in (p if isinstance(p, tuple) else (p,)) if hasattr(e, "eqns") or hasattr(e, "jaxpr")]
        return max([1, *inner, *(int(np.prod(v.aval.shape)) for q in jaxpr.eqns for v in q.outvars)])

    for model, states in ((finite.mixture, 3), (finite.two_latents_an_element, 6), (finite.classes_in_classes, 6),
                          (finite.hidden_markov, 9)):
        texts = []
        for n in (60, 480):
            y = jnp.asarray(np.random.default_rng(3).normal(size=n))
            collapsed = cj.collapse(model)
            plan = collapsed.plan(y)
            with numpyro.validation_enabled(False):
                found = trace(seed(model, KEY)).get_trace(y)
            kept = {k: found[k]["value"] for k in plan.kept}
            jaxpr = jax.make_jaxpr(jax.grad(lambda k, c=collapsed, y=y: log_density(c, (y,), {}, k)[0]))(kept)
            texts.append(str(jaxpr).count(" = "))
            assert largest(jaxpr.jaxpr) <= 2 * n * states
            many = {k: jnp.broadcast_to(v, (1000, *v.shape)) for k, v in kept.items()}
            draws = jax.make_jaxpr(lambda c=collapsed, y=y, m=many: c.recover(jax.random.key(0), m, y))()
            assert f"{n},{n}" not in str(jaxpr) + str(draws)
        assert texts[0] == texts[1]


def test_long_chains_keep_their_digits_in_float32():
    """A sum of thousands of steps has few digits left for a state: none of them may depend on it."""
    rng = np.random.default_rng(0)
    own, pair = (rng.normal(size=s).astype(np.float32) for s in ((20000, 3), (1, 3, 3)))
    found = []
    for x64 in (False, True):
        with double_precision(x64):
            arrays = (jnp.asarray(own - 5, float), jnp.asarray(pair, float))
            found.append(jax.tree.leaves(jax.jit(jax.value_and_grad(chain.chain_total, (0, 1)))(*arrays)))
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=2e-6, atol=2e-6 * np.abs(double).max())


@pytest.mark.parametrize("once", [True, False])
def test_derivatives_of_chains(once, x64):
    """Probabilities of states and of pairs by enumeration, with states that cannot be reached."""
    rng, steps, states = np.random.default_rng(1), 5, 3
    own, pair = 3 * rng.normal(size=(steps, states)), 3 * rng.normal(size=(1 if once else steps - 1, states, states))
    own[2, 1] = pair[0, 0, 2] = -np.inf
    pairs = np.broadcast_to(pair, (steps - 1, states, states))
    each = np.array(list(itertools.product(range(states), repeat=steps)))
    logs = own[np.arange(steps), each].sum(1) + pairs[np.arange(steps - 1), each[:, :-1], each[:, 1:]].sum(1)
    share = np.exp(logs - logsumexp(logs))
    single, double = np.zeros(own.shape), np.zeros(pairs.shape)
    np.add.at(single, (np.arange(steps), each), share[:, None])
    np.add.at(double, (np.arange(steps - 1), each[:, :-1], each[:, 1:]), share[:, None])
    value, found = jax.value_and_grad(chain.chain_total, (0, 1))(jnp.asarray(own), jnp.asarray(pair))
    tolerance = 1e-12 if x64 else 2e-6
    np.testing.assert_allclose(value, logsumexp(logs), rtol=tolerance)
    np.testing.assert_allclose(found[0], single, atol=tolerance)
    np.testing.assert_allclose(found[1], double.sum(0, keepdims=True) if once else double, atol=4 * tolerance)
    # the slope of the logarithm of a probability of zero
    tangents = [jnp.where(jnp.isfinite(a), 1.0, jnp.inf) for a in (own, pair)]
    _, slope = jax.jvp(chain.chain_total, (jnp.asarray(own), jnp.asarray(pair)), tuple(tangents))
    np.testing.assert_allclose(slope, steps + steps - 1, rtol=tolerance)
    impossible = jnp.full(own.shape, -jnp.inf)
    value, found = jax.value_and_grad(chain.chain_total)(impossible, jnp.asarray(pair))
    assert value == -jnp.inf
    assert (np.asarray(found) == 0).all()


@pytest.mark.parametrize("likelihood", [
    lambda z, x: dist.Poisson(z * x), lambda z, x: dist.NegativeBinomial2(x * z, 2.0),
    lambda z, x: dist.Binomial(9, z * x / (1.0 + x)), lambda z, x: dist.Normal(0.0, 0.1 + z * jnp.log(x))])
def test_what_a_state_multiplies_by_zero_has_no_part_in_a_gradient(likelihood, x64):
    """In the state 0 nothing is seen of `x`, whatever a density's derivative is there."""
    y = np.array([0, 0, 3, 1, 0, 5])

    def model():
        z = numpyro.sample("z", dist.Bernoulli(0.6).expand([6]).to_event(1))
        x = numpyro.sample("x", dist.LogNormal(0.0, 1.0).expand([6]).to_event(1))
        numpyro.sample("y", likelihood(z, x).to_event(1), obs=y)

    def by_hand(x):
        apart = likelihood(jnp.zeros(6), jnp.ones(6)).log_prob(y), likelihood(jnp.ones(6), x).log_prob(y)
        return jnp.sum(dist.LogNormal(0.0, 1.0).log_prob(x) + jnp.logaddexp(jnp.log(0.4) + apart[0], jnp.log(0.6) + apart[1]))

    collapsed = cj.collapse(model, keep=["x"])
    assert collapsed.plan().collapsed == ("z",)
    x = jnp.linspace(1.5, 4.0, 6)
    found, slope = jax.value_and_grad(lambda x: log_density(collapsed, (), {}, {"x": x})[0])(x)
    value, right = jax.value_and_grad(by_hand)(x)
    assert float(found) == pytest.approx(float(value), rel=1e-12 if x64 else 1e-5)
    np.testing.assert_allclose(slope, right, rtol=1e-10 if x64 else 1e-4)


def test_many_items_of_one_element_are_a_product_of_matrices(x64):
    """Classes seen by many yes-or-no items: the value and gradient of NumPyro's mixture, without a number for each item of
    each row in each state; probabilities at their bounds, where logarithms are not finite, included."""
    rng = np.random.default_rng(3)
    rows, classes, items = 40, 3, 30
    y = rng.integers(0, 2, (rows, items))

    def model(states=True):
        q = numpyro.sample("q", dist.Beta(1.0, 1.0).expand([classes, items]).to_event(2))
        w = numpyro.sample("w", dist.Dirichlet(jnp.ones(classes)))
        with numpyro.plate("rows", rows):
            if states:
                z = numpyro.sample("z", dist.Categorical(w))
                numpyro.sample("y", dist.Bernoulli(q[z]).to_event(1), obs=y)
            else:
                numpyro.sample("y", dist.MixtureSameFamily(dist.Categorical(w), dist.Bernoulli(q).to_event(1)), obs=y)

    collapsed = cj.collapse(model, keep=["q", "w"])
    q = rng.beta(1.0, 1.0, (classes, items))
    q[0, :3] = 0.0, 1.0, 1e-30

    def density(which, *args):
        return lambda z: log_density(which, args, {}, z)[0]

    given = {"q": jnp.asarray(q), "w": jnp.asarray([0.2, 0.3, 0.5])}
    found, right = (jax.value_and_grad(density(*f))(given) for f in ((collapsed,), (model, False)))
    assert float(found[0]) == pytest.approx(float(right[0]), rel=1e-12 if x64 else 1e-5)
    np.testing.assert_allclose(found[1]["q"], right[1]["q"], rtol=1e-9 if x64 else 2e-4, atol=1e-4)
    text = jax.jit(jax.grad(density(collapsed))).lower(given).compile().as_text()
    assert f"[{classes},{rows}]" in text and f"[{classes},{rows},{items}]" not in text


def test_items_whose_parts_cancel_keep_their_digits_in_float32():
    """Of large counts the logarithm of the rate times the count, and that of the factorial, leave little of each other."""
    y = np.random.default_rng(5).poisson(20_000.0, (6, 50)).astype(np.int32)
    rates = np.stack([np.full(50, 19_900.0), np.full(50, 20_100.0)])

    def model():
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1e-4).expand([2, 50]).to_event(2))
        with numpyro.plate("rows", 6):
            z = numpyro.sample("z", dist.Bernoulli(0.5))
            numpyro.sample("y", dist.Poisson(rate[z]).to_event(1), obs=y)

    def densities():
        """Collapsed, and by hand."""
        rate = jnp.asarray(rates, jnp.result_type(float))
        states = jnp.stack([dist.Poisson(r).to_event(1).log_prob(y) for r in rate])
        by_hand = jnp.sum(logsumexp(jnp.log(0.5) + states, 0)) + jnp.sum(dist.Gamma(2.0, 1e-4).log_prob(rate))
        return float(log_density(cj.collapse(model, keep=["rate"]), (), {}, {"rate": rate})[0]), float(by_hand)

    right, _ = densities()
    with double_precision(False):
        found, by_hand = densities()
    assert abs(found - right) <= 2 * abs(by_hand - right) + 1e-2


def test_functions_of_the_same_name_are_not_taken_for_each_other():
    @jax.custom_jvp
    def xlogy(x, y):
        return x * jnp.log(y + 1.0)

    xlogy.defjvp(lambda p, t: jax.jvp(lambda x, y: x * jnp.log(y + 1.0), p, t))
    q, x = jnp.array([0.3, 0.8]), jnp.array([1.0, 0.0, 2.0])

    def model():
        z = numpyro.sample("z", dist.Bernoulli(0.4))
        numpyro.factor("f", xlogy(x, jnp.full(3, q[z])).sum())

    right = logsumexp(jnp.log(jnp.array([0.6, 0.4])) + jnp.sum(x) * jnp.log(q + 1.0))
    assert float(log_density(cj.collapse(model), (), {}, {})[0]) == pytest.approx(float(right), rel=1e-12)


def test_derivatives_in_data_that_are_zero():
    """Nothing multiplies by a zero for good but a state."""
    def density(b, x):
        def model():
            b = numpyro.sample("b", dist.Normal(0.0, 1.0))
            z = numpyro.sample("z", dist.Bernoulli(0.4))
            numpyro.sample("y", dist.Normal(z * x * b + x * b, 1.0), obs=0.7)

        return log_density(cj.collapse(model, keep=["b"]), (), {}, {"b": b})[0]

    point = jnp.array(0.5), jnp.array(0.0)
    both = jax.jacfwd(jax.grad(density, 0), 1)(*point), jax.jacrev(jax.grad(density, 1), 0)(*point)
    assert float(both[0]) == pytest.approx(float(both[1]), rel=1e-12)
    assert float(both[0]) == pytest.approx(0.7 * 1.4, rel=1e-12)


def test_a_chain_of_one_step():
    def model(y):
        def step(z, seen):
            z = numpyro.sample("z", dist.Categorical(jnp.asarray(STEPS)[z]))
            numpyro.sample("y", dist.Normal(1.0 * z, 1.0), obs=seen)
            return z, None

        scan(step, 1, y)

    y = jnp.array([0.3])
    right = logsumexp(jnp.log(jnp.asarray(STEPS)[1]) + dist.Normal(jnp.arange(3.0), 1.0).log_prob(0.3))
    assert float(log_density(cj.collapse(model), (y,), {}, {})[0]) == pytest.approx(float(right), rel=1e-12)


def test_many_terms_added_one_by_one(x64):
    x = np.linspace(-1.0, 1.0, 4)

    def model():
        z = numpyro.sample("z", dist.Bernoulli(0.4).expand([4]).to_event(1))
        each = 0.0
        for k in range(300):
            each = each + x * (z + 0.001 * k)
        for _ in range(12):
            each = each + each
        numpyro.factor("f", 1e-6 * jnp.sum(each))

    found = log_density(cj.collapse(model), (), {}, {})[0]
    level = 1e-6 * 4096 * x[:, None] * (300 * np.arange(2) + 0.001 * 300 * 299 / 2)
    right = np.log((np.array([0.6, 0.4]) * np.exp(level)).sum(1)).sum()
    assert float(found) == pytest.approx(right, rel=1e-10 if x64 else 1e-4)


def remaining(y):
    """Of totals that differ, so that what one element can be another cannot: of those it has no logarithm."""
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    with numpyro.plate("i", 3):
        k = numpyro.sample("k", dist.Binomial(np.array([1, 3, 5]), 0.3))
        numpyro.sample("y", dist.Normal(jnp.log(s * (np.array([1, 3, 5]) - k + 0.5)), 1.0), obs=y)


def bounded(y):
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    z = numpyro.sample("z", dist.DiscreteUniform(np.array([0, 2, 3]), np.array([2, 4, 3])).to_event(1))
    numpyro.sample("y", dist.Normal(s * jnp.sqrt(np.array([2.0, 4.0, 3.0]) + 0.1 - z), 1.0), obs=y)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("model, values", [(remaining, [range(2), range(4), range(6)]), (bounded, [range(3), range(2, 5), [3]])])
def test_states_that_an_element_cannot_have(model, values, validated, x64):
    """They are never evaluated. Without validation a uniform distribution does not read its value."""
    y, kept = jnp.array([0.1, 0.4, 1.2]), {"s": jnp.asarray(0.7)}
    (name,) = cj.explain(model, y).collapsed
    every = {name: jnp.array(list(itertools.product(*values)))}

    def summed(kept):
        return logsumexp(jax.vmap(lambda z: log_density(model, (y,), {}, {**kept, **z})[0])(every))

    with numpyro.validation_enabled(validated):
        found = jax.value_and_grad(lambda k: log_density(cj.collapse(model), (y,), {}, k)[0])(kept)
        draws = cj.collapse(model).recover(KEY, {"s": jnp.full(50, 0.7)}, y)[name]
    for mine, hand in zip(jax.tree.leaves(found), jax.tree.leaves(jax.value_and_grad(summed)(kept)), strict=True):
        np.testing.assert_allclose(mine, hand, rtol=1e-12 if x64 else 1e-5)
    assert all(set(np.unique(draws[:, k]).tolist()) <= set(v) for k, v in enumerate(values))


@pytest.mark.parametrize("through", [
    lambda k, s: jnp.linalg.solve((1.0 + k) * jnp.eye(3) + 0.1 * s, jnp.ones(3) * s),
    lambda k, s: jnp.linalg.inv((1.0 + k) * jnp.eye(3) + 0.1 * s) @ jnp.ones(3),
    lambda k, s: doubled_root((1.0 + k) * s * jnp.ones(3), k * s * jnp.ones(2)),
], ids=["solve", "inverse", "own derivative"])
def test_functions_with_a_derivative_of_their_own(through):
    """Operands of several shapes depend on the state: the function is run for each, not its body, which may hide the derivative."""
    def model(y):
        s, k = numpyro.sample("s", dist.HalfCauchy(1.0)), numpyro.sample("k", dist.Categorical(chances))
        numpyro.sample("y", dist.Normal(through(k, s), s), obs=y)

    chances, y = jnp.array([0.2, 0.3, 0.5]), np.array([0.3, -0.4, 1.1])

    def by_hand(s):
        each = [jnp.log(chances[k]) + dist.Normal(through(k, s), s).log_prob(y).sum() for k in range(3)]
        return dist.HalfCauchy(1.0).log_prob(s) + jax.nn.logsumexp(jnp.stack(each))

    found = jax.value_and_grad(lambda s: log_density(cj.collapse(model), (y,), {}, {"s": s})[0])(jnp.array(0.8))
    np.testing.assert_allclose(found, jax.value_and_grad(by_hand)(0.8), rtol=1e-9)


@jax.custom_jvp
def doubled_root(a, b):
    return jax.lax.stop_gradient(jnp.sqrt(a + b[0]))


@doubled_root.defjvp
def _(primals, tangents):
    out = doubled_root(*primals)
    return out, (tangents[0] + tangents[1][0]) / (2 * out)
