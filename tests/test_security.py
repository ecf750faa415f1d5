"""SECURITY.md: every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| input", "| ---"))]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", "\n".join(ROWS))))
INPUTS = ("picture", "record", "labels", "weights", ".pt2", ".py", "data set", "index", "clip", "browser")


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_holds_a_row_is_there(file, test):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", INPUTS)
def test_every_kind_of_input_has_a_row(name):
    assert any(name in row.split("|")[1] for row in ROWS)


def test_every_row_says_all_and_names_a_test():
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4, row
        assert all(cells), row
        assert "`tests/" in cells[3], row
