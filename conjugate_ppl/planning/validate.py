"""Numbers that no model can have produced, found before any sampling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.errors import DataError
from conjugate_ppl.program import Program, Site

__all__ = ["check_finite", "check_observed"]


def check_observed(program: Program) -> None:
    """Raise `DataError` for NaN, infinite or out-of-support values in unmasked observed cells."""
    walk = Walk(program.graph, {n: _unknown(program, n) for n in program.graph.inputs}, ())
    for site in program.sites.values():
        if site.latent or site.value is None:
            continue
        value = _known(walk, site.value)
        if value is None:
            continue
        mask = None if site.mask is None else _known(walk, site.mask)
        if site.mask is not None and mask is None:
            continue
        bad = ~np.isfinite(value)
        last = range(bad.ndim - site.event_dim + site.mask_within, bad.ndim)
        place = _first(site, value, bad.any(tuple(last)), mask)
        if place:
            raise DataError(f"Observed site {place} is NaN or infinite. Likely it is a missing "
                            "value: remove the cell, or mask it (`numpyro.handlers.mask`, or "
                            "`obs_mask=`).")
        valid = None if site.valid is None or site.mask_within else _known(walk, site.valid)
        place = "" if valid is None else _first(site, value, ~valid.astype(bool), mask)
        if place:
            raise DataError(f"Observed site {place} lies outside the support of its distribution, "
                            f"{site.distribution}. Likely it is a count above its total, a label not "
                            "counted from 0, or a zero among positives: check the data, or choose a "
                            "distribution that allows the value.")


def check_finite(program: Program, factors: Mapping[str, Value]) -> None:
    """Raise `DataError` for log densities that are not finite, whatever the latents are."""
    for name, value in factors.items():
        known = [a for t in value.terms for a in t.coefficients if is_known(a)]
        if not all(np.isfinite(a).all() for a in known):
            source = program.sites[name].source
            raise DataError(f"The log density of `{name}` is NaN or infinite whatever the latents "
                            f"are ({source}). Likely a covariate there is NaN, or a scale zero or "
                            "negative: look at the numbers that the statement uses.")


def _unknown(program: Program, number: int) -> Value:
    from conjugate_ppl.algebra.variables import Variable

    shape = program.graph.shapes[number]
    size = int(np.prod(shape))
    return Value.of(Variable(f"input {number}", size, False, frozenset({"latent"})), shape)


def _known(walk: Walk, number: int) -> np.ndarray | None:
    (value,) = walk.run([number])
    if value.roots or not all(is_known(a) for t in value.terms for a in t.arrays):
        return None
    total = sum((t.coefficient() for t in value.terms), np.zeros(()))
    return np.broadcast_to(total, value.shape)


def _first(site: Site, value: np.ndarray, bad: np.ndarray, mask: np.ndarray | None) -> str:
    """Where the first bad cell that is not masked is, what it holds and how many there are; or ""."""
    if mask is not None:
        shape = np.broadcast_shapes(bad.shape, mask.shape)
        bad = np.broadcast_to(bad, shape) & np.broadcast_to(mask.astype(bool), shape)
    if not bad.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    at = f" at {index if len(index) != 1 else index[0]}" if index else ""
    shown = f"{value[index]}, " if bad.shape == value.shape[: bad.ndim] else ""
    return f"`{site.name}`{at} ({shown}{int(bad.sum())} such in all; {site.source})"
