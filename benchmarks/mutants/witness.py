"""A pytest plugin that remembers the first test that failed, and where the package that was tested came from."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Outcome", "Witness"]


@dataclass(frozen=True)
class Outcome:
    """What a run of some tests found.

    Attributes:
        code: pytest's exit code.
        passed: How many tests passed.
        test: The first test that failed, as pytest names it; empty if none did.
        line: The statement of the test in which it failed.
        loaded: Files of cnnviz that were imported.
    """

    code: int
    passed: int
    test: str
    line: str
    loaded: tuple[str, ...]


class Witness:
    """The plugin.

    Args:
        root: Where the tests run.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._passed, self._test, self._line = root, 0, "", ""

    def pytest_exception_interact(self, node: Any, call: pytest.CallInfo[Any]) -> None:
        """Keep the first failure."""
        if self._test or call.excinfo is None:
            return
        inside = [entry for entry in call.excinfo.traceback if Path(entry.path).is_relative_to(self._root / "tests")]
        self._test = str(node.nodeid)
        self._line = " ".join(str(inside[-1].statement).split()) if inside else call.excinfo.exconly()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what passed."""
        self._passed += report.when == "call" and report.passed

    def outcome(self, code: int) -> Outcome:
        """What was found, after pytest has ended with that exit code."""
        parts = [part for name, part in sys.modules.items() if name.split(".")[0] == "cnnviz"]
        files = sorted(filter(None, (getattr(part, "__file__", None) for part in parts)))
        return Outcome(code, self._passed, self._test, self._line, tuple(files))
