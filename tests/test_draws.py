"""Draws and conditionals against the joint conditional density, on the table of models.

The identity proves `conditional_log_prob`. Of Gaussian sites everything else follows from it: it is a
quadratic, whose differences give mean and covariance without any code of the package's solver. Of other
sites, draws are compared with the moments of `conditionals`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from generated.numpy_jaxpr import evaluated
from jax.flatten_util import ravel_pytree
from models import CASES, composition, dual, gaussian_blocks, matrices, mixed, shaped, statespace
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import init_to_uniform

import conjugate_ppl as cj

DRAWS = 2000
WHOLE = [m.__name__ for m in (dual, shaped, gaussian_blocks, composition, matrices, mixed, statespace)]
# discrete latents have tests of their own
DRAWN = {n: c for n, c in CASES.items() if c.model.__module__ != "models.finite" and not n.startswith("childless")}
# here every third, and of the models that differ in their spelling alone, some; all of them in `campaign.py`
TABLE = [n for k, (n, c) in enumerate(DRAWN.items()) if k % (3 if c.model.__module__ in WHOLE else 10) == 0]
BY_XLA = frozenset(TABLE[::5])


def kept_values(collapsed, args):
    """Values for what is kept."""
    def values(key):
        with numpyro.validation_enabled(False):
            found = trace(substitute(seed(collapsed.model, key), substitute_fn=init_to_uniform(radius=1.0))).get_trace(*args)
        return {n: found[n]["value"] for n in collapsed.plan(*args).kept}

    return jax.tree.map(jnp.asarray, evaluated(values)(jax.random.key(2)))


@pytest.mark.filterwarnings("ignore:No value for the `param` site:UserWarning")  # those that the models begin with
@pytest.mark.parametrize("name", TABLE)
def test_draws_and_conditionals(name):
    compare(name, compiled=name in BY_XLA)


def compare(name, compiled):
    """Draws, of a compiled program or of one that NumPy evaluates, with the model's density and its conditionals."""
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in DRAWN[name].args]
    collapsed = cj.collapse(DRAWN[name].model)
    plan, kept = collapsed.plan(*args), kept_values(collapsed, args)
    repeated = {n: jnp.broadcast_to(v, (DRAWS, *jnp.shape(v))) for n, v in kept.items()}
    run = jax.jit if compiled else evaluated
    draws = run(lambda key, kept: collapsed.recover(
        key, kept, *args, num_samples=None if kept else DRAWS))(jax.random.key(3), repeated)
    found = run(lambda kept: {n: moments(d) for n, d in collapsed.conditionals(kept, *args).items()})(kept)
    if all(plan[n].rule == "jointly Gaussian" for n in plan.collapsed):
        assert set(found) == {n for n in plan.collapsed if plan[n].size}
        check_gaussian(collapsed, kept, args, draws, found)
    for site, (conditional, mean, variance) in found.items():
        x = draws[site]
        if isinstance(conditional, dist.InverseWishartCholesky):
            x = x @ x.swapaxes(-1, -2)
        x = x.reshape(DRAWS, -1)
        mean, sd = np.ravel(mean), np.sqrt(np.ravel(variance))
        if isinstance(conditional, dist.VonMises):  # around the circle, whose variance is one less a mean cosine
            x = np.concatenate([np.sin(x - mean), np.cos(x - mean)], 1)
            mean, sd = np.concatenate([0 * mean, 1 - sd**2]), x.std(0)
        there = ~np.isnan(sd)  # an inverse Wishart of few degrees of freedom has no variance
        np.testing.assert_array_less(np.abs(x.mean(0) - mean)[there], 5 * sd[there] / np.sqrt(DRAWS) + 1e-12)


def moments(conditional):
    """A distribution, its mean and its variance."""
    d = conditional
    if isinstance(d, dist.InverseWishartCholesky):  # NumPyro has the moments of the whole
        d = dist.InverseWishart(d.concentration, scale_tril=d.scale_tril)
    return conditional, d.mean, d.variance


