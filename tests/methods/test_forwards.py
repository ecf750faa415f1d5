"""How often a map of scores asks the network and its private copy, and with how many pictures at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.engine.windows import route as route_module
from cnnviz.methods.cams import kept as kept_module
from cnnviz.methods.cams.kept import keeping_answers
from cnnviz.methods.occlusion import windows as regions_module
from tests.support.networks import Small, model_of

AGAIN = [2]
"""Once a model that no copy was compared with: whether a picture is answered alike with another one beside it."""


class Tally(list):
    """A list that a copy of its network shares."""

    def __deepcopy__(self, memo):
        return self


class Counted(Small):
    """Notes which network is asked, itself or a copy, and about how many pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Tally()

    def forward(self, x):
        if not x.is_meta:
            self.asked.append((id(self), len(x)))
        return super().forward(x)


def batches(net: Counted) -> tuple[list[int], list[int]]:
    """How many pictures the network itself was asked about each time, and how many its copy."""
    own = [count for asked, count in net.asked if asked == id(net)]
    return own, [count for asked, count in net.asked if asked != id(net)]


def asked(net: Counted) -> int:
    """How many pictures went through the network itself."""
    return sum(batches(net)[0])


@pytest.fixture
def net() -> Counted:
    return Counted()


@pytest.fixture
def sections(net, monkeypatch) -> int:
    """Runs of the copy for a question about windows alone; stops at gates cost nothing, so that there are some."""
    monkeypatch.setattr(route_module, "STOP", 0)
    monkeypatch.setattr(route_module, "COPY", 0)
    monkeypatch.setattr(regions_module, "WORTH", 1)
    return 2


def test_an_occlusion_map_window_by_window(net, sections, inputs):
    found = cnnviz.occlusion(model_of(net), inputs[:1], 1, window=8, stride=4, batch_size=25)
    assert found.checks == ()
    own, copies = batches(net)
    compared = [2] * sections + [2]
    assert own == [1]
    assert copies == [1, *compared, *[25] * sections, *[25] * sections]


def test_an_occlusion_map_of_whole_pictures(net, inputs):
    cnnviz.occlusion(model_of(net), inputs[:1], 1, window=16, stride=16)
    assert batches(net) == ([1], [1, 5])


def test_bfloat16_is_compared_too(net, sections, inputs):
    cnnviz.occlusion(model_of(net), inputs[:1], 1, window=8, stride=4, batch_size=50, precision="bfloat16")
    own, copies = batches(net)
    assert own == [1]
    assert copies == [1, 1, *[2] * sections, 2, *[50] * sections]


def test_several_pictures_with_several_targets(net, sections, inputs):
    one, other = inputs[0], inputs[1]
    found = cnnviz.occlusion(model_of(net), [one, other, one], [None, 2, 0], window=8, stride=4, batch_size=50)
    own, copies = batches(net)
    windows = [*[2] * sections, 2, *[50] * sections]
    assert own == [1, 1]
    assert copies == [1, *windows, 1, *windows]
    with torch.no_grad():
        expected = net.eval()(inputs).softmax(dim=1)
    top = int(expected[0].argmax())
    assert [target.index for target in found.targets] == [top, 2, 0]
    assert np.allclose(found.scores, [expected[0, top], expected[1, 2], expected[0, 0]], atol=1e-6)


def test_rise(net, inputs):
    cnnviz.rise(model_of(net), inputs[:1], 1, masks=20, batch_size=10)
    assert batches(net) == ([1], [1, 10, 10])


def test_scorecam(net, inputs):
    cnnviz.scorecam(model_of(net), inputs[:1], 1, layer="conv2", batch_size=3)
    assert batches(net) == ([1, 1, *AGAIN], [1, 3, 3])


@pytest.mark.parametrize(("target", "fixed", "own"), [("relu2:1", None, [1, 25, 25, *AGAIN]), (1, 10, [10] * 6)])
@pytest.mark.usefixtures("sections")
def test_where_there_is_no_copy(net, inputs, target, fixed, own):
    model = model_of(net, fixed_batch=fixed)
    cnnviz.occlusion(model, inputs[:1], target, window=8, stride=4, batch_size=25)
    assert batches(net) == (own, [])


FAMILY = "gradcam,gradcam++,xgradcam,hirescam,layercam,eigengradcam,eigencam"


def test_maps_of_one_layer_share_a_forward(net, inputs):
    model = model_of(net)
    cnnviz.layercam(model, inputs, layer="relu2")  # what is learnt about a layer the first time is no part of it
    net.asked.clear()
    alone = {name: cnnviz.catalogue.load(name)(model, inputs, layer="relu2") for name in FAMILY.split(",")}
    each = asked(net)
    net.asked.clear()
    with keeping_answers() as kept:
        together = {name: cnnviz.catalogue.load(name)(model, inputs, layer="relu2") for name in FAMILY.split(",")}
    spared = kept.forwards
    assert spared == 6 * len(inputs)
    assert each - asked(net) == spared
    for name, maps in together.items():
        assert np.array_equal(maps.upsampled(), alone[name].upsampled())
        assert maps.checks == alone[name].checks
        assert maps.provenance == alone[name].provenance


def test_compare_shares_it(net, inputs):
    model = model_of(net)
    cnnviz.layercam(model, inputs, 1, layer="relu2")
    counts = []
    for methods in ("gradcam", "layercam", "gradcam,layercam"):
        net.asked.clear()
        cnnviz.compare(model, inputs, methods, 1, layer="relu2")
        counts.append(asked(net))
    assert counts[2] == counts[0] + counts[1] - len(inputs)


@pytest.mark.parametrize("changed", ["weights", "data", "picture", "target", "network", "layer"])
def test_a_kept_answer_is_never_stale(inputs, changed):
    net = Small()
    model, other, target, layer = model_of(net), inputs.clone(), 1, "relu2"
    with keeping_answers() as kept:
        cnnviz.gradcam(model, inputs, 1, layer="relu2")
        with torch.no_grad():
            if changed == "weights":
                net.conv2.weight.mul_(-1)
            elif changed == "data":
                net.conv2.weight.data.mul_(-1)
            elif changed == "picture":
                other[0, 0, 0, 0] += 1e-3
            elif changed == "target":
                target = 0
            elif changed == "network":
                model = model_of(Small())
            else:
                layer = "conv2"
        found = cnnviz.gradcam(model, other, target, layer=layer)
        assert kept.forwards == 0
    assert np.array_equal(found.upsampled(), cnnviz.gradcam(model, other, target, layer=layer).upsampled())


def test_nothing_is_kept_afterwards_and_little_meanwhile(net, inputs, monkeypatch):
    model = model_of(net)
    cnnviz.gradcam(model, inputs, 1, layer="relu2")
    with pytest.raises(cnnviz.CnnvizError), keeping_answers() as kept:
        cnnviz.gradcam(model, inputs, "no such class", layer="relu2")
    with keeping_answers() as kept:
        monkeypatch.setattr(kept_module, "MOST_BYTES", 10)
        cnnviz.gradcam(model, inputs, 1, layer="relu2")
        cnnviz.layercam(model, inputs, 1, layer="relu2")
        assert kept.forwards == 0
        with keeping_answers() as inner:
            assert inner is kept
