"""The maps that come from changing activations or pictures, on trained networks, against full forwards."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

import cnnviz
from cnnviz import Model, read_picture
from cnnviz.methods.cams.fullgrad import fullgrad
from tests.support.one_convolution import GAUSSIAN

pytestmark = pytest.mark.real
CASES = [
    ("squeezenet1_0", "features.3.squeeze"), ("squeezenet1_0", "features.12.squeeze"), ("mobilenet_v2", "features.1"),
    ("mobilenet_v2", "features.7"),
]  # fmt: skip


@pytest.fixture(scope="module")
def models(real):
    """In double precision: a channel's part of a score is lost in single precision's rounding."""
    found = {}
    for name in {name for name, _ in CASES}:
        opened = cnnviz.load_model(name, device="cpu")
        double = copy.deepcopy(opened.module).double()
        found[name] = Model(double, preprocess=opened.preprocess, labels=opened.labels, name=name)
    return found


@pytest.fixture(scope="module")
def image(real, models):
    """The dog at 96 pixels, where hundreds of forwards take seconds."""
    whole, _ = models["mobilenet_v2"].preprocess(read_picture(real / "photos" / "samoyed.jpg"))
    return functional.interpolate(whole[None].double(), size=(96, 96), mode="bilinear", antialias=True)


def with_factors(model, layer, image, factors, read):
    """Scores of full forwards with the layer's output multiplied by each of ``(B, C or 1, h or 1, w or 1)``."""
    part, found = model.module.eval().get_submodule(layer), []
    for some in factors.split(32):
        handle = part.register_forward_hook(lambda _part, _inputs, output, some=some: output * some)
        with torch.no_grad():
            found.append(read(model.module(image.expand(len(some), -1, -1, -1))))
        handle.remove()
    return torch.cat(found)


def activation_of(model, layer, image):
    held = {}
    part = model.module.eval().get_submodule(layer)
    handle = part.register_forward_hook(lambda *given: held.update(a=given[2].clone()))
    with torch.no_grad():
        logits = model.module(image)
    handle.remove()
    return held["a"][0], logits


def close(found, expected, tolerance=1e-5):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("c", [258, lambda logits: logits[:, 258] - logits[:, 88]], ids=["class", "function"])
@pytest.mark.parametrize(("name", "layer"), CASES)
def test_ablationcam_is_full_forwards_without_each_channel(name, layer, c, models, image):
    model = models[name]
    read = c if callable(c) else lambda logits: logits[:, c]
    activation, logits = activation_of(model, layer, image)
    factors = 1 - torch.eye(len(activation), dtype=torch.float64)[:, :, None, None]
    scores, whole = with_factors(model, layer, image, factors, read), read(logits)
    weights = (whole - scores) / whole.abs()
    found = cnnviz.ablationcam(model, image, c, layer=layer)
    close(found.values[0], torch.einsum("k,khw->hw", weights, activation))
    assert not any("not exact" in check for check in found.checks)


def test_the_closed_form_at_mobilenets_last_layer(models, image):
    model = models["mobilenet_v2"]
    closed = cnnviz.ablationcam(model, image, 258)
    activation, logits = activation_of(model, "features", image)
    assert closed.layer == "features"
    weights = model.module.classifier[1].weight[258].detach() * activation.mean(dim=(1, 2)) / logits[0, 258].abs()
    close(closed.values[0], torch.einsum("k,khw->hw", weights, activation))
    close(closed.values, cnnviz.ablationcam(model, image, lambda logits: logits[:, 258]).values)


@pytest.mark.parametrize("score", ["probability", "logit"])
@pytest.mark.parametrize(("name", "layer"), [("squeezenet1_0", "features.12"), ("mobilenet_v2", "features.14")])
def test_reciprocam_is_full_forwards_of_each_place(name, layer, score, models, image):
    model = models[name]
    activation, _ = activation_of(model, layer, image)
    height, width = activation.shape[1:]
    masks = np.zeros((height * width, 1, height + 2, width + 2))
    for i in range(height):
        for j in range(width):
            masks[i * width + j, 0, i : i + 3, j : j + 3] = GAUSSIAN
    factors = torch.from_numpy(masks[:, :, 1:-1, 1:-1])

    def read(logits):
        return (logits.softmax(dim=1) if score == "probability" else logits)[:, 258]

    expected = with_factors(model, layer, image, factors, read).reshape(height, width)
    close(cnnviz.reciprocam(model, image, 258, layer=layer, score=score).values[0], expected)


@pytest.mark.parametrize("weighting", ["softmax", "probability"])
@pytest.mark.parametrize(("name", "layer"), [CASES[0], CASES[2]])
def test_scorecam_is_masked_pictures(name, layer, weighting, models, image):
    model = models[name]
    activation, _ = activation_of(model, layer, image)
    live = activation.flatten(1).amax(dim=1) > activation.flatten(1).amin(dim=1)
    scores = []
    for each in activation[live]:
        wide = functional.interpolate(each[None, None], size=(96, 96), mode="bilinear", align_corners=False)
        with torch.no_grad():
            logits = model.module(image * (wide - wide.min()) / (wide.max() - wide.min()))[0]
        scores.append((logits.softmax(dim=0) if weighting == "probability" else logits)[258])
    weights = torch.stack(scores)
    weights = weights.softmax(dim=0) if weighting == "softmax" else weights
    found = cnnviz.scorecam(model, image, 258, layer=layer, weighting=weighting).values[0]
    close(found, torch.einsum("k,khw->hw", weights, activation[live]))


def test_fullgrad_adds_up_on_squeezenet(models, image):
    """And not quite on MobileNetV2, whose ReLU6 is a constant above 6."""
    said = {name: fullgrad(model, image, 258).checks[-1] for name, model in models.items()}
    assert "but for" in said["squeezenet1_0"]
    error = float(said["squeezenet1_0"].split("but for ")[1].split(" ")[0])
    assert error < 1e-6


def test_a_cam_finds_the_dog(real, models):
    """The largest value lies in the dog's box."""
    ((left, top, right, bottom),) = json.loads((real / "photos" / "boxes.json").read_text("utf-8"))["samoyed.jpg"][
        "boxes"
    ]
    width, height = read_picture(real / "photos" / "samoyed.jpg").size
    for name in ("gradcam", "layercam", "gradcam_plusplus", "ablationcam", "xgradcam"):
        found = getattr(cnnviz, name)(models["mobilenet_v2"], real / "photos" / "samoyed.jpg", 258)
        x, y = found[0].peak()
        assert left <= x / width <= right, name
        assert top <= y / height <= bottom, name
