"""One picture of the main job's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from conjugate_ppl.demo.report import Run

__all__ = ["write_figure"]


def write_figure(path: Path, runs: Mapping[str, tuple[Run, Run]]) -> None:
    """Effective samples a second of every scalar, plain against collapsed, and one posterior each.

    Raises:
        ImportError: if matplotlib is missing; the message says how to install it.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("The figure needs matplotlib: pip install 'conjugate_ppl[plots]', or run "
                          "with --figure none.") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(2, len(runs), figsize=(4.2 * len(runs), 6.4), squeeze=False,
                                layout="constrained")
    blue, orange = "#3b6ea5", "#d9822b"
    for k, (name, (plain, collapsed)) in enumerate(runs.items()):
        top, bottom = axes[0, k], axes[1, k]
        rates = [r.ess / r.seconds for r in (plain, collapsed)]
        top.boxplot(rates, orientation="horizontal", widths=0.55, whis=(0, 100),
                    medianprops={"color": "black"})
        for y, (rate, colour) in enumerate(zip(rates, (blue, orange), strict=True), 1):
            jitter = np.random.default_rng(0).uniform(-0.12, 0.12, rate.size)
            top.plot(rate, y + jitter, ".", color=colour, alpha=0.5, markersize=5)
        top.set_yticks([1, 2], ["NUTS", "Collapsed"])
        top.set_xscale("log")
        low, high = top.get_xlim()
        # over few decades a mark within each; over many its numbers would run into each other
        top.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0) if high < 1000 * low else (1.0,)))
        top.xaxis.set_major_formatter("{x:g}")
        top.xaxis.set_minor_formatter(ticker.NullFormatter())
        top.set_xlabel("effective samples a second, each parameter")
        top.set_title(name.replace("_", " "))
        site = next(n for n, v in plain.samples.items() if v.ndim == 2)\
            if any(v.ndim == 2 for v in plain.samples.values()) else next(iter(plain.samples))
        for run, colour, label in ((plain, blue, "NUTS"), (collapsed, orange, "Collapsed")):
            draws = run.samples[site].reshape(-1, *run.samples[site].shape[2:])
            draws = draws.reshape(len(draws), -1)[:, 0]
            low, high = np.quantile(draws, [0.002, 0.998])
            bottom.hist(draws, bins=np.linspace(low, high, 50), density=True, histtype="step",
                        color=colour, linewidth=1.6, label=label)
        bottom.set_xlabel(site if plain.samples[site].ndim == 2 else f"{site}, first element")
        bottom.set_yticks([])
        bottom.set_ylabel("posterior density")
        bottom.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
