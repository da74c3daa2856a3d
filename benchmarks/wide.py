"""Every model of the benchmarks, each way of writing it, over several seeds: the table of docs/performance.md.

    python benchmarks/wide.py [--only dutch pupil ...] [--seeds 3] [--draws 2000] [--growth] [--write]

A model is sampled by plain NUTS in each form that it has (the better counts), by NUTS on a model marginalised by hand,
on rows and on statistics (`written.py`), by NumPyro's enumeration where it has discrete latents, and by `Collapsed`.
Each run has a process of its own, which counts in full: peak memory is its own, and nothing is compiled before. What is
measured is kept, a line a run, in `--results` (default benchmarks/results/wide.jsonl), so that the models can be done
piece by piece; what is there already is not run again. The table is made of all that is there, ratios from runs of the
same seed, with intervals of 95 % over the seeds (Student's t on logarithms); `--write` puts it into docs/performance.md,
between its marks.

With `--growth`, microseconds a gradient in a sampler's loop and in a call of its own, seconds to the first one and memory as
rows and groups become more.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
WAYS = ("as written", "non-centred", "enumerated", "rows", "statistics", "collapsed")
ROWS, GROUPS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000), (100, 1_000, 10_000, 100_000, 1_000_000)
Run = dict[str, Any]


# -- one run, in a process of its own ----------------------------------------------------------------------


def child(name: str, way: str, seed: int, draws: int) -> Run:
    """One model, sampled in one way."""
    import jax
    from gradient import looped, seconds
    from job import cases, more_cases
    from numpyro.infer import NUTS
    from numpyro.infer.util import initialize_model
    from sampling import measure

    import conjugate_ppl as cj

    case = {**cases(), **more_cases()}[name]()
    model, args, kwargs = case.model, (), case.data
    if way in ("rows", "statistics"):
        (model, args), kwargs = getattr(case, way), {}
    elif way in case.others:
        model = case.others[way]
    kernel = cj.Collapsed(model) if way == "collapsed" else NUTS(model)
    before = _memory()
    result = measure(kernel, kwargs, draws, seed, args)
    out = {"model": name, "way": way, "seed": seed, "draws": draws, "family": case.family, "memory": _memory() - before,
           **dataclasses.asdict(result)}
    collapsed = cj.collapse(model) if way == "collapsed" else model
    if way != "enumerated" and not (way == "collapsed" and not collapsed.plan(**kwargs).kept):
        info = initialize_model(jax.random.key(seed), collapsed, model_args=args, model_kwargs=kwargs)
        rough = looped(info.potential_fn, info.param_info.z, 3)
        number = int(np.clip(0.05 / seconds({"": rough})[""], 3, 3000))
        out["gradient"] = seconds({"": looped(info.potential_fn, info.param_info.z, number)})[""]
    return out


def _memory() -> float:
    """Bytes, at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def grown(rows: int, groups: int, way: str) -> Run:
    """A gradient of random intercepts with a covariate, as so many rows fall into so many groups."""
    import jax
    import written
    from gradient import looped, seconds
    from numpyro.infer.util import initialize_model

    import conjugate_ppl as cj

    rng = np.random.default_rng(0)
    group = rng.integers(0, groups, rows)
    x = rng.normal(size=rows).astype(np.float32)
    y = (0.5 * rng.normal(size=groups)[group] + x + rng.normal(size=rows)).astype(np.float32)
    jax.block_until_ready(jax.numpy.zeros(3) + 1)  # the compiler is loaded
    begin, before = time.perf_counter(), _memory()
    args: tuple[Any, ...] = (group, x, y, groups)
    if way == "statistics":
        args = (*jax.jit(written.radon_sums, static_argnums=3)(*args), rows)
    of = {"statistics": written.radon_statistics, "rows": written.radon_rows, "as written": written.radon,
          "collapsed": cj.collapse(written.radon)}
    info = initialize_model(jax.random.key(0), of[way], model_args=args, validate_grad=False)
    z = info.param_info.z
    jax.block_until_ready(jax.jit(jax.value_and_grad(info.potential_fn))(z))
    first = time.perf_counter() - begin
    rough = looped(info.potential_fn, z, 3)
    number = int(np.clip(0.2 / seconds({"": rough})[""], 3, 3000))
    took = seconds({"": looped(info.potential_fn, z, number)})[""]
    memory = _memory() - before
    # in a call of its own, of data that are arguments, the compiler computes nothing ahead
    call, data = jax.jit(jax.value_and_grad(lambda z, _: info.potential_fn(z))), tuple(map(jax.numpy.asarray, args[:3]))
    if way in ("rows", "as written"):
        potential = initialize_model(jax.random.key(0), of[way], model_args=args, dynamic_args=True).potential_fn
        call = jax.jit(jax.value_and_grad(lambda z, data: potential(*data, *args[3:])(z)))
    once = seconds({"": (lambda z: call(z, data), z, 1)}, 20)[""]
    return {"growth": [rows, groups], "way": way, "gradient": took, "call": once, "first": first, "memory": memory}


