"""What can go wrong, by whose hand.

Two kinds, never mixed: `ModelError` and its kin say that something the caller gave
cannot be used and what to do about it; `InternalError` says that this package broke
one of its own promises and asks for a report. Every message says what is wrong, its
likely cause and the next step; docs/errors.md lists them all.
"""

from __future__ import annotations

__all__ = ["ConjugatePPLError", "DataError", "InternalError", "ModelError", "PlanError"]


class ConjugatePPLError(Exception):
    """Base class of every error this package raises on purpose."""


class ModelError(ConjugatePPLError, ValueError):
    """The model, or something given along with it, is not of the kind that is asked for.

    The docstring of what was called says what it takes.
    """


class DataError(ConjugatePPLError, ValueError):
    """Observed or supplied values do not fit the model: NaN, outside a support, another shape.

    The message names the site and, where there is one, the cell: look there in the data, or at what
    was called with other arguments before.
    """


class PlanError(ConjugatePPLError, ValueError):
    """A plan is asked for, or used, that does not hold: names that are no latents, a required site
    that is declined, a collapsed site named from outside.

    `explain(model, ...)` shows the plan for the same arguments, with the reason and the line of every
    site.
    """


class InternalError(ConjugatePPLError, AssertionError):
    """A promise of this package is broken: a bug in it, not in the model.

    Please report it with the model. Until it is mended, name the site in `keep=[...]` to leave it to
    the sampler.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message}\nThis is a bug in conjugate_ppl, not in your model. Please report it; "
            "until it is mended, name the site in `keep=[...]` to leave it to the sampler."
        )
