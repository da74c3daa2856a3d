"""Closed forms of one observation given one latent of a gamma, beta or Dirichlet law: a table.

An inverse gamma z is a gamma 1 / z, so that one entry serves both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import transforms

from conjugate_ppl.marginals import BurrXII, CompoundGamma, DoubleLomax, GeneralizedBetaPrime, Lomax

__all__ = ["BETA", "DIRICHLET", "GAMMA", "Rule"]

Others = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One entry.

    Attributes:
        parameter: the one that depends on the latent, z, as c z**power.
        power: of a gamma latent, from the other parameters; 1 for a probability.
        law: from the latent's two parameters (of Gamma(a, rate=b), or of Beta(a, b)), c and the other parameters to
            the distribution of the observation.
    """

    parameter: str
    power: Callable[[Others], Any]
    law: Callable[[Any, Any, Any, Others], Any]


def _student(a: Any, b: Any, c: Any, loc: Any) -> Any:
    return dist.StudentT(2 * a, loc, c * jnp.sqrt(b / a))


def _exp(base: Any) -> Any:
    return dist.TransformedDistribution(base, transforms.ExpTransform())


def _pareto(a: Any, b: Any, c: Any, o: Others) -> Any:
    # log(x / scale) is an exponential of rate c z
    return dist.TransformedDistribution(Lomax(a, b / c), [
        transforms.ExpTransform(), transforms.AffineTransform(0.0, o["scale"], domain=dist.constraints.positive)])


GAMMA: dict[type, Rule] = {
    dist.Poisson: Rule("rate", lambda o: 1, lambda a, b, c, o: dist.GammaPoisson(a, b / c)),
    dist.Exponential: Rule("rate", lambda o: 1, lambda a, b, c, o: Lomax(a, b / c)),
    dist.Gamma: Rule("rate", lambda o: 1, lambda a, b, c, o: CompoundGamma(o["concentration"], a, b / c)),
    dist.InverseGamma: Rule("rate", lambda o: 1, lambda a, b, c, o: GeneralizedBetaPrime(
        a, o["concentration"], 1.0, c / b)),
    dist.Weibull: Rule("scale", lambda o: -1 / o["concentration"], lambda a, b, c, o: BurrXII(
        a, o["concentration"], c * b ** (1 / o["concentration"]))),
    dist.Laplace: Rule("scale", lambda o: -1, lambda a, b, c, o: DoubleLomax(a, o["loc"], c * b)),
    dist.Pareto: Rule("alpha", lambda o: 1, _pareto),
    dist.Normal: Rule("scale", lambda o: -0.5, lambda a, b, c, o: _student(a, b, c, o["loc"])),
    dist.LogNormal: Rule("scale", lambda o: -0.5, lambda a, b, c, o: _exp(_student(a, b, c, o["loc"]))),
    dist.HalfNormal: Rule("scale", lambda o: -0.5, lambda a, b, c, o: dist.FoldedDistribution(
        _student(a, b, c, 0.0))),
}
"""Type of the observation's distribution -> its law for a gamma latent."""


def _beta(parameter: str, law: Callable[[Any, Any, Others], Any]) -> Rule:
    return Rule(parameter, lambda o: 1, lambda a, b, c, o: law(a, b, o))


def _successes(a: Any, b: Any, o: Others) -> Any:
    # NumPyro draws by a table of this length
    return dist.BetaBinomial(a, b, jnp.round(o["total_count"]).astype(int))


def _until(a: Any, b: Any, o: Others) -> Any:
    return dist.BetaNegativeBinomial(a, b, o["total_count"])


BETA: dict[type, Rule] = {
    dist.BernoulliProbs: _beta("probs", lambda a, b, o: dist.BernoulliProbs(a / (a + b))),
    dist.BernoulliLogits: _beta("logits", lambda a, b, o: dist.BernoulliProbs(a / (a + b))),
    dist.BinomialProbs: _beta("probs", _successes),
    dist.BinomialLogits: _beta("logits", _successes),
    dist.NegativeBinomialProbs: _beta("probs", _until),
    dist.NegativeBinomialLogits: _beta("logits", _until),
    # failures before the first success: the other way round
    dist.GeometricProbs: _beta("probs", lambda a, b, o: dist.BetaNegativeBinomial(b, a, 1.0)),
    dist.GeometricLogits: _beta("logits", lambda a, b, o: dist.BetaNegativeBinomial(b, a, 1.0)),
}
"""The same for a beta latent."""

def _outcome(a: Any, o: Others) -> Any:
    return dist.CategoricalProbs(a / jnp.sum(a, -1, keepdims=True))


def _outcomes(a: Any, o: Others) -> Any:
    total = o["total_count"]
    return dist.DirichletMultinomial(a, total, total_count_max=int(jnp.max(total)))


DIRICHLET: dict[type, Callable[[Any, Others], Any]] = {
    dist.CategoricalProbs: _outcome,
    dist.CategoricalLogits: _outcome,
    dist.MultinomialProbs: _outcomes,
    dist.MultinomialLogits: _outcomes,
}
"""The same for a Dirichlet latent, whose parameter is `probs`, or the logarithm of which is `logits`."""
