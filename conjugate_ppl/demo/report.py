"""Running a model twice and setting the results side by side."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

from conjugate_ppl.kernel import Collapsed

__all__ = ["Run", "compare", "run", "table"]

_SECONDS = 0.3  # of sampling that a rate is measured on
_LONGEST = 125  # times the draws asked for


@dataclasses.dataclass(frozen=True)
class Run:
    """One sampler's results.

    Attributes:
        samples: site -> draws, shape (chains, draws, ...).
        startup: seconds to compile and warm up.
        seconds: seconds of sampling, without compilation and without a progress bar.
        ess: effective samples of every scalar, flat.
        rhat: the largest split R-hat.
        leapfrogs: leapfrog steps a draw, on average.
        divergences: how many draws diverged.
    """

    samples: Mapping[str, np.ndarray]
    startup: float
    seconds: float
    ess: np.ndarray
    rhat: float
    leapfrogs: float
    divergences: int


def run(kernel: Any, data: Mapping[str, Any], chains: int, draws: int, warmup: int, seed: int,
        progress_bar: bool) -> Run:
    """Warm up (compiling) and sample, then time the kernel's steps alone.

    A progress bar costs more than a step of a fast sampler, and without one NumPyro compiles a loop for every
    run and chain. So a loop of any length is compiled once, and takes every chain on from where it is.
    """
    mcmc = MCMC(kernel, num_warmup=warmup, num_samples=draws, num_chains=chains,
                chain_method="sequential", progress_bar=progress_bar)
    begin = time.perf_counter()
    mcmc.warmup(jax.random.key(seed), **data)
    jax.block_until_ready(mcmc.last_state)
    startup = time.perf_counter() - begin
    warm = mcmc.last_state
    mcmc.run(jax.random.key(seed + 1), **data, extra_fields=("num_steps",))

    @jax.jit
    def advance(state: Any, steps: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, s: kernel.sample(s, (), data), state)

    def seconds_of(steps: int) -> float:
        begin = time.perf_counter()
        for chain in range(chains):
            state = warm if chains == 1 else jax.tree.map(lambda x, c=chain: x[c], warm)
            jax.block_until_ready(advance(state, steps))
        return time.perf_counter() - begin

    seconds_of(0)  # compiles
    times, taken = 1, seconds_of(draws)
    while taken < _SECONDS and times < _LONGEST:
        times *= 5
        taken = seconds_of(times * draws)
    seconds = taken / times
    samples = {n: np.asarray(v, np.float64)
               for n, v in mcmc.get_samples(group_by_chain=True).items()}
    fields = mcmc.get_extra_fields()
    sizes, hats = [], []
    for value in samples.values():
        flat = value.reshape(*value.shape[:2], -1)
        moving = flat[:, :, flat.std((0, 1)) > 0]
        if moving.shape[-1]:
            sizes.append(np.ravel(effective_sample_size(moving)))
            hats.append(np.ravel(split_gelman_rubin(moving)))
    return Run(samples, startup, seconds, np.concatenate(sizes),
               float(np.max(np.concatenate(hats))), float(np.mean(fields["num_steps"])),
               int(np.sum(fields["diverging"])))


def compare(model: Callable[..., Any], data: Mapping[str, Any], chains: int, draws: int,
            warmup: int, seed: int, progress_bar: bool = True) -> tuple[Run, Run]:
    """Plain NUTS, then `Collapsed`, on the same model and data."""
    plain = run(NUTS(model), data, chains, draws, warmup, seed, progress_bar)
    collapsed = run(Collapsed(model), data, chains, draws, warmup, seed, progress_bar)
    return plain, collapsed


def difference(one: Run, two: Run) -> tuple[str, float]:
    """The scalar whose posterior means differ most, in joint Monte Carlo standard errors."""
    worst, where = 0.0, ""
    for name in one.samples:
        x, y = one.samples[name], two.samples[name]
        x, y = (v.reshape(*v.shape[:2], -1) for v in (x, y))
        moving = (x.std((0, 1)) > 0) & (y.std((0, 1)) > 0)
        for k in np.flatnonzero(moving):
            errors = [v[:, :, k].var() / float(effective_sample_size(v[:, :, [k]])[0])
                      for v in (x, y)]
            gap = abs(x[:, :, k].mean() - y[:, :, k].mean()) / np.sqrt(sum(errors))
            if gap > worst:
                worst, where = gap, name if x.shape[-1] == 1 else f"{name}[{k}]"
    return where, worst


def table(plain: Run, collapsed: Run) -> str:
    """Both runs side by side."""
    rows: list[tuple[str, Callable[[Run], float], str]] = [
        ("min effective samples a second", lambda r: float(r.ess.min()) / r.seconds, "{:.0f}"),
        ("mean effective samples a second", lambda r: float(r.ess.mean()) / r.seconds, "{:.0f}"),
        ("min effective samples", lambda r: float(r.ess.min()), "{:.0f}"),
        ("sampling, seconds", lambda r: r.seconds, "{:.2f}"),
        ("compile and warm-up, seconds", lambda r: r.startup, "{:.2f}"),
        ("leapfrogs a draw", lambda r: r.leapfrogs, "{:.1f}"),
        ("largest R-hat", lambda r: r.rhat, "{:.4f}"),
        ("divergences", lambda r: float(r.divergences), "{:.0f}"),
    ]
    lines = [f"{'':34}{'NUTS':>12}{'Collapsed':>12}{'ratio':>10}"]
    for name, value, form in rows:
        a, b = value(plain), value(collapsed)
        ratio = f"{b / a:.2f}" if a and b and name != "largest R-hat" else ""
        lines.append(f"{name:34}{form.format(a):>12}{form.format(b):>12}{ratio:>10}")
    where, gap = difference(plain, collapsed)
    lines.append(f"largest difference of posterior means: {gap:.1f} Monte Carlo standard errors"
                 + (f" ({where})" if where else ""))
    return "\n".join(lines)
