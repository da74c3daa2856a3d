"""A site as what scales a Gaussian block: a vector of powers v**q, or matrices P, one for each part of the block.

A positive site with an inverse gamma or a gamma prior scales a part by its element's power, a Wishart's matrix (the
inverse of an inverse Wishart's) by itself: every monomial of the part carries one number of it. The part's
quadratic is then linear in the scale, so that its coefficients are derivatives where the scale is one, or the
identity. A vector is matrices of one row.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.definite import Gram, Inverted, symmetric
from conjugate_ppl.algebra.paired import LogDet
from conjugate_ppl.algebra.term import Atom, Term
from conjugate_ppl.algebra.variables import Latent, Variable, Variables
from conjugate_ppl.elimination.matrix import precision, statistic_of
from conjugate_ppl.families.wishart import WISHARTS
from conjugate_ppl.program import Site

__all__ = ["ScaleSite"]


@dataclasses.dataclass(frozen=True)
class ScaleSite:
    """One site that may scale parts of a block."""

    site: Site

    @property
    def rows(self) -> int:
        """Rows of each scale: 1 for those of numbers."""
        return self.site.shape[-1] if self.site.family in WISHARTS else 1

    @property
    def count(self) -> int:
        """How many scales there are."""
        return self.site.size // self.rows**2

    def power(self, terms: list[Term]) -> Fraction | None:
        """The power q with which it enters; None if there is not just one."""
        name = self.site.name
        powers = {a.power for t in terms for a in t.atoms if name in a.variable.roots}
        return powers.pop() if len(powers) == 1 else None

    def scales(self, atom: Atom, q: Fraction) -> bool:
        """Whether an atom is a number of a scale."""
        if self.rows > 1:
            return statistic_of(atom, precision(self.site.family)) == 1
        return isinstance(atom.variable, Latent) and atom.power == q

    @property
    def _sign(self) -> float:
        return 1.0 if precision(self.site.family) else -1.0

    @property
    def unit(self) -> np.ndarray:
        """The site's value where all scales are one."""
        shape = self.site.shape
        return np.ones(shape) if self.rows == 1 else np.broadcast_to(np.eye(self.rows), shape)

    def squares(self, slope: Any, q: Fraction) -> Any:
        """The quadratic's coefficients of all numbers of the scales, flat, by its derivative in the site there."""
        if self.rows == 1:
            return slope.reshape(-1) / float(q)
        g = self._sign * slope.reshape(-1, self.rows, self.rows)
        if self.site.support == "lower cholesky":  # d tr(L L'S) = 2 tr(dL'S) at L = 1, dL lower
            g = jnp.tril(g)
            g = g - 0.5 * g * jnp.eye(self.rows, dtype=g.dtype)
        return (0.5 * (g + g.swapaxes(1, 2))).reshape(-1)

    def _matrix(self, variables: Variables) -> Variable:
        """The variable of the site's matrices, M."""
        name, size = self.site.name, self.site.size
        latent = variables.once(("latent", name), lambda: Latent(
            name, size, False, frozenset({name}), self.site.support, None, self.rows))
        if self.site.support == "positive definite":
            return latent
        assert isinstance(latent, Latent)
        return variables.keep(("gram", latent), Gram(f"{name} {name}'", size, False, latent.roots, latent))

    def numbers(self, variables: Variables, q: Fraction) -> Atom:
        """All numbers of the scales, along one axis."""
        name, size = self.site.name, self.site.size
        if self.rows == 1:
            scale = variables.once(("latent", name), lambda: Latent(name, size, True, frozenset({name}), "positive"))
            return Atom(scale, q, np.arange(size))
        m = self._matrix(variables)
        if not precision(self.site.family):
            m = variables.keep(("inverted", m), Inverted(f"inverse of {m.name}", size, False, m.roots, m, self.rows))
        return Atom(m, Fraction(1), symmetric(self.site.shape).reshape(-1))

    def logarithms(self, variables: Variables, q: Fraction, flat: np.ndarray) -> Term:
        """What `flat` elements of each part add: minus half of the log determinant of their precision."""
        if self.rows == 1:
            log = variables.log(self.numbers(variables, q).variable)
            factors = -0.5 * float(q) * flat
        else:
            m = self._matrix(variables)
            log = variables.keep(("log det", m), LogDet(f"log det {m.name}", self.count, False, m.roots, m, self.rows))
            factors = -0.5 * self._sign * flat / self.rows
        return Term(0, (self.count,), (factors,), (Atom(log, Fraction(1), np.arange(self.count)),))
