"""docs/relations.md is what `python tests/relations.py` writes, and every row of it is tested in every form."""

import pytest
import relations
import test_identity as identity
from models import CASES

pytestmark = pytest.mark.xdist_group("relations")  # one process finds out what all models use


def test_page_is_up_to_date():
    assert relations.PAGE.read_text() == relations.page(), "run `python tests/relations.py`"


def test_every_row_is_tested_in_all_forms():
    assert not relations.open_rows()


def test_a_row_without_one_of_them_is_open(monkeypatch):
    tested, covered, nearest = relations.tested(), relations.covered(), relations.nearest()
    for name, found in (("tested", tested), ("covered", covered), ("nearest", nearest)):
        monkeypatch.setattr(relations, name, lambda found=found: found)
    for row in (r for r in relations.ROWS if not r.reason):
        for found, less in ((tested, []), (nearest, []), *((covered, covered[row.key] - {f}) for f in relations.FORMS)):
            before, found[row.key] = found[row.key], less
            assert relations.open_rows() == [row.key]
            found[row.key] = before


def test_every_model_that_is_named_has_the_identity_in_both_precisions():
    marks = {m.args[0]: m.args[1] for m in identity.test_identity.pytestmark if m.name == "parametrize"}
    named = {n for names in relations.tested().values() for n in names}
    assert named <= set(marks["name"]) == set(CASES)
    assert "x64" in identity.test_identity.__code__.co_varnames  # a fixture of both


def test_rows():
    keys = [row.key for row in relations.ROWS]
    assert len(set(keys)) == len(keys)
    assert not any(row.reason and (row.pairs or row.within) for row in relations.ROWS)
    assert all(row.reason or row.pairs or row.within for row in relations.ROWS)
