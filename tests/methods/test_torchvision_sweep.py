"""Every classification network of torchvision: a layer is found, and the maps there say something.

The weights are random but alive and the inputs small, so that the sweep is about layers, shapes and hooks. The largest
networks need ``CNNVIZ_SWEEP=all``; ``CNNVIZ_SWEEP_TABLE=FILE`` writes what was found as a table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torchvision

from cnnviz import Model, ablationcam, eigencam, gradcam, layercam
from tests.support.torchvision_nets import marks_of, noise, size_of, torchvision_net

METHODS = {"gradcam": gradcam, "layercam": layercam, "eigencam": eigencam, "ablationcam": ablationcam}
NETWORKS = torchvision.models.list_models(module=torchvision.models)
TITLE = """# The layer that is chosen in every classification network of torchvision

Random weights that are alive, inputs of noise; a map is ok if it is finite and not constant. Written by
`CNNVIZ_SWEEP=all CNNVIZ_SWEEP_TABLE=FILE pytest tests/methods/test_torchvision_sweep.py`.
"""


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Rows of what was found; written where CNNVIZ_SWEEP_TABLE says."""
    rows: list[str] = []
    yield rows
    if where := os.environ.get("CNNVIZ_SWEEP_TABLE"):
        head = ["network", "input", "automatic layer", "grid", *METHODS]
        lines = [TITLE, "| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *sorted(rows)]
        Path(where).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in NETWORKS])
def test_a_layer_is_found_and_its_maps_say_something(name, table):
    size = size_of(name)
    model = Model(torchvision_net(name), mean=(0.0,) * 3, std=(1.0,) * 3, input_size=size, name=name)
    inputs, found, layers, grids = noise(1, size), {}, set(), set()
    for key, method in METHODS.items():
        maps = method(model, inputs)
        found[key] = _status(maps.values[0])
        layers.add(maps.layer)
        grids.add(maps.values.shape[1:])
    (layer,), (grid,) = layers, grids
    row = [name, str(size), layer, "x".join(map(str, grid)), *found.values()]
    table.append("| " + " | ".join(row) + " |")
    assert set(found.values()) == {"ok"}, row
    assert min(grid) > 1
    assert model.layers[layer].arrangement.grid == grid


def _status(values: np.ndarray) -> str:
    if not np.isfinite(values).all():
        return "not finite"
    return "ok" if np.ptp(values) > 1e-5 * np.abs(values).max() > 0 else "constant"
