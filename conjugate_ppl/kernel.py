"""`Collapsed`: the MCMC kernel that samples what is left and draws the rest exactly."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import handlers
from numpyro.infer import NUTS
from numpyro.infer.ensemble import EnsembleSampler
from numpyro.infer.mcmc import MCMCKernel
from numpyro.util import is_prng_key

from conjugate_ppl import _compat
from conjugate_ppl.collapse import CollapsedModel
from conjugate_ppl.errors import ModelError, PlanError
from conjugate_ppl.given import fingerprint
from conjugate_ppl.marginal import MarginalModel
from conjugate_ppl.planning.decision import Plan
from conjugate_ppl.planning.execute import Execution
from conjugate_ppl.planning.noncentred import NOISE
from conjugate_ppl.state import Adaptation, CollapsedState, ExactState

__all__ = ["Collapsed"]

_FEW, _TARGET = 20, 0.65  # so few kept numbers get this target of the acceptance probability
_DRAW = 0x636F6C6C  # far from the small numbers that splitting a key uses


class Collapsed(MCMCKernel):
    """Samples a model with every conjugate latent integrated out, and draws those back exactly.

    Takes the place of `NUTS(model)` in `numpyro.infer.MCMC`; samples, diagnostics and ArviZ output
    have the sites of the original model.

    Args:
        model: a NumPyro model, or one made by `collapse`.
        kernel: the class of the kernel for what is left (`NUTS`, `HMC`, ...), taking a model.
        recover: whether each recorded draw carries the collapsed sites. With False they are left to
            `collapse(model).recover(...)`, thinned if wished.
        keep: names of latents that must stay with the kernel.
        only: names of the only latents that may be collapsed (default: all).
        require: names of latents whose being declined is an error.
        reparam: "auto" moves kept location-scale latents whose prior depends on other kept ones in
            non-centred form (see `collapse`); samples have them as the model does.
        **kernel_kwargs: given to `kernel`; names of collapsed sites in `dense_mass` are dropped. Two
            defaults differ from NUTS's own: kept sites that are parameters of one collapsed site's
            prior share a dense block of the mass matrix, and where at most 20 numbers are kept
            `target_accept_prob` is 0.65, the optimum of Beskos et al. (2013), instead of
            the 0.8 that guards against the funnels which collapsing removes.

    Raises:
        ModelError: if `model` or `kernel` is not of the kind asked for.
        PlanError: when it is first run, for unknown names, or a required site that is declined.
        ModelError: when it is first run, for a discrete latent that stays and that the kernel cannot move.
        DataError: when it is first run, for impossible observed values.

    Example:
        >>> import jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist
        >>> from numpyro.infer import MCMC
        >>> from conjugate_ppl import Collapsed
        >>> def model(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
        ...     sigma = numpyro.sample("sigma", dist.HalfNormal(5.0))
        ...     numpyro.sample("y", dist.Normal(mu, sigma), obs=y)
        >>> mcmc = MCMC(Collapsed(model), num_warmup=100, num_samples=100, progress_bar=False)
        >>> mcmc.run(jax.random.key(0), jnp.array([1.0, 2.0, 4.0]))
        >>> sorted(mcmc.get_samples())
        ['mu', 'sigma']
    """

    def __init__(self, model: Callable[..., Any], *, kernel: type = NUTS, recover: bool = True,
                 keep: Collection[str] = (), only: Collection[str] | None = None,
                 require: Collection[str] = (), reparam: str | None = None, **kernel_kwargs: Any) -> None:
        if isinstance(model, MarginalModel):
            if keep or only is not None or require or reparam:
                raise PlanError("The model is collapsed already: give keep, only, require and reparam to "
                                "`collapse` instead.")
            self._collapsed = model
        else:
            self._collapsed = CollapsedModel(model, keep=keep, only=only, require=require, reparam=reparam)
        if not callable(kernel):
            raise ModelError(f"kernel={kernel!r} is no class of kernels. Give the class, such as "
                             "NUTS; what it is made with goes to `Collapsed`.")
        if isinstance(kernel, type) and issubclass(kernel, EnsembleSampler):
            raise ModelError(f"kernel={kernel.__name__} moves all chains of an ensemble at once, and "
                             "`Collapsed` draws for one chain at a time. Give a kernel such as NUTS, or "
                             f"`{kernel.__name__}(collapse(model))` and `recover` afterwards.")
        self._kernel_class, self._kernel_kwargs = kernel, dict(kernel_kwargs)
        self._inner: Any = None
        self._recover = recover
        self._fingerprint: Any = None
        self._exact = False

    # -- what NumPyro and ArviZ ask of a kernel -----------------------------------------------------

    @property
    def model(self) -> Callable[..., Any]:
        """The user's own model."""
        return self._collapsed.model

    @property
    def collapsed_model(self) -> MarginalModel:
        """The model the inner kernel samples."""
        return self._collapsed

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """The plan for these arguments."""
        return self._collapsed.plan(*args, **kwargs)

    @property
    def sample_field(self) -> str:
        return "z"

    @property
    def default_fields(self) -> tuple[str, ...]:
        return ("z", "diverging") if self._is_hmc() else ("z",)

    def _is_hmc(self) -> bool:
        from numpyro.infer.hmc import HMC

        return isinstance(self._kernel_class, type) and issubclass(self._kernel_class, HMC)

    @property
    def _sample_fn(self) -> Any:
        # MCMC initialises the kernel again when this is None (after unpickling)
        if self._exact:
            return self.sample
        return None if self._inner is None else getattr(self._inner, "_sample_fn", self.sample)

    @property
    def _max_tree_depth(self) -> Any:
        return getattr(self._inner, "_max_tree_depth", 10)

    def get_diagnostics_str(self, state: CollapsedState) -> str:
        if self._exact:
            return "exact draws"
        out: str = self._inner.get_diagnostics_str(state.inner)
        return out

    # -- running ------------------------------------------------------------------------------------

    @_compat.one_thread
    def init(self, rng_key: Any, num_warmup: int, init_params: Any = None,
             model_args: tuple[Any, ...] = (), model_kwargs: Any = None) -> CollapsedState:
        kwargs = {} if model_kwargs is None else model_kwargs
        execution = self._collapsed.execution(tuple(model_args), kwargs)
        plan = execution.plan
        self._fingerprint = fingerprint(model_args, kwargs)
        self._collapsed.expect(plan.collapsed)
        self._exact = bool(plan.collapsed) and not plan.kept
        if not self._exact and self._is_hmc():
            _check_discrete(execution)
        if init_params is not None and isinstance(init_params, dict):
            init_params = {n: v for n, v in init_params.items() if n not in plan.collapsed} or None

        def start(key: Any, params: Any) -> CollapsedState:
            return self._first(execution, key, num_warmup, params, tuple(model_args), kwargs)

        given = jax.tree.leaves((rng_key, init_params, model_args, kwargs))
        if execution.concrete and not execution.program.params and all(map(_compat.is_concrete, given)):
            with contextlib.suppress(jax.errors.JAXTypeError):  # of a kernel that looks at numbers
                # as one program: each of a hundred operations would be compiled alone
                state: CollapsedState = _compat.compiled_quickly(start, rng_key, init_params)(rng_key, init_params)
                known = (self._collapsed, model_args, kwargs)
                if _is_start(state) and not _compat.holds_tracer(self._inner, known):
                    return state
        return start(rng_key, init_params)  # in which NumPyro says what is wrong, if anything is

    def _first(self, execution: Execution, rng_key: Any, num_warmup: int, init_params: Any, args: Any,
               kwargs: Any) -> CollapsedState:
        """The state to begin with."""
        single = is_prng_key(rng_key)
        keys = jax.random.split(rng_key, 3) if single else jax.vmap(
            lambda k: jax.random.split(k, 3))(rng_key)
        key, inner_key, draw_key = (keys[i] if single else keys[:, i] for i in range(3))
        if self._exact:
            inner = self._exact_state(inner_key, single, args, kwargs)
        else:
            self._inner = self._make_inner(execution)
            inner = self._inner.init(inner_key, num_warmup, init_params, args, kwargs)
        data = jnp.asarray(_checksum(self._fingerprint), jnp.uint32)
        if not single:
            data = jnp.broadcast_to(data, (inner_key.shape[0],))
        field = None if self._exact else self._inner.sample_field
        state = CollapsedState(inner._replace(rng_key=key), {}, data, field, hash(execution.outside))
        shapes = jax.eval_shape(lambda z: self._draw(z, draw_key, args, kwargs), state.kept) if self._recover else {}
        return state._replace(drawn={n: jnp.zeros(s.shape, s.dtype) for n, s in shapes.items()})

    def _make_inner(self, execution: Execution) -> Any:
        plan, kwargs = execution.plan, dict(self._kernel_kwargs)
        takes = inspect.signature(self._kernel_class).parameters
        if "dense_mass" in takes and not {"dense_mass", "inverse_mass_matrix"} & kwargs.keys():
            kwargs["dense_mass"] = execution.hyperparameters() or False
        few = sum(execution.program.sites[n].size for n in plan.kept) <= _FEW
        if "target_accept_prob" in takes and plan.collapsed and few:
            kwargs.setdefault("target_accept_prob", _TARGET)
        dense = kwargs.get("dense_mass")
        for option in ("dense_mass", "inverse_mass_matrix"):
            _check_names(option, kwargs.get(option), execution.program.latents)
        if isinstance(dense, list):
            blocks = [tuple(n for n in block if n not in plan.collapsed) for block in dense]
            kwargs["dense_mass"] = [b for b in blocks if b]
        matrix = kwargs.get("inverse_mass_matrix")
        if isinstance(matrix, dict):
            gone = [n for block in matrix for n in block if n in plan.collapsed]
            if gone:
                raise PlanError(f"inverse_mass_matrix names {gone}, integrated out. Leave these "
                                f"names out of it, or give keep={gone}.")
        return self._kernel_class(self._collapsed, **kwargs)

    @_compat.one_thread
    def sample(self, state: CollapsedState, model_args: Any, model_kwargs: Any) -> CollapsedState:
        kwargs = {} if model_kwargs is None else model_kwargs
        args = tuple(model_args)
        single = is_prng_key(state.inner.rng_key)
        inner, data = state.inner, state.data
        if self._exact:
            inner = inner._replace(i=inner.i + 1, rng_key=_next_key(inner.rng_key, 0))
        else:
            mark = fingerprint(args, kwargs)
            if mark is not None and mark != self._fingerprint:
                now = jnp.full_like(data, _checksum(mark))
                inner = jax.lax.cond(jnp.any(data != now),
                                     lambda s: self._refresh(s, single, args, kwargs), lambda s: s,
                                     inner)
                data = now
            inner = _compat.apart(lambda s, _: self._inner.sample(s, args, kwargs), inner, (), data)
        # the kernel has moved on to a key of its own; the draw's key is made from that
        new = state._replace(inner=inner, data=data)
        if not new.drawn:
            return new

        def draw(_: Any, given: Any) -> dict[str, Any]:
            key, kept = given
            return self._draw(kept, _next_key(key, _DRAW), args, kwargs)

        return new._replace(drawn=_compat.apart(draw, new.drawn, (inner.rng_key, new.kept), data))

    def _refresh(self, inner: Any, single: bool, args: Any, kwargs: Any) -> Any:
        def one(s: Any) -> Any:
            return self._inner.refresh(s, args, kwargs)

        return one(inner) if single else jax.vmap(one)(inner)

    def _draw(self, z: dict[str, Any], key: Any, args: Any, kwargs: Any) -> dict[str, Any]:
        """Exact draws of the collapsed sites, one for each chain, given the kernel's (unconstrained) values."""
        execution = self._collapsed.execution(tuple(args), kwargs)
        constrain = (lambda z: {}) if self._exact else self._constrain(args, kwargs)

        def one(k: Any, z: Any) -> dict[str, Any]:
            kept = {n: v for n, v in constrain(z).items() if n in execution.program.inputs}
            return execution.draw(k, {**execution.params(args, kwargs), **kept}, args, kwargs)

        return one(key, z) if is_prng_key(key) else jax.vmap(one)(key, z)

    def _constrain(self, args: Any, kwargs: Any) -> Callable[[Any], Any]:
        out: Callable[[Any], Any] = self._inner.get_constrain_fn(args, kwargs)
        return out

    def _exact_state(self, key: Any, single: bool, args: Any, kwargs: Any) -> ExactState:
        from numpyro.infer.util import log_density

        energy = -log_density(self._collapsed, tuple(args), dict(kwargs), {})[0]
        shape = () if single else (key.shape[0],)

        def full(x: Any) -> Any:
            return jnp.broadcast_to(jnp.asarray(x), shape)

        one = jnp.ones((), jnp.result_type(float))
        return ExactState(full(0), full(False), full(0), full(one), full(one), full(energy),
                          full(energy), Adaptation(full(one)), key)

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        args = () if model_args is None else tuple(model_args)
        kwargs = {} if model_kwargs is None else model_kwargs
        if self._inner is None and not self._exact:
            return lambda z: z
        execution = self._collapsed.execution(args, kwargs)
        inner = (lambda z: {}) if self._exact else self._inner.postprocess_fn(args, kwargs)
        gone = set(execution.plan.collapsed)
        replay = bool(execution.program.deterministics) and (self._recover or not gone)
        # a site written as location and scale comes back as the model has it, without its noise
        noise = set() if not replay else {n + NOISE for n in execution.program.deterministics
                                          if self._collapsed.reparam} & set(execution.program.latents)

        @_compat.one_thread
        def finish(z: dict[str, Any]) -> dict[str, Any]:
            drawn = {n: v for n, v in z.items() if n in gone}
            values = {**inner({n: v for n, v in z.items() if n not in gone}), **drawn}
            if not replay or not gone:
                return {n: v for n, v in values.items() if n not in noise}
            data = {**execution.params(args, kwargs), **values}
            with handlers.block(), numpyro.validation_enabled(False):
                model = handlers.substitute(handlers.seed(execution.model, _compat.a_key()),
                                            data=data)
                trace = handlers.trace(model).get_trace(*args, **kwargs)
            found = {n: s["value"] for n, s in trace.items() if s["type"] == "deterministic"}
            return {n: v for n, v in {**values, **found}.items() if n not in noise}

        if not execution.concrete:
            return finish
        program = _compat.compiled_once(finish)
        return lambda z: program(jax.tree.map(jnp.asarray, z))

    def get_constrain_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        return self.postprocess_fn(model_args, model_kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)


def _check_discrete(execution: Execution) -> None:
    """Raise `ModelError` for a kept discrete latent, which has no gradient, unless NumPyro can enumerate it."""
    for name in execution.plan.kept:
        site, decision = execution.program.sites.get(name), execution.plan[name]
        if site is None or not site.discrete:
            continue
        if site.states is None:
            advice = ("Give it a prior of finitely many values (`Categorical`, `Binomial`, `DiscreteUniform(0, 50)`), "
                      "which is summed out")
        elif importlib.util.find_spec("funsor") is not None:
            continue
        elif decision.reason.startswith("you "):
            advice = "Leave it to be summed out"
        else:
            advice = ("Change the model there, write the sum yourself (`MixtureSameFamily`, or a `factor`), or install "
                      "`funsor`, with which NumPyro goes through its values")
        source = decision.source or "line unknown"
        raise ModelError(f"The discrete latent `{name}` would have to be sampled, and no gradient moves it. It is not "
                         f"summed out: {decision.reason} ({source}). {advice}.")


def _is_start(state: CollapsedState) -> bool:
    """Whether a state, as far as it says so, has a finite density."""
    energy = getattr(state.inner, "potential_energy", 0.0)
    slopes = jax.tree.leaves(getattr(state.inner, "z_grad", ()))
    return all(bool(np.isfinite(x).all()) for x in (energy, *slopes))


def _check_names(option: str, blocks: Any, latents: Sequence[str]) -> None:
    """Raise `PlanError` where the blocks of a mass matrix hold names of no latents."""
    if isinstance(blocks, (list, dict)):
        unknown = [n for block in blocks for n in block if n not in latents]
        if unknown:
            known = ", ".join(latents)
            raise PlanError(f"{option} names {unknown}, no latents of this model. Give tuples of "
                            f"names, out of {known}.")


def _next_key(key: Any, number: int) -> Any:
    """A key made from a key, or from one for each chain."""
    def fold(k: Any) -> Any:
        return jax.random.fold_in(k, number)

    return fold(key) if is_prng_key(key) else jax.vmap(fold)(key)


def _checksum(mark: Any) -> int:
    import zlib

    return zlib.crc32(repr(mark).encode()) & 0xFFFFFFFF
