"""Finding a class activation mapping head by the forward's own numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision import models

from cnnviz.engine.heads import find_class_maps
from cnnviz.errors import ExplanationError
from tests.support.networks import Small


class Head(nn.Module):
    """Eight maps, and whatever makes logits of them."""

    def __init__(self, head, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(width, 5)
        self.square = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.own = nn.Conv2d(8, 5, 1)
        self.head = head

    def forward(self, x):
        return self.head(self, self.conv(x))


HEADS = {
    "adaptive pooling": lambda net, maps: net.fc(functional.adaptive_avg_pool2d(maps, 1).flatten(1)),
    "mean": lambda net, maps: net.fc(maps.mean((2, 3))),
    "mean from the end": lambda net, maps: net.fc(maps.mean([-1, -2])),
    "mean kept": lambda net, maps: net.fc(maps.mean((-2, -1), keepdim=True).squeeze(-1).squeeze(-1)),
    "pooling of the whole": lambda net, maps: net.fc(functional.avg_pool2d(maps, 16).flatten(1)),
    "without a bias": lambda net, maps: functional.linear(maps.mean((2, 3)), net.fc.weight),
    "matrix product": lambda net, maps: maps.mean((2, 3)) @ net.fc.weight.t(),
    "in-place later": lambda net, maps: (net.fc(pooled := maps.mean((2, 3))), pooled.relu_())[0],
}
OWN_MAPS = {
    "own maps, pooled": lambda net, maps: functional.adaptive_avg_pool2d(net.own(maps), 1).flatten(1),
    "own maps, mean": lambda net, maps: net.own(maps).relu().mean((2, 3)),
}
OTHERS = {
    "norm before the classifier": lambda net, maps: net.fc(net.norm(maps.mean((2, 3)))),
    "two linear layers": lambda net, maps: net.fc(net.square(maps.mean((2, 3))).relu()),
    "maximum": lambda net, maps: net.fc(maps.amax((2, 3))),
    "part of the places": lambda net, maps: net.fc(functional.avg_pool2d(maps, 10, stride=10).flatten(1)),
    "mean of rows and channels": lambda net, maps: net.fc(maps[:, :, :8, :8].mean((1, 2))),
    "logits changed": lambda net, maps: net.fc(maps.mean((2, 3))) * 2,
    "logits changed in place": lambda net, maps: net.fc(maps.mean((2, 3))).mul_(2),
    "maps changed in place afterwards": lambda net, maps: (net.fc(maps.mean((2, 3))), maps.relu_())[0],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_linear_heads(head, dtype):
    net, inputs = Head(head).to(dtype), torch.randn(2, 3, 16, 16, dtype=dtype)
    found = find_class_maps(net, inputs)
    torch.testing.assert_close(found.activation, net.conv(inputs).float())
    assert torch.equal(found.weights, net.fc.weight.float())
    assert torch.equal(found.logits, net(inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("head", OWN_MAPS.values(), ids=OWN_MAPS)
def test_maps_of_the_classes_themselves(head, dtype):
    net, inputs = Head(head).to(dtype), torch.randn(2, 3, 16, 16, dtype=dtype)
    found = find_class_maps(net, inputs)
    assert found.weights is None
    assert found.activation.shape == (2, 5, 16, 16)
    torch.testing.assert_close(found.activation.mean((2, 3)), net(inputs).float(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("head", OTHERS.values(), ids=OTHERS)
def test_other_heads_are_refused(head, dtype):
    with pytest.raises(ExplanationError, match="Grad-CAM"):
        find_class_maps(Head(head).to(dtype), torch.randn(2, 3, 16, 16, dtype=dtype))


def test_channels_last_in_memory():
    net = Small().eval()
    inputs = torch.randn(2, 3, 32, 32)
    expected = find_class_maps(net, inputs)
    found = find_class_maps(net.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found.activation, expected.activation)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("resnet18", True),
        ("densenet121", True),
        ("squeezenet1_1", True),
        ("mobilenet_v2", True),
        ("shufflenet_v2_x0_5", True),
    ]
    + [("mobilenet_v3_small", False), ("convnext_tiny", False)],
)
def test_torchvisions_networks(name, fits):
    net, inputs = getattr(models, name)(weights=None).eval(), torch.randn(1, 3, 64, 64)
    if not fits:
        with pytest.raises(ExplanationError):
            find_class_maps(net, inputs)
        return
    found = find_class_maps(net, inputs)
    with torch.no_grad():
        weights = found.weights if found.weights is not None else torch.eye(1000)
        rest = found.logits - found.activation.mean((2, 3)) @ weights.t()
    bias = net.get_submodule("fc" if hasattr(net, "fc") else "classifier") if found.weights is not None else None
    expected = torch.zeros(1000) if bias is None else (bias if isinstance(bias, nn.Linear) else bias[-1]).bias.detach()
    torch.testing.assert_close(rest[0], expected, rtol=0, atol=1e-4 * float(found.logits.abs().max()) + 1e-6)


def test_the_network_is_run_once_and_keeps_no_graph():
    net, runs = Small().eval(), []
    net.register_forward_hook(lambda *_: runs.append(1))
    found = find_class_maps(net, torch.randn(1, 3, 32, 32))
    assert len(runs) == 1
    assert not found.logits.requires_grad
