"""Latents z that are integrated out for every state of the discrete latents k above them.

Given k, a block z is a block like any other. What it leaves is a function of k that needs no integral of its
own: for any value of z (Chib, JASA 90, 1995),

    log p(y | k) = log p(y, z | k) - log p(z | y, k).

The first term is the model's own log densities, cell by cell, at one likely z; the second is the block's
normalised log density, part by part. Both are arrays over the states of what they read, as any factor's are
when k is summed out (`finite/`).

What has to be proved is that a part of z has to do with one element of each discrete site. It is read off the
cells, in which each z stands for its part. Then all elements of k can be put in one state at a time: a
part sees its own only.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.elimination.base import Declined, Elimination
from conjugate_ppl.finite.cases import NONE, Cases, Mixed, Reading, cases_of
from conjugate_ppl.finite.evaluate import Evaluator, all_states
from conjugate_ppl.program import Program, Site

__all__ = ["Beneath", "beneath"]

_LARGEST = 1 << 27  # numbers of all blocks in all states
_COMPONENTS = 64  # of a conditional that is a mixture


@dataclasses.dataclass(frozen=True, eq=False)
class Beneath:
    """Blocks integrated out for every state of the discrete sites above them; see the module's docstring.

    Attributes:
        program: the model.
        eliminations: the blocks, in the order of their elimination.
        part: for each site of them the part that each of its elements, flat, belongs to.
        rows: the part that each of the blocks' log densities belongs to, the last block's first.
        above: for each discrete site the element of it that each part reads, or `NONE`.
    """

    program: Program
    eliminations: tuple[Elimination, ...]
    part: Mapping[str, np.ndarray]
    rows: np.ndarray
    above: Mapping[str, np.ndarray]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of all blocks."""
        return tuple(n for e in self.eliminations for n in e.sites)

    def _for_each_state(self, function: Any) -> Any:
        """A function of the discrete sites' values, with an axis for the states of each before its results' own. Elements that
        cannot have a state have one that they can, where the model is defined."""
        sites = [self.program.sites[n] for n in self.above]

        def run(*states: Any) -> Any:
            return function({s.name: jnp.broadcast_to(x, s.shape) for s, x in zip(sites, states, strict=True)})

        for k in reversed(range(len(sites))):
            run = jax.vmap(run, in_axes=[0 if i == k else None for i in range(len(sites))])
        return run(*(jnp.asarray(_states_of(s), s.dtype) for s in sites))

    def at_states(self, values: Values) -> tuple[dict[str, Any], Any]:
        """A likely value of each site, and all log densities of the blocks there, for all states of `above`.

        The identity holds for any value, so that no derivative of it is needed.
        """
        def one(states: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
            given, points, rows = values.with_sites(states), {}, []
            for e in reversed(self.eliminations):
                point = jax.lax.stop_gradient(e.centre(given))
                point = {n: jnp.asarray(x, self.program.sites[n].dtype) for n, x in point.items()}
                given = given.with_sites(point)
                points.update(point)
                rows.append(e.log_probs(given))
            found = jnp.concatenate(rows)
            return points, jnp.where(jnp.isnan(found), jnp.inf, found)  # a failed pivot is no density

        found: tuple[dict[str, Any], Any] = self._for_each_state(one)
        return found

    def cases(self, site: str, array: Any, first: Mapping[str, int]) -> Cases:
        """A site's values for all states of `above`, the elements of these numbered from `first`."""
        shape = self.program.sites[site].shape
        return Cases(shape, tuple(
            Reading(len(self._states(n)), element.reshape(shape)) for n, element in
            self.reads(self.part[site], first).items()), array)

    def reads(self, parts: np.ndarray, first: Mapping[str, int]) -> dict[str, np.ndarray]:
        """For each site above the number of its element that some parts read."""
        return {n: np.where(e[parts] >= 0, first[n] + e[parts], NONE) for n, e in self.above.items()}

    def _states(self, name: str) -> np.ndarray:
        states = self.program.sites[name].states
        assert states is not None
        return states

    def laws(self, values: Values) -> dict[int, Any]:
        """The `laws` of the blocks in which no later one enters, for all states."""
        out = {}
        for k, e in enumerate(self.eliminations):
            later = frozenset(n for x in self.eliminations[k + 1:] for n in x.sites)
            joined = (self.program.roots(s.factor) | {n} for n, s in self.program.sites.items())
            if not any(j & later and j & frozenset(e.sites) for j in joined):
                out[k] = self._for_each_state(lambda states, e=e: e.laws(values.with_sites(states)))
        return out

    def conditionals(self, laws: Mapping[int, Any], weights: Any) -> dict[str, Any]:
        """Each site's exact conditional: a mixture over the states of what its parts read.

        `weights` are the probabilities of these, and of each row of log densities on the last axis.
        """
        sizes = [len(self._states(n)) for n in self.above]
        if np.prod(sizes) > _COMPONENTS:
            return {}
        first_row = np.zeros(int(self.rows.max(initial=0)) + 1, int)
        first_row[self.rows[::-1]] = np.arange(len(self.rows))[::-1]
        weights = jnp.moveaxis(weights, -1, 0).reshape(len(self.rows), -1)
        out: dict[str, Any] = {}
        for k, law in laws.items():
            each = [self.eliminations[k].conditionals(jax.tree.map(lambda x, i=i: x[i], law))
                    for i in itertools.product(*map(range, sizes))]
            for name in each[0]:
                part = self.part[name].reshape(self.program.sites[name].shape)
                mixture = _mixture([e[name] for e in each], part, weights[first_row[part]])
                out.update({name: mixture} if mixture is not None else {})
        return out


def _states_of(site: Site) -> np.ndarray:
    """All states, or if some elements cannot have all of them those that each has in place of each, (states, *shape)."""
    assert site.states is not None
    if site.possible is None:
        return site.states
    able = np.moveaxis(np.broadcast_to(site.possible, (*site.shape, len(site.states))), -1, 0)
    each = site.states.reshape(-1, *(1,) * len(site.shape))
    return np.where(able, each, site.states[np.argmax(able, 0)])


def _mixture(components: Sequence[Any], part: np.ndarray, weights: Any) -> Any:
    """The mixture of some distributions over arrays of parts, whose weights are given for each element."""
    d = components[0]
    if d.event_dim:
        events = part.reshape(*d.batch_shape, -1)
        if events.size and (events == events[..., :1]).all():
            weights = weights.reshape(*events.shape, -1)[..., 0, :]
        else:  # of a joint law of several parts, the law of each element
            components = [dist.Normal(d.mean, jnp.sqrt(d.variance)) for d in components]
    weights = weights / jnp.sum(weights, -1, keepdims=True)
    return dist.MixtureGeneral(dist.CategoricalProbs(weights), list(components),
                               support=components[0].support)


def beneath(program: Program, eliminations: Sequence[Elimination], discrete: Sequence[str],
            touched: Sequence[str]) -> Beneath:
    """Prove that each part of some blocks reads one element of each discrete site.

    `touched` are all factors that depend on any of them.

    Raises:
        Declined: for a site of the blocks that stands in the way.
    """
    sites = [program.sites[n] for e in eliminations for n in e.sites]
    first = dict(zip(discrete, np.cumsum([0, *(program.sites[n].size for n in discrete)]), strict=False))
    count = sum(program.sites[n].size for n in discrete)
    fine = _labels(eliminations, frozenset())
    # where several parts meet in one number, their site may still be one whole
    for coarse in ((), *((s.name,) for s in sites), tuple(s.name for s in sites)):
        part, rows, number = _labels(eliminations, frozenset(coarse)) if coarse else fine
        try:
            reads = _reads(program, discrete, first, touched, part, count)
            break
        except Mixed as problem:
            what, source = (*problem.args, "", "")[:2]
    else:
        site = min(sites, key=lambda s: s.size)
        raise Declined(site.name, f"its elements go through {what} together with the discrete latents that "
                       "they depend on", source or site.source)

    edges, pairs = [np.zeros((0, 2), int)], [np.zeros((0, 2), int)]
    for elements in reads:
        for a, b in itertools.permutations(elements, 2):
            joined = np.unique(np.stack([a - count, b], 1)[(a >= count) & (b >= 0)], axis=0)
            inside = joined[:, 1] >= count
            edges.append(joined[inside] - [0, count])
            pairs.append(joined[~inside])
    links, pair = np.concatenate(edges), np.unique(np.concatenate(pairs), axis=0)
    whole = connected_components(coo_array((np.ones(len(links)), tuple(links.T)), shape=(number, number)),
                                 directed=False)[1]
    owner = np.searchsorted(list(first.values()), pair[:, 1], "right") - 1
    above: dict[str, np.ndarray] = {}
    for k, name in enumerate(discrete):
        mine = pair[owner == k]
        if not len(mine):
            continue
        found = np.unique(np.stack([whole[mine[:, 0]], mine[:, 1] - first[name]], 1), axis=0)
        several = np.flatnonzero(np.bincount(found[:, 0]) > 1)
        if len(several):
            raise _not_one(program, name, eliminations, part, whole, several, mine)
        above[name] = np.full(int(whole.max(initial=0)) + 1, NONE)
        above[name][found[:, 0]] = found[:, 1]
    combinations = [len(s.states) for s in map(program.sites.__getitem__, above) if s.states is not None]
    numbers = float(np.prod([float(c) for c in combinations])) * sum(s.size for s in sites)
    if numbers > _LARGEST:
        listed = " and ".join(f"`{n}`" for n in above)
        raise Declined(sites[0].name, f"to be integrated out for all states of {listed} it would take {numbers:.2g} "
                       "numbers", sites[0].source)
    return Beneath(program, tuple(eliminations), {n: whole[p] for n, p in part.items()}, whole[rows], above)


def _labels(eliminations: Sequence[Elimination], coarse: frozenset[str]
            ) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """The parts of all blocks numbered through: of each site's elements, of the rows, and their number. Blocks
    with a site in `coarse` are one part each."""
    part: dict[str, np.ndarray] = {}
    rows = []
    number = 0
    for e in reversed(eliminations):
        own = e.partition
        most = max([-1, *own.rows.tolist(), *(int(x.max(initial=-1)) for x in own.elements.values())]) + 1
        one = bool(coarse & frozenset(e.sites))
        part.update({n: number + (0 * x if one else x) for n, x in own.elements.items()})
        rows.append(number + (0 * own.rows if one else own.rows))
        number += most
    return part, np.concatenate(rows), number


def _reads(program: Program, discrete: Sequence[str], first: Mapping[str, int], touched: Sequence[str],
           part: Mapping[str, np.ndarray], count: int) -> list[list[np.ndarray]]:
    """What the cells of each factor read: elements of discrete sites, and from `count` on parts."""
    out: list[list[np.ndarray]] = []

    def look(given: Mapping[str, Any]) -> None:
        latents = {}
        for n in discrete:
            s = program.sites[n]
            assert s.states is not None
            latents[program.inputs[n]] = all_states(int(first[n]), s.shape, s.states.astype(s.dtype), s.possible)
        for n, labels in part.items():
            s = program.sites[n]
            latents[program.inputs[n]] = Cases(s.shape, (Reading(1, count + labels.reshape(s.shape)),),
                                               jnp.zeros((1,) * (len(s.shape) + 1), s.dtype))
        evaluator = Evaluator(program.graph, Values(program.graph, program.inputs, given), latents, {})
        for name in touched:
            number = program.sites[name].cells
            assert number is not None
            out.append([e.reshape(-1) for e in cases_of(evaluator.evaluate(number)).elements()])

    jax.eval_shape(look, {n: jax.ShapeDtypeStruct(program.graph.shapes[i], program.graph.dtypes[i])
                          for n, i in program.inputs.items() if n not in part and n not in discrete})
    return out


def _not_one(program: Program, name: str, eliminations: Sequence[Elimination], part: Mapping[str, np.ndarray],
             whole: np.ndarray, several: np.ndarray, pairs: np.ndarray) -> Declined:
    """Which site had better be kept, of parts that read several elements of a discrete site."""
    direct = np.flatnonzero(np.bincount(pairs[:, 0], minlength=len(whole)) > 1)
    sites = [program.sites[n] for e in eliminations for n in e.sites]
    shared = [s for s in sites if np.isin(part[s.name], direct).any()]
    if shared:
        site = min(shared, key=lambda s: s.size)
        if np.bincount(part[site.name], minlength=len(whole))[direct].max() > 1:
            return Declined(site.name, "elements of it that are not independent meet different elements of the discrete "
                            f"latent `{name}`, which is summed out", site.source)
        return Declined(site.name, f"it meets several elements of the discrete latent `{name}`, which is summed out; "
                        "only one of the two can be integrated out, and no gradient moves a discrete latent",
                        site.source)
    joined = [s for s in sites if np.isin(whole[part[s.name]], several).any()]
    site = min(joined, key=lambda s: s.size)
    others = " and ".join(f"`{s.name}`" for s in joined if s is not site) or "its own"
    return Declined(site.name, f"it joins elements of {others} that meet different elements of the discrete latent "
                    f"`{name}`, which is summed out", site.source)
