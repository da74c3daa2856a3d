"""What is left to the sampler since it makes a gradient much cheaper."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from models import CASES
from numpyro.contrib.control_flow import scan
from numpyro.handlers import seed, trace
from numpyro.infer.util import log_density

import conjugate_ppl as cj
from conjugate_ppl.planning import cost


def test_what_is_too_dear_stays_unless_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CASES["gaussian_crossed_sparsely_in_two_blocks"]
    assert set(cj.explain(entry.model, *entry.args).kept) == {"mean", "scale"}
    monkeypatch.setattr(cost, "_LEAST", 0.0)
    monkeypatch.setattr(cost, "_WORTH", 0.0)
    monkeypatch.setattr(cost, "_WORTH_ALL", np.inf)
    plan = cj.explain(entry.model, *entry.args)
    assert plan.collapsed == ("person",)
    assert "`require` collapses it all the same" in plan["question"].reason
    for options in ({"require": ["person", "question"]}, {"only": ["person", "question"]}):
        assert set(cj.collapse(entry.model, **options).plan(*entry.args).kept) == {"mean", "scale"}


def test_of_what_is_too_dear_the_least_determined_by_the_others_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lecturers belong to departments: given the lecturers' effects those of the departments say little, and the other way
    round. So the students stay, who are more."""
    monkeypatch.setattr(cost, "_LEAST", 10**3 * cost._DENSE)
    monkeypatch.setattr(cost, "_SPARSE", 0.0)
    monkeypatch.setattr(cost, "_FLOOR", 0.0)
    monkeypatch.setattr(cost, "_WORTH_ALL", np.inf)
    rng = np.random.default_rng(0)
    student, lecturer = rng.integers(0, 40, 300), rng.integers(0, 24, 300)
    y = rng.normal(size=300)

    def model(nested: bool, noises: Any = None) -> None:
        scale = numpyro.sample("scale", dist.HalfNormal(1.0).expand([4]).to_event(1))
        mean = numpyro.sample("mean", dist.Normal(0.0, 10.0))
        a, b = (numpyro.sample(n, dist.Normal(0.0, scale[k]).expand([size]).to_event(1))
                for k, (n, size) in enumerate((("student", 40), ("lecturer", 24))))
        location = mean + a[student] + b[lecturer]
        if nested:
            c = numpyro.sample("department", dist.Normal(0.0, scale[2]).expand([4]).to_event(1))
            location = location + c[lecturer % 4]
        noise = scale[3]
        if noises is not None:
            own = numpyro.sample("own", dist.HalfNormal(1.0).expand([3]).to_event(1))
            noise = (own * noises)[student % 3]
        numpyro.sample("y", dist.Normal(location, noise), obs=y)

    assert set(cj.explain(model, False).kept) == {"scale", "lecturer"}
    assert set(cj.explain(model, True).kept) == {"scale", "student"}
    for noises in (np.ones(3), np.full(3, 1e-90)):
        assert set(cj.explain(model, True, noises).kept) == {"scale", "own", "student"}


def test_a_dense_prior_is_not_made_cheaper_by_keeping_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything where it is known at run time alone what meets what."""
    monkeypatch.setattr(cost, "_LEAST", 0.0)
    monkeypatch.setattr(cost, "_SPARSE", 0.0)
    monkeypatch.setattr(cost, "_FLOOR", 0.0)
    monkeypatch.setattr(cost, "_WORTH_ALL", np.inf)
    rng, x = np.random.default_rng(0), np.linspace(0.0, 1.0, 30)
    group, y = rng.integers(0, 3, 30), rng.normal(size=30)

    def field() -> None:
        length, t = numpyro.sample("length", dist.LogNormal()), numpyro.sample("t", dist.HalfNormal(1.0))
        f = numpyro.sample("f", dist.MultivariateNormal(
            0.0, jnp.exp(-(((x[:, None] - x) / length) ** 2)) + 0.1 * jnp.eye(30)))
        a = numpyro.sample("a", dist.Normal(0.0, t).expand([3]).to_event(1))
        numpyro.sample("y", dist.Normal(f + a[group], 1.0), obs=y)

    assert set(cj.explain(field).collapsed) == {"f", "a"}

    def groups(one: Any, two: Any, y: Any) -> None:
        t = numpyro.sample("t", dist.HalfNormal(1.0))
        a, b = (numpyro.sample(n, dist.Normal(0.0, t).expand([3]).to_event(1)) for n in "ab")
        numpyro.sample("y", dist.Normal(a[one] + b[two], 1.0), obs=y)

    collapsed = cj.collapse(groups)
    density = jax.jit(lambda *args: log_density(collapsed, args, {}, {"t": jnp.asarray(0.7)})[0])
    first = density(group, group[::-1], y)
    monkeypatch.undo()
    np.testing.assert_allclose(first, log_density(cj.collapse(groups), (group, group[::-1], y), {}, {"t": jnp.asarray(0.7)})[0])


def test_traced_data_follow_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of traced data all is dense, and what is left to the sampler for its costs is what known data have left."""
    entry = CASES["gaussian_crossed_sparsely_in_two_blocks"]
    monkeypatch.setattr(cost, "_LEAST", 0.0)
    for worth in (0.0, np.inf):
        monkeypatch.setattr(cost, "_WORTH", worth)
        monkeypatch.setattr(cost, "_WORTH_ALL", np.inf)
        collapsed = cj.collapse(entry.model)
        args = tuple(map(jnp.asarray, entry.args))
        drawn = trace(seed(entry.model, 0)).get_trace(*args)
        kept = {n: drawn[n]["value"] for n in collapsed.plan(*args).kept}
        assert ("question" in kept) == (worth == 0.0)
        known = log_density(collapsed, args, {}, kept)[0]
        traced = jax.jit(lambda *data, c=collapsed, k=kept: log_density(c, data, {}, k)[0])(*args)
        np.testing.assert_allclose(traced, known, rtol=1e-10)


