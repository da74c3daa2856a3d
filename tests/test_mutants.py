"""An entry made wrong is noticed: one of every table here, all of them by `campaign.py`."""

import pytest
from mutants import MUTANTS, caught_by, in_use

TABLES = {name.split()[0]: name for name in reversed(MUTANTS)}  # the first of each


@pytest.mark.parametrize("name", TABLES.values())
def test_mutant_is_caught(name):
    mutant = MUTANTS[name]
    assert caught_by(mutant) or not in_use(mutant), "nothing notices this error"
