"""Traps of shapes, masks and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers, plate, sample
from numpyro.infer import Predictive
from numpyro.infer.util import log_density
from scipy import stats

import conjugate_ppl as cj
from traps.oracles import dense, evidence, gamma_poisson, reason

KEY = jax.random.key(0)
Y = np.array([0.3, -1.2, 2.0, 0.7])
COUNT = np.array([1, 2, 0, 3])
ONES, EYE = np.ones((4, 4)), np.eye(4)


# -- shapes ----------------------------------------------------------------------------------------


def test_sample_shape_outside_a_plate():
    """`sample_shape` makes elements that the distribution's batch shape does not show."""
    def model(y):
        rate = sample("rate", dist.Gamma(2.0, 1.0), sample_shape=(4,))
        sample("y", dist.Poisson(rate), obs=y)

    assert evidence(model, COUNT) == pytest.approx(stats.nbinom.logpmf(COUNT, 2, 0.5).sum())


def test_sample_shape_inside_a_plate():
    """Inside a plate `sample_shape` is folded into the batch."""
    def model(y):
        with plate("rows", 4):
            a = sample("a", dist.Normal(0.0, 1.0), sample_shape=(3, 1))
            sample("y", dist.Normal(a, 1.0), obs=y)

    y = np.linspace(-1.0, 2.0, 12).reshape(3, 4)
    assert evidence(model, y) == pytest.approx(stats.norm(0, np.sqrt(2)).logpdf(y).sum())


def test_one_observation_in_a_plate_of_five():
    """An observation narrower than the plate is seen once for each of its rows."""
    def model(y):
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        with plate("five", 5):
            sample("y", dist.Poisson(rate), obs=y)

    assert evidence(model, 3) == pytest.approx(gamma_poisson([3] * 5, 2.0, 1.0))


def test_column_of_rates_by_row_of_counts():
    """A (3, 1) batch and 4 observations make a 3 by 4 grid of terms."""
    def model(y):
        with plate("three", 3, dim=-2):
            rate = sample("rate", dist.Gamma(2.0, 1.0))
        sample("y", dist.Poisson(rate), obs=y)

    assert evidence(model, COUNT) == pytest.approx(3 * gamma_poisson(COUNT, 2.0, 1.0))


PRIORS = {
    "expand to_event in a plate": lambda: dist.Normal(1.0, 2.0).expand([3]).to_event(1),
    "to_event in a plate": lambda: dist.Normal(jnp.ones(3), 2.0).to_event(1),
    "plate of one expanded event": lambda: dist.Normal(jnp.ones((1, 3)), 2.0).to_event(1),
    "to_event expanded": lambda: dist.Normal(1.0, 2.0 * jnp.ones(3)).to_event(1).expand([2]),
}


@pytest.mark.parametrize("name", PRIORS)
def test_order_of_wrappers(name):
    """Plates, `expand`, `to_event` and `mask` nest in any order; a masked row is left out."""
    def model(y):
        with plate("rows", 2):
            a = sample("a", PRIORS[name]())
            sample("y", dist.Normal(a, 1.0).to_event(1).mask(jnp.array([True, False])), obs=y)

    y = np.array([[0.5, 1.0, -2.0], [np.nan, 7.0, 1.0]])
    assert evidence(model, y) == pytest.approx(stats.norm(1, np.sqrt(5)).logpdf(y[0]).sum())


def test_latent_shared_over_a_plate():
    """Over a shared latent the rows of a plate are correlated."""
    def model(y):
        mu = sample("mu", dist.Normal(0.5, 2.0))
        with plate("rows", 4):
            sample("y", dist.Normal(mu, 1.0), obs=y)

    assert evidence(model, Y) == pytest.approx(dense(Y, 4 * ONES + EYE, 0.5))


def test_plate_of_size_one():
    """A plate of one row is still an axis."""
    def model(count, y):
        with plate("one", 1):
            rate = sample("rate", dist.Gamma(2.0, 1.0))
            phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
            sample("y", dist.Categorical(phi), obs=y)
        sample("count", dist.Poisson(rate), obs=count)

    expected = gamma_poisson(COUNT, 2.0, 1.0) + np.log(3 / 6)
    assert evidence(model, COUNT, np.array([2])) == pytest.approx(expected)


# -- plates do not prove independence --------------------------------------------------------------


def test_plate_whose_rows_share_a_mean():
    """In one plate a row may depend on every element of a latent."""
    def model(y):
        with plate("rows", 4):
            a = sample("a", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(a - a.mean() + jnp.roll(a, 1), 1.0), obs=y)

    design = EYE - ONES / 4 + np.roll(EYE, 1, 0)
    assert evidence(model, Y) == pytest.approx(dense(Y, design @ design.T + EYE))


def test_plate_whose_rows_read_each_other():
    """A permuted look-up is exact, a sum of two elements is declined."""
    def reversed_rates(y):
        with plate("rows", 4):
            rate = sample("rate", dist.Gamma(jnp.arange(1.0, 5.0), 1.0))
            sample("y", dist.Poisson(rate[::-1]), obs=y)

    def neighbours(y):
        with plate("rows", 4):
            rate = sample("rate", dist.Gamma(2.0, 1.0))
            sample("y", dist.Poisson(rate + jnp.roll(rate, 1)), obs=y)  # here

    expected = stats.nbinom.logpmf(COUNT[::-1], [1, 2, 3, 4], 0.5).sum()
    assert evidence(reversed_rates, COUNT) == pytest.approx(expected)
    assert "a logarithm of a sum" in reason(neighbours, "rate", COUNT)


