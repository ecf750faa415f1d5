"""Grad-CAM against captum, against closed forms, against CAM; and what it costs."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn
from torch.nn import functional
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from cnnviz import Model, cam, gradcam, saliency
from cnnviz.errors import UnknownNameError, UsageError
from tests.support.counting import flops
from tests.support.networks import OneConvolution, Twice, model_of, swin


def vgg11() -> models.VGG:
    """VGG-11 with a small classifier: the original's has 120 million weights."""
    with torch.device("meta"):
        net = models.vgg11(init_weights=False)
    net.features = make_layers(cfgs["A"], batch_norm=False)
    net.classifier = nn.Sequential(nn.Linear(512 * 49, 32), nn.ReLU(inplace=True), nn.Linear(32, 10))
    return net


BUILDS = {
    "resnet18": lambda: models.resnet18(num_classes=10),
    "densenet121": lambda: models.densenet121(num_classes=10),
    "googlenet": lambda: models.googlenet(num_classes=10, aux_logits=False, init_weights=False),
    "vgg11": vgg11,
}
LAYERS = [
    ("resnet18", "layer4"),
    ("resnet18", "layer4.1.bn2"),
    ("resnet18", "layer2.0.downsample"),
    ("densenet121", "features"),
    ("densenet121", "features.denseblock3.denselayer2.conv1"),
    ("vgg11", "features.18"),
    ("vgg11", "features.0"),
    ("googlenet", "inception5b"),
    ("googlenet", "inception4a.branch2.0.conv"),
]


@pytest.fixture(scope="module")
def built():
    """Networks with random weights and norms that have seen data, each built once."""
    torch.manual_seed(0)
    nets = {name: build().eval() for name, build in BUILDS.items()}
    for net in nets.values():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0, 0.2)
    return nets


@pytest.fixture(scope="module")
def photos():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def raw(net, inputs, target, layer, **settings):
    return gradcam(Model(net, input_size=64), inputs, target, layer=layer, **settings).values


def relative(found, expected):
    expected = np.asarray(expected)
    assert np.abs(expected).max() > 0
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_captums_numbers(name, layer, built, photos):
    net = built[name]
    with warnings.catch_warnings(action="ignore"):
        expected = LayerGradCam(net, net.get_submodule(layer)).attribute(photos, [3, 7], relu_attributions=False)
    assert relative(raw(net, photos, [3, 7], layer), expected[:, 0].detach()) < 1e-5


@pytest.mark.parametrize(
    ("name", "layer"),
    [(name, layer) for name, layer in LAYERS if name != "googlenet" and layer != "layer4"],
)
def test_a_copy_without_in_place_operations(name, layer, built, photos, monkeypatch):
    """A layer followed by an in-place ReLU: its own output counts, and the gradient there."""
    net = copy.deepcopy(built[name])
    plain = functional.relu
    monkeypatch.setattr(functional, "relu", lambda x, inplace=False: plain(x))
    for part in net.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    held = []

    def hold(part, given, output):
        held.append(output)
        return output.clone()  # so that a residual's addition leaves it alone

    net.get_submodule(layer).register_forward_hook(hold)
    logits = net(photos)
    (slope,) = torch.autograd.grad(logits[:, 3].sum(), held[0])
    expected = (slope.mean((2, 3), keepdim=True) * held[0]).sum(1).detach()
    monkeypatch.undo()
    assert relative(raw(built[name], photos, 3, layer), expected) < 1e-5
    assert (held[0] < 0).any(), "the layer shows nothing that a ReLU would change"


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer4"), ("densenet121", "features+relu"), ("googlenet", "inception5b")]
)
def test_the_automatic_layer(name, layer, built, photos):
    model = Model(built[name], input_size=64)
    for _ in range(2):
        found = gradcam(model, photos, 3)
        assert found.layer == layer
        assert any(layer in check for check in found.checks)
        assert (found.values == raw(built[name], photos, 3, layer)).all()


