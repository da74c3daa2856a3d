"""The law of vectors whose covariance is one matrix of a site, scaled: a multivariate t.

    y | P ~ N(m + sum of rows of a block, c P^-1), the rows' own covariance given P being q P^-1:
    c + q in place of c, whatever P is (`elimination/owners.py` proves that it is so)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpyro.distributions as dist

from conjugate_ppl.additive.removal import Fitted
from conjugate_ppl.algebra.definite import symmetric
from conjugate_ppl.algebra.paired import paired
from conjugate_ppl.algebra.sums import dot
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.variables import Variables
from conjugate_ppl.elimination.matrix import precision, statistic_of
from conjugate_ppl.predictive.gaussian import Location
from conjugate_ppl.predictive.laws import vectors
from conjugate_ppl.predictive.links import NoClosedForm, Parameters, known

__all__ = ["from_matrix"]


def from_matrix(fitted: Fitted, parameters: Parameters, found: Location | None = None) -> Any:
    """The covariance is the inverse of a Wishart matrix of the site's, or an inverse Wishart one, times known numbers.

    Raises:
        NoClosedForm: if it is another one, or the location (`found`, if a block enters) goes with another matrix.
    """
    if parameters.kind is not dist.MultivariateNormal or parameters.joined:
        raise NoClosedForm("it is no multivariate normal, one vector an event")
    site, number, scale = _covariance(fitted, parameters.values["scale_tril"])
    if found is None:
        mean = known(parameters.values["loc"])
        if mean is None:
            raise NoClosedForm("its location depends on a latent that its covariance does not scale")
        return vectors(fitted, site, number, mean, scale)
    assert found.part is not None
    part = found.part[..., 0]
    if site != found.law.matrices or ((part != number) & (part >= 0)).any():
        raise NoClosedForm("its location goes with another matrix than its noise does")
    more = (found.through[..., 0, :] ** 2).sum(-1) + found.own[..., 0]
    return vectors(fitted, site, number, found.mean, scale + more)


def _covariance(fitted: Fitted, root: Value) -> tuple[str, np.ndarray, np.ndarray]:
    """The site, which of its matrices, and what times it the covariance is, from its factor."""
    variables, last = Variables(), len(root.shape) - 1
    batch = tuple(range(last - 1))
    covariance = dot(root, root, (((last,), (last,)), (batch, batch)), lambda t: paired(variables, t)).single
    if covariance is None or len(covariance.atoms) != 1 or not all(map(is_known, covariance.arrays)):
        raise NoClosedForm("its covariance is no matrix of one site, scaled")
    (atom,), c = covariance.atoms, covariance.coefficient()
    (site,) = atom.variable.roots
    if site not in fitted.matrices:
        raise NoClosedForm("its covariance is no matrix of one site, scaled")
    elimination, _, matrix = fitted.matrices[site]
    n = matrix.shape[-1]
    full = np.broadcast_to(atom.selection, root.shape)
    if (statistic_of(atom, not precision(elimination.family.name)) != 1 or (c != c[..., :1, :1]).any()
            or (full % n**2 != symmetric((n, n))).any()):
        raise NoClosedForm(f"its covariance is not that of `{site}`, scaled")
    number = full[..., 0, 0] // n**2
    return site, number, np.broadcast_to(c[..., 0, 0], number.shape)
