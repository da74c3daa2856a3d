"""Positive definite latents, their Cholesky factors, and the inverses of those.

The algebra of numbers ends at a factorisation. Here factors and inverses become variables that remember what
they are of, and `paired.py` knows what sums over their elements are. All matrices of a site are kept as one
vector, element (a, b) of matrix e at e n**2 + a n + b; `order` and `places` say how rows were moved.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from conjugate_ppl.algebra.term import Atom, Term, Value, is_known
from conjugate_ppl.algebra.variables import Latent, Variable, Variables
from conjugate_ppl.triangular import diagonal, inverse_triangular

if TYPE_CHECKING:
    from conjugate_ppl.algebra.runtime import Values
    from conjugate_ppl.algebra.walk import Walk

__all__ = ["Diagonal", "Factor", "Gram", "Inverse", "Inverted", "factor", "inverse", "inverted", "inverted_variable",
           "on_diagonals", "roots", "symmetric"]


@dataclasses.dataclass(frozen=True, eq=False)
class Gram(Variable):
    """L L' of a latent L with a positive diagonal."""

    base: Latent

    def elements(self, values: Values) -> Any:
        n = self.base.cells
        lower = jnp.tril(values.variable(self.base).reshape(-1, n, n))
        return jnp.matmul(lower, lower.swapaxes(1, 2), precision="highest").reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Factor(Variable):
    """The lower factor of M[order][:, order], M the matrices of `base`."""

    base: Variable
    cells: int
    order: tuple[int, ...]

    def elements(self, values: Values) -> Any:
        n, order = self.cells, np.asarray(self.order)
        m = values.variable(self.base).reshape(-1, n, n)[:, order][:, :, order]
        return jnp.linalg.cholesky(m).reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Inverse(Variable):
    """The inverse of the lower triangular matrix whose element k is element `places[k]` of the base."""

    base: Variable
    cells: int
    places: tuple[int, ...]

    def elements(self, values: Values) -> Any:
        n = self.cells
        m = values.variable(self.base).reshape(-1, n * n)[:, np.asarray(self.places)].reshape(-1, n, n)
        return inverse_triangular(m).reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Diagonal(Variable):
    """The diagonals of triangular matrices, positive; element a of matrix e at e n + a."""

    base: Variable
    cells: int

    def elements(self, values: Values) -> Any:
        n = self.cells
        return diagonal(values.variable(self.base).reshape(-1, n, n)).reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Inverted(Variable):
    """The inverses of definite matrices, element (a, b) of matrix e at e n**2 + a n + b."""

    base: Variable
    cells: int

    def elements(self, values: Values) -> Any:
        half = inverse_triangular(roots(values, self.base, self.cells))
        return jnp.matmul(half.swapaxes(1, 2), half, precision="highest").reshape(-1)


def inverted_variable(variables: Variables, base: Variable, n: int) -> Variable:
    """The inverses of the matrices of a variable, which may be inverses themselves."""
    if isinstance(base, Inverted):
        return base.base
    return variables.keep(("inverted", base), Inverted(f"inverse of {base.name}", base.size, False, base.roots, base, n))


def roots(values: Values, base: Variable, n: int) -> Any:
    """The lower factors of the matrices of a variable."""
    return jnp.linalg.cholesky(values.variable(base).reshape(-1, n, n))


def symmetric(shape: tuple[int, ...]) -> np.ndarray:
    """Where the elements of symmetric matrices are read from: the same for (a, b) and (b, a)."""
    n = shape[-1]
    a, b = np.indices((n, n))
    first = np.arange(int(np.prod(shape[:-2]))).reshape((*shape[:-2], 1, 1)) * n * n
    return np.asarray(first + np.maximum(a, b) * n + np.minimum(a, b))


def _triangular(v: Variable) -> bool:
    return isinstance(v, (Factor, Inverse)) or (isinstance(v, Latent) and v.support == "lower cholesky")


def _cells(v: Any) -> int:
    return int(v.base.cells if isinstance(v, Gram) else v.cells)


def _split(term: Term, shape: tuple[int, ...], wanted: Any) -> tuple[Atom, tuple[Atom, ...], np.ndarray,
                                                                    np.ndarray] | None:
    """(the matrix atom, the others, the matrix of each position, the places read within it), if all
    matrices are read in one way."""
    found = [a for a in term.atoms if wanted(a.variable)]
    if len(found) != 1 or found[0].power != 1 or not is_known(found[0].selection):
        return None
    others = tuple(a for a in term.atoms if a is not found[0])
    n = shape[-1]
    if shape[-2] != n or _cells(found[0].variable) != n:
        return None
    at = found[0].selection
    at = np.broadcast_to(at, (*at.shape[:-2], n, n))
    number, places = at // n**2, at % n**2
    if (number != number[..., :1, :1]).any() or (places != places.reshape(-1, n, n)[0]).any():
        return None
    return found[0], others, number[..., :1, :1], places.reshape(-1, n, n)[0]


