"""Checks random models by the thousand, compiles the tables of models, calibrates eight, compares classic ones with
trusted posteriors, breaks every entry of the package's tables in turn, and writes what it saw.

    python tests/campaign.py [--models 10000] [--start 0] [--jobs 2] [--simulations 400] [--no-tables]
        [--no-classics] [--no-mutants] [--results build/campaign/results.jsonl] [--report docs/trust.md]

Every outcome is appended to the results, and what stands there already for this version of the generator, and
did not fail, is not run again: an interrupted campaign goes on where it was, and with `--models 0
--simulations 0 --no-tables --no-classics --no-mutants` only the report is written. With a report the results go to
`tests/data/campaign.jsonl.xz`, where a campaign without results of its own begins.

A model that fails is written beside the results; put it into `tests/regressions` with its repair.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import lzma
import multiprocessing
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import calibration
import classics
import declined
import numpy as np
from campaign_report import failures, latest, report
from generated.oracle import verify
from generated.strategy import random_model
from models import CASES
from mutants import MUTANTS, caught_by, in_use

import conjugate_ppl as cj
from conjugate_ppl._compat import double_precision

KEPT = Path(__file__).parent / "data" / "campaign.jsonl.xz"
TABLES = {**CASES, **{f"declined {n}": c for n, c in declined.CASES.items()}}
CHUNK = 200  # models of one process, which then ends: compiled programs are dropped with it
# one model in so many is checked in float32 too, compiled by XLA, with the derivative of its marginal
SINGLE, COMPILED, SLOPE = 4, 50, 25


@functools.cache
def version() -> str:
    """Which models seeds stand for: a hash of the generator."""
    folder = Path(__file__).parent / "generated"
    files = [folder / f"{n}.py" for n in ("elementwise", "finite", "gaussian", "relatives", "strategy", "twists", "writer")]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files if f.exists())).hexdigest()[:8]


def precisions(number: int) -> tuple[str, ...]:
    """What a model is checked in."""
    return ("float64", "float32") if number % SINGLE == 0 else ("float64",)


def check_chunk(job: tuple[list[int], Path]) -> int:
    """Every model of some seeds; how many failures."""
    import gc
    import warnings

    import jax

    seeds, results = job
    gc.set_threshold(50_000, 20, 50)  # as in conftest.py
    warnings.simplefilter("ignore")
    jax.config.update("jax_disable_most_optimizations", True)  # compiles for seconds what runs once
    failed = 0
    for number in seeds:
        written = random_model(number)
        how = {"compiled": number % COMPILED == COMPILED // 2, "slope": number % SLOPE == SLOPE // 3}
        for precision in precisions(number):
            begin = time.process_time()
            record: dict[str, Any] = {"kind": "model", "version": version(), "name": number,
                                      "precision": precision, **how, "features": written.features,
                                      "twisted": bool(written.never)}
            try:
                with double_precision(precision == "float64"):
                    record |= verify(written, **how)._asdict()
            except Exception as error:  # whatever it is, it is a finding
                failed += 1
                record["failure"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                text = "".join(f"# {line}\n" for line in traceback.format_exc().splitlines())
                (results.parent / f"{version()}_{number}_{precision}.py").write_text(written.source + text)
            note(record | {"seconds": round(time.process_time() - begin, 3)}, results)
    return failed


def note(record: dict[str, Any], results: Path) -> None:
    """Add a line to the results."""
    with results.open("a") as file:
        file.write(json.dumps(record) + "\n")


def compile_tables(names: list[str], results: Path) -> None:
    """The identity of models of the tables, compiled in float32, and then their draws in float64."""
    import gc

    import jax
    import jax.numpy as jnp
    from test_draws import DRAWN, compare

    def identity(name: str) -> None:
        args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in TABLES[name].args]
        records[name]["error"] = cj.check(TABLES[name].model, jax.random.key(1), *args, num_points=2).relative

    def draws(name: str) -> None:
        if name in DRAWN:
            compare(name, compiled=True)

    jax.config.update("jax_disable_most_optimizations", True)
    records: dict[str, dict[str, Any]] = {n: {"kind": "table", "name": n, "failure": "", "drawn": n in DRAWN}
                                          for n in names}
    for double, look in ((False, identity), (True, draws)):
        jax.clear_caches()  # of the other precision, as in conftest.py
        gc.collect()
        with double_precision(double):
            for name in names:
                try:
                    look(name)
                except Exception as error:  # whatever it is, it is a finding
                    records[name]["failure"] += f"{type(error).__name__}: " + " ".join(str(error).split())[:200]
    for record in records.values():
        note(record, results)


def calibrate(name: str, simulations: int, results: Path) -> None:
    """The probabilities of uneven ranks of one model's latents."""
    note({"kind": "calibration", "name": name, "simulations": simulations,
          "probabilities": calibration.probabilities(calibration.ranks(name, simulations))}, results)


