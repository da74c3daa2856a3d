"""Rows in several places: what is proved to be a sum over them, or one after the other, is."""

from __future__ import annotations

import re
from collections import defaultdict
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import lax
from numpyro import plate, sample
from numpyro.infer.util import log_density
from spread import Spread, taken_for_spread
from test_stream import COUNT, GROUP, G, X, Y, rates, regression

import conjugate_ppl as cj
from conjugate_ppl.additive.row_rules import RULES, Unrelated, anything
from conjugate_ppl.additive.rows import EQUAL, SUM, Related
from conjugate_ppl.additive.shards import of_shards
from conjugate_ppl.additive.template import template

PLACES = 4
RNG = np.random.default_rng(0)
DATA = (RNG.normal(size=8).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32),
        RNG.integers(0, 3, 8).astype(np.int32))
Z = np.array([0.3, -1.2, 2.0], np.float32)
TABLE = np.arange(6.0, dtype=np.float32).reshape(3, 2)

# what is computed of y (8,), x (8, 3), g (8,) and a latent z (3,) -> how it follows from the parts
COMPUTED = {
    "elements": (lambda y, x, g, z: jnp.exp(y) * z[0] + jnp.where(y > 0, y, 1.0), 0),
    "sum": (lambda y, x, g, z: jnp.sum((y - x @ z) ** 2), SUM),
    "difference of sums": (lambda y, x, g, z: (jnp.sum(y * z[0]) - y @ y) * z[1] / 2.0, SUM),
    "converted": (lambda y, x, g, z: jnp.sum(y).astype(jnp.float16).astype(jnp.float32), SUM),
    "look-up": (lambda y, x, g, z: z[g] + jnp.asarray(TABLE)[g, 1], 0),
    "look-up of rows of a table": (lambda y, x, g, z: jnp.asarray(TABLE)[g], 0),
    "columns": (lambda y, x, g, z: x[:, np.array([2, 0])] * z[:2], 0),
    "one of each row": (lambda y, x, g, z: jnp.take_along_axis(x, g[:, None], 1), 0),
    "a column": (lambda y, x, g, z: x[:, 1], 0),
    "a slice": (lambda y, x, g, z: lax.slice(x, (0, 1), (len(y), 3)), 0),
    "a slice at": (lambda y, x, g, z: lax.dynamic_slice(x, (0, 1), (len(y), 2)), 0),
    "transposed": (lambda y, x, g, z: x.T, 1),
    "reshaped": (lambda y, x, g, z: x.reshape(1, -1), 1),
    "reshaped inside": (lambda y, x, g, z: x.T.reshape(3, len(y), 1), 1),
    "squeezed": (lambda y, x, g, z: lax.squeeze(x[None], (0,)), 0),
    "reversed columns": (lambda y, x, g, z: lax.rev(x, (1,)), 0),
    "padded columns": (lambda y, x, g, z: lax.pad(x, np.float32(0), ((0, 0, 0), (1, 0, 0))), 0),
    "columns side by side": (lambda y, x, g, z: jnp.concatenate([x, y[:, None]], 1), 0),
    "ones": (lambda y, x, g, z: jnp.ones(len(y)) * z[0], 0),
    "columns' numbers": (lambda y, x, g, z: lax.broadcasted_iota(jnp.int32, x.shape, 1), 0),
    "repeated": (lambda y, x, g, z: jnp.broadcast_to(y, (2, len(y))), 1),
    "maximum of each row": (lambda y, x, g, z: x.max(1) + x.min(1) + x.prod(1), 0),
    "running sum in each row": (lambda y, x, g, z: jnp.cumsum(x, 1), 0),
    "outer product": (lambda y, x, g, z: jnp.einsum("ni,nj->nij", x, x), 0),
    "to the right": (lambda y, x, g, z: z @ x.T, 0),
    "Gram matrix": (lambda y, x, g, z: z @ (x.T @ x) @ z, SUM),
    "moved sum": (lambda y, x, g, z: (x.T @ x).T.reshape(-1)[None, :2], SUM),
    "a matrix of each row": (lambda y, x, g, z: jnp.linalg.cholesky(
        x[:, :, None] * x[:, None, :] + jnp.eye(3, dtype=np.float32)), 0),
    "solved for each row": (lambda y, x, g, z: lax.linalg.triangular_solve(
        x[:, :, None] * x[:, None, :] + jnp.eye(3, dtype=np.float32), x[:, :, None], left_side=True, lower=True), 0),
    "latents alone": (lambda y, x, g, z: jnp.sum(jnp.exp(z)) + lax.cond(z[0] > 0, lambda: 1.0, lambda: 2.0), EQUAL),
    "a function with a derivative": (lambda y, x, g, z: jax.nn.softplus(y), 0),
}
# ... and what does not follow
TOGETHER = {
    "mean": (lambda y, x, g, z: y - jnp.mean(y), "number of rows"),
    "times the number of rows": (lambda y, x, g, z: len(y) * z, "number of rows"),
    "next row": (lambda y, x, g, z: y[1:], "slice"),
    "the row before": (lambda y, x, g, z: jnp.concatenate([jnp.zeros(1), y[:-1]]), "slice"),
    "rolled": (lambda y, x, g, z: jnp.roll(y, 1), "slice"),
    "numbers of the rows": (lambda y, x, g, z: y * jnp.arange(len(y)), "arange"),
    "running sum": (lambda y, x, g, z: jnp.cumsum(y), "cumsum"),
    "maximum": (lambda y, x, g, z: y - y.max(), "reduce_max"),
    "sorted": (lambda y, x, g, z: jnp.sort(y), "sort"),
    "product of sums": (lambda y, x, g, z: y.sum() * y.sum(), "mul"),
    "square of a sum": (lambda y, x, g, z: y.sum() ** 2, "integer_pow|square"),
    "sum and a constant": (lambda y, x, g, z: y.sum() + 1.0, "add"),
    "divided by a sum": (lambda y, x, g, z: z / y.sum(), "div"),
    "sum beside rows": (lambda y, x, g, z: y * y.sum(), "mul"),
    "count": (lambda y, x, g, z: (y > 0).sum().astype(jnp.float32), "whole numbers"),
    "half of a count": (lambda y, x, g, z: (y > 0).sum() // 2, "div|select|sign|ne"),
    "logarithm of a sum": (lambda y, x, g, z: jnp.log(jnp.sum(jnp.exp(y))), "log"),
    "pairs of rows": (lambda y, x, g, z: x @ x.T, "dot_general"),
    "a row by its number": (lambda y, x, g, z: y[g], "gather|number of rows|select"),
    "mixed with columns": (lambda y, x, g, z: x.T.reshape(-1), "reshape"),
    "reversed": (lambda y, x, g, z: y[::-1], "rev"),
    "under each other": (lambda y, x, g, z: jnp.concatenate([y, y]), "concatenate"),
    "longer": (lambda y, x, g, z: lax.pad(y, np.float32(0), ((1, 0, 0),)), "pad"),
    "a matrix of rows": (lambda y, x, g, z: jnp.linalg.cholesky(x.T @ x + jnp.eye(3, dtype=np.float32)), "add|cholesky"),
    "a loop over rows": (lambda y, x, g, z: lax.scan(lambda c, v: (c + v, c), 0.0, y)[1], "scan"),
    "an array of all rows": (lambda y, x, g, z: y + np.arange(2.0 * len(y))[: len(y)].astype(np.float32), "not spread"),
}


@pytest.fixture(scope="module")
def written():
    """Every computation, of all rows and of those in one place."""
    def model(y, x, g):
        z = sample("z", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
        for name, (f, _) in (COMPUTED | TOGETHER).items():
            numpyro.deterministic(name, f(y, x, g, z))

    leaves, tree = jax.tree.flatten((DATA, {}))
    return [template(model, tree, leaves, {
        k: jax.ShapeDtypeStruct((a.shape[0] // times, *a.shape[1:]), a.dtype) for k, a in enumerate(leaves)})
        for times in (1, PLACES)]


def found(written):
    whole, part = written
    related = Related(whole.program.graph, part.program.graph, dict.fromkeys(part.places, 0), PLACES)
    kinds = {}
    for name, number in part.program.deterministics.items():
        try:
            kinds[name] = related.kind(number)
        except Unrelated as problem:
            kinds[name] = problem
    return kinds


def test_what_is_proved_is_so(written):
    kinds = found(written)
    parts = list(zip(*(np.split(a, PLACES) for a in DATA), strict=True))
    for name, (f, kind) in COMPUTED.items():
        assert kinds[name] == kind, (name, kinds[name])
        whole, cut = f(*DATA, Z), [np.asarray(f(*p, Z)) for p in parts]
        joined = sum(cut) if kind == SUM else cut[-1] if kind == EQUAL else np.concatenate(cut, kind)
        np.testing.assert_allclose(whole, joined, rtol=1e-2 if name == "converted" else 1e-5, err_msg=name)


@pytest.mark.parametrize("name", TOGETHER)
def test_what_joins_rows_is_not(written, name):
    problem = found(written)[name]
    assert isinstance(problem, Unrelated), problem
    assert re.search(TOGETHER[name][1], str(problem)), problem


def test_every_rule_is_needed(written):
    """Without a rule something is not proved any more."""
    before = {n: str(k) for n, k in found(written).items()}
    by_rule = defaultdict(list)
    for primitive, rule in RULES.items():
        by_rule[rule].append(primitive)
    for names in by_rule.values():
        with mock.patch.dict(RULES, dict.fromkeys(names, anything)):
            assert {n: str(k) for n, k in found(written).items()} != before, names


def with_rows(y, g):
    m = sample("m", dist.Normal(0.0, 10.0).expand([G]).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    numpyro.factor("tilt", 2.0 * m[0])
    with plate("rows", len(y)):
        sample("y", dist.Normal(m[g], s), obs=y)


@pytest.mark.parametrize(("model", "data", "kept"), [
    (regression, (Y, GROUP, X), {"t": np.array(0.7), "s": np.array([0.5, 1.0, 1.5, 2.0])}),
    (rates, (COUNT, np.sort(GROUP)), {"shape": np.array(1.3)}),
    (with_rows, (Y, np.sort(GROUP)), {"s": np.array(0.8)}),
])
def test_sum_of_parts(model, data, kept):
    """Also where a part knows nothing of some groups."""
    with taken_for_spread(elsewhere=True):
        summed = of_shards(model, tuple(map(Spread, data)), {})
    values = [jax.jit(jax.value_and_grad(lambda k, m=m, a=a: log_density(cj.collapse(m), a, {}, k)[0]))(kept)
              for m, a in ((model, data), (summed, ()))]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), *values)
