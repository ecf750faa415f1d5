"""How many rooms of the house one answer walks through: the fewer, the easier it is to follow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cnnviz

ROOT = Path(cnnviz.__file__).parent


def entered(call: Callable[[], object]) -> set[str]:
    """Files of ours in which a function is called meanwhile."""
    files: set[str] = set()

    def note(frame, event, _):
        if event == "call":
            files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return {str(Path(file).relative_to(ROOT)) for file in files if file.startswith(f"{ROOT}/")}


@pytest.mark.parametrize(("name", "most"), [("gradcam", 48), ("saliency", 45)])
def test_a_warm_answer_with_its_picture_enters_few_modules(name, most, tmp_path):
    model, scene = cnnviz.load_model("shapes-resnet"), cnnviz.draw_scene(3, size=96).pixels

    def ask() -> None:
        getattr(cnnviz, name)(model, scene).save(tmp_path / "map.png")

    ask()
    rooms = entered(ask)
    assert 10 < len(rooms) <= most, sorted(rooms)


def loaded(code: str) -> set[str]:
    """Heavy modules that a fresh interpreter has loaded after some code."""
    heavy = "{'torch', 'torchvision', 'timm', 'numpy', 'matplotlib', 'PIL', 'cv2'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*({heavy} & sys.modules.keys()))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_a_method_that_is_only_named_loads_nothing_heavy():
    assert loaded("import cnnviz; cnnviz.gradcam, cnnviz.gradcam.parameters") == set()


def test_maps_are_computed_without_matplotlib():
    code = "import cnnviz; cnnviz.gradcam(cnnviz.load_model('shapes-resnet'), cnnviz.draw_scene(3, size=64).pixels)"
    assert "matplotlib" not in loaded(code)
