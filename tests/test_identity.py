"""The identity of `check`, on a table of ordinary models.

For every value of the collapsed latents z and the kept ones k,

    log_density(model; z, k) - log p(z | k) = log_density(collapsed; k).

The left side is NumPyro's own density of the user's model, the right side does not depend on z. Each
entry also says which latents are to be collapsed: an analysis that silently stops finding them fails.

NumPy evaluates most: the algebra is what is looked at. Every second one is checked in float32 too, so that every
relation is (`test_relations`), some compiled by XLA; `campaign.py` compiles all of them in float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from generated.numpy_jaxpr import check_by_numpy
from models import CASES

import conjugate_ppl as cj

# columns that nearly depend on each other are about it; the last of all are alone in having their relation
COLLINEAR = [n for n in CASES if n.startswith("collinear_")]
IN_FLOAT32 = frozenset([*COLLINEAR, *[n for n in CASES if n not in COLLINEAR][::2], "cells_of_two_outcomes",
                        "truncated_means", "effects_that_sum_to_zero", "wishart_of_wishart", "gamma_of_each_residual",
                        "gaussian_through_solves_with_pivots", "von_mises_direction",
                        "gaussian_below_predictions", *[n for n in CASES if n.startswith("wide_")]])
BY_XLA = frozenset(list(CASES)[::10])


@pytest.mark.parametrize("x64, name", [(x, n) for x in (True, False) for n in CASES if x or n in IN_FLOAT32],
                         indirect=["x64"])
def test_identity(name, x64):
    entry = CASES[name]
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in entry.args]
    collapsed = cj.collapse(entry.model)
    plan = cj.explain(collapsed, *args)
    assert frozenset(plan.collapsed) == entry.collapsed, f"\n{plan}"
    check = cj.check if name in BY_XLA and not x64 else check_by_numpy
    found = check(collapsed, jax.random.key(1), *args, num_points=2)
    assert found.points == 4
