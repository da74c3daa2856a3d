"""Numbers at the ends of the range of a floating type."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import sample
from numpyro.infer.util import log_density, potential_energy

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision
from traps.oracles import dense

Y = np.array([0.3, -1.2, 2.0, 0.7])


@pytest.mark.parametrize("likelihood", [
    lambda x: dist.Bernoulli(logits=x), lambda x: dist.Binomial(1, logits=x), lambda x: dist.GeometricLogits(x),
    lambda x: dist.NegativeBinomialLogits(2.0, x), lambda x: dist.Categorical(logits=jnp.stack([x, 0 * x, -x], -1)),
], ids=["bernoulli", "binomial", "geometric", "negative_binomial", "categorical"])
def test_logits_beyond_the_range_of_exponentials(likelihood):
    """Nothing is integrated out, and rows are added up."""
    def model(y, g):
        a = sample("a", dist.Cauchy(0.0, 5.0).expand([3]))
        sample("y", likelihood(sample("m", dist.Cauchy(0.0, 5.0)) + a[g]), obs=y)

    with double_precision(False):
        y, g = np.arange(60) % 2, np.arange(60) % 3
        collapsed = cj.collapse(model)
        values = {"a": jnp.array([130.0, 0.1, -130.0]), "m": jnp.array(0.3)}
        expected, found = (jax.jit(jax.value_and_grad(lambda v, m=m: log_density(m, (y, g), {}, v)[0]))(values)
                           for m in (model, collapsed))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), found, expected)


def test_half_precision():
    """Beyond what its range squares."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a.astype(jnp.float16).astype(float) * b, 1.0), obs=y)

    y = np.array([600.0, 601.0])
    found = float(log_density(cj.collapse(model), (y,), {}, {"a": jnp.array(300.25)})[0])
    expected = dense(y, np.full((2, 2), 300.25**2) + np.eye(2)) + dist.Normal().log_prob(300.25)
    assert found == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_data_in_large_and_small_units(chain, unit):
    """The derivative of a weight 1 / s**2 is beyond the range of single precision, and so is the square of a variance."""
    def model(y, unit):
        s = sample("s", dist.HalfNormal(unit))
        z = sample("z", dist.GaussianRandomWalk(s, 4) if chain else dist.Normal(0.0, 10 * unit))
        sample("y", dist.Normal(z, s), obs=y)

    def slope(unit):
        y = np.float32(unit) * Y.astype(np.float32)
        collapsed = cj.collapse(model)
        return float(jax.grad(lambda u: potential_energy(collapsed, (y, unit), {}, {"s": u}))(jnp.log(unit)))

    with double_precision(False):
        assert slope(unit) == pytest.approx(slope(1.0), rel=1e-4)


@pytest.mark.parametrize("saturated", [
    lambda x, h: x**h / (x**h + 60.0**h), lambda x, h: jnp.exp(h * x / 50) / (3.0 + jnp.exp(h * x / 50)),
    lambda x, h: (2.0 + x**h) / (x**h + 60.0**h),
], ids=["power", "exponential", "sum"])
@pytest.mark.parametrize("joined", [False, True])
def test_quotients_whose_parts_are_large(saturated, joined):
    """A quotient of functions of one latent is at most 1, and its parts, squared, 1e20 and more."""
    def model(x, y):
        h, e = sample("h", dist.LogNormal(0.0, 1.0)), sample("e", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        top, level = saturated(x, h), e[0]
        sample("y", dist.Normal(level + (e[1] * top if joined else top * e[1]), 1.0), obs=y)

    x = np.array([0.5, 5.0, 25.0, 50.0, 100.0, 300.0])
    y = np.array([2.0, 2.5, 4.0, 7.0, 10.0, 11.5])

    def by_hand(h):
        design = jnp.stack([jnp.ones(6), saturated(x, h)], 1)
        law = dist.MultivariateNormal(jnp.zeros(6), 100.0 * design @ design.T + jnp.eye(6))
        return law.log_prob(y) + dist.LogNormal(0.0, 1.0).log_prob(h)

    expected = jax.value_and_grad(by_hand)(6.0)
    with double_precision(False):
        data = tuple(jnp.asarray(v, jnp.float32) for v in (x, y))
        found = jax.value_and_grad(lambda h: log_density(cj.collapse(model), data, {}, {"h": h})[0])(jnp.float32(6.0))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