def compare(name: str, results: Path) -> None:
    """Distances of a classic model's posterior from the trusted one.

    After a failure once more, with another seed and twice the draws.
    """
    distances: dict[str, float] = {}
    wrong = ""
    with double_precision(classics.CASES[name].double):
        for seed, draws in ((0, 2000), (1, 4000)):
            try:
                distances = classics.compare(name, seed, draws)
                wrong = far(distances)
            except Exception as error:  # whatever it is, it is a finding, and the others go on
                wrong = f"{type(error).__name__}: " + " ".join(str(error).split())[:200]
            if not wrong:
                break
    note({"kind": "classic", "name": name, "distances": distances, "failure": wrong}, results)


def mutate(names: list[str], results: Path) -> None:
    """What notices each of some mutants; one that nothing notices is a failure."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    with double_precision(True):
        for name in names:
            caught = caught_by(MUTANTS[name])
            made = bool(caught) or in_use(MUTANTS[name])
            note({"kind": "mutant", "name": name, "caught": caught, "made": made,
                  "failure": "" if caught or not made else "nothing notices this error"}, results)


def far(distances: dict[str, float]) -> str:
    """Which distances, in standard errors, are too large for chance, if any; or too small together."""
    z = np.abs(list(distances.values()))
    largest = max(distances, key=lambda n: abs(distances[n]))
    if not z.max() <= (4.5 if len(z) > 50 else 4.0):  # nor NaN
        return f"{largest} is {distances[largest]:.1f} standard errors away"
    rms = float(np.sqrt(np.mean(z**2)))
    return f"root mean square {rms:.2f}" if len(z) > 20 and not 0.6 < rms < 1.5 else ""


def main() -> None:
    """Run, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10000)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-tables", action="store_true")
    parser.add_argument("--no-classics", action="store_true")
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument("--results", type=Path, default=Path("build/campaign/results.jsonl"))
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    if not options.results.exists():
        options.results.write_bytes(lzma.decompress(KEPT.read_bytes()) if KEPT.exists() else b"")
    done = {(r["kind"], r.get("version", version()), r["name"], r.get("precision"))
            for r in latest(read(options.results)) if not r.get("failure")}

    def left(kind: str, names: Iterable[Any]) -> list[Any]:
        return [n for n in names if not all((kind, version(), n, p) in done for p in
                                            (precisions(n) if kind == "model" else (None,)))]

    seeds = left("model", range(options.start, options.start + options.models))
    chunks = [(seeds[k: k + CHUNK], options.results) for k in range(0, len(seeds), CHUNK)]
    begin = time.time()
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        failed = 0
        for k, found in enumerate(pool.imap_unordered(check_chunk, chunks)):
            failed += found
            print(f"{min(CHUNK * (k + 1), len(seeds))} models, {failed} failures, {time.time() - begin:.0f} s",
                  flush=True)
        if not options.no_tables:
            names = left("table", TABLES)
            pool.starmap(compile_tables, [(names[k: k + 50], options.results) for k in range(0, len(names), 50)], chunksize=1)
        if options.simulations:
            pool.starmap(calibrate, [(n, options.simulations, options.results)
                                     for n in left("calibration", calibration.MODELS)], chunksize=1)
        if not options.no_classics:
            pool.starmap(compare, [(n, options.results) for n in left("classic", classics.CASES)], chunksize=1)
        if not options.no_mutants:
            names = left("mutant", MUTANTS)
            pool.starmap(mutate, [(names[k::options.jobs], options.results) for k in range(options.jobs)], chunksize=1)
    records = latest(read(options.results))
    text = report(records, SINGLE, SLOPE)
    print(text)
    if options.report:
        options.report.write_text(text)
        lines = "".join(json.dumps(r) + "\n" for r in records if r.get("version", version()) == version())
        KEPT.write_bytes(lzma.compress(lines.encode(), preset=9))
    if wrong := failures(records):
        raise SystemExit("\n".join(wrong))


def read(results: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    return [json.loads(line) for line in results.read_text().splitlines()]


if __name__ == "__main__":
    main()
