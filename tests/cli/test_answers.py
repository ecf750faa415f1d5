"""Options that say what the network answers and how its pictures are read, with their records; and the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import cnnviz

CODE = """
import torch
from torch import nn

class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.out = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return {"a": self.out(self.conv(x).relu()), "b": x}

def dense():
    return Dense()

def logits(output):
    return output["a"].mean((2, 3))

def failing(output):
    return output["c"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(CODE)
    ramp = np.linspace(0, 4095, 48 * 48).astype(np.uint16).reshape(48, 48)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words, **more):
    code = "import sys; from importlib.metadata import entry_points; "
    code += "(e,) = entry_points(group='console_scripts', name='cnnviz'); e.load()(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env={**os.environ, **more}, check=False
    )


NET = ("--model", "net.py:dense", "--input-size", "32", "--mean", "0.5", "--std", "0.5")


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no such backend"])
def test_the_backend_of_a_shell_is_not_read(folder, backend):
    found = command("gradcam", *NET, "--logits", "net.py:logits", "--target", "1", "x.png", MPLBACKEND=backend)
    assert found.returncode == 0, found.stderr
    assert (folder / "x.gradcam.1.png").stat().st_size > 1000


def test_logits_by_a_function_and_a_head_are_recorded_and_found_again(folder):
    asked = ("gradcam", *NET, "--logits", "net.py:logits", "--head", "sigmoid", "--target", "1", "deep.png", "--range")
    found = command(*asked, "0,8190", "-o", "a.png")
    assert found.returncode == 0, found.stderr
    record = cnnviz.rerun("a.png", "b.png", trust=True)
    assert record.identical, str(record)
    (folder / "net.py").rename(folder / "other.py")
    assert cnnviz.rerun("a.png", "c.png", images="deep.png", trust=True).largest.value == 0  # found by its content
    model = cnnviz.load_model(
        "other.py:dense", input_size=32, mean=[0.5], std=[0.5], logits="other.py:logits", head="sigmoid"
    )
    (best,) = cnnviz.predict(model, "x.png")
    logits = model.forward(model.preprocess(cnnviz.read_picture("x.png"))[0][None])[0]
    assert best[0].probability == pytest.approx(logits.sigmoid().max().item(), abs=1e-6)
    failed = command("gradcam", *NET[2:], "--model", "other.py:dense", "--logits", "other.py:failing", "x.png")
    assert failed.returncode == 1
    assert "KeyError: 'c', in line 21 of other.py" in failed.stderr


def test_a_record_with_a_part_of_a_label_is_made_again(folder):
    from cnnviz.rerunning.question import _spell_one

    labels = ["tabby, tabby cat", "tabbouleh", "owl"]
    model = cnnviz.load_model("net.py:dense", input_size=32, mean=[0.5], std=[0.5], labels=labels)
    assert str(_spell_one("ow", "owl", model)) == "owl"
    assert _spell_one("owl", "tabbouleh", model) == "owl"
    assert str(_spell_one("tabby - ow", "tabby, tabby cat - owl", model)) == "tabby, tabby cat - owl"
