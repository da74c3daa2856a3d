"""The main job: `python -m conjugate_ppl` compares plain NUTS and `Collapsed` on real data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpyro

from conjugate_ppl.collapse import explain
from conjugate_ppl.demo.figure import write_figure
from conjugate_ppl.demo.models import MODELS, load
from conjugate_ppl.demo.report import Run, compare, table


def main(argv: Sequence[str] | None = None) -> int:
    """Parse options, run, print, write the figure."""
    parser = argparse.ArgumentParser(prog="python -m conjugate_ppl", description=__doc__)
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--draws", type=int, default=2000, help="draws a chain")
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float64", action="store_true", help="double precision")
    parser.add_argument("--no-progress", action="store_true", help="no progress bars")
    parser.add_argument("--figure", default="conjugate_ppl.png",
                        help="where to write the figure; 'none' for no figure")
    options = parser.parse_args(argv)
    for name in ("chains", "draws", "warmup"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.float64:
        numpyro.enable_x64()
    names = list(MODELS) if options.model == "all" else [options.model]
    runs: dict[str, tuple[Run, Run]] = {}
    for name in names:
        model, data = MODELS[name], load(name)
        print(f"\n=== {name.replace('_', ' ')} ===\n")
        print(explain(model, **data), flush=True)
        print()
        runs[name] = compare(model, data, options.chains, options.draws, options.warmup,
                             options.seed, not options.no_progress)
        print()
        print(table(*runs[name]), flush=True)
    if options.figure != "none":
        path = Path(options.figure)
        write_figure(path, runs)
        print(f"\nFigure written to {path.resolve()} "
              f"({jax.default_backend()}, {'float64' if options.float64 else 'float32'}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
