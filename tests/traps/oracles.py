"""What the traps are compared with: dense algebra and closed forms in SciPy; and a model of several."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample
from numpyro.infer.util import log_density
from scipy import special, stats

import conjugate_ppl as cj

__all__ = ["dense", "evidence", "gamma_poisson", "marginal", "reason", "schools"]


def schools(y: Any) -> None:
    """Four groups of one observation."""
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfCauchy(5.0))
    with plate("groups", 4):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 1.0), obs=y)


def marginal(model: Callable[..., Any], kept: dict[str, Any], *args: Any) -> float:
    """log p(data, kept), compiled: eager arithmetic would be many small programs."""
    return float(jax.jit(lambda: log_density(cj.collapse(model), args, {}, kept)[0])())


def evidence(model: Callable[..., Any], *args: Any) -> float:
    """log p(data) of a model of which nothing is left to sample."""
    return float(jax.jit(lambda: cj.collapse(model).log_evidence(*args))())


def dense(y: Any, covariance: Any, mean: Any = 0.0) -> float:
    """Log density of a multivariate normal."""
    y = np.asarray(y, float).ravel()
    return float(stats.multivariate_normal(np.broadcast_to(mean, y.shape), covariance).logpdf(y))


def gamma_poisson(counts: Any, a: float, b: float) -> float:
    """log p(counts) where all share one rate ~ Gamma(a, b)."""
    counts = np.asarray(counts, float).ravel()
    return float(special.gammaln(a + counts.sum()) - special.gammaln(a) + a * np.log(b)
                 - (a + counts.sum()) * np.log(b + counts.size) - special.gammaln(counts + 1).sum())


def reason(model: Callable[..., Any], site: str, *args: Any) -> str:
    """Why `site` is not collapsed; the plan must point at the line of the model marked `# here`."""
    decision = cj.explain(model, *args)[site]
    assert not decision.collapsed
    lines, start = inspect.getsourcelines(model)
    (at,) = [start + k for k, line in enumerate(lines) if line.rstrip().endswith("# here")]
    assert decision.source == f"{Path(inspect.getsourcefile(model) or '').name}:{at}"
    return str(decision.reason)
