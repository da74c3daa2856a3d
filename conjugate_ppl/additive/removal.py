"""Exact leave-one-out: the change of the log marginal when one contribution is taken out.

With the log density l of a cell, of weight w, let D(a) = log E[exp(a l)] under the posterior. Then

    log p(cell | everything else) = D(1 - w) - D(-w),

which for w = 1 is D(0) - D(-1). For an elementwise family D is a difference of log-partitions. In a Gaussian block, where
l = c + h'z - z'Hz/2 touches a few elements z of mean m and covariance C,

    D(a) = a l(m) - log|I + a H C| / 2 + a^2 g' C (I + a H C)^-1 g / 2,   g = h - H m

(for one number with normal noise: the leverage formula, Allen, Technometrics 16, 1974). If a variance v scales
the block (`elimination/covariance.py`), l(m) and g'C..g carry its power and become contributions to v, while the
determinant does not depend on it; matrices that do the same get a matrix (`expectations.py`). What one observation
changes is small beside the sums: since all numbers are known, they are added and solved on the host, in double
precision.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_ppl.additive.cells import Cells
from conjugate_ppl.additive.chains import chain_law
from conjugate_ppl.additive.expectations import Touch, expectations
from conjugate_ppl.additive.leverage import BlockLaw, block_law
from conjugate_ppl.additive.monomials import Monomials, written
from conjugate_ppl.additive.polynomial import Key, site_of
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.elimination.elementwise import ElementwiseElimination, named
from conjugate_ppl.elimination.finite import FiniteElimination
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.elimination.matrix import MatrixElimination
from conjugate_ppl.elimination.statespace import StateSpaceElimination
from conjugate_ppl.errors import InternalError, PlanError
from conjugate_ppl.families import Family
from conjugate_ppl.planning.execute import Execution

__all__ = ["Fitted", "expectation_ratios", "log_predictive", "statistic_name"]

_MONOMIALS = 1 << 22  # held at once


def statistic_name(key: Key, power: Fraction) -> str:
    """What a family calls a statistic ("z", "1/z", "log z", "log(1-z)", "cos z", ...)."""
    if key[0] == "latent":
        return named("z", power)
    if key[1][0] == "latent" and (key[0] == "log" or key[2:] == (1.0, 1.0)):
        return named(f"{key[0]} z", power)
    if key[0] == "log" and key[1][0] == "complement" and key[1][1][0] == "latent":
        return named("log(1-z)", power)
    raise InternalError(f"The statistic {key} to the power {power} belongs to no family.")


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A posterior, as far as taking contributions out of it needs.

    Attributes:
        laws: site of a Gaussian block -> the law of that block.
        naturals: site of another family -> its elimination and natural parameter, each statistic's flat.
        in_steps: sites of large chains, and those that all steps of one share; of these no law is known all at once.
        matrices: site of matrices -> its elimination and natural parameter, shapes (count,) and (count, n, n).
        beneath: site that is integrated out given discrete latents -> those.
    """

    laws: Mapping[str, BlockLaw]
    naturals: Mapping[str, tuple[ElementwiseElimination, tuple[np.ndarray, ...]]]
    matrices: Mapping[str, tuple[MatrixElimination, np.ndarray, np.ndarray]]
    in_steps: frozenset[str] = frozenset()
    beneath: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, execution: Execution) -> Fitted:
        """Of a model all of whose latents are integrated out."""
        laws: dict[str, BlockLaw] = {}
        others: dict[str, ElementwiseElimination | MatrixElimination] = {}
        in_steps: frozenset[str] = frozenset()
        beneath = {n: frozenset(e.beneath.above) for e in execution.chosen.eliminations
                   if isinstance(e, FiniteElimination) and e.beneath is not None for n in e.beneath.sites}
        for elimination in execution.chosen.eliminations:
            if beneath.keys() & set(elimination.sites):  # it has a law for each of their states
                continue
            if isinstance(elimination, StateSpaceElimination):
                shared = frozenset(s for v in elimination.beside for s in v.roots)
                later = next((e for e in execution.chosen.eliminations if isinstance(e, GaussianElimination)
                              and shared.intersection(e.sites)), None)
                law = chain_law(execution, elimination, later)
                sites = (*elimination.sites, *(later.sites if later else ()))
                if law is None or laws.keys() & set(sites):  # two chains share coefficients
                    in_steps |= frozenset(sites)
                else:
                    laws.update(dict.fromkeys(sites, law))
            elif isinstance(elimination, GaussianElimination) and not (laws.keys() | in_steps) & set(elimination.sites):
                laws.update(dict.fromkeys(elimination.sites, block_law(execution, elimination)))
            elif isinstance(elimination, (ElementwiseElimination, MatrixElimination)):
                others[elimination.sites[0]] = elimination

        def compute() -> dict[str, Any]:
            values = execution.values({})
            return {n: e.natural(values) for n, e in others.items()}

        found = jax.jit(compute)()
        naturals, matrices = {}, {}
        for name, elimination in others.items():
            if isinstance(elimination, MatrixElimination):
                log_det, matrix = (np.asarray(p, float) + np.asarray(a, float) for p, a in zip(*found[name], strict=True))
                matrices[name] = elimination, log_det.reshape(-1), matrix.reshape(-1, *matrix.shape[-2:])
                continue
            known = elimination.known  # all digits, where no block is left in them
            naturals[name] = elimination, tuple(
                np.asarray(p, float).reshape(-1) + (np.asarray(a, float).reshape(-1) if k is None else k)
                for p, a, k in itertools.zip_longest(*found[name], known))
        return cls(laws, naturals, matrices, in_steps, beneath)


