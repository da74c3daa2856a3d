"""Small errors put into the package on purpose, one for every entry of its tables.

A mutant replaces one entry of a registry: the rule of a primitive, for monomials, recursions or arrays of cases, what
NumPy computes for it, how it moves data, a density, a prior that is a transformed one, a method of a family. Some test that uses the entry must notice it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from functions import exact, walk
from generated.numpy_jaxpr import check_by_numpy
from models import CASES
from models.table import Case
from test_algebra import BY_VERSION, PLAIN, test_conversion_to_more_digits
from test_cases import FUNCTIONS, equal_everywhere
from test_densities import EXAMPLES, both, inside
from test_families import test_natural_form, test_plain_distribution_of_a_transformed_one
from test_reduction import FOLDED, folded

import conjugate_ppl as cj
from conjugate_ppl.algebra.host import HOST
from conjugate_ppl.algebra.movement import MOVES
from conjugate_ppl.algebra.rules import RULES
from conjugate_ppl.algebra.running import RECURSIONS
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import multiply
from conjugate_ppl.densities import DENSITIES
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.families.registry import SERIES
from conjugate_ppl.families.subspace import SUBSPACES
from conjugate_ppl.families.transformed import TRANSFORMED
from conjugate_ppl.finite.cases import Cases
from conjugate_ppl.finite.rules import _RULES as CASE_RULES

__all__ = ["MUTANTS", "Mutant", "caught_by", "in_use", "mutated"]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A replacement of one entry of a table."""

    name: str
    table: dict[Any, Any]
    key: Any
    wrong: Any


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """The package with the error in it."""
    right = mutant.table[mutant.key]
    mutant.table[mutant.key] = mutant.wrong
    try:
        yield
    finally:
        mutant.table[mutant.key] = right


def _off(x: Any) -> Any:
    """Something like x that is not x."""
    if isinstance(x, (list, tuple)):
        return type(x)(_off(v) for v in x)
    if isinstance(x, Value):
        return multiply(x, Value.known(np.full(x.shape, 1.01)))
    if isinstance(x, Cases):
        return dataclasses.replace(x, array=_off(x.array), values=None)
    if isinstance(x, dict):
        first, *others = x.items()
        return {first[0]: _off(first[1]), **dict(others)}
    x = jnp.asarray(x) if isinstance(x, jax.Array) else np.asarray(x)
    if x.dtype == bool:
        return ~x
    return x + 1 if np.issubdtype(x.dtype, np.integer) else 1.01 * x + 0.01


def _shuffled(x: Any) -> Any:
    """Elements in the opposite order."""
    if isinstance(x, list):
        return [_shuffled(v) for v in x]
    return np.asarray(x).reshape(-1)[::-1].reshape(np.shape(x))


