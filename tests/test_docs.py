"""The pages of the documentation: what they show runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cnnviz
from cli.app import main

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    cnnviz (.*)$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
ANCHOR = re.compile(r"\]\(#([^)]*)\)")


def interrupt(_):
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(cnnviz.draw_scene(2, shapes=2, size=96).pixels).save(tmp_path / "photo.png")
    np.save(tmp_path / "beat.npy", cnnviz.draw_signal(3).values)
    np.save(tmp_path / "solid.npy", cnnviz.draw_volume(5).values)
    monkeypatch.setattr(cnnviz.Explorer, "open", lambda _: True)
    monkeypatch.setattr(cnnviz.Explorer, "wait", interrupt)
    return tmp_path


def test_there_are_pages():
    assert "not-a-classifier" in {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_from_its_beginning_to_its_end(page, folder, capsys):
    blocks = PYTHON.findall(page.read_text(encoding="utf-8"))
    assert blocks
    held: dict[str, object] = {"__name__": page.stem}
    for block in blocks:
        exec(compile(block, page.name, "exec"), held)
    said = capsys.readouterr().out
    assert said
    for file in re.findall(r'\.save\("([^"]*)"\)', "\n".join(blocks)):
        assert (folder / file).stat().st_size > 500


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, folder):
    for line in COMMAND.findall(page.read_text(encoding="utf-8")):
        done = CliRunner().invoke(main, shlex.split(line))
        assert done.exit_code == 0, (line, done.output)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_a_page_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    there = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in HEADING.findall(text)}
    assert set(ANCHOR.findall(text)) <= there


def test_the_reader_of_a_yolo():
    from tests.support.public_networks import NETWORKS, built

    (block,) = [
        block
        for block in PYTHON.findall((PAGES[0].parent / "not-a-classifier.md").read_text("utf-8"))
        if "def read_yolo" in block
    ]
    held: dict[str, Any] = {"torch": torch}
    exec(block, held)
    net = built(NETWORKS["ultralytics YOLOv8n"])
    model = cnnviz.Model(net, detections=held["read_yolo"], mean=[0] * 3, std=[1] * 3, input_size=64)
    inputs = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = cnnviz.saliency(model, inputs)[0]
    leaf = inputs.clone().requires_grad_()
    scores = net(leaf)[0][0, 4:]
    (right,) = torch.autograd.grad(scores.max(), leaf)
    assert found.probability == pytest.approx(float(scores.detach().max()))
    np.testing.assert_allclose(found.values, right[0].numpy(), atol=1e-5 * float(right.abs().max()))
