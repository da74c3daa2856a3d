"""Gaussian latents: how sites are written, shapes of observations, look-ups and linear maps."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import GROUP, OTHER, RNG, ROOT, SEEN, SMALL, YG, G, H, N, P, T, X, Y, case

# -- Gaussian: how sites are written ---------------------------------------------------------------


@case("e", Y)
def autoregression_of_noise(y):
    """A recursion written out: powers of a kept coefficient times what is sampled."""
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    e = sample("e", dist.Normal(0.0, 1.0).expand([N]))
    x = [e[0]]
    for t in range(1, N):
        x.append(phi * x[-1] + e[t])
    sample("y", dist.Normal(jnp.stack(x), 0.5), obs=y)


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


@case("b", Y, X, relation="regression")
def gaussian_to_event(y, x):
    b = sample("b", dist.Normal(jnp.zeros(P), 2.0).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(x @ b, s).to_event(1), obs=y)


@case("b", Y, X, relation="regression")
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


@case("mu mix new rank zeros", Y)
def gaussian_below_predictions(y):
    """Of distributions that are not registered, but NumPyro's: their mass is one, wherever they are."""
    mu, s = sample("mu", dist.Normal(0.0, 3.0)), sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(mu, s), obs=y)
    sample("new", dist.TruncatedNormal(mu, s, low=0.0))
    sample("rank", dist.OrderedLogistic(mu, jnp.array([0.0, 1.0])))
    sample("zeros", dist.ZeroInflatedPoisson(0.3, jnp.exp(0.1 * mu)))
    sample("mix", dist.MixtureGeneral(dist.Categorical(jnp.ones(2) / 2), [dist.Normal(mu, s), dist.Cauchy(0.0, 1.0)]))


@case("step", Y)
def gaussian_cumsum(y):
    q = sample("q", dist.HalfNormal(1.0))
    with plate("time", N):
        step = sample("step", dist.Normal(0.0, q))
    sample("y", dist.Normal(jnp.cumsum(step), 0.5), obs=y)


@case("b u", Y, T, np.stack([T**k for k in range(3)], 1))
def gaussian_loops_over_coefficients(y, t, x):
    """Few steps, which carry a number for each row: no chain of all of them."""
    s = sample("s", dist.HalfNormal(1.0))
    local = sample("local", dist.HalfNormal(jnp.ones(3)))
    b = sample("b", dist.Normal(0.0, 2.0).expand([4]))
    u = sample("u", dist.Normal(0.0, 1.0).expand([3]))
    wide = jax.lax.fori_loop(0, 3, lambda k, sum: sum + jnp.asarray(x)[:, k] * local[k] * u[k], jnp.zeros(N))
    sample("y", dist.Normal(jnp.polyval(b, t) + wide, s), obs=y)


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


@case("b u", Y, RNG.normal(size=(H, H)))
def gaussian_through_solves_with_pivots(y, neighbours):
    """Factors whose rows are exchanged, by what is kept."""
    rho = sample("rho", dist.Uniform(-0.9, 0.9))
    b = sample("b", dist.Normal(jnp.zeros(H), 1.0))
    u = sample("u", dist.Normal(0.0, 1.0))
    lagged = rho * jnp.eye(H) + jnp.asarray(neighbours)
    each = jax.vmap(jnp.linalg.solve, (0, None))(jnp.stack([lagged, lagged.T]), b)
    sample("y", dist.Normal(jnp.tile(jnp.linalg.solve(lagged, each[0] + u), H), 0.5), obs=y)
    sample("z", dist.Normal(each[1], 0.5), obs=y[:H])


@case("a b", Y, X, GROUP)
def squares_of_factor_statements(y, x, g):
    s = sample("s", dist.HalfNormal(1.0))
    a = sample("a", dist.Normal(0.0, 1.0).expand([G]))
    b = sample("b", dist.Normal(0.0, 2.0))
    numpyro.factor("seen", jnp.where(SEEN, dist.Normal(a[g] + b * x[:, 0], s).log_prob(y), 0.0))
    numpyro.factor("near", -0.1 * b**2 - jnp.sum((a - 2 * b) ** 2))


@case("e mean", Y)
def mean_beside_a_product(y):
    share = sample("share", dist.Normal(0.0, 0.5))
    e = sample("e", dist.Normal(0.0, 1.0).expand([N + 1]))
    mean = sample("mean", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(mean + e[1:] + share * e[:-1], 0.5), obs=y)
