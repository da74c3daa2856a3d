"""Everything that depends on the version of JAX, NumPyro or ArviZ, and nothing else.

The rest of the package sees only what is defined here. Facts per version:

* jax <= 0.10: `make_jaxpr` gives a ClosedJaxpr with `.jaxpr` and `.consts`; jax 0.11 merged the two
  classes (`.jaxpr` may return the object itself, `.consts` stays).
* `jit_p` is named "jit" since jax 0.7 and "pjit" before.
* scan's parameters were renamed in 0.11; what is carried is told from the ranks inside and outside.
* Sub-expressions are evaluated by binding first-order primitives, or, where a primitive carries
  functions (custom derivatives, loops), by `jax.core.eval_jaxpr` on a jaxpr of that one equation.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import CellType, FrameType, MethodType, ModuleType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.extend.core import Literal
from numpyro import handlers, primitives
from numpyro.util import is_prng_key

__all__ = [
    "InReverse",
    "Literal",
    "Loop",
    "a_key",
    "body_of",
    "calls",
    "compiled_once",
    "compiled_quickly",
    "constants_of",
    "eagerly",
    "evaluate_equation",
    "given_by_function",
    "hoisted",
    "holds_tracer",
    "is_compiled",
    "is_concrete",
    "is_random_primitive",
    "is_scan",
    "loop_of",
    "make_jaxpr",
    "one_thread",
    "open_jaxpr",
    "outer_names",
    "outer_scales",
    "part_of",
    "primitives_of",
    "source_line",
    "stands_for_another",
    "without_line",
    "written_here",
]

P = ParamSpec("P")
T = TypeVar("T")

# Equations that stand for a function written elsewhere: name -> parameter that holds its body.
_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
            "remat": "jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr"}
# The same with a derivative of the author's own: the body is the truth about the value.
_CUSTOM = {"custom_jvp_call": ("call_jaxpr", "jvp_jaxpr_fun"),
           "custom_vjp_call": ("call_jaxpr", "fun_jaxpr"),
           "custom_vjp_call_jaxpr": ("fun_jaxpr", "call_jaxpr")}


SMALL = 512  # bytes of arrays that XLA's CPU runtime works on in one thread (`apart`)
_MODELS = threading.RLock()


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Let one thread at a time run `function`: NumPyro keeps one stack of handlers for all threads, and
    two that run models at once would see each other's sites."""

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with _MODELS:
            return function(*args, **kwargs)

    return alone


def double_precision(on: bool = True) -> contextlib.AbstractContextManager[Any]:
    """In this context JAX computes in double precision; in single, if it is not `on`."""
    place: Any = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    found: contextlib.AbstractContextManager[Any] = place.enable_x64(on)
    return found


def make_jaxpr(function: Callable[..., Any], *args: Any) -> Any:
    """The jaxpr of `function`, with everything it closes over as constants."""
    return jax.make_jaxpr(function)(*args)


