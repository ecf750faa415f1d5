"""The pass over a data set finds what brute force finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import (
    CnnvizError,
    ExplanationError,
    ModelError,
    OutputError,
    ParameterError,
    PictureError,
    UnknownNameError,
    UsageError,
)
from cnnviz.methods.scan.index import choose_sample, draw_from_tenths
from cnnviz.results.patch_index import PatchIndex
from tests.support.asking import state_of
from tests.support.networks import Small, model_of
from tests.support.scans import COUNT, SETTINGS, Noise, tiny_model


def outputs(model, data, images):
    """Each layer's maps ``(n, C, h, w)`` in a forward of one picture at a time."""
    net = model.module
    inputs = torch.stack([model.preprocess(data.item(image))[0] for image in images])
    with torch.no_grad():
        conv = torch.cat([net.conv(one[None]) for one in inputs])
        norm = net.norm(conv)
        relu = norm.relu()
        last = net.last[0](relu)
    return {"conv": conv, "norm": norm, "relu": relu, "last": last, "last.1": last}


def by_hand(maps, images, k):
    """Largest values, images and places of one layer by sorting tuples."""
    found = []
    for unit in range(maps.shape[1]):
        flat = maps[:, unit].flatten(1).numpy()
        entries = [(-float(row.max()), image, int(row.argmax())) for image, row in zip(images, flat, strict=True)]
        found.append(sorted(entries)[:k])
    return found


@pytest.fixture(scope="module")
def index():
    return cnnviz.scan_patches(tiny_model(), Noise(), **SETTINGS)


@pytest.mark.parametrize("layer", ["conv", "norm", "relu", "last", "last.1"])
def test_the_largest_are_those_of_brute_force(layer, index):
    model, images = tiny_model(), range(COUNT)
    maps = outputs(model, Noise(), images)[layer]
    found = index.layer(layer)
    assert found.grid == tuple(maps.shape[2:])
    for unit, entries in enumerate(by_hand(maps, images, 5)):
        values, numbers, places = (np.array(each) for each in zip(*entries, strict=True))
        assert found.values[unit] == pytest.approx(-values, rel=1e-5)
        assert found.images[unit].tolist() == numbers.tolist()
        assert (found.positions[unit] @ [maps.shape[3], 1]).tolist() == places.tolist()


def test_places_on_an_oblong_grid_are_rows_and_columns():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4 * 9, 2))
    nn.init.ones_(net[0].weight)
    model = cnnviz.Model(net, mean=(0.0,), std=(1.0,), input_size=(4, 9), channels=1)
    places = [(0, 0), (0, 8), (3, 0), (1, 6), (3, 8)]
    pictures = torch.zeros(len(places), 1, 4, 9)
    for number, (row, column) in enumerate(places):
        pictures[number, 0, row, column] = 5 - number
    found = cnnviz.scan_patches(model, pictures, layer="0", k=5).layer("0")
    assert found.grid == (4, 9)
    assert found.images[0].tolist() == [0, 1, 2, 3, 4]
    assert found.positions[0].tolist() == [list(place) for place in places]


@pytest.mark.parametrize("layer", ["conv", "relu", "last"])
def test_statistics_are_those_of_all_values(layer, index):
    data = Noise()
    values = outputs(tiny_model(), data, range(COUNT))[layer].flatten(2).amax(dim=2).numpy().astype(np.float64)
    found = index.layer(layer)
    assert found.counts.tolist() == [COUNT] * len(found)
    assert found.means == pytest.approx(values.mean(axis=0), rel=1e-6)
    assert found.active.tolist() == (values > 0).sum(axis=0).tolist()
    assert found.dead.tolist() == (values <= 0).all(axis=0).tolist()
    assert found.ties.tolist() == [1] * len(found)
    lower, higher = (np.quantile(values, index.levels, axis=0, method=how).T for how in ("lower", "higher"))
    assert (found.quantiles >= lower - np.abs(lower) / 16 - 2**-11).all()
    assert (found.quantiles <= higher + np.abs(higher) / 16 + 2**-11).all()
    for label in range(3):
        rows = values[data.labels == label]
        assert found.class_means[:, label] == pytest.approx(rows.mean(axis=0), rel=1e-6)
    assert index.class_counts.tolist() == [(data.labels == label).sum() for label in range(3)]


