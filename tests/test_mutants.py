"""Every entry of every table, made wrong, is noticed: by an identity, or by an equality of parts."""

import jax
import numpy as np
import pytest
from mutants import MUTANTS, caught_by, in_use, mutated
from test_densities import EXAMPLES, both, inside


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name):
    mutant = MUTANTS[name]
    if name.startswith("density"):
        d = EXAMPLES[mutant.key]()
        jax.clear_caches()
        with mutated(mutant):
            assert any(not np.allclose(ours, theirs, rtol=1e-3)
                       for ours, theirs in both(d, inside(d, (5,))))
    else:
        assert caught_by(mutant) or not in_use(mutant), "nothing notices this error"
