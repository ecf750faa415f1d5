"""The public names: each there, each described, none loaded before it is asked for."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnviz
from cnnviz.catalogue import CATALOGUE
from cnnviz.method import Method


@pytest.mark.parametrize("name", cnnviz.__all__)
def test_every_public_name_is_there_and_described(name):
    held = getattr(cnnviz, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", held)
    elif callable(held):
        assert inspect.getdoc(held), f"{name} has no docstring"


def test_the_names_type_checkers_see_are_the_same_and_no_folder_has_one_of_them():
    root = Path(cnnviz.__file__).parent
    typed = re.findall(r"\b(\w+) as \1\b", (root / "__init__.pyi").read_text(encoding="utf-8"))
    assert sorted(typed) == sorted(cnnviz.__all__)
    assert not {each.stem for each in root.iterdir()} & set(typed), "it would shadow the function"


def test_every_method_is_public():
    missing = set(CATALOGUE) - set(cnnviz.__all__)
    assert not missing
    assert all(isinstance(getattr(cnnviz, name), Method) for name in CATALOGUE)


def test_dir_lists_them_and_nothing_else_is_found():
    assert dir(cnnviz) == sorted(cnnviz.__all__) or set(dir(cnnviz)) == set(cnnviz.__all__)
    with pytest.raises(AttributeError, match="attribute grad_cam"):
        cnnviz.grad_cam  # noqa: B018


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_it_imports_no_torch():
    heavy = "{'torch', 'torchvision', 'numpy', 'matplotlib', 'PIL', 'cv2'}"
    assert (
        fresh(f"import sys, cnnviz; cnnviz.__version__, dir(cnnviz); print(sorted({heavy} & sys.modules.keys()))")
        == "[]"
    )


def test_a_public_method_is_not_shadowed_by_its_module():
    code = "import cnnviz.methods.cams.gradcam, cnnviz; print(type(cnnviz.gradcam).__name__, callable(cnnviz.cam))"
    assert fresh(code) == "Method True"


def test_drawing_core_and_registry_need_no_torch():
    modules = "cnnviz.method, cnnviz.provenance, cnnviz.core.target, cnnviz.core.layer, cnnviz.core.picture"
    drawing = "cnnviz.drawing.raster, cnnviz.drawing.figure, cnnviz.drawing.overlay, cnnviz.drawing.files"
    assert fresh(f"import sys, {modules}, {drawing}; print('torch' in sys.modules)") == "False"