def _value(walk: Walk, shape: tuple[int, ...], variable: Variable, number: np.ndarray, places: np.ndarray,
           coefficient: np.ndarray) -> Value:
    n = shape[-1]
    at = number * n**2 + places
    return Value(shape, (Term(len(shape), (), (coefficient,), (Atom(variable, Fraction(1), at),)),))


def _plain(n: int) -> np.ndarray:
    return np.arange(n * n).reshape(n, n)


def _definite(v: Variable) -> bool:
    return isinstance(v, (Gram, Inverted)) or (isinstance(v, Latent) and v.support == "positive definite")


def inverted(walk: Walk, x: Value) -> tuple[Value, Term] | None:
    """The inverse of a definite latent, and what scales the matrix; or None."""
    found = None if x.single is None else _split(x.single, x.shape, _definite)
    if found is None or x.single is None:
        return None
    atom, others, number, places = found
    n = x.shape[-1]
    if (places != symmetric((n, n))).any():
        return None
    made = inverted_variable(walk.variables, atom.variable, n)
    one = np.ones((1,) * len(x.shape))
    return (_value(walk, x.shape, made, number, places, one),
            Term(len(x.shape), (), x.single.coefficients, others))


def factor(walk: Walk, x: Value) -> tuple[Value, Term] | None:
    """The factor of a definite latent, its rows perhaps reordered, and what scales the matrix; or None."""
    if x.single is None:
        return None
    found = _split(x.single, x.shape, _definite)
    if found is None:
        return None
    atom, others, number, places = found
    n = x.shape[-1]
    order = np.diagonal(places) // n
    a, b = order[:, None], order[None, :]
    if len(set(order.tolist())) != n or (places != np.maximum(a, b) * n + np.minimum(a, b)).any():
        return None
    v, key = atom.variable, tuple(int(k) for k in order)
    made: Variable
    if isinstance(v, Gram) and key == tuple(range(n)):
        made = v.base
    else:
        made = walk.variables.once(("factor", v, key), lambda: Factor(
            f"factor of {v.name}", v.size, False, v.roots, v, n, key))
    one = np.ones((1,) * len(x.shape))
    rest = Term(len(x.shape), (), x.single.coefficients, others)
    return _value(walk, x.shape, made, number, _plain(n), one), rest


def inverse(walk: Walk, x: Value) -> tuple[Value, Term] | None:
    """The inverse of such a factor (of an inverse, the factor), and what scales it; or None."""
    if x.single is None or not all(map(is_known, x.single.coefficients)):
        return None
    found = _split(x.single, x.shape, _triangular)
    if found is None:
        return None
    atom, others, number, places = found
    n, v = x.shape[-1], atom.variable
    c = x.single.coefficient()
    full = np.broadcast_to(c, (*c.shape[:-2], n, n))
    lower = np.tril_indices(n)
    if (full[..., lower[0], lower[1]] != full[..., :1, 0]).any():
        return None
    rest = Term(len(x.shape), (), (full[..., :1, :1],), others)
    one = np.ones((1,) * len(x.shape))
    if isinstance(v, Inverse) and (places == _plain(n)).all():
        inner = np.asarray(v.places).reshape(n, n)
        return _value(walk, x.shape, v.base, number, inner, one), rest
    # of the base's lower part, elements on and below the diagonal stay there
    a, b = places[lower] // n, places[lower] % n
    if (b > a).any() or len(set(places.reshape(-1).tolist())) != n * n:
        return None
    key = tuple(int(k) for k in places.reshape(-1))
    made = walk.variables.once(("inverse of a factor", v, key), lambda: Inverse(
        f"inverse of {v.name}", v.size, False, v.roots, v, n, key))
    return _value(walk, x.shape, made, number, _plain(n), one), rest


def on_diagonals(walk: Walk, term: Term) -> Term:
    """A monomial in elements of triangular matrices, those on the diagonal as the positive numbers they are."""
    atoms = []
    for atom in term.atoms:
        while _triangular(atom.variable) and is_known(atom.selection):
            v: Any = atom.variable
            n = v.cells
            number, place = atom.selection // n**2, atom.selection % n**2
            if (place // n != place % n).any():
                break
            if isinstance(v, Inverse):  # 1 / the element of what it is the inverse of
                atom = Atom(v.base, -atom.power, number * n**2 + np.asarray(v.places)[place])
                continue
            made = walk.variables.keep(("diagonal", v), Diagonal(
                f"diagonal of {v.name}", v.size // n, True, v.roots, v, n))
            atom = Atom(made, atom.power, number * n + place % n)
        atoms.append(atom)
    return dataclasses.replace(term, atoms=tuple(atoms))
