"""The CAM family beside grad-cam, torchcam and captum: one run, ratios, with the versions.

pip install -e '.[bench]' && python -m benchmarks.cam
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cnnviz
from benchmarks.measuring import Row, beside, in_a_process, network, noise, usual_device, write
from cnnviz.methods.cams.principal import principal_map

CLASS = 281
WIDE = ("layer1", "layer4")
MASKED = (
    ("resnet50", "layer1.0.conv1"),
    ("resnet50", "layer1"),
    ("resnet18", "layer1.0.conv1"),
    ("resnet18", "layer4"),
)
"""Score-CAM's networks and layers, of 64, 256, 64 and 512 channels; counting the FLOPs of the wide ones takes long."""
HEAD = ("what", "who", "time", "x cnnviz", "x forward")


def gradcam_package(method: str, module: nn.Module, layer: str, inputs: Tensor) -> Callable[[], Any]:
    """A call of grad-cam with everything made anew, as its own example does."""

    def run() -> Any:
        package = import_module("pytorch_grad_cam")
        target = import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(CLASS)
        settings: dict[str, Any] = {"model": module, "target_layers": [module.get_submodule(layer)]}
        if method == "AblationCAM":
            settings["ablation_layer"] = import_module("pytorch_grad_cam.ablation_layer").AblationLayer()
        with contextlib.redirect_stderr(io.StringIO()), getattr(package, method)(**settings) as cam:
            return cam(input_tensor=inputs, targets=[target] * len(inputs))

    return run


def gradcam(batch: int, side: int, device: str) -> list[Row]:
    """Grad-CAM of a batch on resnet50 at layer4."""
    module, inputs = network("resnet50", device), noise(batch, side, device)
    model = cnnviz.Model(module)

    def with_torchcam() -> Any:
        with import_module("torchcam.methods").GradCAM(module, target_layer="layer4") as cam:
            return cam([CLASS] * batch, module(inputs))

    def with_captum() -> Any:
        method = import_module("captum.attr").LayerGradCam(module, module.get_submodule("layer4"))
        return method.attribute(inputs, target=CLASS)

    runs = {
        "cnnviz": lambda: cnnviz.gradcam(model, inputs, CLASS, layer="layer4"),
        "grad-cam": gradcam_package("GradCAM", module, "layer4", inputs),
        "torchcam": with_torchcam,
        "captum": with_captum,
    }
    return beside(f"Grad-CAM, resnet50 layer4, batch {batch}, {side} px", runs, lambda: module(inputs), times=15)


def ablation(side: int, device: str) -> list[Row]:
    """Ablation-CAM of one image on resnet50 at layer4: closed form and by replay; grad-cam takes minutes."""
    module, inputs = network("resnet50", device), noise(1, side, device)
    model = cnnviz.Model(module)
    runs = {
        "cnnviz": lambda: cnnviz.ablationcam(model, inputs, CLASS, layer="layer4"),
        "cnnviz, replay (a custom target)": lambda: cnnviz.ablationcam(
            model, inputs, lambda logits: logits[:, CLASS], layer="layer4"
        ),
        "grad-cam": gradcam_package("AblationCAM", module, "layer4", inputs),
    }
    what = f"Ablation-CAM, resnet50 layer4, {side} px"
    return beside(what, runs, lambda: module(inputs), times=1, uncounted=["grad-cam"])


def scores(name: str, layer: str, side: int, device: str) -> list[Row]:
    """Score-CAM of one image: a forward for each channel of the layer, on either side."""
    module, inputs = network(name, device), noise(1, side, device)
    model = cnnviz.Model(module)
    runs = {
        "cnnviz": lambda: cnnviz.scorecam(model, inputs, CLASS, layer=layer),
        "grad-cam": gradcam_package("ScoreCAM", module, layer, inputs),
    }
    what = f"Score-CAM, {name} {layer}, {side} px"
    return beside(what, runs, lambda: module(inputs), uncounted=list(runs) if layer in WIDE else [])


def principal() -> list[Row]:
    """The first principal component of 1024 channels of 14x14, on the CPU."""
    maps = torch.randn(1, 1024, 14, 14, generator=torch.Generator().manual_seed(0)).relu()

    def with_gradcam_package() -> Any:
        projection = import_module("pytorch_grad_cam.utils.svd_on_activations").get_2d_projection
        return projection(maps.numpy())

    runs = {"cnnviz": lambda: principal_map(maps, maps.sum(dim=1)), "grad-cam": with_gradcam_package}
    return beside("Eigen-CAM's projection, 1024x14x14", runs, times=15)


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--device", default=usual_device())
    parser.add_argument("--no-ablation", action="store_true", help="leave out what takes grad-cam minutes")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("cam.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    sections: list[tuple[Callable[..., list[Row]], tuple[object, ...]]] = [
        (gradcam, (8, chosen.side, chosen.device)),
        *((scores, (name, layer, chosen.side, chosen.device)) for name, layer in MASKED),
        (principal, ()),
        *([] if chosen.no_ablation else [(ablation, (chosen.side, chosen.device))]),
    ]
    found = [row for section, given in sections for row in in_a_process(section, chosen.threads, *given)]
    text = (
        "Each group of rows in a fresh process, runs interleaved; median of 5 of Score-CAM, 15 of Grad-CAM and the "
        "projection, one of Ablation-CAM, which takes grad-cam minutes. `x cnnviz` is how many times as long; "
        "`x forward` is FLOPs over those of the plain forward of the same batch."
    )
    write(chosen.out, "The CAM family beside its peers", text, HEAD, found)


if __name__ == "__main__":
    main()
