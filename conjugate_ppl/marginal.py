"""A NumPyro model with its conjugate latents integrated out, and what follows from that being exact."""

from __future__ import annotations

import dataclasses
import functools
import numbers
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import numpyro
from numpyro.infer.util import log_density

from conjugate_ppl import _compat
from conjugate_ppl.additive.blocks import of_blocks
from conjugate_ppl.additive.exchange import is_spread, spans_processes
from conjugate_ppl.additive.shards import of_shards
from conjugate_ppl.errors import ModelError, PlanError
from conjugate_ppl.given import (
    batch_shape,
    check_key,
    fingerprint,
    has_tracer,
    listed,
    needed,
    values_of,
)
from conjugate_ppl.outside import read_by
from conjugate_ppl.planning.decision import Plan
from conjugate_ppl.planning.execute import Execution, prepare
from conjugate_ppl.planning.noncentred import NOISE, noncentred, to_noncentre
from conjugate_ppl.rewrite import Rewriter

__all__ = ["MarginalModel"]

Model = Callable[..., Any]
FACTOR = "collapsed_log_marginal"


class MarginalModel:
    """The model of what is kept; see `collapse`. Calling it runs that model; its return value is None."""

    def __init__(self, model: Model, *, keep: Collection[str] = (),
                 only: Collection[str] | None = None, require: Collection[str] = (),
                 reparam: str | None = None) -> None:
        if not callable(model):
            raise ModelError(f"A NumPyro model is a callable, and {model!r} is none. Give the "
                             "function itself, neither its result nor a kernel made of it.")
        options = {"keep": keep, "only": () if only is None else only, "require": require}
        for option, names in options.items():
            if isinstance(names, str) or not isinstance(names, Iterable):
                raise PlanError(f"{option}={names!r} is no list of names. For one site give a list "
                                f"of one name, {option}=[{names!r}].")
        if reparam not in (None, "auto"):
            raise PlanError(f"reparam={reparam!r} is none of the choices, which are None and \"auto\". For a form of "
                            "your own put `numpyro.handlers.reparam` around the model before collapsing it.")
        self.model, self.reparam = model, reparam
        self.keep, self.require = tuple(keep), tuple(require)
        self.only = None if only is None else tuple(only)
        self._prepared: dict[Any, Execution] = {}
        self._expected: frozenset[str] | None = None
        functools.update_wrapper(self, model, updated=[])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": {}}

    # -- analysis ---------------------------------------------------------------------------------

    @_compat.one_thread
    def execution(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], by_row: bool = False) -> Execution:
        """The analysis for these arguments; kept by the content of the arguments and of what else the model reads.

        Rows may be added up before it, and then its program has none, unless it is to be `by_row`.
        """
        mark = fingerprint(args, kwargs)
        concrete = mark is not None or not has_tracer(args, kwargs)
        spread = any(map(is_spread, jax.tree.leaves((args, kwargs))))
        outside = None if mark is None else read_by(self.model, args, kwargs, can_run=not spread)
        key = None if outside is None else (mark, outside, by_row)
        if key is not None and key in self._prepared:
            return self._prepared[key]
        # JAX takes an array of NumPy that was changed in place for the one that it has seen before
        args, kwargs = jax.tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, (args, kwargs))
        model = self.model
        if by_row:
            args, kwargs = _in_one_place(args, kwargs)
        elif spread:
            model, args, kwargs = _added_up(model, args, kwargs)
        elif concrete:
            model = of_blocks(model, args, kwargs) or model
        out = prepare(model, args, kwargs, self.keep, self.only, self.require, concrete)
        sites = to_noncentre(out.program, out.chosen) if self.reparam else {}
        if sites:
            keep, only = ([n + NOISE if n in sites else n for n in names or ()] for names in (self.keep, self.only))
            out = prepare(noncentred(model, sites), args, kwargs, keep,
                          None if self.only is None else only, self.require, concrete)
        found = frozenset(out.plan.collapsed)
        before = self._before()
        if not out.concrete and before is not None and found - before and not sites:
            # traced data say nothing of costs: what known ones have left to the sampler stays
            out = prepare(model, args, kwargs, [*self.keep, *sorted(found - before)], self.only, self.require, concrete)
            found = frozenset(out.plan.collapsed)
        if not out.concrete and self._expected is not None and found != self._expected:
            lost = sorted(self._expected ^ found)
            reasons = "; ".join(f"`{n}`: {out.plan[n].reason}" for n in lost)
            raise PlanError("With traced arguments (jit_model_args=True, pmap or vmap over data) the "
                            f"same sites cannot be proved collapsible ({reasons}). Run without "
                            "tracing the arguments, or leave these sites to the sampler: "
                            f"keep={lost!r}.")
        if key is not None and out.concrete:
            if len(self._prepared) >= 8:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = out = dataclasses.replace(out, outside=outside)
        return out

    def _before(self) -> frozenset[str] | None:
        """What is integrated out with known data: what is expected, or was so last; None if nothing is known."""
        if self._expected is not None or not self._prepared:
            return self._expected
        return frozenset(list(self._prepared.values())[-1].plan.collapsed)

    def expect(self, collapsed: Collection[str]) -> None:
        """Demand that traced arguments give the same plan as the concrete ones did."""
        self._expected = frozenset(collapsed)

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """The plan for these arguments."""
        return self.execution(args, kwargs).plan

    # -- the model --------------------------------------------------------------------------------

    @_compat.one_thread
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        execution = self.execution(args, kwargs)
        rewriter = Rewriter(execution)
        with rewriter:
            self._refuse_outer(rewriter, execution)
            execution.model(*args, **kwargs)
        if execution.chosen.eliminations or execution.replaced:
            name = FACTOR
            while name in execution.program.sites:
                name += "_"
            numpyro.factor(name, execution.log_marginal(rewriter.values))

    def _refuse_outer(self, rewriter: Rewriter, execution: Execution) -> None:
        collapsed = execution.plan.collapsed
        for site, handler in _compat.outer_names(rewriter, collapsed).items():
            raise PlanError(f"`{handler}` around the collapsed model names `{site}`, which is "
                            f"integrated out. Give keep=[{site!r}] to `collapse`, or put the handler "
                            "around the model before collapsing it.")
        for site, handler in _compat.outer_names(rewriter, sorted(execution.hidden)).items():
            raise PlanError(f"`{handler}` around the collapsed model names the deterministic site `{site}`, which depends on "
                            "what is integrated out. Put the handler around the model before collapsing it.")
        outer = _compat.outer_scales(rewriter)
        if outer and (collapsed or execution.replaced):
            handler = outer[0]
            raise PlanError(f"`{handler}` around the collapsed model would weight or reshape the "
                            "marginal density, not the model's own. Put it around the model before "
                            "collapsing it.")

    # -- what follows from exactness ----------------------------------------------------------------

    @_compat.one_thread
    def recover(self, rng_key: Any, samples: Mapping[str, Any], *args: Any,
                num_samples: int | None = None, batch_ndims: int = 1, **kwargs: Any
                ) -> dict[str, Any]:
        """Exact joint draws of the collapsed sites, one for each draw of the kept ones.

        Args:
            rng_key: a key, raw or typed.
            samples: values of the kept sites with `batch_ndims` leading batch axes, and of `param` sites with them
                or without; other entries are ignored.
            *args: the model's arguments.
            num_samples: how many draws, where nothing is kept.
            batch_ndims: number of leading batch axes (2 for `get_samples(group_by_chain=True)`).
            **kwargs: the model's keyword arguments.

        Returns:
            {site: array of shape batch_shape + site shape} for every collapsed site.

        Raises:
            PlanError: if a kept site is missing, or `num_samples` is missing or out of place.
            DataError: if a value is none, or has the wrong shape.
        """
        check_key(rng_key)
        execution = self.execution(args, kwargs)
        given = needed(execution, samples, args, kwargs)
        fixed = {n for n in execution.program.params if given[n].shape == execution.program.shape(n)}
        kept = {n: v for n, v in given.items() if n not in fixed}
        if kept:
            if num_samples is not None:
                sites = listed(kept)
                raise PlanError(f"num_samples={num_samples!r} is for models with nothing kept. Here "
                                f"one draw follows each of {sites}: leave num_samples= out.")
            shape = batch_shape(execution, kept, batch_ndims)
        else:
            if not isinstance(num_samples, numbers.Integral) or num_samples < 0:
                raise PlanError("Nothing is kept, so there are no draws to follow, and num_samples="
                                f"{num_samples!r} does not say how many to make. Give a whole "
                                "number.")
            shape = (int(num_samples),)
        return execution.many_draws(rng_key, kept, {n: given[n] for n in fixed}, shape, args, kwargs)

    @_compat.one_thread
    def conditional_log_prob(self, values: Mapping[str, Any], kept: Mapping[str, Any], *args: Any,
                             **kwargs: Any) -> Any:
        """log p(collapsed | kept, data), normalised, joint over all collapsed sites.

        Args:
            values: a value for every collapsed site.
            kept: a value for every kept site.
            *args: the model's arguments.
            **kwargs: the model's keyword arguments.

        Returns:
            A scalar.

        Raises:
            PlanError: if a site is missing.
            DataError: if a value is none, or has the wrong shape.
        """
        execution = self.execution(args, kwargs)
        drawn = values_of("collapsed", execution.plan.collapsed, values)
        return execution.log_prob({**needed(execution, kept, args, kwargs), **drawn}, args, kwargs)

    @_compat.one_thread
    def conditionals(self, kept: Mapping[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The exact conditional distribution of each collapsed site given the kept ones.

        Args:
            kept: a value for every kept site (scalar draws, not batches: use `jax.vmap`).
            *args: the model's arguments.
            **kwargs: the model's keyword arguments.

        Returns:
            {site: NumPyro distribution} of p(site | kept, data). A site whose conditional given the
            kept ones alone has no closed form is left out.

        Raises:
            PlanError: if a site is missing.
            DataError: if a value is none, or has the wrong shape.
        """
        execution = self.execution(args, kwargs)
        return execution.conditionals(needed(execution, kept, args, kwargs), args, kwargs)

    @_compat.one_thread
    def mode(self, kept: Mapping[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The most probable values, taken together, of the collapsed discrete sites given the kept ones.

        For a hidden Markov model, the path of Viterbi (IEEE Trans. Inf. Theory 13, 1967).

        Args:
            kept: a value for every kept site (scalar draws, not batches: use `jax.vmap`).
            *args: the model's arguments.
            **kwargs: the model's keyword arguments.

        Returns:
            {site: array of the site's shape} for every discrete site that was summed out.

        Raises:
            PlanError: if a site is missing.
            DataError: if a value is none, or has the wrong shape.
        """
        execution = self.execution(args, kwargs)
        return execution.mode(needed(execution, kept, args, kwargs))

    @_compat.one_thread
    def log_evidence(self, *args: Any, **kwargs: Any) -> Any:
        """log p(data), exact.

        Raises:
            PlanError: if a site is kept, or a prior is improper.
        """
        execution = self.execution(args, kwargs)
        plan = execution.plan
        if plan.kept:
            kept = "; ".join(f"`{n}` ({plan[n].reason})" for n in plan.kept)
            raise PlanError("The evidence is exact only where nothing is left to sample, and kept "
                            f"are {kept}. Change the model there, or estimate the evidence with a "
                            "sampler of the collapsed model.")
        flat = [n for n in plan.collapsed if plan[n].family == "Flat"]
        if flat:
            sites = listed(flat)
            raise PlanError(f"The prior of {sites} is improper (flat), so that the evidence is "
                            "defined only up to a constant. Give it a proper prior.")
        return log_density(self, args, dict(kwargs), {})[0]


def _added_up(model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]
              ) -> tuple[Model, tuple[Any, ...], Mapping[str, Any]]:
    """A model of data that are spread over devices with its rows added up where they lie; or the data read here."""
    try:
        return of_shards(model, args, kwargs), args, kwargs
    except PlanError as problem:
        if any(map(spans_processes, jax.tree.leaves((args, kwargs)))):
            raise
        warnings.warn(f"The data are spread over devices, and for the analysis they are read in one place: {problem}",
                      stacklevel=4)
        return model, *_in_one_place(args, kwargs)


def _in_one_place(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    args, kwargs = jax.tree.map(lambda x: np.asarray(x) if is_spread(x) else x, (args, kwargs))
    return args, kwargs