def test_a_saturating_layer_is_ranked_before_its_ceiling():
    net = tiny_model()
    with torch.no_grad():
        net.module.last[0].weight.mul_(40)
    layers = {"layer": "last.0,last,last.1"}
    index = cnnviz.scan_patches(net, Noise(), **(SETTINGS | layers))
    raw = index.layer("last.0")
    assert (raw.values[:, 0] > 6).any()
    for name in ("last", "last.1"):
        assert index.layer(name).ranked == "the layer before its relu6"
        assert index.layer(name).values.tobytes() == raw.values.tobytes()
        assert index.layer(name).ties.max() == 1
    assert raw.ranked == "the layer's output"


def test_equal_images_stand_in_their_order():
    index = cnnviz.scan_patches(tiny_model(), Noise(COUNT + 1, twins=True), **SETTINGS)
    for layer in index.layers.values():
        if layer.name == "relu":
            continue
        assert layer.ties.tolist() == [2] * len(layer)
        first, second = layer.images[:, 0], layer.images[:, 1]
        assert (first % 2 == 0).all()
        assert (second == first + 1).all()


def test_corrupt_pictures_are_listed_and_change_nothing_else(index):
    corrupt = (0, 5, 6, COUNT - 1)
    data = Noise(corrupt=corrupt)
    found = cnnviz.scan_patches(tiny_model(), data, **SETTINGS)
    assert found.images == COUNT - len(corrupt)
    assert [(each.key, each.sentence) for each in found.failures] == [
        (data.keys[image], f"'{data.keys[image]}' is damaged.") for image in corrupt
    ]
    good = [image for image in range(COUNT) if image not in corrupt]
    entries = by_hand(outputs(tiny_model(), Noise(), good)["conv"], good, 5)
    layer = found.layer("conv")
    assert layer.images.tolist() == [[image for _, image, _ in unit] for unit in entries]
    whole = {
        (unit, image): value
        for unit in range(5)
        for image, value in zip(index.layer("conv").images[unit], index.layer("conv").values[unit], strict=True)
    }
    shared = [(unit, rank) for unit in range(5) for rank in range(5) if (unit, layer.images[unit, rank]) in whole]
    assert len(shared) > 10
    assert all(layer.values[unit, rank] == whole[unit, layer.images[unit, rank]] for unit, rank in shared)


def test_no_picture_at_all_is_an_error():
    with pytest.raises(PictureError, match=r"No picture.*000\.png"):
        cnnviz.scan_patches(tiny_model(), Noise(3, corrupt=range(3)), **SETTINGS)


