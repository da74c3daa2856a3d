"""Laws of latents whose scales are integrated out too: Student's t, of vectors and matrices as well."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.additive.leverage import BlockLaw
from conjugate_ppl.additive.removal import Fitted
from conjugate_ppl.elimination.conditionals import Reshaped
from conjugate_ppl.marginals import MatrixStudentT
from conjugate_ppl.predictive.gaussian import student

__all__ = ["gamma_of", "number_of", "site_law", "vectors"]

_DENSE = 2000  # elements whose covariance is written out


def number_of(x: Any) -> Any:
    """Numbers in the working type."""
    return jnp.asarray(x, jnp.result_type(float))


def gamma_of(fitted: Fitted, site: str) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(a, b, sign) where z**sign ~ Gamma(a, rate=b), elements flat."""
    elimination, natural = fitted.naturals.get(site, (None, ()))
    name = elimination.family.name if elimination is not None else ""
    if name == "Gamma":
        return natural[0], -natural[1], 1
    if name == "InverseGamma":
        return -natural[0], -natural[1], -1
    return None


def site_law(fitted: Fitted, site: str, shape: tuple[int, ...]) -> Any:
    """The marginal law of a latent whose block scales multiply; None where NumPyro and this package have none.

    Elements that go with different scales are independent; those with one are joined, so that they have to make up
    an event.
    """
    law: BlockLaw | None = fitted.laws.get(site)
    if law is None or site in law.mixed:
        return None
    size = int(np.prod(shape))
    elements = law.first[site] + np.arange(size)
    part, mean = law.owned.part[elements], (law.reference + law.mean)[elements]
    if law.matrices:
        return _rows(fitted, law, elements, mean, shape)
    gamma = None if law.scale is None else gamma_of(fitted, law.scale[0][1])
    if gamma is None:
        return None
    width = next((w for w in (1, shape[-1] if shape else 1, size) if w <= _DENSE and _events(part.reshape(-1, w))), 0)
    if not width:
        return None
    a, b = (number_of(x[part.reshape(-1, width)[:, 0]]) for x in gamma[:2])
    covariance = law.covariance(elements.reshape(-1, width))
    if width == 1:
        spread = np.sqrt(covariance).reshape(shape)
        return student(number_of(mean.reshape(shape)), number_of(spread), False, a.reshape(shape), b.reshape(shape))
    low = np.linalg.cholesky(covariance)
    if width == shape[-1]:
        events = shape[:-1]
        return student(number_of(mean.reshape(shape)), number_of(low.reshape(*shape, width)), True,
                       a.reshape(events), b.reshape(events))
    flat = student(number_of(mean), number_of(low[0]), True, a[0], b[0])
    return Reshaped(flat, dist.transforms.ReshapeTransform(shape, (size,)))


def _events(part: np.ndarray) -> bool:
    """Whether each row has one scale, which no other has."""
    return bool((part == part[:, :1]).all()) and len(np.unique(part[:, 0])) == len(part)


def _rows(fitted: Fitted, law: BlockLaw, elements: np.ndarray, mean: np.ndarray, shape: tuple[int, ...]) -> Any:
    """Vectors, or matrices of rows, that matrices of a site scale."""
    n = law.owned.rows
    if not shape or shape[-1] != n or (law.owned.column[elements].reshape(-1, n) != np.arange(n)).any():
        return None
    first, mean = elements.reshape(-1, n)[:, 0], mean.reshape(shape)
    part = law.owned.part[first]
    if _events(part[:, None]):
        scale = law.covariance(first[:, None])[:, 0, 0]
        return vectors(fitted, law.matrices, part.reshape(shape[:-1]), mean, scale.reshape(shape[:-1]))
    count = shape[-2] if len(shape) > 1 else 0
    if not 0 < count <= _DENSE or not _events(part.reshape(-1, count)):
        return None
    df, scatter = _inverse_wishart(fitted, law.matrices, part.reshape(-1, count)[:, 0].reshape(shape[:-2]))
    between = law.covariance(first.reshape(-1, count)).reshape(*shape[:-2], count, count)
    return MatrixStudentT(number_of(df), number_of(mean), number_of(np.linalg.cholesky(between)),
                          number_of(np.linalg.cholesky(scatter)))


def vectors(fitted: Fitted, site: str, number: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> Any:
    """Vectors whose covariance is a matrix of the site's (the inverse of a precision), by `number`, times `scale`."""
    df, scatter = _inverse_wishart(fitted, site, number)
    low = np.linalg.cholesky(scatter * (scale / df)[..., None, None])
    return dist.MultivariateStudentT(number_of(df), number_of(mean), number_of(low))


def _inverse_wishart(fitted: Fitted, site: str, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of freedom of the t, and the scale matrix, of some covariance matrices."""
    _, log_det, matrix = fitted.matrices[site]
    return 2 * abs(log_det[number]) - matrix.shape[-1] + 1, -2 * matrix[number]
