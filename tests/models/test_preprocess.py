"""Preprocessing: the numbers of torchvision and timm, bit for bit, and the geometry that belongs to them."""

import json

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification, ObjectDetection, SemanticSegmentation

from cnnviz.core.picture import LUMA, Picture
from cnnviz.errors import ModelError, ParameterError, PictureError
from cnnviz.images.reading import as_picture
from cnnviz.models.preprocess import Preprocess

SIZES = [(1, 1), (64, 64), (65, 97), (97, 65), (31, 200), (200, 31), (20, 21), (48, 150), (255, 256), (333, 500)]
PLAIN = Preprocess((4, 6), mean=(0,), std=(1,))


def photo(height, width):
    rng = np.random.default_rng(height * 1000 + width)
    return Picture(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), "photo")


def assert_same(preprocess, reference, picture):
    expected = reference(Image.fromarray(picture.pixels))
    inputs, _ = preprocess(picture)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous()
    assert torch.equal(inputs, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(64, 56), (57, 56), (56, 56), (40, 56), (41, 56), (65, 64)])
def test_equals_torchvision_bit_for_bit(size, resize, crop):
    reference = ImageClassification(crop_size=crop, resize_size=resize)
    assert_same(Preprocess.from_torchvision(reference), reference, photo(*size))


@pytest.mark.parametrize("mode", ["NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC", "LANCZOS"])
def test_equals_torchvision_for_each_interpolation(mode):
    reference = ImageClassification(crop_size=48, resize_size=53, interpolation=InterpolationMode[mode])
    assert_same(Preprocess.from_torchvision(reference), reference, photo(77, 131))


@pytest.mark.parametrize("name", ["ResNet50_Weights", "EfficientNet_B0_Weights", "Inception_V3_Weights"])
def test_equals_the_transforms_of_real_weights(name):
    reference = getattr(models, name).DEFAULT.transforms()
    assert_same(Preprocess.from_torchvision(reference), reference, photo(333, 500))


def test_other_torchvision_presets_are_refused():
    with pytest.raises(ModelError, match="ObjectDetection; expected torchvision's ImageClassification or Semantic"):
        Preprocess.from_torchvision(ObjectDetection())


@pytest.mark.parametrize(
    ("size", "resized", "crop"),
    [((40, 80), (30, 60), (-15, 0)), ((80, 20), (60, 15), (0, -22)), ((7, 7), (60, 60), (0, 0))],
)
def test_a_segmentation_preset_sees_whole_pictures_in_their_shape(size, resized, crop):
    reference = SemanticSegmentation(resize_size=60)
    made = Preprocess.from_torchvision(reference)
    picture = photo(*size)
    values, seen = made(picture)
    assert (seen.geometry.resized, seen.geometry.crop) == (resized, (*crop, 60, 60))
    top, left = (-start for start in crop)
    inside = values[:, top : top + resized[0], left : left + resized[1]]
    shrunk = Image.fromarray(picture.pixels).resize(resized[::-1], Image.Resampling.BILINEAR)
    assert torch.equal(inside, SemanticSegmentation(resize_size=None)(shrunk))
    black = -torch.tensor(made.mean)[:, None, None] / torch.tensor(made.std)[:, None, None]
    outside = torch.ones(60, 60, dtype=torch.bool)
    outside[top : top + resized[0], left : left + resized[1]] = False
    assert torch.equal(values[:, outside], black[:, 0].expand(-1, int(outside.sum())))


def test_a_resize_that_is_none_is_refused():
    with pytest.raises(ParameterError, match="resize is 'all'; expected pixels, or 'whole'"):
        Preprocess((8, 8), "all")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize(("share", "interpolation"), [(0.875, "bicubic"), (0.95, "bilinear"), (1.0, "bicubic")])
def test_equals_timm_bit_for_bit(size, mode, share, interpolation):
    config = {
        "input_size": (3, 56, 56), "interpolation": interpolation, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4),
        "crop_pct": share, "crop_mode": mode,
    }  # fmt: skip
    assert_same(Preprocess.from_timm(config), timm.data.create_transform(**config, is_training=False), photo(*size))


def test_equals_timm_squashed_to_an_oblong():
    config = timm.data.resolve_data_config({"input_size": (3, 40, 56)}, {"crop_mode": "squash", "crop_pct": 0.9})
    reference = timm.data.create_transform(**config, is_training=False)
    assert_same(Preprocess.from_timm(config), reference, photo(77, 131))


