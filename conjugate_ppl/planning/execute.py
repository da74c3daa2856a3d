"""A plan made ready to run: the exact log marginal, draws, densities and conditionals."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpyro
from numpyro import handlers
from numpyro.infer import init_to_feasible

from conjugate_ppl import _compat
from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.elimination.finite import FiniteElimination
from conjugate_ppl.elimination.statespace import StateSpaceElimination
from conjugate_ppl.elimination.student import LawsOverScales, conditionals_over_scales, laws_over_scales
from conjugate_ppl.errors import DataError, PlanError
from conjugate_ppl.families.subspace import Embedded
from conjugate_ppl.noise import beside_each_other, own_key
from conjugate_ppl.planning.choose import Chosen, choose
from conjugate_ppl.planning.decision import Plan
from conjugate_ppl.planning.statistics import statistics
from conjugate_ppl.planning.validate import check_observed
from conjugate_ppl.program import Program, trace_program

__all__ = ["Execution", "prepare"]

_FORWARD_ONLY = frozenset({"while", "pure_callback", "io_callback"})  # no derivative in reverse mode
_NUMBERS, _IN_CACHE = 1 << 22, {"cpu": 1 << 17}  # drawn at a time, at most; so that they are in reach of a processor
_FEW, _MANY = 256, 1 << 16  # draws at a time: with matrices of their own, with the same
_SHAPES = 8  # of arrays of draws, of which the programs are kept
_LARGEST_BLOCK = 50  # numbers whose mass matrix is dense by default


@dataclasses.dataclass(frozen=True, eq=False)
class Execution:
    """One model with one set of arguments, analysed.

    Attributes:
        program: the model as equations.
        chosen: the eliminations.
        leftover: what they leave, as a reduced sum.
        hidden: deterministic sites that depend on a collapsed site.
        replaced: other sites whose density is accounted for by the marginal.
        drawn: collapsed sites that the prior of a kept latent depends on, directly or through others.
        concrete: whether the arguments are known, not traced.
        outside: what the model reads besides its arguments, by value; None if that is not known.
        compiled: functions for many draws, by the shape of their array.
    """

    model: Callable[..., Any]
    program: Program
    chosen: Chosen
    leftover: Reduced
    hidden: frozenset[str]
    replaced: frozenset[str]
    drawn: frozenset[str]
    concrete: bool
    outside: Hashable = None
    compiled: dict[tuple[int, ...], Callable[..., Any]] = dataclasses.field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The plan to show."""
        return self.chosen.plan

    def values(self, sites: Mapping[str, Any]) -> Values:
        """Values of some sites, checked."""
        return Values(self.program.graph, self.program.inputs, self._checked(sites))

    def _checked(self, sites: Mapping[str, Any]) -> dict[str, Any]:
        """Values of some sites, checked for shape and given the sites' types."""
        known = {}
        for name, value in sites.items():
            if name not in self.program.inputs:
                continue
            number = self.program.inputs[name]
            shape, dtype = self.program.shape(name), self.program.graph.dtypes[number]
            found = tuple(jnp.shape(value))
            if found != tuple(shape):
                raise DataError(
                    f"`{name}` has shape {found}, but this model's `{name}` has shape {shape}. "
                    "Likely it was made with other arguments, or holds a batch of values: take them "
                    "one at a time, with `jax.vmap`.")
            known[name] = self.program.inside(name, jnp.asarray(value, dtype))
        return known

    def log_marginal(self, sites: Mapping[str, Any]) -> Any:
        """Log of the integral over the collapsed sites of every factor that touches them.

        Compiled as one function: run operation by operation, its many small steps would each be
        compiled alone.
        """
        real: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        for name in self.needed & sites.keys():
            dtype = self.program.graph.dtypes[self.program.inputs[name]]
            part = real if jnp.issubdtype(dtype, jnp.floating) else whole
            part[name] = jnp.asarray(sites[name], dtype)
        return self._log_marginal(real, whole)

    @functools.cached_property
    def needed(self) -> frozenset[str]:
        """The kept sites that the marginal depends on."""
        deps = self.chosen.dependencies
        # a uniform prior's density touches nothing, its bounds count all the same
        touched = {n for e in self.chosen.eliminations for n in (*e.sites, *deps.touching(e.sites))}
        # a recursion without sites of its own reads those beside it, should they stay
        touched |= {n for e in self.chosen.eliminations if isinstance(e, StateSpaceElimination)
                    for n in deps.touching([v.site for v in e.beside])}
        touched |= self.plan.statistics.keys()
        found = frozenset().union(*(deps.factor[n] | {n} for n in touched))
        return (found & frozenset(self.program.inputs)) - frozenset(self.plan.collapsed)

    @functools.cached_property
    def _log_marginal(self) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Value and gradient are one compiled function, which serves whoever asks for either."""
        if not self.concrete or self.program.graph.has(_FORWARD_ONLY):
            # a derivative may be asked for in the arguments too, or there is none in reverse
            return jax.jit(lambda real, whole: self._compute_log_marginal({**real, **whole}))

        def compute(real: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:
            return self._compute_log_marginal({**real, **whole})

        both = _compat.compiled_once(jax.value_and_grad(compute))

        @jax.custom_jvp
        def log_marginal(real: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:
            return both(real, whole)[0]

        @log_marginal.defjvp
        def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
            value, gradient = both(*primals)
            slopes = jax.tree.map(lambda g, t: jnp.sum(g * t), gradient, tangents[0])
            return value, sum(jax.tree.leaves(slopes), jnp.zeros_like(value))

        return log_marginal

    def _compute_log_marginal(self, sites: Mapping[str, Any]) -> Any:
        values = self.values(sites)
        omega = self.leftover.weights.evaluate(values)
        total = self.leftover.constant(values, omega)
        for valid, mask in self._confined:
            inside = values.evaluate(valid)
            if mask is not None:
                inside = inside | (values.evaluate(mask) == 0)
            total = jnp.where(jnp.all(inside), total, -jnp.inf)
        for variable in self.chosen.assumed:
            total = jnp.where(jnp.all(values.variable(variable) >= 0), total, jnp.nan)
        return total

    @functools.cached_property
    def _confined(self) -> list[tuple[int, int | None]]:
        """Whether data are inside, and where that is masked, of the sites whose support kept sites move: NumPyro, which would
        look, is not asked again."""
        sites = [self.program.sites[n] for n in sorted(self.replaced)]
        gone = frozenset(self.plan.collapsed)
        return [(s.valid, s.mask) for s in sites if s.valid is not None and not s.vanishes
                and self.chosen.dependencies.support[s.name] and not self.chosen.dependencies.support[s.name] & gone]

    def draw(self, key: Any, kept: Mapping[str, Any], args: Any, kwargs: Any) -> dict[str, Any]:
        """One exact joint draw of the collapsed sites given the kept ones."""
        keys = [key] if self._keys < 2 else jax.random.split(key, self._keys)
        return self._draw(keys, kept, args, kwargs)

    @property
    def _keys(self) -> int:
        """How many keys a draw takes."""
        return len(self.chosen.eliminations) + bool(self.chosen.forward)

    def _draw(self, keys: Any, kept: Mapping[str, Any], args: Any, kwargs: Any) -> dict[str, Any]:
        values = self.values(kept)
        out: dict[str, Any] = {}
        for own, elimination in zip(keys, reversed(self.chosen.eliminations), strict=False):
            drawn = elimination.sample(own, values)
            out.update(drawn)
            values = values.with_sites(drawn)
        out = {n: self.program.outside(n, x) for n, x in out.items()}
        if self.chosen.forward:
            trace, reverse = self._forward(own_key(keys[-1]), {**kept, **out}, args, kwargs)
            out.update({n: reverse.by_turn(n, trace[n]["value"]) for n in self.chosen.forward})
        return {n: jnp.asarray(v, self.program.sites[n].dtype) for n, v in out.items()}

    def many_draws(self, key: Any, kept: Mapping[str, Any], params: Mapping[str, Any], shape: tuple[int, ...],
                   args: Any, kwargs: Any) -> dict[str, Any]:
        """Draws in an array of some shape, with the values of the kept sites that go with each, in arrays of as many
        leading axes. One program for any key and values; so many at a time as bounded memory allows."""
        if shape not in self.compiled:
            full = {n: (*shape, *self.program.shape(n)) for n in self.plan.collapsed}

            def many(key: Any, kept: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
                def one(x: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
                    drawn = self._draw(x[0], {**params, **x[1]}, args, kwargs)
                    return {n: v for n, v in drawn.items() if v.size}  # `lax.map` refuses empty results

                count = math.prod(shape)
                flat = {n: jnp.reshape(v, (count, *v.shape[len(shape):])) for n, v in kept.items()}
                drawn = _in_turns(one, key, self._keys, flat, count, self._at_a_time) if count else {}
                return {n: jnp.reshape(drawn[n], s) if n in drawn else jnp.zeros(s, self.program.sites[n].dtype)
                        for n, s in full.items()}

            if len(self.compiled) >= _SHAPES:
                self.compiled.pop(next(iter(self.compiled)))
            self.compiled[shape] = jax.jit(many)
        out: dict[str, Any] = self.compiled[shape](key, dict(kept), dict(params))
        return out

    @functools.cached_property
    def _at_a_time(self) -> int:
        """How many draws: few where each has matrices of its own.

        Of thousands of small factorisations at once XLA's CPU runtime makes tasks that wait for each other, and with two
        threads for ever (seen with JAX 0.10 for crossed effects).
        """
        changing, own = set(self.plan.kept), False
        for elimination in reversed(self.chosen.eliminations):
            if elimination.alone:
                return 1
            own |= not elimination.factored_once(frozenset(changing & self.reads(elimination.sites)))
            changing.update(elimination.sites)
        size = max(1, sum(self.program.sites[n].size for n in self.plan.collapsed))
        near = _IN_CACHE.get(jax.default_backend(), _NUMBERS) // size
        return min(max(near, min(2, _NUMBERS // size), 1), _FEW if own else _MANY)  # one alone is slower in two threads

    def log_prob(self, sites: Mapping[str, Any], args: Any, kwargs: Any) -> Any:
        """Normalised log density of the collapsed sites given the kept ones."""
        total = self._log_prob(self._checked(sites))
        if self.chosen.forward:
            trace, _ = self._forward(_compat.a_key(), sites, args, kwargs)
            for name in self.chosen.forward:
                site = trace[name]
                total = total + jnp.sum(site["fn"].log_prob(site["value"]))
        return total

    @functools.cached_property
    def _log_prob(self) -> Callable[[Mapping[str, Any]], Any]:
        """One compiled program, as of the laws."""
        def compute(known: Mapping[str, Any]) -> Any:
            values = Values(self.program.graph, self.program.inputs, known)
            return sum((e.log_prob(values) for e in self.chosen.eliminations), jnp.zeros((), values.dtype))

        return jax.jit(compute)

    def conditionals(self, kept: Mapping[str, Any], args: Any, kwargs: Any) -> dict[str, Any]:
        """The exact conditional of each collapsed site that has one in closed form."""
        found: dict[str, Any] = {}
        for k, laws in self._laws(dict(kept)).items():
            elimination = self.chosen.eliminations[k]
            found.update(conditionals_over_scales(elimination, laws) if isinstance(laws, LawsOverScales) else
                         elimination.conditionals(laws))
        turns = self.program.turns
        found = {n: Embedded(d, turns[n]) if n in turns else d for n, d in found.items()}
        return {n: found[n] for n in self.plan.collapsed if n in found}

    @functools.cached_property
    def _laws(self) -> Callable[[Mapping[str, Any]], dict[int, Any]]:
        """One compiled program: its operations, hundreds in a chain of sites, take longer one by one."""
        def compute(sites: Mapping[str, Any]) -> dict[int, Any]:
            values, found = self.values(sites), {}
            later: frozenset[str] = frozenset()  # eliminated later, so not known here
            for k, elimination in reversed(list(enumerate(self.chosen.eliminations))):
                unknown = later & self.reads(elimination.sites)
                if not unknown:
                    found[k] = elimination.laws(values)
                else:
                    holders = [self.chosen.eliminations[j] for j in found
                               if unknown <= set(self.chosen.eliminations[j].sites)]
                    laws: Any = None
                    if holders and isinstance(elimination, StateSpaceElimination):
                        laws = elimination.laws_over(values, holders[0]) if elimination.beside else None
                    elif holders:
                        laws = laws_over_scales(elimination, holders[0], values)
                    found.update({} if laws is None else {k: laws})
                later |= frozenset(elimination.sites)
            return found

        return jax.jit(compute)

    def mode(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """The most probable values of the discrete sites that are summed out."""
        found = self._modes(dict(kept))
        return {n: jnp.asarray(v, self.program.sites[n].dtype) for n, v in found.items()}

    @functools.cached_property
    def _modes(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """One compiled program, as of the laws."""
        def compute(sites: Mapping[str, Any]) -> dict[str, Any]:
            values, found = self.values(sites), {}
            for elimination in self.chosen.eliminations:
                if isinstance(elimination, FiniteElimination):
                    found.update(elimination.mode(values))
            return found

        return jax.jit(compute)

    def params(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """Values of `param` sites, which are constants of a run."""
        if not self.program.params:
            return {}
        with handlers.block(), numpyro.validation_enabled(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = handlers.substitute(handlers.seed(self.model, _compat.a_key()),
                                        substitute_fn=init_to_feasible())
            trace = handlers.trace(model).get_trace(*args, **kwargs)
        return {n: trace[n]["value"] for n in self.program.params}

    def hyperparameters(self) -> list[tuple[str, ...]]:
        """Kept latents that are parameters of one collapsed site's prior, by groups of several.

        What is known of a prior is known of its parameters together: they tend to be correlated.
        """
        program, graph = self.program, nx.Graph()
        able = [n for n in self.plan.kept if program.sites[n].latent and not program.sites[n].discrete]
        for elimination in self.chosen.eliminations:
            for name in elimination.sites:
                numbers = program.sites[name].parameters.values()
                group = [n for n in able if n in program.roots(*numbers)]
                graph.add_edges_from(itertools.pairwise(group))
        groups = [tuple(n for n in able if n in part) for part in nx.connected_components(graph)]
        return sorted(g for g in groups if sum(program.sites[n].size for n in g) <= _LARGEST_BLOCK)

    def reads(self, sites: Collection[str]) -> frozenset[str]:
        """Every other site that shares a factor with `sites`."""
        deps = self.chosen.dependencies
        shared: set[str] = set()
        for name in deps.touching(sites):
            shared |= deps.factor[name] | {name}
        return frozenset(shared) - frozenset(sites)

    def _forward(self, key: Any, sites: Mapping[str, Any], args: Any, kwargs: Any
                 ) -> tuple[dict[str, Any], _compat.InReverse]:
        with handlers.block(), numpyro.validation_enabled(False):
            data = {n: v for n, v in sites.items() if n in self.program.inputs}
            reverse = _compat.InReverse(handlers.substitute(handlers.seed(self.model, key), data=data))
            return handlers.trace(reverse).get_trace(*args, **kwargs), reverse


def _in_turns(one: Callable[[Any], dict[str, Any]], key: Any, parts: int, flat: Mapping[str, Any], count: int, most: int
              ) -> dict[str, Any]:
    """one((keys of its parts, what belongs to it)) for each of `count` draws, at most so many side by side."""
    if most == 1:
        alone: dict[str, Any] = jax.lax.map(one, (jax.random.split(key, (count, parts)), flat))
        return alone
    turns = -(-count // most)
    each = -(-count // turns)
    if turns == 1:
        drawn: dict[str, Any] = jax.vmap(one)((beside_each_other(key, count, parts), flat))
        return drawn
    missing = turns * each - count
    filled = {n: jnp.concatenate([v, jnp.repeat(v[-1:], missing, 0)]) if missing else v for n, v in flat.items()}
    rows = {n: jnp.reshape(v, (turns, each, *v.shape[1:])) for n, v in filled.items()}
    drawn = jax.lax.map(lambda x: jax.vmap(one)((beside_each_other(x[0], each, parts), x[1])),
                        (jax.random.split(key, turns), rows))
    return {n: jnp.reshape(v, (turns * each, *v.shape[2:]))[:count] for n, v in drawn.items()}


def prepare(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
            keep: Collection[str], only: Collection[str] | None, require: Collection[str],
            concrete: bool) -> Execution:
    """Analyse `model` for these arguments.

    Raises:
        PlanError: for names that are no latents, and for required sites that are declined.
        DataError: for observed values that no model can have produced, and for densities that are not
            finite.
    """
    program = trace_program(model, args, kwargs)
    for option, names in (("keep", keep), ("only", only or ()), ("require", require)):
        unknown = [n for n in names if n not in program.latents]
        if unknown:
            latents = ", ".join(program.latents) or "(none)"
            raise PlanError(f"{option}={unknown!r}: no such latent in this model. Observed and "
                            f"deterministic sites are none; its latents are {latents}.")
    concrete = concrete and program.concrete  # the model may close over traced data
    if concrete:
        check_observed(program)
    chosen = choose(program, keep, only, concrete, require)
    for name in require:
        decision = chosen.plan.decisions[name]
        if not decision.collapsed:
            source = decision.source or "line unknown"
            raise PlanError(f"`{name}` is required to be collapsed, but it stays with the sampler: "
                            f"{decision.reason} ({source}). Change the model there, or take `{name}` "
                            "out of `require`.")
    deps, plan = chosen.dependencies, chosen.plan
    gone = frozenset(plan.collapsed)
    known = () if not concrete else statistics(program, deps, [n for n in plan.kept if n in program.sites])
    chosen = dataclasses.replace(chosen, plan=dataclasses.replace(
        plan, statistics={s.site: s.numbers for s in known}))
    terms = [t for ts in (*chosen.pool.factors.values(), *(s.terms for s in known)) for t in ts]
    return Execution(
        model=model,
        program=program,
        chosen=chosen,
        leftover=reduce_terms(terms, lambda v: None),
        hidden=frozenset(n for n, d in deps.deterministic.items() if d & gone),
        replaced=frozenset((*chosen.consumed, *(s.site for s in known))) - gone,
        drawn=deps.ancestors(plan.kept) & gone,
        concrete=concrete,
    )
