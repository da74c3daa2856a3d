"""Checks random models by the thousand, in both precisions, calibrates eight, and writes what it saw.

    python tests/campaign.py [--models 10000] [--simulations 400] [--start 0] [--jobs 2]
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
import numpy as np
from generated.oracle import DRAWS, verify
from generated.strategy import random_model
from scipy import stats

CHUNK = 25  # models of one process, which then ends: compiled programs are dropped with it
BINS = 8
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
    return {family: (len(x), float(stats.chisquare(np.bincount(
        np.asarray(x) * BINS // (DRAWS + 1), minlength=BINS)).pvalue))
        for family, x in sorted(ranks.items())}


def calibrate(name: str, simulations: int) -> tuple[str, dict[str, float]]:
    """The probabilities of uneven ranks of one model's latents."""
    return name, calibration.probabilities(calibration.ranks(name, simulations))


def report(records: list[dict[str, Any]], calibrated: dict[str, dict[str, float]], simulations: int,
           seconds: float) -> str:
    """What was seen, in Markdown."""
    first = [r for r in records if r["precision"] == "float64"]
    failed = [r for r in records if "failure" in r]
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
        "## What the models were made of", "", "| part | models |", "|---|---|",
        *(f"| {f} | {n} |" for f, n in sorted(features.items())), "",
        *(["## Failures", "", *(f"* seed {r['seed']}, {r['precision']}: {r['failure']}" for r in failed)]
          if failed else []), ""])


def main() -> None:
    """Run, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10000)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
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
    text = report(records, calibrated, options.simulations, time.time() - begin)
    print(text)
    if options.report:
        options.report.write_text(text)
    uneven = [f for f, (n, p) in uniformity(records).items() if n >= 10 * BINS and p < 1e-5]
    uneven += [f"{name}: {latent}" for name, found in calibrated.items() for latent, p in found.items()
               if p < 1e-5]
    if uneven or any("failure" in r for r in records):
        raise SystemExit(f"failures above; uneven ranks: {uneven or 'none'}")


if __name__ == "__main__":
    main()
