"""What can go wrong, by whose hand.

Two kinds, never mixed: `ModelError` and its kin say that something the caller gave
cannot be used and what to do about it; `InternalError` says that this package broke
one of its own promises and asks for a report.
"""

from __future__ import annotations

__all__ = ["ConjugatePPLError", "DataError", "InternalError", "ModelError", "PlanError"]


class ConjugatePPLError(Exception):
    """Base class of every error this package raises on purpose."""


class ModelError(ConjugatePPLError, ValueError):
    """The model, or a name given with it, cannot be used as asked."""


class DataError(ConjugatePPLError, ValueError):
    """Observed or supplied values do not fit the model (NaN, outside a support, shape)."""


class PlanError(ConjugatePPLError, ValueError):
    """A plan is used where it does not hold: a required site was declined, arguments of
    another structure, or an outer handler that names a collapsed site."""


class InternalError(ConjugatePPLError, AssertionError):
    """A promise of this package is broken; please report it with the model."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message}\nThis is a bug in conjugate_ppl, not in your model. Please report it; "
            "until it is mended, name the site in `keep=[...]` to leave it to the sampler."
        )
