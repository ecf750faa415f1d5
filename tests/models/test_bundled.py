"""The bundled networks: torch-free description, architectures, and weights that do what their cards say."""

import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import cnnviz
from cnnviz.engine.detections import find_detections
from cnnviz.images.synthetic.digits import DIGITS, draw_digit
from cnnviz.images.synthetic.events import EVENTS, RATE, draw_signal
from cnnviz.images.synthetic.scenes import SHAPES, draw_scene
from cnnviz.images.synthetic.solids import SOLIDS, SPACING, draw_volume
from cnnviz.models.bundled import BUNDLED, build, detection_reader, weights_path

NAMES = tuple(BUNDLED)
UNET, DETECTOR = "shapes-unet", "shapes-detector"
CLASSIFIERS = tuple(name for name in NAMES if name not in (UNET, DETECTOR))
PARAMETERS = {
    "shapes-resnet": 171_354, "shapes-vgg": 105_034, UNET: 224_511, DETECTOR: 239_166, "digits-lenet5": 61_706,
    "signals-cnn": 21_238, "volumes-cnn": 126_054,
}  # fmt: skip
DRAW = {
    "shapes-resnet": draw_scene, "shapes-vgg": draw_scene, "digits-lenet5": draw_digit, "signals-cnn": draw_signal,
    "volumes-cnn": draw_volume,
}  # fmt: skip
PLACED = ("signals-cnn", "volumes-cnn")
LAST_MAP = {
    "shapes-resnet": "layer3", "shapes-vgg": "features", UNET: "layer3", DETECTOR: "layer3", "digits-lenet5": "pool2",
    "signals-cnn": "features", "volumes-cnn": "features",
}  # fmt: skip
GRIDS = {"digits-lenet5": (5, 5), "signals-cnn": (64,), "volumes-cnn": (8, 8, 8)}
TEST_SEED = 20_000


def trained(name):
    network = build(name)
    network.load_state_dict(load_file(weights_path(name)), strict=True)
    return network


@cache
@torch.no_grad()
def share_right(name, count=400):
    entry = BUNDLED[name]
    drawn = [DRAW[name](index, seed=TEST_SEED) for index in range(count)]
    values = torch.from_numpy(np.stack([values_of(one) for one in drawn]))
    shape = -1, *(1 for _ in entry.input_size)
    mean, std = (torch.tensor(each).view(shape) for each in (entry.mean, entry.std))
    answers = torch.cat([trained(name)((part - mean) / std).argmax(1) for part in values.split(200)])
    return float((answers == torch.tensor([one.target for one in drawn])).float().mean())


def values_of(drawn):
    if hasattr(drawn, "values"):
        return drawn.values
    return np.moveaxis(np.atleast_3d(drawn.pixels), 2, 0).astype(np.float32) / 255


@cache
@torch.no_grad()
def mean_iou(count):
    """Intersection over union of the pixels of all scenes, a class at a time, and the mean of that over the classes."""
    entry, network = BUNDLED[UNET], trained(UNET)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (entry.mean, entry.std))
    both, either = np.zeros((2, len(entry.labels)))
    for index in range(count):
        scene = draw_scene(index, seed=TEST_SEED, shapes=2 + index % 2)
        pixels = torch.from_numpy(scene.pixels).permute(2, 0, 1) / 255
        found, right = network(((pixels - mean) / std)[None]).argmax(1)[0].numpy(), scene.class_map
        for target in range(len(entry.labels)):
            one, other = found == target, right == target
            both[target] += (one & other).sum()
            either[target] += (one | other).sum()
    return float((both / either).mean())


@cache
@torch.no_grad()
def boxes_found(count):
    """Of each scene its shapes' boxes by class, and what the network finds: class, score and box, the surest first."""
    entry, network = BUNDLED[DETECTOR], trained(DETECTOR)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (entry.mean, entry.std))
    scenes = [draw_scene(index, seed=TEST_SEED, shapes=1 + index % 3) for index in range(count)]
    inputs = torch.stack([(torch.from_numpy(scene.pixels).permute(2, 0, 1) / 255 - mean) / std for scene in scenes])
    found = find_detections(network(inputs), detection_reader(DETECTOR), count)
    known = [{shape.target: box_of(shape.mask) for shape in scene.shapes} for scene in scenes]
    return known, [list(zip(*(part.tolist() for part in (one.labels, one.scores, one.boxes)), strict=True))
                   for one in found]  # fmt: skip


def box_of(mask):
    down, across = np.nonzero(mask)
    return across.min(), down.min(), across.max() + 1, down.max() + 1


