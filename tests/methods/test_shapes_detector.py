"""The bundled detector: what it finds, every method on it, and that maps of a box are about the shape in that box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core.target import DetectionTarget
from cnnviz.drawing.boxes import colour_of
from cnnviz.errors import ExplanationError, TargetError

QUICK = {"integrated_gradients": {"steps": 4}, "rise": {"masks": 8}, "occlusion": {"window": 32, "stride": 32},
         "smoothgrad": {"samples": 2}, "captum": {"name": "Saliency"}}  # fmt: skip
COARSE = {"window": 16, "stride": 8}


@pytest.fixture(scope="module")
def model():
    return cnnviz.load_model("shapes-detector")


@pytest.fixture
def scene():
    return cnnviz.draw_scene(4, seed=20001, shapes=2)


def box_of(mask):
    down, across = np.nonzero(mask)
    return across.min(), down.min(), across.max() + 1, down.max() + 1


def mass_inside(maps, mask):
    positive = np.nan_to_num(maps.on_original()).clip(0)
    return positive[mask].sum() / positive.sum() if positive.any() else 0.0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_shape_of_a_scene_has_its_box(model, count):
    for index in range(4):
        scene = cnnviz.draw_scene(index, seed=20001, shapes=count, size=96)
        found = cnnviz.predict(model, scene.pixels)[0]
        assert sorted(str(one.target) for one in found) == sorted(f"{shape.label} #1" for shape in scene.shapes)
        for one in found:
            shape = next(each for each in scene.shapes if each.label == str(one.side))
            np.testing.assert_allclose(one.box, box_of(shape.mask), atol=10)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if {"model", "images", "target"} <= set(load(name).needs)])
def test_every_method_explains_a_shape(name, model, scene):
    method = load(name)
    settings = {key: value for key, value in QUICK.get(name, {}).items() if key in method.parameters}
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    target = f"{scene.shapes[1].label} #1"
    if name == "cam":
        with pytest.raises(ExplanationError, match="Grad-CAM"):
            method(model, scene.pixels, target, **settings)
        return
    found = method(model, scene.pixels, target, **settings)
    assert isinstance(found[0].target, DetectionTarget)
    assert found[0].box == pytest.approx(box_of(scene.shapes[1].mask), abs=6)
    assert 0.5 < found[0].probability < 1
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() > 0
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_gradcam_is_autograds_of_the_candidate_before_suppression(model, scene):
    maps = cnnviz.gradcam(model, scene.pixels, f"{scene.shapes[0].label} #1", layer="layer3", relu=False)
    inputs = model.preprocess(cnnviz.Picture(scene.pixels, "scene"))[0][None]
    held = []
    hook = model.module.layer3.register_forward_hook(lambda *call: held.append(call[2]))
    answer = model.module(inputs)
    hook.remove()
    scores = answer["logits"][0, :, scene.shapes[0].target].sigmoid()
    (gradient,) = torch.autograd.grad(scores.max(), held[0])
    right = (gradient.mean(dim=(2, 3), keepdim=True) * held[0]).sum(dim=1).detach().numpy()
    np.testing.assert_allclose(maps.values, right, atol=1e-5 * np.abs(right).max())
    place = int(scores.argmax())
    assert maps[0].box == pytest.approx(answer["boxes"][0, place].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "settings", "count"), [("gradcam", {}, 12), ("gradcam", {"layer": "layer3"}, 20), ("occlusion", COARSE, 5)]
)
def test_the_map_of_a_shapes_box_lies_on_it_more_than_the_map_of_the_other_does(model, name, settings, count):
    check_masses(model, name, settings, range(count))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [("gradcam", {}), ("gradcam", {"layer": "layer3"}), ("occlusion", COARSE), ("rise", {"masks": 400})],
)
def test_the_same_on_many_scenes(model, name, settings):
    check_masses(model, name, settings, range(100 if name == "gradcam" else 20))


def check_masses(model, name, settings, indices):
    gains = []
    for index in indices:
        scene = cnnviz.draw_scene(index, seed=20001, shapes=2)
        try:
            maps = [load(name)(model, scene.pixels, f"{shape.label} #1", **settings)[0] for shape in scene.shapes]
        except TargetError:  # a shape that was not found has no map
            continue
        for own, other, shape in zip(maps, maps[::-1], scene.shapes, strict=True):
            gains.append(mass_inside(own, shape.mask) - mass_inside(other, shape.mask))
    assert len(gains) > 1.6 * len(indices)
    error = np.std(gains, ddof=1) / len(gains) ** 0.5
    assert np.mean(gains) - 4 * error > 0.1


def test_what_it_made_is_made_again(model, scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene.pixels).save("scene.png")
    for made in (cnnviz.gradcam(model, "scene.png", "#2"), cnnviz.predict(model, "scene.png")):
        assert cnnviz.rerun(made.save("made.png"), images="scene.png").identical


def test_what_is_explained_is_said_once_for_all_boxes(model, scene):
    maps = cnnviz.gradcam(model, [scene.pixels] * 2, ["#1", "#2"], layer="layer3")
    said = [check for check in maps.checks if "times their overlap (IoU)" in check]
    assert len(said) == 1
    assert "where parts are hidden, the largest such product" in said[0]


def test_boxes_and_points_of_a_small_picture_are_drawn_where_they_are(model, scene):
    found = cnnviz.predict(model, scene.pixels)
    points = np.array([[32.0, 60.0], [3.0, 30.0]])
    found = replace(found, found=(tuple(replace(one, points=points) for one in found[0]),))
    drawn = found.grid().sheet.rows[0][0].pixels
    assert drawn.shape == (320, 320, 3)
    for x, y in points:
        assert (drawn[int(5 * y), int(5 * x)] == colour_of(found[0][-1].side.index)).all()
    for one in found[0]:
        left, top, right, bottom = (5 * edge for edge in one.box)
        inked = (drawn == colour_of(one.side.index)).all(axis=2)
        assert inked[round((top + bottom) / 2), round(left)]
        assert inked[round((top + bottom) / 2), round(right) - 1]
        assert inked[round(bottom) - 1, round((left + right) / 2)]
