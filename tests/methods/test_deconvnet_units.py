"""The deconvnet of units: references are written out as switches, rectification and transposed convolutions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models.vgg import cfgs, make_layers

import cnnviz
from cnnviz.core.target import Unit
from cnnviz.errors import ExplanationError, ParameterError, TargetError, UnknownNameError, UsageError
from tests.support.asking import state_of
from tests.support.networks import Small, Twice, model_of


class Headed(nn.Module):
    """Any features with a small head."""

    def __init__(self, features: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.features = features
        self.fc = nn.Linear(channels, 5)

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))


def vgg11() -> Headed:
    return Headed(make_layers(cfgs["A"]), 512)


def alexnet() -> Headed:
    return Headed(torchvision.models.alexnet(weights=None).features, 256)


def unpooled(pool: nn.MaxPool2d, below: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """Each value added where its maximum was: several windows may have had the same."""
    _, switches = functional.max_pool2d(below, pool.kernel_size, pool.stride, pool.padding, return_indices=True)
    flat = torch.zeros_like(below).flatten(2)
    return flat.scatter_add(2, switches.flatten(2), above.flatten(2)).view_as(below)


def transposed(conv: nn.Conv2d, below: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    missing = [
        size - ((length - 1) * step - 2 * pad + kernel)
        for size, length, step, pad, kernel in zip(
            below.shape[2:], above.shape[2:], conv.stride, conv.padding, conv.kernel_size, strict=True
        )
    ]
    return functional.conv_transpose2d(above, conv.weight, None, conv.stride, conv.padding, missing)


@torch.no_grad()
def by_hand(layers: nn.Sequential, image: torch.Tensor, unit: int, place: tuple[int, int]) -> torch.Tensor:
    """One activation projected through layers, down to the image ``(1, C, H, W)``."""
    inputs = [image]
    for layer in layers:
        inputs.append(layer(inputs[-1].clone()))
    seed = torch.zeros_like(inputs[-1])
    seed[0, unit, *place] = inputs[-1][0, unit, *place]
    for layer, below in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
        if isinstance(layer, nn.Conv2d):
            seed = transposed(layer, below, seed)
        elif isinstance(layer, nn.MaxPool2d):
            seed = unpooled(layer, below, seed)
        else:
            seed = seed.clamp(min=0)
    return seed


def close(one, other) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return bool(np.abs(one - other).max() <= 1e-5 * np.abs(other).max()) and bool(other.any())


def pictures(side: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("build", "last"), [(vgg11, 10), (vgg11, 20), (alexnet, 5), (alexnet, 11), (alexnet, 12)])
def test_a_unit_is_projected_as_by_hand(build, last):
    net, inputs = build().eval(), pictures(96)
    found = cnnviz.deconvnet(cnnviz.Model(net, input_size=96), inputs, layer=f"features.{last}")
    assert len(found) == 9
    for number in (0, 4, 8):
        place = tuple(int(each) for each in found.places[number, 0])
        assert close(
            found.values[number, 0], by_hand(net.features[: last + 1], inputs, found.units[number].channel, place)[0]
        )


@pytest.mark.parametrize(("last", "unit"), [(5, 3), (10, 7), (20, 100)])
def test_a_unit_as_target_is_its_largest_activation_projected_by_hand(last, unit):
    net, inputs = vgg11().eval(), pictures(96, 2)
    model, layers = cnnviz.Model(net, input_size=96), net.features[: last + 1]
    found = cnnviz.deconvnet(model, inputs, f"features.{last}:{unit}")
    with torch.no_grad():
        maps = layers(inputs)[:, unit]
    for one, given, responses in zip(found, inputs, maps, strict=True):
        place = tuple(int(each) for each in np.unravel_index(int(responses.argmax()), responses.shape))
        assert one.target == Unit(f"features.{last}", unit, place)
        assert one.score == pytest.approx(float(responses.max()), rel=1e-5)
        assert close(one.values, by_hand(layers, given[None], unit, place)[0])
    other = cnnviz.deconvnet(model, inputs[:1], f"features.{last}:{unit}@1,2").values[0]
    expected = by_hand(layers, inputs[:1], unit, (1, 2))[0].numpy()
    assert np.abs(other - expected).max() <= 1e-5 * np.abs(expected).max()
    listed = cnnviz.deconvnet(model, inputs[:1], layer=f"features.{last}", units=str(unit))
    assert close(found.values[0], listed.values[0, 0])
    assert any(check.startswith("one activation of the unit is projected back") for check in found.checks)


def test_a_unit_that_does_not_respond_and_a_class_beside_it(small, inputs):
    with torch.no_grad():
        small.module.conv1.bias[0] = -1e3
    silent, answer = cnnviz.deconvnet(small, inputs[:2], ["relu1:0", 1])
    assert silent.score == 0
    assert not silent.values.any()
    alone = cnnviz.deconvnet(small, inputs[1:2], 1)
    assert close(answer.values, alone.values[0])
    assert not any("of a unit" in check for check in alone.checks)
    with pytest.raises(TargetError, match="there is no 99"):
        cnnviz.deconvnet(small, inputs, "relu1:99")


def test_of_one_convolution_it_is_the_transposed_convolution():
    net, inputs = Headed(nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=2)), 4), pictures(17)
    found = cnnviz.deconvnet(model_of(net), inputs, layer="features.0", units="2")
    row, column = found.places[0, 0]
    seed = torch.zeros(1, 4, 9, 9)
    seed[0, 2, row, column] = float(found.activations[0, 0])
    expected = functional.conv_transpose2d(seed, net.features[0].weight.detach(), None, 2, 2)
    assert close(found.values[0, 0], expected[0])
    assert "no activation function comes before features.0" in found.checks[0]


def test_overlapping_pools_add_up_where_maxima_coincide():
    """Max-unpooling keeps one of several windows whose maximum is the same place, and so loses the rest."""
    pool = nn.MaxPool2d(3, 2)
    net = Headed(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), pool, nn.Conv2d(4, 4, 3)), 4)
    inputs = 0.1 * pictures(11)
    inputs[0, :, 4, 4] += 9
    with torch.no_grad():
        net.features[0].weight.abs_()
        net.features[3].weight.abs_()
        net.features[3].bias.zero_()
    found = cnnviz.deconvnet(model_of(net), inputs, layer="features.3", units="1")
    place = tuple(int(each) for each in found.places[0, 0])
    assert close(found.values[0, 0], by_hand(net.features, inputs, 1, place)[0])
    below = net.features[:2](inputs).detach()
    pooled, switches = functional.max_pool2d(below, 3, 2, return_indices=True)
    assert len(switches[0, 0].unique()) < switches[0, 0].numel()
    lost = functional.max_unpool2d(pooled, switches, 3, 2, output_size=below.shape[2:])
    assert not torch.allclose(lost, unpooled(pool, below, pooled))


def test_nothing_runs_after_the_layer():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("it ran")

    net = Small()
    model = model_of(net)
    assert model.layers
    net.fc = Broken()
    assert cnnviz.deconvnet(model, pictures(32), layer="conv2").values.any()


def test_the_nine_strongest_of_many_pictures_strongest_first():
    net, inputs = Small(), pictures(32, 12)
    model = model_of(net)
    found = cnnviz.deconvnet(model, inputs, layer="relu2", units="1,4-5", batch_size=5)
    maps = net.eval().relu2(net.conv2(net.down(net.relu1(net.norm1(net.conv1(inputs)))))).detach()
    peaks = maps.amax(dim=(2, 3))
    assert [unit.channel for unit in found.units] == [1, 4, 5]
    assert found.values.shape == (3, 9, 3, 32, 32)
    for number, unit in enumerate((1, 4, 5)):
        expected = peaks[:, unit].topk(9)
        assert np.array_equal(found.rows[number], expected.indices)
        assert np.allclose(found.activations[number], expected.values, rtol=1e-5)
    alone = cnnviz.deconvnet(model, inputs[found.rows[1, 2]][None], layer="relu2", units="4")
    assert np.allclose(alone.values[0, 0], found.values[1, 2], atol=1e-6)


def test_what_is_projected_lies_within_what_the_unit_sees(inputs):
    found = cnnviz.deconvnet(model_of(Small()), inputs, layer="conv2")
    for values, (top, left, bottom, right) in zip(
        found.values.reshape(-1, 3, 32, 32), found.boxes.reshape(-1, 4), strict=True
    ):
        inside = np.zeros((32, 32), dtype=bool)
        inside[top:bottom, left:right] = True
        assert not values[:, ~inside].any()


@pytest.mark.parametrize("layer", ["shared#1", "shared"])
def test_boxes_are_the_fields_of_the_call(layer, inputs):
    model = model_of(Twice())
    found = cnnviz.deconvnet(model, inputs[..., :24], layer=layer)
    field = model.layers_on((32, 24))["shared"].fields[0 if "#" in layer else 1]
    wanted = [field.box(*place, 32, 24) for place in found.places.reshape(-1, 2).tolist()]
    assert found.boxes.reshape(-1, 4).tolist() == [list(box) for box in wanted]
    assert (found.boxes < [32, 24, 33, 25]).all()


def test_units_of_a_linear_layer_see_everything(inputs):
    found = cnnviz.deconvnet(model_of(Small()), inputs, layer="fc", units="0-4")
    assert found.values.shape == (5, 3, 3, 32, 32)
    assert (found.boxes == [0, 0, 32, 32]).all()


@pytest.mark.parametrize("layer", ["shared", "shared#1", "relu#2", "last-spatial"])
def test_layers_that_run_twice(layer, inputs):
    found = cnnviz.deconvnet(model_of(Twice(inplace=True)), inputs, layer=layer)
    assert found.values.shape == (4, 3, 3, 32, 32)


def test_the_first_and_the_second_call_differ(inputs):
    model = model_of(Twice())
    first, second, last = (
        cnnviz.deconvnet(model, inputs, layer=f"shared{call}", units="0") for call in ("#1", "#2", "")
    )
    assert not np.array_equal(first.activations, second.activations)
    assert np.array_equal(last.values, second.values)


def test_the_network_comes_back_as_it_was(inputs):
    net = Small().train()
    before = state_of(net)
    cnnviz.deconvnet(model_of(net), inputs, layer="relu1", units="0-3")
    assert state_of(net) == before


def test_bf16_frozen_and_inference_mode(inputs):
    net = Small()
    expected = cnnviz.deconvnet(model_of(net), inputs, layer="relu2", units="0-2")
    net.requires_grad_(requires_grad=False)
    with torch.inference_mode():
        assert np.array_equal(
            cnnviz.deconvnet(model_of(net), inputs, layer="relu2", units="0-2").values, expected.values
        )
    half = cnnviz.deconvnet(model_of(net.bfloat16()), inputs, layer="relu2", units="0-2")
    assert half.values.dtype == np.float32
    assert half.values.any()


def test_what_cannot_be_asked_is_said(small, inputs):
    with pytest.raises(UsageError, match="of which layer"):
        cnnviz.deconvnet(small, inputs, units="0-3")
    with pytest.raises(UsageError, match="without a target"):
        cnnviz.deconvnet(small, inputs, 1, layer="conv2")
    with pytest.raises(UnknownNameError, match="layer 'conv3'"):
        cnnviz.deconvnet(small, inputs, layer="conv3")
    for units, message in (("9", "units 0 to 5"), ("one", "numbers and ranges"), ("3-1", "write 1-3")):
        with pytest.raises(ParameterError, match=message):
            cnnviz.deconvnet(small, inputs, layer="conv2", units=units)

    class Split(Small):
        def forward(self, x):
            self.inner(x)
            return super().forward(x)

    class Inner(nn.Module):
        def forward(self, x):
            return x.flatten(1).reshape(len(x), 3, -1)[:, :, :7]

    net = Split()
    net.inner = Inner()
    with pytest.raises(ExplanationError, match="has no units"):
        cnnviz.deconvnet(model_of(net), inputs, layer="inner")


@pytest.mark.parametrize("suffix", [".png", ".npz", pytest.param(".pdf", marks=pytest.mark.slow)])
def test_it_saves_itself(small, photo, tmp_path, suffix):
    found = cnnviz.deconvnet(small, [photo, photo], layer="relu2", units="0-3")
    path = found.save(tmp_path / f"units{suffix}")
    held, made = (json.loads(text)["cnnviz"] for text in (cnnviz.read_note(path), found.provenance.to_json()))
    assert held | {"look": {}} == made | {"look": {}}
    if suffix == ".npz":
        with np.load(path) as held:
            assert np.array_equal(held["values"], found.values)
            assert list(held["units"]) == ["relu2:0", "relu2:1", "relu2:2", "relu2:3"]


def test_the_picture_has_a_block_a_unit(small, photo):
    sheet = cnnviz.deconvnet(small, [photo] * 4, layer="relu1", units="0-3").grid().sheet
    assert sheet.shape == (2, 6)
    assert sheet.rows[0][0].caption.startswith("unit 0 (max ")
    assert any("Left: the part of the picture" in note for note in sheet.notes)


@pytest.mark.real
def test_the_classic_figure_of_a_real_network(real):
    model = cnnviz.load_model("squeezenet1_0", device="cpu")
    photos = [real / "photos" / name for name in ("cat.jpg", "owl.jpg")]
    found = cnnviz.deconvnet(model, photos, layer="features.7", units="0-2")
    images = torch.cat([model.preprocess(cnnviz.read_picture(photo))[0][None] for photo in photos])
    for number in range(3):
        place = tuple(int(each) for each in found.places[number, 0])
        image = images[found.rows[number, 0]][None]
        assert found.values[number, 0].any()
        assert image.shape == (1, 3, 224, 224)
        assert 0 <= place[0] < 27
