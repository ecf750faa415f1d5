"""What hides parts of signals and volumes: closed forms, captum's numbers, and pictures that are one place deep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from torch import nn

import cnnviz
from cnnviz.core.sample import Signal, Volume
from cnnviz.engine.windows.window import Windows
from cnnviz.errors import ParameterError
from cnnviz.methods.occlusion import scorer
from cnnviz.methods.occlusion.baselines import fill_with
from cnnviz.methods.occlusion.random_masks import RandomMasks
from tests.methods.test_occlusion import Largest
from tests.support.depth_one import model_of_places, noise_of
from tests.support.networks import Small, model_of

DEEP = [((40,), (1, 40)), ((18, 16), (1, 18, 16))]
"""Sizes of inputs, and of the same with a further axis that is one place long."""
NAMES = ["signal as picture", "picture as volume"]
SIZES = [(48,), (12, 9, 10)]


def alike(one, other) -> bool:
    """Whether two maps are the same to float64's rounding, as far as the float32 in which they are held shows it."""
    return np.abs(other.values.reshape(one.values.shape) - one.values).max() <= 1e-6 * np.abs(one.values).max() > 0


@pytest.fixture(params=DEEP, ids=NAMES)
def twins(request):
    """A model and an input, and their twins of one axis more."""
    size, deeper = request.param
    x = noise_of(size, count=2)
    return model_of_places(len(size), size), x, model_of_places(len(deeper), deeper, flat=1), x.reshape(2, 2, *deeper)


@pytest.mark.parametrize("settings", [{}, {"soft": 0.7, "score": "logit"}, {"score": "log-probability"}], ids=str)
def test_occlusion_is_that_of_an_input_one_place_deep(twins, settings):
    model, x, deeper, deep = twins
    axes = model.places
    one = cnnviz.occlusion(model, x, 1, window=(6,) * axes, stride=(3,) * axes, **settings)
    other = cnnviz.occlusion(deeper, deep, 1, window=(1, *(6,) * axes), stride=(1, *(3,) * axes), **settings)
    assert alike(one, other)


def test_an_estimate_is_that_of_an_input_one_place_deep():
    model, deeper, x = model_of_places(2, (18, 16)), model_of_places(3, (1, 18, 16), flat=1), noise_of((18, 16))
    one = cnnviz.occlusion(model, x, 1, window=4, stride=2, budget=48)
    other = cnnviz.occlusion(deeper, x[:, :, None], 1, window=(1, 4, 4), stride=(1, 2, 2), budget=48)
    assert np.allclose(one[0].error_bar, other[0].error_bar)
    assert alike(one, other)


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_feature_occlusion_is_that_of_an_input_one_place_deep(twins, baseline):
    model, x, deeper, deep = twins
    asked = {"layer": "4", "baseline": baseline, "score": "logit"}
    one = cnnviz.feature_occlusion(model, x, 2, window=2, **asked)
    other = cnnviz.feature_occlusion(deeper, deep, 2, window=(1, *(2,) * model.places), **asked)
    assert alike(one, other)


def test_rise_is_that_of_an_input_one_place_deep_through_the_same_masks(twins, monkeypatch):
    model, x, deeper, deep = twins
    own = RandomMasks.masks

    def masks(drawn, some):
        size = tuple(length for length in drawn.size if length > 1)
        return own(RandomMasks(size, 4, 0.5, 0), some).reshape(-1, 1, *drawn.size)

    monkeypatch.setattr(RandomMasks, "masks", masks)
    one = cnnviz.rise(model, x, 1, masks=60, cells=4)
    other = cnnviz.rise(deeper, deep, 1, masks=60, cells=(1, *(4,) * model.places))
    assert alike(one, other)
    assert np.allclose(one[0].spread, other[0].spread.reshape(one[0].spread.shape), rtol=1e-6)


@pytest.mark.parametrize(("size", "window", "stride"), [((48,), (8,), (4,)), ((16, 12, 20), (8, 4, 8), (4, 4, 4))])
def test_captums_numbers(size, window, stride):
    model, x = model_of_places(len(size), size), noise_of(size, count=2)
    theirs = Occlusion(model.module).attribute(x, (2, *window), strides=(2, *stride), baselines=0, target=2)[:, 0]
    ours = cnnviz.occlusion(model, x, 2, window=window, stride=stride, score="logit")
    assert np.abs(ours.values - theirs.detach().numpy()).max() <= 1e-5 * np.abs(ours.values).max()


