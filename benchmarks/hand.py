"""Microseconds a gradient: the collapsed model against one marginalised by hand.

Models as an expert would marginalise them (`written.py`), *on statistics* and *on rows*. Both have the density of the collapsed model (checked). A
gradient of the potential energy, in one compiled loop each; the four take turns, and the fastest of some rounds
counts.

    python benchmarks/hand.py [eight_schools radon random_slopes dutch] [--rounds 20]
"""

from __future__ import annotations

import argparse

import jax
import numpy as np
from gradient import looped, seconds
from job import cases, more_cases
from numpyro.infer.util import initialize_model

import conjugate_ppl as cj

NAMES = ("eight_schools", "radon", "random_slopes", "dutch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="of those of `job.py` that have one on statistics")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print("| model | plain, us | by hand on rows | by hand on statistics | collapsed | collapsed / statistics |")
    print("|---|---|---|---|---|---|")
    known = {**cases(), **more_cases()}
    for name in options.names or NAMES:
        case = known[name]()
        data = tuple(case.data.values())
        assert case.statistics is not None, f"{name} has no model on statistics"
        of = {"plain": (case.model, data), "rows": case.rows or case.statistics, "statistics": case.statistics,
              "collapsed": (cj.collapse(case.model), data)}
        if case.rows is None:
            del of["rows"]
        loops, energies = {}, {}
        start = initialize_model(jax.random.key(0), case.statistics[0], model_args=case.statistics[1]).param_info.z
        for kind, (model, args) in of.items():
            named = {"model_kwargs": case.data} if args is data else {"model_args": args}
            info = initialize_model(jax.random.key(0), model, **named)
            z = info.param_info.z if kind == "plain" else start
            energies[kind] = float(info.potential_fn(z))
            loops[kind] = looped(info.potential_fn, z, 300)
        assert np.isclose(energies["collapsed"], energies["statistics"], rtol=1e-9), energies
        us = {k: 1e6 * t for k, t in seconds(loops, options.rounds).items()}
        row = " | ".join(f"{us[k]:.1f}" if k in us else "" for k in ("plain", "rows", "statistics", "collapsed"))
        print(f"| {name} | {row} | {us['collapsed'] / us['statistics']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
