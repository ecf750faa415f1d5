"""What layers are asked: all units' maps, what they add, what responds at a place, and what that sees."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnnviz
from cnnviz.explorer.questions.drawings import draw_sheets
from cnnviz.explorer.questions.layer_answers import unit_at
from tests.support.visitor import Visitor, picture, spell

SCENE = picture("scene-0.png")


def test_the_strip_names_every_layer_with_its_field(visitor, network):
    found = {one["name"]: one for one in visitor.get("api/networks/0/layers")}
    assert set(found) == set(network.layers)
    for name, layer in network.layers.items():
        told = found[name]
        assert (told["kind"], told["parameters"], told["spatial"]) == (layer.kind, layer.parameters, layer.spatial)
        if layer.spatial:
            assert told["shape"] == list(layer.shape)
            assert told["units"] == layer.shape[0]
            assert (told["field"]["size"], told["field"]["stride"]) == ([*layer.field.size], [*layer.field.stride])
    assert found["layer2"]["container"]
    assert not found["layer2.0.conv1"]["container"]
    order = [name for name in found if name in ("conv1", "layer1", "layer3.1.conv2", "fc")]
    assert order == ["conv1", "layer1", "layer3.1.conv2", "fc"]


def test_all_units_have_the_layer_s_values_and_add_up_to_the_logit(visitor, network, scene):
    found = visitor.get(f"{SCENE}/layers/layer3", target="arrow")
    maps = cnnviz.features(network, scene, layer="layer3", units="all")[0].values
    assert (found["units"], found["grid"]) == (64, [8, 8])
    assert found["peak"] == pytest.approx(maps.max(axis=(1, 2)), rel=1e-5)
    assert found["mean"] == pytest.approx(maps.mean(axis=(1, 2)), rel=1e-5)
    head = network.module.fc
    wanted = head.weight[8].detach().numpy() * maps.mean(axis=(1, 2))
    assert found["contribution"] == pytest.approx(wanted, rel=1e-3, abs=1e-4)
    score = cnnviz.gradcam(network, scene, "arrow")[0].score
    assert sum(found["contribution"]) + float(head.bias.detach()[8]) == pytest.approx(score, rel=1e-4)


def test_sheets_hold_each_unit_at_its_place(visitor, network, scene):
    maps = cnnviz.features(network, scene, layer="layer3", units="all")[0].values
    for scale in ("own", "shared"):
        sprite = visitor.get(f"{SCENE}/layers/layer3", scale=scale)["sprite"]
        assert (sprite["tile"], sprite["columns"], sprite["rows"], sprite["signed"]) == ([8, 8], 256, 256, False)
        page = np.asarray(Image.open(io.BytesIO(visitor.file(sprite["pages"][0]))))
        assert page.shape == (8, 512)
        for unit in (0, 17, 63):
            row, column = divmod(unit, sprite["columns"])
            tile = page[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            high = maps[unit].max() if scale == "own" else maps.max()
            assert np.abs(tile - 255 * maps[unit] / high).max() <= 0.51
            assert sprite["high"][unit] == pytest.approx(float(high), rel=1e-5)


def test_sheets_of_thousands_of_units_are_several_pictures_of_at_most_2048():
    values = np.arange(2000, dtype=np.float32)[:, None, None] * np.ones((1, 56, 56), np.float32) - 3
    sheets = draw_sheets(values, shared=True)
    assert sheets.signed
    assert len(sheets.pages) == 2
    assert all(max(page.shape) <= 2048 for page in sheets.pages)
    each = sheets.columns * sheets.rows
    for unit in (0, 3, 1295, 1296, 1999):
        row, column = divmod(unit % each, sheets.columns)
        tile = sheets.pages[unit // each][56 * row : 56 * (row + 1), 56 * column : 56 * (column + 1)]
        assert np.unique(tile).tolist() == [round(255 * (unit - 3 + 1996) / (2 * 1996))]
    assert draw_sheets(np.full((2, 3, 3), np.nan, np.float32), shared=False).pages[0].max() == 0
    assert draw_sheets(np.ones((2, 200, 100), np.float32), shared=False).tile == (64, 32)


@pytest.mark.parametrize("layer", ["conv1", "layer2.0.conv2", "layer3"])
@pytest.mark.parametrize("at", [(0, 0), (13.2, 40.9), (63.9, 63.9), (31.5, 7)])
def test_a_place_has_the_field_that_the_layer_says_and_its_strongest_units(visitor, network, scene, layer, at):
    found = visitor.get(f"{SCENE}/layers/{layer}/place", x=at[0], y=at[1])
    row, column = found["position"]
    field = network.layers[layer].field
    top, left, bottom, right = field.box(row, column, 64, 64)
    assert found["box"] == [left, top, right, bottom]
    grid = np.array(np.meshgrid(*(span.middles() for span in field.spans), indexing="ij"))
    away = np.abs(grid - np.array([at[1] - 0.5, at[0] - 0.5])[:, None, None]).sum(axis=0)
    assert away[row, column] == away.min()
    maps = cnnviz.features(network, scene, layer=layer, units="all")[0].values[:, row, column]
    assert [one["unit"] for one in found["units"]] == np.argsort(-maps, kind="stable")[:12].tolist()
    assert [one["value"] for one in found["units"]] == pytest.approx(sorted(maps, reverse=True)[:12], rel=1e-4)


def test_places_without_a_box_are_spread_evenly():
    assert unit_at(None, (63.0, 0.0), (64, 64), (4, 8)) == (3, 0)
    assert unit_at(None, (31.9, 8.0), (64, 64), (4, 8)) == (1, 1)


@pytest.mark.parametrize("at", [{"x": -1, "y": 3}, {"x": 64, "y": 3}, {"x": "nan", "y": 3}, {"x": "a", "y": 3}, {}])
def test_a_place_outside_is_refused(visitor, at):
    assert visitor.refused(f"{SCENE}/layers/layer3/place{spell(at)}")[0] == 422


def test_layers_without_places_or_apart_from_the_class(visitor):
    found = visitor.get(f"{SCENE}/layers/fc")
    assert (found["grid"], found["contribution"]) == ([1, 1], None)
    assert len(found["peak"]) == 10
    assert visitor.refused(f"{SCENE}/layers/fc/place?x=1&y=1")[1].startswith("Layer 'fc' has no places")
    assert "Did you mean" in visitor.refused(f"{SCENE}/layers/layer4")[1]


def test_a_whole_field_is_the_whole_picture():
    """A layer that looks everywhere outlines everything."""

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
            self.scaled = nn.Identity()

        def forward(self, images):
            maps = self.first(images)
            maps = self.scaled(maps - maps.mean(dim=(2, 3), keepdim=True))
            return self.head(maps.relu().mean(dim=(2, 3)))

    torch.manual_seed(0)
    model = cnnviz.Model(Whole(), mean=[0, 0, 0], std=[1, 1, 1], input_size=16)
    with cnnviz.explore(model, [np.full((16, 16, 3), 90, np.uint8)]) as running:
        found = Visitor(running).get(f"{picture('image')}/layers/scaled/place", x=3, y=4)
    field = model.layers["scaled"].field
    row, column = found["position"]
    top, left, bottom, right = field.box(row, column, 16, 16)
    assert (found["box"], found["kind"]) == ([left, top, right, bottom], field.kind)
