"""What must hold of every generated model.

In float64 the kept values are those that made the data, and draws are ranked; in float32 they are
moderate, like those of `cj.check`: a scale a thousand times smaller than its neighbours is a matter of
`test_level` and `test_gaussian`.
"""

from __future__ import annotations

import linecache
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer import init_to_uniform
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl.planning.execute import Execution
from generated.writer import Written

__all__ = ["DRAWS", "Outcome", "verify"]

DRAWS = 63  # exact draws that a value from the prior is ranked among


class Outcome(NamedTuple):
    """What was seen of a model that passed.

    Fields:
        families: the family of every collapsed latent.
        ranks: for collapsed latents, the rank of one element among `DRAWS` exact draws.
        error: the largest relative error of the identity.
    """

    families: dict[str, str]
    ranks: dict[str, int]
    error: float


def verify(written: Written) -> Outcome:
    """Check one model in the precision that is on.

    Raises:
        AssertionError: with what is wrong.
    """
    seed = zlib.crc32(written.source.encode())
    name, space = load(written.source, seed)
    model, data = space["model"], jax.tree.map(single, space["constants"](np.random.default_rng(seed)))
    truth = values(handlers.seed(model, jax.random.key(seed)), data)
    data |= {y: single(truth[site]) for y, site in written.observed.items()}
    collapsed = cj.collapse(model)
    execution = collapsed.execution((), data)
    plan = execution.plan
    missed, unsound = set(written.must) - set(plan.collapsed), set(written.never) & set(plan.collapsed)
    assert not missed, f"not collapsed: {({n: plan[n].reason for n in missed})}"
    assert not unsound, f"collapsed, but may not be: {unsound}"
    for latent in plan.kept:
        assert plan[latent].reason, latent
        assert name in (plan[latent].source or name), (latent, plan[latent].source)
    if not plan.collapsed:
        return Outcome({}, {}, 0.0)
    x64 = jnp.result_type(float) == jnp.float64
    if not x64:
        start = handlers.substitute(handlers.seed(model, jax.random.key(seed)),
                                    substitute_fn=init_to_uniform(radius=1.0))
        truth |= values(start, data)
    kept = {n: jnp.asarray(truth[n]) for n in plan.kept}
    # one compiled function of the values, not of the data: hundreds of small ones take longer
    draws, errors, sizes = jax.jit(lambda k, v: identity(collapsed, execution, data, k, v))(
        jax.random.key(seed), kept)
    tolerance = 1e-8 if x64 else 1e-4
    error = float(np.max(np.abs(errors) / (1 + np.asarray(sizes))))
    assert error < tolerance, f"the identity fails by {errors} nats, {error:.1e} relative"
    assert set(draws) == set(plan.collapsed)
    return Outcome({n: plan[n].family or "from its prior" for n in plan.collapsed},
                   rank(draws, truth, seed) if written.ranked and x64 else {}, error)


def identity(collapsed: cj.CollapsedModel, execution: Execution, data: dict[str, Any], key: Any,
             kept: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Draws, and the identity's errors and sizes at one of them and at a point that is none."""
    draws = jax.vmap(lambda k: execution.draw(k, kept, (), data))(jax.random.split(key, DRAWS))
    points = jax.tree.map(lambda x: x[:2], draws)
    for name, x in points.items():
        if execution.program.sites[name].support == "real":
            points[name] = x.at[1].set(2 * x[0] - x[1])
    marginal = log_density(collapsed, (), data, kept)[0]

    def at(z: dict[str, Any]) -> tuple[Any, Any]:
        total, trace = log_density(collapsed.model, (), data, {**kept, **z})
        sizes = [jnp.sum(jnp.abs(s["fn"].log_prob(s["value"]))) for s in trace.values()
                 if s["type"] == "sample"]
        return total - execution.log_prob({**kept, **z}, (), data) - marginal, sum(sizes)

    return draws, *jax.vmap(at)(points)


def rank(draws: dict[str, Any], truth: dict[str, Any], seed: int) -> dict[str, int]:
    """Where one element of each latent's true value stands among its draws."""
    ranks, rng = {}, np.random.default_rng(seed)
    for name, values in draws.items():
        values, own = np.asarray(values), np.asarray(truth[name])
        assert values.shape == (DRAWS, *own.shape), (name, values.shape, own.shape)
        assert values.dtype == own.dtype, (name, values.dtype, own.dtype)
        assert np.isfinite(values).all(), name
        if own.size:
            k = rng.integers(own.size)
            ranks[name] = int((values.reshape(DRAWS, -1)[:, k] < own.ravel()[k]).sum())
    return ranks


def load(source: str, number: int) -> tuple[str, dict[str, Any]]:
    """A name for a source, whose lines can be shown in messages, and the names that it defines."""
    name = f"generated_{number:08x}.py"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space: dict[str, Any] = {}
    exec(compile(source, name, "exec"), space)
    return name, space


def single(x: Any) -> Any:
    """NumPy arrays of the types that JAX has in the precision that is on."""
    x = np.asarray(x)
    return x.astype(jax.dtypes.canonicalize_dtype(x.dtype))


def values(model: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What a run of the model gives its sites; those without a prior start near 0."""
    start = handlers.substitute(model, substitute_fn=lambda site: init_to_uniform(site)
                                if isinstance(site.get("fn"), dist.ImproperUniform)
                                and site["value"] is None else None)
    with numpyro.validation_enabled(False):
        trace = handlers.trace(start).get_trace(**data)
    return {n: s["value"] for n, s in trace.items() if s["type"] == "sample"}
