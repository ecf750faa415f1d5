"""replay: the rest of the network with another activation, equal to the whole network with it put in."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model
from cnnviz.engine.replay import replay
from cnnviz.engine.undisturbed import undisturbed
from tests.support.counting import flops
from tests.support.networks import Encoded, Small, Twice, model_of, swin, vit
from tests.support.substituting import substituted
from tests.support.torchvision_nets import enlivened, noise, size_of, torchvision_net

QUICK = (
    "resnet18", "densenet121", "googlenet", "mobilenet_v2", "shufflenet_v2_x0_5", "squeezenet1_1", "regnet_y_400mf",
    "mobilenet_v3_small",
)  # fmt: skip
SLOW = (
    "efficientnet_b0", "convnext_tiny", "swin_t", "vit_b_32", "mnasnet0_5", "vgg11", "inception_v3", "swin_v2_t",
    "maxvit_t",
)  # fmt: skip
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def _families():
    for dtype in TOLERANCE:
        for name in (*QUICK, *SLOW):
            slow = name in SLOW or dtype == torch.float32
            yield pytest.param(name, dtype, marks=[pytest.mark.slow] * slow, id=f"{name}-{str(dtype)[6:]}")


@pytest.mark.parametrize(("name", "dtype"), [*_families()])
def test_every_family_at_an_early_a_middle_and_the_last_layer(name, dtype):
    net = torchvision_net(name, dtype=dtype)
    size = size_of(name)
    model = Model(net, mean=(0.0,) * 3, std=(1.0,) * 3, input_size=size)
    layers = sorted(
        (layer for layer in model.layers.values() if layer.spatial and not layer.function),
        key=lambda layer: layer.order,
    )
    for layer in (layers[len(layers) // 6], layers[len(layers) // 2], layers[-1]):
        error, moved, checks = substituted(model, noise(1, size, dtype), layer.name)
        assert error <= TOLERANCE[dtype], layer.name
        assert moved > 0.05, f"{layer.name}: the substitution leaves the logits as they are"
        assert checks == (), layer.name


def test_what_came_before_does_not_run_again():
    net = torchvision_net("resnet18")
    with torch.no_grad(), replay(net, net, noise(1, 64), "layer3.1.conv1") as found:
        replayed = flops(lambda: found(found.activation))
    with torch.no_grad():
        suffix = flops(lambda: net.layer3[1].conv2(torch.zeros(1, 256, 4, 4)))
        suffix += flops(lambda: net.layer4(torch.zeros(1, 256, 4, 4))) + flops(lambda: net.fc(torch.zeros(1, 512)))
    assert replayed == suffix


class WritesOver(nn.Module):
    """Writes in place into a recorded side path, into the layer's own output, and into its input."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.main = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x.sub_(0.5)
        side = self.side(x)
        main = self.main(x)
        side += main
        main.relu_()
        side.mul_(main)
        return self.fc(self.last(functional.relu_(side)).mean(dim=(2, 3)))


@pytest.mark.parametrize("layer", ["side", "main", "last"])
def test_operations_that_write_into_recorded_outputs(layer):
    model = model_of(WritesOver().double(), labels=None)
    inputs = noise(1, 32, torch.float64)
    kept = inputs.clone()
    error, moved, checks = substituted(model, inputs, layer)
    assert error <= 1e-12
    assert moved > 1e-3
    assert checks == ()
    assert torch.equal(inputs, kept)


def test_a_bare_forward_that_writes_into_its_input():
    net = WritesOver().double()
    inputs = noise(1, 32, torch.float64)
    with torch.no_grad():
        plain = net(inputs.clone())
        with replay(net, net, inputs.clone(), "main") as found:
            assert torch.equal(found(found.activation), plain)


class ByKeyword(Small):
    """Calls its layers by keyword, as transformers' networks do."""

    def forward(self, x):
        x = self.down(self.relu1(self.norm1(self.conv1(input=x))))
        x = self.relu2(self.conv2(input=self.middle(x)))
        return self.fc(self.pool(x).flatten(1))


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_layers_that_are_called_by_keyword_have_their_places(layer):
    model = model_of(ByKeyword().double(), labels=None)
    with undisturbed(model.module), replay(model.module, model.forward, noise(1, 32, torch.float64), layer) as found:
        assert found.arrangement is not None
        assert found.arrangement.channels == model.module.get_submodule(layer).out_channels


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layer", ["relu", "relu#1", "relu#2", "shared", "shared#1", "shared#2"])
def test_modules_that_run_twice(layer, inplace):
    model = model_of(Twice(inplace=inplace).double())
    error, moved, checks = substituted(model, noise(1, 32, torch.float64), layer)
    assert error <= 1e-12
    assert moved > 1e-3
    assert checks == ()


ENCODED = ("encoder.layers.0", "encoder.layers.0.self_attn", "encoder.layers.1.linear1", "patches")
VIT = ("encoder.layers.encoder_layer_0.mlp", "encoder.layers.encoder_layer_1.self_attention", "encoder")
SWIN = ("features.1.0.mlp", "features.3.0.attn", "permute")


@pytest.mark.parametrize(
    ("build", "layer"),
    [(kind, layer) for kind, layers in ((Encoded, ENCODED), (vit, VIT), (swin, SWIN)) for layer in layers],
)
def test_transformers_and_attention_that_returns_tuples(build, layer):
    net = enlivened(build().double(), 32)
    error, moved, checks = substituted(model_of(net), noise(1, 32, torch.float64), layer)
    assert error <= 1e-12
    assert moved > 1e-4
    assert checks == ()
