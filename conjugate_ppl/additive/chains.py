"""The posterior law of a Gaussian chain, all of its elements together, as leave-one-out wants it.

A chain is drawn step by step from noise, which is an affine map: its value without noise is the mean, and its
derivative a factor of the covariance. Coefficients that all steps share have a law of their own, and the chain's mean is
affine in them. All of it in double precision, as of other blocks.
"""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from conjugate_ppl import _compat
from conjugate_ppl.additive.leverage import BlockLaw
from conjugate_ppl.elimination.joint import GaussianElimination
from conjugate_ppl.elimination.owners import Owned
from conjugate_ppl.elimination.statespace import StateSpaceElimination
from conjugate_ppl.planning.execute import Execution

__all__ = ["chain_law"]

_DENSE = 2000  # elements up to which all are written out together


def chain_law(execution: Execution, chain: StateSpaceElimination, later: GaussianElimination | None) -> BlockLaw | None:
    """The law of a chain and of the block `later` that holds what all steps share; None if it is too large."""
    program = execution.program
    sites = [*chain.sites, *(later.sites if later is not None else ())]
    sizes = [program.sites[n].size for n in sites]
    size = sum(sizes)
    if size > _DENSE:
        return None
    with _compat.double_precision():
        values = execution.values({})
        if chain.scale is not None:
            site = chain.scale[0]
            values = values.with_sites({site: jnp.ones(values.shape_of(site), values.dtype)})

        def parts() -> tuple[jax.Array, jax.Array, jax.Array]:
            """The mean, and a factor of the covariance: what the shared block does, and what the noise."""
            center, root = jnp.zeros(0), jnp.zeros((0, 0))
            unravel = None
            if later is not None:
                found = later.conditionals(later.laws(values))
                center, unravel = ravel_pytree({n: jnp.asarray(found[n].mean, values.dtype) for n in later.sites})
                # its log density is a quadratic
                root = jnp.linalg.cholesky(jnp.linalg.inv(-jax.hessian(
                    lambda z: later.log_prob(values.with_sites(unravel(z))))(center)))

            def compute(z: jax.Array, noise: jax.Array) -> jax.Array:
                given = values if unravel is None else values.with_sites(unravel(z))
                own = chain.from_noise(given, noise)
                shared = {} if unravel is None else unravel(z)
                return jnp.concatenate([jnp.reshape({**own, **shared}[n], -1) for n in sites])

            still = jnp.zeros(chain.model.shape)
            mean, push = jax.linearize(lambda noise: compute(center, noise), still)
            unit = jnp.eye(still.size).reshape(-1, *still.shape)
            through = jax.jacfwd(lambda z: compute(z, still))(center) @ root
            return mean, through, jax.vmap(push, out_axes=-1)(unit)

        # as one program: its operations, a hundred, would be compiled one by one
        mean, through, own = (np.asarray(x, float) for x in _compat.compiled_quickly(parts)())
    one = np.arange(size)
    scale = None if chain.scale is None else (("latent", chain.scale[0]), chain.scale[1])
    flat = later is not None and any(s.family == "Flat" for s in later.block.sites)
    return BlockLaw(dict(zip(sites, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True)), np.zeros(size), mean,
                    np.concatenate([through, own], 1), 0 * one - 1, 0 * one, None, scale, "",
                    Owned(scale[1] if scale else Fraction(0), 0 * one, 0 * one, one, 1), frozenset(), flat)
