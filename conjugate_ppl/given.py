"""What a caller gives: keys, values of sites, arguments of the model."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.util import is_prng_key

from conjugate_ppl.additive.exchange import digest_of
from conjugate_ppl.errors import DataError, PlanError
from conjugate_ppl.planning.execute import Execution

__all__ = ["batch_shape", "check_key", "fingerprint", "has_tracer", "listed", "needed", "values_of"]


def check_key(rng_key: Any) -> None:
    """Raise `DataError` for what is no random key."""
    if not is_prng_key(rng_key):
        kind = type(rng_key).__name__
        raise DataError(f"`rng_key` is no single random key (its type is {kind}). Likely it was left "
                        "out, and the next argument took its place: give `jax.random.key(0)` there.")


def needed(execution: Execution, given: Mapping[str, Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """The values of the kept sites and of `param` sites; of the latter, if none is given, with a warning that which the model
    begins with."""
    kept, names = values_of("kept", execution.plan.kept, given), execution.program.params
    if not names:
        return kept
    params = values_of("param", [n for n in names if n in given], given)
    if len(params) < len(names):
        begun = listed(n for n in names if n not in params)
        warnings.warn(f"No value for the `param` site {begun}: what the model begins with is used. If it was optimised since "
                      "(`SVI`), give that among the values of the kept sites, {**samples, **params}.", stacklevel=4)
    return {**{n: _array(n, v) for n, v in execution.params(args, kwargs).items()}, **params, **kept}


def values_of(what: str, names: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise DataError(f"The values of the {what} sites are not given as a mapping (but as {kind}). "
                        "Give a dictionary of names and arrays.")
    missing = [n for n in names if n not in given]
    if missing:
        sites, wanted = listed(missing), listed(names)
        raise PlanError(f"No value for the {what} site {sites}. Give one for each of {wanted}.")
    return {n: _array(n, given[n]) for n in names}


def _array(name: str, value: Any) -> Any:
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"The value of `{name}`, {value!r}, is no array of numbers. Give the draws "
                        "or the value itself.") from error


def batch_shape(execution: Execution, kept: Mapping[str, Any], batch_ndims: int) -> tuple[int, ...]:
    """The batch axes that the values of all kept sites share."""
    program = execution.program
    first = next(iter(kept))
    batch: tuple[int, ...] = kept[first].shape[: max(batch_ndims, 0)]
    for name, value in kept.items():
        shape, own = value.shape, program.shape(name)
        if len(batch) != batch_ndims or shape != batch + tuple(own):
            raise DataError(f"`{name}` has shape {shape}. With batch_ndims={batch_ndims} that should "
                            f"be the batch axes, {batch} as of `{first}`, and then its own, {own}. "
                            "Draws by chain have batch_ndims=2, a single one has 0.")
    return batch


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def has_tracer(args: Any, kwargs: Any) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((args, kwargs)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Key:
    """What arguments are made of: equal if all parts are, and those can be compared, which what users' classes keep beside
    their arrays need not."""

    parts: tuple[Any, ...]

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        try:
            return isinstance(other, _Key) and self.parts == other.parts
        except (TypeError, ValueError):
            return False


def fingerprint(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A key that is equal for arguments of equal structure and content; None if that cannot be said.

    Includes the default precision, because the same model is another program in float64.
    """
    leaves, tree = jax.tree.flatten((tuple(args), dict(kwargs)), is_leaf=lambda x: x is None)
    parts: list[Any] = [str(jnp.result_type(float)), tree]
    for leaf in leaves:
        if isinstance(leaf, jax.core.Tracer):
            return None
        if isinstance(leaf, (np.ndarray, jax.Array, np.generic)):
            # NumPy adds up whole numbers in 64 bits, JAX in their own
            own = isinstance(leaf, jax.Array) and getattr(leaf.dtype, "kind", "key") in "iub"
            parts.append((leaf.shape, str(leaf.dtype), own, digest_of(leaf)))
        elif isinstance(leaf, (float, complex)):
            parts.append((type(leaf).__name__, repr(leaf)))  # 0.0 == -0.0, but not 1 / 0.0
        elif leaf is None or isinstance(leaf, (bool, int, str, bytes)):
            parts.append((type(leaf).__name__, leaf))
        else:
            parts.append(leaf)
    key = _Key(tuple(parts))
    try:
        hash(key)
    except TypeError:
        return None
    return key
