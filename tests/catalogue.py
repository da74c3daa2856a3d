"""The errors of the package, read off its source.

Writes docs/errors.md: `python tests/catalogue.py`.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import conjugate_ppl

__all__ = ["PAGE", "Entry", "entries", "page"]

PACKAGE = Path(conjugate_ppl.__file__).parent
PAGE = PACKAGE.parent / "docs" / "errors.md"

INTRODUCTION = """\
# Errors

Every error that the package raises, as `python tests/catalogue.py` reads it off the source. Words in
`<angle brackets>` stand for what is filled in. A message says what is wrong, its likely cause and the
next step. Errors of the model itself, of NumPyro and of JAX come through unchanged.

`ModelError`, `DataError` and `PlanError` are for the caller to mend, `InternalError` is a bug of this
package; all are kinds of `ConjugatePPLError`. Where Python has an error of its own for the case, it is
used.
"""

REASONS = """\
# Why a site stays with the sampler

This is no error: the site is sampled as it would be without the package, and `explain` shows one of
these reasons with a line of the model. For a site named in `require` it is a `PlanError`.
"""

REMEDIES = {
    "planning": "Said of the latent itself, or of a statement that depends on it. What may help is "
    "another statement at the line shown: a prior of a conjugate family, a density that is registered, "
    "data without subsampling, noise drawn at a sample site.",
    "elimination": "Said of the form in which a latent enters the log density. What may help is to "
    "write the line shown in one of the forms that the README lists; a proper prior in place of a flat "
    "one; and of two latents that stand in each other's way, `keep` of the one to be sampled.",
    "algebra": "Said of the operation that a latent goes through (*what* in \"`<site>` goes through "
    "<what>\"). What may help is to do without it where a latent is concerned: known numbers may go "
    "through anything.",
}
"""Part of the package -> what its reasons are about, and what can be done."""

_REASON = {"Declined": 1, "not_in": 3, "Unknown": 0, "Unreadable": 0}  # which argument is the reason
_JUDGES = ("_own_obstacle", "_child_obstacle", "_discrete_obstacle", "_obstacle_to_sum", "describe")  # functions that return reasons
_PASSED_ON = re.compile(r"|<[\w.]+>|<reason> in .*")  # what another place has said


@dataclasses.dataclass(frozen=True)
class Entry:
    """A `raise` statement: its lines, the function it is in, the error, the message."""

    file: Path
    lines: range
    function: str
    kind: type[Exception]
    message: str


def entries() -> list[Entry]:
    """Every error that the package raises, signals between its own functions left out."""
    found = []
    for file, function, node in _nodes():
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            kind = _class(file, ast.unparse(node.exc.func))
            if not isinstance(kind, type):  # a function makes it: no error, but a reason
                continue
            own = kind.__module__.startswith("conjugate_ppl")
            if not own or issubclass(kind, conjugate_ppl.ConjugatePPLError):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                found.append(Entry(file, lines, function, kind, _text(node.exc.args[0])))
    return found


def reasons() -> dict[str, list[str]]:
    """The words in which sites are declined, by the parts of the package, each once."""
    found: dict[str, dict[str, None]] = {part: {} for part in REMEDIES}
    for file, function, node in _nodes():
        said = None
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _REASON:
            said = node.args[_REASON[ast.unparse(node.func)]]
        elif isinstance(node, ast.Return) and function in _JUDGES:
            said = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
        text = "" if said is None else _text(said)
        if not _PASSED_ON.fullmatch(text):
            found[file.parent.name][text] = None
    return {part: list(texts) for part, texts in found.items()}


def page() -> str:
    """The text of docs/errors.md."""
    parts = [INTRODUCTION]
    catalogue = entries()
    kinds = {e.kind for e in catalogue}
    for kind in sorted(kinds, key=lambda k: (k.__module__ == "builtins", k.__name__)):
        parts.append(f"## {kind.__name__}\n\n{inspect.getdoc(kind)}\n")
        for entry in catalogue:
            if entry.kind is kind:
                place = f"`{entry.file.relative_to(PACKAGE)}`, `{entry.function}`"
                parts.append(f"{place}:\n\n```text\n{textwrap.fill(entry.message, 100)}\n```\n")
    parts.append(REASONS)
    for part, texts in reasons().items():
        shown = "\n".join(textwrap.fill(t, 100, subsequent_indent="    ") for t in texts)
        parts.append(f"{textwrap.fill(REMEDIES[part], 104)}\n\n```text\n{shown}\n```\n")
    return "\n".join(parts)


def _nodes() -> Iterator[tuple[Path, str, ast.AST]]:
    """Every node of the package's source with its file and function."""
    for file in sorted(PACKAGE.rglob("*.py")):
        yield from ((file, *found) for found in _inside(ast.parse(file.read_text()), ()))


def _inside(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield ".".join(names), child
        named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
        yield from _inside(child, (*names, child.name) if named else names)


def _class(file: Path, name: str) -> type[Exception]:
    module = importlib.import_module(".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts))
    found: type[Exception] = getattr(module, name, None) or getattr(builtins, name)
    return found


def _text(node: ast.AST) -> str:
    """A string as it stands in the source; `<name>` for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(v) for v in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        return _text(node.args[0])  # words about one thing
    name = getattr(node, "id", getattr(node, "attr", "..."))
    return f"<{name}>"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{len(entries())} errors and {sum(map(len, reasons().values()))} reasons in {PAGE}")
