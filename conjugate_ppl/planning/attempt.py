"""One order of eliminations, each on what the previous ones left.

Discrete latents are summed out first, since no sampler of what is left could move them. What shares a factor
with them is integrated out for each of their states before, if it has to do with one element of theirs
(`elimination/mixed.py`); otherwise it stays. Then Gaussian sites go jointly, and the other families from the
last site of the model to the first. Every site that fails is declined with the first reason found, and the
attempt goes on without it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import networkx as nx
import numpy as np

from conjugate_ppl.algebra.placement import LOOKED_UP
from conjugate_ppl.algebra.residual import Residual
from conjugate_ppl.algebra.running import Running
from conjugate_ppl.algebra.simplex import is_probability, sums_to_one
from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.variables import Latent, Opaque
from conjugate_ppl.algebra.walk import HIDDEN_NOISE
from conjugate_ppl.elimination import (
    Declined,
    Elimination,
    Pool,
    eliminate_elementwise,
    eliminate_finite,
    eliminate_gaussian,
    eliminate_matrix,
    eliminate_statespace,
)
from conjugate_ppl.elimination.base import WHAT_IS_LEFT, Beside, article, marginalised, spoken
from conjugate_ppl.elimination.conflicts import block_degree, conflicts
from conjugate_ppl.elimination.mixed import beneath
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.families.normal import GAUSSIAN
from conjugate_ppl.families.wishart import WISHARTS
from conjugate_ppl.planning.cost import too_dear
from conjugate_ppl.planning.screen import Dependencies
from conjugate_ppl.planning.validate import check_finite
from conjugate_ppl.program import Program

__all__ = ["Attempt", "listed"]

_OF_PRODUCTS = ("log", "sqrt", "rsqrt", "integer_pow", "pow", "square")  # each is a product, or a sum, of those of the factors
_LONG = 8  # sites that each depend on the one before, and may be steps of a loop


class Attempt:
    """One order of eliminations."""

    def __init__(self, program: Program, deps: Dependencies, candidates: list[str],
                 forward: frozenset[str], concrete: bool, wanted: frozenset[str],
                 below: Collection[str] = ()) -> None:
        self.wanted = wanted
        self.below = list(below)
        self.beneath: frozenset[str] = frozenset()  # those in the way of others given discrete sites
        self.given: dict[str, Declined] = {}  # why those left are not integrated out given discrete ones
        self.program, self.deps, self.concrete = program, deps, concrete
        self.forward = forward
        self.left = [n for n in candidates if not program.sites[n].discrete]
        self.discrete = [n for n in candidates if program.sites[n].discrete]
        self.family: dict[str, str] = {}
        self.declined: dict[str, Declined] = {}
        self.eliminations: list[Elimination] = []
        self.collapsed: list[str] = []
        self.rule: dict[str, str] = {}
        self.why: dict[str, str] = {}
        self.consumed: set[str] = set()
        self.tried: set[tuple[str, str]] = set()  # again, because of which other
        self.dear: set[str] = set()  # those that could be integrated out, but cost too much
        self.pool = Pool({})

    @property
    def worth(self) -> tuple[int, int]:
        """How many of the wanted sites are integrated out, and how many latent numbers altogether."""
        return len(self.wanted.intersection(self.collapsed)), self._size(self.collapsed)

    @property
    def rivals(self) -> list[tuple[frozenset[str], frozenset[str]]]:
        """Sites integrated out together, and those that stay for what is left of them: where these have more elements, or one
        of them is wanted."""
        found = []
        for name, terms in self.pool.factors.items():
            gone = frozenset(marginalised(name)).intersection(self.collapsed)
            stay = frozenset().union(*(t.roots for t in terms)) & frozenset(self.declined) - self.dear
            if gone and (self._size(stay) > self._size(gone) or not self.wanted.isdisjoint(stay)):
                found.append((gone, stay))
        return sorted(found, key=lambda pair: self._size(pair[0]))

    def _size(self, names: Iterable[str]) -> int:
        return sum(self.program.sites[n].size for n in names)

    @property
    def in_the_way(self) -> frozenset[str]:
        """Sites that stay and go, with others that stay, through an operation that the algebra does not look into: one of several
        operands, or of a product of functions of them. Of others, as `exp(a + b)`, none is linear in one of them when the
        other is known."""
        opaque = {a.variable for v in self.values.values() for t in v.terms for a in t.atoms
                  if isinstance(a.variable, Opaque) and (e := a.variable.equation) is not None
                  and (len(e.inputs) > 1 or e.primitive in _OF_PRODUCTS)}
        met = [v.roots & self.declined.keys() for v in opaque]
        return self.beneath.union(*(m for m in met if len(m) > 1))

    @property
    def looked_into(self) -> bool:
        """Whether what is left is written out in sites that stay, times what else is computed from sites that stay; or in such as
        are not real, which are measured from a point only if they are no candidates (`joint._Written.linear`)."""
        def stay(term: Term) -> list[Atom]:
            return [a for a in term.atoms if isinstance(v := a.variable, Latent) and v.site in self.declined]

        return any(stay(term) and any(not isinstance(a.variable, Latent | Residual) and a.variable.size > 1 for a in term.atoms)
                   for terms in self.pool.factors.values() for term in terms) or any(
            a.power > 0 and self.program.sites[a.variable.name].support != "real"
            for value in self.values.values() for term in value.terms for a in stay(term))

    def copy(self) -> Attempt:
        """Another attempt that goes on from here."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list | dict | set):
                setattr(other, name, copy.copy(value))
        return other

    def start(self) -> None:
        """Sum out, then walk once with all candidates left visible."""
        self._finite()
        self.values = self._walk()
        self._reject_noise()
        self._reject_unproved_probabilities()
        self._reject_reordered()
        self.pool = Pool({**{n: v.terms for n, v in self.values.items() if n not in self.consumed},
                          **self.pool.factors})

    def run(self, gaussian_first: bool) -> None:
        """Eliminate what is left."""
        steps: list[Callable[[], None]] = [self._gaussian, self._elementwise]
        for step in steps if gaussian_first else reversed(steps):
            step()
        self._drop_untouched()

    def _walk(self) -> dict[str, Value]:
        self.walk = start_walk(self.program, self.left, in_steps=True)
        names = [n for n in self.deps.touching(self.left) if n not in self.forward]
        values = dict(zip(names, self.walk.run([self.program.sites[n].factor for n in names]),
                          strict=True))
        check_finite(self.program, values)
        return values

    def _reject_noise(self) -> None:
        for name in list(self.left):
            for factor, value in self.values.items():
                if name in self.deps.factor[factor] and HIDDEN_NOISE in value.roots:
                    self._decline(Declined(name, f"`{factor}` depends on noise that the model draws "
                                           "outside any sample site",
                                           self.program.sites[factor].source))
                    break

    def _reject_unproved_probabilities(self) -> None:
        for factor, density in self.values.items():
            site = self.program.sites[factor]
            for number in site.simplex_numbers:
                (value,) = self.walk.run([number])
                if not sums_to_one(self.walk, value):
                    chosen = frozenset().union(*(a.variable.roots for t in value.terms for a in t.atoms if isinstance(
                        a.variable, Opaque) and a.variable.reason == LOOKED_UP))
                    for name in sorted(value.roots & frozenset(self.left)):
                        if name in chosen:
                            self._decline(Declined(name, f"`{name}` goes through {LOOKED_UP} in `{factor}`", site.source))
                            continue
                        self._decline(Declined(name, f"the probabilities of `{factor}` depend on it and "
                                               "are not proved to sum to one", site.source))
            for number in site.unit_numbers:
                (value,) = self.walk.run([number])
                if not is_probability(self.walk, value):
                    opaque = frozenset().union(*(a.variable.roots for t in density.terms for a in t.atoms if isinstance(
                        a.variable, Opaque)))  # is in the way of its own, and says more
                    for name in sorted(value.roots & frozenset(self.left) - opaque):
                        self._decline(Declined(name, f"the probability of `{factor}` depends on it and is not proved to lie "
                                               "between 0 and 1, where NumPyro moves it", site.source))

    def _reject_reordered(self) -> None:
        """NumPyro hands the values of a loop that runs backwards over in reverse order."""
        for name in list(self.left):
            site = self.program.sites[name]
            if site.looped is None:
                continue
            (value,) = self.walk.run([site.looped])
            term = value.single
            if term is None or len(term.atoms) != 1 or term.atoms[0].variable.name != name or not (
                    np.array_equal(np.broadcast_to(term.atoms[0].selection, site.shape),
                                   np.arange(site.size).reshape(site.shape))):
                self._decline(Declined(name, "it is sampled inside a loop that takes its elements in "
                                       "another order", site.source))

    def _decline(self, problem: Declined) -> None:
        name = problem.site
        if name in self.left:
            self.left.remove(name)
            # what was in the way first is why there is a marginal in the way now
            after = name in self.given and WHAT_IS_LEFT in problem.reason
            self.declined[name] = self.given[name] if after else problem

    # -- discrete sites ---------------------------------------------------------------------------

    def _finite(self) -> None:
        """Sum out discrete sites, those that share factors together."""
        while (beside := self._left_beside()) is not None:
            self.discrete.remove(beside.site)
            self.declined[beside.site] = beside
        below = [n for n in self.program.latents if n in self.below or n in self.left]
        while below:
            mixed = [p for p in self._independent([*self.discrete, *below])
                     if not frozenset(self.discrete).isdisjoint(p) and not frozenset(below).isdisjoint(p)]
            if not mixed:
                break
            done = self._sum_out([n for n in mixed[0] if n in self.discrete],
                                 [n for n in mixed[0] if n in below])
            below = [n for n in below if n not in done]
        for block in self._independent(self.discrete):
            self._sum_out(block, [])

    def _sum_out(self, block: list[str], below: list[str]) -> Collection[str]:
        """Sum out a block, what is `below` it integrated out before; returns what need not be tried again."""
        touched = self._factors([*block, *below])
        parts = None
        try:
            if below:
                given = Attempt(self.program, self.deps, below, self.forward, self.concrete, self.wanted)
                given.start()
                given.run(gaussian_first=True)
                found = given.collapsed
                self.beneath |= given.in_the_way
                if len(self._independent([*block, *found])) > 1 or not found:  # what joined them stays
                    self._keep(block, given.declined)
                    return [n for n in below if n not in found] or below
                touched = self._factors([*block, *found])
                parts = beneath(self.program, given.eliminations, block, touched)
            elimination, self.pool = eliminate_finite(self.program, block, touched, self.pool, parts)
        except Declined as problem:
            if below:
                self._keep(block, {problem.site: problem})
                return [problem.site] if problem.site in below else below
            for name in block:
                self.declined[name] = problem if name == problem.site else Declined(
                    name, f"it meets `{problem.site}`, which is not summed out: {problem.reason}",
                    problem.source)
            self.discrete = [n for n in self.discrete if n not in block]
            return []
        if parts is not None:
            self._keep(block, given.declined)
            for e in parts.eliminations:
                sites = list(e.sites)
                self._accept(e, sites, [], {n: f"given {listed([f'`{k}`' for k in parts.above])}, "
                                            + given.why[n] for n in sites})
            self.family.update(given.family)
        self._accept(elimination, block, touched, {n: elimination.how(n) for n in block})
        self.discrete = [n for n in self.discrete if n not in block]
        return below

    def _keep(self, block: Sequence[str], declined: Mapping[str, Declined]) -> None:
        """Why sites are not integrated out given a block of discrete ones."""
        for name, problem in declined.items():
            if LOOKED_UP in problem.reason:
                index = next((n for n in block if any({n, name} <= d for d in self.deps.factor.values())), block[0])
                problem = Declined(name, f"`{index}`, which is summed out, chooses between its elements; only one of "
                                   "the two can be integrated out, and no gradient moves a discrete latent",
                                   problem.source)
            (self.declined if name in self.below else self.given)[name] = problem

    def _left_beside(self) -> Declined | None:
        """A discrete site that shares a factor with one that stays, if there is one."""
        for name in self.discrete:
            for factor in self._factors([name]):
                site = self.program.sites[factor]
                for other in sorted(self.deps.factor[factor] - frozenset(self.discrete)):
                    if other in self.program.sites and self.program.sites[other].discrete:
                        return Declined(name, f"`{factor}` also depends on the discrete latent `{other}`, "
                                        "which stays", site.source)
        return None

    def _factors(self, sites: list[str]) -> list[str]:
        """Factors that depend on some sites, their own among them (also a uniform one, which touches nothing)."""
        wanted = {*self.deps.touching(sites), *sites} - self.forward
        return [n for n in self.program.sites if n in wanted]

    # -- Gaussian sites ---------------------------------------------------------------------------

    def _gaussian(self) -> None:
        while True:
            sites = [n for n in self.left if self.program.sites[n].family in GAUSSIAN]
            if not sites:
                return
            inside = frozenset(sites)
            problems = self._problems(inside)
            if problems:
                self._stay(problems[0])
                continue
            blocks = self._independent(sites)
            try:
                for block in blocks:
                    steps = self._in_steps(block)
                    if steps and self._chain(block, steps == "always"):
                        continue
                    touched = self._touched(block)
                    visible = frozenset(self.left) - frozenset(block)
                    elimination, pool = eliminate_gaussian(
                        self.program, block, self.pool, touched, visible, self.concrete, self.wanted)
                    dear = too_dear(self.program, elimination, touched, self.wanted) if self.concrete else []
                    self.dear.update(problem.site for problem in dear)
                    for problem in dear[1:]:
                        self._stay(problem)
                    if dear:
                        raise dear[0]
                    self.pool = pool
                    self._accept(elimination, block, touched, self._form(block, touched))
            except Declined as problem:
                self._stay(problem)
                continue

    def _stay(self, problem: Declined) -> None:
        """Decline a Gaussian site; those that stay because of it are tried again, each once because of each: of many that
        multiply each other in pairs, what stays for others, which stay for others, would come back without end."""
        self._decline(problem)
        again = {n for n, why in self.declined.items() if problem.site in why.before
                 and (n, problem.site) not in self.tried}
        self.tried.update((n, problem.site) for n in again)
        self.left = [n for n in self.program.latents if n in self.left or n in again]
        self.declined = {n: why for n, why in self.declined.items() if n not in again}

    def _chain(self, block: list[str], always: bool) -> bool:
        """Integrate out a chain of steps; sites that all steps share wait for the next round.

        Where a block need not be a chain (not `always`), False says that it is none.
        """
        beside: list[str] = []
        while True:
            parts = self._independent([n for n in block if n not in beside])
            above = frozenset().union(*(self.deps.factor[n] for n in beside))
            later = [p for p in parts if above.intersection(p)]  # parents of what is beside wait with it
            steps = [p for p in parts if (p not in later or later == parts) and (not always or self._in_steps(p))]
            sites = [n for n in block if any(n in p for p in steps)]
            touched, visible = self._touched(sites or block), frozenset(self.left) - frozenset(sites)
            try:
                elimination, pool = eliminate_statespace(
                    self.program, sites, self.pool, touched, visible, self.concrete, beside, self.wanted)
            except Beside as problem:
                # where all is beside it, the chain is what a loop computes
                if problem.site not in beside and (always or len(beside) + 1 < len(block)):
                    beside.append(problem.site)
                    continue
                if always:
                    raise Declined(problem.site, problem.reason, problem.source) from None
                return False
            except Declined:
                if always:
                    raise
                return False
            for name in beside:
                if self.deps.factor[name] & frozenset(sites):
                    raise Declined(name, "all steps of a chain share it, and its own prior depends on the "
                                   "chain", self.program.sites[name].source)
            self.pool = pool
            self._accept(elimination, sites, touched, self._form(sites, touched))
            return True

    def _in_steps(self, block: list[str]) -> str:
        """Whether a block is a chain of steps: "always" if no general algorithm would do, "" if it is none.

        It is one where elements of a site depend on other elements of it, as the steps of a loop do, where a
        recursion reads them, or where sites follow each other for long, as the steps of a Python loop do.
        """
        sites, inside = self.program.sites, frozenset(block)
        numbers = [sites[n].parameters["loc"] for n in block if "loc" in sites[n].parameters]
        values = [*self.walk.run(numbers), *(self.values[n] for n in self._touched(block) if n in self.values)]
        atoms = {a.variable for v in values for t in v.terms for a in t.atoms}
        read = {v.equation.primitive for v in atoms if isinstance(v, Running) and v.linear & inside}
        if "scan" in read or any(n in self.program.roots(*sites[n].parameters.values()) for n in block):
            return "always"
        if read:
            return "perhaps"
        follows = nx.DiGraph((a, b) for b in block for a in self.program.roots(sites[b].parameters.get("loc")) & inside)
        return "perhaps" if len(follows) >= _LONG and nx.dag_longest_path_length(follows) >= _LONG else ""

    def _touched(self, block: list[str]) -> list[str]:
        """Factors that depend on a block, the priors of the block itself left out."""
        inside = frozenset(block)
        remnants = [n for n, terms in self.pool.factors.items() if n not in self.program.sites
                    and any(t.roots & inside for t in terms)]
        return [n for n in self.deps.touching(block) if n not in block and n not in self.forward
                and n not in self.consumed] + remnants

    def _problems(self, inside: frozenset[str]) -> list[Declined]:
        program = self.program
        for name, terms in self.pool.factors.items():
            if name in program.sites:
                continue
            for term in terms:
                degree, odd = block_degree(term, inside)
                if name in self.pool.remnants and odd is None and degree <= 2:
                    continue
                for site in sorted(term.roots & inside):
                    return [Declined(site, f"{spoken(name)} is in no closed form in it")]
        values = {n: self.values[n] for n in self._touched(sorted(inside)) if n in self.values}
        locations: dict[str, Value] = {}
        scales: dict[str, Value] = {}
        for name in sorted(inside):
            numbers = program.sites[name].parameters
            for key, number in numbers.items():
                (value,) = self.walk.run([number])
                (locations if key == "loc" else scales)[name] = value
        return conflicts(program, inside, values, locations, scales)

    def _independent(self, sites: list[str]) -> list[list[str]]:
        """Blocks that share no factor, each in the model's order."""
        graph = nx.Graph()
        graph.add_nodes_from(sites)
        for name in self.deps.touching(sites):
            if name in self.forward:
                continue
            group = sorted(self.deps.factor[name] & frozenset(sites))
            graph.add_edges_from(itertools.pairwise(group))
        for name in self.pool.remnants:
            roots = frozenset().union(*(t.roots for t in self.pool.factors[name]))
            graph.add_edges_from(itertools.pairwise(sorted(roots & frozenset(sites))))
        parts = [[s for s in sites if s in part] for part in nx.connected_components(graph)]
        return sorted(parts, key=lambda part: sites.index(part[0]))

    # -- the other families -------------------------------------------------------------------------

    def _elementwise(self) -> None:
        for name in list(reversed(self.left)):
            if self.program.sites[name].family in GAUSSIAN:
                continue
            pool = Pool({n: t for n, t in self.pool.factors.items() if n != name})
            touched = list(pool.touching(name))
            try:
                elimination, pool = eliminate_matrix(self.program, name, pool) if (
                    self.program.sites[name].family in WISHARTS) else eliminate_elementwise(
                    self.program, name, pool, [n for n in self.left if n != name])
            except Declined as problem:
                self._decline(problem)
                continue
            self.pool = pool
            self.family[name] = elimination.family.name
            self._accept(elimination, [name], touched, self._form([name], touched))

    def _accept(self, elimination: Elimination, block: list[str], touched: list[str],
                why: Mapping[str, str]) -> None:
        self.eliminations.append(elimination)
        self.collapsed += block
        self.consumed.update(n for n in touched if n in self.program.sites)
        self.consumed.update(block)
        self.pool = self.pool.replaced(block, {})
        self.left = [n for n in self.left if n not in block]
        self.rule.update(dict.fromkeys(block, elimination.rule))
        self.why.update(why)

    def _form(self, block: list[str], touched: list[str]) -> dict[str, str]:
        """In words, why the sites of a block can be integrated out."""
        names = [spoken(n) for n in touched]
        found = {}
        for name in block:
            family = self.family.get(name) or self.program.sites[name].family
            with_others = [f"`{b}`" for b in block if b != name]
            joint = f", together with {listed(with_others)}" if with_others else ""
            what = "quadratic" if family in GAUSSIAN else f"affine in the statistics of {article(family)}"
            found[name] = f"{listed(names)} {'is' if len(names) == 1 else 'are'} {what} in it{joint}" \
                if names else f"nothing but its own prior depends on it{joint}"
        return found

    def _drop_untouched(self) -> None:
        """Factors that no elimination consumed stay as the model writes them."""
        self.pool = Pool({n: t for n, t in self.pool.factors.items()
                          if n not in self.program.sites})


def listed(names: list[str]) -> str:
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} more"]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
