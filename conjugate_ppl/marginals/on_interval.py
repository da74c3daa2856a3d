"""Observations whose rate, scale or mean has a truncated law: its integral is a ratio of two integrals.

With log p(x | g) = da(x) log g + db(x) g + base(x), and the law exp(a log z + b z**q) / z between two bounds, g = z**q,

    log p(x) = base(x) + log Z(a + q da, b + db) - log Z(a, b);

for a mean z the same with z and z**2 (`families/logconcave.py` has the integrals Z, exact to rounding).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions.util import validate_sample

from conjugate_ppl.families.logconcave import OnInterval, log_ratio

__all__ = ["CONTRIBUTIONS", "CompoundOnInterval"]

Others = Mapping[str, Any]
_NORMAL = 0.5 * math.log(2 * math.pi)


def _normal(c: Any, o: Others, x: Any) -> tuple[Any, Any, Any]:
    return 0.5, -0.5 * ((x - o["loc"]) / c) ** 2, -_NORMAL - jnp.log(c)


def _log_normal(c: Any, o: Others, x: Any) -> tuple[Any, Any, Any]:
    return 0.5, -0.5 * ((jnp.log(x) - o["loc"]) / c) ** 2, -_NORMAL - jnp.log(c) - jnp.log(x)


CONTRIBUTIONS: dict[type, Callable[[Any, Others, Any], tuple[Any, Any, Any]]] = {
    dist.Poisson: lambda c, o, x: (x, -c, x * jnp.log(c) - gammaln(x + 1.0)),
    dist.Exponential: lambda c, o, x: (1.0, -c * x, jnp.log(c)),
    dist.Gamma: lambda c, o, x: (o["concentration"], -c * x, o["concentration"] * jnp.log(c) + (
        o["concentration"] - 1) * jnp.log(x) - gammaln(o["concentration"])),
    dist.InverseGamma: lambda c, o, x: (o["concentration"], -c / x, o["concentration"] * jnp.log(c) - (
        o["concentration"] + 1) * jnp.log(x) - gammaln(o["concentration"])),
    dist.Weibull: lambda c, o, x: (1.0, -((x / c) ** o["concentration"]), jnp.log(o["concentration"]) + (
        o["concentration"] - 1) * jnp.log(x) - o["concentration"] * jnp.log(c)),
    dist.Laplace: lambda c, o, x: (1.0, -jnp.abs(x - o["loc"]) / c, -jnp.log(2 * c)),
    dist.Pareto: lambda c, o, x: (1.0, -c * jnp.log(x / o["scale"]), jnp.log(c) - jnp.log(x)),
    dist.Normal: _normal,
    dist.LogNormal: _log_normal,
    dist.HalfNormal: lambda c, o, x: (0.5, -0.5 * (x / c) ** 2, math.log(2.0) - _NORMAL - jnp.log(c)),
}
"""Type of an observation -> (c, its other parameters, x) to (da, db, base); its parameter is c g**power."""


class CompoundOnInterval(dist.Distribution):
    """x ~ kind(parameter = c g**power, others), g = z**q, z between two bounds; or x ~ Normal(c z + loc, scale).

    Args:
        law: of z, an `OnInterval`; where its `power` is 0, z is a mean.
        kind: the observation's type, one of `CONTRIBUTIONS`; `dist.Normal` or `dist.LogNormal` for a mean.
        parameter: name of the one that depends on z; power: of g in it.
        c: its coefficient.
        others: the other parameters by name.

    Example:
        >>> import numpyro.distributions as dist
        >>> from conjugate_ppl.families.logconcave import OnInterval
        >>> from conjugate_ppl.marginals import CompoundOnInterval
        >>> rate = OnInterval(1, 1.0, 0.0, 0.0, 2.0)  # uniform between 0 and 2
        >>> print(f"{CompoundOnInterval(rate, dist.Poisson, 'rate', 1.0, 1.0, {}).log_prob(0):.3f}")
        -0.839
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("law", "c", "others", "power")
    pytree_aux_fields = ("kind", "parameter")

    def __init__(self, law: OnInterval, kind: type, parameter: str, power: Any, c: Any, others: Others) -> None:
        self.law, self.kind, self.parameter = law, kind, parameter
        self.power, self.c, self.others = power, c, dict(others)
        super().__init__(law.batch_shape, (), validate_args=False)

    def given(self, z: Any) -> Any:
        """The observation's distribution at a value of z."""
        if self.law.power == 0:
            return self.kind(**{**self.others, "loc": self.c * z + self.others["loc"]})
        return self.kind(**{**self.others, self.parameter: self.c * z ** (self.law.power * self.power)})

    @property
    def support(self) -> Any:
        return self.given(jnp.ones_like(self.law.a)).support

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        first, second = jax.random.split(key)
        return self.given(self.law.sample(first, sample_shape)).sample(second)

    @validate_sample
    def log_prob(self, value: Any) -> Any:
        x, law = jnp.asarray(value, self.law.a.dtype), self.law
        curve, a, b, *bounds = law._in_w()
        if law.power == 0:
            logs = self.kind is dist.LogNormal
            gap = (jnp.log(x) if logs else x) - self.others["loc"]
            inverse = 1 / self.others["scale"] ** 2
            base = -0.5 * gap**2 * inverse - _NORMAL - jnp.log(self.others["scale"]) - (jnp.log(x) if logs else 0.0)
            da, db = self.c * gap * inverse, -0.5 * self.c**2 * inverse
        else:
            da, db, base = CONTRIBUTIONS[self.kind](self.c, self.others, x)
        return base + log_ratio(curve, a, b, jnp.asarray(da, x.dtype), jnp.asarray(db, x.dtype), *bounds)
