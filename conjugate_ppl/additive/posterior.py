"""`posterior`: a fitted model whose contributions can be added, taken away and weighted.

    posterior natural parameter = prior's + sum of contributions,
    log marginal = base + log_partition(posterior) - log_partition(prior)

(Sokoloski, arXiv 2404.19501, section 2; for a joint Gaussian block the natural parameter is kept as a location
and a scale for the prior and a quadratic about a reference point for the data). So data that come later, in
shards, with a weight, or not at all any more are one addition, and the model is solved for the sum.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.infer.util import log_density
from scipy.special import logsumexp

from conjugate_ppl import _compat
from conjugate_ppl.additive.cells import Cells
from conjugate_ppl.additive.fit import Part, check_sites, next_part
from conjugate_ppl.additive.polynomial import Polynomial, connected
from conjugate_ppl.additive.prior import Prior
from conjugate_ppl.additive.removal import Fitted, expectation_ratios
from conjugate_ppl.additive.states_removed import States
from conjugate_ppl.errors import DataError, ModelError, PlanError
from conjugate_ppl.families.subspace import Embedded
from conjugate_ppl.marginal import MarginalModel
from conjugate_ppl.predictive.laws import site_law
from conjugate_ppl.predictive.links import NoClosedForm, read_parameters
from conjugate_ppl.predictive.predict import predict

if TYPE_CHECKING:
    from conjugate_ppl.planning.execute import Execution

__all__ = ["Posterior"]

_STATES = 32  # that a posterior is made for, each


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """The exact posterior of all latents of a model, as a prior and the contributions of its data.

    `collapse(model).posterior(*args)` makes one. None of its methods changes it; those that add or take
    away give a new one. It prints as a table.

    Attributes:
        prior: the model without its data.
        parts: the data, a part for each `posterior`, `update` or `merge`.

    Example:
        >>> import jax.numpy as jnp, numpyro, numpyro.distributions as dist
        >>> import conjugate_ppl as cj
        >>> def model(y):
        ...     rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        ...     numpyro.sample("y", dist.Poisson(rate), obs=y)
        >>> first, second = jnp.array([3, 1, 4]), jnp.array([1, 5])
        >>> post = cj.collapse(model).posterior(first).update(second)
        >>> rate = post.distributions["rate"]
        >>> print(rate.concentration, rate.rate)  # 2 + 14 events, 1 + 5 observations
        16.0 6.0
        >>> print(post.without("y", 4).distributions["rate"].concentration)
        11.0
        >>> print(post.loo("y").round(3))  # log p(each | all others)
        [-1.625 -1.819 -2.136 -1.819 -2.957]
    """

    prior: Prior
    parts: tuple[Part, ...]

    def __getstate__(self) -> dict[str, Any]:  # what follows from the two is computed where it is needed
        return {"prior": self.prior, "parts": self.parts}

    # -- adding and taking away --------------------------------------------------------------------

    @_compat.one_thread
    def update(self, *args: Any, **kwargs: Any) -> Posterior:
        """The posterior after more data: the model's arguments with those.

        Only the new data are read; what was known before is added as it is.

        Raises:
            ModelError: if the model has other latents, observed sites, or another prior, with these arguments.
            PlanError: if it is not conjugate with them.
            DataError: if an observed value lies outside its support.
        """
        part = next_part(self.prior, args, kwargs, self.parts[0].total.origins)
        return dataclasses.replace(self, parts=(*self.parts, part))

    @_compat.one_thread
    def merge(self, *others: Posterior) -> Posterior:
        """The posterior after the data of several posteriors of one model; its prior counts once.

        Raises:
            ModelError: if they are of different models, priors, or values of what is given.
        """
        for other in others:
            if not isinstance(other, Posterior) or other.prior.model is not self.prior.model:
                raise ModelError("Only posteriors of one model can be merged. Give what `posterior` made of "
                                 "the same function, with other data.")
            if not _equal(self.prior.given, other.prior.given):
                names = list(self.prior.given)
                raise ModelError(f"The posteriors to merge were made for different values of {names}, so that "
                                 "they are about different things. Give all of them the same `kept=`.")
            self.prior.check_same(other.prior.args, other.prior.kwargs)
            check_sites(self.prior, other.prior.observed)
        return dataclasses.replace(self, parts=sum((o.parts for o in others), self.parts))

    def temper(self, power: float) -> Posterior:
        """The power posterior: prior times likelihood to this power (0: the prior, 1: no change).

        Raises:
            DataError: if the power is no finite number of 0 or more.
        """
        if not isinstance(power, numbers.Real) or not 0 <= power < math.inf:
            raise DataError(f"A likelihood to the power {power!r} makes no posterior. Give a number, 0 or more.")
        parts = [Part({n: c.weighted(float(power) * c.weights) for n, c in p.cells.items()}) for p in self.parts]
        return dataclasses.replace(self, parts=tuple(parts))

    def without(self, site: str, index: Any) -> Posterior:
        """The posterior without some observations of a site.

        Args:
            site: an observed site.
            index: which of its cells, as NumPy's indices say it: a number along its first axis, a tuple, a
                slice, a mask. Observations that `update` and `merge` added follow along the first axis.

        Raises:
            PlanError: if there is no such observed site.
            DataError: if there is no such cell.
        """
        cells = self._cells(site)
        weights = np.concatenate([np.atleast_1d(c.weights) for c in cells])
        try:
            weights[index] = 0.0
        except (IndexError, TypeError) as error:
            shape = weights.shape
            raise DataError(f"`{site}` has no observation {index!r}: its cells have shape {shape}. Give an "
                            "index of that shape.") from error
        ends = np.cumsum([len(np.atleast_1d(c.weights)) for c in cells])[:-1]
        new = [w.reshape(c.shape) for w, c in zip(np.split(weights, ends), cells, strict=True)]
        return dataclasses.replace(self, parts=tuple(
            Part({**p.cells, site: p.cells[site].weighted(w)}) for p, w in zip(self.parts, new, strict=True)))

    # -- what is known -----------------------------------------------------------------------------

    @functools.cached_property
    def collapsed(self) -> MarginalModel:
        """The prior times the sum of all contributions: a model without arguments, collapsed."""
        return MarginalModel(self.prior.with_likelihood(self._likelihood, self._together))

    @functools.cached_property
    def _likelihood(self) -> Polynomial:
        return functools.reduce(lambda a, b: a + b, (p.total for p in self.parts))

    @functools.cached_property
    def _together(self) -> list[tuple[str, ...]]:
        return connected(t.roots for p in self.parts for c in p.cells.values() for t in c.value.terms)

    @functools.cached_property
    def _states(self) -> States:
        return States(self.prior, self._likelihood, self._together, MarginalModel)

    @property
    def execution(self) -> Execution:
        """Its analysis.

        Raises:
            PlanError: if too little is left for a proper posterior.
        """
        found = self.collapsed.execution((), {})
        kept = [f"`{n}` ({found.plan[n].reason})" for n in found.plan.kept]
        if kept:
            listed = ", ".join(kept)
            raise PlanError(f"What is left of the data gives no posterior of {listed}. Likely a flat prior "
                            "needs more of them: take fewer away, or give it a proper prior.")
        return found

    @property
    def observations(self) -> dict[str, tuple[int, ...]]:
        """Shape of the cells of each observed site, all data together."""
        return {n: self._whole(n, [np.zeros(c.shape) for c in self._cells(n)]).shape
                for n in self.parts[0].cells}

    @_compat.one_thread
    def log_evidence(self) -> Any:
        """log p(data), exact; with `kept=` log p(kept, data). A likelihood with weights counts with them.

        Raises:
            PlanError: if a prior is improper (flat).
        """
        assert self.execution
        return self.collapsed.log_evidence()

    @property
    def distributions(self) -> dict[str, Any]:
        """The exact marginal posterior of each latent that has one in closed form, a NumPyro distribution."""
        assert self.execution
        found = self.collapsed.conditionals({})
        for name, shape in self.prior.latents.items():
            if name not in found and 0 not in shape:  # Student's t, where scales of its block are integrated out too
                law, turn = site_law(self._fitted, name, shape), self.prior.turns.get(name)
                found.update({} if law is None else {name: law if turn is None else Embedded(law, turn)})
        return {n: found[n] for n in self.prior.latents if n in found}

    @_compat.one_thread
    def predictive(self, site: str, *args: Any, **kwargs: Any) -> Any:
        """The exact law of new observations of a site, its latents integrated out.

        Each cell of the site's batch shape has its own, all given the same data (they are not
        independent of each other; one event is joint). `temper(0)` gives the prior's.

        Args:
            site: an observed site.
            *args, **kwargs: the model's arguments for the new observations, whose own values do not matter
                (default: those that the prior was read with).

        Returns:
            A NumPyro distribution: GammaPoisson, BetaBinomial, StudentT and so on.

        Raises:
            PlanError: if there is no such site, or no closed form is known here.
            ModelError: if the latents are others with these arguments.
        """
        self._cells(site)
        if args or kwargs:
            self.prior.check_same(args, kwargs, predicted=True)
        else:
            args, kwargs = self.prior.args, dict(self.prior.kwargs)
        discrete = self._discrete(site)
        if discrete:
            return self._mixture(site, discrete, args, kwargs)
        try:
            return predict(self._fitted, read_parameters(
                self.prior.fixed, args, kwargs, self.execution.program, site))
        except NoClosedForm as problem:
            reason = str(problem)
            raise PlanError(f"The prediction of `{site}` is in no closed form here: {reason}. Draw it instead: "
                            "latents by `sample`, then the site by `numpyro.infer.Predictive`.") from problem

    def sample(self, rng_key: Any, num_samples: int) -> dict[str, Any]:
        """Independent exact draws of all latents together: {site: array (num_samples, *site shape)}."""
        assert self.execution
        return self.collapsed.recover(rng_key, {}, num_samples=num_samples)

    def log_prob(self, values: Mapping[str, Any]) -> Any:
        """log p(latents | data), normalised, joint over all of them."""
        assert self.execution
        return self.collapsed.conditional_log_prob(values, {})

    def log_likelihood(self, values: Mapping[str, Any]) -> Any:
        """log p(data | latents), the sum of all contributions, as a function of the latents."""
        return sum(p.total(self.prior.inside(values)) for p in self.parts)

    @_compat.one_thread
    def loo(self, site: str) -> np.ndarray:
        """Exact leave-one-out: the log predictive density of each cell given everything else.

        Nothing is fitted again: a contribution is taken out of the posterior by the change of the
        log-partition, for a Gaussian block by the leverage of the cell. All cells at once.

        Args:
            site: an observed site.

        Returns:
            An array of the site's batch shape (data that were added follow along its first axis). A
            cell with weight 0, taken away before, is predicted by what is left; one that `temper` weighs
            counts once. A cell is what the model says of it: of one that it weighs itself
            (`numpyro.handlers.scale`) it is the log of the expectation of its density to that power.

        Raises:
            PlanError: if there is no such observed site.
        """
        cells = self._cells(site)
        weights = [np.asarray(c.weights, float).reshape(-1) for c in cells]
        ratios = self._ratios(site, [np.stack([-w, 1 - w]) for w in weights])
        found = [f.reshape(c.shape) for f, c in zip(ratios, cells, strict=True)]
        return self._whole(site, found).astype(jnp.result_type(float))

    def _in_each_state(self, what: str, discrete: frozenset[str]) -> list[tuple[float, Posterior]]:
        """For each state of all discrete latents that meet some, log p(state, data) and the posterior given it."""
        sites = sorted(discrete.union(*(b for b in self._together if discrete & set(b))) & self.prior.discrete.keys())
        shapes = [self.prior.latents[n] for n in sites]
        each = [self._possible(n) for n in sites]
        count = math.prod(len(states) for elements in each for states in elements)
        if count > _STATES:
            listed = ", ".join(f"`{n}`" for n in sites)
            raise PlanError(f"{what} is a mixture over the states of {listed}, which together have {count}, each with its own "
                            "posterior. What there is all the same are the posterior without some observations, `without(site, index)`, "
                            "and draws: latents by `sample`, then the site by `numpyro.infer.Predictive`.")
        out = []
        possible = {n: [np.array(v).reshape(s) for v in itertools.product(*elements)]
                    for n, s, elements in zip(sites, shapes, each, strict=True)}
        for states in itertools.product(*possible.values()):
            given = dict(zip(sites, states, strict=True))
            prior = dataclasses.replace(
                self.prior, given={**self.prior.given, **given},
                latents={n: s for n, s in self.prior.latents.items() if n not in given},
                discrete={n: s for n, s in self.prior.discrete.items() if n not in given})
            one = Posterior(prior, tuple(Part({n: c.given(given) for n, c in p.cells.items()}) for p in self.parts))
            seen = sum(float(np.sum(jnp.where(jnp.isneginf(x.at(given, jnp.asarray(x.table()))), -jnp.inf, 0.0)))
                       for x in self._likelihood.lookups if {n for n, _ in x.sites} <= given.keys())
            out.append((float(one._log_density) + seen, one))
        return [(e, one) for e, one in out if e > -np.inf]

    def _possible(self, name: str) -> list[np.ndarray]:
        """The states that each element of a discrete latent can take."""
        assert self.execution
        states, able = np.asarray(self.prior.discrete[name]), self.execution.program.sites[name].possible
        many = int(np.prod(self.prior.latents[name]))
        if able is None:
            return [states] * many
        return [states[row] for row in np.broadcast_to(able, (*self.prior.latents[name], len(states))).reshape(many, len(states))]

    @property
    def _log_density(self) -> Any:
        """The log evidence, or where a prior is flat a density that stands for it."""
        assert self.execution
        return log_density(self.collapsed, (), {}, {})[0]

    def _mixture(self, site: str, discrete: frozenset[str], args: Any, kwargs: Any) -> Any:
        """The prediction of a site, over the states of discrete latents."""
        each = self._in_each_state(f"The prediction of `{site}`", discrete)
        laws = [one.predictive(site, *args, **kwargs) for _, one in each]
        weights = np.array([e for e, _ in each])
        probs = jnp.asarray(np.exp(weights - logsumexp(weights)), jnp.result_type(float))
        return laws[0] if len(laws) == 1 else dist.MixtureGeneral(dist.CategoricalProbs(
            jnp.broadcast_to(probs, (*laws[0].batch_shape, len(laws)))), laws, support=laws[0].support)

    def _ratios(self, site: str, powers: list[np.ndarray]) -> list[np.ndarray]:
        """For the cells of each part, how the log evidence with the second power of them more differs from that with
        the first."""
        cells, discrete = self._cells(site), self._discrete(site)
        if not discrete:
            return [expectation_ratios(self._fitted, c, p) for c, p in zip(cells, powers, strict=True)]
        if all(c.value.roots <= self.prior.discrete.keys() for c in cells):
            return [self._states.expectation_ratios(c, p) for c, p in zip(cells, powers, strict=True)]
        each = self._in_each_state(f"Leaving out one of `{site}`", discrete)
        with_power = []
        for side in (0, 1):
            moved = [np.stack([0 * p[side], p[side]]) for p in powers]
            found = [[e + x for x in one._ratios(site, moved)] for e, one in each]
            with_power.append([logsumexp(x, 0) for x in zip(*found, strict=True)])
        return [after - before for before, after in zip(*with_power, strict=True)]

    def _discrete(self, site: str) -> frozenset[str]:
        """The discrete latents that an observed site's law given the others is a mixture over."""
        roots = {n for c in self._cells(site) for n in c.value.roots}
        above = [self._fitted.beneath[n] for n in roots if n in self._fitted.beneath]
        return frozenset(roots & self.prior.discrete.keys()).union(*above)

    @functools.cached_property
    def _fitted(self) -> Fitted:
        return Fitted.of(self.execution)

    def _cells(self, site: str) -> list[Cells]:
        if site not in self.parts[0].cells:
            known = ", ".join(f"`{n}`" for n in self.parts[0].cells) or "none"
            raise PlanError(f"`{site}` is no observed site of this posterior; those are {known}.")
        return [p.cells[site] for p in self.parts]

    def _whole(self, site: str, arrays: list[np.ndarray]) -> np.ndarray:
        """Arrays over the cells of each part as one."""
        if len(arrays) == 1:
            return arrays[0]
        return np.concatenate([np.atleast_1d(a) for a in arrays])

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        head = ("site", "shape", "posterior", "mean", "sd")
        rows = [head]
        found = self.distributions
        for name, shape in self.prior.latents.items():
            d, turn = found.get(name), self.prior.turns.get(name)
            shape = shape if turn is None else turn.forward_shape(shape)
            if d is None:
                rows.append((name, str(shape), "no closed form of its own", "", ""))
                continue
            mean, sd = (_short(m) for m in (d.mean, np.sqrt(np.asarray(d.variance))))
            if type(d) is dist.CategoricalProbs:  # classes have no mean
                mean, sd = "", ""
            rows.append((name, str(shape), type(d).__name__.strip("_"), mean, sd))
        widths = [max(len(r[k]) for r in rows) for k in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        lines.insert(1, "  ".join("-" * w for w in widths))
        data = ", ".join(f"`{n}` {s}" for n, s in self.observations.items())
        total = sum(float(c.weights.sum()) for p in self.parts for c in p.cells.values())
        return "\n".join(lines) + f"\n\nFrom the prior and {data}, of total weight {total:g}."


def _short(x: Any) -> str:
    x = np.asarray(x).reshape(-1)
    return " ".join(f"{v:.4g}" for v in x[:4]) + (" ..." if x.size > 4 else "")


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)
