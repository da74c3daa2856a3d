"""Checks random models by the thousand, in both precisions, calibrates eight, compares classic ones with
trusted posteriors, and writes what it saw.

    python tests/campaign.py [--models 10000] [--simulations 400] [--start 0] [--jobs 2] [--no-classics]
        [--report docs/trust.md]

A model that fails is written to `build/campaign`; put it into `tests/regressions` with its repair.
"""

from __future__ import annotations

import argparse
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

CHUNK = 25  # models of one process, which then ends: compiled programs are dropped with it
FAILURES = Path("build/campaign")


def check_chunk(seeds: range) -> list[dict[str, Any]]:
    """Every model of some seeds in float64 and float32."""
    import warnings

    import jax

    warnings.simplefilter("ignore")
    jax.config.update("jax_disable_most_optimizations", True)  # compiles for seconds what runs once
    out = []
    for number in seeds:
        written = random_model(number)
        for precision in ("float64", "float32"):
            record: dict[str, Any] = {"seed": number, "precision": precision,
                                      "features": written.features, "twisted": bool(written.never)}
            try:
                with jax.enable_x64(precision == "float64"):
                    record |= verify(written)._asdict()
            except Exception as error:  # whatever it is, it is a finding
                record["failure"] = f"{type(error).__name__}: {error}".splitlines()[0]
                FAILURES.mkdir(parents=True, exist_ok=True)
                text = "".join(f"# {line}\n" for line in traceback.format_exc().splitlines())
                (FAILURES / f"{number}_{precision}.py").write_text(written.source + text)
            out.append(record)
    return out


def uniformity(records: list[dict[str, Any]]) -> dict[str, tuple[int, float]]:
    """For each family how many ranks there are, and the probability of ranks as uneven as these."""
    ranks: dict[str, list[int]] = {}
    for r in records:
        for name, rank in r.get("ranks", {}).items():
            ranks.setdefault(r["families"][name], []).append(rank)
    return {family: (len(x), calibration.probability(np.asarray(x), DRAWS))
            for family, x in sorted(ranks.items())}


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
           compared: list[tuple[str, dict[str, float], str]], simulations: int, seconds: float) -> str:
    """What was seen, in Markdown."""
    first = [r for r in records if r["precision"] == "float64"]
    failed = [r for r in records if "failure" in r]
    failures = [f"* seed {r['seed']}, {r['precision']}: {r['failure']}" for r in failed]
    failures += [f"* {name}: {what}" for name, _, what in compared if what]
    worst = {p: max((r["error"] for r in records if r["precision"] == p and "error" in r), default=0.0)
             for p in ("float64", "float32")}
    families = Counter(f for r in first for f in r.get("families", {}).values())
    features = Counter(f for r in first for f in r["features"])
    return "\n".join([
        "# Trust", "",
        f"Made by `python tests/campaign.py --models {len(first)}` in {seconds / 60:.0f} minutes.", "",
        f"{len(first)} random models, {sum(r['twisted'] for r in first)} of them with a use of a latent that",
        "must be declined, each in float64 and in float32 (`tests/generated`).",
        f"{len(failed)} checks failed.",
        "The largest error of the identity, relative to one plus the sum of the absolute log densities, was",
        f"{worst['float64']:.1e} in float64 and {worst['float32']:.1e} in float32.", "",
        "## Exact draws", "",
        f"The value that made the data, ranked among {DRAWS} exact draws, is uniform where the draws are right.",
        "", "| family | latents collapsed | ranks | p of the chi-square test |", "|---|---|---|---|",
        *(f"| {f} | {families[f]} | {n} | {p:.3f} |" for f, (n, p) in uniformity(records).items()), "",
        "## Simulation-based calibration", "",
        f"Eight models, {simulations} simulations each, through `Collapsed` in float32: the probability of",
        "ranks as uneven as those seen (`tests/calibration.py`).", "",
        "| model | latent | p |", "|---|---|---|",
        *(f"| {name} | {latent} | {p:.3f} |" for name, found in sorted(calibrated.items())
          for latent, p in sorted(found.items())), "",
        "## Trusted posteriors", "",
        "Classic models and data through `Collapsed`, four chains of 2000 draws: distances from posterior",
        "moments by quadrature or posteriordb's reference draws, in Monte Carlo standard errors",
        "(`tests/classics.py`).", "",
        "| case | moments compared | largest distance | root mean square |", "|---|---|---|---|",
        *(f"| {name} | {len(d)} | {max(map(abs, d.values())):.1f} | "
          f"{np.sqrt(np.mean(np.square(list(d.values())))):.2f} |" for name, d, _ in compared if d), "",
        "## What the models were made of", "", "| part | models |", "|---|---|",
        *(f"| {f} | {n} |" for f, n in sorted(features.items())), "",
        *(["## Failures", "", *failures, ""] if failures else [])])


def main() -> None:
    """Run, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10000)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-classics", action="store_true")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    begin, records = time.time(), []
    end = options.start + options.models
    chunks = [range(k, min(k + CHUNK, end)) for k in range(options.start, end, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        for found in pool.imap_unordered(check_chunk, chunks):
            records += found
            failed = sum("failure" in r for r in records)
            print(f"{len(records) // 2} models, {failed} failures, {time.time() - begin:.0f} s", flush=True)
        jobs = [(name, options.simulations) for name in calibration.MODELS] if options.simulations else []
        calibrated = dict(pool.starmap(calibrate, jobs, chunksize=1))
        names = [] if options.no_classics else list(classics.CASES)
        compared = pool.map(compare, names, chunksize=1)
    text = report(records, calibrated, compared, options.simulations, time.time() - begin)
    print(text)
    if options.report:
        options.report.write_text(text)
    uneven = [f for f, (n, p) in uniformity(records).items() if n >= 10 * calibration.BINS and p < 1e-5]
    uneven += [f"{name}: {latent}" for name, found in calibrated.items() for latent, p in found.items()
               if p < 1e-5]
    wrong = [f"{name}: {what}" for name, _, what in compared if what]
    if uneven or wrong or any("failure" in r for r in records):
        raise SystemExit(f"failures above; uneven ranks: {uneven or 'none'}; posteriors: {wrong or 'none'}")


if __name__ == "__main__":
    main()