# -- all of them ---------------------------------------------------------------------------------------------


def ways_of(case: Any) -> list[str]:
    """How a model can be sampled."""
    if case.family == "discrete":
        plain = ["enumerated"] if importlib.util.find_spec("funsor") is not None else []
    else:
        plain = ["as written", *case.others]
    return [*plain, *(w for w in ("rows", "statistics") if getattr(case, w) is not None), "collapsed"]


def spawn(arguments: Sequence[str], path: Path) -> None:
    """Run one in a process of its own and keep what it says, also that it failed."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        print(" ".join(arguments), "failed:", done.stderr.splitlines()[-1:], flush=True)
        return
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(done.stdout.splitlines()[-1] + "\n")
    print(" ".join(arguments), flush=True)


def read(path: Path) -> list[Run]:
    """All runs so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# -- the table -------------------------------------------------------------------------------------------------


def interval(ratios: Sequence[float]) -> str:
    """A geometric mean, and its interval over the seeds."""
    logs = np.log(ratios)
    middle, n = float(np.exp(logs.mean())), len(logs)
    if n < 2:
        return f"{middle:.2g}"
    wide = stats.t.ppf(0.975, n - 1) * logs.std(ddof=1) / np.sqrt(n)
    return f"{middle:.2g} ({middle * np.exp(-wide):.2g} to {middle * np.exp(wide):.2g})"


def by_seed(runs: Sequence[Run], way: str, what: Callable[[Run], float]) -> dict[int, float]:
    """A figure of one way, by seed."""
    return {r["seed"]: what(r) for r in runs if r["way"] == way}


def result(run: Run) -> Any:
    """The measured result that a run is."""
    from sampling import Result

    return Result(**{f.name: run[f.name] for f in dataclasses.fields(Result)})


def plainest(runs: Sequence[Run]) -> str:
    """The plain form that is best, over all seeds."""
    found: Mapping[str, float] = {w: float(np.mean(np.log(list(v.values())))) for w in WAYS[:3]
                                  if (v := by_seed(runs, w, lambda r: result(r).steady()))}
    return max(found, key=lambda w: found[w]) if found else ""


def against(runs: Sequence[Run], way: str, what: Callable[[Run, Any], float], inverse: bool = False) -> list[float]:
    """Ratios of a figure of `Collapsed` to that of another way, for the sites that the other has."""
    found = []
    for r in (r for r in runs if r["way"] == way):
        for c in (c for c in runs if c["way"] == "collapsed" and c["seed"] == r["seed"]):
            ratio = what(c, r["ess"]) / what(r, r["ess"])
            found.append(1 / ratio if inverse else ratio)
    return found


def table(runs: Sequence[Run]) -> list[str]:
    """The lines of the table, and of its summary."""
    lines = ["| model | plain form | steady, worst: over plain | over hand, rows | over hand, statistics | steady, mean: over "
             "plain | cold less plain, s | leapfrogs a draw, plain, collapsed | us a gradient: plain, rows, statistics, "
             "collapsed | over statistics | memory, MB: plain, collapsed |", "|" + "---|" * 11]
    worst: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(r["model"] for r in runs if "model" in r):
        own = [r for r in runs if r.get("model") == name]
        plain = plainest(own)
        steady = {w: against(own, w, lambda r, sites: result(r).steady(sites)) for w in (plain, "rows", "statistics")}
        mean = against(own, plain, lambda r, sites: result(r).mean(sites))
        cold = [by_seed(own, w, lambda r: result(r).cold) for w in ("collapsed", plain)]
        later = [cold[0][s] - cold[1][s] for s in cold[0] if s in cold[1]]
        first = {w: next((r for r in own if r["way"] == w), {}) for w in (plain, "rows", "statistics", "collapsed")}
        micro = ", ".join(f"{1e6 * r['gradient']:.3g}" if "gradient" in r else "-" for r in first.values())
        with_both = [r["way"] for r in own if "gradient" in r]
        slower = against(own, "statistics", lambda r, _: r["gradient"]) if {"statistics", "collapsed"} <= {*with_both} else []
        steps = ", ".join(f"{first[w]['leapfrogs']:.1f}" if first[w] else "-" for w in (plain, "collapsed"))
        memory = ", ".join(f"{first[w]['memory'] / 1e6:.0f}" if first[w] else "-" for w in (plain, "collapsed"))
        cells = [interval(r) if r else "" for r in steady.values()]
        lines.append(f"| {name} | {plain} | {' | '.join(cells)} | {interval(mean) if mean else ''} | "
                     f"{f'{np.mean(later):+.1f}' if later else ''} | {steps} | {micro} | "
                     f"{interval(slower) if slower else ''} | {memory} |")
        if steady[plain]:
            worst.setdefault(own[0]["family"], {})[name] = float(np.mean(np.log(steady[plain])))
    lines += ["", "Over plain NUTS, geometric means by family: " + ", ".join(
        f"{family or 'other'} {np.exp(np.mean(list(v.values()))):.2g}" for family, v in worst.items())
        + f"; of all {sum(map(len, worst.values()))} models "
        f"{np.exp(np.mean([x for v in worst.values() for x in v.values()])) if worst else np.nan:.2g}."]
    return lines


