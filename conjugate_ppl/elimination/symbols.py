"""A program's sites as symbols for a walk over its equations."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from conjugate_ppl.algebra.variables import Variables
from conjugate_ppl.algebra.walk import Walk, latent_value
from conjugate_ppl.program import Program

__all__ = ["start_walk"]


def start_walk(program: Program, candidates: Collection[str],
               origins: Mapping[str, np.ndarray] | None = None) -> Walk:
    """A walk with every input a variable, those in `origins` less a constant.

    `candidates` are the sites that must stay visible.
    """
    variables = Variables()
    walk = Walk(program.graph, {}, candidates, variables)
    for name, number in program.inputs.items():
        site = program.sites.get(name)
        support = site.support if site is not None and not site.discrete else "other"
        walk.set(number, latent_value(name, program.graph.shapes[number], support, variables,
                                      (origins or {}).get(name)))
    return walk
