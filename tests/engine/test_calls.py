"""Which call of a layer is meant, in capture, replay and every method: the last that is made from the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.engine.capture import capture
from cnnviz.engine.replay import replay
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError, UsageError
from tests.support.networks import model_of

SIZE = 16


class Nested(nn.Module):
    """A block with a part that runs twice, itself run as often as is asked for."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
        self.act, self.fc = nn.Tanh(), nn.Linear(3, 2)
        self.double()

    def forward(self, x):
        for _ in range(self.times):
            x = self.act(self.block[1](self.block(x)))
        return self.fc(x.mean((2, 3)))


def by_hook(
    net: nn.Module, inputs: torch.Tensor, layer: str, call: int, change=None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the whole network with a call's output changed by a hook, and that output."""
    count, kept = [0], []

    def hook(_part, _inputs, output):
        count[0] += 1
        if count[0] != call:
            return None
        kept.append(output.clone())
        return output if change is None else change(output.clone())

    handle = net.get_submodule(layer).register_forward_hook(hook)
    with torch.no_grad():
        logits = net(inputs)
    handle.remove()
    return logits, kept[0]


def without(channel: int):
    def change(output):
        output[:, channel] = 0
        return output

    return change


def ablated(net: nn.Module, inputs: torch.Tensor, layer: str, call: int) -> np.ndarray:
    """Ablation-CAM of class 1, channel by channel, with the whole network each time."""
    logits, maps = by_hook(net, inputs, layer, call)
    whole = logits[0, 1]
    drops = [(whole - by_hook(net, inputs, layer, call, without(each))[0][0, 1]) / whole.abs() for each in range(3)]
    return sum(drop * maps[0, each] for each, drop in enumerate(drops)).numpy()


@pytest.mark.parametrize(
    ("times", "layer", "call"),
    [(2, "block.0", 2), (3, "block.0", 3), (2, "block.1.0", 4), (3, "block.1", 6), (3, "block.0#2", 2)]
    + [(2, "block.1.0#3", 3), (3, "act#1", 1), (2, "block#2", 2)],
)
def test_a_replay_of_blocks_inside_blocks_is_the_whole_network_with_a_hook(times, layer, call):
    torch.manual_seed(1)
    net, inputs = Nested(times).eval(), torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64)
    model = model_of(net, input_size=SIZE, labels=None, mean=(0.0,), std=(1.0,))
    right = ablated(net, inputs, layer.partition("#")[0], call)
    found = cnnviz.ablationcam(model, inputs, 1, layer=layer, relu=False)
    assert abs(right).max() > 1e-5
    np.testing.assert_allclose(found.values[0], right, rtol=1e-5, atol=1e-10)
    assert not [check for check in found.checks if "not exact" in check]


def test_recipro_cam_of_a_block_that_runs_twice():
    net, inputs = Nested(2).eval(), torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64)
    model = model_of(net, input_size=SIZE, labels=None, mean=(0.0,), std=(1.0,))
    found = cnnviz.reciprocam(model, inputs, 1, layer="block.0", score="logit", blur=False, relu=False).values[0]

    def only(output):
        kept = torch.zeros_like(output)
        kept[:, :, 5, 7] = output[:, :, 5, 7]
        return kept

    logits, _ = by_hook(net, inputs, "block.0", 2, only)
    assert found[5, 7] == pytest.approx(float(logits[0, 1]), rel=1e-6)
    assert np.ptp(found) > 1e-4


def test_a_unit_after_a_replayed_call_is_counted_in_the_whole_forward():
    net, inputs = Nested(3).double().eval(), torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64)
    with undisturbed(net), torch.no_grad(), replay(net, net, inputs, "block.0#2") as found:
        for name, call in (("block.1.0", 6), ("block.1.0#4", 4), ("block.1.0#3", 3), ("act#2", 2)):
            assert found.decides(name)
            with found.watching([name]) as caught:
                found(found.activation * 2)
            count, kept = [0], {}

            def keep(_part, _inputs, output, count=count, kept=kept):
                count[0] += 1
                kept[count[0]] = output

            handle = net.get_submodule(name.partition("#")[0]).register_forward_hook(keep)
            by_hook(net, inputs, "block.0", 2, lambda output: output * 2)
            handle.remove()
            torch.testing.assert_close(caught.watched[name], kept[call])
        assert not found.decides("block.1.0#2")


