"""Maps of a whole data set in a store: throughput beside a bare loop, and peak memory of few and of many pictures.

pip install -e '.[data]' && python -m benchmarks.data_sets
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

import cnnviz
from benchmarks.measuring import Row, interleaved, write
from cnnviz.methods.scan.loader import example_shape, load_blocks

BLOCK = 32


def bare(model: cnnviz.Model, data: cnnviz.Dataset) -> None:
    """Nothing but the loader, the forward and the backward to the pixels."""
    blocks = range(-(-len(data) // BLOCK))
    model.module.eval()
    for each in load_blocks(model, data, blocks, shape=example_shape(model, data), size=BLOCK, workers=0):
        inputs = each.inputs.requires_grad_()
        torch.autograd.grad(model.module(inputs).max(dim=1).values.sum(), inputs)


def stored(model: cnnviz.Model, data: cnnviz.Dataset, folder: Path) -> None:
    """The whole work: maps, targets, scores, probabilities and keys in a store on the disk."""
    path = folder / "maps.zarr"
    shutil.rmtree(path, ignore_errors=True)
    cnnviz.write_maps(model, data, "saliency", path, block=BLOCK, workers=0)


def peak(name: str, count: int) -> float:
    """Most memory, in MiB, of this process once it has written the maps of so many scenes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        stored(cnnviz.load_model(name), cnnviz.open_dataset(f"shapes:{count}"), Path(folder))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_fresh_process(name: str, count: int) -> float:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, name, count).result()


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shapes-resnet")
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=5000)
    parser.add_argument("--timed", type=int, default=1000, help="scenes of which throughput is measured")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("data_sets.md"))
    chosen = parser.parse_args()
    memory = {count: in_a_fresh_process(chosen.model, count) for count in (chosen.few, chosen.many)}
    torch.set_num_threads(1)
    model, data = cnnviz.load_model(chosen.model), cnnviz.open_dataset(f"shapes:{chosen.timed}")
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Callable[[], object]] = {
            "bare loop": partial(bare, model, data),
            "saliency in a store": partial(stored, model, data, Path(folder)),
        }
        seconds = interleaved(runs, chosen.times, clock=time.process_time)
    found = [
        Row(name, [f"{chosen.timed / taken:.0f} scenes / s", f"{seconds['bare loop'] / taken:.3f} of the bare loop"])
        for name, taken in seconds.items()
    ]
    found += [
        Row(
            f"peak memory, {count} scenes",
            [f"{size:.0f} MiB", f"{size / memory[chosen.few]:.3f} of {chosen.few} scenes"],
        )
        for count, size in memory.items()
    ]
    text = (
        f"{chosen.model}, drawn scenes in blocks of {BLOCK}, read in the process that computes, one thread; seconds of "
        f"the processor, median of {chosen.times} interleaved runs over {chosen.timed} scenes. The bare loop is the "
        "same loader with one forward and one backward to the pixels; the store also holds targets, scores, "
        "probabilities and keys. Memory is each process's own peak, in processes that do nothing else."
    )
    write(chosen.out, "Maps of a whole data set beside a bare loop", text, ["what", "measured", "ratio"], found)


if __name__ == "__main__":
    main()
