"""What is computed step by step, as elements of its own.

A running sum, or what a loop carries from step to step (`level = level + alpha * (y - level)`), is no sum of few
monomials: written out in the latents it has as many as there are pairs of steps. But where every step is affine in the
step before and in some latents, so are all of them, by induction, and they are a chain: the elements are kept as a
variable (`Running`) that says what it is affine in, and `locations` writes each as what it is computed from.

A loop of few steps that adds up many numbers from few latents (a polynomial by Horner's rule, a row of coefficients one
by one) had better be written out all the same: as a chain it would carry each of these numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.monomial import Unknown
from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Term, Value, is_known
from conjugate_ppl.algebra.value import add, joined, move
from conjugate_ppl.algebra.variables import Latent, Opaque, Variable

if TYPE_CHECKING:
    from conjugate_ppl.algebra.walk import Walk
    from conjugate_ppl.graph import Equation

__all__ = ["RECURSIONS", "Running", "last", "locations", "running", "states", "written_out"]

_STATE = "<state>"
"""The root of what is carried from step to step, while it is found out how it enters."""
_FEW, _MOST = 64, 1 << 25  # steps that are written out, and numbers that this takes
_MIXED = 1 << 14  # monomials that are not too many, be they sums of sums
_NOT_AFFINE = "`{}`, where it multiplies what is carried from step to step or has no closed form,"


@dataclasses.dataclass(frozen=True, eq=False)
class Running(Opaque):
    """Elements of a recursion that is affine in the sites `linear`."""

    linear: frozenset[str] = frozenset()


def _of_sum(walk: Walk, equation: Equation) -> list[Value]:
    """s[t] = s[t-1] + x[t]"""
    axis, reverse = equation.params["axis"], equation.params["reverse"]
    (x,), s = walk.run(equation.inputs), walk.value(equation.outputs[0])
    return [add(x, move(s, _shifted(s.shape, axis, reverse)))]


def _shifted(shape: tuple[int, ...], axis: int, reverse: bool = False) -> np.ndarray:
    """The numbers of the elements one step before, -1 for none."""
    number = np.moveaxis(numbered(shape), axis, 0)
    none = np.full_like(number[:1], -1)
    number = np.concatenate([number[1:], none] if reverse else [none, number[:-1]])
    return np.moveaxis(number, 0, axis)


def _of_loop(walk: Walk, equation: Equation) -> list[Value]:
    """What is carried before a step is what is carried after the one before; before the first, the start."""
    numbers = walk.graph.recursions[equation]
    out = []
    for a, s in zip(walk.run(numbers.after), walk.run(numbers.start), strict=True):
        begins = np.zeros(a.shape, bool)
        begins[:1] = True
        at = np.where(begins, numbered(a.shape[1:])[None], -1)
        out.append(joined(a.shape, [(begins, move(s, at)), (~begins, move(a, _shifted(a.shape, 0)))]))
    return out


RECURSIONS: dict[str, Callable[[Walk, Equation], list[Value]]] = {"cumsum": _of_sum, "scan": _of_loop}
"""Primitive name -> what each element is computed from: other elements, whose values the walk has, and more."""


def states(walk: Walk, equation: Equation) -> tuple[int, ...]:
    """The numbers of a recursion's elements."""
    found = walk.graph.recursions.get(equation)
    return equation.outputs if found is None else found.before


def locations(walk: Walk, equation: Equation) -> list[Value]:
    """What the elements of a recursion are computed from, for the values that the walk has for them."""
    return RECURSIONS[equation.primitive](walk, equation)


def last(walk: Walk, equation: Equation) -> list[Value]:
    """What a loop carries in the end, for the values that the walk has for its elements."""
    found = walk.graph.recursions.get(equation)
    after = [] if found is None else walk.run(found.after)
    return [move(a, numbered(a.shape)[-1]) for a in after]


def running(walk: Walk, equation: Equation, *operands: Any) -> list[Value]:
    """The results of a recursion as variables.

    Raises:
        Unknown: if it is affine in nothing that may be collapsed.
    """
    graph = walk.graph
    terms = _one_step(walk, equation)
    if equation.primitive == "scan":
        with contextlib.suppress(Unknown):
            return _written(walk, equation, terms)
    linear = _affine_in(terms, walk.candidates)
    if not linear:
        raise Unknown(_NOT_AFFINE.format(equation.primitive))
    roots = frozenset().union(*(x.roots for x in operands if isinstance(x, Value)))
    out = []
    for number in equation.outputs:
        shape = graph.shapes[number]
        variable = Running(f"{equation.primitive}#{number}", int(np.prod(shape)), False, roots, number,
                           _NOT_AFFINE.format(equation.primitive), equation, linear)
        out.append(Value.of(walk.variables.keep(("running", number), variable), shape))
    return out


