"""What NumPy and SciPy compute for each primitive of JAX: functions of its parameters and operands."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import linalg, special

__all__ = ["PRIMITIVES", "Rule", "wrapped"]

Rule = Callable[..., Any]


# -- movement --------------------------------------------------------------------------------------------


def _broadcast_in_dim(p: Any, x: np.ndarray) -> np.ndarray:
    shape = np.ones(len(p["shape"]), int)
    shape[list(p["broadcast_dimensions"])] = x.shape
    return np.broadcast_to(x.reshape(shape), p["shape"])


def _slice(p: Any, x: np.ndarray) -> np.ndarray:
    return x[tuple(map(slice, p["start_indices"], p["limit_indices"], p["strides"] or (1,) * x.ndim))]


def _window(starts: Sequence[Any], shape: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    at = [min(max(int(s), 0), n - k) for s, n, k in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(a, a + k) for a, k in zip(at, sizes, strict=True))


def _dynamic_slice(p: Any, x: np.ndarray, *starts: Any) -> np.ndarray:
    return x[_window(starts, x.shape, p["slice_sizes"])]


def _dynamic_update_slice(p: Any, x: np.ndarray, update: np.ndarray, *starts: Any) -> np.ndarray:
    out = x.copy()
    out[_window(starts, x.shape, update.shape)] = update
    return out


def _pad(p: Any, x: np.ndarray, fill: np.ndarray) -> np.ndarray:
    config = p["padding_config"]
    wide = np.full([max(n + max(n - 1, 0) * k, 0) for n, (_, _, k) in zip(x.shape, config, strict=True)],
                   fill, x.dtype)
    wide[tuple(slice(None, None, k + 1) for _, _, k in config)] = x
    wide = np.pad(wide, [(max(a, 0), max(b, 0)) for a, b, _ in config], constant_values=fill)
    return wide[tuple(slice(max(-a, 0), n - max(-b, 0))
                      for n, (a, b, _) in zip(wide.shape, config, strict=True))]


def _places(shape: Sequence[int], indices: np.ndarray, window: Sequence[int], gone: Sequence[int],
            starts: Sequence[int], batching: Sequence[int], batched: Sequence[int]
            ) -> tuple[list[np.ndarray], list[int]]:
    """For each axis of an array of `shape` the start of every window, with one axis of size 1 behind those
    of the indices for every axis in the window; and which axes of the array these are."""
    inside = [a for a in range(len(shape)) if a not in gone and a not in batching]
    batch = indices.shape[:-1]
    out = []
    for axis in range(len(shape)):
        if axis in starts:
            at = indices[..., list(starts).index(axis)].astype(np.int64)
        elif axis in batching:
            k = batched[list(batching).index(axis)]
            at = np.broadcast_to(np.arange(batch[k]).reshape([-1 if i == k else 1 for i in range(len(batch))]),
                                 batch)
        else:
            at = np.zeros(batch, np.int64)
        out.append(at.reshape(batch + (1,) * len(inside)))
    return out, inside


def _steps(at: list[np.ndarray], inside: Sequence[int], sizes: Sequence[int]) -> list[np.ndarray]:
    """Every element of every window."""
    first = at[0].ndim - len(inside) if at else 0
    out = list(at)
    for k, axis in enumerate(inside):
        line = [1] * (first + len(inside))
        line[first + k] = sizes[axis]
        out[axis] = at[axis] + np.arange(sizes[axis]).reshape(line)
    return list(np.broadcast_arrays(*out)) if out else out


def _fits(at: Sequence[np.ndarray], shape: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    return np.logical_and.reduce([(a >= 0) & (a <= n - k) for a, n, k in zip(at, shape, sizes, strict=True)])


def _gather(p: Any, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    d, sizes, mode = p["dimension_numbers"], p["slice_sizes"], str(p["mode"]).upper()
    at, inside = _places(x.shape, indices, sizes, d.collapsed_slice_dims, d.start_index_map,
                         d.operand_batching_dims, d.start_indices_batching_dims)
    fits = _fits(at, x.shape, sizes)
    at = [np.clip(a, 0, n - k) for a, n, k in zip(at, x.shape, sizes, strict=True)]
    out = x[tuple(_steps(at, inside, sizes))]
    if "FILL" in mode and not fits.all():
        fill = p.get("fill_value")
        if fill is None:
            fill = np.nan if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        out = np.where(fits, out, fill)
    batch = iter(range(indices.ndim - 1))
    windows = iter(range(indices.ndim - 1, out.ndim))
    return out.transpose([next(windows if k in d.offset_dims else batch) for k in range(out.ndim)])


def _scatter(into: Callable[[np.ndarray, Any, np.ndarray], None]) -> Rule:
    def rule(p: Any, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        d, mode = p["dimension_numbers"], str(p["mode"]).upper()
        gone, batching = d.inserted_window_dims, d.operand_batching_dims
        inside = [a for a in range(x.ndim) if a not in gone and a not in batching]
        sizes = [1] * x.ndim
        for axis, k in zip(inside, d.update_window_dims, strict=True):
            sizes[axis] = updates.shape[k]
        at, inside = _places(x.shape, indices, sizes, gone, d.scatter_dims_to_operand_dims, batching,
                             d.scatter_indices_batching_dims)
        fits = _fits(at, x.shape, sizes)
        if "CLIP" in mode:
            at = [np.clip(a, 0, n - k) for a, n, k in zip(at, x.shape, sizes, strict=True)]
            fits = np.ones_like(fits)
        places = _steps(at, inside, sizes)
        batch = [k for k in range(updates.ndim) if k not in d.update_window_dims]
        moved = updates.transpose([*batch, *d.update_window_dims])
        keep = np.broadcast_to(fits, moved.shape)
        out = x.copy()
        into(out, tuple(a[keep] for a in places), moved[keep])
        return out

    return rule


def _put(out: np.ndarray, places: Any, values: np.ndarray) -> None:
    out[places] = values


# -- random numbers --------------------------------------------------------------------------------------


def wrapped(p: Any, x: np.ndarray) -> np.ndarray:
    return x[..., 0].astype(np.uint64) << np.uint64(32) | x[..., 1]


def _unwrap(p: Any, key: np.ndarray) -> np.ndarray:
    return np.stack([key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)], -1).astype(np.uint32)


_TURNS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry(key: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 64 bits of each count (below 2**32) under each key, in two halves: twenty rounds."""
    first, second = _unwrap({}, key)[..., 0], _unwrap({}, key)[..., 1]
    keys = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    x = np.broadcast_to(keys[0], np.broadcast_shapes(key.shape, count.shape)).copy()
    y = count.astype(np.uint32) + keys[1]
    for k in range(5):
        for turn in _TURNS[k % 2]:
            x = x + y
            y = (y << np.uint32(turn) | y >> np.uint32(32 - turn)) ^ x
        x, y = x + keys[(k + 1) % 3], y + keys[(k + 2) % 3] + np.uint32(k + 1)
    return x, y


