"""Filters: pictures that are known pixel by pixel, marks, orders, compression and clear words."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import cnnviz
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.methods.units.kernels import compress_kernels
from tests.support.networks import Small, Twice, model_of

MINUS = "\N{MINUS SIGN}"


class Headed(nn.Module):
    """Convolutions with a head."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x).flatten(2).mean(dim=2)


def known(weights: torch.Tensor, **given: int) -> cnnviz.Model:
    """A model whose only convolution has these weights."""
    groups = given.get("groups", 1)
    conv = nn.Conv2d(weights.shape[1] * groups, weights.shape[0], weights.shape[2:], bias=False, **given)
    with torch.no_grad():
        conv.weight.copy_(weights)
    return model_of(Headed(conv), labels=None)


def tile(found: cnnviz.Filters, unit: int) -> np.ndarray:
    cells = [cell for row in found.grid().sheet.rows for cell in row if cell]
    return cells[unit].pixels


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def test_colours_pixel_by_pixel_on_one_scale_with_zero_as_mid_grey():
    weights = torch.zeros(2, 3, 2, 2)
    weights[0, 0] = torch.tensor([[2.0, -2.0], [1.0, 0.0]])
    weights[1, 2] = torch.tensor([[0.5, -0.5], [-1.0, 0.0]])
    found = cnnviz.filters(known(weights))
    assert found.coloured
    assert found.scale().high == 2.0
    red = np.full((2, 2, 3), 128, dtype=np.uint8)
    red[0, 0, 0], red[0, 1, 0], red[1, 0, 0] = 255, 0, 191
    blue = np.full((2, 2, 3), 128, dtype=np.uint8)
    blue[0, 0, 2], blue[0, 1, 2], blue[1, 0, 2] = 159, 96, 64
    assert np.array_equal(tile(found, 0), red)
    assert np.array_equal(tile(found, 1), blue)
    own = cnnviz.filters(known(weights), scale="own")
    assert own.scale(1).high == 1.0
    assert tile(own, 1)[1, 0].tolist() == [128, 128, 0]


def test_the_montage_enlarges_without_smoothing():
    found = cnnviz.filters(known(noise(4, 3, 3, 3)))
    pixels = found.grid().pixels(cell=96)
    tiles = {tuple(colour) for unit in range(4) for row in tile(found, unit).tolist() for colour in map(tuple, row)}
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    large = {tuple(colour) for colour, count in zip(colours.tolist(), counts, strict=True) if count >= 32 * 32}
    assert tiles <= large


def test_values_are_the_weights_and_survive_the_file(tmp_path):
    weights = noise(5, 2, 3, 4)
    found = cnnviz.filters(known(weights))
    assert np.array_equal(found, weights.numpy())
    assert found.values.dtype == np.float32
    assert len(found) == 5
    held = np.load(found.save(tmp_path / "kernels.npz"))
    assert np.array_equal(held["values"], weights.numpy())
    assert held["drawn"].tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(held["norms"], weights.flatten(1).norm(dim=1))


def test_channels_that_are_no_colours_get_a_row_each():
    weights = noise(3, 5, 3, 3)
    found = cnnviz.filters(known(weights))
    assert found.in_rows
    sheet = found.grid().sheet
    assert sheet.column_headings == tuple(f"input {channel}" for channel in range(5))
    assert sheet.row_headings == ("unit 0", "unit 1", "unit 2", "")
    few = cnnviz.filters(known(weights), channels=2)
    strengths = weights.norm(dim=(2, 3)).numpy()
    assert np.array_equal(few.inputs, np.argsort(-strengths, axis=1)[:, :2])
    captions = [cell.caption for row in few.grid().sheet.rows[:-1] for cell in row if cell]
    assert captions == [f"input {channel}" for row in few.inputs for channel in row]


def test_a_map_is_red_where_positive_blue_where_negative_and_white_at_zero():
    weights = torch.zeros(1, 1, 1, 3)
    weights[0, 0, 0] = torch.tensor([-1.0, 0.0, 1.0])
    left, middle, right = tile(cnnviz.filters(known(weights)), 0)[0].astype(int)
    assert left[2] > left[0] + 50
    assert right[0] > right[2] + 50
    assert middle.min() > 240


