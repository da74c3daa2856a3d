"""The matrix t distribution: rows of a matrix-normal whose covariance is inverse Wishart.

    p(X) = c |I + U^-1 (X - M) V^-1 (X - M)'|**-((v + n + p - 1) / 2),
    c = Gamma_p((v + n + p - 1) / 2) / Gamma_p((v + p - 1) / 2) pi**(-n p / 2) |U|**(-p / 2) |V|**(-n / 2)

for n by p matrices X (Gupta & Nagar, Matrix Variate Distributions, ch. 4).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import multigammaln
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

__all__ = ["MatrixStudentT"]


class MatrixStudentT(dist.Distribution):
    """The marginal of X ~ MatrixNormal(loc, U, S), S ~ InverseWishart(df + p - 1, V).

    Args:
        df: degrees of freedom v, positive.
        loc: M, shape (..., n, p).
        scale_tril_row: Cholesky factor of U, shape (..., n, n).
        scale_tril_column: Cholesky factor of V, shape (..., p, p).

    Example:
        >>> import jax.numpy as jnp
        >>> from conjugate_ppl.marginals import MatrixStudentT
        >>> print(MatrixStudentT(4.0, jnp.zeros((2, 3)), jnp.eye(2), jnp.eye(3)).variance)
        [[0.5 0.5 0.5]
         [0.5 0.5 0.5]]
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "df": constraints.positive, "loc": constraints.real_matrix,
        "scale_tril_row": constraints.lower_cholesky, "scale_tril_column": constraints.lower_cholesky}
    support = constraints.real_matrix
    reparametrized_params: ClassVar[list[str]] = ["loc", "scale_tril_row", "scale_tril_column"]

    def __init__(self, df: Any, loc: Any, scale_tril_row: Any, scale_tril_column: Any, *,
                 validate_args: bool | None = None) -> None:
        n, p = jnp.shape(loc)[-2:]
        shape = jnp.broadcast_shapes(jnp.shape(df), *(
            jnp.shape(x)[:-2] for x in (loc, scale_tril_row, scale_tril_column)))
        self.df = jnp.broadcast_to(jnp.asarray(df, jnp.result_type(float)), shape)
        self.loc = jnp.broadcast_to(loc, (*shape, n, p))
        self.scale_tril_row = jnp.broadcast_to(scale_tril_row, (*shape, n, n))
        self.scale_tril_column = jnp.broadcast_to(scale_tril_column, (*shape, p, p))
        super().__init__(shape, (n, p), validate_args=validate_args)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        n, p = self.event_shape
        shape = sample_shape + self.batch_shape
        normal, low, diagonal = jax.random.split(key, 3)
        dtype = self.df.dtype
        # Bartlett's factor of a Wishart of df + p - 1 degrees of freedom
        chi2 = 2 * jax.random.gamma(diagonal, 0.5 * (self.df[..., None] + p - 1 - jnp.arange(p)), (*shape, p), dtype)
        factor = jnp.tril(jax.random.normal(low, (*shape, p, p), dtype), -1) + jnp.sqrt(chi2)[..., None] * jnp.eye(p)
        z = jax.random.normal(normal, (*shape, n, p), dtype)
        column = jnp.broadcast_to(self.scale_tril_column, (*shape, p, p))
        rows = solve_triangular(factor, jnp.swapaxes(z, -1, -2), lower=True, trans=1)
        return self.loc + self.scale_tril_row @ jnp.swapaxes(column @ rows, -1, -2)

    @validate_sample
    def log_prob(self, value: Any) -> Any:
        n, p = self.event_shape
        gap = value - self.loc
        row = jnp.broadcast_to(self.scale_tril_row, (*gap.shape[:-1], n))
        column = jnp.broadcast_to(self.scale_tril_column, (*gap.shape[:-2], p, p))
        white = solve_triangular(row, gap, lower=True)
        white = solve_triangular(column, jnp.swapaxes(white, -1, -2), lower=True)  # (..., p, n)
        gram = white @ jnp.swapaxes(white, -1, -2) if p <= n else jnp.swapaxes(white, -1, -2) @ white
        logdet = jnp.linalg.slogdet(jnp.eye(min(n, p)) + gram)[1]

        def half(low: Any) -> Any:
            return jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)), -1)

        top = 0.5 * (self.df + n + p - 1)
        return (multigammaln(top, p) - multigammaln(top - 0.5 * n, p) - 0.5 * n * p * math.log(math.pi)
                - p * half(row) - n * half(column) - top * logdet)

    @property
    def mean(self) -> Any:
        return jnp.where(self.df[..., None, None] > 1, self.loc, jnp.nan)

    @property
    def variance(self) -> Any:
        row, column = (jnp.sum(x**2, -1) for x in (self.scale_tril_row, self.scale_tril_column))
        df = self.df[..., None, None]
        finite = row[..., :, None] * column[..., None, :] / jnp.where(df > 2, df - 2, 1.0)
        return jnp.where(df > 2, finite, jnp.inf)
