"""On every classification network of torchvision DeepLIFT's contributions add up to the score's change.

The weights are random but alive. The largest networks need ``CNNVIZ_SWEEP=all``; ``CNNVIZ_SWEEP_TABLE=FILE`` writes
what was found as a table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

import cnnviz
from cnnviz.core.target import ClassTarget
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.methods.gradients.contributions import contribute
from cnnviz.methods.gradients.path_integral import fill_inputs
from tests.support.torchvision_nets import marks_of, noise, size_of, torchvision_net

NETWORKS = torchvision.models.list_models(module=torchvision.models)
CLASS = ClassTarget(3)
BASELINES = ("black", "blur")

TITLE = """# How far DeepLIFT's contributions are from adding up, on every classification network of torchvision

Random weights that are alive, inputs of noise; the residue is the sum of the contributions less the change of the score
from the baseline, as a share of that change. Written by
`CNNVIZ_SWEEP=all CNNVIZ_SWEEP_TABLE=FILE pytest -m "slow or not slow" tests/methods/test_deeplift_networks.py`.
"""


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Rows of what was found; written where CNNVIZ_SWEEP_TABLE says."""
    rows: list[str] = []
    yield rows
    if where := os.environ.get("CNNVIZ_SWEEP_TABLE"):
        head = ["network", *(f"{each}, {dtype}" for dtype in ("float32", "float64") for each in BASELINES)]
        lines = [TITLE, "| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *sorted(rows)]
        Path(where).write_text("\n".join(lines) + "\n", encoding="utf-8")


def residue(model: cnnviz.Model, inputs: torch.Tensor, baseline: str) -> tuple[float, float, float]:
    """What the sum misses, the change of the score, and the larger score of the two."""
    with undisturbed(model.module), torch.no_grad():
        found = contribute(model, inputs, [CLASS], (baseline,), (), seed=0, exact=True)
        other = model.answer(fill_inputs(model, inputs, baseline, 0), [CLASS])[0, CLASS.index]
    score = found.scores[0].double()
    change = float(score - other.double())
    return abs(float(found.values[0].double().sum()) - change), abs(change), max(abs(float(score)), abs(float(other)))


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in NETWORKS])
def test_contributions_add_up(name, table):
    row = [name]
    for dtype, share, rounding in ((torch.float32, 1e-4, 1e-6), (torch.float64, 1e-9, 0.0)):
        model = cnnviz.Model(
            torchvision_net(name, dtype=dtype), mean=(0.0,) * 3, std=(1.0,) * 3, input_size=size_of(name), name=name
        )
        for baseline in BASELINES:
            missing, change, most = residue(model, noise(1, size_of(name), dtype), baseline)
            row.append(f"{missing / change:.0e}")
            assert missing <= share * change + rounding * most, (dtype, baseline, missing / change)
    table.append("| " + " | ".join(row) + " |")


@pytest.mark.real
@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v2"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_contributions_add_up_on_real_networks(real, name, baseline):
    model = cnnviz.load_model(name, device="cpu")
    found = cnnviz.deeplift(model, real / "photos" / "samoyed.jpg", baseline=baseline)
    said = next(each for each in found.checks if "add up" in each)
    assert float(said.split("within ")[1].split()[0]) < 1e-5
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_contributions_add_up_in_exported_files(name, tmp_path):
    size = size_of(name)
    net = torchvision_net(name)
    torch.export.save(torch.export.export(net, (noise(1, size),)), tmp_path / "net.pt2")
    exported = cnnviz.load_model(tmp_path / "net.pt2", mean=(0.0,) * 3, std=(1.0,) * 3, device="cpu")
    plain = cnnviz.Model(net, mean=(0.0,) * 3, std=(1.0,) * 3, input_size=size)
    found, right = (cnnviz.deeplift(each, noise(1, size), 3, baseline="black") for each in (exported, plain))
    assert np.allclose(found.values, right.values, atol=1e-4 * np.abs(right.values).max())
    said = next(each for each in found.checks if "add up" in each)
    assert float(said.split("within ")[1].split()[0]) < 1e-4
