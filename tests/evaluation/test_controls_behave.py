"""What a map that knows nothing gets: the value that chance has, within what chance explains."""

from __future__ import annotations

import numpy as np
import pytest

import cnnviz


def standard_errors(values: np.ndarray) -> float:
    """How many standard errors a mean is from 0."""
    values = values[np.isfinite(values)]
    return abs(values.mean()) / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize(("scenes", "steps"), [(24, 6), pytest.param(500, 14, marks=pytest.mark.slow)])
def test_a_random_map_is_worth_what_chance_is(scenes, steps):
    model = cnnviz.load_model("shapes-resnet")
    table = cnnviz.evaluate(model, f"shapes:{scenes}", "gradcam", "srg,mass,rank", budget=steps, seed=1)
    areas = np.array([cnnviz.draw_scene(index).mask.mean() for index in range(scenes)])
    assert standard_errors(table.of("random", "srg")) < 3
    assert standard_errors(table.of("random", "mass") - areas) < 3
    assert standard_errors(table.of("random", "rank") - areas) < 3
    np.testing.assert_allclose(table.of("constant", "mass"), areas, atol=1e-6)
    assert standard_errors(table.of("gradcam", "srg")) > 5
    assert standard_errors(table.of("gradcam", "mass") - areas) > 5


@pytest.mark.slow
def test_a_random_map_has_a_quarter_of_its_mosaics():
    model = cnnviz.load_model("shapes-resnet")
    table = cnnviz.evaluate(model, "shapes:500", "gradcam", "gridpg", seed=1)
    assert standard_errors(table.of("random", "gridpg") - 0.25) < 3
    assert standard_errors(table.of("gradcam", "gridpg") - 0.25) > 5
