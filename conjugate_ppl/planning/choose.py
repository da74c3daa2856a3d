"""Putting blocks together: the search for a plan.

Latents that nothing depends on go first, drawn from their own priors. The others are candidates, given or not given
discrete ones, if nothing is against them that can be seen of one site alone. Of two orders (`attempt.py`), Gaussian
sites first or last, the one that integrates out more numbers is taken (Gaussian first if equal).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import networkx as nx

from conjugate_ppl.elimination import Declined, Elimination, Pool, choose_family
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.families.normal import GAUSSIAN
from conjugate_ppl.planning.attempt import Attempt
from conjugate_ppl.planning.decision import Decision, Plan
from conjugate_ppl.planning.screen import Dependencies, forward_only, obstacle
from conjugate_ppl.program import Program

__all__ = ["Chosen", "choose"]


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The outcome of the search: eliminations in order, what they leave, and the plan to show.

    `forward` are the sites drawn from their own distribution, `consumed` the sites whose factor is
    accounted for by the eliminations and their `pool`; `dependencies` are the program's.
    """

    plan: Plan
    dependencies: Dependencies
    forward: tuple[str, ...]
    eliminations: tuple[Elimination, ...]
    pool: Pool
    consumed: frozenset[str]


def choose(program: Program, keep: Collection[str], only: Collection[str] | None,
           concrete: bool, wanted: Collection[str] = ()) -> Chosen:
    """Find the plan for a program; deterministic."""
    deps = Dependencies(program)
    declined: dict[str, Declined] = {}
    free = [n for n in program.latents if n not in keep and (only is None or n in only)]
    unfit = next(iter(program.unfit_params), None)
    if unfit is not None:
        free = []
    for name in program.latents:
        if unfit is not None:
            why = program.unfit_params[unfit]
            declined[name] = Declined(name, f"the `param` site `{unfit}` {why}")
        elif name in keep:
            declined[name] = Declined(name, "you named it in `keep`")
        elif name not in free:
            declined[name] = Declined(name, "you did not name it in `only`")

    forward: list[str] = []
    found = True
    while found:
        found = False
        for name in reversed(program.latents):
            if name in free and name not in forward and forward_only(
                    program, deps, frozenset(forward), name):
                forward.append(name)
                found = True

    candidates: list[str] = []
    perhaps: list[str] = []
    below: list[str] = []  # candidates given the discrete ones
    for name in sorted(free, key=lambda n: not program.sites[n].discrete):
        if name in forward:
            continue
        site = program.sites[name]
        problem = obstacle(program, deps, name, frozenset(forward))
        if problem is None:
            (candidates if site.family or site.discrete else perhaps).append(name)
            continue
        declined[name] = problem
        if site.discrete:
            continue
        summed = frozenset(n for n in candidates if program.sites[n].discrete)
        other = obstacle(program, deps, name, frozenset(forward), summed)
        declined[name] = other or problem
        if other is None:
            (below if site.family else perhaps).append(name)

    fitting, others = _fitting(program, deps, [*candidates, *below], perhaps, forward)
    below = [n for n in free if n in (*below, *fitting) and n in declined]
    candidates = [n for n in free if n in (*candidates, *fitting) and n not in declined]
    declined.update(others)
    wanted = frozenset((*wanted, *(only or ())))  # at any price
    best = Attempt(program, deps, candidates, frozenset(forward), concrete, wanted, below)
    best.start()
    again = best.copy()
    best.run(gaussian_first=True)
    kinds = {program.sites[n].family in GAUSSIAN for n in again.left}
    if len(kinds) == 2 and not frozenset(again.left) <= frozenset(best.collapsed):
        again.run(gaussian_first=False)
        best = again if again.numbers > best.numbers else best
    declined.update(best.declined)
    order = (*forward, *best.collapsed)
    decisions = {}
    for name in program.latents:
        site = program.sites[name]
        if name in forward:
            rule, why = "drawn forward", "nothing that is observed depends on it"
        elif name in best.collapsed:
            rule, why = best.rule[name], best.why[name]
        else:
            rule, why = "sampled", declined[name].reason
        source = (declined[name].source if name not in order else "") or site.source
        family = best.family.get(name) or site.family or site.distribution
        decisions[name] = Decision(name, name in order, rule, family,
                                   site.size, why, source)
    plan = Plan(decisions, order, tuple(n for n in program.latents if n not in order),
                _graph(program, deps, order))
    return Chosen(plan, deps, tuple(forward), tuple(best.eliminations), best.pool,
                  frozenset(best.consumed))


def _graph(program: Program, deps: Dependencies, collapsed: Collection[str]) -> nx.DiGraph:
    graph = nx.DiGraph()
    for name, site in program.sites.items():
        kind = "observed" if not site.latent else "collapsed" if name in collapsed else "kept"
        graph.add_node(name, kind=kind, family=site.family or site.distribution, size=site.size)
    for name in program.sites:
        graph.add_edges_from((d, name) for d in sorted(deps.factor[name])
                             if d != name and d in program.sites)
    return graph


def _fitting(program: Program, deps: Dependencies, candidates: list[str], perhaps: list[str],
             forward: Collection[str]) -> tuple[list[str], dict[str, Declined]]:
    """Of sites whose priors may be of several families, those that all enters in the form of one of them.

    The others are no candidates, so that what is computed from them counts as known.
    """
    walk = start_walk(program, [n for n in (*candidates, *perhaps) if not program.sites[n].discrete], in_steps=True)
    fitting, declined = [], {}
    for name in perhaps:
        pool = Pool({})
        fits = True
        for factor in deps.touching([name]):
            if fits and factor != name and factor not in forward:
                (value,) = walk.run([program.sites[factor].factor])
                pool = pool.replaced((), {factor: value.terms})
                fits = choose_family(program, name, pool)[1]
        if fits:
            fitting.append(name)
        else:
            site = program.sites[name]
            declined[name] = Declined(name, f"its prior, {site.distribution}, has no conjugate family here",
                                      site.source)
    return fitting, declined
