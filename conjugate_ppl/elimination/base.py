"""What every elimination offers, and the words in which a site is declined."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from conjugate_ppl.algebra.runtime import Values
from conjugate_ppl.algebra.term import Term
from conjugate_ppl.algebra.variables import (
    Complement,
    Elementwise,
    Exponential,
    Latent,
    Log,
    Opaque,
    Variable,
)
from conjugate_ppl.algebra.walk import Walk

__all__ = [
    "MARGINAL",
    "WHAT_IS_LEFT",
    "Beside",
    "Declined",
    "Elimination",
    "Parts",
    "Pool",
    "Remnant",
    "article",
    "check_coordinates",
    "describe",
    "marginalised",
    "spoken",
    "whole",
]

MARGINAL = "\0"
"""Ends the names of what eliminations leave; no site has such a name."""


WHAT_IS_LEFT = "what is left of"


class Declined(Exception):
    """A site cannot be collapsed: which, why, and the user's line that stands in the way.

    Where it stays so that others need not, these are the ones `before` it.
    """

    def __init__(self, site: str, reason: str, source: str = "", before: Iterable[str] = ()) -> None:
        super().__init__(f"{site}: {reason}")
        self.site, self.reason, self.source, self.before = site, reason, source, frozenset(before)


class Elimination(Protocol):
    """A block of sites integrated out, given values of everything outside it."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The block's sites, in the model's order."""

    @property
    def rule(self) -> str:
        """The rule's name, as `explain` shows it."""

    @property
    def alone(self) -> bool:
        """Whether draws are made faster one at a time than many at once."""

    def factored_once(self, changing: frozenset[str]) -> bool:
        """Whether draws factor no matrix anew for other values of the `changing` sites, of all that it reads."""

    def sample(self, key: Any, values: Values) -> dict[str, Any]:
        """One exact draw of the block."""

    def log_prob(self, values: Values) -> Any:
        """Normalised log density of the block's values in `values`."""

    @property
    def partition(self) -> Parts:
        """What it falls into, as far as known."""

    def centre(self, values: Values) -> dict[str, Any]:
        """Values of the block that its law finds likely."""

    def log_probs(self, values: Values) -> Any:
        """`log_prob` part by part, a vector."""

    def laws(self, values: Values) -> Any:
        """Arrays that say what the exact conditional of each site is."""

    def conditionals(self, laws: Any) -> dict[str, Any]:
        """The exact conditional of each site, a NumPyro distribution, by its `laws`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an elimination that are independent given everything outside it.

    Attributes:
        elements: for each site the part that each of its elements, flat, belongs to.
        rows: the part that each of the elimination's `log_probs` belongs to.
    """

    elements: Mapping[str, np.ndarray]
    rows: np.ndarray


def whole(shapes: Mapping[str, tuple[int, ...]]) -> Parts:
    """Sites of some shapes as a single part."""
    return Parts({n: np.zeros(int(np.prod(s)), int) for n, s in shapes.items()}, np.zeros(1, int))


class Beside(Declined):
    """A site is no part of a chain, but can be integrated out after it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Remnant:
    """What an elimination left, for one that goes on with other coordinates.

    Attributes:
        write: the same terms with the values that a walk has for the sites.
        points: values of sites near which the terms have most digits.
        squares: minus squares that determine no direction of the sites that the terms do not determine at all values
            of what is kept, likewise; or None where that is not proved.
        given: what was left altogether, where values of the sites are given, to the last digits; None where the terms have them.
    """

    write: Callable[[Walk], tuple[Term, ...]]
    points: Mapping[str, np.ndarray]
    squares: Callable[[Walk], tuple[Term, ...] | None]
    given: Callable[[Values], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Pool:
    """Log density still to be accounted for: scalar terms, by the factor that they come from."""

    factors: Mapping[str, tuple[Term, ...]]
    remnants: Mapping[str, Remnant] = dataclasses.field(default_factory=dict)

    def touching(self, site: str) -> dict[str, tuple[Term, ...]]:
        """The factors with a term that depends on `site`."""
        return {n: ts for n, ts in self.factors.items() if any(site in t.roots for t in ts)}

    def replaced(self, names: Iterable[str], new: Mapping[str, tuple[Term, ...]],
                 remnants: Mapping[str, Remnant] | None = None) -> Pool:
        """The pool without some factors and with others."""
        gone = set(names)
        return Pool({**{n: t for n, t in self.factors.items() if n not in gone}, **new},
                    {**{n: r for n, r in self.remnants.items() if n not in gone}, **(remnants or {})})


def marginalised(factor: str) -> list[str]:
    """The sites that a factor is left of by eliminations, none if it is a site's own."""
    return factor.removesuffix(MARGINAL).split(", ") if factor.endswith(MARGINAL) else []


def spoken(factor: str) -> str:
    """What a factor is called: a site, or what eliminations have left of some."""
    sites = marginalised(factor)
    if not sites:
        return f"`{factor}`"
    return f"{WHAT_IS_LEFT} " + " and ".join(f"`{s}`" for s in sites)


def article(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[:1] in 'AEIO' else 'a'} {noun}"


def describe(variable: Variable, power: Any, site: str) -> tuple[str, str]:
    """Why an atom is not one that a family knows: words, and the user's line."""
    if isinstance(variable, Log) and not isinstance(variable.base, Latent):
        return describe(variable.base, power, site)
    if isinstance(variable, Opaque):
        what = variable.reason or f"`{variable.equation.primitive}`"
        return f"`{site}` goes through {what}", variable.equation.source
    if isinstance(variable, Exponential):
        what = "`exp`" if variable.equation.primitive == "exp" else "a power whose exponent depends on a latent"
        return f"`{site}` goes through {what}", variable.equation.source
    if isinstance(variable, Elementwise):
        return (f"`{site}` goes through `{variable.primitive}`", variable.equation.source)
    if isinstance(variable, Log):
        return f"its logarithm enters (through {variable.base.name})", ""
    if isinstance(variable, Complement):
        return f"one minus `{site}` enters", ""
    if isinstance(variable, Latent):
        return f"`{site}` enters to the power {power}", ""
    return f"{variable.name} depends on it in no closed form", ""


def check_coordinates(terms: Iterable[Term], sites: frozenset[str], elements: Variable, source: str) -> None:
    """Raise `Declined` for terms in which `sites` enter otherwise than through their `elements`.

    What is a monomial in a site (`1 / (1 / z)`) need not be one in coordinates about a reference point.
    """
    for term in terms:
        for atom in term.atoms:
            if atom.variable is not elements and (inside := sorted(atom.variable.roots & sites)):
                reason, line = describe(atom.variable, atom.power, inside[0])
                raise Declined(inside[0], reason, line or source)
