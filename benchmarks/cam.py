"""The CAM family beside grad-cam, torchcam and captum: one run, ratios, with the versions.

pip install -e . grad-cam torchcam captum && python -m benchmarks.cam
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from captum.attr import LayerGradCam
from pytorch_grad_cam import AblationCAM, ScoreCAM
from pytorch_grad_cam import GradCAM as PeerGradCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchcamGradCAM

import cnnviz
from benchmarks.measuring import Row, flops, interleaved, write
from cnnviz.methods.principal import principal_map

CLASS = 281


def network(name: str) -> nn.Module:
    """A network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    module: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    return module


def peer(method: Any, module: nn.Module, layer: nn.Module, inputs: Tensor, **settings: Any) -> Callable[[], Any]:
    """A call of grad-cam with everything made anew, as its own example does."""

    def run() -> Any:
        with contextlib.redirect_stderr(io.StringIO()), method(model=module, target_layers=[layer], **settings) as cam:
            return cam(input_tensor=inputs, targets=[ClassifierOutputTarget(CLASS)] * len(inputs))

    return run


def gradcam(batch: int, side: int) -> list[Row]:
    """Grad-CAM of a batch on resnet50 at layer4."""
    module, inputs = network("resnet50"), torch.randn(batch, 3, side, side)
    model = cnnviz.Model(module)

    def with_torchcam() -> Any:
        with TorchcamGradCAM(module, target_layer="layer4") as cam:
            return cam([CLASS] * batch, module(inputs))

    def with_captum() -> Any:
        return LayerGradCam(module, module.get_submodule("layer4")).attribute(inputs, target=CLASS)

    runs = {
        "cnnviz": lambda: cnnviz.gradcam(model, inputs, CLASS, layer="layer4"),
        "grad-cam": peer(PeerGradCAM, module, module.get_submodule("layer4"), inputs),
        "torchcam": with_torchcam,
        "captum": with_captum,
    }
    return rows(f"Grad-CAM, resnet50 layer4, batch {batch}, {side} px", runs, forward=lambda: module(inputs))


def ablation(side: int) -> list[Row]:
    """Ablation-CAM of one image on resnet50 at layer4: closed form and by replay; grad-cam takes minutes."""
    module, inputs = network("resnet50"), torch.randn(1, 3, side, side)
    model = cnnviz.Model(module)
    ours = {
        "cnnviz": lambda: cnnviz.ablationcam(model, inputs, CLASS, layer="layer4"),
        "cnnviz, replay (a custom target)": lambda: cnnviz.ablationcam(
            model, inputs, lambda logits: logits[:, CLASS], layer="layer4"
        ),
    }
    theirs = peer(AblationCAM, module, module.get_submodule("layer4"), inputs, ablation_layer=AblationLayer())
    return rows(
        f"Ablation-CAM, resnet50 layer4, {side} px",
        {**ours, "grad-cam": theirs},
        forward=lambda: module(inputs),
        times=1,
    )


def scores(name: str, layer: str, side: int) -> list[Row]:
    """Score-CAM of one image at a layer of 64 channels."""
    module, inputs = network(name), torch.randn(1, 3, side, side)
    model = cnnviz.Model(module)
    runs = {
        "cnnviz": lambda: cnnviz.scorecam(model, inputs, CLASS, layer=layer, batch_size=16),
        "grad-cam": peer(ScoreCAM, module, module.get_submodule(layer), inputs),
    }
    return rows(f"Score-CAM, {name} {layer}, {side} px", runs, forward=lambda: module(inputs))


def principal() -> list[Row]:
    """The first principal component of 1024 channels of 14x14."""
    maps = torch.randn(1, 1024, 14, 14).relu()
    runs = {
        "cnnviz": lambda: principal_map(maps, maps.sum(dim=1)),
        "grad-cam": lambda: get_2d_projection(maps.numpy()),
    }
    return rows("Eigen-CAM's projection, 1024x14x14", runs)


def rows(
    what: str, runs: dict[str, Callable[[], Any]], forward: Callable[[], Any] | None = None, times: int = 5
) -> list[Row]:
    """Each run's time as a ratio to ours, and its FLOPs as a ratio to the plain forward's."""
    seconds = interleaved(runs, times)
    ours = seconds["cnnviz"]
    plain = flops(forward) if forward else 0
    found = []
    for name, run in runs.items():
        counted = f"{flops(run) / plain:.3g}" if plain and (times > 1 or name != "grad-cam") else "-"
        found.append(Row(what, [name, f"{seconds[name] * 1000:.0f} ms", f"{seconds[name] / ours:.3g}", counted]))
    return found


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("cam.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = [
        *gradcam(8, chosen.side),
        *ablation(chosen.side),
        *scores("resnet50", "layer1.0.conv1", chosen.side),
        *scores("resnet18", "layer1.0.conv1", chosen.side),
        *principal(),
    ]
    text = (
        "Median of 5 interleaved runs in one process (Ablation-CAM: one run, grad-cam takes minutes). `x cnnviz` is "
        "how many times as long; `x forward` is FLOPs over those of the plain forward of the same batch."
    )
    write(chosen.out, "The CAM family beside its peers", text, ["what", "who", "time", "x cnnviz", "x forward"], found)


if __name__ == "__main__":
    main()
