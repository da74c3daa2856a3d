"""What a user waits for before sampling begins: a whole run with a handful of draws, in processes of their own.

    python benchmarks/startup.py [eight_schools radon ...] [--times 3] [--cache DIRECTORY] [--detail]

For each model `MCMC(NUTS(model)).run` and `MCMC(Collapsed(model)).run`, 20 draws of warm-up and 20 more, float32; a
process imports both packages first, which is not counted. Printed are processor seconds and wall-clock seconds (the
least of so many times), their differences, and of what JAX did: seconds of tracing, of lowering and of compiling, and
how many programs were compiled. With `--cache` JAX's persistent cache is in use, so that a second time reads what the
first has compiled; programs compiled all the same are counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

Case = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def example_case(name: str, model: str, *data: Any) -> Callable[[], Case]:
    def case() -> Case:
        from job import example

        module = example(name)
        return getattr(module, model), (), module.data(*data)

    return case


def dutch() -> Case:
    from job import example

    crossed = example("crossed_effects")
    return crossed.MODELS["dutch"], (), crossed.data("dutch")


def radon() -> Case:
    from job import radon

    case = radon()
    return case.model, (), case.data


def slopes() -> Case:
    from analysis import rows_and_groups

    return (*rows_and_groups(1000, 100), {})


def series(name: str) -> Callable[[], Case]:
    def case() -> Case:
        import numpy as np
        import timeseries

        rng = np.random.default_rng(0)
        y = np.cumsum(rng.normal(size=200)) if name == "trend" else rng.normal(size=200) + 5 * (np.arange(200) // 20 % 2)
        return getattr(timeseries, name), (y,), {}

    return case


CASES: dict[str, Callable[[], Case]] = {
    "eight_schools": example_case("eight_schools", "centred"),
    "radon": radon,
    "slopes": slopes,
    "dutch": dutch,
    "pumps": example_case("pumps", "model"),
    "kidiq": example_case("regression", "kidiq", "kidiq"),
    "nig": example_case("regression", "nig", "nig"),
    "trend": series("trend"),
    "hidden_markov": series("hidden_markov"),
}
PLAIN_TOO = [n for n in CASES if n != "hidden_markov"]  # plain NUTS cannot move its states


def child(name: str, kind: str, cache: str) -> None:
    """One run; prints what it took."""
    import jax
    from numpyro.infer import MCMC, NUTS

    import conjugate_ppl as cj

    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    spent: Counter[str] = Counter()

    def listen(event: str, seconds: float, **_: Any) -> None:
        short = event.rsplit("/", 1)[-1].removesuffix("_duration")
        spent[short] += seconds
        spent[short + "#"] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    jax.monitoring.register_event_listener(lambda event, **_: spent.update([event.rsplit("/", 1)[-1]]))
    model, args, kwargs = CASES[name]()
    jax.block_until_ready(jax.numpy.zeros(3) + 1)  # the compiler is loaded
    spent.clear()
    cpu, wall = time.process_time(), time.perf_counter()
    if kind != "plain":
        cj.explain(collapsed := cj.collapse(model), *args, **kwargs)
        spent["analysis"] = time.process_time() - cpu
    kernel = NUTS(model) if kind == "plain" else cj.Collapsed(collapsed)
    mcmc = MCMC(kernel, num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0), *args, **kwargs)
    jax.block_until_ready(mcmc.get_samples())
    spent["cpu"], spent["wall"] = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps(spent))


def measured(name: str, kind: str, cache: str, times: int) -> dict[str, float]:
    """The least of each number over some processes."""
    runs = []
    for _ in range(times):
        found = subprocess.run([sys.executable, __file__, "--child", name, kind, "--cache", cache], check=True,
                               stdout=subprocess.PIPE, text=True).stdout
        runs.append(json.loads(found.splitlines()[-1]))
    return {k: min(r.get(k, 0.0) for r in runs) for k in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--cache", default="")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.cache)
        return
    print("| model | | processor, s | wall, s | analysis | tracing | lowering | compiling | programs |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.names or CASES:
        for kind in ("plain", "collapsed"):
            if kind == "plain" and name not in PLAIN_TOO:
                continue
            r = measured(name, kind, options.cache, options.times)
            missed = r.get("cache_misses", 0) if options.cache else r.get("backend_compile#", 0)
            print(f"| {name} | {kind} | {r['cpu']:.1f} | {r['wall']:.1f} | {r.get('analysis', 0):.2f} | "
                  f"{r.get('jaxpr_trace', 0):.2f} | {r.get('jaxpr_to_mlir_module', 0):.2f} | "
                  f"{r.get('backend_compile', 0):.2f} | {missed:.0f} |", flush=True)


if __name__ == "__main__":
    main()