def hoisted(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """`function`, for arguments like these, with what is traced of all that it closes over as further arguments, and that.

    `jax.closure_convert` leaves whole numbers where they are, and they are of no use to a later trace.
    """
    closed, out = jax.make_jaxpr(function, return_shape=True)(*args)
    jaxpr, constants, structure = open_jaxpr(closed), constants_of(closed), jax.tree.structure(out)
    known = {k: c for k, c in enumerate(constants) if is_concrete(c)}
    traced = [k for k in range(len(constants)) if k not in known]  # which `plain` does not hold: it lives longer

    def plain(*given: Any) -> Any:
        count = len(given) - len(traced)
        values = {**known, **dict(zip(traced, given[count:], strict=True))}
        results = jax.core.eval_jaxpr(jaxpr, [values[k] for k in range(len(values))], *jax.tree.leaves(given[:count]))
        return jax.tree.unflatten(structure, results)

    return plain, [constants[k] for k in traced]


# Of a program that runs a few times, compiling is all that is felt. On a CPU it takes a third of the time without
# optimisation; the older code generator, where there still is one, takes half of that.
_QUICKLY: tuple[dict[str, Any], ...] = (
    {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    {"xla_backend_optimization_level": 0},
)


def compiled_quickly(function: Callable[..., Any], *args: Any) -> Any:
    """`function` compiled for arguments like these, for few calls: in little time, not to be fast."""
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        return function
    lowered = jax.jit(function).lower(*args)
    for options in _QUICKLY if jax.default_backend() == "cpu" else ():
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # an option that this version does not have
            return lowered.compile(compiler_options=options)
    return lowered.compile()


def holds_tracer(thing: Any, known: Sequence[Any] = ()) -> bool:
    """Whether a tracer is in an object: in its attributes, what its functions close over, and so on.

    `known` are objects that need not be looked at.
    """
    seen, todo = {id(x) for x in known}, [thing]
    while todo:
        x = todo.pop()
        if isinstance(x, jax.core.Tracer):
            return True
        if id(x) in seen or isinstance(x, (type, ModuleType, np.ndarray, jax.Array, str, bytes)):
            continue
        seen.add(id(x))
        todo += gc.get_referents(x) if isinstance(x, (CellType, MethodType, functools.partial)) else ()
        todo += [*x.values()] if isinstance(x, dict) else [*x] if isinstance(x, (list, tuple, set)) else []
        todo += [*(getattr(x, "__closure__", None) or ()), *(getattr(x, "__defaults__", None) or ())]
        todo += [*getattr(x, "__dict__", {}).values()]
    return False


_CALLS = 30  # of known values, from which on a program is compiled to be fast


def compiled_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit(function)` for array arguments, compiled once for whoever calls it with known values.

    While a derivative is taken, JAX partially evaluates a jitted function even where all of its
    arguments are known, and compiles the result anew; here the program compiled before is run. Who samples
    does so in a program of his own, after a call or two, so that it is compiled quickly at first, and to be fast
    if many calls follow.
    """
    jitted = jax.jit(function)
    programs: dict[Any, Any] = {}
    calls: Counter[Any] = Counter()

    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        traced = any(isinstance(x, jax.core.Tracer) for x in leaves)
        if traced or jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return jitted(*args)
        key = (tree, *((x.shape, x.dtype, x.sharding) for x in leaves))
        calls[key] += 1
        if calls[key] == 1:
            programs[key] = compiled_quickly(function, *args)
        elif calls[key] == _CALLS:
            programs[key] = jitted.lower(*args).compile()
        return programs[key](*args)

    return call


def eagerly() -> contextlib.AbstractContextManager[Any]:
    """Known numbers are computed at once, also while something is traced.

    In JAX 0.7 `jax.ensure_compile_time_eval` cannot run a loop.
    """
    context: contextlib.AbstractContextManager[Any] = jax.core.eval_context()
    return context


def open_jaxpr(jaxpr: Any) -> Any:
    """The open jaxpr (`invars`, `constvars`, `eqns`, `outvars`) of an open or closed one."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def constants_of(jaxpr: Any) -> Sequence[Any]:
    """The values of the `constvars` of a closed jaxpr; none for an open one."""
    return tuple(getattr(jaxpr, "consts", ()))


_HERE = "density", "density, NaN out of range"


def written_here(same: bool) -> contextlib.AbstractContextManager[Any]:
    """In this context equations are none of the user's: they stand for NumPyro's, and are NaN where these are, if that is known
    to be the `same`."""
    found: contextlib.AbstractContextManager[Any] = jax.named_scope(_HERE[same])
    return found


def stands_for_another(equation: Any) -> bool:
    """Whether an equation was written in such a context, and may be NaN where what it stands for is a number."""
    scopes = str(getattr(equation.source_info, "name_stack", ""))
    return _HERE[False] in scopes and _HERE[True] not in scopes


def is_compiled(function: Any) -> bool:
    """Whether something is a function that `jax.jit` made of another, its `__wrapped__`."""
    return type(function).__module__.split(".")[0] in ("jax", "jaxlib") and callable(getattr(function, "__wrapped__", None))


def is_call(equation: Any) -> bool:
    """Whether an equation calls a compiled function."""
    return equation.primitive.name in ("jit", "pjit")


def body_of(equation: Any) -> tuple[Any, bool] | None:
    """The jaxpr an equation calls and whether its derivative is custom; None if it calls none.

    Only bodies whose inputs line up one to one with the equation's are returned.
    """
    name = equation.primitive.name
    keys: tuple[str, ...]
    if name in _INLINED:
        keys, custom = (_INLINED[name], "jaxpr", "call_jaxpr"), False
    elif name in _CUSTOM:
        keys, custom = _CUSTOM[name], True
    else:
        return None
    for key in keys:
        body = equation.params.get(key)
        if body is not None and hasattr(open_jaxpr(body), "eqns"):
            inner = open_jaxpr(body)
            if len(inner.invars) == len(equation.invars) and len(inner.outvars) == len(
                equation.outvars
            ):
                return body, custom
    return None


def calls(equation: Any, function: Callable[..., Any]) -> bool:
    """Whether an equation is a call of `function`, which has a derivative of its own: its body is the same as of one that is
    made now. A name may be anybody's."""
    found = body_of(equation)
    told = getattr(open_jaxpr(found[0]), "debug_info", None) if found else None
    if found is None or not str(getattr(told, "func_src_info", function.__name__)).startswith(function.__name__):
        return False
    made = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars)).eqns
    other = body_of(made[-1]) if made else None
    return other is not None and str(open_jaxpr(found[0])) == str(open_jaxpr(other[0]))


def solver_of(equation: Any) -> tuple[Any, list[int]] | None:
    """The jaxpr that a `custom_linear_solve` runs forwards, and which of its operands that takes; or None."""
    jaxprs, lengths = equation.params.get("jaxprs"), equation.params.get("const_lengths")
    if equation.primitive.name != "custom_linear_solve" or not hasattr(jaxprs, "solve"):
        return None
    first = lengths.matvec + lengths.vecmat
    right = sum(lengths)
    used = [*range(first, first + lengths.solve), *range(right, len(equation.invars))]
    inner = open_jaxpr(jaxprs.solve)
    if len(inner.invars) != len(used) or len(inner.outvars) != len(equation.outvars):
        return None
    return jaxprs.solve, used


class Loop(NamedTuple):
    """A `scan`: its body, whose `inputs` are constants, what is carried and what is read at a step, and
    whose `outputs` are what is carried and what is collected; `constants` and `carries` count them."""

    body: Any
    inputs: list[Any]
    outputs: list[Any]
    constants: int
    carries: int
    length: int
    reverse: bool


def loop_of(equation: Any) -> Loop | None:
    """The loop that an equation is; None if it is no `scan`, or has no steps or side effects."""
    if equation.primitive.name != "scan" or not equation.params["length"] or equation.effects:
        return None
    body = equation.params["jaxpr"]
    inner = open_jaxpr(body)

    def longer(outside: Any, inside: Any) -> bool:
        return len(outside.aval.shape) > len(inside.aval.shape)

    collected = sum(map(longer, equation.outvars, inner.outvars))
    read = sum(map(longer, equation.invars, inner.invars))
    carries = len(inner.outvars) - collected
    return Loop(body, list(inner.invars), list(inner.outvars), len(inner.invars) - carries - read,
                carries, equation.params["length"], equation.params["reverse"])


def part_of(jaxpr: Any, wanted: Sequence[int]) -> tuple[Callable[[dict[int, Any]], list[Any]], list[int]]:
    """Some results of a closed jaxpr: a function of {number of an input: array}, and which it takes."""
    inner = open_jaxpr(jaxpr)
    results = [inner.outvars[k] for k in wanted]
    needed = {v for v in results if not isinstance(v, Literal)}
    equations = []
    for equation in reversed(inner.eqns):
        if not needed.isdisjoint(equation.outvars):
            equations.append(equation)
            needed.update(v for v in equation.invars if not isinstance(v, Literal))
    inputs = [k for k, v in enumerate(inner.invars) if v in needed]
    part = inner.replace(invars=[inner.invars[k] for k in inputs], outvars=results,
                         eqns=equations[::-1])

    def function(given: dict[int, Any]) -> list[Any]:
        return list(jax.core.eval_jaxpr(part, constants_of(jaxpr), *[given[k] for k in inputs]))

    return function, inputs


def primitives_of(equation: Any) -> Iterator[str]:
    """The name of an equation's primitive, and of those in its bodies and branches."""
    yield equation.primitive.name
    for value in _parameters(equation):
        for inner in getattr(open_jaxpr(value), "eqns", ()):
            yield from primitives_of(inner)


def _parameters(equation: Any) -> list[Any]:
    """The values of an equation's parameters, those of a tuple one by one."""
    return [v for p in equation.params.values() for v in (p if isinstance(p, (tuple, list)) else (p,))]


def evaluate_equation(equation: Any, args: Sequence[Any], jaxpr: Any) -> list[Any]:
    """Run one equation, as JAX itself would, on `args` (one per input, literals included)."""
    if not any(hasattr(open_jaxpr(v), "eqns") or callable(v) for v in _parameters(equation)):
        out = equation.primitive.bind(*args, **equation.params)
        return list(out) if equation.primitive.multiple_results else [out]
    variables = list(dict.fromkeys(v for v in equation.invars if not isinstance(v, Literal)))
    values = {v: a for v, a in zip(equation.invars, args, strict=True) if not isinstance(v, Literal)}
    single = open_jaxpr(jaxpr).replace(
        constvars=[], invars=variables, outvars=list(equation.outvars), eqns=[equation]
    )
    return list(jax.core.eval_jaxpr(single, [], *[values[v] for v in variables]))


def a_key() -> Any:
    """A key for what is drawn and not used: an array of two numbers, which jaxprs write as such, where those are NumPyro's keys."""
    key = jax.random.PRNGKey(0)
    return key if is_prng_key(key) else jax.random.key(0)


def is_random_primitive(name: str) -> bool:
    """Whether a primitive makes random bits: a model that holds one draws hidden noise."""
    return name.startswith(("random_", "threefry")) or name == "rng_bit_generator"


def is_concrete(value: Any) -> bool:
    """Whether the numbers of `value` are known now (not a tracer)."""
    return not isinstance(value, jax.core.Tracer)


@functools.cache
def _library_folders() -> tuple[str, ...]:
    here = os.path.dirname(os.path.abspath(__file__))
    roots = [os.path.dirname(os.path.abspath(m.__file__)) for m in (jax, numpyro, np) if m.__file__]
    roots += [os.path.dirname(roots[0]) + os.sep + "jaxlib", here, sysconfig.get_path("stdlib")]
    return tuple(r + os.sep for r in roots)


@functools.lru_cache(maxsize=4096)
def _is_library(path: str) -> bool:
    stdlib = sysconfig.get_path("stdlib") + os.sep
    if path.startswith(stdlib):
        return True
    if path.startswith(os.path.join(_library_folders()[-2], "demo")):
        return False  # the bundled models are a user's code
    return any(path.startswith(f) for f in _library_folders()) or path.startswith("<frozen")


def source_line(equation: Any) -> str:
    """`file.py:12` of the innermost line of the user's own code behind an equation, or ""."""
    traceback = getattr(getattr(equation, "source_info", None), "traceback", None)
    for frame in getattr(traceback, "frames", None) or ():
        path = frame.file_name
        if path == __file__:  # what called for the tracing is not the model
            return ""
        if not _is_library(path):
            line = getattr(frame, "line_num", None) or getattr(frame, "start_line", 0)
            return f"{os.path.basename(path)}:{line}"
    return ""


def without_line(function: Callable[[], T]) -> T:
    """`function()`; what it computes is no line of the user's, whoever asks for it."""
    return function()


def calling_line() -> str:
    """`file.py:12` of the innermost line of the user's own code on the Python stack, or ""."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not _is_library(path):
            return f"{os.path.basename(path)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _handlers_outside(inside: Any) -> Iterator[Any]:
    """The active NumPyro handlers, innermost first, that enclose the handler `inside`."""
    stack = list(primitives._PYRO_STACK)
    if inside in stack:
        stack = stack[: stack.index(inside)]
    yield from reversed(stack)


def outer_names(inside: Any, names: Sequence[str]) -> dict[str, str]:
    """Which of `names` an enclosing handler sets from outside: {name: handler's name}.

    Knows substitute, condition, do, replay, reparam and lift by their tables of names, and follows
    the renaming of scope.
    """
    current = {n: n for n in names}
    found: dict[str, str] = {}
    for handler in _handlers_outside(inside):
        if isinstance(handler, handlers.scope):
            current = {n: f"{handler.prefix}{handler.divider}{c}" for n, c in current.items()}
            continue
        if isinstance(handler, handlers.replay):
            table: Any = handler.trace
        elif isinstance(handler, handlers.reparam):
            table = handler.config if isinstance(handler.config, dict) else None
        elif isinstance(handler, handlers.lift):
            table = handler.prior if isinstance(handler.prior, dict) else None
        elif isinstance(handler, (handlers.substitute, handlers.condition, handlers.do)):
            table = handler.data
        else:
            continue
        for name, renamed in current.items():
            if table and renamed in table:
                found.setdefault(name, type(handler).__name__)
    return found


def is_scan(message: dict[str, Any]) -> bool:
    """Whether a control-flow message is that of a `scan`."""
    return getattr(message["fn"], "__name__", "") == "scan_wrapper"


class InReverse(primitives.Messenger):
    """Notes what loops in reverse have sampled: NumPyro hands the values of a site over in the order of their turns, and has them
    in the order of the loop's input afterwards."""

    def __init__(self, fn: Any = None) -> None:
        super().__init__(fn)
        self._messages: list[dict[str, Any]] = []

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "control_flow" and is_scan(msg):
            reverse = msg["kwargs"].get("reverse", msg["args"][4] if len(msg["args"]) > 4 else False)
            self._messages += msg["value"][1][0].trace.values() if reverse else ()

    def by_turn(self, name: str, value: Any) -> Any:
        """The value of a site as it would have been given."""
        return jnp.flip(value, 0) if any(m["name"] == name for m in self._messages) else value


def given_by_function(inside: Any, message: dict[str, Any], kinds: Sequence[str]) -> str:
    """The name of the enclosing handler, one of `kinds` (condition, substitute, reparam), whose function has something for
    the site of a message; "" if there is none."""
    for handler in _handlers_outside(inside):
        for kind in kinds:
            function = getattr(handler, "config" if kind == "reparam" else f"{kind}_fn", None)
            if isinstance(handler, getattr(handlers, kind)) and callable(function) and function(dict(message)) is not None:
                return kind
    return ""


def outer_scales(inside: Any) -> list[str]:
    """Names of enclosing handlers that would change weights or shapes of the collapsed density."""
    out = []
    for handler in _handlers_outside(inside):
        if isinstance(handler, handlers.scale) and is_concrete(handler.scale) and np.all(np.asarray(handler.scale) == 1):
            continue
        if isinstance(handler, (handlers.scale, primitives.plate)):
            out.append(type(handler).__name__)
        elif isinstance(handler, handlers.mask) and not isinstance(handler.mask, bool):
            out.append("mask")
    return out


def apart(function: Callable[[Any, Any], Any], state: Any, inputs: Any, mark: Any) -> Any:
    """`function(state, inputs)`, of the structure of `state`, run as a computation of its own.

    The CPU runtime of XLA hands operations between threads in every computation that touches an array of more
    than `SMALL` bytes, such as the one that collects draws, as soon as more than eight wait for their turn; where
    operations are small that takes longer than they do. A loop's body is a computation; `mark`, an integer known only
    when the program runs, keeps the compiler from unrolling a loop of one step. What is made from something that a
    loop does not change the compiler would move out of it: `inputs` are read through a choice that depends on the
    step. (As parts of `state` they would be copied, each an operation that waits.)
    """
    if jax.default_backend() != "cpu":
        return function(state, inputs)
    first = jax.numpy.ravel(mark)[0]

    def turn(s: Any) -> Any:
        step, state = s
        now = jax.tree.map(lambda x: jax.numpy.where(step == first, x, jax.numpy.zeros_like(x)), inputs)
        return step + 1, function(state, now)

    return jax.lax.while_loop(lambda s: s[0] == first, turn, (first, state))[1]
