"""Runs of a sampler, timed: effective samples a second of sampling alone, and seconds to a thousand of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC

__all__ = ["Result", "measure"]

_SECONDS = 0.5  # of sampling that a rate is measured on
_LONGEST = 20.0  # that is done again


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
    keys = jax.random.split(jax.random.key(seed), 3)
    jax.clear_caches()  # nobody starts with what another compiled
    begin = time.perf_counter()
    first = MCMC(kernel, num_warmup=1000, num_samples=draws, progress_bar=False)
    first.run(keys[0], *args, **data, extra_fields=("num_steps",))
    jax.block_until_ready(first.get_samples())
    startup = time.perf_counter() - begin

    # NumPyro compiles a loop for every run, which drowns short ones; this one is of any length
    field = kernel.sample_field
    kept = jax.tree.map(lambda x: jnp.zeros((draws, *x.shape), x.dtype), getattr(first.last_state, field))

    @jax.jit
    def advance(state: Any, steps: Any) -> Any:
        def step(k: Any, now: Any) -> Any:
            state, kept = now
            state = kernel.sample(state, args, data)
            return state, jax.tree.map(lambda x, v: x.at[k % draws].set(v), kept, getattr(state, field))

        return jax.lax.fori_loop(0, steps, step, (state, kept))

    def seconds_of(steps: int) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(advance(first.last_state, steps))
        return time.perf_counter() - begin

    seconds_of(0)
    for length in (10 * draws, 100 * draws):
        short, long = seconds_of(length // 10), seconds_of(length)
        for _ in range(int(np.clip(_LONGEST / long, 0, 2))):  # the shortest has least of the machine's noise
            short, long = min(short, seconds_of(length // 10)), min(long, seconds_of(length))
        if long - short >= _SECONDS:
            break
    seconds = max((long - short) * 10 / 9, 1e-9)
    mcmc = MCMC(kernel, num_warmup=1000, num_samples=length, progress_bar=False)
    mcmc.post_warmup_state = first.last_state
    mcmc.run(keys[1], *args, **data, extra_fields=("num_steps",))
    found = {}
    for name, value in mcmc.get_samples(group_by_chain=True).items():
        flat = np.asarray(value, np.float64).reshape(*value.shape[:2], -1)
        flat = flat[:, :, flat.std((0, 1)) > 0]
        if flat.shape[-1]:
            found[name] = [float(x) / seconds for x in np.atleast_1d(effective_sample_size(flat))]
    steps = float(np.mean(mcmc.get_extra_fields()["num_steps"]))
    return Result(found, startup, seconds * draws / length, steps, length / seconds)
