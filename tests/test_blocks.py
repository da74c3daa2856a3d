"""Many rows: added up in blocks where that is proved, the same posterior and the same words as at once."""

from __future__ import annotations

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro import sample
from numpyro.infer import MCMC
from numpyro.infer.util import log_density
from test_stream import COUNT, GROUP, G, X, Y, rates, regression

import conjugate_ppl as cj
from conjugate_ppl.additive import blocks
from conjugate_ppl.additive.prior import Likelihood
from conjugate_ppl.errors import DataError

KEPT = {"t": np.array(0.7), "s": np.array([0.5, 1.0, 1.5, 2.0])}


def by_blocks(least=20, block=16, most=1000):
    return mock.patch.multiple(blocks, _LEAST=least, _BLOCK=block, _RUN=4, _MOST=most)


def is_added_up(collapsed, *args):
    sites = collapsed.execution(args, {}).program.sites.values()
    return any(s.distribution == Likelihood.__name__ for s in sites)


def two_kinds(y, n, g):
    """Statements that have nothing to do with each other, one of them of a few rows."""
    m = sample("m", dist.Normal(0.0, 5.0).expand([G]))
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Normal(m[g], 1.0), obs=y)
    sample("n", dist.Binomial(10, p), obs=n)
    sample("few", dist.Bernoulli(p), obs=jnp.array([0, 1, 1]))


def cauchy(y, x):
    m, s = sample("m", dist.Cauchy(0.0, 1.0)), sample("s", dist.HalfCauchy(1.0))
    sample("y", dist.Normal(m * x[:, 0], s), obs=y)


ADDED = {
    "regression": (regression, (Y, GROUP, X), KEPT),
    "sorted": (regression, (Y, np.sort(GROUP), X), KEPT),
    "rates": (rates, (COUNT, GROUP), {"shape": np.array(1.3)}),
    "two_kinds": (two_kinds, (Y, np.minimum(COUNT, 10), GROUP), {}),
    "nothing_to_collapse": (cauchy, (Y, X), {"m": np.array(2.0), "s": np.array(30.0)}),
}


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("block", [15, 16, 59])
def test_the_same_posterior(name, block, x64):
    """Of blocks that leave no row, some, and one."""
    model, data, kept = ADDED[name]
    data, kept = jax.tree.map(jnp.asarray, (data, kept))
    found = []
    for least in (20, 1000):
        with by_blocks(least, block):
            collapsed = cj.collapse(model)
            plan = collapsed.plan(*data)
            assert is_added_up(collapsed, *data) == (least == 20)
            value = jax.value_and_grad(lambda k, m=collapsed: log_density(m, data, {}, k)[0])(kept)
            laws = {n: (d.mean, d.variance) for n, d in collapsed.conditionals(kept, *data).items()}
            words = str(plan).replace("y, n on m", "y").replace("y, n on p", "n")
            found.append((value, laws, words, plan.collapsed))
    (value, laws, *said), (other, others, *said_by_rows) = found
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10 if x64 else 2e-5), (value, laws), (other, others))
    if name != "two_kinds":
        assert said == said_by_rows


def test_a_first_block_that_is_unlike_the_others():
    """Far from the rest, and without what tells the columns apart."""
    x = np.concatenate([np.full(16, 1e4), RNG.normal(size=48)])
    y = 3 * x + RNG.normal(size=64)

    def line(x, y):
        b, s = sample("b", dist.Normal(0.0, 10.0).expand([2])), sample("s", dist.HalfNormal(1.0))
        sample("y", dist.Normal(b[0] + b[1] * x, s), obs=y)

    found = []
    for least in (20, 1000):
        with by_blocks(least):
            collapsed = cj.collapse(line)
            assert is_added_up(collapsed, x, y) == (least == 20)
            found.append(jax.value_and_grad(lambda s, m=collapsed: log_density(m, (x, y), {}, {"s": s})[0])(1.1))
    np.testing.assert_allclose(*found, rtol=1e-11)


RNG = np.random.default_rng(1)


def counted(y, n):
    m = sample("m", dist.Normal(0.0, 5.0))
    sample("y", dist.Normal(m * jnp.ones(n), 1.0), obs=y)


def logistic(y, x):
    b = sample("b", dist.Normal(0.0, 1.0).expand([2]))
    m = sample("m", dist.Normal(0.0, 1.0))
    sample("x", dist.Normal(m, 1.0), obs=x[:, 0])
    sample("y", dist.Bernoulli(logits=x @ b), obs=y)


def neighbours(y):
    m = sample("m", dist.Normal(0.0, 5.0))
    sample("y", dist.Normal(m, 1.0), obs=y[1:] - y[:-1])


