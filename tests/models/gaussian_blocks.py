"""Gaussian latents: multivariate priors, and models whose structure decides how they are solved."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample
from numpyro.distributions import constraints, transforms

from models.table import GROUP, MATRIX, POSITIVE, RNG, ROOT, YG, G, N, P, T, X, Y, case, flat

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


@case("b", YG[:2])
def gaussian_factor_linear_in_elements_without_data(y):
    b = sample("b", dist.Normal(jnp.arange(4.0), 2.0))
    sample("y", dist.Normal(b[:2], 1.0), obs=y)
    numpyro.factor("tilt", -0.3 * jnp.sum(b))


@case("b", YG[:2])
def mvn_factor_linear_in_directions_without_data(y):
    s = sample("s", dist.HalfNormal(1.0))
    root = s * jnp.array([[1.0, 0.0], [0.5, 0.7]])
    b = sample("b", dist.MultivariateNormal(jnp.zeros(2), scale_tril=root), sample_shape=(3,))
    sample("y", dist.Normal(b[:2, 0] + b[:2, 1] * jnp.array([2.0, 3.0]), 1.0), obs=y)
    numpyro.factor("tilt", -0.3 * jnp.sum(b))


@case("f", Y, T, relation="gaussian-field")
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


@case("b", Y, X)
def gaussian_flat(y, x):
    b = sample("b", flat((P,)))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(x @ b, s), obs=y)


@case("b a", Y, X, GROUP)
def gaussian_flat_and_groups(y, x, g):
    b = sample("b", dist.ImproperUniform(constraints.real_vector, (), (P,)))
    tau, s = sample("tau", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        a = sample("a", dist.Normal(0.0, tau))
    sample("y", dist.Normal(x @ b + a[g], s), obs=y)


@case("u", Y, GROUP % 3)
def gaussian_flat_whatever_a_loading_is(y, g):
    """What is seen through the kept loading need not determine them."""
    s, loading = sample("s", dist.HalfNormal(1.0)), sample("loading", dist.Cauchy(0.0, 1.0))
    u = sample("u", flat((3,)))
    sample("y", dist.Normal(u[g], s), obs=y)
    sample("again", dist.Normal(2.0 + loading * u[g], s), obs=y)


@case("mu theta", YG)
def gaussian_flat_parent(y):
    mu = sample("mu", flat(()))
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("g", G):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 1.0), obs=y)


# -- Gaussian: groups of every size and scale --------------------------------------------------------


SCHOOL = np.concatenate([np.repeat(np.arange(9), 2), np.full(14, 9)])  # one school has most teachers


@case("school teacher", RNG.normal(size=3 * len(SCHOOL)), np.repeat(np.arange(len(SCHOOL)), 3))
def gaussian_blocks_of_different_widths(y, teacher_of):
    between, within = sample("between", dist.HalfNormal(1.0)), sample("within", dist.HalfNormal(1.0))
    school = sample("school", dist.Normal(0.0, between).expand([10]).to_event(1))
    teacher = sample("teacher", dist.Normal(school[SCHOOL], within))
    sample("y", dist.Normal(teacher[teacher_of], 0.7), obs=y)


@case("mu a", RNG.normal(size=24), np.repeat(np.arange(8), 3))
def gaussian_kept_scale_of_every_group(y, g):
    mu = sample("mu", dist.Normal(0.0, 3.0))
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("g", 8):
        a = sample("a", dist.Normal(mu, tau))
        s = sample("s", dist.LogNormal(0.0, 0.3))
    sample("y", dist.Normal(a[g], s[g]), obs=y)


@case("mu a", RNG.normal(size=70), np.arange(70))
def gaussian_more_kept_scales_than_are_added_singly(y, g):
    mu = sample("mu", dist.Normal(0.0, 3.0))
    with plate("g", 70):
        s = sample("s", dist.LogNormal(0.0, 0.3))
        a = sample("a", dist.Normal(mu, 0.5))
    sample("y", dist.Normal(a[g], s[g]), obs=y)


@case("tau s a", np.zeros(0), np.zeros(0, int))
def gaussian_no_rows(y, g):
    tau, s = sample("tau", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    with plate("g", G):
        a = sample("a", dist.Normal(0.0, tau))
    sample("y", dist.Normal(a[g], s), obs=y)


@case("a", np.zeros(0), Y)
def gaussian_greatest_of_no_rows(none, y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a + jnp.max(none, initial=-1.0), 1.0), obs=y)


@case("b mu", Y, np.zeros((N, 0)))
def gaussian_no_columns(y, x):
    s = sample("s", dist.HalfNormal(1.0))
    mu = sample("mu", dist.Normal(0.0, 1.0))
    b = sample("b", dist.Normal(0.0, 1.0).expand([0]).to_event(1))
    sample("y", dist.Normal(mu + x @ b, s), obs=y)


# -- groupings that cross out of balance: each group meets few elements of a large rest -------------

PERSON = np.repeat(np.arange(30), 2)
QUESTION = PERSON % 2 * 10 + (PERSON // 2 + 3 * (np.arange(60) % 2)) % 10  # two halves that never meet


@case("person question", RNG.normal(size=60), PERSON, QUESTION)
def gaussian_crossed_sparsely_in_two_blocks(y, person, question):
    mean = sample("mean", dist.StudentT(4.0, jnp.zeros(2), 1.0).to_event(1))
    scale = sample("scale", dist.HalfNormal(jnp.ones(3)).to_event(1))
    with plate("persons", 30):
        person_effect = sample("person", dist.Normal(mean[np.arange(30) % 2], scale[0]))
    with plate("questions", 20):
        question_effect = sample("question", dist.Normal(0.3, scale[1]))
    sample("y", dist.Normal(person_effect[person] + question_effect[question], scale[2]), obs=y)
