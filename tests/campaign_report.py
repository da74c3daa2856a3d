"""The report of a campaign, in Markdown: what was run, and what was seen (`campaign.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import calibration
import numpy as np
from generated.oracle import DRAWS

__all__ = ["failures", "latest", "report", "uniformity"]

Record = dict[str, Any]


def latest(records: Iterable[Record]) -> list[Record]:
    """Of records of the same check the last: what failed and was mended is checked again."""
    found = {}
    for r in records:
        found[r["kind"], r.get("version"), r["name"], r.get("precision")] = r
    return list(found.values())


def uniformity(records: list[Record]) -> dict[str, tuple[int, float]]:
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


def failures(records: list[Record]) -> list[str]:
    """What failed, and whose ranks are uneven beyond chance."""
    out = [f"{r['kind']} {r['name']}" + (f" of {r['version']}, {r['precision']}" if "version" in r else "")
           + f": {r['failure']}" for r in records if r.get("failure")]
    out += [f"uneven ranks of {kind}: p = {p:.1e}" for kind, (n, p) in uniformity(records).items()
            if n >= 10 * calibration.BINS and p < 1e-5]
    out += [f"uneven ranks of {r['name']}, {latent}: p = {p:.1e}" for r in records if r["kind"] == "calibration"
            for latent, p in r["probabilities"].items() if p < 1e-5]
    return out


def report(records: list[Record], single: int, slope: int) -> str:
    """What was seen, in Markdown; one model in `single` was checked in float32, in `slope` by derivatives."""
    models = [r for r in records if r["kind"] == "model"]
    first = [r for r in models if r["precision"] == "float64"]
    families = Counter(f for r in first for f in r.get("families", {}).values())
    features = Counter(f for r in first for f in r["features"])
    hours = sum(r["seconds"] for r in models) / 3600
    failed = failures(records)
    return "\n".join([
        "# Trust", "",
        f"What `python tests/campaign.py` saw: {len(first)} random models (`tests/generated`), "
        f"{sum(r['twisted'] for r in first)} of them with a use of a latent",
        f"that must be declined, in {hours:.1f} hours of one core; one in {single} in float32, too. "
        f"Failures: {len(failed)}.", "",
        "| generator | seeds | models | precision | values tried | compiled by XLA | largest error |",
        "|---|---|---|---|---|---|---|", *_runs(models), "",
        "Of each model: what must be collapsed is, what must not be is not; the identity",
        "log p(z, k, y) - log p(z | k, y) = log p(k, y) at two draws, at a point that is none, and (float64) at",
        "other values of what is kept; draws have the sites' shapes and types. Errors are relative to one plus",
        "the sum of the absolute log densities; 1e-8 is allowed in float64, 1e-4 in float32. Where XLA did not",
        f"compile a model, NumPy evaluated its jaxprs (`generated/numpy_jaxpr.py`). Of one model in {slope} the",
        "derivative of the marginal was compared with a difference. Seeds of another generator are other models.",
        "", *_tables([r for r in records if r["kind"] == "table"]), "## Exact draws", "",
        f"The value that made the data, ranked among {DRAWS} exact draws, is uniform where the draws are right",
        "(float64; models that are a joint density when run without observations). By family, and by kind of",
        "latent in the generator.",
        "", "| latents | collapsed | ranks | p of the chi-square test |", "|---|---|---|---|",
        *(f"| {f} | {families.get(f, '')} | {n} | {p:.3f} |" for f, (n, p) in uniformity(models).items()), "",
        *_calibrations([r for r in records if r["kind"] == "calibration"]),
        *_posteriors([r for r in records if r["kind"] == "classic"]),
        *_mutants([r for r in records if r["kind"] == "mutant"]),
        "## What the models were made of", "", "| part | models |", "|---|---|",
        *(f"| {f} | {n} |" for f, n in sorted(features.items())), "",
        *(["## Failures", "", *(f"* {x}" for x in failed), ""] if failed else [])])


def _tables(found: list[Record]) -> list[str]:
    if not found:
        return []
    worst = max((r["error"] for r in found if "error" in r), default=0.0)
    return [f"Of the {len(found)} models of the tests' tables, compiled by XLA in float32, the largest such error is "
            f"{worst:.1e}; of {sum(r['drawn'] for r in found)}", "draws and conditionals were compared with the joint "
            "density (`tests/test_draws.py`).", ""]


def _calibrations(found: list[Record]) -> list[str]:
    if not found:
        return []
    return ["## Simulation-based calibration", "",
            "Simulations through `Collapsed` in float32: the probability of ranks as uneven as those seen",
            "(`tests/calibration.py`).", "", "| model | simulations | latent | p |", "|---|---|---|---|",
            *(f"| {r['name']} | {r['simulations']} | {latent} | {p:.3f} |"
              for r in sorted(found, key=lambda r: r["name"]) for latent, p in sorted(r["probabilities"].items())),
            ""]


def _posteriors(found: list[Record]) -> list[str]:
    if not found:
        return []
    rows = [(r["name"], np.abs(list(r["distances"].values()))) for r in found if r["distances"]]
    return ["## Trusted posteriors", "",
            "Classic models and data through `Collapsed`, four chains: distances from posterior moments by",
            "quadrature or posteriordb's reference draws, in Monte Carlo standard errors (`tests/classics.py`).",
            "", "| case | moments compared | largest distance | root mean square |", "|---|---|---|---|",
            *(f"| {name} | {len(z)} | {z.max():.1f} | {np.sqrt(np.mean(z**2)):.2f} |"
              for name, z in sorted(rows, key=lambda r: r[0])), ""]


def _mutants(found: list[Record]) -> list[str]:
    if not found:
        return []
    made, caught = (Counter(r["name"].split()[0] for r in found if r[key]) for key in ("made", "caught"))
    return ["## Mutants", "",
            "Each entry of the package's tables made wrong in turn, by some percent or in its order, and whether a",
            "test notices (`tests/mutants.py`). Left out are primitives that this version of JAX does not make.",
            "", "| table | mutants | noticed |", "|---|---|---|",
            *(f"| {table} | {n} | {caught[table]} |" for table, n in made.items()), ""]


def _runs(records: list[Record]) -> list[str]:
    """A row for each version of the generator and precision."""
    rows = []
    for of, precision in sorted({(r["version"], r["precision"]) for r in records}, key=lambda k: k[::-1]):
        own = [r for r in records if (r["version"], r["precision"]) == (of, precision)]
        seeds = [r["name"] for r in own]
        worst = max((r["error"] for r in own if "error" in r), default=0.0)
        rows.append(f"| {of} | {min(seeds)} to {max(seeds)} | {len(own)} | {precision} | "
                    f"{sum(r.get('points', 0) for r in own)} | {sum(r['compiled'] for r in own)} | {worst:.1e} |")
    return rows


