"""A model's prior and what data say, put together as a model again.

The sum of the observed sites' log densities is one polynomial in the latents, so that

    the user's model, its observed sites hidden   +   statements with that polynomial as log density

is an ordinary model, of which everything else in this package is true: it is collapsed as any other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.primitives import Messenger

from conjugate_ppl import _compat
from conjugate_ppl.additive.polynomial import Polynomial, digits
from conjugate_ppl.algebra.term import Value, is_known
from conjugate_ppl.algebra.walk import Walk
from conjugate_ppl.densities import base_of, register_density
from conjugate_ppl.errors import ModelError
from conjugate_ppl.program import Program, trace_program

__all__ = ["Likelihood", "Prior"]

_STATES = 8  # of a discrete latent, in which its prior is compared


class Likelihood(dist.Distribution):
    """Stands for observed sites: its log density is theirs, whatever the value.

    It is computed when it is asked for, and so not at all where the statement is replaced. `source` is where they are
    written.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = dist.constraints.real
    pytree_aux_fields = ("log_likelihood", "source")

    def __init__(self, log_likelihood: Callable[[], Any], shape: tuple[int, ...] = (), source: str = "") -> None:
        self.log_likelihood, self.source = log_likelihood, source
        super().__init__(shape, (), validate_args=False)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        return jnp.zeros(self.shape(sample_shape))

    def log_prob(self, value: Any) -> Any:
        return jnp.broadcast_to(_compat.without_line(self.log_likelihood), jnp.shape(value))


@register_density(Likelihood)
def _(d: Any, x: Any) -> Any:
    return jnp.broadcast_to(_compat.without_line(d.log_likelihood), jnp.shape(x))


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """What a model says without its data.

    Attributes:
        model: the user's model.
        args, kwargs: the arguments that its prior is read with.
        given: values of the sites that are not integrated out.
        observed: the sites that are data.
        latents: shape of each latent, of its coordinates where it lies on a subspace.
        turns: what makes the values of those of their coordinates.
        hidden: other sites that belong to the data.
        discrete: the values that each discrete latent can take.
        source: the line of the first observed site.
    """

    model: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    given: Mapping[str, Any]
    observed: tuple[str, ...]
    latents: Mapping[str, tuple[int, ...]]
    turns: Mapping[str, Any]
    hidden: tuple[str, ...] = ()
    discrete: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    source: str = ""

    def inside(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The latents among some values, as the likelihood has them."""
        return {n: self.turns[n].inv(x) if n in self.turns else x for n, x in values.items() if n in self.latents}

    def fixed(self, *args: Any, **kwargs: Any) -> None:
        """The model with what is given as data."""
        with _Given(self.given):
            self.model(*args, **kwargs)

    def with_likelihood(self, likelihood: Polynomial, together: Collection[tuple[str, ...]] | None = None
                        ) -> Callable[..., None]:
        """The prior times a likelihood, as a model without arguments; or with one, tables in place of `tables_of` it.

        `together` are the sites that meet in some monomial of the data, be its weight 0 (default: those of the
        likelihood): a statement for each.
        Joined for no reason, sites could not be integrated out one after the other; apart, they would be other
        blocks than those of the data.
        """
        blocks = list(likelihood.together if together is None else together)
        if self.discrete or not blocks:  # where what no latent enters needs a statement of its own
            blocks.insert(0, ())
        level = sum(x.level.sum() for x in likelihood.lookups)
        if blocks[0]:
            level += sum(x.sum() for _, x in likelihood.on(()).groups.values())
        data = ", ".join(self.observed)

        def model(tables: Mapping[tuple[str, ...], list[Any]] | None = None) -> None:
            with handlers.block(hide=[*self.observed, *self.hidden]), handlers.trace() as trace:
                self.fixed(*self.args, **self.kwargs)
            values = self.inside({n: s["value"] for n, s in trace.items()})
            # what is hidden within a loop has no value here, and then its statement is hidden too
            values = {n: values.get(n, jnp.zeros(s)) for n, s in self.latents.items()}
            for sites in blocks:
                part = likelihood.on(sites)
                name = data if len(blocks) == 1 else f"{data} on {', '.join(sites) or 'nothing'}"
                if sites and self.discrete:  # monomial by monomial, or it could not be seen what states have to do with
                    own = [digits(x) for x in self.tables_of(part)] if tables is None else tables.get(sites, [])
                    for k, found in enumerate(part.by_monomial(values, own)):
                        of_states = Likelihood(functools.partial(_itself, found), jnp.shape(found), self.source)
                        numpyro.sample(f"{name} ({k})", of_states, obs=jnp.zeros(jnp.shape(found)))
                    continue
                total = functools.partial(_total, part, values, sites, level if sites == blocks[0] else 0.0)
                numpyro.sample(name, Likelihood(total, source=self.source), obs=jnp.zeros(()))

        return model

    @staticmethod
    def tables_of(part: Polynomial) -> list[np.ndarray]:
        """What data say of the states of discrete latents, measured from the likeliest."""
        return [found.table() - found.level for found in part.lookups]

    def check_same(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], predicted: bool = False) -> Program:
        """The program of other arguments; where they are to be predicted, observed sites may have no value.

        Raises:
            ModelError: if the model has another prior with them.
        """
        own, other = (trace_program(self.fixed, a, k)
                      for a, k in ((self.args, self.kwargs), (args, kwargs)))
        new = [n for n in other.latents if not (predicted and n in self.observed)]
        shapes, before = {n: other.sites[n].shape for n in new}, dict(self.latents)
        if shapes != before:
            raise ModelError(f"With these arguments the latents are {shapes}, and those of the posterior "
                             f"{before}. Contributions add up only where they are about the same "
                             "latents: data for new groups need a model that has all groups from the start.")
        for point in self._points(own):
            for name in [n for n in own.sites if n in self.latents or n in self.given]:
                a, b = (_facts(p, name, point) for p in (own, other))
                if a is None or b is None or len(a) != len(b) or not all(
                        np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=1e-6, atol=1e-6, equal_nan=True)
                        for x, y in zip(a, b, strict=True)):
                    source = other.sites[name].source
                    raise ModelError(f"The prior of `{name}` is another one with these arguments ({source}). "
                                     "Likely it is computed from the data: a prior counts once, and has to be "
                                     "the same for all of them.")
        return other

    def _points(self, program: Program) -> Iterator[dict[str, np.ndarray]]:
        """Values of the latents at which priors are compared: of discrete ones, all elements in each of a few states, and
        then some states at random."""
        rng = np.random.default_rng(0)
        many = min(max(map(len, self.discrete.values()), default=0), _STATES)
        for k in range(many + (_STATES if many else 2)):
            yield {n: np.full(s, self.discrete[n][k % len(self.discrete[n])]) if n in self.discrete and k < many else
                   rng.choice(self.discrete[n], s) if n in self.discrete else _inside(program.sites[n].support, s, rng)
                   for n, s in self.latents.items()}

    def proper(self, *args: Any, **kwargs: Any) -> None:
        """The model with what is given as data, and proper priors in place of flat ones: data that are added
        need not determine by themselves what has a flat prior."""
        with _Proper():
            self.fixed(*args, **kwargs)


def _total(part: Polynomial, values: Mapping[str, Any], sites: tuple[str, ...], level: Any) -> Any:
    """What data say together of some sites, all of which are in it, be it with weight 0; and a known number."""
    return part(values) + sum(jnp.sum(0.0 * values[n]) for n in sites if n not in part.sites) + digits(np.asarray(level))


def _itself(x: Any) -> Any:
    return x


class _Given(Messenger):
    """`param` sites become constants, other sites data."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(None)
        self._given = given

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] not in ("sample", "param") or msg.get("name") not in self._given:
            return
        msg["value"] = self._given[msg["name"]]
        if msg["type"] == "param":
            msg["stop"] = True
        else:
            msg["is_observed"] = True


