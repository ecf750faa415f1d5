"""Where activations keep their channels and places."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import convnext_tiny
from torchvision.ops import Permute

from cnnviz.core.layer import Arrangement
from cnnviz.engine.arrangement import Arranger, first_tensor, from_maps, replaced_tensor, to_maps
from cnnviz.engine.layers import observe_layers
from tests.support.networks import Encoded, Outputs, Small, swin, vit

FIRST, LAST = "NCHW", "NHWC"


def seen(module, *shape, after=()):
    """The arrangement of a module's output ``shape`` after outputs of other modules."""
    arranger = Arranger()
    for earlier, before in after:
        arranger.observe(earlier, torch.zeros(2, *before), 2)
    return arranger.observe(module, torch.zeros(2, *shape), 2)


@pytest.mark.parametrize(
    ("module", "shape", "order"),
    [
        (nn.Conv2d(3, 8, 3), (8, 4, 5), FIRST),
        (nn.BatchNorm2d(8), (8, 4, 5), FIRST),
        (nn.ReLU(), (8, 4, 5), FIRST),
        (nn.Linear(4, 8), (4, 5, 8), LAST),
        (nn.LayerNorm(8), (4, 5, 8), LAST),
        (nn.LayerNorm(8), (8, 8, 8), LAST),  # as many places a side as channels: it still norms the last axis
        (Permute([0, 2, 3, 1]), (4, 5, 8), LAST),
        (Permute([0, 3, 1, 2]), (8, 4, 5), FIRST),
    ],
)
def test_maps_by_what_made_them(module, shape, order):
    found = seen(module, *shape)
    assert found.order == order
    assert found == (Arrangement(FIRST, (4, 5), 8) if order == FIRST else found)
    assert found.channels == 8


def test_other_modules_are_like_the_last_of_that_shape():
    assert seen(nn.GELU(), 4, 5, 8, after=[(nn.Linear(4, 8), (4, 5, 8))]).order == LAST
    assert seen(nn.GELU(), 4, 5, 8, after=[(nn.Conv2d(3, 4, 1), (4, 5, 8))]).order == FIRST


@pytest.mark.parametrize(("tokens", "prefix"), [(20, 0), (21, 1), (28, 8), (29, None), (19, None)])
def test_tokens_are_the_last_grid_after_a_few_others(tokens, prefix):
    found = seen(nn.LayerNorm(8), tokens, 8, after=[(nn.Conv2d(3, 8, 1), (8, 4, 5))])
    assert found == (None if prefix is None else Arrangement("NTC", (4, 5), 8, prefix))


def test_tokens_of_two_branches_are_of_the_last_grid_that_fits():
    grids = [(nn.Conv2d(3, 8, 1), (8, 4, 5)), (nn.Conv2d(3, 8, 1), (8, 3, 3))]
    assert seen(nn.LayerNorm(8), 21, 8, after=grids) == Arrangement("NTC", (4, 5), 8, 1)
    assert seen(nn.LayerNorm(8), 10, 8, after=grids) == Arrangement("NTC", (3, 3), 8, 1)
    assert seen(nn.LayerNorm(8), 30, 8, after=grids) is None


@pytest.mark.parametrize("shape", [(2, 21, 8), (2, 21, 21), (2, 1, 21)])
def test_heads_over_tokens_are_no_maps_and_no_grid_of_any(shape):
    tokens = [(nn.Conv2d(3, 8, 1), (8, 4, 5)), (nn.LayerNorm(8), (21, 8))]
    assert seen(nn.Dropout(), *shape, after=tokens) is None
    assert seen(nn.LayerNorm(8), 21, 8, after=[*tokens, (nn.Dropout(), shape)]).grid == (4, 5)
    assert seen(nn.Dropout(), 2, 6, 8, after=tokens) == Arrangement(FIRST, (6, 8), 2)


@pytest.mark.parametrize("shape", [(8,), (3, 8, 4, 5), (20, 8)])
def test_no_arrangement(shape):
    assert seen(nn.ReLU(), *shape) is None


def test_another_batch_size_is_no_arrangement():
    assert Arranger().observe(nn.ReLU(), torch.zeros(3, 8, 4, 5), 2) is None
    assert Arranger().observe(nn.ReLU(), "text", 2) is None


@pytest.mark.parametrize("order", ["NCHW", "NHWC", "NTC"])
def test_maps_there_and_back(order):
    maps = torch.randn(2, 3, 4, 5)
    arrangement = Arrangement(order, (4, 5), 3, prefix=1 if order == "NTC" else 0)
    recorded = torch.full((1, 21, 3), 9.0) if order == "NTC" else torch.zeros(1)
    own = from_maps(maps, arrangement, recorded)
    if order == "NTC":
        assert own.shape == (2, 21, 3)
        assert (own[:, 0] == 9).all()
        assert own[1, 1 + 5 * 2 + 3, 0] == maps[1, 0, 2, 3]
    assert torch.equal(to_maps(own, arrangement), maps)


def test_containers_keep_their_kind():
    tensor, other = torch.zeros(1), torch.ones(1)
    assert first_tensor((tensor, None)) is tensor
    assert first_tensor(()) is None
    assert first_tensor({"out": tensor}) is None
    assert replaced_tensor(tensor, other) is other
    assert replaced_tensor((tensor, None), other) == (other, None)
    assert replaced_tensor([tensor, 1], other) == [other, 1]
    assert replaced_tensor(Outputs(tensor, 2), other) == Outputs(other, 2)


def orders(net, size=32):
    layers = observe_layers(net, torch.randn(1, 3, size, size))
    return {name: layer.arrangement for name, layer in layers.items()}


def test_a_vision_transformer():
    found = orders(vit())
    assert found["conv_proj"] == Arrangement(FIRST, (4, 4), 16)
    tokens = Arrangement("NTC", (4, 4), 16, prefix=1)
    assert found["encoder.ln"] == found["encoder.layers.encoder_layer_0.self_attention"] == tokens
    assert found["heads.head"] is None


def test_a_swin_transformer():
    found = orders(swin())
    for name in ("features.0.1", "features.0.2", "features.1.0.attn", "features.1.0.stochastic_depth"):
        assert found[name] == Arrangement(LAST, (16, 16), 8), name
    assert found["features.2.reduction"] == found["norm"] == Arrangement(LAST, (8, 8), 16)
    assert found["permute"] == Arrangement(FIRST, (8, 8), 16)


def test_convnext_norms_channels_first_and_last():
    found = orders(convnext_tiny())
    assert found["features.0.1"] == Arrangement(FIRST, (8, 8), 96)  # its LayerNorm2d
    assert found["features.1.0.block.1"] == found["features.1.0.block.2"] == Arrangement(LAST, (8, 8), 96)
    assert found["features.1.0.block.6"] == found["features.1.0"] == Arrangement(FIRST, (8, 8), 96)


def test_torchs_encoder_and_a_plain_network():
    assert orders(Encoded(class_token=False))["encoder.layers.1.norm2"] == Arrangement("NTC", (4, 4), 16)
    assert orders(Small())["pool"] == Arrangement(FIRST, (1, 1), 6)
