"""A run of the user's model with its collapsed sites hidden, and with the priors that the marginal accounts for
replaced by flat ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.primitives import Messenger

from conjugate_ppl import _compat
from conjugate_ppl.errors import PlanError
from conjugate_ppl.planning.execute import Execution

__all__ = ["Flattened", "Rewriter"]


class Rewriter(Messenger):
    """Runs the model with collapsed sites hidden; notes the values of the others."""

    def __init__(self, execution: Execution) -> None:
        super().__init__()
        self._execution = execution
        self._collapsed = frozenset(execution.plan.collapsed)
        self.values: dict[str, Any] = {}
        self._names: dict[int, str] = {}  # of messages under way, before outer handlers rename them
        self._made: dict[int, Any] = {}  # values of deterministic sites under way
        self._reverse = _compat.InReverse()

    def process_message(self, msg: dict[str, Any]) -> None:
        name = msg.get("name")
        if msg["type"] == "deterministic":
            self._made[id(msg)] = msg["value"]
            msg["stop"] = msg.get("stop") or name in self._execution.hidden
        if name is not None and msg["type"] in ("sample", "param") and name not in self._collapsed:
            self._names[id(msg)] = name
        if msg["type"] == "control_flow" and _compat.is_scan(msg):
            # what runs inside a loop is out of sight here, and hidden there
            step, *others = msg["args"]
            msg["args"] = (_Hidden(step, self._execution), *others)
        if msg["type"] != "sample":
            return
        if name in self._collapsed:
            if _compat.given_by_function(self, msg, ["condition"]):
                raise PlanError(f"`condition_fn` around the collapsed model gives `{name}` a value, "
                                f"which is integrated out. Give keep=[{name!r}] to `collapse`, or put "
                                "the handler around the model before collapsing it.")
            _hide(msg, self._execution)
        elif name in self._execution.replaced:
            handler = _compat.outer_names(self, [name]).get(name, "")
            if msg["is_observed"]:
                handler = handler or _compat.given_by_function(self, msg, ["condition", "substitute"])
                if handler:
                    raise PlanError(f"`{handler}` around the collapsed model gives `{name}` a value, whose data are part of the "
                                    "marginal. Give the data to the model, or put the handler around the model before "
                                    "collapsing it.")
                msg["stop"] = True
                return
            handler = _compat.given_by_function(self, msg, ["reparam"]) or handler
            if handler in ("reparam", "do"):
                raise PlanError(f"`{handler}` around the collapsed model takes another prior for `{name}`, whose own is part of "
                                "the marginal. Put it around the model before collapsing it.")
            msg["fn"] = Flattened(msg["fn"])

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "deterministic":
            self._same(msg["name"], self._made.pop(id(msg), msg["value"]), msg["value"])
        self._reverse.postprocess_message(msg)
        name = self._names.pop(id(msg), None)
        if name is not None:
            self.values[name] = self._reverse.by_turn(msg["name"], msg["value"])

    def _same(self, name: str, made: Any, value: Any) -> None:
        """Refuse a value of a deterministic site that an outer handler gave in place of the model's own."""
        if value is made or (_compat.is_concrete(value) and _compat.is_concrete(made) and np.array_equal(value, made)):
            return
        raise PlanError(f"A handler around the collapsed model gives the deterministic site `{name}` a value of its own, "
                        "which the marginal would not know of. Put the handler around the model before collapsing it.")


class _Hidden(Messenger):
    """The step of a loop, with its collapsed sites hidden."""

    def __init__(self, step: Callable[..., Any], execution: Execution) -> None:
        super().__init__(step)
        self._execution = execution

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "sample" and msg["name"] in self._execution.plan.collapsed:
            _hide(msg, self._execution)


def _hide(msg: dict[str, Any], execution: Execution) -> None:
    msg["value"] = _placeholder(msg, msg["name"] in execution.drawn)
    msg["stop"] = True


def _placeholder(msg: dict[str, Any], drawn: bool) -> Any:
    """A value for a hidden site: a feasible one, or a draw from its prior where there is a key and
    the prior of a kept site needs it."""
    fn, shape = msg["fn"], msg["kwargs"].get("sample_shape", ())
    key = msg["kwargs"].get("rng_key")
    if key is None:
        key = numpyro.prng_key()  # taken in any case, so that other sites get theirs
    if key is not None and drawn:
        try:
            return fn.sample(key, shape)
        except NotImplementedError:
            pass
    if fn.support.is_discrete:
        return fn.sample(_compat.a_key(), shape)
    return fn.support.feasible_like(jnp.zeros(fn.shape(shape)))


class Flattened(dist.Distribution):
    """The support of a distribution with density 1; draws still come from the distribution.

    Stands for the prior of a kept site where that prior is part of the marginal factor.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("base",)

    def __init__(self, base: Any) -> None:
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.base.support

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        return self.base.sample(key, sample_shape)

    def log_prob(self, value: Any) -> Any:
        shape = jnp.shape(value)
        return jnp.zeros(jnp.broadcast_shapes(self.batch_shape,
                                              shape[: len(shape) - self.event_dim]))