class _Proper(Messenger):
    """Flat priors become normal."""

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "sample" and type(base_of(msg["fn"])) is dist.ImproperUniform:
            fn = msg["fn"]
            msg["fn"] = dist.Normal(0.0, 1.0).expand(fn.batch_shape + fn.event_shape).to_event(fn.event_dim)


def _inside(support: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A value in a support."""
    x = np.asarray(rng.normal(size=shape))
    if support == "positive":
        x = np.exp(x)
    elif support == "unit":
        x = 1 / (1 + np.exp(-x))
    elif support == "simplex":
        x = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    elif support in ("positive definite", "lower cholesky"):
        x = np.tril(x, -1) + 2 * np.eye(shape[-1])
        x = x if support == "lower cholesky" else x @ np.swapaxes(x, -1, -2)
    return np.asarray(x)


def _facts(program: Program, name: str, sites: Mapping[str, np.ndarray]) -> list[np.ndarray] | None:
    """What says what a site's prior is, at values of the latents, computed on the host; None if not known."""
    if name not in program.sites:  # a `param` site
        return []
    site = program.sites[name]
    numbers = [*site.parameters.values(), *site.support_numbers]
    for parameters in site.alternatives.values():
        numbers += parameters.values()
    if site.support != "other" or not site.latent:  # the values are inside the support
        numbers.append(site.factor)
    inputs = {program.inputs[n]: Value.known(v) for n, v in sites.items()}
    values = Walk(program.graph, inputs, ()).run(numbers)
    found = [np.asarray(sum((t.coefficient() for t in v.terms), np.zeros(()))) if _is_number(v) else None for v in values]
    # what has no rule, and the log density of states, which has a table in place of one
    left = [n for n, x in zip(numbers, found, strict=True) if x is None] + [n for n in (site.cells,) if n is not None and site.discrete]
    given = {program.inputs[n]: jnp.asarray(x, program.sites[n].dtype) for n, x in sites.items()}
    rest = program.graph.evaluate(left, given)
    if not all(map(_compat.is_concrete, rest)):
        return None
    others = map(np.asarray, rest)
    return [next(others) if x is None else x for x in found] + list(others)


def _is_number(value: Value) -> bool:
    return all(not t.atoms and all(map(is_known, t.arrays)) for t in value.terms)
