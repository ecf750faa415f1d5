"""Gradient attribution beside captum: one run, ratios, with the versions.

pip install -e '.[bench]' && python -m benchmarks.gradients
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cnnviz
from benchmarks.measuring import Row, beside, network, noise, usual_device, write

CLASS, STEPS = 281, 50
UNITS = range(9)


def captum(make: Callable[[Any], Any], inputs: Tensor, **settings: Any) -> Callable[[], Tensor]:
    """A call of what ``make`` makes of captum's ``attr``, its warnings left out."""

    def run() -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Tensor = make(import_module("captum.attr")).attribute(inputs.clone(), **settings)
            return found

    return run


def single(name: str, side: int, batch: int, device: str) -> list[Row]:
    """One forward and one backward: saliency, guided backpropagation, deconvnet."""
    module, inputs = network(name, device), noise(batch, side, device)
    model = cnnviz.Model(module)
    found: list[Row] = []
    pairs: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
        "saliency": (cnnviz.saliency, lambda attr: attr.Saliency(module)),
        "guided backpropagation": (cnnviz.guided_backprop, lambda attr: attr.GuidedBackprop(module)),
        "deconvnet": (cnnviz.deconvnet, lambda attr: attr.Deconvolution(module)),
    }
    for what, (ours, theirs) in pairs.items():
        runs: dict[str, Callable[[], Any]] = {
            "cnnviz": partial(ours, model, inputs, CLASS),
            "captum": captum(theirs, inputs, target=CLASS),
        }
        found += beside(f"{what}, {name}, batch {batch}, {side} px", runs, lambda: module(inputs))
    return found


def many(name: str, side: int, at_once: int, device: str) -> list[Row]:
    """Fifty forwards and backwards: integrated gradients and SmoothGrad, with the same number of inputs at once."""
    module, inputs = network(name, device), noise(1, side, device)
    model = cnnviz.Model(module)
    integrated = {
        "cnnviz": lambda: cnnviz.integrated_gradients(
            model, inputs, CLASS, steps=STEPS, most_steps=STEPS, batch_size=at_once
        ),
        "captum": captum(
            lambda attr: attr.IntegratedGradients(module),
            inputs,
            target=CLASS,
            n_steps=STEPS,
            internal_batch_size=at_once,
        ),
    }

    def tunnel(attr: Any) -> Any:
        return attr.NoiseTunnel(attr.Saliency(module))

    smooth = {
        "cnnviz": lambda: cnnviz.smoothgrad(model, inputs, CLASS, samples=STEPS, batch_size=at_once),
        "captum": captum(tunnel, inputs, target=CLASS, nt_samples=STEPS, nt_samples_batch_size=at_once, abs=False),
    }
    text = f"{name}, one image, {STEPS} points, {at_once} at once, {side} px"
    return [
        *beside(f"integrated gradients, {text}", integrated, lambda: module(inputs), times=3),
        *beside(f"SmoothGrad, {text}", smooth, lambda: module(inputs), times=3),
    ]


def browser(name: str, layer: str, side: int, device: str) -> list[Row]:
    """Nine units of a layer in nine pictures: captum runs the whole network for every unit."""
    module, inputs = network(name, device), noise(9, side, device)
    model = cnnviz.Model(module, input_size=side)
    assert model.layers
    _, _, height, width = (9, *(model.layers[layer].shape or (1, 1, 1)))

    def theirs(attr: Any) -> Any:
        return attr.NeuronDeconvolution(module, module.get_submodule(layer))

    def with_captum() -> list[Tensor]:
        return [captum(theirs, inputs, neuron_selector=(unit, height // 2, width // 2))() for unit in UNITS]

    runs = {
        "cnnviz": lambda: cnnviz.deconvnet(model, inputs, layer=layer, units="0-8"),
        "captum, at the middle place, without activations or patches": with_captum,
    }
    return beside(f"nine units of {layer}, {name}, nine images, {side} px", runs, lambda: module(inputs), times=3)


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--device", default=usual_device())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gradients.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = [
        *single("resnet50", chosen.side, 8, chosen.device),
        *many("resnet18", chosen.side, 10, chosen.device),
        *browser("squeezenet1_0", "features.7", chosen.side, chosen.device),
    ]
    text = (
        "Median of interleaved runs in one process. `x cnnviz` is how many times as long; `x forward` is FLOPs over "
        "those of the plain forward of the same images. Under a rule cnnviz runs one forward more, which checks that "
        "the rule left the forward alone."
    )
    write(
        chosen.out, "Gradient attribution beside captum", text, ["what", "who", "time", "x cnnviz", "x forward"], found
    )


if __name__ == "__main__":
    main()
