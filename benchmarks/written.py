"""The models of the benchmarks as an expert would marginalise them by hand, in NumPyro.

*On statistics* they take sums over rows once, before sampling; *on rows* in every gradient. What is kept has the
names and priors of the model, so that densities are equal. Quadratics are differences of sums, as one writes them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.ops import segment_sum
from jax.scipy.special import betaln, gammaln
from numpyro.contrib.control_flow import scan


def normal(quadratic: Any, logdet: Any, size: int) -> None:
    numpyro.factor("marginal", -0.5 * (quadratic + logdet + size * jnp.log(2 * jnp.pi)))


# -- eight schools: nothing to add up -----------------------------------------------------------------


def schools(y: Any, sigma: Any) -> None:
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    w = 1 / (sigma**2 + tau**2)
    total, mean = jnp.sum(w), jnp.sum(w * y)
    normal(jnp.sum(w * y**2) - mean**2 / (total + 1 / 25), jnp.log(1 + 25 * total) - jnp.sum(jnp.log(w)), 8)


# -- effects of one grouping: intercepts (radon), intercepts and slopes --------------------------------


def radon(group: Any, x: Any, y: Any, groups: int) -> None:
    mean, slope = (numpyro.sample(n, dist.Normal(0, 10)) for n in ("mean", "slope"))
    tau, sigma = (numpyro.sample(n, dist.HalfNormal(1)) for n in ("tau", "sigma"))
    with numpyro.plate("groups", groups):
        a = numpyro.sample("a", dist.Normal(mean, tau))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(a[group] + slope * x, sigma), obs=y)


def radon_sums(group: Any, x: Any, y: Any, groups: int) -> tuple[Any, ...]:
    """Of each group: rows, sums of x and y; of all: squares and products."""
    n, sx, sy = (segment_sum(v, group, groups) for v in (jnp.ones_like(y), x, y))
    return n, sx, sy, x @ x, x @ y, y @ y


def radon_statistics(n: Any, sx: Any, sy: Any, xx: Any, xy: Any, yy: Any, rows: int) -> None:
    tau, sigma = (numpyro.sample(k, dist.HalfNormal(1)) for k in ("tau", "sigma"))
    w = 1 / sigma**2
    shrink = tau**2 * w**2 / (1 + n * tau**2 * w)  # V^-1 = w I - shrink 11'
    a, b, c = (jnp.sum(w * n - shrink * n * n), jnp.sum(w * sx - shrink * n * sx),
               w * xx - jnp.sum(shrink * sx * sx))
    u, v = jnp.sum(w * sy - shrink * n * sy), w * xy - jnp.sum(shrink * sx * sy)
    a, c = a + 0.01, c + 0.01
    det = a * c - b * b
    squares = w * yy - jnp.sum(shrink * sy * sy) - (c * u * u - 2 * b * u * v + a * v * v) / det
    logdet = jnp.sum(jnp.log1p(n * tau**2 * w)) - rows * jnp.log(w) + jnp.log(det) + 2 * jnp.log(100.0)
    normal(squares, logdet, rows)


def radon_rows(group: Any, x: Any, y: Any, groups: int) -> None:
    radon_statistics(*radon_sums(group, x, y, groups), len(y))


def slopes_sums(group: Any, x: Any, y: Any, groups: int) -> tuple[Any, ...]:
    parts = [segment_sum(v, group, groups) for v in (jnp.ones_like(y), x, x * x, y, x * y)]
    return (*parts, y @ y)


def slopes_statistics(n: Any, sx: Any, sxx: Any, sy: Any, sxy: Any, yy: Any, rows: int) -> None:
    sa, sb, s = (numpyro.sample(k, dist.HalfCauchy(1.0)) for k in ("s_a", "s_b", "s"))
    w, ta, tb = 1 / s**2, sa**2, sb**2
    # M = I + w T G for T = diag(ta, tb), G = [[n, sx], [sx, sxx]]
    a, b, c, d = 1 + w * ta * n, w * ta * sx, w * tb * sx, 1 + w * tb * sxx
    det = a * d - b * c
    # H = w G M^-1 and h = w M'^-1 r: precision and linear part of the population means
    h11 = jnp.sum(w * (n * d - sx * c) / det)
    h12 = jnp.sum(w * (sx * a - n * b) / det)
    h22 = jnp.sum(w * (sxx * a - sx * b) / det)
    l1, l2 = w * (d * sy - c * sxy) / det, w * (a * sxy - b * sy) / det
    squares = w * yy - jnp.sum(w * (ta * sy * l1 + tb * sxy * l2))
    p, r, u, v = h11 + 1 / 25, h22 + 1.0, jnp.sum(l1), jnp.sum(l2)
    whole = p * r - h12 * h12
    squares = squares - (r * u * u - 2 * h12 * u * v + p * v * v) / whole
    logdet = jnp.sum(jnp.log(det)) - rows * jnp.log(w) + jnp.log(whole) + jnp.log(25.0)
    normal(squares, logdet, rows)


def slopes_rows(group: Any, x: Any, y: Any, groups: int) -> None:
    slopes_statistics(*slopes_sums(group, x, y, groups), len(y))


# -- correlated effects of two groupings that cross: one dense matrix ----------------------------------


def dutch_sums(subject: Any, item: Any, x: Any, y: Any, subjects: int, items: int) -> tuple[Any, ...]:
    """Gram matrix of the design (alpha, beta, u, w), its products with y, and the square of y."""
    both = jnp.stack([jnp.ones_like(x), x], 1)
    u = (jax.nn.one_hot(subject, subjects, dtype=y.dtype)[:, :, None] * both[:, None]).reshape(len(y), -1)
    w = (jax.nn.one_hot(item, items, dtype=y.dtype)[:, :, None] * both[:, None]).reshape(len(y), -1)
    z = jnp.concatenate([both, u, w], 1)
    return z.T @ z, z.T @ y, y @ y


def dutch_statistics(gram: Any, product: Any, yy: Any, rows: int, subjects: int, items: int, spread: float = 1.0) -> None:
    sigma = numpyro.sample("sigma", dist.HalfNormal(5))
    roots = []
    for k in "uw":
        tau = numpyro.sample(f"tau_{k}", dist.HalfNormal(spread), sample_shape=(2,))
        roots.append(tau[:, None] * numpyro.sample(f"L_{k}", dist.LKJCholesky(2, 2.0)))
    scale = jax.scipy.linalg.block_diag(jnp.diag(jnp.array([10.0, 5.0])), jnp.kron(jnp.eye(subjects), roots[0]),
                                        jnp.kron(jnp.eye(items), roots[1]))
    m = jnp.eye(len(gram)) + scale.T @ gram @ scale / sigma**2
    low = jnp.linalg.cholesky(m)
    half = jax.scipy.linalg.solve_triangular(low, scale.T @ product, lower=True) / sigma**2
    normal(yy / sigma**2 - half @ half, 2 * jnp.sum(jnp.log(jnp.diag(low))) + 2 * rows * jnp.log(sigma), rows)


def dutch_rows(subject: Any, item: Any, x: Any, y: Any, subjects: int, items: int) -> None:
    dutch_statistics(*dutch_sums(subject, item, x, y, subjects, items), len(y), subjects, items)


def gibsonwu_statistics(gram: Any, product: Any, yy: Any, rows: int, subjects: int, items: int, total: float) -> None:
    """The same of logarithms, which add up to `total`."""
    dutch_statistics(gram, product, yy, rows, subjects, items, 5.0)
    numpyro.factor("jacobian", -total)


def gibsonwu_rows(subject: Any, item: Any, x: Any, y: Any, subjects: int, items: int) -> None:
    sums = dutch_sums(subject, item, x, jnp.log(y), subjects, items)
    gibsonwu_statistics(*sums, len(y), subjects, items, jnp.sum(jnp.log(y)))


# -- correlated effects of one grouping (pupil) ----------------------------------------------------------


def pupil_sums(subject: Any, x: Any, y: Any, subjects: int) -> tuple[Any, ...]:
    """Of each subject, about the prior mean of the level."""
    return slopes_sums(subject, x, y - 1000.0, subjects)


def pupil_statistics(n: Any, sx: Any, sxx: Any, sy: Any, sxy: Any, yy: Any, rows: int) -> None:
    corr = numpyro.sample("L_u", dist.LKJCholesky(2))
    tau = numpyro.sample("tau_u", dist.HalfNormal(1000), sample_shape=(2,))
    w = 1 / numpyro.sample("sigma", dist.HalfNormal(1000)) ** 2
    p, q, r = tau[0], tau[1] * corr[1, 0], tau[1] * corr[1, 1]  # T = [[p, 0], [q, r]]
    # M = I + w T'GT of each subject; G = [[n, sx], [sx, sxx]], T'G = [[g, h], [k, l]]
    g, h, k, m = p * n + q * sx, p * sx + q * sxx, r * sx, r * sxx
    a, b, d = 1 + w * (g * p + h * q), w * h * r, 1 + w * m * r
    u, v = w * (p * sy + q * sxy), w * r * sxy
    det = a * d - b * b
    # H = w G - w^2 GT M^-1 T'G and h likewise: what is left for the population means
    h11 = jnp.sum(w * n - w * w * (d * g * g - 2 * b * g * k + a * k * k) / det)
    h12 = jnp.sum(w * sx - w * w * (d * g * h - b * (g * m + h * k) + a * k * m) / det)
    h22 = jnp.sum(w * sxx - w * w * (d * h * h - 2 * b * h * m + a * m * m) / det)
    l1 = jnp.sum(w * sy - w * (d * g * u - b * (g * v + k * u) + a * k * v) / det)
    l2 = jnp.sum(w * sxy - w * (d * h * u - b * (h * v + m * u) + a * m * v) / det)
    squares = w * yy - jnp.sum((d * u * u - 2 * b * u * v + a * v * v) / det)
    c, e = h11 + 1 / 500**2, h22 + 1 / 100**2
    whole = c * e - h12 * h12
    squares = squares - (e * l1 * l1 - 2 * h12 * l1 * l2 + c * l2 * l2) / whole
    logdet = jnp.sum(jnp.log(det)) - rows * jnp.log(w) + jnp.log(whole) + 2 * jnp.log(500.0 * 100.0)
    normal(squares, logdet, rows)


def pupil_rows(subject: Any, x: Any, y: Any, subjects: int) -> None:
    pupil_statistics(*pupil_sums(subject, x, y, subjects), len(y))


# -- regression, counts, mixtures ------------------------------------------------------------------------


def kidiq_sums(x: Any, y: Any) -> tuple[Any, ...]:
    """What is left of the squares, and the volume of the design."""
    beta = jnp.linalg.solve(x.T @ x, x.T @ y)
    return jnp.sum((y - x @ beta) ** 2), jnp.linalg.slogdet(x.T @ x)[1]


def kidiq_statistics(squares: Any, logdet: Any, rows: int, columns: int) -> None:
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    normal(squares / sigma**2, logdet + 2 * (rows - columns) * jnp.log(sigma), rows - columns)


def kidiq_rows(x: Any, y: Any) -> None:
    kidiq_statistics(*kidiq_sums(x, y), *x.shape)


def pooling_rows(y: Any, n: Any, many: Any = 1.0) -> None:
    m, kappa = numpyro.sample("m", dist.Uniform(0, 1)), numpyro.sample("kappa", dist.Pareto(1, 1.5))
    a, b = m * kappa, (1 - m) * kappa
    choose = gammaln(n + 1.0) - gammaln(y + 1.0) - gammaln(n - y + 1.0)
    numpyro.factor("marginal", jnp.sum(many * (choose + betaln(a + y, b + n - y) - betaln(a, b))))


def pooling_sums(y: Any, n: Any) -> tuple[Any, ...]:
    """Units that are alike, once."""
    (y, n), many = np.unique(np.stack([y, n]), axis=1, return_counts=True)
    return y, n, many


def pumps_rows(x: Any, t: Any) -> None:
    a, b = numpyro.sample("alpha", dist.Exponential(1.0)), numpyro.sample("beta", dist.Gamma(0.1, 1.0))
    each = gammaln(a + x) - gammaln(a) + a * jnp.log(b) - (a + x) * jnp.log(b + t) + x * jnp.log(t) - gammaln(x + 1.0)
    numpyro.factor("marginal", jnp.sum(each))


def galaxies_rows(y: Any, clusters: int = 6) -> None:
    weight = numpyro.sample("weight", dist.Dirichlet(jnp.ones(clusters)))
    mean = numpyro.sample("mean", dist.Normal(20.0, 10.0).expand([clusters]).to_event(1))
    scale = numpyro.sample("scale", dist.Gamma(2.0, 1.0).expand([clusters]).to_event(1))
    each = jnp.log(weight) + dist.Normal(mean, scale).log_prob(y[:, None])
    numpyro.factor("marginal", jnp.sum(jax.nn.logsumexp(each, -1)))


def basketball_rows(y: Any) -> None:
    steps = numpyro.sample("steps", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
    mean = numpyro.sample("mean", dist.TransformedDistribution(
        dist.Normal(jnp.array([1.0, 1.0]), 1.0).to_event(1), dist.transforms.OrderedTransform()))
    moves, seen = jnp.log(steps), dist.Normal(mean, 1.0).log_prob(y[:, None])

    def step(front: Any, now: Any) -> Any:
        return jax.nn.logsumexp(front[:, None] + moves, 0) + now, None

    numpyro.factor("marginal", jax.nn.logsumexp(jax.lax.scan(step, moves[0] + seen[0], seen[1:])[0]))


# -- series and fields -------------------------------------------------------------------------------------


def level(y: Any) -> None:
    """A level that drifts, seen with noise."""
    noise, drift = (numpyro.sample(n, dist.HalfNormal(200.0)) for n in ("noise", "drift"))
    first = numpyro.sample("first", dist.Normal(1000.0, 1000.0))
    numpyro.sample("y_first", dist.Normal(first, noise), obs=y[0])

    def step(before: Any, seen: Any) -> Any:
        now = numpyro.sample("level", dist.Normal(before, drift))
        numpyro.sample("y", dist.Normal(now, noise), obs=seen)
        return now, None

    scan(step, first, y[1:])


def level_noncentred(y: Any) -> None:
    noise, drift = (numpyro.sample(n, dist.HalfNormal(200.0)) for n in ("noise", "drift"))
    first = numpyro.sample("first", dist.Normal(1000.0, 1000.0))
    shocks = numpyro.sample("shocks", dist.Normal(0, 1).expand([len(y) - 1]).to_event(1))
    later = numpyro.deterministic("level", first + drift * jnp.cumsum(shocks))
    numpyro.sample("y", dist.Normal(jnp.append(first, later), noise), obs=y)


def level_rows(y: Any) -> None:
    noise, drift = (numpyro.sample(n, dist.HalfNormal(200.0)) for n in ("noise", "drift"))

    def step(carry: Any, seen: Any) -> Any:
        mean, variance = carry
        whole, gap = variance + noise**2, seen - mean
        return (mean + variance / whole * gap, variance * noise**2 / whole + drift**2), (whole, gap)

    _, (whole, gap) = jax.lax.scan(step, (1000.0, 1000.0**2), y)
    normal(jnp.sum(gap**2 / whole), jnp.sum(jnp.log(whole)), len(y))


def field(x: Any, y: Any) -> None:
    """A Gaussian process on a line, seen with noise."""
    k, sigma = _kernel(x)
    f = numpyro.sample("f", dist.MultivariateNormal(jnp.zeros(len(x)), k))
    numpyro.sample("y", dist.Normal(f, sigma), obs=y)


def field_noncentred(x: Any, y: Any) -> None:
    k, sigma = _kernel(x)
    z = numpyro.sample("z", dist.Normal(0, 1).expand([len(x)]).to_event(1))
    f = numpyro.deterministic("f", jnp.linalg.cholesky(k) @ z)
    numpyro.sample("y", dist.Normal(f, sigma), obs=y)


def field_rows(x: Any, y: Any) -> None:
    k, sigma = _kernel(x)
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), k + sigma**2 * jnp.eye(len(x))), obs=y)


def _kernel(x: Any) -> tuple[Any, Any]:
    length = numpyro.sample("length", dist.LogNormal(0.0, 1.0))
    size, sigma = (numpyro.sample(n, dist.HalfNormal(1.0)) for n in ("size", "sigma"))
    gap = (x[:, None] - x) / length
    return size**2 * jnp.exp(-0.5 * gap**2) + 1e-3 * jnp.eye(len(x)), sigma
