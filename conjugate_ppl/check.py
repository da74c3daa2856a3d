"""`check`: the exactness certificate, evaluated on the user's own model.

For every value z of the collapsed latents and k of the kept ones (Chib, 1995),

    log_density(model; z, k) - log p(z | k) = log_density(collapsed; k).

The left side uses NumPyro's own densities and no algebra of ours; the right side does not depend on z.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import handlers
from numpyro.infer import init_to_uniform
from numpyro.infer.util import compute_log_probs, log_density
from numpyro.primitives import Messenger

from conjugate_ppl import _compat
from conjugate_ppl.additive.shards import refuse_other_processes
from conjugate_ppl.collapse import as_collapsed
from conjugate_ppl.errors import InternalError, ModelError
from conjugate_ppl.given import check_key
from conjugate_ppl.marginal import MarginalModel
from conjugate_ppl.planning.execute import Execution

__all__ = ["Certificate", "check"]

_TOLERANCE = {"float64": 1e-8, "float32": 1e-4}


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The outcome of `check`.

    Attributes:
        points: how many pairs of kept and collapsed values were tried.
        worst: the largest error of the identity, in nats.
        relative: the largest error relative to one plus the sum over factors of |log density|.
        tolerance: what `relative` had to stay below.
    """

    points: int
    worst: float
    relative: float
    tolerance: float


@_compat.one_thread
def check(model: Callable[..., Any] | MarginalModel, rng_key: Any, *args: Any,
          num_points: int = 3, **kwargs: Any) -> Certificate:
    """Verify on random values that collapsing this model is exact.

    Args:
        model: a NumPyro model, or a collapsed one.
        rng_key: a key, raw or typed.
        *args: the model's arguments.
        num_points: how many values of the kept sites to try, each with two of the collapsed ones; one
            or more.
        **kwargs: the model's keyword arguments.

    Returns:
        A `Certificate`.

    Raises:
        InternalError: if the identity fails; the message names the site that is to blame.
        ModelError: if it fails where a density or a family is registered from outside this package; where the model's
            own log density is NaN, or -inf throughout.

    Example:
        >>> import jax, numpyro, numpyro.distributions as dist, conjugate_ppl as cj
        >>> def model(y):
        ...     p = numpyro.sample("p", dist.Beta(2.0, 3.0))
        ...     numpyro.sample("y", dist.Binomial(10, p), obs=y)
        >>> cj.check(model, jax.random.key(0), 4).relative < 1e-4
        True
    """
    check_key(rng_key)
    if num_points < 1:
        raise ModelError(f"num_points={num_points} checks nothing. Give 1 or more.")
    refuse_other_processes("check", args, kwargs)
    collapsed = as_collapsed(model)
    execution = collapsed.execution(args, kwargs)
    found = _measure(collapsed, execution, rng_key, num_points, args, kwargs)
    if found.relative > found.tolerance or not np.isfinite(found.worst):
        worst = f"{found.worst:.3g} nats (relative {found.relative:.3g})"
        culprit = _culprit(collapsed, execution, rng_key, num_points, args, kwargs)
        if outsiders := _outsiders(execution):
            site, distribution = outsiders[0]
            raise ModelError(f"The identity of `check` fails by {worst}; to blame: {culprit}. "
                             f"`{site}` is {distribution}, registered outside this package. Compare "
                             "what is registered with its `log_prob`, inside its support.")
        raise InternalError(f"The identity of `check` fails by {worst}; to blame: {culprit}.")
    return found


def _outsiders(execution: Execution) -> list[tuple[str, str]]:
    """Sites that a plan rests on whose density or family does not come from this package."""
    sites = execution.program.sites
    touched = {n for e in execution.chosen.eliminations
               for n in (*e.sites, *execution.chosen.dependencies.touching(e.sites))}
    return [(n, s.distribution) for n, s in sites.items() if n in touched and s.from_outside]


def _culprit(collapsed: MarginalModel, execution: Execution, rng_key: Any, num_points: int,
             args: Any, kwargs: Any) -> str:
    """Collapse one site at a time and name those that fail alone; else the whole block."""
    bad = []
    for name in execution.plan.collapsed:
        alone = MarginalModel(collapsed.model, keep=collapsed.keep, only=[name])
        single = alone.execution(args, kwargs)
        if name in single.plan.collapsed:
            found = _measure(alone, single, rng_key, num_points, args, kwargs)
            if found.relative > found.tolerance or not np.isfinite(found.worst):
                bad.append(f"`{name}`")
    return ", ".join(bad) or "together, " + ", ".join(f"`{n}`" for n in execution.plan.collapsed)


