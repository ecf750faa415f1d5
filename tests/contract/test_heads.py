"""Every kind of answer by every method: probabilities are the network's own, values are values, nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cnnviz
from cnnviz.errors import CnnvizError
from tests.support.asking import METHODS, ask, method_of, needing, state_of
from tests.support.detectors import tiny_retinanet
from tests.support.networks import ImageAndAge, Small, model_of

SIDE = 32
EXPLAINING = needing("model", "images", "target")


class Ended(nn.Module):
    """The small classifier with something after its logits."""

    def __init__(self, end: Callable[[Tensor], Tensor], classes: int = 5) -> None:
        super().__init__()
        self.body, self.end = Small(classes=classes), end

    def forward(self, x):
        return self.end(self.body(x))


class Dense(nn.Module):
    """A class for every pixel, or a value."""

    def __init__(self, planes: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()
        )
        self.out = nn.Conv2d(8, planes, 1)
        self.out.weight.data *= 6

    def forward(self, x):
        return nn.functional.interpolate(self.out(self.body(x)), size=x.shape[-2:], mode="bilinear")


def of_first(read: Callable[[Any], Tensor]) -> Callable[[nn.Module, Tensor], float]:
    """The probability of the first picture's target, as the network itself says it."""

    def probability(net: nn.Module, inputs: Tensor) -> float:
        with torch.no_grad():
            return float(read(net(inputs[:1])))

    return probability


@dataclass(frozen=True)
class Kind:
    """A kind of answer: the network, how it is opened, what is asked, and the probability that the network gives."""

    make: Callable[[], nn.Module]
    settings: dict[str, Any] = field(default_factory=dict)
    target: Any = 1
    probability: Callable[[nn.Module, Tensor], float] | None = None
    caption: str = "dog"
    refused: tuple[str, ...] = ()


def won(dense: Tensor) -> Tensor:
    """The mean probability of the class that wins most, over the pixels that it wins."""
    best = dense.argmax(dim=1)[0]
    top = int(torch.bincount(best.flatten(), minlength=5).argmax())
    return dense.softmax(dim=1)[0, top][best == top].mean()


GREY = np.full((SIDE, SIDE, 3), 90, np.uint8)
KINDS = {
    "softmax": Kind(Small, {"head": "softmax"}, 1, of_first(lambda found: found.softmax(dim=1)[0, 1])),
    "sigmoid": Kind(Small, {"head": "sigmoid"}, 1, of_first(lambda found: found.sigmoid()[0, 1])),
    "binary": Kind(
        lambda: Small(classes=1),
        {"head": "binary", "labels": ("cat", "dog")},
        0,
        of_first(lambda found: 1 - found.sigmoid()[0, 0]),
        "cat",
        ("cam",),
    ),
    "probabilities": Kind(
        lambda: Ended(lambda found: found.sigmoid() * 0.5 + 0.25),
        {"head": "probabilities"},
        1,
        of_first(lambda found: found[0, 1]),
        refused=("cam",),
    ),
    "value": Kind(lambda: Small(classes=1), {"head": "value:years", "labels": ("age",)}, 0, None, "years"),
    "ends in softmax": Kind(lambda: Ended(nn.Softmax(dim=1)), {}, 1, of_first(lambda found: found[0, 1])),
    "ends in sigmoid": Kind(lambda: Ended(torch.sigmoid), {}, 1, of_first(lambda found: found[0, 1])),
    "dense": Kind(Dense, {}, None, of_first(won), "", ("cam",)),
    "dense labels": Kind(
        Dense, {"head": "sigmoid"}, "dog@5,5", of_first(lambda found: found.sigmoid()[0, 1, 5, 5]), refused=("cam",)
    ),
    "dense values": Kind(
        lambda: Dense(1), {"head": "value", "labels": ("depth",)}, "depth in 2,2,20,20", None, "depth", ("cam",)
    ),
    "points": Kind(Dense, {"head": "value"}, "point dog", None, "point dog", ("cam",)),
    "boxes": Kind(
        lambda: tiny_retinanet(SIDE),
        {"labels": ("none", *"abcd")},
        "#3",
        of_first(lambda found: found[0]["scores"][2]),
        "#",
        ("cam",),
    ),
    "likeness": Kind(Small, {"embedding": "pool"}, cnnviz.Similar(GREY), None, "cosine", ("cam", "captum")),
    "likeness of outputs": Kind(Small, {}, cnnviz.Similar(GREY), None, "cosine", ("cam",)),
    "unit": Kind(Small, {}, "conv2:3", None, "conv2:3", ("cam", "captum")),
    "several inputs": Kind(
        ImageAndAge, {"inputs": {"image": ..., "age": torch.tensor([40.0])}}, 1, None, refused=("cam",)
    ),
}
QUICK = {
    "rise": {"masks": 8, "cells": 4},
    "occlusion": {"window": 16, "stride": 16},
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 2},
    "smooth_gradcam_plusplus": {"samples": 2},
}


@pytest.fixture(scope="module")
def nets() -> Callable[[str], tuple[nn.Module, cnnviz.Model]]:
    """Each kind's network, made once."""
    known: dict[str, tuple[nn.Module, cnnviz.Model]] = {}

    def made(name: str) -> tuple[nn.Module, cnnviz.Model]:
        if name not in known:
            torch.manual_seed(5)
            net = KINDS[name].make().eval()
            known[name] = net, model_of(net, input_size=SIDE, **KINDS[name].settings)
        return known[name]

    return made


@pytest.fixture(scope="module")
def inputs() -> Tensor:
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("method", EXPLAINING)
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_answer_by_every_method(name, method, nets, inputs):
    kind, (net, model) = KINDS[name], nets(name)
    settings = {key: value for key, value in QUICK.get(method, {}).items() if key in method_of(method).parameters}
    before = state_of(net)
    if method in kind.refused:
        with pytest.raises(CnnvizError) as refused:
            ask(method, model, inputs, kind.target, **settings)
        assert "\n" not in str(refused.value)
        assert state_of(net) == before
        return
    found = ask(method, model, inputs, kind.target, **settings)
    assert state_of(net) == before
    values = np.asarray(found)
    assert len(values) == len(inputs)
    assert np.isfinite(values).all()
    for one in found:
        assert kind.caption in one.caption()
        assert np.isfinite(one.score)
        assert (one.probability is None) == (kind.probability is None) or name == "several inputs"
        if kind.probability is None and name != "several inputs":
            assert "%" not in one.caption()
    if kind.probability is not None:
        assert found[0].probability == pytest.approx(kind.probability(net, inputs), abs=1e-5)
    assert found.grid().pixels().dtype == np.uint8


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith("likeness") and name != "unit"])
def test_predict_tells_every_kind_of_answer(name, nets, inputs):
    net, model = nets(name)
    before = state_of(net)
    found = cnnviz.predict(model, inputs)
    assert state_of(net) == before
    assert len(found) == len(inputs)
    assert str(found)
    assert found.describe()


@pytest.mark.parametrize("name", ["value", "dense", "points", "boxes", "several inputs"])
def test_methods_without_a_target_ask_for_none(name, nets, inputs):
    for method in sorted(set(METHODS) & {"eigencam", "dff", "features"}):
        found = ask(method, nets(name)[1], inputs)
        assert np.isfinite(np.asarray(found)).all()
