"""The Burr XII (Singh-Maddala) distribution: a Weibull whose rate is a gamma.

    P(x > t) = (1 + (t / s)**k)**-a,  t > 0

(Burr, Annals of Mathematical Statistics 13, 1942.)
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpyro.distributions import constraints

from conjugate_ppl.marginals.generalized_beta_prime import GeneralizedBetaPrime

__all__ = ["BurrXII"]


class BurrXII(GeneralizedBetaPrime):
    """The marginal of x ~ Weibull(scale=z**(-1 / power), power), z ~ Gamma(concentration, rate=scale**power).

    Args:
        concentration: a, positive.
        power: k, positive.
        scale: s, positive.

    Example:
        >>> from conjugate_ppl.marginals import BurrXII
        >>> print(f"{BurrXII(1.0, 2.0, 3.0).cdf(3.0):.3f}")
        0.500
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive,
                                                 "power": constraints.positive, "scale": constraints.positive}
    pytree_data_fields = ()

    def __init__(self, concentration: Any, power: Any, scale: Any = 1.0, *,
                 validate_args: bool | None = None) -> None:
        super().__init__(1.0, concentration, power, scale, validate_args=validate_args)

    @property
    def concentration(self) -> Any:
        """a"""
        return self.concentration0
