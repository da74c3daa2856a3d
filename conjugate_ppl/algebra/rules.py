"""What each primitive does to sums of monomials: one entry a primitive.

A rule gets the walk, the equation and its operands (`Value`s, or known arrays) and returns the result,
or raises `Unknown` with the reason in words a user understands. A primitive without an entry is
unknown. Nothing here may guess: a rule returns only what is equal for every value of the latents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conjugate_ppl.algebra.arithmetic import ARITHMETIC
from conjugate_ppl.algebra.functions import FUNCTIONS
from conjugate_ppl.algebra.linear import LINEAR
from conjugate_ppl.algebra.matrices import cholesky
from conjugate_ppl.algebra.placement import PLACEMENT
from conjugate_ppl.algebra.running import written_out
from conjugate_ppl.algebra.scatter import scatter, scatter_add
from conjugate_ppl.algebra.solves import linear_solve
from conjugate_ppl.algebra.sums import SUMS

__all__ = ["RULES"]

RULES: dict[str, Callable[..., Any]] = {
    **ARITHMETIC, **FUNCTIONS, **SUMS, **PLACEMENT, **LINEAR,
    "cholesky": cholesky, "scatter": scatter, "scatter-add": scatter_add,
    "custom_linear_solve": linear_solve, "scan": written_out,
}
"""Primitive name -> rule(walk, equation, *operands)."""
