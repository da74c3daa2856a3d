"""What each primitive does to rows that lie in several places.

A rule is told how the operands follow from their parts in each place (`rows.py`), and says how the result does,
or raises `Unrelated`. Shapes of results are compared afterwards, for all primitives.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.primitives import ELEMENTWISE

__all__ = ["EQUAL", "RULES", "SUM", "Kind", "Line", "Unrelated", "anything"]

EQUAL, SUM = "equal", "sum"
Kind = int | str
"""An axis, EQUAL or SUM."""


class Unrelated(Exception):
    """Nothing is proved of a number; the message says what stands in the way."""


@dataclasses.dataclass(frozen=True)
class Line:
    """An equation of all rows and the same one of a part, and the kinds of its operands.

    `zero` says which operands are the number 0; `into` and `out_of` are the types of the result and of the first
    operand.
    """

    primitive: str
    whole: Mapping[str, Any]
    part: Mapping[str, Any]
    kinds: Sequence[Kind]
    zero: Sequence[bool]
    shapes: Sequence[tuple[int, ...]]
    part_shapes: Sequence[tuple[int, ...]]
    result: tuple[int, ...]
    part_result: tuple[int, ...]
    into: Any
    out_of: Any

    @property
    def equal(self) -> bool:
        """Whether all operands and parameters are the same in all places."""
        return all(k == EQUAL for k in self.kinds) and self.same(*self.whole)

    def same(self, *names: str) -> bool:
        """Whether parameters of these names are."""
        return self.whole.keys() == self.part.keys() and all(
            _same(self.whole[n], self.part[n]) for n in names if n in self.whole)

    def axis(self, *, of: int = 0) -> int:
        """The axis of rows of an operand that is the only one to have rows."""
        k = self.kinds[of]
        if not isinstance(k, int) or any(x != EQUAL for j, x in enumerate(self.kinds) if j != of):
            raise _refused(self)
        return k

    def full(self, axis: int, name: str) -> bool:
        """Whether sizes of slices take all of an axis, and are the same elsewhere."""
        a, b = list(self.whole[name]), list(self.part[name])
        full = a[axis] == self.shapes[0][axis] and b[axis] == self.part_shapes[0][axis]
        del a[axis], b[axis]
        return full and a == b


def _refused(line: Line) -> Unrelated:
    """What to raise where nothing is proved."""
    if all(k == EQUAL for k in line.kinds):
        return Unrelated(f"`{line.primitive}`, which counts the rows")
    return Unrelated(f"`{line.primitive}` of numbers from different rows")


def _same(a: Any, b: Any) -> bool:
    if hasattr(_compat.open_jaxpr(a), "eqns"):  # the body of a loop
        ours, theirs = _compat.constants_of(a), _compat.constants_of(b)
        return str(a) == str(b) and len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(a, (tuple, list)):
        return isinstance(b, (tuple, list)) and len(a) == len(b) and all(map(_same, a, b))
    if hasattr(a, "dtype") and hasattr(a, "shape"):
        return _compat.is_concrete(a) and _compat.is_concrete(b) and bool(np.array_equal(a, b))
    return bool(a == b) or (a != a and b != b)  # NaN is what is filled in


def anything(line: Line) -> Kind:
    """A function of equal numbers is equal."""
    if not line.equal:
        raise _refused(line)
    return EQUAL


def _elementwise(line: Line) -> Kind:
    if line.equal:
        return EQUAL
    axes = {k for k in line.kinds if isinstance(k, int)}
    if len(axes) != 1 or SUM in line.kinds or not line.same(*line.whole):
        raise _refused(line)
    return axes.pop()


def _linear(line: Line) -> Kind:
    """Of numbers that add up: a sum of two, and one less another."""
    if SUM not in line.kinds:
        return _elementwise(line)
    if any(k != SUM and not zero for k, zero in zip(line.kinds, line.zero, strict=True)):
        raise Unrelated(f"`{line.primitive}` of a sum over rows and a number that is none")
    return SUM


def _bilinear(line: Line) -> Kind:
    """Of two numbers one of which may be a sum."""
    if SUM not in line.kinds:
        return _elementwise(line)
    whole = not np.issubdtype(line.into, np.floating)  # whose division is not linear
    if list(line.kinds).count(SUM) > 1 or any(isinstance(k, int) for k in line.kinds) or (
            line.primitive == "div" and (line.kinds[1] == SUM or whole)):
        raise Unrelated(f"`{line.primitive}` of sums over rows")
    return SUM


def _converted(line: Line) -> Kind:
    """Sums of whole numbers may overflow elsewhere than their parts."""
    if SUM in line.kinds and not np.issubdtype(line.out_of, np.floating):
        raise Unrelated("a sum of whole numbers over rows, taken for a real number")
    return _linear(line)


def _moved(rule: Callable[[Line, int], int]) -> Callable[[Line], Kind]:
    """For a primitive that moves elements of its first operand, or works on some of its axes: `rule` says
    where an axis of rows goes. Sums of sums are sums."""
    def of(line: Line) -> Kind:
        if line.equal:
            return EQUAL
        if line.kinds[0] == SUM and all(k == EQUAL for k in line.kinds[1:]) and line.same(*line.whole) and (
                line.primitive in _LINEAR_MOVES):
            return SUM
        return rule(line, line.axis())
    return of


_LINEAR_MOVES = frozenset({"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "rev", "slice", "copy"})


def _broadcast(line: Line) -> Kind:
    dims = line.whole["broadcast_dimensions"]
    if not line.same("broadcast_dimensions"):
        raise _refused(line)
    if line.kinds[0] != EQUAL or line.equal:
        return _moved(lambda line, k: int(dims[k]))(line)
    longer = [d for d, (a, b) in enumerate(zip(line.result, line.part_result, strict=True)) if a != b]
    if len(longer) != 1:
        raise _refused(line)
    (axis,) = longer
    if axis in dims and line.shapes[0][list(dims).index(axis)] != 1:
        raise _refused(line)
    return axis


def _reshaped(line: Line, k: int) -> int:
    before = math.prod(line.shapes[0][:k])
    if line.whole["dimensions"] is not None or line.part["dimensions"] is not None:
        raise _refused(line)
    for d, (a, b) in enumerate(zip(line.result, line.part_result, strict=True)):
        # rows in one piece, in C order: behind axes of size 1, or the axis as it was
        if math.prod(line.result[:d]) == before and a != b and (before == 1 or a == line.shapes[0][k]):
            return d
    raise _refused(line)


def _kept(names: str) -> Callable[[Line, int], int]:
    """Work along some axes that stay; not along the rows."""
    def rule(line: Line, k: int) -> int:
        along = line.whole[names]
        if not line.same(*line.whole) or k in (along if isinstance(along, tuple) else (along,)):
            raise _refused(line)
        return k
    return rule


def _without(name: str) -> Callable[[Line, int], int]:
    """Some axes go, which are not that of rows."""
    def rule(line: Line, k: int) -> int:
        axes = line.whole[name]
        if k in axes or not line.same(name):
            raise _refused(line)
        return k - sum(bool(a < k) for a in axes)
    return rule


def _permuted(line: Line, k: int) -> int:
    if not line.same("permutation"):
        raise _refused(line)
    return int(list(line.whole["permutation"]).index(k))


def _sum(line: Line) -> Kind:
    k = line.kinds[0]
    if line.same("axes") and (k == SUM or (isinstance(k, int) and k in line.whole["axes"])):
        return SUM
    return _moved(_without("axes"))(line)


def _sliced(line: Line, k: int) -> int:
    strides = line.whole["strides"]
    if line.whole["start_indices"][k] or not line.full(k, "limit_indices") or not line.same(
            "start_indices", "strides") or (strides and strides[k] != 1):
        raise _refused(line)
    return k


def _sliced_at(line: Line, k: int) -> int:
    if not line.full(k, "slice_sizes"):
        raise _refused(line)
    return k


def _concatenated(line: Line) -> Kind:
    if line.equal:
        return EQUAL
    axes = set(line.kinds)
    if len(axes) != 1 or not line.same("dimension") or line.whole["dimension"] in axes or SUM in axes:
        raise _refused(line)
    return axes.pop()


def _padded(line: Line, k: int) -> int:
    if any(line.whole["padding_config"][k]) or not line.same("padding_config"):
        raise _refused(line)
    return k


def _iota(line: Line) -> Kind:
    longer = [d for d, (a, b) in enumerate(zip(line.result, line.part_result, strict=True)) if a != b]
    if not longer and line.same("dimension"):
        return EQUAL
    if len(longer) != 1 or line.whole["dimension"] in longer or not line.same("dimension"):
        raise Unrelated("the numbers of the rows (`arange`)")
    return longer[0]


def _gather(line: Line) -> Kind:
    if line.equal:
        return EQUAL
    if not line.same("dimension_numbers", "mode", "fill_value"):
        raise _refused(line)
    d, (x, at) = line.whole["dimension_numbers"], line.kinds
    batched = tuple(getattr(d, "operand_batching_dims", ()))
    beside = tuple(getattr(d, "start_indices_batching_dims", ()))
    batch = [a for a in range(len(line.result)) if a not in d.offset_dims]
    paired = (x in batched and at == beside[batched.index(x)]) if isinstance(x, int) else False
    if isinstance(at, int) and (x == EQUAL or paired) and at < len(line.shapes[1]) - 1 and line.same("slice_sizes"):
        return batch[at]
    if isinstance(x, int) and at == EQUAL and x not in d.start_index_map and line.full(x, "slice_sizes"):
        own = [a for a in range(len(line.shapes[0])) if a not in (*d.collapsed_slice_dims, *batched)]
        if x in own:
            return int(d.offset_dims[own.index(x)])
    raise _refused(line)


def _dot(line: Line) -> Kind:
    if line.equal:
        return EQUAL
    if not line.same("dimension_numbers"):
        raise _refused(line)
    if SUM in line.kinds:
        return _bilinear(line)
    (summed, paired) = line.whole["dimension_numbers"]
    where = []
    for k, own, batch, shape in zip(line.kinds, summed, paired, line.shapes, strict=True):
        free = [a for a in range(len(shape)) if a not in (*own, *batch)]
        where.append(None if not isinstance(k, int) else ("summed", own.index(k)) if k in own
                     else ("paired", batch.index(k)) if k in batch else ("free", free.index(k)))
    one, two = where
    if one is not None and one == two and one[0] != "free":
        return SUM if one[0] == "summed" else one[1]
    first = len(paired[0])
    if two is None and one is not None and one[0] == "free":
        return first + one[1]
    if one is None and two is not None and two[0] == "free":
        return first + len(line.shapes[0]) - len(summed[0]) - first + two[1]
    raise _refused(line)


def _matrices(line: Line) -> Kind:
    """Of one matrix, or several, in the last two axes."""
    if line.equal:
        return EQUAL
    axes = set(line.kinds)
    k = axes.pop()
    if axes or not isinstance(k, int) or not line.same(*line.whole) or k >= len(line.result) - 2:
        raise _refused(line)
    return k


Rule = Callable[[Line], Kind]
RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(("add", "sub", "add_any", "neg", "copy", "stop_gradient"), _linear),
    **dict.fromkeys(("mul", "div"), _bilinear),
    "convert_element_type": _converted,
    "broadcast_in_dim": _broadcast,
    "reshape": _moved(_reshaped),
    "squeeze": _moved(_without("dimensions")),
    "transpose": _moved(_permuted),
    "rev": _moved(_kept("dimensions")),
    "slice": _moved(_sliced),
    "dynamic_slice": _moved(_sliced_at),
    "pad": _moved(_padded),
    "concatenate": _concatenated,
    "iota": _iota,
    "gather": _gather,
    "dot_general": _dot,
    "reduce_sum": _sum,
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin"),
                    _moved(_without("axes"))),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _moved(_kept("axis"))),
    "cholesky": _matrices,
    "triangular_solve": _matrices,
}
"""Primitive name -> how its result follows from the parts."""