def looks(y):
    m = sample("m", dist.Normal(0.0, 5.0 if y[0] > 0 else 1.0))
    sample("y", dist.Normal(m, 1.0), obs=y)


def of_each_row(y):
    z = sample("z", dist.Normal(0.0, 1.0).expand([len(y)]))
    sample("y", dist.Normal(z, 1.0), obs=y)


def flat_for_each_few(y):
    """A flat prior says nothing of the number of its elements."""
    z = sample("z", dist.ImproperUniform(dist.constraints.real, (), (len(y) // 4,)))
    sample("y", dist.Normal(z, 1.0), obs=jnp.sum(y.reshape(-1, 4), 1))


def squared(y, n):
    """Beyond 32 bits, which NumPy's whole numbers have not."""
    m = sample("m", dist.Normal(0.0, 5.0))
    sample("y", dist.Normal(m * (n * n / 1e10), 1.0), obs=y)


LARGE = 100_000 + np.arange(len(Y))


@pytest.mark.parametrize(("model", "data"), [
    (flat_for_each_few, (Y,)), (squared, (Y, LARGE)), (counted, (Y, len(Y))), (logistic, (COUNT > 2, X)), (neighbours, (Y,)), (looks, (Y,)), (of_each_row, (Y,))])
def test_read_at_once(model, data):
    """Where rows are counted, meet or are looked at, or do not add up, nothing is different, and nothing is said."""
    found = []
    for least in (20, 1000):
        with by_blocks(least):
            plan = cj.explain(model, *data)
            collapsed = cj.collapse(model)
            assert not is_added_up(collapsed, *data)
            found.append((str(plan), float(log_density(collapsed, data, {}, {"b": jnp.ones(2)})[0])))
    assert found[0] == found[1]


def test_as_many_numbers_as_rows():
    group = np.repeat(np.arange(30), 2)

    def model(y, g):
        a = sample("a", dist.Normal(0.0, 1.0).expand([30]))
        sample("y", dist.Normal(a[g], 1.0), obs=y)

    for most in (30, 100):
        with by_blocks(most=most):
            assert is_added_up(cj.collapse(model), jnp.asarray(Y), jnp.asarray(group)) == (most == 100)


def test_a_row_that_cannot_be():
    count = COUNT.copy()
    count[37] = -1
    with by_blocks(), pytest.raises(DataError) as found:
        cj.explain(rates, count, GROUP)
    with pytest.raises(DataError) as at_once:
        cj.explain(rates, count, GROUP)
    assert str(found.value) == str(at_once.value)


def test_a_run():
    """Of all sites, by their names; and a posterior, which reads row by row."""
    with by_blocks():
        mcmc = MCMC(cj.Collapsed(regression), num_warmup=20, num_samples=20, progress_bar=False)
        mcmc.run(jax.random.key(0), Y, GROUP, X)
        assert set(mcmc.get_samples()) == {"t", "s", "b", "a", "shift"}
        posterior = cj.collapse(regression).posterior(Y, GROUP, X, kept=KEPT)
        assert np.isfinite(posterior.loo("y")).all()
        assert cj.check(regression, jax.random.key(0), Y, GROUP, X).relative < 1e-6


def unlike(y):
    s = sample("s", dist.Gamma(2.0, 1.0))
    m = sample("m", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.sin(m), s), obs=y)


def test_lines_are_those_of_the_model():
    with by_blocks():
        said = [cj.explain(unlike, Y), cj.collapse(unlike).stream(np.split(Y, 4)).plan()]
    assert [[d.source for d in plan.decisions.values()] for plan in said] == 2 * [
        [d.source for d in cj.explain(unlike, Y).decisions.values()]]
    assert all("test_blocks.py" in d.source for plan in said for d in plan.decisions.values())


TABLE = ["gamma_precision_power", "normal_inverse_gamma_of_each_group", "gaussian_crossed", "beta_complement", "compose_groups",
         "gaussian_random_slopes_matrix", "lognormal_mean", "gammas_on_a_diagonal"]


@pytest.mark.parametrize("name", TABLE)
def test_models_of_the_table(name):
    """The same sites are integrated out, and the identity holds of them."""
    model, args = CASES[name].model, [jnp.array(a) if isinstance(a, np.ndarray) else a for a in CASES[name].args]
    with by_blocks(6, 5):
        collapsed = cj.collapse(model)
        assert is_added_up(collapsed, *args)
        assert set(collapsed.plan(*args).collapsed) == set(CASES[name].collapsed)
        assert cj.check(collapsed, jax.random.key(1), *args, num_points=2).points == 4
