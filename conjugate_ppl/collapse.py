"""`collapse`: a NumPyro model with its conjugate latents integrated out."""

from __future__ import annotations

import functools
import hashlib
import numbers
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger
from numpyro.util import is_prng_key

from conjugate_ppl import _compat
from conjugate_ppl.errors import DataError, ModelError, PlanError
from conjugate_ppl.planning.decision import Plan
from conjugate_ppl.planning.execute import Execution, prepare
from conjugate_ppl.planning.noncentred import NOISE, noncentred, to_noncentre

if TYPE_CHECKING:
    from conjugate_ppl.additive.posterior import Posterior

__all__ = ["CollapsedModel", "collapse", "explain"]

Model = Callable[..., Any]
FACTOR = "collapsed_log_marginal"


def collapse(model: Model, *, keep: Collection[str] = (), only: Collection[str] | None = None,
             require: Collection[str] = (), reparam: str | None = None) -> CollapsedModel:
    """The model with every latent integrated out that can be, exactly.

    The result is a NumPyro model of the remaining latents, for anything that takes one. Its density
    is the exact marginal density of `model`.

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


def explain(model: Model | CollapsedModel, *args: Any, **kwargs: Any) -> Plan:
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


def as_collapsed(model: Model | CollapsedModel) -> CollapsedModel:
    """A collapsed model as it is; a plain one collapsed."""
    return model if isinstance(model, CollapsedModel) else CollapsedModel(model)


class CollapsedModel:
    """See `collapse`. Calling it runs the collapsed model; its return value is None."""

    def __init__(self, model: Model, *, keep: Collection[str] = (),
                 only: Collection[str] | None = None, require: Collection[str] = (),
                 reparam: str | None = None) -> None:
        if not callable(model):
            raise ModelError(f"A NumPyro model is a callable, and {model!r} is none. Give the "
                             "function itself, neither its result nor a kernel made of it.")
        options = {"keep": keep, "only": () if only is None else only, "require": require}
        for option, names in options.items():
            if isinstance(names, str) or not isinstance(names, Iterable):
                raise PlanError(f"{option}={names!r} is no list of names. For one site give a list "
                                f"of one name, {option}=[{names!r}].")
        if reparam not in (None, "auto"):
            raise PlanError(f"reparam={reparam!r} is none of the choices, which are None and \"auto\". For a form of "
                            "your own put `numpyro.handlers.reparam` around the model before collapsing it.")
        self.model, self.reparam = model, reparam
        self.keep, self.require = tuple(keep), tuple(require)
        self.only = None if only is None else tuple(only)
        self._prepared: dict[Any, Execution] = {}
        self._expected: frozenset[str] | None = None
        functools.update_wrapper(self, model, updated=[])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": {}}

    # -- analysis ---------------------------------------------------------------------------------

    @_compat.one_thread
    def execution(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Execution:
        """The analysis for these arguments; kept by the content of the arguments."""
        key = fingerprint(args, kwargs)
        if key is not None and key in self._prepared:
            return self._prepared[key]
        concrete = key is not None or not _has_tracer(args, kwargs)
        # JAX takes an array of NumPy that was changed in place for the one that it has seen before
        args, kwargs = jax.tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, (args, kwargs))
        out = prepare(self.model, args, kwargs, self.keep, self.only, self.require, concrete)
        sites = to_noncentre(out.program, out.chosen) if self.reparam else {}
        if sites:
            keep, only = ([n + NOISE if n in sites else n for n in names or ()] for names in (self.keep, self.only))
            out = prepare(noncentred(self.model, sites), args, kwargs, keep,
                          None if self.only is None else only, self.require, concrete)
        found = frozenset(out.plan.collapsed)
        if not out.concrete and self._expected is not None and found != self._expected:
            lost = sorted(self._expected ^ found)
            reasons = "; ".join(f"`{n}`: {out.plan[n].reason}" for n in lost)
            raise PlanError("With traced arguments (jit_model_args=True, pmap or vmap over data) the "
                            f"same sites cannot be proved collapsible ({reasons}). Run without "
                            "tracing the arguments, or leave these sites to the sampler: "
                            f"keep={lost!r}.")
        if key is not None and out.concrete:
            if len(self._prepared) >= 8:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = out
        return out

    def expect(self, collapsed: Collection[str]) -> None:
        """Demand that traced arguments give the same plan as the concrete ones did."""
        self._expected = frozenset(collapsed)

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """The plan for these arguments."""
        return self.execution(args, kwargs).plan

    # -- the model --------------------------------------------------------------------------------

    @_compat.one_thread
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        execution = self.execution(args, kwargs)
        rewriter = _Rewriter(execution)
        with rewriter:
            self._refuse_outer(rewriter, execution)
            execution.model(*args, **kwargs)
        if execution.chosen.eliminations or execution.replaced:
            name = FACTOR
            while name in execution.program.sites:
                name += "_"
            numpyro.factor(name, execution.log_marginal(rewriter.values))

    def _refuse_outer(self, rewriter: _Rewriter, execution: Execution) -> None:
        collapsed = execution.plan.collapsed
        for site, handler in _compat.outer_names(rewriter, collapsed).items():
            raise PlanError(f"`{handler}` around the collapsed model names `{site}`, which is "
                            f"integrated out. Give keep=[{site!r}] to `collapse`, or put the handler "
                            "around the model before collapsing it.")
        changed = _compat.outer_names(rewriter, sorted(execution.replaced))
        rewritten = [n for n, handler in changed.items() if handler == "reparam"]
        if rewritten:
            site = rewritten[0]
            raise PlanError(f"`reparam` around the collapsed model rewrites `{site}`, whose prior is "
                            "part of the marginal. Put it around the model before collapsing it.")
        outer = _compat.outer_scales(rewriter)
        if outer and (collapsed or execution.replaced):
            handler = outer[0]
            raise PlanError(f"`{handler}` around the collapsed model would weight or reshape the "
                            "marginal density, not the model's own. Put it around the model before "
                            "collapsing it.")

    # -- what follows from exactness ----------------------------------------------------------------

    @_compat.one_thread
    def recover(self, rng_key: Any, samples: Mapping[str, Any], *args: Any,
                num_samples: int | None = None, batch_ndims: int = 1, **kwargs: Any
                ) -> dict[str, Any]:
        """Exact joint draws of the collapsed sites, one for each draw of the kept ones.

        Args:
            rng_key: a key, raw or typed.
            samples: values of the kept sites with `batch_ndims` leading batch axes; other entries are
                ignored.
            *args: the model's arguments.
            num_samples: how many draws, where nothing is kept.
            batch_ndims: number of leading batch axes (2 for `get_samples(group_by_chain=True)`).
            **kwargs: the model's keyword arguments.

        Returns:
            {site: array of shape batch_shape + site shape} for every collapsed site.

        Raises:
            PlanError: if a kept site is missing, or `num_samples` is missing or out of place.
            DataError: if a value is none, or has the wrong shape.
        """
        check_key(rng_key)
        execution = self.execution(args, kwargs)
        kept = _needed(execution, samples)
        if kept:
            if num_samples is not None:
                sites = _listed(kept)
                raise PlanError(f"num_samples={num_samples!r} is for models with nothing kept. Here "
                                f"one draw follows each of {sites}: leave num_samples= out.")
            shape = _batch_shape(execution, kept, batch_ndims)
        else:
            if not isinstance(num_samples, numbers.Integral) or num_samples < 0:
                raise PlanError("Nothing is kept, so there are no draws to follow, and num_samples="
                                f"{num_samples!r} does not say how many to make. Give a whole "
                                "number.")
            shape = (int(num_samples),)
        keys = jax.random.split(rng_key, int(np.prod(shape)))
        flat = {n: jnp.reshape(v, (-1, *jnp.shape(v)[batch_ndims:])) for n, v in kept.items()}

        params = execution.params(args, kwargs)

        def one(pair: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
            drawn = execution.draw(pair[0], {**params, **pair[1]}, args, kwargs)
            return {n: v for n, v in drawn.items() if v.size}  # `lax.map` refuses empty results

        size = sum(execution.program.sites[n].size for n in execution.plan.collapsed)
        chunk = None if any(e.alone for e in execution.chosen.eliminations) else \
            int(np.clip(2**22 // max(size, 1), 1, 256))
        out = jax.jit(lambda x: jax.lax.map(one, x, batch_size=chunk))((keys, flat))
        gone = {n: execution.program.sites[n] for n in execution.plan.collapsed}
        return {n: jnp.reshape(out[n], shape + s.shape) if n in out
                else jnp.zeros(shape + s.shape, s.dtype) for n, s in gone.items()}

    @_compat.one_thread
    def conditional_log_prob(self, values: Mapping[str, Any], kept: Mapping[str, Any], *args: Any,
                             **kwargs: Any) -> Any:
        """log p(collapsed | kept, data), normalised, joint over all collapsed sites.

        Args:
            values: a value for every collapsed site.
            kept: a value for every kept site.
            *args: the model's arguments.
            **kwargs: the model's keyword arguments.

        Returns:
            A scalar.

        Raises:
            PlanError: if a site is missing.
            DataError: if a value is none, or has the wrong shape.
        """
        execution = self.execution(args, kwargs)
        drawn = _values_of("collapsed", execution.plan.collapsed, values)
        return execution.log_prob({**execution.params(args, kwargs), **_needed(execution, kept), **drawn},
                                  args, kwargs)

    @_compat.one_thread
    def conditionals(self, kept: Mapping[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The exact conditional distribution of each collapsed site given the kept ones.

        Args:
            kept: a value for every kept site (scalar draws, not batches: use `jax.vmap`).
            *args: the model's arguments.
            **kwargs: the model's keyword arguments.

        Returns:
            {site: NumPyro distribution} of p(site | kept, data). A site whose conditional given the
            kept ones alone has no closed form is left out.

        Raises:
            PlanError: if a site is missing.
            DataError: if a value is none, or has the wrong shape.
        """
        execution = self.execution(args, kwargs)
        given = {**execution.params(args, kwargs), **_needed(execution, kept)}
        return execution.conditionals(given, args, kwargs)

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
            PlanError: if a site is kept and has no value, or is integrated out by a rule without
                contributions that add up (discrete latents, state space); for a `factor` statement.
            ModelError: if the model has no observed site.
            DataError: if a value is none, or has the wrong shape.
        """
        from conjugate_ppl.additive.fit import first_part
        from conjugate_ppl.additive.posterior import Posterior

        execution = self.execution(args, kwargs)
        if execution.plan.kept and kept is None:
            plan = execution.plan
            reasons = "; ".join(f"`{n}` ({plan[n].reason})" for n in plan.kept)
            raise PlanError(f"A posterior in closed form needs values of what is kept: {reasons}. Give them, "
                            "kept={name: value}.")
        given = {**execution.params(args, kwargs), **_needed(execution, kept or {})}
        execution.values(given)  # looks at their shapes
        prior, part = first_part(self.model, args, kwargs, given)
        return Posterior(prior, (part,))

    @_compat.one_thread
    def stream(self, batches: Iterable[Any]) -> CollapsedModel:
        """The collapsed model of data that come in batches, more than fit in memory.

        Of every batch the rows are added up to the numbers that the likelihood depends on, and let go. That
        is possible where those are a fixed number: the log density is a sum of products of latents, their
        powers, logarithms and so on, with the data as coefficients. Latents must have the same shape in every
        batch.

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
        from conjugate_ppl.additive.stream import streamed

        return CollapsedModel(streamed(self.model, batches), keep=self.keep, only=self.only,
                              require=self.require, reparam=self.reparam)

    @_compat.one_thread
    def mode(self, kept: Mapping[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The most probable values, taken together, of the collapsed discrete sites given the kept ones.

        For a hidden Markov model, the path of Viterbi (IEEE Trans. Inf. Theory 13, 1967).

        Args:
            kept: a value for every kept site (scalar draws, not batches: use `jax.vmap`).
            *args: the model's arguments.
            **kwargs: the model's keyword arguments.

        Returns:
            {site: array of the site's shape} for every discrete site that was summed out.

        Raises:
            PlanError: if a site is missing.
            DataError: if a value is none, or has the wrong shape.
        """
        execution = self.execution(args, kwargs)
        return execution.mode({**execution.params(args, kwargs), **_needed(execution, kept)})

    @_compat.one_thread
    def log_evidence(self, *args: Any, **kwargs: Any) -> Any:
        """log p(data), exact.

        Raises:
            PlanError: if a site is kept, or a prior is improper.
        """
        execution = self.execution(args, kwargs)
        plan = execution.plan
        if plan.kept:
            kept = "; ".join(f"`{n}` ({plan[n].reason})" for n in plan.kept)
            raise PlanError("The evidence is exact only where nothing is left to sample, and kept "
                            f"are {kept}. Change the model there, or estimate the evidence with a "
                            "sampler of the collapsed model.")
        flat = [n for n in plan.collapsed if plan[n].family == "Flat"]
        if flat:
            sites = _listed(flat)
            raise PlanError(f"The prior of {sites} is improper (flat), so that the evidence is "
                            "defined only up to a constant. Give it a proper prior.")
        return log_density(self, args, dict(kwargs), {})[0]


# -- values that are given --------------------------------------------------------------------------


def check_key(rng_key: Any) -> None:
    """Raise `DataError` for what is no random key."""
    if not is_prng_key(rng_key):
        kind = type(rng_key).__name__
        raise DataError(f"`rng_key` is no single random key (its type is {kind}). Likely it was left "
                        "out, and the next argument took its place: give `jax.random.key(0)` there.")


def _needed(execution: Execution, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the kept sites, and those of `param` sites that are given."""
    kept = _values_of("kept", execution.plan.kept, given)
    return {**kept, **_values_of("kept", [n for n in execution.program.params if n in given], given)}


def _values_of(what: str, names: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise DataError(f"The values of the {what} sites are not given as a mapping (but as {kind}). "
                        "Give a dictionary of names and arrays.")
    missing = [n for n in names if n not in given]
    if missing:
        sites, wanted = _listed(missing), _listed(names)
        raise PlanError(f"No value for the {what} site {sites}. Give one for each of {wanted}.")
    return {n: _array(n, given[n]) for n in names}


def _array(name: str, value: Any) -> Any:
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"The value of `{name}`, {value!r}, is no array of numbers. Give the draws "
                        "or the value itself.") from error


def _batch_shape(execution: Execution, kept: Mapping[str, Any], batch_ndims: int) -> tuple[int, ...]:
    """The batch axes that the values of all kept sites share."""
    program = execution.program
    first = next(iter(kept))
    batch: tuple[int, ...] = kept[first].shape[: max(batch_ndims, 0)]
    for name, value in kept.items():
        shape, own = value.shape, program.graph.shapes[program.inputs[name]]
        if len(batch) != batch_ndims or shape != batch + tuple(own):
            raise DataError(f"`{name}` has shape {shape}. With batch_ndims={batch_ndims} that should "
                            f"be the batch axes, {batch} as of `{first}`, and then its own, {own}. "
                            "Draws by chain have batch_ndims=2, a single one has 0.")
    return batch


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


class _Rewriter(Messenger):  # type: ignore[misc]
    """Runs the model with collapsed sites hidden; notes the values of the others."""

    def __init__(self, execution: Execution) -> None:
        super().__init__()
        self._execution = execution
        self._collapsed = frozenset(execution.plan.collapsed)
        self.values: dict[str, Any] = {}
        self._names: dict[int, str] = {}  # of messages under way, before outer handlers rename them

    def process_message(self, msg: dict[str, Any]) -> None:
        name = msg.get("name")
        if msg["type"] == "deterministic" and name in self._execution.hidden:
            msg["stop"] = True
        if name is not None and msg["type"] in ("sample", "param") and name not in self._collapsed:
            self._names[id(msg)] = name
        if msg["type"] == "control_flow" and _compat.is_scan(msg):
            # what runs inside a loop is out of sight here, and hidden there
            step, *others = msg["args"]
            msg["args"] = (_Hidden(step, self._execution), *others)
        if msg["type"] != "sample":
            return
        if name in self._collapsed:
            if _compat.conditioned_by_function(self, msg):
                raise PlanError(f"`condition_fn` around the collapsed model gives `{name}` a value, "
                                f"which is integrated out. Give keep=[{name!r}] to `collapse`, or put "
                                "the handler around the model before collapsing it.")
            _hide(msg, self._execution)
        elif name in self._execution.replaced:
            if msg["is_observed"]:
                msg["stop"] = True
            else:
                msg["fn"] = Flattened(msg["fn"])

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        name = self._names.pop(id(msg), None)
        if name is not None:
            self.values[name] = msg["value"]


class _Hidden(Messenger):  # type: ignore[misc]
    """The step of a loop, with its collapsed sites hidden."""

    def __init__(self, step: Callable[..., Any], execution: Execution) -> None:
        super().__init__(step)
        self._execution = execution

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "sample" and msg["name"] in self._execution.plan.collapsed:
            _hide(msg, self._execution)


def _hide(msg: dict[str, Any], execution: Execution) -> None:
    msg["value"] = _placeholder(msg, msg["name"] in execution.drawn)
    msg["stop"] = True


def _placeholder(msg: dict[str, Any], drawn: bool) -> Any:
    """A value for a hidden site: a feasible one, or a draw from its prior where there is a key and
    the prior of a kept site needs it."""
    fn, shape = msg["fn"], msg["kwargs"].get("sample_shape", ())
    key = msg["kwargs"].get("rng_key")
    if key is None:
        key = numpyro.prng_key()  # taken in any case, so that other sites get theirs
    if key is not None and drawn:
        try:
            return fn.sample(key, shape)
        except NotImplementedError:
            pass
    if fn.support.is_discrete:
        return fn.sample(jax.random.PRNGKey(0), shape)
    return fn.support.feasible_like(jnp.zeros(fn.shape(shape)))


class Flattened(dist.Distribution):  # type: ignore[misc]
    """The support of a distribution with density 1; draws still come from the distribution.

    Stands for the prior of a kept site where that prior is part of the marginal factor.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("base",)

    def __init__(self, base: Any) -> None:
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.base.support

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        return self.base.sample(key, sample_shape)

    def log_prob(self, value: Any) -> Any:
        shape = jnp.shape(value)
        return jnp.zeros(jnp.broadcast_shapes(self.batch_shape,
                                              shape[: len(shape) - self.event_dim]))


# -- arguments ------------------------------------------------------------------------------------


def _has_tracer(args: Any, kwargs: Any) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((args, kwargs)))


def fingerprint(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A key that is equal for arguments of equal structure and content; None if that cannot be said.

    Includes the default precision, because the same model is another program in float64.
    """
    leaves, tree = jax.tree.flatten((tuple(args), dict(kwargs)), is_leaf=lambda x: x is None)
    parts: list[Any] = [str(tree), str(jnp.result_type(float))]
    for leaf in leaves:
        if isinstance(leaf, jax.core.Tracer):
            return None
        if isinstance(leaf, (np.ndarray, jax.Array, np.generic)):
            if not isinstance(leaf, (np.ndarray, np.generic)) and not leaf.is_fully_addressable:
                return None
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)  # type: ignore[arg-type]
            array = np.ascontiguousarray(leaf)
            digest = hashlib.blake2b(array.tobytes(), digest_size=16).digest()
            parts.append((array.shape, str(array.dtype), digest))
        elif leaf is None or isinstance(leaf, (bool, int, float, complex, str, bytes)):
            parts.append((type(leaf).__name__, leaf))
        else:
            try:
                hash(leaf)
            except TypeError:
                return None
            parts.append(leaf)
    return tuple(parts)
