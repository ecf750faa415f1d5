"""Every number of a quality record, against what it must be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import Image, Images, Model
from cnnviz.core.target import ClassTarget, Unit
from cnnviz.engine.batch_norms import trained_norms, watch_norms
from cnnviz.errors import ParameterError, UnknownNameError
from cnnviz.methods.ascent.judge import same_class
from cnnviz.methods.ascent.quality import (
    clean_input,
    held_out_views,
    high_frequency_share,
    judge_images,
    saturated_share,
    spectrum_slope,
    total_variation,
)
from tests.support.asking import state_of
from tests.support.networks import LABELS, Small, model_of


def waves(power: float, side: int = 128) -> np.ndarray:
    """A picture whose amplitudes are exactly a power of the frequency, with random phases."""
    rng = np.random.default_rng(0)
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    return np.fft.irfft2(frequency**power * phases, s=(side, side))[None].repeat(3, axis=0)


@pytest.mark.parametrize("power", [-2.0, -1.3, -1.0, -0.5, 0.0])
def test_the_slope_is_the_power_that_a_picture_was_made_with(power):
    assert spectrum_slope(waves(power)) == pytest.approx(power, abs=0.07)


def test_the_slope_minds_neither_contrast_nor_brightness():
    assert spectrum_slope(waves(-1.3) * 7 + 3) == pytest.approx(spectrum_slope(waves(-1.3)))


def test_what_has_no_slope():
    assert spectrum_slope(np.zeros((3, 8, 8))) is None, "too small"
    assert spectrum_slope(np.zeros((1, 64, 64))) is None, "no amplitude"


@pytest.mark.parametrize(("cycles", "share"), [(4, 0), (24, 0), (40, 1), (60, 1)])
def test_a_wave_is_fine_beyond_a_quarter_of_a_cycle(cycles, share):
    wave = np.sin(2 * np.pi * cycles * np.arange(128) / 128)
    picture = np.broadcast_to(wave, (1, 128, 128))
    assert high_frequency_share(picture) == pytest.approx(share, abs=1e-3)
    assert high_frequency_share(picture.swapaxes(1, 2)) == pytest.approx(share, abs=1e-3)


def test_variation_of_a_ramp_and_a_chessboard():
    rows, columns = np.mgrid[:6, :8]
    assert total_variation(np.stack([0.1 * columns + 0.02 * rows] * 3)) == pytest.approx(0.12)
    assert total_variation(((rows + columns) % 2)[None]) == pytest.approx(2)
    assert total_variation(np.ones((3, 1, 1))) == 0


def test_saturated_pixels_are_counted_once():
    picture = np.full((3, 2, 2), 0.5)
    picture[0, 0, 0], picture[2, 0, 0], picture[1, 1, 1] = 0.01, 0.995, 0.0
    assert saturated_share(picture) == 0.5
    assert saturated_share(np.full((1, 4, 4), 0.02)) == 0


def test_the_distance_of_a_norm_has_a_closed_form():
    norm = nn.BatchNorm2d(2, eps=0).double()
    norm.running_mean.copy_(torch.tensor([2.0, 0.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    chess = torch.tensor([[3.0, -3.0], [-3.0, 3.0]])
    inputs = torch.stack([torch.stack([torch.full((2, 2), 6.0), chess]), torch.stack([2 + chess * 2 / 3, chess])])
    with watch_norms(norm) as distance:
        norm.eval()(inputs.double())
    assert distance.values.tolist() == pytest.approx([(20**0.5 / 2 + 0) / 2, 0.0])
    assert not norm._forward_pre_hooks


def test_the_distance_of_a_norm_is_in_the_deviations_that_it_divides_by():
    norm = nn.BatchNorm2d(1, eps=3.0).double()
    norm.running_var.fill_(6.0)
    with watch_norms(norm) as distance:
        norm.eval()(torch.full((1, 1, 2, 2), 4.0, dtype=torch.float64))
    assert distance.values.tolist() == pytest.approx([5 / 3])


def test_norms_that_were_never_set_say_nothing():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False))
    net[1].running_mean.fill_(0.5)
    assert trained_norms(net) == [net[1]]
    with watch_norms(net[0]) as distance:
        net[0].eval()(torch.zeros(1, 3, 4, 4))
    assert distance.values is None


class Mean(nn.Module):
    """Its logits are the mean of the picture, times three weights."""

    def __init__(self, weights=(1.0, 0.0, -1.0)):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x):
        return x.mean(dim=(1, 2, 3))[:, None] * self.weights


def mean_model(labels=("up", "flat", "down"), name="mean", **more):
    return Model(Mean(**more), mean=(0.0,), std=(1.0,), input_size=16, labels=labels, channels=3, name=name)


def image(values, target, size=(20, 20)):
    pixels = np.broadcast_to(np.asarray(values, dtype=np.float32), (3, *size)).copy()
    return Image(pixels, target, 0.0, "mean")


def test_a_constant_picture_scores_the_same_from_everywhere():
    made = Images((image(0.25, ClassTarget(0, "up")), image(0.5, ClassTarget(2, "down"))))
    first, second = judge_images(mean_model(), made).quality
    assert (first["score"], first["held_out_mean"], first["held_out_deviation"]) == (0.25, 0.25, 0)
    assert (second["score"], second["held_out_mean"], second["held_out_draws"]) == (-0.5, -0.5, 32)
    assert first["probability"] == pytest.approx(np.exp(0.25) / (np.exp(0.25) + 1 + np.exp(-0.25)), abs=1e-6)
    assert "norm_distance" not in first
    assert "judge" not in first


def test_the_score_of_a_moved_picture_moves():
    rows = np.linspace(0, 1, 20)[:, None]
    record = judge_images(mean_model(), Images((image(rows, ClassTarget(0, "up")),))).quality[0]
    views = held_out_views(torch.from_numpy(image(rows, ClassTarget(0)).pixels), (16, 16))
    means = views.mean(dim=(1, 2, 3)).double()
    assert record["held_out_mean"] == pytest.approx(float(means.mean()), abs=1e-5)
    assert record["held_out_deviation"] == pytest.approx(float(means.std()), abs=1e-5)
    assert record["held_out_deviation"] > 0.02


def test_views_are_turned_and_cropped_within_their_bounds():
    columns = torch.linspace(0, 1, 101)[None, None].expand(1, 101, 101)
    views = held_out_views(columns, (51, 51))
    assert views.shape == (32, 1, 51, 51)
    across = (views[:, 0, 25, 50] - views[:, 0, 25, 0]) / (50 / 51) * 100 / 101
    assert across.min() >= 0.6 * np.cos(np.radians(10)) - 0.01
    assert across.max() <= 1.01
    down = (views[:, 0, 50, 25] - views[:, 0, 0, 25]).abs()
    assert 0.05 < down.max() <= np.sin(np.radians(10)) + 0.01
    assert across.std() > 0.05


def test_views_are_neither_sheared_nor_mirrored():
    """One pixel to the right and one down, on the canvas: perpendicular, of one length, the second clockwise."""
    places = torch.stack(torch.meshgrid(torch.arange(101.0), torch.arange(101.0), indexing="xy"))
    views = held_out_views(places, (51, 51))
    right, down = views[:, :, 25, 26] - views[:, :, 25, 25], views[:, :, 26, 25] - views[:, :, 25, 25]
    assert torch.allclose(down, torch.stack([-right[:, 1], right[:, 0]], dim=1), atol=1e-3)
    assert right[:, 1].abs().max() > 0.1


def test_views_depend_on_their_seed_only():
    one, other = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    assert torch.equal(held_out_views(one, (8, 8)), held_out_views(one, (8, 8)))
    assert not torch.equal(held_out_views(one, (8, 8)), held_out_views(one, (8, 8), seed=1))
    together = held_out_views(torch.cat([one, other]), (8, 8))
    assert torch.equal(together[:, :3], held_out_views(one, (8, 8)))


def test_a_picture_of_the_inputs_size_is_not_resampled():
    canvas = torch.rand(3, 16, 16)
    assert torch.equal(clean_input(mean_model(), canvas)[0], canvas)
    model = model_of(Small())
    assert torch.allclose(clean_input(model, torch.rand(3, 64, 64)).mean() * 0.25 + 0.5, torch.tensor(0.5), atol=0.05)


def judged(judge_labels, weights=(1.0, 0.0, -1.0), target=None, labels=("up", "flat", "down"), **more):
    judge = mean_model(judge_labels, "judge", weights=weights)
    made = Images((image(0.5, target or ClassTarget(0, "up")),), ("before",))
    return judge_images(mean_model(labels), made, judge, **more)


def test_a_second_networks_probability_rank_and_first_class():
    record = judged(("down", "up"), (2.0, 1.0)).quality[0]
    assert record["judge_probability"] == pytest.approx(np.exp(0.5) / (np.exp(0.5) + np.exp(1)), abs=1e-6)
    assert (record["judge"], record["judge_rank"], record["judge_first"]) == ("judge", 2, "down")


def test_a_class_that_the_judge_does_not_know_is_said():
    found = judged(("left", "right", "down"))
    assert "judge" not in found.quality[0]
    assert found.checks == ("before", "judge has no class 'up', and so no opinion on it")


def test_other_targets_are_not_judged():
    assert (
        "judge"
        not in judged(("up", "flat", "down"), target=Unit("layer", 1), score=lambda x, row: x[:, 0, 0, 0]).quality[0]
    )


@pytest.mark.parametrize(
    ("label", "labels", "others", "found"),
    [
        ("goldfish", None, ("tench", "Goldfish"), 1),
        ("goldfish", None, ("tench", "goldfish, Carassius auratus"), 1),
        ("great_white shark", None, ("great white shark, man-eater", "tench"), 0),
        ("crane", ("crane", "tench", "crane"), ("crane", "tench", "crane"), 2),
        ("crane", None, ("crane", "tench", "crane"), None),
        ("goldfish", None, ("tench",), None),
        ("goldfish", None, None, None),
        (None, None, ("tench",), None),
    ],
)
def test_classes_are_matched_by_name(label, labels, others, found):
    assert same_class(ClassTarget(2, label), labels, others) == found


def test_a_grey_picture_is_shown_to_a_colour_judge_and_back():
    grey = Model(Mean(), mean=(0.0,), std=(1.0,), input_size=16, labels=LABELS[:3], channels=1, name="grey")
    made = Image(np.full((1, 16, 16), 0.5, np.float32), ClassTarget(0, "cat"), 0.0, "grey")
    colour = mean_model(LABELS[:3])
    assert judge_images(grey, Images((made,)), colour).quality[0]["judge_rank"] == 1
    red = np.zeros((3, 16, 16), np.float32)
    red[0] = 1
    back = judge_images(colour, Images((Image(red, ClassTarget(0, "cat"), 0.0, "mean"),)), grey).quality[0]
    assert back["judge_probability"] == pytest.approx(float(torch.tensor([0.299, 0, -0.299]).softmax(0)[0]), abs=1e-5)
    many = Model(Mean(), mean=(0.0,), std=(1.0,), input_size=16, labels=LABELS[:3], channels=5, name="many")
    with pytest.raises(ParameterError, match="takes 5 channels"):
        judge_images(colour, Images((Image(red, ClassTarget(0, "cat"), 0.0, "mean"),)), many)


def test_a_judge_that_there_is_not():
    made = Images((image(0.5, ClassTarget(0, "up")),))
    with pytest.raises(UnknownNameError, match="no network 'mobilenet_v9'"):
        judge_images(mean_model(), made, "mobilenet_v9")


def made_for_small(count):
    rng = np.random.default_rng(0)
    targets = [ClassTarget(1, "dog"), Unit("relu2", 3), ClassTarget(4, "frog")]
    return Images(tuple(Image(rng.random((3, 40, 40), np.float32), targets[row], 0.0, "small") for row in range(count)))


def test_units_norms_and_batches():
    small = model_of(Small())
    together = judge_images(small, made_for_small(3)).quality
    assert [judge_images(small, made_for_small(3)[row : row + 1]).quality[0] for row in range(3)] == list(together)
    assert [record["norm_distance"] > 0 for record in together] == [True] * 3
    assert "probability" not in together[1]
    watched = clean_input(small, torch.from_numpy(made_for_small(2)[1].pixels))
    with torch.no_grad():
        net = small.module.eval()
        layer = net.relu2(net.conv2(net.down(net.relu1(net.norm1(net.conv1(watched))))))
    assert together[1]["score"] == pytest.approx(float(layer[0, 3].mean()), rel=1e-4)
    assert json.dumps(together)


def test_the_network_and_the_judge_are_as_they_were():
    net, judge = Small().train(), Small().train()
    before = state_of(net), state_of(judge)
    judge_images(model_of(net), made_for_small(2), model_of(judge, name="judge"))
    assert (state_of(net), state_of(judge)) == before


def test_a_network_of_one_batch_size():
    class Five(Small):
        def forward(self, x):
            assert len(x) == 5
            return super().forward(x)

    torch.manual_seed(0)
    fixed = model_of(Five(), fixed_batch=5)
    torch.manual_seed(0)
    free = model_of(Small())
    for one, other in zip(
        judge_images(fixed, made_for_small(2)).quality, judge_images(free, made_for_small(2)).quality, strict=True
    ):
        assert {k: pytest.approx(v, rel=1e-3) for k, v in one.items()} == other
