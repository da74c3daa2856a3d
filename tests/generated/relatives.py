"""Latents of the less common families: truncated, log-normal, directions, sticks and matrices."""

from __future__ import annotations

from generated.gaussian import positive, rows
from generated.writer import Writer

__all__ = ["relative"]


def relative(w: Writer) -> None:
    """One latent, or one for each group, and its observations."""
    family = w.choose([_log_normal, _truncated_mean, _truncated_rate, _bounded_scale, _direction, _sticks, _matrix])
    w.note(f"family {family.__name__[1:].replace('_', ' ')}")
    family(w, w.choose([3, 1, 2, 6]))


def _elements(w: Writer, prior: str, kind: str, n: int) -> str:
    """A latent for all rows or for groups of them, to be collapsed."""
    groups = w.choose([0, 2, 3])
    if not groups:
        return w.latent("v", prior, (), kind, must=True).name
    v = w.many("v", prior, groups, False, kind, must=True).name
    return f"{v}[{w.constant('g', f'rng.integers(0, {groups}, {n})')}]"


def _seen(w: Writer, law: str, n: int) -> None:
    rows(w, law if "[" in law else f"{law}.expand([{n}])", n)


def _log_normal(w: Writer, n: int) -> None:
    z = _elements(w, f"dist.LogNormal(0.3, {positive(w)})", "positive", n)
    law = w.choose([f"dist.LogNormal(0.5 + jnp.log({z}), {{}})", f"dist.Normal(jnp.log(2.0 * {z}), {{}})",
                    f"dist.Normal(1.5 * jnp.log({z}), {{}})"])
    _seen(w, law.format(positive(w)), n)


def _truncated_mean(w: Writer, n: int) -> None:
    law = w.choose(["dist.HalfNormal({})", "dist.Exponential({})", "dist.Uniform(-1.0, 1.0 + {})",
                    "dist.TruncatedNormal(0.5, {}, low=0.0)", "dist.TruncatedNormal(0.5, 2.0, low=-{}, high=3.0)"])
    z = _elements(w, law.format(positive(w)), "bounded", n)
    _seen(w, f"dist.Normal({w.choose([z, f'2.0 * {z} - 1.0', f'-{z}'])}, {positive(w)})", n)


def _truncated_rate(w: Writer, n: int) -> None:
    law = w.choose(["dist.Uniform(0.0, 2.5)", "dist.TwoSidedTruncatedGamma(dist.Gamma(2.0, 1.0), 0.3, 4.0)",
                    "dist.Pareto(0.5, 2.0)", "dist.LogUniform(0.2, 3.0)"])
    z = _elements(w, law, "bounded", n)
    _seen(w, str(w.choose([f"dist.Poisson(2.0 * {z})", f"dist.Exponential({z})", f"dist.Gamma(1.5, {z} / 2.0)"])), n)


def _bounded_scale(w: Writer, n: int) -> None:
    law = w.choose(["dist.Uniform(0.2, 5.0)", "dist.LogUniform(0.1, 5.0)"])
    z = _elements(w, law, "bounded", n)
    _seen(w, str(w.choose([f"dist.Normal(0.3, {z})", f"dist.LogNormal(0.3, {z})", f"dist.Normal(0.3, jnp.sqrt({z}))",
                           f"dist.Laplace(0.3, {z})"])), n)


def _direction(w: Writer, n: int) -> None:
    z = _elements(w, f"dist.VonMises(0.4, {positive(w)})", "angle", n)
    _seen(w, f"dist.VonMises({w.choose([z, f'{z} + 0.4', f'0.3 - {z}'])}, {positive(w)})", n)


def _sticks(w: Writer, n: int) -> None:
    k = w.choose([2, 1, 3])
    v = w.latent("stick", f"dist.Beta(1.0, {positive(w)}).expand([{k}])", (k,), "unit", must=True).name
    left = w.let("left", w.choose([f"jnp.cumprod(1 - {v})", f"jnp.exp(jnp.cumsum(jnp.log1p(-{v})))"]))
    weights = w.let("weights", f"jnp.concatenate([{v}, jnp.ones(1)]) * jnp.concatenate([jnp.ones(1), {left}])")
    rows(w, f"dist.Categorical(probs={weights}).expand([{n}])", n)


def _matrix(w: Writer, n: int) -> None:
    """A precision or covariance matrix of two numbers."""
    kind = w.choose(["Wishart", "InverseWishart", "WishartCholesky", "InverseWishartCholesky"])
    size = positive(w)
    prior = f"dist.{kind}(3.5, scale_matrix={size} * (jnp.eye(2) + 0.3))"
    z = w.latent("matrix", prior, (2, 2), "matrix", must=True).name
    if kind.endswith("Cholesky"):
        z = f"{z} @ {z}.T"
    spelled = "covariance_matrix" if kind.startswith("Inverse") else "precision_matrix"
    c = w.choose(["", "2.0 * "])
    rows(w, f"dist.MultivariateNormal(jnp.array([0.3, -0.2]), {spelled}={c}({z})).expand([{n}])", n)
