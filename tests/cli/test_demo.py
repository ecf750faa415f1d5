"""``cnnviz demo`` on the bundled networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import cnnviz as library
from tests.support.asking import interrupt_steps

FILES = [
    "scene.png", "shapes.png", "digits.png", "made.png", "methods.png", "concepts.png", "filters.png", "features.png",
    "patches.png", "signals.png", "volumes.png", "report.html",
]  # fmt: skip


def test_demo_writes_its_figures_and_only_replaces_its_own(cnnviz, folder):
    first = cnnviz("demo", "-q")
    assert first.exit_code == 0, first.output
    written = first.stdout.splitlines()
    assert [Path(name).name for name in written] == FILES
    for name in written:
        library.read_note(Path(name))
    for name in written[:-1]:
        with Image.open(name) as image:
            assert min(image.size) >= 256
    Path("cnnviz-demo/mine.txt").write_text("mine")
    before = Path(written[1]).read_bytes()
    assert cnnviz("demo").stderr.splitlines()[-1].startswith("next: cnnviz gradcam")
    assert Path(written[1]).read_bytes() == before
    assert Path("cnnviz-demo/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["labels.txt", "labels.txt/deep"])
def test_demo_where_no_folder_can_be(cnnviz, place):
    result = cnnviz("demo", "-o", place)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "labels.txt' is a file" in result.stderr


def test_demo_leaves_foreign_files_alone(cnnviz, photo):
    photo("cnnviz-demo/shapes.png")
    result = cnnviz("demo")
    assert result.exit_code == 1
    assert "'cnnviz-demo/shapes.png' was not written by cnnviz" in result.stderr


def test_an_interrupt_of_a_picture_being_made_ends_the_demo(cnnviz, monkeypatch):
    """Pictures that are made keep what there is; the demo does not go on with it."""
    interrupt_steps(monkeypatch)
    result = cnnviz("demo", "-q")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert not Path("cnnviz-demo/made.png").exists()
