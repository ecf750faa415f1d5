"""maximize: what it converges to, that pictures are made each on their own, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import cnnviz
from cnnviz import Model
from cnnviz.core.aim import Direction, WholeLayer
from cnnviz.errors import ExplanationError, ParameterError, TargetError, UnknownNameError, UsageError
from cnnviz.methods.ascent.progress import watch_progress
from tests.support.networks import OneConvolution, Small, model_of

FEW = {"steps": 4, "crops": 2}
TARGETS = [0, 1, "relu2:3", "conv1:2", 2, "relu1:5@4,4", "cat - dog", "relu2:*"]


def cosine(one, other):
    one, other = (np.asarray(each, dtype=np.float64).ravel() for each in (one, other))
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


class Linear(nn.Module):
    def __init__(self, channels=3, side=8):
        super().__init__()
        self.fc = nn.Linear(channels * side * side, 4)
        nn.init.uniform_(self.fc.weight, -1, 1)

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.fixture
def convolution():
    torch.manual_seed(3)
    return Model(OneConvolution(), mean=(0.5,), std=(0.25,), input_size=9, channels=2)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_linear_models_picture_is_its_weights(channels):
    torch.manual_seed(0)
    net = Linear(channels)
    found = cnnviz.maximize(Model(net, mean=(0.5,), std=(0.25,), input_size=8, channels=channels), 2, recipe="simonyan")
    assert cosine(found.pixels[0] - 0.5, net.fc.weight[2].detach()) > 0.99999
    assert found.pixels[0].std() > 0.1


def test_waves_of_a_linear_model_point_along_its_weights():
    torch.manual_seed(0)
    net = Linear(side=16)
    model = Model(net, mean=(0.5,), std=(0.25,), input_size=16)
    found = cnnviz.maximize(model, 2, transformations="none", steps=200, crops=1, size=16)
    assert cosine(found.pixels[0] - 0.5, net.fc.weight[2].detach()) > 0.5
    assert found.history[0][-1] > found.history[0][0]


def test_a_unit_of_one_convolution_gets_its_filter(convolution):
    found = cnnviz.maximize(convolution, "conv:1@4,4", recipe="simonyan", rate=0.002, steps=200)
    moved = found.pixels[0] - 0.5
    kernel = convolution.module.conv.weight[1].detach().numpy()
    assert cosine(moved[:, 3:6, 3:6], kernel) > 0.9999
    moved[:, 3:6, 3:6] = 0
    assert np.abs(moved).max() < 1e-4


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_pictures_together_are_the_pictures_alone_bit_for_bit(small, count, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = cnnviz.maximize(small, TARGETS[:count], steps=2, crops=2)
        alone = [cnnviz.maximize(small, target, steps=2, crops=2) for target in TARGETS[:count]]
    finally:
        torch.set_num_threads(before)
    assert together.pixels.tobytes() == b"".join(each.pixels.tobytes() for each in alone)
    assert [each.tolist() for each in together.history] == [each.history[0].tolist() for each in alone]


@pytest.mark.parametrize("recipe", ["crops", "natural", "lucid", "dream", "simonyan", "yosinski"])
def test_every_recipe_raises_the_score_and_several_at_once_change_nothing_much(small, recipe):
    found = cnnviz.maximize(small, [0, 1, 2], recipe=recipe, steps=12)
    at_once = cnnviz.maximize(small, [0, 1, 2], recipe=recipe, steps=12, batch_size=3)
    assert all(history[-1] > history[0] for history in found.history)
    assert np.abs(found.pixels - at_once.pixels).max() < 2e-3
    assert found.pixels.min() >= 0
    assert found.pixels.max() <= 1


def test_seeds_and_repeats_give_other_pictures(small):
    first, second = cnnviz.maximize(small, [0, 0], **FEW).pixels
    [other] = cnnviz.maximize(small, 0, seed=1, **FEW).pixels
    assert np.abs(first - second).max() > 0.01
    assert np.abs(first - other).max() > 0.01


def flops(model, target, steps):
    with FlopCounterMode(display=False) as counter:
        cnnviz.maximize(model, target, steps=steps, crops=3)
    return counter.get_total_flops()


def test_the_forward_ends_at_the_layer_and_no_weight_has_a_gradient(small):
    assert small.layers
    per_step = {target: flops(small, target, 3) - flops(small, target, 2) for target in (0, "relu1:0")}
    convolution, linear = 2 * 6 * 8 * 9 * 8 * 8, 2 * 6 * 5
    assert per_step[0] - per_step["relu1:0"] == 3 * 2 * (convolution + linear)


def test_scores_are_of_the_clean_picture(convolution):
    vector = (1.0, -2.0, 0.5, 3.0)
    targets = [1, "conv:2", "conv:2@1,7", WholeLayer("conv"), Direction("conv", vector), lambda logits: logits.sum(1)]
    found = cnnviz.maximize(convolution, targets, **FEW, size=9)
    for image, expected in zip(found, range(6), strict=True):
        inputs = (torch.from_numpy(image.pixels).double()[None] - 0.5) / 0.25
        with torch.no_grad():
            maps = convolution.module.conv(inputs)[0]
            logits = convolution.module(inputs)
        unit = torch.tensor(vector).double() / np.linalg.norm(vector)
        scores = [
            logits[0, 1],
            maps[2].mean(),
            maps[2, 1, 7],
            maps.square().mean(),
            torch.einsum("chw,c->hw", maps, unit).mean(),
            logits.sum(),
        ]
        assert image.score == pytest.approx(float(scores[expected]), rel=1e-4)


def test_a_direction_from_a_file_and_a_whole_layer_by_name(small, tmp_path):
    np.save(tmp_path / "smile.npy", np.arange(6.0))
    found = cnnviz.maximize(small, [f"relu2:{tmp_path}/smile.npy", "relu2:*"], **FEW)
    assert [str(target) for target in found.targets] == ["relu2:smile", "relu2:*"]
    assert str(tmp_path) not in found.provenance.to_json()


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (None, TargetError, "What is the picture to show"),
        ([], TargetError, "no target"),
        ("top", TargetError, "What is the picture to show"),
        (7, TargetError, "classes are 0 to 4"),
        ("relu2:6", TargetError, "channels 0 to 5"),
        ("conv1:0@40,0", TargetError, "32x32 places"),
        ("relu9:*", UnknownNameError, "relu"),
        ("relu2:missing.npy", TargetError, "cannot be read"),
        (Direction("relu2", (1.0, 2.0)), TargetError, "2 numbers"),
        (WholeLayer("nowhere"), UnknownNameError, "nowhere"),
        ("mouse", UnknownNameError, "mouse"),
    ],
)
def test_targets_that_there_are_not(small, target, error, words):
    with pytest.raises(error, match=words):
        cnnviz.maximize(small, target, **FEW)


@pytest.mark.parametrize("vector", [(), (0.0, 0.0), (float("nan"), 1.0)])
def test_directions_that_lead_nowhere(vector):
    with pytest.raises(TargetError, match="direction"):
        Direction("relu2", vector)


def test_a_picture_to_start_from(small, photo):
    near = cnnviz.maximize(small, None, photo[:30, :40], steps=1, rate=1e-6, size=30)
    assert near.pixels.shape == (1, 3, 30, 40)
    started = photo[:30, :40].transpose(2, 0, 1) / 255
    assert np.abs(near.pixels[0] - started.clip(0.02, 0.98)).max() < 0.01
    assert near.targets == cnnviz.gradcam(small, photo[:30, :40]).targets
    assert near.provenance.images[0]["sha256"]
    with pytest.raises(UsageError, match="one picture; got 2"):
        cnnviz.maximize(small, 0, [photo, photo])
    with pytest.raises(ParameterError, match="size"):
        cnnviz.maximize(small, 0, size=5000)


def test_a_tensor_to_start_from_and_other_channels():
    torch.manual_seed(1)
    model = model_of(Small(channels=5), mean=(0.4,), std=(0.2,))
    start = torch.randn(5, 32, 32) * 0.5
    near = cnnviz.maximize(model, 1, start, recipe="dream", steps=1, rate=1e-6, size=32)
    assert np.abs(near.pixels[0] - (start * 0.2 + 0.4).clip(0.02, 0.98).numpy()).max() < 0.01
    with pytest.raises(UsageError, match="5 channels"):
        cnnviz.maximize(model, 1, torch.zeros(3, 32, 32))
    with pytest.raises(cnnviz.CnnvizError, match="float tensor"):
        cnnviz.maximize(model, 1, np.zeros((32, 32, 3), np.uint8))


def test_snapshots_moments_and_histories(small):
    told = []
    with watch_progress(told.append):
        found = cnnviz.maximize(small, [0, 1], steps=6, crops=1)
    assert [step for step, _ in found[0].snapshots] == [0, 1, 2, 4, 6]
    assert [(moment.picture, moment.step) for moment in told] == [(n, s) for n in (0, 1) for s in range(1, 7)]
    assert [moment.score for moment in told[:6]] == pytest.approx(found.history[0].tolist())
    evenly = cnnviz.maximize(small, 0, steps=6, crops=1, frames=4)
    assert [step for step, _ in evenly[0].snapshots] == [0, 2, 4, 6]
    assert np.array_equal(evenly[0].snapshots[-1][1], evenly[0].drawn)


class Stumbling(Small):
    """Raises something at its n-th forward on several samples."""

    def __init__(self, error, at):
        super().__init__()
        self.error, self.at, self.asked = error, at, [0]

    def __deepcopy__(self, memo):
        raise TypeError("this network is not copied")

    def forward(self, x):
        if len(x) == 3:
            self.asked[0] += 1
            if self.asked[0] == self.at:
                raise self.error
        return super().forward(x)


def test_an_interrupt_keeps_what_there_is():
    found = cnnviz.maximize(model_of(Stumbling(KeyboardInterrupt, 9)), [0, 1, 2], steps=6, crops=3)
    assert [len(history) for history in found.history] == [6, 2]
    assert "interrupted after step 2 of 6" in found[1].checks
    assert any("1 of 3 pictures were not begun" in check for check in found.checks)
    with pytest.raises(KeyboardInterrupt):
        cnnviz.maximize(model_of(Stumbling(KeyboardInterrupt, 1)), 0, steps=6, crops=3)


class Tight(Small):
    def forward(self, x):
        if len(x) > 4 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("no room")
        return super().forward(x)


def test_out_of_memory_halves_and_goes_on():
    torch.manual_seed(0)
    model = model_of(Tight())
    found = cnnviz.maximize(model, [0, 1, 2], batch_size=3, **FEW)
    assert any("out of memory" in check for check in found.checks)
    assert found.pixels.tobytes() == cnnviz.maximize(model, [0, 1, 2], **FEW).pixels.tobytes()


def test_a_plateau_ends_it_for_that_picture_alone():
    net = Small()
    with torch.no_grad():
        net.fc.weight[0] = 0
    model = model_of(net)
    flat, rising = cnnviz.maximize(model, [0, 1], steps=20, crops=2, patience=3, batch_size=2)
    assert len(flat.history) == 6
    assert any("stopped after step 6 of 20" in check for check in flat.checks)
    assert len(rising.history) > 6


def test_a_fixed_batch_is_padded(small):
    fixed = model_of(small.module, fixed_batch=4)
    one, other = (cnnviz.maximize(model, [1, "relu2:2"], steps=3, crops=6) for model in (small, fixed))
    assert np.abs(one.pixels - other.pixels).max() < 1e-3


def test_scores_that_are_no_use(small):
    with pytest.raises(ExplanationError, match="not finite"):
        cnnviz.maximize(small, lambda logits: logits[:, 0] * float("nan"), **FEW)
    with pytest.raises(ExplanationError, match="does not depend"):
        cnnviz.maximize(small, lambda logits: logits.detach()[:, 0], **FEW)


def test_examples_bring_their_own_colours(small, photo):
    plain = cnnviz.maximize(small, 0, None, None, recipe="natural", **FEW)
    own = cnnviz.maximize(small, 0, None, [photo, photo[::-1]], recipe="natural", **FEW)
    assert np.abs(plain.pixels - own.pixels).max() > 0.01
    assert own.provenance.asked["examples"] == 2


def test_bfloat16_and_compiling_say_what_they_did(small):
    assert np.isfinite(cnnviz.maximize(small, 0, precision="bfloat16", **FEW).pixels).all()
    found = cnnviz.maximize(small, "relu2:1", compiled=True, **FEW)
    assert any("torch.compile was not used" in check for check in found.checks)


@pytest.mark.slow
def test_compiled_pictures_are_the_pictures(small):
    plain, compiled = (cnnviz.maximize(small, 0, steps=18, crops=2, compiled=each) for each in (False, True))
    assert np.abs(plain.pixels - compiled.pixels).max() < 0.02
