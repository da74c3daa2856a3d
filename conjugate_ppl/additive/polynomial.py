"""A log likelihood as a sum of monomials in the latents' statistics: what data say, and nothing else.

    sum_k  coefficient_k  prod_j  statistic_j[position_kj] ** power_j

Statistics are a latent less a fixed origin, its logarithm, and so on; coefficients are float64 on the host.
Two such sums are added by adding coefficients, after their origins are made equal: the location of a
Gaussian latent is so never written about a point that is far from the data, where quadratics lose digits.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from conjugate_ppl.additive.lookups import STATES, Lookup, lookups
from conjugate_ppl.algebra.definite import Gram, Inverted
from conjugate_ppl.algebra.paired import LogDet
from conjugate_ppl.algebra.term import Term
from conjugate_ppl.algebra.value import add_up, write_out
from conjugate_ppl.algebra.variables import Complement, Elementwise, Indicator, Latent, Log, Variable
from conjugate_ppl.triangular import inverse_triangular, log_det_lower

__all__ = ["Key", "NoStatistic", "Polynomial", "Signature", "connected", "digits", "key_of", "site_of", "statistic"]

Key = tuple[Any, ...]
Signature = tuple[tuple[Key, Fraction], ...]


_OF_MATRICES: dict[type, str] = {Gram: "gram", Inverted: "inverted", LogDet: "log det"}


class NoStatistic(Exception):
    """A log density holds something that is no statistic of a latent; the message names it."""


def key_of(variable: Variable) -> Key:
    """What a variable is, in words that mean the same in every run of a model."""
    if isinstance(variable, Latent):
        return ("latent", variable.site)
    if isinstance(variable, Log):
        return ("log", key_of(variable.base))
    if isinstance(variable, Indicator):
        return ("never" if variable.never else "state", ("latent", variable.site), variable.low, variable.count)
    if isinstance(variable, Complement):
        return ("complement", key_of(variable.base))
    if isinstance(variable, (Gram, Inverted, LogDet)):
        return (_OF_MATRICES[type(variable)], key_of(variable.base))
    if isinstance(variable, Elementwise) and not variable.equation.params.keys() - {"accuracy"}:
        return (variable.primitive, key_of(variable.base), variable.coefficient, variable.power)
    equation = getattr(variable, "equation", None)
    raise NoStatistic(f"`{variable.name if equation is None else equation.primitive}`")


def site_of(key: Key) -> str:
    """The site that a statistic is of."""
    return str(key[1]) if key[0] == "latent" else site_of(key[1])


def statistic(key: Key, sites: Mapping[str, Any], origins: Mapping[str, np.ndarray]) -> Any:
    """The elements of a statistic at values of the sites, a vector."""
    if key[0] == "latent":
        flat = jnp.reshape(sites[key[1]], -1)
        return flat - digits(origins[key[1]]) if key[1] in origins else flat
    if key[0] in _OF_MATRICES.values():
        return _of_matrices(key, sites)
    inner = statistic(key[1], sites, origins)
    if key[0] == "log":
        return jnp.log(inner)
    if key[0] == "complement":
        return 1 - inner
    x = inner if key[3] == 1 else inner ** key[3]
    return getattr(jax.lax, key[0])(x if key[2] == 1 else key[2] * x)


def _of_matrices(key: Key, sites: Mapping[str, Any]) -> Any:
    """Of matrices of a site, in plain arithmetic that is seen through once more."""
    name, found = site_of(key), sites[site_of(key)]
    if ("gram", ("latent", name)) in (key, key[1]):
        found = jnp.matmul(found, jnp.swapaxes(found, -1, -2))
    if key[0] == "gram":
        return jnp.reshape(found, -1)
    root = jnp.linalg.cholesky(found)
    if key[0] == "log det":
        return jnp.reshape(2 * log_det_lower(root), -1)
    half = inverse_triangular(root)
    return jnp.reshape(jnp.matmul(jnp.swapaxes(half, -1, -2), half), -1)


@dataclasses.dataclass(frozen=True, eq=False)
class Polynomial:
    """The sum; see the module's docstring.

    Attributes:
        origins: site -> its origin, flat, for the sites that have one.
        groups: the statistics and powers of some monomials -> (positions, a column a statistic;
            coefficients).
    """

    origins: Mapping[str, np.ndarray]
    groups: Mapping[Signature, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of_terms(cls, terms: Iterable[Term], origins: Mapping[str, np.ndarray]) -> Polynomial:
        """From known scalar terms.

        Raises:
            NoStatistic: if one holds something else than statistics.
        """
        pieces: list[tuple[Signature, np.ndarray, np.ndarray]] = []
        for term in terms:
            coefficients, positions = write_out(term)
            atoms = [(key_of(a.variable), a.power) for a in term.atoms]
            order = sorted(range(len(atoms)), key=lambda k: (str(atoms[k][0]), atoms[k][1]))
            columns = np.stack([positions[k] for k in order], 1) if order else \
                np.zeros((len(coefficients), 0), np.int64)
            pieces.append((tuple(atoms[k] for k in order), columns, coefficients))
        return cls(dict(origins), _merged(pieces))

    def __add__(self, other: Polynomial) -> Polynomial:
        moved = other.about(self.origins)
        return Polynomial(self.origins, _merged([*_pieces(self), *_pieces(moved)]))

    def joined(self, other: Polynomial) -> Polynomial:
        """The same sum as `self + other`, with a good origin also for elements that only the other is about."""
        origins = {}
        for name in self.origins.keys() | other.origins.keys():
            a, b = (p.origins.get(name) for p in (self, other))
            own = np.zeros_like(b) if a is None else a
            origins[name] = np.where(self.touched(name, len(own)), own, 0.0 if b is None else b)
        return self.about(origins) + other.about(origins)

    def touched(self, site: str, size: int) -> np.ndarray:
        """Which elements of a site it is about, themselves."""
        found = np.zeros(size, bool)
        for signature, (positions, _) in self.groups.items():
            for k, (key, _) in enumerate(signature):
                if key == ("latent", site):
                    found[positions[:, k]] = True
        return found

    def scaled(self, factor: float) -> Polynomial:
        """The sum times a number."""
        return Polynomial(self.origins, {s: (p, factor * c) for s, (p, c) in self.groups.items()})

    def about(self, origins: Mapping[str, np.ndarray]) -> Polynomial:
        """The same sum with other origins."""
        steps = {n: np.asarray(origins.get(n, 0.0) - self.origins.get(n, 0.0))
                 for n in origins.keys() | self.origins.keys()}
        steps = {n: step for n, step in steps.items() if step.any()}
        if not steps:
            return Polynomial(origins, self.groups)
        return Polynomial(origins, _merged(itertools.chain.from_iterable(
            _moved(piece, steps) for piece in _pieces(self))))

    def on(self, sites: Collection[str]) -> Polynomial:
        """The monomials in some sites; those in none of any where no sites are given."""
        own = {s: g for s, g in self.groups.items()
               if (site_of(s[0][0]) in sites if s else not sites)}
        return Polynomial(self.origins, own)

    @property
    def size(self) -> int:
        """How many monomials it has."""
        return sum(len(c) for _, c in self.groups.values())

    @property
    def together(self) -> list[tuple[str, ...]]:
        """Its sites, those that meet in a monomial with each other."""
        return connected([site_of(key) for key, _ in signature] for signature in self.groups)

    @property
    def sites(self) -> frozenset[str]:
        """The sites that it is about."""
        return frozenset(site_of(key) for signature in self.groups for key, _ in signature)

    def __call__(self, sites: Mapping[str, Any]) -> Any:
        """The sum at values of the sites; a scalar."""
        total: Any = jnp.zeros(())
        for part in self.by_monomial(sites):
            total = total + jnp.sum(part)
        return total

    @functools.cached_property
    def lookups(self) -> list[Lookup]:
        """Its monomials that read states of discrete sites."""
        return lookups(_pieces(self))

    def by_monomial(self, sites: Mapping[str, Any], tables: Sequence[Any] | None = None) -> Iterator[Any]:
        """Its monomials at values of the sites, in vectors; those that differ in states of discrete sites as one.

        `tables` are used in place of the lookups' own.
        """
        known: dict[Key, Any] = {}

        def times(product: Any, signature: Signature, positions: np.ndarray) -> Any:
            for k, (key, power) in enumerate(signature):
                if key not in known:
                    known[key] = statistic(key, sites, self.origins)
                x = known[key][positions[:, k]]
                product = product * (x if power == 1 else x**int(power) if power.denominator == 1
                                     else x ** float(power))
            return product

        for signature, (positions, coefficients) in self.groups.items():
            if not any(key[0] in STATES for key, _ in signature):
                yield times(digits(coefficients), signature, positions)
        for k, found in enumerate(self.lookups):
            table = digits(found.table()) if tables is None else tables[k]
            yield times(found.at(sites, table), found.others, found.positions)


def connected(groups: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """The connected components of sites of which some are said to meet, each in alphabetical order."""
    graph = nx.Graph()
    for names in groups:
        nx.add_path(graph, sorted(names))
    return [tuple(sorted(part)) for part in nx.connected_components(graph)]


def digits(numbers: np.ndarray) -> Any:
    """Known numbers for a traced program, in two parts where floats are single: none of their digits is
    lost to the analysis, which computes known numbers in double precision."""
    dtype = jnp.result_type(float)
    first = np.asarray(numbers, dtype)
    with np.errstate(invalid="ignore"):
        rest = np.nan_to_num(np.asarray(numbers - first.astype(np.float64), dtype))
    return jnp.asarray(first) + jnp.asarray(rest) if rest.any() else jnp.asarray(first)


Piece = tuple[Signature, np.ndarray, np.ndarray]


def _pieces(p: Polynomial) -> Iterator[Piece]:
    yield from ((s, positions, c) for s, (positions, c) in p.groups.items())


def _merged(pieces: Iterable[Piece]) -> dict[Signature, tuple[np.ndarray, np.ndarray]]:
    """Monomials with equal statistics at equal positions added up."""
    groups: dict[Signature, list[tuple[np.ndarray, np.ndarray]]] = {}
    for signature, positions, coefficients in pieces:
        groups.setdefault(signature, []).append((positions, coefficients))
    out = {}
    for signature, parts in groups.items():
        positions = np.concatenate([p for p, _ in parts])
        # two places of one statistic in one monomial have no order
        for a, b in itertools.pairwise(range(len(signature))):
            if signature[a] == signature[b]:
                positions[:, [a, b]] = np.sort(positions[:, [a, b]], 1)
        columns, total = add_up(list(positions.T), np.concatenate([c for _, c in parts]))
        if total.any():
            out[signature] = (np.stack(columns, 1) if columns else np.zeros((1, 0), np.int64), total)
    return out


def _moved(piece: Piece, steps: Mapping[str, np.ndarray]) -> Iterator[Piece]:
    """A monomial's expansion after its latents' origins have moved: (z - old) = (z - new) + step."""
    signature, positions, coefficients = piece
    choices: list[list[Fraction]] = []
    for key, power in signature:
        moves = key[0] == "latent" and key[1] in steps
        choices.append([power] if not moves else [Fraction(j) for j in range(int(power) + 1)])
    for left in itertools.product(*choices):
        c, keep = coefficients, []
        for k, ((key, power), j) in enumerate(zip(signature, left, strict=True)):
            if j != power:
                c = c * math.comb(int(power), int(j)) * steps[key[1]][positions[:, k]] ** int(power - j)
            if j:
                keep.append(k)
        order = sorted(keep, key=lambda k: (str(signature[k][0]), left[k]))
        yield tuple((signature[k][0], left[k]) for k in order), positions[:, order], c