class Dividing(nn.Module):
    """Divides by zero where a picture's mean is below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.conv(x / (x.mean(dim=(1, 2, 3), keepdim=True) > 0)).mean(dim=(2, 3))


def test_pictures_without_finite_values_are_failures():
    model, data = model_of(Dividing().eval(), input_size=16), Noise()
    means = [float(model.preprocess(data.item(image))[0].mean()) for image in range(COUNT)]
    expected = [data.keys[image] for image in range(COUNT) if means[image] <= 0]
    index = cnnviz.scan_patches(model, data, layer="conv", block=4)
    assert 0 < len(expected) < COUNT
    assert [each.key for each in index.failures] == expected
    assert index.images == COUNT - len(expected)
    assert "no finite numbers at 'conv'" in index.failures[0].sentence
    assert np.isfinite(index.layer("conv").means).all()


def test_fewer_images_than_k():
    index = cnnviz.scan_patches(tiny_model(), Noise(3), layer="conv", k=8)
    layer = index.layer("conv")
    assert (layer.images[:, 3:] == -1).all()
    assert np.isnan(layer.values[:, 3:]).all()
    assert (layer.positions[:, 3:] == -1).all()
    assert sorted(index.keys) == [0, 1, 2]


def test_samples_come_from_their_tenths_and_everywhere_the_same():
    settings = {"layer": "conv", "block": 4, "samples": 2, "seed": 5}
    data = Noise(400)
    index = cnnviz.scan_patches(tiny_model(), data, **settings)
    samples = index.layer("conv").samples
    pool = choose_sample(400, 2, 5)
    assert len(pool) == 200
    assert set(samples.images.reshape(-1)) <= set(pool.tolist())
    values = outputs(tiny_model(), data, pool)["conv"].flatten(2).amax(dim=2).numpy()
    ranks = values.argsort(axis=0).argsort(axis=0)
    for unit in range(5):
        for tenth in range(10):
            rows = np.searchsorted(pool, samples.images[unit, tenth])
            assert (ranks[rows, unit] // 20 == tenth).all()
            assert samples.values[unit, tenth] == pytest.approx(values[rows, unit], rel=1e-5)
            assert samples.values[unit, tenth, 0] >= samples.values[unit, tenth, 1]
    assert len({tuple(unit.reshape(-1)) for unit in samples.images}) == 5
    others = cnnviz.scan_patches(tiny_model(), data, **(settings | {"seed": 6})).layer("conv").samples
    assert (others.images != samples.images).any()


def test_samples_are_usual_for_their_tenth():
    values = np.arange(1000, dtype=np.float32)
    sample = [(image, np.full(200, values[image]), np.zeros(200, np.int32)) for image in range(1000)]
    drawn = draw_from_tenths(sample, slice(0, 200), 2, seed=3).values.reshape(200, 10, 2)
    within = drawn - 100 * np.arange(10)[:, None]
    assert ((within >= 0) & (within < 100)).all()
    assert within.mean() == pytest.approx(49.5, abs=2)


def test_a_single_image_makes_no_unit_dead():
    found = cnnviz.scan_patches(tiny_model(), Noise(1), layer="conv").layer("conv")
    assert found.active.any()
    assert found.dead.tolist() == (found.active == 0).tolist()


def test_chosen_images_are_a_fair_sample():
    chosen = choose_sample(200_000, 10, 0)
    assert len(chosen) == len(set(chosen.tolist())) == 1000
    assert abs(chosen.mean() / 100_000 - 1) < 0.06
    assert set(choose_sample(100_000, 10, 0)) >= {image for image in chosen if image < 100_000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv", ["conv"]),
        ("Conv2d", ["conv", "last.0"]),
        ("last*", ["last", "last.0", "last.1"]),
        ("all", ["conv", "norm", "relu", "last.0", "last.1", "fc"]),
        ("last-spatial, conv", ["last", "conv"]),
        ("conv,conv,Conv2d", ["conv", "last.0"]),
    ],
)
def test_naming_layers(text, expected):
    index = cnnviz.scan_patches(tiny_model(), Noise(2), layer=text)
    assert list(index.layers) == expected


def test_a_vector_of_units_has_one_place():
    layer = cnnviz.scan_patches(tiny_model(), Noise(5), layer="fc").layer("fc")
    assert layer.grid == (1, 1)
    assert (layer.positions[layer.images >= 0] == 0).all()


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"layer": "conf"}, UnknownNameError, "Did you mean 'conv'"),
        ({"layer": "nothing*"}, UsageError, r"No layer with units fits 'nothing\*'"),
        ({"layer": " , "}, UsageError, "Name the layers"),
        ({"k": 0}, ParameterError, "k must be a whole number of at least 1"),
        ({"block": 2.5}, ParameterError, "block"),
        ({"threads": True}, ParameterError, "threads"),
        ({"shard": "4/3"}, ParameterError, "such as 1/3"),
        ({"shard": "1/3"}, UsageError, "need a folder"),
    ],
)
def test_what_cannot_be_asked(settings, kind, words):
    with pytest.raises(kind, match=words):
        cnnviz.scan_patches(tiny_model(), Noise(2), **settings)


def test_inputs_that_do_not_fit_together():
    model = model_of(Small())
    with pytest.raises(UsageError, match="one size"):
        cnnviz.scan_patches(model, [torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 30, 30)], layer="conv1")
    with pytest.raises(UsageError, match="takes 3 channels"):
        cnnviz.scan_patches(model, torch.zeros(2, 1, 32, 32), layer="conv1")
    with pytest.raises(ExplanationError, match="no units"):
        cnnviz.scan_patches(model_of(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(1, 2))), Noise(2), layer="1")


def test_tensors_are_network_input_of_any_size():
    model, inputs = model_of(Small()), torch.randn(5, 3, 40, 24)
    index = cnnviz.scan_patches(model, inputs, layer="conv1")
    with torch.no_grad():
        expected = model.module.conv1(inputs).flatten(2).amax(dim=2).amax(dim=0)
    assert index.layer("conv1").values[:, 0] == pytest.approx(expected.numpy(), rel=1e-5)


def test_a_batch_size_that_is_fixed():
    net = Small().eval()
    whole = cnnviz.scan_patches(model_of(net, fixed_batch=4), Noise(6), layer="conv1", block=3)
    assert whole.manifest["block"] == 4
    assert whole.images == 6


def test_autocast_is_recorded_and_close():
    full = cnnviz.scan_patches(tiny_model(), Noise(), **SETTINGS)
    half = cnnviz.scan_patches(tiny_model(), Noise(), **SETTINGS, autocast=True)
    assert half.manifest["autocast"]
    gap = np.abs(full.layer("conv").values - half.layer("conv").values).max()
    assert 0 < gap < 0.05 * np.abs(full.layer("conv").values).max()


def test_out_of_memory_says_what_to_do(monkeypatch):
    from cnnviz.methods.scan import scan

    def full(*_given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(scan.PeakRecorder, "__call__", full)
    with pytest.raises(ModelError, match=r"block of 4 images does not fit .* block=2"):
        cnnviz.scan_patches(tiny_model(), Noise(9), **SETTINGS)


def test_the_network_threads_and_random_numbers_stay_as_they_are(tmp_path):
    model = tiny_model()
    before, threads = state_of(model.module), torch.get_num_threads()
    cnnviz.scan_patches(model, Noise(), tmp_path, **SETTINGS, threads=2)
    with pytest.raises(CnnvizError):
        cnnviz.scan_patches(model, Noise(), tmp_path, **(SETTINGS | {"k": 6}))
    assert state_of(model.module) == before
    assert torch.get_num_threads() == threads


def test_progress_is_told():
    told = []
    with cnnviz.progress_to(lambda done, total: told.append((done, total))):
        cnnviz.scan_patches(tiny_model(), Noise(), **SETTINGS)
    assert told == [(done, 7) for done in range(1, 8)]


def test_an_index_reads_back(tmp_path, index):
    index.write(tmp_path)
    back = PatchIndex.read(tmp_path)
    assert back.describe() == index.describe()
    assert back.keys == index.keys
    for name, layer in index.layers.items():
        for array in ("values", "images", "positions", "quantiles", "means", "class_means"):
            assert getattr(layer, array).tobytes() == getattr(back.layer(name), array).tobytes()
        assert layer.samples.images.tobytes() == back.layer(name).samples.images.tobytes()
    with pytest.raises(UnknownNameError, match="'conv'"):
        back.layer("conv1")
    with pytest.raises(OutputError, match="holds no index"):
        PatchIndex.read(tmp_path / "nowhere")
    (tmp_path / "index.safetensors").write_bytes(b"not this")
    with pytest.raises(OutputError, match="damaged"):
        PatchIndex.read(tmp_path)