def growth_table(runs: Sequence[Run]) -> list[str]:
    """A gradient as rows and groups become more."""
    runs = [r for r in runs if "growth" in r]
    if not runs:
        return []
    lines = ["", "| rows | groups | us a gradient: plain | hand, rows | hand, statistics | collapsed | collapsed / statistics | "
             "us a call: hand, rows | collapsed | first gradient, s: plain | collapsed | memory, MB: plain | collapsed |",
             "|" + "---|" * 13]
    for size in sorted({tuple(r["growth"]) for r in runs}, key=lambda s: (s[1] != 100, s)):
        own = {r["way"]: r for r in runs if tuple(r["growth"]) == size}

        def cell(way: str, what: str, times: float, own: dict[str, Run] = own) -> str:
            return f"{times * own[way][what]:.3g}" if way in own else ""

        ratio = own["collapsed"]["gradient"] / own["statistics"]["gradient"] if {"collapsed", "statistics"} <= own.keys() else 0
        cells = [*(cell(w, "gradient", 1e6) for w in ("as written", "rows", "statistics", "collapsed")),
                 f"{ratio:.2f}" if ratio else "", *(cell(w, "call", 1e6) for w in ("rows", "collapsed")), *(cell(w, "first", 1) for w in ("as written", "collapsed")),
                 *(cell(w, "memory", 1e-6) for w in ("as written", "collapsed"))]
        lines.append(f"| {size[0]} | {size[1]} | {' | '.join(cells)} |")
    return lines


def write(lines: Sequence[str], page: Path = PAGE) -> None:
    """Put the table between its marks."""
    begin, end = (f"<!-- wide: {x} -->" for x in ("begin", "end"))
    text = page.read_text()
    before, rest = text.split(begin)
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--ways", nargs="*", default=None, help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--most", type=float, default=1e7, help="rows, with --growth")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "wide.jsonl")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--grown", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child or options.grown:
        name, way, *numbers = options.child or (None, options.grown[2], *options.grown[:2])
        run = child(name, way, *map(int, numbers)) if name else grown(*map(int, numbers), way)
        print(json.dumps(run))
        return
    done = read(options.results)
    if options.growth:
        sizes = [*((n, 100) for n in ROWS), *((max(1000, 5 * g), g) for g in GROUPS[1:])]
        for rows, groups in sizes:
            for way in ("as written", "rows", "statistics", "collapsed"):
                there = any(r.get("growth") == [rows, groups] and r["way"] == way for r in done)
                if rows <= options.most and not there and way in (options.ways or WAYS):
                    spawn(["--grown", str(rows), str(groups), way], options.results)
    else:
        from job import cases, more_cases

        known = {**cases(), **more_cases()}
        for name in known if options.only is None else options.only:
            for way in ways_of(known[name]()):
                for seed in range(options.seeds):
                    there = any((r.get("model"), r["way"], r.get("seed"), r.get("draws")) == (name, way, seed, options.draws)
                                for r in done)
                    if not there and way in (options.ways or WAYS):
                        spawn(["--child", name, way, str(seed), str(options.draws)], options.results)
    runs = read(options.results)
    seeds, draws = ({r[k] for r in runs if k in r} for k in ("seed", "draws"))
    told = f"{len(seeds)} seeds, {', '.join(map(str, sorted(draws)))} draws in a first run and ten or a hundred times as " \
           "many in the measured one, one chain, float32."
    lines = ["", told, "", *table(runs), *growth_table(runs), ""]
    print("\n".join(lines))
    if options.write:
        write(lines)


if __name__ == "__main__":
    main()