@pytest.mark.parametrize("name", ["linear_maps", "residual_of_a_system", "gaussian_no_rows",
                                  "gaussian_no_columns"])
def test_traced_data_are_analysed_as_known_ones(name: str) -> None:
    """What the analysis computes of known numbers it computes while something else is traced, too."""
    entry = CASES[name]
    args = tuple(jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in entry.args)
    collapsed = cj.collapse(entry.model)
    drawn = trace(seed(entry.model, 0)).get_trace(*args)

    @jax.jit
    def traced(*data: Any) -> Any:
        plan = collapsed.plan(*data)
        assert frozenset(plan.collapsed) == entry.collapsed
        return log_density(collapsed, data, {}, {n: drawn[n]["value"] for n in plan.kept})[0]

    known = log_density(collapsed, args, {}, {n: drawn[n]["value"] for n in collapsed.plan(*args).kept})[0]
    np.testing.assert_allclose(traced(*args), known, rtol=1e-10)


def test_what_is_wanted_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three crossed groupings the two that are left to the sampler, unless one of them is required."""
    monkeypatch.setattr(cost, "_LEAST", 0.0)
    monkeypatch.setattr(cost, "_FLOOR", 0.0)
    monkeypatch.setattr(cost, "_SPARSE", 0.0)
    rng = np.random.default_rng(0)
    sizes = {"a": 30, "b": 24, "c": 20}
    index = {n: rng.integers(0, size, 400) for n, size in sizes.items()}
    y = rng.normal(size=400)

    def model(y: Any) -> None:
        s = numpyro.sample("s", dist.HalfNormal(1.0).expand([4]).to_event(1))
        effects = [numpyro.sample(n, dist.Normal(0.0, s[k]).expand([size]).to_event(1))[index[n]]
                   for k, (n, size) in enumerate(sizes.items())]
        numpyro.sample("y", dist.Normal(sum(effects), s[3]), obs=y)

    assert len(set(cj.explain(model, y).kept) - {"s"}) == 2
    for name in sizes:
        plan = cj.collapse(model, require=[name]).plan(y)
        stay = set(plan.kept) - {"s"}
        assert name not in stay and all(f"with `{name}`" not in plan[n].reason for n in stay)
    assert set(cj.collapse(model, require=list(sizes)).plan(y).kept) == {"s"}


@pytest.mark.parametrize("columns", [4, 20])
def test_rows_with_weights_of_their_own(columns: int) -> None:
    """As many numbers as pairs of coefficients for each row are more than the model computes; of groups they are not."""
    rng = np.random.default_rng(0)
    x, group = rng.normal(size=(1000, columns)), rng.integers(0, 40, 1000)
    y = x.sum(1) + rng.normal(size=1000)

    def model(y: Any, x: Any, group: Any) -> None:
        b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([columns]).to_event(1))
        a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([40]).to_event(1))
        c = numpyro.sample("c", dist.Normal(0.0, 0.3).expand([columns]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ b + a[group], jnp.exp(x @ c)), obs=y)

    plan = cj.explain(model, y, x, group)
    assert set(plan.collapsed) == ({"a", "b"} if columns == 4 else {"a"})
    assert columns == 4 or "weights of their own" in plan["b"].reason
    assert set(cj.collapse(model, require=["b"]).plan(y, x, group).collapsed) == {"a", "b"}
    assert set(cj.explain(model, y, x + 40.0, group).collapsed) == {"a", "b"}  # nearly collinear: steps are many

    def funnel(y: Any, x: Any, group: Any) -> None:
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        b = numpyro.sample("b", dist.Normal(0.0, scale).expand([columns]).to_event(1))
        c = numpyro.sample("c", dist.Normal(0.0, 0.3).expand([columns]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ b, jnp.exp(x @ c)), obs=y)

    assert cj.explain(funnel, y, x, group).collapsed == ("b",)

    def one_weight(y: Any, x: Any, group: Any) -> None:
        b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([columns]).to_event(1))
        s = numpyro.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ b, s[group % 2]), obs=y)

    assert cj.explain(one_weight, y, x, group).collapsed == ("b",)


def test_steps_of_many_elements(x64: bool) -> None:
    """A walk of twenty states by a loop is left to the sampler, unless it is wanted; of five it is not. Written as running
    sums, whose steps a rotation takes apart, it costs little."""
    y = jnp.asarray(np.random.default_rng(0).normal(size=10))
    team = np.arange(10)

    def walk(y: Any, states: int) -> None:
        q, start = numpyro.sample("q", dist.HalfNormal(1.0)), jnp.zeros(states)

        def step(z: Any, data: Any) -> Any:
            z = numpyro.sample("z", dist.Normal(z, q).to_event(1))
            numpyro.sample("y", dist.Normal(z.sum() - z[data[1] % states], 1.0), obs=data[0])
            return z, None

        scan(step, start, (y, team))

    plan = cj.explain(walk, y, 20)
    assert "steps have 20 elements" in plan["z"].reason and not plan.collapsed
    assert cj.explain(walk, y, 5).collapsed == cj.collapse(walk, require=["z"]).plan(y, 20).collapsed == ("z",)

    def sums(y: Any) -> None:
        q = numpyro.sample("q", dist.HalfNormal(1.0))
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([30, 20]).to_event(2))
        strength = q * jnp.cumsum(z, 0)
        time, team = np.repeat(np.arange(30), 10), np.arange(300) * 7
        y = jnp.tile(y, 30)
        numpyro.sample("y", dist.Normal(strength[time, team % 20] - strength[time, (team + 3) % 20], 1.0).to_event(1), obs=y)

    assert cj.explain(sums, y).collapsed == ("z",)
    found = cj.check(sums, jax.random.key(0), y, num_points=1)
    assert found.relative < (1e-10 if x64 else 1e-4)


def test_a_field_of_neighbours_is_cheap_to_sample() -> None:
    """Its density takes no factor of a matrix, where integrating it out does; that of a process does too."""
    n = 20
    index = np.arange(n * n).reshape(n, n)
    near = np.zeros((n * n, n * n))
    for a, b in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        near[a.reshape(-1), b.reshape(-1)] = near[b.reshape(-1), a.reshape(-1)] = 1.0
    y = np.random.default_rng(0).normal(size=n * n)

    def field(y: Any, near: Any) -> None:
        s = numpyro.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
        rho = numpyro.sample("rho", dist.Beta(5.0, 1.0))
        mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
        f = numpyro.sample("f", dist.CAR(mean * jnp.ones(len(y)), rho, s[0], near))
        numpyro.sample("y", dist.Normal(f, s[1]).to_event(1), obs=y)

    assert cj.explain(field, y, near).collapsed == ("mean",)
    assert set(cj.collapse(field, require=["f"]).plan(y, near).collapsed) == {"mean", "f"}
    for few, found in ((16, {"mean", "f"}), (40, {"mean"})):
        assert set(cj.explain(field, y[:few], near[:few, :few]).collapsed) == found


def _uniform_scale(y: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 10.0))
    numpyro.sample("y", dist.StudentT(4.0, mean, 1.0), obs=y)
    scale = numpyro.sample("scale", dist.Uniform(0.0, 50.0).expand([2]).to_event(1))
    numpyro.sample("z", dist.Normal(0.0, scale[np.arange(len(y)) % 2]), obs=y)


def _uniform_location(y: Any) -> None:
    scale = numpyro.sample("scale", dist.HalfCauchy(5.0))
    mean = numpyro.sample("mean", dist.Uniform(-100.0, 100.0))
    numpyro.sample("y", dist.Normal(mean, scale), obs=y)


def _bounded_effects(y: Any) -> None:
    scale = numpyro.sample("scale", dist.HalfCauchy(5.0))
    effect = numpyro.sample("effect", dist.HalfNormal(scale).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(effect[np.arange(len(y)) % 2], 1.0), obs=y)


def _bounded_errors(y: Any) -> None:
    mean, scale = numpyro.sample("mean", dist.Cauchy(0.0, 10.0)), numpyro.sample("scale", dist.HalfCauchy(5.0))
    with numpyro.plate("rows", len(y)):
        error = numpyro.sample("error", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(mean + error, scale), obs=y)


@pytest.mark.parametrize("model, site, dear", [
    (_uniform_scale, "scale", True), (_uniform_location, "mean", True), (_bounded_effects, "effect", False),
    (_bounded_errors, "error", False)])
def test_sums_over_nodes_that_save_nothing(model: Any, site: str, dear: bool) -> None:
    """Where the sampler moves what the prior depends on, or each row has its own, they do."""
    y = np.random.default_rng(0).normal(size=20).astype(np.float32)
    decision = cj.explain(model, y)[site]
    assert decision.collapsed is not dear
    assert "sum over nodes" in decision.reason if dear else True
    for options in ({"require": [site]}, {"only": [site]}):
        assert site in cj.collapse(model, **options).plan(y).collapsed


def test_sums_over_nodes_that_leave_nothing_to_sample() -> None:
    def model(y: Any) -> None:
        numpyro.sample("y", dist.Poisson(numpyro.sample("rate", dist.Uniform(0.0, 50.0))), obs=y)

    assert cj.explain(model, np.array([3, 5, 2, 4, 4, 7])).kept == ()


@pytest.mark.parametrize("prior, noise, stays", [("flat", None, True), ("normal", None, False), ("flat", 1.0, False)])
def test_missing_cells_of_a_flat_prior(prior: str, noise: float | None, stays: bool) -> None:
    """They meet the coefficients alone, but only a prior lets them go one by one. If nothing is sampled, all go."""
    rng = np.random.default_rng(0)
    x, missing = rng.normal(size=280).astype(np.float32), np.arange(0, 280, 4)
    y = (1 + 0.5 * x + rng.normal(size=280)).astype(np.float32)

    def model(x: Any, y: Any) -> None:
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        s = numpyro.sample("s", dist.HalfCauchy(1.0)) if noise is None else noise
        cells = numpyro.sample("cells", dist.Normal(0.0, 1.0).expand([70]).mask(prior == "normal"))
        x = jnp.asarray(x, float).at[missing].set(cells)
        numpyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
        numpyro.sample("y", dist.Normal(a + 0.5 * x, s), obs=y)

    assert cj.explain(model, x, y)["cells"].collapsed is not stays
    assert "cells" in cj.collapse(model, require=["cells"]).plan(x, y).collapsed


def test_means_with_flat_priors_go() -> None:
    """They meet nothing in common."""
    def model(y: Any) -> None:
        means = numpyro.sample("means", dist.Normal(0.0, 1.0).expand([70]).mask(False))
        numpyro.sample("y", dist.Normal(means[np.arange(280) % 70], numpyro.sample("s", dist.HalfCauchy(1.0))), obs=y)

    assert cj.explain(model, np.random.default_rng(0).normal(size=280).astype(np.float32)).collapsed == ("means",)


def test_of_rivals_the_larger_goes_or_what_is_required() -> None:
    """Rates as products: given any two of three sites the third is conjugate. The home advantage, one number, comes last in the
    model and would go first."""
    rng = np.random.default_rng(0)
    home = rng.integers(0, 6, 40)
    away = (home + rng.integers(1, 6, 40)) % 6

    def model(goals: Any) -> None:
        shape = numpyro.sample("shape", dist.LogNormal(1.0, 0.3))
        with numpyro.plate("teams", 6):
            attack = numpyro.sample("attack", dist.Gamma(shape, shape))
            defence = numpyro.sample("defence", dist.Gamma(5.0, 5.0))
        advantage = numpyro.sample("advantage", dist.Gamma(10.0, 8.0))
        numpyro.sample("home", dist.Poisson(advantage * attack[home] * defence[away]), obs=goals[0])
        numpyro.sample("away", dist.Poisson(attack[away] * defence[home]), obs=goals[1])

    goals = rng.poisson(1.5, (2, 40))
    cj.check(model, jax.random.key(0), goals)
    plan = cj.explain(model, goals)
    assert plan.collapsed == ("defence",)
    assert "`defence` could not be, which is larger" in plan["advantage"].reason
    assert "the marginal of `defence`" in plan["attack"].reason
    for name in ("attack", "defence", "advantage"):
        required = cj.collapse(model, require=[name]).plan(goals)
        assert required.collapsed == (name,)
    required = cj.collapse(model, require=["attack"]).plan(goals)
    for name in ("defence", "advantage"):
        assert "`attack` could not be, which is asked for" in required[name].reason
    with pytest.raises(cj.PlanError, match="required to be collapsed"):
        cj.collapse(model, require=["attack", "defence"]).plan(goals)
