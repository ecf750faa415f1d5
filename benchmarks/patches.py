"""Top-activating patches beside a bare loop of the same loader and the same forward: images per second.

pip install -e . && python -m benchmarks.patches --photos FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import cnnviz
from benchmarks.measuring import Row, interleaved, write
from cnnviz.methods.scan.loader import example_shape, load_blocks

LAYERS = {"26 convolutions": "Conv2d", "56 leaf layers": "all"}


def crops(photos: Path, folder: Path, count: int) -> None:
    """JPEG files cut from photographs: windows of 240 to 400 pixels, at random."""
    rng = np.random.default_rng(0)
    pictures = [Image.open(path).convert("RGB") for path in sorted(photos.glob("*.jpg"))]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = min(int(rng.integers(240, 401)), *picture.size)
        left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
        picture.crop((left, top, left + side, top + side)).save(folder / f"{number:05}.jpg", quality=90)


def bare(model: cnnviz.Model, folder: Path, block: int, workers: int) -> None:
    """Nothing but the loader and the forward."""
    data = cnnviz.open_dataset(folder)
    blocks = range(-(-len(data) // block))
    with torch.no_grad():
        for each in load_blocks(model, data, blocks, shape=example_shape(model, data), size=block, workers=workers):
            model.module(model.to_device(each.inputs))


def scanned(model: cnnviz.Model, folder: Path, layer: str, block: int, workers: int) -> None:
    """The whole scan: index, shards and manifest on the disk."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as index:
        cnnviz.scan_patches(model, folder, index, layer=layer, k=16, block=block, workers=workers, threads=threads)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with photographs (.jpg)")
    parser.add_argument("--model", default="squeezenet1_0")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--count", type=int, default=384)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("patches.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    model = cnnviz.load_model(chosen.model, weights=chosen.weights)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        crops(chosen.photos, folder, chosen.count)
        runs: dict[str, Callable[[], object]] = {
            "bare loop": partial(bare, model, folder, chosen.block, chosen.workers)
        }
        for name, layer in LAYERS.items():
            runs[name] = partial(scanned, model, folder, layer, chosen.block, chosen.workers)
        seconds = interleaved(runs, chosen.times)
    plain = seconds["bare loop"]
    found = [Row(name, [f"{chosen.count / taken:.1f}", f"{plain / taken:.3f}"]) for name, taken in seconds.items()]
    text = (
        f"{chosen.model}, {chosen.count} JPEG files (crops of photographs, 240 to 400 pixels), in blocks of "
        f"{chosen.block}, {chosen.workers} loading process(es); median of {chosen.times} interleaved runs. The bare "
        "loop is the same loader and the plain forward; the others record of every unit the top 16, mean, count, "
        "quantiles and ties of per-image maxima, and write the index to disk."
    )
    head = ["what", "images / s", "of the bare loop"]
    write(chosen.out, "Top-activating patches beside a bare loop", text, head, found)


if __name__ == "__main__":
    main()
