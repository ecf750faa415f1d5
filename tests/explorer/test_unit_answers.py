"""What a unit is asked: its map, kernel, wiring, what switching it off changes, and its top patches."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.explorer.exploration import Exploration
from cnnviz.explorer.questions.unit_answers import tile_kernels
from cnnviz.explorer.questions.wiring import wiring_of
from tests.support.visitor import Visitor, picture, spell

UNIT = "api/networks/0/layers/{}/units/{}"
ASK = spell({"picture": "scene-0.png"})


def without(network, inputs, layer, unit):
    """Logits with a unit at zero, by a plain hook."""

    def off(_module, _given, output):
        changed = output.clone()
        changed[:, unit] = 0
        return changed

    hook = network.module.get_submodule(layer).register_forward_hook(off)
    try:
        with torch.no_grad():
            return network.module(inputs)[0].double()
    finally:
        hook.remove()


@pytest.mark.parametrize(("layer", "unit"), [("layer3", 46), ("layer2.0.conv2", 5), ("relu", 3), ("avgpool", 31)])
def test_switching_a_unit_off_changes_the_answer_as_a_hook_that_zeroes_it_does(visitor, network, scene, layer, unit):
    found = visitor.get(UNIT.format(layer, unit), picture="scene-0.png")
    inputs, _ = network.preprocess(scene)
    network.module.eval()
    with torch.no_grad():
        before = network.module(inputs[None])[0].double()
    after = without(network, inputs[None], layer, unit)
    shares = [each.softmax(dim=0).tolist() for each in (before, after)]
    assert len(found["off"]["classes"]) == 10
    for one in found["off"]["classes"]:
        assert one["before"]["probability"] == pytest.approx(shares[0][one["index"]], abs=1e-5)
        assert one["after"]["probability"] == pytest.approx(shares[1][one["index"]], abs=1e-5)
        assert one["after"]["logit"] == pytest.approx(float(after[one["index"]]), abs=1e-4)
    for one in found["classes"]:
        assert one["effect"] == pytest.approx(float(before[one["index"]] - after[one["index"]]), abs=1e-4)
    assert found["classes"][0]["effect"] == max(one["effect"] for one in found["classes"])


def test_a_unit_has_its_map_and_what_made_it(visitor, network, scene):
    found = visitor.get(UNIT.format("layer3", 46), picture="scene-0.png")
    wanted = cnnviz.features(network, scene, layer="layer3", units="46")[0][0]
    assert (found["value"], found["mean"]) == (pytest.approx(wanted.values.max()), pytest.approx(wanted.values.mean()))
    drawn = np.asarray(Image.open(io.BytesIO(visitor.file(found["map"]["image"]))))
    assert np.array_equal(drawn, wanted.overlay())
    assert found["map"]["command"] == "cnnviz features --model shapes-resnet --layer layer3 --units 46 scene-0.png"
    assert visitor.file(f"api/figures?of={found['map']['id']}")[:4] == b"\x89PNG"
    assert found["patches"] is None
    back = np.asarray(Image.open(io.BytesIO(visitor.file(found["projections"][0]))))
    assert back.shape == (64, 64, 3)
    assert back.std() > 1


def test_a_unit_has_its_kernel_and_its_likes(visitor, network):
    found = visitor.get(UNIT.format("relu", 3), picture="scene-0.png")
    weights = network.module.conv1.weight.detach().double()
    assert found["kernel"]["of"] == "conv1"
    assert found["kernel"]["shape"] == [3, 5, 5]
    assert found["kernel"]["norm"] == pytest.approx(float(weights[3].norm()))
    assert np.asarray(Image.open(io.BytesIO(visitor.file(found["kernel"]["image"])))).shape == (40, 40, 3)
    likeness = functional.cosine_similarity(weights.flatten(1), weights[3].flatten()[None]).numpy()
    likeness[3] = -2
    assert found["nearest_by"] == "kernels"
    assert [one["unit"] for one in found["nearest"]] == np.argsort(-likeness)[:6].tolist()
    assert [one["similarity"] for one in found["nearest"]] == pytest.approx(np.sort(likeness)[::-1][:6])
    assert {one["layer"] for one in found["outputs"]} == {"layer1.0.conv1"}
    wide = network.module.layer1[0].conv1.weight.detach().double()
    order = wide[:, 3].flatten(1).norm(dim=1).argsort(descending=True)[:8].tolist()
    assert [one["unit"] for one in found["outputs"]] == order
    assert found["outputs"][0]["weight"] == pytest.approx(float(wide[order[0], 3].sum()))


class Wired(nn.Module):
    """Groups, a depthwise convolution, a residual sum and a container that hands on what its part returned."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.grouped = nn.Conv2d(6, 4, 1, groups=2)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.last = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        maps = self.grouped(self.stem(images))
        return self.head(self.last(maps + self.deep(maps)).mean(dim=(2, 3)))


