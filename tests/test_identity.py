"""The identity of `check`, on a table of ordinary models.

For every value of the collapsed latents z and the kept ones k,

    log_density(model; z, k) - log p(z | k) = log_density(collapsed; k).

The left side is NumPyro's own density of the user's model, the right side does not depend on z. Each
entry also says which latents are to be collapsed: an analysis that silently stops finding them fails.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.scipy.special import logit
from numpyro import handlers
from numpyro.distributions import constraints, transforms
from numpyro.handlers import condition, do, lift, reparam, scope
from numpyro.infer import reparam as reparams

import conjugate_ppl as cj

RNG = np.random.default_rng(0)
N, G, H, P = 9, 4, 3, 2
Y = RNG.normal(1.0, 2.0, N)
YG = RNG.normal(0.5, 1.5, G)
X = RNG.normal(size=(N, P))
T = np.linspace(0.0, 1.0, N)
GROUP = np.array([0, 1, 1, 2, 0, 2, 2, 1, 0])  # group 3 has no rows
OTHER = np.array([2, 0, 1, 0, 1, 2, 0, 2, 1])
COUNT = np.array([3, 0, 5, 2, 1, 4, 2, 7, 1])
SMALL = COUNT.astype(np.uint8)
BINARY = np.array([1, 0, 1, 1, 0, 0, 1, 1, 1])
POSITIVE = RNG.gamma(2.0, 1.0, N)
EXPOSURE = RNG.uniform(0.5, 3.0, N)
OUTCOME = np.array([0, 2, 1, 1, 0, 2, 2, 2, 1])
MATRIX = np.array([[1.0, 0.3, 0.1], [0.3, 2.0, -0.4], [0.1, -0.4, 0.7]])
ROOT = np.linalg.cholesky(MATRIX)
HOLED = np.where(np.arange(N) % 4 == 1, np.nan, Y)
SEEN = np.isfinite(HOLED)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its data, and the names of the latents that are collapsed."""

    model: Callable[..., Any]
    args: tuple[Any, ...]
    collapsed: frozenset[str]


CASES: dict[str, Case] = {}


def case(collapsed: str, *args: Any, name: str = "") -> Callable[[Any], Any]:
    """Enter a model in the table; `collapsed` lists names, separated by spaces."""

    def register(model: Any) -> Any:
        label = name or model.__name__
        assert label not in CASES, label
        CASES[label] = Case(model, args, frozenset(collapsed.split()))
        return model

    return register


sample, plate = numpyro.sample, numpyro.plate


@pytest.mark.parametrize("name", CASES)
def test_identity(name, x64):
    entry = CASES[name]
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in entry.args]
    collapsed = cj.collapse(entry.model)
    plan = cj.explain(collapsed, *args)
    assert frozenset(plan.collapsed) == entry.collapsed, f"\n{plan}"
    found = cj.check(collapsed, jax.random.key(1), *args, num_points=2)
    assert found.points == 4


# -- Gaussian: how sites are written ---------------------------------------------------------------


@case("mu", Y)
def gaussian_scalar(y):
    mu = sample("mu", dist.Normal(0.0, 10.0))
    sample("y", dist.Normal(mu, 1.5), obs=y)


@case("theta mu", YG)
def gaussian_eight_schools(y):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfCauchy(5.0))
    with plate("groups", G):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, jnp.array([1.0, 2.0, 0.5, 1.5])), obs=y)


@case("mu z", YG)
def gaussian_not_centred(y):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfNormal(5.0))
    with plate("groups", G):
        z = sample("z", dist.Normal())
        theta = numpyro.deterministic("theta", mu + tau * z)
        sample("y", dist.Normal(theta, 1.0), obs=y)


@case("b", Y, X)
def gaussian_to_event(y, x):
    b = sample("b", dist.Normal(jnp.zeros(P), 2.0).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(x @ b, s).to_event(1), obs=y)


@case("b", Y, X)
def gaussian_expand(y, x):
    b = sample("b", dist.Normal(0.0, 2.0).expand([P]).to_event(1))
    sample("y", dist.Normal(jnp.dot(x, b), 1.0).expand([N]), obs=y)


@case("b", Y, X)
def gaussian_sample_shape(y, x):
    b = sample("b", dist.Normal(0.0, 2.0), sample_shape=(P,))
    sample("y", dist.Normal(x @ b, 1.0), obs=y)


@case("b", Y)
def gaussian_sample_shape_in_plate(y):
    with plate("rows", N):
        b = sample("b", dist.Normal(0.0, 2.0), sample_shape=())
        sample("y", dist.Normal(b, 1.0), obs=y)


@case("a b", RNG.normal(size=(G, H)))
def gaussian_nested_plates(y):
    rows, columns = plate("rows", G, dim=-2), plate("columns", H, dim=-1)
    with rows:
        a = sample("a", dist.Normal(0.0, 1.0))
    with rows, columns:
        b = sample("b", dist.Normal(a, 0.5))
        sample("y", dist.Normal(b, 0.3), obs=y)


