"""Which closed form a site's prediction has, if it has one."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms

from conjugate_ppl.additive.leverage import BlockLaw
from conjugate_ppl.additive.removal import Fitted
from conjugate_ppl.algebra.definite import symmetric
from conjugate_ppl.algebra.paired import paired
from conjugate_ppl.algebra.sums import dot
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.variables import Variables
from conjugate_ppl.elimination.matrix import precision, statistic_of
from conjugate_ppl.families.logconcave import OnInterval
from conjugate_ppl.families.truncated import TRUNCATED_GAMMAS, TRUNCATED_NORMAL
from conjugate_ppl.marginals import CompoundOnInterval, CompoundVonMises
from conjugate_ppl.predictive.gaussian import location, normal, spread_of, student
from conjugate_ppl.predictive.links import Link, Parameters, known, link
from conjugate_ppl.predictive.rules import BETA, DIRICHLET, GAMMA

__all__ = ["NoClosedForm", "gamma_of", "predict", "site_law"]


class NoClosedForm(Exception):
    """A prediction is in no closed form that is known here; the message says why."""


def gamma_of(fitted: Fitted, site: str) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(a, b, sign) where z**sign ~ Gamma(a, rate=b), elements flat."""
    elimination, natural = fitted.naturals.get(site, (None, ()))
    name = elimination.family.name if elimination is not None else ""
    if name == "Gamma":
        return natural[0], -natural[1], 1
    if name == "InverseGamma":
        return -natural[0], -natural[1], -1
    return None


def predict(fitted: Fitted, parameters: Parameters) -> Any:
    """The distribution of an observation.

    Raises:
        NoClosedForm: if there is none here.
    """
    latents = {n for v in parameters.values.values() for n in v.roots}
    if latents & fitted.laws.keys():
        return _from_block(fitted, parameters)
    if latents & fitted.matrices.keys():
        return _from_matrix(fitted, parameters)
    if parameters.kind in DIRICHLET:
        return _from_dirichlet(fitted, parameters)
    if parameters.kind is dist.VonMises:
        return _from_direction(fitted, parameters)
    for rules in (GAMMA, BETA):
        rule = rules.get(parameters.kind)
        found = link(parameters.values[rule.parameter]) if rule is not None else None
        if rule is None or found is None:
            continue
        others = _others(parameters, rule.parameter)
        if rules is BETA:
            a, b = _beta_of(fitted, found)
            _check_apart(parameters, found)
            return _joined(rule.law(_number(a), _number(b), None, others), parameters)
        between = _interval_of(fitted, found.site)
        if between and found.form == "" and np.allclose(float(found.power), between[0] * rule.power(others), rtol=1e-6):
            _check_apart(parameters, found)
            return _joined(CompoundOnInterval(
                _between(between, found.selection), parameters.kind, rule.parameter, rule.power(others),
                _number(found.coefficient), others), parameters)
        law = gamma_of(fitted, found.site)
        if law is not None and found.form == "" and np.allclose(float(found.power) * law[2], rule.power(others),
                                                                rtol=1e-6):
            _check_apart(parameters, found)
            a, b = (_number(x[found.selection]) for x in law[:2])
            return _joined(rule.law(a, b, _number(found.coefficient), others), parameters)
    if parameters.kind in (dist.Normal, dist.LogNormal):
        mean = _from_mean(fitted, parameters)
        if mean is not None:
            return _joined(mean, parameters)
    raise NoClosedForm(f"no closed form is known here for a {parameters.kind.__name__} that depends so on "
                       + ", ".join(f"`{n}`" for n in sorted(latents)))


def _interval_of(fitted: Fitted, site: str) -> tuple[int, tuple[np.ndarray, ...]] | None:
    """(q, natural parameter and bounds) of a truncated law, whose statistics are log z and z**q, or z and z**2 for q = 0."""
    elimination, natural = fitted.naturals.get(site, (None, ()))
    powers = {f.name: q for q, f in ((0, TRUNCATED_NORMAL), *TRUNCATED_GAMMAS.items())}
    if elimination is None or elimination.family.name not in powers:
        return None
    return powers[elimination.family.name], natural


def _between(law: tuple[int, tuple[np.ndarray, ...]], selection: np.ndarray) -> OnInterval:
    return OnInterval(law[0], *(_number(x[selection]) for x in law[1]))


