"""Which closed form a site's prediction has, if it has one."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms

from conjugate_ppl.additive.removal import Fitted
from conjugate_ppl.algebra.term import Value
from conjugate_ppl.families.logconcave import OnInterval
from conjugate_ppl.families.truncated import TRUNCATED_GAMMAS, TRUNCATED_NORMAL
from conjugate_ppl.marginals import CompoundOnInterval, CompoundVonMises
from conjugate_ppl.predictive.gaussian import location, normal, spread_of, student
from conjugate_ppl.predictive.laws import gamma_of, number_of
from conjugate_ppl.predictive.links import Link, NoClosedForm, Parameters, known, link
from conjugate_ppl.predictive.matrices import from_matrix
from conjugate_ppl.predictive.rules import BETA, DIRICHLET, GAMMA

__all__ = ["NoClosedForm", "predict"]


def predict(fitted: Fitted, parameters: Parameters) -> Any:
    """The distribution of an observation.

    Raises:
        NoClosedForm: if there is none here.
    """
    latents = {n for v in parameters.values.values() for n in v.roots}
    if not latents:  # it is known
        return _joined(parameters.kind(**_others(parameters)), parameters)
    if latents & fitted.laws.keys():
        return _from_block(fitted, parameters)
    if latents & fitted.matrices.keys():
        return from_matrix(fitted, parameters)
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
            return _joined(rule.law(number_of(a), number_of(b), None, others), parameters)
        between = _interval_of(fitted, found.site)
        if between and found.form == "" and np.allclose(float(found.power), between[0] * rule.power(others), rtol=1e-6):
            _check_apart(parameters, found)
            return _joined(CompoundOnInterval(
                _between(between, found.selection), parameters.kind, rule.parameter, rule.power(others),
                number_of(found.coefficient), others), parameters)
        law = gamma_of(fitted, found.site)
        if law is not None and found.form == "" and np.allclose(float(found.power) * law[2], rule.power(others),
                                                                rtol=1e-6):
            _check_apart(parameters, found)
            a, b = (number_of(x[found.selection]) for x in law[:2])
            return _joined(rule.law(a, b, number_of(found.coefficient), others), parameters)
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
    return OnInterval(law[0], *(number_of(x[selection]) for x in law[1]))


def _from_mean(fitted: Fitted, parameters: Parameters) -> Any:
    """A normal whose location is a truncated mean times a number, and another number; or None."""
    value = parameters.values["loc"]
    found = link(Value(value.shape, tuple(t for t in value.terms if t.atoms)))
    between = None if found is None else _interval_of(fitted, found.site)
    if found is None or between is None or between[0] != 0 or found.form or found.power != 1:
        return None
    _check_apart(parameters, found)
    by = np.broadcast_to(sum((t.coefficient() for t in value.terms if not t.atoms), np.zeros(())), value.shape)
    others = {"loc": number_of(by), "scale": _others(parameters, "loc")["scale"]}
    return CompoundOnInterval(_between(between, found.selection), parameters.kind, "loc", 1.0,
                              number_of(found.coefficient), others)


def _others(parameters: Parameters, *but: str) -> dict[str, Any]:
    out = {}
    for name, value in parameters.values.items():
        if name not in but:
            number = known(value)
            if number is None:
                raise NoClosedForm(f"its {name} depends on a latent as well")
            out[name] = jnp.asarray(number) if name == "total_count" else number_of(number)
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
    return DIRICHLET[parameters.kind](number_of(natural[0][found.selection]), _others(parameters, name))


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
    return _joined(CompoundVonMises(number_of(loc), _others(parameters, "loc")["concentration"],
                                    number_of(np.hypot(c, s))), parameters)


def _from_block(fitted: Fitted, parameters: Parameters) -> Any:
    kind, values = parameters.kind, parameters.values
    multivariate = kind is dist.MultivariateNormal
    if kind not in (dist.Normal, dist.LogNormal, dist.MultivariateNormal):
        raise NoClosedForm(f"no closed form is known here for a {kind.__name__} of a Gaussian latent")
    found = location(values["loc"], fitted.laws)
    if found is None:
        raise NoClosedForm("its location is not affine in one block of Gaussian latents")
    if found.part is None:
        raise NoClosedForm("its location reads latents that go with several scales, or with several columns of one")
    if found.law.matrices:
        return from_matrix(fitted, parameters, found)
    law, own, joint = found.law, found.own, multivariate or parameters.joined > 0
    if joint and (own.any() or parameters.joined > (0 if multivariate else 1)):
        raise NoClosedForm("one event joins too many elements for their covariance")
    scale = values["scale_tril" if multivariate else "scale"]
    noise, gamma = known(scale), None
    if law.scale is not None:
        (_, site), power = law.scale
        by = link(scale)
        if by is None or by.site != site or by.power != -power / 2:
            raise NoClosedForm(f"its scale is not that of its location, which goes with `{site}`")
        noise, law_of_scale = by.coefficient, gamma_of(fitted, site)
        if law_of_scale is None:
            raise NoClosedForm(f"its scale goes with `{site}`, which is no gamma variable and no inverse of one")
        number = _one_scale(by, found.part, multivariate, joint)
        gamma = tuple(number_of(x[number]) for x in law_of_scale[:2])
    if noise is None:
        raise NoClosedForm("its scale depends on a latent that its location does not scale with")
    spread = number_of(spread_of(found.through, own, np.tril(noise) if multivariate else noise, joint))
    out = normal(number_of(found.mean), spread, joint)
    if gamma is not None:
        out = student(number_of(found.mean), spread, joint, *gamma)
    return dist.TransformedDistribution(out, transforms.ExpTransform()) if kind is dist.LogNormal else out


def _one_scale(by: Link, part: np.ndarray, multivariate: bool, joint: bool) -> np.ndarray:
    """Which number of the scales each event goes with, its location and noise alike."""
    number = by.selection
    if multivariate:
        number = np.where(by.coefficient == 0, number[..., :1, :1], number)
        number = np.where((number == number[..., :1, :1]).all((-1, -2)), number[..., 0, 0], -2)[..., None]
    if (((part != number) & (part >= 0)) | (number < 0)).any() or (joint and (number != number[..., :1]).any()):
        raise NoClosedForm("its location goes with another scale than its noise does, or one event with several")
    return number[..., 0] if joint else number
