"""The Wishart family: precision matrices; its inverse, covariance matrices; and their Cholesky factors.

    log p(P) = a log det P + tr(B P) - [lgamma_n(a) - a log det(-B)] - (n + 1)/2 log det P,

P positive definite of n rows, B negative definite. Of a covariance S = inv(P) the statistics are -log det S and
inv(S), with the same log-partition; a prior on a lower factor L is one on L L'.

Priors: Wishart(2a, rate_matrix=-2B), InverseWishart(2a, scale_matrix=-2B), and with `Cholesky`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import multigammaln

from conjugate_ppl.families.loggamma import difference
from conjugate_ppl.families.registry import Family, register_family

__all__ = ["WISHARTS"]


def _base(d: Any) -> Any:
    return d.base_dist if type(d) in (dist.Wishart, dist.InverseWishart) else d


def _parameters(d: Any) -> dict[str, Any]:
    d = _base(d)
    return {"concentration": d.concentration[..., None, None], "scale_tril": d.scale_tril}


def _log_det(m: Any) -> Any:
    """log det of definite matrices, by their factor."""
    places = jnp.arange(m.shape[-1])
    return 2 * jnp.sum(jnp.log(jnp.linalg.cholesky(m)[..., places, places]), -1)


def _family(kind: type, precision: bool, make: Callable[[Any, Any], Any]) -> Family:
    sign = 1.0 if precision else -1.0
    lower = kind in (dist.WishartCholesky, dist.InverseWishartCholesky)

    def natural(p: Any) -> tuple[Any, Any]:
        a, tril = 0.5 * p["concentration"][..., :1, :1], p["scale_tril"]
        if precision:
            eye = jnp.broadcast_to(jnp.eye(tril.shape[-1], dtype=tril.dtype), tril.shape)
            inverse = solve_triangular(tril, eye, lower=True)
            rate = jnp.matmul(inverse.swapaxes(-1, -2), inverse, precision="highest")
        else:
            rate = jnp.matmul(tril, tril.swapaxes(-1, -2), precision="highest")
        return sign * a, -0.5 * rate

    def log_partition(n: Any) -> Any:
        a = sign * n[0][..., 0, 0]
        return multigammaln(a, n[1].shape[-1]) - a * _log_det(-n[1])

    def log_ratio(n: Any, c: Any) -> Any:
        a, da = sign * n[0][..., 0, 0], sign * c[0][..., 0, 0]
        before, after = _log_det(-n[1]), _log_det(-n[1] - c[1])
        gammas = sum(difference(a - k / 2, da) for k in range(n[1].shape[-1]))
        return gammas - da * after - a * (after - before)

    of = "zz'" if lower else "z"
    return register_family(kind)(Family(
        name=kind.__name__,
        parameters=_parameters,
        statistics=(f"log det {of}", of if precision else f"inv {of}"),
        natural=natural,
        log_partition=log_partition,
        distribution=lambda n: make(2 * sign * n[0][..., 0, 0], -2 * n[1]),
        log_ratio=log_ratio,
        event_dim=2,
    ))


WISHARTS = {f.name: f for f in (
    _family(dist.Wishart, True, lambda a, m: dist.Wishart(a, rate_matrix=m)),
    _family(dist.WishartCholesky, True, lambda a, m: dist.WishartCholesky(a, rate_matrix=m)),
    _family(dist.InverseWishart, False, lambda a, m: dist.InverseWishart(a, scale_matrix=m)),
    _family(dist.InverseWishartCholesky, False, lambda a, m: dist.InverseWishartCholesky(a, scale_matrix=m)),
)}
