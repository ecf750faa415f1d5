"""The wheel holds every package and file, and its command runs away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "cnnviz", "cli")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, built from a copy of the sources."""
    source, out, site = (tmp_path_factory.mktemp(name) for name in ("source", "out", "site"))
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_data_file(installed: Path):
    for folder, inside in ((ROOT / "cnnviz", "cnnviz"), (ROOT / "cli", "cnnviz/cli")):
        for file in folder.rglob("*"):
            if file.suffix in (".py", ".safetensors", ".md", ".typed", ".html", ".css"):
                assert (installed / inside / file.relative_to(folder)).is_file(), file
    assert not (installed / "cli").exists()


@pytest.mark.slow
def test_the_wheels_command_runs_from_another_folder(installed: Path, tmp_path: Path):
    code = "import sys; from cnnviz.cli.app import main; sys.argv = ['cnnviz', 'methods']; main()"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "gradcam" in done.stdout
    assert str(ROOT) not in subprocess.run(
        [sys.executable, "-c", "import cnnviz; print(cnnviz.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
