"""Elements that no factor reads have no part in a gradient, whatever a function's derivative is there."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.test_util import check_grads
from numpyro import sample
from numpyro.infer.util import initialize_model

import conjugate_ppl as cj
from conjugate_ppl.algebra.slopes import each

Y = np.random.default_rng(0).normal(size=(12, 3))


def _root():
    return sample("root", dist.LKJCholesky(3, 2.0))


def correlated_noise():
    m = sample("m", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    sample("y", dist.MultivariateNormal(m, scale_tril=_root()), obs=Y)


def diagonal_of_a_root():
    root, m = _root(), sample("m", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(m * root[1, 0], 1 / jnp.sqrt(root[1, 1])), obs=Y[:, 0])


def shift_and_square_in_one_vector():
    k = sample("k", dist.Uniform(jnp.array([-5.0, 0.1]), jnp.array([5.0, 10.0])).to_event(1))
    m = sample("m", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(m + jnp.sin(k[0]) * Y[:, 1], jnp.sqrt(k[1])), obs=Y[:, 0])


def level_and_log_scale_in_one_vector():
    k = sample("k", dist.Normal(jnp.array([1000.0, 0.0]), jnp.array([0.1, 1.0])).to_event(1))
    m = sample("m", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(m + (k[0] - 1000.0) * Y[:, 1], jnp.exp(k[1])), obs=Y[:, 0])


@pytest.mark.parametrize("model", [correlated_noise, diagonal_of_a_root, shift_and_square_in_one_vector,
                                   level_and_log_scale_in_one_vector])
@pytest.mark.parametrize("x64", [True, False], indirect=True)
def test_gradients_of_parts(model, x64):
    collapsed = cj.collapse(model)
    assert collapsed.plan().collapsed == ("m",)
    info = initialize_model(jax.random.key(1), collapsed)
    z = {n: x - 1.0 for n, x in info.param_info.z.items()}
    if "k" in z and model is level_and_log_scale_in_one_vector:
        z = {"k": jnp.array([1000.0, 0.5])}
    for order in (jax.grad, jax.hessian):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(order(info.potential_fn)(z)))
    if x64:
        check_grads(info.potential_fn, (z,), order=2, modes=["rev"])


@pytest.mark.parametrize("function", [jnp.sqrt, jnp.log, lambda x: x**-2, jnp.exp])
def test_derivatives_are_the_function_s_own_where_they_are_numbers(function, x64):
    x, good = jnp.array([0.0, -1.0, 1e4, 0.3, 2.0]), np.array([3, 4])
    np.testing.assert_array_equal(each(function, x), function(x))
    for order in (jax.grad, jax.hessian):
        found = order(lambda x: jnp.sum(each(function, x)[good] ** 2))(x)
        right = order(lambda x: jnp.sum(function(x) ** 2))(x[good])
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[np.ix_(*[good] * found.ndim)], right, rtol=1e-6 if not x64 else 1e-12)
