"""Whatever the sizes, channels, layers and targets: finite numbers of the right shape, or one sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from cnnviz.errors import CnnvizError
from cnnviz.results.attribution import Attributions
from cnnviz.results.heatmap import Heatmaps
from tests.support.asking import METHODS, ask, method_of, needing, state_of
from tests.support.networks import LABELS, model_of

ON_TARGETS = [name for name in METHODS if name in needing("images", "target")]
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F")

ACTIVATIONS = {"relu": nn.ReLU, "in place": lambda: nn.ReLU(inplace=True), "silu": nn.SiLU, "relu6": nn.ReLU6}
DOWN = {
    "max": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "average": lambda: nn.AvgPool2d(3, 2, 1),
    "overlapping": lambda: nn.MaxPool2d(3, 2, 1),
    "none": nn.Identity,
}
HEADS = {
    "mean": lambda width: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)],
    "flat": lambda width: [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 5)],
    "convolution": lambda width: [nn.Conv2d(width, 5, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten()],
}


@st.composite
def networks(draw):
    """A small network of drawn parts, its number of channels, and the names of its layers."""
    channels = draw(st.sampled_from([1, 2, 3, 4]))
    width, kernel, dilation = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3])), draw(st.integers(1, 2))
    torch.manual_seed(draw(st.integers(0, 3)))
    activation = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    body = [
        nn.Conv2d(channels, width, kernel, padding="same", dilation=dilation), activation(),
        DOWN[draw(st.sampled_from(sorted(DOWN)))](), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
        activation(), *HEADS[draw(st.sampled_from(sorted(HEADS)))](width),
    ]  # fmt: skip
    return nn.Sequential(*body), channels


TARGETS = st.one_of(
    st.none(),
    st.integers(-2, 6),
    st.sampled_from([*LABELS, "dog - cat", "dog vs similar", "3:0", "3:1@0,0", "4:9", "nothing", "", "dog -", "9:0"]),
)


def answer(name, model, images, target, **chosen):
    """What the method finds, or its one sentence."""
    try:
        return ask(name, model, images, target, **chosen)
    except CnnvizError as error:
        assert re.fullmatch(r"\S.*", str(error))  # noqa: PT017 - the sentence is what is tested
        return error


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    drawn=networks(),
    name=st.sampled_from(ON_TARGETS),
    shape=st.tuples(st.integers(1, 3), st.integers(8, 21), st.integers(8, 21)),
    target=TARGETS,
    layer=st.one_of(st.none(), st.sampled_from(["0", "2", "4", "5", "7", "1,5", "none such", ""])),
)
def test_any_network_any_question(drawn, name, shape, target, layer):
    (net, channels), (count, *size) = drawn, shape
    model = model_of(net, mean=(0.5,) * channels, std=(0.25,) * channels, input_size=size, channels=channels)
    inputs = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))
    chosen = {"layer": layer} if "layer" in method_of(name).parameters and name != "deconvnet" else {}
    before = state_of(net)
    found = answer(name, model, inputs, target, **chosen)
    if not isinstance(found, CnnvizError):
        assert np.isfinite(np.asarray(found)).all()
        assert len(found) == count
        assert isinstance(found, (Heatmaps, Attributions))
        assert found[0].on_original().shape[-2:] == tuple(size)
    assert state_of(net) == before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mode=st.sampled_from(MODES),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    channels=st.sampled_from([1, 3]),
    name=st.sampled_from(["gradcam", "saliency"]),
)
def test_any_picture(mode, size, channels, name):
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    try:
        image = Image.fromarray(values).convert(mode)
    except ValueError:
        image = Image.fromarray(values).convert("L").convert("I").convert(mode)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    model = model_of(net, mean=(0.5,) * channels, std=(0.25,) * channels, input_size=16, channels=channels)
    found = answer(name, model, image, 1)
    if isinstance(found, CnnvizError):
        assert mode in {"F", "I;16"}, found
    else:
        assert np.isfinite(np.asarray(found)).all()
        assert found[0].on_original().shape[-2:] == (size[1], size[0])


@pytest.mark.parametrize("name", ["gradcam", "occlusion"])
def test_the_property_tests_reach_answers(name):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding="same"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 5)
    )
    model = model_of(net, mean=(0.5,), std=(0.25,), input_size=(9, 13), channels=1)
    assert np.isfinite(np.asarray(ask(name, model, torch.randn(1, 1, 9, 13), 1))).all()
