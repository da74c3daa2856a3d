"""The compound gamma (scaled beta prime) distribution: a gamma whose rate is a gamma.

    p(x) = (x / s)**(k - 1) (1 + x / s)**-(a + k) / (s B(k, a)),  x > 0

(Dubey, Metrika 16, 1970.)
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpyro.distributions import constraints

from conjugate_ppl.marginals.generalized_beta_prime import GeneralizedBetaPrime

__all__ = ["CompoundGamma"]


class CompoundGamma(GeneralizedBetaPrime):
    """The marginal of x ~ Gamma(shape, rate=z), z ~ Gamma(concentration, rate=scale).

    Args:
        shape: k, positive.
        concentration: a, positive.
        scale: s, positive.

    Example:
        >>> from conjugate_ppl.marginals import CompoundGamma
        >>> print(f"{CompoundGamma(2.0, 3.0, 5.0).mean:.3f}")
        5.000
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration1": constraints.positive,
                                                 "concentration": constraints.positive,
                                                 "scale": constraints.positive}
    pytree_data_fields = ()

    def __init__(self, shape: Any, concentration: Any, scale: Any = 1.0, *,
                 validate_args: bool | None = None) -> None:
        super().__init__(shape, concentration, 1.0, scale, validate_args=validate_args)

    @property
    def concentration(self) -> Any:
        """a"""
        return self.concentration0
