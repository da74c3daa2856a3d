"""The README's Python blocks run in order and print what it says; docstring examples run too."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import conjugate_ppl

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page="README.md"):
    """(source, expected output or None) of a page's Python blocks.

    A `text` block right behind a Python block is what that block prints.
    """
    text = (ROOT / page).read_text()
    pattern = r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?"
    return [m.groups() for m in re.finditer(pattern, text, re.DOTALL)]


def modules():
    """Every module of the package but the one that runs on import."""
    names = [m.name for m in pkgutil.walk_packages(conjugate_ppl.__path__, "conjugate_ppl.")]
    return [n for n in names if not n.endswith("__main__")]


def examples(name):
    """The doctests of one module."""
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [t for t in found if t.examples]


@pytest.mark.parametrize(("page", "least"), [("README.md", 6), ("docs/extending.md", 2)])
def test_pages(page, least):
    found = blocks(page)
    assert len(found) >= least
    space = {"__name__": "readme"}
    for source, expected in found:
        # a first line `# schools.py` is the file that `explain` should name
        name = re.match(r"# (\w+\.py)\n", source)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, name[1] if name else "README.md", "exec"), space)
        if expected is not None:
            same = doctest.OutputChecker().check_output(expected, printed.getvalue(), OPTIONS)
            assert same, f"expected:\n{expected}\nprinted:\n{printed.getvalue()}"


def test_readme_links_exist():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    missing = [x for x in links if not x.startswith("http") and not (ROOT / x).exists()]
    assert missing == []


@pytest.mark.parametrize("name", [n for n in modules() if examples(n)])
def test_docstrings(name):
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report = io.StringIO()
    for test in examples(name):
        runner.run(test, out=report.write)
    assert runner.failures == 0, report.getvalue()


def test_the_public_face_has_examples():
    with_examples = {t.name.rpartition(".")[2] for n in modules() for t in examples(n)}
    assert {"collapse", "explain", "check", "Collapsed", "Posterior", "register_density",
            "register_family"} <= with_examples
