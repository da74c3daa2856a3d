"""The Lomax (Pareto II) distribution: an exponential whose rate is a gamma.

    p(x) = a / s (1 + x / s)**-(a + 1),  x > 0
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpyro.distributions import constraints

from conjugate_ppl.marginals.generalized_beta_prime import GeneralizedBetaPrime

__all__ = ["Lomax"]


class Lomax(GeneralizedBetaPrime):
    """The marginal of x ~ Exponential(z), z ~ Gamma(concentration, rate=scale).

    Args:
        concentration: a, positive.
        scale: s, positive.

    Example:
        >>> from conjugate_ppl.marginals import Lomax
        >>> print(f"{Lomax(3.0, 2.0).mean:.3f}")
        1.000
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive,
                                                 "scale": constraints.positive}
    pytree_data_fields = ()

    def __init__(self, concentration: Any, scale: Any = 1.0, *, validate_args: bool | None = None) -> None:
        super().__init__(1.0, concentration, 1.0, scale, validate_args=validate_args)

    @property
    def concentration(self) -> Any:
        """a"""
        return self.concentration0
