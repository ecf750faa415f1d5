"""Claims about class activation maps: in-place layers, Grad-CAM++'s division, and where a map is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import cnnviz
from benchmarks.claims.claim import Claim, Values, unit_maximum

__all__ = ["division", "half_stride", "in_place"]

CLASS, SIDE = 1, 6


class Pooled(nn.Module):
    """One convolution, perhaps an in-place ReLU, the mean over all places, a linear layer; float64."""

    def __init__(self, *, rectified: bool, stride: int = 1, channels: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.conv = nn.Conv2d(channels, 4, 3, stride=stride, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True) if rectified else nn.Identity()
        self.fc = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        self.double().eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, 3)`` of inputs ``(N, C, H, W)``."""
        logits: Tensor = self.fc(self.relu(self.conv(inputs)).mean(dim=(2, 3)))
        return logits


def example(channels: int = 2, side: int = SIDE) -> Tensor:
    """One input ``(1, channels, side, side)``."""
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def in_place() -> Claim:
    """Grad-CAM at a convolution that an in-place ReLU follows."""
    net, inputs = Pooled(rectified=True), example()
    with torch.no_grad():
        maps = net.conv(inputs)[0].numpy()
    weights = net.fc.weight.detach().numpy()[CLASS] * (maps > 0).mean(axis=(1, 2)) / maps[0].size
    right = unit_maximum(np.einsum("k,khw->hw", weights, maps))
    return Claim(
        "Grad-CAM at a layer that an in-place ReLU follows",
        f"a 3x3 convolution, `ReLU(inplace=True)`, mean, linear; {SIDE}x{SIDE}, Grad-CAM at the convolution",
        "relu(sum of w_k A_k), A before the ReLU, w_k the head's weight times the share of positive places",
        right,
        {
            "cnnviz": lambda: unit_maximum(_ours(cnnviz.gradcam, net, inputs)),
            "grad-cam": lambda: _gradcam_package("GradCAM", net, inputs),
            "torchcam": lambda: _torchcam("GradCAM", net, inputs),
            "captum": lambda: _captum(net, inputs),
        },
    )


def division() -> Claim:
    """Grad-CAM++ where the second and third derivatives are known."""
    net, inputs = Pooled(rectified=False), 100 * example()
    with torch.no_grad():
        net.fc.weight[CLASS] = torch.tensor([0.03, 0.01, -0.02, 0.02])
        maps = net.conv(inputs)[0].numpy()
    gradient = net.fc.weight.detach().numpy()[CLASS] / maps[0].size
    alpha = gradient**2 / (2 * gradient**2 + gradient**3 * maps.sum(axis=(1, 2)))
    weights = alpha * np.maximum(gradient, 0) * maps[0].size
    right = unit_maximum(np.einsum("k,khw->hw", weights, maps))
    return Claim(
        "Grad-CAM++ divides by its denominator (equation 19)",
        f"a 3x3 convolution, mean, linear with weights of hundredths; {SIDE}x{SIDE}, Grad-CAM++ at the convolution",
        "alpha = g^2 / (2 g^2 + g^3 sum A), written out in NumPy",
        right,
        {
            "cnnviz": lambda: unit_maximum(_ours(cnnviz.gradcam_plusplus, net, inputs)),
            "grad-cam": lambda: _gradcam_package("GradCAMPlusPlus", net, inputs),
            "torchcam": lambda: _torchcam("GradCAMpp", net, inputs),
        },
    )


def half_stride() -> Claim:
    """Where the overlay of a strided network puts what one unit saw."""
    stride, side, place = 8, 64, 32
    net = Pooled(rectified=False, stride=stride, channels=1)
    with torch.no_grad():
        net.conv.weight.fill_(1)
        net.fc.weight.fill_(1)
    inputs = torch.zeros(1, 1, side, side, dtype=torch.float64)
    inputs[0, 0, place, place] = 1
    right = np.array([float(place), float(place)])
    return Claim(
        "A map lies where its units look",
        f"a 3x3 convolution with stride {stride} and padding 1, one bright pixel at ({place}, {place}): the unit "
        "centred there is the only one that responds; the overlay's centre of mass, x and y in pixels",
        "receptive-field arithmetic: unit u looks at pixel 8u",
        right,
        {
            "cnnviz": lambda: _centre(_placed(net, inputs)),
            "grad-cam": lambda: _centre(_gradcam_package("GradCAM", net, inputs)),
            "torchcam": lambda: _centre(_torchcam_overlay(net, inputs)),
            "captum": lambda: _centre(_captum(net, inputs, interpolated=(side, side))),
        },
    )


def _ours(method: Callable[..., Any], net: nn.Module, inputs: Tensor) -> Values:
    found = method(cnnviz.Model(net), inputs, CLASS, layer="conv")
    return np.asarray(found[0].values, dtype=np.float64)


def _placed(net: nn.Module, inputs: Tensor) -> Values:
    found = cnnviz.gradcam(cnnviz.Model(net, input_size=inputs.shape[-1]), inputs, CLASS, layer="conv")
    return np.nan_to_num(found.on_original(0).astype(np.float64))


def _gradcam_package(name: str, net: nn.Module, inputs: Tensor) -> Values:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(pytorch_grad_cam, name)(model=net, target_layers=[net.get_submodule("conv")]) as cam:
        return np.asarray(cam(input_tensor=inputs, targets=[ClassifierOutputTarget(CLASS)])[0], dtype=np.float64)


def _torchcam(name: str, net: nn.Module, inputs: Tensor) -> Values:
    import torchcam.methods

    with getattr(torchcam.methods, name)(net, target_layer="conv") as cam:
        found = cam(CLASS, net(inputs))[0][0]
    return np.asarray(found.detach().double().numpy(), dtype=np.float64)


def _torchcam_overlay(net: nn.Module, inputs: Tensor) -> Values:
    """The size and resampling of its ``overlay_mask``, without the colours."""
    from PIL import Image

    mask = Image.fromarray(_torchcam("GradCAM", net, inputs).astype(np.float32), mode="F")
    return np.asarray(mask.resize((inputs.shape[-1], inputs.shape[-2]), resample=Image.Resampling.BICUBIC), float)


def _captum(net: nn.Module, inputs: Tensor, interpolated: tuple[int, int] | None = None) -> Values:
    from captum.attr import LayerAttribution, LayerGradCam

    found = LayerGradCam(net, net.get_submodule("conv")).attribute(inputs, target=CLASS, relu_attributions=True)
    if interpolated:
        found = LayerAttribution.interpolate(found, interpolated, interpolate_mode="bilinear")
    return unit_maximum(np.asarray(found.detach()[0, 0].numpy()))


def _centre(values: Values) -> Values:
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    middle = [float((values * each).sum() / values.sum()) for each in (columns, rows)]
    return np.array(middle)
