"""Means and sds of every site, against exact values and against long runs of plain NUTS."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpyro.infer import MCMC

import conjugate_ppl as cj

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
EXACT = json.loads((DATA / "exact_posteriors.json").read_text())
NUTS = json.loads((DATA / "plain_nuts.json").read_text())
# no finite variance
HEAVY = {("pooling_efron_morris", "kappa")}
# exact values are known of these functions of a site
DERIVED = {"log_kappa": lambda s: np.log(s["kappa"]), "corr": lambda s: s["L_u"][..., 1, 0]}

sys.path.insert(0, str(ROOT / "benchmarks"))
from job import cases  # noqa: E402
from posteriors import summary  # noqa: E402

sys.path.remove(str(ROOT / "benchmarks"))
CASES = cases()


def gaps(found: Any, expected: Any) -> dict[str, np.ndarray]:
    """Differences of means and of sds in joint Monte Carlo standard errors; `expected` may hold some
    of the numbers (`index`) alone."""
    at = np.asarray(expected.get("index", np.arange(len(found["mean"]))))
    out = {}
    for what in ("mean", "sd"):
        a, b = np.asarray(found[what])[at], np.asarray(expected[what])
        error = np.hypot(np.asarray(found[f"mcse_{what}"])[at],
                         np.asarray(expected.get(f"mcse_{what}", np.zeros(len(b)))))
        same = np.abs(a - b) <= 2e-5 * (np.abs(b) + 1e-12)  # entries of a Cholesky factor that are fixed
        out[what] = np.where(same, 0.0, (a - b) / np.where(error > 0, error, 1e-300))
    return out


@pytest.mark.parametrize("name", sorted(NUTS))
def test_posterior(name: str) -> None:
    entry = CASES[name]()
    mcmc = MCMC(cj.Collapsed(entry.model), num_warmup=500, num_samples=1500, num_chains=2,
                chain_method="vectorized", progress_bar=False)
    mcmc.run(jax.random.key(3), **entry.data)
    samples = mcmc.get_samples(group_by_chain=True)
    assert set(NUTS[name]) <= set(samples)
    for source in (NUTS[name], EXACT.get(name, {})):
        for site, expected in source.items():
            if (name, site) in HEAVY:
                continue
            for what, z in gaps(summary(DERIVED.get(site, lambda s, site=site: s[site])(samples)), expected).items():
                limit = 4.0 if z.size <= 50 else 4.5
                assert np.abs(z).max() < limit, (site, what, int(np.abs(z).argmax()), z)


def test_every_model_has_a_long_run() -> None:
    assert set(NUTS) == set(CASES)
