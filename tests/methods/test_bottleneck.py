"""The automatic layer of networks with dense answers: the bottleneck of the main path, and no gate beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz


def block(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU())


class Gate(nn.Module):
    """An attention gate: a skip weighted by what the coarser map makes of it."""

    def __init__(self, coarse, fine, inner):
        super().__init__()
        self.phi, self.theta = nn.Conv2d(coarse, inner, 1), nn.Conv2d(fine, inner, 2, 2)
        self.relu, self.psi, self.sigmoid = nn.ReLU(), nn.Conv2d(inner, 1, 1), nn.Sigmoid()

    def forward(self, coarse, fine):
        weights = self.sigmoid(self.psi(self.relu(self.phi(coarse) + self.theta(fine))))
        return fine * functional.interpolate(weights, size=fine.shape[-2:])


class AttentionUNet(nn.Module):
    """A U-Net whose gates run on the coarsest grid too, after the bottleneck."""

    def __init__(self):
        super().__init__()
        self.down0, self.down1, self.deep = block(3, 8), block(8, 8, 2), nn.Sequential(block(8, 12, 2), block(12, 12))
        self.gate, self.up1, self.up0, self.out = Gate(12, 8, 4), block(20, 8), block(16, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        fine = self.down0(x)
        middle = self.down1(fine)
        deep = self.deep(middle)
        up = self.up1(torch.cat([functional.interpolate(deep, scale_factor=2), self.gate(deep, middle)], 1))
        return self.out(self.up0(torch.cat([functional.interpolate(up, scale_factor=2), fine], 1)))


class WindowedGate(nn.Module):
    """LR-ASPP with a gate that pools by a window and so keeps a coarse grid of its own, with kernels if wanted."""

    def __init__(self, *squeeze):
        super().__init__()
        self.low, self.high = block(3, 8, 2), nn.Sequential(block(8, 12, 2), block(12, 12))
        self.head, self.scale = nn.Sequential(nn.Conv2d(12, 8, 1), nn.ReLU()), nn.Sequential(*squeeze, nn.Sigmoid())
        self.from_high, self.from_low = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        low = self.low(x)
        high = self.high(low)
        found = self.head(high)
        found = found * functional.interpolate(self.scale(high), size=found.shape[-2:])
        return self.from_low(low) + self.from_high(functional.interpolate(found, size=low.shape[-2:]))


def chosen(net, size=32):
    model = cnnviz.Model(net.eval(), mean=[0.5], std=[0.5], input_size=size, head="softmax")
    inputs = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = cnnviz.gradcam(model, inputs, relu=False)
    assert "chosen automatically" in " ".join(found.checks)
    return found.layer


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_an_attention_gate_on_the_coarsest_grid_is_beside_the_bottleneck():
    assert chosen(AttentionUNet()) == "deep"


@pytest.mark.parametrize(
    "squeeze",
    [
        (nn.AvgPool2d(4, 3), nn.Conv2d(12, 8, 1)),
        (nn.AdaptiveAvgPool2d(3), nn.Conv2d(12, 8, 3, padding=1)),
        (nn.MaxPool2d(2), nn.Conv2d(12, 1, 3, padding=1)),
    ],
    ids=["window", "adaptive", "one channel"],
)
def test_a_gate_that_pools_has_no_grid_of_the_network_s_own(squeeze):
    assert chosen(WindowedGate(*squeeze)) == "head"


def test_segformer_s_reduced_keys_are_not_its_bottleneck():
    transformers = pytest.importorskip("transformers")
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 1, 1]}
    config = transformers.SegformerConfig(num_labels=4, decoder_hidden_size=16, **sizes)
    found = chosen(transformers.SegformerForSemanticSegmentation(config), 64)
    assert found.startswith("decode_head.linear")
    assert found.endswith(".3")


SMP = {
    "Unet": "decoder.center", "PAN": "decoder.gau3", "FPN": "decoder.p5", "PSPNet": "decoder",
    "DeepLabV3Plus": "decoder.aspp", "UPerNet": "decoder.psp", "Linknet": "decoder.blocks.0.block.0",
    "MAnet": "decoder.blocks.0.hl_conv", "UnetPlusPlus": "encoder.layer4",
}  # fmt: skip


FAST = ("Unet", "PAN")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SMP if name not in FAST]


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_public_networks_have_a_bottleneck_on_their_main_path(name):
    smp = pytest.importorskip("segmentation_models_pytorch")
    assert chosen(getattr(smp, name)("resnet18", encoder_weights=None, classes=4), 128) == SMP[name]