def check_gaussian(collapsed, kept, args, draws, found):
    """All sites together are the Gaussian whose log density is `conditional_log_prob`, in coordinates of subspaces."""
    program = collapsed.execution(tuple(args), {}).program
    draws = {n: program.inside(n, v) for n, v in draws.items()}
    found = {n: moments(d.base_dist) if n in program.turns else (d, *m) for n, (d, *m) in found.items()}
    start, unravel = ravel_pytree({n: v[0] for n, v in draws.items()})
    size = len(start)
    unit = np.eye(size)
    rows, columns = np.tril_indices(size)
    steps = np.concatenate([np.zeros((1, size)), unit, -unit, unit[rows] + unit[columns]])
    log_prob = evaluated(jax.vmap(lambda x: collapsed.conditional_log_prob(
        {n: program.outside(n, v) for n, v in unravel(x).items()}, kept, *args)))
    at, up, down, pairs = np.split(np.asarray(log_prob(start + steps)), [1, size + 1, 2 * size + 1])
    precision = np.zeros((size, size))
    precision[rows, columns] = precision[columns, rows] = -(pairs - up[rows] - up[columns] + at)
    covariance = np.linalg.inv(precision)
    mean = start + covariance @ (up - down) / 2
    means, variances = unravel(jnp.asarray(mean)), unravel(jnp.asarray(np.diag(covariance)))
    for site, (_, center, variance) in found.items():
        sd = np.sqrt(variances[site])
        np.testing.assert_array_less(np.abs(center.reshape(sd.shape) - means[site]), 1e-6 * sd + 1e-12)
        np.testing.assert_allclose(variance.reshape(sd.shape), variances[site], rtol=1e-6)
    flat = np.asarray(jax.vmap(lambda d: ravel_pytree(d)[0])(draws))
    white = np.linalg.solve(np.linalg.cholesky(covariance), (flat - mean).T)
    scatter = white @ white.T / DRAWS - np.eye(size)
    assert np.abs(white.mean(1)).max() < 5 / np.sqrt(DRAWS)
    assert np.abs(scatter).max() < 6 * np.sqrt(2 / DRAWS)


@pytest.mark.parametrize("x64", [False], ids=["float32"], indirect=True)
@pytest.mark.parametrize("more", [0, 1], ids=["groups alike", "all groups different"])
def test_slopes_over_far_away_times_in_float32(more, x64):
    """The draws of each group given the drawn population, against dense algebra in float64."""
    rng = np.random.default_rng(0)
    sizes = 20 + more * np.arange(6)
    g = np.repeat(np.arange(6), sizes)
    x = np.concatenate([200 + np.linspace(-1, 1, n) for n in sizes]).astype(np.float32).astype(float)
    lines = rng.normal(size=(6, 2))
    y = (lines[g, 0] + lines[g, 1] * (x - 200) + rng.normal(size=len(g))).astype(np.float32).astype(float)
    root = np.array([[1.0, 0.0], [0.5, 0.75]])

    def model(x, y):
        t, s = (numpyro.sample(n, dist.HalfNormal(1.0)) for n in "ts")
        mu = numpyro.sample("mu", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        with numpyro.plate("groups", 6):
            b = numpyro.sample("b", dist.MultivariateNormal(mu, scale_tril=t * jnp.asarray(root)))
        numpyro.sample("y", dist.Normal(b[g, 0] + b[g, 1] * x, s), obs=y)

    ones = jnp.ones(2000)
    draws = cj.collapse(model).recover(jax.random.key(0), {"t": ones, "s": ones}, jnp.asarray(x),
                                       jnp.asarray(y))
    mu, b = (np.asarray(draws[n], float) for n in ("mu", "b"))
    prior = np.linalg.inv(root @ root.T)
    for j in range(6):
        design = np.stack([np.ones(sizes[j]), x[g == j]], 1)
        covariance = np.linalg.inv(prior + design.T @ design)
        mean = (mu @ prior + y[g == j] @ design) @ covariance
        white = np.linalg.solve(np.linalg.cholesky(covariance), (b[:, j] - mean).T)
        assert np.abs(white.mean(1)).max() < 0.12
        np.testing.assert_allclose(white.std(1), 1.0, atol=0.08)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e15])
def test_conditionals_at_scales_of_all_sizes(scale, x64):
    def model(y):
        tau = numpyro.sample("tau", dist.HalfNormal(1.0))
        mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
        with numpyro.plate("groups", 3):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
            numpyro.sample("y", dist.Normal(theta, 1.0), obs=y)

    y = np.array([0.5, 1.0, 2.0])
    found = cj.collapse(model).conditionals({"tau": jnp.asarray(scale)}, y)
    precision = np.diag([0.25, 1.0, 1.0, 1.0])  # of mu, and of u = (theta - mu) / tau
    design = np.concatenate([np.ones((3, 1)), scale * np.eye(3)], 1)
    covariance = np.linalg.inv(precision + design.T @ design)
    mean = covariance @ (design.T @ y)
    image = np.concatenate([np.ones((3, 1)), scale * np.eye(3)], 1)
    tol = 1e-6 if x64 else 1e-4
    np.testing.assert_allclose(found["theta"].mean, image @ mean if scale < 1e9 else y, rtol=tol)
    expected = np.diag(image @ covariance @ image.T) if scale < 1e9 else np.ones(3)
    np.testing.assert_allclose(found["theta"].variance, expected, rtol=tol)