def _from_mean(fitted: Fitted, parameters: Parameters) -> Any:
    """A normal whose location is a truncated mean times a number, and another number; or None."""
    value = parameters.values["loc"]
    found = link(Value(value.shape, tuple(t for t in value.terms if t.atoms)))
    between = None if found is None else _interval_of(fitted, found.site)
    if found is None or between is None or between[0] != 0 or found.form or found.power != 1:
        return None
    _check_apart(parameters, found)
    by = np.broadcast_to(sum((t.coefficient() for t in value.terms if not t.atoms), np.zeros(())), value.shape)
    others = {"loc": _number(by), "scale": _others(parameters, "loc")["scale"]}
    return CompoundOnInterval(_between(between, found.selection), parameters.kind, "loc", 1.0,
                              _number(found.coefficient), others)


def _number(x: Any) -> Any:
    return jnp.asarray(x, jnp.result_type(float))


def _others(parameters: Parameters, *but: str) -> dict[str, Any]:
    out = {}
    for name, value in parameters.values.items():
        if name not in but:
            number = known(value)
            if number is None:
                raise NoClosedForm(f"its {name} depends on a latent as well")
            out[name] = jnp.asarray(number) if name == "total_count" else _number(number)
    return out


def _check_apart(parameters: Parameters, found: Link) -> None:
    """The elements of one event have latents of their own, or their joint law is no product."""
    if not parameters.joined:
        return
    events = np.reshape(found.selection, (int(np.prod(parameters.batch_shape)), -1))
    if any(len(np.unique(e)) < len(e) for e in events):
        raise NoClosedForm(f"elements of one event share an element of `{found.site}`, and their joint law is none "
                           "of NumPyro's. Without `to_event` each has its own")


def _joined(law: Any, parameters: Parameters) -> Any:
    return law.to_event(parameters.joined) if parameters.joined else law


def _beta_of(fitted: Fitted, found: Link) -> tuple[np.ndarray, np.ndarray]:
    elimination, natural = fitted.naturals[found.site]
    if elimination.family.name != "Beta" or found.power != 1 or not (np.abs(found.coefficient) == 1).all():
        raise NoClosedForm(f"`{found.site}` is no probability of it as it stands")
    a, b = (n[found.selection] for n in natural)
    turned = (found.coefficient < 0) if found.form == "log-odds" else np.full(a.shape, found.form == "complement")
    return np.where(turned, b, a), np.where(turned, a, b)


def _from_dirichlet(fitted: Fitted, parameters: Parameters) -> Any:
    (name,) = parameters.values.keys() & {"probs", "logits"}
    found = link(parameters.values[name])
    form = "" if name == "probs" else "log"
    if (found is None or found.site not in fitted.naturals or parameters.joined or found.form != form
            or found.power != 1 or not np.allclose(found.coefficient, 1)):
        raise NoClosedForm("its probabilities are not those of one Dirichlet latent, or several events are one")
    elimination, natural = fitted.naturals[found.site]
    if elimination.family.name != "Dirichlet":
        raise NoClosedForm(f"`{found.site}` is no Dirichlet")
    return DIRICHLET[parameters.kind](_number(natural[0][found.selection]), _others(parameters, name))


def _from_direction(fitted: Fitted, parameters: Parameters) -> Any:
    value = parameters.values["loc"]
    turned = [t for t in value.terms if t.atoms]
    found = link(Value(value.shape, tuple(turned)))
    if found is None or found.form or found.power != 1 or not np.allclose(np.abs(found.coefficient), 1):
        raise NoClosedForm("its direction is not that of one latent, turned")
    elimination, natural = fitted.naturals[found.site]
    if elimination.family.name != "VonMises":
        raise NoClosedForm(f"`{found.site}` is no von Mises")
    _check_apart(parameters, found)
    c, s = (n[found.selection] for n in natural)
    by = np.broadcast_to(sum((t.coefficient() for t in value.terms if not t.atoms), np.zeros(())), value.shape)
    loc = found.coefficient * np.arctan2(s, c) + by
    return _joined(CompoundVonMises(_number(loc), _others(parameters, "loc")["concentration"],
                                    _number(np.hypot(c, s))), parameters)


