"""``cnnviz demo`` and the examples, on the bundled networks."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

import cnnviz as library

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_demo_writes_its_figures_and_only_replaces_its_own(cnnviz, folder):
    first = cnnviz("demo", "-q")
    assert first.exit_code == 0, first.output
    written = first.stdout.splitlines()
    assert written == [f"cnnviz-demo/{name}.png" for name in ("scene", "shapes", "digits", "made")]
    for name in written:
        library.read_note(Path(name))
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


RUNS = {
    "gradcam_photo": (["cat.jpg", "shapes-resnet"], ["cat.gradcam.png", "cat.why.png"]),
    "readme_picture": ([], ["readme_picture.jpg"]),
    "own_network": ([], ["own_network.png"]),
    "figure_for_a_report": ([], ["report_figure.pdf"]),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_examples(name, photo, folder, monkeypatch, capsys):
    arguments, written = RUNS[name]
    photo()
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert all((folder / file).is_file() for file in written)
    assert capsys.readouterr().out.splitlines()[-1] == written[-1]