@case("a b c", RNG.normal(size=(G, H)))
def gaussian_rows_and_columns(y):
    c = sample("c", dist.Normal(0.0, 2.0))
    s = sample("s", dist.Exponential(1.0))
    with plate("rows", G, dim=-2):
        a = sample("a", dist.Normal(0.0, 1.0))
    with plate("columns", H, dim=-1):
        b = sample("b", dist.Normal(0.0, 1.0))
        with plate("rows_again", G, dim=-2):
            sample("y", dist.Normal(a + b + c, s), obs=y)


@case("a", RNG.normal(size=(2, 5)))
def gaussian_plate_and_event(y):
    with plate("batch", 2):
        a = sample("a", dist.Normal(jnp.zeros(5), 1.0).to_event(1))
        sample("y", dist.Normal(a, 1.0).to_event(1), obs=y)


@case("a", np.array([0.7]))
def gaussian_plate_of_one(y):
    with plate("one", 1):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, 1.0), obs=y)


@case("a", Y.reshape(3, 3), "identity", None, 2)
def gaussian_static_arguments(y, link, unused, power):
    assert link == "identity" and unused is None
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a * 2**power, 1.0), obs=y)


# -- Gaussian: shapes of observations --------------------------------------------------------------


@case("mu", 0.3)
def gaussian_narrow_observation(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("five", 5):
        sample("y", dist.Normal(mu, 1.0), obs=y)


@case("a", YG)
def gaussian_grid_observation(y):
    with plate("three", 3, dim=-2):
        a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)


@case("a", SMALL)
def gaussian_small_integers(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y * 40)


@case("mu", Y + 1e4)
def gaussian_far_from_zero(y):
    mu = sample("mu", dist.Normal(0.0, 1e4))
    s = sample("s", dist.HalfNormal(2.0))
    sample("y", dist.Normal(mu, s), obs=y)


# -- Gaussian: look-ups and linear maps ------------------------------------------------------------


@case("a mu", Y, GROUP)
def gaussian_gather(y, g):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    tau = sample("tau", dist.HalfNormal(1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("groups", G):
        a = sample("a", dist.Normal(mu, tau))
    with plate("rows", N):
        sample("y", dist.Normal(a[g], s), obs=y)


@case("a", Y, GROUP - G)
def gaussian_negative_index(y, g):
    a = sample("a", dist.Normal(jnp.zeros(G), 1.0))
    sample("y", dist.Normal(a[g], 1.0), obs=y)


@case("a", YG)
def gaussian_duplicate_index(y):
    a = sample("a", dist.Normal(jnp.zeros(G), 1.0))
    sample("y", dist.Normal(a[jnp.array([1, 1, 0, 1])] + a[jnp.array([1, 0, -1, 2])], 1.0), obs=y)


@case("a", YG)
def gaussian_slices(y):
    a = sample("a", dist.Normal(jnp.zeros(G + 1), 1.0))
    sample("y", dist.Normal(a[1:] - a[:-1] + a[::-1][1:] + a[-1], 1.0), obs=y)


@case("a", Y, GROUP)
def gaussian_take(y, g):
    a = sample("a", dist.Normal(jnp.zeros(G), 1.0))
    sample("y", dist.Normal(jnp.take(a, g, mode="clip"), 1.0), obs=y)


@case("a", Y, np.eye(G)[GROUP])
def gaussian_indicator_design(y, z):
    a = sample("a", dist.Normal(jnp.zeros(G), 1.0))
    sample("y", dist.Normal(jnp.einsum("ng,g->n", z, a), 1.0), obs=y)


@case("a", Y, GROUP, OTHER)
def gaussian_two_way_table(y, g, h):
    with plate("g", G, dim=-2), plate("h", H, dim=-1):
        a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a[g, h], 1.0), obs=y)


@case("a b c", Y, GROUP, OTHER, X)
def gaussian_crossed(y, g, h, x):
    ta, tb = sample("ta", dist.HalfNormal(1.0)), sample("tb", dist.HalfNormal(1.0))
    with plate("g", G):
        a = sample("a", dist.Normal(0.0, ta))
    with plate("h", H):
        b = sample("b", dist.Normal(0.0, tb))
    c = sample("c", dist.Normal(0.0, 3.0).expand([P]).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(a[g] + b[h] + x @ c, s), obs=y)


@case("a b ma mb", Y, GROUP, T)
def gaussian_random_slopes(y, g, t):
    ma, mb = sample("ma", dist.Normal(0.0, 1.0)), sample("mb", dist.Normal(0.0, 1.0))
    sa, sb = sample("sa", dist.HalfNormal(1.0)), sample("sb", dist.HalfNormal(1.0))
    with plate("g", G):
        a = sample("a", dist.Normal(ma, sa))
        b = sample("b", dist.Normal(mb, sb))
    with plate("rows", N):
        sample("y", dist.Normal(a[g] + b[g] * t, 0.4), obs=y)


@case("b", Y, GROUP, X)
def gaussian_random_slopes_matrix(y, g, x):
    with plate("g", G):
        b = sample("b", dist.Normal(jnp.zeros(P), 1.0).to_event(1))
    sample("y", dist.Normal(jnp.sum(b[g] * x, -1), 0.4), obs=y)