def test_depthwise_and_grouped_convolutions_name_the_channels_they_read():
    depthwise = cnnviz.filters(known(noise(6, 1, 3, 3), groups=3))
    assert not depthwise.in_rows
    assert depthwise.inputs.ravel().tolist() == [0, 0, 1, 1, 2, 2]
    grouped = cnnviz.filters(known(noise(4, 3, 3, 3), groups=2))
    assert not grouped.coloured
    assert grouped.inputs.tolist() == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2
    captions = [cell.caption for row in grouped.grid().sheet.rows[:-1] for cell in row if cell]
    assert captions == [f"input {channel}" for channel in (0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5)]


@pytest.mark.parametrize("fold", [False, True])
def test_what_is_dead_is_told_from_norms_with_the_batch_norm(fold):
    """Unit 1 is made small, unit 2 is small and made large again, unit 3 is at .012 of the median without either."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)).eval()
    net[0].weight.data = torch.ones(8, 3, 3, 3) * torch.tensor([1, 1, 1e-3, 0.012, 1, 1.5, 1, 1]).view(-1, 1, 1, 1)
    net[0].weight.data += 0.01 * net[0].weight.data * noise(8, 3, 3, 3)
    net[1].weight.data[1], net[1].weight.data[2] = 1e-4, -1e3
    found = cnnviz.filters(model_of(net, labels=None), fold=fold)
    assert found.dead == (1, 3)
    assert any(
        "below a fiftieth of the median, the batch norm that follows counted in): 1, 3" in check
        for check in found.checks
    )


def test_dead_and_duplicate_filters_are_marked_and_listed():
    weights = noise(6, 3, 3, 3)
    weights[2], weights[4], weights[5] = 0, 2 * weights[0], -weights[1]
    weights[3] *= 1e-4
    found = cnnviz.filters(known(weights))
    assert found.dead == (2, 3)
    assert {unit: other for unit, (other, _) in found.duplicates.items()} == {4: 0, 5: 1}
    assert [round(cosine, 6) for _, cosine in found.duplicates.values()] == [1, -1]
    captions = [cell.caption for row in found.grid().sheet.rows[:-1] for cell in row if cell]
    assert captions == ["0", "1", "2 dead", "3 dead", "4 ≈ 0", f"5 ≈ {MINUS}1"]
    assert "dead (norm below a fiftieth of the median): 2, 3" in found.checks
    assert f"duplicates (absolute cosine above 0.95): 4 ≈ 0, 5 ≈ {MINUS}1" in found.checks
    assert found.describe()["duplicates"][0] == {"unit": 4, "like": 0, "cosine": pytest.approx(1)}


def test_equal_kernels_on_different_channels_are_no_duplicates():
    same = noise(1, 1, 3, 3).expand(4, 1, 3, 3)
    assert cnnviz.filters(known(same, groups=4)).duplicates == {}
    assert set(cnnviz.filters(known(same, groups=2)).duplicates) == {1, 3}


def test_orders():
    weights = torch.zeros(4, 3, 1, 2)
    weights[0, 0] = torch.tensor([1.0, -1.0])
    weights[1] = torch.tensor([3.0, -3.0])
    weights[2, 1] = torch.tensor([2.0, -2.0])
    weights[3, 0] = torch.tensor([-4.0, 4.0])
    model = known(weights)
    assert cnnviz.filters(model).drawn == (0, 1, 2, 3)
    assert cnnviz.filters(model, sort="norm").drawn == (1, 3, 2, 0)
    assert cnnviz.filters(model, sort="hue").drawn == (1, 0, 3, 2)
    assert cnnviz.filters(model, units="3,1-2").drawn == (3, 1, 2)
    assert cnnviz.filters(model, sort="norm", most=2).drawn == (1, 3)
    assert (
        "the first 2 of 4 units by norm are drawn; choose others with most=... or units=..."
        in cnnviz.filters(model, sort="norm", most=2).checks
    )


def test_how_many_are_drawn_is_limited_and_said():
    found = cnnviz.filters(known(noise(20, 4, 3, 3)))
    assert found.drawn == tuple(range(16))
    assert "the first 16 of 20 units by index are drawn; choose others with most=... or units=..." in found.checks
    assert len(found) == 20


def test_folding_gives_the_folded_networks_weights():
    net = Small().eval()
    plain, folded = (cnnviz.filters(model_of(net), fold=fold) for fold in (False, True))
    assert np.array_equal(plain, net.conv1.weight.detach())
    assert np.allclose(folded, fuse_conv_bn_eval(net.conv1, net.norm1).weight.detach(), rtol=1e-5, atol=1e-7)
    assert any("is folded in: weight * gamma" in check for check in folded.checks)
    assert any("not folded in" in check for check in plain.checks)


def test_folding_says_where_there_is_nothing_to_fold():
    found = cnnviz.filters(model_of(Small()), layer="conv2", fold=True)
    assert "no batch norm takes the output of conv2: nothing was folded" in found.checks
    assert np.array_equal(found, cnnviz.filters(model_of(Small()), layer="conv2")) is False
    net = Twice()
    net.relu = nn.BatchNorm2d(4)
    again = cnnviz.filters(model_of(net), layer="shared", fold=True)
    assert "shared runs 2 times in a forward: nothing was folded" in again.checks
    assert np.array_equal(again, net.shared.weight.detach())


def test_the_scale_is_said_in_the_networks_own_input():
    found = cnnviz.filters(model_of(Small(), mean=(0.1, 0.2, 0.3), std=(0.5,)))
    assert "the weights act on normalised input: (value - [0.1, 0.2, 0.3]) / 0.5, values from 0 to 1" in found.checks
    deeper = cnnviz.filters(model_of(Small()), layer="conv2")
    assert not any("normalised" in check for check in deeper.checks)


def test_without_a_layer_the_first_with_something_to_see():
    net = Headed(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3))
    found = cnnviz.filters(model_of(net, labels=None))
    assert found.layer == "layers.2"
    assert "layer layers.2, the first whose kernels are larger than 1 x 1" in found.checks


def test_an_mlps_first_layer_is_drawn_as_pictures():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7), nn.ReLU(), nn.Linear(7, 5))
    found = cnnviz.filters(model_of(net))
    assert found.values.shape == (7, 3, 32, 32)
    assert found.coloured
    assert np.array_equal(found, net[1].weight.detach().view(7, 3, 32, 32))


def test_a_transposed_convolution_says_what_its_kernels_are():
    found = cnnviz.filters(model_of(Headed(nn.ConvTranspose2d(3, 5, 4, 2, 1)), channels=3, labels=None))
    assert found.values.shape == (5, 3, 4, 4)
    assert any("what one input position adds" in check for check in found.checks)


WORDS = {
    "layers.0": "Layer 'layers.0' has 1 x 1 kernels.*nothing to see.*The nearest that can be drawn is 'layers.2'",
    "layers.1": r"Layer 'layers.1' \(ReLU\) has no kernels over rows and columns.*'layers.2'",
    "layers": r"Layer 'layers' \(Sequential\) has no kernels.*The first inside it that can be drawn is 'layers.2'",
    "layers.4": r"Layer 'layers.4' has 3 kernels over 1 dimensions.*'layers.2'",
}


@pytest.mark.parametrize("layer", WORDS)
def test_a_layer_with_nothing_to_see_names_the_nearest_that_has(layer):
    net = Headed(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(2), nn.Conv1d(4, 4, 3))
    with pytest.raises(UsageError, match=WORDS[layer]):
        cnnviz.filters(model_of(net, labels=None), layer=layer)


def test_questions_that_have_no_answer():
    one = model_of(Headed(nn.Conv2d(3, 5, 1)))
    with pytest.raises(UsageError, match=r"'small' has no convolution with kernels larger than 1 x 1"):
        cnnviz.filters(one)
    with pytest.raises(UsageError, match="No other layer of this network has kernels larger"):
        cnnviz.filters(one, layer="layers.0")
    model = model_of(Small())
    with pytest.raises(UnknownNameError, match=r"no layer 'conv9'.*'conv1'"):
        cnnviz.filters(model, layer="conv9")
    with pytest.raises(ParameterError, match="Layer 'conv1' has units 0 to 7; there is no unit 8"):
        cnnviz.filters(model, units="3-8")
    with pytest.raises(UsageError, match="Kernels on 8 channels have no hue"):
        cnnviz.filters(model, layer="conv2", sort="hue")
    with pytest.raises(UsageError, match="Each unit reads 3 channels: there is nothing to compress"):
        cnnviz.filters(model, compress="unit")
    grouped = known(noise(4, 4, 3, 3), groups=2)
    with pytest.raises(UsageError, match="2 separate groups of channels; compress each unit on its own"):
        cnnviz.filters(grouped, compress="layer")


def rank_one() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels ``(3, 6, 3, 3)``, each unit a plane of one sign times one vector of channels."""
    rng = np.random.default_rng(0)
    planes, channels = rng.random((3, 3, 3)).astype(np.float32), rng.normal(size=6).astype(np.float32)
    return planes[:, None] * channels[:, None, None], planes, channels


