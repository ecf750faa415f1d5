"""Signals, volumes and clips brought to the network's rate, spacing and size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.models import get_model_weights
from torchvision.transforms._presets import VideoClassification

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Signal, Volume
from cnnviz.drawing.overlay import place
from cnnviz.errors import ParameterError, PictureError
from cnnviz.models.assumptions import assume_preprocess
from cnnviz.models.preprocess import Preprocess
from cnnviz.models.resampling import resample

RNG = np.random.default_rng(0)
PLAIN = {"mean": (0.0,), "std": (1.0,)}


def signal(length=100, channels=2, **more):
    return Signal(RNG.normal(size=(channels, length)).astype(np.float32), **more)


def volume(*size, channels=1, **more):
    return Volume(RNG.normal(size=(channels, *size)).astype(np.float32), **more)


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 16000), (500, 250), (250, 500), (360, 500), (48000, 44100), (100.5, 67)]
)
def test_a_sine_at_another_rate_is_the_sine(old, new):
    """Within the band that both hold, but for the ends, where nothing is known of what is beyond."""
    pitch = 0.3 * min(old, new)
    seconds = 4000 / old
    tone = torch.sin(2 * torch.pi * pitch * torch.arange(round(old * seconds), dtype=torch.float64) / old)
    made = resample(tone[None].float(), old, new)[0].double()
    assert abs(len(made) - seconds * new) <= 1
    wanted = torch.sin(2 * torch.pi * pitch * torch.arange(len(made), dtype=torch.float64) / new)
    edge = len(made) // 10
    torch.testing.assert_close(made[edge:-edge], wanted[edge:-edge], atol=3e-4, rtol=0)


def test_what_the_new_rate_cannot_hold_is_gone():
    tone = torch.sin(2 * torch.pi * 400 * torch.arange(4000) / 1000)[None]  # 400 Hz does not fit into 250 Hz
    made = resample(tone, 1000, 250)[0]
    assert float(made[100:-100].abs().max()) < 1e-3


def test_a_constant_stays_one_to_its_ends():
    made = resample(torch.full((2, 50), 3.0), 44100, 16000)
    assert made.shape == (2, 19)
    torch.testing.assert_close(made, torch.full((2, 19), 3.0))


def test_a_signal_as_it_is():
    one = signal(100)
    preprocess, notes = assume_preprocess(None, None, None, None, channels=2, entrance=(2, 1))
    values, placed = preprocess(one)
    np.testing.assert_array_equal(values, one.values)
    assert placed.geometry.crop == (0, 100)
    assert notes == ("preprocessing was not given: mean 0 and std 1 assumed",)


@pytest.mark.parametrize(("wanted", "start"), [(60, 20), (61, 20), (100, 0), (140, -20), (141, -20)])
def test_a_signal_is_cropped_at_its_centre_or_has_zeros_around_it(wanted, start):
    one = signal(100)
    values, placed = Preprocess((wanted,), mean=(0.5, -1), std=(2.0, 4.0), channels=2)(one)
    assert placed.geometry.crop == (start, wanted)
    assert placed.geometry.padded == (wanted > 100)
    expected = np.zeros((2, wanted), np.float32)
    expected[:, max(0, -start) : max(0, -start) + 100] = one.values[:, max(0, start) : max(0, start) + wanted]
    np.testing.assert_allclose(values, (expected - [[0.5], [-1]]) / [[2], [4]], rtol=1e-6, atol=1e-6)
    said = {60: "the middle 60 of 100", 140: "100 in the middle of 140, zeros around it", 100: None}
    if wanted in said:
        assert placed.notes == (() if said[wanted] is None else (said[wanted],))


def test_a_signal_of_another_rate_is_resampled_and_told():
    one = signal(1000, rate=500.0)
    preprocess = Preprocess((400,), channels=2, rate=250.0, **PLAIN)
    values, placed = preprocess(one)
    np.testing.assert_allclose(values, resample(torch.from_numpy(one.values), 500, 250)[:, 50:450])
    assert placed.geometry.scale == (2.0,)
    assert placed.geometry.box == (100, 900)
    assert placed.notes == ("resampled from 500 to 250 Hz", "the middle 400 of 500")
    np.testing.assert_array_equal(placed.values, one.values)  # drawn as it was read
    assert preprocess(signal(1000, rate=250.0))[1].notes == ("the middle 400 of 1000",)
    assert "does not say its rate" in preprocess(signal(1000))[1].notes[0]


def test_standardised_channels_have_mean_0_and_deviation_1():
    one = signal(100).changed()
    values, placed = Preprocess((140,), channels=2, standardise=True, **PLAIN)(one)
    held = one.values.astype(np.float64)
    expected = (held - held.mean(axis=1, keepdims=True)) / held.std(axis=1, keepdims=True)
    np.testing.assert_allclose(values[:, 20:120], expected, atol=1e-5)
    assert not values[:, :20].any()
    assert not values[:, 120:].any()
    assert "standardised: each channel has mean 0 and deviation 1" in placed.notes
    flat = Preprocess((9,), channels=1, standardise=True, **PLAIN)(Signal(np.full((1, 9), 7, np.float32)))[0]
    assert (flat == 0).all()


def test_a_volume_is_resized_as_a_whole_by_trilinear_weights():
    one = volume(10, 12, 9)
    preprocess, _ = assume_preprocess(None, None, (5, 8, 18), None, channels=1, entrance=(1, 3))
    values, placed = preprocess(one)
    wanted = functional.interpolate(
        torch.from_numpy(one.values)[None], (5, 8, 18), mode="trilinear", align_corners=False
    )
    torch.testing.assert_close(values, wanted[0])
    assert placed.geometry.box == (0, 0, 0, 9, 12, 10)
    assert placed.notes == ("resized from 10 x 12 x 9 to 5 x 8 x 18 (trilinear)",)


@pytest.mark.parametrize(
    ("resize", "resized", "crop"),
    [
        (None, (10, 20, 40), (1, 6, 16, 8, 8, 8)),
        ("whole", (2, 4, 8), (-3, -2, 0, 8, 8, 8)),
        ((8, 8, 8), (8, 8, 8), (0, 0, 0, 8, 8, 8)),
        (12, (12, 24, 48), (2, 8, 20, 8, 8, 8)),
    ],
)
def test_a_volumes_resize_means_what_a_pictures_does(resize, resized, crop):
    values, placed = Preprocess((8, 8, 8), resize, channels=1, **PLAIN)(volume(10, 20, 40))
    assert (placed.geometry.resized, placed.geometry.crop) == (resized, crop)
    assert values.shape == (1, 8, 8, 8)


def test_a_picture_and_a_volume_of_one_slice_are_resized_alike():
    for resize in (None, 16, "whole", (20, 12)):
        plain = Preprocess((14, 18), resize, channels=1, **PLAIN)
        size = Picture(np.zeros((30, 40, 3), np.uint8)).size
        assert plain.resized_size(size, (14, 18)) == plain.geometry(Picture(np.zeros((*size, 3), np.uint8))).resized


def test_a_volume_at_the_spacing_of_the_network():
    one = volume(10, 12, 8, spacing=(5.0, 1.0, 2.0))
    values, placed = Preprocess((10, 12, 16), channels=1, spacing=(5.0, 1.0, 1.0), **PLAIN)(one)
    assert placed.geometry.resized == (10, 12, 16)
    assert placed.geometry.scale == (1, 1, 0.5)
    assert values.shape == (1, 10, 12, 16)


def test_a_volume_without_a_spacing_is_taken_at_that_of_the_network_and_says_so():
    one = volume(10, 12, 8)
    values, placed = Preprocess((10, 12, 8), channels=1, spacing=(5.0, 1.0, 1.0), **PLAIN)(one)
    assert placed.geometry.resized == (10, 12, 8)
    np.testing.assert_array_equal(values.numpy(), one.values)
    (note,) = placed.notes
    assert "does not say how far its voxels lie apart: taken to be what the network wants, 5 x 1 x 1 mm" in note
    _, placed = Preprocess((10, 12, 8), channels=1, spacing=(5.0, 1.0, 1.0), **PLAIN)(
        volume(10, 12, 8, spacing=(5.0, 1.0, 1.0))
    )
    assert placed.notes == ()


def test_a_range_maps_values_to_0_and_1_and_clips_them_with_a_note():
    one = Volume(np.array([-1000, -100, 0, 400], np.float32).reshape(1, 1, 2, 2))
    values, placed = Preprocess((1, 2, 2), channels=1, value_range=(-100, 300), **PLAIN)(one)
    np.testing.assert_allclose(values.flatten(), [0, 0, 0.25, 1])
    assert placed.notes == ("50.0% of the values lie outside -100 to 300, and are clipped",)


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "mvit_v1_b", "swin3d_t"])
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (130, 250)])
def test_clips_are_made_as_torchvision_makes_them(name, size):
    transform = get_model_weights(name).DEFAULT.transforms()
    frames = RNG.integers(0, 256, (6, 3, *size), dtype=np.uint8)
    clip = Volume(frames.transpose(1, 0, 2, 3).astype(np.float32), rate=15.0)
    values, placed = Preprocess.from_clips(transform, frames=6, rate=15.0)(clip)
    torch.testing.assert_close(values, transform(torch.from_numpy(frames)), atol=1e-6, rtol=0)
    assert values.shape == (3, 6, *transform.crop_size)
    assert placed.geometry.original == (6, *size)
    assert placed.geometry.crop[3:] == (6, *transform.crop_size)


def test_clips_without_a_resize_and_of_frames_smaller_than_the_input():
    transform = VideoClassification(crop_size=(112, 112), resize_size=(60, 80))
    frames = RNG.integers(0, 256, (4, 3, 30, 40), dtype=np.uint8)
    clip = Volume(frames.transpose(1, 0, 2, 3).astype(np.float32), rate=15.0)
    values, placed = Preprocess.from_clips(transform, frames=4, rate=15.0)(clip)
    torch.testing.assert_close(values, transform(torch.from_numpy(frames)), atol=1e-6, rtol=0)
    assert placed.geometry.padded
    plain = Preprocess((4, 30, 40), channels=3, **PLAIN)(clip)[0]
    np.testing.assert_allclose(plain, clip.values / 255)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Picture(np.zeros((4, 4, 3), np.uint8), "a.png"), "'a.png' is a picture, and the network takes signals"),
        (signal(9, channels=3), "has 3 channels; the network takes 2"),
    ],
)
def test_what_the_network_does_not_take_is_said(sample, words):
    with pytest.raises(PictureError, match=words):
        Preprocess((9,), channels=2, **PLAIN)(sample)
    with pytest.raises(PictureError):
        Preprocess((9,), channels=2, **PLAIN).geometry(sample)


def test_rates_and_spacings_are_checked():
    for wrong in ({"rate": 0}, {"rate": float("nan")}, {"spacing": (1, 0, 1)}, {"rate": -5}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            Preprocess((9, 9, 9), channels=1, **wrong, **PLAIN)


def test_ranges_that_are_each_samples_own():
    values = RNG.normal(size=(1, 6, 7, 8)).astype(np.float32)
    given, placed = Preprocess((6, 7, 8), channels=1, value_range="window", **PLAIN)(Volume(values, window=(-1.0, 2.0)))
    np.testing.assert_allclose(given, ((values + 1) / 3).clip(0, 1), atol=1e-6)
    assert placed.notes[0] == "values -1 to 2 (window) stand for 0 to 1"
    given, placed = Preprocess((6, 7, 8), channels=1, value_range="percentiles", **PLAIN)(Volume(values))
    low, high = np.quantile(values, [0.005, 0.995])
    np.testing.assert_allclose(given, ((values - low) / (high - low)).clip(0, 1), atol=1e-5)
    with pytest.raises(PictureError, match="says no window"):
        Preprocess((6, 7, 8), channels=1, value_range="window", **PLAIN)(Volume(values))
    with pytest.raises(PictureError, match="nearly everywhere"):
        Preprocess((6, 7, 8), channels=1, value_range="percentiles", **PLAIN)(Volume(np.zeros_like(values)))
    with pytest.raises(ParameterError, match="'window'; expected a lower and a higher number"):
        Preprocess((6, 7), channels=1, value_range="window", **PLAIN)
    with pytest.raises(ParameterError, match=r"'windows'; .*'window' or 'percentiles'"):
        Preprocess((6, 7, 8), channels=1, value_range="windows", **PLAIN)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((20, 24, 32), {"input_size": (8, 10, 12)}),
        ((20, 24, 32), {"input_size": (10, 12, 16), "resize": (10, 12, 16)}),
        ((20, 24, 32), {"input_size": (24, 24, 24), "resize": "whole"}),
        ((20, 24, 32), {"input_size": (40, 24, 32), "spacing": (1.0, 2.0, 2.0)}),
        ((200,), {"input_size": (120,)}),
        ((200,), {"input_size": (90,), "rate": 50.0}),
    ],
)
def test_what_lies_in_the_input_is_placed_back_where_it_was(size, settings):
    """A bump of the sample, taken through the preprocessing as if it were a map of the input, is where it was."""
    centre = [length * 0.45 for length in size]
    axes = np.meshgrid(*(np.arange(length) for length in size), indexing="ij")
    away = sum(((axis - middle) / 3.0) ** 2 for axis, middle in zip(axes, centre, strict=True))
    bump = np.exp(-away / 2).astype(np.float32)[None]
    sample = Signal(bump, rate=100.0) if len(size) == 1 else Volume(bump, spacing=(2.0, 2.0, 2.0))
    values, placed = Preprocess(channels=1, **settings, **PLAIN)(sample)
    back = np.nan_to_num(place(values[0].numpy(), placed.geometry))
    assert back.shape == size
    total = back.sum()
    for axis, middle in zip(axes, centre, strict=True):
        assert (axis * back).sum() / total == pytest.approx(middle, abs=0.6)
    assert back.max() == pytest.approx(1, abs=0.2)
