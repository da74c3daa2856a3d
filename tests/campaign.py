"""Checks random models by the thousand, calibrates eight, compares classic ones with trusted posteriors, and
writes what it saw.

    python tests/campaign.py [--models 10000] [--start 0] [--jobs 2] [--simulations 400] [--no-classics]
        [--results build/campaign/results.jsonl] [--report docs/trust.md]

Every outcome is appended to the results, and what stands there already for this version of the generator is
not run again: an interrupted campaign goes on where it was, and `--models 0` only writes the report.

A model that fails is written beside the results; put it into `tests/regressions` with its repair.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import calibration
import classics
import numpy as np
from generated.oracle import DRAWS, verify
from generated.strategy import random_model

CHUNK = 50  # models of one process, which then ends: compiled programs are dropped with it
# one model in so many is checked in float32 too, compiled by XLA, with the derivative of its marginal
SINGLE, COMPILED, SLOPE = 4, 50, 25


@functools.cache
def version() -> str:
    """Which models seeds stand for: a hash of the generator."""
    folder = Path(__file__).parent / "generated"
    files = [folder / f"{n}.py" for n in ("elementwise", "finite", "gaussian", "strategy", "twists", "writer")]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files if f.exists())).hexdigest()[:8]


def check_chunk(seeds: list[int], results: Path) -> list[dict[str, Any]]:
    """Every model of some seeds."""
    import warnings

    import jax

    warnings.simplefilter("ignore")
    jax.config.update("jax_disable_most_optimizations", True)  # compiles for seconds what runs once
    out = []
    for number in seeds:
        written = random_model(number)
        how = {"compiled": number % COMPILED == COMPILED // 2, "slope": number % SLOPE == SLOPE // 3}
        for precision in ("float64", "float32") if number % SINGLE == 0 else ("float64",):
            begin = time.process_time()
            record: dict[str, Any] = {"version": version(), "seed": number, "precision": precision, **how,
                                      "features": written.features, "twisted": bool(written.never)}
            try:
                with jax.enable_x64(precision == "float64"):
                    record |= verify(written, **how)._asdict()
            except Exception as error:  # whatever it is, it is a finding
                record["failure"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                text = "".join(f"# {line}\n" for line in traceback.format_exc().splitlines())
                name = f"{version()}_{number}_{precision}.py"
                (results.parent / name).write_text(written.source + text)
            out.append(record | {"seconds": time.process_time() - begin})
    return out


def uniformity(records: list[dict[str, Any]]) -> dict[str, tuple[int, float]]:
    """For each kind of latent how many ranks there are, and the probability of ranks as uneven as these.

    A kind is a family and the stem of the names that the generator gives.
    """
    ranks: dict[str, list[int]] = {}
    for r in records:
        for name, rank in r.get("ranks", {}).items():
            stem = name.removeprefix("inside/").rstrip("0123456789")
            for kind in (r["families"][name], f"{r['families'][name]} `{stem}`"):
                ranks.setdefault(kind, []).append(rank)
    return {kind: (len(x), calibration.probability(np.asarray(x), DRAWS))
            for kind, x in sorted(ranks.items())}


def calibrate(name: str, simulations: int) -> tuple[str, dict[str, float]]:
    """The probabilities of uneven ranks of one model's latents."""
    return name, calibration.probabilities(calibration.ranks(name, simulations))


def compare(name: str) -> tuple[str, dict[str, float], str]:
    """Distances of a classic model's posterior from the trusted one, and what is wrong, or "".

    After a failure once more, with another seed and twice the draws.
    """
    import jax

    distances: dict[str, float] = {}
    wrong = ""
    with jax.enable_x64(classics.CASES[name].double):
        for seed, draws in ((0, 2000), (1, 4000)):
            try:
                distances = classics.compare(name, seed, draws)
                wrong = far(distances)
            except Exception as error:  # whatever it is, it is a finding, and the others go on
                wrong = f"{type(error).__name__}: " + " ".join(str(error).split())[:200]
            if not wrong:
                break
    return name, distances, wrong


def far(distances: dict[str, float]) -> str:
    """Which distances, in standard errors, are too large for chance, if any; or too small together."""
    z = np.abs(list(distances.values()))
    largest = max(distances, key=lambda n: abs(distances[n]))
    if not z.max() <= (4.5 if len(z) > 50 else 4.0):  # nor NaN
        return f"{largest} is {distances[largest]:.1f} standard errors away"
    rms = float(np.sqrt(np.mean(z**2)))
    return f"root mean square {rms:.2f}" if len(z) > 20 and not 0.6 < rms < 1.5 else ""


