"""A model's jaxpr as one flat list of equations between numbered values.

Calls are inlined, so that a value deep inside a `jit` has a number like any other; a function with
a derivative of its own (linear solves are such) stays one equation that also lists its body, because its
*value* is proved from the body while JAX evaluates it with the author's rule. A loop over latents becomes a map over its
steps where it is one (`loops.py`); a recursion stays a loop, of which it is also written down what is carried after
each step as a function of what is carried before it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.loops import after_each, as_map
from conjugate_ppl.primitives import SPREADING

__all__ = ["Apply", "Equation", "Graph", "Recursion"]


@dataclasses.dataclass(frozen=True, eq=False)
class Equation:
    """One primitive applied to numbered values.

    `body` and `body_outputs` are set for a function with a custom derivative: its equations, over
    the same numbering, and the numbers of its results.
    """

    primitive: str
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    raw: Any
    body: tuple[Equation, ...] = ()
    body_outputs: tuple[int, ...] = ()

    @property
    def source(self) -> str:
        """`file.py:12`, the user's own line behind this equation, or ""."""
        return _compat.source_line(self.raw)


Apply = Callable[[Equation, Sequence[Any]], list[Any]]
"""Runs an equation on operands."""


class Recursion(NamedTuple):
    """A loop that stays one, by numbers: what is carried at the start, before every step, and, computed from
    that, after every step."""

    start: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


