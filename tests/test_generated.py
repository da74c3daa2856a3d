"""Models that nobody wrote: what must hold of every model, on random ones (`generated.oracle`).

`python tests/campaign.py` checks thousands. Every model that ever failed is in `regressions`.
"""

from pathlib import Path

import hypothesis
import pytest
from generated.oracle import verify
from generated.strategy import models
from generated.writer import Written
from hypothesis import HealthCheck, Phase

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.py"))


@pytest.mark.parametrize("block", range(5))
def test_generated_models(block, x64):
    @hypothesis.seed(block)
    @hypothesis.settings(max_examples=10, database=None, deadline=None,
                         phases=[Phase.generate],
                         suppress_health_check=list(HealthCheck))
    @hypothesis.given(models())
    def check(written):
        verify(written)

    check()


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda p: p.stem)
def test_models_that_once_failed(path, x64):
    verify(Written.parse(path.read_text()))
