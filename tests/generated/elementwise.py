"""Gamma, inverse gamma, beta and Dirichlet latents with every likelihood that is affine in theirs."""

from __future__ import annotations

from generated.gaussian import positive, rows
from generated.writer import Writer

__all__ = ["elementwise", "simplex"]


def elementwise(w: Writer) -> None:
    """One latent, or several side by side, and their observations through an index or element by element."""
    family = w.choose([_gamma, _inverse_gamma, _beta])
    w.note(f"family {family.__name__[1:]}")
    n = w.choose([3, 1, 2, 6])
    size = w.choose(["one", "rows", "groups"])
    count = {"one": 1, "rows": n, "groups": w.choose([2, 1, 3])}[size]
    prior, stem, kind = family(w)
    if size == "one":
        z = w.latent(stem, prior, (), kind, must=True).name
    else:
        z = w.many(stem, prior, count, False, kind, must=True).name
    if size == "groups":
        z = f"{z}[{w.constant('g', f'rng.integers(0, {count}, {n})')}]"
    for _ in range(1 + w.chance(20)):
        law = w.choose({"_gamma": _RATES, "_inverse_gamma": _SCALES, "_beta": _PROBS}[family.__name__])
        w.note(f"likelihood {law.__name__[1:]}")
        text = law(w, z, n)
        if size == "one" and ".expand" not in text:
            text += f".expand([{n}])"
        rows(w, text, n)


def simplex(w: Writer) -> None:
    """Dirichlet latents over outcomes or counts of outcomes."""
    w.note("family dirichlet")
    k, n, groups = w.choose([3, 2]), w.choose([3, 1, 4]), w.choose([0, 2, 3])
    alpha = _filled(w, w.choose([f"jnp.full({k}, 0.7)", f"jnp.arange(1.0, {k + 1})",
                                 f"{{}} * jnp.ones({k})"]))
    if groups:
        with w.within(f'numpyro.plate("{w.name("plate")}", {groups})'):
            phi = w.latent("phi", f"dist.Dirichlet({alpha})", (groups, k), "simplex", must=True).name
        phi = f"{phi}[{w.constant('g', f'rng.integers(0, {groups}, {n})')}]"
    else:
        phi = w.latent("phi", f"dist.Dirichlet({alpha})", (k,), "simplex", must=True).name
    law = w.choose([f"dist.Categorical(probs={phi})", f"dist.Multinomial(5, probs={phi})"])
    w.note(f"likelihood {law.split('(')[0]}")
    rows(w, law if groups else f"{law}.expand([{n}])", n)


# -- priors ------------------------------------------------------------------------------------------


def _gamma(w: Writer) -> tuple[str, str, str]:
    law = w.choose(["dist.Gamma(2.0, {})", "dist.Gamma({}, 1.5)", "dist.Exponential(0.7)",
                    "dist.Chi2(3.0)"])
    return _filled(w, law), "rate", "positive"


def _inverse_gamma(w: Writer) -> tuple[str, str, str]:
    law = w.choose(["dist.InverseGamma(3.0, {})", "dist.InverseGamma(2.0 + {}, 1.5)"])
    return _filled(w, law), "variance", "positive"


def _beta(w: Writer) -> tuple[str, str, str]:
    law = w.choose(["dist.Beta(2.0, {})", "dist.Beta({}, 1.5)", "dist.Uniform(0.0, 1.0)",
                    "dist.BetaProportion(0.4, 5.0)"])
    return _filled(w, law), "prob", "unit"


def _filled(w: Writer, law: str) -> str:
    return law.format(positive(w)) if "{}" in law else law


# -- likelihoods of a rate, a variance, a probability (text `z`) -----------------------------------------


def _exposure(w: Writer, z: str, n: int) -> str:
    if w.chance():
        return z
    e = w.constant("exposure", f"rng.uniform(0.5, 2.0, {n})")
    return str(w.choose([f"{z} * {e}", f"{e} * {z}", f"{z} / {e}", f"jnp.exp(jnp.log({z}) + jnp.log({e}))"]))


def _deviation(w: Writer, z: str) -> str:
    return str(w.choose([f"1 / jnp.sqrt({z})", f"{z}**-0.5", f"jax.lax.rsqrt({z})", f"jnp.sqrt(1 / {z})",
                         f"jnp.exp(-0.5 * jnp.log({z}))", f"jnp.power({z}, -0.5)"]))


def _poisson(w: Writer, z: str, n: int) -> str:
    return f"dist.Poisson({_exposure(w, z, n)})"


def _exponential(w: Writer, z: str, n: int) -> str:
    return f"dist.Exponential({_exposure(w, z, n)})"


def _gamma_of_rate(w: Writer, z: str, n: int) -> str:
    return f"dist.Gamma({positive(w)} + 0.5, {_exposure(w, z, n)})"


def _normal_of_precision(w: Writer, z: str, n: int) -> str:
    return f"dist.Normal({w.choose(['0.0', '1.2'])}, {_deviation(w, z)})"


def _log_normal_of_precision(w: Writer, z: str, n: int) -> str:
    return f"dist.LogNormal(0.5, {_deviation(w, z)})"


def _inverse_gamma_of_rate(w: Writer, z: str, n: int) -> str:
    return f"dist.InverseGamma(2.5, {_exposure(w, z, n)})"


def _half_normal_of_precision(w: Writer, z: str, n: int) -> str:
    return f"dist.HalfNormal({_deviation(w, z)})"


def _weibull_of_rate(w: Writer, z: str, n: int) -> str:
    return f"dist.Weibull(1 / {z}, 1.0)"


def _laplace_of_rate(w: Writer, z: str, n: int) -> str:
    return f"dist.Laplace(0.2, 1 / {z})"


def _pareto(w: Writer, z: str, n: int) -> str:
    return f"dist.Pareto(1.5, {z})"


def _normal_of_variance(w: Writer, z: str, n: int) -> str:
    return f"dist.Normal(0.3, {w.choose([f'jnp.sqrt({z})', f'{z}**0.5', f'jnp.exp(jnp.log({z}) / 2)'])})"


def _exponential_of_mean(w: Writer, z: str, n: int) -> str:
    return f"dist.Exponential({w.choose([f'1 / {z}', f'2.0 / {z}', f'{z}**-1'])})"


def _gamma_of_mean(w: Writer, z: str, n: int) -> str:
    return f"dist.Gamma(1.5, 1.5 / {z})"


def _bernoulli(w: Writer, z: str, n: int) -> str:
    return str(w.choose([f"dist.Bernoulli({z})", f"dist.Bernoulli(probs=1 - {z})",
                         f"dist.Bernoulli(logits=jax.scipy.special.logit({z}))",
                         f"dist.Bernoulli(logits=jnp.log({z}) - jnp.log1p(-{z}))"]))


def _binomial(w: Writer, z: str, n: int) -> str:
    size = w.constant("trials", f"rng.integers(1, 9, {n})") if w.chance() else "5"
    return f"dist.Binomial({size}, {z})"


def _geometric(w: Writer, z: str, n: int) -> str:
    return f"dist.Geometric({z})"


def _negative_binomial(w: Writer, z: str, n: int) -> str:
    return f"dist.NegativeBinomialProbs(3.0, {z})"


_RATES = [_poisson, _exponential, _gamma_of_rate, _normal_of_precision, _log_normal_of_precision,
          _inverse_gamma_of_rate, _half_normal_of_precision, _weibull_of_rate, _laplace_of_rate, _pareto]
_SCALES = [_normal_of_variance, _exponential_of_mean, _gamma_of_mean]
_PROBS = [_bernoulli, _binomial, _geometric, _negative_binomial]
