"""What a gradient costs where rows do not add up ahead, or groups are many: variances of their own, designs that depend on what is
kept, groups with many effects each, in groups, and across others.

    python benchmarks/designs.py [names]

Prints microseconds a value with its gradient of the log density, as the model is written and collapsed, float32, in one
compiled loop each, and seconds of the analysis.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from gradient import microseconds
from numpyro import sample

import conjugate_ppl as cj

RNG = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Design:
    """A model, its arguments, and in words what is integrated out."""

    model: Callable[..., None]
    args: tuple[Any, ...]
    rows: int


def _normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def _coefficients(name: str, number: int, scale: Any = 1.0) -> Any:
    return sample(name, dist.Normal(0.0, scale).expand([number]).to_event(1))


def variances(rows: int, columns: int) -> Design:
    """A mean and a logarithm of the standard deviation, both linear in the same covariates."""
    x = _normal(rows, columns)

    def model(x: Any, y: Any) -> None:
        b, c = _coefficients("b", columns, 2.0), _coefficients("c", columns, 0.3)
        sample("y", dist.Normal(x @ b, jnp.exp(x @ c)).to_event(1), obs=y)

    return Design(model, (x, x.sum(1) + _normal(rows)), rows)


def slopes(rows: int, groups: int, columns: int, together: bool) -> Design:
    """Several effects of each group, correlated or not."""
    x, group = _normal(rows, columns), RNG.integers(groups, size=rows)

    def model(group: Any, x: Any, y: Any) -> None:
        mean = _coefficients("mean", columns, 5.0)
        scale = sample("scale", dist.HalfNormal(1.0).expand([columns]).to_event(1))
        root = sample("root", dist.LKJCholesky(columns, 1.0)) if together else None
        prior = dist.Normal(mean, scale).to_event(1) if root is None else dist.MultivariateNormal(
            mean, scale_tril=scale[:, None] * root)
        with numpyro.plate("groups", groups):
            b = sample("b", prior)
        sample("y", dist.Normal((x * b[group]).sum(-1), sample("s", dist.HalfNormal(1.0))).to_event(1), obs=y)

    return Design(model, (group, x, (x * _normal(groups, columns)[group]).sum(1) + _normal(rows)), rows)


def basis(rows: int, columns: int) -> Design:
    """A curve of bumps whose centres and width are sampled."""
    x = np.linspace(-3, 3, rows, dtype=np.float32)

    def model(x: Any, y: Any) -> None:
        centre, width = _coefficients("centre", columns, 2.0), sample("width", dist.HalfNormal(1.0))
        bumps = jnp.exp(-0.5 * ((x[:, None] - centre) / width) ** 2)
        sample("y", dist.Normal(bumps @ _coefficients("b", columns, 2.0), sample("s", dist.HalfNormal(1.0))).to_event(1), obs=y)

    return Design(model, (x, np.sin(2 * x) + 0.3 * _normal(rows)), rows)


def last_layer(rows: int, hidden: int) -> Design:
    """A network of one hidden layer, linear in the last."""
    x = _normal(rows, 3)

    def model(x: Any, y: Any) -> None:
        w = sample("w", dist.Normal(0.0, 1.0).expand([3, hidden]).to_event(2))
        sample("y", dist.Normal(jnp.tanh(x @ w) @ _coefficients("v", hidden, 0.5), sample("s", dist.HalfNormal(1.0))).to_event(1),
               obs=y)

    return Design(model, (x, np.sin(x.sum(1)) + 0.3 * _normal(rows)), rows)


def trend(rows: int) -> Design:
    """A line below noise that is a process with sampled size and length."""
    x = np.linspace(0, 10, rows, dtype=np.float32)

    def model(x: Any, y: Any) -> None:
        size, length = sample("size", dist.HalfNormal(1.0)), sample("length", dist.InverseGamma(3.0, 3.0))
        s, b = sample("s", dist.HalfNormal(1.0)), _coefficients("b", 2)
        k = size**2 * jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + s**2 * jnp.eye(rows)
        sample("y", dist.MultivariateNormal(b[0] + b[1] * x, k), obs=y)

    return Design(model, (x, np.sin(x) + 0.3 * _normal(rows)), rows)


def growth(rows: int, groups: int) -> Design:
    """Lines of groups, with noise that grows with time."""
    time, group = RNG.uniform(0.5, 2.0, rows).astype(np.float32), RNG.integers(groups, size=rows)

    def model(group: Any, time: Any, y: Any) -> None:
        mean, scale = _coefficients("mean", 2, 5.0), sample("scale", dist.HalfNormal(1.0).expand([2]).to_event(1))
        s, power = sample("s", dist.HalfNormal(1.0)), sample("power", dist.Normal(0.0, 1.0))
        with numpyro.plate("groups", groups):
            level, slope = sample("level", dist.Normal(mean[0], scale[0])), sample("slope", dist.Normal(mean[1], scale[1]))
        sample("y", dist.Normal(level[group] + slope[group] * time, s * time**power).to_event(1), obs=y)

    return Design(model, (group, time, (_normal(groups)[group] + time * (1 + _normal(rows)))), rows)


def factors(rows: int, items: int, many: int) -> Design:
    """Scores of people on items, by a few factors."""
    def model(y: Any) -> None:
        loading = sample("loading", dist.Normal(0.0, 1.0).expand([items, many]).to_event(2))
        mean, noise = _coefficients("mean", items, 5.0), sample("noise", dist.HalfNormal(1.0).expand([items]).to_event(1))
        with numpyro.plate("people", len(y)):
            theta = sample("theta", dist.Normal(0.0, 1.0).expand([many]).to_event(1))
            sample("y", dist.Normal(mean + theta @ loading.T, noise).to_event(1), obs=y)

    return Design(model, (_normal(rows, many) @ _normal(many, items) + _normal(rows, items),), rows)


def measured(rows: int) -> Design:
    """A covariate that is measured with error."""
    true = _normal(rows)

    def model(seen: Any, y: Any) -> None:
        a, b = sample("a", dist.Normal(0.0, 2.0)), sample("b", dist.Normal(0.0, 1.0))
        mean, spread = sample("mean", dist.Normal(0.0, 2.0)), sample("spread", dist.HalfNormal(1.0))
        s = sample("s", dist.HalfNormal(1.0))
        with numpyro.plate("n", len(y)):
            x = sample("x", dist.Normal(mean, spread))
            sample("seen", dist.Normal(x, 0.5), obs=seen)
            sample("y", dist.Normal(a + b * x, s), obs=y)

    return Design(model, (true + 0.5 * _normal(rows), true + _normal(rows)), rows)


def outcomes(rows: int, columns: int, many: int) -> Design:
    """Several outcomes of the same covariates, with joint noise."""
    x = _normal(rows, columns)

    def model(x: Any, y: Any) -> None:
        b = sample("b", dist.Normal(0.0, 1.0).expand([columns, many]).to_event(2))
        scale, root = sample("scale", dist.HalfNormal(1.0).expand([many]).to_event(1)), sample("root", dist.LKJCholesky(many, 1.0))
        with numpyro.plate("n", len(y)):
            sample("y", dist.MultivariateNormal(x @ b, scale_tril=scale[:, None] * root), obs=y)

    return Design(model, (x, x @ _normal(columns, many) + _normal(rows, many)), rows)


def nested(rows: int, classes: int, schools: int, towns: int) -> Design:
    """Classes in schools in towns."""
    each, school, town = (RNG.integers(n, size=m) for n, m in ((classes, rows), (schools, classes), (towns, schools)))

    def model(each: Any, school: Any, town: Any, y: Any) -> None:
        mean, s = sample("mean", dist.Normal(0.0, 5.0)), sample("s", dist.HalfNormal(1.0))
        scale = sample("scale", dist.HalfNormal(1.0).expand([3]).to_event(1))
        with numpyro.plate("towns", towns):
            a = sample("a", dist.Normal(mean, scale[0]))
        with numpyro.plate("schools", schools):
            b = sample("b", dist.Normal(a[town], scale[1]))
        with numpyro.plate("classes", classes):
            c = sample("c", dist.Normal(b[school], scale[2]))
        sample("y", dist.Normal(c[each], s).to_event(1), obs=y)

    effects = _normal(towns)[town][school] + _normal(schools)[school] + _normal(classes)
    return Design(model, (each, school, town, effects[each] + _normal(rows)), rows)


def crossed(rows: int, first: int, second: int) -> Design:
    """Two groupings that cross out of balance."""
    i, j = RNG.integers(first, size=rows), RNG.integers(second, size=rows)

    def model(i: Any, j: Any, y: Any) -> None:
        mean, s = sample("mean", dist.Normal(0.0, 5.0)), sample("s", dist.HalfNormal(1.0))
        scale = sample("scale", dist.HalfNormal(1.0).expand([2]).to_event(1))
        with numpyro.plate("first", first):
            a = sample("a", dist.Normal(0.0, scale[0]))
        with numpyro.plate("second", second):
            b = sample("b", dist.Normal(0.0, scale[1]))
        sample("y", dist.Normal(mean + a[i] + b[j], s).to_event(1), obs=y)

    return Design(model, (i, j, _normal(first)[i] + _normal(second)[j] + _normal(rows)), rows)


def decay(rows: int, times: int, groups: int) -> Design:
    """Amplitudes of groups, times a curve."""
    group, time = RNG.integers(groups, size=rows), np.resize(np.linspace(0, 10, times).astype(np.float32), rows)

    def model(group: Any, time: Any, y: Any) -> None:
        mean, scale = sample("mean", dist.Normal(0.0, 50.0)), sample("scale", dist.HalfNormal(10.0))
        rate, s = sample("rate", dist.LogNormal(-1.0, 0.5)), sample("s", dist.HalfNormal(1.0))
        with numpyro.plate("groups", groups):
            a = sample("a", dist.Normal(mean, scale))
        sample("y", dist.Normal(a[group] * jnp.exp(-rate * time), s).to_event(1), obs=y)

    return Design(model, (group, time, (50 + 5 * _normal(groups))[group] * np.exp(-0.3 * time) + _normal(rows)), rows)


DESIGNS: dict[str, Callable[[], Design]] = {
    "variances, 5 covariates": lambda: variances(2000, 5), "variances, 20 covariates": lambda: variances(2000, 20),
    "5 correlated effects of 1000 groups": lambda: slopes(20_000, 1000, 5, True),
    "10 effects of 1000 groups": lambda: slopes(20_000, 1000, 10, False),
    "bumps, 10 centres": lambda: basis(2000, 10), "last of 20 hidden units": lambda: last_layer(1000, 20),
    "line below a process": lambda: trend(100), "500 lines, noise by row": lambda: growth(10_000, 500),
    "2 factors of 8 items": lambda: factors(2000, 8, 2), "covariate with error": lambda: measured(20_000),
    "10 outcomes of 20 covariates": lambda: outcomes(1000, 20, 10),
    "1000 classes in 200 schools in 20 towns": lambda: nested(6000, 1000, 200, 20),
    "300 by 40 groups": lambda: crossed(3000, 300, 40), "20 decays at 15 times": lambda: decay(1200, 15, 20),
}


def main() -> None:
    print("| model | rows | analysis, s | sampled | plain, us | collapsed, us | collapsed / plain |")
    print("|---|---|---|---|---|---|---|")
    for name in sys.argv[1:] or DESIGNS:
        design = DESIGNS[name]()
        begin = time.perf_counter()
        collapsed = cj.collapse(design.model)
        kept = ", ".join(collapsed.plan(*design.args).kept)
        analysis = time.perf_counter() - begin
        plain, other = microseconds((design.model, collapsed), design.args)
        print(f"| {name} | {design.rows} | {analysis:.1f} | {kept} | {plain:.3g} | {other:.3g} | {other / plain:.2g} |", flush=True)


if __name__ == "__main__":
    main()
