"""States of the kernel: what goes around the loop of a sampler."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax

__all__ = ["Adaptation", "CollapsedState", "ExactState"]


@partial(jax.tree_util.register_dataclass, data_fields=("inner", "drawn", "data"), meta_fields=("field", "outside"))
@dataclasses.dataclass(frozen=True)
class CollapsedState:
    """State of `Collapsed`; fields of the inner state (`diverging`, `num_steps`, `rng_key`, ...) can be read here too.

    Nothing is in it twice: a loop over steps copies each array of its state in each of them.

    Fields:
        inner: state of the kernel that moves the kept sites.
        drawn: values of the collapsed sites.
        data: a number that stands for the model's arguments, to notice a restart with others.
        field: which field of `inner` has the kept sites; None where nothing is kept.
        outside: a number that stands for what else the model reads. It is no array: what was compiled for another is
            not used for this one.
    """

    inner: Any
    drawn: dict[str, Any]
    data: Any
    field: str | None
    outside: int = 0

    @property
    def kept(self) -> dict[str, Any]:
        """Unconstrained values of the kept sites."""
        return {} if self.field is None else dict(getattr(self.inner, self.field))

    @property
    def z(self) -> dict[str, Any]:
        """Unconstrained values of the kept sites and values of the collapsed ones."""
        return {**self.kept, **self.drawn}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":  # while it is unpickled there is none yet
            return object.__getattribute__(self, name)
        return getattr(self.inner, name)

    def _replace(self, **changes: Any) -> CollapsedState:
        """The same with other fields, as NumPyro changes states; those of the inner state can be given too, and `z`."""
        own = {n: changes.pop(n) for n in ("inner", "drawn", "data", "field", "outside") if n in changes}
        if "z" in changes:
            z = dict(changes.pop("z"))
            own["drawn"] = {n: z.pop(n) for n in self.drawn}
            changes.update({} if self.field is None else {self.field: z})
        inner = own.pop("inner", self.inner)
        return dataclasses.replace(self, inner=inner._replace(**changes) if changes else inner, **own)


class Adaptation(NamedTuple):
    """What diagnostics read of an adaptation."""

    step_size: Any


class ExactState(NamedTuple):
    """What stands for the inner state where nothing is kept: every step is an independent draw.

    Fields:
        i: number of steps taken.
        diverging: never.
        num_steps: gradients taken in a step: none.
        accept_prob: one.
        mean_accept_prob: one.
        potential_energy: minus the log evidence (up to flat priors), the same for every draw.
        energy: the same.
        adapt_state: with a `step_size` of one.
        rng_key: the key of the next step.
    """

    i: Any
    diverging: Any
    num_steps: Any
    accept_prob: Any
    mean_accept_prob: Any
    potential_energy: Any
    energy: Any
    adapt_state: Any
    rng_key: Any