class Graph:
    """The flat form of a jaxpr.

    `constants` maps a number to its array, `inputs` and `outputs` list numbers, `shapes` and
    `dtypes` cover every number. `recursions` belong to equations.
    """

    def __init__(self, closed: Any) -> None:
        jaxpr = _compat.open_jaxpr(closed)
        self._jaxpr = jaxpr
        self.constants: dict[int, Any] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.dtypes: dict[int, np.dtype[Any]] = {}
        self.recursions: dict[Equation, Recursion] = {}
        self._count = 0
        self.effects = bool(jaxpr.effects)
        env: dict[Any, int] = {}
        self.inputs = tuple(self._number(v, env) for v in jaxpr.invars)
        self._live = set(self.inputs)  # numbers that depend on inputs
        self._bind_constants(jaxpr, _compat.constants_of(closed), env)
        equations: list[Equation] = []
        self._flatten(jaxpr.eqns, env, equations)
        self.equations = tuple(equations)
        self.outputs = tuple(self._read(v, env) for v in jaxpr.outvars)
        self._producer: dict[int, Equation] = {}
        self._index(self.equations)
        self._place = {e: k for k, e in enumerate(self.equations)}

    # -- building -----------------------------------------------------------------------------

    def _number(self, variable: Any, env: dict[Any, int]) -> int:
        number = self._count
        self._count += 1
        env[variable] = number
        self.shapes[number] = tuple(variable.aval.shape)
        self.dtypes[number] = _dtype(variable)
        return number

    def _constant(self, value: Any) -> int:
        number = self._count
        self._count += 1
        self.constants[number] = value
        self.shapes[number] = tuple(np.shape(value))
        self.dtypes[number] = value.dtype if hasattr(value, "dtype") else np.result_type(value)
        return number

    def _read(self, variable: Any, env: dict[Any, int]) -> int:
        if isinstance(variable, _compat.Literal):
            return self._constant(np.asarray(variable.val, dtype=_dtype(variable)))
        return env[variable]

    def _bind_constants(self, jaxpr: Any, values: Sequence[Any], env: dict[Any, int]) -> None:
        for variable, value in zip(jaxpr.constvars, values, strict=True):
            env[variable] = self._constant(value)

    def _flatten(self, eqns: Iterable[Any], env: dict[Any, int], out: list[Equation]) -> None:
        for eqn in eqns:
            self.effects = self.effects or bool(getattr(eqn, "effects", ()))
            inputs = tuple(self._read(v, env) for v in eqn.invars)
            solver = _compat.solver_of(eqn)
            found = (solver[0], True) if solver else _compat.body_of(eqn) or self._mapped(eqn, inputs)
            if found is None or self._made_of_scalars(eqn, inputs):
                outputs = self._results(eqn, inputs, env)
                out.append(Equation(eqn.primitive.name, eqn.params, inputs, outputs, eqn))
                self._write_steps(out)
                continue
            body, custom = found
            inner = _compat.open_jaxpr(body)
            given = [inputs[k] for k in solver[1]] if solver else inputs
            inner_env = dict(zip(inner.invars, given, strict=True))
            self._bind_constants(inner, _compat.constants_of(body), inner_env)
            if not custom:
                self._flatten(inner.eqns, inner_env, out)
                for variable, source in zip(eqn.outvars, inner.outvars, strict=True):
                    env[variable] = self._read(source, inner_env)
                continue
            steps: list[Equation] = []
            self._flatten(inner.eqns, inner_env, steps)
            results = tuple(self._read(v, inner_env) for v in inner.outvars)
            outputs = self._results(eqn, inputs, env)
            out.append(Equation(eqn.primitive.name, eqn.params, inputs, outputs, eqn,
                                tuple(steps), results))

    def _made_of_scalars(self, eqn: Any, inputs: Sequence[int]) -> bool:
        """Whether an equation is a call that makes arrays from known scalars alone, as that of `linspace`. JAX compiles a call as
        a whole, and rounds once where two operations would each by themselves."""
        return (_compat.is_call(eqn) and len(inputs) > 0 and not self._from_inputs(inputs)
                and not any(self.shapes[n] for n in inputs) and any(v.aval.shape for v in eqn.outvars)
                and not any(map(_compat.is_random_primitive, _compat.primitives_of(eqn))))

    def _results(self, eqn: Any, inputs: Sequence[int], env: dict[Any, int]) -> tuple[int, ...]:
        outputs = tuple(self._number(v, env) for v in eqn.outvars)
        if self._from_inputs(inputs):
            self._live.update(outputs)
        return outputs

    def _mapped(self, eqn: Any, inputs: Sequence[int]) -> tuple[Any, bool] | None:
        """The body of a loop over latents that is a map, as that of a call."""
        loop = _compat.loop_of(eqn)
        if loop is None or not self._from_inputs(inputs):
            return None
        run = as_map(loop, Graph(loop.body))
        if run is None:
            return None
        return _compat.make_jaxpr(run, *(jax.ShapeDtypeStruct(self.shapes[i], self.dtypes[i])
                                         for i in inputs)), False

    def _write_steps(self, out: list[Equation]) -> None:
        """Add what is carried after every step of the last equation, if it is a recursion."""
        equation = out[-1]
        loop = _compat.loop_of(equation.raw)
        if loop is None or not self._from_inputs(equation.inputs):
            return
        before = equation.outputs[loop.carries:]
        read = equation.inputs[loop.constants + loop.carries:]
        taken = (*equation.inputs[: loop.constants], *before, *read)
        body = _compat.make_jaxpr(after_each(loop), *(
            jax.ShapeDtypeStruct(self.shapes[i], self.dtypes[i]) for i in taken))
        inner = _compat.open_jaxpr(body)
        env = dict(zip(inner.invars, taken, strict=True))
        self._bind_constants(inner, _compat.constants_of(body), env)
        self._flatten(inner.eqns, env, out)
        start = equation.inputs[loop.constants: loop.constants + loop.carries]
        self.recursions[equation] = Recursion(start, before, tuple(self._read(v, env) for v in inner.outvars))

    def _from_inputs(self, numbers: Sequence[int]) -> bool:
        return not self._live.isdisjoint(numbers)

    def _index(self, equations: Iterable[Equation]) -> None:
        for equation in equations:
            for number in equation.outputs:
                self._producer[number] = equation
            self._index(equation.body)

    def with_constants(self, values: Mapping[int, Any]) -> Graph:
        """The same equations with other values of some constants."""
        out = copy.copy(self)
        out.__dict__.pop("traced", None)
        out.constants = {**self.constants, **values}
        return out

    # -- reading ------------------------------------------------------------------------------

    @functools.cached_property
    def noise(self) -> frozenset[int]:
        """The numbers that are drawn without a sample site."""
        return frozenset(n for e in self.equations if _compat.is_random_primitive(e.primitive) for n in e.outputs)

    @functools.cached_property
    def dependencies(self) -> dict[int, frozenset[int]]:
        """Which inputs (as positions) every top-level number depends on."""
        deps: dict[int, frozenset[int]] = {n: frozenset({k}) for k, n in enumerate(self.inputs)}
        nothing: frozenset[int] = frozenset()
        for equation in self.equations:
            union = nothing.union(*(deps.get(i, nothing) for i in equation.inputs))
            for number in equation.outputs:
                deps[number] = union
        return deps

    @functools.cached_property
    def traced(self) -> frozenset[int]:
        """The numbers that are computed from traced data, so that they are not known."""
        found = {n for n, c in self.constants.items() if not _compat.is_concrete(c)}

        def look(equations: Iterable[Equation]) -> None:
            for equation in equations:
                look(equation.body)
                if not found.isdisjoint((*equation.inputs, *equation.body_outputs)):
                    found.update(equation.outputs)

        if found:
            look(self.equations)
        return frozenset(found)

    def needed_for(self, numbers: Iterable[int]) -> set[int]:
        """Every number that `numbers` are computed from, themselves included (bodies too)."""
        seen: set[int] = set()
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            equation = self._producer.get(number)
            if equation is not None:
                stack.extend(equation.inputs)
        return seen

    def missing(self, numbers: Iterable[int], known: Mapping[int, Any]) -> list[Equation]:
        """The equations that are needed for `numbers`, in order, where some numbers are known."""
        found: set[int] = set()
        seen: set[int] = set()
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number in seen or number in known:
                continue
            seen.add(number)
            equation = self._producer.get(number)
            if equation is not None:
                stack.extend(equation.inputs)
                if equation in self._place:
                    found.add(self._place[equation])
        return [self.equations[k] for k in sorted(found)]

    def constant(self, numbers: Sequence[int], memo: dict[int, Any], apply: Apply | None = None) -> list[Any]:
        """The values of numbers that depend on constants alone, as JAX computes them."""
        with _compat.eagerly():
            return self.evaluate(numbers, {}, memo, apply)

    def has(self, primitives: Collection[str]) -> bool:
        """Whether some equation is one of these primitives, or runs one in a body or a branch."""
        return any(name in primitives for e in self.equations for name in _compat.primitives_of(e.raw))

    @functools.cached_property
    def _readers(self) -> dict[int, list[Equation]]:
        found: dict[int, list[Equation]] = {}
        for equation in self.equations:
            for number in equation.inputs:
                found.setdefault(number, []).append(equation)
        return found

    def spreads(self, number: int) -> bool:
        """Whether all that is computed from a number is NaN where one of its elements is."""
        seen, todo = {number}, [number]
        while todo:
            for equation in self._readers.get(todo.pop(), ()):
                floats = all(np.issubdtype(self.dtypes[n], np.floating) for n in equation.outputs)
                if equation.primitive not in SPREADING or not floats or equation.params.get("y") == 0:
                    return False
                todo += [n for n in equation.outputs if n not in seen]
                seen.update(equation.outputs)
        return True

    def producer(self, number: int) -> Equation:
        """The equation that a number is a result of."""
        return self._producer[number]

    def within(self, equation: Equation) -> bool:
        """Whether an equation is one of a function with a custom derivative."""
        return equation not in self._place

    def maker(self, number: int) -> Equation | None:
        """The same; None for inputs and constants."""
        return self._producer.get(number)

    def summands(self, number: int) -> int:
        """The array that a number is the sum of, as far as it is one."""
        while (maker := self.maker(number)) is not None and maker.primitive in ("reduce_sum", "reshape", "squeeze", "copy"):
            number = maker.inputs[0]
        return number

    def origin(self, number: int, index: np.ndarray) -> tuple[int, np.ndarray]:
        """Where the elements `index` of a number, flattened, are repeated from: another number, and elements of it."""
        while (maker := self.maker(number)) is not None:
            if maker.primitive == "broadcast_in_dim":
                (before,) = maker.inputs
                shape = self.shapes[before]
                at = np.unravel_index(index, self.shapes[number])
                own = [at[d] if n > 1 else np.zeros_like(index)
                       for d, n in zip(maker.params["broadcast_dimensions"], shape, strict=True)]
                index = np.ravel_multi_index(own, shape) if shape else np.zeros_like(index)
            elif maker.primitive == "squeeze" or (maker.primitive == "reshape" and maker.params["dimensions"] is None):
                before = maker.inputs[0]
            else:
                break
            number = before
        return number, index

    def apply(self, equation: Equation, operands: Sequence[Any]) -> list[Any]:
        """The results of an equation for these operands, computed by JAX."""
        return _compat.evaluate_equation(equation.raw, operands, self._jaxpr)

    def evaluate(self, numbers: Sequence[int], inputs: Mapping[int, Any],
                 memo: dict[int, Any] | None = None, apply: Apply | None = None) -> list[Any]:
        """The values of `numbers`, computed by JAX from `inputs` ({number: array}).

        Only what is needed runs. A `memo` carries values from one call to the next. `apply` runs an equation
        in place of JAX.
        """
        apply = apply or self.apply
        env: dict[int, Any] = {} if memo is None else memo
        env.update(inputs)
        for root in numbers:
            stack = [root]
            while stack:
                number = stack[-1]
                if number in env:
                    stack.pop()
                elif number in self.constants:
                    env[number] = self.constants[number]
                    stack.pop()
                else:
                    equation = self._producer[number]
                    missing = [i for i in equation.inputs if i not in env]
                    if missing:
                        stack.extend(missing)
                        continue
                    results = apply(equation, [env[i] for i in equation.inputs])
                    env.update(zip(equation.outputs, results, strict=True))
                    stack.pop()
        return [env[n] for n in numbers]


def _dtype(variable: Any) -> Any:
    return variable.aval.dtype