@pytest.mark.parametrize("way", ["layer", "unit"])
def test_compression_finds_a_single_factor(way):
    values, planes, channels = rank_one()
    colours, shares, said = compress_kernels(values, [0, 2], 1, way)
    assert colours is not None
    assert colours.shape == (2, 3, 3, 3)
    assert (colours >= 0).all()
    assert np.allclose(shares, 1, atol=1e-4)
    whole = colours.sum(axis=1) / np.linalg.norm(channels)
    assert np.allclose(whole / planes[[0, 2]], 1, rtol=0.05) or np.allclose(shares, 1, atol=1e-4)
    strongest = int(np.abs(channels).argmax())
    if way == "layer":
        sign = "+" if channels[strongest] > 0 else MINUS
        assert any(re.match(rf"(red|green|blue): mostly input \{sign}{strongest}\b", line) for line in said)


def test_three_separate_patterns_become_three_colours():
    planes = np.zeros((1, 3, 3, 3), dtype=np.float32)
    planes[0, 0, 0], planes[0, 1, 1], planes[0, 2, 2] = 3, 2, 1
    mixing = np.eye(3, 6, dtype=np.float32) * np.array([1, -1, 1], dtype=np.float32)[:, None]
    values = np.einsum("ukhw,kc->uchw", planes, mixing)
    colours, shares, _ = compress_kernels(values, [0], 1, "unit")
    assert np.allclose(colours, planes, atol=1e-3)
    assert shares[0] == pytest.approx(1, abs=1e-5)


