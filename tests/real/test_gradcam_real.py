"""Grad-CAM on real networks and photographs: does it look at what it names?"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

import cnnviz
from cnnviz import gradcam

pytestmark = pytest.mark.real

NETWORKS = ("squeezenet1_0", "mobilenet_v2")
LABELLED = ("cat", "chickadee", "dragonfly", "hotdog", "macaw", "pets", "samoyed")
QUARTERS = ("chickadee", "dragonfly", "macaw", "samoyed")


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, real):
    return cnnviz.load_model(request.param, device="cpu")


@pytest.fixture(scope="module")
def boxes(real):
    return json.loads((real / "photos" / "boxes.json").read_text())


def test_the_photographs_are_all_asked_about(boxes):
    labelled = {name.removesuffix(".jpg") for name, said in boxes.items() if name[0] != "_" and said["label"]}
    assert labelled == {*LABELLED}


@pytest.mark.parametrize("photo", LABELLED)
def test_the_maximum_lies_in_a_box(photo, model, boxes, real):
    said = boxes[f"{photo}.jpg"]
    found = gradcam(model, real / "photos" / f"{photo}.jpg", said["label"])[0]
    x, y = found.peak()
    height, width = found.picture.size
    inside = [box for box in said["boxes"] if box[0] <= x / width <= box[2] and box[1] <= y / height <= box[3]]
    assert not found.blank
    assert inside, f"the maximum lies at {x / width:.2f}, {y / height:.2f}"


@pytest.fixture(scope="module")
def cells(model, real):
    """The photographs as the network takes them, 224 x 224 each."""
    return [model.preprocess(cnnviz.read_picture(real / "photos" / f"{name}.jpg"))[0] for name in QUARTERS]


def test_each_picture_alone_is_recognised(model, boxes, cells):
    """Half as large the dragonfly is not, by either network: a mosaic must keep the pictures' size."""
    best = cnnviz.predict(model, cells, k=1)
    assert [answer.target.label for (answer,) in best] == [boxes[f"{name}.jpg"]["label"] for name in QUARTERS]


@pytest.mark.parametrize("target", QUARTERS)
def test_of_four_pictures_in_one_it_finds_the_one_named(target, model, boxes, cells):
    """The grid pointing game: two by two pictures of different classes, each as large as the network knows it."""
    rows = [torch.cat(cells[:2], dim=2), torch.cat(cells[2:], dim=2)]
    x, y = gradcam(model, torch.cat(rows, dim=1), boxes[f"{target}.jpg"]["label"])[0].peak()
    assert QUARTERS[(x >= 224) + 2 * (y >= 224)] == target


def test_captums_numbers(model, cells):
    net, inputs = model.module, torch.stack(cells)
    found = gradcam(model, inputs)
    indices = [target.index for target in found.targets]
    with warnings.catch_warnings(action="ignore"):
        oracle = LayerGradCam(net, net.get_submodule(found.layer))
        expected = oracle.attribute(inputs, indices, relu_attributions=False).detach().numpy()[:, 0]
    assert np.abs(found.values - expected).max() <= 1e-5 * np.abs(expected).max()
