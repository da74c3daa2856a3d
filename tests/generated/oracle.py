"""What must hold of every generated model.

In float64 the kept values are those that made the data, and draws are ranked; in float32 they are
moderate, like those of `cj.check`: a scale a thousand times smaller than its neighbours is a matter of
`test_level` and `test_gaussian`. A model's functions are traced, and evaluated by NumPy (`numpy_jaxpr`) or,
where asked for, compiled by XLA.
"""

from __future__ import annotations

import linecache
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer import init_to_uniform
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl.errors import DataError
from conjugate_ppl.planning.execute import Execution
from generated.numpy_jaxpr import Function
from generated.writer import Written

__all__ = ["DRAWS", "Outcome", "verify"]

# what a model says of its own derivatives the marginal repeats, as NUTS on the model would: a false one, or none
_OWN_DERIVATIVE = {"twist false derivative", "twist callback"}
DRAWS = 63  # exact draws that a value from the prior is ranked among


class Outcome(NamedTuple):
    """What was seen of a model that passed.

    Fields:
        families: the family of every collapsed latent.
        ranks: for collapsed latents, the rank of one element among `DRAWS` exact draws.
        error: the largest relative error of the identity.
        points: at how many values it was tried.
    """

    families: dict[str, str]
    ranks: dict[str, int]
    error: float
    points: int


def verify(written: Written, compiled: bool = False, slope: bool = False) -> Outcome:
    """Check one model in the precision that is on.

    Args:
        written: the model.
        compiled: evaluate by XLA instead of NumPy.
        slope: compare the derivative of the marginal with differences, too (float64).

    Raises:
        AssertionError: with what is wrong.
    """
    x64 = jnp.result_type(float) == jnp.float64
    seed = zlib.crc32(written.source.encode())
    name, space = load(written.source, seed)
    model, data = space["model"], jax.tree.map(single, space["constants"](np.random.default_rng(seed)))
    key, other = jax.random.split(jax.random.key(seed))
    forward = Function(lambda k: values(handlers.seed(model, k), data), key)
    collapsed = cj.collapse(model)
    for attempt in range(5):
        truth = forward(jax.random.fold_in(key, attempt))
        observed = {y: single(truth[site]) for y, site in written.observed.items()}
        try:
            execution = collapsed.execution((), data | observed)
            break
        except DataError as problem:  # a rate so small that there is no number for what it makes
            finite = all(np.isfinite(np.asarray(x, float)).all() for x in observed.values())
            assert not (x64 and finite), problem
    else:
        return Outcome({}, {}, 0.0, 0)
    plan = execution.plan
    missed, unsound = set(written.must) - set(plan.collapsed), set(written.never) & set(plan.collapsed)
    sizes = {n: execution.program.sites[n].size for n in execution.program.latents}
    # two orders of elimination may exclude each other; the one that integrates out more is taken
    missed = set() if all("in no closed form" in plan[n].reason for n in missed) and sum(
        sizes[n] for n in plan.collapsed) >= sum(sizes[n] for n in written.must) else missed
    assert not missed, f"not collapsed: {({n: plan[n].reason for n in missed})}"
    assert not unsound, f"collapsed, but may not be: {unsound}"
    for latent in plan.kept:
        assert plan[latent].reason, latent
        # of a function that is compiled JAX 0.7 keeps the line of its first use, in whatever file that was
        source = plan[latent].source or name
        assert jax.__version_info__ < (0, 8) or name in source, (latent, source)
    if not plan.collapsed:
        return Outcome({}, {}, 0.0, 0)
    elsewhere = forward(other)
    data |= observed
    if not x64:
        start = handlers.substitute(handlers.seed(model, key), substitute_fn=init_to_uniform(radius=1.0))
        truth |= Function(lambda: values(start, data))()
    kept, others = ({n: jnp.asarray(x[n]) for n in plan.kept} for x in (truth, elsewhere))
    draws, points = identity(execution, collapsed, data, kept, others if x64 else None, key, compiled)
    tolerance = 1e-8 if x64 else 1e-4
    errors = np.array([abs(error) / (1 + size) for error, size in points])
    assert (errors < tolerance).all(), f"the identity fails: {errors} relative, of {points}"
    check_draws(execution, draws)
    if slope and x64 and _OWN_DERIVATIVE.isdisjoint(written.features):
        check_slope(execution, collapsed, data, kept, seed)
    ranks = rank(draws, truth, seed) if written.ranked and x64 else {}
    return Outcome({n: plan[n].family or "from its prior" for n in plan.collapsed}, ranks,
                   float(errors.max()), len(points))


