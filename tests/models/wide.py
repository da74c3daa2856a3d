"""Components of five elements and more, and designs that depend on what is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import case

RNG = np.random.default_rng(11)
GROUPS, ROWS = 4, 60
GROUP = (np.arange(ROWS) * 7 % GROUPS).astype(np.int32)
DESIGN = np.round(RNG.normal(size=(ROWS, 12)), 3)
SEEN = np.round(DESIGN[:, :3].sum(1) + RNG.normal(size=ROWS), 3)
POINTS = np.round(np.linspace(-2.0, 2.0, ROWS), 3)


@case("b m", SEEN, GROUP, DESIGN[:, :5])
def wide_slopes_that_go_together(y, g, x):
    m = sample("m", dist.Normal(0.0, 5.0).expand([5]).to_event(1))
    t = sample("t", dist.HalfNormal(1.0).expand([5]).to_event(1))
    root = sample("root", dist.LKJCholesky(5, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("g", GROUPS):
        b = sample("b", dist.MultivariateNormal(m, scale_tril=t[:, None] * root))
    sample("y", dist.Normal((x * b[g]).sum(-1), s).to_event(1), obs=y)


@case("b m", SEEN, GROUP, DESIGN)
def wide_slopes_of_their_own(y, g, x):
    """Twelve elements a group, joined by their means alone."""
    m = sample("m", dist.Normal(0.0, 5.0).expand([12]).to_event(1))
    t = sample("t", dist.HalfNormal(1.0).expand([12]).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    with plate("g", GROUPS):
        b = sample("b", dist.Normal(m, t).to_event(1))
    sample("y", dist.Normal((x * b[g]).sum(-1), s).to_event(1), obs=y)


@case("b level", SEEN, POINTS)
def wide_basis_about_kept_centres(y, x):
    centre = sample("centre", dist.Normal(0.0, 2.0).expand([9]).to_event(1))
    width = sample("width", dist.LogNormal(0.0, 0.5))
    level = sample("level", dist.Normal(0.0, 10.0))
    b = sample("b", dist.Normal(0.0, 2.0).expand([9]).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(level + jnp.exp(-0.5 * ((x[:, None] - centre) / width) ** 2) @ b, s).to_event(1), obs=y)


@case("v", SEEN, DESIGN[:, :3])
def wide_last_layer(y, x):
    w = sample("w", dist.Normal(0.0, 1.0).expand([3, 9]).to_event(2))
    v = sample("v", dist.Normal(0.0, 0.5).expand([9]).to_event(1))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(jnp.tanh(x @ w) @ v, s * jnp.exp(0.1 * x[:, 0] * w[0, 0])).to_event(1), obs=y)


@case("b", SEEN, POINTS)
def wide_trend_below_a_process(y, x):
    """The precision of the rows is the inverse of a covariance that depends on what is kept."""
    length = sample("length", dist.LogNormal(0.0, 0.3))
    s = sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    k = jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + (0.1 + s**2) * jnp.eye(len(x))
    sample("y", dist.MultivariateNormal(b[0] + b[1] * x, k), obs=y)


@case("b", SEEN, DESIGN)
def wide_cosines(y, x):
    """A transform of what is twelve real numbers, by complex ones that are divided."""
    t, s = sample("t", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.Normal(0.0, t).expand([12]).to_event(1))
    turned = jax.scipy.fft.dct(b) + jnp.real(b * ((1 + 2j) * jnp.arange(12) / 12))
    sample("y", dist.Normal(x @ turned, s).to_event(1), obs=y)