def log_predictive(fitted: Fitted, cells: Cells) -> np.ndarray:
    """Log predictive density of each cell given everything else, a vector in C order.

    `fitted` is the whole posterior, of which `cells` are a part.
    """
    weights = np.asarray(cells.weights, float).reshape(-1)
    return expectation_ratios(fitted, cells, np.stack([-weights, 1 - weights]))


def expectation_ratios(fitted: Fitted, cells: Cells, powers: np.ndarray) -> np.ndarray:
    """D(second power) - D(first) of each cell, in C order."""
    for site in sorted(fitted.in_steps & cells.value.roots):
        raise PlanError(f"`{site}` is integrated out step by step and has too many elements, or shares coefficients with "
                        "another chain, so that single observations are not taken out of what is known of it all at once. "
                        "`without(site, index)` gives the posterior without some, and the difference of two "
                        "`log_evidence` what they add.")
    count = int(np.prod(cells.shape))
    out: np.ndarray = np.zeros(count)
    step = max(1, min(count, _MONOMIALS // max(1, _monomials(cells.value) // max(count, 1))))
    for first in range(0, count, step):
        last = min(first + step, count)
        out[first:last] = _chunk(cells.rows(first, last), powers[:, first:last], cells.origins, fitted)
    return out


def _monomials(value: Value) -> int:
    shapes = [np.broadcast_shapes(value.shape + (1,) * len(t.hidden), *(np.shape(a) for a in t.arrays))
              for t in value.terms]
    return sum(int(np.prod(s)) for s in shapes)


def _chunk(value: Value, powers: np.ndarray, origins: Mapping[str, np.ndarray], fitted: Fitted) -> np.ndarray:
    laws, count = fitted.laws, powers.shape[1]
    total = np.zeros((2, count))
    touches: dict[int, tuple[BlockLaw, list[tuple[Touch, np.ndarray]]]] = {}  # with the scale's element of each
    # (site, statistic) -> rows, elements, what is added to the natural parameter for both powers
    added: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    of_matrices: dict[str, list[tuple[bool, np.ndarray, np.ndarray, np.ndarray]]] = {}
    for m in written(value):
        inside = [k for k, (key, _) in enumerate(m.atoms) if key[0] == "latent" and key[1] in laws]
        rest = [k for k in range(len(m.atoms)) if k not in inside]
        if inside:
            law = laws[m.atoms[inside[0]][0][1]]
            places = [law.places(m.atoms[k][0][1], m.positions[k]) for k in inside
                      for _ in range(int(m.atoms[k][1]))]
            touches.setdefault(id(law), (law, []))[1].append(_touch(law, m, places, rest))
        elif rest:
            ((key, power),) = m.atoms
            site = site_of(key)
            if site in fitted.matrices:
                of_matrices.setdefault(site, []).append(
                    (key[0] == "log det", m.rows, m.positions[0], powers[:, m.rows] * m.numbers))
                continue
            scaled = [law for law in laws.values() if law.scale == (key, power)]
            if scaled:  # goes with the quadratic of the block
                touches.setdefault(id(scaled[0]), (scaled[0], []))[1].append(
                    (Touch(m.rows, (), m.numbers, 0 * m.rows), m.positions[0]))
                continue
            added.setdefault((site, statistic_name(key, power)), []).append(
                (m.rows, m.positions[0], powers[:, m.rows] * m.numbers))
        else:
            np.add.at(total.T, m.rows, (powers[:, m.rows] * m.numbers).T)
    for law, touched in touches.values():
        size = 1 + max(int(part.max(initial=0)) for _, part in touched)
        pairs = np.unique(np.concatenate([t.rows * size + part for t, part in touched]))
        rows, parts = pairs // size, pairs % size
        own = [dataclasses.replace(t, rows=np.searchsorted(pairs, t.rows * size + part)) for t, part in touched]
        squares, volume = expectations(law, own, powers[:, rows], origins)
        np.add.at(total.T, rows, volume.T)
        if law.matrices:
            each = np.arange(law.owned.rows**2)
            of_matrices.setdefault(law.matrices, []).append(
                (False, np.repeat(rows, len(each)), (parts[:, None] * len(each) + each).reshape(-1),
                 squares.reshape(2, -1)))
        elif law.scale is None:
            np.add.at(total.T, rows, squares[:, :, 0, 0].T)
        else:
            key, power = law.scale
            added.setdefault((site_of(key), statistic_name(key, power)), []).append(
                (rows, parts, squares[:, :, 0, 0]))
    out: np.ndarray = total[1] - total[0]
    for site in {s for s, _ in added}:
        elimination, natural = fitted.naturals[site]
        out += _ratios(elimination, natural, {s: p for (n, s), p in added.items() if n == site}, count)
    for site, pieces in of_matrices.items():
        out += _matrix_ratios(*fitted.matrices[site], pieces, count)
    return out


def _touch(law: BlockLaw, m: Monomials, places: list[np.ndarray], rest: list[int]) -> tuple[Touch, np.ndarray]:
    """Monomials in elements of a block, and which of the scales they go with.

    All columns of a row have the same coefficients, so that the first one tells.
    """
    scale = [m.atoms[k] for k in rest]
    if not law.matrices:
        assert scale == ([] if law.scale is None else [law.scale])
        part = m.positions[rest[0]] if rest else np.zeros_like(m.rows)
        return Touch(m.rows, tuple(places), m.numbers, np.zeros_like(m.rows)), part
    assert [site_of(key) for key, _ in scale] == [law.matrices]
    n, at = law.owned.rows, m.positions[rest[0]]
    first = np.logical_and.reduce([law.owned.column[e] == 0 for e in places])
    towards = np.maximum(at % n**2 // n, at % n)
    return Touch(m.rows[first], tuple(e[first] for e in places), m.numbers[first], towards[first]), at[first] // n**2


def _matrix_ratios(elimination: MatrixElimination, log_det: np.ndarray, matrix: np.ndarray,
                   pieces: list[tuple[bool, np.ndarray, np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """The same of matrices: pieces have (whether of the log-determinant, rows, positions, what is added)."""
    events, n = len(log_det), matrix.shape[-1]
    keys = [rows * events + (at if of_log else at // n**2) for of_log, rows, at, _ in pieces]
    pairs = np.unique(np.concatenate(keys))
    first, second = np.zeros((2, len(pairs))), np.zeros((2, len(pairs), n, n))
    for key, (of_log, _, at, numbers) in zip(keys, pieces, strict=True):
        index = np.searchsorted(pairs, key)
        for side in (0, 1):
            if of_log:
                np.add.at(first[side], index, numbers[side])
            else:
                np.add.at(second[side], (index, at % n**2 // n, at % n), numbers[side])
    second = 0.5 * (second + np.swapaxes(second, -1, -2))
    own = pairs % events
    prior = (log_det[own] + first[0])[:, None, None], matrix[own] + second[0]
    change = (first[1] - first[0])[:, None, None], second[1] - second[0]
    each = _compiled(elimination.family)(*(tuple(map(jnp.asarray, x)) for x in (prior, change)))
    return np.bincount(pairs // events, np.asarray(each), count)


def _ratios(elimination: ElementwiseElimination, natural: tuple[np.ndarray, ...],
            added: Mapping[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]], count: int) -> np.ndarray:
    """Differences of the log-partition, event by event that a cell touches, added up by cells."""
    family = elimination.family
    width = elimination.shape[-1] if family.event_dim else 1
    rows, elements = (np.concatenate([p[k] for ps in added.values() for p in ps]) for k in (0, 1))
    events = max(len(natural[0]) // width, 1)
    pairs, index = np.unique(rows * events + elements // width, return_inverse=True)
    both = np.zeros((len(natural), 2, len(pairs), width))  # those of constants stay zero
    start = 0
    for name, pieces in added.items():
        k = family.statistics.index(name)
        for r, element, numbers in pieces:
            at = index[start : start + len(r)]
            for side in (0, 1):
                np.add.at(both[k, side], (at, element % width), numbers[side])
            start += len(r)
    own = [n.reshape(events, width)[pairs % events] for n in natural]
    shape = (len(pairs), width) if family.event_dim else (len(pairs),)
    prior = tuple(jnp.asarray((n + c[0]).reshape(shape)) for n, c in zip(own, both, strict=True))
    change = tuple(jnp.asarray((c[1] - c[0]).reshape(shape)) for c in both)
    return np.bincount(pairs // events, np.asarray(_compiled(family)(prior, change)), count)


@functools.lru_cache(maxsize=64)
def _compiled(family: Family) -> Callable[[Any, Any], Any]:
    """A family's ratio, compiled once for all cells, chunks and posteriors."""
    return jax.jit(lambda prior, change: family.ratio(prior, change))
