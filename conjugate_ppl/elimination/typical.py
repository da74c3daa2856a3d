"""Typical values of what is kept, for choices that change no result but its rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
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

__all__ = ["at_typical", "typical", "unweighted"]


def typical(program: Program) -> Values:
    """Ones for what is positive, equal shares on a simplex, a half for what else there is."""
    values: dict[str, Any] = {}
    for name, number in program.inputs.items():
        site, shape = program.sites.get(name), program.graph.shapes[number]
        support = site.support if site is not None else "other"
        one = {"positive": 1.0, "simplex": 1.0 / shape[-1] if shape else 1.0}.get(support, 0.5)
        values[name] = jnp.full(shape, one).astype(program.graph.dtypes[number])
    return Values(program.graph, program.inputs, values)


def unweighted(program: Program, terms: Sequence[Term], place: Callable[[Variable], int | None]) -> Quadratic:
    """The quadratic of scalar terms, all weights taken for 1 where they may be (`at_typical`): rows add up then."""
    if any(isinstance(a.variable, Computed) for t in terms for a in t.atoms):
        return at_typical(program, reduce_terms(terms, place))
    likely: dict[str, np.ndarray] = {}
    own = [contract(_unweighted(program, t, place, likely)) for t in terms]
    return quadratic(reduce_terms(own, place))


def _unweighted(program: Program, term: Term, place: Callable[[Variable], int | None], found: dict[str, np.ndarray]) -> Term:
    """A term without its weights, but for what scales elements (`tau * z`), at a value that its prior finds likely: that decides
    how large they are."""
    out = dataclasses.replace(term, atoms=tuple(a for a in term.atoms if place(a.variable) is not None))
    for a in term.atoms:
        v = a.variable
        if isinstance(v, Latent) and place(v) is None and a.power > 0 and is_known(a.selection):
            one = _likely(program, v.site, found)[a.selection] ** float(a.power)
            out = dataclasses.replace(out, coefficients=combine((*out.coefficients, one)))
    return out


def _likely(program: Program, name: str, found: dict[str, np.ndarray]) -> np.ndarray:
    """What the prior of a site finds likely, flat, what it depends on being likely too; 1 where that is not known, or not positive."""
    if name not in found:
        site, graph = program.sites.get(name), program.graph
        found[name] = np.ones(int(np.prod(graph.shapes[program.inputs[name]])))
        if site is not None and site.likely is not None:
            above = {n: _likely(program, n, found).reshape(graph.shapes[program.inputs[n]]) for n in program.roots(site.likely)}
            inputs = {program.inputs[n]: jnp.asarray(x, graph.dtypes[program.inputs[n]]) for n, x in above.items()}
            with _compat.eagerly():
                (x,) = graph.evaluate([site.likely], inputs, {})
            if _compat.is_concrete(x):
                x = np.asarray(x, float).reshape(-1)
                found[name] = np.where(np.isfinite(x) & (x > 0), x, 1.0)
    return found[name]


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
