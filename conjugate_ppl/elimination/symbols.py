"""A program's sites as symbols for a walk over its equations."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import move, never_negative
from conjugate_ppl.algebra.variables import Variables
from conjugate_ppl.algebra.walk import Walk, latent_value
from conjugate_ppl.families.registry import CORRELATED
from conjugate_ppl.program import Program

__all__ = ["signed", "start_walk"]


def start_walk(program: Program, candidates: Collection[str],
               origins: Mapping[str, np.ndarray] | None = None, in_steps: bool = False,
               variables: Variables | None = None, folding: bool = False,
               expanding: bool = False, adding: bool = False) -> Walk:
    """A walk with every input a variable, those in `origins` less a constant.

    `candidates` are the sites that must stay visible; with `in_steps`, recursions are variables too, and with `folding`
    what depends on no candidate is computed as the model does. `variables` are those of an earlier walk, to have the same
    ones again. For `expanding` and `adding` see `Walk`.
    """
    variables = variables or Variables()
    walk = Walk(program.graph, {}, candidates, variables, in_steps, folding, expanding, adding)
    for name, number in program.inputs.items():
        site = program.sites.get(name)
        support = site.support if site is not None and not site.discrete else "other"
        walk.set(number, latent_value(name, program.graph.shapes[number], support, variables,
                                      (origins or {}).get(name)))
    return walk


def signed(scale: Value, family: str) -> np.ndarray | None:
    """Which numbers of a prior's scale, flat, must not be negative and are not proved so; None if none.

    Of a `scale_tril` those on the diagonal.
    """
    must = np.ones(scale.shape, bool)
    if family in CORRELATED:
        must &= np.eye(scale.shape[-1], dtype=bool)
    if never_negative(move(scale, numbered(scale.shape)[must])):
        return None
    return must.reshape(-1)