def test_compressed_kernels_are_drawn_with_what_they_hold(tmp_path):
    found = cnnviz.filters(known(noise(4, 8, 3, 3)), compress="unit")
    assert found.colours is not None
    cell = found.grid().sheet.rows[0][0]
    assert cell is not None
    assert cell.caption == f"0\n{found.shares[0]:.0%}"
    level = np.rint(np.clip(found.colours[0] / found.scale().high, 0, 1) * 255).transpose(1, 2, 0)
    assert np.array_equal(cell.pixels, level)
    assert np.load(found.save(tmp_path / "colours.npz"))["colours"].shape == (4, 3, 3, 3)
    assert any("three colours of its own" in check for check in found.checks)
    assert np.array_equal(found.colours, cnnviz.filters(known(noise(4, 8, 3, 3)), compress="unit").colours)


def test_nothing_but_zeros_is_drawn_and_said(tmp_path):
    for settings in ({}, {"scale": "own"}):
        found = cnnviz.filters(known(torch.zeros(3, 3, 3, 3)), **settings)
        assert found.dead == (0, 1, 2)
        assert (tile(found, 0) == 128).all()
        found.save(tmp_path / "nothing.png")
    assert cnnviz.filters(known(torch.zeros(3, 5, 3, 3)), compress="layer").shares.tolist() == [1, 1, 1]


def test_it_shows_itself():
    found = cnnviz.filters(known(noise(2, 3, 3, 3)))
    assert found._repr_png_().startswith(b"\x89PNG")
    assert found.plot().get_size_inches()[0] > 1


@pytest.mark.parametrize(("side", "cell"), [(3, 96), (5, 160), (7, 224), (11, 320)])
def test_small_kernels_are_not_drawn_large(side, cell):
    found = cnnviz.filters(model_of(nn.Sequential(nn.Conv2d(3, 4, side), nn.Flatten()), input_size=12), layer="0")
    assert found._usual_cell(found.grid()) == cell