@case("step", Y)
def gaussian_cumsum(y):
    q = sample("q", dist.HalfNormal(1.0))
    with plate("time", N):
        step = sample("step", dist.Normal(0.0, q))
    sample("y", dist.Normal(jnp.cumsum(step), 0.5), obs=y)


@case("b", RNG.normal(size=(N, H)), X)
def gaussian_matrix_of_coefficients(y, x):
    b = sample("b", dist.Normal(jnp.zeros((P, H)), 1.0).to_event(2))
    s = sample("s", dist.HalfNormal(jnp.ones(H)))
    sample("y", dist.Normal(x @ b, s), obs=y)


@case("a b", Y, GROUP % 3)
def gaussian_treatment_coding(y, g):
    a = sample("a", dist.Normal(0.0, 2.0))
    b = sample("b", dist.Normal(jnp.zeros(2), 2.0))
    effects = jnp.concatenate([jnp.zeros(1), b])
    sample("y", dist.Normal(a + effects[g], 1.0), obs=y)


@case("a", Y, GROUP)
def gaussian_centred_effects(y, g):
    a = sample("a", dist.Normal(jnp.zeros(G), 1.0))
    sample("y", dist.Normal((a - a.mean())[g], 1.0), obs=y)


@case("a b", Y, T)
def gaussian_stacked(y, t):
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.stack([a, b]) @ jnp.stack([jnp.ones(N), t]), 1.0), obs=y)


@case("a", Y)
def gaussian_where(y):
    a = sample("a", dist.Normal(jnp.zeros(2), 1.0))
    sample("y", dist.Normal(jnp.where(jnp.arange(N) < 4, a[0], -2 * a[1]), 1.0), obs=y)


@case("a b", Y, T)
def gaussian_jit_and_vmap(y, t):
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    line = jax.jit(jax.vmap(lambda u: a + b * u**2))
    sample("y", dist.Normal(line(t), 1.0), obs=y)


@case("a b", Y)
def gaussian_zero_coefficient(y):
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a + b * 0 * 3.0, 1.0), obs=y)


@case("b", Y, X)
def gaussian_through_a_solve(y, x):
    b = sample("b", dist.Normal(jnp.zeros(3), 1.0))
    u = jax.scipy.linalg.solve_triangular(jnp.asarray(ROOT), b, lower=True)
    sample("y", dist.Normal(jnp.tile(u, 3), 1.0), obs=y)


# -- Gaussian: multivariate normal -----------------------------------------------------------------


def _mvn_prior(y, **how):
    t = sample("t", dist.HalfNormal(1.0))
    how = {name: jnp.asarray(matrix) for name, matrix in how.items()}
    b = sample("b", dist.MultivariateNormal(jnp.ones(3), **how))
    with plate("three", 3):
        sample("y", dist.Normal(b, t), obs=y)


case("b", Y[:3], name="mvn_scale_tril")(partial(_mvn_prior, scale_tril=ROOT))
case("b", Y[:3], name="mvn_covariance")(partial(_mvn_prior, covariance_matrix=MATRIX))
case("b", Y[:3], name="mvn_precision")(partial(_mvn_prior, precision_matrix=MATRIX))