def _after(function: Callable[..., Any], change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *args: change(function(*args))


def _wrong_family(family: cj.Family, method: str) -> cj.Family:
    function = getattr(family, method)
    if method == "distribution":  # of another natural parameter
        return dataclasses.replace(family, distribution=lambda n: function(_off(n)))
    return dataclasses.replace(family, **{method: _after(function, _off)})


def _other(d: Any) -> Any:
    """Another normal law of its shape."""
    return dist.Normal(0.1, 1.5).expand(d.batch_shape + d.event_shape).to_event(d.event_dim)


_METHODS = ("parameters", "natural", "log_partition", "distribution", "log_ratio")

MUTANTS: dict[str, Mutant] = {m.name: m for m in (
    *(Mutant(f"rule {n}", RULES, n, _after(f, _off)) for n, f in RULES.items()),
    *(Mutant(f"recursion {n}", RECURSIONS, n, _after(f, _off)) for n, f in RECURSIONS.items()),
    *(Mutant(f"case {n}", CASE_RULES, n, _after(f, _off)) for n, f in CASE_RULES.items()),
    *(Mutant(f"known {n}", HOST, n, _after(f, _off)) for n, f in HOST.items()),
    *(Mutant(f"movement {n}", MOVES, n, _after(f, _shuffled)) for n, f in MOVES.items()),
    *(Mutant(f"density {t.__name__}", DENSITIES, t,
             dataclasses.replace(d, function=_after(d.function, _off))) for t, d in DENSITIES.items()),
    *(Mutant(f"series {t.__name__}", SERIES, t, (n, _after(f, _off))) for t, (n, f) in SERIES.items()),
    *(Mutant(f"transformed {d.__name__} {t.__name__}", TRANSFORMED, (d, t), lambda z, t: z) for d, t in TRANSFORMED),
    *(Mutant(f"subspace {t.__name__}", SUBSPACES, t, lambda d: (_other(d.base_dist), d.transforms[0])) for t in SUBSPACES),
    *(Mutant(f"family {n}.{m}", FAMILIES, n, _wrong_family(f, m)) for n, f in FAMILIES.items()
      for m in _METHODS if getattr(f, m) is not None and n != "Flat"),
)}


def detectors(models: bool = True) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names, and functions that raise where something is wrong: equalities of parts, and identities of `models`."""
    for name, family in FAMILIES.items():
        if family.natural is not None:
            yield f"natural form of {name}", lambda name=name: test_natural_form(name, True)
    for d, t in TRANSFORMED:
        yield f"transformed {d.__name__} {t.__name__}", lambda d=d, t=t: test_plain_distribution_of_a_transformed_one(d, t, True)
    for name, f in FOLDED.items():
        yield f"known function {name}", lambda f=f: folded(f)
    for name, f in PLAIN.items():
        yield f"function {name}", lambda f=f: exact(f, walk(f), walk(f, ("a",)))
    for name, f in FUNCTIONS.items():
        yield f"cases of {name}", lambda f=f: equal_everywhere(f)
    yield "conversion", test_conversion_to_more_digits
    for name, case in CASES.items() if models else ():
        yield f"model {name}", lambda case=case: identity(case)


def identity(case: Case) -> None:
    """A model of the table collapses as it should, exactly."""
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in case.args]
    collapsed = cj.collapse(case.model)
    assert frozenset(collapsed.plan(*args).collapsed) == case.collapsed
    check_by_numpy(collapsed, jax.random.key(1), *args, num_points=1)


def caught_by(mutant: Mutant) -> str:
    """The first detector that the mutant sets off, "" if there is none.

    Primitives that some versions of JAX do not make are all made by functions.
    """
    if mutant.table is DENSITIES:
        d = EXAMPLES[mutant.key]()
        jax.clear_caches()
        with mutated(mutant):
            off = any(not np.allclose(a, b, rtol=1e-3) for a, b in both(d, inside(d, (5,))))
        return "NumPyro's density" if off else ""
    # the likely ones first: what others use takes longer to find out
    for name, detect in sorted(detectors(models=mutant.key not in BY_VERSION), key=lambda d: not _likely(d[0], mutant)):
        if (id(mutant.table), mutant.key) in _used(name):
            with mutated(mutant):
                try:
                    detect()
                except Exception:  # whatever it is, it is noticed
                    return name
    return ""


_KINDS = {id(TRANSFORMED): "transformed", id(HOST): "known", id(MOVES): "known", id(RULES): "function", id(CASE_RULES): "cases",
          id(RECURSIONS): "model"}


def _likely(detector: str, mutant: Mutant) -> bool:
    """Whether a detector looks at a mutant's table, or its model has the name of the mutant's distribution in it."""
    if not isinstance(mutant.key, type):
        return detector.startswith(_KINDS.get(id(mutant.table), ""))
    case = CASES.get(detector.removeprefix("model "))
    source = "" if case is None else inspect.getsource(getattr(case.model, "func", case.model))
    return mutant.key.__name__ in source


@functools.cache
def _used(detector: str) -> frozenset[tuple[int, Any]]:
    """The entries of tables that a detector uses."""
    tables: list[dict[Any, Any]] = [RULES, RECURSIONS, HOST, MOVES, FAMILIES, SERIES, TRANSFORMED, CASE_RULES,
                                    SUBSPACES]
    saved, used = [dict(t) for t in tables], set[tuple[int, Any]]()

    def noting(entry: tuple[int, Any], function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            used.add(entry)
            return function(*args)

        return noted

    for table in tables:
        for key, value in table.items():
            entry = (id(table), key)
            table[key] = (dataclasses.replace(value, parameters=noting(entry, value.parameters))
                          if isinstance(value, cj.Family) else (value[0], noting(entry, value[1]))
                          if table is SERIES else noting(entry, value))
    try:
        if detector.startswith("model "):  # the plan uses all that the identity does
            case = CASES[detector.removeprefix("model ")]
            args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in case.args]
            cj.collapse(case.model).plan(*args)
        else:
            dict(detectors())[detector]()
    finally:
        for table, before in zip(tables, saved, strict=True):
            table.update(before)
    return frozenset(used)


def in_use(mutant: Mutant) -> bool:
    """Whether this version of JAX makes the primitive of an entry that some versions do not make."""
    return mutant.key not in BY_VERSION or any(
        (id(mutant.table), mutant.key) in _used(name) for name, _ in detectors(models=False))
