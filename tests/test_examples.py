"""Every example collapses what it should, and exactly: the identity of `check` in float64."""

import functools
import importlib.util
from pathlib import Path

import jax
import numpy as np
import numpyro
import pytest
from test_shaped import block_of

import conjugate_ppl as cj

FOLDER = Path(__file__).parents[1] / "examples"
SCALES = {"L_u", "tau_u", "sigma"}

# (file, model, argument of data(), collapsed, kept)
CASES = [
    ("eight_schools", "centred", None, {"theta", "mu"}, {"tau"}),
    ("eight_schools", "non_centred", None, {"z", "mu"}, {"tau"}),
    ("partial_pooling", "model", "rat_tumors", {"phi"}, {"m", "kappa"}),
    ("partial_pooling", "model", "baseball_large", {"phi"}, {"m", "kappa"}),
    ("partial_pooling", "model", "efron_morris", {"phi"}, {"m", "kappa"}),
    ("electric_company", "model", None, {"mua", "a", "b"}, {"sigmay"}),
    ("random_slopes", "model", None, {"a", "b", "m_a", "m_b"}, {"s_a", "s_b", "s"}),
    ("crossed_effects", "dutch", "dutch", {"alpha", "beta", "u", "w"}, SCALES | {"L_w", "tau_w"}),
    ("crossed_effects", "dutch_plates", "dutch_plates", {"alpha", "beta", "u", "w"},
     SCALES | {"L_w", "tau_w"}),
    ("crossed_effects", "gibsonwu", "gibsonwu", {"alpha", "beta", "u", "w"},
     SCALES | {"L_w", "tau_w"}),
    ("crossed_effects", "pupil", "pupil", {"alpha", "beta", "u"}, SCALES),
    ("regression", "kidiq", "kidiq", {"beta"}, {"sigma"}),
    ("regression", "nig", "nig", {"beta", "s2"}, set()),
    ("regression", "logistic", "logistic", set(), {"beta"}),
    ("pumps", "model", None, {"theta"}, {"alpha", "beta"}),
    ("time_series", "nile", "nile_missing", {"first", "level"}, {"noise", "drift"}),
    ("time_series", "co2", "co2", {"level_0", "slope_0", "season_0", "slope", "level", "season"}, {"scales"}),
    ("time_series", "sunspots", "sunspots", {"mean", "beta"}, {"sigma"}),
    ("hidden_states", "basketball", "basketball", {"state"}, {"steps", "mean"}),
    ("hidden_states", "galaxies", "galaxies", {"cluster"}, {"weight", "mean", "scale"}),
]


@pytest.fixture(autouse=True)
def float64():
    before = jax.config.jax_enable_x64
    numpyro.enable_x64(True)
    yield
    numpyro.enable_x64(before)


def load(name):
    """The module of one example; examples are files, not a package."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepared(file, model, which):
    """A model and its arguments."""
    module = load(file)
    return getattr(module, model), module.data() if which is None else module.data(which)


@pytest.mark.parametrize(("file", "model", "which", "collapsed", "kept"), CASES,
                         ids=[f"{c[0]}-{c[2] or c[1]}" for c in CASES])
def test_example(file, model, which, collapsed, kept):
    model, kwargs = prepared(file, model, which)
    whole = cj.collapse(model)
    plan = cj.explain(whole, **kwargs)
    assert set(plan.collapsed) == collapsed
    assert set(plan.kept) == kept
    certificate = cj.check(whole, jax.random.key(0), num_points=2, **kwargs)
    assert certificate.points == 4
    assert certificate.tolerance == 1e-8
    assert certificate.relative <= certificate.tolerance


def test_every_example_is_tested():
    assert {c[0] for c in CASES} == {p.stem for p in FOLDER.glob("*.py")}


def test_evidence_of_the_normal_inverse_gamma_regression():
    model, kwargs = prepared("regression", "nig", "nig")
    np.testing.assert_allclose(cj.collapse(model).log_evidence(**kwargs), -2415.4842453626,
                               rtol=0, atol=1e-8)


def test_declined_regression_names_the_line():
    model, kwargs = prepared("regression", "logistic", "logistic")
    decision = cj.explain(model, **kwargs)["beta"]
    assert not decision.collapsed
    file, line = decision.source.split(":")
    assert file == "regression.py"
    assert "Bernoulli" in (FOLDER / file).read_text().splitlines()[int(line) - 1]
    assert "`y`" in decision.reason


def test_every_data_file_has_a_source():
    sources = (FOLDER / "data" / "SOURCES.md").read_text()
    names = {p.name for p in (FOLDER / "data").iterdir()} - {"SOURCES.md"}
    assert names
    assert [n for n in sorted(names) if f"`{n}`" not in sources] == []


def test_simulated_patients_are_unbalanced():
    kwargs = load("random_slopes").data()
    rows = np.bincount(kwargs["patient"])
    assert (len(rows), rows.sum()) == (176, 1549)
    assert rows.min() < rows.max()


@pytest.mark.parametrize(("name", "most"), [("dutch", 10), ("gibsonwu", 8)])
def test_the_balance_of_a_design_is_found(name, most):
    """What is left after rotations that free most effects: without them, or with rounding taken for numbers, three times as much."""
    model, kwargs = prepared("crossed_effects", name, name)
    structure = block_of(functools.partial(model, **kwargs)).structure
    assert structure.blocks.shape == (1, most)