def _each(key: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The bits of a new array of `shape` for each key."""
    count = np.arange(int(np.prod(shape))).reshape(shape)
    return _threefry(key.reshape(key.shape + (1,) * len(shape)), count)


def _random_bits(p: Any, key: np.ndarray) -> np.ndarray:
    x, y = _each(key, p["shape"])
    if p["bit_width"] == 64:
        return wrapped({}, np.stack([x, y], -1))
    return x ^ y


def _random_split(p: Any, key: np.ndarray) -> np.ndarray:
    return wrapped({}, np.stack(_each(key, p["shape"]), -1))


def _random_fold_in(p: Any, key: np.ndarray, number: np.ndarray) -> np.ndarray:
    return wrapped({}, np.stack(_threefry(key, number.astype(np.uint32)), -1))


def _random_seed(p: Any, seed: np.ndarray) -> np.ndarray:
    return seed.astype(np.uint64) if seed.dtype.itemsize == 8 else seed.astype(np.uint32).astype(np.uint64)


def _random_gamma(p: Any, key: np.ndarray, shape: np.ndarray) -> np.ndarray:
    out = np.empty(shape.shape)
    own = shape.shape[key.ndim:]
    for k in np.ndindex(key.shape):
        rng = np.random.default_rng(int(key[k]))
        a = shape[k]
        # of a small shape nothing may be left but the logarithm
        log = np.log(rng.standard_gamma(a + 1, own)) + np.log1p(-rng.uniform(size=own)) / a
        out[k] = log if p["log_space"] else np.exp(log)
    return out


# -- arithmetic ------------------------------------------------------------------------------------------


def _dot_general(p: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    (xc, yc), (xb, yb) = p["dimension_numbers"]
    letters = iter(string.ascii_letters)
    first, second = [""] * x.ndim, [""] * y.ndim
    for i, j in [*zip(xb, yb, strict=True), *zip(xc, yc, strict=True)]:
        first[i] = second[j] = next(letters)
    first, second = ([c or next(letters) for c in s] for s in (first, second))
    out = [*(first[i] for i in xb), *(c for i, c in enumerate(first) if i not in (*xb, *xc)),
           *(c for i, c in enumerate(second) if i not in (*yb, *yc))]
    return np.einsum(f"{''.join(first)},{''.join(second)}->{''.join(out)}", x, y)


def _select_n(p: Any, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    return np.choose(np.broadcast_to(which.astype(int), cases[0].shape), cases)


def _cholesky(p: Any, x: np.ndarray) -> np.ndarray:
    lower = np.tril(x)
    whole = lower + np.tril(x, -1).swapaxes(-1, -2)
    out = np.full_like(x, np.nan)
    for k in np.ndindex(x.shape[:-2]):
        try:
            out[k] = np.linalg.cholesky(whole[k])
        except np.linalg.LinAlgError:
            continue  # stays NaN
    return out


def _triangular_solve(p: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if not p["left_side"]:  # x a = b
        turned = {**p, "left_side": True, "transpose_a": not p["transpose_a"]}
        return _triangular_solve(turned, a, b.swapaxes(-1, -2)).swapaxes(-1, -2)
    out = np.empty_like(b)
    for k in np.ndindex(b.shape[:-2]):  # by substitution, which keeps zeros
        out[k] = linalg.solve_triangular(a[k], b[k], lower=p["lower"], trans=int(p["transpose_a"]),
                                               unit_diagonal=p["unit_diagonal"], check_finite=False)
    return out


def _eigh(p: Any, x: np.ndarray) -> list[np.ndarray]:
    values, vectors = np.linalg.eigh(x)
    return [vectors, values]


def _reduced(function: np.ufunc) -> Rule:
    def rule(p: Any, x: np.ndarray) -> Any:
        axes = tuple(p["axes"])
        if x.size or function.identity is not None:
            return function.reduce(x, axes, x.dtype)
        least = -np.inf if function is np.maximum else np.inf  # as JAX says of no numbers
        return function.reduce(x, axes, x.dtype, initial=least)

    return rule


def _along(function: np.ufunc) -> Rule:
    def rule(p: Any, x: np.ndarray) -> np.ndarray:
        if p["reverse"]:
            return np.flip(function.accumulate(np.flip(x, p["axis"]), p["axis"]), p["axis"])
        return function.accumulate(x, p["axis"])

    return rule


def _arg(function: Callable[..., Any]) -> Rule:
    def rule(p: Any, x: np.ndarray) -> np.ndarray:
        return function(x, p["axes"][0])

    return rule


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x / y if x.dtype.kind in "fc" else np.trunc(x / y).astype(x.dtype)


def _power(x: np.ndarray, n: int) -> np.ndarray:
    return x**n if n >= 0 else 1 / x**-n


def _round(p: Any, x: np.ndarray) -> np.ndarray:
    if int(p["rounding_method"]):
        return np.rint(x)
    return np.trunc(x + np.copysign(0.5, x))


def _iota(p: Any) -> np.ndarray:
    shape = p["shape"]
    line = np.arange(shape[p["dimension"]]).astype(p["dtype"])
    return np.broadcast_to(line.reshape([-1 if k == p["dimension"] else 1 for k in range(len(shape))]), shape)


def _platform(platforms: Sequence[Sequence[str] | None]) -> int:
    return next(k for k, names in enumerate(platforms) if names is None or "cpu" in names)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": _div, "rem": np.fmod,
    "neg": np.negative, "sign": np.sign, "abs": np.abs, "max": np.maximum, "min": np.minimum,
    "floor": np.floor, "ceil": np.ceil, "is_finite": np.isfinite, "nextafter": np.nextafter,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt, "pow": np.power, "square": np.square,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2,
    "logistic": special.expit, "erf": special.erf, "erfc": special.erfc, "erf_inv": special.erfinv,
    "lgamma": special.gammaln, "digamma": special.digamma,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "shift_right_logical": np.right_shift, "shift_left": np.left_shift,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "copy": np.asarray, "copy_p": np.asarray, "stop_gradient": np.asarray,
}

PRIMITIVES: dict[str, Rule] = {
    **{name: (lambda p, *xs, f=f: f(*xs)) for name, f in _ELEMENTWISE.items()},
    "integer_pow": lambda p, x: _power(x, p["y"]),
    "convert_element_type": lambda p, x: x.astype(p["new_dtype"]),
    "bitcast_convert_type": lambda p, x: x.view(p["new_dtype"]) if x.ndim else x.reshape(1).view(
        p["new_dtype"])[0],
    "round": _round, "iota": _iota, "select_n": _select_n,
    "empty2": lambda p: np.zeros((), p["dtype"]),
    **{f"reduce_{name}": _reduced(f) for name, f in {
        "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "and": np.logical_and,
        "or": np.logical_or}.items()},
    **{f"cum{name}": _along(f) for name, f in {
        "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
        "logsumexp": np.logaddexp}.items()},
    "argmax": _arg(np.argmax), "argmin": _arg(np.argmin),
    "dot_general": _dot_general, "cholesky": _cholesky, "triangular_solve": _triangular_solve, "eigh": _eigh,
    "random_wrap": wrapped, "random_unwrap": _unwrap, "random_bits": _random_bits, "random_seed": _random_seed,
    "random_split": _random_split, "random_fold_in": _random_fold_in, "random_gamma": _random_gamma,
    "platform_index": lambda p: _platform(p["platforms"]),
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": lambda p, x: x.transpose(p["dimensions"] or range(x.ndim)).reshape(p["new_sizes"]),
    "squeeze": lambda p, x: np.squeeze(x, tuple(p["dimensions"])),
    "expand_dims": lambda p, x: np.expand_dims(x, tuple(p["dimensions"])),
    "transpose": lambda p, x: x.transpose(p["permutation"]),
    "rev": lambda p, x: np.flip(x, p["dimensions"]),
    "slice": _slice, "dynamic_slice": _dynamic_slice, "dynamic_update_slice": _dynamic_update_slice,
    "pad": _pad, "gather": _gather, "scatter": _scatter(_put), "scatter-add": _scatter(np.add.at),
    "concatenate": lambda p, *xs: np.concatenate(xs, p["dimension"]),
    "stack": lambda p, *xs: np.stack(xs, p["axis"]),
    "unstack": lambda p, x: list(np.moveaxis(x, p["axis"], 0)),
    "split": lambda p, x: np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"]),
    "tile": lambda p, x: np.tile(x, p["reps"]),
}
