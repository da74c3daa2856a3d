"""The identity of `check`, on a table of ordinary models.

For every value of the collapsed latents z and the kept ones k,

    log_density(model; z, k) - log p(z | k) = log_density(collapsed; k).

The left side is NumPyro's own density of the user's model, the right side does not depend on z. Each
entry also says which latents are to be collapsed: an analysis that silently stops finding them fails.

In float64 the algebra is what is looked at, and NumPy evaluates it; in float32 XLA compiles it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from generated.numpy_jaxpr import check_by_numpy
from models import CASES

import conjugate_ppl as cj


@pytest.mark.parametrize("name", CASES)
def test_identity(name, x64):
    entry = CASES[name]
    args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in entry.args]
    collapsed = cj.collapse(entry.model)
    plan = cj.explain(collapsed, *args)
    assert frozenset(plan.collapsed) == entry.collapsed, f"\n{plan}"
    found = (check_by_numpy if x64 else cj.check)(collapsed, jax.random.key(1), *args, num_points=2)
    assert found.points == 4
