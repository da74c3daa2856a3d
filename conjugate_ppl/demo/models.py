"""The models of the main job, written as their authors write them, with their data."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

__all__ = ["MODELS", "load"]


def eight_schools(y: Any, sigma: Any) -> None:
    """Rubin's eight schools, centred."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def rat_tumors(y: Any, n: Any) -> None:
    """Partial pooling of the tumour rates of 71 experiments."""
    m = numpyro.sample("m", dist.Uniform(0, 1))
    kappa = numpyro.sample("kappa", dist.Pareto(1, 1.5))
    with numpyro.plate("experiments", len(y)):
        phi = numpyro.sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
        numpyro.sample("y", dist.Binomial(n, probs=phi), obs=y)


def electric_company(grade_pair: Any, pair: Any, grade: Any, treatment: Any, y: Any) -> None:
    """Reading scores of paired classes, four grades; indices count from one."""
    mua = numpyro.sample("mua", dist.Normal(0.0, 1.0), sample_shape=(4,))
    sigmay = numpyro.sample("sigmay", dist.Normal(0.0, 1.0), sample_shape=(4,))
    a = numpyro.sample("a", dist.Normal(100.0 * mua[grade_pair - 1], 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 100.0), sample_shape=(4,))
    mean = a[pair - 1] + b[grade - 1] * treatment
    numpyro.sample("y", dist.Normal(mean, jnp.exp(sigmay[grade - 1])), obs=y)


MODELS: dict[str, Callable[..., None]] = {
    "eight_schools": eight_schools,
    "rat_tumors": rat_tumors,
    "electric_company": electric_company,
}


def load(name: str) -> dict[str, np.ndarray]:
    """The bundled data of a model, as keyword arguments."""
    text = resources.files("conjugate_ppl.demo").joinpath("data", f"{name}.json").read_text()
    return {k: np.asarray(v) for k, v in json.loads(text).items()}
