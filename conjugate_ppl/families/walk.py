"""Priors of a whole series, read as a Gaussian site whose location reads its own elements.

    x[t] = x[t-1] + scale u[t]        (GaussianRandomWalk)
    x[t] = A x[t-1] + L u[t]          (GaussianStateSpace)

That is what a `scan` over normal sites is, so that everything else is as for one.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

from conjugate_ppl.families.registry import register_series

__all__ = ["random_walk", "state_space"]


@register_series(dist.GaussianRandomWalk, "Normal")
def random_walk(d: Any, x: Any) -> dict[str, Any]:
    """Location and scale of every step, shape `x.shape`."""
    before = jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :-1]], -1)
    return {"loc": before, "scale": jnp.broadcast_to(jnp.expand_dims(d.scale, -1), jnp.shape(x))}


@register_series(dist.GaussianStateSpace, "MultivariateNormal")
def state_space(d: Any, x: Any) -> dict[str, Any]:
    """Location, shape `x.shape`, and scale of every step."""
    first = jnp.broadcast_to(jnp.expand_dims(d.initial_value, -2), jnp.shape(x[..., :1, :]))
    before = jnp.concatenate([first.astype(x.dtype), x[..., :-1, :]], -2)
    return {"loc": before @ jnp.swapaxes(d.transition_matrix, -1, -2),
            "scale_tril": jnp.expand_dims(d.scale_tril, -3)}
