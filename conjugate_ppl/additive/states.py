"""Cells that depend on discrete latents: their log densities in each state, as monomials in indicators.

Which state an element is in is a complete statistic of it, so that

    l(k, z) = sum_s  1[k = s]  l(s, z)

for the elements k that a cell reads, where l(s, z) is a polynomial in statistics of the continuous latents z. What a
cell reads is proved by the pass over the equations that `finite/` makes. Where no z is read, that pass gives the
numbers too, as NumPyro computes them; else they are read off the registered density, with all elements in one state at a
time. What is impossible in a state has no finite coefficient: such observations are counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from fractions import Fraction

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.value import reduce_sum, reshape, where
from conjugate_ppl.algebra.variables import Indicator
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.finite.cases import NONE, Cases, Reading, cases_of, held
from conjugate_ppl.finite.evaluate import Evaluator, all_states
from conjugate_ppl.graph import Graph
from conjugate_ppl.program import Program

__all__ = ["in_states"]

Read = tuple[str, np.ndarray]  # a discrete site, and the element of it that each cell reads (NONE: it reads none)


def in_states(graph: Graph, program: Program, numbers: Mapping[str, int], extra: int,
              walk: Callable[[Mapping[str, int]], Walk]) -> Value:
    """The cells of an observed site that reads discrete latents.

    Args:
        graph: that of a run of the model, its latents as inputs.
        program: the model's.
        numbers: the log densities in the graph, "as NumPyro" has them, and if it reads others "as registered".
        extra: how many of their last axes are of events, to be summed.
        walk: makes a walk over the graph, given the states that discrete sites are in.
    """
    inputs = dict(zip(program.latents, graph.inputs, strict=True))
    sites = [n for n in program.latents if program.sites[n].discrete]
    first = dict(zip(sites, np.cumsum([0, *(program.sites[n].size for n in sites)]), strict=False))
    count = sum(program.sites[n].size for n in sites)
    latents = {}
    for name, at in inputs.items():
        own = program.sites[name]
        latents[at] = Cases(own.shape, (Reading(1, np.full(own.shape, count)),), jnp.zeros(
            (1,) * (len(own.shape) + 1), own.dtype)) if own.states is None else all_states(
                int(first[name]), own.shape, own.states.astype(own.dtype), own.possible)
    found = cases_of(Evaluator(graph, Values(graph, inputs, {}), latents, {}).evaluate(numbers["as NumPyro"]))
    continuous = any((e == count).any() for e in found.elements())
    indicators = {n: _indicators(program, n) for n in sites}
    value = _with_others(found, numbers["as registered"], first, indicators, walk) if continuous else _of_table(
        found, first, indicators)
    shape = found.shape
    return reduce_sum(reshape(value, shape), range(len(shape) - extra, len(shape)))


def _indicators(program: Program, name: str) -> tuple[Indicator, Indicator]:
    """The indicators of a site's states, and those of what is impossible in them."""
    site = program.sites[name]
    assert site.states is not None
    low, count = int(site.states[0]), len(site.states)
    made = (Indicator(f"states of {name}", site.size * count, False, frozenset({name}), name, low, count, never)
            for never in (False, True))
    return next(made), next(made)


def _owners(element: np.ndarray, first: Mapping[str, int]) -> np.ndarray:
    """Which site each of some elements is of, by number; NONE for none, `NONE - 1` for one that is held in a state."""
    owner = np.searchsorted(list(first.values()), element, "right") - 1
    return np.where(element >= 0, owner, np.where(element == NONE, NONE, NONE - 1))


