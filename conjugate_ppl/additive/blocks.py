"""Many rows in one place: read in blocks that a processor has in reach, which takes a fifth of the time and no memory.

Blocks are added up (`parts.py`) where it is proved that they may be. Else, where a model cannot be run on some of its
rows, and where a block adds up to as many numbers as it has rows (five rows a group, say), the rows are read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from conjugate_ppl import _compat
from conjugate_ppl.additive.parts import NoGain, Parts, added_up
from conjugate_ppl.errors import ConjugatePPLError

__all__ = ["of_blocks"]

_LEAST = 1 << 20  # rows
_BLOCK = 1 << 17
_RUN = 1 << 11  # rows that stand together, of those that stand for all
_MOST = 1 << 16  # numbers of the sum, to which each block is added


def of_blocks(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[..., None] | None:
    """Prior times the likelihood of all rows, as a model whose arguments do not matter; None if there are few
    rows, or they do not add up."""
    leaves = {k: x for k, x in enumerate(jax.tree.leaves((args, dict(kwargs))))
              if isinstance(x, (np.ndarray, jax.Array)) and np.ndim(x) and _compat.is_concrete(x)}
    rows = max((len(x) for x in leaves.values()), default=0)
    if rows < _LEAST:
        return None
    arrays = {k: np.asarray(x) for k, x in leaves.items() if len(x) == rows}
    rest = rows % _BLOCK
    shares = [Fraction(n, rows) for n in (_BLOCK, rest) if n]

    def blocks() -> Iterator[dict[int, np.ndarray]]:
        for k in range(0, rows, _BLOCK):
            yield {n: x[k:k + _BLOCK] for n, x in arrays.items()}

    starts = np.linspace(0, rows - _RUN, -(-_BLOCK // _RUN)).astype(int)
    here = np.ravel(starts[:, None] + np.arange(_RUN))[:_BLOCK]
    typical = {n: x[here] for n, x in arrays.items()}
    try:
        return added_up(model, args, kwargs, Parts(dict.fromkeys(arrays, 0), shares, blocks(), typical, _MOST, states=False))
    except (ConjugatePPLError, NoGain):  # which comes again, and names the row, if it is about the data
        return None
