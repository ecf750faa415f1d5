"""Every example runs on the bundled networks, in a folder of its own, and writes what it says."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

import cnnviz

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
NOTEBOOK = FOLDER / "notebook.ipynb"
MOST_BYTES = 150_000

GIVEN = {
    "gallery": ("figures", "scene-digit", "scene-signal"),
    "gradcam_photo": ("photo.png", "shapes-resnet"),
    "mirror_picture": ("photo.png", "out.jpg", "shapes-resnet"),
    "readme_picture": ("out.jpg",),
}
"""What scripts are called with that would otherwise need a photograph, a download or a place in the repository."""

WRITTEN = {
    "custom_target": ("custom_target.png",),
    "detection": ("detection.png", "detection_maps.png"),
    "failure_analysis": ("failure_analysis.html", "failure_analysis.png"),
    "figure_for_a_report": ("report_figure.pdf",),
    "gallery": ("figures/scene-digit.png", "figures/scene-signal.png"),
    "gradcam_photo": ("photo.gradcam.png", "photo.why.png"),
    "mirror_picture": ("out.jpg",),
    "own_network": ("own_network.png",),
    "readme_picture": ("out.jpg",),
    "several_inputs": ("several_inputs.png",),
    "shortcut_hunt": ("shortcuts.html", "shortcuts.png"),
    "signals_and_volumes": ("signal_occlusion.png", "signal_and_volume.jpg"),
    "similarity": ("similar_pair.png", "similar_rather_than.png"),
    "segmentation": ("segmentation.png", "segmentation_maps.png"),
}


def loaded(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(cnnviz.draw_scene(0, size=96).pixels).save(tmp_path / "photo.png")
    return tmp_path


APART = ("training_with_maps", "whole_folder")
"""Scripts with a test of their own."""


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.stem not in APART], ids=lambda script: script.stem)
def test_it_runs_and_writes_what_it_says(script: Path, folder: Path, capsys: pytest.CaptureFixture[str]):
    module = loaded(script)
    assert "Run it: python examples/" in (module.__doc__ or ""), "its docstring says what it shows and how to run it"
    module.main(*GIVEN.get(script.stem, ()))
    said = capsys.readouterr().out
    for name in WRITTEN.get(script.stem, ()):
        assert (folder / name).stat().st_size > 0, name
    assert said


def test_every_example_is_known_by_what_it_writes():
    assert set(WRITTEN) <= {script.stem for script in SCRIPTS}


def test_the_folder_is_made_again(folder: Path, capsys: pytest.CaptureFixture[str]):
    loaded(FOLDER / "whole_folder.py").main()
    assert "4 maps; 0-arrow.layercam.png made again from its record: identical" in capsys.readouterr().out
    assert (folder / "maps.npz").is_file()
    rows = (folder / "maps.csv").read_text().splitlines()
    assert len(rows) == 5
    assert rows[1].startswith("0-arrow.png,arrow,")


def test_training_with_maps_keeps_a_network_from_a_shortcut():
    without, taught = loaded(FOLDER / "training_with_maps.py").main()
    assert taught > without
    assert taught >= 0.95


def test_the_notebook_runs_and_says_what_it_says(capsys: pytest.CaptureFixture[str]):
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    held = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (held["nbformat"], held["cells"][0]["cell_type"]) == (4, "markdown")
    space: dict[str, Any] = {}
    pictures = 0
    for cell in held["cells"]:
        if cell["cell_type"] != "code":
            continue
        printed, value = executed("".join(cell["source"]), space)
        expected = {output["output_type"]: output for output in cell["outputs"]}
        assert printed == "".join(expected.get("stream", {}).get("text", []))
        data = expected.get("execute_result", {}).get("data", {})
        if "image/png" in data:
            pictures += 1
            assert "".join(data["text/plain"]) == f"<picture {value.width}x{value.height}>"
        elif data:
            assert repr(value) == "".join(data["text/plain"])
    assert pictures == 3


def executed(source: str, space: dict[str, Any]) -> tuple[str, Any]:
    """Run a cell: what it prints, and the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "notebook", "exec"), space)
        value = eval(compile(ast.Expression(last.value), "notebook", "eval"), space) if last is not None else None
    return printed.getvalue(), value
