"""Microseconds a gradient of Gaussian processes and of effects of relatives: collapsed against marginalised by hand.

By hand is a multivariate normal of the data, whose covariance has that of the process, the noise and what is linear (a mean and a slope of vague
prior). Both have one density (checked, in float64). One compiled loop each; they take turns, and the fastest of some
rounds counts. `analysis` is what the package does before, once.

    python benchmarks/fields.py [--rows 50 200 500] [--single] [--rounds 7]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from gradient import looped, seconds
from numpyro import sample
from numpyro.infer.util import initialize_model

import conjugate_ppl as cj

Model = Callable[..., None]
VAGUE = 10.0


def kernel(x: Any, scale: Any, length: Any) -> Any:
    """Covariance of a smooth function."""
    return scale**2 * jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + 1e-3 * jnp.eye(len(x))


def hyperparameters() -> tuple[Any, Any, Any]:
    """Scale and length of a process, and noise."""
    length = sample("length", dist.LogNormal(0.0, 1.0))
    scale, noise = (sample(n, dist.HalfNormal(1.0)) for n in ("scale", "noise"))
    return scale, length, noise


def process(x: Any, y: Any, _: Any) -> None:
    """A process alone."""
    scale, length, noise = hyperparameters()
    f = sample("f", dist.MultivariateNormal(jnp.zeros(len(x)), kernel(x, scale, length)))
    sample("y", dist.Normal(f, noise), obs=y)


def process_by_hand(x: Any, y: Any, _: Any) -> None:
    scale, length, noise = hyperparameters()
    sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), kernel(x, scale, length) + noise**2 * jnp.eye(len(x))), obs=y)


def trend(x: Any, y: Any, _: Any) -> None:
    """A process about a line."""
    scale, length, noise = hyperparameters()
    b = sample("b", dist.Normal(0.0, VAGUE).expand([2]).to_event(1))
    f = sample("f", dist.MultivariateNormal(jnp.zeros(len(x)), kernel(x, scale, length)))
    sample("y", dist.Normal(b[0] + b[1] * x + f, noise), obs=y)


def trend_by_hand(x: Any, y: Any, _: Any) -> None:
    scale, length, noise = hyperparameters()
    covariance = kernel(x, scale, length) + VAGUE**2 * (1 + jnp.outer(x, x)) + noise**2 * jnp.eye(len(x))
    sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=y)


def relatives(x: Any, y: Any, kinship: Any) -> None:
    """Effects whose covariance is known but for its scale, about a line."""
    scale, noise = (sample(n, dist.HalfNormal(1.0)) for n in ("scale", "noise"))
    b = sample("b", dist.Normal(0.0, VAGUE).expand([2]).to_event(1))
    u = sample("u", dist.MultivariateNormal(jnp.zeros(len(x)), scale**2 * kinship))
    sample("y", dist.Normal(b[0] + b[1] * x + u, noise), obs=y)


def relatives_by_hand(x: Any, y: Any, kinship: Any) -> None:
    scale, noise = (sample(n, dist.HalfNormal(1.0)) for n in ("scale", "noise"))
    covariance = scale**2 * kinship + VAGUE**2 * (1 + jnp.outer(x, x)) + noise**2 * jnp.eye(len(x))
    sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=y)


MODELS: dict[str, tuple[Model, Model]] = {
    "Gaussian process": (process, process_by_hand), "process and line": (trend, trend_by_hand),
    "effects of relatives and line": (relatives, relatives_by_hand)}


def data(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, what is seen there, and a kinship by twice as many markers."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, rows / 10, rows))
    markers = rng.normal(size=(rows, 2 * rows))
    return x, np.sin(x) + 0.3 * rng.normal(size=rows), markers @ markers.T / (2 * rows) + 0.01 * np.eye(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[50, 200, 500])
    parser.add_argument("--single", action="store_true", help="float32")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", not options.single)
    numpyro.enable_validation(False)  # it asks whether covariances are symmetric to the last digit
    print("| model | rows | analysis, s | collapsed, us | by hand, us | collapsed / by hand |")
    print("|---|---|---|---|---|---|")
    for name, (model, by_hand) in MODELS.items():
        for rows in options.rows:
            args = data(rows)
            collapsed = cj.collapse(model)
            begin = time.perf_counter()
            collapsed.plan(*args)
            analysis = time.perf_counter() - begin
            energy = {"collapsed": initialize_model(jax.random.key(0), collapsed, model_args=args),
                      "by hand": initialize_model(jax.random.key(0), by_hand, model_args=args)}
            z = energy["by hand"].param_info.z
            values = [float(e.potential_fn(z)) for e in energy.values()]
            assert options.single or np.isclose(*values, rtol=1e-8), values
            loops = {}
            for kind, e in energy.items():
                took = seconds({"": looped(e.potential_fn, z, 3)}, 1)[""]
                loops[kind] = looped(e.potential_fn, z, int(np.clip(0.2 / took, 3, 3000)))
            us = {k: 1e6 * t for k, t in seconds(loops, options.rounds).items()}
            print(f"| {name} | {rows} | {analysis:.1f} | {us['collapsed']:.3g} | {us['by hand']:.3g} | "
                  f"{us['collapsed'] / us['by hand']:.2g} |", flush=True)


if __name__ == "__main__":
    main()
