"""Discrete latents against brute force: NumPyro's density at every combination of their values."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from generated.numpy_jaxpr import evaluated
from jax.scipy.special import logsumexp
from models import CASES, finite
from numpyro.distributions import constraints
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import init_to_uniform
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj

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

    best = collapsed.mode(kept, *args)
    at = run(lambda z: log_density(TABLE[name].model, args, {}, {**kept, **z})[0])(best)
    assert float(at) == pytest.approx(float(joint.max()), rel=exact, abs=exact)
    assert all(v.dtype == values[n].dtype or x64 for n, v in best.items())

    probability = np.exp(np.asarray(joint - total, float))
    for n, d in collapsed.conditionals(kept, *args).items():
        for v in np.unique(values[n]):
            expected = np.tensordot(probability, np.asarray(values[n]) == v, 1)
            np.testing.assert_allclose(np.exp(d.log_prob(jnp.full(shapes[n], v))), expected,
                                       atol=1e-8 if x64 else 1e-4)

    repeated = {n: jnp.broadcast_to(v, (DRAWS, *jnp.shape(v))) for n, v in kept.items()}
    draws = collapsed.recover(jax.random.key(3), repeated, *args)
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
