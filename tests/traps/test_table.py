"""The table of traps names tests that exist, and every test of this folder."""

import ast
import re
from pathlib import Path

from declined import CASES as DECLINED
from models import CASES

import traps

TESTS = Path(__file__).parents[1]


def functions(pattern):
    """`file::function` for every function of some test files, but for those inside others."""
    return {f"{path.stem}::{node.name}" for path in TESTS.glob(pattern)
            for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_trap_names_tests_that_exist():
    own = functions("traps/test_*.py")
    known = functions("test_*.py") | own | {f"models::{name}" for name in CASES} | {f"declined::{n}" for n in DECLINED}
    found = re.findall(r"\w+::\w+", traps.__doc__)
    named = set(found)
    assert named <= known, sorted(named - known)
    tests = {n for n in own if "::test_" in n and not n.startswith("test_table::")}
    assert tests <= named, sorted(tests - named)


def test_every_number_has_its_place():
    numbers = re.findall(r"^([ATRX][\d.]+) {2,}\S.*\n       \w+::", traps.__doc__, re.MULTILINE)
    assert len(set(numbers)) == len(numbers) == len(re.findall(r"\n[ATRX]\S+  ", traps.__doc__))
    assert {f"A4.{k}" for k in range(1, 29)} | {f"T{k}" for k in range(1, 18)} <= set(numbers)
