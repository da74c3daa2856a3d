"""`reparam="auto"`: which kept latents are written as location plus scale times noise.

A location-scale latent that stays with the sampler, and whose location or scale depends on other latents that
stay, makes a funnel. Its non-centred form (Papaspiliopoulos, Roberts and Skold, Statistical Science 22, 2007) is
NumPyro's `LocScaleReparam(0)`. Where a collapsed latent enters its prior it stays centred: given the centred
latent that one is conjugate, and given the noise it would not be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam, Reparam
from numpyro.primitives import Messenger

from conjugate_ppl.planning.choose import Chosen
from conjugate_ppl.program import Program

__all__ = ["NOISE", "noncentred", "to_noncentre"]

NOISE = "_decentered"
"""Ends the name of the noise, as NumPyro makes it."""

_SHAPE: dict[str, tuple[str, ...]] = {"Normal": (), "StudentT": ("df",), "Cauchy": (), "Laplace": ()}


def to_noncentre(program: Program, chosen: Chosen) -> dict[str, tuple[str, ...]]:
    """The sites, each with the parameters of its shape."""
    plan, deps = chosen.plan, chosen.dependencies
    kept, collapsed = frozenset(plan.kept), frozenset(plan.collapsed)
    found = {}
    for name in plan.kept:
        site = program.sites[name]
        parents = deps.factor[name] - {name}
        if (site.distribution in _SHAPE and parents & kept and not parents & collapsed
                and site.mask is None and site.scale is None and site.looped is None and not site.branched):
            found[name] = _SHAPE[site.distribution]
    return found


def noncentred(model: Callable[..., Any], sites: dict[str, tuple[str, ...]]) -> Callable[..., Any]:
    """The model with these sites in non-centred form."""
    config: dict[str, Reparam] = {n: LocScaleReparam(0, shape_params=s) for n, s in sites.items()}
    out: Callable[..., Any] = handlers.reparam(_Expanded(model, frozenset(sites)), config=config)
    return out


class _Expanded(Messenger):
    """Sites with a `sample_shape` as ones of so many elements, of which NumPyro's reparametrisation would make one."""

    def __init__(self, model: Callable[..., Any], sites: frozenset[str]) -> None:
        super().__init__(model)
        self._sites = sites

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "sample" and msg["name"] in self._sites and msg["kwargs"].get("sample_shape"):
            msg["fn"] = msg["fn"].expand((*msg["kwargs"]["sample_shape"], *msg["fn"].batch_shape))
            msg["kwargs"] = {**msg["kwargs"], "sample_shape": ()}
