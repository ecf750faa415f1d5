"""Grad-CAM on real networks and photographs: does it look at what it names?"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image

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
    assert {name.removesuffix(".jpg") for name, said in boxes.items() if name[0] != "_" and said["label"]} == {*LABELLED}


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
def mosaic(real):
    """Four photographs, each cut to a square about its middle, two by two."""
    sheet = Image.new("RGB", (448, 448))
    for place, name in enumerate(QUARTERS):
        with Image.open(real / "photos" / f"{name}.jpg") as photo:
            side = min(photo.size)
            left, top = (photo.width - side) // 2, (photo.height - side) // 2
            square = photo.convert("RGB").crop((left, top, left + side, top + side)).resize((224, 224))
        sheet.paste(square, (224 * (place % 2), 224 * (place // 2)))
    return np.asarray(sheet)


@pytest.mark.parametrize("target", QUARTERS)
def test_of_four_pictures_in_one_it_finds_the_one_named(target, model, boxes, mosaic):
    x, y = gradcam(model, mosaic, boxes[f"{target}.jpg"]["label"])[0].peak()
    assert QUARTERS[(x >= 224) + 2 * (y >= 224)] == target


def test_captums_numbers(model, real):
    net = model.module
    inputs = torch.stack([model.preprocess(cnnviz.read_picture(real / "photos" / f"{name}.jpg"))[0] for name in QUARTERS])
    found = gradcam(model, inputs)
    indices = [target.index for target in found.targets]
    with warnings.catch_warnings(action="ignore"):
        oracle = LayerGradCam(net, net.get_submodule(found.layer))
        expected = oracle.attribute(inputs, indices, relu_attributions=False).detach().numpy()[:, 0]
    assert np.abs(found.values - expected).max() <= 1e-5 * np.abs(expected).max()
