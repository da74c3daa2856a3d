"""Leave-one-out of cells that depend on discrete latents alone.

With the log density l(s) of a cell in the states s of what it reads, D(a) of `removal.py` is

    D(a) = log E[exp(a l)] = log sum_s P(s | all data) exp(a l(s)),

and P is the derivative of the log evidence with respect to what data say of s. Where P is too small to be one
(the cell itself made a state unlikely, or impossible), or a cell reads several rows of tables, the evidence is summed
anew with the cell's share taken out: the tables change, nothing is analysed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.util import log_density
from scipy.special import logsumexp

from conjugate_ppl.additive.cells import Cells
from conjugate_ppl.additive.lookups import Lookup, lookups
from conjugate_ppl.additive.monomials import written
from conjugate_ppl.additive.polynomial import Polynomial
from conjugate_ppl.additive.prior import Prior

__all__ = ["States"]

_LEAST = 1e-6  # the share of a sum that may come from states without a probability

Tables = dict[tuple[str, ...], list[Any]]


class States:
    """What data say of the states, and what follows from it.

    `posterior` makes the collapsed model of tables in place of those of the likelihood.
    """

    def __init__(self, prior: Prior, likelihood: Polynomial, together: list[tuple[str, ...]],
                 collapsed: Callable[[Callable[..., None]], Any]) -> None:
        blocks = [b for b in together if any(n in prior.discrete for n in b)]
        self._parts = {b: likelihood.on(b).lookups for b in blocks}
        dtype = jnp.result_type(float)
        self._tables: Tables = {b: [jnp.asarray(x, dtype) for x in prior.tables_of(likelihood.on(b))] for b in blocks}
        model = collapsed(prior.with_likelihood(likelihood, together))
        self._log_evidence = jax.jit(lambda tables: log_density(model, (tables,), {}, {})[0])
        self._probabilities = jax.jit(jax.grad(lambda tables: log_density(model, (tables,), {}, {})[0]))

    def expectation_ratios(self, cells: Cells, powers: np.ndarray) -> np.ndarray:
        """D(second power) - D(first) of each cell, in C order."""
        count = powers.shape[1]
        total = np.zeros((2, count))
        pieces = []
        for m in written(cells.rows(0, count)):
            if not m.atoms:
                np.add.at(total.T, m.rows, (powers[:, m.rows] * m.numbers).T)
            else:
                pieces.append((m.atoms, np.stack([*m.positions, m.rows], 1), m.numbers))
        shares = [(s, *self._rows(s)) for s in lookups(pieces)]
        owner = np.concatenate([s.positions[:, -1] for s, *_ in shares]) if shares else np.zeros(0, int)
        many = np.bincount(owner, minlength=count)
        anew = many > 1
        probabilities = self._probabilities(self._tables) if shares else {}
        for share, block, k, rows in shares:
            cell = share.positions[:, -1]
            flat = len(rows), -1
            p = np.asarray(probabilities[block][k], float)[rows].reshape(flat)
            numbers, never = share.numbers.reshape(flat), share.never.reshape(flat) > 0
            least = float(jnp.finfo(jnp.result_type(float)).tiny) / _LEAST
            for side in (0, 1):
                exponent = np.where(never, 0.0, powers[side, cell, None] * numbers)
                with np.errstate(divide="ignore"):
                    known = logsumexp(exponent, 1, b=np.where(p > least, p, 0.0))
                lost = logsumexp(exponent, 1, b=np.where(p > least, 0.0, least))
                np.logical_or.at(anew, cell, (lost > known + np.log(_LEAST)) | never.any(1))
                total[side, cell] += np.where(anew[cell], 0.0, known)
        for n in np.flatnonzero(anew):
            total[:, n] += [self._moved(shares, int(n), a) - self._log_evidence(self._tables) for a in powers[:, n]]
        out: np.ndarray = total[1] - total[0]
        return out

    def _rows(self, share: Lookup) -> tuple[tuple[str, ...], int, np.ndarray]:
        """Where a share is: block, number of the table, rows of it."""
        block, k, whole = next((b, k, x) for b, parts in self._parts.items() for k, x in enumerate(parts)
                               if x.sites == share.sites and not x.others)
        sizes = tuple(whole.elements.max(1, initial=0) + 1)
        keys = np.ravel_multi_index(tuple(whole.elements), sizes)
        order = np.argsort(keys)
        return block, k, order[np.searchsorted(keys[order], np.ravel_multi_index(tuple(share.elements), sizes))]

    def _moved(self, shares: list[tuple[Lookup, tuple[str, ...], int, np.ndarray]], cell: int, power: float) -> float:
        """The log evidence with a cell's share added so many times more."""
        if power == 0:
            return float(self._log_evidence(self._tables))
        tables = {b: [np.array(x) for x in parts] for b, parts in self._tables.items()}
        for share, block, k, rows in shares:
            own = np.flatnonzero(share.positions[:, -1] == cell)
            whole = self._parts[block][k]
            at = rows[own]
            tables[block][k][at] = whole.table(at, power * share.numbers[own], power * share.never[own]) - whole.level[at]
        return float(self._log_evidence(jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), tables)))
