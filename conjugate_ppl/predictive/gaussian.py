"""The law of an observation whose location is affine in a Gaussian block: normal, or Student's t where a variance
that scales block and noise alike is integrated out too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.additive.leverage import BlockLaw
from conjugate_ppl.additive.monomials import written
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.algebra.value import reshape

__all__ = ["Location", "location", "normal", "spread_of", "student"]


@dataclasses.dataclass(frozen=True, eq=False)
class Location:
    """A location that is affine in the elements of one block, `law`.

    Attributes:
        mean: its mean.
        through: G; its covariance is G G', and in large blocks what the components add to the variance of each is `own`.
        part: the scale that each goes with, -1 for what is known; None if some go with several, or read a row of
            another column.
    """

    law: BlockLaw
    mean: np.ndarray
    through: np.ndarray
    own: np.ndarray
    part: np.ndarray | None


def location(value: Value, laws: Mapping[str, BlockLaw]) -> Location | None:
    """A location that is affine in one block's elements; None if it is not."""
    size = int(np.prod(value.shape))
    rows, elements, numbers = [], [], []
    mean = np.zeros(size)
    law: BlockLaw | None = None
    sites: set[str] = set()
    for m in written(reshape(value, (size,))):
        if not m.atoms:
            np.add.at(mean, m.rows, m.numbers)
            continue
        if len(m.atoms) > 1 or m.atoms[0][1] != 1 or m.atoms[0][0][0] != "latent" or m.atoms[0][0][1] not in laws:
            return None
        site = m.atoms[0][0][1]
        if law is not None and laws[site] is not law:
            return None
        law = laws[site]
        sites.add(site)
        rows.append(m.rows)
        elements.append(law.places(site, m.positions[0]))
        numbers.append(m.numbers)
    if law is None:
        return None
    r, e, n = (np.concatenate(x) for x in (rows, elements, numbers))
    np.add.at(mean, r, n * (law.reference + law.mean)[e])
    through = np.zeros((size, law.factor.shape[1]))
    np.add.at(through, r, n[:, None] * law.factor[e])
    own: np.ndarray = np.zeros(size)
    if law.inner is not None:
        c, p = law.component[e], law.place[e]
        r, c, p, n = (x[c >= 0] for x in (r, c, p, n))
        pairs, index = np.unique(r * (len(law.inner) + 1) + c, return_inverse=True)
        parts = np.zeros((len(pairs), law.inner.shape[-1]))
        np.add.at(parts, (index, p), n)
        which = pairs % (len(law.inner) + 1)
        own = np.bincount(pairs // (len(law.inner) + 1),
                          np.einsum("ni,nij,nj->n", parts, law.inner[which], parts, optimize=True), size)
    part = None if sites & law.mixed else _part(law, size, *map(np.concatenate, (rows, elements, numbers)))
    return Location(law, mean.reshape(value.shape), through.reshape(*value.shape, -1), own.reshape(value.shape),
                    None if part is None else part.reshape(value.shape))


def _part(law: BlockLaw, size: int, r: np.ndarray, e: np.ndarray, n: np.ndarray) -> np.ndarray | None:
    """The scale that each row goes with; None if there are several."""
    owned, part = law.owned, np.full(size, -1)
    part[r] = owned.part[e]
    if (part[r] != owned.part[e]).any():
        return None
    if owned.rows > 1:  # each column the same sum of rows
        pairs, index = np.unique(r // owned.rows * len(owned.row) + owned.row[e], return_inverse=True)
        each = np.zeros((len(pairs), owned.rows))
        np.add.at(each, (index, owned.column[e]), n)
        if size % owned.rows or (owned.column[e] != r % owned.rows).any() or (each != each[:, :1]).any():
            return None
    return part


def spread_of(through: np.ndarray, own: np.ndarray, noise: np.ndarray, joint: bool) -> np.ndarray:
    """Standard deviations, or the Cholesky factor over the last axis where that is one event.

    `noise` is a standard deviation, or a factor of the noise's covariance with one more axis.
    """
    if not joint:
        return np.asarray(np.sqrt((through**2).sum(-1) + own + noise**2))
    if noise.ndim < through.ndim:
        noise = noise[..., :, None] * np.eye(noise.shape[-1])
    covariance = through @ np.swapaxes(through, -1, -2) + noise @ np.swapaxes(noise, -1, -2)
    return np.asarray(np.linalg.cholesky(covariance))


def normal(mean: Any, spread: Any, joint: bool) -> Any:
    """The normal law."""
    return dist.MultivariateNormal(mean, scale_tril=spread) if joint else dist.Normal(mean, spread)


def student(mean: Any, spread: Any, joint: bool, a: Any, b: Any) -> Any:
    """The law where the variance is v times that of `spread`, 1 / v ~ Gamma(a, b)."""
    wide = jnp.sqrt(b / a)
    if joint:
        return dist.MultivariateStudentT(2 * a, mean, spread * wide[..., None, None])
    return dist.StudentT(2 * a, mean, spread * wide)
