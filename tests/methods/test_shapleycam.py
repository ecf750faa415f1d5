"""Shapley-CAM: gradient less half the curvature, against an explicit Hessian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import log_softmax, logsigmoid

from cnnviz import Model, gradcam, shapleycam
from cnnviz.engine.arrangement import replaced_tensor
from tests.support.networks import Small, model_of, vit
from tests.support.torchvision_nets import enlivened, noise, torchvision_net


class Curved(nn.Module):
    """A smooth network: its logits have a curvature too."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, classes)
        self.double()

    def forward(self, x):
        x = torch.tanh(self.second(nn.functional.softplus(self.first(x))))
        return self.fc(x.mean(dim=(2, 3)) ** 2)


def explicit(net: nn.Module, layer: str, image: torch.Tensor, score):
    """Activation and ``g - H A / 2`` at a layer, with the whole Hessian of one image."""
    part, held = net.get_submodule(layer), {}
    handle = part.register_forward_hook(lambda *given: held.update(a=given[2].detach().clone()))
    net(image)
    handle.remove()

    def of(flat):
        hook = part.register_forward_hook(lambda *given: replaced_tensor(given[2], flat.reshape(held["a"].shape)))
        with sdpa_kernel(SDPBackend.MATH):
            answer = score(net(image))
        hook.remove()
        return answer.sum()

    flat = held["a"].flatten()
    slope = torch.autograd.functional.jacobian(of, flat)
    bend = torch.autograd.functional.hessian(of, flat)
    return held["a"], (slope - bend @ flat / 2).reshape(held["a"].shape)


SCORES = {
    "logit": lambda logits: logits[:, 1],
    "residual": lambda logits: logits[:, 1] + log_softmax(logits, dim=1)[:, 1],
}


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("score", SCORES)
def test_gradient_and_curvature_are_those_of_the_whole_hessian(score, layer):
    net = Curved().eval()
    images = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    found = shapleycam(Model(net, input_size=(5, 4)), images, 1, layer=layer, score=score)
    plain = gradcam(Model(net, input_size=(5, 4)), images, 1, layer=layer)
    for row, image in enumerate(images):
        activation, slopes = explicit(net, layer, image[None], SCORES[score])
        expected = (slopes.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)[0].numpy()
        assert np.abs(found.values[row] - expected).max() <= 1e-6 * np.abs(expected).max()
        assert np.abs(found.values[row] - plain.values[row]).max() > 1e-2 * np.abs(expected).max()
        assert found.scores[row] == pytest.approx(net(image[None])[0, 1].item(), rel=1e-6)


def test_two_layers_at_once_are_two_questions():
    net = Curved().eval()
    model, images = Model(net, input_size=(5, 4)), torch.randn(2, 2, 5, 4, dtype=torch.float64)
    fused = shapleycam(model, images, 1, layer="first,second", fuse="max", relu=False).values
    alone = [shapleycam(model, images, 1, layer=layer).values for layer in ("first", "second")]
    a, b = (each / np.abs(each).max(axis=(1, 2), keepdims=True) for each in alone)
    assert np.allclose(fused, np.where(np.abs(a) >= np.abs(b), a, b), atol=1e-5)


@pytest.mark.parametrize("layer", ["conv1", "conv2", None])
def test_a_logit_of_a_relu_network_has_no_curvature(layer, small, inputs):
    found = shapleycam(small, inputs, 1, layer=layer, score="logit").values
    assert np.array_equal(found, gradcam(small, inputs, 1, layer=layer).values)
    residual = shapleycam(small, inputs, 1, layer=layer).values
    assert np.abs(residual - found).max() > 1e-3 * np.abs(found).max()


def test_a_logit_of_resnet_has_no_curvature_either():
    model = Model(torchvision_net("resnet18"), input_size=64)
    inputs = noise(2, 64)
    found = shapleycam(model, inputs, 1, layer="layer3", score="logit").values
    assert np.array_equal(found, gradcam(model, inputs, 1, layer="layer3").values)


def test_attention_of_a_vision_transformer():
    net = enlivened(vit().double(), 32)
    image = noise(1, 32, torch.float64)
    layer = "encoder.layers.encoder_layer_0"
    found = shapleycam(model_of(net), image, 1, layer=layer).values[0]
    activation, slopes = explicit(net, layer, image, SCORES["residual"])
    places = slice(1, None)
    weights = slopes[0, places].mean(dim=0)
    expected = (activation[0, places] @ weights).reshape(4, 4).detach().numpy()
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_the_residual_score_of_a_single_logit_is_a_sigmoids():
    net = Curved(classes=1).eval()
    image = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    found = shapleycam(Model(net, input_size=(5, 4), head="sigmoid"), image, layer="second").values[0]
    activation, slopes = explicit(net, "second", image, lambda logits: (logits + logsigmoid(logits))[:, 0])
    expected = (slopes.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)[0].numpy()
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_counterfactual_turns_the_sign_of_all_of_it(inputs):
    model = model_of(Small())
    found, against = (shapleycam(model, inputs, 1, counterfactual=each).values for each in (False, True))
    assert np.array_equal(found, -against)