def test_latent_that_is_stacked_and_not_read():
    """What is computed from a latent and then left out does not depend on it."""
    def model(y):
        a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 3.0))
        sample("y", dist.Normal(jnp.stack([a, b])[0], 1.0), obs=y)

    assert evidence(model, Y) == pytest.approx(dense(Y, ONES + EYE))


# -- masks -----------------------------------------------------------------------------------------


def test_masked_rows_may_hold_nan_covariates():
    """0 * nan is nan: masked rows are removed, not multiplied by 0."""
    def model(x, y, seen):
        b = sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        with plate("rows", 4), handlers.mask(mask=seen):
            sample("y", dist.Normal(x @ b, 1.0), obs=y)

    x = np.array([[1.0, 0.5], [1.0, np.nan], [1.0, 2.0], [1.0, -1.0]])
    seen = np.array([True, False, True, True])
    expected = dense(Y[seen], x[seen] @ x[seen].T + np.eye(3))
    assert evidence(model, x, Y, seen) == pytest.approx(expected)


def test_missing_cells_are_imputed():
    """NaN cells that `where` replaces by a latent never reach the arithmetic."""
    def model(y):
        with plate("rows", 4):
            missing = sample("missing", dist.Normal(0.0, 3.0))
            full = jnp.where(jnp.isnan(y), missing, y)
            sample("y", dist.Normal(0.5, 1.0), obs=full)

    y = np.where(np.arange(4) == 1, np.nan, Y)
    seen, at_zero = np.delete(Y, 1), stats.norm(0.5, np.sqrt(10)).logpdf(0)
    expected = stats.norm(0.5, 1).logpdf(seen).sum() + at_zero
    assert evidence(model, jnp.asarray(y)) == pytest.approx(expected)


def test_model_that_asks_for_its_mask():
    """`Predictive` runs under `mask(False)`, where models leave factors out."""
    def model(y):
        a, s = sample("a", dist.Normal(0.0, 1.0)), sample("s", dist.HalfNormal(1.0))
        if numpyro.get_mask() is not False:
            numpyro.factor("tilt", 0.2 * a)
        sample("y", dist.Normal(a, s), obs=y)

    cj.check(model, KEY, Y, num_points=1)
    drawn = Predictive(cj.collapse(model), num_samples=3)(KEY, Y)
    assert drawn["s"].shape == (3,) and "a" not in drawn


# -- weights and factors ---------------------------------------------------------------------------


def test_weight_of_two_is_every_row_twice():
    """A known weight raises the likelihood to a power."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        with handlers.scale(scale=2.0):
            sample("y", dist.Normal(a, 1.0), obs=y)

    expected = dense(np.tile(Y, 2), np.ones((8, 8)) + np.eye(8))
    assert evidence(model, Y) == pytest.approx(expected)


def test_weight_times_a_fixed_subsample():
    """A subsample is declined also where its indices are given and a weight is put on top."""
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        with handlers.scale(scale=2.0), plate("rows", 8, subsample_size=4) as rows:
            sample("y", dist.Normal(a, 1.0), obs=y[rows])

    given = handlers.substitute(model, data={"rows": jnp.arange(4)})
    assert "`y` is in a subsampled plate" in cj.explain(given, np.tile(Y, 2))["a"].reason


def test_latent_of_a_subsampled_plate():
    """The prior of a local latent is weighted by its subsampled plate; others are not touched."""
    def model(y):
        other = sample("other", dist.Normal(0.0, 1.0))
        sample("w", dist.Normal(other, 1.0), obs=y)
        with plate("rows", 4, subsample_size=2) as rows:
            a = sample("a", dist.Normal(0.0, 1.0))  # here
            sample("y", dist.Normal(a, 1.0), obs=y[rows])

    assert "subsampled plate" in reason(model, "a", jnp.asarray(Y))
    assert cj.explain(model, jnp.asarray(Y)).collapsed == ("other",)


def test_subsample_of_all_rows():
    """A subsample as large as its plate is none."""
    def model(y):
        with plate("rows", 4, subsample_size=4) as rows:
            a = sample("a", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(a, 1.0), obs=y[rows])

    assert evidence(model, jnp.asarray(Y)) == pytest.approx(dense(Y, 2 * EYE))


def test_subsampling_is_refused_as_by_nuts():
    """A density cannot draw subsample indices: NumPyro's own error comes through."""
    def model(y):
        a, s = sample("a", dist.Normal(0.0, 1.0)), sample("s", dist.HalfNormal(1.0))
        sample("w", dist.Normal(a, 1.0), obs=y)
        with plate("rows", 4, subsample_size=2) as rows:
            sample("y", dist.Normal(0.0, s), obs=y[rows])

    with pytest.raises(ValueError, match="subsampl"):
        log_density(cj.collapse(model), (jnp.asarray(Y),), {}, {"s": 1.0})


def test_factor_counts_once_for_each_row():
    """A factor is multiplied by its plates, weights and masks like any observation."""
    def model():
        a = sample("a", dist.Normal(0.0, 1.0))
        with plate("five", 5):
            numpyro.factor("rows", 0.3 * a)
        numpyro.factor("array", 0.1 * a * jnp.ones(4))
        with handlers.scale(scale=0.5):
            numpyro.factor("weighted", 0.4 * a)
        with handlers.mask(mask=False):
            numpyro.factor("masked", 9.0 * a)

    tilt = 5 * 0.3 + 4 * 0.1 + 0.5 * 0.4
    assert evidence(model) == pytest.approx(tilt**2 / 2)