def identity(execution: Execution, collapsed: cj.CollapsedModel, data: dict[str, Any], kept: dict[str, Any],
             others: dict[str, Any] | None, key: Any, compiled: bool
             ) -> tuple[dict[str, Any], list[tuple[float, float]]]:
    """Exact draws, and the identity's errors with their sizes: at two draws, at a point that is none, and at
    other kept values."""

    def make(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        return jax.jit(function) if compiled else Function(function, *args)

    def at(k: dict[str, Any], z: dict[str, Any]) -> tuple[Any, Any, Any]:
        total, trace = log_density(collapsed.model, (), data, {**k, **z})
        sizes = [jnp.sum(jnp.abs(s["fn"].log_prob(s["value"]))) for s in trace.values()
                 if s["type"] == "sample"]
        return total, execution.log_prob({**k, **z}, (), data), sum(sizes)

    draws = make(lambda k, v: jax.vmap(lambda one: execution.draw(one, v, (), data))(
        jax.random.split(k, DRAWS)), key, kept)(key, kept)
    marginal = make(lambda k: log_density(collapsed, (), data, k)[0], kept) if compiled else \
        without_slope(execution, lambda k: log_density(collapsed, (), data, k)[0], kept)
    one, two, beyond = ({n: x[k] for n, x in draws.items()} for k in (0, 1, 2))
    for name, x in one.items():
        if execution.program.sites[name].support == "real":
            beyond[name] = 2 * x - two[name]
    measure = make(at, kept, jax.tree.map(jnp.asarray, one))
    found = []
    for k, points in ((kept, (one, two, beyond)), (others, (two,))):
        if k is not None:
            level = float(marginal(k))
            for z in points:
                total, conditional, size = map(float, measure(k, z))
                # impossible values agree, those of which other kept values are the reason included
                impossible = total == -np.inf and -np.inf in (level, conditional)
                found.append((0.0 if impossible else total - conditional - level, size if np.isfinite(size) else 0.0))
    return draws, found


def without_slope(execution: Execution, function: Callable[..., Any], *args: Any) -> Function:
    """A function traced without the derivative that the marginal brings along, half of all equations."""
    plain = {"_log_marginal": lambda real, whole: execution._compute_log_marginal({**real, **whole})}
    with mock.patch.dict(execution.__dict__, plain):
        return Function(function, *args)


def check_draws(execution: Execution, draws: dict[str, Any]) -> None:
    """Draws have the shapes and types of the model's sites, and are numbers."""
    assert set(draws) == set(execution.plan.collapsed)
    for name, x in draws.items():
        site = execution.program.sites[name]
        assert x.shape == (DRAWS, *site.shape), (name, x.shape, site.shape)
        assert x.dtype == site.dtype, (name, x.dtype, site.dtype)
        assert np.isfinite(np.asarray(x, float)).all(), name


def check_slope(execution: Execution, collapsed: cj.CollapsedModel, data: dict[str, Any],
                kept: dict[str, Any], seed: int) -> None:
    """The derivative of the marginal along a random direction against a difference."""
    rng, h = np.random.default_rng(seed), 1e-5
    real = {n: x for n, x in kept.items() if jnp.issubdtype(x.dtype, jnp.floating)}
    along = {n: np.asarray(x) * rng.uniform(-1, 1, x.shape) for n, x in real.items()}
    for n, x in real.items():
        if n in execution.program.sites and execution.program.sites[n].support == "simplex":
            along[n] -= x * along[n].sum(-1, keepdims=True)  # sums stay one
        elif x.ndim > 1 and x.shape[-1] == x.shape[-2] and np.array_equal(x, np.swapaxes(x, -1, -2)):
            along[n] = (along[n] + np.swapaxes(along[n], -1, -2)) / 2  # matrices stay symmetric
    rest = {n: x for n, x in kept.items() if n not in real}

    def both(x: Any) -> Any:
        return jax.jvp(lambda v: log_density(collapsed, (), data, {**rest, **v})[0], (x,), (along,))

    run = Function(both, real)
    (value, slope), *ends = (run(jax.tree.map(lambda x, t, s=s: x + s * h * t, real, along))
                             for s in (0, 1, -1))
    difference = (ends[0][0] - ends[1][0]) / (2 * h)
    size = 1 + abs(value) + abs(slope)
    assert not np.isfinite(value) or abs(difference - slope) < 1e-5 * size, (value, slope, difference)


def rank(draws: dict[str, Any], truth: dict[str, Any], seed: int) -> dict[str, int]:
    """Where one element of each latent's true value stands among its draws; of equal ones some are taken
    for smaller, by chance."""
    ranks, rng = {}, np.random.default_rng(seed)
    for name, x in draws.items():
        own = np.asarray(truth[name]).ravel()
        if own.size:
            k = rng.integers(own.size)
            column = np.asarray(x).reshape(DRAWS, -1)[:, k]
            equal = int((column == own[k]).sum())
            ranks[name] = int((column < own[k]).sum()) + int(rng.integers(equal + 1))
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
