"""Plain NUTS (each way of writing a model) against `Collapsed`, in one run.

Two figures a model:

* steady: effective samples a second of the worst scalar, sampling alone: the time of a run of 10 n draws
  less that of a run of n draws, so that the fixed start-up of a run drops out (1 chain, n = 2000, or
  20000 where that takes less than two seconds, which compilation's noise would hide);
* cold: seconds to 1000 effective samples of the worst scalar, everything included (analysis, compilation,
  warm-up), from the measured start-up and the steady rate.

Times are of this machine; only the ratios mean something. Usage:

    python benchmarks/main_job.py [name ...] [--draws 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size
from numpyro.handlers import reparam
from numpyro.infer import MCMC, NUTS
from numpyro.infer.reparam import LocScaleReparam, Reparam

from conjugate_ppl import Collapsed

_SECONDS = 2.0  # of sampling that a rate is measured on
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Model = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model as its author wrote it, other ways to write it for plain NUTS, and data."""

    model: Model
    others: dict[str, Model]
    data: dict[str, Any]


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


@dataclasses.dataclass(frozen=True)
class Result:
    """What one sampler did."""

    cold: float
    steady: float
    per_leapfrog: float
    leapfrogs: float


def measure(kernel: Any, data: dict[str, Any], draws: int, seed: int) -> Result:
    """Steady and cold figures of one kernel."""

    def timed(mcmc: MCMC, key: Any) -> float:
        start = time.perf_counter()
        mcmc.run(key, **data, extra_fields=("num_steps",))
        jax.block_until_ready(mcmc.get_samples())
        return time.perf_counter() - start

    keys = jax.random.split(jax.random.key(seed), 3)
    jax.clear_caches()  # nobody starts with what another compiled
    first = MCMC(kernel, num_warmup=1000, num_samples=draws, progress_bar=False)
    startup = timed(first, keys[0])
    n, gap = draws, 0.0
    while gap < _SECONDS and n <= 10 * draws:
        times = {}
        for length in (n, 10 * n):
            mcmc = MCMC(kernel, num_warmup=1000, num_samples=length, progress_bar=False)
            mcmc.post_warmup_state = first.last_state
            # every run compiles again; the shortest of several times has least of the machine's noise
            times[length] = timed(mcmc, keys[1])
            for _ in range(int(np.clip(20 / times[length], 1, 3))):
                times[length] = min(times[length], timed(mcmc, keys[1]))
        gap, n = times[10 * n] - times[n], 10 * n
    samples = mcmc.get_samples(group_by_chain=True)
    steps = mcmc.get_extra_fields()["num_steps"]
    worst = np.inf
    for value in samples.values():
        flat = np.asarray(value, np.float64).reshape(*value.shape[:2], -1)
        flat = flat[:, :, flat.std((0, 1)) > 0]
        if flat.shape[-1]:
            worst = min(worst, float(np.min(effective_sample_size(flat))))
    steady = worst / max(gap * 10 / 9, 1e-9)
    rest = max(0.0, 1000 - worst * draws / n)
    leapfrogs = float(np.sum(steps))
    return Result(startup + rest / steady, steady, worst / leapfrogs if leapfrogs else np.inf,
                  float(np.mean(steps)))


def cases() -> dict[str, Callable[[], Case]]:
    """Every model of the main job."""
    schools, pooling = example("eight_schools"), example("partial_pooling")
    electric, slopes = example("electric_company"), example("random_slopes")
    crossed, regression, pumps = (example(n) for n in ("crossed_effects", "regression", "pumps"))
    return {
        "eight_schools": lambda: Case(schools.centred, {"non-centred": schools.non_centred},
                                      schools.data()),
        **{f"pooling_{n}": lambda n=n: Case(pooling.model, {}, pooling.data(n))
           for n in ("rat_tumors", "baseball_large", "efron_morris")},
        "electric": lambda: Case(electric.model, {"non-centred": noncentred(electric.model, "a")},
                                 electric.data()),
        "random_slopes": lambda: Case(slopes.model, {
            "non-centred": noncentred(slopes.model, "a", "b")}, slopes.data()),
        **{n: lambda n=n: mixed(crossed, n) for n in ("dutch", "pupil", "gibsonwu")},
        "kidiq": lambda: Case(regression.kidiq, {}, regression.data("kidiq")),
        "pumps": lambda: Case(pumps.model, {}, pumps.data()),
        "nig": lambda: Case(regression.nig, {}, regression.data("nig")),
        "logistic": lambda: Case(regression.logistic, {}, regression.data("logistic")),
    }


def mixed(crossed: Any, name: str) -> Case:
    """A model of correlated effects and its non-centred form."""
    model, data = crossed.MODELS[name], crossed.data(name)
    rows = {"u": data["num_subjects"]}
    if "num_items" in data:
        rows["w"] = data["num_items"]
    return Case(model, {"non-centred": noncentred(model, **rows)}, data)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    known = cases()
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(known)}")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args()
    if options.float64:
        jax.config.update("jax_enable_x64", True)
    print("| model | sampler | steady, min ESS/s | ratio | ESS a leapfrog | leapfrogs a draw | "
          "cold, s | cold less plain, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.names or known:
        case = known[name]()
        plain = {"as written": case.model, **case.others}
        results = {label: measure(NUTS(m), case.data, options.draws, options.seed)
                   for label, m in plain.items()}
        best = max(results.values(), key=lambda r: r.steady)
        quickest = min(r.cold for r in results.values())
        results["collapsed"] = measure(Collapsed(case.model), case.data, options.draws,
                                       options.seed)
        for label, r in results.items():
            print(f"| {name} | {label} | {r.steady:.0f} | {r.steady / best.steady:.2f} | "
                  f"{r.per_leapfrog:.3g} | {r.leapfrogs:.1f} | {r.cold:.1f} | "
                  f"{r.cold - quickest:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
