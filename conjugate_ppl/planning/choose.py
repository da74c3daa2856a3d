"""Putting blocks together: the search for a plan.

Latents that nothing depends on go first, drawn from their own priors. The others are candidates, given or not given
discrete ones, if nothing is against them that can be seen of one site alone. Of two orders (`attempt.py`), Gaussian
sites first or last, the one that integrates out more numbers is taken (Gaussian first if equal). Where what is left of
some is in the way of others that are larger, or required, it is tried without them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

import networkx as nx

from conjugate_ppl.algebra.variables import Variable
from conjugate_ppl.elimination import Declined, Elimination, Pool, choose_family, eliminate_elementwise
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.families.normal import GAUSSIAN
from conjugate_ppl.planning.attempt import Attempt, listed
from conjugate_ppl.planning.cost import idle
from conjugate_ppl.planning.decision import Decision, Plan
from conjugate_ppl.planning.screen import Dependencies, forward_only, obstacle
from conjugate_ppl.program import Program

__all__ = ["Chosen", "choose"]

_TRIES = 4  # times that some sites are tried as no candidates


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The outcome of the search: eliminations in order, what they leave, and the plan to show.

    `forward` are the sites drawn from their own distribution, `consumed` the sites whose factor is
    accounted for by the eliminations and their `pool`; `dependencies` are the program's. Where one of the `assumed` variables is
    negative the model's density is NaN.
    """

    plan: Plan
    dependencies: Dependencies
    forward: tuple[str, ...]
    eliminations: tuple[Elimination, ...]
    pool: Pool
    consumed: frozenset[str]
    assumed: tuple[Variable, ...]


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

    dear: dict[str, Declined] = {}

    def attempt(without: Collection[str] = ()) -> Attempt:
        out = {*without, *dear}
        return _best_order(Attempt(program, deps, [n for n in candidates if n not in out], frozenset(forward), concrete,
                                   wanted, [n for n in below if n not in out]))

    def rows(name: str) -> int:
        return sum(program.sites[f].size for f in deps.touching([name]) if f != name)

    while True:
        best = attempt()
        declined.update(best.declined)
        best = _with_fewer_candidates(program, best, attempt, wanted)
        declined.update(best.declined)
        more = idle(program, best.eliminations, rows, wanted)
        if not more or {*program.latents} <= {*forward, *best.collapsed}:
            break
        dear |= more
        declined |= more
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
                  frozenset(best.consumed), tuple(best.walk.assumed))


def _best_order(attempt: Attempt) -> Attempt:
    """The attempt with Gaussian sites first, or last if more numbers are integrated out so."""
    attempt.start()
    again = attempt.copy()
    attempt.run(gaussian_first=True)
    kinds = {attempt.program.sites[n].family in GAUSSIAN for n in again.left}
    if len(kinds) == 2 and not frozenset(again.left) <= frozenset(attempt.collapsed):
        again.run(gaussian_first=False)
        if again.worth == attempt.worth and all(again.program.sites[n].family in GAUSSIAN for n in again.collapsed) and (
                {*again.collapsed} == {*attempt.collapsed}):
            again.declined.update(attempt.declined)  # no other site is left that might go; what these are in is written out no further
            return again
        return again if again.worth > attempt.worth else attempt
    return attempt


def _with_fewer_candidates(program: Program, best: Attempt, attempt: Callable[[Collection[str]], Attempt],
                           wanted: Collection[str]) -> Attempt:
    """The best attempt in which some sites that stay are no candidates from the start.

    What is computed from these then counts as known. Other sites may be integrated out for it, where they went through the
    same operation; and the algebra need not look into it.
    """
    out: set[str] = set()
    reasons = dict(best.declined)

    def better(without: Collection[str]) -> bool:
        """Whether more is integrated out without some sites, and then goes on from there."""
        nonlocal best
        other = attempt(without)
        if other.worth <= best.worth:
            return False
        best = other
        reasons.update(other.declined)
        return True

    met = sorted(best.in_the_way, key=lambda n: program.sites[n].size)
    scales = {n for n in met if program.sites[n].family not in GAUSSIAN}  # several may stand in the way of one mean
    for names in [n for n in (scales, *({n} for n in met)) if n][:_TRIES]:
        if not names <= out and better(out | names):
            out |= names
    rivals = best.rivals[:_TRIES]
    instead: dict[str, frozenset[str]] = {}
    while rivals:
        (gone, others), *rivals = rivals
        if better(out | gone):
            out |= gone
            instead |= dict.fromkeys(gone, others)
            rivals = [r for r in best.rivals if r[0].isdisjoint(out)][:_TRIES]
    if best.looked_into:
        other = attempt(best.declined.keys() | out)
        best = other if other.worth >= best.worth else best
    best.declined = reasons | best.declined | {n: _instead(n, others.intersection(best.collapsed), wanted) for n, others in instead.items()}
    return best


def _instead(name: str, others: Collection[str], wanted: Collection[str]) -> Declined:
    """Why a site stays of which what is left would be in the way of others."""
    names = listed([f"`{n}`" for n in sorted(others)]) or "others"
    verb, why = "are" if len(others) > 1 else "is", "asked for" if frozenset(others) & frozenset(wanted) else "larger"
    return Declined(name, f"if it were integrated out, {names} could not be, which {verb} {why}")


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
        try:
            if not fits:
                eliminate_elementwise(program, name, pool)  # says why
            fitting.append(name)
        except Declined as problem:
            declined[name] = problem
    return fitting, declined
