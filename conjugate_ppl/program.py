"""A user's model, run once: every site's log density as equations in the latents.

The model is executed abstractly, with its latents as inputs and its arguments closed over (so strings,
None and Python numbers stay what they are). Nothing is judged here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.primitives import Messenger

from conjugate_ppl import _compat
from conjugate_ppl.densities import (
    UnknownDensity,
    fills_the_reals,
    log_density,
    nan_out_of_range,
    of_mass_one,
    probabilities,
    registered_outside,
    support_parameters,
    vanishes_outside,
)
from conjugate_ppl.densities.wrappers import apart, bounds_of, innermost, likely_of, mask_of
from conjugate_ppl.errors import DataError
from conjugate_ppl.families import FAMILIES, family_from_outside, priors_of
from conjugate_ppl.families.subspace import coordinates
from conjugate_ppl.families.transformed import plain
from conjugate_ppl.graph import Graph

__all__ = ["Program", "Site", "trace_program", "trace_sites"]

Model = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Site:
    """One sample statement. Numbers refer to the program's graph.

    Attributes:
        name: the site's name.
        latent: whether it is sampled (not observed).
        shape: shape of its value.
        dtype: dtype of its value.
        event_dim: how many of the rightmost axes belong to one event.
        discrete: whether its support is discrete.
        support: "real", "positive", "unit", "simplex", "positive definite", "lower cholesky" or "other", as
            far as proved.
        distribution: name of the innermost distribution type.
        family: name of the family its prior belongs to, or "".
        parameters: the prior's parameters, broadcast to the value where they are elementwise.
        alternatives: other families that the prior may be taken for, with its parameters there.
        factor: its summed, masked and scaled log density.
        known_density: whether the factor was written from the table of densities.
        normalised: whether its density, not masked, is known to have a mass of one, whatever it depends on: it is in that table,
            or made of distributions of NumPyro's own alone.
        support_numbers: parameters that its support depends on.
        simplex_numbers: parameters that must sum to one over their last axis.
        unit_numbers: those that must lie between 0 and 1.
        likely: a value that the prior of a continuous latent finds likely, its median or mean, where NumPyro knows it.
        mask: its mask, if any.
        mask_within: how many of the mask's rightmost axes lie within an event.
        scale: its scale, if any.
        cells: its log density cell by cell, masked and scaled, as NumPyro computes it; only in models with
            discrete latents.
        states: the values that a discrete latent can take, if finitely many; consecutive whole numbers.
        possible: which of them each element can take, shape `shape + (len(states),)`; None for all.
        valid: elementwise "is inside the support" of an observed value.
        value: its value, where observed.
        plates: names of the plates that enclose it.
        subsampled: whether a randomly subsampled plate encloses it.
        branched: whether it was written inside `cond`.
        looped: the value that its density is of, if it was written inside `scan`: the input's elements,
            though maybe in another order.
        auxiliary: whether it is a `factor` statement.
        vanishes: whether its density is known to be 0 outside its support.
        from_outside: whether its density or its prior's family is registered outside this package.
        source: the line of the sample statement, "model.py:12".
    """

    name: str
    latent: bool
    shape: tuple[int, ...]
    dtype: Any
    event_dim: int
    discrete: bool
    support: str
    distribution: str
    family: str
    parameters: Mapping[str, int]
    alternatives: Mapping[str, Mapping[str, int]]
    factor: int
    known_density: bool
    normalised: bool
    support_numbers: tuple[int, ...]
    simplex_numbers: tuple[int, ...]
    unit_numbers: tuple[int, ...]
    likely: int | None
    mask: int | None
    mask_within: int
    scale: int | None
    cells: int | None
    states: np.ndarray | None
    possible: np.ndarray | None
    valid: int | None
    value: int | None
    plates: tuple[str, ...]
    subsampled: bool
    branched: bool
    looped: int | None
    auxiliary: bool
    vanishes: bool
    from_outside: bool
    source: str

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape))


@dataclasses.dataclass(frozen=True)
class Program:
    """A model as equations; see the module's docstring.

    Attributes:
        graph: the equations, over inputs that are the latents and the `param` sites.
        sites: every sample site in the model's order.
        inputs: site name -> its number in the graph.
        deterministics: deterministic site -> its number.
        params: names of the `param` sites.
        unfit_params: for those whose values are not known ahead, why.
        turns: for sites on a subspace, what makes their value of their input, which are coordinates of it.
        mutable: whether the model holds `mutable` state.
    """

    graph: Graph
    sites: Mapping[str, Site]
    inputs: Mapping[str, int]
    deterministics: Mapping[str, int]
    params: tuple[str, ...]
    unfit_params: dict[str, str]
    turns: Mapping[str, Any]
    mutable: bool

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent sites, in the model's order."""
        return tuple(s.name for s in self.sites.values() if s.latent)

    @property
    def concrete(self) -> bool:
        """Whether all of its numbers are known: neither arguments nor what the model closes over is
        traced."""
        return all(_compat.is_concrete(c) for c in self.graph.constants.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a site's value in the user's model."""
        own = self.graph.shapes[self.inputs[name]]
        return self.turns[name].forward_shape(own) if name in self.turns else tuple(own)

    def inside(self, name: str, value: Any) -> Any:
        """The input that a site's value is made of."""
        return self.turns[name].inv(value) if name in self.turns else value

    def outside(self, name: str, value: Any) -> Any:
        """The value of a site, of its input."""
        return self.turns[name](value) if name in self.turns else value

    def roots(self, *numbers: int | None) -> frozenset[str]:
        """The inputs that any of some numbers of the graph depend on."""
        names, deps = list(self.inputs), self.graph.dependencies
        return frozenset(names[k] for n in numbers if n is not None
                         for k in deps.get(n, frozenset()))


class _Lines(Messenger):
    """Notes the user's line of each statement and which sites come from a `cond`."""

    def __init__(self, fn: Model) -> None:
        super().__init__(fn)
        self.lines: dict[str, str] = {}
        self.branched: set[str] = set()
        self._in_cond = False

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "control_flow":
            self._in_cond = not _compat.is_scan(msg)
        if msg["type"] == "sample":
            self.lines.setdefault(msg["name"], getattr(msg["fn"], "source", "") or _compat.calling_line())
            # sites of a loop or a branch are announced after it
            if msg.get("_control_flow_done") and self._in_cond:
                self.branched.add(msg["name"])


def _placeholder(site: dict[str, Any]) -> Any:
    """A value of the right shape inside the support, for the abstract first run."""
    if site["type"] != "sample" or site.get("is_observed") or site["value"] is not None:
        return None
    fn = site["fn"]
    shape = fn.shape(site["kwargs"].get("sample_shape", ()))
    if fn.support is not None and fn.support.is_discrete:
        struct = jax.eval_shape(lambda k: fn.sample(k, site["kwargs"].get("sample_shape", ())),
                                _compat.a_key())
        return jnp.zeros(struct.shape, struct.dtype)
    # a bound given as a whole number must not make the site one
    return jnp.asarray(fn.support.feasible_like(jnp.zeros(shape)), jnp.result_type(float))


def trace_sites(model: Model, args: Any, kwargs: Any, **how: Any) -> dict[str, Any]:
    with handlers.block(), numpyro.validation_enabled(False):
        seeded = handlers.substitute(handlers.seed(model, _compat.a_key()), **how)
        out: dict[str, Any] = handlers.trace(seeded).get_trace(*args, **kwargs)
    return out


def _support(fn: Any) -> str:
    """What is proved about a distribution's support from its constraint alone."""
    c = plain(innermost(fn)).support
    while isinstance(c, constraints.independent):
        c = c.base_constraint
    if isinstance(c, constraints._SoftplusPositive) or c is constraints.positive:
        return "positive"
    if c is constraints.real:
        return "real"
    if c is constraints.simplex:
        return "simplex"
    if c is constraints.positive_definite:
        return "positive definite"
    if c is constraints.lower_cholesky:
        return "lower cholesky"
    low, high = getattr(c, "lower_bound", None), getattr(c, "upper_bound", None)

    def number(x: Any) -> np.ndarray | None:
        return None if x is None or not _compat.is_concrete(x) else np.asarray(x)

    low, high = number(low), number(high)
    if low is not None and high is not None and (low == 0).all() and (high == 1).all():
        return "unit"
    if low is not None and (low >= 0).all():
        return "positive"
    return "other"


def _summed(fn: Any, value: Any, scale: Any) -> tuple[Any, bool]:
    """The site's total log density, and whether the table knows it."""
    try:
        with _compat.written_here(nan_out_of_range(fn)):
            out, known = log_density(fn, value), True
    except UnknownDensity:
        out, known = fn.log_prob(value), False
    total = jnp.sum(out)
    return (total if scale is None else jnp.sum(out * scale)), known


@_compat.one_thread
def trace_program(model: Model, args: tuple[Any, ...] = (),
                  kwargs: Mapping[str, Any] | None = None) -> Program:
    """Run `model` once, abstractly, and write it as equations.

    Errors that the model raises come through unchanged.

    Raises:
        DataError: if an observed value is no array of numbers.
    """
    kwargs = dict(kwargs or {})
    kinds: dict[str, str] = {}  # of all sites, in the order of the model
    order: list[str] = []
    discrete: list[str] = []
    unfit_params: dict[str, str] = {}
    turns: dict[str, Any] = {}

    def shapes() -> Any:
        trace = trace_sites(model, args, kwargs, substitute_fn=_placeholder)
        kinds.update({n: s["type"] for n, s in trace.items()})
        order.extend(n for n, s in trace.items() if _is_input(s))
        discrete.extend(n for n in order if trace[n]["type"] == "sample" and trace[n]["fn"].support
                        is not None and trace[n]["fn"].support.is_discrete)
        for name, s in trace.items():
            if s["type"] == "param" and (not s["args"] or callable(s["args"][0])):
                unfit_params[name] = "has a random initial value, which would be drawn a second time"
            elif s["type"] == "param" and not _is_input(s):
                unfit_params[name] = "is a tree of arrays, not one array"
        for name in order:
            site = trace[name]
            if site["type"] == "sample" and not site.get("_control_flow_done"):
                found = coordinates(site["fn"])
                turns.update({} if found is None else {name: found[1]})
        return {n: turns[n].inv(trace[n]["value"]) if n in turns else trace[n]["value"] for n in order}

    structs = jax.eval_shape(shapes)
    notes: dict[str, Any] = {}

    def densities(values: list[Any]) -> list[Any]:
        lines = _Lines(model)
        data = dict(zip(order, values, strict=True))
        trace = trace_sites(lines, args, kwargs, data={n: turns[n](x) if n in turns else x for n, x in data.items()})
        out: dict[str, Any] = {"sites": {}, "deterministic": {}}
        random_plates = {n for n, s in trace.items() if s["type"] == "plate"
                         and s["args"][1] is not None and s["args"][1] < s["args"][0]}
        notes["mutable"] = any(s["type"] == "mutable" for s in trace.values())
        for name, site in trace.items():
            if site["type"] == "deterministic":
                out["deterministic"][name] = site["value"]
            elif site["type"] == "sample":
                if name in turns:
                    site = {**site, "fn": _coordinates_of(site["fn"]), "value": data[name]}
                out["sites"][name] = _record(site, notes, lines, random_plates)
                if discrete:
                    out["sites"][name].update(_by_cell(site))
        leaves, notes["tree"] = jax.tree.flatten(out)
        return leaves

    closed = _compat.make_jaxpr(densities, [structs[n] for n in order])
    graph = Graph(closed)
    out = jax.tree.unflatten(notes["tree"], graph.outputs)
    sites = {n: _site(graph, n, numbers, notes[n]) for n, numbers in out["sites"].items()}
    ordered = {n: sites[n] for n in kinds if n in sites}
    return Program(
        graph=graph,
        sites={**ordered, **{n: s for n, s in sites.items() if n not in ordered}},
        inputs=dict(zip(order, graph.inputs, strict=True)),
        deterministics=out["deterministic"],
        params=tuple(n for n in order if kinds[n] == "param"),
        unfit_params=unfit_params,
        turns=turns,
        mutable=notes["mutable"],
    )


def _coordinates_of(fn: Any) -> Any:
    found = coordinates(fn)
    assert found is not None
    return found[0]


def _is_input(site: dict[str, Any]) -> bool:
    if site["type"] == "param":
        return bool(jax.tree_util.all_leaves([site["value"]]))
    return bool(site["type"] == "sample" and not site["is_observed"])


def _record(site: dict[str, Any], notes: dict[str, Any], lines: _Lines,
            random_plates: set[str]) -> dict[str, Any]:
    """The arrays of one site that go through the graph; the rest goes to `notes`."""
    fn, value, name = site["fn"], site["value"], site["name"]
    latent = not site["is_observed"]
    if not latent and not _holds_numbers(value):
        kind = getattr(value, "dtype", type(value).__name__)
        source = lines.lines.get(name, "")
        raise DataError(f"The value of the observed site `{name}` is no array of numbers (but "
                        f"{kind}; {source}). Likely it is a list, or cells are missing: give `obs=` "
                        "an array.")
    if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
        # NumPyro hands it to NumPy, which may compare it with a latent (the total of a Binomial)
        value = site["value"] = jnp.asarray(value)
    factor, known = _summed(fn, value, site["scale"])
    families = priors_of(fn, jnp.shape(value), value) if latent else {}
    family = next((n for n in families if not FAMILIES[n].if_fits), "")
    parameters = families.pop(family, {})
    mask, within = mask_of(fn)
    inner = innermost(fn)
    if latent and mask is False and fills_the_reals(inner):  # its density counts as 1, at all reals
        family, parameters, families = "Flat", {}, {}
    notes[name] = {
        "latent": latent,
        "shape": tuple(jnp.shape(value)),
        "dtype": jnp.result_type(value),
        "event_dim": fn.event_dim,
        "mask_within": within,
        "discrete": bool(fn.support is not None and fn.support.is_discrete),
        "support": _support(fn),
        "distribution": type(inner).__name__,
        "family": family,
        "known_density": known,
        "normalised": of_mass_one(inner, known),
        "plates": tuple(f.name for f in site["cond_indep_stack"]),
        "subsampled": any(f.name in random_plates for f in site["cond_indep_stack"]),
        "branched": name in lines.branched,
        "auxiliary": bool(site["infer"].get("is_auxiliary")) or type(inner) in (
            dist.Unit, dist.Delta),
        "vanishes": vanishes_outside(inner),
        "from_outside": registered_outside(inner) or any(
            map(family_from_outside, [family] if family else families)),
        "source": lines.lines.get(name, ""),
    }
    simplexes, units = probabilities(fn)
    record: dict[str, Any] = {"factor": factor, "parameters": parameters, "alternatives": families,
                              "support_numbers": list(support_parameters(fn)),
                              "simplex_numbers": simplexes, "unit_numbers": units}
    if mask is not None:
        record["mask"] = jnp.asarray(mask)
    if site["scale"] is not None:
        record["scale"] = jnp.asarray(site["scale"])
    if latent and not notes[name]["discrete"]:
        likely = likely_of(inner)
        if likely is not None:
            record["likely"] = jnp.broadcast_to(likely, jnp.shape(value))
    if latent and site.get("_control_flow_done"):
        record["looped"] = jnp.asarray(value)
    if not latent and not notes[name]["auxiliary"] and np.size(value):
        record["value"] = jnp.asarray(value)
        with contextlib.suppress(NotImplementedError, TypeError):
            if inner.support is not constraints.circular:  # angles are what they are whole turns away, in NumPyro's density too
                record["valid"] = jnp.asarray(fn.support(record["value"]))  # NumPy would not compare it with a latent
    return record


def _by_cell(site: dict[str, Any]) -> dict[str, Any]:
    """What summing out discrete latents needs of a site."""
    fn, scale = site["fn"], site["scale"]
    fn, extra = apart(fn)
    cells = fn.log_prob(site["value"])
    if scale is not None:
        cells = cells * jnp.reshape(scale, jnp.shape(scale) + (1,) * extra)
    record = {"cells": jnp.asarray(cells)}
    bounds = None if site["is_observed"] else bounds_of(site["fn"])
    if bounds is not None:
        record["low"], record["high"] = (jnp.broadcast_to(b, jnp.shape(site["value"])) for b in bounds)
    return record


def _holds_numbers(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return isinstance(value, (bool, int, float))
    return bool(jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_))


def _site(graph: Graph, name: str, numbers: dict[str, Any], note: dict[str, Any]) -> Site:
    states, possible = _states(graph, numbers.get("low"), numbers.get("high"))
    cells = numbers.get("cells")
    if cells is not None and note["distribution"] == "Unit":  # a `factor` that is added up is as many cells
        cells = graph.summands(cells)
    return Site(
        name=name, factor=numbers["factor"], parameters=numbers["parameters"],
        alternatives=numbers["alternatives"],
        support_numbers=tuple(numbers["support_numbers"]),
        simplex_numbers=tuple(numbers["simplex_numbers"]),
        unit_numbers=tuple(numbers["unit_numbers"]), likely=numbers.get("likely"), mask=numbers.get("mask"),
        scale=numbers.get("scale"), valid=numbers.get("valid"), value=numbers.get("value"),
        looped=numbers.get("looped"), cells=cells, states=states, possible=possible, **note,
    )


def _states(graph: Graph, low: int | None, high: int | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """All values between two bounds, and which of them each element can take (None for all)."""
    if low is None or high is None or graph.dependencies.get(low) or graph.dependencies.get(high):
        return None, None
    bounds = graph.constant([low, high], {})
    if not all(map(_compat.is_concrete, bounds)) or not bounds[0].size:
        return None, None
    least, most = (np.asarray(b) for b in bounds)
    states = np.arange(least.min(), most.max() + 1)
    possible = (states >= least[..., None]) & (states <= most[..., None])
    return states, None if possible.all() else possible