def linear_model(size: tuple[int, ...]) -> cnnviz.Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(size), 3)).double()
    return cnnviz.Model(net, mean=(0.0,), std=(1.0,), input_size=size, channels=1)


@pytest.mark.parametrize("soft", [0.0, 0.5])
@pytest.mark.parametrize(("size", "window", "stride"), [((30,), 5, 3), ((6, 8, 9), (2, 4, 3), (2, 3, 1))])
def test_a_linear_model_loses_weight_times_value(size, window, stride, soft):
    model, x = linear_model(size), noise_of(size, 1)
    found = cnnviz.occlusion(model, x, 1, window=window, stride=stride, soft=soft, score="logit")
    windows = Windows.over(size, window, stride, soft)
    parts = model.module[1].weight[1].detach().view(size) * x[0, 0]
    drops = (windows.masks(torch.arange(len(windows)))[:, 0] * parts).flatten(1).sum(dim=1)
    assert np.allclose(found.values[0], windows.average(drops), atol=1e-6)


@pytest.mark.parametrize(("size", "cells"), [((30,), 4), ((6, 8, 9), (2, 4, 3))])
def test_of_a_linear_network_rise_is_the_weighed_mean_of_what_the_masks_show(size, cells):
    model, x = linear_model(size), noise_of(size, 1)
    found = cnnviz.rise(model, x, 1, masks=50, cells=cells, score="logit", seed=3)
    masks = RandomMasks(size, cells, 0.5, seed=3).masks(slice(0, 50))[:, 0].double()
    with torch.no_grad():
        scores = model.module(masks[:, None] * x)[:, 1]
    expected = torch.einsum("n,n...->...", scores, masks) / masks.sum(dim=0) - scores.mean()
    assert np.allclose(found.values[0], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize(("size", "cells"), [((25,), 4), ((6, 12, 16), (2, 3, 4))])
def test_a_mask_depends_on_its_number_alone_and_shows_every_place_equally_often(size, cells):
    drawn = RandomMasks(size, cells, 0.3, seed=7)
    whole = drawn.masks(slice(0, 3000))
    assert torch.equal(whole[40:47], drawn.masks(slice(40, 47)))
    assert whole.shape == (3000, 1, *size)
    assert (whole.mean(dim=0) - 0.3).abs().max() < 0.05
    cell = [-(-length // count) for length, count in zip(size, drawn.counts, strict=True)]
    steps = [whole.diff(dim=axis + 2).abs().max() for axis in range(len(size))]
    for side, step in zip(cell, steps, strict=True):
        assert step <= (drawn.counts[0] + 1) / drawn.counts[0] / side + 1e-5  # from one cell's centre to the next


@pytest.mark.parametrize("size", SIZES, ids=["signal", "volume"])
def test_of_a_kept_place_feature_occlusion_is_cam(size):
    model, x = model_of_places(len(size), size), noise_of(size)
    found = cnnviz.feature_occlusion(model, x, 2, layer="7", baseline="zero", score="logit")
    with torch.no_grad():
        maps = model.module[:8](x)
        expected = torch.einsum("c,nc...->n...", model.module[-1].weight[2], maps) / maps[0, 0].numel()
    assert np.allclose(found.values, expected.numpy(), atol=1e-6)


def volume(spacing, name: str = "brain.nii.gz", size=(12, 9, 10), **more) -> Volume:
    values = noise_of(size)[0].numpy().astype(np.float32)
    return Volume(values, name, spacing=spacing, **more)


def test_windows_in_millimetres_follow_the_spacing():
    model = model_of_places(3, (12, 9, 10))
    found = cnnviz.occlusion(model, volume((4.0, 2.0, 2.0)), 1, window="8mm", stride="4x2x4mm")
    asked = cnnviz.occlusion(model, volume(None), 1, window=(2, 4, 4), stride=(1, 1, 2))
    assert np.array_equal(found.values, asked.values)
    assert found.checks == ("brain.nii.gz: windows of 2 x 4 x 4 voxels, 1 x 1 x 2 voxels apart",)
    assert asked.checks == ()
    assert found.provenance.settings["window"] == "8mm"
    assert asked.provenance.settings["stride"] == "1x1x2"


def test_volumes_of_several_spacings_have_windows_of_their_own():
    model = model_of_places(3, (12, 9, 10))
    both = [volume((4.0, 2.0, 2.0), "a.nii"), volume((2.0, 4.0, 4.0), "b.nii"), volume((4.0, 2.0, 2.0), "c.nii")]
    together = cnnviz.occlusion(model, both, [1, 1, 2], window="0.8cm", stride="4mm", score="logit")
    for row, target in enumerate((1, 1, 2)):
        alone = cnnviz.occlusion(model, both[row], target, window="8mm", stride="4mm", score="logit")
        assert np.allclose(together.values[row], alone.values[0], atol=1e-7)
    assert not np.allclose(together.values[0], together.values[1], atol=1e-4)
    assert "b.nii: windows of 4 x 2 x 2 voxels, 2 x 1 x 1 voxels apart" in together.checks


def test_windows_in_millimetres_of_a_volume_that_was_resized():
    model = model_of_places(3, (12, 9, 10))
    double = volume((4.0, 2.0, 2.0), size=(12, 18, 20))
    found = cnnviz.occlusion(model, double, 1, window="8mm")
    assert found.checks[-1] == "brain.nii.gz: windows of 2 x 2 x 2 voxels, 1 x 1 x 1 voxels apart"


def test_windows_in_seconds_of_signals_and_clips():
    signal = Signal(noise_of((48,))[0].numpy().astype(np.float32), "ecg.csv", rate=40.0)
    found = cnnviz.occlusion(model_of_places(1, (48,)), signal, 1, window="200ms", stride="0.1s")
    assert found.checks == ("ecg.csv: windows of 8 samples, 4 samples apart",)
    clip = volume(None, "clip.mp4", rate=10.0)
    found = cnnviz.occlusion(model_of_places(3, (12, 9, 10)), clip, 1, window="0.4sx3x5", stride=(2, 3, 5))
    assert found.checks == ("clip.mp4: windows of 4 x 3 x 5 voxels, 2 x 3 x 5 voxels apart",)


@pytest.mark.parametrize(
    ("sample", "settings", "words"),
    [
        (volume((4.0, 2.0, 2.0)), {"window": "1s"}, "the voxels of 'brain.nii.gz' lie millimetres apart; expected a"),
        (volume(None), {"window": "8mm"}, "is not known; expected voxels such as 8, or a volume with its spacing"),
        (volume(None), {"window": "4x4"}, "one for each axis of a volume of 12 x 9 x 10; got 4x4."),
        (volume(None), {"window": 10}, "window must be at most 9, the shortest side"),
        (volume(None), {"window": "4x4x"}, "window must be a whole number, one for each axis"),
        (volume(None), {"window": (4, 0, 4)}, "window must be a whole number, one for each axis"),
        (volume(None), {"window": 4, "baseline": "inpaint"}, "inpaint continues a picture, not a volume"),
        (volume(None), {"window": 4, "baseline": "mean,black"}, "a volume has none unless the network's value_range"),
        (volume(None), {"window": 4, "stride": 2, "budget": 57}, "budget must be at least 59 forwards here"),
        (volume(None), {"window": (6, 4, 4), "stride": (6, 1, 1), "budget": 70}, "at least 3x3x3 windows for an"),
    ],
)
def test_what_has_no_meaning_is_one_sentence(sample, settings, words):
    with pytest.raises(ParameterError, match=words):
        cnnviz.occlusion(model_of_places(3, (12, 9, 10)), sample, 1, **settings)


def test_pictures_have_neither_millimetres_nor_seconds(inputs):
    with pytest.raises(ParameterError, match="how many millimetres the pixels of 'input 1' lie apart is not known"):
        cnnviz.occlusion(model_of(Small()), inputs, window="3mm")
    with pytest.raises(ParameterError, match=r"window must be a whole number, or one for each axis.*got '3mm'"):
        cnnviz.feature_occlusion(model_of(Small()), inputs, window="3mm")
    with pytest.raises(ParameterError, match=r"cells must be at most 32 x 32, the input's size; got 4 x 33\."):
        cnnviz.rise(model_of(Small()), inputs, cells=(4, 33))


def test_oblong_windows_of_a_picture_equal_those_of_equal_sides(inputs):
    model = model_of(Small())
    square = cnnviz.occlusion(model, inputs, 1, window=8, stride=4)
    assert np.array_equal(square.values, cnnviz.occlusion(model, inputs, 1, window="8x8", stride=(4, 4)).values)
    turned = cnnviz.occlusion(model, inputs, 1, window=(4, 8), stride=(4, 8))
    assert turned.values[0][:4, :8].std() == 0 < turned.values[0][:8, :8].std()


@pytest.mark.parametrize("size", SIZES, ids=["signal", "volume"])
def test_what_each_baseline_shows(size):
    model, image = model_of_places(len(size), size), noise_of(size)[0]
    mask = torch.ones(1, 1, *size)
    seen = {name: fill_with(name, model, image, side=4, seed=3)(mask)[0] for name in ("mean", "noise", "blur")}
    assert not seen["mean"].any()
    low, high = (getattr(image.flatten(1), name)(dim=1) for name in ("amin", "amax"))
    drawn = seen["noise"].flatten(1)
    assert (drawn >= low[:, None]).all()
    assert (drawn <= high[:, None]).all()
    assert drawn.std() > 0.7 * (high - low).min() / 12**0.5
    assert torch.equal(seen["noise"], fill_with("noise", model, image, side=4, seed=3)(mask)[0])
    ranged = model_of_places(len(size), size, value_range=(0.0, 200.0))
    ranged.preprocess = ranged.preprocess.__class__(size, mean=(0.4,), std=(0.5,), channels=2, value_range=(0.0, 200.0))
    assert torch.allclose(fill_with("black", ranged, image, side=4, seed=3)(mask), torch.tensor(-0.8).double())


def test_a_blur_is_a_gaussian_along_every_axis():
    size, sides = (31, 33, 35), (3, 9, 6)
    image = torch.zeros(1, *size, dtype=torch.float64)
    image[0, 15, 16, 17] = 1
    model = model_of_places(3, size, channels=1)
    blurred = fill_with("blur", model, image, side=sides, seed=0)(torch.ones(1, 1, *size))[0, 0]
    along = []
    for length, middle, side in zip(size, (15, 16, 17), sides, strict=True):
        curve = torch.exp(-((torch.arange(length) - middle) ** 2) / (2 * (side / 3) ** 2)).double()
        along.append(curve / curve.sum())
    expected = torch.einsum("a,b,c->abc", *along)
    assert (blurred - expected).abs().max() < 1e-3 * expected.max()


def test_memory_depends_on_the_batch_alone():
    def largest(stride: int) -> int:
        model = model_of_places(3, (24, 24, 24))
        with Largest() as watched:
            cnnviz.occlusion(model, noise_of((24, 24, 24)), 0, window=6, stride=stride, batch_size=4)
        return watched.size

    assert largest(3) == largest(6)


def test_large_volumes_are_asked_about_fewer_at_once(monkeypatch):
    model, x, picture = model_of_places(3, (24, 24, 24)), noise_of((24, 24, 24)), noise_of((24, 24))
    assert cnnviz.occlusion(model, x, 0, window=12, stride=12).provenance.chunk == 8
    monkeypatch.setattr(scorer, "MOST_VALUES", 3 * x.numel() + 1)
    assert cnnviz.occlusion(model, x, 0, window=12, stride=12).provenance.chunk == 3
    monkeypatch.setattr(scorer, "MOST_VALUES", 1)
    assert cnnviz.occlusion(model, x, 0, window=12, stride=12).provenance.chunk == 1
    assert cnnviz.occlusion(model, x, 0, window=12, stride=12, batch_size=5).provenance.chunk == 5
    assert cnnviz.occlusion(model_of_places(2, (24, 24)), picture, 0, window=12).provenance.chunk == 8


def test_a_budget_for_a_volume_says_its_error_bar():
    model, x = model_of_places(3, (24, 24, 24)), noise_of((24, 24, 24))
    exact = cnnviz.occlusion(model, x, 1, window=6, stride=3, score="logit")
    found = cnnviz.occlusion(model, x, 1, window=6, stride=3, score="logit", budget=150)
    assert found.checks[-2].startswith("225 of 343 windows were estimated")
    assert np.corrcoef(found.values.ravel(), exact.values.ravel())[0, 1] > 0.7
    every = cnnviz.occlusion(model, x, 1, window=6, stride=3, score="logit", budget=345)
    assert np.array_equal(every.values, exact.values)


@pytest.mark.parametrize(("size", "window", "stride"), [((56,), 8, 2), ((21, 7, 8), (3, 1, 1), (2, 1, 1))])
def test_what_is_left_out_follows_the_input(size, window, stride):
    model, x = model_of_places(len(size), size), noise_of(size)
    found = cnnviz.occlusion(model, x, 1, score="logit")
    asked = cnnviz.occlusion(model, x, 1, window=window, stride=stride, score="logit")
    assert np.array_equal(found.values, asked.values)
