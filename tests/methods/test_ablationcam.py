"""Ablation-CAM: what removing a channel costs, and what asking costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import Model, ablationcam, gradcam, gradcam_plusplus, hirescam, layercam, reciprocam, saliency, xgradcam
from tests.support.counting import flops
from tests.support.networks import Small, Twice, model_of, swin
from tests.support.torchvision_nets import enlivened, noise, torchvision_net


@pytest.fixture(scope="module")
def resnet():
    return torchvision_net("resnet50", classes=1000)


def first_class(logits):
    return logits[:, 7]


COSTS = [
    ("layer4", 7, 4),
    ("layer4", first_class, 2048 + 4),
    pytest.param("layer4.2.conv1", 7, 512 + 6, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("layer", "target", "runs"), COSTS)
def test_only_what_comes_after_the_layer_runs_again(layer, target, runs, resnet):
    """One forward, what follows the layer for each channel, a few times more to be sure; nothing a channel for GAP."""
    inputs, model = noise(1, 64), Model(resnet, input_size=64)
    with torch.no_grad():
        whole = flops(lambda: resnet(inputs))
        suffix = flops(lambda: resnet.fc(torch.zeros(1, 2048)))
        if layer != "layer4":
            last = resnet.layer4[2]
            suffix += flops(lambda: last.conv3(last.conv2(torch.zeros(1, 512, 2, 2))))
    saliency(model, inputs)  # what is asked once a model is known
    asked = flops(lambda: ablationcam(model, inputs, target, layer=layer))
    assert whole < asked <= whole + (runs + 1) * suffix


def test_the_closed_form_is_the_replayed_map():
    model = Model(torchvision_net("resnet18", dtype=torch.float64), input_size=64)
    inputs = noise(2, 64, torch.float64)
    closed, replayed = (ablationcam(model, inputs, target, layer="layer4").values for target in (7, first_class))
    assert np.abs(closed - replayed).max() <= 1e-6 * np.abs(replayed).max()


def test_the_automatic_layer_costs_one_question_more(resnet):
    inputs = noise(1, 64)
    with torch.no_grad():
        whole = flops(lambda: resnet(inputs))
    fresh = Model(resnet, input_size=64)
    saliency(fresh, inputs)  # what is asked once a model is known
    assert flops(lambda: ablationcam(fresh, inputs, 7)) <= 2.2 * whole
    known = Model(resnet, input_size=64)
    gradcam(known, inputs, 7)
    assert flops(lambda: ablationcam(known, inputs, 7)) <= 1.2 * whole


def test_grad_cams_kin_costs_what_grad_cam_costs():
    net, inputs = torchvision_net("resnet18"), noise(1, 64)
    costs = {
        method.__name__: flops(lambda method=method: method(Model(net, input_size=64), inputs, 7, layer="layer3"))
        for method in (gradcam, gradcam_plusplus, xgradcam, hirescam, layercam)
    }
    assert len(set(costs.values())) == 1, costs


@pytest.mark.slow
def test_recipro_cam_runs_what_follows_once_for_each_place(resnet):
    inputs, model = noise(1, 64), Model(resnet, input_size=64)
    with torch.no_grad():
        whole = flops(lambda: resnet(inputs))
        suffix = flops(lambda: resnet.layer4(torch.zeros(1, 1024, 4, 4))) + flops(
            lambda: resnet.fc(torch.zeros(1, 2048))
        )
    assert flops(lambda: reciprocam(model, inputs, 7, layer="layer3")) <= whole + (4 * 4 + 4) * suffix


def explicit(net, layer, inputs, c, *, last=False):
    """Full forwards with a channel of the layer's output put to zero by a hook."""
    part, held = net.get_submodule(layer), {}
    handle = part.register_forward_hook(lambda *given: held.update(a=given[2].clone()))
    with torch.no_grad():
        whole = net(inputs)[:, c]
    handle.remove()
    activation, summed = held["a"], 0
    for k in range(activation.shape[3 if last else 1]):
        keep = torch.ones(activation.shape[3 if last else 1], dtype=activation.dtype)
        keep[k] = 0
        shaped = keep if last else keep[:, None, None]
        handle = part.register_forward_hook(lambda _part, _inputs, output, shaped=shaped: output * shaped)
        with torch.no_grad():
            drop = (whole - net(inputs)[:, c]) / whole.abs()
        handle.remove()
        summed = summed + drop[:, None, None] * (activation[..., k] if last else activation[:, k])
    return summed.numpy()


class AlmostLinear(nn.Module):
    """A GAP head whose logits are linear in the means only by a hair: a ReLU that usually does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        logits = self.fc(torch.sigmoid(self.conv(x)).mean(dim=(2, 3)))
        return torch.cat([logits[:, :1].clamp_min(0.05), logits[:, 1:]], dim=1)


@pytest.mark.parametrize(
    ("build", "layer"),
    [(Small, "conv1"), (Small, "conv2"), (Small, "relu2"), (Small, "norm1"), (AlmostLinear, "conv")],
)
@pytest.mark.parametrize("c", [0, 3])
def test_the_map_is_that_of_full_forwards(build, layer, c, inputs):
    net = build().double().eval()
    found = ablationcam(model_of(net), inputs.double(), c, layer=layer).values
    if build is Small and layer == "norm1":
        net.relu1.inplace = False
    expected = explicit(net, layer, inputs.double(), c)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("layer", ["features.0", "features.3", "permute"])
def test_channels_last(layer):
    net = enlivened(swin().double(), 32).eval()
    inputs = noise(2, 32, torch.float64)
    found = ablationcam(model_of(net), inputs, 1, layer=layer).values
    expected = explicit(net, layer, inputs, 1, last=layer != "permute")
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_the_sign_of_the_score_does_not_turn_the_map(inputs):
    net = Small().eval()
    with torch.no_grad():
        net.fc.bias[0] = 5
        high = ablationcam(model_of(net), inputs, 0)
        net.fc.bias[0] = -5
        low = ablationcam(model_of(net), inputs, 0)
    assert (high.scores > 0).all()
    assert (low.scores < 0).all()
    assert (np.sign(high.values) == np.sign(low.values)).all()


def test_a_layer_that_runs_twice_is_ablated_where_it_is_named(inputs):
    model = model_of(Twice().double())
    first, last, plain = (
        ablationcam(model, inputs.double(), 1, layer=name).values for name in ("shared#1", "shared#2", "shared")
    )
    assert np.array_equal(last, plain)
    assert np.abs(first - last).max() > 1e-3 * np.abs(last).max()


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_network_of_one_batch_size(fixed, inputs):
    class Fixed(Small):
        def forward(self, x):
            assert len(x) == fixed
            return super().forward(x)

    net = Fixed()
    plain = Small()
    plain.load_state_dict(net.state_dict())
    for method in (ablationcam, reciprocam):
        for layer in ("norm1" if method is ablationcam else "conv2", None):
            found = method(model_of(net, fixed_batch=fixed), inputs, 2, layer=layer).values
            expected = method(model_of(plain), inputs, 2, layer=layer).values
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
