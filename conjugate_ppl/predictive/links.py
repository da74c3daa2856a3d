"""How an observed site's distribution depends on the latents, parameter by parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.additive.cells import walk_of
from conjugate_ppl.additive.polynomial import Key, NoStatistic, key_of
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.program import Program

__all__ = ["Link", "NoClosedForm", "Parameters", "known", "link", "read_parameters"]


class NoClosedForm(Exception):
    """A prediction is in no closed form that is known here; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Parameters:
    """An observed site's distribution.

    Attributes:
        kind: type of the innermost distribution.
        values: its parameters, each as monomials in the latents.
        batch_shape: of the site; `event`: how many elements of the innermost distribution one event joins.
        joined: how many axes `to_event` joined.
    """

    kind: type
    values: Mapping[str, Value]
    batch_shape: tuple[int, ...]
    joined: int


def read_parameters(model: Callable[..., Any], args: Any, kwargs: Any, program: Program, site: str) -> Parameters:
    """The distribution of `site` in a run of the model with these arguments."""
    notes: dict[str, Any] = {}

    def read(trace: Mapping[str, Any]) -> dict[str, Any]:
        inner, joined = trace[site]["fn"], 0
        shape = tuple(inner.batch_shape)
        while type(inner) in (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution):
            joined += inner.reinterpreted_batch_ndims if type(inner) is dist.Independent else 0
            inner = inner.base_dist
        if joined:
            shape = shape + tuple(trace[site]["fn"].event_shape[:joined])
        if _holds_another(inner):
            raise NoClosedForm(f"a {type(inner).__name__} is made of other distributions")
        notes.update(kind=type(inner), joined=joined, shape=shape)
        found = {}
        for name in ("loc", "scale_tril") if type(inner) is dist.MultivariateNormal else inner.arg_constraints:
            number = jnp.asarray(getattr(inner, name))
            axes = inner.arg_constraints[name].event_dim if name in inner.arg_constraints else 0
            found[name] = jnp.broadcast_to(number, shape + number.shape[number.ndim - axes:])
        return found

    walk, numbers = walk_of(model, args, kwargs, program, {}, read)
    values = dict(zip(numbers, walk.run(numbers.values()), strict=True))
    end = len(notes["shape"]) - notes["joined"]
    return Parameters(notes["kind"], values, notes["shape"][:end], notes["joined"])


def _holds_another(d: Any) -> bool:
    """Whether a distribution is not given by its own parameters: those that are another one transformed are."""
    if isinstance(d, dist.TransformedDistribution) and type(d) is not dist.TransformedDistribution:
        return False
    return not d.arg_constraints or any(
        isinstance(x, dist.Distribution) for n, x in vars(d).items() if not n.startswith("_"))


def known(value: Value) -> np.ndarray | None:
    """The number that a parameter is, if it depends on no latent."""
    if value.roots or not all(is_known(a) for t in value.terms for a in t.arrays):
        return None
    return np.broadcast_to(sum((t.coefficient() for t in value.terms), np.zeros(())), value.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """A parameter that is `coefficient * z[selection] ** power`, or such a function of 1 - z ("complement") its
    logarithm ("log"), or the log-odds of z ("log-odds", where the coefficient is 1 or -1)."""

    site: str
    form: str
    power: Fraction
    coefficient: np.ndarray
    selection: np.ndarray


def link(value: Value) -> Link | None:
    """How a parameter depends on one latent, if it does in one of these ways."""
    parts: list[tuple[tuple[tuple[Key, Fraction], ...], np.ndarray, list[np.ndarray]]] = []
    for term in value.terms:
        if term.hidden or not all(is_known(a) for a in term.arrays):
            return None
        try:
            atoms = tuple((key_of(a.variable), a.power) for a in term.atoms)
        except NoStatistic:
            return None
        parts.append((atoms, np.broadcast_to(term.coefficient(), value.shape),
                      [np.broadcast_to(a.selection, value.shape) for a in term.atoms]))
    if len(parts) == 1 and len(parts[0][0]) == 1:
        ((key, power),), coefficient, (selection,) = parts[0]
        if key[0] == "latent":
            return Link(key[1], "", power, coefficient, selection)
        if key[0] == "complement" and key[1][0] == "latent":
            return Link(key[1][1], "complement", power, coefficient, selection)
        if key[0] == "log" and key[1][0] == "latent":
            return Link(key[1][1], "log", power, coefficient, selection)
        return None
    if len(parts) != 2:
        return None
    parts.sort(key=lambda p: (len(p[0]), str(p[0])))
    (atoms, first, left), (others, second, right) = parts
    if not atoms and len(others) == 1 and others[0][0][0] == "latent" and others[0][1] == 1:
        if (first == 1).all() and (second == -1).all():
            return Link(others[0][0][1], "complement", Fraction(1), first, right[0])
        return None
    if len(atoms) == len(others) == 1 and atoms[0][1] == others[0][1] == 1:
        (low, high), site = (atoms[0][0], others[0][0]), others[0][0][1][-1]
        if (low == ("log", ("complement", ("latent", site))) and high == ("log", ("latent", site))
                and (first == -second).all() and (abs(first) == 1).all() and (left[0] == right[0]).all()):
            return Link(site, "log-odds", Fraction(1), second, right[0])
    return None
