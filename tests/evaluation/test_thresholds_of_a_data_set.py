"""MaxBoxAccV2 in a table is at a method's best thresholds of the whole data set, one for each overlap."""

from __future__ import annotations

import numpy as np
import pytest

import cnnviz
from cnnviz.core.region import bounding_box
from cnnviz.evaluation.localisation import max_box_acc, max_box_acc_curve
from tests.support.judging import given_case

SCENES = 6


@pytest.fixture(scope="module")
def model():
    return cnnviz.load_model("shapes-resnet")


def test_it_is_the_mean_of_the_best_shares_and_at_most_that_of_each_pictures_own(model):
    table = cnnviz.evaluate(model, f"shapes:{SCENES}", "gradcam", "max-box-acc")
    scenes = [cnnviz.draw_scene(index) for index in range(SCENES)]
    maps = cnnviz.gradcam(model, [scene.pixels for scene in scenes]).upsampled()
    cases = [given_case(scene.mask, boxes=(bounding_box(scene.mask),)) for scene in scenes]
    hits = np.stack([max_box_acc_curve(case, one[None])[0] for case, one in zip(cases, maps, strict=True)])
    expected = hits.mean(axis=0).max(axis=1).mean()
    own = np.mean([max_box_acc(case, one[None])[0] for case, one in zip(cases, maps, strict=True)])
    assert table.of("gradcam", "max-box-acc").mean() == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected < own <= 1
    assert "max-box-acc" not in table.curves


def test_pictures_without_a_mask_are_undefined(model, tmp_path):
    from PIL import Image

    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    for folder in (pictures, masks):
        folder.mkdir()
    for index in range(3):
        scene = cnnviz.draw_scene(index)
        Image.fromarray(scene.pixels).save(pictures / f"{index}.png")
        if index != 1:
            Image.fromarray(scene.mask.astype(np.uint8) * 255).save(masks / f"{index}.png")
    table = cnnviz.evaluate(model, pictures, "gradcam", "max-box-acc,mass,gini", masks=masks)
    for name, undefined in (("max-box-acc", [1]), ("mass", [1]), ("gini", [])):
        assert np.flatnonzero(np.isnan(table.of("gradcam", name))).tolist() == undefined
