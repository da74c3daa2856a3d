"""Discrete latents of finitely many values, summed out together.

Every likelihood is conjugate to such a latent: which state it is in is a complete statistic. What has to be
proved is that the sum is no larger than it must be: from the equations it is read off which elements meet in
a cell of a log density, and that gives the order of summation (`finite/`). Other latents may have been
integrated out for every state before (`mixed.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl import _compat
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.variables import Computed
from conjugate_ppl.elimination.base import MARGINAL, Declined, Parts, Pool, whole
from conjugate_ppl.elimination.mixed import Beneath
from conjugate_ppl.finite.cases import Cases, Mixed
from conjugate_ppl.finite.distribution import Range
from conjugate_ppl.finite.evaluate import Evaluator, all_states
from conjugate_ppl.finite.order import Chains, Stuck, Table, order_of
from conjugate_ppl.finite.sums import LARGEST, SUM, Over
from conjugate_ppl.finite.tables import AloneSum, ChainSum, chosen_rows, step_sum
from conjugate_ppl.finite.totals import gathered
from conjugate_ppl.noise import own_key
from conjugate_ppl.program import Program

__all__ = ["FiniteElimination", "eliminate_finite"]


@dataclasses.dataclass(frozen=True, eq=False)
class FiniteElimination:
    """Sites summed out together; see the module's docstring.

    Attributes:
        sites: their names.
        arrays: the log densities of all cells that depend on them, for all states, one for each factor.
        tables: the tables made of these.
        steps: the steps of the summation, in order.
        shapes: shape of each site.
        states: the values that each site can take, consecutive whole numbers.
        boolean: sites that are a Bernoulli's.
        beneath: what is integrated out for every state, its log densities the last of `arrays`; or None.
    """

    sites: tuple[str, ...]
    arrays: Callable[[Values], list[Any]]
    tables: tuple[Table, ...]
    steps: tuple[AloneSum | ChainSum, ...]
    shapes: Mapping[str, tuple[int, ...]]
    states: Mapping[str, np.ndarray]
    boolean: frozenset[str]
    beneath: Beneath | None = None

    @property
    def rule(self) -> str:
        return "summed out"

    def how(self, site: str) -> str:
        """In words, over what the sum over a site's states goes."""
        step = next(s.step for s in self.steps if site in s.step.sites)
        states = f"{len(self.states[site])} states"
        if isinstance(step, Chains):
            count, length, places = step.elements.shape
            with_others = " and ".join(f"`{n}`" for n in step.sites if n != site)
            return (f"{states}, as {'a chain' if count == 1 else f'{count} chains'} of {length} steps"
                    + (f" of up to {places} elements" if places > 1 else "")
                    + (f", together with {with_others}" if with_others else ""))
        others = " and ".join(f"`{n}`" for n, _ in step.others)
        return f"{states}, each element alone{f' given {others}' if others else ''}"

    def _run(self, values: Values, over: Over, extra: Mapping[str, Any], last: Any = None
             ) -> tuple[Any, list[Any]]:
        """The sum over all states, and what each step summed; `extra` is added to the log densities of the
        sites' elements, `last` to the last array."""
        sources = self.arrays(values)
        if last is not None:
            sources[-1] = sources[-1] + last
        total: Any = jnp.zeros((), values.dtype)
        made: dict[int, Any] = {}
        done: list[Any] = []
        factors = len(sources)
        for k in range(factors + len(self.steps)):
            if k >= factors:
                step = self.steps[k - factors]
                done.append(step.table(made, extra))
                sources.append(step.left(done[-1], over))
            for number, table in enumerate(self.tables):
                if table.source == k:
                    made[number] = chosen_rows(table, sources[k])
                    if not table.reads:
                        total = total + jnp.sum(made[number]) * (table.count / made[number].shape[-1])
        return total, done

    def log_marginal(self, values: Values) -> Any:
        """Log of the sum over all states of every factor that depends on the sites."""
        return self._run(values, SUM, {})[0]

    def _values(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {n: (self.states[n][0] + found[n]).reshape(self.shapes[n]) for n in self.sites}

    def _draw(self, key: Any, values: Values, over: Over) -> dict[str, Any]:
        _, done = self._run(values, over, {})
        keys = jax.random.split(key, len(done))
        found: dict[str, Any] = {}
        for k, step, table in reversed(list(zip(keys, self.steps, done, strict=True))):
            found.update(step.draw(k, table, found, over))
        return self._values(found)

    def factored_once(self, changing: frozenset[str]) -> bool:
        return not changing

    @property
    def alone(self) -> bool:
        return False

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        return self._draw(own_key(key), values, SUM)

    def mode(self, values: Values) -> dict[str, Any]:
        """The most probable values of all sites together."""
        return self._draw(_compat.a_key(), values, LARGEST)

    def log_prob(self, values: Values) -> Any:
        _, done = self._run(values, SUM, {})
        found = {n: values.site(n).reshape(-1).astype(int) - self.states[n][0] for n in self.sites}
        total: Any = jnp.zeros((), values.dtype)
        for step, table in zip(self.steps, done, strict=True):
            total = total + step.log_prob(table, found)
        inside = [jnp.all((s >= 0) & (s < len(self.states[n]))) for n, s in found.items()]
        return jnp.where(jnp.all(jnp.stack(inside)), total, -jnp.inf)

    @property
    def partition(self) -> Parts:
        return whole(self.shapes)

    def centre(self, values: Values) -> dict[str, Any]:
        return self.mode(values)

    def log_probs(self, values: Values) -> Any:
        return self.log_prob(values)[None]

    def laws(self, values: Values) -> tuple[dict[str, Any], Any, dict[int, Any]]:
        """The probability of each state of each element: the derivative of the log of the sum with respect
        to a log density of that element's own; the same for what the blocks beneath read, and their laws."""
        none = {n: jnp.zeros((len(self.states[n]), int(np.prod(s))), values.dtype)
                for n, s in self.shapes.items()}
        if self.beneath is None:
            return jax.grad(lambda extra: self._run(values, SUM, extra)[0])(none), None, {}
        last = jnp.zeros((*(len(self.states[n]) for n in self.beneath.above), len(self.beneath.rows)), values.dtype)
        probs, weights = jax.grad(lambda x: self._run(values, SUM, *x)[0])((none, last))
        return probs, weights, self.beneath.laws(values)

    def conditionals(self, laws: tuple[dict[str, Any], Any, dict[int, Any]]) -> dict[str, Any]:
        each, weights, given = laws
        out: dict[str, Any] = {} if self.beneath is None else self.beneath.conditionals(given, weights)
        for name, probs in each.items():
            probs = probs.T.reshape(*self.shapes[name], -1)
            probs = probs / jnp.sum(probs, -1, keepdims=True)
            low = int(self.states[name][0])
            out[name] = dist.BernoulliProbs(probs[..., 1]) if name in self.boolean else \
                Range(low, probs) if low else dist.CategoricalProbs(probs)
        return out


def eliminate_finite(program: Program, sites: Sequence[str], touched: Sequence[str], pool: Pool,
                     beneath: Beneath | None = None) -> tuple[FiniteElimination, Pool]:
    """Sum `sites` out of the factors `touched` (their own priors among them), or raise `Declined`.

    What is `beneath` has been integrated out given them; `touched` lists its factors too.
    """
    own = {n: program.sites[n] for n in sites}
    states = {n: s.states for n, s in own.items() if s.states is not None}
    known: dict[int, Any] = {}
    numbers = [program.sites[n].cells for n in touched]

    first = dict(zip(own, np.cumsum([0, *(s.size for s in own.values())]), strict=False))

    def evaluate(values: Values, points: Mapping[str, Any]) -> list[Cases]:
        latents = {program.inputs[n]: all_states(int(first[n]), s.shape, states[n].astype(s.dtype), s.possible)
                   for n, s in own.items()}
        if beneath is not None:
            latents.update({program.inputs[n]: beneath.cases(n, x, first) for n, x in points.items()})
        evaluator = Evaluator(program.graph, values, latents, known)
        found = []
        for name, number in zip(touched, numbers, strict=True):
            assert number is not None
            try:
                found.append(gathered(evaluator, number))
            except Mixed as problem:
                site = next((n for n in sites if n in program.roots(number)), sites[0])
                what, source = (*problem.args, "")[:2] if problem.args else ("", "")
                count, size = len(states[site]), own[site].size
                raise Declined(site, f"several of its elements go through {what} in `{name}`, and together they have "
                               f"{count}**{size} states",
                               source or program.sites[name].source) from None
        return found

    def arrays(values: Values) -> list[Any]:
        out = []
        points, rows = beneath.at_states(values) if beneath is not None else ({}, None)
        for cases in evaluate(values, points):
            a = jnp.asarray(cases.array, values.dtype)
            a = a if cases.uniform else jnp.broadcast_to(a, (*cases.states, *cases.shape))
            out.append(jnp.reshape(a, (*cases.states, -1)))
        return out if rows is None else [*out, -rows]

    given = beneath.sites if beneath is not None else ()
    outside = {n: jax.ShapeDtypeStruct(program.graph.shapes[i], program.graph.dtypes[i])
               for n, i in program.inputs.items() if n not in own and n not in given}
    reads: list[Any] = []

    def look(outside: Mapping[str, Any]) -> list[Any]:
        values, points = Values(program.graph, program.inputs, outside), {}
        if beneath is not None:
            tail = tuple(len(states[n]) for n in beneath.above)
            points = {n: jnp.zeros((*tail, *program.sites[n].shape), program.sites[n].dtype) for n in given}
        cases = evaluate(values, points)
        reads.extend([e.reshape(-1) for e in c.elements()] for c in cases)
        return [c.array for c in cases]

    jax.eval_shape(look, outside)
    if beneath is not None:
        reads.append(list(beneath.reads(beneath.rows, first).values()))
    try:
        tables, order = order_of(reads, {n: s.size for n, s in own.items()},
                                 {n: len(s) for n, s in states.items()})
    except Stuck as problem:
        raise Declined(sites[0], f"its elements cannot be summed out one after another: {problem}",
                       own[sites[0]].source) from None
    possible = {n: np.ones((s.size, len(states[n])), bool) if s.possible is None
                else s.possible.reshape(s.size, -1) for n, s in own.items()}
    elimination = FiniteElimination(
        tuple(sites), arrays, tables, tuple(step_sum(s, possible) for s in order),
        {n: s.shape for n, s in own.items()}, states,
        frozenset(n for n, s in own.items() if s.distribution.startswith("Bernoulli")), beneath)
    roots = frozenset().union(*(program.roots(n) for n in numbers)) - own.keys() - frozenset(given)
    name = ", ".join(sites)
    marginal = Computed(f"the marginal of {name}", 1, False, roots, elimination.log_marginal)
    return elimination, pool.replaced(touched, {name + MARGINAL: Value.of(marginal, ()).terms})
