"""Which latents may be looked at at all, judged one by one before any algebra."""

from __future__ import annotations

from collections.abc import Iterable

from conjugate_ppl.elimination import Declined
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.families.normal import GAUSSIAN
from conjugate_ppl.program import Program, Site

__all__ = ["Dependencies", "confined", "obstacle"]


class Dependencies:
    """Which inputs (latents and params) every site's factor, scale, mask and support depend on."""

    def __init__(self, program: Program) -> None:
        sites = program.sites
        self.factor = {n: program.roots(s.factor, *s.support_numbers, confined(s)) for n, s in sites.items()}
        self.scale = {n: program.roots(s.scale) for n, s in sites.items()}
        self.mask = {n: program.roots(s.mask) for n, s in sites.items()}
        self.support = {n: program.roots(*s.support_numbers) for n, s in sites.items()}
        self.deterministic = {n: program.roots(k) for n, k in program.deterministics.items()}

    def touching(self, sites: Iterable[str]) -> list[str]:
        """Sites whose factor depends on any of `sites`, in the model's order."""
        wanted = frozenset(sites)
        return [n for n, d in self.factor.items() if d & wanted]

    def ancestors(self, sites: Iterable[str]) -> frozenset[str]:
        """The inputs that the factors of `sites` depend on, and those theirs depend on, and so on."""
        found: set[str] = set()
        left = list(sites)
        while left:
            new = self.factor.get(left.pop(), frozenset()) - found
            found |= new
            left += new
        return frozenset(found)


def obstacle(program: Program, deps: Dependencies, name: str, forward: frozenset[str],
             given: frozenset[str] = frozenset()) -> Declined | None:
    """Why a latent cannot be a candidate, or None.

    Sites in `forward` stand in nobody's way, and neither do discrete ones in `given`.
    """
    site = program.sites[name]
    reason = _own_obstacle(program, site)
    if reason:
        return Declined(name, reason, site.source)
    for other in deps.touching([name]):
        if other == name or other in forward:
            continue
        child = program.sites[other]
        reason = _child_obstacle(program, deps, name, child, given)
        if reason:
            return Declined(name, reason, child.source)
    return None


def _own_obstacle(program: Program, site: Site) -> str:
    if program.mutable:
        return "the model holds mutable state"
    if program.graph.effects:
        return "the model has side effects"
    if site.branched:
        return "it is sampled inside `cond`"
    if site.discrete:
        return _discrete_obstacle(program, site)
    if site.mask is not None and site.family != "Flat":
        return "its prior is masked"
    if site.family not in FAMILIES and not site.alternatives:
        return f"its prior, {site.distribution}, has no conjugate family here"
    if site.scale is not None:
        return "its prior is weighted by `scale` or a subsampled plate"
    numbers = [n for p in (site.parameters, *site.alternatives.values()) for n in p.values()]
    if site.family not in GAUSSIAN and site.name in program.roots(*numbers):
        return "its elements depend on each other, as the steps of a loop do"
    return ""


def confined(site: Site) -> int | None:
    """The value of an observed site, unless any real number will do."""
    return None if site.support == "real" else site.value


_MANY_STATES = 1 << 16
_SUMMED = ("Mixture", "ZeroInflated", "Hurdle")


def _discrete_obstacle(program: Program, site: Site) -> str:
    if program.roots(*site.support_numbers):
        return "it is discrete, and its largest value depends on a latent"
    if site.states is None:
        why = "are vectors" if site.event_dim else "are not finitely many"
        return f"it is discrete, and the values of a {site.distribution} {why}"
    states = len(site.states)
    if states > _MANY_STATES:
        return f"it is discrete, with {states} states"
    if site.scale is not None:
        return "its prior is weighted by `scale` or a subsampled plate"
    if _draws_noise(program, site):
        return "its prior depends on noise that the model draws outside any sample site"
    return ""


def _child_obstacle(program: Program, deps: Dependencies, name: str, child: Site, given: frozenset[str]) -> str:
    if child.branched:
        return f"`{child.name}` is sampled inside `cond`"
    if program.sites[name].discrete:
        return _obstacle_to_sum(program, deps, name, child)
    if program.roots(confined(child)):
        return f"the value of `{child.name}` depends on a latent and may lie outside its support"
    if child.auxiliary and program.sites[name].family not in GAUSSIAN:
        return f"the factor statement `{child.name}` depends on it"
    if not child.known_density:
        if child.distribution.startswith(_SUMMED):
            return (f"`{child.name}` is {child.distribution}, in which a discrete latent is summed out already; "
                    "with that latent as a site of its own it is summed out here")
        return (f"`{child.name}` is {child.distribution}, whose density is not registered; "
                "`register_density` adds it")
    if child.subsampled:
        return f"`{child.name}` is in a subsampled plate"
    if deps.scale[child.name]:
        return f"the weight (`scale`) of `{child.name}` depends on a latent"
    if name in deps.mask[child.name]:
        return f"the mask of `{child.name}` depends on it"
    if name in deps.support[child.name]:
        return f"the support of `{child.name}` depends on it"
    if _unseen(deps, child):
        return f"the support of `{child.name}` depends on a latent"
    if deps.support[child.name] & given:
        return f"the support of `{child.name}` depends on a discrete latent"
    discrete = [d for d in sorted(deps.factor[child.name])
                if d in program.sites and program.sites[d].discrete and d not in given]
    if child.name in discrete:
        return f"`{child.name}`, which depends on it, is a discrete latent"
    if discrete:
        latent = discrete[0]
        return f"`{child.name}` also depends on the discrete latent `{latent}`"
    return ""


def _unseen(deps: Dependencies, child: Site) -> bool:
    """Whether it cannot be told if observed values lie in a support that latents move."""
    return not (child.latent or child.vanishes) and bool(deps.support[child.name]) and (
        child.valid is None or child.mask_within > 0)


def _obstacle_to_sum(program: Program, deps: Dependencies, name: str, child: Site) -> str:
    """The same for a discrete latent, to which every density is conjugate."""
    if child.subsampled:
        return f"`{child.name}` is in a subsampled plate"
    if deps.scale[child.name]:
        return f"the weight (`scale`) of `{child.name}` depends on a latent"
    if name in deps.support[child.name] and not child.vanishes:
        return f"the support of `{child.name}` depends on it"
    if _unseen(deps, child):
        return f"the support of `{child.name}` depends on a latent"
    if _draws_noise(program, child):
        return f"`{child.name}` depends on noise that the model draws outside any sample site"
    return ""


def forward_only(program: Program, deps: Dependencies, gone: frozenset[str], name: str) -> bool:
    """Whether nothing left in the model depends on a latent: it is drawn from its prior."""
    site = program.sites[name]
    if (site.scale is not None or site.subsampled or not site.normalised or site.branched
            or program.mutable or program.graph.effects or _draws_noise(program, site)):
        return False
    if site.mask is not None and (deps.mask[name] or deps.support[name]):
        return False  # of mass one where it is not masked; where it is, of its support's size
    return all(n == name or n in gone for n in deps.touching([name]))


def _draws_noise(program: Program, site: Site) -> bool:
    """Whether a site's density depends on noise that the model draws outside any sample site."""
    noise = program.graph.noise
    return bool(noise) and not program.graph.needed_for([site.factor]).isdisjoint(noise)
