"""Rows that are spread over devices: the proof that a model's log density is a sum over them.

A model is written as equations twice, of all rows and of those in one place. Line by line it is proved how a
number of the first (`whole`) follows from those of the second (`part`), one in each place:

* EQUAL: it is the same number in all places;
* SUM: it is the sum of the parts;
* an axis: it is the parts one after the other along that axis.

Data that are spread are the last kind, latents the first; `row_rules.py` says what each primitive does to them. What
no rule covers is not related, and neither is what follows from it. Data are not looked at: a proof holds for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.additive.row_rules import EQUAL, RULES, SUM, Kind, Line, Unrelated, anything
from conjugate_ppl.graph import Equation, Graph

__all__ = ["EQUAL", "SUM", "Related"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Reason:
    """Why a number is not related."""

    text: str


class Related:
    """How the numbers of two graphs of the same equations are related.

    `axes` says along which axis a constant (by its number) is spread over the places, and `times` how many times as many
    rows there are as in `part`.
    """

    def __init__(self, whole: Graph, part: Graph, axes: Mapping[int, int], times: Fraction) -> None:
        self._whole, self._part, self._times = whole, part, times
        self._kinds: dict[int, Kind | _Reason] = dict.fromkeys(whole.inputs, EQUAL)
        self._axes = axes
        same = whole.inputs == part.inputs and len(whole.equations) == len(part.equations) and all(
            whole.shapes[n] == part.shapes[n] for n in whole.inputs)  # a flat prior says nothing of its size
        pairs = zip(whole.equations, part.equations, strict=True) if same else ()
        self._same = same and self._all(pairs)

    def kind(self, number: int) -> Kind:
        """How a number is related.

        Raises:
            Unrelated: if it is not proved to be in any of the ways.
        """
        if not self._same:
            raise Unrelated("a statement that is another one for fewer rows")
        found = self._look(number)
        if isinstance(found, _Reason):
            raise Unrelated(found.text)
        return found

    def equal(self, numbers: Iterable[int | None]) -> bool:
        """Whether all of some numbers are the same in all places."""
        return self._same and all(n is None or self._look(n) == EQUAL for n in numbers)

    def _all(self, pairs: Iterable[tuple[Equation, Equation]]) -> bool:
        """Go through pairs of equations; False once they are not the same ones."""
        for one, two in pairs:
            alike = (one.primitive, one.inputs, one.outputs, one.body_outputs, len(one.body)) == (
                two.primitive, two.inputs, two.outputs, two.body_outputs, len(two.body))
            if not alike or not self._all(zip(one.body, two.body, strict=True)):
                return False
            self._step(one, two)
        return True

    def _step(self, one: Equation, two: Equation) -> None:
        if one.body:
            kinds = [self._look(n) for n in one.body_outputs]
            self._kinds.update(zip(one.outputs, kinds, strict=True))
            return
        operands = [self._look(n) for n in one.inputs]
        found: Kind | _Reason
        failed = [k for k in operands if isinstance(k, _Reason)]
        where = f" ({one.source})" if one.source else ""
        try:
            found = failed[0] if failed else self._result(one, two, operands)
        except Unrelated as problem:
            found = _Reason(f"{problem}{where}")
        if failed and "(" not in failed[0].text:  # a constant, which has no line
            found = _Reason(failed[0].text + where)
        self._kinds.update(dict.fromkeys(one.outputs, found))

    def _result(self, one: Equation, two: Equation, kinds: list[Any]) -> Kind:
        """The kind of an equation's results, of which there is one kind."""
        zero = [n in self._part.constants and _is_zero(self._part.constants[n]) for n in one.inputs]
        line = Line(one.primitive, one.params, two.params, kinds, zero,
                    [self._whole.shapes[n] for n in one.inputs], [self._part.shapes[n] for n in one.inputs],
                    self._whole.shapes[one.outputs[0]], self._part.shapes[one.outputs[0]],
                    self._part.dtypes[one.outputs[0]], self._part.dtypes[one.inputs[0]] if one.inputs else None)
        found = RULES.get(one.primitive, anything)(line)
        for number in one.outputs:
            a, b = (list[int | Fraction](g.shapes[number]) for g in (self._whole, self._part))
            if isinstance(found, int):
                b[found] *= self._times
            if a != b or self._whole.dtypes[number] != self._part.dtypes[number]:
                raise Unrelated(f"`{one.primitive}`, whose result has another shape for fewer rows")
        return found

    def _look(self, number: int) -> Kind | _Reason:
        if number not in self._kinds:
            self._kinds[number] = self._axes.get(number, EQUAL) if number in self._axes else self._constant(number)
        return self._kinds[number]

    def _constant(self, number: int) -> Kind | _Reason:
        a, b = (g.constants.get(number) for g in (self._whole, self._part))
        if a is None or b is None or any(not _compat.is_concrete(x) or jnp.issubdtype(
                x.dtype, jax.dtypes.extended) for x in (a, b)):
            return _Reason("a number of another kind")
        if np.shape(a) == np.shape(b):
            return EQUAL if np.array_equal(a, b, equal_nan=True) else _Reason("the number of rows, as a number")
        return _Reason("an array that is not spread over the devices as the data are")


def _is_zero(value: Any) -> bool:
    return _compat.is_concrete(value) and np.shape(value) == () and not np.any(value)