def test_wiring_follows_the_very_tensors_that_layers_hand_on():
    torch.manual_seed(1)
    model = cnnviz.Model(Wired(), mean=[0, 0, 0], std=[1, 1, 1], input_size=16)
    exploration = Exploration([model], [])
    try:
        found = wiring_of(exploration, exploration.networks[0])
        assert found.kernel_of("stem").name == found.kernel_of("stem.1").name == "stem.0"
        assert found.kernel_of("head") is None
        assert found.inputs_of("stem", 2)[0]["layer"] is None
        weights = model.module.grouped.weight.detach()[:, :, 0, 0]
        assert {(one["unit"], round(one["weight"], 5)) for one in found.inputs_of("grouped", 3)} == {
            (3 + at, round(float(weights[3, at]), 5)) for at in range(3)
        }
        assert {one["layer"] for one in found.inputs_of("grouped", 0)} == {"stem.2"}
        assert found.inputs_of("deep", 2)[0]["unit"] == 2
        reads = found.outputs_of("stem", 4)
        assert {(one["layer"], one["unit"]) for one in reads} == {("grouped", 2), ("grouped", 3)}
        by_unit = {one["unit"]: one["weight"] for one in reads}
        assert by_unit[2] == pytest.approx(float(weights[2, 1]))
        assert {(one["layer"], one["unit"]) for one in found.outputs_of("grouped", 1)} == {("deep", 1)}
        assert {one["layer"] for one in found.inputs_of("last", 0)} == {None}  # a sum between the layers
    finally:
        exploration.worker.stop()


def test_a_unit_s_page_from_an_index(indexed, network):
    found = indexed.get(UNIT.format("layer3", 46), picture="data:0")
    assert found["patches"] == {"ready": True, "scannable": False}
    assert indexed.get(UNIT.format("layer2", 1), picture="data:0")["patches"] == {"ready": False, "scannable": True}
    told = indexed.get(f"{UNIT.format('layer3', 46)}/patches")
    wanted = cnnviz.patches(network, "shapes:40", layer="layer3", units="46", samples=1, workers=0, deconvnet=True)
    top = wanted.top.describe(0)
    assert [one["name"] for one in told["tiles"]] == [one["key"] for one in top]
    assert [one["value"] for one in told["tiles"]] == [one["value"] for one in top]
    assert [one["key"] for one in told["tiles"]] == [f"data:{one['image']}" for one in top]
    assert len(told["deciles"]) == len(wanted.samples.describe(0)) > 5
    assert told["active"] == pytest.approx(wanted.active[0] / 40)
    assert told["preference"] == wanted.matrix.preference(46)
    assert told["histogram"]["levels"] == sorted(told["histogram"]["levels"])
    assert told["histogram"]["values"] == sorted(told["histogram"]["values"])
    assert any("verified" in note for note in told["notes"])
    first = np.asarray(Image.open(io.BytesIO(indexed.file(told["tiles"][0]["image"]))))
    assert first.shape[2] == 3
    assert np.asarray(Image.open(io.BytesIO(indexed.file(told["tiles"][0]["projection"])))).std() > 1
    assert indexed.refused(f"{UNIT.format('layer3', 64)}/patches")[0] == 422
    assert indexed.refused(f"{UNIT.format('layer2', 1)}/patches")[0] == 404


def test_the_data_set_s_pictures_are_listed_with_their_classes(indexed, network):
    told = indexed.get("api/data", **{"from": 38, "count": 9})
    assert told["total"] == 40
    assert [one["key"] for one in told["pictures"]] == ["data:38", "data:39"]
    data = cnnviz.open_dataset("shapes:40")
    assert told["pictures"][1]["label"] == data.classes[data.label(39)]
    shown = np.asarray(Image.open(io.BytesIO(indexed.file("api/pictures/data%3A39.png"))))
    assert np.array_equal(shown, data.picture(39).pixels)
    assert len(indexed.get(f"{picture('data:39')}/classes")["classes"]) == 10
    for key in ("data%3A40", "data%3A-1", "data%3Ax", "data%3A99999999999999999999"):
        assert indexed.refused(f"api/pictures/{key}.png")[0] == 404


def test_an_index_of_another_network_or_data_set_is_refused_at_once(network, tmp_path):
    cnnviz.scan_patches(network, "shapes:8", tmp_path, layer="layer3", workers=0)
    with pytest.raises(cnnviz.CnnvizError, match="index is of the data set"):
        cnnviz.explore(network, [], data="shapes:9", index=tmp_path)
    with pytest.raises(cnnviz.CnnvizError, match="index is of the network"):
        cnnviz.explore(cnnviz.load_model("shapes-vgg", device="cpu"), [], index=tmp_path)
    with cnnviz.explore(network, index=tmp_path) as running:
        told = Visitor(running).get(f"{UNIT.format('layer3', 4)}/patches")
    assert told["tiles"] == []
    assert "start the explorer with --data" in told["notes"][0]
    assert len(told["histogram"]["values"]) == len(told["histogram"]["levels"])


def test_kernels_are_drawn_in_about_a_square():
    tiles = [np.full((3, 2, 3), number, np.uint8) for number in range(5)]
    drawn = tile_kernels(tiles)
    assert drawn.shape == (7, 8, 3)
    assert [int(drawn[4 * (at // 3), 3 * (at % 3), 0]) for at in range(5)] == [0, 1, 2, 3, 4]
    assert (drawn[3] == 128).all()
    assert (drawn[4:, 6:] == 128).all()


@pytest.mark.parametrize("path", ["layer3/units/64", "layer3/units/99999999", "layer9/units/0"])
def test_a_unit_that_is_not_there_is_refused(visitor, path):
    assert visitor.refused(f"api/networks/0/layers/{path}{ASK}")[0] in (404, 422)
