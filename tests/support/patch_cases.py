"""Small data sets and networks whose patches are known, and an index made by brute force."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from cnnviz import Model
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.results.patch_index import LayerIndex, PatchIndex, Samples

SIDE, FIELD = 24, 5


def squares(places: Sequence[tuple[int, int]], brightness: Sequence[int] | None = None) -> list[np.ndarray]:
    """Dark noise ``(24, 24, 3)`` with one bright 5 x 5 square each, at the given top left corners."""
    found = []
    for number, (y, x) in enumerate(places):
        pixels = np.random.default_rng(number).integers(0, 40, (SIDE, SIDE, 3), dtype=np.uint8)
        level = brightness[number] if brightness else 255 - 10 * number
        pixels[y : y + FIELD, x : x + FIELD] = level
        found.append(pixels)
    return found


def box_filter(stride: int = 1, padding: int = 0, units: int = 2) -> Model:
    """Unit u sums 5 x 5 pixels, times u + 1; then a mean over all places."""
    convolution = nn.Conv2d(3, units, FIELD, stride, padding, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.arange(1.0, units + 1)[:, None, None, None].expand_as(convolution.weight) / 75)
    module = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 2))
    return Model(module, mean=(0, 0, 0), std=(1, 1, 1), input_size=SIDE, name="boxes")


def brute_index(model: Model, data: Dataset, layer: str, *, k: int = 9, block: int = 4, samples: bool = False):
    """An index by definition: the layer's maps of every image, one image at a time, sorted."""
    held: list[torch.Tensor] = []
    handle = model.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: held.append(out.clone()))
    with torch.no_grad():
        for number in range(len(data)):
            item = data.item(number)
            model.module(item[None] if isinstance(item, torch.Tensor) else model.preprocess(item)[0][None])
    handle.remove()
    maps = torch.cat(held)
    maps = maps if maps.dim() == 4 else maps[:, :, None, None]
    flat = maps.flatten(2)
    peaks, places = flat.max(dim=2)
    order = np.lexsort((np.arange(len(data))[:, None].repeat(peaks.shape[1], 1), -peaks.numpy()), axis=0)[:k]
    values = np.take_along_axis(peaks.numpy(), order, 0).T
    spots = np.stack(np.unravel_index(np.take_along_axis(places.numpy(), order, 0).T, maps.shape[2:]), -1)
    found = LayerIndex(
        layer,
        "its output",
        tuple(maps.shape[2:]),
        values.astype(np.float32),
        order.T.astype(np.int64),
        spots.astype(np.int32),
        counts=np.full(len(values), len(data)),
        active=(peaks.numpy() > 0).sum(0),
        means=peaks.double().mean(0).numpy(),
        quantiles=np.zeros((len(values), 1)),
        ties=(peaks.numpy() == peaks.numpy().max(0)).sum(0),
        dead=(peaks.numpy() <= 0).all(0),
        class_means=_class_means(peaks.double().numpy(), data),
        samples=_samples(values, order.T, spots) if samples else None,
    )
    manifest = {
        "network": model.describe(), "data": data.describe(), "block": block, "threads": 1, "device": "cpu",
        "dtype": "float32", "autocast": False,
    }  # fmt: skip
    counts = np.bincount(data.labels, minlength=len(data.classes)) if data.classes else None
    keys = dict(enumerate(data.keys))
    return PatchIndex({layer: found}, keys, data.classes, counts, (0.5,), len(data), (), manifest)


def _class_means(peaks: np.ndarray, data: Dataset) -> np.ndarray | None:
    if data.classes is None:
        return None
    return np.stack([peaks[data.labels == label].mean(0) for label in range(len(data.classes))], axis=1)


def _samples(values: np.ndarray, images: np.ndarray, spots: np.ndarray) -> Samples:
    """The strongest as the sample of the highest tenth, the next as that of the one below it, and so on."""
    count = min(10, values.shape[1])
    shape = len(values), 10, 1
    found = Samples(np.full(shape, np.nan, np.float32), np.full(shape, -1), np.full((*shape, 2), -1, np.int32))
    for rank in range(count):
        found.values[:, 9 - rank, 0] = values[:, rank]
        found.images[:, 9 - rank, 0] = images[:, rank]
        found.positions[:, 9 - rank, 0] = spots[:, rank]
    return found


def labelled(tmp_path, pictures: Sequence[np.ndarray], classes: Sequence[str]) -> Dataset:
    """A data set of files in folders, one a class."""
    from PIL import Image

    for number, (pixels, name) in enumerate(zip(pictures, classes, strict=True)):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return open_dataset(tmp_path / "set")
