"""Ranks of simulated parameters are uniform; `campaign.py` does the same with more simulations."""

from __future__ import annotations

import numpy as np
import pytest
from calibration import MODELS, probabilities, ranks

FEW = {"hierarchy": 64, "regression": 1000, "rates": 64}


@pytest.mark.parametrize("name", FEW)
def test_ranks_are_uniform(name: str) -> None:
    found = probabilities(ranks(name, FEW[name]))
    assert MODELS[name].collapsed <= set(found)
    assert min(found.values()) > 1e-4, found


def test_a_wrong_posterior_is_noticed() -> None:
    """Draws that are too wide by a fifth."""
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=1000), 1.2 * rng.normal(size=(1000, 31))
    assert probabilities({"z": (draws < truth[:, None]).sum(1)})["z"] < 1e-4
