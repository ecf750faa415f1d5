"""Occlusion beside captum: the same windows, the same network, one run; ratios, with the versions.

pip install -e '.[bench]' && python -m benchmarks.occlusion
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import cnnviz
from benchmarks.measuring import Row, beside, in_a_process, network, noise, usual_device, write
from cnnviz.methods.settings import Precision

CLASS = 281
NETWORKS = ("resnet18", "resnet50", "mobilenet_v2")
CAPTUMS = (1, 4, 16)
"""How many windows captum is given at once; its best counts."""
FINE, BEST = 32, "captum, 4 at once"
"""Below that stride only captum's best setting is run."""


def windows(name: str, side: int, stride: int, times: int, device: str, *, bfloat16: bool) -> list[Row]:
    """One picture, windows of 32 pixels, the logit of one class: how many times as long as ours the others take."""
    module, inputs = network(name, device), noise(1, side, device)
    model = cnnviz.Model(module)

    def ours(precision: Precision) -> Callable[[], Any]:
        return lambda: cnnviz.occlusion(
            model, inputs, CLASS, window=32, stride=stride, score="logit", precision=precision
        )

    def captums(at_once: int) -> Callable[[], Any]:
        def run() -> Any:
            with torch.no_grad():
                return (
                    import_module("captum.attr")
                    .Occlusion(module)
                    .attribute(
                        inputs, (3, 32, 32), (3, stride, stride), 0, target=CLASS, perturbations_per_eval=at_once
                    )
                )

        return run

    runs = {"cnnviz": ours("full")} | ({"cnnviz, bfloat16": ours("bfloat16")} if bfloat16 else {})
    runs |= {f"captum, {at_once} at once": captums(at_once) for at_once in CAPTUMS}
    count = ((side - 32) // stride + 1) ** 2
    if stride < FINE:
        runs = {name: run for name, run in runs.items() if not name.startswith("captum") or name == BEST}
    return beside(f"Occlusion, {name}, {count} windows, {side} px", runs, lambda: module(inputs), times=times)


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--device", default=usual_device())
    parser.add_argument("--strides", type=int, nargs="*", default=[32, 16], help="8 takes an hour for resnet50")
    parser.add_argument("--times", type=int, nargs="*", default=[5, 3], help="runs at each stride")
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--bfloat16", action="store_true", help="measure it too; slow where the CPU has none")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("occlusion.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = [
        row
        for stride, times in zip(chosen.strides, chosen.times, strict=True)
        for name in chosen.networks
        for row in in_a_process(
            partial(windows, bfloat16=chosen.bfloat16), chosen.threads, name, chosen.side, stride, times, chosen.device
        )
    ]
    text = (
        "Each group of rows in a fresh process; median of interleaved runs "
        f"({' and '.join(map(str, chosen.times))} at strides {' and '.join(map(str, chosen.strides))}), copying and "
        "folding the network included. `x cnnviz` is how many times as long; `x forward` is FLOPs over "
        "those of one plain forward. cnnviz computes again only what each window reaches."
    )
    write(chosen.out, "Occlusion beside captum", text, ["what", "who", "time", "x cnnviz", "x forward"], found)


if __name__ == "__main__":
    main()
