"""docs/relations.md is what `python tests/relations.py` writes."""

import relations


def test_page_is_up_to_date():
    assert relations.PAGE.read_text() == relations.page(), "run `python tests/relations.py`"


def test_every_row_is_tested_in_all_forms():
    assert not relations.open_rows()


def test_rows():
    keys = [row.key for row in relations.ROWS]
    assert len(set(keys)) == len(keys)
    assert not any(row.reason and row.pairs for row in relations.ROWS)
