"""The layers of a network, from one real forward."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import googlenet, resnet18

from cnnviz import gradcam
from cnnviz.engine.layers import observe_layers, run
from cnnviz.errors import ExplanationError, ModelError, TargetError
from tests.support.networks import Headed, Small, Tabled, Twice, failing, model_of, swin


def observed(net, size=32):
    return observe_layers(net, torch.randn(1, 3, size, size))


def test_what_is_said_of_a_layer():
    layers = observed(Small())
    conv = layers["conv1"]
    assert (conv.name, conv.kind, conv.shape, conv.calls) == ("conv1", "Conv2d", (8, 32, 32), 1)
    assert conv.parameters == 8 * 3 * 9 + 8
    assert conv.spatial
    assert layers["fc"].shape == (5,)
    assert not layers["fc"].spatial
    assert not layers["pool"].spatial
    assert [layers[name].order for name in ("conv1", "norm1", "relu1")] == [1, 2, 3]


def test_names_are_the_networks_in_its_own_order():
    net = resnet18()
    assert list(observed(net)) == [name for name, _ in net.named_modules() if name]


def test_layers_that_run_twice_or_not_at_all():
    net = Twice()
    net.unused = nn.Conv2d(3, 3, 1)
    layers = observed(net)
    assert layers["shared"].calls == layers["relu"].calls == 2
    assert layers.last_spatial().name == "relu"
    assert (layers["unused"].order, layers["unused"].shape, layers["unused"].calls) == (-1, None, 0)
    assert not layers["unused"].spatial


def test_a_container_finishes_after_what_it_holds():
    layers = observed(resnet18(), 64)
    assert layers["layer4"].order > layers["layer4.1"].order > layers["layer4.1.relu"].order
    assert layers.last_spatial().name == "layer4"
    assert layers["layer4"].parameters == sum(weight.numel() for weight in resnet18().layer4.parameters())


@pytest.mark.parametrize(
    ("build", "size", "last"),
    [(resnet18, 32, "layer3"), (resnet18, 96, "layer4"), (swin, 32, "permute")],
)
def test_the_automatic_layer_depends_on_the_input(build, size, last):
    assert observed(build(), size).last_spatial().name == last


def test_what_is_made_once_for_all_images_has_no_places():
    for size in (1, 3):
        layers = observe_layers(Tabled(), torch.randn(size, 3, 32, 32))
        assert layers["table"].shape == (4, 5, 5)
        assert layers["table"].arrangement is None
        assert [name for name, layer in layers.items() if layer.spatial] == ["conv1", "conv1+relu", "conv2"]


def test_a_network_that_takes_one_image_at_a_time_is_observed_with_one():
    class Alone(Small):
        def forward(self, x):
            assert len(x) == 1
            return super().forward(x)

    assert observed(Alone())["relu2"].spatial


def test_branches():
    layers = observed(googlenet(init_weights=False, aux_logits=False), 64)
    assert layers.last_spatial().name == "inception5b"


def test_what_fails_is_one_sentence():
    with pytest.raises(ModelError, match=r"fails on an input of shape \(1, 3, 32, 32\): it broke on the way"):
        observed(failing("forward"))
    with pytest.raises(ModelError, match=r"\(2, 4, 32, 32\).*channels"):
        run(Small(), torch.zeros(2, 4, 32, 32))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), TargetError("ours"), ExplanationError("ours")])
def test_errors_with_a_meaning_stay_what_they_are(error):
    class Raising(nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(type(error)) as raised:
        run(Raising(), torch.zeros(1))
    assert raised.value is error


def test_a_models_layers():
    model = model_of(Small())
    assert model.layers["conv2"].shape == (6, 8, 8)
    assert model.layers is model.layers
    assert model.layer_names == tuple(model.layers)


@pytest.mark.parametrize("size", [1, 3])
def test_the_heads_of_an_attention_are_no_maps(size):
    layers = observe_layers(Headed(), torch.randn(size, 3, 32, 32))
    assert {layer.name for layer in layers.values() if layer.spatial} == {"patches", "qkv", "proj"}
    assert layers["k_norm"].shape == (2, 17, 8)
    assert layers["mix"].shape == (17, 17, 2)


def test_a_transformer_with_heads_is_explained_before_its_projections(inputs):
    found = gradcam(model_of(Headed()), inputs, 1)
    assert (found.layer, found.values.shape) == ("patches", (3, 4, 4))