@case("ab", Y, GROUP, T)
def mvn_correlated_slopes(y, g, t):
    tau = sample("tau", dist.HalfNormal(jnp.ones(2)).to_event(1))
    corr = sample("corr", dist.LKJCholesky(2, 2.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        ab = sample("ab", dist.MultivariateNormal(0.0, scale_tril=tau[:, None] * corr))
    with plate("rows", N):
        sample("y", dist.Normal(ab[g, 0] + ab[g, 1] * t, s), obs=y)


@case("theta", Y[:3])
def mvn_child_of_elementwise(y):
    theta = sample("theta", dist.Normal(jnp.zeros(3), 2.0).to_event(1))
    sample("y", dist.MultivariateNormal(theta, jnp.asarray(MATRIX)), obs=y)


@case("b mu", RNG.normal(size=(5, 3)))
def mvn_hierarchy(y):
    mu = sample("mu", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
    t = sample("t", dist.HalfNormal(1.0))
    with plate("rows", 5):
        b = sample("b", dist.MultivariateNormal(mu, t**2 * jnp.asarray(MATRIX)))
        sample("y", dist.MultivariateNormal(b, scale_tril=jnp.asarray(ROOT)), obs=y)


@case("f", Y, T)
def gaussian_process(y, t):
    length = sample("length", dist.LogNormal(-1.0, 0.3))
    size = sample("size", dist.HalfNormal(1.0))
    noise = sample("noise", dist.HalfNormal(1.0))
    gap = (t[:, None] - t[None, :]) / length
    kernel = size**2 * jnp.exp(-0.5 * gap**2) + 1e-2 * jnp.eye(N)
    f = sample("f", dist.MultivariateNormal(jnp.zeros(N), kernel))
    sample("y", dist.Normal(f, noise + 0.1), obs=y)


@case("b", Y, X, T)
def gaussian_process_marginal_likelihood(y, x, t):
    length = sample("length", dist.LogNormal(-1.0, 0.3))
    b = sample("b", dist.Normal(jnp.zeros(P), 1.0))
    kernel = jnp.exp(-0.5 * ((t[:, None] - t[None, :]) / length) ** 2) + 0.1 * jnp.eye(N)
    sample("y", dist.MultivariateNormal(x @ b, kernel), obs=y)


# -- Gaussian: structure ---------------------------------------------------------------------------


@case("top middle low", Y, GROUP, np.array([0, 0, 1, 1]))
def gaussian_three_levels(y, g, of):
    top = sample("top", dist.Normal(0.0, 3.0))
    scales = sample("scales", dist.HalfNormal(1.0).expand([3]).to_event(1))
    with plate("schools", 2):
        middle = sample("middle", dist.Normal(top, scales[0]))
    with plate("classes", G):
        low = sample("low", dist.Normal(middle[of], scales[1]))
    with plate("rows", N):
        sample("y", dist.Normal(low[g], scales[2]), obs=y)


CELLS = np.array([(i, j, c) for i in range(6) for j in range(5) for c in (-0.5, 0.5)])
MANY = RNG.normal(size=(30, 12))


@case("alpha beta u w", RNG.normal(size=60), CELLS[:, 0].astype(int), CELLS[:, 1].astype(int), CELLS[:, 2])
def gaussian_balanced_crossed(y, subject, item, x):
    alpha, beta = sample("alpha", dist.Normal(0.0, 3.0)), sample("beta", dist.Normal(0.0, 3.0))
    tau = sample("tau", dist.HalfNormal(1.0).expand([3]).to_event(1))
    low = sample("low", dist.LKJCholesky(2, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("subjects", 6):
        u = sample("u", dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau[:2]) @ low))
    with plate("items", 5):
        w = sample("w", dist.Normal(0.0, tau[2]))
    with plate("rows", 60):
        mean = alpha + u[subject, 0] + w[item] + x * (beta + u[subject, 1])
        sample("y", dist.Normal(mean, s), obs=y)


@case("z a", YG)
def mvn_whole_scale_matrix(y):
    # what stands above the diagonal of a scale_tril is no part of the distribution
    s = sample("s", dist.HalfNormal(1.0))
    root = jnp.array([[1.0, 7.0, 5.0], [1.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
    z = sample("z", dist.MultivariateNormal(jnp.zeros(3), scale_tril=jnp.tril(root)))
    a = sample("a", dist.MultivariateNormal(z[:2], scale_tril=jnp.tril(root[:2, :2])))
    sample("y", dist.Normal(jnp.concatenate([z[1:], a]), s), obs=y)


@case("b", RNG.normal(size=36), MANY[:, :12], np.where(np.arange(12) % 3 == 0, 3.0, 1.0))
def mvn_events_of_different_scales(y, x, size):
    s = sample("s", dist.HalfNormal(1.0))
    root = size[:, None, None] * jnp.eye(2)
    with plate("events", 12):
        b = sample("b", dist.MultivariateNormal(jnp.zeros(2), scale_tril=root))
    sample("y", dist.Normal(x @ b[:, 0] + 0.5 * x @ b[:, 1], s), obs=y[:30])


@case("b", RNG.normal(size=40), RNG.normal(size=(40, 10)))
def gaussian_weights_of_different_units(y, x):
    large, small = sample("large", dist.LogNormal(7.0, 0.1)), sample("small", dist.LogNormal(0.0, 0.1))
    b = sample("b", dist.Normal(0.0, 1.0).expand([10]).to_event(1))
    sample("in_mm", dist.Normal(1e3 * (x[:20] @ b), large), obs=1e3 * y[:20])
    sample("in_m", dist.Normal(x[20:] @ b, small), obs=y[20:])


@case("a", RNG.normal(size=6), np.array([1e-2, 1e-2, 1e-2, 1e2, 3e2, 1e3]))
def gaussian_known_errors_of_all_sizes(y, error):
    tau = sample("tau", dist.HalfNormal(100.0))
    with plate("studies", 6):
        a = sample("a", dist.Normal(0.0, tau))
        sample("y", dist.Normal(a, error), obs=y * error)


@case("a b", RNG.normal(size=30), MANY)
def gaussian_ridge(y, x):
    tau, s = sample("tau", dist.HalfCauchy(1.0)), sample("s", dist.HalfNormal(1.0))
    a = sample("a", dist.Normal(0.0, 10.0))
    b = sample("b", dist.Normal(0.3, tau).expand([12]).to_event(1))
    sample("y", dist.Normal(a + x @ b, s), obs=y)


@case("theta", RNG.normal(size=24), np.repeat(np.arange(12), 2))
def gaussian_equal_groups(y, g):
    mu, tau = sample("mu", dist.StudentT(3.0, 0.0, 1.0)), sample("tau", dist.HalfNormal(1.0))
    with plate("groups", 12):
        theta = sample("theta", dist.Normal(mu, tau))
    sample("y", dist.Normal(theta[g], 0.7), obs=y)


@case("theta", RNG.normal(size=24), np.repeat(np.arange(12), 2), np.tile([0.0, 1.0, 2.0], 4))
def gaussian_kept_curve_of_groups(y, g, dose):
    k, tau = sample("k", dist.StudentT(3.0, 0.0, 1.0)), sample("tau", dist.HalfNormal(1.0))
    with plate("groups", 12):
        theta = sample("theta", dist.Normal(jnp.exp(-k * dose), tau))
    sample("y", dist.Normal(theta[g], 0.7), obs=y)


@case("top a b", RNG.normal(size=24), np.repeat(np.arange(12), 2), np.tile([0, 1, 2], 4),
      RNG.normal(size=24))
def gaussian_strata(y, pair, grade, x):
    s = sample("s", dist.HalfNormal(1.0).expand([3]).to_event(1))
    with plate("grades", 3):
        top, b = sample("top", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 5.0))
    with plate("pairs", 12):
        a = sample("a", dist.Normal(10.0 * top[grade], 1.0))
    sample("y", dist.Normal(a[pair] + b[grade[pair]] * x, s[grade[pair]]), obs=y)


@case("a rho", Y)
def gaussian_lagged_data(y):
    a, rho = sample("a", dist.Normal(0.0, 1.0)), sample("rho", dist.Normal(0.0, 0.5))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(a + rho * y[:-1], s), obs=y[1:])


@case("x0 x1 x2 x3", YG)
def gaussian_chain(y):
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    q = sample("q", dist.HalfNormal(1.0))
    x = 0.0
    for k in range(G):
        x = sample(f"x{k}", dist.Normal(phi * x, q))
        sample(f"y{k}", dist.Normal(x, 0.5), obs=y[k])


@case("amplitude", Y, T)
def gaussian_kept_design(y, t):
    amplitude = sample("amplitude", dist.Normal(0.0, 2.0))
    decay = sample("decay", dist.LogNormal(0.0, 0.5))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(amplitude * jnp.exp(-decay * t), s), obs=y)


@case("b", Y, X)
def gaussian_horseshoe(y, x):
    tau = sample("tau", dist.HalfCauchy(1.0))
    lam = sample("lam", dist.HalfCauchy(1.0).expand([P]).to_event(1))
    b = sample("b", dist.Normal(0.0, tau * lam).to_event(1))
    sample("y", dist.Normal(x @ b, 1.0), obs=y)


@case("mu a", Y, GROUP)
def gaussian_scale_by_group(y, g):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("g", G):
        s = sample("s", dist.LogNormal(0.0, 0.5))
        a = sample("a", dist.Normal(mu, 1.0))
    sample("y", dist.Normal(a[g], s[g]), obs=y)


@case("x mx", Y, X[:, 0])
def gaussian_errors_in_variables(y, seen):
    b = sample("b", dist.Normal(0.0, 1.0))
    mx = sample("mx", dist.Normal(0.0, 1.0))
    with plate("rows", N):
        x = sample("x", dist.Normal(mx, 1.0))
        sample("seen", dist.Normal(x, 0.2), obs=seen)
        sample("y", dist.Normal(b * x, 0.5), obs=y)


@case("a b", Y, POSITIVE)
def gaussian_two_responses(y, w):
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    sample("w", dist.LogNormal(a + b, 0.7), obs=w)


@case("a", POSITIVE)
def gaussian_lognormal_response(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.LogNormal(a, s), obs=y)


@case("a", 1 / (1 + np.exp(-Y)))
def gaussian_logit_normal_response(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.TransformedDistribution(dist.Normal(a, 1.0),
                                             transforms.SigmoidTransform()), obs=y)


@case("a b c", Y)
def gaussian_latent_as_observation(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    b = sample("b", dist.Normal(0.0, 2.0))
    sample("same", dist.Normal(a, 0.5), obs=b)
    c = sample("c", dist.Normal(b, 0.5))
    sample("y", dist.Normal(c, 1.0), obs=y)


@case("a", Y)
def gaussian_linear_factor(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(a, s), obs=y)
    numpyro.factor("tilt", 0.3 * a * s - 1.0)


@case("a mis", Y)
def gaussian_missing_values(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N):
        mis = sample("mis", dist.Normal(0.0, 3.0))
        full = jnp.where(jnp.arange(N) % 3 == 0, mis, y)
        sample("y", dist.Normal(a, s), obs=full)


def _flat(shape):
    return dist.ImproperUniform(constraints.real, shape, ())


@case("b", Y, X)
def gaussian_flat(y, x):
    b = sample("b", _flat((P,)))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(x @ b, s), obs=y)


@case("b a", Y, X, GROUP)
def gaussian_flat_and_groups(y, x, g):
    b = sample("b", dist.ImproperUniform(constraints.real_vector, (), (P,)))
    tau, s = sample("tau", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        a = sample("a", dist.Normal(0.0, tau))
    sample("y", dist.Normal(x @ b + a[g], s), obs=y)


@case("mu theta", YG)
def gaussian_flat_parent(y):
    mu = sample("mu", _flat(()))
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("g", G):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 1.0), obs=y)


# -- Gaussian: masks, weights, handlers ------------------------------------------------------------


@case("a", HOLED)
def masked_by_handler(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with handlers.mask(mask=jnp.isfinite(y)):
        sample("y", dist.Normal(a, s), obs=y)


@case("a", HOLED, X)
def masked_by_method(y, x):
    a = sample("a", dist.Normal(jnp.zeros(P), 1.0))
    sample("y", dist.Normal(x @ a, 1.0).mask(jnp.isfinite(y)), obs=y)


@case("a", np.where(np.arange(G * 3).reshape(G, 3) == 4, np.nan, 1.0 + np.arange(G * 3).reshape(G, 3)))
def masked_wider_than_batch(y):
    with plate("g", G, dim=-2):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(a, 1.0).mask(jnp.isfinite(y)), obs=y)


@case("a", Y)
def masked_altogether(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("off", dist.Normal(a, 0.1).mask(False), obs=y)
    sample("y", dist.Normal(a, 1.0).mask(True), obs=y)


@case("a y_unobserved", np.where(SEEN, Y, 0.0), SEEN)
def masked_by_obs_mask(y, seen):
    a = sample("a", dist.Normal(0.0, 1.0))
    with plate("rows", N):
        sample("y", dist.Normal(a, 1.0), obs=y, obs_mask=seen)


@case("a", Y, EXPOSURE)
def weighted_rows(y, w):
    a = sample("a", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N), handlers.scale(scale=w):
        sample("y", dist.Normal(a, s), obs=y)


@case("a", Y)
def tempered(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    with handlers.scale(scale=0.3):
        sample("y", dist.Normal(a, 1.0), obs=y)


@case("rate", COUNT)
def tempered_counts(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with handlers.scale(scale=2.5):
        sample("y", dist.Poisson(rate), obs=y)


def _schools(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("g", G):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 1.0), obs=y)


case("mu theta_decentered", YG, name="reparam_not_centred")(
    reparam(_schools, config={"theta": reparams.LocScaleReparam(0)}))
case("mu theta_decentered", YG, name="reparam_half_centred")(
    reparam(_schools, config={"theta": reparams.LocScaleReparam(0.4)}))
case("in/mu in/theta", YG, name="scope")(scope(_schools, "in"))
case("theta", YG, name="condition_latent")(condition(_schools, {"mu": 0.4}))
case("mu theta", YG, name="condition_scale")(condition(_schools, {"tau": 0.7}))
case("mu theta", YG, name="do_latent")(do(_schools, {"mu": jnp.array(0.4)}))
case("mu theta tau", YG, name="do_scale")(do(_schools, {"tau": jnp.array(0.4)}))


def _with_parameter(y):
    mu = numpyro.param("mu", 0.0)
    with plate("rows", N):
        sample("y", dist.Normal(mu, 1.0), obs=y)


case("mu", Y, name="lift")(lift(_with_parameter, prior={"mu": dist.Normal(0.0, 2.0)}))


# -- gamma -----------------------------------------------------------------------------------------


@case("rate", COUNT, EXPOSURE)
def gamma_poisson_exposure(y, e):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate * e), obs=y)


@case("rate", COUNT, GROUP, EXPOSURE)
def gamma_poisson_groups(y, g, e):
    a, b = sample("a", dist.LogNormal(0.0, 0.5)), sample("b", dist.LogNormal(0.0, 0.5))
    with plate("g", G):
        rate = sample("rate", dist.Gamma(a, b))
    with plate("rows", N):
        sample("y", dist.Poisson(e * rate[g]), obs=y)


@case("rate", SMALL)
def gamma_poisson_small_integers(y):
    rate = sample("rate", dist.Exponential(0.2))
    sample("y", dist.Poisson(rate), obs=y * 30)


@case("frailty", COUNT, X)
def gamma_poisson_frailty(y, x):
    b = sample("b", dist.Normal(jnp.zeros(P), 0.5))
    shape = sample("shape", dist.LogNormal(0.0, 0.5))
    with plate("rows", N):
        frailty = sample("frailty", dist.Gamma(shape, shape))
        sample("y", dist.Poisson(frailty * jnp.exp(x @ b)), obs=y)


@case("rate", POSITIVE)
def gamma_exponential(y):
    rate = sample("rate", dist.Chi2(3.0))
    sample("y", dist.Exponential(rate), obs=y)


@case("rate", POSITIVE, GROUP)
def gamma_gamma(y, g):
    shape = sample("shape", dist.LogNormal(0.0, 0.3))
    rate = sample("rate", dist.Gamma(jnp.array([1.0, 2.0, 3.0, 4.0]), 2.0))
    sample("y", dist.Gamma(shape, rate[g]), obs=y)


@case("rate", POSITIVE)
def gamma_inverse_gamma(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.InverseGamma(3.0, rate), obs=y)


@case("rate", POSITIVE)
def gamma_weibull(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Weibull(rate**-0.5, 2.0), obs=y)


@case("alpha", 1.5 + POSITIVE)
def gamma_pareto(y):
    alpha = sample("alpha", dist.Gamma(2.0, 1.0))
    sample("y", dist.Pareto(1.5, alpha), obs=y)


@case("rate", Y)
def gamma_laplace(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Laplace(0.3, 1 / rate), obs=y)


@case("tau", np.abs(Y))
def gamma_half_normal(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    sample("y", dist.HalfNormal(1 / jnp.sqrt(tau)), obs=y)


@case("b", POSITIVE)
def gamma_of_gamma(y):
    b = sample("b", dist.Gamma(2.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N):
        z = sample("z", dist.LogNormal(0.0, s))
        sample("y", dist.Gamma(2.0, b * z), obs=y)


PRECISIONS = {
    "one_over_sqrt": lambda t: 1 / jnp.sqrt(t),
    "power": lambda t: t**-0.5,
    "rsqrt": jax.lax.rsqrt,
    "sqrt_of_inverse": lambda t: jnp.sqrt(1 / t),
    "exp_of_log": lambda t: jnp.exp(-0.5 * jnp.log(t)),
    "reciprocal": lambda t: jnp.reciprocal(jnp.sqrt(t)),
    "jnp_power": lambda t: jnp.power(t, -1 / 2),
    "jitted": jax.jit(lambda t: t ** (-0.5)),
}
VARIANCES = {
    "sqrt": jnp.sqrt,
    "power": lambda v: v**0.5,
    "exp_of_log": lambda v: jnp.exp(0.5 * jnp.log(v)),
    "inverse_rsqrt": lambda v: 1 / jax.lax.rsqrt(v),
    "jnp_power": lambda v: jnp.power(v, 0.5),
}


def _precision(y, g, spelt):
    m = sample("m", dist.Normal(0.0, 1.0))
    k = sample("k", dist.LogNormal(0.0, 0.2))
    with plate("g", G):
        tau = sample("tau", dist.Gamma(2.0, 1.5))
    sample("y", dist.Normal(jnp.sin(m), k * spelt(tau)[g]), obs=y)


def _variance(y, g, spelt):
    m = sample("m", dist.Normal(0.0, 1.0))
    with plate("g", G):
        v = sample("v", dist.InverseGamma(2.0, 1.5))
    sample("y", dist.Normal(jnp.sin(m), spelt(v)[g]), obs=y)


for _name, _spelt in PRECISIONS.items():
    case("tau", Y, GROUP, name=f"gamma_precision_{_name}")(partial(_precision, spelt=_spelt))
for _name, _spelt in VARIANCES.items():
    case("v", Y, GROUP, name=f"inverse_gamma_variance_{_name}")(partial(_variance, spelt=_spelt))


@case("w", Y)
def gamma_scale_mixture(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("rows", N):
        w = sample("w", dist.Gamma(2.0, 2.0))
        sample("y", dist.Normal(mu, s / jnp.sqrt(w)), obs=y)


@case("tau", POSITIVE)
def gamma_lognormal_precision(y):
    tau = sample("tau", dist.Gamma(2.0, 1.0))
    sample("y", dist.LogNormal(0.2, 1 / jnp.sqrt(tau)), obs=y)


@case("s", POSITIVE)
def inverse_gamma_exponential(y):
    s = sample("s", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Exponential(1 / s), obs=y)


@case("s", POSITIVE)
def inverse_gamma_gamma(y):
    s = sample("s", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Gamma(2.5, rate=1 / s), obs=y)


@case("s", Y)
def inverse_gamma_laplace(y):
    s = sample("s", dist.InverseGamma(2.0, 1.0))
    sample("y", dist.Laplace(0.0, s), obs=y)


@case("v", HOLED)
def inverse_gamma_masked(y):
    v = sample("v", dist.InverseGamma(2.0, 1.0))
    with handlers.mask(mask=jnp.isfinite(y)):
        sample("y", dist.Normal(0.1, jnp.sqrt(v)), obs=y)


# -- beta ------------------------------------------------------------------------------------------


@case("p", BINARY)
def beta_bernoulli(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(p), obs=y)


@case("p", BINARY)
def beta_uniform_prior(y):
    p = sample("p", dist.Uniform(0.0, 1.0))
    sample("y", dist.Bernoulli(probs=p), obs=y)


@case("p", COUNT, GROUP)
def beta_binomial_groups(y, g):
    mean = sample("mean", dist.Uniform(0.1, 0.9))
    size = sample("size", dist.LogNormal(1.0, 0.5))
    with plate("g", G):
        p = sample("p", dist.BetaProportion(mean, size))
    with plate("rows", N):
        sample("y", dist.Binomial(10, p[g]), obs=y)


@case("p", COUNT)
def beta_geometric(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Geometric(p), obs=y)


@case("p", COUNT)
def beta_negative_binomial(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.NegativeBinomialProbs(3.5, p), obs=y)


LOGITS = {
    "logit": logit,
    "log_odds": lambda p: jnp.log(p / (1 - p)),
    "difference": lambda p: jnp.log(p) - jnp.log1p(-p),
    "plain_difference": lambda p: jnp.log(p) - jnp.log(1 - p),
}
WITH_LOGITS = {
    "bernoulli": (lambda x: dist.Bernoulli(logits=x), BINARY),
    "binomial": (lambda x: dist.Binomial(10, logits=x), COUNT),
    "geometric": (lambda x: dist.Geometric(logits=x), COUNT),
    "negative_binomial": (lambda x: dist.NegativeBinomialLogits(3.5, x), COUNT),
}


def _logits(y, spelt, likelihood):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", likelihood(spelt(p)), obs=y)


for _name, _spelt in LOGITS.items():
    case("p", BINARY, name=f"beta_bernoulli_{_name}")(
        partial(_logits, spelt=_spelt, likelihood=WITH_LOGITS["bernoulli"][0]))
for _name, (_likelihood, _data) in WITH_LOGITS.items():
    if _name != "bernoulli":
        case("p", _data, name=f"beta_{_name}_logit")(
            partial(_logits, spelt=logit, likelihood=_likelihood))


@case("p", BINARY)
def beta_complement(y):
    p = sample("p", dist.Beta(2.0, 3.0))
    sample("y", dist.Bernoulli(1 - p), obs=y)
    sample("w", dist.Bernoulli(p), obs=1 - y)


@case("p", np.where(SEEN, BINARY, -1), SEEN)
def beta_masked(y, seen):
    p = sample("p", dist.Beta(2.0, 3.0))
    with plate("rows", N), handlers.mask(mask=seen):
        sample("y", dist.Bernoulli(p), obs=y)


# -- Dirichlet -------------------------------------------------------------------------------------


@case("phi", OUTCOME)
def dirichlet_categorical(y):
    phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    sample("y", dist.Categorical(phi), obs=y)


@case("phi", OUTCOME, GROUP)
def dirichlet_rows(y, g):
    size = sample("size", dist.LogNormal(0.0, 0.5))
    with plate("g", G):
        phi = sample("phi", dist.Dirichlet(size * jnp.array([1.0, 2.0, 0.5])))
    with plate("rows", N):
        sample("y", dist.Categorical(phi[g]), obs=y)


@case("start step", OUTCOME)
def dirichlet_transitions(y):
    start = sample("start", dist.Dirichlet(jnp.ones(3)))
    step = sample("step", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
    sample("first", dist.Categorical(start), obs=y[0])
    sample("next", dist.Categorical(step[y[:-1]]), obs=y[1:])


@case("phi", np.array([[1, 4, 2], [0, 3, 4]]))
def dirichlet_multinomial(y):
    phi = sample("phi", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    with plate("rows", 2):
        sample("y", dist.Multinomial(7, phi), obs=y)


# -- composition -----------------------------------------------------------------------------------


@case("b s2", Y, X)
def compose_inverse_gamma(y, x):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    b = sample("b", dist.Normal(0.0, jnp.sqrt(s2 * 4.0)).expand([P]).to_event(1))
    sample("y", dist.Normal(x @ b, jnp.sqrt(s2)), obs=y)


@case("b s2", Y, X)
def compose_inverse_gamma_kept_ratio(y, x):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    v = sample("v", dist.LogNormal(0.0, 0.5))
    b = sample("b", dist.Normal(jnp.zeros(P), jnp.sqrt(s2 * v)))
    sample("y", dist.Normal(x @ b, jnp.sqrt(s2)), obs=y)


@case("b tau", Y, X)
def compose_gamma(y, x):
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    b = sample("b", dist.Normal(jnp.ones(P), 1 / jnp.sqrt(tau * 0.5)))
    sample("y", dist.Normal(x @ b, tau**-0.5), obs=y)


@case("b tau", Y, X)
def compose_flat(y, x):
    tau = sample("tau", dist.Gamma(3.0, 2.0))
    b = sample("b", _flat((P,)))
    sample("y", dist.Normal(x @ b, 1 / jnp.sqrt(tau)), obs=y)


@case("mu a s2", Y, GROUP)
def compose_groups(y, g):
    s2 = sample("s2", dist.InverseGamma(3.0, 2.0))
    ratio = sample("ratio", dist.HalfNormal(1.0))
    mu = sample("mu", dist.Normal(0.0, 10 * jnp.sqrt(s2)))
    with plate("g", G):
        a = sample("a", dist.Normal(mu, ratio * jnp.sqrt(s2)))
    sample("y", dist.Normal(a[g], jnp.sqrt(s2)), obs=y)


@case("rate a p", COUNT, Y, BINARY)
def compose_nothing_shared(count, y, binary):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    a = sample("a", dist.Normal(0.0, 1.0))
    p = sample("p", dist.Beta(1.0, 1.0))
    sample("count", dist.Poisson(rate), obs=count)
    sample("y", dist.Normal(a, 1.0), obs=y)
    sample("binary", dist.Bernoulli(p), obs=binary)


# -- nothing observed depends on it ----------------------------------------------------------------


@case("b new", Y, X)
def childless_prediction(y, x):
    b = sample("b", dist.Normal(jnp.zeros(P), 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(x @ b, s), obs=y)
    sample("new", dist.Normal(x[:3] @ b, s))


@case("rate new later", COUNT)
def childless_counts(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    sample("y", dist.Poisson(rate), obs=y)
    new = sample("new", dist.Poisson(rate))
    sample("later", dist.Normal(new, 1.0))


@case("a tau z", Y)
def childless_anything(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0), obs=y)
    tau = sample("tau", dist.HalfCauchy(1.0))
    sample("z", dist.StudentT(4.0, 0.0, tau))


@case("a b")
def childless_no_data():
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("b", dist.Normal(a, 1.0).expand([3]))