def _measure(collapsed: MarginalModel, execution: Execution, rng_key: Any, num_points: int,
             args: Any, kwargs: Any) -> Certificate:
    # the model as its user wrote it, also where the execution is of sums
    model = execution.model if collapsed.reparam else collapsed.model

    def at(key: Any) -> tuple[Any, ...]:
        key_kept, key_one, key_two = jax.random.split(key, 3)
        kept = _kept_values(model, execution, key_kept, args, kwargs)
        marginal = log_density(_OneNoise(collapsed), args, kwargs, kept)[0]

        def draw(key: Any) -> dict[str, Any]:
            return execution.draw(key, kept, args, kwargs)

        def compare(numbered: tuple[Any, dict[str, Any]]) -> tuple[Any, ...]:
            _, z = numbered  # `map` wants an array, also where nothing is collapsed
            factors, _ = compute_log_probs(_OneNoise(model), args, kwargs, {**kept, **z},
                                           sum_log_prob=False)
            total = sum(map(jnp.sum, factors.values()), start=0.0)
            size = sum((jnp.sum(jnp.abs(f)) for f in factors.values()), start=0.0)
            conditional = execution.log_prob({**kept, **z}, args, kwargs)
            # elsewhere both sides agree
            possible = ~((total == -jnp.inf) & (marginal == -jnp.inf))
            error = jnp.where(possible, jnp.abs(total - conditional - marginal), 0.0)
            drawn = jnp.all(jnp.stack([jnp.isfinite(x).all() for x in z.values()])) if z else jnp.array(True)
            # at numbers that are no draws of ours but NaN the fault would be ours
            return error, jnp.where(possible, error / (1 + size), 0.0), possible, jnp.isnan(total) & drawn

        # `map` traces and compiles each function once
        draws = jax.lax.map(draw, jnp.stack([key_one, key_two]))
        found: tuple[Any, ...] = jax.lax.map(
            compare, (jnp.arange(2), _with_one_beside(execution, draws)))
        return found

    compiled = jax.jit(at)  # many small steps, which would each be compiled alone
    found = [compiled(jax.random.fold_in(rng_key, k)) for k in range(num_points)]
    errors, relative, possible, undefined = (np.ravel(np.asarray(x, float)) for x in zip(*found, strict=True))
    points = len(errors)
    if undefined.any():
        count = int(undefined.sum())
        raise ModelError(f"The model's own log density is NaN at {count} of the {points} values tried, all "
                         "inside what NumPyro takes for its support, so that nothing could be checked. Likely a "
                         "parameter leaves its range, or a transform does not say its `domain`: mend the model there.")
    if not possible.any():
        raise ModelError(f"The model's log density is -inf at all {points} values tried, so that "
                         "nothing could be checked. Likely a support depends on a latent: give more "
                         "num_points.")
    dtype = str(jnp.result_type(float))
    worst = float(errors.max(initial=0.0)) if np.isfinite(errors).all() else float("nan")
    ratio = float(relative.max(initial=0.0)) if np.isfinite(relative).all() else float("inf")
    return Certificate(points, worst, ratio, _TOLERANCE[dtype])


class _OneNoise(Messenger):
    """One fixed key for what a model draws outside sample sites, so that all densities see the same.

    Data are JAX's: NumPyro's own supports compare NumPy's whole numbers with a latent total in NumPy.
    """

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "sample" and isinstance(msg["value"], np.ndarray):
            msg["value"] = jnp.asarray(msg["value"])
        if msg["type"] in ("prng_key", "plate") and msg["value"] is None and (
                msg["kwargs"].get("rng_key") is None):
            msg["kwargs"]["rng_key"] = _compat.a_key()


def _with_one_beside(execution: Execution, draws: Mapping[str, Any]) -> dict[str, Any]:
    """The first of two draws, and values that are no draw of the conditional: beyond the first on the
    line from the second for the reals, the second elsewhere."""
    out = {}
    for name, (one, two) in draws.items():
        site = execution.program.sites[name]
        out[name] = jnp.stack([one, 2 * one - two if site.support == "real" else two])
    return out


def _kept_values(model: Callable[..., Any], execution: Execution, key: Any, args: Any,
                 kwargs: Any) -> dict[str, Any]:
    with handlers.block(), numpyro.validation_enabled(False):
        seeded = handlers.substitute(handlers.seed(model, key),
                                     substitute_fn=init_to_uniform(radius=1.0))
        trace = handlers.trace(seeded).get_trace(*args, **kwargs)
    names = (*execution.plan.kept, *execution.program.params)
    return {n: trace[n]["value"] for n in names}
