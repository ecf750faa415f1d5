"""Deletion and insertion beside the bare loop over as many pictures, and beside Quantus's pixel flipping.

Quantus needs an environment of its own (see ``benchmarks.quantus_values``), with cnnviz in it; elsewhere its row says
that it is not installed.
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cnnviz
from benchmarks.measuring import Row, beside, in_a_process, network, noise, usual_device, write
from cnnviz.core.target import ClassTarget
from cnnviz.evaluation.faithfulness import STEPS, removal_curves
from cnnviz.evaluation.metric import Case
from cnnviz.methods.occlusion.scorer import Scorer

CLASS, PICTURES, AT_ONCE = 281, 2, 8
FLIPS = 21
"""Steps of pixel flipping: Quantus takes only what divides the pixels of one channel and the entries of all."""


def curves(name: str, side: int, times: int, device: str) -> list[Row]:
    """Deletion and insertion of two Grad-CAM maps: how many times as long as ours the same forwards alone take."""
    module, inputs = network(name, device), noise(PICTURES, side, device)
    model = cnnviz.Model(module)
    maps = cnnviz.gradcam(model, inputs, CLASS).upsampled()
    ready = inputs.repeat_interleave(STEPS * 2, dim=0)

    def ours() -> None:
        for case, values in zip(_cases(model, inputs), maps, strict=True):
            removal_curves(case, values[None], ("deletion", "insertion"), steps=STEPS)

    def bare() -> None:
        with torch.inference_mode():
            for some in torch.split(ready, AT_ONCE):
                module(some).softmax(dim=1)

    what = f"Deletion and insertion, {name}, {PICTURES} pictures, {STEPS} steps"
    runs = {"cnnviz": ours, "the bare loop": bare}
    return beside(what, runs, lambda: module(inputs[:1]), times=times, clock=_clock(device))


def flipping(name: str, side: int, times: int, device: str) -> list[Row]:
    """Deletion of two maps beside Quantus's pixel flipping in as many steps."""
    module, inputs = network(name, device), noise(PICTURES, side, device)
    model = cnnviz.Model(module)
    maps = cnnviz.gradcam(model, inputs, CLASS).upsampled()

    def ours() -> None:
        for case, values in zip(_cases(model, inputs), maps, strict=True):
            removal_curves(case, values[None], ("deletion",), steps=FLIPS)

    def quantus() -> Any:
        entries = inputs[0].numel() // FLIPS
        flip = import_module("quantus").PixelFlipping(
            features_in_step=entries, perturb_baseline=0.0, disable_warnings=True, display_progressbar=False
        )
        given = {"x_batch": inputs.cpu().numpy(), "y_batch": np.full(PICTURES, CLASS), "a_batch": maps[:, None]}
        return flip(model=module, channel_first=True, softmax=True, device=device, **given)

    what = f"Pixel flipping, {name}, {PICTURES} pictures, {FLIPS} steps"
    runs = {"cnnviz": ours, "quantus": quantus}
    return beside(what, runs, lambda: module(inputs[:1]), times=times, clock=_clock(device))


def _cases(model: cnnviz.Model, inputs: Tensor) -> list[Case]:
    """A case for each picture, asked as ``cnnviz evaluate`` asks: of a private copy with folded batch norms."""
    target = ClassTarget(CLASS)
    scorer = Scorer(model, inputs[:1], [target], batch_size=AT_ONCE)

    def probability(pictures: Tensor) -> Tensor:
        return scorer.scores(len(pictures), lambda some: pictures[some], [target])[:, 0]

    return [Case(one, probability, probability, torch.ones(3, 1, 1)) for one in torch.split(inputs, 1)]


def _clock(device: str) -> Any:
    """Seconds of the processor where it does the work, so that others on the machine do not count."""
    return time.process_time if device == "cpu" else time.perf_counter


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--device", default=usual_device())
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--networks", nargs="*", default=("resnet18",))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("faithfulness.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    given = chosen.side, chosen.times, chosen.device
    found = [
        row
        for name in chosen.networks
        for section in (curves, flipping)
        for row in in_a_process(section, chosen.threads, name, *given)
    ]
    text = (
        f"Each group of rows in a fresh process; median of {chosen.times} interleaved runs, in seconds of the "
        f"processor where there is no GPU; {AT_ONCE} pictures at once. `x cnnviz` is how many times as long: for the "
        f"bare loop of {2 * STEPS} forwards a picture its inverse is what deletion and insertion cost beyond their "
        "forwards (57 a picture), copying and folding the network included. `x forward` is FLOPs over those of one "
        "plain forward."
    )
    write(
        chosen.out,
        "Faithfulness beside the bare loop and Quantus",
        text,
        ["what", "who", "time", "x cnnviz", "x forward"],
        found,
    )


if __name__ == "__main__":
    main()
