"""Microseconds a gradient: the collapsed model against one marginalised by hand.

Every model twice by hand, as an expert would write it: *on statistics* takes sums over rows once, before
sampling; *on rows* takes them in every gradient. Both have the density of the collapsed model (checked). A
gradient of the potential energy, in one compiled loop each; the four take turns, and the fastest of some rounds
counts.

    python benchmarks/hand.py [eight_schools radon random_slopes dutch] [--rounds 20]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.ops import segment_sum
from numpyro.infer.util import initialize_model

import conjugate_ppl as cj

sys.path.insert(0, str(Path(__file__).parent))
from gradient import looped, seconds
from main_job import example


@dataclasses.dataclass(frozen=True)
class Case:
    """A model as its user writes it, by hand on statistics and on rows, and the arguments of each."""

    model: Callable[..., Any]
    statistics: Callable[..., Any]
    rows: Callable[..., Any]
    args: tuple[Any, ...]
    summed: tuple[Any, ...]


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


def dutch_statistics(gram: Any, product: Any, yy: Any, rows: int, subjects: int, items: int) -> None:
    sigma = numpyro.sample("sigma", dist.HalfNormal(5))
    roots = []
    for k in "uw":
        tau = numpyro.sample(f"tau_{k}", dist.HalfNormal(1), sample_shape=(2,))
        roots.append(tau[:, None] * numpyro.sample(f"L_{k}", dist.LKJCholesky(2, 2.0)))
    scale = jax.scipy.linalg.block_diag(jnp.diag(jnp.array([10.0, 5.0])), jnp.kron(jnp.eye(subjects), roots[0]),
                                        jnp.kron(jnp.eye(items), roots[1]))
    m = jnp.eye(len(gram)) + scale.T @ gram @ scale / sigma**2
    low = jnp.linalg.cholesky(m)
    half = jax.scipy.linalg.solve_triangular(low, scale.T @ product, lower=True) / sigma**2
    normal(yy / sigma**2 - half @ half, 2 * jnp.sum(jnp.log(jnp.diag(low))) + 2 * rows * jnp.log(sigma), rows)


def dutch_rows(subject: Any, item: Any, x: Any, y: Any, subjects: int, items: int) -> None:
    dutch_statistics(*dutch_sums(subject, item, x, y, subjects, items), len(y), subjects, items)


# -- cases -----------------------------------------------------------------------------------------------


def eight_schools_case() -> Case:
    example_of = example("eight_schools")
    args = tuple(example_of.data()[k] for k in ("y", "sigma"))
    return Case(example_of.centred, schools, schools, args, args)


def radon_case() -> Case:
    rng = np.random.default_rng(0)  # as many rows and groups as the radon data of Minnesota have
    group = np.sort(np.concatenate([np.arange(85), rng.choice(85, 834, p=rng.dirichlet(np.ones(85)))]))
    x = rng.integers(0, 2, 919).astype(float)
    y = 1.4 - 0.6 * x + 0.15 * rng.normal(size=85)[group] + 0.7 * rng.normal(size=919)
    return Case(radon, radon_statistics, radon_rows, (group, x, y, 85), (*radon_sums(group, x, y, 85), 919))


def slopes_case() -> Case:
    example_of = example("random_slopes")
    d = example_of.data()
    args = (d["patient"], d["year"], d["y"], d["num_patients"])
    return Case(example_of.model, slopes_statistics, slopes_rows, args, (*slopes_sums(*args), len(d["y"])))


def dutch_case() -> Case:
    example_of = example("crossed_effects")
    d = example_of.data("dutch")
    args = tuple(d[k] for k in ("subject", "item", "x", "y", "num_subjects", "num_items"))
    return Case(example_of.dutch, dutch_statistics, dutch_rows, args,
                (*dutch_sums(*args), len(d["y"]), *args[4:]))


CASES = {"eight_schools": eight_schools_case, "radon": radon_case, "random_slopes": slopes_case,
         "dutch": dutch_case}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print("| model | plain, us | by hand on rows | by hand on statistics | collapsed | collapsed / statistics |")
    print("|---|---|---|---|---|---|")
    for name in options.names or CASES:
        case = CASES[name]()
        of = {"plain": (case.model, case.args), "rows": (case.rows, case.args),
              "statistics": (case.statistics, case.summed), "collapsed": (cj.collapse(case.model), case.args)}
        if case.rows is case.statistics:
            del of["rows"]
        loops, energies = {}, {}
        start = initialize_model(jax.random.key(0), case.statistics, model_args=case.summed).param_info.z
        for kind, (model, args) in of.items():
            info = initialize_model(jax.random.key(0), model, model_args=args)
            z = info.param_info.z if kind == "plain" else start
            energies[kind] = float(info.potential_fn(z))
            loops[kind] = looped(info.potential_fn, z, 300)
        assert np.isclose(energies["collapsed"], energies["statistics"], rtol=1e-9), energies
        us = {k: 1e6 * t for k, t in seconds(loops, options.rounds).items()}
        row = " | ".join(f"{us[k]:.1f}" if k in us else "" for k in ("plain", "rows", "statistics", "collapsed"))
        print(f"| {name} | {row} | {us['collapsed'] / us['statistics']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
