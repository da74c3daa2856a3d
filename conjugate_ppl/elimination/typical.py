"""Typical values of what is kept, for choices that change no result but its rounding."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.algebra.reduce import Reduced, reduce_terms
from conjugate_ppl.algebra.runtime import OnHost, Values
from conjugate_ppl.algebra.term import Term, combine, is_known
from conjugate_ppl.algebra.value import contract
from conjugate_ppl.algebra.variables import Computed, Latent, Variable
from conjugate_ppl.gaussian.quadratic import Quadratic, quadratic
from conjugate_ppl.program import Program

__all__ = ["at_likely", "at_typical", "larger_scales", "typical", "unweighted"]

_LARGEST = 1e15  # a number that is likely
_FAR = 3.0  # standard deviations


def typical(program: Program) -> Values:
    """What priors find likely; where that is not known ones for what is positive, equal shares on a simplex, a half for what else
    there is."""
    return _Likely(program).values(program.inputs)


def unweighted(program: Program, terms: Sequence[Term], place: Callable[[Variable], int | None],
               larger: Mapping[Variable, np.ndarray] | None = None) -> Quadratic:
    """The quadratic of scalar terms, all weights taken for 1 where they may be (`at_typical`): rows add up then. What is `larger`
    than likely is so by factors."""
    if any(isinstance(a.variable, Computed) for t in terms for a in t.atoms):
        return at_typical(program, reduce_terms(terms, place))
    own = [dataclasses.replace(t, atoms=tuple(a for a in t.atoms if place(a.variable) is not None))
           for t in at_likely(program, terms, place, larger)]
    return quadratic(reduce_terms([contract(t) for t in own], place))


def at_likely(program: Program, terms: Sequence[Term], place: Callable[[Variable], int | None],
              larger: Mapping[Variable, np.ndarray] | None = None) -> list[Term]:
    """Terms of a quadratic in which what multiplies elements is a number, at values that priors find likely: it decides how large they
    are. What weights rows stays."""
    likely, weights = _Likely(program, larger or {}), _weights(terms, place)
    out = []
    for t in terms:
        there = [a for a in t.atoms if place(a.variable) is None and a.variable not in weights and is_known(a.selection)
                 and not isinstance(a.variable, Computed)]
        numbers = [likely.power(a.variable, a.power)[a.selection] for a in there]
        out.append(dataclasses.replace(t, coefficients=combine((*t.coefficients, *numbers)), atoms=tuple(
            a for a in t.atoms if a not in there)) if there else t)
    return out


def larger_scales(terms: Iterable[Term], elements: Variable, units: np.ndarray) -> dict[Variable, np.ndarray]:
    """Kept scales that are larger than likely, by which factors: `units` are by how many standard deviations of their priors the
    elements are away from their means (NaN where that is not known). What their prior says is a few."""
    squares: dict[Variable, np.ndarray] = {}
    counts: dict[Variable, np.ndarray] = {}
    known, found = np.isfinite(units), np.where(np.isfinite(units), units, 0.0) ** 2
    for t in terms:
        own = [a for a in t.atoms if a.variable is elements]
        scales = [a for a in t.atoms if isinstance(v := a.variable, Latent) and v.positive and is_known(a.selection)
                  and a.power == sum(e.power for e in own)]
        for a, e in itertools.product(scales, [e for e in own if is_known(e.selection)]):
            to, at = (x.reshape(-1) for x in np.broadcast_arrays(a.selection, e.selection))
            squares[a.variable] = squares.get(a.variable, 0.0) + np.bincount(to, found[at], a.variable.size)
            counts[a.variable] = counts.get(a.variable, 0.0) + np.bincount(to, known[at], a.variable.size)
    roots = {v: np.sqrt(x / np.maximum(counts[v], 1.0)) for v, x in squares.items()}
    return {v: np.where(x > _FAR, x, 1.0) for v, x in roots.items() if (x > _FAR).any()}


def _weights(terms: Iterable[Term], place: Callable[[Variable], int | None]) -> frozenset[Variable]:
    """What only weights rows, as the precision of their noise does: all terms that it is in, squares among them, have it to one power.
    What scales elements (`tau * z`), or multiplies what is subtracted from them (`a - S / k`), does not."""
    powers: dict[Variable, set[Fraction]] = {}
    of_squares: set[Variable] = set()
    for t in terms:
        own: dict[Variable, Fraction] = {}
        for a in t.atoms:
            if place(a.variable) is None:
                own[a.variable] = own.get(a.variable, Fraction(0)) + a.power
        for v, power in own.items():
            powers.setdefault(v, set()).add(power)
        if sum(a.power for a in t.atoms if place(a.variable) is not None) == 2:
            of_squares.update(own)
    return frozenset(v for v in of_squares if len(powers[v]) == 1)


class _Likely:
    """Values that priors find likely, those being likely that they depend on."""

    def __init__(self, program: Program, larger: Mapping[Variable, np.ndarray] | None = None) -> None:
        self._program = program
        self._larger = larger or {}
        self._sites: dict[str, np.ndarray] = {}
        self._variables: dict[Variable, np.ndarray] = {}

    def power(self, variable: Variable, power: Fraction) -> np.ndarray:
        """The elements of a variable to a power; 1 where that is not known, or not finite."""
        if variable not in self._variables:
            self._variables[variable] = self._elements(variable) * self._larger.get(variable, 1.0)
        with np.errstate(all="ignore"):
            x = self._variables[variable] ** float(power)
            size = np.abs(x)
            return np.where((size < _LARGEST) & ((size > 1 / _LARGEST) | (x == 0)), x, 1.0)

    def _elements(self, variable: Variable) -> np.ndarray:
        if isinstance(variable, Latent):
            x = self._site(variable.site)
        else:
            with _compat.eagerly():
                found = self.values(variable.roots & self._program.inputs.keys()).variable(variable)
            x = np.asarray(found, float) if _compat.is_concrete(found) else np.ones(variable.size)
        return x if x.any() else np.ones(variable.size)  # a coefficient of mean 0

    def values(self, names: Iterable[str]) -> Values:
        """The values of some sites."""
        graph, inputs = self._program.graph, self._program.inputs
        return Values(graph, inputs, {n: jnp.asarray(self._site(n).reshape(graph.shapes[inputs[n]]), graph.dtypes[inputs[n]])
                                      for n in names})

    def _site(self, name: str) -> np.ndarray:
        """A site, flat."""
        if name not in self._sites:
            site, shape = self._program.sites.get(name), self._program.graph.shapes[self._program.inputs[name]]
            support = site.support if site is not None else "other"
            one = {"positive": 1.0, "simplex": 1.0 / shape[-1] if shape else 1.0}.get(support, 0.5)
            x = self._sites[name] = np.full(math.prod(shape), one)  # for the steps of a loop, whose priors depend on others of the site
            if site is not None and site.likely is not None:
                with _compat.eagerly():
                    found = self.values(self._program.roots(site.likely)).evaluate(site.likely)
                if _compat.is_concrete(found):
                    found = np.broadcast_to(np.asarray(found, float), shape).reshape(-1)
                    x = np.where(np.isfinite(found) & ((found > 0) | (support != "positive")), found, x)
            self._sites[name] = x
        return self._sites[name]


def at_typical(program: Program, reduced: Reduced, evaluated: bool = False) -> Quadratic:
    """A quadratic in which all weights may be taken for 1.

    Those of positive variables are so of themselves. The elements of an inverse matrix only together make sense: where
    there are any, or if it is to be added to what is `evaluated` there, all weights are evaluated at typical values. Left as
    it is where that is no number.
    """
    q = quadratic(reduced)
    late = {degree: reduced.late.get(degree, ()) for degree in (1, 2)}
    variables = [v for signature, _ in reduced.weights.groups for v, _ in signature]
    variables += [a.variable for terms in late.values() for t in terms for a in t.term.atoms]
    if not evaluated and not any(isinstance(v, Computed) for v in variables):
        return q

    read = list(dict.fromkeys(a.variable for terms in late.values() for t in terms
                              for k, a in enumerate(t.term.atoms) if k not in t.slots))

    def compute() -> Any:
        values = typical(program)
        return reduced.weights.evaluate(values).whole, [values.variable(v) for v in read]

    with _compat.eagerly():
        omega, elements = jax.tree.map(np.asarray, _compat.compiled_quickly(compute)())
    # in double precision, so that a direction of which nothing is said is one
    host = OnHost(program.graph, dict(zip(read, elements, strict=True)))
    more = {k: [t.evaluate(host) for t in ts] for k, ts in late.items()}
    pairs, singles = [p for p, _ in more[2]], [p[0] for p, _ in more[1]]
    rows = np.concatenate([q.rows, *(i for p in pairs for i in p)])
    columns = np.concatenate([q.columns, *(i for p in pairs for i in p[::-1])])
    numbers = np.concatenate([q.numbers * omega[q.weights], *(-c for _, c in more[2] for _ in range(2))])
    linear = np.concatenate([q.linear * omega[q.linear_weights], *(c for _, c in more[1])])
    if not (np.isfinite(numbers).all() and np.isfinite(linear).all()):
        return q
    return dataclasses.replace(
        q, rows=rows, columns=columns, numbers=numbers.astype(float), weights=np.zeros(len(rows), np.int64),
        places=np.concatenate([q.places, *singles]), linear=linear.astype(float),
        linear_weights=np.zeros(len(linear), np.int64))
