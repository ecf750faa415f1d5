"""Occlusion of a volume beside captum: CPU time of the same windows, and peak memory of few and of many.

pip install -e '.[bench]' && python -m benchmarks.volumes
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cnnviz
from benchmarks.measuring import Row, beside, in_a_process, write
from cnnviz.models.bundled.networks import VolumesCNN

CLASS, SIDE, WINDOW = 1, 64, 16
CAPTUMS = (1, 4, 16, 64)
"""How many windows captum is given at once; its best counts."""
MIB = 1024


def volume_network() -> tuple[nn.Module, torch.Tensor]:
    """The network of ``volumes-cnn`` with random weights, and one volume of noise."""
    torch.manual_seed(0)
    module = VolumesCNN().eval()
    return module, torch.randn(1, 1, SIDE, SIDE, SIDE)


def ours(module: nn.Module, inputs: torch.Tensor, stride: int) -> Callable[[], Any]:
    """Occlusion as cnnviz does it, copying and folding the network included."""
    model = cnnviz.Model(module, input_size=(SIDE,) * 3, mean=(0.0,), std=(1.0,))
    return lambda: cnnviz.occlusion(model, inputs, CLASS, window=WINDOW, stride=stride, score="logit")


def windows(times: int) -> list[Row]:
    """CPU time of 64 windows of 16x16x16 voxels, and how many times as long captum takes."""
    module, inputs = volume_network()

    def captums(at_once: int) -> Callable[[], Any]:
        def run() -> Any:
            with torch.no_grad():
                method = import_module("captum.attr").Occlusion(module)
                box = (1, WINDOW, WINDOW, WINDOW)
                return method.attribute(inputs, box, box, 0, target=CLASS, perturbations_per_eval=at_once)

        return run

    runs = {"cnnviz": ours(module, inputs, WINDOW)} | {f"captum, {each} at once": captums(each) for each in CAPTUMS}
    what = f"Occlusion, volumes-cnn, 64 windows, {SIDE}x{SIDE}x{SIDE}"
    rows = beside(what, runs, lambda: module(inputs), times=times, clock=time.process_time)
    return [Row(row.what, [*row.cells, "-"]) for row in rows]


def memory(stride: int) -> list[Row]:
    """The most memory that a process had that asked about windows of a stride."""
    module, inputs = volume_network()
    count = -((-(SIDE - WINDOW + stride) // stride) ** 3)
    ours(module, inputs, stride)()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    return [Row(f"Occlusion, volumes-cnn, {count} windows, memory", ["cnnviz", "-", "-", "-", f"{peak:.0f} MiB"])]


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("volumes.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = in_a_process(windows, chosen.threads, chosen.times)
    for stride in (WINDOW, 7):
        found += in_a_process(memory, chosen.threads, stride)
    text = (
        f"Median CPU time of {chosen.times} interleaved runs in a fresh process, copying and folding the network "
        "included; the memory is the most that a fresh process of its own ever had. `x cnnviz` is how many times as "
        "long; `x forward` is FLOPs over those of one plain forward. The weights are random: neither depends on them."
    )
    head = ["what", "who", "CPU time", "x cnnviz", "x forward", "peak memory"]
    write(chosen.out, "Occlusion of a volume beside captum", text, head, found)


if __name__ == "__main__":
    main()
