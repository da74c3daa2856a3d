"""docs/relations.md is what `python tests/relations.py` writes, and every row of it is tested in every form."""

import relations
import test_identity as identity
from models import CASES


def test_page_and_what_tests_its_rows(monkeypatch):
    """One test: what all models use takes long to find out."""
    assert relations.PAGE.read_text() == relations.page(), "run `python tests/relations.py`"
    assert not relations.open_rows()
    tested, covered, nearest = relations.tested(), relations.covered(), relations.nearest()
    assert {n for names in tested.values() for n in names} <= set(CASES)
    assert not [key for key, names in tested.items() if names and not identity.IN_FLOAT32.intersection(names)]
    # a row without one of them is open
    for name, found in (("tested", tested), ("covered", covered), ("nearest", nearest)):
        monkeypatch.setattr(relations, name, lambda found=found: found)
    for row in (r for r in relations.ROWS if not r.reason):
        for found, less in ((tested, []), (nearest, []), *((covered, covered[row.key] - {f}) for f in relations.FORMS)):
            before, found[row.key] = found[row.key], less
            assert relations.open_rows() == [row.key]
            found[row.key] = before


def test_every_model_has_the_identity():
    marks = {m.args[0]: m.args[1] for m in identity.test_identity.pytestmark if m.name == "parametrize"}
    assert {(x64, n) for x64, n in marks["x64, name"] if x64 or n in identity.IN_FLOAT32} == {
        *((True, n) for n in CASES), *((False, n) for n in identity.IN_FLOAT32)}


def test_rows():
    keys = [row.key for row in relations.ROWS]
    assert len(set(keys)) == len(keys)
    assert not any(row.reason and (row.pairs or row.within) for row in relations.ROWS)
    assert all(row.reason or row.pairs or row.within for row in relations.ROWS)
