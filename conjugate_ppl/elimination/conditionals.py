"""The exact conditional of each site of a Gaussian block, as a NumPyro distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.block import GaussianBlock
from conjugate_ppl.gaussian.posterior import inner_columns, moments
from conjugate_ppl.gaussian.site import BLOCK, GaussianSite
from conjugate_ppl.gaussian.solution import Solution

__all__ = ["Law", "Reshaped", "laws"]

_DENSE = 2000  # sites up to this size get a conditional with its full covariance


class Law(NamedTuple):
    """The exact normal law of a site's elements, whose covariance is F F' + diagonal.

    Fields:
        mean: in the site's shape.
        factor: F, a row for each element; lower triangular where there is no diagonal.
        diagonal: what each element has of its own, or None.
    """

    mean: Any
    factor: Any
    diagonal: Any

    def distribution(self) -> Any:
        """The law as a NumPyro distribution over arrays of the site's shape."""
        shape, size = self.mean.shape, self.mean.size
        if self.diagonal is None and size == 1:
            return dist.Normal(self.mean, self.factor.reshape(shape))
        flat = (dist.MultivariateNormal(self.mean.reshape(-1), scale_tril=self.factor)
                if self.diagonal is None else
                dist.LowRankMultivariateNormal(self.mean.reshape(-1), self.factor, self.diagonal))
        return flat if len(shape) == 1 else Reshaped(
            flat, dist.transforms.ReshapeTransform(shape, (size,)))


def laws(block: GaussianBlock, solution: Solution, to_sites: Callable[[Any], dict[str, Any]]
         ) -> dict[str, Law]:
    """The exact marginal of each site given the kept ones: multivariate normal over its elements.

    `to_sites` maps the block's elements to the sites. It is affine, so that their joint law follows
    by pushing mean and covariance of the elements through `jax.linearize` of it. A large site is left
    out unless its covariance is diagonal plus what comes through the rest, and so is one of a large block that is
    rotated, or whose location reads components.
    """
    law = moments(block, solution)
    mean, push = jax.linearize(to_sites, law.mean)
    dense = block.size <= 2 * _DENSE
    columns = law.rest
    if dense:
        columns = jnp.concatenate([columns, inner_columns(block, law.inner)], 1)
    images = jax.vmap(push, in_axes=1, out_axes=-1)(columns)
    out: dict[str, Law] = {}
    for s in block.sites:
        if not s.size:
            continue
        factor = images[s.name].reshape(s.size, -1)
        if s.size <= _DENSE and dense:
            out[s.name] = Law(mean[s.name], _lower_root(factor), None)
        elif _own_component(block, s):
            c, p = _component_places(block, s)
            out[s.name] = Law(mean[s.name], factor[:, : law.rest.shape[1]], jnp.sum(law.inner[c, p] ** 2, -1))
        elif s.size <= _DENSE and not block.components_rotated and _reads_rest(block, s):
            own = _through_components(block, s, law.inner)
            if own is not None:
                out[s.name] = Law(mean[s.name], _lower_root(jnp.concatenate([factor, own], 1)), None)
    return out


def _through_components(block: GaussianBlock, site: GaussianSite, inner: Any) -> Any:
    """The columns of a site's F that come through its components; None if these have too many elements."""
    c, p = _component_places(block, site)
    used, index = np.unique(c[c >= 0], return_inverse=True)
    if site.size * len(used) * block.structure.width > DENSE:
        return None
    columns = jnp.zeros((site.size, len(used), block.structure.width), inner.dtype)
    columns = columns.at[np.flatnonzero(c >= 0), index].set(inner[c[c >= 0], p[c >= 0]])
    return columns.reshape(site.size, -1)


def _lower_root(factor: Any) -> Any:
    """The lower triangular L with L L' = F F', without squares, in which small scales would vanish."""
    root = jnp.linalg.qr(factor.T, mode="r").T
    root = root * jnp.where(jnp.diagonal(root) < 0, -1.0, 1.0)
    # elements that are one to working precision (a prior scale near 0) leave zeros, which NumPyro refuses
    tiny = jnp.finfo(root.dtype).tiny
    return root + jnp.diag(jnp.where(jnp.diagonal(root) == 0, tiny, 0.0))


def _component_places(block: GaussianBlock, site: GaussianSite) -> tuple[np.ndarray, np.ndarray]:
    return block.structure.component[site.elements], block.structure.place[site.elements]


def _own_component(block: GaussianBlock, site: GaussianSite) -> bool:
    """Whether each element of a site has a component of its own, and no other site's component
    enters its location."""
    c, _ = _component_places(block, site)
    if (c < 0).any() or len(np.unique(c)) != len(c) or block.components_rotated:
        return False
    return _reads_rest(block, site)


def _reads_rest(block: GaussianBlock, site: GaussianSite) -> bool:
    """Whether a site's location reads no component."""
    read = [np.unique(a.selection) for t in (site.slope.terms if site.slope else ())
            for a in t.atoms if a.variable.name == BLOCK]
    return all((block.structure.component[r] < 0).all() for r in read)


class Reshaped(dist.TransformedDistribution):
    """A vector's distribution as that of an array; keeps its mean and variance."""

    def __init__(self, base: Any, transform: Any) -> None:
        super().__init__(base, transform)

    @property
    def mean(self) -> Any:
        return self.transforms[0](self.base_dist.mean)

    @property
    def variance(self) -> Any:
        return self.transforms[0](self.base_dist.variance)
