"""Gradient attribution beside captum: one run, ratios, with the versions.

pip install -e . captum && python -m benchmarks.gradients
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from captum import attr
from torch import Tensor, nn

import cnnviz
from benchmarks.measuring import Row, flops, interleaved, write

CLASS, STEPS = 281, 50
UNITS = range(9)


def network(name: str) -> nn.Module:
    """A network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    module: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    return module


def captum(method: Any, inputs: Tensor, **settings: Any) -> Callable[[], Tensor]:
    """A call of captum on the class, its warnings left out."""

    def run() -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Tensor = method.attribute(inputs.clone(), **settings)
            return found

    return run


def rows(what: str, runs: Mapping[str, Callable[[], Any]], forward: Callable[[], Any], times: int) -> list[Row]:
    """Each run's time as a ratio to ours, and its FLOPs as a ratio to the plain forward's."""
    seconds, plain = interleaved(runs, times), flops(forward)
    return [
        Row(what, [who, f"{took * 1000:.0f} ms", f"{took / seconds['cnnviz']:.3g}", _share(runs[who], plain)])
        for who, took in seconds.items()
    ]


def _share(run: Callable[[], Any], plain: int) -> str:
    """FLOPs as a ratio; torch cannot count them where a leaf goes into a module, as captum does it."""
    try:
        return f"{flops(run) / plain:.3g}"
    except RuntimeError:
        return "-"


def single(name: str, side: int, batch: int) -> list[Row]:
    """One forward and one backward: saliency, guided backpropagation, deconvnet."""
    module, inputs = network(name), torch.randn(batch, 3, side, side)
    model = cnnviz.Model(module)
    found: list[Row] = []
    pairs: dict[str, tuple[Callable[..., Any], Any]] = {
        "saliency": (cnnviz.saliency, attr.Saliency(module)),
        "guided backpropagation": (cnnviz.guided_backprop, attr.GuidedBackprop(module)),
        "deconvnet": (cnnviz.deconvnet, attr.Deconvolution(module)),
    }
    for what, (ours, theirs) in pairs.items():
        runs: dict[str, Callable[[], Any]] = {
            "cnnviz": partial(ours, model, inputs, CLASS),
            "captum": captum(theirs, inputs, target=CLASS),
        }
        found += rows(f"{what}, {name}, batch {batch}, {side} px", runs, lambda: module(inputs), 5)
    return found


def many(name: str, side: int, at_once: int) -> list[Row]:
    """Fifty forwards and backwards: integrated gradients and SmoothGrad, with the same number of inputs at once."""
    module, inputs = network(name), torch.randn(1, 3, side, side)
    model = cnnviz.Model(module)
    integrated = {
        "cnnviz": lambda: cnnviz.integrated_gradients(
            model, inputs, CLASS, steps=STEPS, most_steps=STEPS, batch_size=at_once
        ),
        "captum": captum(
            attr.IntegratedGradients(module), inputs, target=CLASS, n_steps=STEPS, internal_batch_size=at_once
        ),
    }
    tunnel = attr.NoiseTunnel(attr.Saliency(module))
    smooth = {
        "cnnviz": lambda: cnnviz.smoothgrad(model, inputs, CLASS, samples=STEPS, batch_size=at_once),
        "captum": captum(tunnel, inputs, target=CLASS, nt_samples=STEPS, nt_samples_batch_size=at_once, abs=False),
    }
    text = f"{name}, one image, {STEPS} points, {at_once} at once, {side} px"
    return [
        *rows(f"integrated gradients, {text}", integrated, lambda: module(inputs), 1),
        *rows(f"SmoothGrad, {text}", smooth, lambda: module(inputs), 1),
    ]


def browser(name: str, layer: str, side: int) -> list[Row]:
    """Nine units of a layer in nine pictures: captum runs the whole network for every unit."""
    module, inputs = network(name), torch.randn(9, 3, side, side)
    model = cnnviz.Model(module, input_size=side)
    assert model.layers
    theirs = attr.NeuronDeconvolution(module, module.get_submodule(layer))
    _, _, height, width = (9, *(model.layers[layer].shape or (1, 1, 1)))

    def with_captum() -> list[Tensor]:
        return [captum(theirs, inputs, neuron_selector=(unit, height // 2, width // 2))() for unit in UNITS]

    runs = {
        "cnnviz": lambda: cnnviz.deconvnet(model, inputs, layer=layer, units="0-8"),
        "captum, at the middle place, without activations or patches": with_captum,
    }
    return rows(f"nine units of {layer}, {name}, nine images, {side} px", runs, lambda: module(inputs), 3)


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gradients.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = [
        *single("resnet50", chosen.side, 8),
        *many("resnet18", chosen.side, 10),
        *browser("squeezenet1_0", "features.7", chosen.side),
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