def written_out(walk: Walk, equation: Equation, *operands: Any) -> list[Value]:
    """The results of a loop of few steps that computes many numbers from few latents, in these.

    Raises:
        Unknown: if it is no such loop.
    """
    return _written(walk, equation, _one_step(walk, equation))


def _written(walk: Walk, equation: Equation, terms: list[Term]) -> list[Value]:
    """The same for the terms of one step."""
    if not _is_short(walk, equation, terms):
        raise Unknown("")
    before = walk.graph.recursions[equation].before
    shapes = [walk.graph.shapes[n] for n in before]
    found = [Value.known(np.zeros(s)) for s in shapes]
    read = sum(np.unique(a.selection).size for t in terms for a in t.atoms if _STATE not in a.variable.roots)
    most = max((1 + read) * sum(map(math.prod, shapes)), _MIXED)  # each number as one sum over what is read
    for _ in range(shapes[0][0] + 1):  # after k rounds the first k are right
        inner = walk.beside(())
        for number, value in zip(before, found, strict=True):
            inner.set(number, value)
        found, end = locations(inner, equation), last(inner, equation)
        if sum(math.prod(v.shape) * math.prod(t.hidden) for v in found for t in v.terms) > most:
            raise Unknown("")  # numbers that are mixed with each other at every step are sums of sums
    return [*end, *found]


def _one_step(walk: Walk, equation: Equation) -> list[Term]:
    """What every element, and what is carried in the end, is computed from: monomials that may hold the state."""
    graph = walk.graph
    if equation.primitive == "scan" and equation not in graph.recursions:
        raise Unknown("a loop with side effects")
    if equation.primitive == "scan" and graph.within(equation):
        raise Unknown("a loop within a function that has a derivative of its own")
    inner = walk.beside({_STATE})
    for number in states(walk, equation):
        shape = graph.shapes[number]
        state = Variable(f"state#{number}", int(np.prod(shape)), False, frozenset({_STATE}))
        inner.set(number, Value.of(state, shape))
    return [t for v in (*locations(inner, equation), *last(inner, equation)) for t in v.terms]


def _is_short(walk: Walk, equation: Equation, terms: list[Term]) -> bool:
    """Whether a loop has few steps, in which the state is multiplied by known numbers alone, and carries more numbers
    than it reads elements."""
    shapes = [walk.graph.shapes[n] for n in states(walk, equation)]
    steps, width = shapes[0][0], sum(math.prod(s[1:]) for s in shapes)
    if not 0 < steps <= _FEW or steps**2 * width > _MOST:
        return False
    with_state = [t for t in terms if any(_STATE in a.variable.roots for a in t.atoms)]
    if not all(len(t.atoms) == 1 and t.atoms[0].power == 1 and t.atoms[0].variable.name.startswith("state#")
               and all(map(is_known, t.arrays)) for t in with_state):
        return False
    read = [a for t in terms for a in t.atoms if _STATE not in a.variable.roots]
    if any(isinstance(a.variable, Running) or not is_known(a.selection) for a in read):
        return False
    places = {v: [np.ravel(a.selection) for a in read if a.variable is v] for v in {a.variable for a in read}}
    return sum(len(np.unique(np.concatenate(p))) for p in places.values()) <= width


def _affine_in(terms: list[Term], candidates: frozenset[str]) -> frozenset[str]:
    """Sites of real numbers in which terms are affine, jointly with the state.

    Of sites that multiply each other the one with fewer elements counts as a coefficient.
    """
    sizes = {a.variable.name: a.variable.size for t in terms for a in t.atoms
             if isinstance(a.variable, Latent) and a.variable.support == "real"}
    sizes.update((n, 0) for t in terms for a in t.atoms if isinstance(a.variable, Running) for n in a.variable.linear)
    linear = frozenset(sizes) & candidates
    while True:
        wrong = next((x for x in (_wrong(t, linear) for t in terms) if x is not None), None)
        if wrong is None:
            return linear
        if not wrong & linear:
            raise Unknown("`scan`, which is not linear in what is carried from step to step,")
        linear -= {min(sorted(wrong & linear), key=lambda n: sizes[n])}


def _wrong(term: Term, linear: frozenset[str]) -> frozenset[str] | None:
    """The sites that make a term anything but affine; None if it is."""
    inside = [a for a in term.atoms if a.variable.roots & (linear | {_STATE})]
    for a in inside:
        v = a.variable
        plain = v.name.startswith("state#") or (isinstance(v, Latent) and v.support == "real") or (
            isinstance(v, Running) and v.roots & (linear | {_STATE}) <= v.linear)
        if not plain or a.power != 1:
            own = v.roots - v.linear if isinstance(v, Running) else v.roots
            return own - {_STATE} if _STATE not in own else frozenset()
    if len(inside) < 2:
        return None
    return frozenset().union(*(a.variable.roots for a in inside)) - {_STATE}
