"""`collapse` and `explain`: a NumPyro model with its conjugate latents integrated out, and what is decided about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from conjugate_ppl import _compat
from conjugate_ppl.additive.fit import first_part
from conjugate_ppl.additive.posterior import Posterior
from conjugate_ppl.additive.shards import refuse_other_processes
from conjugate_ppl.additive.stream import streamed
from conjugate_ppl.errors import PlanError
from conjugate_ppl.given import needed
from conjugate_ppl.marginal import MarginalModel
from conjugate_ppl.planning.decision import Plan

__all__ = ["CollapsedModel", "as_collapsed", "collapse", "explain"]

Model = Callable[..., Any]


def collapse(model: Model, *, keep: Collection[str] = (), only: Collection[str] | None = None,
             require: Collection[str] = (), reparam: str | None = None) -> CollapsedModel:
    """The model with every latent integrated out that can be, exactly.

    The result is a NumPyro model of the remaining latents, for anything that takes one. Its density
    is the exact marginal density of `model`.

    Arguments of the model may be arrays whose rows are spread over the devices of a mesh, in one process or in several
    (which then all call the same functions in the same order). Rows are added up where they lie.

    Args:
        model: a NumPyro model, of any arguments.
        keep: names of latents that must not be collapsed.
        only: names of the only latents that may be collapsed (default: all).
        require: names of latents whose being declined is an error.
        reparam: "auto" writes kept Normal, StudentT, Cauchy and Laplace latents whose prior depends on other kept
            ones, `a` say, as location plus scale times noise: the noise `a_decentered` is what is left, and
            `a` a deterministic site.

    Returns:
        A callable with methods `recover`, `conditional_log_prob`, `conditionals`, `log_evidence`, `mode`,
        `posterior` and `stream`.

    Raises:
        PlanError: when it is called, for names that are no latents of the model, or a required site
            that is declined.

    Example:
        >>> import jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist
        >>> import conjugate_ppl as cj
        >>> def model(y):
        ...     tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        ...     with numpyro.plate("groups", 3):
        ...         theta = numpyro.sample("theta", dist.Normal(0.0, tau))
        ...         numpyro.sample("y", dist.Normal(theta, 1.0), obs=y)
        >>> collapsed = cj.collapse(model)
        >>> y = jnp.array([0.3, -1.2, 2.0])
        >>> sorted(collapsed.recover(jax.random.key(0), {"tau": jnp.ones(5)}, y))
        ['theta']
    """
    return CollapsedModel(model, keep=keep, only=only, require=require, reparam=reparam)


def explain(model: Model | MarginalModel, *args: Any, **kwargs: Any) -> Plan:
    """What `collapse` and `Collapsed` will do with a model, before anything is run.

    Args:
        model: a NumPyro model, or a collapsed one.
        *args: the model's arguments.
        **kwargs: the model's keyword arguments.

    Returns:
        A `Plan`, which prints as a table.

    Example:
        >>> import numpyro, numpyro.distributions as dist, conjugate_ppl as cj
        >>> def model(y):
        ...     rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        ...     numpyro.sample("y", dist.Poisson(rate), obs=y)
        >>> cj.explain(model, 3).collapsed
        ('rate',)
    """
    return as_collapsed(model).plan(*args, **kwargs)


def as_collapsed(model: Model | MarginalModel) -> MarginalModel:
    """A collapsed model as it is; a plain one collapsed."""
    return model if isinstance(model, MarginalModel) else CollapsedModel(model)


class CollapsedModel(MarginalModel):
    """See `collapse`."""

    @_compat.one_thread
    def posterior(self, *args: Any, kept: Mapping[str, Any] | None = None, **kwargs: Any) -> Posterior:
        """The posterior as an object that data can be added to and taken from.

        Args:
            *args: the model's arguments.
            kept: a value for every kept site, where there are such.
            **kwargs: the model's keyword arguments.

        Returns:
            A `Posterior`: `update`, `merge`, `temper`, `without`, `loo`, `predictive` and more.

        Raises:
            PlanError: if a site is kept and has no value, or the data reach a latent through something that no
                posterior of a fixed number of parameters keeps; for a `factor` statement.
            ModelError: if the model has no observed site.
            DataError: if a value is none, or has the wrong shape.
        """
        refuse_other_processes("posterior", args, kwargs)
        execution = self.execution(args, kwargs)
        if execution.plan.kept and kept is None:
            plan = execution.plan
            reasons = "; ".join(f"`{n}` ({plan[n].reason})" for n in plan.kept)
            raise PlanError(f"A posterior in closed form needs values of what is kept: {reasons}. Give them, "
                            "kept={name: value}.")
        given = needed(execution, kept or {}, args, kwargs)
        execution.values(given)  # looks at their shapes
        prior, part = first_part(self.model, args, kwargs, given)
        return Posterior(prior, (part,))

    @_compat.one_thread
    def stream(self, batches: Iterable[Any]) -> CollapsedModel:
        """The collapsed model of data that come in batches, more than fit in memory.

        Of every batch the rows are added up to the numbers that the likelihood depends on, and let go. That
        is possible where those are a fixed number: the log density is a sum of products of latents, their
        powers, logarithms and so on, with the data as coefficients. Latents must have the same shape in every
        batch. Deterministic sites that are computed from the data are left out. For batches of the same shapes
        and types the model is run once, as `jax.jit` would, if it can be, and if what it reads besides them
        (globals, variables around it) is seen to be the same.

        Args:
            batches: the model's arguments, batch by batch: a tuple of positional ones, a dictionary of
                keyword ones, or a single array. Rows of different batches are independent given the latents.

        Returns:
            A collapsed model without arguments, of the same latents, for `Collapsed`, `recover` and the rest.

        Raises:
            PlanError: if the rows do not add up to a fixed number of numbers.
            ModelError: if latents, their prior or the observed sites differ from batch to batch.
            DataError: if there is no batch, or a value is none.

        Example:
            >>> import jax.numpy as jnp, numpyro, numpyro.distributions as dist, conjugate_ppl as cj
            >>> def model(y):
            ...     mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
            ...     sigma = numpyro.sample("sigma", dist.HalfNormal(5.0))
            ...     with numpyro.plate("rows", len(y)):
            ...         numpyro.sample("y", dist.Normal(mu, sigma), obs=y)
            >>> batches = (jnp.arange(1.0 * k, k + 3.0) for k in range(100))
            >>> cj.collapse(model).stream(batches).plan().collapsed
            ('mu',)
        """
        return CollapsedModel(streamed(self.model, batches), keep=self.keep, only=self.only,
                              require=self.require, reparam=self.reparam)