def test_timm_grey_network():
    config = timm.data.resolve_data_config({"input_size": (1, 28, 28), "mean": (0.13,), "std": (0.3,)})
    preprocess = Preprocess.from_timm(config)
    reference = timm.data.create_transform(**config, is_training=False)
    picture = photo(60, 50)
    grey = Image.fromarray(picture.pixels).convert("L")
    assert torch.equal(preprocess(picture)[0], reference(grey))


@pytest.mark.parametrize(("size", "mode"), [((3, 56, 56), "border"), ((3, 40, 56), "center"), ((3, 56, 56), "odd")])
def test_timm_modes_that_are_not_supported(size, mode):
    config = {"input_size": size, "interpolation": "bicubic", "mean": (0.5,), "std": (0.5,), "crop_mode": mode}
    with pytest.raises(ModelError, match=f"crop mode '{mode}'.*expected 'squash'"):
        Preprocess.from_timm(config)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", [None, 40, 64, (70, 33)])
def test_geometry_says_where_the_input_was_cut(size, resize):
    picture = photo(*size)
    inputs, seen = Preprocess((48, 56), resize, mean=(0,), std=(1,))(picture)
    geometry = seen.geometry
    assert geometry.original == size
    assert seen.pixels is picture.pixels
    assert (seen.name, picture.geometry) == ("photo", None)
    resized = Image.fromarray(picture.pixels).resize(geometry.resized[::-1], Image.Resampling.BILINEAR)
    top, left, height, width = geometry.crop
    expected = np.zeros((height, width, 3), np.uint8)
    for row in range(height):
        for column in range(0, width, 7):
            if 0 <= row + top < geometry.resized[0] and 0 <= column + left < geometry.resized[1]:
                expected[row, column] = resized.getpixel((column + left, row + top))
    found = np.rint(inputs.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    np.testing.assert_array_equal(found[:, ::7], expected[:, ::7])


def test_geometry_of_the_usual_photograph():
    _, seen = Preprocess((224, 224), 256)(photo(333, 500))
    assert seen.geometry.resized == (256, 384)
    assert seen.geometry.crop == (16, 80, 224, 224)
    _, padded = Preprocess((224, 224))(photo(201, 300))
    assert padded.geometry.crop == (-11, 38, 224, 224)


def test_grey_is_itu_r_601():
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    inputs, _ = Preprocess((1, 3), mean=(0,), std=(1,), channels=1)(Picture(pixels))
    assert inputs.shape == (1, 1, 3)
    assert (inputs * 255).round().flatten().tolist() == [76, 150, 29]


def test_other_channels_need_tensors():
    preprocess = Preprocess((32, 48), mean=(0.5,), std=(0.5,), channels=5)
    with pytest.raises(PictureError, match=r"takes 5 channels.*'photo'.*\(N, 5, 32, 48\)"):
        preprocess(photo(9, 9))


def test_a_picture_too_elongated_to_resize():
    with pytest.raises(PictureError, match=r"'photo' of 1 x 9000 pixels would be resized to 256 x 2304000"):
        Preprocess((224, 224), 256)(photo(1, 9000))


@pytest.mark.parametrize("channels", [1, 3])
def test_to_pixels_undoes_the_normalisation(channels):
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if channels == 3 else ((0.13,), (0.31,))
    preprocess = Preprocess((16, 16), mean=mean, std=std, channels=channels)
    picture = photo(16, 16)
    inputs, _ = preprocess(picture)
    for batch in (inputs[None], inputs[None].double().requires_grad_(), inputs[None].expand(3, -1, -1, -1)):
        shown = preprocess.to_pixels(batch)
        assert shown.shape == (len(batch), 16, 16, 3)
        assert shown.dtype == np.uint8
        if channels == 3:
            np.testing.assert_array_equal(shown[-1], picture.pixels)
        else:
            grey = np.array(Image.fromarray(picture.pixels).convert("L"))
            np.testing.assert_array_equal(shown[-1], np.stack([grey] * 3, 2))


def test_to_pixels_clips_and_survives_what_is_not_finite():
    values = torch.tensor([-9.0, 9.0, torch.nan, torch.inf, 1.0, 0.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert PLAIN.to_pixels(values)[0, 0, :, 0].tolist() == [0, 255, 0, 255, 255, 0]
    five = values[:, :1].expand(1, 5, 1, 6)
    assert PLAIN.to_pixels(five)[0, 0, :, 0].tolist() == [0, 0, 0, 255, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_to_pixels_of_decibels_is_grey_and_not_black(channels):
    values = torch.linspace(-80, 0, 5).view(1, 1, 1, 5).expand(1, channels, 1, 5)
    plain = Preprocess((1, 5), mean=(0.0,), std=(1.0,), channels=channels)
    assert plain.to_pixels(values)[0, 0, :, 0].tolist() == [0, 64, 128, 191, 255]
    picture = torch.cat([values, torch.full_like(values, 0.2)])
    assert plain.to_pixels(picture)[1, 0, :, 0].tolist() == [51] * 5  # each sample for itself


def test_to_pixels_of_other_channels_is_each_samples_stretched_mean():
    values = torch.zeros(3, 5, 1, 3)
    values[0, :, 0] = torch.tensor([0.0, 1.0, 2.0])
    values[1, 0, 0] = torch.tensor([-10.0, 0.0, 10.0])
    shown = PLAIN.to_pixels(values)
    assert shown[:, 0, :, 1].tolist() == [[0, 128, 255], [0, 128, 255], [0, 0, 0]]


def test_describe_is_plain_json():
    preprocess = Preprocess((224, 192), (240, 210), interpolation="bicubic")
    described = json.loads(json.dumps(preprocess.describe()))
    assert described["input_size"] == [224, 192]
    assert described["resize"] == [240, 210]
    assert Preprocess(**described) == preprocess
    assert hash(Preprocess(**described)) == hash(preprocess)
    assert Preprocess((8, 8), 9).describe()["resize"] == 9


@pytest.mark.parametrize(
    ("settings", "mention"),
    [
        ({"mean": (0.5, 0.5)}, "mean is .* for each channel \\(3\\)"),
        ({"channels": 1}, "mean is .*\\(1\\)"),
        ({"std": (1.0,) * 4}, "std is"),
        ({"std": (0.2, 0.0, 0.2)}, "std is .* above 0"),
        ({"mean": (float("nan"),)}, "mean is .*finite"),
        ({"input_size": (0, 5)}, "input_size is 0 x 5"),
        ({"resize": 0}, "resize is 0 x 0"),
        ({"resize": (5, -1)}, "resize is 5 x -1"),
        ({"interpolation": "cubic"}, "'cubic'; expected one of nearest, bilinear"),
        ({"channels": 0}, "channels is 0"),
    ],
)
def test_settings_out_of_bounds(settings, mention):
    with pytest.raises(ParameterError, match=mention) as caught:
        Preprocess(**{"input_size": (8, 8), **settings})
    assert "\n" not in str(caught.value)


def test_one_mean_stands_for_all_channels():
    picture = photo(16, 16)
    one = Preprocess((16, 16), mean=(0.5,), std=(0.25,))
    three = Preprocess((16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert torch.equal(one(picture)[0], three(picture)[0])
    np.testing.assert_array_equal(one.to_pixels(one(picture)[0][None])[0], picture.pixels)


@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 8)), (3, (8, 8)), (3, (8, 8, 3)), (1, (8, 8, 3))])
def test_the_network_is_given_the_values_own_depth(channels, shape):
    deep = np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)
    deep.flat[0] = 4095
    plain = Preprocess((8, 8), None, (0.25,), (0.5,), channels=channels)
    values, shown = plain(as_picture(deep))
    planes = np.moveaxis(np.atleast_3d(deep), 2, 0) / 4095
    if channels == 1 and len(planes) == 3:
        planes = np.tensordot(LUMA, planes, 1)[None]
    np.testing.assert_allclose(values, np.broadcast_to((planes - 0.25) / 0.5, (channels, 8, 8)), atol=1e-5)
    assert shown.pixels.dtype == np.uint8
    small = Preprocess((4, 4), 4, (0.0,), (1.0,), channels=channels)
    eight = small(as_picture(np.rint(deep / 4095 * 255).astype(np.uint8)))[0]
    np.testing.assert_allclose(small(as_picture(deep))[0], eight, atol=1.6 / 255)


def test_a_range_of_the_network_is_its_pictures():
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65
    ranged = Preprocess((8, 8), None, (0.0,), (1.0,), channels=1, value_range=(0, 8190))
    for given in (as_picture(deep), as_picture(deep, value_range=(0, 8190)), as_picture(deep, value_range=(0, 65535))):
        values, shown = ranged(given)
        np.testing.assert_allclose(values[0], deep / 8190, atol=1e-6)
        np.testing.assert_allclose(shown.pixels[:, :, 0], deep * (255 / 8190), atol=0.501)
    assert ranged.describe()["value_range"] == [0, 8190]
    assert "value_range" not in Preprocess((8, 8)).describe()
