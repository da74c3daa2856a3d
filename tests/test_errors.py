"""What is said when names, data or values cannot be used: every error, with a way to provoke it.

`catalogue.entries` are the errors that the source can raise; each of them is raised by a case of `provoked`,
and docs/errors.md shows them.
"""

import functools
import re
from pathlib import Path

import catalogue
import pytest
from provoked import CASES

import conjugate_ppl as cj


@functools.cache
def outcome(name: str) -> tuple[type[Exception], str, Path, int]:
    """The error that a case raises: type, message, and the place in the package that raises it."""
    with pytest.raises(Exception) as caught:
        CASES[name].run()
    inside = [t for t in caught.traceback if catalogue.PACKAGE in Path(t.path).parents]
    return caught.type, str(caught.value), Path(inside[-1].path), inside[-1].lineno + 1


@pytest.mark.parametrize("name", CASES)
def test_message(name):
    kind, message, *_ = outcome(name)
    assert kind is CASES[name].kind
    assert re.search(CASES[name].words, message), message


def test_every_error_is_raised():
    places = [outcome(name)[2:] for name in CASES]
    never = [e.message for e in catalogue.entries()
             if not any(file == e.file and line in e.lines for file, line in places)]
    assert never == []


def test_page_is_up_to_date():
    assert catalogue.PAGE.read_text() == catalogue.page(), "run `python tests/catalogue.py`"
    assert "<...>" not in catalogue.page(), "what a message fills in needs a name"


def test_no_error_of_the_caller_is_one_of_the_package():
    for kind in (cj.ModelError, cj.DataError, cj.PlanError):
        assert issubclass(kind, cj.ConjugatePPLError) and issubclass(kind, ValueError)
        assert not issubclass(kind, AssertionError) and not issubclass(cj.InternalError, kind)
