"""The models of the benchmarks: as a user writes them, other forms for plain NUTS, data, and marginalised by hand."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import written
from numpyro.handlers import reparam
from numpyro.infer.reparam import LocScaleReparam, Reparam

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Model = Callable[..., Any]
Way = tuple[Model, tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model as its author wrote it, other ways to write it for plain NUTS, and data, in the order of the arguments.

    `family` says what it is one of; `rows` and `statistics` are models by hand and what they take, if there are any.
    """

    model: Model
    others: dict[str, Model]
    data: dict[str, Any]
    family: str = ""
    rows: Way | None = None
    statistics: Way | None = None


def example(name: str) -> Any:
    """One of the example scripts, as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Whitened(Reparam):
    """A multivariate normal site of `count` rows written as a matrix times standard normals."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[None, Any]:
        base = fn
        while hasattr(base, "base_dist"):
            base = base.base_dist
        n = base.event_shape[0]
        white = numpyro.sample(f"{name}_white", dist.Normal(0, 1).expand([self.count, n]).to_event(2))
        return None, base.loc + white @ base.scale_tril.T


def noncentred(model: Model, *sites: str, **rows: int) -> Model:
    """The model with location-scale sites, and multivariate ones of so many rows, non-centred."""
    return reparam(model, config={**{s: LocScaleReparam(0) for s in sites},
                                  **{s: Whitened(n) for s, n in rows.items()}})


def cases() -> dict[str, Callable[[], Case]]:
    """Every model of the main job."""
    regression, pumps = example("regression"), example("pumps")
    return {
        "eight_schools": eight_schools,
        **{f"pooling_{n}": lambda n=n: pooling(n) for n in ("rat_tumors", "baseball_large", "efron_morris")},
        "electric": electric,
        "random_slopes": random_slopes,
        **{n: lambda n=n: mixed(n) for n in ("dutch", "pupil", "gibsonwu")},
        "kidiq": kidiq,
        "pumps": lambda: Case(pumps.model, {}, pumps.data(), "pooling", (written.pumps_rows, _values(pumps.data(), "x", "t"))),
        "nig": lambda: Case(regression.nig, {}, regression.data("nig"), "regression"),
        "logistic": lambda: Case(regression.logistic, {}, regression.data("logistic"), "nothing to collapse"),
    }


def more_cases() -> dict[str, Callable[[], Case]]:
    """And those that the main job does not have."""
    return {"radon": radon, "basketball": basketball, "galaxies": galaxies, "level": level, "field": field}


def _values(data: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(data[n] for n in names)


def eight_schools() -> Case:
    schools = example("eight_schools")
    data = schools.data()
    return Case(schools.centred, {"non-centred": schools.non_centred}, data, "pooling",
                statistics=(written.schools, _values(data, "y", "sigma")))


def pooling(name: str) -> Case:
    model = example("partial_pooling")
    data = model.data(name)
    args = _values(data, "y", "n")
    return Case(model.model, {}, data, "pooling", (written.pooling_rows, args),
                (written.pooling_rows, written.pooling_sums(*args)))


def electric() -> Case:
    model = example("electric_company")
    return Case(model.model, {"non-centred": noncentred(model.model, "a")}, model.data(), "correlated or crossed")


def radon() -> Case:
    """As many rows and groups as the radon data of Minnesota have."""
    rng = np.random.default_rng(0)
    group = np.sort(np.concatenate([np.arange(85), rng.choice(85, 834, p=rng.dirichlet(np.ones(85)))]))
    x = rng.integers(0, 2, 919).astype(float)
    y = 1.4 - 0.6 * x + 0.15 * rng.normal(size=85)[group] + 0.7 * rng.normal(size=919)
    args = (group, x, y, 85)
    return Case(written.radon, {"non-centred": noncentred(written.radon, "a")},
                dict(zip(("group", "x", "y", "groups"), args, strict=True)), "pooling", (written.radon_rows, args),
                (written.radon_statistics, (*written.radon_sums(*args), 919)))


def random_slopes() -> Case:
    model = example("random_slopes")
    data = model.data()
    args = _values(data, "patient", "year", "y", "num_patients")
    return Case(model.model, {"non-centred": noncentred(model.model, "a", "b")}, data, "pooling",
                (written.slopes_rows, args), (written.slopes_statistics, (*written.slopes_sums(*args), len(data["y"]))))


def mixed(name: str) -> Case:
    """A model of correlated effects and its non-centred form."""
    crossed = example("crossed_effects")
    model, data = crossed.MODELS[name], crossed.data(name)
    rows = {"u": data["num_subjects"]}
    if "num_items" in data:
        rows["w"] = data["num_items"]
    if name == "pupil":
        args = _values(data, "subject", "load", "y", "num_subjects")
        statistics: Way = (written.pupil_statistics, (*written.pupil_sums(*args), len(data["y"])))
        by_rows: Way = (written.pupil_rows, args)
    else:
        args = _values(data, "subject", "item", "x", "y", "num_subjects", "num_items")
        by_rows, sums, rest = (written.dutch_rows, args), args, (len(data["y"]), *args[4:])
        statistics = (written.dutch_statistics, ())
        if name == "gibsonwu":
            by_rows, statistics = (written.gibsonwu_rows, args), (written.gibsonwu_statistics, ())
            sums, rest = (*args[:3], np.log(args[3]), *args[4:]), (*rest, float(np.log(args[3]).sum()))
        statistics = (statistics[0], (*written.dutch_sums(*sums), *rest))
    return Case(model, {"non-centred": noncentred(model, **rows)}, data, "correlated or crossed", by_rows, statistics)


def kidiq() -> Case:
    regression = example("regression")
    data = regression.data("kidiq")
    args = _values(data, "X", "y")
    return Case(regression.kidiq, {}, data, "regression", (written.kidiq_rows, args),
                (written.kidiq_statistics, (*written.kidiq_sums(*args), *args[0].shape)))


def basketball() -> Case:
    states = example("hidden_states")
    data = states.data("basketball")
    return Case(states.basketball, {}, data, "discrete", (written.basketball_rows, (data["y"],)))


def galaxies() -> Case:
    states = example("hidden_states")
    data = states.data("galaxies")
    return Case(states.galaxies, {}, data, "discrete", (written.galaxies_rows, (data["y"],)))


def level() -> Case:
    y = np.genfromtxt(EXAMPLES / "data" / "nile.csv", delimiter=",", names=True)
    y = y[y.dtype.names[-1]].astype(float)
    return Case(written.level, {"non-centred": written.level_noncentred}, {"y": y}, "series and fields",
                (written.level_rows, (y,)))


def field() -> Case:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 6, 50))
    data = {"x": x, "y": np.sin(x) + 0.3 * rng.normal(size=50)}
    return Case(written.field, {"non-centred": written.field_noncentred}, data, "series and fields",
                (written.field_rows, (x, data["y"])))
