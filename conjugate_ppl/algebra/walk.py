"""The pass over a model's equations: every number becomes a known array or a sum of monomials.

Guarantee: the value returned for a number is equal to what JAX computes for it, at every value of the
latents. What no rule covers becomes an opaque variable that remembers what it depends on and why, so
that a pass always ends; whether a latent can be collapsed is judged afterwards, on the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.algebra.definite import symmetric
from conjugate_ppl.algebra.distinct import distinct
from conjugate_ppl.algebra.exact import constants
from conjugate_ppl.algebra.functions import UNARY, elementwise
from conjugate_ppl.algebra.host import HOST, JUMPS, known
from conjugate_ppl.algebra.linear import COMPLEX
from conjugate_ppl.algebra.matrices import inverse_of_scaled
from conjugate_ppl.algebra.monomial import Unknown
from conjugate_ppl.algebra.movement import MOVES, Unreadable, numbered
from conjugate_ppl.algebra.quotient import Quotient
from conjugate_ppl.algebra.residual import Residual
from conjugate_ppl.algebra.rules import RULES
from conjugate_ppl.algebra.running import RECURSIONS, running
from conjugate_ppl.algebra.simplex import is_probability
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import always_positive, move, never_negative
from conjugate_ppl.algebra.variables import (
    LOGARITHMS,
    Computed,
    Elementwise,
    Latent,
    LogSum,
    Opaque,
    Sum,
    Variable,
    Variables,
)
from conjugate_ppl.errors import InternalError
from conjugate_ppl.graph import Equation, Graph
from conjugate_ppl.triangular import inverse_triangular

__all__ = ["HIDDEN_NOISE", "Walk"]

_CHOOSE = ("gather", "dynamic_slice", "select_n")
# of operands that are positive (or not negative) the result is
_OF_POSITIVE = frozenset({"add", "add_any", "asinh", "atan", "broadcast_in_dim", "cbrt", "concatenate", "copy", "cumsum", "div",
                          "dot_general", "dynamic_slice", "erf", "expm1", "gather", "integer_pow", "log1p", "min", "mul", "pow",
                          "reduce_max", "reduce_sum", "reshape", "rsqrt", "select_n", "sinh", "slice", "sqrt", "square", "squeeze",
                          "tanh", "transpose"})
_OF_ANY = frozenset({"cosh", "erfc", "exp", "logistic"})  # positive whatever the operand is
_SINGLE = 4  # bytes of a float of single precision

HIDDEN_NOISE = "<hidden noise>"
"""The root of what a model draws without a sample site."""


class Walk:
    """One pass over `graph`.

    `inputs` gives the value of each graph input. `candidates` are the sites that must stay visible: what
    depends on none of them may be folded into one opaque array where that is smaller, and is with `folding`. With
    `in_steps`, recursions are variables of their own (`running.py`); without, running sums are written out. If it is `expanding`,
    what a model subtracts is not made one variable (`residual.py`), and if it is `adding` no sum of latents is.
    """

    def __init__(self, graph: Graph, inputs: Mapping[int, Value | np.ndarray], candidates: Iterable[str],
                 variables: Variables | None = None, in_steps: bool = False, folding: bool = False,
                 expanding: bool = False, adding: bool = False) -> None:
        self.graph = graph
        self.residuals: dict[int, list[Residual]] = {}  # by numbers of the graph
        self.expanding, self.adding = expanding, adding
        self.equation: Equation | None = None  # where the pass is
        self._signs: dict[Variable, bool] = {}
        self.assumed: dict[Variable, None] = {}  # not negative, or else the model's own density is NaN
        self.in_steps, self.folding = in_steps, folding
        self.candidates = frozenset(candidates)
        self.variables = variables or Variables()
        self._env: dict[int, Any] = dict(inputs)
        self._given: frozenset[int] = frozenset()  # inputs in whose place stands a known number, or what others make of one
        self._exactly: dict[int, Any] = {}  # known numbers as JAX computes them

    def run(self, numbers: Iterable[int]) -> list[Value]:
        """The values of `numbers` (always as `Value`, also where nothing is unknown)."""
        numbers = list(numbers)
        for equation in self.graph.missing(numbers, self._env):
            self._step(equation)
        return [self.value(n) for n in numbers]

    def beside(self, more: Iterable[str]) -> Walk:
        """Another walk that goes on from here, with more sites that stay visible."""
        out = Walk(self.graph, self._env, self.candidates | frozenset(more), self.variables, self.in_steps, self.folding,
                   self.expanding, self.adding)
        out._given = self._given
        return out

    def positive(self, variable: Variable) -> bool:
        """Whether no element of a variable can be negative, by proof: also of what is no weight, and may be 0."""
        if variable not in self._signs:
            self._signs[variable] = variable.positive or self._never_negative(variable)
        return self._signs[variable]

    def _never_negative(self, variable: Variable) -> bool:
        if isinstance(variable, Residual | Sum):
            return never_negative(variable.whole, self.positive) or is_probability(self, variable.whole)
        if isinstance(variable, Quotient):
            return all(never_negative(x, self.positive) for x in (variable.above, variable.below))
        if isinstance(variable, Elementwise):
            return variable.primitive in _OF_ANY or (
                variable.primitive in _OF_POSITIVE and variable.coefficient >= 0 and self.positive(variable.base))
        if not isinstance(variable, Opaque) or variable.equation is None:
            return False
        numbers = variable.equation.inputs
        return all(self.reached(n) or n in self.graph.constants for n in numbers) and _positive(
            variable.equation, [self._read(n) for n in numbers], lambda x: never_negative(x, self.positive))

    def reached(self, number: int) -> bool:
        """Whether a number has a value."""
        return number in self._env

    def set(self, number: int, value: Value) -> None:
        """Give the value of an input."""
        own: frozenset[str] = getattr(self._env.get(number), "roots", frozenset())
        self._env[number] = value
        if number in self.graph.inputs and (not value.roots or (own and own.isdisjoint(value.roots))):
            self._given |= self.graph.dependencies[number]

    def value(self, number: int) -> Value:
        """The value of a number that has been reached."""
        x = self._read(number)
        return x if isinstance(x, Value) else Value.known(x)

    def _read(self, number: int) -> Any:
        if number not in self._env:
            constant = self.graph.constants[number]
            numeric = _compat.is_concrete(constant) and not jax.numpy.issubdtype(constant.dtype, jax.dtypes.prng_key)
            self._env[number] = known(constant) if numeric else constant
        return self._env[number]

    def _step(self, equation: Equation) -> None:
        operands = [self._read(i) for i in equation.inputs]
        if _compat.is_random_primitive(equation.primitive):
            results = self._opaque(equation, "noise drawn without a sample site", HIDDEN_NOISE)
        elif not any(isinstance(x, Value) for x in operands):
            results = self._fold(equation, operands)
        else:
            results = self._symbolic(equation, operands)
        self._env.update(zip(equation.outputs, results, strict=True))

    def _fold(self, equation: Equation, operands: list[Any]) -> list[Any]:
        """All operands known: compute."""
        concrete = all(isinstance(x, np.ndarray) for x in operands)
        name = equation.primitive
        function = HOST.get(name) or MOVES.get(name)
        if concrete and function is not None and not self._rounds(equation):
            # what NumPy refuses, JAX itself knows how to take
            with np.errstate(all="ignore"), contextlib.suppress(
                    Unreadable, TypeError, ValueError, IndexError):
                return [known(function(equation.params, *operands))]
        if concrete:
            memo = self._exactly
            if any(self.graph.dependencies.get(n) for n in equation.outputs):  # on an input that is known here
                memo = {i: self._native(x, i) for i, x in zip(equation.inputs, operands, strict=True)}
            return [known(x) for x in constants(self.graph, equation.outputs, memo)]
        return self.graph.evaluate(equation.outputs, {}, {
            i: self._native(x, i) for i, x in zip(equation.inputs, operands, strict=True)})

    def _rounds(self, equation: Equation) -> bool:
        """Whether rounding in it is part of the model: it jumps, or makes floats of few digits."""
        def digits(number: int) -> int:
            dtype = self.graph.dtypes[number]
            return dtype.itemsize if jax.numpy.issubdtype(dtype, jax.numpy.floating) else 0

        made = min(map(digits, equation.outputs))  # 0 for whole numbers and truth values
        if any(map(digits, equation.inputs)) and (equation.primitive in JUMPS or not made):
            return True
        return 0 < made < _SINGLE

    def _native(self, x: Any, number: int) -> Any:
        return x.astype(self.graph.dtypes[number]) if isinstance(x, np.ndarray) else x

    def _symbolic(self, equation: Equation, operands: list[Any]) -> list[Any]:
        roots = frozenset().union(*(x.roots for x in operands if isinstance(x, Value)))
        # folding evaluates the equations themselves, which do not know what stands in an input's place
        hidden = not (roots & self.candidates) and not self._replaced(equation)
        if hidden and self.folding:
            return self._opaque(equation, "")
        if equation.body:
            if hidden:
                return self._opaque(equation, "")
            if equation.primitive in RULES:
                with contextlib.suppress(Unknown):
                    return list(RULES[equation.primitive](self, equation, *operands))
            for inner in equation.body:
                self._step(inner)
            return [self._read(n) for n in equation.body_outputs]
        if equation.primitive not in COMPLEX and any(
                jax.numpy.issubdtype(self.graph.dtypes[n], np.complexfloating) for n in (*equation.inputs, *equation.outputs)):
            return self._opaque(equation, f"`{equation.primitive}` of complex numbers")
        rule, self.equation = RULES.get(equation.primitive), equation
        reason = f"`{equation.primitive}`, for which there is no rule"
        if self.in_steps and not hidden and equation.primitive in RECURSIONS:
            try:
                return running(self, equation, *operands)
            except Unknown as error:
                reason = str(error)
        if rule is not None:
            try:
                out = rule(self, equation, *operands)
                results = out if isinstance(out, list) else [out]
                if hidden and any(_is_tangled(v) for v in results):
                    return self._opaque(equation, "")
                return results
            except Unknown as error:
                reason = str(error) or reason
        if equation.primitive in UNARY and len(operands) == 1:
            try:
                return [elementwise(self, equation, operands[0])]
            except Unknown:
                pass
        return self._opaque(equation, reason)

    def replaced(self, number: int) -> bool:
        """Whether a number depends on an input in whose place stands a known number, which the graph does not know of."""
        return bool(self.graph.dependencies.get(number, frozenset()) & self._given)

    def computable(self, number: int) -> bool:
        """Whether the graph can compute a number without the candidates, even if multiplied by 0, as it is here."""
        inputs = (self._read(self.graph.inputs[k]) for k in self.graph.dependencies.get(number, ()))
        return not self.replaced(number) and not any(isinstance(x, Value) and x.roots & self.candidates for x in inputs)

    def _replaced(self, equation: Equation) -> bool:
        return any(map(self.replaced, equation.outputs))

    def _opaque(self, equation: Equation, reason: str, *extra: str) -> list[Any]:
        if self._replaced(equation):
            raise InternalError(f"`{equation.primitive}` was taken for conjugate, and then could not be written about "
                                "a known point.")
        operands = [self._read(i) for i in equation.inputs]
        seen = frozenset(extra).union(*(x.roots for x in operands if isinstance(x, Value)))
        # what was multiplied by 0 on the way is no part of the operands, but is needed to compute them
        inputs = [self._read(self.graph.inputs[k]) for k in self.graph.dependencies.get(equation.outputs[0], ())]
        roots = seen.union(*(x.roots for x in inputs if isinstance(x, Value)))
        out = []
        for number in equation.outputs:
            shape = self.graph.shapes[number]
            positive = equation.primitive in ("exp", *_CHOOSE) and _positive(equation, operands)
            opaque = Opaque(f"{equation.primitive}#{number}", int(np.prod(shape)), positive, roots,
                            number, reason, equation)
            if equation.primitive in LOGARITHMS and isinstance(operands[0], Value) and not extra:
                opaque = LogSum(**vars(opaque), inner=operands[0])
            repeated = None if extra else distinct(self, equation, operands, opaque)
            out.append(repeated or Value.of(self.variables.keep(("opaque", number), opaque), shape))
        return out

    def rule(self, equation: Equation, operands: list[Any]) -> Any:
        """What the rule of an equation makes of other operands than its own."""
        if equation.primitive not in RULES:
            raise Unknown(f"`{equation.primitive}`, for which there is no rule")
        return RULES[equation.primitive](self, equation, *operands)

    def traced_movement(self, equation: Equation, x: Value, indices: tuple[Any, ...]) -> Value:
        """Data movement by indices that are known only at run time: the source map is traced too."""
        numbers = numbered(x.shape).astype(np.int32)
        mode = str(equation.params.get("mode", "")).upper()
        if "FILL" in mode:
            raise Unknown("a look-up by traced indices that may be out of range")
        params = dict(equation.params)
        (source,) = [equation.raw.primitive.bind(jax.numpy.asarray(numbers), *indices, **params)]
        return move(x, source)

    def triangular_inverse(self, equation: Equation, matrix: Any) -> Value:
        """The inverse of the triangular operand of an equation, known or as a variable."""
        p = equation.params
        lower, unit = p["lower"], p["unit_diagonal"]

        def inverse(array: np.ndarray) -> np.ndarray:
            part = np.tril(array) if lower else np.triu(array)
            if unit:
                part = part - part * np.eye(part.shape[-1]) + np.eye(part.shape[-1])
            return np.linalg.inv(part)

        if isinstance(matrix, np.ndarray):
            return Value.known(inverse(matrix))
        if not isinstance(matrix, Value):
            raise Unknown("solving with a traced matrix")
        if matrix.roots & self.candidates:
            if unit:
                raise Unknown("solving with a matrix that depends on the latent")
            return inverse_of_scaled(self, matrix, inverse)
        number = equation.inputs[0]

        def compute(values: Any) -> Any:
            return inverse_triangular(values.evaluate(number), lower, unit)

        def make() -> Variable:
            return Computed(f"inverse#{number}", int(np.prod(matrix.shape)), False, matrix.roots,
                            compute)

        return Value.of(self.variables.once(("inverse", number, lower, unit), make), matrix.shape)


def _positive(equation: Equation, operands: list[Any], proved: Callable[[Value], bool] = always_positive) -> bool:
    """Whether the result of an equation is positive, by what is `proved` of its operands."""
    name = equation.primitive
    if name in _OF_ANY:
        return True
    if name == "gather" and equation.params.get("fill_value") is not None:
        return False
    chosen = operands[1:] if name == "select_n" else operands[:1] if name in ("gather", "dynamic_slice") else operands
    values = [x if isinstance(x, Value) else Value.known(x) for x in chosen]
    if _compat.calls(equation.raw, jax.numpy.logaddexp):  # more than the larger of both
        return any(map(never_negative, values))
    return any(map(proved, values)) if name == "max" else name in _OF_POSITIVE and all(map(proved, values))


def _is_tangled(value: Value) -> bool:
    """Whether a value sums over products: smaller as one array than as monomials."""
    return any(t.hidden and (len(t.atoms) > 1 or any(a.power != 1 for a in t.atoms))
               for t in value.terms)


def latent_value(site: str, shape: tuple[int, ...], support: str, variables: Variables,
                 origin: np.ndarray | None = None) -> Value:
    """A site as a value: its elements, each less an origin where one is given."""
    key = ("latent", site) if origin is None else ("latent", site, origin.tobytes())
    at = support if origin is None else "real"  # less a number it may be anywhere
    variable = variables.once(key, lambda: Latent(
        site, int(np.prod(shape)), at in ("positive", "unit", "simplex"), frozenset({site}),
        at, None if origin is None else origin.reshape(-1), shape[-1] if shape else 1))
    value = Value.of(variable, shape)
    if support == "positive definite":
        value = move(Value.of(variable, (variable.size,)), symmetric(shape))
    if origin is None:
        return value
    known_part = Value.known(origin.reshape(shape))
    return Value(shape, known_part.terms + value.terms)