def overlap(one, other):
    sides = [max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


@cache
def mean_precision(count, least):
    """Average precision at a least overlap, a class at a time: the best precision at each further recall; the mean."""
    known, found = boxes_found(count)
    precisions = []
    for target in range(len(BUNDLED[DETECTOR].labels)):
        listed = sorted(
            ((score, row, box) for row, some in enumerate(found) for label, score, box in some if label == target),
            key=lambda each: -each[0],
        )
        met, curve = set(), []
        for place, (_score, row, box) in enumerate(listed, 1):
            if row not in met and target in known[row] and overlap(box, known[row][target]) >= least:
                met.add(row)
            curve.append((len(met), len(met) / place))
        total = sum(target in one for one in known)
        best = [max((precise for met, precise in curve if met >= wanted), default=0) for wanted in range(1, total + 1)]
        precisions.append(np.mean(best))
    return float(np.mean(precisions))


def card(name):
    return weights_path(name).with_suffix(".md").read_text(encoding="utf-8")


def stated_iou():
    return float(re.search(r"Mean IoU: \*\*(0\.\d+)\*\*", card(UNET)).group(1))


def stated_precision():
    """At an overlap of .5 and of .75."""
    return tuple(
        map(float, re.search(r"Mean average precision: \*\*(0\.\d+)\*\* .* (0\.\d+) at", card(DETECTOR)).groups())
    )


def test_description_needs_no_torch():
    script = "import sys, cnnviz.models.bundled; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_labels_are_those_that_are_drawn():
    assert BUNDLED["shapes-resnet"].labels == BUNDLED["shapes-vgg"].labels == BUNDLED[DETECTOR].labels == SHAPES
    assert BUNDLED[UNET].labels == ("background", *SHAPES)
    assert BUNDLED["digits-lenet5"].labels == DIGITS
    assert BUNDLED["signals-cnn"].labels == EVENTS
    assert BUNDLED["volumes-cnn"].labels == SOLIDS


def test_signals_and_volumes_are_measured_as_they_are_drawn():
    assert (BUNDLED["signals-cnn"].rate, BUNDLED["signals-cnn"].spacing) == (RATE, None)
    assert (BUNDLED["volumes-cnn"].rate, BUNDLED["volumes-cnn"].spacing) == (None, SPACING)
    assert all(BUNDLED[name].rate is BUNDLED[name].spacing is None for name in NAMES if name not in PLACED)


@pytest.mark.parametrize("name", NAMES)
def test_entry_fits_its_network(name):
    entry = BUNDLED[name]
    network = build(name)
    assert entry.name == name
    assert type(network).__name__ == entry.network
    assert not network.training
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    assert len(entry.mean) == len(entry.std)
    maps = []
    network.get_submodule(LAST_MAP[name]).register_forward_hook(lambda *call: maps.append(call[2]))
    answer = network(torch.zeros(2, len(entry.mean), *entry.input_size))
    if name == DETECTOR:
        assert answer["boxes"].shape == (2, 256, 4)
        assert answer["logits"].shape == (2, 256, len(entry.labels))
    else:
        assert answer.shape == (2, len(entry.labels), *(entry.input_size if name == UNET else ()))
    assert maps[0].shape[2:] == GRIDS.get(name, (8, 8))


@pytest.mark.parametrize("name", ["shapes-resnet", "shapes-vgg"])
def test_scenes_of_any_size(name):
    assert build(name)(torch.zeros(1, 3, 96, 128)).shape == (1, 10)


@pytest.mark.parametrize(("name", "size"), [("signals-cnn", (2, 777)), ("volumes-cnn", (1, 20, 33, 64))])
def test_signals_and_volumes_of_any_size(name, size):
    assert build(name)(torch.zeros(1, *size)).shape == (1, 6)


@pytest.mark.parametrize("name", PLACED)
def test_a_mirrored_input_is_mirrored_in_the_last_map_where_the_kernels_are(name):
    """The places of the last map lie in the middle of equal parts of the input along every axis."""
    network = build(name)
    for parameter in network.parameters():
        for axis in range(2, parameter.dim()):
            parameter.data = (parameter + parameter.flip(axis)) / 2
    inputs = torch.randn(1, len(BUNDLED[name].mean), *BUNDLED[name].input_size)
    for axis in range(2, inputs.dim()):
        straight, mirrored = network.features(inputs), network.features(inputs.flip(axis))
        torch.testing.assert_close(mirrored.flip(axis), straight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [(96, 128), (50, 71)])
def test_a_class_for_every_pixel_of_any_size(size):
    assert build(UNET)(torch.zeros(1, 3, *size)).shape == (1, 11, *size)


@pytest.mark.parametrize("size", [(96, 128), (50, 71)])
def test_candidates_of_any_size(size):
    answer = build(DETECTOR)(torch.zeros(1, 3, *size))
    places = -(-size[0] // 4) * -(-size[1] // 4)
    assert answer["boxes"].shape == (1, places, 4)
    left, top, right, bottom = answer["boxes"][0].unbind(1)
    across = (torch.arange(places) % -(-size[1] // 4) + 0.5) * 4
    down = (torch.arange(places) // -(-size[1] // 4) + 0.5) * 4
    assert ((left < across) & (across < right) & (top < down) & (down < bottom)).all()


def test_only_the_detector_has_a_reader():
    assert [name for name in NAMES if detection_reader(name) is not None] == [DETECTOR]


def test_kinds_of_layers():
    kinds = {name: {type(module) for module in build(name).modules()} for name in NAMES}
    assert {nn.BatchNorm2d, nn.ReLU} <= kinds["shapes-resnet"]
    assert {nn.MaxPool2d, nn.ReLU} <= kinds["shapes-vgg"]
    assert nn.BatchNorm2d not in kinds["shapes-vgg"]
    assert {nn.Conv1d, nn.BatchNorm1d, nn.ReLU, nn.MaxPool1d} <= kinds["signals-cnn"]
    assert {nn.Conv3d, nn.BatchNorm3d, nn.ReLU, nn.MaxPool3d} <= kinds["volumes-cnn"]
    assert {nn.Tanh, nn.AvgPool2d} <= kinds["digits-lenet5"]
    assert nn.ReLU not in kinds["digits-lenet5"]


def test_unknown_name():
    with pytest.raises(KeyError):
        build("resnet50")
    with pytest.raises(KeyError):
        weights_path("resnet50")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_weights_name_drawn_pictures(name):
    assert share_right(name) >= (0.98 if name in PLACED else 0.95)


def test_weights_name_the_pixels_of_scenes():
    assert mean_iou(60) >= 0.8


@pytest.mark.slow
def test_weights_name_the_pixels_of_the_whole_test_set_as_the_card_says():
    assert mean_iou(500) >= 0.8
    assert abs(stated_iou() - mean_iou(500)) < 0.002


def test_weights_find_the_shapes_of_scenes():
    assert mean_precision(60, 0.5) >= 0.95


@pytest.mark.slow
def test_weights_find_the_shapes_of_the_whole_test_set_as_the_card_says():
    assert mean_precision(500, 0.5) >= 0.95
    for stated, least in zip(stated_precision(), (0.5, 0.75), strict=True):
        assert abs(stated - mean_precision(500, least)) < 0.002


def test_open_network_answers_for_each_pixel():
    model = cnnviz.load_model(UNET, device="cpu")
    assert model.labels == BUNDLED[UNET].labels
    assert model.layers["classifier"].shape == (11, 64, 64)
    scene = draw_scene(0, seed=TEST_SEED, shapes=2)
    inputs, _ = model.preprocess(cnnviz.Picture(scene.pixels, "scene"))
    found = model.module(inputs[None]).argmax(1)[0].numpy()
    assert (found == scene.class_map).mean() > 0.9


def test_units_of_the_network_with_a_class_for_each_pixel():
    model = cnnviz.load_model(UNET, device="cpu")
    scene = draw_scene(0, seed=TEST_SEED, shapes=2)
    maps = cnnviz.saliency(model, scene.pixels, "layer3.1.bn2:3@2,2")
    assert maps.values.shape[-2:] == (64, 64)
    assert np.abs(maps.values).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_finite_and_trained(name):
    state = trained(name).state_dict()
    assert all(torch.isfinite(value).all() for value in state.values())


def test_weights_are_small():
    sizes = [weights_path(name).stat().st_size for name in NAMES]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 4_000_000


@pytest.mark.parametrize("name", NAMES)
def test_card_says_what_the_network_is(name):
    text, entry = card(name), BUNDLED[name]
    if name == UNET:
        assert 0.8 <= stated_iou() <= 1
        assert abs(stated_iou() - mean_iou(60)) < 0.05
    elif name == DETECTOR:
        assert 0.95 <= stated_precision()[0] <= 1
        assert abs(stated_precision()[0] - mean_precision(60, 0.5)) < 0.03
    else:
        stated = float(re.search(r"Test accuracy: \*\*(\d+\.\d+) %\*\*", text).group(1)) / 100
        assert 0.95 <= stated <= 1
        assert abs(stated - share_right(name)) < 0.025
    assert f"{PARAMETERS[name]:,} parameters" in text
    assert f"python training/bundled.py {name}" in text
    assert all(label in text for label in entry.labels)
    assert f"mean {entry.mean}, std {entry.std}" in text
    assert " x ".join(map(str, entry.input_size)) in text
    if entry.rate is not None:
        assert f"{entry.rate:g} samples a second" in text
    if entry.spacing is not None:
        assert " x ".join(f"{gap:g}" for gap in entry.spacing) + " mm" in text
