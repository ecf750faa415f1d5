"""Feature maps: the layer's own values, the right units, and pictures that show them in their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.drawing.overlay import masked
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from tests.support.networks import Encoded, Small, Twice, model_of, swin


def hooked(net: nn.Module, layer: str, inputs: torch.Tensor) -> np.ndarray:
    """The layer's output, copied in a plain hook."""
    caught = []
    handle = net.get_submodule(layer).register_forward_hook(lambda part, given, output: caught.append(output.clone()))
    with torch.no_grad():
        net.eval()(inputs)
    handle.remove()
    return caught[-1].numpy()


class Known(nn.Module):
    """Its units are the picture times known factors, so that every map is known."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.units = nn.Conv2d(1, len(factors), 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        with torch.no_grad():
            self.units.weight.copy_(torch.tensor(factors).view(-1, 1, 1, 1))

    def forward(self, x):
        return self.pool(self.units(x)).mean(dim=(2, 3))


def known(*factors: float) -> cnnviz.Model:
    return model_of(Known(*factors), mean=(0,), std=(1,), input_size=(4, 6), resize=None, labels=None)


def ramp() -> torch.Tensor:
    """An input ``(1, 1, 4, 6)`` with values 0 to 23."""
    return torch.arange(24, dtype=torch.float32).view(1, 1, 4, 6)


@pytest.mark.parametrize("layer", ["conv1", "norm1", "relu1", "down", "relu2"])
def test_values_are_the_layers_before_anything_changes_them_in_place(layer, inputs):
    net = Small()
    found = cnnviz.features(model_of(net), inputs, layer=layer, units="all")
    assert np.array_equal(found, hooked(net, layer, inputs))
    assert found.values.dtype == np.float32
    if layer == "norm1":
        assert (found.values < 0).any()


def test_a_layer_that_runs_twice_and_one_of_its_calls(inputs):
    net = Twice(inplace=True)
    last, first = (cnnviz.features(model_of(net), inputs, layer=name, units="all") for name in ("shared", "shared#1"))
    assert np.array_equal(last, hooked(net, "shared", inputs))
    assert not np.array_equal(first, last)


def test_tokens_and_channels_last_become_maps(inputs):
    net = Encoded()
    found = cnnviz.features(model_of(net), inputs, layer="encoder.layers.0", units="all")
    tokens = hooked(net, "encoder.layers.0", inputs)
    assert np.allclose(found, tokens[:, 1:].transpose(0, 2, 1).reshape(3, 16, 4, 4), atol=1e-5)
    net = swin()
    found = cnnviz.features(model_of(net), inputs, layer="features.1", units="all")
    assert np.allclose(found, hooked(net, "features.1", inputs).transpose(0, 3, 1, 2), atol=1e-5)


def test_the_strongest_are_each_pictures_own():
    picture = torch.cat([ramp(), -ramp()])
    found = cnnviz.features(known(1, -2, 3), picture, layer="units", most=2)
    assert found.units.tolist() == [[2, 0], [1, 0]]
    assert np.array_equal(found[0].values[0], 3 * ramp()[0, 0])
    assert np.array_equal(found[1].values[0], 2 * ramp()[0, 0])
    assert found.checks == (
        "2 of 3 units are shown: those with the largest value on each picture, the strongest first",
    )


def test_what_makes_a_unit_strong():
    net = Known(1.0, -3.0, 0.5)
    net.units.bias = nn.Parameter(torch.tensor([0.0, 0.0, 20.0]))
    model = model_of(net, mean=(0,), std=(1,), input_size=(4, 6), resize=None, labels=None)
    order = {
        by: cnnviz.features(model, ramp(), layer="units", by=by).units[0].tolist() for by in ("peak", "mean", "spread")
    }
    assert order == {"peak": [2, 0, 1], "mean": [2, 0, 1], "spread": [1, 0, 2]}


def test_units_by_number_and_all_with_the_limit_said():
    model = known(*range(1, 5))
    assert cnnviz.features(model, ramp(), layer="units", units="3,0-1").units.tolist() == [[3, 0, 1]]
    assert cnnviz.features(model, ramp(), layer="units", units="all").units.tolist() == [[0, 1, 2, 3]]
    many = cnnviz.features(known(*[1.0] * 300), ramp(), layer="units", units="all")
    assert many.values.shape == (1, 256, 4, 6)
    assert many.checks == ("the first 256 of 300 units are shown; choose others with units=...",)


def test_silent_units_are_counted():
    found = cnnviz.features(known(0, 1, 0), ramp(), layer="units")
    assert (found[0].silent, found[0].total) == (2, 3)
    assert "unit 0 (silent)" in [cell.caption for row in found.grid().sheet.rows for cell in row if cell]
    assert "2 of 3 units are zero all over input 1" in found.grid().sheet.notes


def test_the_network_runs_no_further_than_the_layer(inputs):
    net, calls = Small(), []
    net.fc.register_forward_hook(lambda part, given, output: calls.append(1))
    model = model_of(net)
    assert "conv2" in model.layers
    calls.clear()
    cnnviz.features(model, inputs, layer="conv2")
    assert not calls


def test_maps_are_drawn_value_by_value():
    found = cnnviz.features(known(1, 2), ramp(), layer="units", units="0-1")
    photograph, first, second = found.grid(normalise="max").sheet.rows[0]
    assert photograph.caption == "input 1"
    assert np.array_equal(first.pixels, second.pixels)
    assert first.pixels.shape == (4, 6, 3)
    assert (first.caption, second.caption) == ("unit 0 (max 23)", "unit 1 (max 46)")
    shared = found.grid(shared=True, normalise="max").sheet.rows
    assert np.array_equal(shared[0][2].pixels, second.pixels)
    assert not np.array_equal(shared[0][1].pixels, second.pixels)
    assert shared[-1][0].caption == "0 to 46\nactivation"
    assert shared[0][1].pixels.astype(int).sum() < second.pixels.astype(int).sum()
    said = f"0 to {np.percentile(found, 99):.2g}\n2.1% clipped\nactivation"
    assert found.grid(shared=True).sheet.rows[-1][0].caption == said


def test_maps_with_a_sign_keep_it():
    found = cnnviz.features(known(1, -1), ramp(), layer="units", units="0-1")
    _, first, second = found.grid().sheet.rows[0]
    assert not found[0][0].rectified
    assert first.pixels[3, 5, 0] > first.pixels[3, 5, 2] + 50
    assert second.pixels[3, 5, 2] > second.pixels[3, 5, 0] + 50
    assert second.caption == "unit 1 (\N{MINUS SIGN}23 to 0)"


def test_the_mask_is_the_share_of_places_that_was_asked_for():
    found = cnnviz.features(known(1, 0), ramp(), layer="units", units="0-1")[0]
    assert found.threshold(0, 0.75) == np.quantile(np.arange(24), 0.75)
    shown = found.responds(0, 0.75)
    assert np.array_equal(shown, found[0].on_original() >= 17.25)
    assert shown.sum() == 6
    assert not found.responds(1, 0.75).any()
    cells = cnnviz.features(known(1, 0), ramp(), layer="units", units="0-1").grid(style="masked", quantile=0.75)
    drawn = cells.sheet.rows[0][1]
    assert drawn.caption == "unit 0 (shown above 17.2)"
    assert np.array_equal(drawn.pixels[shown], found.picture.pixels[shown])
    assert cells.sheet.rows[0][2].caption == "unit 1 (silent)"


def test_a_map_that_is_zero_nearly_everywhere_shows_where_it_is_not():
    spike = torch.zeros(1, 1, 4, 6)
    spike[0, 0, 2, 3] = 5
    found = cnnviz.features(known(1), spike, layer="units")[0]
    assert found.threshold(0, 0.5) == 5
    assert np.argwhere(found.responds(0, 0.5)).tolist() == [[2, 3]]


def test_an_overlay_is_the_heat_maps_own(photo):
    found = cnnviz.features(model_of(Small()), photo, layer="relu2", units="2")
    grid = found.grid(style="overlay", cmap="viridis")
    one = found[0][0]
    look = cnnviz.Look(cmap="viridis")
    expected = one.overlay(look, found[0].scale(0, look))
    left, top, right, bottom = (round(edge) for edge in one.geometry.box)
    assert np.array_equal(grid.sheet.rows[0][1].pixels, expected[top:bottom, left:right])
    assert str(one.target) == "relu2:2"
    assert one.score == pytest.approx(one.values.mean())


def test_a_masked_photograph_keeps_its_colours_inside_and_loses_them_outside():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    shown = np.zeros((5, 7), dtype=bool)
    shown[1:3, 2:4] = True
    drawn = masked(pixels, shown)
    assert np.array_equal(drawn[shown], pixels[shown])
    assert (drawn[~shown] == drawn[~shown][:, :1]).all()
    assert drawn[~shown].max() < 100
    with pytest.raises(ParameterError, match=r"mask is \(2, 2\)"):
        masked(pixels, shown[:2, :2])


def test_files(tmp_path, photo):
    found = cnnviz.features(model_of(Small()), [photo, photo[::-1].copy()], layer="relu2", most=3)
    held = np.load(found.save(tmp_path / "maps.npz"))
    assert np.array_equal(held["values"], found.values)
    assert held["units"].shape == (2, 3)
    for style in ("maps", "overlay", "masked"):
        found.save(tmp_path / f"{style}.png", style=style)
    paths = found.save_each([tmp_path / "one.png", tmp_path / "two.png"], shared=True)
    assert [path.is_file() for path in paths] == [True, True]
    alone = found[0].save(tmp_path / "alone.npz")
    assert np.array_equal(np.load(alone)["values"], found.values[:1])
    assert found[1].provenance.images[0]["name"] == "image 2"
    assert found[0]._repr_png_() == found[:1]._repr_png_()
    assert found.plot(style="masked").get_size_inches()[0] > 1


def test_describing():
    said = cnnviz.features(known(1, 0), ramp(), layer="units", units="0-1")[0].describe()
    assert (said["layer"], said["units_in_layer"], said["silent"]) == ("units", 2, 1)
    assert said["units"][0] == {"unit": 0, "highest": 23.0, "lowest": 0.0, "mean": 11.5, "peak": [5, 3]}
    assert said["units"][1]["peak"] is None


def test_without_a_layer_the_one_that_maps_take(inputs):
    model = model_of(Small())
    found = cnnviz.features(model, inputs)
    assert np.array_equal(found, cnnviz.features(model, inputs, layer="last-spatial"))
    assert found.layer == cnnviz.choose_layer(model)
    assert (
        f"layer {found.layer}, chosen automatically: the last spatial layer that the top class depends on"
        in found.checks
    )


def test_questions_that_have_no_answer(inputs):
    model = model_of(Small())
    with pytest.raises(UnknownNameError, match=r"no layer 'conv7'"):
        cnnviz.features(model, inputs, layer="conv7")
    with pytest.raises(UsageError, match=r"Layer 'fc' has no spatial extent"):
        cnnviz.features(model, inputs, layer="fc")
    with pytest.raises(ParameterError, match="units 0 to 7; there is no unit 8"):
        cnnviz.features(model, inputs, layer="conv1", units="8")
    found = cnnviz.features(model, inputs, layer="conv1")
    with pytest.raises(ParameterError, match="style is one of maps, overlay, masked, not 'panel'"):
        found.grid(style="panel")
    with pytest.raises(ParameterError, match="quantile lies between 0 and 1"):
        found.grid(quantile=1)
    with pytest.raises(ParameterError, match="look has the fields"):
        found.grid(colour="red")


class Strided(nn.Module):
    """Each unit looks at every second pixel, from the first on."""

    def __init__(self) -> None:
        super().__init__()
        self.every = nn.Conv2d(1, 1, 1, stride=2, bias=False)
        nn.init.ones_(self.every.weight)

    def forward(self, x):
        return self.every(x).mean(dim=(2, 3))


def test_maps_lie_where_their_units_look():
    model = model_of(Strided(), mean=(0,), std=(1,), input_size=(6, 6), resize=None, labels=None)
    spike = torch.zeros(1, 1, 6, 6)
    spike[0, 0, 2, 2] = 1
    found = cnnviz.features(model, spike, layer="every")[0]
    assert found[0].peak() == (2, 2)
    assert np.argwhere(found.responds(0, 0.5)).tolist() == [[2, 2]]
    evenly = found.responds(0, 0.5, "pixel")
    assert not evenly[2, 2]
    grid, pixel = (
        cnnviz.features(model, spike, layer="every").grid(style="masked", align=way) for way in ("field", "pixel")
    )
    assert not np.array_equal(grid.sheet.rows[0][1].pixels, pixel.sheet.rows[0][1].pixels)
    assert ["stretched evenly" in " ".join(each.sheet.notes) for each in (grid, pixel)] == [False, True]


class Ceiling(nn.Module):
    """Its units are the picture times known factors, with a ceiling at the end."""

    def __init__(self, ceiling: nn.Module, *factors: float) -> None:
        super().__init__()
        self.units = nn.Conv2d(1, len(factors), 1, bias=False)
        self.act = ceiling
        with torch.no_grad():
            self.units.weight.copy_(torch.tensor(factors).view(-1, 1, 1, 1))

    def forward(self, x):
        return self.act(self.units(x)).mean(dim=(2, 3))


@pytest.mark.parametrize(
    "ceiling",
    [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(0, 6), nn.Hardsigmoid(), nn.Sigmoid()],
    ids=["relu6", "relu6-inplace", "hardtanh", "hardsigmoid", "sigmoid"],
)
def test_units_at_a_ceiling_are_ranked_by_their_value_before_it(ceiling):
    net = Ceiling(ceiling, 1.0, 4.0, 2.0, 0.1, 3.0)
    model = model_of(net, mean=(0,), std=(1,), input_size=(4, 6), resize=None, labels=None)
    found = cnnviz.features(model, ramp(), layer="act")[0]
    assert found.units == (1, 4, 2, 0, 3)
    assert found.before == pytest.approx((92.0, 69.0, 46.0, 23.0, 2.3))
    assert np.array_equal(found.values, ceiling(ramp() * torch.tensor([4.0, 3, 2, 1, 0.1]).view(1, 5, 1, 1)).numpy()[0])
    peaks = [one["highest_before_ceiling"] for one in found.describe()["units"]]
    assert peaks == list(found.before)
    assert found.rows(cnnviz.results.features.FeatureLook())[0][1].caption.endswith(")\n92 before the ceiling")


def test_without_a_ceiling_nothing_is_said_of_one():
    found = cnnviz.features(known(1.0, 3.0), ramp(), layer="units")[0]
    assert found.before == ()
    assert "highest_before_ceiling" not in found.describe()["units"][0]