class Forgets(nn.Module):
    """Runs its middle layer in its first forward only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.fc = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)
        self.runs = 0

    def forward(self, x):
        x, self.runs = self.first(x), self.runs + 1
        aside = self.middle(x).mean() if self.runs == 1 else 0
        return self.fc(x.mean((2, 3))) + 0 * aside


def test_a_replay_that_never_comes_to_the_layer_is_refused():
    net = Forgets().eval()
    with pytest.raises(ExplanationError, match="nothing can be"), replay(net, net, torch.rand(1, 3, 8, 8), "middle"):
        pass


def test_an_answer_that_does_not_come_to_the_layer_is_refused():
    class Skips(Forgets):
        def forward(self, x):
            x = self.first(x)
            return self.fc((x if self.runs else self.middle(x)).mean((2, 3)))

    net = Skips().eval()
    with torch.no_grad(), replay(net, net, torch.rand(1, 3, 8, 8), "middle") as found:
        found(found.activation)
        net.runs = 1
        with pytest.raises(ExplanationError, match="did not run layer 'middle' again"):
            found(found.activation)


class Pair(nn.Module):
    """Siamese: the other picture is a buffer, and its encoder runs last, alone or as often as there are pictures."""

    def __init__(self, *, expand: bool, last: str = "other") -> None:
        super().__init__()
        self.conv, self.act, self.expand, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), expand, last
        self.conv.weight.data = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
        self.conv.bias.data.zero_()
        other = torch.zeros(1, 1, 32, 32)
        other[..., 24:28, 24:28] = 1
        self.register_buffer("other", other)

    def encode(self, x):
        return self.act(self.conv(x)).mean((2, 3))

    def forward(self, x):
        other = self.other.expand(len(x), -1, -1, -1) if self.expand else self.other
        mine, theirs = (self.encode(x), self.encode(other)) if self.last == "other" else (self.encode(other), None)
        theirs = self.encode(x) if theirs is None else theirs
        return (mine * theirs).sum(1, keepdim=True)


def picture() -> torch.Tensor:
    mine = torch.zeros(2, 1, 32, 32)
    mine[..., 4:8, 4:8] = 1
    return mine


def siamese(**how) -> cnnviz.Model:
    return model_of(Pair(**how).eval(), channels=1, mean=(0.0,), std=(1.0,), labels=None)


METHODS = ("gradcam", "xgradcam", "hirescam", "layercam", "ablationcam", "reciprocam", "eigencam", "scorecam", "cam")


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("layer", [None, "conv", "act"])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("cam", "scorecam", "reciprocam")])
def test_siamese_networks_show_the_picture_that_was_given(name, layer, expand):
    found = getattr(cnnviz, name)(siamese(expand=expand), picture()[:1], layer=layer)
    row, column = np.unravel_index(abs(found.values[0]).argmax(), found.values[0].shape)
    assert 3 <= row <= 8
    assert 3 <= column <= 8
    assert any("its last run from the picture" in check and "#1" in check for check in found.checks)


def test_siamese_networks_in_methods_about_units():
    model, inputs = siamese(expand=True), picture()
    shown = cnnviz.features(model, inputs, layer="act", units="0").values[0, 0]
    assert shown[:10, :10].max() > 0
    assert shown[20:, 20:].max() == 0
    concepts = cnnviz.dff(model, inputs, layer="act", concepts=1)
    assert np.unravel_index(concepts.values[0, 0].argmax(), (32, 32))[0] <= 8
    unit = cnnviz.saliency(model, inputs, "act:0")
    assert abs(unit.values).max() > 0
    assert model.layers["act"].call == 1
    assert model.layers["act"].field is not None


def test_the_picture_may_come_last():
    model = siamese(expand=True, last="mine")
    found = cnnviz.gradcam(model, picture(), layer="act")
    assert model.layers["act"].call == 2
    assert any("its last run is shown, ask for act#1 for another" in check for check in found.checks)
    with pytest.raises(UsageError, match="'act#1' is not made from the picture"):
        cnnviz.gradcam(model, picture(), layer="act#1")


def test_a_network_whose_input_nobody_can_follow_means_its_last_call():
    class Through(Pair):
        def forward(self, x):
            return super().forward(torch.from_numpy(x.numpy().copy()))

    net = Through(expand=True).eval()
    with undisturbed(net), capture(net, ["act"]) as caught:
        net(picture())
    assert caught.calls["act"] == 2
    torch.testing.assert_close(caught.activations["act"], net.act(net.conv(net.other.expand(2, -1, -1, -1))))


class Levels(nn.Module):
    """One head on three levels of a pyramid, as detectors have it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x):
        level = self.body(x)
        found = []
        for _ in range(3):
            found.append(self.head(functional.relu(level)).mean((2, 3)))
            level = functional.avg_pool2d(level, 2)
        return sum(found)


@pytest.mark.parametrize("name", ["gradcam", "ablationcam", "eigencam", "features", "dff"])
def test_every_method_says_which_call_it_shows(name, inputs):
    model = model_of(Levels().eval())
    keyed = {"target": 1} if name in ("gradcam", "ablationcam") else {}
    found = getattr(cnnviz, name)(model, inputs, layer="head", **keyed)
    assert found.values.shape[-2:] == (4, 4)
    said = "layer head runs 3 times in a forward; its last run is shown, ask for head#1 for another"
    assert said in found.checks
    first = getattr(cnnviz, name)(model, inputs, layer="head#1", **keyed)
    assert first.values.shape[-2:] == (16, 16)
    assert not any("runs 3 times" in check for check in first.checks)