def report(records: list[dict[str, Any]], calibrated: dict[str, dict[str, float]],
           compared: list[tuple[str, dict[str, float], str]], simulations: int) -> str:
    """What was seen, in Markdown."""
    first = [r for r in records if r["precision"] == "float64"]
    failed = [r for r in records if "failure" in r]
    failures = [f"* seed {r['seed']} of {r['version']}, {r['precision']}: {r['failure']}" for r in failed]
    failures += [f"* {name}: {what}" for name, _, what in compared if what]
    families = Counter(f for r in first for f in r.get("families", {}).values())
    features = Counter(f for r in first for f in r["features"])
    hours = sum(r["seconds"] for r in records) / 3600
    return "\n".join([
        "# Trust", "",
        f"What `python tests/campaign.py` saw. {len(first)} random models (`tests/generated`), "
        f"{sum(r['twisted'] for r in first)} of them with a use of a latent",
        f"that must be declined, took {hours:.1f} hours of one core. {len(failed)} checks failed.", "",
        "| generator | seeds | models | precision | values tried | compiled by XLA | largest error |",
        "|---|---|---|---|---|---|---|", *_runs(records), "",
        "Of each model: what must be collapsed is, what must not be is not; the identity",
        "log p(z, k, y) - log p(z | k, y) = log p(k, y) at two draws, at a point that is none, and (float64) at",
        "other values of what is kept; draws have the sites' shapes and types. Errors are relative to one plus",
        "the sum of the absolute log densities; 1e-8 is allowed in float64, 1e-4 in float32. Where XLA did not",
        f"compile a model, NumPy evaluated its jaxprs (`generated/numpy_jaxpr.py`). Of one model in {SLOPE} the",
        "derivative of the marginal was compared with a difference.", "",
        "## Exact draws", "",
        f"The value that made the data, ranked among {DRAWS} exact draws, is uniform where the draws are right",
        "(float64; models that are a joint density when run without observations). By family, and by kind of",
        "latent in the generator.",
        "", "| latents | collapsed | ranks | p of the chi-square test |", "|---|---|---|---|",
        *(f"| {f} | {families.get(f, '')} | {n} | {p:.3f} |" for f, (n, p) in uniformity(records).items()), "",
        *(["## Simulation-based calibration", "",
           f"Eight models, {simulations} simulations each, through `Collapsed` in float32: the probability of",
           "ranks as uneven as those seen (`tests/calibration.py`).", "",
           "| model | latent | p |", "|---|---|---|",
           *(f"| {name} | {latent} | {p:.3f} |" for name, found in sorted(calibrated.items())
             for latent, p in sorted(found.items())), ""] if calibrated else []),
        *(["## Trusted posteriors", "",
           "Classic models and data through `Collapsed`, four chains of 2000 draws: distances from posterior",
           "moments by quadrature or posteriordb's reference draws, in Monte Carlo standard errors",
           "(`tests/classics.py`).", "",
           "| case | moments compared | largest distance | root mean square |", "|---|---|---|---|",
           *(f"| {name} | {len(d)} | {max(map(abs, d.values())):.1f} | "
             f"{np.sqrt(np.mean(np.square(list(d.values())))):.2f} |" for name, d, _ in compared if d), ""]
          if compared else []),
        "## What the models were made of", "", "| part | models |", "|---|---|",
        *(f"| {f} | {n} |" for f, n in sorted(features.items())), "",
        *(["## Failures", "", *failures, ""] if failures else [])])


def _runs(records: list[dict[str, Any]]) -> list[str]:
    """A row for each version of the generator and precision."""
    rows = []
    for of, precision in sorted({(r["version"], r["precision"]) for r in records}, key=lambda k: k[::-1]):
        own = [r for r in records if (r["version"], r["precision"]) == (of, precision)]
        seeds = [r["seed"] for r in own]
        worst = max((r["error"] for r in own if "error" in r), default=0.0)
        rows.append(f"| {of} | {min(seeds)} to {max(seeds)} | {len(own)} | {precision} | "
                    f"{sum(r.get('points', 0) for r in own)} | {sum(r['compiled'] for r in own)} | {worst:.1e} |")
    return rows


def main() -> None:
    """Run, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10000)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-classics", action="store_true")
    parser.add_argument("--results", type=Path, default=Path("build/campaign/results.jsonl"))
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.touch()
    lines = options.results.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    done = {r["seed"] for r in records if r["version"] == version()}
    left = [k for k in range(options.start, options.start + options.models) if k not in done]
    chunks = [(left[k: k + CHUNK], options.results) for k in range(0, len(left), CHUNK)]
    begin = time.time()
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool, \
            options.results.open("a") as file:
        for found in pool.imap_unordered(_check_chunk, chunks):
            file.writelines(json.dumps(r) + "\n" for r in found)
            file.flush()
            records += found
            failed = sum("failure" in r for r in records)
            print(f"{len({(r['version'], r['seed']) for r in records})} models, {failed} failures, "
                  f"{time.time() - begin:.0f} s", flush=True)
        jobs = [(name, options.simulations) for name in calibration.MODELS] if options.simulations else []
        calibrated = dict(pool.starmap(calibrate, jobs, chunksize=1))
        names = [] if options.no_classics else list(classics.CASES)
        compared = pool.map(compare, names, chunksize=1)
    text = report(records, calibrated, compared, options.simulations)
    print(text)
    if options.report:
        options.report.write_text(text)
    uneven = [f for f, (n, p) in uniformity(records).items() if n >= 10 * calibration.BINS and p < 1e-5]
    uneven += [f"{name}: {latent}" for name, found in calibrated.items() for latent, p in found.items()
               if p < 1e-5]
    wrong = [f"{name}: {what}" for name, _, what in compared if what]
    if uneven or wrong or any("failure" in r for r in records):
        raise SystemExit(f"failures above; uneven ranks: {uneven or 'none'}; posteriors: {wrong or 'none'}")


def _check_chunk(job: tuple[list[int], Path]) -> list[dict[str, Any]]:
    return check_chunk(*job)


if __name__ == "__main__":
    main()
