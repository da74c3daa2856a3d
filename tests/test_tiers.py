"""Groups in groups: components whose rest is split once more, against the same blocks with a dense rest and a dense normal."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import CASES
from models.tiers import DISTRICT, DISTRICTS, PUPILS, SCHOOL, SCHOOLS
from numpyro import handlers, plate, sample
from numpyro.infer.util import log_density
from scipy.stats import multivariate_normal, norm
from test_dual import derivatives
from test_shaped import block_of

import conjugate_ppl as cj
from conjugate_ppl.gaussian import block as blocks
from conjugate_ppl.gaussian.structure import Structure, in_tiers
from conjugate_ppl.gaussian.tiers import Tiers

WIDTHS = {"tiers_schools": [(70, 1), (24, 1)], "tiers_classes": [(90, 1), (40, 1), (18, 1)], "tiers_slopes": [(70, 2), (24, 2)],
          "tiers_known_errors": [(70, 1), (24, 1)], "tiers_two_scales": [(70, 1), (24, 1)], "tiers_of_a_decay": [(70, 1), (24, 5)]}


def args_of(name: str) -> Any:
    return CASES[name].model, tuple(map(jnp.asarray, CASES[name].args))


@pytest.mark.parametrize("name", WIDTHS)
def test_as_with_a_dense_rest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Density, gradient and its change, the law of every site, and draws."""
    model, args = args_of(name)
    block = block_of(model, *args)
    assert [t.components.shape for t in block.structure.tiers] == WIDTHS[name]
    assert isinstance(block.parts, Tiers) == (name not in ("tiers_two_scales", "tiers_of_a_decay"))

    found, laws = derivatives(model, args), laws_of(model, args)
    monkeypatch.setattr(blocks, "in_tiers", lambda *_: None)
    assert block_of(model, *args).structure.upper is None
    for a, b in zip(found, derivatives(model, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    dense = laws_of(model, args)
    assert set(laws) == set(dense) and laws
    for site, moments in laws.items():
        for a, b in zip(moments, dense[site], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def laws_of(model: Any, args: Any) -> Any:
    collapsed = cj.collapse(model)
    return jax.jit(lambda kept: {n: (d.mean, d.variance) for n, d in collapsed.conditionals(kept, *args).items()})(
        kept_of(collapsed, args))


def kept_of(collapsed: Any, args: Any) -> dict[str, Any]:
    found = handlers.trace(handlers.seed(collapsed, 3)).get_trace(*args)
    return {n: s["value"] for n, s in found.items() if s["type"] == "sample" and not s["is_observed"]}


@pytest.mark.parametrize("name", ["tiers_classes", "tiers_slopes", "tiers_of_a_decay"])
def test_draws_have_the_moments_of_their_laws(name: str) -> None:
    model, args = args_of(name)
    collapsed, many = cj.collapse(model), 4000
    kept, laws = kept_of(collapsed, args), laws_of(model, args)
    drawn = collapsed.recover(jax.random.key(5), {n: jnp.broadcast_to(x, (many, *x.shape)) for n, x in kept.items()}, *args)
    for site, (mean, variance) in laws.items():
        gap = (drawn[site] - mean) / np.sqrt(variance)
        assert np.abs(gap.mean(0)).max() < 5 / np.sqrt(many)
        assert np.abs((gap**2).mean(0) - 1).max() < 5 * np.sqrt(2 / many)


GIVEN = [{"between": 0.8, "within": 0.6, "noise": 1.1}, {"between": 1e-3, "within": 2.0, "noise": 0.3},
         {"between": 30.0, "within": 1e-4, "noise": 0.7}, {"between": 1.5, "within": 20.0, "noise": 0.05}]


@pytest.mark.optimised
@pytest.mark.parametrize("given", GIVEN)
def test_against_a_dense_normal(given: dict[str, float], x64: bool) -> None:
    """Scales from far below to far above each other."""
    model, args = args_of("tiers_schools")
    found, slopes = jax.jit(jax.value_and_grad(lambda z: log_density(cj.collapse(model), args, {}, z)[0]))(
        {n: jnp.asarray(v) for n, v in given.items()})
    y, x = (np.asarray(a, float) for a in args)
    one = np.concatenate([np.ones((PUPILS, 1)) * 10, x * 5], 1)
    school, district = np.eye(SCHOOLS)[SCHOOL], np.eye(DISTRICTS)[DISTRICT[SCHOOL]]

    z = {n: float(jnp.asarray(v)) for n, v in given.items()}
    parts = {"between": district @ district.T, "within": school @ school.T, "noise": np.eye(PUPILS)}
    covariance = one @ one.T + sum(z[n]**2 * m for n, m in parts.items())
    expected = multivariate_normal(np.zeros(PUPILS), covariance).logpdf(y) + sum(np.log(2) + norm.logpdf(v) for v in z.values())
    np.testing.assert_allclose(found, expected, rtol=1e-10 if x64 else 1e-6, atol=0 if x64 else 1e-3)
    inverse = np.linalg.inv(covariance)
    pulled = inverse @ y
    for n, m in parts.items():
        slope = z[n] * (pulled @ m @ pulled - np.sum(inverse * m)) - z[n]
        np.testing.assert_allclose(slopes[n], slope, rtol=1e-7 if x64 else 1e-3, atol=1e-7 if x64 else 1e-3)


def test_of_districts_that_are_alike_one_stands_for_all() -> None:
    y = jnp.asarray(np.random.default_rng(0).normal(size=(20, 6, 5)))

    def model(y: Any) -> None:
        between, within = sample("between", dist.HalfNormal(1.0)), sample("within", dist.HalfNormal(1.0))
        with plate("districts", 20, dim=-2):
            district = sample("district", dist.Normal(0.0, between))
            with plate("schools", 6, dim=-1):
                school = sample("school", dist.Normal(district, within))
        sample("y", dist.Normal(school[..., None], 1.0).to_event(3), obs=y)

    assert block_of(model, y).structure.upper is None


def structure(groups: list[list[int]], pairs: list[tuple[int, int]]) -> Structure | None:
    rows, columns = np.array([*pairs, *((j, i) for i, j in pairs)]).T
    return in_tiers(sum(map(len, groups)), [(np.array(g), True) for g in groups], rows, columns)


def test_tiers_of_groups_in_groups() -> None:
    """Eight leaves in four twigs in two branches, and a stem."""
    leaves, twigs, branches, stem = list(range(8)), list(range(8, 12)), [12, 13], [14]
    pairs = [(i, j) for k in leaves for i, j in ((k, 8 + k // 2), (k, 12 + k // 4), (k, 14))]
    s = structure([stem, branches, twigs, leaves], pairs)
    assert s is not None
    assert [sorted(t.components.ravel().tolist()) for t in s.tiers] == [leaves, twigs, branches]
    assert s.core.blocks.tolist() == [stem] and s.reach == 3 and s.upper is not None
    first, second = s.upper.homes
    twig = s.upper.structure.components[first, 0]
    assert (twig == 8 + s.components[:, 0] // 2).all()
    assert (s.core.components[second, 0] == 12 + s.components[:, 0] // 4).all()
    assert s.column(np.array([8, 11, 12, 14])).tolist() == [0, 0, 1, 2]


def test_crossed_groupings_have_no_tiers() -> None:
    pairs = [(i, 6 + j) for i in range(6) for j in range(4) if (i + j) % 3]
    assert structure([list(range(6)), list(range(6, 10))], pairs) is None
