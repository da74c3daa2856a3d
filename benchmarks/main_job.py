"""Plain NUTS (each way of writing a model) against `Collapsed`, in one run.

Two figures a model:

* steady: effective samples a second of the worst scalar, sampling alone: the time of 10 n draws less that
  of n draws, in a loop that is compiled once, so that the fixed start-up of a run drops out (1 chain,
  n = 2000, or 20000 where the difference is less than half a second);
* cold: seconds to 1000 effective samples of the worst scalar, everything included (analysis, compilation,
  warm-up), from the measured start-up and the steady rate.

Times are of this machine; only the ratios mean something. Usage:

    python benchmarks/main_job.py [name ...] [--draws 2000] [--seed 0]
"""

from __future__ import annotations

import argparse

import jax
from job import cases
from numpyro.infer import NUTS
from sampling import measure

from conjugate_ppl import Collapsed


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    known = cases()
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(known)}")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args()
    if options.float64:
        jax.config.update("jax_enable_x64", True)
    print("| model | sampler | steady, min ESS/s | ratio | ESS a leapfrog | leapfrogs a draw | "
          "cold, s | cold less plain, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.names or known:
        case = known[name]()
        plain = {"as written": case.model, **case.others}
        results = {label: measure(NUTS(m), case.data, options.draws, options.seed)
                   for label, m in plain.items()}
        best = max(results.values(), key=lambda r: r.steady())
        quickest = min(r.cold for r in results.values())
        results["collapsed"] = measure(Collapsed(case.model), case.data, options.draws,
                                       options.seed)
        for label, r in results.items():
            print(f"| {name} | {label} | {r.steady():.0f} | {r.steady() / best.steady():.2f} | "
                  f"{r.per_leapfrog:.3g} | {r.leapfrogs:.1f} | {r.cold:.1f} | "
                  f"{r.cold - quickest:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
