"""Occlusion: captum where captum is right, closed forms, and what is shared, bounded and said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import cnnviz
from cnnviz.core.target import CustomTarget
from cnnviz.engine.windows.window import Windows
from cnnviz.errors import ParameterError, UnknownNameError
from cnnviz.methods.occlusion.baselines import BASELINES, fill_with
from cnnviz.methods.occlusion.scorer import Scorer
from tests.support.asking import state_of
from tests.support.networks import Small, model_of


class Linear(nn.Module):
    """In float64: logits are a linear layer of all pixels."""

    def __init__(self, side: int = 12) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * side * side, 4)
        self.double()

    def forward(self, x):
        return self.fc(x.flatten(1))


class Tally(list):
    """A list that a copy of its network shares."""

    def __deepcopy__(self, memo):
        return self


class Watched(Small):
    """Counts pictures and the largest batch; can run out of memory above a batch size, or be interrupted."""

    def __init__(self, most: int = 1000, interrupt_after: int = 10**9) -> None:
        super().__init__()
        self.most, self.seen, self.interrupt_after = most, Tally(), interrupt_after

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError
        self.seen.append(len(x))
        if sum(self.seen) > self.interrupt_after:
            raise KeyboardInterrupt
        return super().forward(x)


class Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that was made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(each, torch.Tensor):
                self.size = max(self.size, each.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("kind", ["logit", "probability", "log-probability"])
def test_captums_numbers_where_windows_tile(kind, inputs):
    net = Small().eval()
    scores = {
        "logit": net,
        "probability": lambda x: net(x).softmax(dim=1),
        "log-probability": lambda x: net(x).log_softmax(dim=1),
    }[kind]
    theirs = Occlusion(scores).attribute(inputs, (3, 8, 8), strides=(3, 4, 4), baselines=0, target=2)[:, 0]
    ours = cnnviz.occlusion(model_of(net), inputs, 2, window=8, stride=4, score=kind)
    assert np.abs(ours.values - theirs.detach().numpy()).max() <= 1e-5 * np.abs(ours.scores).min()


@pytest.mark.parametrize(("window", "stride", "soft"), [(4, 4, 0), (5, 3, 0), (12, 1, 0), (1, 1, 0), (6, 2, 0.5)])
def test_a_linear_model_loses_weight_times_value(window, stride, soft):
    net, x = Linear(), torch.randn(1, 3, 12, 12, dtype=torch.float64)
    found = cnnviz.occlusion(model_of(net, labels=None), x, 1, window=window, stride=stride, soft=soft, score="logit")
    windows = Windows.over((12, 12), window, stride, soft)
    parts = (net.fc.weight[1].view(3, 12, 12) * x[0]).sum(dim=0).detach()
    drops = (windows.masks(torch.arange(len(windows)))[:, 0] * parts).sum(dim=(1, 2))
    assert np.allclose(found.values[0], windows.average(drops), atol=1e-6)


def test_what_is_left_out_follows_the_shorter_side(small):
    image = torch.randn(1, 3, 28, 56)
    found = cnnviz.occlusion(small, image, 1, score="logit")
    asked = cnnviz.occlusion(small, image, 1, window=4, stride=1, score="logit")
    assert np.array_equal(found.values, asked.values)


def test_a_constant_network_has_a_map_of_zeros_and_it_is_said(inputs):
    net = Small()
    nn.init.zeros_(net.fc.weight)
    found = cnnviz.occlusion(model_of(net), inputs, "dog", window=8, stride=4)
    assert not found.values.any()
    assert found[0].blank
    assert "no evidence for 'dog'" in found[0].caption()


def test_scores_are_those_of_the_network_itself(small, inputs):
    logits = small.forward(inputs)
    with torch.no_grad():
        logits = small.module.eval()(inputs)
    by_kind = {"logit": logits, "probability": logits.softmax(dim=1), "log-probability": logits.log_softmax(dim=1)}
    for kind, expected in by_kind.items():
        found = cnnviz.occlusion(small, inputs, 1, window=16, score=kind)
        assert np.allclose(found.scores, expected[:, 1], atol=1e-6)
        assert found[0].probability == pytest.approx(float(logits.softmax(dim=1)[0, 1]), abs=1e-6)


def test_differences_units_and_functions(small, inputs):
    one, other = (cnnviz.occlusion(small, inputs, each, window=8, stride=4, score="logit").values for each in (0, 3))
    apart = cnnviz.occlusion(small, inputs, "cat - fish", window=8, stride=4, score="logit").values
    by_function = cnnviz.occlusion(small, inputs, lambda logits: logits[:, 0] - logits[:, 3], window=8, stride=4).values
    assert np.allclose(apart, one - other, atol=1e-6)
    assert np.allclose(by_function, apart, atol=1e-6)
    unit = cnnviz.occlusion(small, inputs, "relu2:1", window=8, stride=4)
    assert unit.values.any()
    kept = cnnviz.occlusion(model_of(small.module, fixed_batch=4), inputs, 0, window=8, stride=4, score="logit").values
    assert np.allclose(kept, one, atol=1e-6)


def test_several_targets_of_one_picture_share_its_forwards(inputs):
    net = Watched()
    model, one = model_of(net), inputs[0]
    alone = [cnnviz.occlusion(model, one, target, window=8, stride=4).values[0] for target in range(3)]
    net.seen.clear()
    cnnviz.occlusion(model, one, 0, window=8, stride=4)
    needed = sum(net.seen)
    net.seen.clear()
    together = cnnviz.occlusion(model, [one, one, one], [0, 1, 2], window=8, stride=4)
    assert sum(net.seen) == needed
    assert np.allclose(together.values, np.stack(alone), atol=1e-7)
    assert [str(target) for target in together.targets] == ["cat", "dog", "bird"]


def test_memory_depends_on_the_batch_alone(inputs):
    def largest(classes, stride, windows_at_once):
        model = model_of(Small(classes=classes), labels=None)
        with Largest() as watched:
            cnnviz.occlusion(model, inputs[:1], 0, window=8, stride=stride, batch_size=windows_at_once)
        return watched.size

    usual = largest(5, 4, 4)
    assert largest(5, 2, 4) == usual
    assert largest(2000, 4, 4) == usual
    assert largest(5, 4, 8) == 2 * usual


def test_out_of_memory_in_the_middle_changes_nothing(inputs):
    net = Watched()
    expected = cnnviz.occlusion(model_of(net), inputs, 1, window=8, stride=4, batch_size=16)
    net.most = 5
    found = cnnviz.occlusion(model_of(net), inputs, 1, window=8, stride=4, batch_size=16)
    assert np.allclose(found.values, expected.values, atol=1e-7)
    assert found.checks == tuple(f"out of memory: continued with a batch size of {size}" for size in (8, 4))
    assert found.provenance.chunk == 4


@pytest.mark.parametrize("after", [1, 5, 30])
def test_an_interrupt_in_the_middle_leaves_the_network_as_it_was(after, inputs):
    net = Watched(interrupt_after=after).train()
    before = state_of(net)
    with pytest.raises(KeyboardInterrupt):
        cnnviz.occlusion(model_of(net), inputs, 1, window=8, stride=4)
    assert state_of(net) == before


def test_several_baselines_give_mean_and_spread(small, inputs, tmp_path):
    names = tuple(BASELINES)
    each = [cnnviz.occlusion(small, inputs, 1, window=8, stride=4, baseline=name) for name in names]
    found = cnnviz.occlusion(small, inputs, 1, window=8, stride=4, baseline=", ".join(names))
    assert np.allclose(found.values, np.mean([one.values for one in each], axis=0), atol=1e-6)
    assert np.allclose(found[0].spread, np.std([one.values[0] for one in each], axis=0, ddof=1), atol=1e-6)
    assert each[0][0].spread is None
    assert len(found.grid().sheet.rows[0]) == 3
    with np.load(found.save(tmp_path / "map.npz")) as saved:
        assert saved["spreads"].shape == found.values.shape


def test_what_each_baseline_shows():
    model = model_of(Small(), mean=(0.4, 0.5, 0.6))
    image = torch.randn(3, 32, 32)
    masks = Windows.over((32, 32), 8, 8).masks(torch.tensor([5]))
    seen = {name: fill_with(name, model, image, side=8, seed=3)(masks)[0] for name in BASELINES}
    assert not seen["mean"].any()
    assert torch.allclose(seen["black"][:, 0, 0], -torch.tensor((0.4, 0.5, 0.6)) / 0.25)
    noise = seen["noise"] * 0.25 + torch.tensor((0.4, 0.5, 0.6)).view(3, 1, 1)
    assert 0 <= noise.min() < 0.05
    assert 0.95 < noise.max() <= 1
    assert torch.equal(seen["noise"], fill_with("noise", model, image, side=8, seed=3)(masks)[0])
    assert not torch.equal(seen["noise"], fill_with("noise", model, image, side=8, seed=4)(masks)[0])
    assert seen["blur"].std() < image.std() / 2
    assert torch.allclose(seen["inpaint"] * (1 - masks[0]), image * (1 - masks[0]), atol=1e-5)


def test_inpainting_continues_a_ramp():
    model = model_of(Small(), mean=(0.0,), std=(1.0,))
    ramp = torch.linspace(0.2, 0.8, 32).expand(3, 32, 32)
    masks = Windows.over((32, 32), 8, 8).masks(torch.tensor([5, 10]))
    painted = fill_with("inpaint", model, ramp, side=8, seed=0)(masks)
    assert (painted - ramp).abs().max() < 0.1
    whole = fill_with("inpaint", model, ramp, side=32, seed=0)(torch.ones(1, 1, 32, 32))
    assert torch.isfinite(whole).all()


def test_soft_windows_hide_less(small, inputs):
    sharp, soft = (cnnviz.occlusion(small, inputs, 1, window=8, stride=4, soft=soft).values for soft in (0.0, 1.0))
    assert 0 < np.abs(soft).max() < np.abs(sharp).max()


def test_precision_is_asked_for_and_its_loss_stated(small, inputs):
    full = cnnviz.occlusion(small, inputs, 1, window=8, stride=4)
    half = cnnviz.occlusion(small, inputs, 1, window=8, stride=4, precision="bfloat16")
    assert full.checks == ()
    assert any("bfloat16: logits differ by up to" in check for check in half.checks)
    assert np.abs(half.values - full.values).max() < 0.02
    assert (
        "tf32 was not used: only CUDA devices have it"
        in cnnviz.occlusion(small, inputs, 1, window=8, stride=4, precision="tf32").checks
    )
    unit = cnnviz.occlusion(small, inputs, "relu2:1", window=8, stride=4, precision="bfloat16")
    assert any("bfloat16 was not used" in check for check in unit.checks)


def test_the_private_copy_answers_as_the_network(small, inputs):
    target = CustomTarget(lambda logits: logits[:, 2])
    scorer = Scorer(small, inputs[:1], [target])
    assert scorer.quick is not small
    found = scorer.scores(3, lambda some: inputs[some], [target])
    assert torch.allclose(found[:, 0].float(), small.module.eval()(inputs)[:, 2], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 33}, "window must be at most 32"),
        ({"window": 4, "stride": 5}, "stride must be at most the window's 4"),
        ({"baseline": " , "}, "baseline must be one or several of mean, black"),
        ({"budget": 20}, "budget must be at least 41 forwards here"),
        ({"budget": 80, "baseline": "mean,black"}, "budget must be at least 81 forwards"),
        ({"budget": 100, "seconds": 1}, "budget and seconds exclude each other"),
        ({"window": 31, "stride": 1, "budget": 4}, "budget must be at least 6 forwards"),
    ],
)
def test_settings_that_do_not_go_together(settings, words, small, inputs):
    with pytest.raises(ParameterError, match=words):
        cnnviz.occlusion(small, inputs, **settings)


def test_an_unknown_baseline_offers_the_nearest(small, inputs):
    with pytest.raises(UnknownNameError, match="'blur'"):
        cnnviz.occlusion(small, inputs, baseline="mean,blurr")
