"""Functions of latents of every support, and the walk of the algebra through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_ppl import _compat
from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.variables import (
    Complement,
    Elementwise,
    Exponential,
    Latent,
    Log,
    Variable,
    Variables,
)
from conjugate_ppl.algebra.walk import Walk, latent_value
from conjugate_ppl.graph import Graph

FLOAT32 = pytest.mark.parametrize("x64", [False], ids=["float32"], indirect=True)
X = np.array([[0.5, -1.0, 2.0], [0.0, 3.0, 0.25], [1.5, 1.0, -2.0], [4.0, 0.1, 0.2]])
Y = np.array([0.3, -1.0, 2.0])


class Sites(NamedTuple):
    """The latents that every function here takes."""

    a: Any  # real (3,)
    m: Any  # real (2, 3)
    r: Any  # real ()
    t: Any  # positive (3,)
    s: Any  # positive ()
    p: Any  # between 0 and 1 (3,)
    q: Any  # simplex (3,)


SUPPORT = Sites("real", "real", "real", "positive", "positive", "unit", "simplex")
REAL = ("a", "m", "r")
Function = Callable[[Sites], Any]


def point(seed: int = 0) -> Sites:
    """Random values of the latents, in the working type."""
    rng = np.random.default_rng(seed)
    draws = (rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(), rng.gamma(2.0, size=3),
             rng.gamma(2.0), rng.beta(2, 2, 3), rng.dirichlet(np.ones(3)))
    return Sites(*(jnp.asarray(x, float) for x in draws))


class Walked(NamedTuple):
    """A function's jaxpr and the value that a walk finds for its result."""

    graph: Graph
    inputs: dict[str, int]
    value: Value

    def at(self, x: Sites) -> Any:
        """The value, evaluated."""
        return Values(self.graph, self.inputs, x._asdict()).value(self.value)


def walk(f: Function, candidates: Iterable[str] = Sites._fields, origins: bool = False) -> Walked:
    """Walk `f`; with `origins` the real latents are written about a point of their own."""
    x = point()
    graph = Graph(_compat.make_jaxpr(lambda *v: f(Sites(*v)), *x))
    inputs, variables = dict(zip(Sites._fields, graph.inputs, strict=True)), Variables()
    steps = Walk(graph, {}, candidates, variables)
    rng = np.random.default_rng(5)
    for name, number in inputs.items():
        shape = graph.shapes[number]
        origin = rng.normal(size=shape) if origins and name in REAL else None
        steps.set(number, latent_value(name, shape, getattr(SUPPORT, name), variables, origin))
    (value,) = steps.run(graph.outputs)
    assert value.shape == graph.shapes[graph.outputs[0]]
    return Walked(graph, inputs, value)


def exact(f: Function, *walks: Walked, x64: bool = True) -> None:
    """Each walk's value equals f at two points."""
    run = jax.jit(lambda *v: (f(Sites(*v)), [w.at(Sites(*v)) for w in walks]))
    tol = 1e-10 if x64 else 5e-5
    for seed in (1, 2):
        expected, found = run(*point(seed))
        for y in found:
            assert y.dtype == (jnp.float64 if x64 else jnp.float32)
            np.testing.assert_allclose(y, expected, rtol=tol, atol=tol)


def variables(value: Value) -> set[Variable]:
    """Every variable in a value."""
    return {a.variable for t in value.terms for a in t.atoms}


def is_plain(v: Variable) -> bool:
    """Whether a variable is made of latents, logarithms, complements and the like alone."""
    if isinstance(v, Exponential):
        return all(map(is_plain, variables(v.inner)))
    if isinstance(v, Elementwise):
        return v.primitive in ("cos", "sin", "lgamma") and is_plain(v.base)
    return isinstance(v, Latent) or (isinstance(v, (Log, Complement)) and is_plain(v.base))
