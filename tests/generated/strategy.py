"""Whole models, chosen by hypothesis (which shrinks what fails) or by a plain random generator."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from generated.elementwise import elementwise, simplex
from generated.finite import classes, level, markov, matrix
from generated.gaussian import gaussian, grid
from generated.relatives import relative
from generated.twists import handler, harmless, twist
from generated.writer import Writer, Written

__all__ = ["models", "random_model"]


def write(w: Writer) -> Written:
    """An ordinary NumPyro model of one or two parts; about half have a twist that must be declined."""
    for _ in range(1 + w.chance(25)):
        w.choose([gaussian, elementwise, grid, gaussian, simplex, classes, level, markov, matrix, relative])(w)
    # a latent that counts may be used in any way, as long as its elements do not meet
    wanted = [x for x in w.latents if x.name in w.must and x.kind != "whole"]
    if wanted and w.chance(30):
        harmless(w, w.choose(wanted))
    wanted = [x for x in wanted if x.name in w.must]
    if wanted and w.chance(50):
        twist(w, w.choose(wanted))
    if w.chance(20):
        handler(w)
    return w.finish()


@st.composite
def models(draw: Any) -> Written:
    """Any model that `write` can write."""
    return write(Writer(lambda n: draw(st.integers(0, n - 1))))


def random_model(seed: int) -> Written:
    """The model of a seed."""
    generator = random.Random(seed)
    return write(Writer(generator.randrange))
