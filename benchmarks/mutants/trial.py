"""Trying mutations: a copy of the package and its tests, with one wrong text in it at a time."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from benchmarks.mutants.mutation import Mutation
from benchmarks.mutants.witness import Outcome, Witness

__all__ = ["ROOT", "Trial"]

ROOT = Path(__file__).parents[2]
PARTS = {"cnnviz": "cnnviz", "cli": "cnnviz/cli", "tests": "tests"}
"""Folders of the checkout, and where they lie in the copy: as the installed package has them."""

PASSED, FAILED = 0, 1
SECONDS = 300
"""After so long a run is taken not to end."""

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "torchvision", "matplotlib.figure", "cv2"])


class Trial:
    """A private copy of the checkout, in which tests are run as pytest runs them, each time in a fresh process.

    Args:
        folder: Where the copy goes; made where it is not there.
        root: The checkout.
    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "pyproject.toml", self.folder)
        for part, place in PARTS.items():
            if (root / part).is_dir():
                shutil.copytree(root / part, self.folder / place, ignore=shutil.ignore_patterns("__pycache__"))

    def control(self, tests: Iterable[str]) -> int:
        """Run tests on the package as it is.

        Returns:
            How many passed.

        Raises:
            RuntimeError: If not all of them pass.
        """
        found = self._run(tests)
        if found.code != PASSED:
            raise RuntimeError(f"The tests do not pass without a mutation: {found.test or found.code}: {found.line}")
        return found.passed

    def of(self, mutation: Mutation) -> Outcome:
        """Run a mutation's tests until one fails; the test is empty if none does.

        Raises:
            ValueError: If the right text does not stand in the file exactly once.
            RuntimeError: If the tests did not run, or not on the mutated file.
        """
        with self._mutated(mutation):
            found = self._run(mutation.tests)
        if found.code not in (PASSED, FAILED):
            raise RuntimeError(f"'{mutation.name}': pytest ended with {found.code}: {found.test}: {found.line}")
        if str(self.folder / mutation.file) not in found.loaded:
            raise RuntimeError(f"'{mutation.name}': {mutation.file} was never imported by {', '.join(mutation.tests)}.")
        return found

    @contextmanager
    def _mutated(self, mutation: Mutation) -> Iterator[None]:
        """Inside, the copy's file is wrong; compiled files of it are taken away, as they go by the second."""
        file = self.folder / mutation.file
        right, wrong = file.read_bytes(), mutation.applied(self.folder)
        compiled = Path(cache_from_source(str(file)))
        compiled.unlink(missing_ok=True)
        try:
            file.write_text(wrong, encoding="utf-8")
            yield
        finally:
            file.write_bytes(right)
            compiled.unlink(missing_ok=True)

    def _run(self, tests: Iterable[str]) -> Outcome:
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=_pytest, args=(self.folder, tuple(tests), sender))
        process.start()
        sender.close()
        try:
            if not receiver.poll(SECONDS):
                raise RuntimeError(f"{' '.join(tests)} did not end within {SECONDS} seconds.")
            found = receiver.recv()
        except EOFError:
            raise RuntimeError(f"pytest broke off: {self._said()}") from None
        finally:
            process.kill()
            process.join()
        assert isinstance(found, Outcome)
        outside = [file for file in found.loaded if not Path(file).is_relative_to(self.folder)]
        if outside or not found.loaded:
            raise RuntimeError(f"The copy in {self.folder} is not what was tested, but {outside or 'nothing'}.")
        return found

    def _said(self) -> str:
        return (self.folder / "said.txt").read_text(encoding="utf-8", errors="replace")[-2000:]


def _pytest(folder: Path, tests: tuple[str, ...], sender: Connection) -> None:
    """In a process of its own: the tests of a copy of the checkout, on the package in that copy."""
    with (folder / "said.txt").open("w", encoding="utf-8") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    for name in ("CNNVIZ_REAL", "PYTEST_ADDOPTS"):
        os.environ.pop(name, None)
    sys.path[:] = [str(folder), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    main = sys.modules["__main__"]
    main.__spec__ = None
    main.__dict__.pop("__file__", None)  # processes that the tests start are not to import it from the copy
    witness = Witness(folder)
    code = pytest.main(["-x", "-n", "0", "-p", "no:cacheprovider", *tests], plugins=[witness])
    sender.send(witness.outcome(int(code)))
    sender.close()