def _from_matrix(fitted: Fitted, parameters: Parameters) -> Any:
    """A multivariate t: the covariance is the inverse of a Wishart matrix of the site's, or an inverse Wishart one, times
    known numbers."""
    loc = known(parameters.values["loc"]) if parameters.kind is dist.MultivariateNormal else None
    if loc is None or parameters.joined:
        raise NoClosedForm("it is no multivariate normal of known location, one vector an event")
    root, variables = parameters.values["scale_tril"], Variables()
    last = len(root.shape) - 1
    batch = tuple(range(last - 1))
    covariance = dot(root, root, (((last,), (last,)), (batch, batch)), lambda t: paired(variables, t)).single
    if covariance is None or len(covariance.atoms) != 1 or not all(map(is_known, covariance.arrays)):
        raise NoClosedForm("its covariance is no matrix of one site, scaled")
    (atom,), c = covariance.atoms, covariance.coefficient()
    (site,) = atom.variable.roots
    elimination, log_det, matrix = fitted.matrices[site]
    n = matrix.shape[-1]
    of_precision = precision(elimination.family.name)
    full = np.broadcast_to(atom.selection, root.shape)
    if (statistic_of(atom, not of_precision) != 1 or any(k > 1 for k in c.shape[-2:])
            or (full % n**2 != symmetric((n, n))).any()):
        raise NoClosedForm(f"its covariance is not that of `{site}`, scaled")
    number = full[..., 0, 0] // n**2
    scale = np.broadcast_to(c[..., 0, 0], number.shape)
    df = 2 * abs(log_det[number]) - n + 1
    shape = -2 * matrix[number] * (scale / df)[..., None, None]
    return dist.MultivariateStudentT(_number(df), _number(loc), _number(np.linalg.cholesky(shape)))


def _from_block(fitted: Fitted, parameters: Parameters) -> Any:
    kind, values = parameters.kind, parameters.values
    multivariate = kind is dist.MultivariateNormal
    if kind not in (dist.Normal, dist.LogNormal, dist.MultivariateNormal):
        raise NoClosedForm(f"no closed form is known here for a {kind.__name__} of a Gaussian latent")
    found = location(values["loc"], fitted.laws)
    if found is None:
        raise NoClosedForm("its location is not affine in one block of Gaussian latents")
    law, mean, through, own = found
    if law.by_part:
        raise NoClosedForm("each part of its location has a scale of its own")
    joint = multivariate or parameters.joined > 0
    if joint and (own.any() or parameters.joined > (0 if multivariate else 1)):
        raise NoClosedForm("one event joins too many elements for their covariance")
    scale = values["scale_tril" if multivariate else "scale"]
    noise, gamma = known(scale), None
    if law.scale is not None:
        (_, site), power = law.scale
        by = link(scale)
        if by is None or by.site != site or by.power != -power / 2:
            raise NoClosedForm(f"its scale is not that of its location, which goes with `{site}`")
        noise, gamma = by.coefficient, gamma_of(fitted, site)
    if noise is None:
        raise NoClosedForm("its scale depends on a latent that its location does not scale with")
    spread = _number(spread_of(through, own, np.tril(noise) if multivariate else noise, joint))
    out = normal(_number(mean), spread, joint)
    if gamma is not None:
        out = student(_number(mean), spread, joint, *(_number(x[0]) for x in gamma[:2]))
    return dist.TransformedDistribution(out, transforms.ExpTransform()) if kind is dist.LogNormal else out


def site_law(fitted: Fitted, site: str, shape: tuple[int, ...]) -> Any:
    """The marginal law of a latent whose block a variance scales, or None where it has another."""
    law: BlockLaw | None = fitted.laws.get(site)
    if law is None or law.scale is None or law.by_part or law.inner is not None:
        return None
    gamma = gamma_of(fitted, law.scale[0][1])
    if gamma is None:
        return None
    size = int(np.prod(shape))
    part = slice(law.first[site], law.first[site] + size)
    mean, factor = (law.reference + law.mean)[part], law.factor[part]
    a, b = (_number(x[0]) for x in gamma[:2])
    if size == 1:
        spread = np.sqrt((factor**2).sum(-1))
        return student(_number(mean).reshape(shape), _number(spread).reshape(shape), False, a, b)
    low = np.linalg.cholesky(factor @ factor.T)
    return student(_number(mean), _number(low), True, a, b) if len(shape) == 1 else None
