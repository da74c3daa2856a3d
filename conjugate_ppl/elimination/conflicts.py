"""What must be proved of Gaussian sites before they are eliminated jointly.

Every factor that touches the block is a polynomial of degree two or less in its elements, every location
is affine in them, every scale is free of them, and squares come from densities. Those of `factor` statements
count where they are proved to make nothing more likely the farther out it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conjugate_ppl.algebra.reduce import reduce_terms
from conjugate_ppl.algebra.running import Running
from conjugate_ppl.algebra.term import Atom, Term, Value
from conjugate_ppl.algebra.variables import Latent
from conjugate_ppl.elimination.base import Declined, describe
from conjugate_ppl.elimination.proper import semidefinite
from conjugate_ppl.gaussian.quadratic import quadratic
from conjugate_ppl.program import Program

__all__ = ["block_degree", "conflicts"]

_MOST = 1 << 23  # numbers of the matrices of a `factor` statement


def block_degree(term: Term, sites: frozenset[str]) -> tuple[int, Atom | None]:
    """Degree in the elements of `sites`, and the first atom that is no such element."""
    degree = 0
    for atom in term.atoms:
        if not atom.variable.roots & sites:
            continue
        v = atom.variable
        plain = isinstance(v, Latent) or (isinstance(v, Running) and v.roots & sites <= v.linear)
        if not plain or atom.power not in (1, 2, 3, 4):
            return degree, atom
        degree += int(atom.power)
    return degree, None


def conflicts(program: Program, sites: frozenset[str], values: Mapping[str, Value],
              locations: Mapping[str, Value], scales: Mapping[str, Value]) -> list[Declined]:
    """What stands against eliminating `sites` jointly, worst first; empty if nothing does.

    `values` are the factors that touch the sites (their own priors left out), `locations` and `scales`
    the parameters of their priors.
    """
    found: list[Declined] = []
    products: list[tuple[int, Declined]] = []
    for name, value in values.items():
        owner = program.sites[name]
        bounded = owner.auxiliary and _bounded(program, value, sites)
        for term in value.terms:
            degree, odd = block_degree(term, sites)
            if odd is not None:
                for site in _culprits(odd, sites):
                    reason, source = describe(odd.variable, odd.power, site)
                    found.append(Declined(site, f"{reason} in `{name}`", source or owner.source))
            elif degree > 2:
                products.append((degree, _too_high(program, term, sites, name)))
            elif degree == 2 and owner.auxiliary and not bounded:
                for site in sorted(term.roots & sites):
                    found.append(Declined(site, f"its square enters the factor statement `{name}`, not "
                                          "proved to be bounded above",
                                          owner.source))
    # of (m + a b)^2 the square of a b says what multiplies what, m a b does not
    found += [problem for _, problem in sorted(products, key=lambda p: -p[0])]
    for name, value in locations.items():
        for term in value.terms:
            degree, odd = block_degree(term, sites)
            if odd is not None:
                for site in _culprits(odd, sites):
                    reason, source = describe(odd.variable, odd.power, site)
                    found.append(Declined(site, f"{reason} in the location of `{name}`",
                                          source or program.sites[name].source))
            elif degree > 1:
                found.append(_too_high(program, term, sites, name))
    for name, value in scales.items():
        for site in sorted(value.roots & sites):
            found.append(Declined(site, f"the scale of `{name}` depends on it",
                                  program.sites[name].source))
    return found


def _bounded(program: Program, value: Value, sites: frozenset[str]) -> bool:
    """Whether what is quadratic in a scalar is -z'Hz, H a sum of known semidefinite matrices with positive weights."""
    squares = [t for t in value.terms if block_degree(t, sites) == (2, None)]
    first: dict[str, int] = {}
    size = 0
    for name in sorted(sites & frozenset().union(*(t.roots for t in squares))):
        first[name] = size
        size += program.sites[name].size
    if not all(isinstance(a.variable, Latent) for t in squares for a in t.atoms if a.variable.roots & sites):
        return False
    q = quadratic(reduce_terms(squares, lambda v: first.get(v.name) if isinstance(v, Latent) else None))
    used, local = np.unique(q.weights, return_inverse=True)
    if not q.fixed or len(used) * size**2 > _MOST or not q.reduced.weights.where("", 1)[1][q.weights].all():
        return False
    table = np.zeros((len(used), size, size))
    np.add.at(table, (local.reshape(-1), q.rows, q.columns), q.numbers)
    return semidefinite(table)


def _culprits(atom: Atom, sites: frozenset[str]) -> list[str]:
    """The sites that an atom is not linear in."""
    v = atom.variable
    wrong = v.roots & sites - (v.linear if isinstance(v, Running) else frozenset())
    return sorted(wrong or v.roots & sites)


def _too_high(program: Program, term: Term, sites: frozenset[str], name: str) -> Declined:
    """Of sites that multiply each other the one with the fewest elements stays with the sampler."""
    inside = sorted(term.roots & sites, key=lambda s: (program.sites[s].size,
                                                       -list(program.sites).index(s)))
    source = program.sites[name].source
    if len(inside) == 1:
        return Declined(inside[0], f"it enters `{name}` to a power above two", source)
    others = " and ".join(f"`{s}`" for s in inside[1:])
    return Declined(inside[0], f"it multiplies {others} in `{name}`, and only one of them can be "
                    f"integrated out; {others} has more elements or comes first", source, inside[1:])