def _of_table(found: Cases, first: Mapping[str, int], indicators: Mapping[str, tuple[Indicator, Indicator]]) -> Value:
    """Numbers for all states of what is read, as a vector of cells."""
    n = int(np.prod(found.shape))
    array = np.asarray(found.full(), float).reshape(*found.states, n)
    elements = np.stack([e.reshape(n) for e in found.elements()])
    owners = np.stack([_owners(e, first) for e in elements])
    names = list(first)
    terms: list[Term] = []
    for pattern in np.unique(owners, axis=1).T:
        mine = np.flatnonzero((owners == pattern[:, None]).all(0))
        part, own = np.moveaxis(array[..., mine], -1, 0), elements[:, mine]
        real = [k for k, owner in enumerate(pattern) if owner >= 0]
        for k in reversed(range(len(pattern))):
            if k not in real:  # it reads the same in all states, or is held in one
                state = held(own[k]) if pattern[k] != NONE else np.zeros(len(mine), int)
                part = np.take_along_axis(part, state.reshape(-1, *(1,) * (part.ndim - 1)), k + 1)
        part = part.reshape(len(mine), -1)
        sizes = [found.states[k] for k in real]
        combinations = np.array(list(itertools.product(*map(range, sizes))), int).reshape(-1, len(real))
        for never in (False, True):
            numbers = (part == -np.inf).astype(float) if never else np.where(part == -np.inf, 0.0, part)
            if not numbers.any():
                continue
            atoms = []
            for j, k in enumerate(real):
                name = names[pattern[k]]
                selection = np.zeros((n, len(combinations)), np.int64)
                selection[mine] = (own[k] - first[name])[:, None] * sizes[j] + combinations[:, j]
                atoms.append(Atom(indicators[name][never and not j], Fraction(1), selection))
            coefficient = np.zeros((n, len(combinations)))
            coefficient[mine] = numbers
            if never and not real:  # nothing that is observed can be so: refused before
                coefficient[mine] = -np.inf
            terms.append(Term(1, (len(combinations),), (coefficient,), tuple(atoms)))
    return Value((n,), tuple(terms))


def _with_others(found: Cases, number: int, first: Mapping[str, int],
                 indicators: Mapping[str, tuple[Indicator, Indicator]], walk: Callable[[Mapping[str, int]], Walk]) -> Value:
    """Polynomials in other latents, for each state of what is read, as a vector of cells."""
    n = int(np.prod(found.shape))
    reads: dict[str, np.ndarray] = {}
    for element in (e.reshape(n) for e in found.elements()):
        owner = _owners(element, first)
        for k, name in enumerate(first):
            mine = (owner == k) & (element < _end(first, indicators, name))
            if mine.any():
                before = reads.setdefault(name, np.full(n, NONE))
                # what is integrated out for each state has to do with one element of each site (`elimination/mixed.py`)
                assert not (mine & (before != NONE) & (before != element - first[name])).any()
                before[mine] = element[mine] - first[name]
    names = list(reads)
    patterns = np.stack([reads[m] != NONE for m in names])
    terms: list[Term] = []
    for states in itertools.product(*(range(indicators[m][0].count) for m in names)):
        (value,) = walk({m: indicators[m][0].low + s for m, s in zip(names, states, strict=True)}).run([number])
        value = reshape(value, (n,))
        for pattern in np.unique(patterns, axis=1).T:
            if any(s and not p for s, p in zip(states, pattern, strict=True)):
                continue
            mine = (patterns == pattern[:, None]).all(0)
            atoms = []
            for m, s, p in zip(names, states, pattern, strict=True):
                if p:
                    selection = np.maximum(reads[m], 0) * indicators[m][0].count + s
                    atoms.append((indicators[m][0], selection))
            for t in (value if mine.all() else where(mine, value)).terms:
                wide = tuple(Atom(v, Fraction(1), x.reshape(n, *(1,) * len(t.hidden))) for v, x in atoms)
                terms.append(Term(t.rank, t.hidden, t.coefficients, (*t.atoms, *wide)))
    return Value((n,), tuple(terms))


def _end(first: Mapping[str, int], indicators: Mapping[str, tuple[Indicator, Indicator]], name: str) -> int:
    found = indicators[name][0]
    return first[name] + found.size // found.count
