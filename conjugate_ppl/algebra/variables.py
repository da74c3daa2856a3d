"""What monomials are made of: the latents, and what is computed from them elementwise.

A variable is a flat vector of elements. It knows which sites it depends on (`roots`), whether all of
its elements are positive by proof, and how to compute them from the values of the sites.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from conjugate_ppl.algebra.slopes import each
from conjugate_ppl.errors import InternalError

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values
    from conjugate_ppl.algebra.term import Value
    from conjugate_ppl.algebra.walk import Walk

__all__ = ["LOGARITHMS", "Chosen", "Complement", "Computed", "Condition", "Elementwise", "Exponential", "Indicator",
           "Latent", "Log", "LogSum", "Opaque", "Point", "Sum", "Variable"]

LOGARITHMS = ("log", "log1p")


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """A vector of `size` elements, computed from the sites in `roots`."""

    name: str
    size: int
    positive: bool
    roots: frozenset[str]

    def elements(self, values: Values) -> Any:
        """The elements, shape (size,), given the values of the sites.

        A plain variable stands for something that is bound before it is read (`Values.bound`).
        """
        raise InternalError(f"The elements of {self.name} are read before they are given.")

    def exponent(self, walk: Walk) -> Value | None:
        """Where each element is the exponential of something, that."""
        return None

    def exponents(self, values: Values) -> Any:
        """The same as numbers, shape (size,)."""
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class Latent(Variable):
    """The elements of one latent site, less a constant `origin` (zero unless it was moved).

    `cells` is the length of the site's last axis.
    """

    support: str = "real"
    origin: np.ndarray | None = None
    cells: int = 1

    @property
    def site(self) -> str:
        """The site's name."""
        return self.name

    def elements(self, values: Values) -> Any:
        flat = values.site(self.name).reshape(-1)
        return flat if self.origin is None else flat - values.number(self.origin)


@dataclasses.dataclass(frozen=True, eq=False)
class Point(Variable):
    """Finite numbers that may be bound at run time, and are zero if they are not."""

    def elements(self, values: Values) -> Any:
        return values.xp.zeros(self.size, values.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Indicator(Variable):
    """For each element of a discrete site and each of its `count` states, from `low` on: 1 in that state, else 0.

    If it is `never`, its coefficient says how often something was seen that is impossible in the state.
    """

    site: str
    low: int
    count: int
    never: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Opaque(Variable):
    """Something computed from sites in a way the algebra does not look into.

    `reason` and `equation` say what was in the way, for the explanation of a declined site.
    """

    number: int
    reason: str = ""
    equation: Any = None

    def elements(self, values: Values) -> Any:
        return values.evaluate(self.number).reshape(-1)

    def exponent(self, walk: Walk) -> Value | None:
        return walk.value(self.equation.inputs[0]) if self._exponential else None

    def exponents(self, values: Values) -> Any:
        return values.evaluate(self.equation.inputs[0]).reshape(-1) if self._exponential else None

    @property
    def _exponential(self) -> bool:
        return self.equation is not None and self.equation.primitive == "exp"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Opaque):
    """A sum of kept sites, `whole`, as one variable."""

    whole: Value


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Chosen(Opaque):
    """Some elements of an opaque variable: of a root the diagonal, whose logarithm has a derivative."""

    of: Variable
    places: np.ndarray

    _exponential = False

    def elements(self, values: Values) -> Any:
        return values.variable(self.of)[self.places]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LogSum(Opaque):
    """A logarithm (or `log1p`) of a sum with exponentials in it, which may be larger than any float."""

    inner: Value

    def elements(self, values: Values) -> Any:
        out = values.logarithm(self.equation.primitive, self.inner)
        return super().elements(values) if out is None else out.reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Condition(Variable):
    """Truth values computed from sites, as numbers 1 and 0; or 0 and 1 if it is `negated`.

    Its powers are what it is, and its product with its negation is 0.
    """

    number: int
    negated: bool

    def elements(self, values: Values) -> Any:
        return (values.evaluate(self.number).reshape(-1) != self.negated).astype(values.dtype)

    def excludes(self, other: Variable) -> bool:
        """Whether it is the negation of another variable."""
        return isinstance(other, Condition) and other.number == self.number and other.negated != self.negated


@dataclasses.dataclass(frozen=True, eq=False)
class Computed(Variable):
    """Elements computed by a Python function of the values: what an elimination leaves behind."""

    function: Callable[[Values], Any]

    def elements(self, values: Values) -> Any:
        return self.function(values).reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Elementwise(Variable):
    """A unary primitive applied to each element of `coefficient * base ** power`."""

    primitive: str
    base: Variable
    coefficient: float
    power: float
    equation: Any

    def exponents(self, values: Values) -> Any:
        if self.primitive != "exp":
            return None
        x = values.variable(self.base)
        return self.coefficient * (x if self.power == 1 else x**self.power)

    def elements(self, values: Values) -> Any:
        if self.primitive == "log1p" and self.coefficient > 0:
            exponents = self.base.exponents(values)
            if exponents is not None:
                return values.xp.logaddexp(np.log(self.coefficient) + self.power * exponents, 0.0)

        def function(x: Any) -> Any:
            x = self.coefficient * (x if self.power == 1 else x**self.power)
            if self.primitive != self.equation.primitive:
                return getattr(values.xp, self.primitive)(x)
            return self.equation.raw.primitive.bind(x, **self.equation.params)

        return each(function, values.variable(self.base))


@dataclasses.dataclass(frozen=True, eq=False)
class Exponential(Variable):
    """exp of a sum of monomials, in the sum's own order."""

    inner: Value
    equation: Any

    def elements(self, values: Values) -> Any:
        return values.xp.exp(self.exponents(values))

    def exponent(self, walk: Walk) -> Value:
        return self.inner

    def exponents(self, values: Values) -> Any:
        return values.value(self.inner).reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Log(Variable):
    """Natural logarithm of a positive variable."""

    base: Variable

    def elements(self, values: Values) -> Any:
        return each(values.xp.log, values.variable(self.base))


@dataclasses.dataclass(frozen=True, eq=False)
class Complement(Variable):
    """One minus a variable that lies between 0 and 1."""

    base: Variable

    def elements(self, values: Values) -> Any:
        return 1 - values.variable(self.base)


class Variables:
    """Makes each variable once, so that equal variables are the same object."""

    def __init__(self) -> None:
        self._made: dict[Any, Variable] = {}

    def once(self, key: tuple[Any, ...], make: Callable[[], Variable]) -> Variable:
        """The variable made under `key` before, or a new one."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def keep(self, key: tuple[Any, ...], variable: Variable) -> Variable:
        """The variable kept under `key` before, or this one."""
        return self._made.setdefault(key, variable)

    def log(self, base: Variable) -> Variable:
        """log(base)"""
        return self.once(("log", base),
                         lambda: Log(f"log {base.name}", base.size, False, base.roots, base))

    def complement(self, base: Variable) -> Variable:
        """1 - base"""
        if isinstance(base, Complement):
            return base.base
        return self.once(("complement", base), lambda: Complement(
            f"(1 - {base.name})", base.size, True, base.roots, base))
