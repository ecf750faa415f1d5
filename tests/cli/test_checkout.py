"""``python -m cnnviz`` in a checkout that is not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import cnnviz

ROOT = Path(__file__).parents[2]
PACKAGES = Path(click.__file__).parents[1]


@pytest.fixture
def run(tmp_path):
    """Run a copy of the checkout with nothing installed but what is named."""
    for part in ("cnnviz", "cli"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*arguments: str, packages: Path | None = PACKAGES) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment["PYTHONPATH"] = str(packages or "")
        command = [sys.executable, "-S", "-m", "cnnviz", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_it_works_where_the_packages_are_that_it_needs(run):
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cnnviz {cnnviz.__version__}\n", "")
    done = run("gradcam", "--model", "shapes-resnet", "nowhere.png")
    assert done.returncode == 1
    assert "nowhere.png" in done.stderr


def test_a_package_that_is_missing_is_a_sentence(run):
    done = run("--version", packages=None)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: 'click' is not installed; 'pip install cnnviz', or 'pip install .' in a checkout, installs it.\n"
    )


def test_a_package_that_a_command_misses_is_a_sentence(run, tmp_path):
    few = tmp_path / "few"
    for package in ("click", "docstring_parser", "annotated_types", "lazy_loader"):
        shutil.copytree(PACKAGES / package, few / package)
    done = run("predict", "--model", "shapes-resnet", "picture.png", packages=few)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: '(numpy|torch|tqdm|PIL)' is not installed; .*\n", done.stderr)


def test_a_library_without_its_command_says_so(run, tmp_path):
    (tmp_path / "pyproject.toml").unlink()
    done = run("--version", packages=None)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: The command line is not installed; 'pip install cnnviz' installs it.\n"
