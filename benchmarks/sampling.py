"""Runs of a sampler, timed: effective samples a second of sampling alone, and seconds to a thousand of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC

__all__ = ["Result", "measure"]

_SECONDS = 2.0  # of sampling that a rate is measured on


@dataclasses.dataclass(frozen=True)
class Result:
    """What one sampler did.

    Attributes:
        ess: effective samples a second of each number, by site.
        startup: seconds of a first run, everything included.
        first: seconds of sampling that the draws of that first run would take.
        leapfrogs: a draw.
        rate: draws a second.
    """

    ess: dict[str, list[float]]
    startup: float
    first: float
    leapfrogs: float
    rate: float

    def _of(self, sites: Collection[str] | None) -> list[float]:
        return [x for n, v in self.ess.items() if sites is None or n in sites for x in v]

    def steady(self, sites: Collection[str] | None = None) -> float:
        """Effective samples a second of the worst number."""
        return min(self._of(sites))

    def mean(self, sites: Collection[str] | None = None) -> float:
        """Of all numbers, on average."""
        return float(np.mean(self._of(sites)))

    @property
    def cold(self) -> float:
        """Seconds to 1000 effective samples of the worst number."""
        return self.startup + max(0.0, 1000 / self.steady() - self.first)

    @property
    def per_leapfrog(self) -> float:
        """Effective samples of the worst number a leapfrog step."""
        return self.steady() / (self.rate * self.leapfrogs) if self.leapfrogs else np.inf


def measure(kernel: Any, data: dict[str, Any], draws: int, seed: int, args: tuple[Any, ...] = ()) -> Result:
    """Steady and cold figures of one kernel."""

    def timed(mcmc: MCMC, key: Any) -> float:
        start = time.perf_counter()
        mcmc.run(key, *args, **data, extra_fields=("num_steps",))
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
    seconds = max(gap * 10 / 9, 1e-9)
    found = {}
    for name, value in mcmc.get_samples(group_by_chain=True).items():
        flat = np.asarray(value, np.float64).reshape(*value.shape[:2], -1)
        flat = flat[:, :, flat.std((0, 1)) > 0]
        if flat.shape[-1]:
            found[name] = [float(x) / seconds for x in np.atleast_1d(effective_sample_size(flat))]
    steps = float(np.mean(mcmc.get_extra_fields()["num_steps"]))
    return Result(found, startup, seconds * draws / n, steps, n / seconds)
