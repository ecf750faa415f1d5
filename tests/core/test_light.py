"""What all parts speak of loads neither torch nor NumPy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "numpy", "PIL", "cv2", "matplotlib")


@pytest.mark.parametrize(
    "modules",
    [
        ("cnnviz.core.target", "cnnviz.core.field", "cnnviz.core.layer", "cnnviz.core.picture", "cnnviz.core.sample"),
        ("cnnviz.method", "cnnviz.errors", "cnnviz.provenance", "cnnviz.models.names"),
    ],
)
def test_core_is_light(modules):
    code = f"import sys, {', '.join(modules)}; print([name for name in {HEAVY} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"
