"""Plates, weights and masks."""

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import handlers, plate, sample

from declined.table import N, Y, declines


@declines("a", "subsampled plate", Y)
def subsampled(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    with plate("rows", N, subsample_size=3) as rows:
        sample("y", dist.Normal(a, 1.0), obs=y[rows])  # here


@declines("a", "weight (`scale`) of `y` depends on a latent", Y)
def weight_depends_on_a_latent(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    w = sample("w", dist.HalfNormal(1.0))
    with handlers.scale(scale=w):
        sample("y", dist.Normal(a, 1.0), obs=y)  # here


@declines("a", "weighted by `scale`", Y)
def weighted_prior(y):
    with handlers.scale(scale=0.5):
        a = sample("a", dist.Normal(0.0, 1.0))  # here
    sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "its prior is masked", Y)
def masked_prior(y):
    with plate("rows", N), handlers.mask(mask=jnp.arange(N) < 4):
        a = sample("a", dist.Normal(0.0, 1.0))  # here
        sample("y", dist.Normal(a, 1.0), obs=y)


@declines("a", "mask of `y` depends on it", Y)
def mask_depends_on_the_latent(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a, 1.0).mask(a > 0), obs=y)  # here
