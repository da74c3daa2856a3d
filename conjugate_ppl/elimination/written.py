"""A chain's log density and locations, written in one vector of elements.

The elements are those of the sites, and those of the recursions that read them (`algebra/running.py`), which have
locations as sites do, but no noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from conjugate_ppl.algebra.running import RECURSIONS, Running, last, locations, states
from conjugate_ppl.algebra.term import Term, Value
from conjugate_ppl.algebra.value import add, multiply, reduce_sum
from conjugate_ppl.algebra.variables import Latent, Variable, Variables
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.elimination.base import check_coordinates
from conjugate_ppl.elimination.coordinates import Coordinates
from conjugate_ppl.elimination.symbols import start_walk
from conjugate_ppl.gaussian.site import BLOCK
from conjugate_ppl.graph import Equation
from conjugate_ppl.program import Program

__all__ = ["Part", "Written", "follow", "parts_beside", "parts_of", "variables_of", "write"]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A site, or what a recursion computes: its number in the graph, its shape and its first element.

    `site` is the site, or the one that is spoken of instead; a part that is `exact` has no noise of its own.
    """

    number: int
    shape: tuple[int, ...]
    first: int
    site: str
    exact: bool = False

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape))

    @property
    def own(self) -> slice:
        """Its elements."""
        return slice(self.first, self.first + self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class Written:
    """What depends on the sites, in the elements of the parts; and the sum of all locations, each times a token.

    Both hold the sites `beside` as they are, less a constant. Recursions in `moved` are in other coordinates.
    """

    parts: tuple[Part, ...]
    moved: Mapping[int, Coordinates]
    elements: Latent
    tokens: Variable
    beside: tuple[Latent, ...]
    terms: list[Term]
    locations: tuple[Term, ...]
    walk: Walk

    @property
    def bound(self) -> list[Term]:
        """The terms that hold elements."""
        return [t for t in self.terms if self.elements in variables_of(t)]

    @property
    def free(self) -> list[Term]:
        """Those that do not."""
        return [t for t in self.terms if self.elements not in variables_of(t)]


def parts_of(program: Program, sites: Sequence[str], touched: Sequence[str], visible: frozenset[str],
             beside: Sequence[str]) -> tuple[tuple[Part, ...], tuple[Equation, ...]]:
    """The parts of a chain, and the recursions among them: those that are affine in its sites and enter a factor
    or the location of a site."""
    inside = frozenset((*sites, *beside))
    walk = start_walk(program, inside | visible, in_steps=True)
    numbers = [*(program.sites[n].factor for n in touched), *(program.sites[n].parameters["loc"] for n in sites)]
    walk.run(numbers)
    needed = program.graph.needed_for(numbers)
    parts, equations, first = [], [], 0
    for name in sites:
        record = program.sites[name]
        parts.append(Part(program.inputs[name], record.shape, first, name))
        first += record.size
    for equation in program.graph.equations:
        if equation.primitive not in RECURSIONS or needed.isdisjoint(equation.outputs):
            continue
        found = {a.variable for n in equation.outputs if walk.reached(n) for t in walk.value(n).terms for a in t.atoms}
        linear = frozenset().union(*(v.linear for v in found if isinstance(v, Running)))
        if not linear & inside:
            continue
        equations.append(equation)
        speaks = max(sorted(linear & frozenset(sites) or linear), key=lambda n: program.sites[n].size)
        for number in states(walk, equation):
            parts.append(Part(number, program.graph.shapes[number], first, speaks, True))
            first += parts[-1].size
    return tuple(parts), tuple(equations)


def parts_beside(program: Program, names: Iterable[str], first: int) -> tuple[Part, ...]:
    """The sites beside a chain, as parts that are numbered from `first` on."""
    out: list[Part] = []
    for name in names:
        out.append(Part(program.inputs[name], program.sites[name].shape, first, name))
        first += out[-1].size
    return tuple(out)


def write(program: Program, parts: Sequence[Part], equations: Iterable[Equation], touched: Sequence[str],
          visible: frozenset[str], origin: np.ndarray, points: Mapping[str, np.ndarray],
          moved: Mapping[int, Coordinates], variables: Variables | None = None, point: Variable | None = None) -> Written:
    """Walk the touched factors and all locations, the elements measured from `origin`, the sites beside the chain
    from `points`; recursions in `moved` in other coordinates, made of `variables`. With a `point` the elements are measured
    from that too, and what the model subtracts is one variable (`algebra/residual.py`)."""
    inside = frozenset(p.site for p in parts if not p.exact)
    walk = start_walk(program, inside | visible | points.keys(), points, True, variables, expanding=point is None)
    beside = []
    for name in points:
        (value,) = walk.run([program.inputs[name]])
        beside += [a.variable for t in value.terms for a in t.atoms if isinstance(a.variable, Latent)]
    # also where no site is in the chain its elements are no known numbers
    elements = Latent(BLOCK, len(origin), False, inside or frozenset(p.site for p in parts), "real")
    tokens = Variable("location", len(origin), False, frozenset())
    for p in parts:
        own = Value.of(elements, p.shape, p.first)
        if origin[p.own].any():
            own = add(own, Value.known(origin[p.own].reshape(p.shape)))
        if point is not None:
            own = add(own, Value.of(point, p.shape, p.first))
        walk.set(p.number, moved[p.number].back(walk, own) if p.number in moved else own)
    found = follow(walk, equations)
    terms = [t for v in walk.run([program.sites[n].factor for n in touched]) for t in v.terms]
    placed: list[Term] = []
    for p in parts:
        location = found[p.number] if p.exact else walk.run([program.sites[p.site].parameters["loc"]])[0]
        if p.number in moved:
            location = moved[p.number].forwards(walk, location)
        if origin[p.own].any():
            location = add(location, Value.known(-origin[p.own].reshape(location.shape)))
        if point is not None:
            location = add(location, Value.of(point, location.shape, p.first), -1)
        token = Value.of(tokens, location.shape, p.first)
        placed += reduce_sum(multiply(token, location), list(range(len(location.shape)))).terms
    check_coordinates([*terms, *placed], inside, elements, program.sites[parts[0].site].source)
    return Written(tuple(parts), moved, elements, tokens, tuple(beside), terms, tuple(placed), walk)


def follow(walk: Walk, equations: Iterable[Equation]) -> dict[int, Value]:
    """What recursions are computed from, by number, where the walk has values for their elements; what a loop
    carries in the end is set to what follows."""
    found: dict[int, Value] = {}
    for equation in equations:
        own = states(walk, equation)
        for number, v in zip((n for n in equation.outputs if n not in own), last(walk, equation), strict=True):
            walk.set(number, v)
        found.update(zip(own, locations(walk, equation), strict=True))
    return found


def variables_of(term: Term) -> set[Variable]:
    """The variables of a term."""
    return {a.variable for a in term.atoms}