def test_closed_form():
    """One convolution, mean, linear: alpha is W / (h w), and the map their product with the convolution."""
    net = OneConvolution()
    inputs = torch.randn(2, 2, 5, 7, dtype=torch.float64)
    found = gradcam(Model(net, channels=2, input_size=8), inputs, [2, 0])
    maps = net.conv(inputs).detach().numpy()
    weights = net.fc.weight.detach().numpy()
    for row, index in enumerate([2, 0]):
        expected = np.einsum("c,chw->hw", weights[index], maps[row]) / 35
        np.testing.assert_allclose(found[row].values, expected, rtol=1e-6, atol=1e-9)
        assert found[row].score == pytest.approx(net(inputs)[row, index].item(), rel=1e-12)
    assert found.layer == "conv"


def test_cam_but_for_the_number_of_places(small, inputs):
    found, proper = gradcam(small, inputs, "dog"), cam(small, inputs, "dog")
    assert relative(found.values * 64, proper.values) < 1e-5
    assert (found.scores == proper.scores).all()


def test_a_difference_is_the_difference_of_maps(small, inputs):
    one, other, both = (gradcam(small, inputs, target).values for target in ("dog", "cat", "dog - cat"))
    assert relative(one - other, both) < 1e-5


def test_the_sign_is_kept_and_the_rectifier_comes_before_the_upsampling(small, inputs):
    shown, signed = (gradcam(small, inputs, 0, relu=relu) for relu in (True, False))
    assert (shown.values == signed.values).all()
    assert shown.values.min() < 0
    assert shown.upsampled().min() == 0
    assert signed.upsampled().min() < 0
    clamped = torch.tensor(shown.values).clamp_min(0)[:, None]
    expected = functional.interpolate(clamped, size=(32, 32), mode="bilinear")[:, 0]
    np.testing.assert_allclose(shown.upsampled(), expected, rtol=1e-5, atol=1e-7)


def test_a_counterfactual_turns_the_sign(small, inputs):
    assert (gradcam(small, inputs, 1, counterfactual=True).values == -gradcam(small, inputs, 1).values).all()


def test_flip_averages_with_the_mirrored_picture(small, inputs):
    plain, mirrored = gradcam(small, inputs, 1).values, gradcam(small, inputs.flip(-1), 1).values
    assert relative(gradcam(small, inputs, 1, flip=True).values, (plain + mirrored[:, :, ::-1]) / 2) < 1e-5


def test_several_layers_are_fused_at_the_finest_resolution(small, inputs):
    found = gradcam(small, inputs, 1, layer="relu2, conv1", fuse="max")
    assert found.values.shape == (3, 32, 32)
    assert found.layer == "conv1, relu2"
    assert found.values.max() == pytest.approx(1)


def test_calls_of_a_layer(inputs):
    model = model_of(Twice())
    last, first, second = (gradcam(model, inputs, 1, layer=name) for name in ("relu", "relu#1", "relu#2"))
    assert (last.values == second.values).all()
    assert (last.values != first.values).any()
    assert any("runs 2 times" in check for check in last.checks)


def test_channels_last(inputs):
    """The last norm of Swin keeps its channels last; the layer after it is the same, channels first."""
    model = model_of(swin())
    found, permuted = (gradcam(model, inputs, 1, layer=layer).values for layer in ("norm", "permute"))
    assert relative(found, permuted) < 1e-5


@pytest.mark.parametrize(
    ("layer", "error", "said"),
    [
        ("conv3", UnknownNameError, r"no layer 'conv3'.*'conv[12]'"),
        ("fc", UsageError, "'fc' has no spatial extent"),
        ("conv1, last-spatial", UsageError, "stands alone"),
    ],
)
def test_layers_that_do_not_do(layer, error, said, small, inputs):
    with pytest.raises(error, match=said):
        gradcam(small, inputs, layer=layer)


def test_it_costs_hardly_more_than_the_forward():
    net, inputs = models.resnet50().eval(), torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        forward = flops(lambda: net(inputs))
    model = Model(net, input_size=64)
    saliency(model, inputs[:1])  # what is asked once a model is known
    first, later = (flops(lambda: gradcam(model, inputs)) for _ in range(2))
    assert forward < later <= first <= 1.02 * forward
