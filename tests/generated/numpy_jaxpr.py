"""Jaxprs on NumPy arrays, one primitive after another.

A random model is run once; compiling it takes a hundred times as long as its arithmetic. Here nothing is
compiled but single primitives without an entry, which JAX runs itself. Random bits are those of JAX (Salmon et
al., SC 2011), gamma variates those of NumPy; a random key is one number of 64 bits. The
table (`numpy_primitives`) is not the package's own of known numbers, which is so checked as well.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

import conjugate_ppl as cj
from conjugate_ppl._compat import loop_of
from generated.numpy_primitives import PRIMITIVES, Rule, wrapped

__all__ = ["Function", "check_by_numpy", "evaluated"]


class Function:
    """A Python function of arrays, traced once and evaluated by NumPy; results as it returns them."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        self._tree = jax.tree.structure(shapes)

    def __call__(self, *args: Any) -> Any:
        with np.errstate(all="ignore"):
            given = [_host(x) for x in jax.tree.leaves(args)]
            return jax.tree.unflatten(self._tree, _closed(self._jaxpr, given))


def evaluated(function: Callable[..., Any]) -> Callable[..., Any]:
    """In the place of `jax.jit`: traced at the first call, compiled never."""
    made: list[Function] = []

    def run(*given: Any) -> Any:
        if not made:
            made.append(Function(function, *given))
        return made[0](*given)

    return run


def check_by_numpy(*args: Any, **options: Any) -> cj.Certificate:
    """`cj.check`, of which nothing is compiled."""
    module = importlib.import_module("conjugate_ppl.check")  # the package has the function of that name
    with mock.patch.object(module, "jax", mock.Mock(wraps=jax, jit=evaluated, lax=jax.lax, random=jax.random)):
        return cj.check(*args, **options)


def _host(x: Any) -> np.ndarray:
    dtype = getattr(x, "dtype", None)
    return wrapped({}, np.asarray(jax.random.key_data(x))) if _is_key(dtype) else np.asarray(x)


def _is_key(dtype: Any) -> bool:
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _closed(closed: Any, args: Sequence[Any], wanted: Collection[int] | None = None) -> list[Any]:
    return _run(getattr(closed, "jaxpr", closed), getattr(closed, "consts", ()), args, wanted)


class _Step(NamedTuple):
    """An equation as it is evaluated: a rule, where its operands are, and place, shape and type of what becomes of it."""

    equation: Any
    calls: bool
    rule: Rule
    used: list[int]
    reads: list[int]
    writes: list[tuple[int, tuple[int, ...], Any]]


class _Plan(NamedTuple):
    """What a jaxpr does to a list of values, which has literals in their places already."""

    values: list[Any]
    inputs: list[int]
    steps: list[_Step]
    results: list[int | None]


# a loop's body is evaluated many times
_KNOWN: weakref.WeakKeyDictionary[Any, dict[Any, _Plan]] = weakref.WeakKeyDictionary()


def _planned(jaxpr: Any, wanted: Collection[int] | None) -> _Plan:
    """What has to be done for the results that are wanted."""
    results = [v if wanted is None or k in wanted else None for k, v in enumerate(jaxpr.outvars)]
    needed = {v for v in results if v is not None and not isinstance(v, Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not needed.isdisjoint(equation.outvars):
            equations.append((equation, [k for k, v in enumerate(equation.outvars) if v in needed]))
            needed.update(v for v in equation.invars if not isinstance(v, Literal))
    values, places = [], dict[Any, int]()

    def place(v: Any) -> int:
        if isinstance(v, Literal):
            values.append(np.asarray(v.val, v.aval.dtype))
            return len(values) - 1
        if v not in places:
            places[v] = len(values)
            values.append(None)
        return places[v]

    inputs = [place(v) for v in (*jaxpr.constvars, *jaxpr.invars)]
    steps = []
    for equation, used in reversed(equations):
        name = equation.primitive.name
        reads = [place(v) for v in equation.invars]
        writes = [(place(v), v.aval.shape, np.uint64 if _is_key(v.aval.dtype) else v.aval.dtype) for v in equation.outvars]
        steps.append(_Step(equation, name in _CALLS, _CALLS.get(name) or PRIMITIVES.get(name) or _by_jax(equation.primitive),
                           used, reads, writes))
    return _Plan(values, inputs, steps, [None if v is None else place(v) for v in results])


def _run(jaxpr: Any, constants: Sequence[Any], args: Sequence[Any], wanted: Collection[int] | None = None
         ) -> list[Any]:
    """The results of a jaxpr; of those that are not wanted, None."""
    known = _KNOWN.setdefault(jaxpr, {})
    which = None if wanted is None else tuple(wanted)
    if which not in known:
        known[which] = _planned(jaxpr, wanted)
    plan = known[which]
    values = plan.values.copy()
    for k, x in zip(plan.inputs, (*map(_host, constants), *args), strict=True):
        values[k] = x
    for equation, calls, rule, used, reads, writes in plan.steps:
        operands = [values[k] for k in reads]
        out = rule(equation, operands, used) if calls else rule(equation.params, *operands)
        for (k, shape, dtype), x in zip(writes, out if calls or equation.primitive.multiple_results else [out], strict=True):
            if x is not None:
                x = np.asarray(x, dtype)
                assert x.shape == shape, (equation.primitive, x.shape, shape)
            values[k] = x
    return [None if k is None else values[k] for k in plan.results]


def _by_jax(primitive: Any) -> Rule:
    def run(params: Any, *operands: Any) -> Any:
        out = primitive.bind(*map(jnp.asarray, operands), **params)
        return [_host(x) for x in out] if primitive.multiple_results else _host(out)

    return run


# -- calls, branches and loops ---------------------------------------------------------------------------


def _call(equation: Any, operands: Sequence[Any], used: Collection[int]) -> list[Any]:
    params = equation.params
    body = next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params)
    return _closed(body, operands, used)


def _cond(equation: Any, operands: Sequence[Any], used: Collection[int]) -> list[Any]:
    which, *rest = operands
    branches = equation.params["branches"]
    return _closed(branches[int(np.clip(int(which), 0, len(branches) - 1))], rest, used)


def _while(equation: Any, operands: Sequence[Any], used: Collection[int]) -> list[Any]:
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    test, fixed, state = operands[:first], operands[first:first + second], list(operands[first + second:])
    while (going := _closed(params["cond_jaxpr"], [*test, *state])[0]).any():
        after = _closed(params["body_jaxpr"], [*fixed, *state])
        # of a batch of loops some may have ended
        state = [np.where(going.reshape(going.shape + (1,) * (x.ndim - going.ndim)), x, y)
                 for x, y in zip(after, state, strict=True)]
    return state


def _scan(equation: Any, operands: Sequence[Any], used: Collection[int]) -> list[Any]:
    loop = loop_of(equation)
    assert loop is not None, equation
    first, end = loop.constants, loop.constants + loop.carries
    fixed, state, read = operands[:first], list(operands[first:end]), operands[end:]
    rows: list[Any] = [None] * loop.length
    for t in (reversed(range(loop.length)) if loop.reverse else range(loop.length)):
        out = _closed(loop.body, [*fixed, *state, *(x[t] for x in read)])
        state, rows[t] = out[: loop.carries], out[loop.carries:]
    return [*state, *(np.stack(column) for column in zip(*rows, strict=True))]


_CALLS: dict[str, Rule] = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call",
                     "custom_vjp_call", "custom_vjp_call_jaxpr"), _call),
    "cond": _cond, "while": _while, "scan": _scan,
}
