"""The Gaussian family: Normal, multivariate and matrix normal and CAR priors, and flat priors on the reals.

Gaussian latents are taken jointly, whatever their number and shapes; `conjugate_ppl.gaussian` has the
algorithms. A prior here is a location that may be affine in other Gaussian latents, and a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions.util import cholesky_of_inverse

from conjugate_ppl.densities import fills_the_reals
from conjugate_ppl.families.registry import GAUSSIAN, Family, register_family

__all__ = ["FLAT", "GAUSSIAN", "MATRIX", "MULTIVARIATE", "NORMAL"]

NORMAL = register_family(dist.Normal)(
    Family("Normal", lambda d: {"loc": d.loc, "scale": d.scale})
)


def _dense(d: Any) -> bool:
    return not getattr(d, "is_sparse", False)


def _multivariate(d: Any) -> Mapping[str, Any]:
    if type(d) is not dist.CAR:
        return {"loc": d.loc, "scale_tril": d.scale_tril}
    a = jnp.asarray(d.adj_matrix, jnp.result_type(float))
    counts = jnp.sum(a, -1)[..., None] * jnp.eye(a.shape[-1], dtype=a.dtype)
    tau, rho = (jnp.asarray(x, a.dtype)[..., None, None] for x in (d.conditional_precision, d.correlation))
    precision = tau * (counts - rho * a)
    return {"loc": d.loc, "scale_tril": cholesky_of_inverse(precision)}


MULTIVARIATE = register_family(dist.MultivariateNormal, dist.LowRankMultivariateNormal, dist.CAR, when=_dense)(
    Family("MultivariateNormal", _multivariate, event_dim=1)
)


def _matrix(d: Any) -> Mapping[str, Any]:
    """Rows one after the other: the factor is the Kronecker product of that of the rows and that of the columns."""
    row, column = d.scale_tril_row, d.scale_tril_column
    batch, (n, p) = d.batch_shape, d.event_shape
    product = row[..., :, None, :, None] * column[..., None, :, None, :]
    return {"loc": d.loc, "scale_tril": jnp.broadcast_to(product, (*batch, n, p, n, p)).reshape(*batch, n * p, n * p)}


MATRIX = register_family(dist.MatrixNormal)(Family("MatrixNormal", _matrix, event_dim=2))


FLAT = register_family(dist.ImproperUniform, when=fills_the_reals)(Family("Flat", lambda d: {}))
